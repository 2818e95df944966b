//! The reader of replies (RFC 5321, 4.2).

use std::fmt;

use memchr::memchr;

use crate::types::{Reply, ReplyCode};

/// Longest reply line accepted, in octets, CR LF included. RFC 5321, 4.5.3.1.5 asks for 512.
pub const REPLY_LINE_MAX: usize = 2_048;
/// Most lines of one reply.
pub const REPLY_LINES_MAX: usize = 128;
/// How many octets of text of one reply are kept; what is beyond is read and dropped.
pub const REPLY_TEXT_MAX: usize = 8_192;

/// Why what came is no reply. The connection is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A line without three digits at its head, or something else than space, `-` or the
    /// line's end behind them.
    Syntax,
    /// Lines of one reply with different codes.
    MixedCodes,
    /// LF without CR, or CR without LF.
    LineEnd,
    /// A line above [`REPLY_LINE_MAX`].
    LongLine,
    /// More than [`REPLY_LINES_MAX`] lines.
    ManyLines,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not an SMTP reply",
            Self::MixedCodes => "one reply with two codes",
            Self::LineEnd => "reply line not ended by CR LF",
            Self::LongLine => "reply line too long",
            Self::ManyLines => "reply with too many lines",
        })
    }
}

impl std::error::Error for ReplyError {}

/// Gathers replies from bytes that come in pieces.
///
/// `Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF`
#[derive(Debug, Default)]
pub struct ReplyParser {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    code: Option<u16>,
    text: String,
    lines: usize,
}

impl ReplyParser {
    /// A parser that waits for the first octet of a reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// True when part of a reply has been read.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.code.is_some() || !self.partial.is_empty()
    }

    /// Reads from `input`, moves it behind what was read and returns the reply once it is
    /// whole; `None` when all input was read and more is needed.
    ///
    /// # Errors
    /// See [`ReplyError`].
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while let Some(lf) = memchr(b'\n', input) {
            let (line, rest) = input.split_at_checked(lf + 1).ok_or(ReplyError::Syntax)?;
            *input = rest;
            if self.partial.len() + line.len() > REPLY_LINE_MAX {
                return Err(ReplyError::LongLine);
            }
            let done = if self.partial.is_empty() {
                self.line(line)?
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                let done = self.line(&whole)?;
                whole.clear();
                self.partial = whole;
                done
            };
            if let Some(code) = done {
                let text = std::mem::take(&mut self.text);
                (self.code, self.lines) = (None, 0);
                return Ok(Some(Reply::new(code, &text)));
            }
        }
        if self.partial.len() + input.len() >= REPLY_LINE_MAX {
            return Err(ReplyError::LongLine);
        }
        self.partial.extend_from_slice(input);
        *input = &[];
        Ok(None)
    }

    /// One line with its LF; gives the code when it is the last one of its reply.
    fn line(&mut self, line: &[u8]) -> Result<Option<ReplyCode>, ReplyError> {
        let line = line.strip_suffix(b"\r\n").ok_or(ReplyError::LineEnd)?;
        if memchr(b'\r', line).is_some() {
            return Err(ReplyError::LineEnd);
        }
        let (code, rest) = match line {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => (
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'),
                rest,
            ),
            _ => return Err(ReplyError::Syntax),
        };
        let (last, text) = match rest {
            [] => (true, rest),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(ReplyError::Syntax),
        };
        if self.code.is_some_and(|first| first != code) {
            return Err(ReplyError::MixedCodes);
        }
        self.lines += 1;
        if self.lines > REPLY_LINES_MAX {
            return Err(ReplyError::ManyLines);
        }
        if self.code.is_some() && self.text.len() < REPLY_TEXT_MAX {
            self.text.push('\n');
        }
        self.code = Some(code);
        let room = REPLY_TEXT_MAX.saturating_sub(self.text.len());
        let text = text.get(..room).unwrap_or(text);
        // The lossy form of an octet may be three octets long, which the slack above allows for.
        self.text.push_str(&String::from_utf8_lossy(text));
        Ok(if last { ReplyCode::new(code) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(input: &[u8], size: usize) -> Result<Vec<Reply>, ReplyError> {
        let (mut parser, mut seen) = (ReplyParser::new(), Vec::new());
        for piece in input.chunks(size) {
            let mut rest = piece;
            while let Some(reply) = parser.next(&mut rest)? {
                seen.push(reply);
            }
            assert!(rest.is_empty());
        }
        Ok(seen)
    }

    #[test]
    fn replies() {
        let input = b"220 hi\r\n250-a\r\n250-b c\r\n250 d\r\n354\r\n250-\r\n250 \r\n";
        for size in 1..=input.len() {
            let seen = run(input, size).unwrap();
            let texts: Vec<_> = seen
                .iter()
                .map(|r| (r.code().get(), r.lines().collect::<Vec<_>>().join("|")))
                .collect();
            assert_eq!(
                texts,
                [
                    (220, "hi".into()),
                    (250, "a|b c|d".into()),
                    (354, String::new()),
                    (250, "|".into())
                ]
            );
        }
    }

    #[test]
    fn refuses() {
        for (input, why) in [
            (&b"hello\r\n"[..], ReplyError::Syntax),
            (b"\r\n", ReplyError::Syntax),
            (b"25\r\n", ReplyError::Syntax),
            (b"150 x\r\n", ReplyError::Syntax),
            (b"650 x\r\n", ReplyError::Syntax),
            (b"250x\r\n", ReplyError::Syntax),
            (b"250-a\r\n251 b\r\n", ReplyError::MixedCodes),
            (b"250 a\n", ReplyError::LineEnd),
            (b"250 a\rb\r\n", ReplyError::LineEnd),
        ] {
            for size in 1..=input.len() {
                assert_eq!(run(input, size), Err(why), "{input:?}");
            }
        }
    }

    #[test]
    fn line_limit() {
        let line = |n: usize| [b"250 ".to_vec(), vec![b'x'; n - 6], b"\r\n".to_vec()].concat();
        for size in [1, 100, 9999] {
            assert!(run(&line(REPLY_LINE_MAX - 1), size).is_ok());
            assert!(run(&line(REPLY_LINE_MAX), size).is_ok());
            assert_eq!(
                run(&line(REPLY_LINE_MAX + 1), size),
                Err(ReplyError::LongLine)
            );
        }
        assert_eq!(run(&vec![b'2'; 9000], 9000), Err(ReplyError::LongLine));
    }

    #[test]
    fn lines_limit() {
        let lines = |n: usize| ["250-x\r\n".repeat(n - 1), "250 x\r\n".into()].concat();
        assert!(run(lines(REPLY_LINES_MAX - 1).as_bytes(), 999).is_ok());
        assert!(run(lines(REPLY_LINES_MAX).as_bytes(), 999).is_ok());
        assert_eq!(
            run(lines(REPLY_LINES_MAX + 1).as_bytes(), 999),
            Err(ReplyError::ManyLines)
        );
    }

    #[test]
    fn text_is_bounded() {
        let line = format!("250-{}\r\n", "x".repeat(2000));
        let input = [line.repeat(20), "250 end\r\n".into()].concat();
        let seen = run(input.as_bytes(), 777).unwrap();
        assert!(seen[0].lines().map(str::len).sum::<usize>() <= REPLY_TEXT_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn comes_back(code in 200u16..600, lines in prop::collection::vec("[ -~]{0,30}", 1..6), size in 1usize..50) {
            let reply = Reply::new(ReplyCode::new(code).unwrap(), &lines.join("\n"));
            let mut wire = Vec::new();
            reply.encode(&mut wire);
            prop_assert_eq!(run(&wire, size), Ok(vec![reply]));
        }

        #[test]
        fn cuts_do_not_matter(input in "(250[- ]|[0-9a\r\n -]){0,40}", size in 1usize..9) {
            let whole = run(input.as_bytes(), usize::MAX);
            prop_assert_eq!(run(input.as_bytes(), size), whole);
        }
    }
}
