//! Checked values: what the rest of the core trusts without looking again.

use std::fmt;

use crate::limits::UID_MAX;

/// A login name: 1 octet or more, UTF-8, no control character (RFC 1939, 7, USER).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserName(Box<str>);

impl UserName {
    /// Checks a name as it came from the client. `None`: empty, not UTF-8, or a control
    /// character in it (C0, DEL or C1).
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if text.is_empty() || text.chars().any(char::is_control) {
            return None;
        }
        Some(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserName({:?})", self.as_str())
    }
}

/// A password as the client sent it: the rest of the PASS line, spaces included.
///
/// It is never shown; its memory is overwritten when it goes, as far as safe code can do that.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// Checks a password. `None`: empty or an ASCII control octet in it.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.iter().any(u8::is_ascii_control) {
            return None;
        }
        Some(Self(bytes.to_vec()))
    }

    /// The octets, for the one place that sends them to the password check.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from dropping the store above as dead.
        std::hint::black_box(&self.0);
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(<redacted>)")
    }
}

/// A unique-id of a message: 1 to [`UID_MAX`] octets from 0x21 to 0x7E (RFC 1939, 7, UIDL).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid<'a>(&'a str);

impl<'a> Uid<'a> {
    /// Checks a unique-id. `None`: empty, too long, or an octet outside 0x21 to 0x7E.
    #[must_use]
    pub fn new(text: &'a str) -> Option<Self> {
        let fits = (1..=UID_MAX).contains(&text.len());
        (fits && text.bytes().all(|b| (0x21..=0x7e).contains(&b))).then_some(Self(text))
    }

    /// For a list that was asked for a message it doesn't have: `unknown`.
    pub const UNKNOWN: Uid<'static> = Uid("unknown");

    /// The unique-id.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// The messages of a mailbox as they stood at login, in the order of their numbers.
///
/// The list must not change while a session holds it: RFC 1939 numbers messages once. `index`
/// is the message number minus one; the session asks only for indexes below `count`.
pub trait Messages {
    /// How many messages there are, deleted-marked ones included.
    fn count(&self) -> u32;
    /// Octets that RETR sends for this message: line ends as CRLF, stuffed dots and the final
    /// dot line not counted.
    fn size(&self, index: u32) -> u64;
    /// The unique-id of this message, different for each message of the list.
    fn uid(&self, index: u32) -> Uid<'_>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_limits() {
        let long = "x".repeat(UID_MAX);
        assert!(Uid::new(&long[1..]).is_some());
        assert!(Uid::new(&long).is_some());
        assert!(Uid::new(&format!("{long}x")).is_none());
        assert!(Uid::new("").is_none());
        for (text, good) in [
            ("!", true),
            ("~", true),
            (" ", false),
            ("\x7f", false),
            ("é", false),
        ] {
            assert_eq!(Uid::new(text).is_some(), good, "{text:?}");
        }
    }

    #[test]
    fn names_and_passwords() {
        assert!(UserName::new(b"anna").is_some());
        assert!(UserName::new("jürgen@example.org".as_bytes()).is_some());
        for bad in [&b""[..], b"a\0b", b"a\x7f", b"\xff", "a\u{85}".as_bytes()] {
            assert!(UserName::new(bad).is_none(), "{bad:?}");
        }
        assert!(Password::new(b" with spaces \xff").is_some());
        for bad in [&b""[..], b"a\0", b"a\tb"] {
            assert!(Password::new(bad).is_none(), "{bad:?}");
        }
        let shown = format!("{:?}", Password::new(b"hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
