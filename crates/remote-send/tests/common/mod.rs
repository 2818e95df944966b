//! The real remote-send with this test in queue-manager's place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, channel};

use daemon::packet::Packets;
use daemon::process::{Identity, Order, Spawn, is_root, order};
use queue::QueueId;
use queue::wire::remote::{FromRemote, NextHop, Recipient, Scope, ToRemote, Transaction};
use queue::wire::{Content, PACKET_MAX};
use testkit::PATIENCE;

/// An answer, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub number: u64,
    pub status: String,
    pub scope: Scope,
    pub host: String,
    pub text: String,
    pub recipients: Vec<u32>,
}

/// A running remote-send.
pub struct Fixture {
    pid: u32,
    packets: Packets,
    answers: Receiver<Option<Answer>>,
    lives: Receiver<()>,
    log: Option<std::thread::JoinHandle<String>>,
    next: u64,
    _root: tempfile::TempDir,
}

/// Nobody's uid: as root the program would want users that are not there.
const NOBODY: u32 = 65_534;

impl Fixture {
    /// Starts it with these lines in the table `[remote]`.
    pub fn start(remote: &str) -> Self {
        let mut fixture = Self::start_without_hello(remote);
        // What was said before the hello is void and must not be answered.
        let hop = NextHop::Host("127.0.0.1", 1);
        fixture.send(hop, "void@there.example", &["void@there.example"], b"x\r\n");
        fixture.say_hello();
        fixture
    }

    /// Answers the program's hello.
    pub fn say_hello(&mut self) {
        let mut hello = Vec::new();
        ToRemote::Hello.encode(&mut hello).unwrap();
        self.packets.send(&hello, None).unwrap();
    }

    /// Asks whether it lives, and waits for the answer.
    pub fn ping(&self) {
        self.packets.send(queue::wire::PING, None).unwrap();
        self.lives.recv_timeout(PATIENCE).expect("it lives");
    }

    /// Whether the program says hello in this time.
    pub fn hello_within(&mut self, time: std::time::Duration) -> bool {
        matches!(self.answers.recv_timeout(time), Ok(None))
    }

    /// Starts it, takes its hello and leaves it without an answer.
    pub fn start_without_hello(remote: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = root.path().join("hikyaku.toml");
        let text = format!(
            "hostname = \"me.example\"\ndomains = [\"me.example\"]\nroot = {:?}\n[log]\ntarget = \"stderr\"\n[remote]\n{remote}\n",
            root.path().display().to_string(),
        );
        std::fs::write(&file, text).unwrap();
        let (near, far) = Packets::pair().unwrap();
        let (mut ready, ready_far) = std::io::pipe().unwrap();
        let (mut log, log_far) = std::io::pipe().unwrap();
        let mut spawn = Spawn::new(env!("CARGO_BIN_EXE_remote-send"))
            .arg("--config")
            .arg(&file)
            .give("remote", far.as_fd())
            .give("ready", ready_far.as_fd())
            .stderr(log_far.as_fd());
        if is_root() {
            spawn = spawn.identity(Identity {
                uid: NOBODY,
                gid: NOBODY,
            });
        }
        let pid = spawn.start().unwrap();
        drop((far, ready_far, log_far));
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = log.read_to_string(&mut text);
            text
        });
        let mut one = [0; 1];
        let told = ready.read(&mut one).unwrap();
        assert!(told == 1, "not ready: {}", log.join().unwrap());
        let receiver = near.try_clone().unwrap();
        receiver.set_nonblocking(false).unwrap();
        let (sender, answers) = channel();
        let (alive, lives) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; PACKET_MAX];
            while let Ok(packet) = receiver.recv(&mut buffer) {
                if packet.length == 0 {
                    return;
                }
                let item = match FromRemote::decode(&buffer[..packet.length]).unwrap() {
                    FromRemote::Hello => None,
                    FromRemote::Alive => {
                        if alive.send(()).is_err() {
                            return;
                        }
                        continue;
                    }
                    FromRemote::Answer(answer) => Some(Answer {
                        number: answer.number,
                        status: answer.status.to_string(),
                        scope: answer.scope,
                        host: answer.host.to_owned(),
                        text: answer.text.to_owned(),
                        recipients: answer.recipients,
                    }),
                };
                if sender.send(item).is_err() {
                    return;
                }
            }
        });
        let fixture = Self {
            pid,
            packets: near,
            answers,
            lives,
            log: Some(log),
            next: 100,
            _root: root,
        };
        let first = fixture.answers.recv_timeout(PATIENCE).unwrap();
        assert_eq!(first, None, "the first packet is a hello");
        fixture
    }

    /// Asks for a transaction; gives its number.
    pub fn send(&mut self, next_hop: NextHop<'_>, from: &str, to: &[&str], content: &[u8]) -> u64 {
        self.send_with(next_hop, from, to, content, 0)
    }

    /// Announces `missing` octets more than the file has.
    pub fn send_cut(&mut self, next_hop: NextHop<'_>, content: &[u8], missing: u64) -> u64 {
        self.send_with(
            next_hop,
            "s@me.example",
            &["a@there.example"],
            content,
            missing,
        )
    }

    fn send_with(
        &mut self,
        next_hop: NextHop<'_>,
        from: &str,
        to: &[&str],
        content: &[u8],
        missing: u64,
    ) -> u64 {
        self.next += 1;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        file.write_all(content).unwrap();
        let transaction = Transaction {
            number: self.next,
            id: QueueId::new(1_780_000_000_000, self.next),
            reverse_path: from,
            eight_bit: false,
            utf8: false,
            content: Content {
                offset: 10,
                length: content.len() as u64 + missing,
            },
            next_hop,
            recipients: (0..)
                .zip(to)
                .map(|(index, address)| Recipient { index, address })
                .collect(),
        };
        let mut packet = Vec::new();
        transaction.encode(&mut packet).unwrap();
        self.packets.send(&packet, Some(file.as_fd())).unwrap();
        self.next
    }

    /// The next answer.
    pub fn answer(&self) -> Answer {
        self.answers
            .recv_timeout(PATIENCE)
            .expect("an answer in time")
            .expect("no second hello")
    }

    /// Answers until `count` recipients have one.
    pub fn answers(&self, count: usize) -> Vec<Answer> {
        let mut list: Vec<Answer> = Vec::new();
        while list
            .iter()
            .map(|answer| answer.recipients.len())
            .sum::<usize>()
            < count
        {
            match self.answers.recv_timeout(PATIENCE) {
                Ok(answer) => list.push(answer.expect("no second hello")),
                Err(error) => panic!("{error} after {list:#?}"),
            }
        }
        list
    }

    pub fn order(&self, what: Order) {
        order(self.pid, what).unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the end of the program, which has been told, and gives its log.
    pub fn wait_end(mut self) -> String {
        self.log.take().unwrap().join().unwrap()
    }

    /// Tells it to stop, waits for the end of the program and gives its log.
    pub fn end(mut self) -> String {
        let log = self.log.take().unwrap();
        order(self.pid, Order::Stop).unwrap();
        log.join().unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            let _ = order(self.pid, Order::Kill);
            let text = log.join().unwrap_or_default();
            if std::thread::panicking() {
                eprintln!("log of remote-send:\n{text}");
            }
        }
    }
}
