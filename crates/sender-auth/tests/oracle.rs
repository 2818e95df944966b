//! The same messages given to dkimpy (DKIM, ARC) and authres (Authentication-Results): what
//! they sign we verify, what we sign they verify, and of changed messages both say the same.
//!
//! SRS is compared with Mail::SRS (Debian: libmail-srs-perl), DKIM also with OpenDKIM's library
//! (Debian: libopendkim-dev, and cc).
//!
//! Needs a Python with `pip install dkimpy pynacl authres`; `HIKYAKU_ORACLE_PYTHON` names it,
//! otherwise `python3`. Without it the test says so and passes, unless
//! `HIKYAKU_ORACLE_REQUIRED` is set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::oracle::Oracle;
use common::{NOW, Zone, crlf, ed25519, rsa, run, seal, sign_with, verify};
use data_encoding::BASE64;
use sender_auth::arc::Validation;
use sender_auth::authres::{AuthResults, MethodResult, dkim_results};
use sender_auth::canon::Canon;
use sender_auth::crypto::{Algorithm, SigningKey};
use sender_auth::dkim::{KeyRecord, SigningOptions};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const RSA_PEM: &str = include_str!("keys/rsa-2048-pkcs1.pem");
const SEED: [u8; 32] = [7; 32];

fn seeded() -> SigningKey {
    SigningKey::from_ed25519_seed(&SEED).unwrap()
}

fn zone() -> Zone {
    Zone::default()
        .with_key("rsa", "a.example", &rsa())
        .with_key("ed", "a.example", &seeded())
        .with_key("s", "one.example", &rsa())
        .with_key("s", "two.example", &rsa())
}

fn zone_json() -> Value {
    let text = |key: &SigningKey| KeyRecord::new(key.public()).to_text();
    json!({
        "rsa._domainkey.a.example": text(&rsa()),
        "ed._domainkey.a.example": text(&seeded()),
        "s._domainkey.one.example": text(&rsa()),
        "s._domainkey.two.example": text(&rsa()),
    })
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// A message with folds, repeated fields, odd white space and a body of odd lines.
fn message(dice: &mut Dice) -> Vec<u8> {
    let mut text = String::from("From: Joe <joe@a.example>\r\n");
    for _ in 0..dice.roll(7) {
        text += dice.pick(&[
            "To",
            "Subject",
            "X-Other",
            "Date",
            "Received",
            "Message-ID",
            "cc",
        ]);
        text += dice.pick(&[":", ": ", ":\t", ":  "]);
        for _ in 0..dice.roll(6) {
            text += dice.pick(&["word", " ", "  ", "\t", "\r\n ", "\r\n\t", "a:b;c=d", "(x)"]);
        }
        text += "x\r\n";
    }
    text += "\r\n";
    for _ in 0..dice.roll(12) {
        text += dice.pick(&[
            "line",
            "two  spaces",
            " lead",
            "trail ",
            "\ttab\t",
            "",
            ".",
            " ",
        ]);
        text += "\r\n";
    }
    text.into_bytes()
}

/// One small change somewhere that leaves every line end whole: dkimpy ends a line at a bare
/// LF too, we only at CR LF, as the SMTP server refuses anything else.
fn change(message: &[u8], dice: &mut Dice) -> Vec<u8> {
    loop {
        let changed = change_anywhere(message, dice);
        let whole = changed.windows(2).filter(|pair| *pair == b"\r\n").count();
        let bare = changed
            .iter()
            .filter(|b| matches!(b, b'\r' | b'\n'))
            .count();
        if bare == 2 * whole {
            return changed;
        }
    }
}

fn change_anywhere(message: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut changed = message.to_vec();
    let at = dice.roll(changed.len());
    match dice.roll(4) {
        0 => {
            changed.insert(at, b' ');
        }
        1 => changed[at] = changed[at].to_ascii_uppercase(),
        2 => changed.extend_from_slice(b"\r\n"),
        _ => changed[at] = b'x',
    }
    changed
}

fn ours(message: &[u8]) -> Vec<bool> {
    let found = verify(message, &zone());
    found.signatures.iter().map(|s| s.outcome.is_ok()).collect()
}

/// `None`: they refuse the message for its form.
fn theirs(oracle: &mut Oracle, message: &[u8]) -> Option<Vec<bool>> {
    let found = oracle.ask("verify", message, json!({}));
    let list = found.as_array()?;
    Some(list.iter().map(|v| v.as_bool().unwrap()).collect())
}

const CANONS: [Canon; 2] = [Canon::Simple, Canon::Relaxed];

#[test]
fn what_we_sign_they_verify() {
    let Some(mut oracle) = Oracle::start("authres, dkim, nacl", zone_json()) else {
        return;
    };
    let mut dice = Dice(0x1234_5678_9abc_def1);
    let (rsa, ed) = (rsa(), seeded());
    for _ in 0..30 {
        let options = SigningOptions {
            header_canon: CANONS[dice.roll(2)],
            body_canon: CANONS[dice.roll(2)],
            ..SigningOptions::default()
        };
        let keys = [(&rsa, "a.example", "rsa"), (&ed, "a.example", "ed")];
        let signed = sign_with(&message(&mut dice), &keys, &options);
        let text = String::from_utf8_lossy(&signed);
        assert_eq!(
            theirs(&mut oracle, &signed),
            Some(vec![true, true]),
            "{text}"
        );
    }
}

#[test]
fn what_they_sign_we_verify_and_changes_are_judged_alike() {
    let Some(mut oracle) = Oracle::start("authres, dkim, nacl", zone_json()) else {
        return;
    };
    let mut dice = Dice(0xfeed_f00d_dead_beef);
    let mut differences = Vec::new();
    let mut good = 0;
    for round in 0..40 {
        let algorithm = [Algorithm::RsaSha256, Algorithm::Ed25519Sha256][round % 2];
        let how = json!({
            "algorithm": algorithm.as_str(),
            "canon": [CANONS[dice.roll(2)].to_string(), CANONS[dice.roll(2)].to_string()],
            "domain": "a.example",
            "selector": if round % 2 == 0 { "rsa" } else { "ed" },
            "pem": RSA_PEM,
            "seed": BASE64.encode(&SEED),
            "length": dice.roll(4) == 0,
        });
        let message = message(&mut dice);
        let field = oracle.ask("sign", &message, how);
        let field = BASE64.decode(field.as_str().unwrap().as_bytes()).unwrap();
        let signed = [&field[..], &message[..]].concat();
        assert_eq!(
            ours(&signed),
            [true],
            "{}",
            String::from_utf8_lossy(&signed)
        );
        for _ in 0..10 {
            let changed = change(&signed, &mut dice);
            let Some(they) = theirs(&mut oracle, &changed) else {
                continue;
            };
            let we = ours(&changed);
            good += usize::from(we == [true]);
            if we != they {
                differences.push((we, they, String::from_utf8_lossy(&changed).into_owned()));
            }
        }
    }
    assert!((20..380).contains(&good), "{good} of 400 still good");
    assert!(
        differences.is_empty(),
        "{} differ: {differences:#?}",
        differences.len()
    );
}

#[test]
fn chains() {
    let Some(mut oracle) = Oracle::start("authres, dkim, nacl", zone_json()) else {
        return;
    };
    let mut dice = Dice(0x0bad_cafe_1234_5678);
    let mut differences = Vec::new();
    for _ in 0..12 {
        let message = message(&mut dice);
        let message = [
            b"To: list@b.example\r\nSubject: s\r\nDate: d\r\nMessage-ID: <x@y>\r\n",
            &message[..],
        ]
        .concat();
        let one = seal(&message, &rsa(), "one.example", "s", &zone());
        let two = seal(&one, &rsa(), "two.example", "s", &zone());
        for whole in [&one, &two] {
            let found = oracle.ask("arc_verify", whole, json!({}));
            assert_eq!(
                found["cv"],
                "pass",
                "{found} {}",
                String::from_utf8_lossy(whole)
            );
        }
        // And theirs upon ours. dkimpy takes the chain's state from the results field.
        let results = "Authentication-Results: mx.two.example; arc=pass\r\n";
        let with = [results.as_bytes(), &one[..]].concat();
        let how = json!({
            "domain": "two.example", "selector": "s", "pem": RSA_PEM, "srv_id": "mx.two.example",
        });
        let set = oracle.ask("arc_sign", &with, how);
        let set = BASE64.decode(set.as_str().unwrap().as_bytes()).unwrap();
        let sealed = [&set[..], &with[..]].concat();
        let found = run(Validation::new(), &sealed, &zone(), NOW);
        assert_eq!(
            found.status.as_str(),
            "pass",
            "{found:?} {}",
            String::from_utf8_lossy(&sealed)
        );
        assert_eq!(found.domains, ["one.example", "two.example"]);
        for _ in 0..10 {
            let changed = change(&sealed, &mut dice);
            let we = run(Validation::new(), &changed, &zone(), NOW);
            let they = oracle.ask("arc_verify", &changed, json!({}));
            if !they.is_null() && they["cv"] != we.status.as_str() {
                differences.push((we, they, String::from_utf8_lossy(&changed).into_owned()));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} differ: {differences:#?}",
        differences.len()
    );
}

#[test]
fn results_read_back() {
    let Some(mut oracle) = Oracle::start("authres, dkim, nacl", zone_json()) else {
        return;
    };
    let key = ed25519();
    let zone = Zone::default().with_key("ed", "a.example", &key);
    let message = crlf("From: joe@a.example\n\nHi\n");
    let signed = sign_with(
        message.as_bytes(),
        &[(&key, "a.example", "ed"), (&key, "b.example", "ed")],
        &SigningOptions::default(),
    );
    let mut results = dkim_results(&verify(&signed, &zone));
    results.push(MethodResult::new("spf", "pass").property("smtp", "mailfrom", "joe@a.example"));
    let field = AuthResults {
        authserv_id: "mx.example.org".to_owned(),
        results: results.clone(),
    }
    .to_field();
    let found = oracle.ask(
        "read_results",
        field.replace("\r\n", "").as_bytes(),
        json!({}),
    );
    assert_eq!(found["authserv_id"], "mx.example.org");
    for (ours, theirs) in results.iter().zip(found["results"].as_array().unwrap()) {
        assert_eq!(theirs["method"], *ours.method);
        assert_eq!(theirs["result"], *ours.result);
        for p in &ours.properties {
            let name = format!("{}.{}", p.ptype, p.name);
            assert_eq!(theirs["properties"][&name], *p.value, "{field}");
        }
    }
    assert_eq!(found["results"].as_array().unwrap().len(), 3);
}

/// Asks Mail::SRS, the scheme's first implementation; `None` without it.
fn mail_srs(how: &str, arguments: &[&str]) -> Option<String> {
    let script = format!(
        "my $srs = Mail::SRS->new(Secret => [qw(0123456789abcdef)], MaxAge => 21); \
         print $srs->{how}(@ARGV);"
    );
    let output = Command::new("perl")
        .args(["-MMail::SRS", "-e", &script])
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    output.status.success().then_some(text)
}

#[test]
fn srs_there_and_back_with_mail_srs() {
    use sender_auth::secrets::Secrets;
    use sender_auth::srs::Srs;
    if mail_srs("forward", &["a@b.example", "x@c.example"]).is_none() {
        assert!(
            std::env::var_os("HIKYAKU_ORACLE_REQUIRED").is_none(),
            "perl has no Mail::SRS"
        );
        eprintln!("skipped: perl has no Mail::SRS");
        return;
    }
    let secrets = Secrets::new(vec![b"0123456789abcdef".to_vec()]).unwrap();
    let srs = Srs::new("us.example", secrets).unwrap();
    // Mail::SRS looks at the clock.
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs() as i64;
    for sender in ["joe@Sender.example", "a=b+c-d@x.example", "a/b!c@y.example"] {
        let (local, domain) = sender.rsplit_once('@').unwrap();
        let ours = srs.forward(local, domain, now).unwrap();
        let back = mail_srs("reverse", &[&ours.to_string()]).unwrap();
        assert_eq!(back, sender);
        let theirs = mail_srs("forward", &[sender, "x@us.example"]).unwrap();
        let (local, _) = theirs.rsplit_once('@').unwrap();
        assert_eq!(srs.reverse(local, now).unwrap().to_string(), sender);
        // The second hop.
        let (local, domain) = ("SRS0=abcd=TT=them.example=joe", "first.example");
        let ours = srs.forward(local, domain, now).unwrap();
        let address = format!("{local}@{domain}");
        let theirs = mail_srs("forward", &[&address, "x@us.example"]).unwrap();
        assert_eq!(ours.to_string(), theirs);
        assert_eq!(mail_srs("reverse", &[&theirs]).unwrap(), address);
        let (local, _) = theirs.rsplit_once('@').unwrap();
        assert_eq!(srs.reverse(local, now).unwrap().to_string(), address);
    }
}

/// libopendkim behind a small program that is compiled here; `None` without it.
struct OpenDkim {
    folder: std::path::PathBuf,
}

impl OpenDkim {
    fn build() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("opendkim-oracle-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let oracle = Self { folder };
        let built = Command::new("cc")
            .args(["-w", "-o"])
            .arg(oracle.folder.join("program"))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/oracle/opendkim_speed.c"
            ))
            .arg("-lopendkim")
            .stderr(Stdio::null())
            .status();
        if built.is_ok_and(|status| status.success()) {
            return Some(oracle);
        }
        assert!(
            std::env::var_os("HIKYAKU_ORACLE_REQUIRED").is_none(),
            "no cc or no libopendkim-dev"
        );
        eprintln!("skipped: no cc or no libopendkim-dev");
        None
    }

    fn run(&self, how: &str, messages: &[Vec<u8>], other: &str) -> Vec<u8> {
        let mut octets = Vec::new();
        for message in messages {
            octets.extend_from_slice(&(message.len() as u64).to_le_bytes());
            octets.extend_from_slice(message);
        }
        std::fs::write(self.folder.join("mails"), octets).unwrap();
        std::fs::write(self.folder.join("other"), other).unwrap();
        let output = Command::new(self.folder.join("program"))
            .arg(how)
            .args([self.folder.join("mails"), self.folder.join("other")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{how}: {output:?}");
        output.stdout
    }
}

impl Drop for OpenDkim {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn opendkim_both_ways() {
    let Some(oracle) = OpenDkim::build() else {
        return;
    };
    let mut dice = Dice(0x7777_1234_0bad_f00d);
    let key = rsa();
    let messages: Vec<Vec<u8>> = (0..60).map(|_| message(&mut dice)).collect();
    let signed: Vec<Vec<u8>> = messages
        .iter()
        .map(|message| {
            let options = SigningOptions {
                header_canon: CANONS[dice.roll(2)],
                body_canon: CANONS[dice.roll(2)],
                ..SigningOptions::default()
            };
            sign_with(message, &[(&key, "a.example", "rsa")], &options)
        })
        .collect();
    let record = KeyRecord::new(key.public()).to_text();
    let counts = String::from_utf8(oracle.run("verify", &signed, &record)).unwrap();
    assert!(counts.ends_with(" 60 0\n"), "{counts}");

    let pem = include_str!("keys/rsa-2048.pem");
    let fields = oracle.run("fields", &messages, pem);
    let zone = Zone::default().with_key("s", "a.example", &key);
    let mut count = 0;
    for (field, message) in fields.split(|b| *b == 0).zip(&messages) {
        let text = String::from_utf8_lossy(field).replace("\r\n", "\n");
        let signed = [crlf(&text).as_bytes(), b"\r\n", message].concat();
        let found = verify(&signed, &zone);
        let shown = String::from_utf8_lossy(&signed);
        assert_eq!(found.result().as_str(), "pass", "{found:?} {shown}");
        count += 1;
    }
    assert_eq!(count, 60);
}
