//! Hostile code inside the finished confinement of both halves tries what it must not do.
//!
//! Needs root for the full walls: `make check-root`. The child is this test's own binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod net;

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use banwatch::fire::firewall::Firewall;
use banwatch::fire::sets::Sets;
use banwatch::fire::wire::Entry;
use banwatch::watch::walls::{confinement, looking_up};
use daemon::Confinement;
use daemon::capabilities::{Capability, keep_only};
use daemon::dir::Dir;
use daemon::netlink::{Family, Netlink};
use nix::sched::{CloneFlags, unshare};

const PART: &str = "BAN_DRILL";

/// What nobody inside may do; the names of those that worked.
fn forbidden(root: &Path) -> Vec<&'static str> {
    let mut worked = Vec::new();
    let mut attempt = |what, done: bool| {
        if done {
            worked.push(what);
        }
    };
    attempt(
        "TCP",
        TcpStream::connect("127.0.0.1:1").is_err_and(|e| {
            // Refused by the other end would mean that the walls let it through.
            e.kind() == std::io::ErrorKind::ConnectionRefused
        }),
    );
    attempt("listen", TcpListener::bind("127.0.0.1:0").is_ok());
    attempt("UDP", UdpSocket::bind("127.0.0.1:0").is_ok());
    attempt("Unix socket", UnixStream::pair().is_ok());
    attempt("netlink", Netlink::open(Family::Netfilter, 4_096).is_ok());
    attempt("rtnetlink", Netlink::open(Family::Route, 4_096).is_ok());
    attempt("program", Command::new("/bin/true").status().is_ok());
    for file in ["/etc/passwd", "/proc/self/mem", "/", "/etc/shadow"] {
        attempt("file", std::fs::File::open(file).is_ok());
    }
    attempt("secret", std::fs::File::open(root.join("secret")).is_ok());
    attempt("new file", std::fs::write(root.join("made"), "x").is_ok());
    attempt(
        "signal",
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(1), None).is_ok(),
    );
    attempt(
        "trace",
        nix::sys::ptrace::attach(nix::unistd::getppid()).is_ok(),
    );
    attempt(
        "root",
        nix::unistd::setuid(nix::unistd::Uid::from_raw(0)).is_ok(),
    );
    attempt("mount", unshare(CloneFlags::CLONE_NEWNS).is_ok());
    attempt("namespace", unshare(CloneFlags::CLONE_NEWUSER).is_ok());
    worked
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn inside() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let (part, root) = part.split_once(' ').unwrap();
    let root = Path::new(root);
    let worked = if part == "watch" {
        let config = config::Config::load(&root.join("hikyaku.toml")).unwrap();
        let state = Dir::open(root.join("state")).unwrap();
        let logs = Dir::open(root.join("log")).unwrap();
        let directory = root.join("log");
        confinement(&config, &root.join("state"), [directory.as_path()])
            .enter()
            .unwrap();
        // Its own work goes on.
        state
            .create_new("bans.new", 0o600)
            .unwrap()
            .write_all(b"x")
            .unwrap();
        state.rename("bans.new", &state, "bans").unwrap();
        assert!(logs.open_read("mail.log").is_ok());
        let mut worked = forbidden(root);
        if logs.create_new("made", 0o600).is_ok() || logs.unlink("mail.log").is_ok() {
            worked.push("changing logs");
        }
        worked
    } else if part == "act" {
        let config = config::Config::load(&root.join("hikyaku.toml")).unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        looking_up(&config).enter().unwrap();
        // Its own work goes on: a question, from a thread of its own.
        let asks = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(address).unwrap();
            socket.send(b"?").unwrap()
        });
        assert_eq!(asks.join().unwrap(), 1);
        let mut worked = forbidden(root);
        // What asking takes.
        worked.retain(|w| !["TCP", "UDP"].contains(w));
        for file in ["log/mail.log", "hikyaku.toml"] {
            if std::fs::File::open(root.join(file)).is_ok() {
                worked.push("file of others");
            }
        }
        worked
    } else if part == "fire-ipset" {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut sets = Sets::open(None).unwrap();
        keep_only(&[Capability::NET_ADMIN]).unwrap();
        Confinement::new().enter().unwrap();
        let who = Entry {
            scope: 0,
            prefix: "192.0.2.1".parse().unwrap(),
            // What is left of a time is told.
            seconds: Entry::FOR_EVER,
        };
        sets.rebuild(vec![who]).unwrap();
        assert_eq!(sets.list().unwrap(), [who]);
        let mut worked = forbidden(root);
        if Sets::open(None).is_ok() {
            worked.push("rules");
        }
        worked.retain(|w| *w != "root"); // It is root, by name only.
        worked
    } else {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let mut firewall = Firewall::open(None).unwrap();
        keep_only(&[Capability::NET_ADMIN]).unwrap();
        Confinement::new().enter().unwrap();
        firewall.rebuild(Vec::new()).unwrap();
        let who = Entry {
            scope: 0,
            prefix: "192.0.2.1".parse().unwrap(),
            seconds: 9,
        };
        firewall.add(vec![who]).unwrap();
        let mut worked = forbidden(root);
        if std::fs::File::open(root.join("log/mail.log")).is_ok() {
            worked.push("log");
        }
        worked.retain(|w| *w != "root"); // It is root, by name only.
        worked
    };
    // The harness can do nothing more from inside; nor is there a way to write but this one.
    let text = format!("worked: {worked:?}\n");
    let _ = std::io::stderr().write_all(text.as_bytes());
    std::process::exit(if worked.is_empty() { 42 } else { 43 });
}

fn drill(part: &str) {
    use std::os::unix::fs::{PermissionsExt, chown};
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path();
    let open =
        |p: &Path| std::fs::set_permissions(p, std::fs::Permissions::from_mode(0o755)).unwrap();
    for d in ["state", "log", "run/empty"] {
        std::fs::create_dir_all(root.join(d)).unwrap();
    }
    open(root);
    chown(root.join("state"), Some(65_534), Some(65_534)).unwrap();
    std::fs::write(root.join("log/mail.log"), "line\n").unwrap();
    std::fs::write(root.join("secret"), "of another").unwrap();
    let config = format!(
        "hostname = \"a.example\"\ndomains = [\"a.example\"]\nroot = {root:?}\n[roles]\nban = \"nobody\"\n"
    );
    std::fs::write(root.join("hikyaku.toml"), config).unwrap();
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--ignored", "--nocapture"])
        .env(PART, format!("{part} {}", root.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(
        out.status.code(),
        Some(42),
        "{part}: {said}\n{}",
        String::from_utf8_lossy(&out.stdout)
    );
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn watch_can_do_nothing_but_its_work() {
    drill("watch");
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn fire_can_do_nothing_but_its_work() {
    drill("fire");
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn fire_with_ipset_can_do_nothing_but_its_work() {
    if !net::have(&["iptables-restore", "ip6tables-restore"]) {
        return;
    }
    drill("fire-ipset");
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn act_that_only_looks_up_names_can_do_nothing_else() {
    drill("act");
}
