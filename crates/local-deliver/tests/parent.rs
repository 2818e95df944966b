//! The real program: hello, workers, refusals, and who a worker is afterwards.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::packet::{Packet, Packets};
use daemon::process::{self, Order, Spawn};
use queue::id::QueueId;
use queue::wire::local::{Delivery, FromParent, Outcome, ToParent};
use queue::wire::{Content, HELLO, PACKET_MAX};

/// Nothing here waits for time; this only keeps a broken program from hanging the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that no account of the machine has.
const UID: u32 = 712_345;

struct House {
    dir: tempfile::TempDir,
    channel: Packets,
    pid: u32,
}

impl House {
    /// A parent that has said hello, with the mailboxes `al` and `bo`.
    fn start() -> Self {
        Self::start_with(|homes| {
            let line =
                |name: &str, uid| format!("{name}:{uid}:{uid}:{}:\n", homes.join(name).display());
            line("al", UID) + &line("bo", UID + 1)
        })
    }

    /// The same with another users table; the homes of `al` and `bo` exist.
    fn start_with(table: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let config = dir.path().join("hikyaku.toml");
        fs::write(
            &config,
            "hostname = \"h.example.org\"\ndomains = [\"example.org\"]\n[users]\nsystem = false\n\
             [log]\ntarget = \"stderr\"\n[queue]\ndelivery_time = \"1s\"\n",
        )
        .unwrap();
        for (number, name) in ["al", "bo"].into_iter().enumerate() {
            let home = dir.path().join(name);
            fs::create_dir(&home).unwrap();
            fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
            let uid = UID + u32::try_from(number).unwrap();
            if process::is_root() {
                std::os::unix::fs::chown(&home, Some(uid), Some(uid)).unwrap();
            }
        }
        fs::write(dir.path().join("users"), table(dir.path())).unwrap();
        let (channel, theirs) = Packets::pair().unwrap();
        let pid = Spawn::new(env!("CARGO_BIN_EXE_local-deliver"))
            .arg("--config")
            .arg(&config)
            .give("deliver", theirs.as_fd())
            .start()
            .unwrap();
        drop(theirs);
        channel.set_nonblocking(false).unwrap();
        let house = Self { dir, channel, pid };
        assert_eq!(receive(&house.channel).0, HELLO);
        house
    }

    fn home(&self, user: &str) -> PathBuf {
        self.dir.path().join(user)
    }

    fn ask(&self, user: &str) {
        let mut packet = Vec::new();
        ToParent::Worker { user }.encode(&mut packet).unwrap();
        self.channel.send(&packet, None).unwrap();
    }

    /// A worker's socket.
    fn worker(&self, user: &str) -> Packets {
        self.ask(user);
        let (packet, got) = receive(&self.channel);
        let decoded = FromParent::decode(&packet);
        assert!(matches!(decoded, Ok(FromParent::Worker { user: u, .. }) if u == user));
        let socket = Packets::from_fd(got.descriptor.unwrap()).unwrap();
        socket.set_nonblocking(false).unwrap();
        socket
    }
}

impl Drop for House {
    fn drop(&mut self) {
        // A worker that the test has stopped would outlive it.
        for worker in children(self.pid) {
            let _ = process::order(worker, Order::Kill);
        }
        let _ = process::order(self.pid, Order::Kill);
    }
}

fn receive(socket: &Packets) -> (Vec<u8>, Packet) {
    let mut buffer = vec![0; PACKET_MAX];
    let packet = socket.recv(&mut buffer).unwrap();
    buffer.truncate(packet.length);
    (buffer, packet)
}

fn deliver(worker: &Packets, number: u64) -> String {
    let content = b"Subject: x\r\n\r\nbody\r\n";
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    let mut packet = Vec::new();
    Delivery {
        number,
        repeat: false,
        sync_directory: false,
        id: QueueId::new(1_700_000_000_000, number),
        index: 0,
        content: Content {
            offset: 0,
            length: content.len() as u64,
        },
        reverse_path: "",
        recipient: "al@example.org",
    }
    .encode(&mut packet)
    .unwrap();
    worker.send(&packet, Some(file.as_fd())).unwrap();
    let (answer, _) = receive(worker);
    let outcome = Outcome::decode(&answer).unwrap();
    assert_eq!(outcome.number, number);
    format!("{} {}", outcome.status, outcome.text)
}

/// Process ids of the parent's children.
fn children(parent: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let list = list.unwrap_or_default();
    list.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn status(pid: u32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_once(':')
        .unwrap()
        .1
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn questions_before_the_hello_are_void() {
    let house = House::start();
    house.ask("al");
    house.ask("nobody");
    house.channel.send(HELLO, None).unwrap();
    house.ask("stranger");
    let (packet, _) = receive(&house.channel);
    match FromParent::decode(&packet) {
        Ok(FromParent::Refused {
            user: "stranger",
            status,
            ..
        }) => assert_eq!(status.to_string(), "5.1.1"),
        other => panic!("{other:?}"),
    }
    assert!(children(house.pid).is_empty());
}

#[test]
fn a_worker_is_the_user_and_nothing_else() {
    let house = House::start();
    house.channel.send(HELLO, None).unwrap();
    let worker = house.worker("al");
    assert_eq!(deliver(&worker, 1), "2.0.0 delivered to Maildir");
    assert_eq!(deliver(&worker, 2), "2.0.0 delivered to Maildir");
    let [pid] = children(house.pid)[..] else {
        panic!("one worker")
    };
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    assert_eq!(status(pid, "Seccomp"), "2");
    let new = house.home("al").join("Maildir/new");
    assert_eq!(fs::read_dir(&new).unwrap().count(), 2);
    // A packet socket, the log, and the Maildir's four directories; nothing of the parent's.
    if process::is_root() {
        assert_eq!(status(pid, "Uid"), format!("{UID} {UID} {UID} {UID}"));
        assert_eq!(status(pid, "Gid"), format!("{UID} {UID} {UID} {UID}"));
        assert_eq!(status(pid, "Groups"), UID.to_string());
        assert_eq!(status(pid, "CapEff"), "0000000000000000");
        assert_eq!(status(pid, "CapPrm"), "0000000000000000");
        let mut open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| {
                fs::read_link(entry.unwrap().path())
                    .unwrap()
                    .display()
                    .to_string()
            })
            .filter(|target| target.starts_with("socket:") || target.starts_with("anon_inode"))
            .collect();
        open.retain(|target| !target.starts_with("pipe:"));
        assert_eq!(open.len(), 1, "{open:?}");
        for part in ["", "tmp", "new", "cur"] {
            let made = fs::metadata(house.home("al").join("Maildir").join(part)).unwrap();
            assert_eq!((made.uid(), made.mode() & 0o7777), (UID, 0o700), "{part}");
        }
        for entry in fs::read_dir(&new).unwrap() {
            let made = entry.unwrap().metadata().unwrap();
            assert_eq!((made.uid(), made.mode() & 0o7777), (UID, 0o600));
        }
    }
    // Two users, two workers.
    let _other = house.worker("bo");
    assert_eq!(children(house.pid).len(), 2);
}

/// Another user's mailbox stays closed even when the table sends a worker there.
#[test]
fn another_users_home_is_not_reachable() {
    if !process::is_root() {
        eprintln!("needs root: skipped");
        return;
    }
    let house = House::start_with(|homes| {
        let (al, bo) = (homes.join("al"), homes.join("bo").join("Maildir"));
        format!("al:{UID}:{UID}:{}:{}\n", al.display(), bo.display())
    });
    let bo = house.home("bo");
    house.channel.send(HELLO, None).unwrap();
    let worker = house.worker("al");
    assert_eq!(deliver(&worker, 1), "4.3.5 mailbox can't be written");
    assert!(!bo.join("Maildir").exists());
}

#[test]
fn a_worker_ends_when_its_socket_closes_and_the_parent_when_the_channel_does() {
    let house = House::start();
    house.channel.send(HELLO, None).unwrap();
    let worker = house.worker("al");
    let [worker_pid] = children(house.pid)[..] else {
        panic!("one worker")
    };
    let watch = stat(worker_pid);
    drop(worker);
    wait(&watch);
    let watch = stat(house.pid);
    house.channel.send(b"Xnonsense", None).unwrap();
    // The nonsense was survived: the next question is answered.
    house.ask("stranger");
    receive(&house.channel);
    let (mut house, (gone, _)) = (house, Packets::pair().unwrap());
    drop(std::mem::replace(&mut house.channel, gone));
    wait(&watch);
}

/// The process's line in /proc: reading it fails once the process is gone, whoever has its
/// number then.
fn stat(pid: u32) -> File {
    File::open(format!("/proc/{pid}/stat")).unwrap()
}

/// Waits until the process is gone or a zombie.
fn wait(stat: &File) {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = [0; 512];
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "it lives still");
        match stat.read_at(&mut buffer, 0) {
            Ok(n) if !buffer[..n].windows(4).any(|w| w == b") Z ") && n > 0 => {
                std::thread::yield_now()
            }
            _ => return,
        }
    }
}

fn stop(pid: u32) {
    let done = std::process::Command::new("kill")
        .args(["-STOP", &pid.to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

impl House {
    /// A worker's number, and its socket.
    fn hire(&self, user: &str) -> (u32, Packets) {
        self.ask(user);
        let (packet, got) = receive(&self.channel);
        let Ok(FromParent::Worker { worker, .. }) = FromParent::decode(&packet) else {
            panic!("{packet:?}")
        };
        (worker, Packets::from_fd(got.descriptor.unwrap()).unwrap())
    }

    fn kill(&self, worker: u32) {
        let mut packet = Vec::new();
        ToParent::Kill { worker }.encode(&mut packet).unwrap();
        self.channel.send(&packet, None).unwrap();
    }

    /// What a user without a worker gets to hear.
    fn refusal(&self, user: &str) -> String {
        self.ask(user);
        let (packet, _) = receive(&self.channel);
        let Ok(FromParent::Refused { status, .. }) = FromParent::decode(&packet) else {
            panic!("{packet:?}")
        };
        status.to_string()
    }
}

#[test]
fn a_worker_that_hangs_is_killed_on_request_and_nobody_else() {
    let house = House::start();
    house.channel.send(HELLO, None).unwrap();
    let mut stranger = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let (worker, _socket) = house.hire("al");
    let (_, others) = house.hire("bo");
    assert!(children(house.pid).contains(&worker));
    let watch = stat(worker);
    stop(worker);
    house.kill(stranger.id());
    house.kill(house.pid);
    house.kill(worker);
    wait(&watch);
    // While it ends, and for a while after, the user gets no other worker; another user does.
    assert_eq!(house.refusal("al"), "4.3.0");
    house.hire("bo");
    assert!(stranger.try_wait().unwrap().is_none(), "not ours to kill");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    others.set_nonblocking(false).unwrap();
    assert_eq!(deliver(&others, 1), "2.0.0 delivered to Maildir");
}

#[test]
fn workers_of_a_queue_manager_that_is_gone_end_in_time() {
    let house = House::start();
    house.channel.send(HELLO, None).unwrap();
    let (hangs, _first) = house.hire("al");
    let (lives, second) = house.hire("bo");
    let (hanging, living) = (stat(hangs), stat(lives));
    stop(hangs);
    // The new one says hello; the old one's sockets close.
    drop(second);
    house.channel.send(HELLO, None).unwrap();
    wait(&living);
    wait(&hanging);
    assert_eq!(house.refusal("al"), "4.3.0");
    house.hire("bo");
}
