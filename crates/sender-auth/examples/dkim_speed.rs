//! CPU time of signing and verifying generated mails, beside libopendkim in the same run.
//!
//! `cargo run --release -p sender-auth --example dkim_speed [MAILS]` (10,000 if not said).
//! The comparison needs `cc` and libopendkim-dev; without them it is left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sender_auth::crypto::SigningKey;
use sender_auth::dkim::{
    KeyRecord, Limits, Signing, SigningIdentity, SigningOptions, Verification,
};
use sender_auth::lookup::{Answer, Record, drive};
use sender_auth::pass::Pass;
use std::path::Path;
use std::process::Command;

const NOW: i64 = 1_767_225_600;
const BLOCK: usize = 65_536;
const KEY: &[u8] = include_bytes!("../tests/keys/rsa-2048.pem");

fn main() {
    let count = std::env::args()
        .nth(1)
        .map_or(10_000, |text| text.parse().expect("a number of mails"));
    let mails: Vec<Vec<u8>> = (0..count).map(mail).collect();
    let octets: usize = mails.iter().map(Vec::len).sum();
    println!("{count} mails, {:.1} MB", octets as f64 / 1e6);

    let key = SigningKey::from_pem(KEY).unwrap();
    let record = KeyRecord::new(key.public()).to_text();
    let identities = [SigningIdentity::new(&key, "a.example", "s").unwrap()];
    let options = SigningOptions::default();

    let start = cpu();
    let signed: Vec<Vec<u8>> = mails
        .iter()
        .map(|mail| {
            let mut field = sign(mail, &identities, &options);
            field.extend_from_slice(mail);
            field
        })
        .collect();
    let sign_time = cpu() - start;

    let start = cpu();
    let good = signed.iter().filter(|mail| verify(mail, &record)).count();
    let verify_time = cpu() - start;
    assert_eq!(good, count);

    // The share of the one operation that nobody can save.
    let start = cpu();
    for _ in 0..1_000 {
        std::hint::black_box(key.sign(&mails[0]).unwrap());
    }
    let rsa_sign = (cpu() - start) / 1_000.0 * count as f64;
    let signature = key.sign(b"x").unwrap();
    let public = key.public();
    let start = cpu();
    for _ in 0..1_000 {
        assert!(public.verifies(b"x", std::hint::black_box(&signature)));
    }
    let rsa_verify = (cpu() - start) / 1_000.0 * count as f64;
    println!("sign    {sign_time:8.3} s (of it RSA {rsa_sign:.3} s)");
    println!("verify  {verify_time:8.3} s (of it RSA {rsa_verify:.3} s)");

    let seed = SigningKey::from_ed25519_seed(&[7; 32]).unwrap();
    let identities = [SigningIdentity::new(&seed, "a.example", "s").unwrap()];
    let start = cpu();
    for mail in &mails {
        std::hint::black_box(sign(mail, &identities, &options));
    }
    println!("sign    {:8.3} s with Ed25519", cpu() - start);

    let worst = worst();
    let start = cpu();
    assert!(!verify(&worst, &record));
    println!(
        "the worst single message takes {:.0} ms",
        (cpu() - start) * 1e3
    );

    let folder = std::env::temp_dir().join(format!("dkim-speed-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    match opendkim(&folder, &mails, &signed, &record) {
        Ok((their_sign, their_verify)) => {
            println!(
                "libopendkim sign   {their_sign:8.3} s, ours {:.2} of it",
                sign_time / their_sign
            );
            println!(
                "libopendkim verify {their_verify:8.3} s, ours {:.2} of it",
                verify_time / their_verify
            );
        }
        Err(reason) => println!("no comparison: {reason}"),
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

fn sign(mail: &[u8], identities: &[SigningIdentity<'_>], options: &SigningOptions) -> Vec<u8> {
    let mut pass = Pass::new(Signing::new(identities, options));
    for block in mail.chunks(BLOCK) {
        pass.feed(block);
    }
    pass.end(NOW);
    drive(&mut pass, |_| Answer::NoData).unwrap().unwrap()
}

fn verify(mail: &[u8], record: &str) -> bool {
    let mut pass = Pass::new(Verification::new(Limits::default()));
    for block in mail.chunks(BLOCK) {
        pass.feed(block);
    }
    pass.end(NOW);
    let answer = |_: &_| Answer::Records(vec![Record::Txt(record.as_bytes().to_vec())]);
    let found = drive(&mut pass, answer).unwrap();
    found.signatures.iter().all(|s| s.outcome.is_ok()) && !found.signatures.is_empty()
}

/// CPU time of this process in seconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// CPU time of libopendkim for the same mails: signing and verifying.
fn opendkim(
    folder: &Path,
    mails: &[Vec<u8>],
    signed: &[Vec<u8>],
    record: &str,
) -> Result<(f64, f64), String> {
    let program = folder.join("opendkim_speed");
    let built = Command::new("cc")
        .args(["-O2", "-w", "-o"])
        .arg(&program)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/oracle/opendkim_speed.c"
        ))
        .arg("-lopendkim")
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if !built.status.success() {
        return Err("libopendkim-dev is not installed".to_owned());
    }
    let pack = |name: &str, mails: &[Vec<u8>]| {
        let mut octets = Vec::new();
        for mail in mails {
            octets.extend_from_slice(&(mail.len() as u64).to_le_bytes());
            octets.extend_from_slice(mail);
        }
        let path = folder.join(name);
        std::fs::write(&path, octets).unwrap();
        path
    };
    let run = |how: &str, mails: &Path, other: &str| {
        let other_path = folder.join("other");
        std::fs::write(&other_path, other).unwrap();
        let output = Command::new(&program)
            .arg(how)
            .args([mails, &other_path])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut words = text.split_whitespace();
        let time = words.next().and_then(|w| w.parse().ok());
        let (good, bad) = (words.next(), words.next());
        match time {
            Some(time) if bad == Some("0") => Ok(time),
            _ => Err(format!(
                "{how}: {good:?} good, {bad:?} bad, {}",
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    };
    let their_sign = run("sign", &pack("mails", mails), &String::from_utf8_lossy(KEY))?;
    let their_verify = run("verify", &pack("signed", signed), record)?;
    Ok((their_sign, their_verify))
}

/// A header of a megabyte, all of which each of 16 signatures names.
fn worst() -> Vec<u8> {
    let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let names = "x:".repeat(1_020);
    let mut message = String::new();
    for _ in 0..16 {
        message.push_str(&format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.example; s=s;\r\n \
             h={names}from; bh={hash}; b={}\r\n",
            "AAAA".repeat(85) + "AA=="
        ));
    }
    for _ in 0..1_000 {
        message.push_str(&format!("X: {}\r\n", " y".repeat(490)));
    }
    message.push_str("From: joe@a.example\r\n\r\n");
    message.into_bytes()
}

/// Mail number `n`: plain text, text with markup, or a file in base64, 10 KB in the middle.
fn mail(n: usize) -> Vec<u8> {
    let mut dice = n as u64 * 2 + 0x9e37_79b9_7f4a_7c15;
    let mut roll = move |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 11) % sides
    };
    let mut text = format!(
        "Received: from client{n}.example.com (client{n}.example.com [192.0.2.1])\r\n\
         \tby mx.a.example with ESMTPS id 0123456789abcdef{n}\r\n\
         \tfor <list@b.example>; Thu, 1 Jan 2026 00:00:00 +0000\r\n\
         Message-ID: <{n}.20260101@a.example>\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
         From: Joe SixPack <joe@a.example>\r\nTo: Suzie Q <suzie@b.example>,\r\n  list@b.example\r\n\
         Subject: Mail number {n} about this and that\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nUser-Agent: Speed/1.0\r\n\r\n"
    );
    let words = [
        "Lorem",
        "ipsum",
        "dolor",
        "sit",
        "amet,",
        "consectetur",
        "a",
        "quis.",
    ];
    match roll(10) {
        0 => {
            for _ in 0..roll(1_500) + 100 {
                text.push_str(&"TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBv".repeat(2));
                text.push_str("SGFk\r\n");
            }
        }
        1..=3 => {
            for _ in 0..roll(300) + 50 {
                text.push_str(&" ".repeat(roll(12) as usize));
                text.push_str("<td class=\"cell\">");
                for _ in 0..6 {
                    text.push_str(words[roll(8) as usize]);
                    text.push(' ');
                }
                text.push_str("</td>\r\n");
            }
        }
        _ => {
            for _ in 0..roll(80) + 5 {
                for _ in 0..9 {
                    text.push_str(words[roll(8) as usize]);
                    text.push(' ');
                }
                text.push_str("end\r\n");
                if roll(6) == 0 {
                    text.push_str("\r\n");
                }
            }
        }
    }
    text.into_bytes()
}
