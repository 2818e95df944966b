//! What the tests of this folder share: keys, a zone as a table, one call per mechanism.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod oracle;

use sender_auth::crypto::SigningKey;
use sender_auth::dkim::{KeyRecord, Limits, Verification, Verified, Verifier};
use sender_auth::lookup::{Answer, Check, Question, Record, drive};
use sender_auth::pass::{Mechanism, Pass};
use std::collections::HashMap;

/// The time of all tests that don't say another: 1 January 2026.
pub const NOW: i64 = 1_767_225_600;

/// Text records by name.
#[derive(Debug, Default, Clone)]
pub struct Zone(HashMap<String, Vec<String>>);

impl Zone {
    pub fn with(mut self, name: &str, text: &str) -> Self {
        self.0
            .entry(name.to_owned())
            .or_default()
            .push(text.to_owned());
        self
    }

    pub fn with_key(self, selector: &str, domain: &str, key: &SigningKey) -> Self {
        let name = format!("{selector}._domainkey.{domain}");
        self.with(&name, &KeyRecord::new(key.public()).to_text())
    }

    pub fn ask(&self, question: &Question) -> Answer {
        match question {
            Question::Txt(name) => self.0.get(name).map_or(Answer::NxDomain, |texts| {
                let record = |text: &String| Record::Txt(text.clone().into_bytes());
                Answer::Records(texts.iter().map(record).collect())
            }),
            _ => Answer::NoData,
        }
    }
}

pub fn ed25519() -> SigningKey {
    SigningKey::from_pem(include_bytes!("../keys/ed25519.pem")).unwrap()
}

pub fn rsa() -> SigningKey {
    SigningKey::from_pem(include_bytes!("../keys/rsa-2048.pem")).unwrap()
}

/// A text written with LF line ends as it goes over the wire.
pub fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// Runs a whole message through a mechanism.
pub fn run<M: Mechanism>(mechanism: M, message: &[u8], zone: &Zone, now: i64) -> M::Verdict {
    let mut pass = Pass::new(mechanism);
    pass.feed(message);
    pass.end(now);
    drive(&mut pass, |question| zone.ask(question)).unwrap()
}

pub fn verify(message: &[u8], zone: &Zone) -> Verified {
    verify_with(message, zone, Limits::default(), NOW)
}

pub fn verify_with(message: &[u8], zone: &Zone, limits: Limits, now: i64) -> Verified {
    run(Verification::new(limits), message, zone, now)
}

/// The same in blocks that end at these places.
pub fn verify_in_blocks(message: &[u8], cuts: &[usize], zone: &Zone) -> Verified {
    let mut pass = Verifier::new(Verification::new(Limits::default()));
    let mut from = 0;
    for cut in cuts.iter().copied().chain([message.len()]) {
        pass.feed(&message[from..cut]);
        // Questions are served as soon as they come up.
        while let sender_auth::lookup::Need::Lookup(question) = pass.poll() {
            let answer = zone.ask(&question);
            pass.answer(&question, &answer);
        }
        from = cut;
    }
    pass.end(NOW);
    drive(&mut pass, |question| zone.ask(question)).unwrap()
}

/// Signs with default options and puts the fields on top.
pub fn sign(message: &[u8], key: &SigningKey, domain: &str, selector: &str) -> Vec<u8> {
    let options = sender_auth::dkim::SigningOptions::default();
    sign_with(message, &[(key, domain, selector)], &options)
}

/// Signs with several keys at once.
pub fn sign_with(
    message: &[u8],
    keys: &[(&SigningKey, &str, &str)],
    options: &sender_auth::dkim::SigningOptions,
) -> Vec<u8> {
    use sender_auth::dkim::{Signing, SigningIdentity};
    let identities: Vec<SigningIdentity<'_>> = keys
        .iter()
        .map(|(key, domain, selector)| SigningIdentity::new(key, domain, selector).unwrap())
        .collect();
    let signing = Signing::new(&identities, options);
    let mut signed = run(signing, message, &Zone::default(), NOW).unwrap();
    signed.extend_from_slice(message);
    signed
}

/// Adds a set to the message's chain and puts it on top.
pub fn seal(
    message: &[u8],
    key: &SigningKey,
    domain: &str,
    selector: &str,
    zone: &Zone,
) -> Vec<u8> {
    use sender_auth::arc::SealPreparation;
    use sender_auth::authres::{AuthResults, arc_result};
    use sender_auth::dkim::SigningIdentity;
    let sealable = run(SealPreparation::new(), message, zone, NOW);
    let results = AuthResults {
        authserv_id: format!("mx.{domain}"),
        results: vec![arc_result(&sealable.chain)],
    };
    let identity = SigningIdentity::new(key, domain, selector).unwrap();
    let mut sealed = sealable.seal(&identity, &results, NOW).unwrap();
    sealed.extend_from_slice(message);
    sealed
}

/// Replaces the first occurrence.
pub fn replace(message: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = memchr::memmem::find(message, from.as_bytes())
        .unwrap_or_else(|| panic!("{from} is not in the message"));
    [&message[..at], to.as_bytes(), &message[at + from.len()..]].concat()
}
