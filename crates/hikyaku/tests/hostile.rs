//! What an enemy sends or publishes: every command ends soon, with a verdict, whatever comes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::Host;

const MESSAGE: &str = "From: Joe <joe@a.example>\nTo: x@y.example\nSubject: One\n\nHello\n";

/// A signature that names a key of its own.
fn signature(number: usize) -> String {
    format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=k{number}; h=from;\n bh=g3zLYH4xKxcPrHOD18z9YfpQcnk/GaJedfustWU5uGs=; b=AAAA\n"
    )
}

/// A record as large as an answer over TCP can hold, in strings of 255 octets.
fn large(start: &str) -> String {
    let mut text = format!("\"{start}\"");
    for _ in 0..240 {
        text += &format!(" \"{}\"", "x".repeat(255));
    }
    text
}

#[test]
fn signatures_without_end() {
    let host = Host::new("");
    let many: String = (0..1_000).map(signature).collect();
    let out = host.asks("dkim verify", &format!("{many}{MESSAGE}"));
    assert!(
        out.starts_with("permerror signatures 1000, good 0, not looked at 984\n"),
        "{out}"
    );
    // No more keys are asked for than signatures are looked at.
    assert_eq!(host.dns.asked().len(), 16);
    let seals: String = (1..=1_000)
        .map(|number| {
            format!(
                "ARC-Seal: i={number}; a=rsa-sha256; cv=pass; d=a.example; s=s; b=AAAA\n\
                 ARC-Message-Signature: i={number}; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\n\
                 ARC-Authentication-Results: i={number}; a.example\n"
            )
        })
        .collect();
    let out = host.asks("arc verify", &format!("{seals}{MESSAGE}"));
    assert!(out.starts_with("fail "), "{out}");
    assert_eq!(host.dns.asked().len(), 16, "a wrong form asks nothing");
    let out = host.asks(
        "dmarc check --ip 192.0.2.1 --mail-from joe@a.example",
        &format!("{many}{MESSAGE}"),
    );
    assert!(out.starts_with("none from a.example "), "{out}");
}

#[test]
fn headers_without_end() {
    let host = Host::new("");
    let fields = "X: y\n".repeat(20_000);
    let long = format!("X: {}\n", "y".repeat(2 << 20));
    for bomb in [fields, long] {
        let message = format!("{bomb}{}{MESSAGE}", signature(1));
        for (command, word) in [
            ("dkim verify", "permerror "),
            ("arc verify", "fail "),
            (
                "dmarc check --ip 192.0.2.1 --mail-from joe@a.example",
                "permerror ",
            ),
        ] {
            let out = host.asks(command, &message);
            assert!(out.starts_with(word), "{command}: {out}");
        }
        let out = host.good("message show", &message);
        assert!(!out.is_empty() && out.len() < 2 * message.len());
        let (code, _, err) = host.run("dkim sign --domain a.example", &message);
        assert_eq!(code, 100, "{err}");
    }
}

#[test]
fn records_of_64_kib() {
    let zone = [
        ("a.example", "v=spf1 include:b.example -all"),
        ("k1._domainkey.a.example", "v=DKIM1; k=rsa; p="),
        (
            "_dmarc.a.example",
            "v=DMARC1; p=reject; rua=mailto:a@a.example,",
        ),
        ("_mta-sts.a.example", "v=STSv1; id="),
        ("_smtp._tls.a.example", "v=TLSRPTv1; rua=mailto:"),
    ]
    .map(|(name, start)| format!("{name} TXT {}\n", large(start)))
    .concat();
    let host = Host::new(&zone);
    let out = host.asks("spf --ip 192.0.2.1 --mail-from joe@a.example", "");
    assert!(out.starts_with("permerror "), "{out}");
    let message = format!("{}{MESSAGE}", signature(1));
    let out = host.asks("dkim verify", &message);
    assert!(
        out.starts_with("permerror ") && out.contains("too long"),
        "{out}"
    );
    let out = host.asks(
        "dmarc check --ip 192.0.2.1 --mail-from joe@a.example",
        &message,
    );
    assert!(out.starts_with("none "), "{out}");
    assert!(host.asks("mta-sts check a.example", "").starts_with("bad "));
    let out = host.asks("doctor a.example", "");
    assert!(out.starts_with("bad "), "{out}");
    // The question over TCP is what brings them.
    assert!(host.dns.asked().iter().any(|asked| asked.tcp));
}

#[test]
fn records_that_lead_in_circles_and_answers_that_are_none() {
    let mut zone = String::from(
        "a.example TXT \"v=spf1 include:b.example\"\nb.example TXT \"v=spf1 redirect=a.example\"\n\
         alias.example CNAME other.example\nother.example CNAME alias.example\n\
         k1._domainkey.a.example CNAME k1._domainkey.a.example\n\
         garbage.example !garbage\nwide.example TXT \"v=spf1 exists:%{i}.x.example ptr -all\"\n",
    );
    for number in 0..2_000 {
        zone += &format!("1.2.0.192.in-addr.arpa PTR name{number}.wide.example\n");
    }
    let host = Host::new(&zone);
    let spf = |domain: &str| {
        let arguments = format!(
            "spf --ip 192.0.2.1 --mail-from joe@{domain} --dns {}",
            host.dns.address
        );
        host.run(&arguments, "")
    };
    let (code, out, _) = spf("a.example");
    assert!(
        code == 0 && out.starts_with("permerror ") && out.contains("more than 10 DNS lookups"),
        "{out}"
    );
    let (_, out, _) = spf("alias.example");
    assert!(
        out.starts_with("temperror ") || out.starts_with("none "),
        "{out}"
    );
    let before = host.dns.asked().len();
    let (code, out, _) = spf("wide.example");
    assert!(code == 0 && !out.is_empty(), "{out}");
    assert!(
        host.dns.asked().len() - before < 60,
        "{:?}",
        host.dns.asked().len() - before
    );
    let (code, out, _) = spf("garbage.example");
    assert!(code == 111 && out.starts_with("temperror "), "{out}");
    let message = format!("{}{MESSAGE}", signature(1));
    let arguments = format!("dkim verify --dns {}", host.dns.address);
    let (_, out, _) = host.run(&arguments, &message);
    assert!(
        out.starts_with("temperror ") || out.starts_with("permerror "),
        "{out}"
    );
}
