//! One queue-manager in a directory of its own, and the other ends of its sockets.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, chown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use daemon::dir::Dir;
use daemon::packet::Packets;
use daemon::process::{Identity, Order, Spawn, is_root, order};
use queue::wire::local::{Delivery, FromParent, Outcome, ToParent};
use queue::wire::remote::{Answer, FromRemote, ToRemote, Transaction};
use queue::wire::{Content, HELLO, PACKET_MAX};
use queue::{Arrival, Envelope, Incoming, QueueId, Recipient, Status, Store};

/// Who the program runs as where the tests run as root: in single-user mode all the same.
const NOBODY: u32 = 65_534;

/// Nothing here waits for time; this only keeps a broken program from hanging the tests.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn envelope(from: &str, to: &[&str]) -> Envelope {
    Envelope {
        reverse_path: from.into(),
        recipients: to.iter().map(|address| Recipient::new(*address)).collect(),
        arrival: Arrival {
            time: daemon::clock::unix_seconds(),
            ..Arrival::default()
        },
        ..Envelope::default()
    }
}

/// A delivery as a worker got it.
pub struct Work {
    pub user: String,
    pub number: u64,
    pub id: QueueId,
    pub index: u32,
    pub repeat: bool,
    pub content: Content,
    pub reverse_path: String,
    pub recipient: String,
    pub file: File,
    worker: usize,
}

pub struct House {
    dir: tempfile::TempDir,
    trigger: (Packets, Packets),
    deliver: (Packets, Packets),
    remote: (Packets, Packets),
    replace: (Packets, Packets),
    pid: Option<u32>,
    log: Option<Receiver<String>>,
    seen: Vec<String>,
    workers: HashMap<usize, (String, Packets)>,
    made: usize,
    ready: VecDeque<Work>,
    serial: u64,
}

fn pair() -> (Packets, Packets) {
    let (ours, theirs) = Packets::pair().unwrap();
    patient(&ours);
    (ours, theirs)
}

/// Our end waits, but not for ever.
fn patient(ours: &Packets) {
    ours.set_nonblocking(false).unwrap();
    let stream = UnixStream::from(OwnedFd::from(ours.try_clone().unwrap()));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
}

fn receive(socket: &Packets) -> (Vec<u8>, Option<OwnedFd>) {
    let mut buffer = vec![0; PACKET_MAX];
    let packet = socket.recv(&mut buffer).unwrap();
    assert!(packet.length > 0, "closed");
    buffer.truncate(packet.length);
    (buffer, packet.descriptor)
}

impl House {
    /// A house that runs.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// A house with more in its configuration.
    pub fn start_with(more: &str) -> Self {
        let mut house = Self::prepare_with(more);
        house.again();
        house
    }

    /// A house whose queue-manager does not run yet.
    pub fn prepare() -> Self {
        Self::prepare_with("")
    }

    fn prepare_with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let file = root.join("hikyaku.toml");
        let text = format!(
            "root = \"{}\"\nhostname = \"mx.here.example\"\ndomains = [\"here.example\"]\n\
             [users]\nsystem = false\n[log]\ntarget = \"stderr\"\nlevel = \"debug\"\n{more}",
            root.display()
        );
        fs::write(&file, text).unwrap();
        let config = config::Config::load(&file).unwrap();
        fs::create_dir_all(config.paths.queue.join("incoming")).unwrap();
        fs::create_dir_all(&config.paths.etc).unwrap();
        let users: String = ["al", "bo", "postmaster"]
            .iter()
            .map(|name| format!("{name}:1234:1234:/nowhere/{name}:\n"))
            .collect();
        fs::write(&config.users.file, users).unwrap();
        if is_root() {
            for path in [
                root.to_owned(),
                config.paths.queue.clone(),
                config.paths.queue.join("incoming"),
            ] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        Self {
            dir,
            trigger: pair(),
            deliver: pair(),
            remote: pair(),
            replace: pair(),
            pid: None,
            log: None,
            seen: Vec::new(),
            workers: HashMap::new(),
            made: 0,
            ready: VecDeque::new(),
            serial: 0,
        }
    }

    fn queue(&self) -> PathBuf {
        let config = config::Config::load(&self.dir.path().join("hikyaku.toml")).unwrap();
        config.paths.queue
    }

    fn spawn(&self) -> (u32, UnixStream) {
        let (log, error) = UnixStream::pair().unwrap();
        let mut spawn = Spawn::new(env!("CARGO_BIN_EXE_queue-manager"))
            .arg("--config")
            .arg(self.dir.path().join("hikyaku.toml"))
            .give("trigger", self.trigger.1.as_fd())
            .give("deliver", self.deliver.1.as_fd())
            .give("remote", self.remote.1.as_fd())
            .give("replace", self.replace.1.as_fd())
            .stderr(error.as_fd());
        if is_root() {
            spawn = spawn.identity(Identity {
                uid: NOBODY,
                gid: NOBODY,
            });
        }
        (spawn.start().unwrap(), log)
    }

    /// Starts it, or starts it again.
    pub fn again(&mut self) {
        self.workers.clear();
        self.ready.clear();
        let (pid, log) = self.spawn();
        self.pid = Some(pid);
        // Taken at once: a full socket would stop the program.
        let (lines, taken) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        self.log = Some(taken);
        self.wait("serving", "");
        // What it said before, if it ran before, is void.
        for socket in [&self.deliver.0, &self.remote.0] {
            while receive(socket).0 != HELLO {}
        }
    }

    /// Starts a second one on the same queue; gives its last words.
    pub fn second(&self) -> String {
        let (_, mut log) = self.spawn();
        log.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for a log line of this event that holds `text`.
    pub fn wait(&mut self, event: &str, text: &str) {
        let wanted =
            |line: &String| line.split_whitespace().nth(1) == Some(event) && line.contains(text);
        if let Some(at) = self.seen.iter().position(wanted) {
            self.seen.remove(at);
            return;
        }
        loop {
            let line = self
                .line()
                .unwrap_or_else(|| panic!("no {event} {text} in {:#?}", self.seen));
            if wanted(&line) {
                return;
            }
            self.seen.push(line);
        }
    }

    fn line(&mut self) -> Option<String> {
        match self.log.as_ref()?.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the program said nothing for too long"),
        }
    }

    /// Waits until it has ended.
    pub fn wait_end(&mut self) {
        while let Some(line) = self.line() {
            self.seen.push(line);
        }
        self.pid = None;
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid {
            order(pid, Order::Kill).unwrap();
            self.wait_end();
        }
    }

    /// SIGTERM.
    pub fn terminate(&mut self) {
        order(self.pid.unwrap(), Order::Stop).unwrap();
    }

    /// Closes every other end.
    pub fn shut(&mut self) {
        self.trigger = pair();
        self.deliver = pair();
        self.remote = pair();
    }

    /// Opens the queue in its place; only while it does not run.
    pub fn store(&self) -> Store<Dir> {
        Store::open(Dir::open(self.queue()).unwrap(), 0o700).unwrap()
    }

    /// Every message's file, by its path in the queue.
    pub fn files(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut folders = vec![self.queue()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("lock") {
                    all.push(
                        path.strip_prefix(self.queue())
                            .unwrap()
                            .display()
                            .to_string(),
                    );
                }
            }
        }
        all
    }

    /// Takes log lines until the queue is empty.
    pub fn until_empty(&mut self) {
        while !self.files().is_empty() {
            let line = self.line().expect("ended");
            self.seen.push(line);
        }
    }

    /// Writes a message as smtpd does and keeps quiet about it.
    pub fn write(&mut self, envelope: Envelope, text: &[u8]) -> QueueId {
        self.serial += 1;
        let id = QueueId::new(daemon::clock::unix_millis(), self.serial);
        let incoming = Incoming::new(Dir::open(self.queue().join("incoming")).unwrap(), 0o600);
        let mut writer = incoming.begin(id, &envelope).unwrap();
        writer.write(text).unwrap();
        writer.finish().commit().unwrap();
        self.give_away(id);
        id
    }

    /// Writes a message and announces it.
    pub fn submit(&mut self, envelope: Envelope, text: &[u8]) -> QueueId {
        let id = self.write(envelope, text);
        self.announce(&format!("+{id}"));
        id
    }

    /// Says something as smtpd.
    pub fn announce(&self, text: &str) {
        self.trigger.0.send(text.as_bytes(), None).unwrap();
    }

    /// Puts octets under a message's name.
    pub fn put_file(&self, id: QueueId, octets: &[u8]) {
        fs::write(self.queue().join("incoming").join(id.as_str()), octets).unwrap();
        self.give_away(id);
    }

    /// Changes one octet of a message.
    pub fn flip(&self, id: QueueId, at: u64) {
        let path = self.queue().join("incoming").join(id.as_str());
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_at(b"!", at).unwrap();
    }

    fn give_away(&self, id: QueueId) {
        if is_root() {
            chown(
                self.queue().join("incoming").join(id.as_str()),
                Some(NOBODY),
                Some(NOBODY),
            )
            .unwrap();
        }
    }

    /// Takes requests for workers and makes them until a delivery comes.
    pub fn next_delivery(&mut self) -> Work {
        loop {
            if let Some(work) = self.ready.pop_front() {
                return work;
            }
            // Whichever socket has something: the workers' in turn, then the parent's.
            let mut slots: Vec<usize> = self.workers.keys().copied().collect();
            slots.sort_unstable();
            for slot in slots {
                self.take_work(slot, false);
            }
            if self.ready.is_empty() {
                self.wait_any();
            }
        }
    }

    /// Blocks until the parent's or a worker's socket can be read.
    fn wait_any(&mut self) {
        let mut poll = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(8);
        let parent = mio::Token(usize::MAX - 1);
        let mut copies = vec![(parent, self.deliver.0.try_clone().unwrap())];
        for (slot, (_, socket)) in &self.workers {
            copies.push((mio::Token(*slot), socket.try_clone().unwrap()));
        }
        for (token, socket) in &mut copies {
            poll.registry()
                .register(socket, *token, mio::Interest::READABLE)
                .unwrap();
        }
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "nothing came: {:#?}", self.seen);
        for event in &events {
            if event.token() == parent {
                self.make_worker();
            } else {
                self.take_work(event.token().0, true);
            }
        }
    }

    fn make_worker(&mut self) {
        let (octets, _) = receive(&self.deliver.0);
        let user = match ToParent::decode(&octets).unwrap() {
            ToParent::Hello => panic!("a hello out of turn"),
            ToParent::Worker { user } => user.to_owned(),
            ToParent::Kill { .. } => panic!("no worker was slow"),
        };
        let (ours, theirs) = Packets::pair().unwrap();
        let mut packet = Vec::new();
        FromParent::Worker {
            user: &user,
            worker: 1,
        }
        .encode(&mut packet)
        .unwrap();
        self.deliver.0.send(&packet, Some(theirs.as_fd())).unwrap();
        self.made += 1;
        self.workers.insert(self.made, (user, ours));
    }

    fn take_work(&mut self, slot: usize, must: bool) {
        let Some((user, socket)) = self.workers.get(&slot) else {
            return;
        };
        let mut buffer = vec![0; PACKET_MAX];
        let packet = match socket.recv(&mut buffer) {
            Ok(packet) if packet.length > 0 => packet,
            Ok(_) => {
                self.workers.remove(&slot);
                return;
            }
            Err(error) => {
                assert!(
                    !must || error.kind() == std::io::ErrorKind::WouldBlock,
                    "{error}"
                );
                return;
            }
        };
        let delivery = Delivery::decode(&buffer[..packet.length]).unwrap();
        self.ready.push_back(Work {
            user: user.clone(),
            number: delivery.number,
            id: delivery.id,
            index: delivery.index,
            repeat: delivery.repeat,
            content: delivery.content,
            reverse_path: delivery.reverse_path.into(),
            recipient: delivery.recipient.into(),
            file: packet.descriptor.unwrap().into(),
            worker: slot,
        });
    }

    /// Answers as the worker.
    pub fn answer(&self, work: &Work, status: Status) {
        let mut packet = Vec::new();
        Outcome {
            number: work.number,
            status,
            text: "so be it",
        }
        .encode(&mut packet)
        .unwrap();
        self.workers[&work.worker].1.send(&packet, None).unwrap();
    }

    /// The worker dies.
    pub fn drop_worker(&mut self, work: &Work) {
        self.workers.remove(&work.worker);
    }

    pub fn workers_made(&self) -> usize {
        self.made
    }

    /// Takes one request for a worker and forgets it.
    pub fn swallow_worker_request(&mut self) {
        let (octets, _) = receive(&self.deliver.0);
        assert!(matches!(
            ToParent::decode(&octets),
            Ok(ToParent::Worker { .. })
        ));
    }

    /// Answers one request for a worker with a refusal.
    pub fn refuse_worker(&mut self, status: Status) {
        let (octets, _) = receive(&self.deliver.0);
        let Ok(ToParent::Worker { user }) = ToParent::decode(&octets) else {
            panic!()
        };
        let mut packet = Vec::new();
        FromParent::Refused {
            user,
            status,
            text: "not him",
        }
        .encode(&mut packet)
        .unwrap();
        self.deliver.0.send(&packet, None).unwrap();
    }

    /// Says that the first recipient of a transaction has got it.
    pub fn answer_transaction(&self, number: u64) {
        self.answer_transaction_for(number, 0);
    }

    /// The same of another recipient.
    pub fn answer_transaction_for(&self, number: u64, index: u32) {
        let mut packet = Vec::new();
        let answer = Answer {
            number,
            status: Status::DELIVERED,
            scope: queue::wire::remote::Scope::Recipient,
            host: "h",
            text: "",
            recipients: vec![index],
        };
        FromRemote::Answer(answer).encode(&mut packet).unwrap();
        self.remote.0.send(&packet, None).unwrap();
    }

    /// Takes the order to kill a worker; its number.
    pub fn killed_worker(&self) -> u32 {
        let (octets, _) = receive(&self.deliver.0);
        match ToParent::decode(&octets) {
            Ok(ToParent::Kill { worker }) => worker,
            other => panic!("{other:?}"),
        }
    }

    /// Takes what mail-start is asked to replace.
    pub fn to_replace(&self) -> Vec<u8> {
        receive(&self.replace.0).0
    }

    /// Takes the question whether remote-send lives.
    pub fn asked_for_life(&self) {
        let (octets, _) = receive(&self.remote.0);
        assert_eq!(ToRemote::decode(&octets), Ok(ToRemote::Ping));
    }

    /// Says that it does.
    pub fn remote_lives(&self) {
        let mut packet = Vec::new();
        FromRemote::Alive.encode(&mut packet).unwrap();
        self.remote.0.send(&packet, None).unwrap();
    }

    pub fn deliver_says_hello(&self) {
        self.deliver.0.send(HELLO, None).unwrap();
        let (octets, _) = receive(&self.deliver.0);
        assert_eq!(ToParent::decode(&octets), Ok(ToParent::Hello));
    }

    pub fn remote_says_hello(&self) {
        self.remote.0.send(HELLO, None).unwrap();
        let (octets, _) = receive(&self.remote.0);
        assert_eq!(ToRemote::decode(&octets), Ok(ToRemote::Hello));
    }

    /// Takes a transaction and answers it.
    pub fn next_transaction(
        &mut self,
        run: impl for<'a> FnOnce(&'a Transaction<'a>, &File) -> Vec<Answer<'a>>,
    ) {
        let (octets, file) = receive(&self.remote.0);
        let ToRemote::Transaction(transaction) = ToRemote::decode(&octets).unwrap() else {
            panic!()
        };
        let file = File::from(file.unwrap());
        for answer in run(&transaction, &file) {
            let mut packet = Vec::new();
            FromRemote::Answer(answer).encode(&mut packet).unwrap();
            self.remote.0.send(&packet, None).unwrap();
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.take() {
            let _ = order(pid, Order::Kill);
        }
        if std::thread::panicking() {
            let mut error = std::io::stderr();
            for line in &self.seen {
                let _ = writeln!(error, "{line}");
            }
        }
    }
}
