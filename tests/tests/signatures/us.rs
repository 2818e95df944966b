//! `hikyaku`'s side.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A configuration, and where to ask.
pub struct Us {
    pub directory: TempDir,
    dns: SocketAddr,
}

/// The program beside this test.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().and_then(Path::parent).unwrap().join("hikyaku")
}

impl Us {
    pub fn new(dns: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = "root = \".\"\nhostname = \"mail.us.example\"\ndomains = [\"us.example\"]\n";
        fs::write(directory.path().join("hikyaku.toml"), text).unwrap();
        fs::create_dir(directory.path().join("etc")).unwrap();
        Self { directory, dns }
    }

    /// Runs a subcommand; words are separated by single spaces.
    #[track_caller]
    pub fn run(&self, arguments: &str, input: &str) -> String {
        let mut child = Command::new(program())
            .arg("--config")
            .arg(self.directory.path().join("hikyaku.toml"))
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same with `--dns`.
    #[track_caller]
    pub fn ask(&self, arguments: &str, input: &str) -> String {
        self.run(&format!("{arguments} --dns {}", self.dns), input)
    }

    /// Puts a key into the ring of a domain; gives the record as a row for the test's zone.
    pub fn key(&self, domain: &str, selector: &str, key: &Path) -> String {
        let how = format!(
            "dkim key new {domain} --selector {selector} --import {}",
            key.display()
        );
        let printed = self.run(&how, "");
        let line = printed.lines().nth(1).unwrap();
        line.replacen(" IN ", " ", 1)
            .replace("( ", "")
            .replace(" )", "")
    }

    /// The verdict's word.
    #[track_caller]
    pub fn verdict(&self, mechanism: &str, message: &str) -> String {
        let found = self.ask(&format!("{mechanism} verify"), message);
        found.split_once(' ').expect(&found).0.to_owned()
    }
}
