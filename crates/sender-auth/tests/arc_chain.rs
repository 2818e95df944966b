//! Chains: made, changed on the way, broken in every way that has a name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{NOW, Zone, ed25519, replace, rsa, run, seal, sign};
use proptest::prelude::*;
use sender_auth::arc::{
    ChainProblem, ChainStatus, ChainVerdict, SealError, SealPreparation, Validation,
};
use sender_auth::authres::{AuthResults, arc_result};
use sender_auth::crypto::SigningKey;
use sender_auth::dkim::SigningIdentity;
use sender_auth::dkim::key_record::KeyProblem;
use sender_auth::dkim::signature::SignatureProblem;
use sender_auth::dkim::verify::Problem;
use sender_auth::lookup::{Answer, drive};
use sender_auth::pass::Pass;

const MESSAGE: &str = "From: Joe <joe@a.example>\r\nTo: list@b.example\r\nSubject: One\r\n\r\n\
                       First line\r\nSecond line\r\n";

fn zone() -> Zone {
    Zone::default()
        .with_key("s", "one.example", &ed25519())
        .with_key("s", "two.example", &rsa())
        .with_key("s", "three.example", &ed25519())
        .with_key("s", "a.example", &ed25519())
}

fn validate(message: &[u8]) -> ChainVerdict {
    run(Validation::with_oldest_pass(), message, &zone(), NOW)
}

/// A list that changes subject and body, then two hosts that change nothing.
fn chain() -> Vec<u8> {
    let signed = sign(MESSAGE.as_bytes(), &ed25519(), "a.example", "s");
    let one = seal(&signed, &ed25519(), "one.example", "s", &zone());
    let changed = replace(&one, "Subject: One", "Subject: [list] One");
    let changed = [&changed[..], b"-- \r\nfooter\r\n"].concat();
    let preparation = SealPreparation::changed_since(validate(&one));
    let sealable = run(preparation, &changed, &zone(), NOW);
    let results = AuthResults {
        authserv_id: "mx.two.example".to_owned(),
        results: vec![arc_result(&sealable.chain)],
    };
    let key = rsa();
    let identity = SigningIdentity::new(&key, "two.example", "s").unwrap();
    let set = sealable.seal(&identity, &results, NOW).unwrap();
    let two = [&set[..], &changed[..]].concat();
    seal(&two, &ed25519(), "three.example", "s", &zone())
}

#[test]
fn a_chain_holds_over_changes() {
    let none = validate(MESSAGE.as_bytes());
    assert_eq!(none.status, ChainStatus::None);
    let found = validate(&chain());
    assert_eq!(found.status, ChainStatus::Pass);
    assert_eq!(
        found.domains,
        ["one.example", "two.example", "three.example"]
    );
    assert_eq!(found.oldest_pass, Some(2));
    assert_eq!(arc_result(&found).get("header", "oldest-pass"), Some("2"));
    // A chain under which nothing was changed.
    let one = seal(MESSAGE.as_bytes(), &ed25519(), "one.example", "s", &zone());
    assert_eq!(validate(&one).oldest_pass, Some(0));
    assert_eq!(run(Validation::new(), &one, &zone(), NOW).oldest_pass, None);
}

#[test]
fn what_is_sealed_cannot_change() {
    let message = chain();
    for (from, to, problem) in [
        (
            "[list] One",
            "[list] Two",
            ChainProblem::Message(3, Problem::Mismatch),
        ),
        (
            "footer",
            "Footer",
            ChainProblem::Message(3, Problem::BodyHash),
        ),
        // The first set's results: every seal covers them.
        (
            "mx.one.example",
            "mx.One.example",
            ChainProblem::Seal(1, Problem::Mismatch),
        ),
        // The second set's: its own seal is the first to cover them.
        (
            "mx.two.example",
            "mx.Two.example",
            ChainProblem::Seal(2, Problem::Mismatch),
        ),
        (
            "i=3; a=ed25519-sha256; cv=pass",
            "i=3; a=ed25519-sha256; cv=none",
            ChainProblem::WrongValidation(3),
        ),
        ("cv=none", "cv=pass", ChainProblem::WrongValidation(1)),
        ("cv=pass", "cv=fail", ChainProblem::SealedAsFailed(3)),
        (
            "cv=pass",
            "cv=maybe",
            ChainProblem::MalformedSeal(3, SignatureProblem::Value("cv")),
        ),
        ("To: list", "X: y\rTo: list", ChainProblem::BareLineEnd),
        ("ARC-Seal: i=1", "ARC-Seal: i=0", ChainProblem::BadInstance),
        ("ARC-Seal: i=1", "ARC-Seal: i=2", ChainProblem::Duplicate(2)),
        ("ARC-Seal: i=1", "ARC-Seal: i=4", ChainProblem::Incomplete),
        ("ARC-Seal: i=1", "X-Seal: i=1", ChainProblem::Incomplete),
        (
            "ARC-Message-Signature: i=2",
            "X: i=2",
            ChainProblem::Incomplete,
        ),
        (
            "ARC-Authentication-Results: i=2",
            "X: i=2",
            ChainProblem::Incomplete,
        ),
        (
            "ARC-Authentication-Results: i=2",
            "ARC-Authentication-Results: j=2",
            ChainProblem::BadInstance,
        ),
    ] {
        let changed = replace(&message, from, to);
        let found = validate(&changed);
        assert_eq!(found.status, ChainStatus::Fail(problem), "{from} -> {to}");
        assert_eq!(found.status.as_str(), "fail");
        assert!(found.domains.is_empty() || found.oldest_pass.is_none());
    }
    // Older message signatures may be broken, as the chain is about them.
    let older = replace(
        &message,
        "ARC-Message-Signature: i=1; a=ed25519-sha256",
        "ARC-Message-Signature: i=1; a=x",
    );
    assert_eq!(
        validate(&older).status,
        ChainStatus::Fail(ChainProblem::Seal(1, Problem::Mismatch))
    );
}

#[test]
fn message_signatures_cover_no_seals() {
    let message = seal(MESSAGE.as_bytes(), &ed25519(), "one.example", "s", &zone());
    let changed = replace(&message, "h=From:", "h=arc-seal:From:");
    assert_eq!(
        validate(&changed).status,
        ChainStatus::Fail(ChainProblem::Message(
            1,
            Problem::Signature(SignatureProblem::ForbiddenName)
        ))
    );
}

#[test]
fn keys_decide() {
    let message = chain();
    let with = |answer: &dyn Fn(&str) -> Option<Answer>| {
        let mut pass = Pass::new(Validation::new());
        pass.feed(&message);
        pass.end(NOW);
        let asked = std::cell::Cell::new(0);
        let found = drive(&mut pass, |question| {
            asked.set(asked.get() + 1);
            answer(question.name().unwrap()).unwrap_or_else(|| zone().ask(question))
        });
        assert_eq!(asked.get(), 3);
        found.unwrap().status
    };
    assert_eq!(with(&|_| None), ChainStatus::Pass);
    assert_eq!(with(&|_| Some(Answer::TempFail)), ChainStatus::TempError);
    let one = |name: &str| name.ends_with("two.example");
    assert_eq!(
        with(&|name| one(name).then_some(Answer::TempFail)),
        ChainStatus::TempError
    );
    assert_eq!(
        with(&|name| one(name).then_some(Answer::NxDomain)),
        ChainStatus::Fail(ChainProblem::Seal(2, Problem::NoKey))
    );
    assert_eq!(
        with(
            &|name| one(name).then_some(Answer::Records(vec![sender_auth::lookup::Record::Txt(
                b"k=ed25519; p=".to_vec()
            )]))
        ),
        ChainStatus::Fail(ChainProblem::Seal(2, Problem::Key(KeyProblem::Revoked)))
    );
}

fn sealing(message: &[u8], key: &SigningKey) -> Result<Vec<u8>, SealError> {
    let sealable = run(SealPreparation::new(), message, &zone(), NOW);
    let identity = SigningIdentity::new(key, "one.example", "s").unwrap();
    sealable.seal(&identity, &AuthResults::default(), NOW)
}

#[test]
fn a_broken_chain_is_sealed_once_as_broken() {
    let key = ed25519();
    let broken = replace(&chain(), "footer", "Footer");
    let set = sealing(&broken, &key).unwrap();
    let text = String::from_utf8(set.clone()).unwrap();
    assert!(
        text.starts_with("ARC-Seal: i=4; a=ed25519-sha256; cv=fail;"),
        "{text}"
    );
    let over = [&set[..], &broken[..]].concat();
    assert_eq!(
        validate(&over).status,
        ChainStatus::Fail(ChainProblem::SealedAsFailed(4))
    );
    assert_eq!(sealing(&over, &key), Err(SealError::Over));
    // A set is missing: the next number after the highest is taken.
    let holes = replace(&chain(), "ARC-Seal: i=2", "X: i=2");
    let text = String::from_utf8(sealing(&holes, &key).unwrap()).unwrap();
    assert!(
        text.starts_with("ARC-Seal: i=4; a=ed25519-sha256; cv=fail;"),
        "{text}"
    );
    assert_eq!(sealing(b"To: x\r\n\r\n", &key), Err(SealError::NoFrom));
    assert_eq!(
        sealing(b"From: x\n y\r\n\r\n", &key),
        Err(SealError::BareLineEnd)
    );
    assert_eq!(
        sealing(b"\tTo: x\r\nFrom: x\r\n\r\n", &key),
        Err(SealError::BeginsWithSpace)
    );
}

/// A field of ours in relaxed form, by plain means.
fn relaxed(field: &str) -> String {
    let (name, value) = field.split_once(':').unwrap();
    let words: Vec<&str> = value.split_whitespace().collect();
    format!("{}:{}", name.to_lowercase(), words.join(" "))
}

#[test]
fn the_seal_of_a_broken_chain_covers_its_own_set_alone() {
    let key = ed25519();
    let broken = replace(&chain(), "footer", "Footer");
    let set = String::from_utf8(sealing(&broken, &key).unwrap()).unwrap();
    let (seal, rest) = set.split_once("ARC-Message-Signature:").unwrap();
    let (message, results) = rest.split_once("ARC-Authentication-Results:").unwrap();
    let (unsigned, signature) = seal.split_once("b=").unwrap();
    let signature: String = signature.split_whitespace().collect();
    let octets = format!(
        "{}\r\n{}\r\n{}",
        relaxed(&format!("ARC-Authentication-Results:{results}")),
        relaxed(&format!("ARC-Message-Signature:{message}")),
        relaxed(&format!("{unsigned}b=")),
    );
    let signature = data_encoding::BASE64.decode(signature.as_bytes()).unwrap();
    assert!(
        key.public().verifies(octets.as_bytes(), &signature),
        "{octets}"
    );
}

#[test]
fn fifty_sets() {
    let key = ed25519();
    let mut message = MESSAGE.as_bytes().to_vec();
    for count in 1..=50 {
        message = seal(&message, &key, "one.example", "s", &zone());
        if count >= 49 {
            let found = run(Validation::new(), &message, &zone(), NOW);
            assert_eq!(found.status, ChainStatus::Pass);
            assert_eq!(found.domains.len(), count);
        }
    }
    assert_eq!(sealing(&message, &key), Err(SealError::Full));
    let more = [
        &b"ARC-Seal: i=51\r\nARC-Message-Signature: i=51\r\nARC-Authentication-Results: i=51\r\n"[..],
        &message,
    ]
    .concat();
    assert_eq!(
        validate(&more).status,
        ChainStatus::Fail(ChainProblem::TooManySets)
    );
    let bomb = b"ARC-Seal: i=1\r\n".repeat(5_000);
    let bomb = [&bomb[..], &message].concat();
    assert_eq!(
        validate(&bomb).status,
        ChainStatus::Fail(ChainProblem::TooManySets)
    );
}

#[test]
fn sealing_waits_for_answers() {
    let mut pass = Pass::new(SealPreparation::new());
    pass.feed(&chain());
    pass.end(NOW);
    let sealable = drive(&mut pass, |_| Answer::TempFail).unwrap();
    let key = ed25519();
    let identity = SigningIdentity::new(&key, "one.example", "s").unwrap();
    assert_eq!(
        sealable.seal(&identity, &AuthResults::default(), NOW),
        Err(SealError::Unknown)
    );
}

#[test]
fn dkim_and_arc_in_one_pass() {
    let message = seal(
        &sign(MESSAGE.as_bytes(), &ed25519(), "a.example", "s"),
        &ed25519(),
        "one.example",
        "s",
        &zone(),
    );
    let both = (
        sender_auth::dkim::Verification::default(),
        Validation::new(),
    );
    let (dkim, arc) = run(both, &message, &zone(), NOW);
    assert_eq!(dkim.result().as_str(), "pass");
    assert_eq!(arc.status, ChainStatus::Pass);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_octet_changed_is_noticed_or_forgiven(
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut message = seal(MESSAGE.as_bytes(), &ed25519(), "one.example", "s", &zone());
        let at = at.index(message.len());
        let from = std::mem::replace(&mut message[at], to);
        let found = validate(&message);
        if found.status == ChainStatus::Pass && from != to {
            let white = |b: u8| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
            prop_assert!(
                from.eq_ignore_ascii_case(&to)
                    || (white(from) && white(to))
                    || message.get(at + 1) == Some(&b'='),
                "{} -> {} at {}", from, to, at
            );
        }
    }
}
