//! `hikyaku dmarc report`: what others report about mail in our name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use message::scan::{Kind, Scanner};
use sender_auth::report::{AggregateReport, FailureReport, Source, Summary, UNPACKED_MAX, unpack};
use serde_json::{Value, json};

use crate::context::{Context, Failure, json_line, printable};

/// Largest file in octets.
const FILE_MAX: u64 = UNPACKED_MAX as u64;

/// Sources that are shown unless `--all` is given.
const SHOWN: usize = 25;

/// Width of the longest bar of the picture.
const BAR: usize = 40;

/// Options of `hikyaku dmarc report`.
#[derive(clap::Args)]
pub struct Args {
    /// Show every source, not only those with most messages.
    #[arg(long)]
    all: bool,
    /// One JSON object instead of tables, with everything in it.
    #[arg(long)]
    json: bool,
    /// Reports: XML, gzip, zip, or the mails they came in.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// What a file held.
#[derive(Default)]
struct Held {
    aggregate: Vec<AggregateReport>,
    failure: Vec<FailureReport>,
    trouble: Vec<String>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let mut summary = Summary::default();
    let mut failures = Vec::new();
    let mut trouble = Vec::new();
    for path in &args.files {
        let mut data = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut data))
            .map_err(|error| Failure::io(path.display(), &error))?;
        let held = if data.len() as u64 > FILE_MAX {
            Held::trouble("larger than 64 MiB")
        } else {
            held(&data)
        };
        for report in &held.aggregate {
            summary.add(report);
        }
        failures.extend(held.failure);
        let said = |text: String| format!("{}: {text}", path.display());
        trouble.extend(held.trouble.into_iter().map(said));
    }
    if args.json {
        let all = whole(&summary, &failures, &trouble);
        writeln!(context.out, "{}", json_line(&all))?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&summary, args.all, context)?;
    for report in &failures {
        let source = report.source.map_or("-".to_owned(), |ip| ip.to_string());
        let text = format!(
            "failure {} from {source} domain {} mail-from {} delivery {} arrived {}",
            report.failure, report.domain, report.mail_from, report.delivery, report.arrival
        );
        writeln!(context.out, "{}", printable(&text))?;
    }
    for text in &trouble {
        writeln!(context.out, "not read: {}", printable(text))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Held {
    fn trouble(text: impl ToString) -> Self {
        Self {
            trouble: vec![text.to_string()],
            ..Self::default()
        }
    }
}

/// Finds out what a file is: an archive or XML by its first octets, a mail otherwise.
fn held(data: &[u8]) -> Held {
    let first = data.iter().find(|b| !b.is_ascii_whitespace());
    let packed = data.starts_with(&[0x1f, 0x8b]) || data.starts_with(b"PK\x03\x04");
    if packed || matches!(first, Some(b'<' | 0xef)) {
        return archive(data);
    }
    let structure = Scanner::scan(data);
    let mut held = Held::default();
    for part in structure.parts().iter().filter(|p| p.kind == Kind::Leaf) {
        let media = part.media_type(data);
        let is = |main: &str, sub: &str| {
            media.main.eq_ignore_ascii_case(main.as_bytes())
                && media.sub.eq_ignore_ascii_case(sub.as_bytes())
        };
        if is("message", "feedback-report") {
            match FailureReport::parse(&part.decoded(data)) {
                Ok(report) => held.failure.push(report),
                Err(error) => held.trouble.push(error.to_string()),
            }
            continue;
        }
        let octets = part.decoded(data);
        let packed = octets.starts_with(&[0x1f, 0x8b]) || octets.starts_with(b"PK\x03\x04");
        if packed || is("text", "xml") || is("application", "xml") {
            let inner = archive(&octets);
            held.aggregate.extend(inner.aggregate);
            held.trouble.extend(inner.trouble);
        }
    }
    if held.aggregate.is_empty() && held.failure.is_empty() && held.trouble.is_empty() {
        held.trouble.push("no report in it".to_owned());
    }
    held
}

fn archive(data: &[u8]) -> Held {
    let unpacked = match unpack(data) {
        Ok(unpacked) => unpacked,
        Err(error) => return Held::trouble(error),
    };
    match AggregateReport::parse(&unpacked) {
        Ok(report) => Held {
            aggregate: vec![report],
            ..Held::default()
        },
        Err(error) => Held::trouble(error),
    }
}

/// How many of a hundred.
pub fn percent(part: u64, whole: u64) -> u64 {
    match whole {
        0 => 0,
        _ => u64::try_from(u128::from(part) * 100 / u128::from(whole)).unwrap_or(100),
    }
}

fn day(second: i64) -> String {
    Timestamp::from_second(second)
        .map_or("-".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
}

fn whole(summary: &Summary, failures: &[FailureReport], trouble: &[String]) -> Value {
    let sums = |name: &str, one: &Source| {
        json!({
            "name": name, "messages": one.messages, "passed": one.passed, "dkim": one.dkim,
            "spf": one.spf, "quarantined": one.quarantined, "rejected": one.rejected,
        })
    };
    let table = |table: &BTreeMap<String, Source>| -> Vec<Value> {
        table.iter().map(|(name, one)| sums(name, one)).collect()
    };
    let mut sources: Vec<Value> = summary
        .sources()
        .iter()
        .map(|(ip, one)| sums(&ip.to_string(), one))
        .collect();
    if summary.others.messages > 0 {
        sources.push(sums("", &summary.others));
    }
    let failures: Vec<Value> = failures
        .iter()
        .map(|report| {
            json!({
                "failure": report.failure, "source": report.source.map(|ip| ip.to_string()),
                "domain": report.domain, "mail_from": report.mail_from,
                "delivery": report.delivery, "arrival": report.arrival,
            })
        })
        .collect();
    json!({
        "reports": summary.reports,
        "repeated": summary.repeated,
        "rows_left_out": summary.left_out,
        "begin": summary.period.map(|period| period.0),
        "end": summary.period.map(|period| period.1),
        "total": sums("", &summary.total),
        "authors": table(&summary.authors),
        "reporters": table(&summary.reporters),
        "sources": sources,
        "failures": failures,
        "not_read": trouble,
    })
}

fn show(summary: &Summary, all: bool, context: &mut Context) -> Result<(), Failure> {
    let out = &mut context.out;
    let total = summary.total;
    write!(
        out,
        "read: reports {}, messages {}, passed {} ({} %)",
        summary.reports,
        total.messages,
        total.passed,
        percent(total.passed, total.messages)
    )?;
    if let Some((begin, end)) = summary.period {
        write!(out, ", {} to {}", day(begin), day(end))?;
    }
    if summary.repeated > 0 {
        write!(out, ", repeated {}", summary.repeated)?;
    }
    if summary.left_out > 0 {
        write!(out, ", rows left out {}", summary.left_out)?;
    }
    writeln!(out)?;
    if summary.reports == 0 {
        return Ok(());
    }
    for (title, table) in [
        ("author", &summary.authors),
        ("reporter", &summary.reporters),
    ] {
        writeln!(out)?;
        writeln!(out, "{}", head(title))?;
        for (name, source) in table {
            writeln!(out, "{}", row(name, source))?;
        }
    }
    let sources = summary.sources();
    let shown = if all { sources.len() } else { SHOWN };
    writeln!(out)?;
    writeln!(out, "{}", head("source"))?;
    let mut rest = summary.others;
    for (number, (ip, source)) in sources.iter().enumerate() {
        if number < shown {
            writeln!(out, "{}", row(&ip.to_string(), source))?;
        } else {
            rest.messages += source.messages;
            rest.passed += source.passed;
            rest.dkim += source.dkim;
            rest.spf += source.spf;
            rest.quarantined += source.quarantined;
            rest.rejected += source.rejected;
        }
    }
    if rest.messages > 0 {
        writeln!(out, "{}", row("all others", &rest))?;
    }
    writeln!(out)?;
    writeln!(out, "who sends as us (# passed, . failed)")?;
    let most = sources.first().map_or(0, |(_, source)| source.messages);
    for (ip, source) in sources.iter().take(shown) {
        let picture = bar(source, most);
        writeln!(out, "{:<39} {picture} {}", ip.to_string(), source.messages)?;
    }
    Ok(())
}

fn head(title: &str) -> String {
    format!(
        "{title:<39} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "messages", "passed", "dkim", "spf", "aside", "refused"
    )
}

fn row(name: &str, source: &Source) -> String {
    let name: String = printable(name).chars().take(60).collect();
    format!(
        "{name:<39} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        source.messages,
        source.passed,
        source.dkim,
        source.spf,
        source.quarantined,
        source.rejected
    )
}

/// A bar as long as the source's share of the largest one; at least one character.
fn bar(source: &Source, most: u64) -> String {
    let scaled = |number: u64| -> usize {
        let scaled = u128::from(number) * BAR as u128 / u128::from(most.max(1));
        usize::try_from(scaled).unwrap_or(BAR).min(BAR)
    };
    let length = scaled(source.messages).max(1);
    let mut passed = scaled(source.passed).min(length);
    if passed == 0 && source.passed > 0 && source.passed == source.messages {
        passed = 1;
    }
    format!("{}{}", "#".repeat(passed), ".".repeat(length - passed))
}
