//! `hikyaku dkim`, `arc` and `srs` against a name server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use common::Host;
use testkit::Zone;

const MESSAGE: &str = "From: Joe <joe@a.example>\nTo: list@b.example\nSubject: One\n\nHello\n";

/// Publishes the record that `key new` printed.
fn publish(host: &Host, zone: &mut Zone, printed: &str) {
    let line = printed.lines().nth(1).unwrap();
    let (name, rest) = line.split_once(" IN TXT ( ").unwrap();
    zone.row(&format!("{name} TXT {}", rest.trim_end_matches(" )")));
    host.dns.set(zone.clone());
}

#[test]
fn a_key_is_prepared_published_switched_and_signs() {
    let host = Host::new("");
    let mut zone = Zone::new();
    let (code, _, err) = host.run("dkim sign --domain a.example", MESSAGE);
    assert!(
        code == 100 && err.contains("dkim key new a.example"),
        "{err}"
    );

    let printed = host.good("dkim key new A.example --selector one", "");
    assert!(
        printed.starts_with("prepared: ed25519-sha256 "),
        "{printed}"
    );
    let out = host.asks("dkim key check a.example --switch", "");
    assert!(
        out.starts_with("none a.example: keys 1, signing 0\n  missing one "),
        "{out}"
    );
    assert!(
        out.contains("publish: one._domainkey.a.example. IN TXT"),
        "{out}"
    );

    publish(&host, &mut zone, &printed);
    let out = host.asks("dkim key check a.example", "");
    assert!(
        out.contains("  published one ed25519-sha256 next\n"),
        "{out}"
    );
    let out = host.asks("dkim key check a.example --switch", "");
    assert!(
        out.starts_with("ok a.example: keys 1, signing 1\n"),
        "{out}"
    );
    assert!(out.contains("next -> current"), "{out}");

    let signed = host.good("dkim sign --domain a.example", MESSAGE);
    assert!(
        signed.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"),
        "{signed}"
    );
    assert!(
        signed.ends_with(MESSAGE) && !signed.contains('\r'),
        "{signed}"
    );
    let out = host.asks("dkim verify --authserv-id mx.b.example", &signed);
    assert!(
        out.starts_with("pass signatures 1, good 1\n  pass d=a.example s=one "),
        "{out}"
    );
    assert!(
        out.contains("Authentication-Results: mx.b.example; dkim=pass"),
        "{out}"
    );

    // The next key, an RSA one of the admin's making, with a selector of its own.
    let rsa = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../sender-auth/tests/keys/rsa-2048.pem"
    );
    let printed = host.good(&format!("dkim key new a.example --import {rsa}"), "");
    assert!(printed.starts_with("prepared: rsa-sha256 "), "{printed}");
    publish(&host, &mut zone, &printed);
    host.asks("dkim key check a.example --switch", "");
    let signed = host.good("dkim sign --domain a.example --simple", MESSAGE);
    assert_eq!(signed.matches("DKIM-Signature:").count(), 2);
    let out = host.asks("dkim verify", &signed);
    assert!(out.starts_with("pass signatures 2, good 2\n"), "{out}");

    for (forms, tag) in [
        ("relaxed/simple", "c=relaxed/simple;"),
        ("Simple/relaxed", "c=simple/relaxed;"),
        ("simple", "c=simple/simple;"),
    ] {
        let signed = host.good(
            &format!("dkim sign --domain a.example --canon {forms}"),
            MESSAGE,
        );
        assert_eq!(signed.matches(tag).count(), 2, "{forms}: {signed}");
        let out = host.asks("dkim verify", &signed);
        assert!(out.starts_with("pass signatures 2, good 2\n"), "{out}");
    }
    for wrong in ["loose", "simple/", "--simple --canon simple"] {
        let arguments = format!("dkim sign --domain a.example --canon {wrong}");
        assert_eq!(host.run(&arguments, MESSAGE).0, 100, "{wrong}");
    }

    // A successor of the first one.
    let printed = host.good("dkim key new a.example --selector two", "");
    publish(&host, &mut zone, &printed);
    let out = host.asks("dkim key check a.example --switch", "");
    assert!(
        out.starts_with("ok a.example: keys 3, signing 2\n"),
        "{out}"
    );
    let ring = fs::read_to_string(host.path("etc/dkim/a.example/ring")).unwrap();
    assert!(ring.contains("one ed25519-sha256 old "), "{ring}");
    assert!(host.path("etc/dkim/a.example/one.pem").is_file());
    assert!(
        host.run("dkim key new a.example --selector one", "")
            .2
            .contains("used before")
    );
}

#[test]
fn what_is_wrong_with_a_message_is_said() {
    let host = Host::new("");
    let mut zone = Zone::new();
    let out = host.asks("dkim verify", MESSAGE);
    assert_eq!(out, "none signatures 0, good 0\n");
    let printed = host.good("dkim key new a.example --selector one", "");
    publish(&host, &mut zone, &printed);
    host.asks("dkim key check a.example --switch", "");
    let signed = host.good("dkim sign --domain a.example", MESSAGE);
    let out = host.asks("dkim verify", &signed.replace("Hello", "Hallo"));
    assert!(
        out.starts_with("fail ") && out.contains(": body hash did not verify"),
        "{out}"
    );
    host.dns.set(Zone::new());
    let out = host.asks("dkim verify", &signed);
    assert!(
        out.starts_with("permerror ") && out.contains(": no key for signature"),
        "{out}"
    );
    // Nobody answers there.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, out, _) = host.run(&format!("dkim verify --dns {nobody}"), &signed);
    assert!(code == 111 && out.starts_with("temperror "), "{code} {out}");
    let (code, _, err) = host.run("dkim verify --dns somewhere", &signed);
    assert!(code == 100 && err.contains("--dns"), "{err}");
    let (code, _, err) = host.run("dkim sign --domain a.example", "To: x\n\n");
    assert!(code == 100 && err.contains("no From"), "{err}");
}

#[test]
fn a_list_seals_what_it_changed() {
    let host = Host::new("");
    let mut zone = Zone::new();
    for domain in ["a.example", "b.example", "c.example"] {
        let printed = host.good(&format!("dkim key new {domain} --selector s"), "");
        publish(&host, &mut zone, &printed);
        host.asks(&format!("dkim key check {domain} --switch"), "");
    }
    assert_eq!(host.asks("arc verify", MESSAGE), "none sets 0\n");
    let signed = host.good("dkim sign --domain a.example", MESSAGE);
    let one = host.asks("arc seal --domain b.example --results spf=pass", &signed);
    assert!(
        one.starts_with("ARC-Seal: i=1; a=ed25519-sha256; cv=none;"),
        "{one}"
    );
    assert!(
        one.contains("dkim=pass") && one.contains("spf=pass"),
        "{one}"
    );
    let out = host.asks("arc verify", &one);
    assert_eq!(
        out,
        "pass sets 1\n  1 b.example\n  not changed since set 1\n"
    );

    let changed = one.replace("Hello", "[list] Hello");
    let out = host.asks("arc verify", &changed);
    assert!(
        out.starts_with("fail sets 1: message signature 1: body hash"),
        "{out}"
    );
    fs::write(host.path("received"), &one).unwrap();
    let received = host.path("received");
    let two = host.asks(
        &format!(
            "arc seal --domain c.example --received {}",
            received.display()
        ),
        &changed,
    );
    let out = host.asks("arc verify", &two);
    assert!(
        out.starts_with("pass sets 2\n  1 b.example\n  2 c.example\n"),
        "{out}"
    );
    assert!(out.contains("not changed since set 2"), "{out}");
    // Without the message as it came in, the chain is broken, and the seal says so.
    let broken = host.asks("arc seal --domain c.example --fields", &changed);
    assert!(
        broken.starts_with("ARC-Seal: i=2; a=ed25519-sha256; cv=fail;"),
        "{broken}"
    );
}

#[test]
fn senders_go_there_and_back() {
    let host = Host::new("");
    let (code, _, err) = host.run("srs forward joe@a.example", "");
    assert!(code == 100 && err.contains("srs new-secret"), "{err}");
    assert!(host.good("srs new-secret", "").starts_with("ok "));
    let out = host.good("srs forward joe@a.example", "");
    let there = out.strip_prefix("forwarded ").unwrap().trim();
    assert!(there.starts_with("SRS0=") && there.ends_with("=a.example=joe@mail.a.example"));
    // An older secret still reads what it wrote.
    assert!(host.good("srs new-secret", "").contains("secrets 2"));
    let back = host.good(&format!("srs reverse {there}"), "");
    assert_eq!(back, "reversed joe@a.example\n");
    let back = host.good(&format!("srs reverse {}", there.replace("joe", "jim")), "");
    assert_eq!(back, "refused SRS address was not made here\n");
    let back = host.good("srs reverse joe@mail.a.example", "");
    assert_eq!(back, "refused not an SRS address\n");
    let out = host.good("srs forward joe@mail.a.example", "");
    assert_eq!(out, "unchanged joe@mail.a.example\n");
    for _ in 0..10 {
        host.good("srs new-secret", "");
    }
    let text = fs::read_to_string(host.path("etc/srs-secrets")).unwrap();
    assert_eq!(text.lines().count(), 9);
}
