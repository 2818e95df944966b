//! Domain names, address literals and the name given with EHLO.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest domain in octets (RFC 5321, 4.5.3.1.2).
pub const DOMAIN_MAX: usize = 255;
/// Longest label of a domain in octets (RFC 1035, 2.3.4).
pub const LABEL_MAX: usize = 63;
/// Longest EHLO or HELO argument in octets.
pub const HELLO_MAX: usize = 255;

/// Why a text is no address. The text itself is not kept: it is foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not of the form that RFC 5321, 4.1.2 allows.
    Syntax,
    /// The part before the `@` is empty, too long or has a character it may not have.
    LocalPart,
    /// The part behind the `@` is no domain name and no address literal.
    Domain,
    /// Octets above 127: needs SMTPUTF8, which is not offered.
    NonAscii,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not an address",
            Self::LocalPart => "bad local part",
            Self::Domain => "bad domain",
            Self::NonAscii => "address needs SMTPUTF8",
        })
    }
}

impl std::error::Error for AddressError {}

/// A domain name in ASCII, lower case, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

impl Domain {
    /// `Domain = sub-domain *("." sub-domain)` (RFC 5321, 4.1.2), lower-cased.
    ///
    /// At most [`DOMAIN_MAX`] octets, labels of 1 to [`LABEL_MAX`]. An underscore is taken as
    /// a letter, because such names exist. A last label of digits only is refused: that is an
    /// address which somebody forgot to bracket. So is a dot at the end.
    ///
    /// # Errors
    /// [`AddressError::NonAscii`] for octets above 127, [`AddressError::Domain`] for the rest.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        check_name(text)?;
        Ok(Self(text.to_ascii_lowercase().into_boxed_str()))
    }

    /// Like [`Domain::parse`], but turns a name with other letters into its ASCII form
    /// (IDNA, UTS 46). For names from settings and people, not from the wire.
    ///
    /// # Errors
    /// [`AddressError::Domain`] when the name has no ASCII form or that is no domain.
    pub fn parse_idn(text: &str) -> Result<Self, AddressError> {
        if text.is_ascii() {
            return Self::parse(text);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| AddressError::Domain)?;
        Self::parse(&ascii)
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What may stand behind the `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name.
    Name(Domain),
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3).
    Literal(IpAddr),
}

impl Host {
    /// A name or a bracketed address. General address literals are refused: none is registered.
    ///
    /// # Errors
    /// As [`Domain::parse`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('[') {
            Some(rest) => {
                let inner = rest.strip_suffix(']').ok_or(AddressError::Domain)?;
                literal(inner)
                    .map(Self::Literal)
                    .ok_or(AddressError::Domain)
            }
            None => Domain::parse(text).map(Self::Name),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Literal(IpAddr::V4(ip)) => write!(f, "[{ip}]"),
            Self::Literal(IpAddr::V6(ip)) => write!(f, "[IPv6:{ip}]"),
        }
    }
}

/// The argument of EHLO or HELO: what the peer calls itself, believed by nobody.
///
/// Kept as given when it is 1 to [`HELLO_MAX`] printable ASCII characters other than
/// `( ) < > @ , ; " \`, which would change the meaning of a Received field. Many clients send a
/// bare address or a name without a dot; refusing those would refuse mail for no gain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    name: Box<str>,
    extended: bool,
}

impl Hello {
    /// `extended` is true for EHLO.
    ///
    /// # Errors
    /// [`AddressError::Syntax`] for an empty, too long or unprintable argument.
    pub fn parse(text: &str, extended: bool) -> Result<Self, AddressError> {
        let fine = |b: u8| b.is_ascii_graphic() && !b"()<>@,;\"\\".contains(&b);
        if text.is_empty() || text.len() > HELLO_MAX || !text.bytes().all(fine) {
            return Err(AddressError::Syntax);
        }
        Ok(Self {
            name: text.into(),
            extended,
        })
    }

    /// The name as the peer gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when the peer said EHLO, false for HELO.
    #[must_use]
    pub const fn is_extended(&self) -> bool {
        self.extended
    }
}

fn check_name(text: &str) -> Result<(), AddressError> {
    if !text.is_ascii() {
        return Err(AddressError::NonAscii);
    }
    if text.is_empty() || text.len() > DOMAIN_MAX {
        return Err(AddressError::Domain);
    }
    let mut last_is_number = false;
    for label in text.split('.') {
        let bytes = label.as_bytes();
        let fine = !bytes.is_empty()
            && bytes.len() <= LABEL_MAX
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_');
        if !fine {
            return Err(AddressError::Domain);
        }
        last_is_number = bytes.iter().all(u8::is_ascii_digit);
    }
    if last_is_number {
        Err(AddressError::Domain)
    } else {
        Ok(())
    }
}

fn literal(inner: &str) -> Option<IpAddr> {
    match inner.split_at_checked(5) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case("IPv6:") => {
            rest.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        assert_eq!(
            Domain::parse("Example.COM").unwrap().as_str(),
            "example.com"
        );
        for good in [
            "localhost",
            "a.b",
            "a-b.c",
            "_dmarc.x",
            "x1.2y",
            "xn--bcher-kva.example",
        ] {
            assert!(Domain::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "a b",
            "a@b",
            "192.0.2.1",
            "a.1",
            "a/b",
            "[1.2.3.4]",
        ] {
            assert_eq!(Domain::parse(bad), Err(AddressError::Domain), "{bad}");
        }
        assert_eq!(
            Domain::parse("b\u{fc}cher.example"),
            Err(AddressError::NonAscii)
        );
    }

    #[test]
    fn domain_limits() {
        let label = |n| "a".repeat(n);
        assert!(Domain::parse(&label(LABEL_MAX - 1)).is_ok());
        assert!(Domain::parse(&label(LABEL_MAX)).is_ok());
        assert!(Domain::parse(&label(LABEL_MAX + 1)).is_err());
        let name = |n: usize| {
            let mut s = format!("{}.{}.{}.", label(63), label(63), label(63));
            s.push_str(&label(n - s.len()));
            s
        };
        assert!(Domain::parse(&name(DOMAIN_MAX - 1)).is_ok());
        assert!(Domain::parse(&name(DOMAIN_MAX)).is_ok());
        assert!(Domain::parse(&format!("a.{}", name(DOMAIN_MAX - 1))).is_err());
    }

    #[test]
    fn idn() {
        assert_eq!(
            Domain::parse_idn("B\u{fc}cher.example").unwrap().as_str(),
            "xn--bcher-kva.example"
        );
        assert!(Domain::parse_idn("\u{fc}..example").is_err());
    }

    #[test]
    fn literals() {
        assert_eq!(
            Host::parse("[192.0.2.1]").unwrap().to_string(),
            "[192.0.2.1]"
        );
        assert_eq!(
            Host::parse("[ipv6:2001:DB8::1]").unwrap().to_string(),
            "[IPv6:2001:db8::1]"
        );
        for bad in [
            "[",
            "[]",
            "[1.2.3]",
            "[1.2.3.4",
            "[IPv6:1.2.3.4]",
            "[2001:db8::1]",
            "[tag:x]",
            "[1.2.3.4]x",
        ] {
            assert!(Host::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hello_names() {
        for good in [
            "a",
            "[127.0.0.1]",
            "192.168.0.1",
            "my_host",
            &"a".repeat(HELLO_MAX),
        ] {
            assert!(Hello::parse(good, true).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a(b",
            "a>b",
            "\u{e9}",
            "a\tb",
            &"a".repeat(HELLO_MAX + 1),
        ] {
            assert!(Hello::parse(bad, true).is_err(), "{bad}");
        }
    }
}
