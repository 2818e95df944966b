//! banwatch for real: an attacker and a bystander in network namespaces of their own, nftables,
//! and connections that stop and go on again.
//!
//! Needs root: `make check-root`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod net;

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use banwatch::fire::firewall::Firewall;
use banwatch::fire::wire::Entry;
use banwatch::prefix::Prefix;
use daemon::packet::Packets;
use daemon::process::{End, Order, Spawn, order, reap};
use events::{Account, Event, Kind, Secret, Service};
use net::{Net, have, tell, until};

/// Both halves at work in the host's namespace.
struct Ban {
    pids: Vec<u32>,
    writes: Packets,
    ends: [Packets; 3],
    root: PathBuf,
}

impl Ban {
    fn start(net: &Net, root: &Path, more: &str) -> Ban {
        Ban::start_by(net, root, more, &[])
    }

    /// Fire is started by `starter`, the words of a command that ends with starting it.
    fn start_by(net: &Net, root: &Path, more: &str, starter: &[&str]) -> Ban {
        use std::os::unix::fs::PermissionsExt;
        std::fs::create_dir_all(root.join("run/empty")).unwrap();
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = format!(
            "hostname = \"a.example\"\ndomains = [\"a.example\"]\nroot = {root:?}\n[roles]\nban = \"nobody\"\n\
             [log]\ntarget = \"stderr\"\n[ban]\nfirst = \"3s\"\nfactor = 1\n{more}"
        );
        let file = root.join("hikyaku.toml");
        std::fs::write(&file, config).unwrap();
        let (writes, reads) = Packets::pair().unwrap();
        reads.ask_credentials().unwrap();
        let (asks, acts) = Packets::pair().unwrap();
        let (mut ready, says) = std::io::pipe().unwrap();
        let program = env!("CARGO_BIN_EXE_banwatch");
        let path = root.join("run/ban");
        let pids = net.within("h", || {
            let control = daemon::net::bind_unix(&path, 0o600).unwrap();
            let fire = match starter {
                [] => Spawn::new(program),
                [first, rest @ ..] => rest
                    .iter()
                    .fold(Spawn::new(*first), |s, word| s.arg(word))
                    .arg(program),
            };
            let fire = fire
                .arg("--config")
                .arg(&file)
                .arg("--fire")
                .give("fire", acts.as_fd())
                .give("ready", says.as_fd())
                .start()
                .unwrap();
            let watch = Spawn::new(program)
                .arg("--config")
                .arg(&file)
                .give("events", reads.as_fd())
                .give("fire", asks.as_fd())
                .give("ban", control.as_fd())
                .give("ready", says.as_fd())
                .start()
                .unwrap();
            vec![fire, watch]
        });
        drop(says);
        ready.read_exact(&mut [0; 2]).expect("both serve");
        Ban {
            pids,
            writes,
            ends: [reads, asks, acts],
            root: root.to_owned(),
        }
    }

    /// Waits until fire ends by itself, asking to be started again, and does so.
    fn fire_again(&mut self, net: &Net) {
        let [old, ..] = self.pids[..] else { panic!() };
        until("fire ends", || {
            loop {
                match reap() {
                    Some((pid, end)) if pid == old => {
                        assert_eq!(end, End::Code(daemon::EXIT_TEMPORARY));
                        return true;
                    }
                    Some(_) => {}
                    None => return false,
                }
            }
        });
        let (mut ready, says) = std::io::pipe().unwrap();
        let [.., acts] = &self.ends;
        self.pids[0] = net.within("h", || {
            Spawn::new(env!("CARGO_BIN_EXE_banwatch"))
                .arg("--config")
                .arg(self.root.join("hikyaku.toml"))
                .arg("--fire")
                .give("fire", acts.as_fd())
                .give("ready", says.as_fd())
                .start()
                .unwrap()
        });
        drop(says);
        ready.read_exact(&mut [0]).expect("fire serves again");
    }

    fn guess(&self, address: &str) {
        for n in 0..5u32 {
            let event = Event {
                service: Service::Pop3,
                kind: Kind::AuthFail,
                address: address.parse().unwrap(),
                port: 1,
                account: Some(Account::of("alice")),
                secret: Some(Secret::of(1, &n.to_be_bytes())),
                session: 1,
                count: 1,
            };
            self.writes.send(&event.encode(0), None).unwrap();
        }
    }

    fn ask(&self, question: &str) -> String {
        let mut s = std::os::unix::net::UnixStream::connect(self.root.join("run/ban")).unwrap();
        s.write_all(format!("{question}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        s.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Ban {
    fn drop(&mut self) {
        for pid in &self.pids {
            let _ = order(*pid, Order::Stop);
        }
    }
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn the_attackers_connections_stop_and_resume() {
    let net = Net::new();
    let tmp = tempfile::tempdir().unwrap();
    let ban = Ban::start(&net, tmp.path(), "ignore = [\"192.0.2.77\"]\n");
    let (_listener, to) = net.serve("h", "192.0.2.1:0");
    let (_six, to_six) = net.serve("h", "[2001:db8::1]:0");
    let (_inner, to_inner) = net.serve("c", "198.51.100.2:0");
    assert!(net.connects("192.0.2.66", to) && net.connects("192.0.2.77", to));
    assert!(net.connects("192.0.2.66", to_inner) && net.connects("192.0.2.77", to_inner));
    // A connection that stands is cut off too.
    let held = net.connect("192.0.2.66", to).unwrap();

    let began = Instant::now();
    ban.guess("192.0.2.66");
    let stands = Entry {
        scope: 0,
        prefix: "192.0.2.66".parse().unwrap(),
        seconds: 1,
    };
    net.within("h", || {
        let mut table = Firewall::open(None).unwrap();
        until("the ban stands", || table.has(&stands).unwrap_or(false))
    });
    tell(&format!(
        "five wrong passwords to the ban in force: {:?}",
        began.elapsed()
    ));
    assert!(!net.connects("192.0.2.66", to), "the attacker is shut out");
    assert!(
        !net.connects("192.0.2.66", to_inner),
        "of the container behind the host too"
    );
    assert!(
        net.connects("192.0.2.77", to) && net.connects("192.0.2.77", to_inner),
        "others go on"
    );
    assert!(net.connects("2001:db8::66", to_six));
    drop(held);
    let listed = ban.ask("list");
    assert!(listed.contains("192.0.2.66\tmail-guessing\t"), "{listed}");
    // The kernel ends it by itself.
    let lasted = until("it ends", || net.connects("192.0.2.66", to));
    tell(&format!(
        "a ban of 3 s ended {lasted:?} after the attempts above"
    ));
    until("it is no longer listed", || ban.ask("list") == "+\n");
    // IPv6: two addresses of one /64 guess, the whole /64 goes, another one does not.
    ban.guess("2001:db8::66");
    until("IPv6 is shut out", || !net.connects("2001:db8::66", to_six));
    assert!(net.connects("2001:db8:7::77", to_six));

    // Who is never banned: the admin's list, the host itself, loopback.
    for never in ["192.0.2.77", "192.0.2.1", "127.0.0.1", "2001:db8::1"] {
        ban.guess(never);
        assert!(
            ban.ask(&format!("add {never}")).starts_with("- "),
            "{never}"
        );
    }
    assert!(
        ban.ask("add 192.0.2.0/24 1m").starts_with("- "),
        "a network with one of them in it"
    );
    assert!(net.connects("192.0.2.77", to));

    // Somebody flushes the ruleset: it is made anew.
    assert_eq!(ban.ask("add 192.0.2.66 10m"), "+\n1\n");
    until("banned by the admin", || !net.connects("192.0.2.66", to));
    net.within("h", || {
        assert!(
            Command::new("nft")
                .args(["flush", "ruleset"])
                .status()
                .unwrap()
                .success()
        )
    });
    until("made anew", || !net.connects("192.0.2.66", to));
    assert_eq!(ban.ask("del 192.0.2.66"), "+\n1\n");
    until("lifted", || net.connects("192.0.2.66", to));
    let prefix: Prefix = "192.0.2.66".parse().unwrap();
    assert!(ban.ask(&format!("why {prefix}")).contains("not banned"));
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn fire_believes_nobody() {
    use banwatch::fire::wire::{Answer, Request};
    let net = Net::new();
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("hikyaku.toml");
    let config = format!(
        "hostname = \"a.example\"\ndomains = [\"a.example\"]\nroot = {:?}\n[log]\ntarget = \"stderr\"\n[ban]\nignore = [\"192.0.2.77\"]\n",
        tmp.path()
    );
    std::fs::write(&file, config).unwrap();
    let (asks, acts) = Packets::pair().unwrap();
    let (mut ready, says) = std::io::pipe().unwrap();
    let pid = net.within("h", || {
        Spawn::new(env!("CARGO_BIN_EXE_banwatch"))
            .arg("--config")
            .arg(&file)
            .arg("--fire")
            .give("fire", acts.as_fd())
            .give("ready", says.as_fd())
            .start()
            .unwrap()
    });
    drop(says);
    ready.read_exact(&mut [0; 1]).unwrap();
    let mut buffer = vec![0; 65_536];
    asks.set_nonblocking(false).unwrap();
    let mut answer = || {
        let n = asks.recv(&mut buffer).unwrap().length;
        Answer::decode(&buffer[..n]).unwrap()
    };
    assert_eq!(answer(), (0, Answer::Need));
    asks.send(&Request::Commit(0).encode(1), None).unwrap();
    assert_eq!(answer(), (1, Answer::Done(Vec::new())));
    // Garbage is not answered and ends nothing.
    for bad in [&b"X"[..], b"A\0\0\0\x01short", &[0xff; 300]] {
        asks.send(bad, None).unwrap();
    }
    let e = |p: &str| Entry {
        scope: 0,
        prefix: p.parse().unwrap(),
        seconds: 60,
    };
    let never: Vec<Entry> = [
        "192.0.2.77",
        "192.0.2.1",
        "127.0.0.1",
        "0.0.0.0/0",
        "::/0",
        "2001:db8::1",
        "192.0.2.0/24",
    ]
    .map(e)
    .to_vec();
    let mut all = never.clone();
    all.push(e("203.0.113.5"));
    asks.send(&Request::Add(all).encode(2), None).unwrap();
    assert_eq!(answer(), (2, Answer::Done(never)));
    asks.send(&Request::List.encode(3), None).unwrap();
    let (3, Answer::Listed(true, listed)) = answer() else {
        panic!("a list")
    };
    assert_eq!(
        listed
            .iter()
            .map(|e| e.prefix.to_string())
            .collect::<Vec<_>>(),
        ["203.0.113.5"]
    );
    // A restore of which a part is missing is not made.
    asks.send(&Request::Stage(vec![e("203.0.113.6")]).encode(4), None)
        .unwrap();
    asks.send(&Request::Commit(2).encode(4), None).unwrap();
    assert_eq!(answer(), (0, Answer::Need));
    order(pid, Order::Stop).unwrap();
}

/// A jail of fail2ban's with a port of its own: a line in a log, and that port is shut.
#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn a_line_in_a_log_shuts_the_ports_of_its_jail() {
    for backend in ["auto", "ipset"] {
        if backend == "ipset" && !have(&["iptables-restore", "ip6tables-restore"]) {
            continue;
        }
        let net = Net::new();
        let (_server, to) = net.serve("h", "192.0.2.1:0");
        let (_other, free) = net.serve("h", "192.0.2.1:0");
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path();
        for d in ["log", "f2b/filter.d", "f2b/action.d"] {
            std::fs::create_dir_all(root.join(d)).unwrap();
        }
        let log = root.join("log/auth.log");
        std::fs::write(&log, "").unwrap();
        std::fs::write(
            root.join("f2b/filter.d/test.conf"),
            "[Definition]\nfailregex = ^\\s*\\S+ x\\[\\d+\\]: no such user from <HOST>$\n",
        )
        .unwrap();
        std::fs::write(
            root.join("f2b/jail.conf"),
            format!(
                "[test]\nenabled = true\nfilter = test\nlogpath = {}\nmaxretry = 2\nbantime = 600\n\
                 backend = polling\nport = {}\naction = nftables-multiport\n",
                log.display(),
                to.port()
            ),
        )
        .unwrap();
        let more = format!(
            "backend = \"{backend}\"\nfail2ban = {:?}\n",
            root.join("f2b")
        );
        let ban = Ban::start(&net, root, &more);
        assert!(net.connects("192.0.2.66", to));
        let mut log = std::fs::File::options().append(true).open(&log).unwrap();
        let now = Command::new("date")
            .arg("+%Y-%m-%dT%H:%M:%S.%6N%:z")
            .output()
            .unwrap();
        let now = String::from_utf8_lossy(&now.stdout).trim().to_owned();
        let line = format!("{now} h x[7]: no such user from 192.0.2.66\n");
        let began = Instant::now();
        log.write_all(line.repeat(2).as_bytes()).unwrap();
        until("it is banned", || {
            ban.ask("list").contains("192.0.2.66\ttest\t")
        });
        let took = began.elapsed();
        tell(&format!(
            "two lines in a log to the ban, {backend}: {took:?}"
        ));
        until("its port is shut", || !net.connects("192.0.2.66", to));
        assert!(net.connects("192.0.2.66", free), "another port is not");
        assert!(net.connects("192.0.2.77", to), "others go on");
        assert_eq!(ban.ask("unban test 192.0.2.66"), "+\n1\n");
        until("lifted", || net.connects("192.0.2.66", to));
    }
}

/// Root, but in a container or a unit that withholds this one power.
#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn without_the_right_to_the_firewall_bans_are_only_decided() {
    if !have(&["setpriv"]) {
        return;
    }
    let net = Net::new();
    let (_listener, to) = net.serve("h", "192.0.2.1:0");
    for backend in ["auto", "ipset"] {
        let tmp = tempfile::tempdir().unwrap();
        let ban = Ban::start_by(
            &net,
            tmp.path(),
            &format!("backend = \"{backend}\"\n"),
            &[
                "/usr/bin/setpriv",
                "--bounding-set=-net_admin",
                "--inh-caps=-net_admin",
            ],
        );
        until("it is said", || {
            ban.ask("metrics").contains("\nhikyaku_ban_observing 1\n")
        });
        ban.guess("192.0.2.66");
        until("decided", || {
            ban.ask("list").contains("192.0.2.66\tmail-guessing\t")
        });
        let listed = ban.ask("list");
        assert!(listed.contains("observed only"), "{listed}");
        assert!(net.connects("192.0.2.66", to), "nothing was enforced");
    }
}

/// A kernel without nftables, by setting.
#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn ipset_where_nftables_is_missing() {
    if !have(&["iptables-restore", "ip6tables-restore", "ipset"]) {
        return;
    }
    let net = Net::new();
    let tmp = tempfile::tempdir().unwrap();
    let mut ban = Ban::start(&net, tmp.path(), "backend = \"ipset\"\n");
    let (_listener, to) = net.serve("h", "192.0.2.1:0");
    let (_six, to_six) = net.serve("h", "[2001:db8::1]:0");
    let (_inner, to_inner) = net.serve("c", "198.51.100.2:0");
    ban.guess("192.0.2.66");
    until("the attacker is shut out", || {
        !net.connects("192.0.2.66", to)
    });
    assert!(
        !net.connects("192.0.2.66", to_inner),
        "of the container too"
    );
    assert!(net.connects("192.0.2.77", to) && net.connects("192.0.2.77", to_inner));
    assert!(
        net.within("h", || Command::new("nft")
            .args(["list", "tables"])
            .output())
            .is_ok_and(|o| !String::from_utf8_lossy(&o.stdout).contains("hikyaku-ban")),
        "nothing of nftables was used"
    );
    until("it ends", || net.connects("192.0.2.66", to));
    assert!(
        ban.ask("add 2001:db8::/64").starts_with("- "),
        "the host is in it"
    );
    assert_eq!(ban.ask("add 2001:db8:7::/64 10m"), "+\n1\n");
    until("a /64", || !net.connects("2001:db8:7::77", to_six));
    assert!(net.connects("2001:db8::67", to_six));
    assert!(
        ban.ask("add 192.0.2.1").starts_with("- "),
        "the host itself"
    );
    // Somebody empties the sets: they are filled anew.
    net.within("h", || {
        assert!(
            Command::new("ipset")
                .arg("flush")
                .status()
                .unwrap()
                .success()
        )
    });
    until("filled anew", || !net.connects("2001:db8:7::77", to_six));
    // Somebody removes the rules: a process that may start programs has to put them back.
    let tool = if have(&["iptables-legacy"]) {
        "iptables-legacy"
    } else {
        "iptables"
    };
    assert_eq!(ban.ask("add 192.0.2.66 10m"), "+\n1\n");
    net.within("h", || {
        let words = ["-t", "mangle", "-F"];
        assert!(Command::new(tool).args(words).status().unwrap().success());
    });
    until("nothing is enforced", || net.connects("192.0.2.66", to));
    ban.fire_again(&net);
    until("enforced again", || !net.connects("192.0.2.66", to));
    assert!(!net.connects("2001:db8:7::77", to_six));
    assert_eq!(ban.ask("del 2001:db8:7::/64"), "+\n1\n");
    until("lifted", || net.connects("2001:db8:7::77", to_six));
}
