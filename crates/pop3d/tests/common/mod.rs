//! The real pop3d with a stand-in for authd that starts real sessions.

#![allow(dead_code)] // each test binary uses its own part
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use auth::protocol::{Answer, REQUEST_MAX, Refusal, Request, Service, Trouble};
use daemon::packet::Packets;
use daemon::process::{self, Identity, Order, Spawn};
use mailbox::Maildir;
use testkit::{Authority, PATIENCE};

/// A uid that no account of the machine has.
pub const UID: u32 = 712_346;

pub struct House {
    pub dir: tempfile::TempDir,
    pub authority: Authority,
    pub pop3: SocketAddr,
    pub pop3s: SocketAddr,
    pub pid: u32,
    /// banwatch's end.
    pub events: Packets,
    auth: Option<Packets>,
    authd: Option<JoinHandle<()>>,
}

/// What differs between the tests.
pub struct Setup {
    /// More lines for the configuration's `[pop3]`.
    pub pop3: &'static str,
    pub tls: bool,
    /// With `false` nobody answers password questions.
    pub authd: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            pop3: "",
            tls: true,
            authd: true,
        }
    }
}

impl House {
    pub fn start(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o711)).unwrap();
        let authority = Authority::new();
        fs::create_dir_all(path.join("run/empty")).unwrap();
        let mut text = format!(
            "hostname = \"localhost\"\ndomains = [\"example.org\"]\n[log]\ntarget = \"stderr\"\n\
             [paths]\nrun = \"{run}\"\n[pop3]\nclear_on_loopback = true\n{more}\n",
            run = path.join("run").display(),
            more = setup.pop3,
        );
        if process::is_root() {
            text.push_str("[roles]\npop3 = \"nobody\"\n");
        }
        if setup.tls {
            let (chain, key) = authority.write(path, &["localhost", "127.0.0.1"]);
            text += &format!(
                "[[tls.certificate]]\nchain = \"{}\"\nkey = \"{}\"\n",
                chain.display(),
                key.display()
            );
            fs::write(path.join("ca.pem"), authority.pem()).unwrap();
        }
        let config = path.join("hikyaku.toml");
        fs::write(&config, text).unwrap();

        let home = path.join("home");
        fs::create_dir(&home).unwrap();
        own(&home);

        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (clear, tls) = (listen(), listen());
        let (pop3, pop3s) = (clear.local_addr().unwrap(), tls.local_addr().unwrap());
        let (auth, theirs) = Packets::pair().unwrap();
        let (events, events_theirs) = Packets::pair().unwrap();
        let log = File::create(path.join("log")).unwrap();
        let (mut ready, ready_theirs) = std::io::pipe().unwrap();
        let mut spawn = Spawn::new(env!("CARGO_BIN_EXE_pop3d"))
            .arg("--config")
            .arg(&config)
            .stderr(log.as_fd())
            .give("auth-pop3", theirs.as_fd())
            .give("events", events_theirs.as_fd())
            .give("ready", ready_theirs.as_fd())
            .give("pop3", clear.as_fd());
        if setup.tls {
            spawn = spawn.give("pop3s", tls.as_fd());
        }
        let pid = spawn.start().unwrap();
        drop((theirs, ready_theirs, events_theirs, clear, tls));
        let mut octet = [0];
        ready
            .read_exact(&mut octet)
            .unwrap_or_else(|_| panic!("{}", read_log(path)));

        auth.set_nonblocking(false).unwrap();
        let patience = UnixStream::from(OwnedFd::from(auth.try_clone().unwrap()));
        patience.set_read_timeout(Some(PATIENCE)).unwrap();
        let authd = setup.authd.then(|| {
            let (channel, path) = (auth.try_clone().unwrap(), path.to_owned());
            std::thread::spawn(move || answer_all(&channel, &path))
        });
        Self {
            dir,
            authority,
            pop3,
            pop3s,
            pid,
            events,
            auth: Some(auth),
            authd,
        }
    }

    pub fn maildir(&self) -> PathBuf {
        self.dir.path().join("home/Maildir")
    }

    /// Puts a message into the mailbox, as its owner's.
    pub fn put(&self, name: &str, text: &[u8]) {
        Maildir::open_or_create(&self.maildir()).unwrap();
        for part in ["", "tmp", "new", "cur"] {
            own(&self.maildir().join(part));
        }
        let path = self.maildir().join("new").join(name);
        fs::write(&path, text).unwrap();
        own(&path);
    }

    /// The names of all messages.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = ["new", "cur"]
            .iter()
            .flat_map(|part| fs::read_dir(self.maildir().join(part)).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn log(&self) -> String {
        read_log(self.dir.path())
    }

    /// The next password question, when there is no authd; its reply descriptor.
    pub fn question(&self) -> (Request, UnixStream) {
        take(self.auth.as_ref().unwrap()).unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::new(self.pop3)
    }

    pub fn login(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.line(), "+OK POP3 ready");
        client.say("USER al");
        client.line();
        client.say("PASS right");
        assert!(client.line().starts_with("+OK "), "{}", self.log());
        client
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = process::order(self.pid, Order::Kill);
        // pop3d's end is closed by its death, but the parent of a fork may hold a copy: ours is
        // shut first.
        if let Some(auth) = self.auth.take() {
            let _ = UnixStream::from(OwnedFd::from(auth)).shutdown(std::net::Shutdown::Both);
        }
        if let Some(authd) = self.authd.take() {
            let _ = authd.join();
        }
    }
}

fn read_log(path: &Path) -> String {
    fs::read_to_string(path.join("log")).unwrap_or_default()
}

/// Gives a path to the mailbox's owner, where that is somebody else.
pub fn own(path: &Path) {
    if process::is_root() {
        std::os::unix::fs::chown(path, Some(UID), Some(UID)).unwrap();
    }
}

fn take(channel: &Packets) -> Option<(Request, UnixStream)> {
    let mut buffer = vec![0; REQUEST_MAX];
    let packet = channel
        .recv(&mut buffer)
        .ok()
        .filter(|packet| packet.length > 0)?;
    let request = Request::decode(&buffer[..packet.length]).unwrap();
    assert_eq!(request.service, Service::Pop3);
    Some((request, UnixStream::from(packet.descriptor.unwrap())))
}

fn answer_all(channel: &Packets, path: &Path) {
    while let Some((request, mut reply)) = take(channel) {
        let answer = match request.password.expose() {
            b"right" => Answer::User("al".into()),
            b"busy" => Answer::NotNow(Trouble::Busy),
            b"sessions" => Answer::NotNow(Trouble::Sessions),
            _ => Answer::No(Refusal::Credentials),
        };
        reply.write_all(&answer.encode()).unwrap();
        if let Answer::User(_) = answer {
            start_session(path, request.sid.as_str(), reply);
        }
    }
}

pub fn start_session(path: &Path, sid: &str, socket: UnixStream) {
    let log = File::options().append(true).open(path.join("log")).unwrap();
    let mut spawn = Spawn::new(env!("CARGO_BIN_EXE_pop3d"))
        .arg("--config")
        .arg(path.join("hikyaku.toml"))
        .arg("--session")
        .arg("--maildir")
        .arg(path.join("home/Maildir"))
        .arg("--sid")
        .arg(sid)
        .env("HIKYAKU_USER", "al")
        .stderr(log.as_fd())
        .give("session", socket.as_fd());
    if process::is_root() {
        spawn = spawn.identity(Identity { uid: UID, gid: UID });
    }
    spawn.start().unwrap();
}

/// A client that speaks in clear.
pub struct Client {
    pub socket: TcpStream,
    seen: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            seen: Vec::new(),
        }
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.socket.write_all(octets).unwrap();
    }

    pub fn say(&mut self, line: &str) {
        self.send(format!("{line}\r\n").as_bytes());
    }

    /// The next line without its end; empty at the end of the stream.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.seen.windows(2).position(|two| two == b"\r\n") {
                let rest = self.seen.split_off(at + 2);
                let line = std::mem::replace(&mut self.seen, rest);
                return String::from_utf8(line[..at].to_vec()).unwrap();
            }
            let mut buffer = [0; 65_536];
            match self.socket.read(&mut buffer).unwrap() {
                0 => return String::new(),
                count => self.seen.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// A whole multi-line answer, first line first, without its dot.
    pub fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line() {
                line if line == "." => return lines,
                line if line.is_empty() && lines.is_empty() => return lines,
                line => lines.push(line),
            }
        }
    }

    /// Everything up to the end of the stream.
    pub fn rest(&mut self) -> String {
        String::from_utf8(self.rest_octets()).unwrap()
    }

    /// The same where it may be no text.
    pub fn rest_octets(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.seen);
        // A reset is an end, too.
        let _ = self.socket.read_to_end(&mut rest);
        rest
    }
}
