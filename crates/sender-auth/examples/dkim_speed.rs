//! CPU time of signing and verifying generated mails, beside libopendkim and dkimpy in the same
//! run: three rounds in turn, medians, microseconds a mail.
//!
//! `cargo run --release -p sender-auth --example dkim_speed [MAILS]` (10,000 if not said).
//! libopendkim is compared when `cc` and libopendkim-dev are there, dkimpy (with the first
//! [`PYTHON_MAILS`] mails only) when the Python that `HIKYAKU_ORACLE_PYTHON` names has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "speed/measure.rs"]
mod measure;

use measure::{Folder, cpu, median, python};
use sender_auth::crypto::SigningKey;
use sender_auth::dkim::{
    KeyRecord, Limits, Signing, SigningIdentity, SigningOptions, Verification,
};
use sender_auth::lookup::{Answer, Record, drive};
use sender_auth::pass::Pass;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

const NOW: i64 = 1_767_225_600;
const BLOCK: usize = 65_536;
const ROUNDS: usize = 3;
const PYTHON_MAILS: usize = 200;
const RSA: &str = include_str!("../tests/keys/rsa-2048.pem");
const ED25519: &str = include_str!("../tests/keys/ed25519.pem");

/// What is measured of one signer: seconds a mail.
#[derive(Clone, Copy)]
struct Times {
    sign: f64,
    verify: f64,
}

/// One kind of key and all that was measured with it.
struct Kind {
    name: &'static str,
    pem: &'static str,
    key: SigningKey,
    record: String,
    ours: Vec<Times>,
    /// The operations with the key alone, that nobody can save.
    bare: Vec<Times>,
    opendkim: Vec<Times>,
    dkimpy: Vec<Times>,
}

impl Kind {
    fn new(name: &'static str, pem: &'static str) -> Self {
        let key = SigningKey::from_pem(pem.as_bytes()).unwrap();
        let record = KeyRecord::new(key.public()).to_text();
        Self {
            name,
            pem,
            key,
            record,
            ours: Vec::new(),
            bare: Vec::new(),
            opendkim: Vec::new(),
            dkimpy: Vec::new(),
        }
    }

    fn opendkim_word(&self) -> &'static str {
        match self.name {
            "ed25519" => "sign-ed25519",
            _ => "sign",
        }
    }
}

fn main() {
    let count = std::env::args()
        .nth(1)
        .map_or(10_000, |text| text.parse().expect("a number of mails"));
    let mails: Vec<Vec<u8>> = (0..count).map(mail).collect();
    let octets: usize = mails.iter().map(Vec::len).sum();
    println!("{count} mails, {:.1} MB", octets as f64 / 1e6);

    let folder = Folder::new("dkim-speed");
    let packed = pack(folder.path("mails"), &mails);
    let some = mails.len().min(PYTHON_MAILS);
    let few = pack(folder.path("few"), &mails[..some]);
    let opendkim = build_opendkim(&folder);
    let python = python("dkim, nacl");

    let mut kinds = [Kind::new("rsa-2048", RSA), Kind::new("ed25519", ED25519)];
    for _ in 0..ROUNDS {
        for kind in &mut kinds {
            let (times, signed) = ours(&kind.key, &kind.record, &mails);
            kind.ours.push(times);
            kind.bare.push(bare(&kind.key));
            let (pem, record) = (folder.path("key.pem"), folder.path("record"));
            std::fs::write(&pem, kind.pem).unwrap();
            std::fs::write(&record, &kind.record).unwrap();
            let signed_file = pack(folder.path("signed"), &signed);
            if let Ok(program) = &opendkim {
                let run = |how: &str, mails: &Path, other: &Path| {
                    let mut command = Command::new(program);
                    measure::run(command.arg(how).args([mails, other])).map(|s| s / count as f64)
                };
                let sign = run(kind.opendkim_word(), &packed, &pem);
                let verify = run("verify", &signed_file, &record);
                match (sign, verify) {
                    (Ok(sign), Ok(verify)) => kind.opendkim.push(Times { sign, verify }),
                    (sign, verify) => eprintln!("libopendkim, {}: {sign:?} {verify:?}", kind.name),
                }
            }
            if let Some(python) = &python {
                let few_signed = pack(folder.path("few-signed"), &signed[..some]);
                let run = |how: &str, mails: &Path, other: &Path| {
                    let mut command = Command::new(python);
                    command.arg(measure::SCRIPT).args([how, kind.name]);
                    measure::run(command.args([mails, other])).map(|s| s / some as f64)
                };
                let sign = run("dkim-sign", &few, &pem);
                let verify = run("dkim-verify", &few_signed, &record);
                match (sign, verify) {
                    (Ok(sign), Ok(verify)) => kind.dkimpy.push(Times { sign, verify }),
                    (sign, verify) => eprintln!("dkimpy, {}: {sign:?} {verify:?}", kind.name),
                }
            }
        }
    }

    println!("CPU microseconds a mail, medians of {ROUNDS} rounds; the share is ours of theirs\n");
    println!("                   ours  key alone   libopendkim  share        dkimpy  share");
    for kind in &kinds {
        let row = |what: &str, pick: fn(&Times) -> f64| {
            let of = |times: &[Times]| median(times.iter().map(pick));
            let ours = of(&kind.ours).unwrap();
            let bare = of(&kind.bare).unwrap() * 1e6;
            let peer = |times: &[Times]| match of(times) {
                Some(theirs) => format!("{:9.1}  {:5.3}", theirs * 1e6, ours / theirs),
                None => "        -      -".to_owned(),
            };
            let (opendkim, dkimpy) = (peer(&kind.opendkim), peer(&kind.dkimpy));
            let (name, ours) = (kind.name, ours * 1e6);
            println!("{name:9} {what:6} {ours:7.1}    {bare:7.1}     {opendkim}     {dkimpy}");
        };
        row("sign", |times| times.sign);
        row("verify", |times| times.verify);
        row("both", |times| times.sign + times.verify);
    }
    if let Err(reason) = opendkim {
        println!("libopendkim: {reason}");
    }
    if python.is_none() {
        println!("dkimpy: no Python with dkimpy and pynacl (HIKYAKU_ORACLE_PYTHON)");
    }

    let worst = worst();
    let start = cpu();
    assert!(!verify(&worst, &kinds[0].record));
    println!(
        "the worst single message takes {:.0} ms",
        (cpu() - start) * 1e3
    );
}

/// Our own times, and the signed mails.
fn ours(key: &SigningKey, record: &str, mails: &[Vec<u8>]) -> (Times, Vec<Vec<u8>>) {
    let identities = [SigningIdentity::new(key, "a.example", "s").unwrap()];
    let options = SigningOptions::default();
    let start = cpu();
    let fields: Vec<Vec<u8>> = mails
        .iter()
        .map(|mail| sign(mail, &identities, &options))
        .collect();
    let sign = (cpu() - start) / mails.len() as f64;
    let signed: Vec<Vec<u8>> = fields
        .into_iter()
        .zip(mails)
        .map(|(field, mail)| [field.as_slice(), mail].concat())
        .collect();
    let start = cpu();
    let good = signed.iter().filter(|mail| verify(mail, record)).count();
    let verify = (cpu() - start) / mails.len() as f64;
    assert_eq!(good, mails.len());
    (Times { sign, verify }, signed)
}

/// The operations with the key alone.
fn bare(key: &SigningKey) -> Times {
    const TIMES: usize = 1_000;
    let (public, signature) = (key.public(), key.sign(b"x").unwrap());
    let start = cpu();
    for _ in 0..TIMES {
        black_box(key.sign(black_box(b"x")).unwrap());
    }
    let sign = (cpu() - start) / TIMES as f64;
    let start = cpu();
    for _ in 0..TIMES {
        assert!(public.verifies(b"x", black_box(&signature)));
    }
    let verify = (cpu() - start) / TIMES as f64;
    Times { sign, verify }
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

/// Builds the program that measures libopendkim.
fn build_opendkim(folder: &Folder) -> Result<PathBuf, String> {
    let program = folder.path("opendkim_speed");
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
    if built.status.success() {
        Ok(program)
    } else {
        Err("libopendkim-dev is not installed".to_owned())
    }
}

/// Writes mails to a file, each after its length in eight octets.
fn pack(path: PathBuf, mails: &[Vec<u8>]) -> PathBuf {
    let mut octets = Vec::new();
    for mail in mails {
        octets.extend_from_slice(&(mail.len() as u64).to_le_bytes());
        octets.extend_from_slice(mail);
    }
    std::fs::write(&path, octets).unwrap();
    path
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
