//! Domain names as this crate keeps them: checked once, lower case, no trailing dot.

use std::fmt;

/// Longest name in octets of its dotted form (RFC 1035, 2.3.4: 255 on the wire).
pub const NAME_MAX: usize = 253;

/// Longest label in octets (RFC 1035, 2.3.4).
pub const LABEL_MAX: usize = 63;

/// A complete domain name: 1 to 127 labels of 1 to 63 graphic ASCII octets, in lower case,
/// joined by dots, without the dot of the root.
///
/// Equality is that of RFC 4343 (case does not count), because the case is folded on the way in.
/// Internationalised names come in their `xn--` form; nothing here turns them into Unicode.
/// A label with an octet outside of graphic ASCII, or with a dot, a backslash or a quote inside,
/// can't be the name of a mail host and is refused.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

/// Why something is not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing between two dots, at the start, or at all (the root is not a name here).
    Empty,
    /// A label of more than [`LABEL_MAX`] octets.
    LabelTooLong,
    /// More than [`NAME_MAX`] octets.
    TooLong,
    /// An octet that no name of ours has.
    BadOctet(u8),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty label"),
            Self::LabelTooLong => write!(f, "label longer than {LABEL_MAX} octets"),
            Self::TooLong => write!(f, "name longer than {NAME_MAX} octets"),
            Self::BadOctet(octet) => write!(f, "octet 0x{octet:02x} in a name"),
        }
    }
}

impl std::error::Error for NameError {}

const fn allowed(octet: u8) -> bool {
    matches!(octet, 0x21..=0x7e) && !matches!(octet, b'\\' | b'"' | b'.')
}

impl Name {
    /// Takes a dotted name; one trailing dot is accepted and dropped.
    ///
    /// # Errors
    /// [`NameError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::from_labels(text.split('.').map(str::as_bytes))
    }

    /// Builds a name from its labels, as they stand on the wire.
    ///
    /// # Errors
    /// [`NameError`] says which rule the labels break.
    pub fn from_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut text = String::with_capacity(32);
        let mut first = true;
        for label in labels {
            if label.is_empty() {
                return Err(NameError::Empty);
            }
            if label.len() > LABEL_MAX {
                return Err(NameError::LabelTooLong);
            }
            if !first {
                text.push('.');
            }
            first = false;
            for &octet in label {
                if !allowed(octet) {
                    return Err(NameError::BadOctet(octet));
                }
                text.push(char::from(octet.to_ascii_lowercase()));
            }
            if text.len() > NAME_MAX {
                return Err(NameError::TooLong);
            }
        }
        if first {
            return Err(NameError::Empty);
        }
        Ok(Self(text.into_boxed_str()))
    }

    /// The name `label` directly below this one, as `_25._tcp` below a host for TLSA.
    ///
    /// # Errors
    /// [`NameError`] when the longer name breaks a limit.
    pub fn below(&self, prefix: &str) -> Result<Self, NameError> {
        Self::from_labels(
            prefix
                .split('.')
                .chain(self.0.split('.'))
                .map(str::as_bytes),
        )
    }

    /// The name that holds the PTR records of an address (RFC 1035, 3.5; RFC 3596, 2.5).
    pub fn reverse(address: std::net::IpAddr) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(72);
        // Writing to a String can't fail.
        match address {
            std::net::IpAddr::V4(v4) => {
                for octet in v4.octets().iter().rev() {
                    let _ = write!(text, "{octet}.");
                }
                text.push_str("in-addr.arpa");
            }
            std::net::IpAddr::V6(v6) => {
                for octet in v6.octets().iter().rev() {
                    let _ = write!(text, "{:x}.{:x}.", octet & 15, octet >> 4);
                }
                text.push_str("ip6.arpa");
            }
        }
        Self(text.into_boxed_str())
    }

    /// The dotted form in lower case, without a trailing dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_trailing_dot_do_not_count() {
        assert_eq!(Name::parse("MX.Example."), Name::parse("mx.example"));
        assert_eq!(Name::parse("MX.Example.").unwrap().as_str(), "mx.example");
    }

    #[test]
    fn refused() {
        for (text, why) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::Empty),
            (".a", NameError::Empty),
            ("a b", NameError::BadOctet(b' ')),
            ("a\\.b", NameError::BadOctet(b'\\')),
            ("a\0b", NameError::BadOctet(0)),
            ("ü.example", NameError::BadOctet(0xc3)),
        ] {
            assert_eq!(Name::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(
            Name::from_labels([&b"a.b"[..]].into_iter()),
            Err(NameError::BadOctet(b'.'))
        );
    }

    #[test]
    fn label_limit() {
        for length in [LABEL_MAX - 1, LABEL_MAX] {
            assert!(Name::parse(&"a".repeat(length)).is_ok());
        }
        assert_eq!(
            Name::parse(&"a".repeat(LABEL_MAX + 1)),
            Err(NameError::LabelTooLong)
        );
    }

    #[test]
    fn name_limit() {
        let long = |last: usize| format!("{}{}", "abcdefghi.".repeat(25), "z".repeat(last));
        assert!(Name::parse(&long(2)).is_ok());
        assert_eq!(Name::parse(&long(3)).unwrap().as_str().len(), NAME_MAX);
        assert_eq!(Name::parse(&long(4)), Err(NameError::TooLong));
        assert_eq!(
            Name::parse(&long(1)).unwrap().below("abc"),
            Err(NameError::TooLong)
        );
    }

    #[test]
    fn underscores_and_punycode_stay_as_they_are() {
        let name = Name::parse("a-b_c.xn--bcher-kva.example").unwrap();
        assert_eq!(
            name.below("_25._tcp").unwrap().as_str(),
            "_25._tcp.a-b_c.xn--bcher-kva.example"
        );
    }

    #[test]
    fn reverse_names() {
        assert_eq!(
            Name::reverse("192.0.2.7".parse().unwrap()).as_str(),
            "7.2.0.192.in-addr.arpa"
        );
        let six = Name::reverse("2001:db8::1".parse().unwrap());
        assert!(
            six.as_str().starts_with("1.0.0.0.0.0.")
                && six.as_str().ends_with("8.b.d.0.1.0.0.2.ip6.arpa")
        );
        assert_eq!(Name::parse(six.as_str()), Ok(six.clone()));
    }
}
