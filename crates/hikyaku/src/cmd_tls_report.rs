//! `hikyaku tls-report`: what others report about TLS towards our mail hosts (RFC 8460).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use message::scan::{Kind, Scanner};
use sender_auth::report::{UNPACKED_MAX, unpack};
use sender_auth::tls_sums::{Sessions, TlsSums};
use sender_auth::tlsrpt::TlsReport;
use serde_json::{Value, json};

use crate::cmd_dmarc_report::percent;
use crate::context::{Context, Failure, json_line, printable};

/// Largest file in octets.
const FILE_MAX: u64 = UNPACKED_MAX as u64;

/// Kinds of failure that are shown unless `--all` is given.
const SHOWN: usize = 25;

/// Options of `hikyaku tls-report`.
#[derive(clap::Args)]
pub struct Args {
    /// Show every kind of failure, not only the most frequent ones.
    #[arg(long)]
    all: bool,
    /// One JSON object instead of tables, with everything in it.
    #[arg(long)]
    json: bool,
    /// Reports: JSON, gzip, or the mails they came in.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let mut sums = TlsSums::default();
    let mut trouble = Vec::new();
    for path in &args.files {
        for found in reports(path)? {
            match found {
                Ok(report) => {
                    sums.add(&report);
                }
                Err(text) => trouble.push(format!("{}: {text}", path.display())),
            }
        }
    }
    match args.json {
        true => {
            writeln!(context.out, "{}", json_line(&whole(&sums, &trouble)))?;
        }
        false => {
            show(&sums, args.all, context)?;
            for text in &trouble {
                writeln!(context.out, "not read: {}", printable(text))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The reports in a file, and why something in it is none.
fn reports(path: &Path) -> Result<Vec<Result<TlsReport, String>>, Failure> {
    let mut data = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut data))
        .map_err(|error| Failure::io(path.display(), &error))?;
    if data.len() as u64 > FILE_MAX {
        return Ok(vec![Err("larger than 64 MiB".to_owned())]);
    }
    let first = data.iter().find(|b| !b.is_ascii_whitespace());
    if is_packed(&data) || first == Some(&b'{') {
        return Ok(vec![report(&data)]);
    }
    let structure = Scanner::scan(&data);
    let mut found = Vec::new();
    for part in structure.parts().iter().filter(|p| p.kind == Kind::Leaf) {
        let media = part.media_type(&data);
        let kind = (
            media.main.to_ascii_lowercase(),
            media.sub.to_ascii_lowercase(),
        );
        let named = matches!(
            (kind.0.as_slice(), kind.1.as_slice()),
            (b"application", b"tlsrpt+json" | b"tlsrpt+gzip" | b"json")
        );
        let octets = part.decoded(&data);
        if named || is_packed(&octets) {
            found.push(report(&octets));
        }
    }
    if found.is_empty() {
        found.push(Err("no report in it".to_owned()));
    }
    Ok(found)
}

fn is_packed(data: &[u8]) -> bool {
    data.starts_with(&[0x1f, 0x8b]) || data.starts_with(b"PK\x03\x04")
}

fn report(data: &[u8]) -> Result<TlsReport, String> {
    let text = unpack(data).map_err(|error| error.to_string())?;
    TlsReport::parse(&text).map_err(|error| error.to_string())
}

fn show(sums: &TlsSums, all: bool, context: &mut Context) -> Result<(), Failure> {
    let out = &mut context.out;
    let total = sums.total;
    write!(
        out,
        "read: reports {}, sessions {}, good {} ({} %)",
        sums.reports,
        total.all(),
        total.good,
        percent(total.good, total.all())
    )?;
    if let Some((begin, end)) = &sums.period {
        write!(out, ", {begin} to {end}")?;
    }
    if sums.repeated > 0 {
        write!(out, ", repeated {}", sums.repeated)?;
    }
    writeln!(out)?;
    if sums.reports == 0 {
        return Ok(());
    }
    writeln!(out, "\n{}", head("policy"))?;
    for ((domain, kind), sessions) in &sums.policies {
        writeln!(out, "{}", row(&format!("{domain} {kind}"), *sessions))?;
    }
    writeln!(out, "\n{}", head("reporter"))?;
    for (name, sessions) in &sums.reporters {
        writeln!(out, "{}", row(name, *sessions))?;
    }
    let failures = sums.failures();
    if failures.is_empty() {
        return Ok(());
    }
    let shown = if all { failures.len() } else { SHOWN };
    writeln!(out, "\n{:<39} {:<30} {:>9}", "failure", "host", "failed")?;
    for (kind, host, count) in failures.iter().take(shown) {
        let (kind, host) = (short(kind, 39), short(host, 60));
        writeln!(out, "{kind:<39} {host:<30} {count:>9}")?;
    }
    if let Some(rest) = failures.get(shown..).filter(|rest| !rest.is_empty()) {
        let count = rest
            .iter()
            .fold(0_u64, |sum, one| sum.saturating_add(one.2));
        writeln!(out, "{:<39} {:<30} {count:>9}", "all others", "")?;
    }
    Ok(())
}

/// Foreign text for a column; `-` for none.
fn short(text: &str, most: usize) -> String {
    match text {
        "" => "-".to_owned(),
        text => printable(text).chars().take(most).collect(),
    }
}

fn head(title: &str) -> String {
    format!(
        "{title:<39} {:>9} {:>9} {:>9}",
        "sessions", "good", "failed"
    )
}

fn row(name: &str, sessions: Sessions) -> String {
    format!(
        "{:<39} {:>9} {:>9} {:>9}",
        short(name.trim(), 60),
        sessions.all(),
        sessions.good,
        sessions.failed
    )
}

fn whole(sums: &TlsSums, trouble: &[String]) -> Value {
    let policies: Vec<Value> = sums
        .policies
        .iter()
        .map(|((domain, kind), one)| {
            json!({"domain": domain, "type": kind, "good": one.good, "failed": one.failed})
        })
        .collect();
    let reporters: Vec<Value> = sums
        .reporters
        .iter()
        .map(|(name, one)| json!({"name": name, "good": one.good, "failed": one.failed}))
        .collect();
    let failures: Vec<Value> = sums
        .failures()
        .into_iter()
        .map(|(kind, host, count)| json!({"type": kind, "host": host, "failed": count}))
        .collect();
    json!({
        "reports": sums.reports,
        "repeated": sums.repeated,
        "begin": sums.period.as_ref().map(|period| &period.0),
        "end": sums.period.as_ref().map(|period| &period.1),
        "good": sums.total.good,
        "failed": sums.total.failed,
        "policies": policies,
        "reporters": reporters,
        "failures": failures,
        "not_read": trouble,
    })
}
