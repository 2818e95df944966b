//! The journal by way of a `journalctl` that breaks: it is started again behind the last entry,
//! and banwatch itself goes on where it was after a restart.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod stand;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use stand::{FILTER, PATIENCE, Watch, furnish};

const JAIL: &str = "maxretry = 1\n[journal]\nenabled = true\nbackend = systemd\n";

/// Gives out `entries.N` at its Nth start and notes its arguments. It ends at once, or after the
/// last one waits for what `more` says, as one that follows does.
const JOURNALCTL: &str = "#!/bin/sh\ncd ROOT/fake\necho \"$@\" >> arguments\nn=$(wc -l < arguments)\ncat entries.$n 2>/dev/null || exit 1\n[ -e entries.$((n + 1)) ] && exit 1\nexec cat more\n";

fn entry(us: u64, cursor: &str, from: &str) -> String {
    format!(
        "__CURSOR={cursor}\n__REALTIME_TIMESTAMP={us}\n_HOSTNAME=host\nSYSLOG_IDENTIFIER=sshd\n_PID=7\n_COMM=sshd\n\
         MESSAGE=Failed password for root from {from} port 22\n\n"
    )
}

fn fake(root: &Path, entries: &[String]) {
    let dir = root.join("fake");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    // Whoever banwatch becomes writes there.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    for (n, text) in entries.iter().enumerate() {
        fs::write(dir.join(format!("entries.{}", n + 1)), text).unwrap();
    }
    let pipe = std::process::Command::new("mkfifo")
        .args(["-m", "666"])
        .arg(dir.join("more"))
        .status();
    assert!(pipe.unwrap().success());
    let program = dir.join("journalctl");
    fs::write(&program, JOURNALCTL.replace("ROOT", root.to_str().unwrap())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn start(root: &Path) -> Watch {
    let path = format!("{}/fake:/usr/bin:/bin", root.display());
    Watch::start_with(root, None, &path)
}

fn arguments(root: &Path) -> Vec<String> {
    let text = fs::read_to_string(root.join("fake/arguments")).unwrap_or_default();
    let last = |l: &str| l.split(' ').next_back().unwrap_or("").to_owned();
    text.lines().map(last).collect()
}

#[test]
fn a_reader_that_breaks_is_started_again() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(root, FILTER, JAIL);
    let second = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let us = |n: u64| second * 1_000_000 + n;
    let [one, two, three] = [1, 2, 3].map(|n| {
        let from = format!("203.0.113.{n}");
        entry(us(n), &format!("s=a;i={n}"), &from)
    });
    // It breaks off within the third entry, which comes whole at the next start.
    let broken = format!("{one}{two}{}", three.split_at(40).0);
    fake(root, &[broken, three]);
    let w = start(root);
    w.until_listed("203.0.113.3\tjournal");
    assert_eq!(w.failed("journal"), 3, "none lost, none twice");
    let said = arguments(root);
    assert!(said[0].starts_with("--since=@"), "{said:?}");
    assert_eq!(said[1], "--after-cursor=s=a;i=2");
    // The position is kept; what the journal repeats is not counted again.
    let state = root.join("ban/bans");
    let end = Instant::now() + PATIENCE;
    while !String::from_utf8_lossy(&fs::read(&state).unwrap()).contains("journal:") {
        assert!(Instant::now() < end, "the position is not written down");
        std::thread::yield_now();
    }
    w.stop();
    let again = [2, 3, 4].map(|n| {
        let from = format!("203.0.113.{n}");
        entry(us(n), &format!("s=a;i={n}"), &from)
    });
    fake(root, &[again.concat()]);
    let w = start(root);
    w.until_listed("203.0.113.4\tjournal");
    assert_eq!(arguments(root), [format!("--since=@{second}")]);
    assert_eq!(w.failed("journal"), 1);
    let listed = w.ask("list");
    assert!(listed.contains("203.0.113.1\tjournal"), "{listed}");
}

#[test]
fn without_a_journal_the_rest_goes_on() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(
        root,
        FILTER,
        &format!("{JAIL}[file]\nenabled = true\nlogpath = ROOT/log/a.log\n"),
    );
    fs::write(root.join("log/a.log"), "").unwrap();
    let w = Watch::start_with(root, None, "/nowhere");
    w.log(
        "a.log",
        stand::line(&stand::now(), "root", "203.0.113.5").as_bytes(),
    );
    w.until_listed("203.0.113.5\tfile");
}
