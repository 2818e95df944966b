//! Questions that a mechanism puts to the DNS, the answers it takes, and the one shape all
//! mechanisms share: [`Check`].
//!
//! Nothing here resolves anything. A check says [`Need::Lookup`]; whoever drives it asks a
//! resolver and hands the answer back. The same check thus runs from an event loop, from a
//! blocking command and from a table in a test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Records of one answer that are looked at; what follows is ignored.
///
/// A TCP answer of 64 KiB holds some 4,000 A records. No mechanism of this crate has use for
/// more than a few dozen.
pub const RECORDS_MAX: usize = 256;

/// What has to be asked. Names are in ASCII form without a trailing dot, in the case in which
/// they were written; they may still be too long or have empty labels, which the resolver
/// answers with [`Answer::NxDomain`] as no such name can exist.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// Text records of this name.
    Txt(String),
    /// IPv4 addresses of this name.
    A(String),
    /// IPv6 addresses of this name.
    Aaaa(String),
    /// Mail exchangers of this domain.
    Mx(String),
    /// Names of this address (the resolver makes the `in-addr.arpa` or `ip6.arpa` name).
    Ptr(IpAddr),
    /// TLSA records of this full name (`_25._tcp.mx.example`).
    Tlsa(String),
}

impl Question {
    /// The name that is asked for; `None` for [`Question::Ptr`].
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Txt(name)
            | Self::A(name)
            | Self::Aaaa(name)
            | Self::Mx(name)
            | Self::Tlsa(name) => Some(name),
            Self::Ptr(_) => None,
        }
    }
}

/// One record of an answer. Aliases (CNAME) are followed by the resolver and never seen here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// One TXT record, its character-strings joined without anything between them.
    Txt(Vec<u8>),
    /// One IPv4 address.
    A(Ipv4Addr),
    /// One IPv6 address.
    Aaaa(Ipv6Addr),
    /// One mail exchanger. An empty host is the null MX of RFC 7505.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// Without trailing dot.
        host: String,
    },
    /// One name of an address, without trailing dot.
    Ptr(String),
    /// One TLSA record (RFC 6698, 2.1).
    Tlsa {
        /// Certificate usage, 0 to 3.
        usage: u8,
        /// 0 the whole certificate, 1 its public key.
        selector: u8,
        /// 0 the bytes themselves, 1 SHA-256, 2 SHA-512.
        matching: u8,
        /// What is compared.
        data: Vec<u8>,
    },
}

/// What came back for one [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// At least one record. Records of another type than asked for are ignored by every
    /// mechanism, so that an answer made only of them counts as [`Answer::NoData`].
    Records(Vec<Record>),
    /// The name exists and has no record of this type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Not known now: time-out, SERVFAIL, a bogus signature, a broken packet.
    TempFail,
}

impl Answer {
    /// The text records among the first [`RECORDS_MAX`] records.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let records = match self {
            Self::Records(records) => records.as_slice(),
            Self::NoData | Self::NxDomain | Self::TempFail => &[],
        };
        records
            .iter()
            .take(RECORDS_MAX)
            .filter_map(|record| match record {
                Record::Txt(text) => Some(text.as_slice()),
                _ => None,
            })
    }
}

/// What a check wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need<V> {
    /// Ask this and call [`Check::answer`]. Each question is given out once; several may be
    /// under way together, and answers may come in any order.
    Lookup(Question),
    /// Nothing to ask now: give more input, or the answers that are under way.
    Wait,
    /// The verdict. After it the check says [`Need::Wait`] for ever.
    Done(V),
}

/// A mechanism that may need the DNS.
pub trait Check {
    /// What it finds out.
    type Verdict;

    /// What has to be done next. Call until it says [`Need::Wait`] or [`Need::Done`].
    fn poll(&mut self) -> Need<Self::Verdict>;

    /// Takes the answer to a question that [`Check::poll`] gave out. An answer to anything
    /// else, or a second one, is ignored.
    fn answer(&mut self, question: &Question, answer: &Answer);
}

/// Runs a check to its verdict with a function that answers at once. `None` when the check
/// waits for something else than a lookup, such as the end of the message.
pub fn drive<C: Check>(
    check: &mut C,
    mut resolve: impl FnMut(&Question) -> Answer,
) -> Option<C::Verdict> {
    loop {
        match check.poll() {
            Need::Lookup(question) => {
                let answer = resolve(&question);
                check.answer(&question, &answer);
            }
            Need::Wait => return None,
            Need::Done(verdict) => return Some(verdict),
        }
    }
}
