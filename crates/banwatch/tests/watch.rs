//! The half that decides, as a program: a log that is turned, the journal's stream, a restart.
//! Observing only, so it needs no right to the firewall.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::{PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::process::{Order, Spawn, order};

const FILTER: &str = "[Definition]\nfailregex = ^\\s*\\S+ sshd\\[\\d+\\]: Failed password for .* from <HOST> port \\d+$\njournalmatch = _COMM=sshd\n";

struct Watch {
    root: PathBuf,
    pid: u32,
    journal: PipeWriter,
}

impl Watch {
    fn start(root: &Path) -> Watch {
        let (read, journal) = std::io::pipe().unwrap();
        let (mut ready, says) = std::io::pipe().unwrap();
        let pid = Spawn::new(env!("CARGO_BIN_EXE_banwatch"))
            .arg("--config")
            .arg(root.join("hikyaku.toml"))
            .arg("--fail2ban")
            .arg(root.join("f2b"))
            .arg("--observe")
            .give("journal", read.as_fd())
            .give("ready", says.as_fd())
            .start()
            .unwrap();
        drop((read, says));
        ready.read_exact(&mut [0]).expect("it serves");
        Watch {
            root: root.to_owned(),
            pid,
            journal,
        }
    }

    fn ask(&self, question: &str) -> String {
        let mut s = UnixStream::connect(self.root.join("run/ban")).unwrap();
        s.write_all(format!("{question}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        s.read_to_string(&mut answer).unwrap();
        answer
    }

    fn until_listed(&self, who: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.ask("list").contains(who) {
            assert!(
                Instant::now() < end,
                "{who} is not banned: {}",
                self.ask("stats")
            );
        }
    }

    /// Lines of a program's that fails twice, the second time behind a turn of the log if wanted.
    fn log(&self, text: &str) {
        let path = self.root.join("log/auth.log");
        let mut f = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        f.write_all(text.as_bytes()).unwrap();
    }

    fn stop(&self) {
        let _ = order(self.pid, Order::Stop);
        let end = Instant::now() + Duration::from_secs(20);
        while !matches!(daemon::process::reap(), Some((pid, _)) if pid == self.pid) {
            assert!(Instant::now() < end, "it does not stop");
        }
    }
}

fn furnish(root: &Path) {
    for d in ["log", "run/empty", "f2b/filter.d", "f2b/action.d"] {
        fs::create_dir_all(root.join(d)).unwrap();
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("f2b/filter.d/test.conf"), FILTER).unwrap();
    let jails = format!(
        "[DEFAULT]\naction = nftables[type=allports]\nmaxretry = 2\nfilter = test\n[file]\nenabled = true\nbackend = auto\nlogpath = {}/log/*.log\n\
         [journal]\nenabled = true\nbackend = systemd\n",
        root.display()
    );
    fs::write(root.join("f2b/jail.conf"), jails).unwrap();
    fs::write(root.join("log/auth.log"), "").unwrap();
    let config = format!(
        "hostname = \"a.example\"\ndomains = [\"a.example\"]\nroot = {root:?}\n[roles]\nban = \"nobody\"\n[log]\ntarget = \"stderr\"\nlevel = \"error\"\n"
    );
    fs::write(root.join("hikyaku.toml"), config).unwrap();
}

fn line(date: &str, user: &str, from: &str) -> String {
    format!("{date} host sshd[7]: Failed password for {user} from {from} port 22\n")
}

#[test]
fn logs_and_journal_lead_to_bans_that_a_restart_keeps() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(root);
    let mut w = Watch::start(root);
    let out = Command::new("date")
        .arg("+%Y-%m-%dT%H:%M:%S%:z")
        .output()
        .unwrap();
    let date = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    w.log(&line(&date, "root", "203.0.113.5"));
    // The log is turned between the first failure and the second.
    fs::rename(root.join("log/auth.log"), root.join("log/auth.log.1")).unwrap();
    w.log(&line(&date, "root", "203.0.113.5"));
    w.until_listed("203.0.113.5\tfile");
    // An address in a user's name is nobody's; a line beyond all measure is nobody's either.
    let forged = "x from 192.0.2.1 port 22";
    let long = format!(
        "{date} host sshd[7]: {}{}",
        "x".repeat(70_000),
        line("", "root", "192.0.2.2")
    );
    for _ in 0..3 {
        w.log(&line(&date, forged, "203.0.113.6"));
        w.log(&long);
    }
    w.until_listed("203.0.113.6\tfile");
    let listed = w.ask("list");
    assert!(!listed.contains("192.0.2."), "{listed}");
    assert!(
        w.ask("why 203.0.113.6")
            .contains("Failed password for x from 192.0.2.1")
    );
    for (program, from) in [
        ("sshd", "203.0.113.7"),
        ("other", "203.0.113.8"),
        ("sshd", "203.0.113.9"),
    ] {
        for _ in 0..2 {
            let entry = format!(
                "_HOSTNAME=host\nSYSLOG_IDENTIFIER=sshd\n_PID=7\n_COMM={program}\nMESSAGE=Failed password for root from {from} port 22\n\n"
            );
            w.journal.write_all(entry.as_bytes()).unwrap();
        }
    }
    w.until_listed("203.0.113.9\tjournal");
    let listed = w.ask("list");
    assert!(
        listed.contains("203.0.113.7\tjournal") && !listed.contains("203.0.113.8"),
        "{listed}"
    );
    assert!(w.ask("status file").contains("Currently banned:\t2"));
    assert!(w.ask("del 203.0.113.5").starts_with('+'));
    w.stop();
    // What was read before is not read again: the lifted ban stays lifted, the others stand.
    let w = Watch::start(root);
    let listed = w.ask("list");
    assert!(
        !listed.contains("203.0.113.5") && listed.contains("203.0.113.6\tfile"),
        "{listed}"
    );
    w.log(&line(&date, "root", "203.0.113.10"));
    w.log(&line(&date, "root", "203.0.113.10"));
    w.until_listed("203.0.113.10\tfile");
    assert!(!w.ask("list").contains("203.0.113.5"));
    w.stop();
}
