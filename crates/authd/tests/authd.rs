//! The real binary with real sockets: what it answers and what it starts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use auth::protocol::{Mechanism, Request, Service, Sid};
use auth::{Login, Password};
use daemon::packet::Packets;
use daemon::process::{Order, Spawn, is_root, order};
use tempfile::TempDir;

/// `hello world` by crypt(3).
const HASH: &str = "$5$saltsalt$iCSto/1y3LK1GxFWJB6bg2L4y8RyFskzzyTdhOwyBe3";
const PASSWORD: &str = "hello world";

/// A running authd.
struct Authd {
    dir: TempDir,
    pid: u32,
    smtp: Packets,
    pop3: Packets,
    /// Ends when authd has ended.
    ready: BufReader<std::io::PipeReader>,
}

/// In place of pop3d: tells what it was given, then waits for the end of the stream.
const SESSION: &str = "#!/bin/sh\n\
    echo \"args $*\" >&3\n\
    echo \"env $(env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | sort | tr '\\n' ' ')\" >&3\n\
    echo \"uid $(id -u) $(id -g) $(id -G)\" >&3\n\
    echo \"$(grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr -d '\\t' | tr '\\n' ' ')\" >&3\n\
    read line <&3\n";

impl Authd {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
        let write = |name: &str, text: &str, mode| {
            fs::write(root.join(name), text).unwrap();
            fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
        };
        let text = "hostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n\
                    paths = { libexec = \".\" }\nusers = { system = false }\nlog = { target = \"stderr\" }\n\
                    pop3 = { max_sessions_per_user = 2 }\n";
        write("hikyaku.toml", text, 0o644);
        write("users", "al:70000:70001::\nbo:70002:70002::\n", 0o644);
        write(
            "passwords",
            &format!("al:{HASH}\nbo:{HASH}\nlo:{HASH}\n"),
            0o600,
        );
        write("pop3d", SESSION, 0o755);
        let (smtp, theirs_smtp) = Packets::pair().unwrap();
        let (pop3, theirs_pop3) = Packets::pair().unwrap();
        let (ready, says_ready) = std::io::pipe().unwrap();
        let log = File::create(root.join("log")).unwrap();
        let pid = Spawn::new(env!("CARGO_BIN_EXE_authd"))
            .arg("--config")
            .arg(root.join("hikyaku.toml"))
            .give("auth-smtp", theirs_smtp.as_fd())
            .give("auth-pop3", theirs_pop3.as_fd())
            .give("ready", says_ready.as_fd())
            .stderr(log.as_fd())
            .start()
            .unwrap();
        drop(says_ready);
        let mut ready = BufReader::new(ready);
        let mut line = String::new();
        ready.read_line(&mut line).unwrap();
        let authd = Self {
            dir,
            pid,
            smtp,
            pop3,
            ready,
        };
        assert_eq!(line, "\n", "{}", authd.log());
        authd
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn request(service: Service, login: &str, password: &str, ip: &str) -> Request {
        Request {
            service,
            mechanism: Mechanism::Plain,
            client: Some(ip.parse().unwrap()),
            sid: Sid::new("s1").unwrap(),
            login: Login::new(login.as_bytes()).unwrap(),
            password: Password::new(password.as_bytes()).unwrap(),
        }
    }

    fn ask(
        &self,
        channel: &Packets,
        service: Service,
        login: &str,
        password: &str,
        ip: &str,
    ) -> Answers {
        let (mine, yours) = UnixStream::pair().unwrap();
        mine.set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let request = Self::request(service, login, password, ip);
        channel
            .send(&request.encode(), Some(yours.as_fd()))
            .unwrap();
        Answers(BufReader::new(mine))
    }

    fn smtp(&self, login: &str, password: &str, ip: &str) -> Answers {
        self.ask(&self.smtp, Service::Smtp, login, password, ip)
    }

    fn pop3(&self, login: &str, ip: &str) -> Answers {
        self.ask(&self.pop3, Service::Pop3, login, PASSWORD, ip)
    }
}

impl Drop for Authd {
    fn drop(&mut self) {
        let _ = order(self.pid, Order::Stop);
        // Its end of the pipe closes when it has gone.
        let _ = self.ready.read_to_end(&mut Vec::new());
        while let Some((pid, _)) = daemon::process::reap() {
            if pid == self.pid {
                break;
            }
        }
    }
}

struct Answers(BufReader<UnixStream>);

impl Answers {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Whether something has come already.
    fn is_silent(&mut self) -> bool {
        self.0.get_ref().set_nonblocking(true).unwrap();
        let silent = self.0.fill_buf().is_err();
        self.0.get_ref().set_nonblocking(false).unwrap();
        silent
    }
}

#[test]
fn answers() {
    let authd = Authd::start();
    // A failure is asked first and answered last: nobody waits for it.
    let mut wrong = authd.smtp("al", "guess", "192.0.2.1");
    let mut unknown = authd.smtp("zz", PASSWORD, "192.0.2.2");
    let mut homeless = authd.smtp("lo", PASSWORD, "192.0.2.3");
    assert_eq!(authd.smtp("al", PASSWORD, "192.0.2.1").line(), "+ al");
    assert_eq!(
        authd.smtp("AL@example.org", PASSWORD, "2001:db8::1").line(),
        "+ al"
    );
    assert!(wrong.is_silent() && unknown.is_silent() && homeless.is_silent());
    assert_eq!(wrong.line(), "- credentials");
    assert_eq!(unknown.line(), "- credentials");
    assert_eq!(homeless.line(), "- credentials");
    // A changed password counts at once.
    let passwords = authd.dir.path().join("passwords");
    auth::file::replace(&passwords, &format!("bo:{HASH}\nal:*\n"), 0o600).unwrap();
    assert_eq!(authd.smtp("bo", PASSWORD, "192.0.2.4").line(), "+ bo");
    assert_eq!(
        authd.smtp("al", PASSWORD, "192.0.2.5").line(),
        "- credentials"
    );
    // No password file that may be used: nobody is refused for good.
    fs::set_permissions(&passwords, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(authd.smtp("bo", PASSWORD, "192.0.2.4").line(), "! failure");
    let log = authd.log();
    assert!(
        log.contains("auth-ok user=al service=smtp login=AL@example.org client=2001:db8::1 sid=s1"),
        "{log}"
    );
    assert!(
        log.contains("auth-fail service=smtp login=zz client=192.0.2.2 sid=s1"),
        "{log}"
    );
    assert!(!log.contains("guess") && !log.contains(PASSWORD), "{log}");
}

#[test]
fn what_is_not_permitted() {
    let authd = Authd::start();
    let mut stolen = authd.ask(&authd.smtp, Service::Pop3, "al", PASSWORD, "192.0.2.1");
    assert_eq!(stolen.line(), "! failure");
    assert_eq!(stolen.line(), "");
    let (mine, yours) = UnixStream::pair().unwrap();
    authd.pop3.send(b"rubbish", Some(yours.as_fd())).unwrap();
    drop(yours);
    assert_eq!(Answers(BufReader::new(mine)).line(), "! failure");
    // It lives on.
    assert_eq!(authd.smtp("al", PASSWORD, "192.0.2.1").line(), "+ al");
    assert!(
        authd
            .log()
            .contains("refused channel=auth-smtp why=Service(Pop3)"),
        "{}",
        authd.log()
    );
}

#[test]
fn one_source_asks_so_much_at_once() {
    let authd = Authd::start();
    let mut asked: Vec<Answers> = (0..20)
        .map(|_| authd.smtp("al", "guess", "192.0.2.1"))
        .collect();
    assert_eq!(authd.smtp("al", PASSWORD, "192.0.2.2").line(), "+ al");
    // Sixteen are being worked on, the rest is told at once; then all others when it stops.
    assert!(asked[16..].iter_mut().all(|one| one.line() == "! busy"));
    order(authd.pid, Order::Stop).unwrap();
    assert!(
        asked[..16]
            .iter_mut()
            .all(|one| one.line() == "- credentials")
    );
}

#[test]
fn sessions() {
    let mut authd = Authd::start();
    let mut first = authd.pop3("al@example.org", "192.0.2.1");
    assert_eq!(first.line(), "+ al");
    let dir = authd.dir.path().display().to_string();
    let maildir = "/var/lib/hikyaku/homes/al/Maildir";
    assert_eq!(
        first.line(),
        format!("args --config {dir}/hikyaku.toml --session --maildir {maildir} --sid s1")
    );
    assert_eq!(
        first.line(),
        "env HIKYAKU_USER=al LISTEN_FDNAMES=session LISTEN_FDS=1 "
    );
    let (uid, status) = (first.line(), first.line());
    assert!(status.contains("NoNewPrivs:1"), "{status}");
    if is_root() {
        assert_eq!(uid, "uid 70000 70001 70001");
        assert!(status.contains("CapEff:0000000000000000"), "{status}");
        assert!(status.contains("CapBnd:00000000000000c0"), "{status}");
        let own = fs::read_to_string(format!("/proc/{}/status", authd.pid)).unwrap();
        assert!(own.contains("CapPrm:\t00000000000000c0"), "{own}");
    }
    let mut second = authd.pop3("al", "192.0.2.1");
    assert_eq!(second.line(), "+ al");
    assert_eq!(authd.pop3("al", "192.0.2.1").line(), "! sessions");
    assert_eq!(authd.pop3("bo", "192.0.2.1").line(), "+ bo");
    // Sessions go on without authd, and their end gives room where it lives.
    drop(first);
    loop {
        let line = authd.pop3("al", "192.0.2.9").line();
        if line == "+ al" {
            break;
        }
        assert_eq!(line, "! sessions");
    }
    order(authd.pid, Order::Stop).unwrap();
    let mut rest = String::new();
    authd.ready.read_to_end(&mut Vec::new()).unwrap();
    for _ in 0..4 {
        second.line();
    }
    assert!(second.is_silent(), "the session ended with authd");
    second
        .0
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    second.0.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn it_goes_when_its_peers_have_gone() {
    let mut authd = Authd::start();
    let mut under_way = authd.smtp("zz", PASSWORD, "192.0.2.1");
    authd.smtp = Packets::pair().unwrap().0;
    let mut rest = Vec::new();
    authd.ready.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    assert_eq!(under_way.line(), "- credentials");
}
