//! How much memory both halves take: idle, with stock jails, with 100,000 bans, after a restart.
//!
//! Needs root. Runs both halves in a network namespace of its own:
//! `ban_memory BANWATCH [FAIL2BAN_DIRECTORY]`; the second is an unpacked /etc/fail2ban, of which
//! five mail jails are switched on. `MAPS=1` adds the mappings above 100 kB.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

mod both;

use both::{FILTER, Pair, date, stands};
use nix::sched::{CloneFlags, unshare};

const TEST: &str = "[DEFAULT]\nbanaction = nftables\naction = nftables[type=allports]\n[test]\nenabled = true\nfilter = test\nlogpath = LOG/auth.log\nmaxretry = 1\nbackend = polling\n";
const MAIL_JAILS: [&str; 5] = [
    "postfix",
    "dovecot",
    "sendmail-auth",
    "sendmail-reject",
    "postfix-sasl",
];

/// What both take now, in kB.
fn show(pair: &Pair, when: &str) {
    for (name, pid) in [("watch", pair.watch), ("fire", pair.fire)] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let kb = |field: &str| {
            text.lines()
                .filter(|l| l.starts_with(field))
                .filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
                .sum::<u64>()
        };
        println!(
            "{when:<26} {name:<5} RSS {:>6} kB, PSS {:>6}, private {:>6}, anonymous {:>6}",
            kb("Rss:"),
            kb("Pss:"),
            kb("Private_"),
            kb("Anonymous:")
        );
        if std::env::var_os("MAPS").is_some() {
            maps(pid);
        }
    }
}

/// Mappings above 100 kB.
fn maps(pid: u32) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut head = "";
    for line in text.lines() {
        if !line.contains("kB") && !line.starts_with("VmFlags") {
            head = line;
        }
        let size = line
            .strip_prefix("Rss:")
            .and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        if let Some(kb) = size.filter(|kb| *kb >= 100) {
            println!("    {kb:>6} {head}");
        }
    }
}

/// The five mail jails of an unpacked configuration, reading one log.
fn mail_jails(from: &Path, to: &str, log: &str) {
    Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    let _ = std::fs::remove_dir_all(format!("{to}/jail.d"));
    let mut local = String::from("[DEFAULT]\nbackend = polling\nbanaction = nftables\n");
    for jail in MAIL_JAILS {
        let _ = write!(local, "[{jail}]\nenabled = true\nlogpath = {log}\n");
    }
    std::fs::write(format!("{to}/jail.local"), local).unwrap();
}

fn config(root: &str, name: &str, more: &str) -> std::path::PathBuf {
    std::fs::create_dir_all(format!("{root}/{name}/run/empty")).unwrap();
    let path = Path::new(root).join(name).join("hikyaku.toml");
    let text = format!(
        "hostname = \"a.example\"\ndomains = [\"a.example\"]\nroot = \"{root}/{name}\"\n[roles]\nban = \"nobody\"\n\
         [log]\ntarget = \"stderr\"\nlevel = \"error\"\n[ban]\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn settle() {
    // What is done a second or two after the start is done by then.
    std::thread::sleep(Duration::from_millis(2_500));
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().expect("the path of banwatch");
    let stock = arguments.next();
    unshare(CloneFlags::CLONE_NEWNET).expect("root");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap().to_owned();
    Command::new("chmod").args(["755", &root]).status().unwrap();
    std::fs::create_dir_all(format!("{root}/log")).unwrap();
    let mail_log = format!("{root}/log/mail.log");
    std::fs::write(&mail_log, "").unwrap();

    let pair = Pair::start(&program, &config(&root, "plain", ""));
    settle();
    show(&pair, "idle, own rules only");
    drop(pair);

    if let Some(stock) = stock {
        let tree = format!("{root}/mail");
        mail_jails(Path::new(&stock), &tree, &mail_log);
        let file = config(&root, "stock", &format!("fail2ban = {tree:?}\n"));
        let pair = Pair::start(&program, &file);
        settle();
        show(&pair, "idle, five mail jails");
        let mut log = std::fs::File::options()
            .append(true)
            .open(&mail_log)
            .unwrap();
        let date = date();
        let text: String = (0..20_000u32)
            .map(|i| {
                let address = Ipv4Addr::from(0x0a00_0000 + i % 500);
                match i % 3 {
                    0 => format!("{date} host dovecot: imap-login: Disconnected: user=<a>, rip={address}, lip=192.0.2.1\n"),
                    1 => format!("{date} host postfix/smtpd[7]: connect from unknown[{address}]\n"),
                    _ => format!("{date} host sm-mta[8]: x: from=<a@b.example>, relay=[{address}]\n"),
                }
            })
            .collect();
        log.write_all(text.as_bytes()).unwrap();
        settle();
        show(&pair, "… after 20,000 lines");
        drop(pair);
    }

    let tree = format!("{root}/f2b");
    for d in ["filter.d", "action.d"] {
        std::fs::create_dir_all(format!("{tree}/{d}")).unwrap();
    }
    std::fs::write(format!("{tree}/filter.d/test.conf"), FILTER).unwrap();
    std::fs::write(
        format!("{tree}/jail.conf"),
        TEST.replace("LOG", &format!("{root}/log")),
    )
    .unwrap();
    std::fs::write(format!("{root}/log/auth.log"), "").unwrap();
    let file = config(&root, "many", &format!("fail2ban = {tree:?}\n"));
    let pair = Pair::start(&program, &file);
    let mut log = std::fs::File::options()
        .append(true)
        .open(format!("{root}/log/auth.log"))
        .unwrap();
    let date = date();
    let who = |i: u32| Ipv4Addr::from(0x2000_0000 + i * 259 + 1);
    let text: String = (0..100_000u32)
        .map(|i| {
            format!(
                "{date} host sshd[1]: Failed password for root from {} port 1 ssh2\n",
                who(i)
            )
        })
        .collect();
    log.write_all(text.as_bytes()).unwrap();
    stands(who(99_999));
    show(&pair, "100,000 one by one");
    settle();
    show(&pair, "… a little later");
    drop(pair);
    let pair = Pair::start(&program, &file);
    settle();
    show(&pair, "100,000 after a restart");
    drop(pair);
}
