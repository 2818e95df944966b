//! The same messages judged by authheaders (DKIM, ARC, DMARC in one Authentication-Results field):
//! its field is read by our parser, and every result in it is ours.
//!
//! Needs a Python with `pip install authheaders dkimpy pynacl authres`; see tests/oracle.rs.
//!
//! Left out, as it is not the RFC's: the policy word that it reports (that of subdomains even for
//! the domain itself), and messages with several signatures (it looks at one).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::oracle::Oracle;
use common::{NOW, Zone, ed25519, replace, rsa, run, seal, sign, verify};
use sender_auth::arc::Validation;
use sender_auth::authres::AuthResults;
use sender_auth::dkim::KeyRecord;
use sender_auth::dmarc::{Dmarc, DmarcRequest, Method};
use sender_auth::lookup::drive;
use serde_json::json;

/// Domains and their policies; the first has none. Under suffixes that its list knows: of any other
/// domain it takes the last label for the organization's.
const POLICIES: [(&str, &str); 6] = [
    ("example.com", ""),
    ("example.net", "v=DMARC1; p=reject; sp=none"),
    ("example.org", "v=DMARC1; p=quarantine; adkim=s; aspf=s"),
    ("example.edu", "v=DMARC1; p=none; adkim=s"),
    ("example.co.uk", "v=DMARC1;p=none;aspf=s;"),
    ("example.info", "v=DMARC1; sp=reject"),
];

#[test]
fn results_of_whole_messages() {
    let (key, ed) = (rsa(), ed25519());
    let mut zone = Zone::default();
    let mut rows = serde_json::Map::new();
    for (domain, policy) in POLICIES {
        for (selector, key) in [("s", &key), ("ed", &ed)] {
            for domain in [domain.to_owned(), format!("sub.{domain}")] {
                zone = zone.with_key(selector, &domain, key);
                let text = KeyRecord::new(key.public()).to_text();
                rows.insert(format!("{selector}._domainkey.{domain}"), json!(text));
            }
        }
        if !policy.is_empty() {
            let name = format!("_dmarc.{domain}");
            zone = zone.with(&name, policy);
            rows.insert(name, json!(policy));
        }
    }
    let Some(mut oracle) = Oracle::start("authheaders, authres, dkim, nacl", rows.into()) else {
        return;
    };
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for (number, (domain, _)) in POLICIES.iter().enumerate() {
        let other = POLICIES[(number + 1) % POLICIES.len()].0;
        let sub = format!("sub.{domain}");
        for author in [domain, sub.as_str()] {
            let mail = format!("From: Joe <joe@{author}>\r\nSubject: one\r\n\r\nHi\r\n");
            for signer in [domain, sub.as_str(), other] {
                for (spf, sender) in [
                    ("pass", *domain),
                    ("pass", &sub),
                    ("pass", other),
                    ("fail", domain),
                ] {
                    let (key, selector) = [(&key, "s"), (&ed, "ed")][number % 2];
                    let good = sign(mail.as_bytes(), key, signer, selector);
                    let broken = replace(&good, "\r\nHi", "\r\nHo");
                    for message in [good, broken] {
                        let dkim = verify(&message, &zone);
                        let request = DmarcRequest {
                            author: author.to_owned(),
                            spf: (spf == "pass").then(|| sender.to_owned()),
                            dkim: dkim.passing_domains().map(str::to_owned).collect(),
                            unsure: false,
                            sample: 0,
                        };
                        let mut check = Dmarc::new(request, Method::TreeWalk);
                        let ours = drive(&mut check, |question| zone.ask(question)).unwrap();
                        let how =
                            json!({"spf": spf, "mail_from": format!("joe@{sender}"), "arc": false});
                        let field = oracle.ask("authenticate", &message, how);
                        let value = field.as_str().unwrap().split_once(':').unwrap().1;
                        let theirs = AuthResults::parse(value.as_bytes()).unwrap();
                        assert_eq!(theirs.authserv_id, "mx.oracle.example");
                        let found = |method: &str| {
                            let one = theirs.results.iter().find(|one| one.method == method);
                            one.unwrap_or_else(|| panic!("no {method}: {value}"))
                        };
                        let what = format!("{author} {signer} {spf} {sender}: {value} {ours:?}");
                        assert_eq!(found("spf").result, spf, "{what}");
                        assert_eq!(found("dkim").result, dkim.result().as_str(), "{what}");
                        assert_eq!(found("dkim").get("header", "d"), Some(signer), "{what}");
                        assert_eq!(found("dmarc").result, ours.result.as_str(), "{what}");
                        *seen.entry(found("dmarc").result.to_string()).or_default() += 1;
                    }
                }
            }
        }
    }
    // Every result came up.
    assert!(
        seen.len() == 3 && seen.values().all(|count| *count > 20),
        "{seen:?}"
    );
}

#[test]
fn chains() {
    let key = rsa();
    let names = ["s._domainkey.one.example", "s._domainkey.two.example"];
    let text = KeyRecord::new(key.public()).to_text();
    let rows = names.map(|name| (name.to_owned(), json!(text)));
    let rows = serde_json::Map::from_iter(rows);
    let Some(mut oracle) = Oracle::start("authheaders, authres, dkim, nacl", rows.into()) else {
        return;
    };
    let zone =
        Zone::default()
            .with_key("s", "one.example", &key)
            .with_key("s", "two.example", &key);
    let mail = b"From: <joe@one.example>\r\nTo: <ann@two.example>\r\nSubject: one\r\n\r\nHi\r\n";
    let signed = sign(mail, &key, "one.example", "s");
    let one = seal(&signed, &key, "one.example", "s", &zone);
    let two = seal(&one, &key, "two.example", "s", &zone);
    for (message, expected) in [
        (&signed, "none"),
        (&one, "pass"),
        (&two, "pass"),
        (&replace(&two, "Subject: one", "Subject: two"), "fail"),
        (&replace(&two, "i=1; a=rsa", "i=3; a=rsa"), "fail"),
    ] {
        let how = json!({"spf": "pass", "mail_from": "joe@one.example", "arc": true});
        let field = oracle.ask("authenticate", message, how);
        let value = field.as_str().unwrap().split_once(':').unwrap().1;
        let theirs = AuthResults::parse(value.as_bytes()).unwrap();
        let found = theirs
            .results
            .iter()
            .find(|one| one.method == "arc")
            .unwrap();
        assert_eq!(found.result, expected, "{value}");
        let ours = run(Validation::new(), message, &zone, NOW);
        assert_eq!(ours.status.as_str(), expected, "{ours:?}");
    }
}
