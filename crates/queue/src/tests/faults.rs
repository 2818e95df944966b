//! Every call fails, is cut short, or is the last one before a kill.

use std::io::ErrorKind;

use super::{id, incoming, queue, store, submit};
use crate::files::memory::{Disk, Survives};
use crate::format::outcome::Outcome;
use crate::format::state::{Retry, State};
use crate::incoming::CommitError;
use crate::reply::Status;
use crate::store::{Deferral, Examined, Place, ReadError};

static SMALL: [u8; 3_000] = [b's'; 3_000];
static LARGE: [u8; 50_000] = [b'l'; 50_000];

/// What a new queue-manager finds; the message's content has been checked if it was there.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    Whole,
    Corrupt,
}

fn recover(disk: &Disk) -> Found {
    disk.restart();
    let store = store(disk);
    let mut names = Vec::new();
    store
        .scan(Place::Incoming, &mut |id| names.push(id))
        .unwrap();
    let found = match store.examine(id()).unwrap() {
        Examined::Missing | Examined::Removed => Found::Nothing,
        Examined::Writing => panic!("no writer lives"),
        Examined::Condemned(_) => Found::Corrupt,
        Examined::Sealed(message) => match store.check(&message) {
            Ok(()) => Found::Whole,
            Err(ReadError::Format(_)) => {
                store.condemn(id(), Place::Incoming).unwrap();
                Found::Corrupt
            }
            Err(error) => panic!("{error}"),
        },
    };
    // A second look finds the same, or nothing: nothing loops.
    match store.examine(id()).unwrap() {
        Examined::Sealed(_) => assert_eq!(found, Found::Whole),
        Examined::Missing => assert_ne!(found, Found::Whole),
        other => panic!("{other:?}"),
    }
    found
}

#[test]
fn a_failing_call_is_never_a_success() {
    for content in [&SMALL[..], &LARGE[..]] {
        for kind in [
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
            ErrorKind::Other,
            ErrorKind::ReadOnlyFilesystem,
        ] {
            let mut call = 0;
            loop {
                let disk = queue();
                let door = incoming(&disk);
                disk.fail_at(call, kind);
                let result = submit(&door, content);
                match &result {
                    Ok(_) => break,
                    Err(CommitError::Full(_)) => {
                        assert!(matches!(
                            kind,
                            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                        ));
                    }
                    Err(_) => assert!(matches!(
                        kind,
                        ErrorKind::Other | ErrorKind::ReadOnlyFilesystem
                    )),
                }
                // What was refused is not found, even without a crash.
                assert_eq!(recover(&disk), Found::Nothing, "call {call}, {kind}");
                call += 1;
            }
            assert!(call >= 7, "{call}");
        }
    }
}

#[test]
fn interrupted_and_short_writes_are_continued() {
    for call in 0..20 {
        for short in [true, false] {
            let disk = queue();
            let door = incoming(&disk);
            if short {
                disk.short_at(call);
            } else {
                disk.fail_at(call, ErrorKind::Interrupted);
            }
            let result = submit(&door, &LARGE);
            if short || result.is_ok() {
                assert_eq!(recover(&disk), Found::Whole);
            } else {
                assert_eq!(recover(&disk), Found::Nothing);
            }
        }
    }
}

#[test]
fn kill_and_power_loss_after_every_call() {
    for content in [&SMALL[..], &LARGE[..]] {
        for call in 0.. {
            let mut finished = false;
            let losses = [
                None,
                Some((Survives::Nothing, false)),
                Some((Survives::Nothing, true)),
                Some((Survives::Everything, false)),
                Some((Survives::Everything, true)),
                Some((Survives::FirstSector, true)),
            ];
            for loss in losses {
                let disk = queue();
                let door = incoming(&disk);
                disk.stop_after(call);
                let acknowledged = submit(&door, content).is_ok();
                finished |= acknowledged;
                if let Some((data, names)) = loss {
                    disk.power_loss(data, names);
                }
                let found = recover(&disk);
                if acknowledged {
                    assert_eq!(found, Found::Whole, "after {call} calls, {loss:?}");
                } else if loss.is_none() {
                    // A kill alone leaves a whole message or none.
                    assert_ne!(found, Found::Corrupt, "after {call} calls");
                }
            }
            if finished {
                assert!(call >= 7);
                break;
            }
        }
    }
}

#[test]
fn a_deferral_stopped_anywhere_forgets_nothing_durable() {
    let marks = vec![(0, State::Delivered)];
    let retry = Retry {
        due: 9,
        last: 8,
        attempts: 1,
        warned: false,
    };
    let outcome = Outcome {
        time: 8,
        status: Status::DEFERRED,
        host: String::new(),
        text: "t".into(),
        recipients: vec![1],
    };
    let deferral = Deferral {
        marks,
        retry,
        outcomes: vec![outcome],
        durable: true,
    };
    for call in 0.. {
        let mut finished = false;
        for names in [true, false] {
            for data in [Survives::Nothing, Survives::Everything] {
                let disk = queue();
                submit(&incoming(&disk), &SMALL).unwrap();
                let first = store(&disk);
                disk.stop_after(call);
                let done = first.defer(id(), Place::Incoming, &deferral).is_ok();
                finished |= done;
                disk.power_loss(data, names);
                let second = store(&disk);
                let found = second
                    .read(id(), Place::Deferred)
                    .or_else(|_| second.read(id(), Place::Incoming))
                    .unwrap_or_else(|error| panic!("lost after {call}: {error}"));
                second.check(&found).unwrap();
                assert_eq!(found.states[1], State::Waiting);
                if done {
                    assert_eq!(found.states[0], State::Delivered, "after {call}");
                    assert_eq!(found.retry, retry);
                }
            }
        }
        if finished {
            break;
        }
    }
}

/// The manager's part of a message's life, call by call, each being the last one before the
/// power goes.
#[test]
fn a_message_is_there_until_it_is_removed() {
    let done = |index| vec![(index, State::Delivered)];
    let retry = Retry {
        due: 9,
        last: 8,
        attempts: 1,
        warned: false,
    };
    let live = |store: &crate::store::Store<_>| -> std::io::Result<()> {
        let failed = |error: ReadError| std::io::Error::other(error.to_string());
        store.read(id(), Place::Incoming).map_err(failed)?;
        store.mark(id(), Place::Incoming, &done(0), false)?;
        let deferral = Deferral {
            marks: done(0),
            retry,
            outcomes: Vec::new(),
            durable: true,
        };
        store.defer(id(), Place::Incoming, &deferral)?;
        store.read(id(), Place::Deferred).map_err(failed)?;
        store.mark(id(), Place::Deferred, &done(1), true)?;
        store.remove(id(), Place::Deferred)
    };
    for call in 0.. {
        let mut finished = false;
        for names in [true, false] {
            for data in [Survives::Nothing, Survives::Everything] {
                let disk = queue();
                submit(&incoming(&disk), &SMALL).unwrap();
                let first = store(&disk);
                disk.stop_after(call);
                let done = live(&first).is_ok();
                finished |= done;
                disk.power_loss(data, names);
                let second = store(&disk);
                let found = second
                    .read(id(), Place::Deferred)
                    .or_else(|_| second.read(id(), Place::Incoming));
                match found {
                    Ok(message) => second.check(&message).unwrap(),
                    // Gone only when the removal was made and survived.
                    Err(_) => assert!(done && names, "lost after {call} calls: {data:?}"),
                }
            }
        }
        if finished {
            assert!(call > 10);
            break;
        }
    }
}
