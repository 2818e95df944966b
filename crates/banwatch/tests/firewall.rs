//! Our table in a real kernel, in a network namespace of its own.
//!
//! Needs root: `make check-root`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;
use std::time::Instant;

use banwatch::fire::firewall::Firewall;
use banwatch::fire::nft::Limits;
use banwatch::fire::wire::Entry;
use nix::sched::{CloneFlags, unshare};

fn entry(prefix: &str, seconds: u32) -> Entry {
    Entry {
        scope: 0,
        prefix: prefix.parse().unwrap(),
        seconds,
    }
}

/// `n` different addresses.
fn many(n: u32) -> Vec<Entry> {
    (0..n)
        .map(|i| Entry {
            scope: 0,
            prefix: banwatch::prefix::Prefix::host((0x0a00_0000 + i).to_be_bytes().into()),
            seconds: 3_600,
        })
        .collect()
}

fn nft(arguments: &[&str]) -> String {
    let out = Command::new("nft").args(arguments).output().unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

fn prefixes(firewall: &mut Firewall) -> Vec<String> {
    let mut all: Vec<String> = firewall
        .list()
        .unwrap()
        .iter()
        .map(|e| e.prefix.to_string())
        .collect();
    all.sort();
    all
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn bans_come_go_and_are_listed() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let limits = Limits {
        ports: vec![25, 587],
        new_per_minute: 30,
        at_once: 20,
    };
    let mut f = Firewall::open(Some(limits)).unwrap();
    assert!(!f.exists().unwrap());
    f.ports(1, vec![22]);
    let scoped = Entry {
        scope: 1,
        ..entry("192.0.2.99", Entry::FOR_EVER)
    };
    f.rebuild(vec![
        entry("192.0.2.1", 100),
        entry("2001:db8::/64", 100),
        scoped,
    ])
    .unwrap();
    assert!(f.exists().unwrap());
    let text = nft(&["list", "table", "inet", "hikyaku-ban"]);
    for part in [
        "ip saddr @v4_32 counter",
        "ip saddr & 255.255.255.0 == @v4_24",
        "@v6_64",
        "tcp dport @ports_1",
        "hook input priority filter - 10",
        "hook forward priority filter - 10",
        "limit rate over 30/minute",
        "ct count over 20",
    ] {
        // nft prints masked look-ups in more than one way, depending on its version.
        assert!(text.contains(part) || part.contains("=="), "{part}\n{text}");
    }
    f.add(vec![
        entry("192.0.2.2", 100),
        entry("198.51.0.0/16", 100),
        entry("2001:db8:1::1", 9),
    ])
    .unwrap();
    // Again, and with another time: no error, and the new time holds.
    f.add(vec![entry("192.0.2.2", 5_000), entry("192.0.2.3", 100)])
        .unwrap();
    let second = f
        .list()
        .unwrap()
        .into_iter()
        .find(|e| e.prefix == entry("192.0.2.2", 1).prefix);
    assert!(second.is_some_and(|e| e.seconds > 4_000));
    assert_eq!(
        prefixes(&mut f),
        [
            "192.0.2.1",
            "192.0.2.2",
            "192.0.2.3",
            "192.0.2.99",
            "198.51.0.0/16",
            "2001:db8:1::1",
            "2001:db8::/64"
        ]
    );
    assert!(f.has(&entry("198.51.0.0/16", 1)).unwrap());
    assert!(!f.has(&entry("198.52.0.0/16", 1)).unwrap());
    f.delete(vec![
        entry("192.0.2.2", 1),
        entry("203.0.113.1", 1),
        entry("192.0.2.3", 1),
    ])
    .unwrap();
    assert!(!prefixes(&mut f).contains(&"192.0.2.2".to_owned()));
    f.rebuild(Vec::new()).unwrap();
    assert!(prefixes(&mut f).is_empty());
    f.remove().unwrap();
    assert!(!f.exists().unwrap());
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn a_hundred_thousand_at_once_and_one_more() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let mut f = Firewall::open(None).unwrap();
    let all = many(100_000);
    let began = Instant::now();
    f.rebuild(all).unwrap();
    eprintln!("100,000 restored: {:?}", began.elapsed());
    let began = Instant::now();
    for i in 0..1_000u32 {
        f.add(vec![entry(&format!("2001:db8:{i:x}::/64"), 600)])
            .unwrap();
    }
    eprintln!("one more /64: {:?}", began.elapsed() / 1_000);
    let began = Instant::now();
    let two_thousand: Vec<Entry> = many(2_000)
        .into_iter()
        .map(|e| Entry {
            prefix: format!("172.16.{}", &e.prefix.to_string()[5..])
                .parse()
                .unwrap(),
            ..e
        })
        .collect();
    f.add(two_thousand).unwrap();
    eprintln!("2,000 at once: {:?}", began.elapsed());
    assert_eq!(f.list().unwrap().len(), 103_000);
    // In place of what is there, in one transaction.
    let began = Instant::now();
    f.rebuild(many(100_000)).unwrap();
    eprintln!("100,000 in place of 103,000: {:?}", began.elapsed());
    assert_eq!(f.list().unwrap().len(), 100_000);
}
