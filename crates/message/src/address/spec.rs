//! `local-part@domain` as a checked value.

use std::fmt;

use super::domain::{BadDomain, Domain};

/// Longest local part accepted, in octets without quoting.
///
/// RFC 5321 4.5.3.1.1 says 64; addresses made by programs (VERP, SRS, BATV) are often longer and
/// every system in use takes them, so the limit is the one of a whole path.
pub const LOCAL_MAX: usize = 256;

/// The left side of an address, without quotes and escapes.
///
/// Holds 1 to [`LOCAL_MAX`] octets of UTF-8 and no control character, so it can be written in a
/// header field or an SMTP command without a line break getting in. Case matters (RFC 5321 2.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPart(String);

/// An address that can be written anywhere an `addr-spec` may stand (RFC 5322 3.4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The left side.
    pub local: LocalPart,
    /// The right side.
    pub domain: Domain,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAddress {
    /// No `@` outside quotes.
    NoAt,
    /// The local part is empty.
    EmptyLocal,
    /// The local part is longer than [`LOCAL_MAX`] octets.
    LongLocal,
    /// The local part holds a control character, or one that needs quotes and has none.
    Character,
    /// A quoted local part does not end before the `@`.
    Quoting,
    /// The right side is no domain.
    Domain(BadDomain),
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadAddress::NoAt => "there is no @",
            BadAddress::EmptyLocal => "there is nothing before the @",
            BadAddress::LongLocal => "the part before the @ is longer than 256 octets",
            BadAddress::Character => {
                "the part before the @ holds a character that is not allowed there"
            }
            BadAddress::Quoting => "a quoted local part is not closed",
            BadAddress::Domain(bad) => return bad.fmt(f),
        })
    }
}

impl std::error::Error for BadAddress {}

impl LocalPart {
    /// Takes a local part by its meaning: `a b` is the mailbox that is written `"a b"`.
    ///
    /// # Errors
    /// `EmptyLocal`, `LongLocal`, or `Character` for a control character (C0, DEL, C1) or a Unicode
    /// line separator.
    pub fn new(text: &str) -> Result<LocalPart, BadAddress> {
        if text.is_empty() {
            return Err(BadAddress::EmptyLocal);
        }
        if text.len() > LOCAL_MAX {
            return Err(BadAddress::LongLocal);
        }
        if text
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
        {
            return Err(BadAddress::Character);
        }
        Ok(LocalPart(text.to_owned()))
    }

    /// The local part without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has to be written in quotes (it is no `dot-atom`).
    pub fn needs_quotes(&self) -> bool {
        !is_dot_atom(&self.0)
    }
}

/// Writes the local part as it stands in a header field: quoted when it is no dot-atom.
impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        if !self.needs_quotes() {
            return f.write_str(&self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}

impl Address {
    /// Puts two checked halves together.
    pub fn from_parts(local: LocalPart, domain: Domain) -> Address {
        Address { local, domain }
    }

    /// Reads `local@domain` or `"quoted local"@domain`, strictly: no comments, no space around.
    ///
    /// # Errors
    /// See [`BadAddress`].
    pub fn new(text: &str) -> Result<Address, BadAddress> {
        let (local, domain) = if let Some(quoted) = text.strip_prefix('"') {
            let (local, rest) = unquote(quoted).ok_or(BadAddress::Quoting)?;
            (
                LocalPart::new(&local)?,
                rest.strip_prefix('@').ok_or(BadAddress::NoAt)?,
            )
        } else {
            let (local, domain) = text.rsplit_once('@').ok_or(BadAddress::NoAt)?;
            let local = LocalPart::new(local)?;
            // Dots in wrong places are tolerated without quotes, as telephones of one country
            // hand such addresses out; they are written with quotes.
            if !local.0.chars().all(|c| is_atext(c) || c == '.') {
                return Err(BadAddress::Character);
            }
            (local, domain)
        };
        let domain = Domain::new(domain).map_err(BadAddress::Domain)?;
        Ok(Address { local, domain })
    }

    /// Whether it is pure ASCII, so that no SMTPUTF8 is needed for it (RFC 6531 3.2).
    ///
    /// A U-label domain counts as not ASCII though it could be written in ASCII.
    pub fn is_ascii(&self) -> bool {
        self.local.0.is_ascii() && self.domain.as_str().is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl std::str::FromStr for Address {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Address, BadAddress> {
        Address::new(text)
    }
}

/// `atext` of RFC 5322 3.2.3 with the non-ASCII of RFC 6532 3.2.
pub(crate) fn is_atext(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        '!' | '#' | '$' | '%' | '&' | '\'' | '*' | '+' | '-' | '/' | '=' | '?' => true,
        '^' | '_' | '`' | '{' | '|' | '}' | '~' => true,
        _ => !c.is_ascii() && !c.is_control(),
    }
}

/// `dot-atom-text` of RFC 5322 3.2.3.
pub(crate) fn is_dot_atom(text: &str) -> bool {
    !text.is_empty()
        && text
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// Reads up to the closing quote: the content without escapes, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, text.get(at + 1..)?)),
            '\\' => out.push(chars.next()?.1),
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn strict_reading() {
        for (text, local, domain) in [
            ("a@b.example", "a", "b.example"),
            ("\"a b\"@b.example", "a b", "b.example"),
            ("\"a\\\"@\\\\\"@b", "a\"@\\", "b"),
            ("用户@例え.jp", "用户", "例え.jp"),
            ("a..b@c", "a..b", "c"),
            ("o'hara+tag@[192.0.2.1]", "o'hara+tag", "[192.0.2.1]"),
        ] {
            let address = Address::new(text).unwrap();
            assert_eq!(
                (address.local.as_str(), address.domain.as_str()),
                (local, domain)
            );
        }
        for (text, why) in [
            ("", BadAddress::NoAt),
            ("a", BadAddress::NoAt),
            ("@b", BadAddress::EmptyLocal),
            ("a b@c", BadAddress::Character),
            ("a@b@c", BadAddress::Character),
            ("\"a@b", BadAddress::Quoting),
            ("\"a\"b", BadAddress::NoAt),
            ("a\r\nBcc: x@y", BadAddress::Character),
            ("\"a\r\nb\"@y", BadAddress::Character),
            ("a@", BadAddress::Domain(BadDomain::Empty)),
            ("<a@b>", BadAddress::Character),
        ] {
            assert_eq!(Address::new(text), Err(why), "{text}");
        }
        assert_eq!(Address::new("a..b@c").unwrap().to_string(), "\"a..b\"@c");
    }

    #[test]
    fn local_limit() {
        assert!(LocalPart::new(&"x".repeat(LOCAL_MAX - 1)).is_ok());
        assert!(LocalPart::new(&"x".repeat(LOCAL_MAX)).is_ok());
        assert_eq!(
            LocalPart::new(&"x".repeat(LOCAL_MAX + 1)),
            Err(BadAddress::LongLocal)
        );
    }

    proptest! {
        #[test]
        fn written_and_read_back(local in "\\PC{1,40}") {
            if let Ok(local) = LocalPart::new(&local) {
                let address = Address::from_parts(local, Domain::new("example.org").unwrap());
                prop_assert_eq!(Address::new(&address.to_string()), Ok(address));
            }
        }
    }
}
