//! Messages that other implementations signed and sealed with the keys of this folder, so that
//! agreement with them is checked where they are not installed.
//!
//! `vectors/opendkim.eml`: OpenDKIM 2.11, simple/relaxed. `vectors/dkimpy-chain.eml`: dkimpy 1.1,
//! a relaxed/simple signature and two ARC sets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{NOW, Zone, replace, rsa, run, verify};
use sender_auth::arc::{ChainProblem, ChainStatus, Validation};
use sender_auth::dkim::verify::{DkimResult, Problem};

const OPENDKIM: &[u8] = include_bytes!("vectors/opendkim.eml");
const CHAIN: &[u8] = include_bytes!("vectors/dkimpy-chain.eml");

fn zone() -> Zone {
    Zone::default()
        .with_key("rsa", "a.example", &rsa())
        .with_key("s", "one.example", &rsa())
        .with_key("s", "two.example", &rsa())
}

#[test]
fn opendkim() {
    let found = verify(OPENDKIM, &zone());
    assert_eq!(found.result(), DkimResult::Pass, "{found:?}");
    let changed = replace(OPENDKIM, "Two  spaces", "Two spaces");
    assert_eq!(verify(&changed, &zone()).result(), DkimResult::Pass);
    let changed = replace(OPENDKIM, "\tby mx", " by mx");
    let found = verify(&changed, &zone());
    assert_eq!(found.signatures[0].outcome, Err(Problem::Mismatch));
}

#[test]
fn dkimpy() {
    let found = verify(CHAIN, &zone());
    assert_eq!(found.result(), DkimResult::Pass, "{found:?}");
    let chain = run(Validation::with_oldest_pass(), CHAIN, &zone(), NOW);
    assert_eq!(chain.status, ChainStatus::Pass);
    assert_eq!(chain.domains, ["one.example", "two.example"]);
    assert_eq!(chain.oldest_pass, Some(0));
    let changed = replace(CHAIN, "Subject: =", "Subject: x =");
    let chain = run(Validation::new(), &changed, &zone(), NOW);
    let problem = ChainProblem::Message(2, Problem::Mismatch);
    assert_eq!(chain.status, ChainStatus::Fail(problem));
}
