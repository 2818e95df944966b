//! The real programs over real sockets: login, session, and what goes wrong.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use common::{Client, House, Setup};
use daemon::process::{self, Order};

/// Asks until it is so. For things that another process does and tells nobody.
fn eventually(mut is_so: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < testkit::PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn a_whole_session() {
    let house = House::start(Setup::default());
    house.put("1.a", b"Subject: one\n\nfirst\n.dot\n");
    house.put("2.b,S=4,W=5", b"x\ny\n");
    let mut client = house.login();
    client.say("STAT");
    assert_eq!(client.line(), "+OK 2 34");
    client.say("UIDL");
    assert_eq!(client.lines(), ["+OK unique-ids follow", "1 1.a", "2 2.b"]);
    client.say("RETR 1");
    assert_eq!(
        client.lines(),
        ["+OK 29 octets", "Subject: one", "", "first", "..dot"]
    );
    client.say("TOP 1 1");
    assert_eq!(
        client.lines(),
        ["+OK top of message follows", "Subject: one", "", "first"]
    );
    client.say("DELE 1");
    assert_eq!(client.line(), "+OK marked");
    assert_eq!(house.names().len(), 2);
    client.say("QUIT");
    assert_eq!(client.line(), "+OK bye");
    assert_eq!(client.rest(), "");
    assert_eq!(house.names(), ["2.b,S=4,W=5"]);
}

#[test]
fn everything_in_one_segment() {
    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    let mut client = house.connect();
    client.send(b"USER al\r\nPASS right\r\nSTAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\nNOOP\r\n");
    assert_eq!(
        client.rest(),
        "+OK POP3 ready\r\n+OK send PASS\r\n+OK 1 messages (3 octets)\r\n+OK 1 3\r\n\
         +OK 3 octets\r\nx\r\n.\r\n+OK marked\r\n+OK bye\r\n"
    );
    assert!(house.names().is_empty());
}

#[test]
fn one_octet_at_a_time() {
    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    let mut client = house.connect();
    client.socket.set_nodelay(true).unwrap();
    for octet in b"USER al\r\nPASS right\r\nRETR 1\r\nQUIT\r\n" {
        client.send(&[*octet]);
    }
    let rest = client.rest();
    assert!(
        rest.ends_with("+OK 3 octets\r\nx\r\n.\r\n+OK bye\r\n"),
        "{rest}"
    );
}

#[test]
fn a_half_closed_client_gets_its_answers() {
    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    let mut client = house.connect();
    client.send(b"USER al\r\nPASS right\r\nDELE 1\r\nSTAT\r\n");
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert!(client.rest().ends_with("+OK marked\r\n+OK 0 0\r\n"));
    // No QUIT, no deletion.
    assert_eq!(house.names(), ["1.a"]);
}

#[test]
fn a_lost_connection_deletes_nothing() {
    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    let mut client = house.login();
    client.say("DELE 1");
    client.line();
    drop(client);
    // The next session sees what the first one left.
    let mut client = house.login();
    client.say("STAT");
    assert_eq!(client.line(), "+OK 1 3");
}

#[test]
fn refusals() {
    let house = House::start(Setup::default());
    let mut client = house.connect();
    client.line();
    for (password, reply) in [
        ("busy", "-ERR [SYS/TEMP] can't check now, try again later"),
        ("sessions", "-ERR [IN-USE] too many sessions of this user"),
        ("wrong", "-ERR [AUTH] name or password is wrong"),
        ("wrong", "-ERR [AUTH] name or password is wrong"),
        ("wrong", "-ERR [AUTH] name or password is wrong"),
    ] {
        client.say("USER al");
        assert_eq!(client.line(), "+OK send PASS");
        client.say(&format!("PASS {password}"));
        assert_eq!(client.line(), reply);
    }
    assert_eq!(client.rest(), "", "three wrong passwords are enough");
    let log = house.log();
    assert!(log.contains("reason=login-failures"), "{log}");
    assert!(!log.contains("wrong\n") && !log.contains("PASS"), "{log}");
}

#[test]
fn a_mailbox_that_cannot_be_opened() {
    let house = House::start(Setup::default());
    fs::write(house.dir.path().join("home/Maildir"), "not a directory").unwrap();
    let mut client = house.connect();
    client.send(b"USER al\r\nPASS right\r\n");
    let rest = client.rest();
    assert!(
        rest.ends_with("-ERR [SYS/PERM] this mailbox can't be opened, ask the postmaster\r\n"),
        "{rest}"
    );
}

#[test]
fn a_mailbox_that_is_not_there_yet_is_empty() {
    let house = House::start(Setup::default());
    let mut client = house.login();
    client.say("STAT");
    assert_eq!(client.line(), "+OK 0 0");
    assert!(house.maildir().join("new").is_dir());
}

#[test]
fn octets_behind_stls_are_never_used() {
    let house = House::start(Setup::default());
    let mut client = house.connect();
    client.send(b"STLS\r\nUSER al\r\nPASS right\r\n");
    assert_eq!(
        client.rest(),
        "+OK POP3 ready\r\n-ERR octets sent before TLS\r\n"
    );
}

#[test]
fn without_a_certificate_there_is_no_stls() {
    let house = House::start(Setup {
        tls: false,
        ..Setup::default()
    });
    let mut client = house.connect();
    client.line();
    client.say("CAPA");
    assert!(!client.lines().contains(&"STLS".to_owned()));
    client.say("STLS");
    assert_eq!(client.line(), "-ERR STLS is not possible here");
}

#[test]
fn authd_that_hangs_up() {
    let house = House::start(Setup {
        authd: false,
        ..Setup::default()
    });
    let mut client = house.connect();
    client.line();
    client.send(b"USER al\r\nPASS secret\r\n");
    let (request, reply) = house.question();
    assert_eq!(request.login.as_str(), "al");
    assert_eq!(request.password.expose(), b"secret");
    assert_eq!(request.client, Some("127.0.0.1".parse().unwrap()));
    drop(reply);
    client.line();
    assert!(client.line().starts_with("-ERR [SYS/TEMP]"));
    // A session that never speaks.
    client.send(b"USER al\r\nPASS secret\r\n");
    let (_, mut reply) = house.question();
    reply.write_all(b"+ al\n").unwrap();
    drop(reply);
    client.line();
    assert!(client.rest().starts_with("-ERR [SYS/TEMP]"));
    // Nonsense.
    let mut client = house.connect();
    client.line();
    client.send(b"USER al\r\nPASS secret\r\n");
    let (_, mut reply) = house.question();
    reply.write_all(b"? al\n").unwrap();
    client.line();
    assert!(client.line().starts_with("-ERR [SYS/TEMP]"));
}

#[test]
fn an_answer_in_pieces_and_the_session_right_behind() {
    let house = House::start(Setup {
        authd: false,
        ..Setup::default()
    });
    let mut client = house.connect();
    client.line();
    client.send(b"USER al\r\nPASS secret\r\nNOOP\r\n");
    client.line();
    let (_, mut reply) = house.question();
    for piece in ["+", " a", "l"] {
        reply.write_all(piece.as_bytes()).unwrap();
    }
    reply.write_all(b"\n+OK welcome\r\n").unwrap();
    assert_eq!(client.line(), "+OK welcome");
    let mut early = [0; 6];
    reply.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"NOOP\r\n");
}

/// More than all buffers hold in both directions at once, towards a client that reads nothing
/// before the other direction is through.
#[test]
fn back_pressure_both_ways() {
    let house = House::start(Setup {
        authd: false,
        ..Setup::default()
    });
    let mut client = house.connect();
    client.line();
    client.send(b"USER al\r\nPASS secret\r\n");
    client.line();
    let (_, mut reply) = house.question();
    reply.write_all(b"+ al\n").unwrap();
    let (down, up) = (20_000_000usize, 5_000_000usize);
    let mut writer = reply.try_clone().unwrap();
    let session = std::thread::spawn(move || {
        let block: Vec<u8> = (0..=255u8).cycle().take(65_536).collect();
        let mut left = down;
        while left > 0 {
            let count = left.min(block.len());
            writer.write_all(&block[..count]).unwrap();
            left -= count;
        }
    });
    let drain = std::thread::spawn(move || {
        let mut seen = vec![0; up];
        reply.read_exact(&mut seen).unwrap();
        assert!(seen.iter().all(|octet| *octet == b'x'));
        reply
    });
    client.send(&vec![b'x'; up]);
    let reply = drain.join().unwrap();
    let mut got = vec![0; down];
    client.socket.read_exact(&mut got).unwrap();
    assert!(
        got.iter()
            .enumerate()
            .all(|(at, octet)| *octet == (at % 65_536 % 256) as u8)
    );
    session.join().unwrap();
    reply.shutdown(Shutdown::Both).unwrap();
    assert_eq!(client.rest(), "");
}

#[test]
fn two_sessions_at_once() {
    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    house.put("2.b", b"y\n");
    let (mut one, mut two) = (house.login(), house.login());
    for client in [&mut one, &mut two] {
        client.say("DELE 1");
        assert_eq!(client.line(), "+OK marked");
    }
    one.say("QUIT");
    assert_eq!(one.line(), "+OK bye");
    // What the other one deleted is gone for both, and that is no error.
    two.say("RETR 2");
    assert_eq!(two.lines(), ["+OK 3 octets", "y"]);
    two.say("QUIT");
    assert_eq!(two.line(), "+OK bye");
    assert_eq!(house.names(), ["2.b"]);
}

#[test]
fn a_message_that_vanished() {
    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    let mut client = house.login();
    fs::remove_file(house.maildir().join("new/1.a")).unwrap();
    client.say("RETR 1");
    assert!(client.line().starts_with("-ERR"));
    client.say("DELE 1");
    client.line();
    client.say("QUIT");
    assert_eq!(client.line(), "+OK bye");
}

#[test]
fn limits_on_connections() {
    let house = House::start(Setup {
        pop3: "max_sessions_per_address = 2",
        ..Setup::default()
    });
    let (mut one, mut two) = (house.connect(), house.connect());
    one.line();
    two.line();
    assert_eq!(
        house.connect().rest(),
        "-ERR [SYS/TEMP] too many connections\r\n"
    );
    one.say("QUIT");
    one.rest();
    drop(one);
    // The place is free again as soon as pop3d has seen the end.
    eventually(|| house.connect().line() == "+OK POP3 ready");
    let house = House::start(Setup {
        pop3: "max_sessions = 1",
        ..Setup::default()
    });
    let mut one = house.connect();
    one.line();
    assert_eq!(
        house.connect().rest(),
        "-ERR [SYS/TEMP] too many connections\r\n"
    );
}

#[test]
fn timeouts_close_without_a_word() {
    let house = House::start(Setup {
        pop3: "login_timeout = \"1s\"\nidle_timeout = \"1s\"",
        ..Setup::default()
    });
    assert_eq!(house.connect().rest(), "+OK POP3 ready\r\n");
    house.put("1.a", b"x\n");
    let mut client = house.login();
    client.say("DELE 1");
    client.line();
    assert_eq!(client.rest(), "");
    assert_eq!(house.names(), ["1.a"]);
    assert!(house.log().contains("reason=login-timeout"));
}

#[test]
fn a_replaced_daemon_keeps_its_sessions() {
    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    let mut client = house.login();
    process::order(house.pid, Order::Reload).unwrap();
    // Nobody listens any more: our test held no copy of the listeners.
    eventually(|| std::net::TcpStream::connect(house.pop3).is_err());
    client.say("RETR 1");
    assert_eq!(client.lines(), ["+OK 3 octets", "x"]);
    client.say("QUIT");
    assert_eq!(client.line(), "+OK bye");
    client.rest();
}

#[test]
fn confinement_as_the_kernel_shows_it() {
    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    let client = house.login();
    let status = |pid: u32, key: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_once(':')
            .unwrap()
            .1
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let own = std::process::id();
    let session = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .parse::<u32>()
                .ok()
        })
        .find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
            let maildir = house.maildir();
            words.contains(&b"--session".as_slice())
                && words.contains(&maildir.as_os_str().as_encoded_bytes())
                && *pid != own
        })
        .unwrap();
    for pid in [house.pid, session] {
        assert_eq!(
            (status(pid, "NoNewPrivs"), status(pid, "Seccomp")),
            ("1".into(), "2".into())
        );
        assert_eq!(
            status(pid, "CapEff") == "0000000000000000",
            process::is_root()
        );
    }
    if process::is_root() {
        let uid = common::UID;
        assert_eq!(status(session, "Uid"), format!("{uid} {uid} {uid} {uid}"));
        assert_eq!(status(session, "Groups"), uid.to_string());
        assert_ne!(status(house.pid, "Uid").split(' ').next(), Some("0"));
        let root = fs::read_link(format!("/proc/{}/root", house.pid)).unwrap();
        assert_eq!(root, house.dir.path().join("run/empty"));
    }
    drop(client);
}

#[test]
fn junk_in_every_state() {
    let house = House::start(Setup::default());
    let mut client = Client::new(house.pop3);
    client.send(&[0, 255, b'\n', b'\r', b'\n']);
    client.send(&vec![b'A'; 10_000]);
    let rest = client.rest();
    assert!(rest.ends_with("-ERR line too long\r\n"), "{rest}");
    assert!(!rest.contains("AAAA"));
    let mut client = house.login();
    client.send(&vec![b'B'; 10_000]);
    assert!(client.rest().ends_with("-ERR line too long\r\n"));
}

#[test]
fn banwatch_is_told() {
    let house = House::start(Setup {
        pop3: "login_timeout = \"1s\"",
        ..Setup::default()
    });
    let told = |house: &House| {
        let mut kinds = Vec::new();
        let mut buffer = [0; events::EVENT_LENGTH];
        while let Ok(packet) = house.events.recv(&mut buffer) {
            let (event, dropped) = events::Event::decode(&buffer[..packet.length]).unwrap();
            assert_eq!((event.service.as_str(), dropped), ("pop3", 0));
            assert_eq!(event.address.to_string(), "127.0.0.1");
            kinds.push(event.kind);
        }
        kinds
    };
    use events::Kind::{Connect, Slow, Syntax, TlsFail};
    let mut client = house.connect();
    client.send(b"STLS\r\nX\r\n");
    client.rest();
    assert_eq!(told(&house), [Connect, Syntax]);
    let mut client = Client::new(house.pop3s);
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    client.rest_octets();
    assert_eq!(told(&house), [Connect, TlsFail]);
    house.connect().rest();
    assert_eq!(told(&house), [Connect, Slow]);
    let mut client = house.connect();
    client.send(b"QUIT\r\n");
    client.rest();
    assert_eq!(told(&house), [Connect]);
}

/// inetd's way: the connection on descriptor 0, here with authd's socket beside it.
#[test]
fn one_connection_from_inetd() {
    use std::os::fd::OwnedFd;
    use std::process::{Command, Stdio};

    let house = House::start(Setup::default());
    house.put("1.a", b"x\n");
    for (role, good) in [("pop3", true), ("pop3s", true), ("smtp", false)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = Client::new(listener.local_addr().unwrap());
        let (connection, _) = listener.accept().unwrap();
        let (auth, theirs) = daemon::packet::Packets::pair().unwrap();
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg("exec 3<&0 0<&1 1>&2; exec \"$0\" --config \"$1\" --role \"$2\"")
            .arg(env!("CARGO_BIN_EXE_pop3d"))
            .arg(house.dir.path().join("hikyaku.toml"))
            .arg(role)
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "auth-pop3")
            .stdin(OwnedFd::from(theirs))
            .stdout(OwnedFd::from(connection))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if role == "pop3" {
            client.send(b"NOOP\r\nQUIT\r\n");
            assert_eq!(
                client.rest(),
                "+OK POP3 ready\r\n-ERR log in first\r\n+OK bye\r\n"
            );
        } else if role == "pop3s" {
            client.send(b"no TLS\r\n");
            client.rest_octets();
        }
        assert_eq!(child.wait().unwrap().success(), good, "{role}");
        drop(auth);
    }
}
