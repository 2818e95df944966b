//! Attacks by way of a log, played to banwatch as a program: whom it bans, whom it does not, and
//! that no line is lost or counted twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod stand;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use banwatch::source::cutter::LINE_MAX;
use stand::{FILTER, Watch, append, furnish, line, now};

/// Lines a second, and lines at all.
const RATE: u32 = 10_000;
const LINES: u32 = 20_000;
const ADDRESSES: u32 = 2_000;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Turn {
    Rename,
    CopyTruncate,
}

/// The writer goes on as programs do: after a renaming into the old file for a while.
fn turn(log: &Path, writer: &mut File, n: u32, how: Turn) {
    let old = log.with_file_name(format!("load.log.{n}"));
    match how {
        Turn::Rename => {
            fs::rename(log, &old).unwrap();
            File::create(log).unwrap();
        }
        Turn::CopyTruncate => {
            fs::copy(log, &old).unwrap();
            writer.set_len(0).unwrap();
        }
    }
}

fn load(turns: &[Turn]) {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    let each = LINES / ADDRESSES;
    furnish(
        root,
        FILTER,
        &format!("maxretry = {each}\n[load]\nenabled = true\nlogpath = ROOT/log/load.log\n"),
    );
    let log = root.join("log/load.log");
    File::create(&log).unwrap();
    let w = Watch::start(root, None);
    let date = now();
    let start = Instant::now();
    let mut writer = append(&log);
    let part = LINES / (turns.len() as u32 + 1);
    let mut turned = 0;
    for burst in 0..LINES / 100 {
        let mut text = String::new();
        for i in burst * 100..(burst + 1) * 100 {
            let a = i % ADDRESSES;
            text += &line(
                &date,
                "root",
                &format!("198.18.{}.{}", a / 250, a % 250 + 1),
            );
        }
        writer.write_all(text.as_bytes()).unwrap();
        let written = (burst + 1) * 100;
        if let Some(how) = turns
            .get(turned)
            .filter(|_| written >= part * (turned as u32 + 1))
        {
            turned += 1;
            turn(&log, &mut writer, turned as u32, *how);
        } else if written % 1_000 == 0 {
            // Told to open its log again a tenth of a second after it was renamed.
            writer = append(&log);
        }
        // This is what makes the rate.
        let due = Duration::from_secs(1) * written / RATE;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "{turns:?}: {LINES} lines, {:.0} a second",
        f64::from(LINES) / took
    );
    assert_eq!(turned, turns.len());
    let all = |l: &str| l.contains(&format!("Currently banned:\t{ADDRESSES}\n"));
    w.until("status load", all);
    assert_eq!(w.failed("load"), u64::from(LINES), "none lost, none twice");
    assert_eq!(w.number("lines_total"), u64::from(LINES));
    println!("peak memory {} KiB", w.peak_memory());
    // A build for tests is larger than what is installed.
    assert!(w.peak_memory() < 32 << 10);
}

#[test]
fn ten_thousand_lines_a_second_while_the_log_is_renamed() {
    load(&[Turn::Rename, Turn::Rename, Turn::Rename]);
}

#[test]
fn ten_thousand_lines_a_second_while_the_log_is_copied_and_emptied() {
    load(&[Turn::CopyTruncate, Turn::Rename, Turn::CopyTruncate]);
}

#[test]
fn lines_of_all_lengths_up_to_the_limit() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(
        root,
        FILTER,
        "maxretry = 1\n[long]\nenabled = true\nlogpath = ROOT/log/long.log\n",
    );
    fs::write(root.join("log/long.log"), "").unwrap();
    let w = Watch::start(root, None);
    let date = now();
    for (length, from) in [
        (LINE_MAX - 1, "203.0.113.1"),
        (LINE_MAX, "203.0.113.2"),
        (LINE_MAX + 1, "203.0.113.3"),
        (40 * LINE_MAX, "203.0.113.4"),
    ] {
        let bare = line(&date, "", from).len() - 1;
        w.log(
            "long.log",
            line(&date, &"x".repeat(length - bare), from).as_bytes(),
        );
    }
    // The end of a line that is too long is no line of its own.
    let tail = format!(
        "{}\n{}",
        "y".repeat(LINE_MAX + 1),
        line(&date, "a", "203.0.113.5")
    );
    w.log("long.log", tail.as_bytes());
    w.until_listed("203.0.113.5\tlong");
    let listed = w.ask("list");
    for (who, banned) in [
        ("113.1", true),
        ("113.2", true),
        ("113.3", false),
        ("113.4", false),
    ] {
        assert_eq!(
            listed.contains(&format!("203.0.{who}\tlong")),
            banned,
            "{who}"
        );
    }
    assert!(w.peak_memory() < 32 << 10, "{} KiB", w.peak_memory());
}

const SESSIONS: &str = "[Definition]\nprefregex = ^<F-MLFID>\\s*\\S+ sshd\\[\\d+\\]</F-MLFID>: <F-CONTENT>.+</F-CONTENT>$\nfailregex = ^Failed password for <F-USER>.+</F-USER> from <HOST> port \\d+(?: ssh2)?$\n  ^<F-NOFAIL>Connection from</F-NOFAIL> <HOST> port \\d+$\n  ^Connection closed$\n";

#[test]
fn whoever_forges_lines_bans_nobody_else() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(
        root,
        SESSIONS,
        "maxretry = 2\n[ssh]\nenabled = true\nlogpath = ROOT/log/ssh.log\n",
    );
    fs::write(root.join("log/ssh.log"), "").unwrap();
    let w = Watch::start(root, None);
    let date = now();
    let say = |pid: u32, text: &str| {
        w.log(
            "ssh.log",
            format!("{date} host sshd[{pid}]: {text}\n").as_bytes(),
        );
    };
    let failed = |from: &str| format!("Failed password for root from {from} port 22 ssh2");
    // One process id, IPv4 first, then IPv6, and the other way round.
    say(7, "Connection from 192.0.2.7 port 22");
    say(7, &failed("2001:db8:9::7"));
    say(7, &failed("2001:db8:9::7"));
    say(8, "Connection from 2001:db8:9::8 port 22");
    say(8, &failed("192.0.2.8"));
    say(8, &failed("192.0.2.8"));
    // A user's name that goes on like the line does.
    for name in [
        "root from 203.0.113.1 port 22 ssh2: x",
        "a from 203.0.113.1 port 22 from 203.0.113.1",
        "\u{1}\u{2} from 203.0.113.1 port 22 ssh2\r",
        "<HOST> %(known/x)s 203.0.113.1",
    ] {
        for _ in 0..2 {
            let text = format!("Failed password for {name} from 198.51.100.9 port 5 ssh2");
            say(9, &text);
        }
    }
    // A name made to keep a pattern busy.
    let bomb = "from 203.0.113.1 port ".repeat(2_000);
    for _ in 0..3 {
        say(10, &format!("Failed password for {bomb}"));
    }
    say(11, &failed("198.51.100.10"));
    say(11, &failed("198.51.100.10"));
    w.until_listed("198.51.100.10\tssh");
    let listed = w.ask("list");
    assert!(listed.contains("2001:db8:9::7\tssh") && listed.contains("192.0.2.8\tssh"));
    for innocent in ["192.0.2.7", "2001:db8:9::8", "203.0.113.1"] {
        assert!(!listed.contains(innocent), "{innocent}: {listed}");
    }
}

#[test]
fn letters_of_the_log_s_own_encoding() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(
        root,
        "[Definition]\nfailregex = Anmeldung von Jürgen\\w? gescheitert: <HOST>$\n",
        "maxretry = 1\n[latin]\nenabled = true\nlogpath = ROOT/log/de.log\nlogencoding = latin-1\n\
         [utf]\nenabled = true\nlogpath = ROOT/log/de.log\nlogencoding = utf-8\n",
    );
    fs::write(root.join("log/de.log"), "").unwrap();
    let w = Watch::start(root, None);
    let text = |name: &[u8], from: &str| {
        let end = format!(" gescheitert: {from}\n");
        [now().as_bytes(), b" Anmeldung von ", name, end.as_bytes()].concat()
    };
    w.log("de.log", &text(b"J\xfcrgen\xe9", "203.0.113.1"));
    w.log("de.log", &text("Jürgené".as_bytes(), "203.0.113.2"));
    w.until_listed("203.0.113.2\tutf");
    let listed = w.ask("list");
    assert!(listed.contains("203.0.113.1\tlatin"), "{listed}");
    assert!(!listed.contains("203.0.113.1\tutf") && !listed.contains("203.0.113.2\tlatin"));
    assert_eq!(
        w.number("lines_total"),
        2,
        "a line is one, however it is read"
    );
}

#[test]
fn directories_that_are_made_while_it_runs() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(
        root,
        FILTER,
        "maxretry = 1\n[sites]\nenabled = true\nlogpath = ROOT/log/*/auth.log\n",
    );
    let w = Watch::start(root, None);
    for site in ["one", "two"] {
        fs::create_dir(root.join("log").join(site)).unwrap();
        let from = format!("203.0.113.{}", site.len() + usize::from(site == "two"));
        w.log(
            &format!("{site}/auth.log"),
            line(&now(), "root", &from).as_bytes(),
        );
        w.until_listed(&format!("{from}\tsites"));
    }
    // Where it was found, it is followed.
    let log = root.join("log/one/auth.log");
    fs::rename(&log, log.with_extension("old")).unwrap();
    w.log(
        "one/auth.log",
        line(&now(), "root", "203.0.113.9").as_bytes(),
    );
    w.until_listed("203.0.113.9\tsites");
    assert_eq!(w.failed("sites"), 3);
}

#[test]
fn tail_begins_at_the_end() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    furnish(
        root,
        FILTER,
        "maxretry = 1\n[head]\nenabled = true\nlogpath = ROOT/log/head.log head\n\
         [tail]\nenabled = true\nlogpath = ROOT/log/tail.log tail\n",
    );
    for name in ["head", "tail"] {
        let old = line(&now(), "root", "203.0.113.1");
        fs::write(root.join(format!("log/{name}.log")), old).unwrap();
    }
    let w = Watch::start(root, None);
    for name in ["head", "tail"] {
        w.log(
            &format!("{name}.log"),
            line(&now(), "root", "203.0.113.2").as_bytes(),
        );
        w.until_listed(&format!("203.0.113.2\t{name}"));
    }
    assert_eq!((w.failed("head"), w.failed("tail")), (2, 1));
}
