//! One message's way through the queue, on both filesystems.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;

use daemon::dir::Dir;
use proptest::prelude::*;

use super::{envelope, id, incoming, queue, store, submit};
use crate::files::Octets;
use crate::format::FormatError;
use crate::format::outcome::{LOG_MAX, Outcome};
use crate::format::state::{Retry, State};
use crate::id::QueueId;
use crate::incoming::{BUFFER_MAX, Incoming};
use crate::reply::Status;
use crate::store::{Deferral, Examined, OpenError, Place, ReadError, Store};

fn outcome(text: &str) -> Outcome {
    Outcome {
        time: 1_700_000_100,
        status: Status::DEFERRED,
        host: "mx.example.net[192.0.2.1]".into(),
        text: text.into(),
        recipients: vec![1],
    }
}

fn content_of<F: Octets>(message: &crate::store::Message<F>) -> Vec<u8> {
    let content = message.content();
    let mut all = vec![0; content.length as usize];
    assert_eq!(
        crate::files::read_full_at(&message.file, &mut all, content.offset).unwrap(),
        all.len()
    );
    all
}

#[test]
fn in_deferred_and_out_on_a_real_disk() {
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::open(Dir::open(tmp.path()).unwrap(), 0o2370).unwrap();
    let incoming = Incoming::new(Dir::open(tmp.path().join("incoming")).unwrap(), 0o600);
    let text = b"Received: x\r\n\r\nhello\r\n".repeat(4_000);
    let mut writer = incoming.begin(id(), &envelope(3)).unwrap();
    assert!(!tmp.path().join("incoming").join(id().as_str()).exists());
    for block in text.chunks(777) {
        writer.write(block).unwrap();
    }
    assert_eq!(writer.content_len(), text.len() as u64);
    assert!(matches!(store.examine(id()), Ok(Examined::Writing)));
    assert_eq!(writer.finish().commit().unwrap(), id());

    let message = store.read(id(), Place::Incoming).unwrap();
    store.check(&message).unwrap();
    assert_eq!(message.envelope, envelope(3));
    assert_eq!(message.states, [State::Waiting; 3]);
    assert_eq!(content_of(&message), text);

    let retry = Retry {
        due: 1_700_000_400,
        last: 1_700_000_100,
        attempts: 1,
        warned: false,
    };
    let marks = vec![(2, State::Failed), (0, State::Delivered)];
    let deferral = Deferral {
        marks,
        retry,
        outcomes: vec![outcome("later")],
        durable: true,
    };
    store.defer(id(), Place::Incoming, &deferral).unwrap();
    assert!(matches!(
        store.read(id(), Place::Incoming),
        Err(ReadError::Missing)
    ));
    let mut found = Vec::new();
    store
        .scan(Place::Deferred, &mut |id| found.push(id))
        .unwrap();
    assert_eq!(found, [id()]);
    assert_eq!(store.retry(id(), Place::Deferred).unwrap(), retry);

    let second = Deferral {
        outcomes: vec![outcome("still later")],
        ..deferral
    };
    store.defer(id(), Place::Deferred, &second).unwrap();
    let message = store.read(id(), Place::Deferred).unwrap();
    store.check(&message).unwrap();
    assert_eq!(
        message.states,
        [State::Delivered, State::Waiting, State::Failed]
    );
    assert_eq!(
        store.outcomes(&message).unwrap(),
        [outcome("later"), outcome("still later")]
    );

    store
        .mark(id(), Place::Deferred, &[(1, State::Delivered)], true)
        .unwrap();
    let message = store.read(id(), Place::Deferred).unwrap();
    assert_eq!(message.states[1], State::Delivered);
    store.remove(id(), Place::Deferred).unwrap();
    assert!(matches!(
        store.read(id(), Place::Deferred),
        Err(ReadError::Missing)
    ));
}

#[test]
fn one_manager_per_queue() {
    let tmp = tempfile::tempdir().unwrap();
    let open = || Store::open(Dir::open(tmp.path()).unwrap(), 0o700);
    let first = open().unwrap();
    assert!(matches!(open(), Err(OpenError::Locked)));
    drop(first);
    open().unwrap();
}

#[test]
fn modes_are_as_asked() {
    let tmp = tempfile::tempdir().unwrap();
    let _store = Store::open(Dir::open(tmp.path()).unwrap(), 0o700).unwrap();
    let incoming = Incoming::new(Dir::open(tmp.path().join("incoming")).unwrap(), 0o060);
    let mut writer = incoming.begin(id(), &envelope(1)).unwrap();
    writer.write(b"x").unwrap();
    writer.finish().commit().unwrap();
    let mode = |path: &str| {
        tmp.path()
            .join(path)
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    // The usual umask leaves the reading half of the group's bits.
    assert_eq!(mode(&format!("incoming/{}", id())) & !0o020, 0o040);
    assert_eq!(mode("deferred"), 0o700);
    assert_eq!(mode("corrupt"), 0o700);
}

#[test]
fn what_is_no_message_goes_to_corrupt() {
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::open(Dir::open(tmp.path()).unwrap(), 0o700).unwrap();
    let file = |n| QueueId::new(1, n);
    let path = |id: QueueId| tmp.path().join("incoming").join(id.as_str());
    std::fs::write(path(file(1)), [b'x'; 500]).unwrap();
    assert!(matches!(
        store.examine(file(1)),
        Ok(Examined::Condemned(FormatError::Foreign))
    ));
    assert!(tmp.path().join("corrupt").join(file(1).as_str()).exists());
    nix_fifo(&path(file(2)));
    assert!(matches!(
        store.read(file(2), Place::Incoming),
        Err(ReadError::Format(_))
    ));
    assert!(matches!(store.examine(file(2)), Ok(Examined::Condemned(_))));
    std::fs::write(path(file(3)), [0; 500]).unwrap();
    assert!(matches!(store.examine(file(3)), Ok(Examined::Removed)));
    assert!(!path(file(3)).exists());
    assert!(matches!(store.examine(file(4)), Ok(Examined::Missing)));
    let held = File::create(path(file(5))).unwrap();
    held.lock().unwrap();
    assert!(matches!(store.examine(file(5)), Ok(Examined::Writing)));
    assert!(path(file(5)).exists());
}

fn nix_fifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo")
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

#[test]
fn a_message_is_read_at_once_whatever_its_envelope() {
    // Around the size of the first read.
    for recipients in [1, 2, 170, 178, 179, 180, 181, 182, 200, 5_000] {
        let disk = queue();
        let writer = incoming(&disk).begin(id(), &envelope(recipients)).unwrap();
        writer.finish().commit().unwrap();
        let message = store(&disk).read(id(), Place::Incoming).unwrap();
        assert_eq!(message.envelope, envelope(recipients));
    }
}

#[test]
fn calls_of_a_small_message() {
    let disk = queue();
    let incoming = incoming(&disk);
    let before = disk.calls();
    submit(&incoming, &[b'x'; 4_096]).unwrap();
    // Create, lock, look, write, seal, sync, sync the directory.
    assert_eq!(disk.calls() - before, 7);
    let store = store(&disk);
    let before = disk.calls();
    store.read(id(), Place::Incoming).unwrap();
    store.remove(id(), Place::Incoming).unwrap();
    // Open, read, unlink.
    assert_eq!(disk.calls() - before, 3);
}

#[test]
fn the_log_is_bounded() {
    let disk = queue();
    submit(&incoming(&disk), b"x").unwrap();
    let store = store(&disk);
    let mut place = Place::Incoming;
    let long = Outcome {
        text: "t".repeat(500),
        recipients: (0..1_000).collect(),
        ..outcome("")
    };
    for attempts in 0..260 {
        let retry = Retry {
            attempts,
            ..Retry::default()
        };
        let deferral = Deferral {
            retry,
            outcomes: vec![long.clone()],
            ..Deferral::default()
        };
        store.defer(id(), place, &deferral).unwrap();
        place = Place::Deferred;
    }
    let message = store.read(id(), place).unwrap();
    let size = message.file.facts().unwrap().length - message.header.log_offset();
    assert!(size <= LOG_MAX && size > LOG_MAX - 5_000, "{size}");
    assert_eq!(message.retry.attempts, 259);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However the content is cut into blocks, the file is the same.
    #[test]
    fn any_blocks(sizes in proptest::collection::vec(0..3 * BUFFER_MAX, 0..6)) {
        let whole: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|n| (n % 251) as u8).collect();
        let disk = queue();
        let mut writer = incoming(&disk).begin(id(), &envelope(2)).unwrap();
        let mut rest = whole.as_slice();
        for size in sizes {
            let (block, after) = rest.split_at(size);
            writer.write(block).unwrap();
            rest = after;
        }
        writer.finish().commit().unwrap();
        let store = store(&disk);
        let message = store.read(id(), Place::Incoming).unwrap();
        store.check(&message).unwrap();
        prop_assert_eq!(content_of(&message), whole);
    }

    /// A file cut anywhere, or with a flipped bit anywhere before the log, is not taken for whole.
    #[test]
    fn damage_is_seen(at in 0..1_000_000usize, bit in 0..8u8, cut: bool) {
        let disk = queue();
        submit(&incoming(&disk), &[b'x'; 3_000]).unwrap();
        let store = store(&disk);
        let message = store.read(id(), Place::Incoming).unwrap();
        let length = message.header.log_offset() as usize;
        let mut octets = vec![0; length];
        crate::files::read_full_at(&message.file, &mut octets, 0).unwrap();
        let at = at % length;
        // The retry block is checked by itself, and its damage means "due now".
        prop_assume!(cut || !(64..128).contains(&at));
        if cut { octets.truncate(at) } else { octets[at] ^= 1 << bit }
        let tmp = tempfile::tempdir().unwrap();
        let real = Store::open(Dir::open(tmp.path()).unwrap(), 0o700).unwrap();
        std::fs::write(tmp.path().join("incoming").join(id().as_str()), &octets).unwrap();
        let read = real.read(id(), Place::Incoming).and_then(|m| real.check(&m));
        prop_assert!(read.is_err(), "octet {at}");
    }
}
