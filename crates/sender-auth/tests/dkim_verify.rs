//! What a verifier says about messages that are not as they should be, and properties of
//! signing and verifying.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{
    NOW, Zone, ed25519, replace, rsa, sign, sign_with, verify, verify_in_blocks, verify_with,
};
use proptest::prelude::*;
use sender_auth::canon::Canon;
use sender_auth::dkim::key_record::KeyProblem;
use sender_auth::dkim::sign::{FieldChoice, SignError};
use sender_auth::dkim::signature::SignatureProblem;
use sender_auth::dkim::verify::{DkimResult, Problem};
use sender_auth::dkim::{KeyRecord, Limits, Signing, SigningIdentity, SigningOptions};
use sender_auth::header_block::HEADER_MAX;
use sender_auth::lookup::{Answer, Check, Need, Question, Record};
use sender_auth::pass::Pass;

const MESSAGE: &str = "From: Joe <joe@a.example>\r\nTo: list@b.example\r\nSubject: One\r\n\r\n\
                       First line\r\nSecond line\r\n";

fn zone() -> Zone {
    Zone::default()
        .with_key("ed", "a.example", &ed25519())
        .with_key("rsa", "a.example", &rsa())
}

fn outcome(message: &[u8], zone: &Zone) -> Result<(), Problem> {
    let found = verify(message, zone);
    assert_eq!(found.signatures.len(), 1, "{found:?}");
    found.signatures[0].outcome
}

fn signed() -> Vec<u8> {
    sign(MESSAGE.as_bytes(), &ed25519(), "a.example", "ed")
}

#[test]
fn two_keys_at_once() {
    let (ed, rsa) = (ed25519(), rsa());
    let options = SigningOptions::default();
    let keys = [(&ed, "a.example", "ed"), (&rsa, "a.example", "rsa")];
    let message = sign_with(MESSAGE.as_bytes(), &keys, &options);
    let found = verify(&message, &zone());
    assert_eq!(found.signatures.len(), 2);
    assert!(found.signatures.iter().all(|s| s.outcome.is_ok()));
    let bits: Vec<_> = found.signatures.iter().map(|s| s.key_bits).collect();
    assert_eq!(bits, [Some(256), Some(2048)]);
    let lines = message.split(|b| *b == b'\n');
    assert!(lines.map(<[u8]>::len).all(|length| length <= 78));
}

#[test]
fn what_is_signed_cannot_change() {
    let message = signed();
    assert_eq!(outcome(&message, &zone()), Ok(()));
    for (from, to, problem) in [
        ("Subject: One", "Subject: Two", Problem::Mismatch),
        ("To: list", "Cc: list", Problem::Mismatch),
        (
            "Subject: One",
            "Subject: One\r\nSubject: Two",
            Problem::Mismatch,
        ),
        (
            "Subject: One",
            "Subject: One\r\nReply-To: x@y.example",
            Problem::Mismatch,
        ),
        (
            "Subject: One",
            "Subject: One\r\nFrom: x@y.example",
            Problem::UnsignedFrom,
        ),
        ("First", "first", Problem::BodyHash),
        ("Second line\r\n", "Second line\r\nx\r\n", Problem::BodyHash),
        ("s=ed;", "s=rsa;", Problem::KeyType),
        ("s=ed;", "s=none;", Problem::NoKey),
        (
            "To: list",
            "X: y\nFrom: other@b.example\r\nTo: list",
            Problem::BareLineEnd,
        ),
        ("t=1767225600", "t=1767225601", Problem::Mismatch),
    ] {
        let changed = replace(&message, from, to);
        let changed = if problem == Problem::UnsignedFrom {
            // From is oversigned once; two more are one too many.
            replace(
                &changed,
                "Subject: One",
                "From: z@y.example\r\nSubject: One",
            )
        } else {
            changed
        };
        assert_eq!(outcome(&changed, &zone()), Err(problem), "{from} -> {to}");
    }
    // What is not signed may change, and so may what relaxed forgives.
    for (from, to) in [
        ("Subject: One", "subject :  One \r\nX-Other: y"),
        ("First line", "First \t line  "),
        ("Second line\r\n", "Second line\r\n\r\n \r\n"),
        ("\r\nTo:", "\r\nReceived: x\r\nTo:"),
    ] {
        assert_eq!(
            outcome(&replace(&message, from, to), &zone()),
            Ok(()),
            "{to}"
        );
    }
}

#[test]
fn dates() {
    let key = ed25519();
    let options = SigningOptions {
        lifetime: Some(1_000),
        ..SigningOptions::default()
    };
    let keys = [(&key, "a.example", "ed")];
    let message = sign_with(MESSAGE.as_bytes(), &keys, &options);
    for (now, expected) in [
        (NOW - 301, Err(Problem::NotYetValid)),
        (NOW - 300, Ok(())),
        (NOW, Ok(())),
        (NOW + 999, Ok(())),
        (NOW + 1_000, Ok(())),
        (NOW + 1_001, Err(Problem::Expired)),
        (-1, Err(Problem::NotYetValid)),
    ] {
        let found = verify_with(&message, &zone(), Limits::default(), now);
        assert_eq!(found.signatures[0].outcome, expected, "{now}");
    }
}

#[test]
fn key_records_decide() {
    let message = signed();
    let key = KeyRecord::new(ed25519().public()).to_text();
    let with = |text: &str| Zone::default().with("ed._domainkey.a.example", text);
    for (text, expected) in [
        (format!("{key}; t=y"), Ok(())),
        (format!("{key}; t=s"), Ok(())),
        (
            "k=ed25519; p=".to_owned(),
            Err(Problem::Key(KeyProblem::Revoked)),
        ),
        (
            format!("{key}; s=other"),
            Err(Problem::Key(KeyProblem::NotForMail)),
        ),
        (
            format!("{key}; h=sha1"),
            Err(Problem::Key(KeyProblem::HashNotAllowed)),
        ),
        ("x".repeat(65_000), Err(Problem::Key(KeyProblem::TooLong))),
    ] {
        assert_eq!(outcome(&message, &with(&text)), expected, "{text:.60}");
    }
    let found = verify(&message, &with(&format!("{key}; t=y")));
    assert!(found.signatures[0].testing);
    // Two keys under one name: either will do.
    let other = KeyRecord::new(rsa().public()).to_text();
    let both = with(&other).with("ed._domainkey.a.example", &key);
    assert_eq!(outcome(&message, &both), Ok(()));
}

#[test]
fn strict_keys_want_the_very_domain() {
    let key = ed25519();
    let identity = SigningIdentity::new(&key, "a.example", "ed").unwrap();
    for (identity, text, expected) in [
        (
            identity.clone().with_identity("@a.example"),
            "; t=s",
            Ok(()),
        ),
        (
            identity.clone().with_identity("joe@b.a.example"),
            "; t=s",
            Err(Problem::IdentityBelow),
        ),
        (
            identity.clone().with_identity("joe@b.a.example"),
            "",
            Ok(()),
        ),
    ] {
        let identities = [identity.unwrap()];
        let options = SigningOptions::default();
        let signing = Signing::new(&identities, &options);
        let mut message = common::run(signing, MESSAGE.as_bytes(), &Zone::default(), NOW).unwrap();
        message.extend_from_slice(MESSAGE.as_bytes());
        let record = format!("{}{text}", KeyRecord::new(key.public()).to_text());
        let zone = Zone::default().with("ed._domainkey.a.example", &record);
        assert_eq!(outcome(&message, &zone), expected);
    }
    for bad in [
        "joe",
        "joe@example",
        "@b.example",
        "a;b@a.example",
        "a\r\nb@a.example",
    ] {
        assert!(identity.clone().with_identity(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn weak_keys_and_partial_bodies_are_policy() {
    let record = include_str!("keys/rsa-1024.txt").trim();
    let message = include_str!("keys/rsa-1024.eml").replace('\n', "\r\n");
    let zone = Zone::default().with("weak._domainkey.a.example", record);
    let limits = |bits, partial_body| Limits {
        rsa_min_bits: bits,
        partial_body,
        ..Limits::default()
    };
    let found = |message: &str, limits| {
        let found = verify_with(message.as_bytes(), &zone, limits, NOW);
        (found.signatures[0].outcome, found.signatures[0].uncovered)
    };
    // The file was signed with a key of 1024 bits and l= its body.
    assert_eq!(found(&message, limits(1024, true)), (Ok(()), 0));
    assert_eq!(found(&message, limits(1024, false)), (Ok(()), 0));
    assert_eq!(
        found(&message, limits(1025, true)).0,
        Err(Problem::WeakKey(1024))
    );
    let longer = format!("{message}More\r\n");
    assert_eq!(found(&longer, limits(1024, true)), (Ok(()), 6));
    assert_eq!(
        found(&longer, limits(1024, false)).0,
        Err(Problem::PartialBody(6))
    );
    let shorter = message.replace("Second line\r\n", "");
    assert_eq!(
        found(&shorter, limits(1024, true)).0,
        Err(Problem::BodyTooShort)
    );
}

#[test]
fn answers_that_fail() {
    let message = signed();
    let ask = |answer: Answer| {
        let mut pass = Pass::new(sender_auth::dkim::Verification::default());
        pass.feed(&message);
        // The question is there before the message has ended.
        let Need::Lookup(question) = pass.poll() else {
            panic!("no question");
        };
        assert_eq!(
            question,
            Question::Txt("ed._domainkey.a.example".to_owned())
        );
        assert_eq!(pass.poll(), Need::Wait);
        pass.end(NOW);
        assert_eq!(pass.poll(), Need::Wait);
        pass.answer(&question, &answer);
        let Need::Done(found) = pass.poll() else {
            panic!("no verdict");
        };
        assert_eq!(pass.poll(), Need::Wait);
        found.signatures[0].outcome
    };
    assert_eq!(ask(Answer::TempFail), Err(Problem::KeyUnavailable));
    assert_eq!(ask(Answer::NxDomain), Err(Problem::NoKey));
    assert_eq!(ask(Answer::NoData), Err(Problem::NoKey));
    assert_eq!(ask(Answer::Records(Vec::new())), Err(Problem::NoKey));
    let wrong = vec![Record::Ptr("x".to_owned()), Record::Txt(vec![0xff; 65_535])];
    assert_eq!(
        ask(Answer::Records(wrong)),
        Err(Problem::Key(KeyProblem::TooLong))
    );
}

#[test]
fn signature_bombs_are_bounded() {
    // 1,000 signatures, each with a key of its own and an l= of its own.
    let field = |n: usize| {
        format!(
            "DKIM-Signature: v=1; a=ed25519-sha256; d=a.example; s=s{n}; l={n}; h=from; \
             bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA\r\n"
        )
    };
    let bomb: String = (0..1_000).map(field).collect();
    let message = format!("{bomb}{MESSAGE}");
    for (limit, looked_at) in [(15, 15), (16, 16), (17, 17)] {
        let limits = Limits {
            signatures: limit,
            ..Limits::default()
        };
        let mut asked = 0;
        let mut pass = Pass::new(sender_auth::dkim::Verification::new(limits));
        pass.feed(message.as_bytes());
        pass.end(NOW);
        let found = sender_auth::lookup::drive(&mut pass, |_| {
            asked += 1;
            Answer::NxDomain
        })
        .unwrap();
        assert_eq!(asked, looked_at);
        assert_eq!(found.signatures.len(), looked_at);
        assert_eq!(found.skipped, 1_000 - looked_at);
        assert_eq!(
            found.signatures[0].signature.as_ref().unwrap().selector,
            "s0"
        );
        assert_eq!(found.result(), DkimResult::PermError);
    }
    // The same signature 1,000 times asks once.
    let bomb = field(1).repeat(1_000);
    let mut pass = Pass::new(sender_auth::dkim::Verification::default());
    pass.feed(format!("{bomb}{MESSAGE}").as_bytes());
    assert!(matches!(pass.poll(), Need::Lookup(_)));
    assert_eq!(pass.poll(), Need::Wait);
}

#[test]
fn header_bombs_are_bounded() {
    let good = signed();
    let mut bomb = b"X: y\r\n".repeat(20_000);
    bomb.extend_from_slice(&good);
    let found = verify(&bomb, &zone());
    assert!(found.header_too_large);
    assert_eq!(found.result(), DkimResult::PermError);
    let mut long = b"X: ".to_vec();
    long.resize(HEADER_MAX, b'y');
    long.extend_from_slice(b"\r\n");
    long.extend_from_slice(&good);
    assert!(verify(&long, &zone()).header_too_large);
    let options = SigningOptions::default();
    let key = ed25519();
    let identities = [SigningIdentity::new(&key, "a.example", "ed").unwrap()];
    let signing = Signing::new(&identities, &options);
    let refused = common::run(signing, &long, &Zone::default(), NOW);
    assert_eq!(refused, Err(SignError::HeaderTooLarge));
    // Many fields of a signed name, and a signature that names them all and more.
    let names = "x:".repeat(1_000);
    let mut message = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; d=a.example; s=ed; h={names}from; \
         bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA\r\n"
    );
    message.push_str(&"x: y\r\n".repeat(9_000));
    message.push_str(MESSAGE);
    assert_eq!(outcome(message.as_bytes(), &zone()), Err(Problem::BodyHash));
}

#[test]
fn broken_fields_are_told() {
    for (from, to, problem, word) in [
        ("v=1;", "v=2;", SignatureProblem::Version, "neutral"),
        ("v=1;", "", SignatureProblem::Missing("v"), "permerror"),
        (
            "h=From:",
            "h=X:",
            SignatureProblem::FromNotSigned,
            "permerror",
        ),
        (
            "a=ed25519-sha256",
            "a=rsa-sha1",
            SignatureProblem::Sha1,
            "policy",
        ),
        ("bh=", "bh=!", SignatureProblem::Value("bh"), "neutral"),
    ] {
        let mut message = replace(&signed(), from, to);
        if problem == SignatureProblem::FromNotSigned {
            let text = String::from_utf8(message).unwrap();
            let (head, rest) = text.split_once("From: Joe").unwrap();
            let head = head.replace("From:", "X:").replace("From;", "X;");
            message = format!("{head}From: Joe{rest}").into_bytes();
        }
        let found = verify(&message, &zone());
        assert_eq!(
            found.signatures[0].outcome,
            Err(Problem::Signature(problem))
        );
        assert_eq!(found.signatures[0].result().as_str(), word);
    }
    let found = verify(MESSAGE.as_bytes(), &zone());
    assert_eq!(found.result(), DkimResult::None);
    let found = verify(b"", &zone());
    assert_eq!(found.result(), DkimResult::None);
}

#[test]
fn who_may_be_signed_for() {
    let key = ed25519();
    let identities = [SigningIdentity::new(&key, "a.example", "ed").unwrap()];
    let options = SigningOptions::default();
    let refused = |message: &str| {
        let signing = Signing::new(&identities, &options);
        common::run(signing, message.as_bytes(), &Zone::default(), NOW).unwrap_err()
    };
    assert_eq!(refused("To: x\r\n\r\n"), SignError::NoFrom);
    assert_eq!(refused("From: x\n y\r\n\r\n"), SignError::BareLineEnd);
    assert_eq!(
        refused(" To: x\r\nFrom: y\r\n\r\n"),
        SignError::BeginsWithSpace
    );
    assert_eq!(
        refused("From: a\r\nfrom: b\r\n\r\n"),
        SignError::SeveralFrom
    );
    assert!(SigningIdentity::new(&key, "a..b", "ed").is_err());
    assert!(SigningIdentity::new(&key, "a.example", "").is_err());
    for bad in ["Received", "return-path", "a b", "", "a:b", "a;b"] {
        assert!(FieldChoice::new(&[bad], &[]).is_err(), "{bad}");
    }
    let options = SigningOptions {
        fields: FieldChoice::new(&["Subject", "X-Mine"], &["x-mine"]).unwrap(),
        ..SigningOptions::default()
    };
    let keys = [(&key, "a.example", "ed")];
    let message = MESSAGE.replace("To:", "X-Mine: 1\r\nTo:");
    let message = sign_with(message.as_bytes(), &keys, &options);
    let text = String::from_utf8(message.clone()).unwrap();
    assert!(
        text.contains("h=From:Subject:X-Mine:From:x-mine;"),
        "{text}"
    );
    assert_eq!(outcome(&message, &zone()), Ok(()));
    assert_eq!(outcome(&replace(&message, "To:", "Cc:"), &zone()), Ok(()));
    let changed = replace(&message, "X-Mine: 1", "X-Mine: 1\r\nX-Mine: 2");
    assert_eq!(outcome(&changed, &zone()), Err(Problem::Mismatch));
}

/// Messages of all sorts: folds, odd white space, no body, no last line end.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let value = prop::collection::vec(
        prop_oneof![
            Just(" "),
            Just("\t"),
            Just("\r\n "),
            Just("word"),
            Just("x"),
            Just(":"),
            Just(";"),
            Just("\u{e4}")
        ],
        0..8,
    );
    let name = prop_oneof![
        Just("To"),
        Just("Subject"),
        Just("subject "),
        Just("X"),
        Just("Date"),
        Just("Received")
    ];
    let field = (name, value).prop_map(|(name, value)| format!("{name}:{}\r\n", value.concat()));
    let body = prop::collection::vec(
        prop_oneof![
            Just(" "),
            Just("\t"),
            Just("\r\n"),
            Just("text"),
            Just("  "),
            Just("."),
            Just("\r"),
            Just("\n")
        ],
        0..30,
    );
    (prop::collection::vec(field, 0..6), body).prop_map(|(fields, body)| {
        format!(
            "From: joe@a.example\r\n{}\r\n{}",
            fields.concat(),
            body.concat()
        )
        .into_bytes()
    })
}

fn canons() -> impl Strategy<Value = (Canon, Canon)> {
    let canon = || prop_oneof![Just(Canon::Simple), Just(Canon::Relaxed)];
    (canon(), canon())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn signed_messages_verify_in_any_blocks(
        message in messages(),
        (header_canon, body_canon) in canons(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let key = ed25519();
        let options = SigningOptions { header_canon, body_canon, ..SigningOptions::default() };
        let signed = sign_with(&message, &[(&key, "a.example", "ed")], &options);
        let whole = verify(&signed, &zone());
        prop_assert_eq!(whole.signatures[0].outcome, Ok(()));
        let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(signed.len())).collect();
        cuts.sort_unstable();
        prop_assert_eq!(verify_in_blocks(&signed, &cuts, &zone()), whole);
    }

    #[test]
    fn any_octet_changed_is_noticed_or_forgiven(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut message = signed();
        let at = at.index(message.len());
        let from = std::mem::replace(&mut message[at], to);
        let found = verify(&message, &zone());
        if found.result() == DkimResult::Pass && from != to {
            // Forgiven are letter case of names, white space, and the bits of base64 before
            // its padding that stand for nothing.
            let white = |b: u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
            prop_assert!(
                from.eq_ignore_ascii_case(&to)
                    || (white(from) && white(to))
                    || message.get(at + 1) == Some(&b'='),
                "{} -> {} at {}", from, to, at
            );
        }
    }

    #[test]
    fn anything_gets_a_verdict(message in prop::collection::vec(any::<u8>(), 0..400)) {
        let found = verify(&message, &zone());
        prop_assert_eq!(found.result(), DkimResult::None);
    }
}

#[test]
fn every_prefix_gets_a_verdict() {
    let message = signed();
    let whole = verify(&message, &zone());
    for cut in 0..=message.len() {
        let found = verify(&message[..cut], &zone());
        assert!(
            cut == message.len() || cut + 2 == message.len() || found.result() != DkimResult::Pass,
            "{cut}"
        );
        assert_eq!(verify_in_blocks(&message, &[cut], &zone()), whole);
    }
}
