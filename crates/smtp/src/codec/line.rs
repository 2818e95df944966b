//! The one reader of command lines.
//!
//! A line ends at CR LF and nowhere else. The reader keeps no bytes: it looks at what the
//! caller holds, says how much of it is used, and remembers how far it has looked, so that a
//! line that comes byte by byte is not searched again from its start.

use memchr::memchr;

/// Longest command line accepted, in octets, CR LF included.
///
/// RFC 5321, 4.5.3.1.4 wants at least 512; extensions add to it. A longer line is answered
/// with 500 5.5.2 and thrown away up to [`DISCARD_MAX`] octets.
pub const COMMAND_LINE_MAX: usize = 2_048;

/// How many octets of one overlong line are thrown away before the session is ended.
pub const DISCARD_MAX: usize = 65_536;

/// What was found at the start of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum LineStep<'a> {
    /// No line end yet: keep the input (it is shorter than [`COMMAND_LINE_MAX`]), come again
    /// with more behind it.
    More,
    /// A line without its CR LF; `used` octets of input are done with.
    Line {
        /// What stands before the CR LF; no CR and no LF in it.
        text: &'a [u8],
        /// Octets of input, CR LF included.
        used: usize,
    },
    /// A line with a CR inside; it is done with.
    BareCr {
        /// Octets of input, CR LF included.
        used: usize,
    },
    /// A LF without a CR before it. Where the peer thinks that its line ends is unknown from
    /// here on: the session has to end.
    BareLf,
    /// The input is the middle of an overlong line; all of it is thrown away.
    Skip,
    /// The end of an overlong line.
    TooLong {
        /// Octets of input, CR LF included.
        used: usize,
    },
    /// An overlong line went on for more than [`DISCARD_MAX`] octets: the session has to end.
    Flood,
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub struct LineReader {
    /// Octets of the kept input that hold no LF.
    scanned: usize,
    skipping: Option<Skipping>,
}

#[derive(Clone, Copy, Debug)]
struct Skipping {
    thrown: usize,
    after_cr: bool,
}

impl LineReader {
    /// A reader at the start of a line.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at `input`, which begins where the last used octet ended.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> LineStep<'a> {
        if let Some(skipping) = self.skipping {
            return self.skip(skipping, input);
        }
        let window = input.get(..COMMAND_LINE_MAX).unwrap_or(input);
        let fresh = window.get(self.scanned..).unwrap_or(&[]);
        let Some(found) = memchr(b'\n', fresh) else {
            if input.len() < COMMAND_LINE_MAX {
                self.scanned = input.len();
                return LineStep::More;
            }
            self.scanned = 0;
            return self.skip(
                Skipping {
                    thrown: 0,
                    after_cr: false,
                },
                input,
            );
        };
        let lf = self.scanned + found;
        self.scanned = 0;
        let Some(text) = input.get(..lf).and_then(|t| t.strip_suffix(b"\r")) else {
            return LineStep::BareLf;
        };
        let used = lf + 1;
        if memchr(b'\r', text).is_some() {
            LineStep::BareCr { used }
        } else {
            LineStep::Line { text, used }
        }
    }

    fn skip(&mut self, mut state: Skipping, input: &[u8]) -> LineStep<'static> {
        let room = DISCARD_MAX.saturating_sub(state.thrown);
        let window = input.get(..room).unwrap_or(input);
        if let Some(lf) = memchr(b'\n', window) {
            let after_cr = match lf.checked_sub(1) {
                Some(before) => window.get(before) == Some(&b'\r'),
                None => state.after_cr,
            };
            self.skipping = None;
            return if after_cr {
                LineStep::TooLong { used: lf + 1 }
            } else {
                LineStep::BareLf
            };
        }
        if input.len() >= room {
            self.skipping = None;
            return LineStep::Flood;
        }
        state.thrown += input.len();
        if let Some(last) = input.last() {
            state.after_cr = *last == b'\r';
        }
        self.skipping = Some(state);
        LineStep::Skip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `size`, the way a shell does, and notes what comes out.
    fn run(input: &[u8], size: usize) -> Vec<String> {
        let (mut reader, mut held, mut seen) = (LineReader::new(), Vec::new(), Vec::new());
        for piece in input.chunks(size) {
            held.extend_from_slice(piece);
            loop {
                let used = match reader.next(&held) {
                    LineStep::More => break,
                    LineStep::Skip => held.len(),
                    LineStep::Line { text, used } => {
                        seen.push(format!("line {}", String::from_utf8_lossy(text)));
                        used
                    }
                    LineStep::BareCr { used } => {
                        seen.push("cr".into());
                        used
                    }
                    LineStep::TooLong { used } => {
                        seen.push("long".into());
                        used
                    }
                    LineStep::BareLf => {
                        seen.push("lf".into());
                        return seen;
                    }
                    LineStep::Flood => {
                        seen.push("flood".into());
                        return seen;
                    }
                };
                held.drain(..used);
                if held.is_empty() {
                    break;
                }
            }
            assert!(held.len() < COMMAND_LINE_MAX);
        }
        seen
    }

    fn line_of(octets: usize) -> Vec<u8> {
        let mut line = vec![b'x'; octets - 2];
        line.extend_from_slice(b"\r\n");
        line
    }

    #[test]
    fn ends_only_at_cr_lf() {
        assert_eq!(run(b"a\r\nb\r\n", 99), ["line a", "line b"]);
        assert_eq!(run(b"\r\n", 1), ["line "]);
        assert_eq!(run(b"a\rb\r\nc\r\n", 99), ["cr", "line c"]);
        assert_eq!(run(b"a\r\r\n", 99), ["cr"]);
        assert_eq!(run(b"a\nb\r\n", 99), ["lf"]);
        assert_eq!(run(b"\n", 99), ["lf"]);
        assert_eq!(run(b"a\r", 99), [""; 0]);
    }

    #[test]
    fn line_limit() {
        for size in [1, 7, 5000] {
            assert_eq!(run(&line_of(COMMAND_LINE_MAX - 1), size).len(), 1);
            assert!(run(&line_of(COMMAND_LINE_MAX), size)[0].starts_with("line x"));
            assert_eq!(run(&line_of(COMMAND_LINE_MAX + 1), size), ["long"]);
        }
    }

    #[test]
    fn discard_limit() {
        for size in [1, 4096, 100_000] {
            assert_eq!(run(&line_of(DISCARD_MAX - 1), size), ["long"]);
            assert_eq!(run(&line_of(DISCARD_MAX), size), ["long"]);
            assert_eq!(run(&line_of(DISCARD_MAX + 1), size), ["flood"]);
        }
    }

    #[test]
    fn cuts_do_not_matter() {
        let mut input = b"one\r\ntwo\rx\r\n".to_vec();
        input.extend(line_of(COMMAND_LINE_MAX + 9));
        input.extend_from_slice(b"three\r\nbad\nfour\r\n");
        let whole = run(&input, input.len());
        assert_eq!(whole, ["line one", "cr", "long", "line three", "lf"]);
        for size in 1..200 {
            assert_eq!(run(&input, size), whole, "{size}");
        }
    }
}
