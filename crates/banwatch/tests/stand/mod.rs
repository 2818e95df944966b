//! banwatch as a program, observing only: it needs no right to the firewall.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use daemon::process::{Order, Spawn, order};

/// Long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running banwatch.
pub struct Watch {
    pub root: PathBuf,
    pub pid: u32,
}

impl Watch {
    /// Starts it in a furnished directory; without `journal` it looks for its own.
    pub fn start(root: &Path, journal: Option<PipeReader>) -> Watch {
        Watch::start_with(root, journal, "/usr/bin:/bin")
    }

    /// As [`Watch::start`], with this search path for programs.
    pub fn start_with(root: &Path, journal: Option<PipeReader>, path: &str) -> Watch {
        let (mut ready, says) = std::io::pipe().unwrap();
        let mut spawn = Spawn::new(env!("CARGO_BIN_EXE_banwatch"))
            .arg("--config")
            .arg(root.join("hikyaku.toml"))
            .arg("--fail2ban")
            .arg(root.join("f2b"))
            .arg("--observe")
            .env("PATH", path)
            .give("ready", says.as_fd());
        if let Some(journal) = &journal {
            spawn = spawn.give("journal", journal.as_fd());
        }
        let pid = spawn.start().unwrap();
        drop((journal, says));
        ready.read_exact(&mut [0]).expect("it serves");
        Watch {
            root: root.to_owned(),
            pid,
        }
    }

    pub fn ask(&self, question: &str) -> String {
        let mut s = UnixStream::connect(self.root.join("run/ban")).unwrap();
        s.write_all(format!("{question}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        s.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Asks until the answer is as wanted.
    pub fn until(&self, question: &str, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(question);
            if wanted(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < end,
                "{question}: {answer}\n{}",
                self.ask("stats")
            );
            std::thread::yield_now();
        }
    }

    pub fn until_listed(&self, who: &str) {
        self.until("list", |l| l.contains(who));
    }

    /// A number of `stats`.
    pub fn number(&self, name: &str) -> u64 {
        let stats: serde_json::Value =
            serde_json::from_str(self.ask("stats json").trim_start_matches("+\n")).unwrap();
        stats[name].as_u64().unwrap()
    }

    /// Violations that a jail has counted.
    pub fn failed(&self, jail: &str) -> u64 {
        let status = self.ask(&format!("status {jail}"));
        let (_, rest) = status.split_once("Total failed:\t").unwrap();
        rest.lines().next().unwrap().parse().unwrap()
    }

    /// The most memory it ever had, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let (_, rest) = status.split_once("VmHWM:").unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Appends to a log below `log/`.
    pub fn log(&self, name: &str, text: &[u8]) {
        append(&self.root.join("log").join(name))
            .write_all(text)
            .unwrap();
    }

    pub fn stop(self) {}
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = order(self.pid, Order::Stop);
        let proc = format!("/proc/{}/stat", self.pid);
        let end = Instant::now() + PATIENCE;
        // Not waited for: tests in one process would take each other's children. A zombie is gone.
        while fs::read_to_string(&proc).is_ok_and(|s| !s.contains(") Z ")) {
            if Instant::now() > end {
                if !std::thread::panicking() {
                    panic!("it does not stop");
                }
                return;
            }
            std::thread::yield_now();
        }
    }
}

pub fn append(path: &Path) -> File {
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap()
}

/// Directories, a filter `test` and the jails that are given.
pub fn furnish(root: &Path, filter: &str, jails: &str) {
    for d in ["log", "run/empty", "f2b/filter.d", "f2b/action.d"] {
        fs::create_dir_all(root.join(d)).unwrap();
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("f2b/filter.d/test.conf"), filter).unwrap();
    let jails = jails.replace("ROOT", root.to_str().unwrap());
    let head = "[DEFAULT]\naction = nftables[type=allports]\nfilter = test\nbackend = auto\n";
    fs::write(root.join("f2b/jail.conf"), format!("{head}{jails}")).unwrap();
    let config = format!(
        "hostname = \"a.example\"\ndomains = [\"a.example\"]\nroot = {root:?}\n[roles]\nban = \"nobody\"\n[log]\ntarget = \"stderr\"\nlevel = \"error\"\n"
    );
    fs::write(root.join("hikyaku.toml"), config).unwrap();
}

/// The present as sshd's lines on most hosts have it.
pub fn now() -> String {
    let out = Command::new("date")
        .arg("+%Y-%m-%dT%H:%M:%S%:z")
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

pub fn journal() -> (PipeReader, PipeWriter) {
    std::io::pipe().unwrap()
}

pub const FILTER: &str = "[Definition]\nfailregex = ^\\s*\\S+ sshd\\[\\d+\\]: Failed password for .* from <HOST> port \\d+$\njournalmatch = _COMM=sshd\n";

pub fn line(date: &str, user: &str, from: &str) -> String {
    format!("{date} host sshd[7]: Failed password for {user} from {from} port 22\n")
}
