//! A host, its peers and a container behind it, each in a network namespace of its own, and
//! connections between them.
#![allow(dead_code)]

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for anything here.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection attempt may take. Those that the firewall drops take this long.
const ATTEMPT_MS: i64 = 300;

/// Whether these programs are here. A missing one skips the test with a word, unless
/// `HIKYAKU_ORACLE_REQUIRED` says that nothing may be missing.
pub fn have(programs: &[&str]) -> bool {
    let there = |p: &&str| {
        ["/usr/sbin", "/sbin", "/usr/bin", "/bin"]
            .iter()
            .any(|d| Path::new(d).join(p).exists())
    };
    let missing: Vec<&str> = programs.iter().filter(|p| !there(p)).copied().collect();
    if missing.is_empty() {
        return true;
    }
    assert!(
        std::env::var_os("HIKYAKU_ORACLE_REQUIRED").is_none(),
        "not installed: {missing:?}"
    );
    eprintln!("skipped: not installed: {missing:?}");
    false
}

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

/// The namespaces `h` (host), `p` (peers), `c` (a container, reached through the host). They go
/// with it.
pub struct Net(String);

impl Net {
    /// Host 192.0.2.1, 2001:db8::1; peers .66 and .77 and ::66, ::67 in one /64, 2001:db8:7::77 in
    /// another; container 198.51.100.2, 2001:db8:c::2.
    pub fn new() -> Net {
        let n = Net(format!(
            "hb{}{:x}",
            std::process::id() & 0xffff,
            daemon::clock::random_u64() & 0xfff
        ));
        let name = |which: &str| format!("{}{which}", n.0);
        let (host, peer, inner) = (name("h"), name("p"), name("c"));
        for ns in [&host, &peer, &inner] {
            ip(&format!("netns add {ns}"));
            ip(&format!("-n {ns} link set lo up"));
        }
        for (other, network, six) in [
            (&peer, "192.0.2", "2001:db8:"),
            (&inner, "198.51.100", "2001:db8:c:"),
        ] {
            ip(&format!(
                "link add {other} netns {host} type veth peer name {other} netns {other}"
            ));
            ip(&format!("-n {host} addr add {network}.1/24 dev {other}"));
            ip(&format!("-n {host} addr add {six}:1/64 dev {other} nodad"));
            for ns in [&host, other] {
                ip(&format!("-n {ns} link set {other} up"));
            }
        }
        for last in [66, 77] {
            ip(&format!("-n {peer} addr add 192.0.2.{last}/24 dev {peer}"));
        }
        for address in ["2001:db8::66/64", "2001:db8::67/64", "2001:db8:7::77/128"] {
            ip(&format!("-n {peer} addr add {address} dev {peer} nodad"));
        }
        ip(&format!("-n {inner} addr add 198.51.100.2/24 dev {inner}"));
        ip(&format!(
            "-n {inner} addr add 2001:db8:c::2/64 dev {inner} nodad"
        ));
        for ns in [&peer, &inner] {
            let (four, six) = if ns == &peer {
                ("192.0.2.1", "2001:db8::1")
            } else {
                ("198.51.100.1", "2001:db8:c::1")
            };
            ip(&format!("-n {ns} route add default via {four}"));
            ip(&format!("-n {ns} -6 route add default via {six}"));
        }
        ip(&format!(
            "-n {host} -6 route add 2001:db8:7::/64 dev {peer}"
        ));
        n.within("h", || {
            for what in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/net/{what}"), "1").unwrap();
            }
        });
        n
    }

    /// Runs in one of them for as long as `work` takes.
    pub fn within<T: Send>(&self, which: &str, work: impl FnOnce() -> T + Send) -> T {
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

    /// Somebody who takes connections there and closes them, as many as come.
    pub fn serve(&self, which: &str, address: &str) -> (Server, SocketAddr) {
        let (listener, at) = self.listen(which, address);
        let listener = Arc::new(listener);
        let takes = Arc::clone(&listener);
        let thread = std::thread::spawn(move || while takes.accept().is_ok() {});
        let thread = Some(thread);
        (Server { listener, thread }, at)
    }

    /// A place for connections that nobody takes up: as many as fit wait there.
    pub fn listen(&self, which: &str, address: &str) -> (TcpListener, SocketAddr) {
        let listener = self.within(which, || TcpListener::bind(address).unwrap());
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    /// A connection of a peer from this address, if it is taken.
    pub fn connect(&self, from: &str, to: SocketAddr) -> Option<OwnedFd> {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket,
            sockopt,
        };
        use std::os::fd::AsRawFd;
        let from: IpAddr = from.parse().unwrap();
        self.within("p", move || {
            let family = if from.is_ipv4() {
                AddressFamily::Inet
            } else {
                AddressFamily::Inet6
            };
            let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
            let from = SocketAddr::new(from, 0);
            bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).unwrap();
            // How long a connect may wait.
            let wait = nix::sys::time::TimeVal::new(0, ATTEMPT_MS * 1_000);
            setsockopt(&fd, sockopt::SendTimeout, &wait).unwrap();
            connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).ok()?;
            Some(fd)
        })
    }

    /// Whether a connection of a peer from this address is taken.
    pub fn connects(&self, from: &str, to: SocketAddr) -> bool {
        self.connect(from, to).is_some()
    }
}

/// Takes connections until it is dropped.
pub struct Server {
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        use std::os::fd::AsRawFd;
        let fd = self.listener.as_raw_fd();
        let _ = nix::sys::socket::shutdown(fd, nix::sys::socket::Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for which in ["h", "p", "c"] {
            let _ = Command::new("ip")
                .args(["netns", "del", &format!("{}{which}", self.0)])
                .output();
        }
    }
}

/// Tells a figure, past the harness that shows nothing of a test that went well.
pub fn tell(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "banwatch: {text}");
}

/// Waits for something that comes about by itself; how long it took.
pub fn until(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
    began.elapsed()
}
