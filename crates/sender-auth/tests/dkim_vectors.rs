//! The signed messages printed in RFC 6376 (appendix A, with its errata 3192 and 4926) and RFC 8463
//! (appendix A).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Zone, crlf, run, verify};
use sender_auth::canon::Canon;
use sender_auth::crypto::SigningKey;
use sender_auth::dkim::verify::{DkimResult, Problem};
use sender_auth::dkim::{Signing, SigningIdentity, SigningOptions};

const RFC_6376: &str = "\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
";

const RFC_6376_KEY: &str = "v=DKIM1; p=\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkM\
oGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/R\
tdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToI\
MmPSPDdQPNUYckcQ2QIDAQAB";

const RFC_8463_SIGNATURES: &str = "\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
";

const RFC_8463_MESSAGE: &str = "\
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.

";

const RFC_8463_SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";

fn rfc_8463_zone() -> Zone {
    Zone::default()
        .with(
            "brisbane._domainkey.football.example.com",
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        )
        .with(
            "test._domainkey.football.example.com",
            "v=DKIM1; k=rsa; p=\
             MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id\
             Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ\
             /BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2Ee\
             C3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
        )
}

#[test]
fn rfc_6376_appendix_a() {
    let zone = Zone::default().with("brisbane._domainkey.example.com", RFC_6376_KEY);
    let message = crlf(RFC_6376);
    let found = verify(message.as_bytes(), &zone);
    assert_eq!(found.result(), DkimResult::Pass, "{found:?}");
    assert_eq!(found.signatures[0].key_bits, Some(1024));
    assert_eq!(found.passing_domains().collect::<Vec<_>>(), ["example.com"]);

    // Simple means simple: one space more in a signed field, or one in the body.
    let header = message.replace("Subject: Is", "Subject:  Is");
    let found = verify(header.as_bytes(), &zone);
    assert_eq!(found.signatures[0].outcome, Err(Problem::Mismatch));
    let body = message.replace("game. Are", "game.  Are");
    let found = verify(body.as_bytes(), &zone);
    assert_eq!(found.signatures[0].outcome, Err(Problem::BodyHash));
}

#[test]
fn rfc_8463_appendix_a() {
    let message = crlf(&format!("{RFC_8463_SIGNATURES}{RFC_8463_MESSAGE}"));
    let found = verify(message.as_bytes(), &rfc_8463_zone());
    assert_eq!(found.signatures.len(), 2);
    for signature in &found.signatures {
        assert_eq!(signature.outcome, Ok(()), "{signature:?}");
    }
    // Both survive what relaxed forgives, and nothing else.
    let forgiven = message
        .replace("Subject: Is dinner", "SUBJECT : \r\n\tIs   dinner")
        .replace("game.  Are", "game. \t Are")
        + "\r\n\r\n";
    let found = verify(forgiven.as_bytes(), &rfc_8463_zone());
    assert!(found.signatures.iter().all(|s| s.outcome.is_ok()));
    for (from, to, problem) in [
        ("dinner", "Dinner", Problem::Mismatch),
        ("hungry", "angry", Problem::BodyHash),
        ("game.  Are", "game.Are", Problem::BodyHash),
        // Oversigned: a second Subject makes it false.
        ("To: Suzie", "Subject: x\r\nTo: Suzie", Problem::Mismatch),
    ] {
        let changed = message.replace(from, to);
        let found = verify(changed.as_bytes(), &rfc_8463_zone());
        for signature in &found.signatures {
            assert_eq!(signature.outcome, Err(problem), "{from} -> {to}");
        }
    }
}

#[test]
fn rfc_8463_key() {
    let seed = data_encoding::BASE64
        .decode(RFC_8463_SEED.as_bytes())
        .unwrap();
    let key = SigningKey::from_ed25519_seed(&seed).unwrap();
    assert_eq!(
        data_encoding::BASE64.encode(&key.public().to_record_octets()),
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    );
    let identity = SigningIdentity::new(&key, "football.example.com", "brisbane").unwrap();
    let identities = [identity];
    for (header_canon, body_canon) in [
        (Canon::Simple, Canon::Simple),
        (Canon::Simple, Canon::Relaxed),
        (Canon::Relaxed, Canon::Simple),
        (Canon::Relaxed, Canon::Relaxed),
    ] {
        let options = SigningOptions {
            header_canon,
            body_canon,
            ..SigningOptions::default()
        };
        let message = crlf(RFC_8463_MESSAGE).into_bytes();
        let signing = Signing::new(&identities, &options);
        let mut signed = run(signing, &message, &Zone::default(), 1_528_637_909).unwrap();
        signed.extend_from_slice(&message);
        let found = verify(&signed, &rfc_8463_zone());
        assert_eq!(found.result(), DkimResult::Pass, "{found:?}");
    }
}
