//! What the mini name server knows, as a table.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, TLSA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// What the server does instead of answering well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trick {
    /// SERVFAIL.
    ServFail,
    /// REFUSED.
    Refused,
    /// NXDOMAIN though the name may have records.
    NxDomain,
    /// NXDOMAIN or NODATA without an SOA record in the authority section.
    NoSoa,
    /// FORMERR to every question that has EDNS.
    NoEdns,
    /// An empty answer with TC over UDP; the whole answer over TCP.
    Truncated,
    /// An empty answer with TC over UDP and the connection closed over TCP.
    TruncatedTcpClosed,
    /// TC over both.
    TruncatedAlways,
    /// No answer at all.
    Drop,
    /// Only the first question is left without an answer.
    DropFirst,
    /// An answer with another id, then nothing.
    WrongId,
    /// An answer with another id and other records, then the right one.
    WrongIdFirst,
    /// An answer to another question, then nothing.
    WrongQuestion,
    /// An answer to another question, then the right one.
    WrongQuestionFirst,
    /// The right header, then noise.
    Garbage,
    /// The answer waits until the test calls [`Dns::release`](crate::Dns::release) with this word.
    Hold(String),
    /// The AD bit is set.
    Authentic,
    /// The answer lacks what stands at the end of an alias.
    AliasOnly,
    /// Many answers with wrong ids come before the right one (by UDP).
    Flood,
}

/// A table of records and tricks.
///
/// The text form has one row a line: `NAME [TTL] TYPE DATA`, or `NAME !TRICK [TYPE]` with the
/// tricks in kebab case (`!serv-fail`, `!hold WORD`), `#` for comments. A TTL is in seconds; 300
/// when left out. Names are complete; the trailing dot may be left out. TXT data are words or
/// strings in double quotes.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    records: BTreeMap<String, Vec<Record>>,
    tricks: Vec<(String, Option<RecordType>, Trick)>,
}

fn key(name: &Name) -> String {
    name.to_lowercase()
        .to_ascii()
        .trim_end_matches('.')
        .to_owned()
}

fn parse_name(text: &str) -> Name {
    let text = text.trim_end_matches('.');
    if text.is_empty() {
        return Name::root();
    }
    Name::from_labels(text.split('.').map(str::as_bytes)).expect("a name of the zone table")
}

impl Zone {
    /// A table without rows: everything is NXDOMAIN.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the text form.
    ///
    /// # Panics
    /// When a row can't be read; the message has the row.
    pub fn parse(text: &str) -> Self {
        let mut zone = Self::new();
        for row in text.lines() {
            let row = row.split('#').next().unwrap_or_default().trim();
            if !row.is_empty() {
                zone.row(row);
            }
        }
        zone
    }

    /// Adds one row of the text form.
    ///
    /// # Panics
    /// When the row can't be read.
    pub fn row(&mut self, row: &str) {
        let words = split(row);
        let mut words = words.iter().map(String::as_str).peekable();
        let name = words
            .next()
            .unwrap_or_else(|| panic!("no name in zone row {row:?}"));
        if let Some(trick) = words.peek().and_then(|word| word.strip_prefix('!')) {
            words.next();
            let trick = match trick {
                "serv-fail" => Trick::ServFail,
                "refused" => Trick::Refused,
                "nx-domain" => Trick::NxDomain,
                "no-soa" => Trick::NoSoa,
                "no-edns" => Trick::NoEdns,
                "truncated" => Trick::Truncated,
                "truncated-tcp-closed" => Trick::TruncatedTcpClosed,
                "truncated-always" => Trick::TruncatedAlways,
                "drop" => Trick::Drop,
                "drop-first" => Trick::DropFirst,
                "wrong-id" => Trick::WrongId,
                "wrong-id-first" => Trick::WrongIdFirst,
                "wrong-question" => Trick::WrongQuestion,
                "wrong-question-first" => Trick::WrongQuestionFirst,
                "garbage" => Trick::Garbage,
                "authentic" => Trick::Authentic,
                "alias-only" => Trick::AliasOnly,
                "flood" => Trick::Flood,
                "hold" => Trick::Hold(words.next().expect("a word after !hold").to_owned()),
                other => panic!("no such trick: {other:?}"),
            };
            let only = words.next().map(|word| kind(word, row));
            self.trick(name, only, trick);
            return;
        }
        let ttl = match words.peek().map(|word| word.parse::<u32>()) {
            Some(Ok(ttl)) => {
                words.next();
                ttl
            }
            _ => 300,
        };
        let kind = kind(
            words.next().unwrap_or_else(|| panic!("no type in {row:?}")),
            row,
        );
        let rest: Vec<&str> = words.collect();
        let word = |index: usize| -> &str {
            rest.get(index)
                .copied()
                .unwrap_or_else(|| panic!("too little data in zone row {row:?}"))
        };
        let number = |index: usize| -> u32 {
            word(index)
                .parse()
                .unwrap_or_else(|_| panic!("not a number in zone row {row:?}"))
        };
        let data = match kind {
            RecordType::A => RData::A(A(word(0).parse::<Ipv4Addr>().expect("an IPv4 address"))),
            RecordType::AAAA => {
                RData::AAAA(AAAA(word(0).parse::<Ipv6Addr>().expect("an IPv6 address")))
            }
            RecordType::MX => RData::MX(MX::new(
                u16::try_from(number(0)).expect("an MX preference"),
                parse_name(word(1)),
            )),
            RecordType::TXT => RData::TXT(TXT::from_bytes(
                rest.iter().map(|text| text.as_bytes()).collect(),
            )),
            RecordType::CNAME => RData::CNAME(CNAME(parse_name(word(0)))),
            RecordType::PTR => RData::PTR(PTR(parse_name(word(0)))),
            RecordType::NS => RData::NS(NS(parse_name(word(0)))),
            RecordType::TLSA => RData::TLSA(TLSA::new(
                (number(0) as u8).into(),
                (number(1) as u8).into(),
                (number(2) as u8).into(),
                hex(word(3)),
            )),
            other => panic!("the zone table knows no {other}"),
        };
        self.record(Record::from_rdata(parse_name(name), ttl, data));
    }

    /// Adds a record of any kind.
    pub fn record(&mut self, record: Record) {
        self.records
            .entry(key(&record.name))
            .or_default()
            .push(record);
    }

    /// Adds a trick for `name`, for one type or all.
    pub fn trick(&mut self, name: &str, only: Option<RecordType>, trick: Trick) {
        self.tricks.push((key(&parse_name(name)), only, trick));
    }

    pub(crate) fn tricks<'a>(
        &'a self,
        name: &Name,
        kind: RecordType,
    ) -> impl Iterator<Item = &'a Trick> + use<'a> {
        let name = key(name);
        self.tricks
            .iter()
            .filter(move |(owner, only, _)| *owner == name && only.is_none_or(|only| only == kind))
            .map(|(_, _, trick)| trick)
    }

    /// The records that answer, aliases first, and whether the last name exists.
    pub(crate) fn find(
        &self,
        name: &Name,
        kind: RecordType,
        alias_only: bool,
    ) -> (Vec<Record>, bool) {
        let mut found = Vec::new();
        let mut current = name.clone();
        for _ in 0..64 {
            let Some(records) = self.records.get(&key(&current)) else {
                // A name with names below it exists.
                let below = format!(".{}", key(&current));
                let exists = self.records.keys().any(|owner| owner.ends_with(&below))
                    || self
                        .tricks
                        .iter()
                        .any(|(owner, _, _)| *owner == key(&current));
                return (found, exists);
            };
            let wanted: Vec<&Record> = records
                .iter()
                .filter(|record| record.record_type() == kind)
                .collect();
            if !wanted.is_empty() {
                found.extend(wanted.into_iter().cloned());
                return (found, true);
            }
            let Some(alias) = records
                .iter()
                .find(|record| record.record_type() == RecordType::CNAME)
            else {
                return (found, true);
            };
            found.push(alias.clone());
            if let RData::CNAME(target) = &alias.data {
                current = target.0.clone();
            }
            if alias_only || found.len() > 20 {
                return (found, true);
            }
        }
        (found, true)
    }

    /// The authority record of negative answers; minimum time 60 s.
    pub(crate) fn soa() -> Record {
        let data = SOA::new(
            parse_name("ns.invalid"),
            parse_name("root.invalid"),
            1,
            1,
            1,
            1,
            60,
        );
        Record::from_rdata(Name::root(), 120, RData::SOA(data))
    }
}

fn kind(word: &str, row: &str) -> RecordType {
    match word {
        "A" => RecordType::A,
        "AAAA" => RecordType::AAAA,
        "MX" => RecordType::MX,
        "TXT" => RecordType::TXT,
        "CNAME" => RecordType::CNAME,
        "PTR" => RecordType::PTR,
        "NS" => RecordType::NS,
        "TLSA" => RecordType::TLSA,
        _ => panic!("no such type {word:?} in zone row {row:?}"),
    }
}

fn hex(text: &str) -> Vec<u8> {
    assert!(
        text.len().is_multiple_of(2),
        "hexadecimal digits come in pairs: {text:?}"
    );
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
        .collect()
}

/// Words, those in double quotes kept whole.
fn split(row: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = row.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .unwrap_or_else(|| panic!("open quote in {row:?}")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let zone = Zone::parse(
            "# comment\n\
             example.org 60 MX 10 mx.example.org.\n\
             example.org TXT \"v=spf1 -all\" more   # two strings\n\
             mx.example.org A 127.0.0.1\n\
             www.example.org CNAME mx.example.org\n\
             _25._tcp.mx.example.org TLSA 3 1 1 00ff\n\
             bad.example.org !hold later A\n",
        );
        let (mx, exists) = zone.find(&parse_name("EXAMPLE.org"), RecordType::MX, false);
        assert!(exists && mx.len() == 1 && mx[0].ttl == 60);
        let (via, _) = zone.find(&parse_name("www.example.org"), RecordType::A, false);
        assert_eq!(via.len(), 2);
        assert_eq!(
            zone.find(&parse_name("none.example.org"), RecordType::A, false),
            (vec![], false)
        );
        assert_eq!(
            zone.find(&parse_name("org"), RecordType::A, false),
            (vec![], true)
        );
        assert_eq!(
            zone.tricks(&parse_name("bad.example.org"), RecordType::A)
                .count(),
            1
        );
        assert_eq!(
            zone.tricks(&parse_name("bad.example.org"), RecordType::MX)
                .count(),
            0
        );
    }
}
