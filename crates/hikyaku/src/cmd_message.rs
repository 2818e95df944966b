//! `hikyaku message`: what a message is made of and what is wrong with it.

use std::io::Write as _;
use std::process::ExitCode;

use message::address::{AddressList, Entry, Mailbox};
use message::date;
use message::examine::{examine, number};
use message::scan::{Fields, Kind, Part, RawField, Scanner, Structure};

use crate::context::{Context, Failure, printable};
use crate::wire::Source;

/// Fields shown, in this order.
const SHOWN: [&str; 9] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Date",
    "Message-ID",
];

/// Longest text of one field shown, in characters.
const TEXT_MAX: usize = 2_000;

/// Options of `hikyaku message`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Show structure, decoded header and defects. First word: ok or defects.
    Show(Source),
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Show(source) => show(source, context),
    }
}

fn show(source: &Source, context: &mut Context) -> Result<ExitCode, Failure> {
    let (mail, _) = source.whole()?;
    let structure = Scanner::scan(&mail);
    let findings = examine(&mail);
    let out = &mut context.out;
    let verdict = if findings.is_empty() { "ok" } else { "defects" };
    writeln!(
        out,
        "{verdict} size={} fields={} parts={} defects={}",
        mail.len(),
        Fields::new(&mail).count(),
        structure.parts().len(),
        findings.len()
    )?;
    for finding in &findings {
        writeln!(
            out,
            "  {}: {}",
            printable(&finding.place.to_string()),
            printable(&finding.what.to_string())
        )?;
    }
    writeln!(out)?;
    for name in SHOWN {
        for field in Fields::new(&mail).filter(|field| field.is(name)) {
            writeln!(out, "{name}: {}", shortened(&decoded(name, &field)))?;
        }
    }
    writeln!(out)?;
    for (index, part) in (0..).zip(structure.parts()) {
        writeln!(out, "{}", line(&structure, index, part, &mail))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(TEXT_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    printable(&short)
}

/// A field's value for people.
fn decoded(name: &str, field: &RawField<'_>) -> String {
    match name {
        "Subject" | "Message-ID" => field.text().into_owned(),
        "Date" => match date::parse(field.value) {
            Ok((date, _)) => date.to_string(),
            Err(_) => field.text().into_owned(),
        },
        _ => {
            let list = AddressList::read(field.value, None);
            let entries: Vec<String> = list.entries.iter().map(entry).collect();
            entries.join(", ")
        }
    }
}

fn entry(entry: &Entry) -> String {
    match entry {
        Entry::Mailbox(one) => mailbox(one),
        Entry::Group { name, members } => {
            let members: Vec<String> = members.iter().map(mailbox).collect();
            format!("{name}: {};", members.join(", "))
        }
    }
}

fn mailbox(mailbox: &Mailbox) -> String {
    let address = &mailbox.address;
    let unicode = address.domain.to_unicode();
    match &mailbox.name {
        Some(name) => format!("{name} <{}@{unicode}>", address.local),
        None => format!("{}@{unicode}", address.local),
    }
}

/// One part: number, type, sizes, name.
fn line(structure: &Structure, index: u32, part: &Part, mail: &[u8]) -> String {
    let media = part.media_type(mail);
    let mut line = format!(
        "{}part {} {}/{}",
        "  ".repeat(usize::from(part.depth)),
        number(structure, index),
        String::from_utf8_lossy(media.main).to_ascii_lowercase(),
        String::from_utf8_lossy(media.sub).to_ascii_lowercase(),
    );
    if part.kind == Kind::Leaf {
        if let Some(charset) = media.param("charset") {
            line.push_str(&format!(" charset={charset}"));
        }
        line.push_str(&format!(
            " encoding={} lines={} decoded={}",
            part.encoding.as_str().to_ascii_lowercase(),
            part.lines,
            part.decoded_size(mail)
        ));
        let header = part.header_of(mail);
        let disposition = Fields::find(header, "Content-Disposition")
            .and_then(|field| message::media::disposition(field.value)?.1.get("filename"));
        if let Some(name) = disposition.or_else(|| media.param("name")) {
            line.push_str(&format!(" name=\"{name}\""));
        }
    }
    line.push_str(&format!(
        " header={}..{} body={}..{}",
        part.header.start, part.header.end, part.body.start, part.body.end
    ));
    shortened(&line)
}
