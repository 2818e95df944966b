//! TLSA records against certificates made for the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use sender_auth::dane::{DaneMatch, Tlsa, certificates, match_chain, public_key, usable};
use sender_auth::lookup::Record;

struct Made {
    der: Vec<u8>,
    pem: String,
    key: Vec<u8>,
}

fn made(name: &str) -> Made {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Made {
        der: certificate.der().to_vec(),
        pem: certificate.pem(),
        key: key.subject_public_key_info(),
    }
}

fn tlsa(usage: u8, selector: u8, matching: u8, data: &[u8]) -> Record {
    Record::Tlsa {
        usage,
        selector,
        matching,
        data: data.to_vec(),
    }
}

#[test]
fn keys_are_found() {
    let one = made("mx.a.example");
    assert_eq!(public_key(&one.der).unwrap(), one.key);
    assert_eq!(
        certificates(format!("x\n{0}{0}", one.pem).as_bytes()),
        [one.der.clone(), one.der]
    );
}

#[test]
fn usages() {
    let (own, anchor, other) = (made("mx.a.example"), made("ca.example"), made("x.example"));
    let chain = [own.der.as_slice(), anchor.der.as_slice()];
    let hash = Tlsa::for_host(&own.der).unwrap().data;
    let anchor_hash = Tlsa::for_host(&anchor.der).unwrap().data;
    let wrong = Tlsa::for_host(&other.der).unwrap().data;
    for (records, expected) in [
        (vec![], DaneMatch::Unusable),
        (vec![tlsa(3, 1, 1, &hash)], DaneMatch::Host),
        (vec![tlsa(3, 1, 0, &own.key)], DaneMatch::Host),
        (vec![tlsa(3, 0, 0, &own.der)], DaneMatch::Host),
        (vec![tlsa(3, 0, 1, &hash)], DaneMatch::None),
        (vec![tlsa(3, 1, 1, &wrong)], DaneMatch::None),
        (
            vec![tlsa(3, 1, 1, &wrong), tlsa(3, 1, 1, &hash)],
            DaneMatch::Host,
        ),
        (vec![tlsa(2, 1, 1, &anchor_hash)], DaneMatch::Anchor(1)),
        (vec![tlsa(2, 0, 0, &anchor.der)], DaneMatch::Anchor(1)),
        // A host's usage does not fit a certificate above it.
        (vec![tlsa(3, 1, 1, &anchor_hash)], DaneMatch::None),
        // Of no use between mail hosts, of unknown numbers, of a wrong length.
        (vec![tlsa(1, 1, 1, &hash)], DaneMatch::Unusable),
        (vec![tlsa(0, 1, 1, &hash)], DaneMatch::Unusable),
        (vec![tlsa(4, 1, 1, &hash)], DaneMatch::Unusable),
        (vec![tlsa(3, 2, 1, &hash)], DaneMatch::Unusable),
        (vec![tlsa(3, 1, 3, &hash)], DaneMatch::Unusable),
        (vec![tlsa(3, 1, 1, &hash[..31])], DaneMatch::Unusable),
        (vec![tlsa(3, 1, 2, &hash)], DaneMatch::Unusable),
        (vec![tlsa(3, 1, 0, &[])], DaneMatch::Unusable),
        (
            vec![tlsa(1, 1, 1, &hash), tlsa(3, 1, 1, &hash)],
            DaneMatch::Host,
        ),
        // The stronger digest decides where there are both.
        (
            vec![tlsa(3, 1, 1, &hash), tlsa(3, 1, 2, &[0; 64])],
            DaneMatch::None,
        ),
    ] {
        assert_eq!(
            match_chain(&usable(&records), &chain),
            expected,
            "{records:?}"
        );
    }
    assert_eq!(
        match_chain(&usable(&[tlsa(3, 1, 1, &hash)]), &[]),
        DaneMatch::None
    );
    let text = Tlsa::for_host(&own.der).unwrap().to_text();
    assert!(text.starts_with("3 1 1 ") && text.len() == 70, "{text}");
}

#[test]
fn cut_certificates_have_no_key() {
    let one = made("mx.a.example");
    for cut in 0..one.der.len() {
        assert_eq!(public_key(&one.der[..cut]), None);
    }
}

proptest! {
    #[test]
    fn anything_goes_in(mut at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)) {
        static DER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| made("a.example").der);
        let mut der = DER.clone();
        for (index, b) in at.drain(..) {
            let place = index.index(der.len());
            der[place] = b;
        }
        let _ = public_key(&der);
        let _ = match_chain(&usable(&[tlsa(2, 1, 1, &[0; 32])]), &[&der]);
    }
}
