//! How long it takes from a line in a log, or an event of a daemon, to the element in nftables.
//!
//! Needs root. Runs both halves in a network namespace of its own:
//! `ban_latency BANWATCH COUNT`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

mod both;

use banwatch::fire::netlink::messages;
use banwatch::fire::nft::{Told, told};
use banwatch::prefix::Prefix;
use both::{FILTER, Pair, date, stands};
use daemon::netlink::{Family, Netlink};
use events::{Account, Event, Kind, Secret, Service};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

const JAIL: &str = "[DEFAULT]\nbanaction = nftables\naction = nftables[type=allports]\n[test]\nenabled = true\nfilter = test\nlogpath = LOG\nmaxretry = 1\nbackend = polling\n";

struct Rig {
    kernel: Netlink,
    buffer: Vec<u8>,
    log: std::fs::File,
    pair: Pair,
}

impl Rig {
    /// Waits until so many new elements are there; the addresses in them.
    fn elements(&mut self, mut count: usize) -> Vec<Prefix> {
        let mut found = Vec::new();
        let end = Instant::now() + Duration::from_secs(20);
        while count > 0 {
            assert!(Instant::now() < end, "{count} bans are missing");
            let mut fds = [PollFd::new(self.kernel.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(1_000u16));
            while let Ok(n) = self.kernel.recv(&mut self.buffer) {
                for m in messages(&self.buffer[..n]) {
                    if let Told::Elements(all) = told(&m.body) {
                        count = count.saturating_sub(all.len());
                        found.extend(all.iter().map(|e| e.prefix));
                    }
                }
            }
        }
        found
    }

    fn fail(&self, address: IpAddr, n: u32) {
        let event = Event {
            service: Service::Pop3,
            kind: Kind::AuthFail,
            address,
            port: 1,
            account: Some(Account::of(&format!("user{n}"))),
            secret: Some(Secret::of(1, &n.to_be_bytes())),
            session: 1,
            count: 1,
        };
        while self.pair.events.send(&event.encode(0), None).is_err() {
            std::thread::yield_now();
        }
    }
}

fn show(what: &str, mut all: Vec<Duration>) {
    all.sort();
    let at = |p: usize| all[(all.len() - 1) * p / 100];
    println!(
        "{what}: median {:?}, p95 {:?}, most {:?} of {}",
        at(50),
        at(95),
        at(100),
        all.len()
    );
}

fn rss(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text
        .lines()
        .find(|l| l.starts_with("VmRSS"))
        .unwrap_or("VmRSS: ?");
    line.split_whitespace()
        .skip(1)
        .collect::<Vec<_>>()
        .join(" ")
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let program = arguments.next().expect("the path of banwatch");
    let count: u32 = arguments.next().map_or(200, |n| n.parse().unwrap());
    unshare(CloneFlags::CLONE_NEWNET).expect("root");
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap().to_owned();
    std::os::unix::fs::chown(dir.path(), None, None).unwrap();
    Command::new("chmod").args(["755", &root]).status().unwrap();
    let log_path = format!("{root}/log/auth.log");
    for d in ["log", "f2b/filter.d", "f2b/action.d", "run/empty"] {
        std::fs::create_dir_all(format!("{root}/{d}")).unwrap();
    }
    std::fs::write(&log_path, "").unwrap();
    std::fs::write(format!("{root}/f2b/filter.d/test.conf"), FILTER).unwrap();
    std::fs::write(
        format!("{root}/f2b/jail.conf"),
        JAIL.replace("LOG", &log_path),
    )
    .unwrap();
    let config = format!(
        "hostname = \"a.example\"\ndomains = [\"a.example\"]\nroot = \"{root}\"\n[roles]\nban = \"nobody\"\n[log]\ntarget = \"stderr\"\nlevel = \"LEVEL\"\n[ban]\nfail2ban = \"{root}/f2b\"\n"
    );
    let level = std::env::var("LEVEL").unwrap_or_else(|_| "warning".into());
    std::fs::write(
        format!("{root}/hikyaku.toml"),
        config.replace("LEVEL", &level),
    )
    .unwrap();
    let file = format!("{root}/hikyaku.toml");
    let kernel = Netlink::open(Family::Netfilter, 4_096).unwrap();
    kernel.join(7).unwrap();
    let pair = Pair::start(&program, Path::new(&file));
    let log = std::fs::File::options()
        .append(true)
        .open(&log_path)
        .unwrap();
    let mut rig = Rig {
        kernel,
        buffer: vec![0; 1 << 20],
        log,
        pair,
    };
    // The restore and the first ban, so that everything is in memory.
    for n in 0..5 {
        rig.fail(Ipv4Addr::new(192, 0, 2, 1).into(), n);
    }
    rig.elements(1);
    println!(
        "idle: watch {}, fire {}",
        rss(rig.pair.watch),
        rss(rig.pair.fire)
    );

    let mut all = Vec::new();
    for i in 0..count {
        let address = Ipv4Addr::from(0x0a00_0000 + i * 259 + 1);
        for n in 0..4 {
            rig.fail(address.into(), n);
        }
        let began = Instant::now();
        rig.fail(address.into(), 4);
        let who = rig.elements(1);
        all.push(began.elapsed());
        assert_eq!(who, [Prefix::host(address.into())]);
    }
    show("own event to element", all);

    let mut all = Vec::new();
    for i in 0..count {
        let address = Ipv4Addr::from(0x0b00_0000 + i * 259 + 1);
        let line = format!(
            "{} host sshd[1]: Failed password for root from {address} port 1 ssh2\n",
            date()
        );
        let began = Instant::now();
        rig.log.write_all(line.as_bytes()).unwrap();
        let who = rig.elements(1);
        all.push(began.elapsed());
        assert_eq!(who, [Prefix::host(address.into())]);
    }
    show("line to element", all);

    let date = date();
    let text: String = (0..2_000u32)
        .map(|i| {
            let address = Ipv4Addr::from(0x0c00_0000 + i * 259 + 1);
            format!("{date} host sshd[1]: Failed password for root from {address} port 1 ssh2\n")
        })
        .collect();
    let began = Instant::now();
    rig.log.write_all(text.as_bytes()).unwrap();
    rig.elements(2_000);
    println!("2,000 bans at once: {:?}", began.elapsed());

    let text: String = (0..100_000u32)
        .map(|i| {
            let address = Ipv4Addr::from(0x2000_0000 + i * 259 + 1);
            format!("{date} host sshd[1]: Failed password for root from {address} port 1 ssh2\n")
        })
        .collect();
    let began = Instant::now();
    rig.log.write_all(text.as_bytes()).unwrap();
    let mut left = 100_000usize;
    while left > 0 {
        left = left.saturating_sub(rig.elements(1).len());
    }
    println!("100,000 bans one after the other: {:?}", began.elapsed());
    println!(
        "with 100,000: watch {}, fire {}",
        rss(rig.pair.watch),
        rss(rig.pair.fire)
    );
    let _ = rig.kernel.as_fd().as_raw_fd();

    // As after a boot: no table, no process; from the first start to the last ban in force.
    let last = Ipv4Addr::from(0x2000_0000 + 99_999 * 259 + 1);
    drop(rig);
    nft(&["delete", "table", "inet", "hikyaku-ban"]);
    let began = Instant::now();
    let pair = Pair::start(&program, Path::new(&file));
    stands(last);
    println!(
        "100,000 after a boot: {:?}; watch {}, fire {}",
        began.elapsed(),
        rss(pair.watch),
        rss(pair.fire)
    );
    // Both halves have a restore under way; the second is not to be mistaken for what follows.
    std::thread::sleep(Duration::from_secs(1));
    let began = Instant::now();
    nft(&["flush", "ruleset"]);
    stands(last);
    println!("100,000 after a foreign flush: {:?}", began.elapsed());
}

fn nft(arguments: &[&str]) -> bool {
    let out = Command::new("nft").args(arguments).output().unwrap();
    out.status.success()
}
