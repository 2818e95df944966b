//! Our table in a real kernel, in a network namespace of its own.
//!
//! Needs root: `make check-root`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod net;

use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Instant;

use banwatch::fire::firewall::Firewall;
use banwatch::fire::iptables::CHAIN;
use banwatch::fire::nft::{DYNAMIC_SIZE, Limits};
use banwatch::fire::sets::{Health, Sets};
use banwatch::fire::wire::Entry;
use net::{Net, have, tell, until};
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
    // What matters is shown by connections below; here that the hooks are where they should be.
    let text = nft(&["list", "table", "inet", "hikyaku-ban"]);
    for part in [
        "hook input priority filter - 10; policy accept;",
        "hook forward priority filter - 10; policy accept;",
        "elements = { 22 }",
        "limit rate over 30/minute",
        "ct count over 20",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
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
    tell(&format!("100,000 restored: {:?}", began.elapsed()));
    let began = Instant::now();
    for i in 0..1_000u32 {
        f.add(vec![entry(&format!("2001:db8:{i:x}::/64"), 600)])
            .unwrap();
    }
    tell(&format!("one more /64: {:?}", began.elapsed() / 1_000));
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
    f.add(two_thousand.clone()).unwrap();
    tell(&format!("2,000 at once: {:?}", began.elapsed()));
    assert_eq!(f.list().unwrap().len(), 103_000);
    // All of them once more, with another time: the error has the whole message behind it.
    let longer = |e: &Entry| Entry {
        seconds: 9_000,
        ..*e
    };
    let began = Instant::now();
    f.add(two_thousand.iter().map(longer).collect()).unwrap();
    tell(&format!("2,000 made longer: {:?}", began.elapsed()));
    let long = f.list().unwrap();
    assert_eq!(long.iter().filter(|e| e.seconds > 8_000).count(), 2_000);
    // In place of what is there, in one transaction.
    let began = Instant::now();
    f.rebuild(many(100_000)).unwrap();
    tell(&format!(
        "100,000 in place of 103,000: {:?}",
        began.elapsed()
    ));
    assert_eq!(f.list().unwrap().len(), 100_000);
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn every_width_and_scope_meets_what_it_should_and_no_more() {
    let net = Net::new();
    let (_one, to) = net.serve("h", "192.0.2.1:0");
    let (_two, other) = net.serve("h", "192.0.2.1:0");
    let (_six, six) = net.serve("h", "[2001:db8::1]:0");
    let (_seven, inner) = net.serve("c", "198.51.100.2:0");
    let scoped = |prefix, scope| Entry {
        scope,
        ..entry(prefix, 600)
    };
    let check = |rebuild: &mut (dyn FnMut(Vec<Entry>) + Send)| {
        // What is banned; who can't connect to the host, to the other port, to the container.
        let cases: [(Vec<Entry>, [bool; 3], [bool; 2]); 6] = [
            (vec![], [false; 3], [false; 2]),
            (vec![entry("192.0.2.66", 600)], [true; 3], [false; 2]),
            (vec![entry("192.0.2.64/29", 600)], [true; 3], [false; 2]),
            (
                vec![scoped("192.0.2.66", 1)],
                [true, false, false],
                [false; 2],
            ),
            (vec![entry("2001:db8::66", 600)], [false; 3], [true, false]),
            (vec![entry("2001:db8::/56", 600)], [false; 3], [true, true]),
        ];
        for (bans, four, six_shut) in cases {
            net.within("h", || rebuild(bans.clone()));
            for (at, shut) in [to, other, inner].into_iter().zip(four) {
                assert_eq!(!net.connects("192.0.2.66", at), shut, "{bans:?} {at}");
                assert!(net.connects("192.0.2.77", at), "{bans:?} {at}");
            }
            for (from, shut) in ["2001:db8::66", "2001:db8::67"].into_iter().zip(six_shut) {
                assert_eq!(!net.connects(from, six), shut, "{bans:?} {from}");
            }
            assert!(net.connects("2001:db8:7::77", six), "{bans:?}");
        }
    };
    let mut table = net.within("h", || Firewall::open(None).unwrap());
    table.ports(1, vec![to.port()]);
    check(&mut |bans| table.rebuild(bans).unwrap());
    net.within("h", || table.remove().unwrap());
    if have(&["iptables-restore", "ip6tables-restore"]) {
        let mut sets = net.within("h", || Sets::open(None).unwrap());
        sets.ports(1, vec![to.port()]);
        check(&mut |bans| sets.rebuild(bans).unwrap());
    }
}

/// So many connections from `from`, until one is not taken.
fn open(net: &Net, from: &str, to: std::net::SocketAddr, most: usize) -> Vec<OwnedFd> {
    (0..most).map_while(|_| net.connect(from, to)).collect()
}

fn connections_at_once(net: &Net) {
    let (listener, to) = net.listen("h", "192.0.2.1:2525");
    let (_six, six) = net.listen("h", "[2001:db8::1]:2525");
    let (_free, free) = net.listen("h", "192.0.2.1:0");
    let held = open(net, "192.0.2.66", to, 9);
    assert_eq!(held.len(), 5, "so many at once and no more");
    assert!(
        net.connects("192.0.2.66", free),
        "another port is not limited"
    );
    assert_eq!(
        open(net, "192.0.2.77", to, 9).len(),
        5,
        "each address by itself"
    );
    // In IPv6 the /64 counts.
    let mut both = open(net, "2001:db8::66", six, 3);
    both.extend(open(net, "2001:db8::67", six, 9));
    assert_eq!(both.len(), 5);
    assert_eq!(open(net, "2001:db8:7::77", six, 9).len(), 5);
    // What ends makes room again.
    drop(held);
    for _ in 0..5 {
        drop(listener.accept().unwrap());
    }
    until("room again", || net.connects("192.0.2.66", to));
}

fn connections_a_minute(net: &Net) {
    let (_listener, to) = net.listen("h", "192.0.2.1:2525");
    let (_six, six) = net.listen("h", "[2001:db8::1]:2525");
    // Six at once, then one every ten seconds.
    let burst = |from, to| {
        let began = Instant::now();
        let taken = (0..14).filter(|_| net.connects(from, to)).count();
        let more = 1 + began.elapsed().as_secs() as usize / 10;
        assert!((6..=6 + more).contains(&taken), "{from}: {taken}");
    };
    burst("192.0.2.66", to);
    burst("192.0.2.77", to);
    burst("2001:db8::66", six);
    assert!(!net.connects("2001:db8::67", six), "the same /64");
    burst("2001:db8:7::77", six);
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn limits_of_the_kernel_hold_for_each_address_and_each_64() {
    let limits = |new_per_minute, at_once| Limits {
        ports: vec![2_525],
        new_per_minute,
        at_once,
    };
    for what in 0..4 {
        let net = Net::new();
        let limits = if what % 2 == 0 {
            limits(0, 5)
        } else {
            limits(6, 0)
        };
        if what < 2 {
            net.within("h", || {
                let mut table = Firewall::open(Some(limits)).unwrap();
                table.rebuild(Vec::new()).unwrap();
            });
        } else if have(&["iptables-restore", "ip6tables-restore"]) {
            net.within("h", || Sets::open(Some(&limits)).unwrap());
        } else {
            continue;
        }
        if what % 2 == 0 {
            connections_at_once(&net);
        } else {
            connections_a_minute(&net);
        }
    }
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn a_full_set_of_the_kernels_counting_is_told() {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let limits = Limits {
        ports: vec![25],
        new_per_minute: 30,
        at_once: 0,
    };
    let mut f = Firewall::open(Some(limits)).unwrap();
    f.rebuild(Vec::new()).unwrap();
    assert_eq!(f.full().unwrap(), 0);
    let fill = |from: u32, to: u32| {
        use std::fmt::Write as _;
        let mut text = String::from("add element inet hikyaku-ban rate_v4 { ");
        for n in from..to {
            let _ = write!(text, "{}, ", std::net::Ipv4Addr::from(0x0a00_0000 + n));
        }
        text.push('}');
        let tmp = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(tmp.path(), text).unwrap();
        nft(&["-f", tmp.path().to_str().unwrap()])
    };
    assert_eq!(fill(0, DYNAMIC_SIZE - 1), "");
    assert_eq!(f.count("rate_v4").unwrap(), DYNAMIC_SIZE as usize - 1);
    assert_eq!(f.full().unwrap(), 0);
    assert_eq!(fill(DYNAMIC_SIZE, DYNAMIC_SIZE + 1), "");
    assert_eq!(f.full().unwrap(), 1);
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn ipsets_come_go_are_listed_and_watched() {
    if !have(&["iptables-restore", "ip6tables-restore", "ipset"]) {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let mut s = Sets::open(None).unwrap();
    assert_eq!(s.health().unwrap(), Health::Well);
    let listed = |s: &mut Sets| {
        let mut all: Vec<String> = s
            .list()
            .unwrap()
            .iter()
            .map(|e| format!("{} {}", e.prefix, e.scope))
            .collect();
        all.sort();
        all
    };
    s.ports(2, vec![25, 587]);
    let scoped = |prefix, scope| Entry {
        scope,
        ..entry(prefix, 600)
    };
    s.rebuild(vec![
        entry("192.0.2.1", 100),
        entry("2001:db8::/64", 100),
        scoped("192.0.2.99", 2),
        // Beyond the scopes that have rules: for all traffic.
        scoped("192.0.2.98", 16),
    ])
    .unwrap();
    s.add(vec![
        entry("198.51.0.0/16", Entry::FOR_EVER),
        entry("192.0.2.1", 5_000),
        entry("2001:db8:1::1", 40 * 86_400),
    ])
    .unwrap();
    assert_eq!(
        listed(&mut s),
        [
            "192.0.2.1 0",
            "192.0.2.98 0",
            "192.0.2.99 2",
            "198.51.0.0/16 0",
            "2001:db8:1::1 0",
            "2001:db8::/64 0"
        ]
    );
    let time = |s: &mut Sets, p: &str| {
        let all = s.list().unwrap();
        all.iter()
            .find(|e| e.prefix == entry(p, 1).prefix)
            .unwrap()
            .seconds
    };
    assert!(
        (4_900..=5_000).contains(&time(&mut s, "192.0.2.1")),
        "a new time"
    );
    assert_eq!(time(&mut s, "198.51.0.0/16"), Entry::FOR_EVER);
    assert!(
        time(&mut s, "2001:db8:1::1") > 2_147_000,
        "as long as it can count"
    );
    s.delete(vec![entry("192.0.2.1", 1), entry("203.0.113.1", 1)])
        .unwrap();
    assert!(!listed(&mut s).contains(&"192.0.2.1 0".to_owned()));
    assert!(s.has(&entry("198.51.7.7", 1)).unwrap());
    assert!(!s.has(&entry("198.52.7.7", 1)).unwrap());
    // A successor finds it as it is; nothing is empty meanwhile and no rule is there twice.
    drop(s);
    let mut s = Sets::open(None).unwrap();
    assert_eq!(listed(&mut s).len(), 5);
    let rules = |tool: &str, table: &[&str]| {
        let out = Command::new(tool).args(table).output().unwrap();
        String::from_utf8_lossy(&out.stdout).matches(CHAIN).count()
    };
    let tool = if have(&["iptables-legacy"]) {
        "iptables-legacy"
    } else {
        "iptables"
    };
    let before = rules(tool, &["-t", "mangle", "-S"]);
    drop(s);
    let mut s = Sets::open(None).unwrap();
    assert_eq!(rules(tool, &["-t", "mangle", "-S"]), before);
    // Somebody else empties the sets, and then removes the rules.
    assert!(
        Command::new("ipset")
            .arg("flush")
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(s.health().unwrap(), Health::Emptied);
    s.rebuild(vec![entry("192.0.2.1", 100)]).unwrap();
    assert_eq!(s.health().unwrap(), Health::Well);
    for table in [
        &["-t", "mangle", "-F"][..],
        &["-t", "mangle", "-F", "PREROUTING"],
    ] {
        assert!(Command::new(tool).args(table).status().unwrap().success());
        assert_eq!(s.health().unwrap(), Health::Gone, "{table:?}");
        drop(s);
        s = Sets::open(None).unwrap();
        assert_eq!(s.health().unwrap(), Health::Well);
        assert_eq!(listed(&mut s), ["192.0.2.1 0"]);
    }
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn a_hundred_thousand_in_ipset() {
    if !have(&["iptables-restore", "ip6tables-restore"]) {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let mut s = Sets::open(None).unwrap();
    let began = Instant::now();
    s.rebuild(many(100_000)).unwrap();
    tell(&format!("100,000 restored in ipset: {:?}", began.elapsed()));
    let began = Instant::now();
    for i in 0..1_000u32 {
        s.add(vec![entry(&format!("2001:db8:{i:x}::/64"), 600)])
            .unwrap();
    }
    tell(&format!(
        "one more /64 in ipset: {:?}",
        began.elapsed() / 1_000
    ));
    assert_eq!(s.list().unwrap().len(), 101_000);
    s.rebuild(many(50_000)).unwrap();
    assert_eq!(s.list().unwrap().len(), 50_000);
}
