//! Signatures exchanged with other programs: what we sign and seal OpenDKIM and rspamd find good,
//! what they sign and seal we find good, and of a changed message all say that it was changed.
//!
//! Needs the programs `opendkim` and `rspamd` of the distribution. Without them a test says so and
//! passes, unless `HIKYAKU_ORACLE_REQUIRED` is set. Runs through `make check-root`, where loopback
//! is the only network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod milter;
mod opendkim;
mod rspamd;
mod us;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::{Dns, Zone};

use opendkim::OpenDkim;
use rspamd::{Client, Key, Rspamd};
use us::Us;

const FORMS: [&str; 4] = [
    "relaxed/relaxed",
    "relaxed/simple",
    "simple/relaxed",
    "simple/simple",
];

/// A header with folds and odd white space, a body with lines that the two forms see differently.
const MAIL: &str = "Received: from x by y; Sun, 1 Nov 2026 00:00:00 +0000\r\n\
    From: Joe <joe@us.example>\r\nTo:  Ann <ann@them.example>,\r\n\tBob <bob@them.example>\r\n\
    Subject: a  subject\t with   space \r\nDate: Sun, 1 Nov 2026 00:00:00 +0000\r\n\
    Message-ID: <1@us.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Transfer-Encoding: 8bit\r\nX-Other: y\r\n\r\n\
    one  two\t three \r\n.\r\n\r\n  indented\r\nGr\u{fc}\u{df}e\r\n\r\n\r\n";

/// Changes that no signature may survive: what is replaced by what.
const CHANGES: [(&str, &str, &str); 6] = [
    ("an octet of the body", "indented", "indentee"),
    ("a line more", "  indented\r\n", "  indented\r\nadded\r\n"),
    ("an octet of the header", "a  subject", "b  subject"),
    ("an octet of an address", "ann@them", "amm@them"),
    (
        "a second author",
        "\r\nDate: ",
        "\r\nFrom: <eve@us.example>\r\nDate: ",
    ),
    (
        "an octet of the date",
        "1 Nov 2026 00:00:00 +0000\r\nMessage",
        "2 Nov 2026 00:00:00 +0000\r\nMessage",
    ),
];

fn changed(message: &str) -> impl Iterator<Item = (&'static str, String)> {
    CHANGES.iter().map(move |(what, from, to)| {
        let after = message.replacen(from, to, 1);
        assert_ne!(after, message, "{what}");
        (*what, after)
    })
}

/// What ed25519.pem holds, as rspamd takes it.
const SEED: &str = "sxgWr8lH1XT99IAflF3HH7p+pKENRWV780zgaGM7bx0=";

fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../crates/sender-auth/tests/keys")
        .join(name)
        .canonicalize()
        .unwrap()
}

/// Whether a program is there.
fn installed(program: &str) -> bool {
    let there = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    assert!(
        there || std::env::var_os("HIKYAKU_ORACLE_REQUIRED").is_none(),
        "no {program}: install the package of that name"
    );
    if !there {
        eprintln!("skipped: no {program}");
    }
    there
}

/// The keys of both sides in the DNS, our records as `dkim key new` prints them.
fn start() -> (Us, Dns) {
    let dns = Dns::start(Zone::new());
    let us = Us::new(dns.address);
    let (rsa, ed) = (key("rsa-2048.pem"), key("ed25519.pem"));
    let mut zone = String::from(
        "us.example TXT \"v=spf1 ip4:192.0.2.1 -all\"\n\
         _dmarc.us.example TXT \"v=DMARC1; p=reject; sp=quarantine\"\n\
         strict.example TXT \"v=spf1 include:us.example ~all\"\n\
         _dmarc.strict.example TXT \"v=DMARC1; p=quarantine; adkim=s; aspf=s\"\n\
         them.example TXT \"v=spf1 ?all\"\n",
    );
    for domain in ["us.example", "them.example", "ed.example"] {
        for (selector, path) in [("rsa", &rsa), ("ed", &ed)] {
            zone += &us.key(domain, selector, path);
            zone.push('\n');
        }
    }
    dns.set(Zone::parse(&zone));
    us.ask("dkim key check us.example --switch", "");
    (us, dns)
}

fn sign(us: &Us, selector: &str, forms: &str) -> String {
    let path = match selector {
        "ed" => key("ed25519.pem"),
        _ => key("rsa-2048.pem"),
    };
    let path = path.display();
    let how =
        format!("dkim sign --domain us.example --selector {selector} --key {path} --canon {forms}");
    let signed = us.run(&how, MAIL);
    let signature = signed.split_once("\r\nReceived:").unwrap().0;
    assert!(!signature.contains("l="), "{signature}");
    signed
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn opendkim_both_ways() {
    if !installed("opendkim") {
        return;
    }
    let (us, dns) = start();
    let directory = us.directory.path();
    let start = |name: &str, selector: &str, forms: &str| {
        let path = key(if selector == "ed" {
            "ed25519.pem"
        } else {
            "rsa-2048.pem"
        });
        OpenDkim::start(
            directory,
            name,
            dns.address,
            ("them.example", selector, &path),
            forms,
        )
    };
    let theirs = MAIL.replace("joe@us.example", "joe@them.example");
    for (number, forms) in FORMS.iter().enumerate() {
        let other = start(&number.to_string(), "rsa", forms);
        for selector in ["rsa", "ed"] {
            let signed = sign(&us, selector, forms);
            let found = other.verify(&signed);
            assert!(
                found.contains("dkim=pass") && found.contains("header.d=us.example"),
                "{forms} {selector}: {found}\n{signed}"
            );
            for (what, message) in changed(&signed) {
                let found = other.verify(&message);
                assert!(
                    !found.contains("dkim=pass"),
                    "{forms} {selector} {what}: {found}"
                );
                assert_ne!(us.verdict("dkim", &message), "pass", "{what}");
            }
        }
        let signed = other.sign(&theirs);
        assert_eq!(us.verdict("dkim", &signed), "pass", "{signed}");
        for (what, message) in changed(&signed) {
            assert_ne!(us.verdict("dkim", &message), "pass", "{what}");
            assert!(!other.verify(&message).contains("dkim=pass"), "{what}");
        }
    }
    // Both keys at once, as a domain with two current keys signs.
    let other = start("ed", "ed", "relaxed/relaxed");
    let signed = us.run("dkim sign --domain us.example", MAIL);
    let found = other.verify(&signed);
    assert_eq!(found.matches("dkim=pass").count(), 2, "{found}");
    let signed = other.sign(&theirs);
    assert!(signed.contains("a=ed25519-sha256"), "{signed}");
    assert_eq!(us.verdict("dkim", &signed), "pass", "{signed}");
}

const CLIENT: Client<'_> = Client {
    ip: "192.0.2.1",
    mail_from: "joe@us.example",
    rcpt: "ann@nowhere.example",
    user: None,
};

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn rspamd_both_ways() {
    if !installed("rspamd") {
        return;
    }
    let (us, dns) = start();
    let rsa = key("rsa-2048.pem");
    let them = |selector, path| Key {
        domain: "them.example",
        selector,
        path,
    };
    let seed_file = us.directory.path().join("seed");
    std::fs::write(&seed_file, SEED).unwrap();
    let ed_key = Key {
        domain: "ed.example",
        selector: "ed",
        path: &seed_file,
    };
    let sign_with = [them("rsa", &rsa), ed_key];
    let other = Rspamd::start(
        us.directory.path(),
        dns.address,
        &sign_with,
        &them("rsa", &rsa),
    );

    for forms in FORMS {
        for selector in ["rsa", "ed"] {
            let signed = sign(&us, selector, forms);
            let found = other.scan(CLIENT, &signed);
            assert!(
                found.has("R_DKIM_ALLOW"),
                "{forms} {selector}: {found:?}\n{signed}"
            );
            for (what, message) in changed(&signed) {
                let found = other.scan(CLIENT, &message);
                assert!(
                    !found.has("R_DKIM_ALLOW"),
                    "{forms} {selector} {what}: {found:?}"
                );
            }
        }
    }
    let signed = us.run("dkim sign --domain us.example", MAIL);
    assert_eq!(
        other.scan(CLIENT, &signed).good(),
        ["us.example:s=ed", "us.example:s=rsa"]
    );

    for (domain, algorithm) in [
        ("them.example", "a=rsa-sha256"),
        ("ed.example", "a=ed25519-sha256"),
    ] {
        let theirs = MAIL.replace("us.example", domain);
        let mail_from = format!("joe@{domain}");
        let user = Client {
            mail_from: &mail_from,
            user: Some("joe"),
            ..CLIENT
        };
        let signed = other.scan(user, &theirs).signed(&theirs);
        assert!(signed.contains(algorithm), "{signed}");
        assert_eq!(us.verdict("dkim", &signed), "pass", "{signed}");
        for (what, message) in changed(&signed) {
            assert_ne!(us.verdict("dkim", &message), "pass", "{what}");
            let found = other.scan(CLIENT, &message);
            assert!(!found.has("R_DKIM_ALLOW"), "{what}: {found:?}");
        }
    }
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn chains_with_rspamd() {
    if !installed("rspamd") {
        return;
    }
    let (us, dns) = start();
    let rsa = key("rsa-2048.pem");
    let them = Key {
        domain: "them.example",
        selector: "rsa",
        path: &rsa,
    };
    let other = Rspamd::start(us.directory.path(), dns.address, &[], &them);
    let to_them = Client {
        rcpt: "ann@them.example",
        ..CLIENT
    };
    let seal = |message: &str| us.ask("arc seal --domain us.example", message);

    let signed = us.run("dkim sign --domain us.example", MAIL);
    // One set of each side, then of both in turn.
    let ours = seal(&signed);
    assert!(other.scan(CLIENT, &ours).has("ARC_ALLOW"), "{ours}");
    let theirs = other.scan(to_them, &signed).sealed(&signed);
    assert_eq!(us.verdict("arc", &theirs), "pass", "{theirs}");
    let second = other.scan(to_them, &ours).sealed(&ours);
    assert!(second.contains("cv=pass"), "{second}");
    assert_eq!(us.verdict("arc", &second), "pass", "{second}");
    let third = seal(&second);
    assert!(third.starts_with("ARC-Seal: i=3;"), "{third}");
    let found = other.scan(CLIENT, &third);
    assert!(found.has("ARC_ALLOW"), "{found:?} {third}");

    for chain in [&ours, &theirs, &second, &third] {
        for (what, message) in changed(chain) {
            assert_eq!(us.verdict("arc", &message), "fail", "{what}");
            let found = other.scan(CLIENT, &message);
            assert!(!found.has("ARC_ALLOW"), "{what}: {found:?}");
        }
    }
}

#[test]
#[ignore = "needs root and namespaces: make check-root"]
fn policies_with_rspamd() {
    if !installed("rspamd") {
        return;
    }
    let (us, dns) = start();
    let rsa = key("rsa-2048.pem");
    let them = Key {
        domain: "them.example",
        selector: "rsa",
        path: &rsa,
    };
    let other = Rspamd::start(us.directory.path(), dns.address, &[], &them);
    let signed = us.run("dkim sign --domain us.example", MAIL);
    let broken = signed.replace("indented", "indentee");
    let author = |message: &str, author: &str| {
        message.replace("From: Joe <joe@us.example>", &format!("From: <{author}>"))
    };
    for (message, ip, mail_from, spf, dmarc) in [
        (
            signed.clone(),
            "192.0.2.1",
            "joe@us.example",
            "pass",
            "pass",
        ),
        (
            signed.clone(),
            "192.0.2.9",
            "joe@us.example",
            "fail",
            "pass",
        ),
        (
            broken.clone(),
            "192.0.2.1",
            "joe@us.example",
            "pass",
            "pass",
        ),
        (
            broken.clone(),
            "192.0.2.9",
            "joe@us.example",
            "fail",
            "reject",
        ),
        (
            MAIL.to_owned(),
            "192.0.2.9",
            "joe@us.example",
            "fail",
            "reject",
        ),
        (
            MAIL.to_owned(),
            "192.0.2.1",
            "joe@them.example",
            "neutral",
            "reject",
        ),
        (
            MAIL.to_owned(),
            "192.0.2.1",
            "joe@strict.example",
            "pass",
            "reject",
        ),
        (
            author(MAIL, "joe@sub.us.example"),
            "192.0.2.1",
            "joe@us.example",
            "pass",
            "pass",
        ),
        (
            author(MAIL, "joe@sub.us.example"),
            "192.0.2.9",
            "joe@us.example",
            "fail",
            "quarantine",
        ),
        (
            author(MAIL, "joe@strict.example"),
            "192.0.2.1",
            "joe@strict.example",
            "pass",
            "pass",
        ),
        (
            author(MAIL, "joe@strict.example"),
            "192.0.2.9",
            "joe@strict.example",
            "softfail",
            "quarantine",
        ),
        (
            author(MAIL, "joe@sub.strict.example"),
            "192.0.2.1",
            "joe@strict.example",
            "pass",
            "quarantine",
        ),
        (
            author(MAIL, "joe@them.example"),
            "192.0.2.1",
            "joe@us.example",
            "pass",
            "none",
        ),
    ] {
        let what = format!("{ip} {mail_from} {}", &message[..60]);
        let ours = us.ask(&format!("spf --ip {ip} --mail-from {mail_from}"), "");
        assert_eq!(ours.split_once(' ').unwrap().0, spf, "{what}");
        let ours = us.ask(
            &format!("dmarc check --ip {ip} --mail-from {mail_from}"),
            &message,
        );
        let found = other.scan(
            Client {
                ip,
                mail_from,
                ..CLIENT
            },
            &message,
        );
        let symbol = match spf {
            "pass" => "R_SPF_ALLOW",
            "fail" => "R_SPF_FAIL",
            "softfail" => "R_SPF_SOFTFAIL",
            _ => "R_SPF_NEUTRAL",
        };
        assert!(found.has(symbol), "{what}: {found:?}");
        let (symbol, word, disposition) = match dmarc {
            "pass" => ("DMARC_POLICY_ALLOW", "pass", "none"),
            "reject" => ("DMARC_POLICY_REJECT", "fail", "reject"),
            "quarantine" => ("DMARC_POLICY_QUARANTINE", "fail", "quarantine"),
            _ => ("DMARC_NA", "none", "none"),
        };
        assert!(found.has(symbol), "{what}: {found:?}");
        assert!(ours.starts_with(&format!("{word} ")), "{what}: {ours}");
        assert!(
            ours.contains(&format!(" disposition {disposition}")),
            "{what}: {ours}"
        );
    }
}
