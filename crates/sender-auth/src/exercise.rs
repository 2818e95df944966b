//! What the fuzz targets call, and the tests too: each function gives foreign octets to one
//! parser or mechanism and checks what must hold for any input. They panic when it does not.
#![allow(clippy::panic, clippy::expect_used)]

use crate::arc::{SealPreparation, Validation};
use crate::authres::{AuthResults, parse_arc, without_forged};
use crate::batv::Batv;
use crate::crypto::SigningKey;
use crate::dkim::rotation::KeyRing;
use crate::dkim::{
    KeyRecord, Limits, Signature, Signing, SigningIdentity, SigningOptions, Verification,
};
use crate::header_block::HeaderBlock;
use crate::lookup::{Answer, Check, Need, Record, drive};
use crate::pass::{Mechanism, Pass};
use crate::secrets::Secrets;
use crate::srs::Srs;
use std::fmt::Debug;

const NOW: i64 = 1_767_225_600;

/// Runs a message through a mechanism, cut into blocks of this length, answering every
/// question with this text.
fn run<M: Mechanism>(mechanism: M, message: &[u8], block: usize, text: &[u8]) -> M::Verdict {
    let mut pass = Pass::new(mechanism);
    for piece in message.chunks(block.max(1)) {
        pass.feed(piece);
        while let Need::Lookup(question) = pass.poll() {
            pass.answer(
                &question,
                &Answer::Records(vec![Record::Txt(text.to_vec())]),
            );
        }
    }
    pass.end(NOW);
    drive(&mut pass, |_| {
        Answer::Records(vec![Record::Txt(text.to_vec())])
    })
    .expect("a message that has ended has a verdict")
}

fn same_in_blocks<M: Mechanism>(make: impl Fn() -> M, message: &[u8], text: &[u8])
where
    M::Verdict: PartialEq + Debug,
{
    let whole = run(make(), message, message.len(), text);
    for block in [1, 2, 7, 61] {
        assert_eq!(
            run(make(), message, block, text),
            whole,
            "blocks of {block}"
        );
    }
}

/// The first line is the text of every key record, the rest a message.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', data) {
        Some(at) => (
            data.get(..at).unwrap_or_default(),
            data.get(at + 1..).unwrap_or_default(),
        ),
        None => (&[], data),
    }
}

/// A message with DKIM signatures: one verdict in whatever blocks it comes.
pub fn dkim_message(data: &[u8]) {
    let (text, message) = split(data);
    same_in_blocks(|| Verification::new(Limits::default()), message, text);
}

/// A message that is signed here verifies here.
pub fn dkim_sign(data: &[u8]) {
    let Ok(key) = SigningKey::from_ed25519_seed(&[7; 32]) else {
        return;
    };
    let Ok(identity) = SigningIdentity::new(&key, "a.example", "s") else {
        return;
    };
    let identities = [identity];
    let options = SigningOptions::default();
    let signing = || Signing::new(&identities, &options);
    let Ok(mut signed) = run(signing(), data, data.len(), &[]) else {
        return;
    };
    signed.extend_from_slice(data);
    let record = KeyRecord::new(key.public()).to_text();
    let found = run(
        Verification::new(Limits::default()),
        &signed,
        61,
        record.as_bytes(),
    );
    let own = found.signatures.first().expect("our own signature");
    assert_eq!(own.outcome, Ok(()), "{own:?}");
}

/// The value of a DKIM-Signature field, a key record, and the file of a key ring.
pub fn dkim_texts(data: &[u8]) {
    let _ = Signature::parse(data);
    if let Ok(record) = KeyRecord::parse(data) {
        let again = KeyRecord::parse(record.to_text().as_bytes());
        assert_eq!(again.as_ref(), Ok(&record));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(ring) = KeyRing::parse(text)
    {
        assert_eq!(KeyRing::parse(&ring.to_text()), Ok(ring));
    }
}

/// A message with a chain, and one more set on it.
pub fn arc_message(data: &[u8]) {
    let (text, message) = split(data);
    same_in_blocks(Validation::with_oldest_pass, message, text);
    let Ok(key) = SigningKey::from_ed25519_seed(&[7; 32]) else {
        return;
    };
    let Ok(identity) = SigningIdentity::new(&key, "a.example", "s") else {
        return;
    };
    let sealable = run(SealPreparation::new(), message, 61, text);
    let _ = sealable.seal(&identity, &AuthResults::default(), NOW);
}

/// The value of an Authentication-Results field, and a header that may have forged ones.
pub fn authres_field(data: &[u8]) {
    if let Ok(read) = AuthResults::parse(data) {
        let field = read.to_field();
        let (_, value) = field.split_once(':').expect("a field has a colon");
        let again = AuthResults::parse(value.as_bytes()).expect("what we write we read");
        assert_eq!(again.results.len(), read.results.len());
    }
    let _ = parse_arc(data);
    if let Ok(header) = HeaderBlock::parse(data.to_vec()) {
        let once = without_forged(&header, &["mx.example"]);
        let header = HeaderBlock::parse(once.clone()).expect("not longer than before");
        assert_eq!(without_forged(&header, &["mx.example"]), once);
    }
}

/// Local parts that come back to us: SRS and BATV.
pub fn srs_address(data: &[u8]) {
    let secret = || vec![b"0123456789abcdef".to_vec()];
    let local = String::from_utf8_lossy(data);
    let Ok(secrets) = Secrets::new(secret()) else {
        return;
    };
    if let Ok(srs) = Srs::new("us.example", secrets) {
        let _ = srs.reverse(&local, NOW);
        if let Ok(there) = srs.forward(&local, "them.example", NOW) {
            let back = srs.reverse(&there.local, NOW);
            assert!(back.is_ok(), "{there} {back:?}");
        }
    }
    if let Ok(batv) = Batv::new(secret(), 0) {
        let _ = batv.check(&local, "us.example", NOW);
        let tagged = batv.tag(&local, "us.example", NOW);
        if !local.is_empty() {
            assert_eq!(batv.check(&tagged, "us.example", NOW), Ok(&*local));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text that is more often nearly right than random octets are.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|b| vec![b]),
            prop::sample::select(vec![
                "\r\n",
                "\n",
                ";",
                "=",
                ":",
                " ",
                "\"",
                "(",
                ")",
                "\\",
                "i=1",
                "i=2",
                "v=1; ",
                "a=ed25519-sha256; ",
                "a=rsa-sha256; ",
                "b=AAAA; ",
                "bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; ",
                "d=a.example; ",
                "s=s; ",
                "h=from:to; ",
                "c=relaxed/simple; ",
                "cv=none; ",
                "cv=pass; ",
                "l=3; ",
                "DKIM-Signature: ",
                "ARC-Seal: ",
                "ARC-Message-Signature: ",
                "ARC-Authentication-Results: ",
                "Authentication-Results: ",
                "mx.example; ",
                "From: a@b\r\n",
                "\r\n\r\n",
                "v=DKIM1; k=ed25519; p=",
                "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
                "dkim=pass ",
                "header.d=",
                "SRS0=",
                "SRS1=",
                "prvs=",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn holds_for_anything(data in texts()) {
            dkim_message(&data);
            dkim_sign(&data);
            dkim_texts(&data);
            arc_message(&data);
            authres_field(&data);
            srs_address(&data);
        }
    }
}
