//! Enhanced status codes (RFC 3463, registry of RFC 5248).

use std::fmt;

/// First number of an enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusClass {
    /// 2: done.
    Success = 2,
    /// 4: not now, try again.
    Transient = 4,
    /// 5: not ever in this form.
    Permanent = 5,
}

/// `class.subject.detail` of RFC 3463, 2. Subject and detail are 0 to 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EnhancedCode {
    class: StatusClass,
    subject: u16,
    detail: u16,
}

impl EnhancedCode {
    /// Numbers above 999 are cut to 999; they cannot be written in three digits.
    #[must_use]
    pub const fn new(class: StatusClass, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject: clamp(subject),
            detail: clamp(detail),
        }
    }

    /// A success code, `2.subject.detail`.
    #[must_use]
    pub const fn ok(subject: u16, detail: u16) -> Self {
        Self::new(StatusClass::Success, subject, detail)
    }

    /// A persistent transient failure, `4.subject.detail`.
    #[must_use]
    pub const fn later(subject: u16, detail: u16) -> Self {
        Self::new(StatusClass::Transient, subject, detail)
    }

    /// A permanent failure, `5.subject.detail`.
    #[must_use]
    pub const fn never(subject: u16, detail: u16) -> Self {
        Self::new(StatusClass::Permanent, subject, detail)
    }

    /// Whether this is success, a transient or a permanent failure.
    #[must_use]
    pub const fn class(self) -> StatusClass {
        self.class
    }

    /// Second number, RFC 3463, 3.
    #[must_use]
    pub const fn subject(self) -> u16 {
        self.subject
    }

    /// Third number.
    #[must_use]
    pub const fn detail(self) -> u16 {
        self.detail
    }

    /// Reads a code at the start of `text` and returns it with what follows it and one space.
    ///
    /// `status-code = class "." subject "." detail`, each of the last two 1 to 3 digits without
    /// a leading zero (RFC 3463, 2). `None` when the text does not begin with a code that is
    /// followed by a space or the end.
    #[must_use]
    pub fn take(text: &str) -> Option<(Self, &str)> {
        let (class, rest) = text.split_at_checked(1)?;
        let class = match class {
            "2" => StatusClass::Success,
            "4" => StatusClass::Transient,
            "5" => StatusClass::Permanent,
            _ => return None,
        };
        let (subject, rest) = number(rest.strip_prefix('.')?)?;
        let (detail, rest) = number(rest.strip_prefix('.')?)?;
        let rest = match rest.strip_prefix(' ') {
            Some(after) => after,
            None if rest.is_empty() => rest,
            None => return None,
        };
        Some((
            Self {
                class,
                subject,
                detail,
            },
            rest,
        ))
    }

    /// Reads a text that is a code and nothing else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match Self::take(text) {
            Some((code, "")) if !text.ends_with(' ') => Some(code),
            _ => None,
        }
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class as u8, self.subject, self.detail)
    }
}

const fn clamp(n: u16) -> u16 {
    if n > 999 { 999 } else { n }
}

/// One to three digits, no leading zero unless it is the zero itself.
fn number(text: &str) -> Option<(u16, &str)> {
    let digits = text.bytes().take(4).take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 3 {
        return None;
    }
    let (head, rest) = text.split_at_checked(digits)?;
    if digits > 1 && head.starts_with('0') {
        return None;
    }
    Some((head.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_codes_and_what_follows() {
        assert_eq!(
            EnhancedCode::take("5.1.1 no"),
            Some((EnhancedCode::never(1, 1), "no"))
        );
        assert_eq!(
            EnhancedCode::take("4.7.999"),
            Some((EnhancedCode::later(7, 999), ""))
        );
        for bad in [
            "", "5", "5.", "5.1", "5.1.", "3.1.1", "5.1.1x", "5.01.1", "5.1.1000", "5.1000.1",
            "5..1", "５.1.1",
        ] {
            assert_eq!(EnhancedCode::take(bad), None, "{bad}");
        }
    }

    #[test]
    fn whole_text_only() {
        assert_eq!(EnhancedCode::parse("2.0.0"), Some(EnhancedCode::ok(0, 0)));
        assert_eq!(EnhancedCode::parse("2.0.0 "), None);
        assert_eq!(EnhancedCode::parse("2.0.0 x"), None);
    }

    #[test]
    fn numbers_are_cut() {
        assert_eq!(EnhancedCode::ok(1000, 999).to_string(), "2.999.999");
    }
}
