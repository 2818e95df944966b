//! The command in a directory of its own, with a name server on loopback to ask.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testkit::{Dns, Zone};

/// A configuration for mail.a.example, which serves a.example, and a name server.
pub struct Host {
    pub dir: TempDir,
    pub dns: Dns,
}

impl Host {
    pub fn new(zone: &str) -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
            dns: Dns::start(Zone::parse(zone)),
        };
        let text = "root = \".\"\nhostname = \"mail.a.example\"\ndomains = [\"a.example\"]\n";
        fs::write(host.path("hikyaku.toml"), text).unwrap();
        fs::create_dir(host.path("etc")).unwrap();
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Exit code, output and errors; words are separated by single spaces, `_` is an empty word.
    pub fn run(&self, arguments: &str, input: &str) -> (i32, String, String) {
        let words = arguments
            .split(' ')
            .map(|word| if word == "_" { "" } else { word });
        let mut child = Command::new(env!("CARGO_BIN_EXE_hikyaku"))
            .arg("--config")
            .arg(self.path("hikyaku.toml"))
            .args(words)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        let code = output.status.code().unwrap();
        (code, text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    pub fn good(&self, arguments: &str, input: &str) -> String {
        let (code, out, err) = self.run(arguments, input);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments}: {out}");
        out
    }

    /// The same with `--dns`.
    #[track_caller]
    pub fn asks(&self, arguments: &str, input: &str) -> String {
        self.good(&format!("{arguments} --dns {}", self.dns.address), input)
    }
}
