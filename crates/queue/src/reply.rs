//! The outcome of one recipient: an RFC 3463 status and the words that came with it.

use std::fmt;
use std::str::FromStr;

/// Longest text of an outcome kept or sent, in octets of UTF-8.
///
/// RFC 5321, 4.5.3.1.5 limits a reply line to 512 octets; longer, multi-line replies are cut.
pub const TEXT_MAX: usize = 512;

/// The first digit of a status: what happens to the recipient now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// 2: done, never to be tried again.
    Delivered,
    /// 4: to be tried again later.
    Deferred,
    /// 5: will never work; the sender is told.
    Failed,
}

impl Class {
    /// The digit: 2, 4 or 5.
    #[must_use]
    pub fn digit(self) -> u8 {
        match self {
            Self::Delivered => 2,
            Self::Deferred => 4,
            Self::Failed => 5,
        }
    }

    /// The class of a digit, none for anything but 2, 4, 5.
    #[must_use]
    pub fn from_digit(digit: u8) -> Option<Self> {
        match digit {
            2 => Some(Self::Delivered),
            4 => Some(Self::Deferred),
            5 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// An enhanced status code, `class.subject.detail` (RFC 3463, section 2).
///
/// Subject and detail have one to three digits each.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status {
    class: Class,
    subject: u16,
    detail: u16,
}

/// Largest value of a status code's subject or detail (three digits).
pub const STATUS_PART_MAX: u16 = 999;

/// The text or the numbers are not an RFC 3463 code of class 2, 4 or 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAStatus;

impl fmt::Display for NotAStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a status code (2, 4 or 5, then .SUBJECT.DETAIL of at most three digits)")
    }
}

impl std::error::Error for NotAStatus {}

impl Status {
    /// 2.0.0: done.
    pub const DELIVERED: Self = Self::fixed(Class::Delivered, 0, 0);
    /// 4.0.0: try again, no closer reason known.
    pub const DEFERRED: Self = Self::fixed(Class::Deferred, 0, 0);
    /// 5.0.0: failed, no closer reason known.
    pub const FAILED: Self = Self::fixed(Class::Failed, 0, 0);
    /// 5.1.1: no such mailbox.
    pub const NO_SUCH_MAILBOX: Self = Self::fixed(Class::Failed, 1, 1);
    /// 4.3.0: something in our own system is not well.
    pub const SYSTEM_DEFERRED: Self = Self::fixed(Class::Deferred, 3, 0);
    /// 5.4.6: the message goes round in a circle.
    pub const LOOP: Self = Self::fixed(Class::Failed, 4, 6);
    /// 4.4.7: the message waited longer than it may live (RFC 3463, X.4.7).
    pub const EXPIRED: Self = Self::fixed(Class::Failed, 4, 7);

    const fn fixed(class: Class, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }

    /// Builds a status.
    ///
    /// # Errors
    /// [`NotAStatus`] when subject or detail is over [`STATUS_PART_MAX`].
    pub fn new(class: Class, subject: u16, detail: u16) -> Result<Self, NotAStatus> {
        if subject > STATUS_PART_MAX || detail > STATUS_PART_MAX {
            return Err(NotAStatus);
        }
        Ok(Self::fixed(class, subject, detail))
    }

    /// First number: what happens to the recipient.
    #[must_use]
    pub fn class(self) -> Class {
        self.class
    }

    /// Second number, 0 to 999.
    #[must_use]
    pub fn subject(self) -> u16 {
        self.subject
    }

    /// Third number, 0 to 999.
    #[must_use]
    pub fn detail(self) -> u16 {
        self.detail
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class.digit(), self.subject, self.detail)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Status {
    type Err = NotAStatus;

    fn from_str(text: &str) -> Result<Self, NotAStatus> {
        let mut parts = text.split('.');
        let mut number = || -> Result<u16, NotAStatus> {
            let part = parts.next().ok_or(NotAStatus)?;
            let plain = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            if !plain {
                return Err(NotAStatus);
            }
            part.parse().map_err(|_| NotAStatus)
        };
        let (class, subject, detail) = (number()?, number()?, number()?);
        if parts.next().is_some() || text.starts_with('0') {
            return Err(NotAStatus);
        }
        let class = u8::try_from(class).ok().and_then(Class::from_digit);
        Self::new(class.ok_or(NotAStatus)?, subject, detail)
    }
}

/// True when `text` may stand in an outcome: at most [`TEXT_MAX`] octets, no control characters.
#[must_use]
pub fn is_clean(text: &str) -> bool {
    text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
}

/// Makes somebody else's words fit for an outcome.
///
/// Octets that are not UTF-8 become U+FFFD; line ends, tabs and other control characters become
/// one space; the result is cut to [`TEXT_MAX`] octets at a character's border. Reads no more
/// than the first `4 * TEXT_MAX` octets.
#[must_use]
pub fn clean(words: &[u8]) -> String {
    let head = words.get(..4 * TEXT_MAX).unwrap_or(words);
    let mut out = String::with_capacity(head.len().min(TEXT_MAX));
    for ch in String::from_utf8_lossy(head).trim().chars() {
        let ch = if ch.is_control() { ' ' } else { ch };
        if ch == ' ' && out.ends_with(' ') {
            continue;
        }
        if out.len() + ch.len_utf8() > TEXT_MAX {
            break;
        }
        out.push(ch);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn status_text() {
        for good in ["2.0.0", "4.4.7", "5.1.1", "5.999.999"] {
            assert_eq!(good.parse::<Status>().unwrap().to_string(), good);
        }
        for wrong in [
            "", "5", "5.1", "5.1.1.1", "3.0.0", "5.1000.0", "5.1.1000", "5..1", "5.1.", "05.1.1",
            "+5.1.1", " 5.1.1", "5.1.a", "261.0.0",
        ] {
            assert_eq!(wrong.parse::<Status>(), Err(NotAStatus), "{wrong}");
        }
        assert!(Status::new(Class::Failed, STATUS_PART_MAX, 0).is_ok());
        assert_eq!(
            Status::new(Class::Failed, STATUS_PART_MAX + 1, 0),
            Err(NotAStatus)
        );
        assert_eq!(
            Status::new(Class::Failed, 0, STATUS_PART_MAX + 1),
            Err(NotAStatus)
        );
    }

    #[test]
    fn cleaning() {
        assert_eq!(
            clean(b"550 no\r\n such\tuser\0\x1b[1m"),
            "550 no such user [1m"
        );
        assert_eq!(clean(b"\xff"), "\u{fffd}");
        for (len, want) in [
            (TEXT_MAX - 1, TEXT_MAX - 1),
            (TEXT_MAX, TEXT_MAX),
            (TEXT_MAX + 1, TEXT_MAX),
        ] {
            assert_eq!(clean(&vec![b'x'; len]).len(), want);
        }
        // A character of two octets never is cut in half.
        let odd = format!("x{}", "é".repeat(TEXT_MAX));
        assert_eq!(clean(odd.as_bytes()).len(), TEXT_MAX - 1);
    }

    proptest! {
        #[test]
        fn status_round_trip(class in 0..3usize, subject in 0..=STATUS_PART_MAX, detail in 0..=STATUS_PART_MAX) {
            let class = [Class::Delivered, Class::Deferred, Class::Failed][class];
            let status = Status::new(class, subject, detail).unwrap();
            prop_assert_eq!(status.to_string().parse::<Status>(), Ok(status));
        }

        #[test]
        fn whatever_is_cleaned_is_clean(words in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert!(is_clean(&clean(&words)));
        }
    }
}
