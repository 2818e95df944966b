//! What is wrong with a message: a list for people, made by `hikyaku message show`.
//!
//! It judges by RFC 5322, 2045, 2046, 2047 and the limits of RFC 5321. Nothing here decides about
//! a message's fate.

use std::fmt;

use crate::address::{AddressList, ListDefect};
use crate::build::{LINE_HARD, LINE_SOFT};
use crate::charset::Charset;
use crate::date::{self, BadDate};
use crate::scan::{Audit, Defect, Fields, Kind, Part, Scanner, Structure};
use crate::transfer::Decoder;

/// Most findings reported; a message made to be bad must not fill the terminal.
pub const FINDINGS_MAX: usize = 200;

/// Where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The message as a whole.
    Message,
    /// A field of the message's header.
    Field(String),
    /// A part, by its number as IMAP counts.
    Part(String),
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// So many line ends are LF without CR.
    BareLf(u64),
    /// So many CR have no LF.
    BareCr(u64),
    /// So many NUL octets.
    Nul(u64),
    /// A line is that long, beyond 998 octets.
    LongLine(u64),
    /// A field that every message needs is missing (RFC 5322 3.6).
    Missing,
    /// A field that may occur once occurs more often (RFC 5322 3.6).
    Repeated,
    /// White space before the colon (RFC 5322 4.5).
    SpaceBeforeColon,
    /// Octets above 127 that are not UTF-8.
    NotUtf8,
    /// The date can't be read.
    Date(BadDate),
    /// The weekday is another day's.
    WrongWeekday,
    /// An address can't be read, or only with tolerance.
    Address(ListDefect, String),
    /// The structure.
    Structure(Defect),
    /// The transfer encoding has so many errors.
    Encoding(u64),
    /// The charset is unknown, or the text is not in it.
    Charset(String),
    /// Octets above 127 in a part that claims 7bit.
    EightBit,
    /// There is more than [`FINDINGS_MAX`].
    More,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Message => f.write_str("message"),
            Place::Field(name) => write!(f, "field {name}"),
            Place::Part(number) => write!(f, "part {number}"),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::BareLf(n) => write!(f, "{n} lines end in LF without CR"),
            Wrong::BareCr(n) => write!(f, "{n} CR without LF"),
            Wrong::Nul(n) => write!(f, "{n} NUL octets"),
            Wrong::LongLine(n) => write!(f, "a line of {n} octets, 998 are allowed"),
            Wrong::Missing => f.write_str("is missing"),
            Wrong::Repeated => f.write_str("occurs more than once"),
            Wrong::SpaceBeforeColon => f.write_str("has white space before its colon"),
            Wrong::NotUtf8 => f.write_str("holds octets that are not UTF-8"),
            Wrong::Date(bad) => bad.fmt(f),
            Wrong::WrongWeekday => f.write_str("names the wrong day of the week"),
            Wrong::Address(defect, text) => write!(f, "{defect}: {text}"),
            Wrong::Structure(defect) => defect.fmt(f),
            Wrong::Encoding(n) => write!(f, "{n} errors in its transfer encoding"),
            Wrong::Charset(name) => write!(
                f,
                "the text is not in its charset \"{name}\", or nobody knows that"
            ),
            Wrong::EightBit => f.write_str("holds octets above 127 but claims 7bit"),
            Wrong::More => f.write_str("there is more"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    pub what: Wrong,
}

/// Fields that a message may have once (RFC 5322 3.6).
const SINGLE: [&str; 11] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
];
const ADDRESSES: [&str; 6] = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc"];

/// Examines a message as it is stored. With line ends that are all LF, as files often have, that
/// is found once and not held against it otherwise.
pub fn examine(message: &[u8]) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    let audit = Audit::of(message);
    for (count, what) in [
        (audit.bare_lf, Wrong::BareLf(audit.bare_lf)),
        (audit.bare_cr, Wrong::BareCr(audit.bare_cr)),
        (audit.nul, Wrong::Nul(audit.nul)),
        (
            audit.longest_line.saturating_sub(LINE_HARD as u64),
            Wrong::LongLine(audit.longest_line),
        ),
    ] {
        if count > 0 {
            findings.add(Place::Message, what);
        }
    }
    header(message, &mut findings);
    let structure = Scanner::scan(message);
    for (index, part) in structure.parts().iter().enumerate() {
        let place = Place::Part(number(&structure, index as u32));
        for defect in part.defects.iter() {
            findings.add(place.clone(), Wrong::Structure(defect));
        }
        if part.kind == Kind::Leaf {
            content(part, message, &place, &mut findings);
        }
    }
    findings.0
}

/// A part's number as IMAP counts them (RFC 3501 6.4.5); `0` is the message that holds everything.
pub fn number(structure: &Structure, index: u32) -> String {
    let mut numbers = Vec::new();
    let mut at = index;
    while let Some(parent) = structure
        .parts()
        .get(at as usize)
        .and_then(|part| part.parent)
    {
        let is_multipart = structure
            .parts()
            .get(parent as usize)
            .is_some_and(|p| p.kind == Kind::Multipart);
        // The message inside message/rfc822 has no number of its own, unless it is a single part.
        if is_multipart {
            let place = structure
                .children(parent)
                .position(|(child, _)| child == at)
                .unwrap_or(0);
            numbers.push((place + 1).to_string());
        } else if structure
            .parts()
            .get(at as usize)
            .is_some_and(|part| part.kind != Kind::Multipart)
        {
            numbers.push("1".to_owned());
        }
        at = parent;
    }
    let top_is_multipart = structure
        .root()
        .is_some_and(|part| part.kind == Kind::Multipart);
    if index == 0 {
        return if top_is_multipart { "0" } else { "1" }.to_owned();
    }
    if !top_is_multipart {
        numbers.push("1".to_owned());
    }
    numbers.reverse();
    numbers.join(".")
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, place: Place, what: Wrong) {
        match self.0.len() {
            n if n < FINDINGS_MAX - 1 => self.0.push(Finding { place, what }),
            n if n == FINDINGS_MAX - 1 => {
                self.0.push(Finding {
                    place: Place::Message,
                    what: Wrong::More,
                });
            }
            _ => {}
        }
    }
}

fn header(message: &[u8], findings: &mut Findings) {
    let mut seen = [0usize; SINGLE.len()];
    for field in Fields::new(message) {
        if !field.is_field() {
            continue;
        }
        let name: String = String::from_utf8_lossy(field.name)
            .chars()
            .take(LINE_SOFT)
            .collect();
        let place = || Place::Field(name.clone());
        if field.has_obsolete_space() {
            findings.add(place(), Wrong::SpaceBeforeColon);
        }
        if std::str::from_utf8(field.value).is_err() {
            findings.add(place(), Wrong::NotUtf8);
        }
        if let Some(count) = SINGLE
            .iter()
            .position(|single| field.is(single))
            .and_then(|at| seen.get_mut(at))
        {
            *count += 1;
            if *count == 2 {
                findings.add(place(), Wrong::Repeated);
            }
        }
        if field.is("Date") {
            match date::parse(field.value) {
                Err(bad) => findings.add(place(), Wrong::Date(bad)),
                Ok((_, defects)) if defects.wrong_weekday => {
                    findings.add(place(), Wrong::WrongWeekday)
                }
                Ok(_) => {}
            }
        }
        if ADDRESSES.iter().any(|address| field.is(address)) {
            for (span, defect) in AddressList::read(field.value, None).defects {
                let text = field.value.get(span).unwrap_or_default();
                let text: String = String::from_utf8_lossy(text)
                    .trim()
                    .chars()
                    .take(LINE_SOFT)
                    .collect();
                findings.add(place(), Wrong::Address(defect, text));
            }
        }
    }
    for (name, count) in SINGLE.iter().zip(seen) {
        if count == 0 && matches!(*name, "Date" | "From") {
            findings.add(Place::Field((*name).to_owned()), Wrong::Missing);
        }
    }
}

fn content(part: &Part, message: &[u8], place: &Place, findings: &mut Findings) {
    let body = part.body_of(message);
    let mut decoder = Decoder::new(part.encoding);
    let mut text = Vec::with_capacity(body.len());
    decoder.push(body, &mut text);
    let errors = decoder.finish(&mut text);
    if errors > 0 {
        findings.add(place.clone(), Wrong::Encoding(errors));
    }
    if part.encoding == crate::transfer::Encoding::SevenBit && !body.is_ascii() {
        findings.add(place.clone(), Wrong::EightBit);
    }
    let media = part.media_type(message);
    if media.is("text", "*") {
        let name = media.param("charset").unwrap_or_default();
        if !Charset::for_label(name.as_bytes()).decode(&text).complete {
            let name = if name.is_empty() {
                "us-ascii".to_owned()
            } else {
                name.chars().take(LINE_SOFT).collect()
            };
            findings.add(place.clone(), Wrong::Charset(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(message: &[u8]) -> Vec<String> {
        examine(message)
            .iter()
            .map(|f| format!("{}: {}", f.place, f.what))
            .collect()
    }

    #[test]
    fn a_good_message() {
        let mail = b"Date: Sun, 22 Nov 2026 07:12:30 +0000\r\nFrom: a@b\r\nSubject: =?utf-8?Q?x?=\r\n\r\nhello\r\n";
        assert_eq!(lines(mail), [""; 0]);
    }

    #[test]
    fn a_bad_one() {
        let mail = b"Date: Mon, 22 Nov 2026 07:12:30 +0000\nSubject : a\r\nSubject: b\xff\r\nTo: root, <a b@c>\r\n\
            Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xe9\r\n\
            --b\r\nContent-Type: text/plain; charset=x-none\r\nContent-Transfer-Encoding: base64\r\n\r\nY!Q==\r\n";
        assert_eq!(
            lines(mail),
            [
                "message: 1 lines end in LF without CR",
                "field Date: names the wrong day of the week",
                "field Subject: has white space before its colon",
                "field Subject: holds octets that are not UTF-8",
                "field Subject: occurs more than once",
                "field To: the address has no domain: root",
                "field To: there is white space or garbage inside the address: <a b@c>",
                "field From: is missing",
                "part 0: a multipart without its final delimiter line",
                "part 1: holds octets above 127 but claims 7bit",
                "part 1: the text is not in its charset \"us-ascii\", or nobody knows that",
                "part 2: 1 errors in its transfer encoding",
                "part 2: the text is not in its charset \"x-none\", or nobody knows that",
            ]
        );
    }

    #[test]
    fn numbers_are_those_of_sections() {
        let mail = b"Content-Type: multipart/mixed; boundary=o\n\n--o\n\nx\n--o\nContent-Type: message/rfc822\n\n\
            Content-Type: multipart/mixed; boundary=i\n\n--i\n\ny\n--i\nContent-Type: message/rfc822\n\nA: b\n\nz\n--i--\n--o--\n";
        let structure = Scanner::scan(mail);
        let numbers: Vec<String> = (0..structure.parts().len() as u32)
            .map(|index| number(&structure, index))
            .collect();
        assert_eq!(numbers, ["0", "1", "2", "2", "2.1", "2.2", "2.2.1"]);
        for (index, number) in numbers.iter().enumerate().skip(1) {
            let path: Vec<u32> = number.split('.').map(|n| n.parse().unwrap()).collect();
            if index != 3 {
                assert_eq!(structure.section(&path), Some(index as u32), "{number}");
            }
        }
        assert_eq!(number(&Scanner::scan(b"A: b\n\nx"), 0), "1");
    }

    #[test]
    fn limit() {
        let count = |n: usize| {
            examine(
                format!("Date: {DATE}\r\nFrom: a@b\r\n{}\r\n", "A : b\r\n".repeat(n)).as_bytes(),
            )
            .len()
        };
        const DATE: &str = "22 Nov 2026 07:12:30 +0000";
        assert_eq!(
            (
                count(FINDINGS_MAX - 1),
                count(FINDINGS_MAX),
                count(FINDINGS_MAX + 1)
            ),
            (FINDINGS_MAX - 1, FINDINGS_MAX, FINDINGS_MAX)
        );
    }
}
