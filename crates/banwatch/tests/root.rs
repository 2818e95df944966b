//! banwatch for real: an attacker and a bystander in network namespaces of their own, nftables,
//! and connections that stop and go on again.
//!
//! Needs root: `make check-root`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use banwatch::prefix::Prefix;
use daemon::packet::Packets;
use daemon::process::{Order, Spawn, order};
use events::{Account, Event, Kind, Secret, Service};

/// Longest wait for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

fn ip(arguments: &str) {
    let out = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// A namespace for the host, joined to one for its peers. They go with it.
struct Net(String);

impl Net {
    fn new() -> Net {
        let n = Net(format!(
            "hb{}{:x}",
            std::process::id(),
            daemon::clock::random_u64() & 0xff
        ));
        let (host, peer) = (format!("{}h", n.0), format!("{}p", n.0));
        ip(&format!("netns add {host}"));
        ip(&format!("netns add {peer}"));
        ip(&format!(
            "link add {host} netns {host} type veth peer name {peer} netns {peer}"
        ));
        ip(&format!("-n {host} addr add 192.0.2.1/24 dev {host}"));
        ip(&format!(
            "-n {host} addr add 2001:db8::1/64 dev {host} nodad"
        ));
        for last in [66, 77] {
            ip(&format!("-n {peer} addr add 192.0.2.{last}/24 dev {peer}"));
        }
        for (ns, dev) in [(&host, &host), (&peer, &peer)] {
            ip(&format!("-n {ns} link set {dev} up"));
            ip(&format!("-n {ns} link set lo up"));
        }
        n
    }

    /// Runs in one of the two for as long as `work` takes.
    fn within<T: Send>(&self, which: &str, work: impl FnOnce() -> T + Send) -> T {
        let file = std::fs::File::open(format!("/run/netns/{}{which}", self.0)).unwrap();
        std::thread::scope(|s| {
            s.spawn(move || {
                nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                work()
            })
            .join()
            .unwrap()
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for which in ["h", "p"] {
            let _ = Command::new("ip")
                .args(["netns", "del", &format!("{}{which}", self.0)])
                .output();
        }
    }
}

/// Both halves at work in the host's namespace.
struct Ban {
    pids: Vec<u32>,
    writes: Packets,
    _ends: [Packets; 3],
    root: PathBuf,
}

impl Ban {
    fn start(net: &Net, root: &Path, more: &str) -> Ban {
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
            let spawn = || Spawn::new(program).arg("--config").arg(&file);
            let fire = spawn()
                .arg("--fire")
                .give("fire", acts.as_fd())
                .give("ready", says.as_fd())
                .start()
                .unwrap();
            let watch = spawn()
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
            _ends: [reads, asks, acts],
            root: root.to_owned(),
        }
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

/// Whether a connection from this address is taken.
fn connects(net: &Net, from: &str, to: SocketAddr) -> bool {
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    net.within("p", move || {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
            sockopt,
        };
        use std::os::fd::AsRawFd;
        let fd = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).unwrap();
        // How long a connect may wait.
        setsockopt(
            &fd,
            sockopt::SendTimeout,
            &nix::sys::time::TimeVal::new(0, 300_000),
        )
        .unwrap();
        connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).is_ok()
    })
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
    }
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn the_attackers_connections_stop_and_resume() {
    let net = Net::new();
    let tmp = tempfile::tempdir().unwrap();
    let ban = Ban::start(&net, tmp.path(), "ignore = [\"192.0.2.77\"]\n");
    let listener = net.within("h", || TcpListener::bind("192.0.2.1:0").unwrap());
    let to = listener.local_addr().unwrap();
    assert!(connects(&net, "192.0.2.66", to) && connects(&net, "192.0.2.77", to));
    // A connection that stands is cut off too.
    let held: TcpStream = net.within("p", || TcpStream::connect(to).unwrap());
    drop(held);

    ban.guess("192.0.2.66");
    until("the attacker is shut out", || {
        !connects(&net, "192.0.2.66", to)
    });
    assert!(connects(&net, "192.0.2.77", to), "others go on");
    let listed = ban.ask("list");
    assert!(listed.contains("192.0.2.66\tmail-guessing\t"), "{listed}");
    // The kernel ends it by itself.
    until("it ends", || connects(&net, "192.0.2.66", to));
    until("it is no longer listed", || ban.ask("list") == "+\n");

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
    assert!(connects(&net, "192.0.2.77", to));

    // Somebody flushes the ruleset: it is made anew.
    assert_eq!(ban.ask("add 192.0.2.66 10m"), "+\n1\n");
    until("banned by the admin", || !connects(&net, "192.0.2.66", to));
    net.within("h", || {
        assert!(
            Command::new("nft")
                .args(["flush", "ruleset"])
                .status()
                .unwrap()
                .success()
        )
    });
    until("made anew", || !connects(&net, "192.0.2.66", to));
    assert_eq!(ban.ask("del 192.0.2.66"), "+\n1\n");
    until("lifted", || connects(&net, "192.0.2.66", to));
    let prefix: Prefix = "192.0.2.66".parse().unwrap();
    assert!(ban.ask(&format!("why {prefix}")).contains("not banned"));
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn fire_believes_nobody() {
    use banwatch::fire::wire::{Answer, Entry, Request};
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
