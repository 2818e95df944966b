//! The half that decides, as a program: a log that is turned, the journal's stream, a restart.
//! Observing only, so it needs no right to the firewall.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod stand;

use std::fs;
use std::io::Write;

use stand::{FILTER, Watch, furnish, journal, line, now};

const JAILS: &str = "maxretry = 2\n[file]\nenabled = true\nlogpath = ROOT/log/*.log\n[journal]\nenabled = true\nbackend = systemd\n";

#[test]
fn logs_and_journal_lead_to_bans_that_a_restart_keeps() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(root, FILTER, JAILS);
    fs::write(root.join("log/auth.log"), "").unwrap();
    let (read, mut write) = journal();
    let w = Watch::start(root, Some(read));
    let date = now();
    w.log("auth.log", line(&date, "root", "203.0.113.5").as_bytes());
    // The log is turned between the first failure and the second.
    fs::rename(root.join("log/auth.log"), root.join("log/auth.log.1")).unwrap();
    w.log("auth.log", line(&date, "root", "203.0.113.5").as_bytes());
    w.until_listed("203.0.113.5\tfile");
    // An address in a user's name is nobody's; a line beyond all measure is nobody's either.
    let forged = "x from 192.0.2.1 port 22";
    let long = format!(
        "{date} host sshd[7]: {}{}",
        "x".repeat(70_000),
        line("", "root", "192.0.2.2")
    );
    for _ in 0..3 {
        w.log("auth.log", line(&date, forged, "203.0.113.6").as_bytes());
        w.log("auth.log", long.as_bytes());
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
            write.write_all(entry.as_bytes()).unwrap();
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
    let (read, _write) = journal();
    let w = Watch::start(root, Some(read));
    let listed = w.ask("list");
    assert!(
        !listed.contains("203.0.113.5") && listed.contains("203.0.113.6\tfile"),
        "{listed}"
    );
    w.log("auth.log", line(&date, "root", "203.0.113.10").as_bytes());
    w.log("auth.log", line(&date, "root", "203.0.113.10").as_bytes());
    w.until_listed("203.0.113.10\tfile");
    assert!(!w.ask("list").contains("203.0.113.5"));
    w.stop();
}
