//! `local-part@domain`.

use std::borrow::Cow;
use std::fmt;

use super::domain::{AddressError, Host};

/// Longest local part in octets, counted as written, quotes included.
///
/// RFC 5321, 4.5.3.1.1 asks for at least 64; bounce addresses that carry another address in
/// themselves are longer in practice.
pub const LOCAL_PART_MAX: usize = 255;

/// An address of RFC 5321, 4.1.2: `Mailbox = Local-part "@" ( Domain / address-literal )`.
///
/// Held in one canonical form: the domain in lower case, the local part quoted only where its
/// characters need it (`"a.b"@x` and `a.b@x` are the same mailbox), its case kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: Box<str>,
    at: u16,
}

impl Mailbox {
    /// Reads a whole text as a mailbox.
    ///
    /// # Errors
    /// Which part is wrong. ASCII only.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (mailbox, rest) = Self::take(text)?;
        if rest.is_empty() {
            Ok(mailbox)
        } else {
            Err(AddressError::Domain)
        }
    }

    /// Puts a mailbox together from a bare (unquoted, unescaped) local part and a host.
    ///
    /// # Errors
    /// [`AddressError::LocalPart`] when the local part is empty, holds anything but printable
    /// ASCII and space, or is too long once quoted.
    pub fn new(local: &str, host: &Host) -> Result<Self, AddressError> {
        let mut text = String::with_capacity(local.len() + 24);
        if is_dot_string(local) {
            text.push_str(local);
        } else {
            quote(local, &mut text)?;
        }
        if text.len() > LOCAL_PART_MAX {
            return Err(AddressError::LocalPart);
        }
        let at = u16::try_from(text.len()).map_err(|_| AddressError::LocalPart)?;
        text.push('@');
        text.push_str(&host.to_string());
        Ok(Self {
            text: text.into_boxed_str(),
            at,
        })
    }

    /// Reads a mailbox at the start of `text`; the host ends at `>`, a space or the end.
    pub(crate) fn take(text: &str) -> Result<(Self, &str), AddressError> {
        if !text.is_ascii() {
            return Err(AddressError::NonAscii);
        }
        let (local, rest) = if text.starts_with('"') {
            take_quoted(text)?
        } else {
            take_dot_string(text)?
        };
        let rest = rest.strip_prefix('@').ok_or(AddressError::Syntax)?;
        let end = rest
            .bytes()
            .position(|b| matches!(b, b'>' | b' '))
            .unwrap_or(rest.len());
        let (host, rest) = rest.split_at_checked(end).ok_or(AddressError::Domain)?;
        Ok((Self::new(&local, &Host::parse(host)?)?, rest))
    }

    /// The whole address in canonical form, as it goes over the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The local part in wire form: with quotes when it needs them.
    #[must_use]
    pub fn local_wire(&self) -> &str {
        self.text.get(..usize::from(self.at)).unwrap_or("")
    }

    /// The local part itself: quotes and escapes removed. This is what is looked up.
    #[must_use]
    pub fn local(&self) -> Cow<'_, str> {
        let wire = self.local_wire();
        match wire.strip_prefix('"').and_then(|w| w.strip_suffix('"')) {
            None => Cow::Borrowed(wire),
            Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
            Some(inner) => {
                let mut out = String::with_capacity(inner.len());
                let mut chars = inner.chars();
                while let Some(c) = chars.next() {
                    out.extend(if c == '\\' { chars.next() } else { Some(c) });
                }
                Cow::Owned(out)
            }
        }
    }

    /// The part behind the `@`: a lower-case domain or a bracketed address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text.get(usize::from(self.at) + 1..).unwrap_or("")
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `atext` of RFC 5322, 3.2.3.
const fn is_atext(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

/// `Dot-string = Atom *("." Atom)`.
fn is_dot_string(text: &str) -> bool {
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

fn take_dot_string(text: &str) -> Result<(Cow<'_, str>, &str), AddressError> {
    let end = text
        .bytes()
        .position(|b| !is_atext(b) && b != b'.')
        .unwrap_or(text.len());
    let (local, rest) = text.split_at_checked(end).ok_or(AddressError::Syntax)?;
    if local.len() > LOCAL_PART_MAX || !is_dot_string(local) {
        return Err(AddressError::LocalPart);
    }
    Ok((Cow::Borrowed(local), rest))
}

/// `Quoted-string = DQUOTE *QcontentSMTP DQUOTE`, content 32-126, `\` before any of them.
fn take_quoted(text: &str) -> Result<(Cow<'_, str>, &str), AddressError> {
    let mut out = String::new();
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((i, b)) = bytes.next() {
        if i >= LOCAL_PART_MAX {
            return Err(AddressError::LocalPart);
        }
        let b = match b {
            b'"' => {
                let rest = text.get(i + 1..).unwrap_or("");
                if out.is_empty() {
                    return Err(AddressError::LocalPart);
                }
                return Ok((Cow::Owned(out), rest));
            }
            b'\\' => bytes.next().map_or(0, |(_, b)| b),
            other => other,
        };
        if !(32..=126).contains(&b) {
            return Err(AddressError::LocalPart);
        }
        out.push(char::from(b));
    }
    Err(AddressError::LocalPart)
}

fn quote(local: &str, out: &mut String) -> Result<(), AddressError> {
    if local.is_empty() {
        return Err(AddressError::LocalPart);
    }
    out.push('"');
    for c in local.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => return Err(AddressError::LocalPart),
        }
    }
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        for (input, canon, local, host) in [
            ("a@b.c", "a@b.c", "a", "b.c"),
            (
                "John.Doe@Example.ORG",
                "John.Doe@example.org",
                "John.Doe",
                "example.org",
            ),
            ("\"a.b\"@x", "a.b@x", "a.b", "x"),
            ("\"a b\"@x", "\"a b\"@x", "a b", "x"),
            ("\"a\\\"b\"@x", "\"a\\\"b\"@x", "a\"b", "x"),
            ("\"u@evil\"@x", "\"u@evil\"@x", "u@evil", "x"),
            ("u%d@x", "u%d@x", "u%d", "x"),
            ("a!b@x", "a!b@x", "a!b", "x"),
            ("u@[192.0.2.1]", "u@[192.0.2.1]", "u", "[192.0.2.1]"),
        ] {
            let m = Mailbox::parse(input).unwrap();
            assert_eq!((m.as_str(), &*m.local(), m.host()), (canon, local, host));
        }
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a",
            "a@b@c",
            ".a@b",
            "a.@b",
            "a..b@c",
            "\"\"@b",
            "\"a@b",
            "\"a\"b@c",
            "a b@c",
            "a@b.",
            "a@1.2.3.4",
            "<a@b>",
            "\"\t\"@b",
            "\"a\\\"@b",
        ] {
            assert!(Mailbox::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Mailbox::parse("\u{e9}@b"), Err(AddressError::NonAscii));
    }

    #[test]
    fn local_part_limit() {
        let at = |n: usize| Mailbox::parse(&format!("{}@b", "a".repeat(n)));
        assert!(at(LOCAL_PART_MAX - 1).is_ok() && at(LOCAL_PART_MAX).is_ok());
        assert_eq!(at(LOCAL_PART_MAX + 1), Err(AddressError::LocalPart));
        let quoted = |n: usize| Mailbox::parse(&format!("\"{} \"@b", "a".repeat(n - 3)));
        assert!(quoted(LOCAL_PART_MAX - 1).is_ok() && quoted(LOCAL_PART_MAX).is_ok());
        assert_eq!(quoted(LOCAL_PART_MAX + 1), Err(AddressError::LocalPart));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_local_part_survives(local in "[ -~]{1,100}") {
            let m = Mailbox::new(&local, &Host::parse("x.example").unwrap()).unwrap();
            prop_assert_eq!(&*m.local(), &local);
            let again = Mailbox::parse(m.as_str()).unwrap();
            prop_assert_eq!(again, m);
        }

        #[test]
        fn accepted_text_is_stable(text in "\\PC{0,40}@\\PC{0,20}|[\"a-z.@\\\\ \\[\\]:0-9]{0,30}") {
            if let Ok(m) = Mailbox::parse(&text) {
                let again = Mailbox::parse(m.as_str()).unwrap();
                prop_assert_eq!(again.as_str(), m.as_str());
            }
        }
    }
}
