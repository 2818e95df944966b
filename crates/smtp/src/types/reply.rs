//! A reply as a value: code, enhanced code, lines.

use super::status::{EnhancedCode, StatusClass};

/// First digit of a reply code (RFC 5321, 4.2.1). Replies that begin with 1 do not occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyClass {
    /// 2yz.
    Positive,
    /// 3yz: the server waits for more.
    Intermediate,
    /// 4yz.
    Transient,
    /// 5yz.
    Permanent,
}

/// A reply code, 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyCode(u16);

impl ReplyCode {
    /// `None` outside of 200 to 599.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 200 && code <= 599 {
            Some(Self(code))
        } else {
            None
        }
    }

    /// The three digits as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// What the first digit says.
    #[must_use]
    pub const fn class(self) -> ReplyClass {
        match self.0 / 100 {
            2 => ReplyClass::Positive,
            3 => ReplyClass::Intermediate,
            4 => ReplyClass::Transient,
            _ => ReplyClass::Permanent,
        }
    }
}

/// One reply, its lines joined by LF, each cleaned of control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: ReplyCode,
    text: String,
}

impl Reply {
    /// Control characters in `text` other than LF, which separates lines, become `?`.
    #[must_use]
    pub fn new(code: ReplyCode, text: &str) -> Self {
        let clean = |c: char| c != '\n' && c.is_control();
        let text = if text.contains(clean) {
            text.replace(clean, "?")
        } else {
            text.to_owned()
        };
        Self { code, text }
    }

    /// The code, the same in every line.
    #[must_use]
    pub const fn code(&self) -> ReplyCode {
        self.code
    }

    /// The texts of the lines without their codes; an enhanced code is still in there.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// The enhanced code of the first line when its class fits the reply code (RFC 2034, 4).
    #[must_use]
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        let (code, _) = EnhancedCode::take(self.lines().next().unwrap_or(""))?;
        let fits = matches!(
            (self.code.class(), code.class()),
            (ReplyClass::Positive, StatusClass::Success)
                | (ReplyClass::Transient, StatusClass::Transient)
                | (ReplyClass::Permanent, StatusClass::Permanent)
        );
        fits.then_some(code)
    }

    /// The reply in one line for logs and reports: code and all texts, at most `max` octets,
    /// cut at a character's end.
    #[must_use]
    pub fn words(&self, max: usize) -> String {
        let mut out = self.code.0.to_string();
        for line in self.lines() {
            out.push(' ');
            out.push_str(line);
            if out.len() > max {
                break;
            }
        }
        let mut end = out.len().min(max);
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        let kept = out.trim_end().len();
        out.truncate(kept);
        out
    }

    /// Appends the reply in wire form, `250-first CRLF 250 last CRLF`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let code = self.code.0.to_string();
        let mut lines = self.lines().peekable();
        while let Some(line) = lines.next() {
            out.extend_from_slice(code.as_bytes());
            out.push(if lines.peek().is_some() { b'-' } else { b' ' });
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        Reply::new(ReplyCode::new(code).unwrap(), text)
    }

    #[test]
    fn codes_have_bounds() {
        assert!(ReplyCode::new(199).is_none() && ReplyCode::new(600).is_none());
        assert!(ReplyCode::new(200).is_some() && ReplyCode::new(599).is_some());
    }

    #[test]
    fn enhanced_must_fit() {
        assert_eq!(
            reply(550, "5.1.1 no").enhanced(),
            Some(EnhancedCode::never(1, 1))
        );
        assert_eq!(reply(550, "4.1.1 no").enhanced(), None);
        assert_eq!(reply(354, "2.0.0 go").enhanced(), None);
    }

    #[test]
    fn words_are_bounded_and_clean() {
        assert_eq!(reply(550, "a\u{1b}[31m\nb").words(512), "550 a?[31m b");
        assert_eq!(reply(550, "xé").words(6), "550 x");
        assert_eq!(reply(250, "").words(512), "250");
    }
}
