//! Prints how long the structure and the headers of 10,000 mails take, beside mailparse in the same run.
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

    let works: [(&str, fn(&[u8]) -> usize); 6] = [
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
    ];
    let mut best = [Duration::MAX; 6];
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
    let ratio = best[0].as_secs_f64() / best[2].as_secs_f64();
    let header = best[3].as_secs_f64() * 1e6 / count as f64;
    println!(
        "structure: {ratio:.2} of mailparse's time (target 1.00); header scan {header:.2} µs (target 1.50)"
    );
    if ratio <= 1.0 && header <= 1.5 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
