//! Properties: nothing a server sends can break us, and what it means does not depend on luck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::time::Instant;

use dns::{
    Ask, Command, Ignored, Kind, LOOKUP_DEADLINE, Lookup, Name, Question, Reading, Resolver,
    Settings, Transport, encode, read,
};
use proptest::prelude::*;

const KINDS: [Kind; 6] = [
    Kind::A,
    Kind::Aaaa,
    Kind::Mx,
    Kind::Txt,
    Kind::Ptr,
    Kind::Tlsa,
];

fn names() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-zA-Z0-9_-]{1,20}", 1..6).prop_map(|labels| labels.join("."))
}

/// A good answer of several records with aliases and an EDNS record, as octets.
fn sample(question: &Question, id: u16) -> Vec<u8> {
    let mut bytes = encode(question, id, Ask::Edns);
    bytes[2] |= 0x80;
    bytes[7] = 2;
    let opt = bytes.split_off(bytes.len() - 11);
    bytes.extend_from_slice(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01b\xc0\x0c");
    bytes.extend_from_slice(
        b"\x01b\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x07",
    );
    bytes.extend_from_slice(&opt);
    bytes
}

#[test]
fn the_sample_is_good() {
    let question = Question::new(Name::parse("example.org").unwrap(), Kind::A);
    let reading = read(&question, 77, &sample(&question, 77)).unwrap();
    let Reading::Records { canonical, ttl, .. } = reading else {
        panic!("{reading:?}")
    };
    assert_eq!((canonical.as_str(), ttl), ("b.example.org", 60));
}

#[test]
fn cut_at_every_octet_it_is_never_an_answer() {
    let question = Question::new(Name::parse("example.org").unwrap(), Kind::A);
    let bytes = sample(&question, 77);
    for at in 0..bytes.len() {
        match read(&question, 77, &bytes[..at]) {
            Err(Ignored::Short) => assert!(at < 12),
            other => assert_eq!(other, Ok(Reading::Garbage), "cut at {at}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn names_read_back(text in names()) {
        let name = Name::parse(&text).unwrap();
        prop_assert_eq!(name.as_str(), text.to_ascii_lowercase());
        prop_assert_eq!(Name::parse(name.as_str()).unwrap(), name);
    }

    #[test]
    fn a_question_comes_back_as_it_went(text in names(), id in any::<u16>(), kind in 0..6_usize) {
        let question = Question::new(Name::parse(&text).unwrap(), KINDS[kind]);
        for ask in [Ask::Bare, Ask::Edns, Ask::Secure] {
            let mut bytes = encode(&question, id, ask);
            prop_assert_eq!(read(&question, id, &bytes), Err(Ignored::NotAnAnswer));
            bytes[2] |= 0x80;
            let no_data = matches!(read(&question, id, &bytes), Ok(Reading::NoData { .. }));
            prop_assert!(no_data);
            prop_assert_eq!(read(&question, id.wrapping_add(1), &bytes), Err(Ignored::WrongId));
            let other = Question::new(question.name.below("x").unwrap(), question.kind);
            prop_assert_eq!(read(&other, id, &bytes), Err(Ignored::WrongQuestion));
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0..6_usize) {
        let question = Question::new(Name::parse("example.org").unwrap(), KINDS[kind]);
        let id = bytes.first_chunk().map_or(0, |pair| u16::from_be_bytes(*pair));
        let _ = read(&question, id, &bytes);
    }

    #[test]
    fn changed_answers_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        kind in 0..6_usize,
    ) {
        let question = Question::new(Name::parse("example.org").unwrap(), KINDS[kind]);
        let mut bytes = sample(&question, 77);
        for (index, octet) in changes {
            let at = index.index(bytes.len());
            bytes[at] = octet;
        }
        let _ = read(&question, 77, &bytes);
    }

    #[test]
    fn a_resolv_conf_of_noise_gives_servers(text in "[ -~\\n]{0,200}") {
        prop_assert!(!Settings::from_resolv_conf(text.as_bytes()).0.servers.is_empty());
    }

    /// Whatever the servers do, each lookup ends once, within its deadline, every socket that was
    /// opened is closed once, and nothing is left over.
    #[test]
    fn every_lookup_ends_once(
        seed in any::<u64>(),
        moves in prop::collection::vec((0..8_u8, any::<u16>()), 0..80),
    ) {
        let servers = ["127.0.0.1:53", "192.0.2.2:53", "192.0.2.3:53"];
        let settings = Settings::new(servers.iter().map(|text| text.parse().unwrap()).collect());
        let mut state = seed;
        let random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 32
        };
        let mut resolver = Resolver::new(settings, Box::new(random));
        let mut now = Instant::now();
        let mut pending = HashSet::new();
        let mut open: Vec<dns::Transmit> = Vec::new();
        let mut asked = HashSet::new();
        let mut last_asked = now;
        let end = moves.len();
        for (step, (kind, index)) in moves.into_iter().chain([(9, 0)]).enumerate() {
            match kind {
                0 | 1 => {
                    let name = Name::parse(&format!("h{}.example", index % 5)).unwrap();
                    if let Lookup::Pending(key) = resolver.query(&Question::new(name, Kind::A), now) {
                        pending.insert(key);
                        asked.insert(key);
                        last_asked = now;
                    }
                }
                2..=7 if !open.is_empty() => {
                    let transmit = open[usize::from(index) % open.len()].clone();
                    let mut bytes = transmit.payload.clone();
                    bytes[2] |= 0x80;
                    match kind {
                        // No data, SERVFAIL, TC, FORMERR, another id, an error of the socket.
                        2 => {}
                        3 => bytes[3] = 2,
                        4 => bytes[2] |= 2,
                        5 => bytes[3] = 1,
                        6 => bytes[0] ^= 1,
                        _ => bytes.clear(),
                    }
                    match transmit.transport {
                        _ if bytes.is_empty() => resolver.on_failed(transmit.id, now),
                        Transport::Udp => resolver.on_datagram(transmit.id, transmit.server, &bytes, now),
                        Transport::Tcp => resolver.on_stream(transmit.id, &bytes, now),
                    }
                }
                _ => {
                    if let Some(when) = resolver.next_timeout() {
                        now = when;
                        resolver.on_timeout(now);
                    }
                }
            }
            loop {
                while let Some(command) = resolver.poll() {
                    match command {
                        Command::Send(transmit) => open.push(transmit),
                        Command::Close(id) => {
                            let at = open.iter().position(|transmit| transmit.id == id);
                            prop_assert!(at.is_some(), "closed what is not open");
                            open.remove(at.unwrap());
                        }
                        Command::Answered(key, _) => prop_assert!(pending.remove(&key), "answered twice"),
                    }
                }
                // At the end time runs until everything has ended.
                match resolver.next_timeout() {
                    Some(when) if step == end => {
                        now = when;
                        resolver.on_timeout(now);
                    }
                    _ => break,
                }
            }
        }
        prop_assert!(pending.is_empty() && open.is_empty());
        prop_assert_eq!(resolver.in_flight(), 0);
        prop_assert!(now <= last_asked + LOOKUP_DEADLINE);
    }
}
