//! Prints how long the structure and the headers of 10,000 mails take, beside mailparse and
//! mail-parser in the same run.
//!
//! `cargo run --release -p message --example speed [MAILS]`. Rounds are interleaved, the best of
//! each counts. Ends with exit code 1 when a target of docs/message.md is missed.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[path = "../tests/corpus/mod.rs"]
mod corpus;

use message::scan::{Fields, Scanner};

const ROUNDS: usize = 7;

/// A name, and what is done with each mail; the number keeps the work from being left out.
type Work = (&'static str, fn(&[u8]) -> usize);

fn main() -> ExitCode {
    let count: u64 = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(10_000);
    let mails: Vec<Vec<u8>> = (0..count).map(corpus::mail).collect();
    let octets: usize = mails.iter().map(Vec::len).sum();
    let parts: usize = mails
        .iter()
        .map(|mail| Scanner::scan(mail).parts().len())
        .sum();
    println!(
        "{count} mails, {:.1} MB, {parts} parts",
        octets as f64 / 1e6
    );

    let works: [Work; 7] = [
        ("structure: ours", |mail| Scanner::scan(mail).parts().len()),
        ("structure: ours, blocks of 8 KiB", |mail| {
            let mut scanner = Scanner::new();
            for block in mail.chunks(8 * 1024) {
                scanner.feed(block);
            }
            scanner.finish().parts().len()
        }),
        ("structure: mailparse", |mail| {
            mailparse::parse_mail(mail).map_or(0, |m| m.subparts.len())
        }),
        ("headers: ours", |mail| {
            Fields::new(mail).map(|field| field.value.len()).sum()
        }),
        ("headers: mailparse", |mail| {
            mailparse::parse_headers(mail).map_or(0, |(h, _)| h.len())
        }),
        ("envelope and bodystructure: ours", |mail| {
            let structure = Scanner::scan(mail);
            let mut out = Vec::with_capacity(2_048);
            message::imap::envelope(mail, &mut out);
            message::imap::body_structure(&structure, mail, &mut out);
            out.len()
        }),
        // It has no pass for the structure alone: bodies are decoded as well.
        ("structure, decoded: mail-parser", |mail| {
            let parser = mail_parser::MessageParser::new();
            parser.parse(mail).map_or(0, |message| message.parts.len())
        }),
    ];
    let mut best = [Duration::MAX; 7];
    for _ in 0..ROUNDS {
        for ((_, work), best) in works.iter().zip(&mut best) {
            let start = Instant::now();
            let mut sum = 0usize;
            for mail in &mails {
                sum = sum.wrapping_add(work(black_box(mail)));
            }
            black_box(sum);
            *best = (*best).min(start.elapsed());
        }
    }
    for ((name, _), time) in works.iter().zip(best) {
        let each = time.as_secs_f64() * 1e6 / count as f64;
        println!(
            "{name:34} {:8.1} ms  {each:7.2} µs a mail",
            time.as_secs_f64() * 1e3
        );
    }
    hostile();
    let ratio = best[0].as_secs_f64() / best[2].as_secs_f64();
    let header = best[3].as_secs_f64() * 1e6 / count as f64;
    let other = best[0].as_secs_f64() / best[6].as_secs_f64();
    println!(
        "structure: {ratio:.2} of mailparse's time (target 1.00), {other:.2} of mail-parser's; \
         header scan {header:.2} µs (target 1.50)"
    );
    if ratio <= 1.0 && header <= 1.5 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Shapes made to be slow, 8 MB each: what counts is that none is far slower than the others.
fn hostile() {
    const SIZE: usize = 8_000_000;
    let nest = |boundary: fn(usize) -> String| -> String {
        (0..50)
            .map(|n| {
                format!(
                    "Content-Type: multipart/mixed; boundary={0}\n\n--{0}\n",
                    boundary(n)
                )
            })
            .collect()
    };
    let fill = |head: &str, piece: &str| {
        format!(
            "{head}\n{}",
            piece.repeat((SIZE - head.len()) / piece.len())
        )
    };
    let scan: fn(&[u8]) -> usize = |text| Scanner::scan(text).parts().len();
    let words: fn(&[u8]) -> usize = |text| message::words::decode(text).len();
    let list: fn(&[u8]) -> usize = |text| {
        message::address::AddressList::read(text, None)
            .entries
            .len()
    };
    let media: fn(&[u8]) -> usize =
        |text| message::media::MediaType::read(text).map_or(0, |m| m.params.all().len());
    let wire: fn(&[u8]) -> usize = |text| {
        let mut out = Vec::new();
        message::imap::envelope(text, &mut out);
        message::imap::body_structure(&Scanner::scan(text), text, &mut out);
        out.len()
    };
    for (name, text, work) in [
        (
            "50 multiparts, lines of --",
            fill(&nest(|n| format!("b{n}")), "--\n"),
            scan,
        ),
        (
            "50 multiparts, lines of --b",
            fill(&nest(|n| format!("{n:02}")), "--b\n"),
            scan,
        ),
        (
            "50 multiparts that differ in the first octet",
            fill(
                &nest(|n| format!("{}aaaaaaaaaa", char::from(b'A' + n as u8 % 26))),
                "--zaaaaaaaaaa\n",
            ),
            scan,
        ),
        ("empty lines", fill(&nest(|n| format!("b{n}")), "\n"), scan),
        (
            "parts and parts",
            fill("Content-Type: multipart/mixed; boundary=b\n", "--b\n"),
            scan,
        ),
        ("header lines", "a:\n".repeat(SIZE / 3), scan),
        (
            "embedded messages",
            "Content-Type: message/rfc822\n\n".repeat(SIZE / 30),
            scan,
        ),
        (
            "encoded words that never end",
            "=?a?q?".repeat(SIZE / 6),
            words,
        ),
        ("encoded words", "=?utf-8?q?a?= ".repeat(SIZE / 14), words),
        ("open comments", "(".repeat(SIZE), list),
        ("escaped quotes", "\"\\".repeat(SIZE / 2), list),
        ("one long phrase", "a ".repeat(SIZE / 2), list),
        ("open brackets", "<@[".repeat(SIZE / 3), list),
        ("line ends in brackets", "[\n".repeat(SIZE / 2), list),
        ("parameters", fill("a/b", ";n*1=x"), media),
        ("open quote in parameters", fill("a/b;a=\"", "\\\""), media),
        ("To fields", "To: a@b, <c\n".repeat(SIZE / 12), wire),
    ] {
        let start = Instant::now();
        black_box(work(black_box(text.as_bytes())));
        let time = start.elapsed().as_secs_f64();
        println!(
            "hostile: {name:46} {:8.1} MB/s",
            text.len() as f64 / 1e6 / time
        );
    }
}
