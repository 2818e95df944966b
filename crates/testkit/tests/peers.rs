//! The test kit's own parts, against each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use testkit::{Authority, Dns, Peer, Sink, SinkOptions, Trickle, TrickleProxy, Zone, cuts, play};

#[test]
fn a_dialogue_between_two_scripts() {
    let peer = Peer::serve(&[
        "-> 220 hi\n<~ EHLO *.example\n-> 250-hi\n-> 250 PIPELINING\n<- DATA\n-> 354 go\n<data\n-> 250 ok\neof",
    ]);
    let played = play(
        peer.address,
        "<~ 220\n-> EHLO me.example\n<~ 250-hi\n-> DATA\n<~ 354\n->> ..dot\\r\\nline\\r\\n.\\r\\n\n<- 250 ok\nclose",
        None,
    );
    assert_eq!(
        played.heard(),
        ["220 hi", "250-hi", "250 PIPELINING", "354 go", "250 ok"]
    );
    let other = &peer.finished(1)[0];
    assert_eq!(other.messages, [b".dot\r\nline\r\n"]);
    assert_eq!(other.heard(), ["EHLO me.example", "DATA", "(12 octets)"]);
}

#[test]
fn what_does_not_go_by_the_script_is_said() {
    for (server, client, said) in [
        (
            "-> 220 hi\n<~ HELO\nclose",
            "<~ 220\n-> EHLO x\neof",
            "heard \"EHLO x\"",
        ),
        (
            "-> 220 hi\n<~ QUIT",
            "<~ 220\nclose",
            "the connection ended",
        ),
        ("->> 220 hi\\n\nclose", "<~ 220", "a line without CRLF"),
        ("-> 220 hi\neof", "<~ 220\n-> QUIT\neof", "expected the end"),
        (
            "-> 220 hi\ntls",
            "<~ 220\n-> EHLO x\nclose",
            "no certificate",
        ),
    ] {
        let peer = Peer::serve(&[server]);
        let both = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            play(peer.address, client, None);
            peer.finished(1);
        }));
        let text = *both.expect_err(server).downcast::<String>().unwrap();
        assert!(text.contains(said), "{server:?}: {text}");
    }
}

#[test]
fn connections_follow_their_scripts_in_order() {
    let peer = Peer::serve(&["-> one\nclose", "-> more\nclose"]);
    for expected in ["one", "more", "more"] {
        assert_eq!(
            play(peer.address, &format!("<- {expected}\neof"), None).heard(),
            [expected]
        );
    }
    assert_eq!((peer.finished(3).len(), peer.accepted()), (3, 3));
}

#[test]
fn marks_and_holds() {
    let peer = Peer::serve(&["mark here\nhold word\n-> now\nclose"]);
    let socket = TcpStream::connect(peer.address).unwrap();
    peer.wait_mark("here");
    socket.set_nonblocking(true).unwrap();
    assert!((&socket).read(&mut [0]).is_err(), "nothing yet");
    socket.set_nonblocking(false).unwrap();
    peer.release("word");
    let mut text = String::new();
    (&socket).read_to_string(&mut text).unwrap();
    assert_eq!(text, "now\r\n");
}

#[test]
fn a_reset_is_a_reset() {
    let peer = Peer::serve(&["reset"]);
    let mut socket = TcpStream::connect(peer.address).unwrap();
    let error = socket.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn encryption_from_both_ends() {
    let authority = Authority::new();
    let peer = Peer::serve_tls(
        &["-> go\ntls\n-> inside\n<- thanks\nclose"],
        authority.server(&["mx.example"]),
    );
    let client = Some((authority.client(), "mx.example"));
    let played = play(
        peer.address,
        "<- go\ntls\n<- inside\n-> thanks\neof",
        client,
    );
    assert!(played.tls && peer.finished(1)[0].tls);
    // The wrong name, and an authority that nobody knows.
    for (authority, name) in [
        (&authority, "other.example"),
        (&Authority::new(), "mx.example"),
    ] {
        play(
            peer.address,
            "<- go\ntls-fails",
            Some((authority.client(), name)),
        );
    }
}

#[test]
fn a_sink_takes_what_it_is_given() {
    let authority = Authority::new();
    let sink = Sink::start_with(
        ([127, 0, 0, 1], 0).into(),
        SinkOptions {
            tls: Some(authority.server(&["mx.example"])),
            refuse: vec![("<bad".to_owned(), "550 5.1.1 no".to_owned())],
            ..SinkOptions::default()
        },
    )
    .unwrap();
    let script = "<~ 220\n-> EHLO x\n<~ 250\n-> STARTTLS\n<~ 220\ntls\n-> EHLO x\n<~ 250\n\
        -> MAIL FROM:<a@b.example> SIZE=3\n<~ 250\n-> RCPT TO:<bad@c.example>\n<~ 550 5.1.1 no\n\
        -> RCPT TO:<c@d.example>\n<~ 250\n-> DATA\n<~ 354\n-> ..x\n-> .\n<~ 250\n-> QUIT\n<~ 221\neof";
    play(
        sink.address,
        script,
        Some((authority.client(), "mx.example")),
    );
    let letter = &sink.letters(1)[0];
    assert_eq!(
        (letter.from.as_str(), letter.data.as_slice()),
        ("<a@b.example> SIZE=3", &b".x\r\n"[..])
    );
    assert_eq!(letter.to, ["<c@d.example>"]);
    assert!(letter.tls);
}

#[test]
fn a_trickle_changes_nothing_but_the_pace() {
    let sink = Sink::start();
    let proxy = TrickleProxy::start(sink.address);
    let script = "<~ 220\n-> EHLO x\n<~ 250\n-> MAIL FROM:<>\n<~ 250\n-> RCPT TO:<c@d.example>\n<~ 250\n-> DATA\n<~ 354\n-> x\n-> .\n<~ 250\nclose";
    play(proxy.address, script, None);
    assert_eq!(sink.letters(1)[0].data, b"x\r\n");

    let mut slow = Trickle(&b"abc"[..]);
    let mut buffer = [0; 10];
    assert_eq!(slow.read(&mut buffer).unwrap(), 1);
    let mut out = Trickle(Vec::new());
    assert_eq!(out.write(b"abc").unwrap(), 1);
    out.write_all(b"def").unwrap();
    assert_eq!(out.0, b"adef");
    assert_eq!(
        cuts(b"ab").collect::<Vec<_>>(),
        [(&b""[..], &b"ab"[..]), (b"a", b"b"), (b"ab", b"")]
    );
}

#[test]
fn a_name_server_that_is_held_and_stopped() {
    let question =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01h\x07example\x00\x00\x01\x00\x01";
    let dns = Dns::start(Zone::parse("h.example A 192.0.2.1\nh.example !hold word"));
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.set_read_timeout(Some(testkit::PATIENCE)).unwrap();
    socket.send_to(question, dns.address).unwrap();
    dns.wait_for("h.example", "A", 1);
    dns.release("word");
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    assert!(
        buffer[..length].starts_with(b"\x12\x34") && buffer[..length].ends_with(&[192, 0, 2, 1])
    );
    assert!(!dns.asked()[0].edns);
    let address = dns.address;
    drop(dns);
    assert!(UdpSocket::bind(address).is_ok(), "the port is free again");
}

#[test]
fn the_name_server_as_a_program() {
    use std::io::BufRead;
    let zone = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(zone.path(), "h.example A 192.0.2.1\n").unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_testkit-dns"))
        .arg("127.0.0.1:0")
        .arg(zone.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address: std::net::SocketAddr = line.trim().parse().unwrap();
    assert_ne!(address.port(), 0);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let wrong = std::process::Command::new(env!("CARGO_BIN_EXE_testkit-dns"))
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(wrong.code(), Some(100));
}
