//! What a domain publishes (RFC 7208, 4.6, 5, 6, 12).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::macros::{MacroString, Use};
use super::verdict::SpfResult;

/// Longest record in octets: what a DNS answer can hold at all.
pub const RECORD_MAX: usize = 65_535;

/// Octets of a bad term that are told.
const TOLD_MAX: usize = 80;

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`, or nothing.
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

impl Qualifier {
    /// The result when the mechanism matches.
    pub const fn result(self) -> SpfResult {
        match self {
            Self::Pass => SpfResult::Pass,
            Self::Fail => SpfResult::Fail,
            Self::SoftFail => SpfResult::SoftFail,
            Self::Neutral => SpfResult::Neutral,
        }
    }
}

/// Leading bits that have to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Of IPv4 addresses, 0 to 32.
    pub v4: u8,
    /// Of IPv6 addresses, 0 to 128.
    pub v6: u8,
}

impl Cidr {
    /// The very address.
    pub const HOST: Self = Self { v4: 32, v6: 128 };

    /// Whether two addresses of one family lie in one network.
    pub fn holds(self, network: IpAddr, ip: IpAddr) -> bool {
        match (network, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = u32::from(a) ^ u32::from(b);
                self.v4 == 0 || differ.leading_zeros() >= u32::from(self.v4)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = u128::from(a) ^ u128::from(b);
                self.v6 == 0 || differ.leading_zeros() >= u32::from(self.v6)
            }
            _ => false,
        }
    }
}

/// How a term finds its senders; without a target it is the domain of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// Everybody.
    All,
    /// Who passes the check of another domain.
    Include(MacroString),
    /// The addresses of a name.
    A(Option<MacroString>, Cidr),
    /// The addresses of the mail exchangers of a domain.
    Mx(Option<MacroString>, Cidr),
    /// Who has a name below a domain.
    Ptr(Option<MacroString>),
    /// A network.
    Ip(IpAddr, Cidr),
    /// Everybody, if the name has an IPv4 address.
    Exists(MacroString),
}

impl Mechanism {
    /// Whether it counts against [`LOOKUPS_MAX`](super::LOOKUPS_MAX).
    pub const fn asks(&self) -> bool {
        !matches!(self, Self::All | Self::Ip(..))
    }
}

/// One mechanism with its qualifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// What a match means.
    pub qualifier: Qualifier,
    /// Who matches.
    pub mechanism: Mechanism,
    /// As it is written.
    pub text: String,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// From left to right.
    pub directives: Vec<Directive>,
    /// Whose record decides when nothing matched.
    pub redirect: Option<MacroString>,
    /// Where the explanation of a fail stands.
    pub explanation: Option<MacroString>,
}

/// Why a record is void (RFC 7208, 4.6: any mistake anywhere makes all of it void).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordError {
    /// Something else than visible ASCII and spaces.
    NotAscii,
    /// Longer than [`RECORD_MAX`].
    TooLong,
    /// This term, cut to a length for people, is none.
    Term(String),
    /// `redirect` or `exp` stands there twice.
    Twice(&'static str),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAscii => f.write_str("not plain ASCII"),
            Self::TooLong => f.write_str("record is too long"),
            Self::Term(term) => write!(f, "bad term {term:?}"),
            Self::Twice(name) => write!(f, "several {name}= modifiers"),
        }
    }
}

/// Whether a text record is an SPF record (RFC 7208, 4.5): `v=spf1` in any case, then a space or
/// nothing.
pub fn is_spf(text: &[u8]) -> bool {
    text.get(..6)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"v=spf1"))
        && matches!(text.get(6), None | Some(b' '))
}

impl Record {
    /// Reads a text for which [`is_spf`] holds.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        if text.len() > RECORD_MAX {
            return Err(RecordError::TooLong);
        }
        if !text.iter().all(|b| (0x20..=0x7e).contains(b)) {
            return Err(RecordError::NotAscii);
        }
        let text = std::str::from_utf8(text).map_err(|_| RecordError::NotAscii)?;
        let mut record = Self::default();
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            let bad = || RecordError::Term(term.chars().take(TOLD_MAX).collect());
            match modifier(term) {
                Some((name, value)) => record.modifier(name, value, bad)?,
                None => record.directives.push(directive(term).ok_or_else(bad)?),
            }
        }
        Ok(record)
    }

    fn modifier(
        &mut self,
        name: &str,
        value: &str,
        bad: impl Fn() -> RecordError,
    ) -> Result<(), RecordError> {
        let (place, name) = if name.eq_ignore_ascii_case("redirect") {
            (&mut self.redirect, "redirect")
        } else if name.eq_ignore_ascii_case("exp") {
            (&mut self.explanation, "exp")
        } else {
            return MacroString::parse(value, Use::Value)
                .map(|_| ())
                .map_err(|_| bad());
        };
        if place.is_some() {
            return Err(RecordError::Twice(name));
        }
        *place = Some(MacroString::parse(value, Use::Domain).map_err(|_| bad())?);
        Ok(())
    }

    /// Whether `all` stands somewhere, so that `redirect` is not used (RFC 7208, 6.1).
    pub fn has_all(&self) -> bool {
        self.directives
            .iter()
            .any(|directive| directive.mechanism == Mechanism::All)
    }
}

/// `name "=" value` with a name of the right form.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let form = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let good =
        name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && name.bytes().all(form);
    good.then_some((name, value))
}

fn directive(term: &str) -> Option<Directive> {
    let (qualifier, body) = match term.as_bytes().first()? {
        b'+' => (Qualifier::Pass, term.get(1..)?),
        b'-' => (Qualifier::Fail, term.get(1..)?),
        b'~' => (Qualifier::SoftFail, term.get(1..)?),
        b'?' => (Qualifier::Neutral, term.get(1..)?),
        _ => (Qualifier::Pass, term),
    };
    let length = body
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(body.len());
    let (name, rest) = body.split_at_checked(length)?;
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" => rest.is_empty().then_some(Mechanism::All)?,
        "include" => Mechanism::Include(required(rest)?),
        "exists" => Mechanism::Exists(required(rest)?),
        "a" => {
            let (target, cidr) = target_and_cidr(rest)?;
            Mechanism::A(target, cidr)
        }
        "mx" => {
            let (target, cidr) = target_and_cidr(rest)?;
            Mechanism::Mx(target, cidr)
        }
        "ptr" => Mechanism::Ptr(match rest {
            "" => None,
            _ => Some(required(rest)?),
        }),
        "ip4" => ip4(rest.strip_prefix(':')?)?,
        "ip6" => ip6(rest.strip_prefix(':')?)?,
        _ => return None,
    };
    Some(Directive {
        qualifier,
        mechanism,
        text: term.to_owned(),
    })
}

fn required(rest: &str) -> Option<MacroString> {
    MacroString::parse(rest.strip_prefix(':')?, Use::Domain).ok()
}

/// `[ ":" domain-spec ] [ "/" ip4 ] [ "//" ip6 ]`; the domain may itself have slashes.
fn target_and_cidr(rest: &str) -> Option<(Option<MacroString>, Cidr)> {
    let mut cidr = Cidr::HOST;
    let mut rest = rest;
    if let Some((before, bits)) = trailing_number(rest)
        && let Some(before) = before.strip_suffix("//")
    {
        cidr.v6 = prefix_length(bits, 128)?;
        rest = before;
    }
    if let Some((before, bits)) = trailing_number(rest)
        && let Some(before) = before.strip_suffix('/')
    {
        cidr.v4 = prefix_length(bits, 32)?;
        rest = before;
    }
    let target = match rest {
        "" => None,
        _ => Some(required(rest)?),
    };
    Some((target, cidr))
}

/// What stands before the digits at the end, and the digits.
fn trailing_number(text: &str) -> Option<(&str, &str)> {
    let before = text.trim_end_matches(|c: char| c.is_ascii_digit());
    text.split_at_checked(before.len())
        .filter(|(_, digits)| !digits.is_empty())
}

/// A number without leading zeros.
fn prefix_length(digits: &str, most: u8) -> Option<u8> {
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    digits.parse().ok().filter(|bits| *bits <= most)
}

fn network(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        None => Some((text, most)),
        Some((address, bits)) if bits.bytes().all(|b| b.is_ascii_digit()) => {
            Some((address, prefix_length(bits, most)?))
        }
        Some(_) => None,
    }
}

fn ip4(text: &str) -> Option<Mechanism> {
    let (address, v4) = network(text, 32)?;
    let address: Ipv4Addr = address.parse().ok()?;
    Some(Mechanism::Ip(IpAddr::V4(address), Cidr { v4, v6: 128 }))
}

fn ip6(text: &str) -> Option<Mechanism> {
    let (address, v6) = network(text, 128)?;
    let address: Ipv6Addr = address.parse().ok()?;
    Some(Mechanism::Ip(IpAddr::V6(address), Cidr { v4: 32, v6 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Record, RecordError> {
        Record::parse(text.as_bytes())
    }

    #[test]
    fn which_texts() {
        for text in ["v=spf1", "V=sPf1 x"] {
            assert!(is_spf(text.as_bytes()), "{text}");
        }
        for text in ["", "v=spf", "v=spf10", "v=spf1\tx", " v=spf1", "v=spf2"] {
            assert!(!is_spf(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn reads() {
        let record =
            parse("v=spf1  A/24//64 -mx:x.example ~ip4:192.0.2.0/24 ?PTR x.y=%{c} EXP=e.example redirect=%{d} ")
                .unwrap();
        assert_eq!(record.directives.len(), 4);
        assert!(record.redirect.is_some() && record.explanation.is_some());
        assert_eq!(
            record.directives[0].mechanism,
            Mechanism::A(None, Cidr { v4: 24, v6: 64 })
        );
        assert_eq!(record.directives[1].qualifier, Qualifier::Fail);
        assert_eq!(record.directives[2].text, "~ip4:192.0.2.0/24");
        assert!(!record.has_all() && parse("v=spf1 ?all").unwrap().has_all());
    }

    #[test]
    fn refuses() {
        for term in [
            "all.",
            "-all:x",
            "all/8",
            "foo",
            "a/33",
            "a//129",
            "a/24/64",
            "a/01",
            "a/",
            "a:",
            "a:/24",
            "a:b",
            "a:x.example:80",
            "include",
            "include:",
            "include:a.b/24",
            "exists",
            "ptr/0",
            "ptr:",
            "ip4",
            "ip4:",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4//32",
            "ip4:1.2.3.4/",
            "ip4:01.2.3.4",
            "ip4:::1",
            "ip6:1.2.3.4",
            "ip6:::1/129",
            "1up=x",
            "=all",
            "redirect:a.b",
            "-redirect=a.b",
            "exp=",
            "redirect=x",
            "x=%a",
            "--all",
        ] {
            let found = parse(&format!("v=spf1 {term} ?all"));
            assert_eq!(found, Err(RecordError::Term(term.to_owned())));
        }
        assert_eq!(
            parse("v=spf1 exp=a.b exp=a.b"),
            Err(RecordError::Twice("exp"))
        );
        assert_eq!(parse("v=spf1 a\tmx"), Err(RecordError::NotAscii));
        assert_eq!(parse("v=spf1 \u{e9}=x"), Err(RecordError::NotAscii));
    }

    #[test]
    fn length_limit() {
        for (length, good) in [
            (RECORD_MAX - 1, true),
            (RECORD_MAX, true),
            (RECORD_MAX + 1, false),
        ] {
            let text = format!("v=spf1 x={}", "y".repeat(length - 9));
            assert_eq!(parse(&text).is_ok(), good, "{length}");
        }
    }

    #[test]
    fn networks() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        for (network, bits, other, same) in [
            ("192.0.2.0", 24, "192.0.2.255", true),
            ("192.0.2.0", 24, "192.0.3.0", false),
            ("192.0.2.1", 32, "192.0.2.1", true),
            ("192.0.2.1", 31, "192.0.2.2", false),
            ("10.0.0.0", 0, "192.0.2.1", true),
            ("2001:db8::", 32, "2001:db8:ffff::", true),
            ("2001:db8::", 127, "2001:db8::1", true),
            ("2001:db8::", 128, "2001:db8::1", false),
            ("::", 0, "2001:db8::1", true),
            ("::", 0, "192.0.2.1", false),
        ] {
            let cidr = Cidr {
                v4: bits.min(32),
                v6: bits,
            };
            assert_eq!(
                cidr.holds(ip(network), ip(other)),
                same,
                "{network}/{bits} {other}"
            );
        }
    }
}
