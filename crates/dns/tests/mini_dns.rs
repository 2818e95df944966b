//! The blocking client against the mini name server: one zone and one expected answer a row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dns::blocking::Client;
use dns::{Answer, Kind, Mx, Name, Outcome, Question, Records, Settings, Tlsa, Trouble};
use testkit::{Dns, Zone};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn ask(zone: &str, owner: &str, kind: Kind) -> (Answer, Dns) {
    let dns = Dns::start(Zone::parse(zone));
    let mut settings = Settings::new(vec![dns.address]);
    settings.attempts = 1;
    let mut client = Client::new(settings);
    let answer = client.lookup(&Question::new(name(owner), kind));
    ((*answer).clone(), dns)
}

fn outcome(zone: &str, owner: &str, kind: Kind) -> Outcome {
    ask(zone, owner, kind).0.outcome
}

fn a(list: &[&str]) -> Outcome {
    Outcome::Records(Records::A(
        list.iter().map(|text| text.parse().unwrap()).collect(),
    ))
}

#[test]
fn records_of_every_kind() {
    assert_eq!(
        outcome(
            "h.example A 192.0.2.1\nh.example A 192.0.2.2",
            "H.Example.",
            Kind::A
        ),
        a(&["192.0.2.1", "192.0.2.2"])
    );
    assert_eq!(
        outcome("h.example AAAA 2001:db8::1", "h.example", Kind::Aaaa),
        Outcome::Records(Records::Aaaa(vec!["2001:db8::1".parse().unwrap()]))
    );
    assert_eq!(
        outcome(
            "d.example MX 20 B.example\nd.example MX 10 a.example",
            "d.example",
            Kind::Mx
        ),
        Outcome::Records(Records::Mx(vec![
            Mx {
                preference: 20,
                exchange: Some(name("b.example"))
            },
            Mx {
                preference: 10,
                exchange: Some(name("a.example"))
            },
        ]))
    );
    assert_eq!(
        outcome("d.example MX 0 .", "d.example", Kind::Mx),
        Outcome::Records(Records::Mx(vec![Mx {
            preference: 0,
            exchange: None
        }]))
    );
    assert_eq!(
        outcome("d.example TXT \"v=spf1 \" \"-all\"", "d.example", Kind::Txt),
        Outcome::Records(Records::Txt(vec![b"v=spf1 -all".to_vec()]))
    );
    assert_eq!(
        outcome(
            "1.2.0.192.in-addr.arpa PTR h.example",
            "1.2.0.192.in-addr.arpa",
            Kind::Ptr
        ),
        Outcome::Records(Records::Ptr(vec![name("h.example")]))
    );
    assert_eq!(
        outcome(
            "_25._tcp.h.example TLSA 3 1 1 00ff10",
            "_25._tcp.h.example",
            Kind::Tlsa
        ),
        Outcome::Records(Records::Tlsa(vec![Tlsa {
            usage: 3,
            selector: 1,
            matching: 1,
            data: vec![0, 255, 16]
        }]))
    );
}

#[test]
fn nothing_there() {
    assert_eq!(
        outcome("h.example A 192.0.2.1", "h.example", Kind::Mx),
        Outcome::NoData
    );
    assert_eq!(
        outcome("h.example A 192.0.2.1", "x.example", Kind::Mx),
        Outcome::NxDomain
    );
    // A name that exists only because something stands below it.
    assert_eq!(
        outcome("a.h.example A 192.0.2.1", "h.example", Kind::A),
        Outcome::NoData
    );
    assert_eq!(
        outcome(
            "h.example !no-soa\nh.example A 192.0.2.1",
            "h.example",
            Kind::Mx
        ),
        Outcome::NoData
    );
    assert_eq!(
        outcome(
            "h.example !nx-domain\nh.example !no-soa",
            "h.example",
            Kind::A
        ),
        Outcome::NxDomain
    );
}

#[test]
fn aliases() {
    let (answer, _dns) = ask(
        "www.example CNAME b.example\nb.example CNAME c.example\nc.example A 192.0.2.3",
        "www.example",
        Kind::A,
    );
    assert_eq!(answer.outcome, a(&["192.0.2.3"]));
    assert_eq!(answer.canonical, name("c.example"));
    assert_eq!(
        outcome("www.example CNAME gone.example", "www.example", Kind::A),
        Outcome::NxDomain
    );
    assert_eq!(
        outcome(
            "www.example CNAME c.example\nc.example A 192.0.2.3",
            "www.example",
            Kind::Mx
        ),
        Outcome::NoData
    );
}

#[test]
fn an_alias_whose_target_is_left_out_is_asked_for() {
    let (answer, dns) = ask(
        "www.example CNAME b.example\nwww.example !alias-only\nb.example A 192.0.2.3",
        "www.example",
        Kind::A,
    );
    assert_eq!(answer.outcome, a(&["192.0.2.3"]));
    assert_eq!(dns.count("b.example", "A"), 1);
}

#[test]
fn a_chain_up_to_the_bound() {
    for (length, good) in [(7, true), (8, true), (9, false)] {
        let mut zone = String::new();
        for index in 0..length {
            zone.push_str(&format!("n{index}.example CNAME n{}.example\n", index + 1));
        }
        zone.push_str(&format!("n{length}.example A 192.0.2.1\n"));
        let expected = if good {
            a(&["192.0.2.1"])
        } else {
            Outcome::Temporary(Trouble::CnameChain)
        };
        assert_eq!(
            outcome(&zone, "n0.example", Kind::A),
            expected,
            "{length} in one answer"
        );
        for index in 0..length {
            zone.push_str(&format!("n{index}.example !alias-only\n"));
        }
        assert_eq!(
            outcome(&zone, "n0.example", Kind::A),
            expected,
            "{length} one by one"
        );
    }
}

#[test]
fn a_ring_of_aliases() {
    let zone = "a.example CNAME b.example\nb.example CNAME a.example\n";
    assert_eq!(
        outcome(zone, "a.example", Kind::A),
        Outcome::Temporary(Trouble::CnameChain)
    );
    let zone = format!("{zone}a.example !alias-only\nb.example !alias-only");
    assert_eq!(
        outcome(&zone, "a.example", Kind::A),
        Outcome::Temporary(Trouble::CnameChain)
    );
    assert_eq!(
        outcome("a.example CNAME a.example", "a.example", Kind::A),
        Outcome::Temporary(Trouble::CnameChain)
    );
}

#[test]
fn failures_of_the_server() {
    let record = "h.example A 192.0.2.1\n";
    for trick in ["serv-fail", "refused"] {
        let zone = format!("{record}h.example !{trick}");
        assert_eq!(
            outcome(&zone, "h.example", Kind::A),
            Outcome::Temporary(Trouble::ServerFailure),
            "{trick}"
        );
    }
    let zone = format!("{record}h.example !garbage");
    assert_eq!(
        outcome(&zone, "h.example", Kind::A),
        Outcome::Temporary(Trouble::Garbage)
    );
}

#[test]
fn a_server_without_edns_is_asked_again_without() {
    let (answer, dns) = ask(
        "h.example A 192.0.2.1\nh.example !no-edns",
        "h.example",
        Kind::A,
    );
    assert_eq!(answer.outcome, a(&["192.0.2.1"]));
    assert_eq!(
        dns.asked()
            .iter()
            .map(|asked| asked.edns)
            .collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn truncation_goes_to_tcp() {
    let (answer, dns) = ask(
        "h.example A 192.0.2.1\nh.example !truncated",
        "h.example",
        Kind::A,
    );
    assert_eq!(answer.outcome, a(&["192.0.2.1"]));
    assert_eq!(
        dns.asked()
            .iter()
            .map(|asked| asked.tcp)
            .collect::<Vec<_>>(),
        [false, true]
    );

    let mut zone = String::new();
    for index in 0..200 {
        zone.push_str(&format!("h.example A 198.51.100.{index}\n"));
    }
    let (answer, dns) = ask(&zone, "h.example", Kind::A);
    assert_eq!(answer.records().map(Records::len), Some(200));
    assert_eq!(dns.asked().len(), 2);

    let record = "h.example A 192.0.2.1\n";
    let zone = format!("{record}h.example !truncated-tcp-closed");
    assert_eq!(
        outcome(&zone, "h.example", Kind::A),
        Outcome::Temporary(Trouble::Unreachable)
    );
    let zone = format!("{record}h.example !truncated-always");
    assert_eq!(
        outcome(&zone, "h.example", Kind::A),
        Outcome::Temporary(Trouble::Garbage)
    );
}

#[test]
fn forged_answers_are_passed_over() {
    let record = "h.example A 192.0.2.1\n";
    for trick in ["wrong-id-first", "wrong-question-first"] {
        let zone = format!("{record}h.example !{trick}");
        assert_eq!(
            outcome(&zone, "h.example", Kind::A),
            a(&["192.0.2.1"]),
            "{trick}"
        );
    }
    let (answer, dns) = ask(&format!("{record}h.example !flood"), "h.example", Kind::A);
    assert_eq!(answer.outcome, a(&["192.0.2.1"]));
    assert!(
        dns.asked().iter().any(|asked| asked.tcp),
        "a flood of forgeries is left for TCP"
    );
}

#[test]
fn only_forged_answers_end_in_a_timeout() {
    for trick in ["wrong-id", "wrong-question", "drop"] {
        let dns = Dns::start(Zone::parse(&format!(
            "h.example A 192.0.2.1\nh.example !{trick}"
        )));
        let mut settings = Settings::new(vec![dns.address]);
        settings.attempts = 1;
        settings.timeout = std::time::Duration::from_secs(1);
        let answer = Client::new(settings).lookup(&Question::new(name("h.example"), Kind::A));
        assert_eq!(
            answer.outcome,
            Outcome::Temporary(Trouble::Timeout),
            "{trick}"
        );
    }
}

#[test]
fn the_second_server_helps() {
    let sick = Dns::start(Zone::parse("h.example !serv-fail"));
    let sound = Dns::start(Zone::parse("h.example A 192.0.2.1"));
    let mut client = Client::new(Settings::new(vec![sick.address, sound.address]));
    let question = Question::new(name("h.example"), Kind::A);
    assert_eq!(client.lookup(&question).outcome, a(&["192.0.2.1"]));
    assert_eq!(client.lookup(&question).outcome, a(&["192.0.2.1"]));
    assert_eq!(
        (sick.asked().len(), sound.asked().len()),
        (1, 1),
        "the second time it is known"
    );
    assert_ne!(
        sick.asked()[0].id,
        sound.asked()[0].id,
        "each message has an id of its own"
    );
}

#[test]
fn nobody_listens() {
    let gone = Dns::start(Zone::new()).address;
    let mut settings = Settings::new(vec![gone]);
    settings.attempts = 1;
    let answer = Client::new(settings).lookup(&Question::new(name("h.example"), Kind::A));
    assert_eq!(answer.outcome, Outcome::Temporary(Trouble::Unreachable));
}

#[test]
fn the_ad_bit_of_a_loopback_server_counts() {
    let (answer, dns) = ask(
        "h.example A 192.0.2.1\nh.example !authentic",
        "h.example",
        Kind::A,
    );
    assert!(answer.authentic);
    assert!(dns.asked()[0].dnssec_ok);
    let (answer, _dns) = ask("h.example A 192.0.2.1", "h.example", Kind::A);
    assert!(!answer.authentic);
    // Every step of a chain has to be proven.
    let zone = "w.example CNAME h.example\nw.example !alias-only\nh.example A 192.0.2.1\nh.example !authentic";
    assert!(!ask(zone, "w.example", Kind::A).0.authentic);
    assert!(
        ask(
            &format!("{zone}\nw.example !authentic"),
            "w.example",
            Kind::A
        )
        .0
        .authentic
    );
}

#[test]
fn a_txt_record_of_any_octets() {
    let mut zone = Zone::new();
    let text = hickory_proto::rr::rdata::TXT::from_bytes(vec![&[0, 255, b'\n'], &[b'x'; 255]]);
    zone.record(hickory_proto::rr::Record::from_rdata(
        hickory_proto::rr::Name::from_ascii("t.example.").unwrap(),
        1,
        hickory_proto::rr::RData::TXT(text),
    ));
    let dns = Dns::start(zone);
    let answer = Client::new(Settings::new(vec![dns.address]))
        .lookup(&Question::new(name("t.example"), Kind::Txt));
    let Some(Records::Txt(list)) = answer.records() else {
        panic!("{answer:?}")
    };
    assert_eq!(list[0].len(), 258);
    assert_eq!(&list[0][..3], &[0, 255, b'\n']);
}
