//! Mail hosts found by the DNS: order, fallback, reuse, and domains that have none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::SocketAddr;

use common::Fixture;
use queue::wire::remote::{NextHop, Scope};
use testkit::{Dns, Peer, Ports, Sink, SinkOptions, Zone};

fn at(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], port))
}

fn start(dns: &Dns, port: u16, more: &str) -> Fixture {
    Fixture::start(&format!(
        "port = {port}\nresolver = \"{}\"\ntls = \"none\"\n{more}",
        dns.address
    ))
}

const GOOD: &str = "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 250 2.0.0 here\ndrain";
const ZONE: &str = "
    d.example       MX 10 one.d.example
    d.example       MX 20 two.d.example
    d.example       MX 30 three.d.example
    one.d.example   A 127.0.0.2
    two.d.example   A 127.0.0.3
    three.d.example A 127.0.0.4
";

#[test]
fn the_next_host_takes_over() {
    // (what the first host does, whether the second is asked)
    for (first, moved) in [
        ("-> 554 no\ndrain", true),
        ("-> 421 busy\ndrain", true),
        ("close", true),
        ("-> 220 hi\n<~ EHLO\n-> 421 busy\ndrain", true),
        (
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 451 4.3.0 later\ndrain",
            true,
        ),
        (
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 450 4.7.1 grey\ndrain",
            true,
        ),
        (
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 451 4.3.0 x\ndrain",
            true,
        ),
        (
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 550 5.1.8 x\ndrain",
            false,
        ),
        (
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 451 x\ndrain",
            false,
        ),
    ] {
        let mut ports = Ports::new();
        let port = ports.take();
        let dns = Dns::start(Zone::parse(ZONE));
        let one = Peer::serve_at(at(2, port), &[first], None).unwrap();
        let two = Peer::serve_at(at(3, port), &[GOOD], None).unwrap();
        let mut fixture = start(&dns, port, "");
        fixture.send(
            NextHop::Mx("D.example"),
            "s@me.example",
            &["a@d.example"],
            b"x\r\n",
        );
        let answer = fixture.answer();
        assert_eq!(one.accepted(), 1, "{first}");
        if moved {
            assert_eq!(
                (answer.status.as_str(), answer.host.as_str()),
                ("2.0.0", "two.d.example[127.0.0.3]"),
                "{first}"
            );
        } else {
            assert_eq!(answer.host, "one.d.example[127.0.0.2]", "{first}");
            assert_eq!(two.accepted(), 0, "{first}");
        }
    }
}

#[test]
fn nobody_listens_at_the_first_two() {
    let mut ports = Ports::new();
    let port = ports.take();
    let dns = Dns::start(Zone::parse(ZONE));
    let three = Peer::serve_at(at(4, port), &[GOOD], None).unwrap();
    let mut fixture = start(&dns, port, "");
    fixture.send(NextHop::Mx("d.example"), "", &["a@d.example"], b"x\r\n");
    assert_eq!(fixture.answer().host, "three.d.example[127.0.0.4]");
    drop(three);
    fixture.send(NextHop::Mx("d.example"), "", &["a@d.example"], b"x\r\n");
    let answer = fixture.answer();
    assert_eq!(
        (answer.status.as_str(), answer.scope),
        ("4.4.1", Scope::Destination)
    );
    assert!(answer.text.contains("refused"), "{answer:?}");
}

#[test]
fn some_recipients_go_on_to_the_next_host() {
    let mut ports = Ports::new();
    let port = ports.take();
    let dns = Dns::start(Zone::parse(ZONE));
    let one = "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT TO:<a@\n-> 250 ok\n<~ RCPT TO:<b@\n-> 452 4.2.2 full here\n<~ DATA\n-> 354 go\n<data\n-> 250 2.0.0 one has it\ndrain";
    let two = "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT TO:<b@\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 250 2.0.0 two has it\ndrain";
    let _one = Peer::serve_at(at(2, port), &[one], None).unwrap();
    let _two = Peer::serve_at(at(3, port), &[two], None).unwrap();
    let mut fixture = start(&dns, port, "");
    fixture.send(
        NextHop::Mx("d.example"),
        "",
        &["a@d.example", "b@d.example"],
        b"x\r\n",
    );
    let answers = fixture.answers(2);
    assert_eq!(
        (&answers[0].recipients[..], answers[0].text.as_str()),
        (&[0][..], "250 2.0.0 one has it")
    );
    assert_eq!(
        (&answers[1].recipients[..], answers[1].text.as_str()),
        (&[1][..], "250 2.0.0 two has it")
    );
}

#[test]
fn every_host_says_later() {
    let mut ports = Ports::new();
    let port = ports.take();
    let dns = Dns::start(Zone::parse(ZONE));
    let later = |word: &str| {
        format!(
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 450 4.7.{word} later\ndrain"
        )
    };
    let peers: Vec<Peer> = (2..5)
        .map(|host| Peer::serve_at(at(host, port), &[&later(&host.to_string())], None).unwrap())
        .collect();
    let mut fixture = start(&dns, port, "");
    fixture.send(NextHop::Mx("d.example"), "", &["a@d.example"], b"x\r\n");
    let answer = fixture.answer();
    assert_eq!(
        (answer.status.as_str(), answer.scope),
        ("4.7.4", Scope::Recipient),
        "the last one's word"
    );
    assert!(peers.iter().all(|peer| peer.accepted() == 1));
}

#[test]
fn domains_without_a_host() {
    let zone = "
        null.example    MX 0 .
        self.example    MX 10 me.example
        lost.example    MX 10 gone.lost.example
        bare.example    TXT x
        fails.example   !serv-fail
        later.example   MX 10 h.later.example
        h.later.example !serv-fail
    ";
    let dns = Dns::start(Zone::parse(zone));
    let mut fixture = start(&dns, 1, "");
    for (hop, status) in [
        (NextHop::Mx("none.example"), "5.1.2"),
        (NextHop::Mx("null.example"), "5.1.10"),
        (NextHop::Mx("self.example"), "5.4.6"),
        (NextHop::Mx("lost.example"), "5.4.4"),
        (NextHop::Mx("bare.example"), "5.4.4"),
        (NextHop::Mx("fails.example"), "4.4.3"),
        (NextHop::Mx("later.example"), "4.4.3"),
        (NextHop::Mx("bad..name"), "5.1.2"),
        (NextHop::Host("none.example", 25), "5.4.4"),
        (NextHop::Mx("[127.0.0.1]"), "4.4.1"),
    ] {
        fixture.send(hop, "", &["a@x.example", "b@x.example"], b"x\r\n");
        let answer = fixture.answer();
        assert_eq!(
            (answer.status.as_str(), answer.scope),
            (status, Scope::Destination),
            "{hop:?}: {answer:?}"
        );
        assert_eq!(answer.recipients, [0, 1]);
    }
}

#[test]
fn one_connection_serves_message_after_message() {
    let sink = Sink::start();
    let port = sink.address.port();
    let zone = "d.example MX 10 mx.example\nother.example MX 10 mx.example\nmx.example A 127.0.0.1";
    let dns = Dns::start(Zone::parse(zone));
    let mut fixture = start(&dns, port, "");
    for round in 0..20 {
        // A domain by its kept connection, another one by the address that both have.
        let domain = if round % 4 == 3 {
            "other.example"
        } else {
            "d.example"
        };
        fixture.send(
            NextHop::Mx(domain),
            "s@me.example",
            &["a@d.example"],
            format!("{round}\r\n").as_bytes(),
        );
        assert_eq!(fixture.answer().status, "2.0.0");
    }
    let letters = sink.letters(20);
    assert_eq!(sink.connections(), 1);
    assert!((0..20).all(|round| letters[round].data == format!("{round}\r\n").as_bytes()));
    // Only what was not known had to be asked for.
    assert_eq!(dns.count("mx.example", "A"), 1);
    assert_eq!(
        (
            dns.count("d.example", "MX"),
            dns.count("other.example", "MX")
        ),
        (1, 1)
    );
}

#[test]
fn a_kept_connection_that_was_closed_costs_nothing() {
    let script = format!("{}\nclose", GOOD.strip_suffix("\ndrain").unwrap());
    let peer = Peer::serve(&[&script]);
    let mut fixture = Fixture::start("tls = \"none\"");
    for _ in 0..5 {
        fixture.send(
            NextHop::Host("127.0.0.1", peer.address.port()),
            "",
            &["a@x.example"],
            b"x\r\n",
        );
        assert_eq!(fixture.answer().status, "2.0.0");
    }
    assert_eq!(peer.accepted(), 5);
}

#[test]
fn a_kept_connection_on_which_the_next_message_finds_421() {
    let script = format!(
        "{}\n<any\n-> 421 4.7.0 one is enough\nclose",
        GOOD.strip_suffix("\ndrain").unwrap()
    );
    let peer = Peer::serve(&[&script]);
    let mut fixture = Fixture::start("tls = \"none\"");
    for _ in 0..4 {
        fixture.send(
            NextHop::Host("127.0.0.1", peer.address.port()),
            "",
            &["a@x.example"],
            b"x\r\n",
        );
        assert_eq!(fixture.answer().status, "2.0.0");
    }
}

#[test]
fn a_host_that_stalls_holds_up_nobody() {
    let slow = Peer::serve(&["-> 220 hi\n<~ EHLO\nmark stalled\nhold forever\nclose"]);
    let sink = Sink::start();
    let mut fixture = Fixture::start("tls = \"none\"");
    fixture.send(
        NextHop::Host("127.0.0.1", slow.address.port()),
        "",
        &["a@x.example"],
        b"x\r\n",
    );
    slow.wait_mark("stalled");
    for _ in 0..50 {
        fixture.send(
            NextHop::Host("127.0.0.1", sink.address.port()),
            "",
            &["a@x.example"],
            b"x\r\n",
        );
    }
    assert_eq!(
        fixture
            .answers(50)
            .iter()
            .filter(|answer| answer.status == "2.0.0")
            .count(),
        50
    );
    slow.release("forever");
    assert_eq!(fixture.answer().status, "4.4.2");
}

#[test]
fn a_lookup_that_stalls_holds_up_nobody() {
    let sink = Sink::start();
    let zone = "slow.example MX 10 mx.example\nslow.example !hold word\nfast.example MX 10 mx.example\nmx.example A 127.0.0.1";
    let dns = Dns::start(Zone::parse(zone));
    let mut fixture = start(&dns, sink.address.port(), "");
    let slow = fixture.send(NextHop::Mx("slow.example"), "", &["a@x.example"], b"x\r\n");
    dns.wait_for("slow.example", "MX", 1);
    let fast = fixture.send(NextHop::Mx("fast.example"), "", &["a@x.example"], b"x\r\n");
    assert_eq!(fixture.answer().number, fast);
    dns.release("word");
    assert_eq!(fixture.answer().number, slow);
}

#[test]
fn a_large_message_passes_whole() {
    let sink = Sink::start();
    let mut content = Vec::new();
    for line in 0..200_000 {
        content.extend_from_slice(format!(".line {line}\r\n").as_bytes());
    }
    let mut fixture = Fixture::start("tls = \"none\"");
    fixture.send(
        NextHop::Host("127.0.0.1", sink.address.port()),
        "s@me.example",
        &["a@x.example"],
        &content,
    );
    assert_eq!(fixture.answer().status, "2.0.0");
    assert!(sink.letters(1)[0].data == content);
}

#[test]
fn a_large_message_passes_whole_under_tls_and_through_a_trickle() {
    let authority = testkit::Authority::new();
    let options = SinkOptions {
        tls: Some(authority.server(&["mx.example"])),
        ..SinkOptions::default()
    };
    let sink = Sink::start_with(at(1, 0), options).unwrap();
    let proxy = testkit::TrickleProxy::start(sink.address);
    let mut fixture = Fixture::start("tls = \"may\"");
    for (port, lines) in [(sink.address.port(), 20_000), (proxy.address.port(), 2_000)] {
        let mut content = Vec::new();
        for line in 0..lines {
            content.extend_from_slice(format!("..line {line}\r\n").as_bytes());
        }
        let hop = NextHop::Host("127.0.0.1", port);
        fixture.send(hop, "s@me.example", &["a@x.example"], &content);
        assert_eq!(fixture.answer().status, "2.0.0");
        let letters = sink.letters(1);
        let letter = letters.last().unwrap();
        assert!(letter.tls);
        assert!(letter.data == content);
    }
}

#[test]
fn a_host_that_goes_before_the_dot_is_followed_by_the_next() {
    let mut ports = Ports::new();
    let port = ports.take();
    let dns = Dns::start(Zone::parse(ZONE));
    let one = "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\nreset";
    let _one = Peer::serve_at(at(2, port), &[one], None).unwrap();
    let two = Peer::serve_at(at(3, port), &[GOOD], None).unwrap();
    let mut fixture = start(&dns, port, "");
    // More than all buffers on the way hold.
    let content = b"0123456789abcdef0123456789abcd\r\n".repeat(500_000);
    fixture.send(NextHop::Mx("d.example"), "", &["a@d.example"], &content);
    let answer = fixture.answer();
    assert_eq!(
        (answer.status.as_str(), answer.host.as_str()),
        ("2.0.0", "two.d.example[127.0.0.3]")
    );
    drop(fixture);
    assert!(two.finished(1)[0].messages[0] == content);
}

#[test]
fn a_file_shorter_than_announced_is_never_ended() {
    let peer = Peer::serve(&[
        "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\neof",
    ]);
    let mut fixture = Fixture::start("tls = \"none\"");
    fixture.send_cut(NextHop::Host("127.0.0.1", peer.address.port()), b"x\r\n", 1);
    let answer = fixture.answer();
    assert_eq!(
        (answer.status.as_str(), answer.scope),
        ("4.3.0", Scope::Message)
    );
    peer.finished(1);
}

#[test]
fn a_hundred_recipients_in_one_transaction() {
    let sink = Sink::start();
    let mut fixture = Fixture::start("tls = \"none\"");
    let list: Vec<String> = (0..100)
        .map(|index| format!("user{index}@x.example"))
        .collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    fixture.send(
        NextHop::Host("127.0.0.1", sink.address.port()),
        "s@me.example",
        &list,
        b"x\r\n",
    );
    let answer = fixture.answer();
    assert_eq!(answer.recipients.len(), 100);
    assert_eq!(sink.letters(1)[0].to.len(), 100);
}

#[test]
fn a_relay_host_takes_everything() {
    let sink = Sink::start();
    let relay = format!(
        "relay_host = \"127.0.0.1:{}\"\ntls = \"none\"",
        sink.address.port()
    );
    let mut fixture = Fixture::start(&relay);
    fixture.send(
        NextHop::Mx("anywhere.example"),
        "",
        &["a@anywhere.example"],
        b"x\r\n",
    );
    assert_eq!(fixture.answer().status, "2.0.0");
    assert_eq!(sink.letters(1).len(), 1);
}

#[test]
fn a_source_address_is_used() {
    let peer = Peer::serve(&[GOOD]);
    let mut fixture = Fixture::start("tls = \"none\"\nsource = [\"127.0.0.9\"]");
    fixture.send(
        NextHop::Host("127.0.0.1", peer.address.port()),
        "",
        &["a@x.example"],
        b"x\r\n",
    );
    assert_eq!(fixture.answer().status, "2.0.0");
    assert_eq!(peer.clients()[0].ip(), at(9, 0).ip());
}

#[test]
fn told_to_stop_it_finishes_what_is_being_sent() {
    let script = "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\nmark sent\nhold go\n-> 250 2.0.0 here\ndrain";
    let sending = Peer::serve(&[script]);
    let waiting = Peer::serve(&["-> 220 hi\n<~ EHLO\nmark here\neof"]);
    let mut fixture = Fixture::start("tls = \"none\"");
    let number = fixture.send(
        NextHop::Host("127.0.0.1", sending.address.port()),
        "",
        &["a@x.example"],
        b"x\r\n",
    );
    fixture.send(
        NextHop::Host("127.0.0.1", waiting.address.port()),
        "",
        &["a@x.example"],
        b"x\r\n",
    );
    sending.wait_mark("sent");
    waiting.wait_mark("here");
    fixture.order(daemon::process::Order::Stop);
    // The one that has not begun to be sent is dropped at once and never answered.
    waiting.finished(1);
    sending.release("go");
    let answer = fixture.answer();
    assert_eq!((answer.number, answer.status.as_str()), (number, "2.0.0"));
    assert!(fixture.wait_end().contains("stop dropped=1 sending=1"));
}

#[test]
fn what_a_host_said_outlives_a_host_that_is_away() {
    let mut ports = Ports::new();
    let port = ports.take();
    let dns = Dns::start(Zone::parse(ZONE));
    let later =
        "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 450 4.7.1 grey\ndrain";
    let _one = Peer::serve_at(at(2, port), &[later], None).unwrap();
    let mut fixture = start(&dns, port, "");
    fixture.send(NextHop::Mx("d.example"), "", &["a@d.example"], b"x\r\n");
    let answer = fixture.answer();
    assert_eq!(
        (answer.status.as_str(), answer.scope),
        ("4.7.1", Scope::Recipient)
    );
    assert_eq!(answer.host, "one.d.example[127.0.0.2]");
}

#[test]
fn a_hello_that_was_read_and_never_answered_is_said_again() {
    let mut fixture = Fixture::start_without_hello("tls = \"none\"");
    // A queue-manager that knows nothing of the first hello asks for something now and then.
    while !fixture.hello_within(std::time::Duration::from_millis(100)) {
        fixture.send(
            NextHop::Host("127.0.0.1", 1),
            "",
            &["a@d.example"],
            b"x\r\n",
        );
    }
    fixture.say_hello();
    let sink = Sink::start();
    let number = fixture.send(
        NextHop::Host("127.0.0.1", sink.address.port()),
        "",
        &["a@d.example"],
        b"x\r\n",
    );
    assert_eq!(fixture.answer().number, number);
}

#[test]
fn a_new_queue_manager_makes_the_old_one_s_requests_void() {
    let stalled = Peer::serve(&["-> 220 hi\n<~ EHLO\nmark here\neof", GOOD]);
    let mut fixture = Fixture::start("tls = \"none\"");
    let hop = NextHop::Host("127.0.0.1", stalled.address.port());
    fixture.send(hop, "", &["a@d.example"], b"x\r\n");
    stalled.wait_mark("here");
    fixture.say_hello();
    stalled.finished(1);
    let number = fixture.send(hop, "", &["a@d.example"], b"x\r\n");
    let answer = fixture.answer();
    assert_eq!((answer.number, answer.status.as_str()), (number, "2.0.0"));
}

#[test]
fn told_to_drain_it_finishes_everything_and_takes_nothing_new() {
    let script = format!(
        "-> 220 hi\n<~ EHLO\nmark here\nhold go\n{}",
        GOOD.split_once("<~ EHLO\n").unwrap().1
    );
    let peer = Peer::serve(&[&script]);
    let mut fixture = Fixture::start("tls = \"none\"");
    let hop = NextHop::Host("127.0.0.1", peer.address.port());
    let number = fixture.send(hop, "", &["a@d.example"], b"x\r\n");
    peer.wait_mark("here");
    fixture.order(daemon::process::Order::Reload);
    peer.release("go");
    let answer = fixture.answer();
    assert_eq!((answer.number, answer.status.as_str()), (number, "2.0.0"));
    assert!(fixture.wait_end().contains("drain transactions=1"));
}

#[test]
fn a_host_that_has_said_later_on_a_kept_connection_is_not_asked_again() {
    let first = GOOD.strip_suffix("\ndrain").unwrap();
    let script = format!("{first}\n<~ MAIL\n-> 451 4.3.0 later\ndrain");
    let peer = Peer::serve(&[&script]);
    let mut fixture = Fixture::start("tls = \"none\"");
    let hop = NextHop::Host("127.0.0.1", peer.address.port());
    fixture.send(hop, "", &["a@x.example"], b"x\r\n");
    assert_eq!(fixture.answer().status, "2.0.0");
    fixture.send(hop, "", &["a@x.example"], b"x\r\n");
    let answer = fixture.answer();
    assert_eq!(
        (answer.status.as_str(), answer.scope),
        ("4.3.0", Scope::Message)
    );
    assert_eq!(peer.accepted(), 1);
}

#[test]
fn answers_that_need_tcp_and_servers_that_have_none() {
    let sink = Sink::start();
    let zone = "
        d.example      MX 10 mx.example
        d.example      !truncated
        mx.example     A 127.0.0.1
        mx.example     !truncated
        f.example      MX 10 mx.example
        f.example      !flood
        c.example      MX 10 mx.example
        c.example      !truncated-tcp-closed
        g.example      MX 10 mx.example
        g.example      !garbage
    ";
    let dns = Dns::start(Zone::parse(zone));
    let mut fixture = start(&dns, sink.address.port(), "");
    for (domain, status) in [
        ("d.example", "2.0.0"),
        ("f.example", "2.0.0"),
        ("c.example", "4.4.3"),
        ("g.example", "4.4.3"),
    ] {
        fixture.send(NextHop::Mx(domain), "", &["a@x.example"], b"x\r\n");
        assert_eq!(fixture.answer().status, status, "{domain}");
    }
    assert!(
        dns.asked()
            .iter()
            .any(|asked| asked.tcp && asked.name == "mx.example")
    );
}

#[test]
fn no_name_server_is_there() {
    let gone = Dns::start(Zone::new());
    let address = gone.address;
    drop(gone);
    let mut fixture = Fixture::start(&format!("resolver = \"{address}\""));
    fixture.send(NextHop::Mx("d.example"), "", &["a@d.example"], b"x\r\n");
    let answer = fixture.answer();
    assert_eq!(
        (answer.status.as_str(), answer.scope),
        ("4.4.3", Scope::Destination)
    );
}

#[test]
fn it_says_that_it_lives_while_a_host_stalls() {
    let peer = Peer::serve(&["-> 220 hi\n<~ EHLO\ndrain"]);
    let mut fixture = Fixture::start("tls = \"none\"");
    let hop = NextHop::Host("127.0.0.1", peer.address.port());
    fixture.send(hop, "s@me.example", &["a@there.example"], b"x\r\n");
    fixture.ping();
    fixture.ping();
}

/// A domain of somebody else's whose mail host is this one, under a name that we do not know.
#[test]
fn mail_that_would_come_back_is_not_sent() {
    let mut ports = Ports::new();
    let port = ports.take();
    let dns = Dns::start(Zone::parse(ZONE));
    let us = Peer::serve_at(at(2, port), &[GOOD], None).unwrap();
    let listen = format!("[listen]\nmx = [\"127.0.0.2:{port}\"]");
    let mut fixture = start(&dns, port, &listen);
    let hop = NextHop::Mx("d.example");
    fixture.send(hop, "s@me.example", &["a@d.example"], b"x\r\n");
    let answer = fixture.answer();
    assert_eq!(answer.status, "5.4.6", "{}", answer.text);
    assert!(answer.text.contains("come back"), "{}", answer.text);
    // By name and port it is another matter: the admin knows what listens there.
    let hop = NextHop::Host("one.d.example", port);
    fixture.send(hop, "s@me.example", &["a@d.example"], b"x\r\n");
    assert_eq!(fixture.answer().status, "2.0.0");
    assert_eq!(us.accepted(), 1);
}
