//! The right side of an address: a host name, an internationalised name, or an address literal.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest domain accepted, in octets as written (RFC 5321 4.5.3.1.2).
pub const DOMAIN_MAX: usize = 255;
/// Longest label of a domain, in octets of its ASCII form (RFC 1035 2.3.4).
pub const LABEL_MAX: usize = 63;

/// A domain that can stand after the `@` of an address.
///
/// Holds either a name of one or more labels (letters, digits, hyphen, underscore, and U-labels of
/// RFC 5890 that map to valid A-labels) or an address literal in brackets (RFC 5321 4.1.3).
/// Comparison is by what is written; [`Domain::same_as`] compares as DNS does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

/// Why a text is no domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadDomain {
    /// There is nothing.
    Empty,
    /// More than [`DOMAIN_MAX`] octets.
    TooLong,
    /// A label is empty (two dots, or a dot at the end) or longer than [`LABEL_MAX`].
    Label,
    /// A character that no host name holds.
    Character,
    /// A name that looks international but does not map to ASCII (RFC 5891).
    International,
    /// Brackets that hold neither an IPv4 nor an `IPv6:` address nor a `tag:` literal.
    Literal,
}

impl fmt::Display for BadDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadDomain::Empty => "the domain is empty",
            BadDomain::TooLong => "the domain is longer than 255 octets",
            BadDomain::Label => {
                "a part of the domain between dots is empty or longer than 63 octets"
            }
            BadDomain::Character => "the domain holds a character that no host name holds",
            BadDomain::International => "the international domain has no ASCII form",
            BadDomain::Literal => "the address literal in brackets is not an IP address",
        })
    }
}

impl std::error::Error for BadDomain {}

impl Domain {
    /// Checks a domain as it stands in an address, without surrounding space.
    ///
    /// # Errors
    /// See [`BadDomain`]. One final dot is refused: it is valid in DNS and not in mail.
    pub fn new(text: &str) -> Result<Domain, BadDomain> {
        Domain::check(text)?;
        Ok(Domain(text.to_owned()))
    }

    /// Checks without making one.
    ///
    /// # Errors
    /// As [`Domain::new`].
    pub fn check(text: &str) -> Result<(), BadDomain> {
        if text.is_empty() {
            return Err(BadDomain::Empty);
        }
        if text.len() > DOMAIN_MAX {
            return Err(BadDomain::TooLong);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let inner = rest.strip_suffix(']').ok_or(BadDomain::Literal)?;
            return check_literal(inner);
        }
        if text.is_ascii() {
            check_name(text)
        } else {
            if text
                .bytes()
                .any(|b| b < 0x80 && !name_octet(b) && b != b'.')
            {
                return Err(BadDomain::Character);
            }
            let ascii = idna::domain_to_ascii(text).map_err(|_| BadDomain::International)?;
            check_name(&ascii)
        }
    }

    /// The literal for an IP address, `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
    pub fn literal(address: IpAddr) -> Domain {
        Domain(match address {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
        })
    }

    /// The domain as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The IP address of a literal, `None` for names and for literals of another kind.
    pub fn ip(&self) -> Option<IpAddr> {
        let inner = self.0.strip_prefix('[')?.strip_suffix(']')?;
        literal_ip(inner)
    }

    /// Whether this is an address literal.
    pub fn is_literal(&self) -> bool {
        self.0.starts_with('[')
    }

    /// The ASCII form for DNS and for SMTP without SMTPUTF8, in lower case where it changes.
    pub fn to_ascii(&self) -> Cow<'_, str> {
        if self.0.is_ascii() {
            return Cow::Borrowed(&self.0);
        }
        // The constructor has seen this very mapping succeed.
        match idna::domain_to_ascii(&self.0) {
            Ok(ascii) => Cow::Owned(ascii),
            Err(_) => Cow::Borrowed(&self.0),
        }
    }

    /// The form for people: A-labels become U-labels where they are valid (RFC 5891 5.3).
    pub fn to_unicode(&self) -> Cow<'_, str> {
        if self.is_literal() || !self.0.to_ascii_lowercase().contains("xn--") {
            return Cow::Borrowed(&self.0);
        }
        let (text, result) = idna::domain_to_unicode(&self.0);
        match result {
            Ok(()) => Cow::Owned(text),
            Err(_) => Cow::Borrowed(&self.0),
        }
    }

    /// Whether both name the same host: letter case and the IDN form make no difference.
    pub fn same_as(&self, other: &Domain) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
            || self.to_ascii().eq_ignore_ascii_case(&other.to_ascii())
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn name_octet(b: u8) -> bool {
    // The underscore is no host name, yet such domains exist and receive mail.
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

fn check_name(name: &str) -> Result<(), BadDomain> {
    if name.len() > DOMAIN_MAX {
        return Err(BadDomain::TooLong);
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_MAX {
            return Err(BadDomain::Label);
        }
        if !label.bytes().all(name_octet) {
            return Err(BadDomain::Character);
        }
    }
    Ok(())
}

fn literal_ip(inner: &str) -> Option<IpAddr> {
    match inner.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            inner.get(5..)?.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => inner.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn check_literal(inner: &str) -> Result<(), BadDomain> {
    if literal_ip(inner).is_some() {
        return Ok(());
    }
    // General-address-literal: a registered tag, a colon, printable characters (RFC 5321 4.1.3).
    let (tag, content) = inner.split_once(':').ok_or(BadDomain::Literal)?;
    let tag_is_fine = !tag.is_empty()
        && !tag.eq_ignore_ascii_case("IPv6")
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !tag.ends_with('-');
    let content_is_fine = !content.is_empty()
        && content
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'[' | b']' | b'\\'));
    if tag_is_fine && content_is_fine {
        Ok(())
    } else {
        Err(BadDomain::Literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_literals() {
        for good in [
            "example.org",
            "a",
            "x_y.example",
            "EXAMPLE.ORG",
            "[192.0.2.1]",
            "[IPv6:2001:db8::1]",
            "[ipv6:::1]",
            "[x-tag:anything!]",
            "例え.jp",
            "bücher.example",
            "xn--r8jz45g.jp",
            "1.2.3.4",
        ] {
            assert!(Domain::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", BadDomain::Empty),
            (".", BadDomain::Label),
            ("a..b", BadDomain::Label),
            ("a.", BadDomain::Label),
            ("a b", BadDomain::Character),
            ("a\r\nb", BadDomain::Character),
            ("é\r\nb", BadDomain::Character),
            ("[1.2.3]", BadDomain::Literal),
            ("[1.2.3.4", BadDomain::Literal),
            ("[IPv6:zz]", BadDomain::Literal),
            ("[x:a]b]", BadDomain::Literal),
            ("[x:a\n]", BadDomain::Literal),
        ] {
            assert_eq!(Domain::new(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn limits() {
        let label = |n: usize| "a".repeat(n);
        assert!(Domain::new(&label(LABEL_MAX - 1)).is_ok());
        assert!(Domain::new(&label(LABEL_MAX)).is_ok());
        assert_eq!(Domain::new(&label(LABEL_MAX + 1)), Err(BadDomain::Label));
        let name = |n: usize| {
            let mut text = format!("{}.", label(49)).repeat(5);
            text.push_str(&label(n - text.len()));
            text
        };
        assert!(Domain::new(&name(DOMAIN_MAX - 1)).is_ok());
        assert!(Domain::new(&name(DOMAIN_MAX)).is_ok());
        assert_eq!(Domain::new(&name(DOMAIN_MAX + 1)), Err(BadDomain::TooLong));
    }

    #[test]
    fn idn_both_ways() {
        let u = Domain::new("bücher.example").unwrap();
        assert_eq!(u.to_ascii(), "xn--bcher-kva.example");
        let a = Domain::new("XN--bcher-kva.example").unwrap();
        assert_eq!(a.to_unicode(), "bücher.example");
        assert!(u.same_as(&a));
        assert!(!u.same_as(&Domain::new("bucher.example").unwrap()));
    }

    #[test]
    fn literal_round_trip() {
        for ip in ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"] {
            let ip: IpAddr = ip.parse().unwrap();
            let domain = Domain::literal(ip);
            assert_eq!(Domain::new(domain.as_str()), Ok(domain.clone()));
            assert_eq!(domain.ip(), Some(ip));
        }
    }
}
