//! Both halves of banwatch at work, for the programs that measure them.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use banwatch::fire::firewall::Firewall;
use banwatch::fire::wire::Entry;
use banwatch::prefix::Prefix;
use daemon::packet::Packets;
use daemon::process::{Order, Spawn, order};

/// One rule, as `filter.d/test.conf`.
pub const FILTER: &str = "[Definition]\nfailregex = ^\\s*\\S+ sshd\\[\\d+\\]: Failed password for \\S+ from <HOST> port\n";

/// Ends both when it is dropped, and waits for that.
pub struct Pair {
    pub watch: u32,
    pub fire: u32,
    /// Where daemons report; not everybody who measures does.
    #[allow(dead_code)]
    pub events: Packets,
    _ends: [Packets; 3],
}

impl Pair {
    /// Both serve when this returns.
    pub fn start(program: &str, config: &Path) -> Pair {
        let (events, reads) = Packets::pair().unwrap();
        let (asks, acts) = Packets::pair().unwrap();
        reads.ask_credentials().unwrap();
        let spawn = || Spawn::new(program).arg("--config").arg(config);
        let (mut ready, says) = std::io::pipe().unwrap();
        let fire = spawn()
            .arg("--fire")
            .give("fire", acts.as_fd())
            .give("ready", says.as_fd())
            .start()
            .unwrap();
        let watch = spawn()
            .give("events", reads.as_fd())
            .give("fire", asks.as_fd())
            .give("ready", says.as_fd())
            .start()
            .unwrap();
        drop(says);
        std::io::Read::read_exact(&mut ready, &mut [0; 2]).expect("both to serve");
        Pair {
            watch,
            fire,
            events,
            _ends: [reads, asks, acts],
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for pid in [self.watch, self.fire] {
            let _ = order(pid, Order::Stop);
        }
        let mut left = 2;
        while left > 0 {
            left -= usize::from(daemon::process::reap().is_some());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Waits until this address is banned.
pub fn stands(address: Ipv4Addr) {
    let end = Instant::now() + Duration::from_secs(60);
    let mut firewall = Firewall::open(None).unwrap();
    let entry = Entry {
        scope: 0,
        prefix: Prefix::host(address.into()),
        seconds: 1,
    };
    while !firewall.has(&entry).unwrap_or(false) {
        assert!(Instant::now() < end, "{address} is not banned");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The present time as syslog writes it in ISO form.
pub fn date() -> String {
    let out = Command::new("date")
        .arg("+%Y-%m-%dT%H:%M:%S.%6N%:z")
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}
