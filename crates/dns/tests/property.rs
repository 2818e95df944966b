//! Properties: nothing a server sends can break us, and what it means does not depend on luck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dns::{Ask, Ignored, Kind, Name, Question, Reading, encode, read};
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
}
