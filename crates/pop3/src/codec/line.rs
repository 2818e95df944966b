//! The line reader: finds where a command ends before anything reads the command.

use memchr::memchr;

use crate::limits::{DISCARD_MAX, LINE_MAX};

/// What [`LineReader::take`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line without its line end, with no control octet in it.
    Whole(&'a [u8]),
    /// A whole line that held a control octet (NUL, a lone CR, TAB, ...). It was thrown away.
    Unclean,
    /// A whole line longer than [`LINE_MAX`]. It was thrown away.
    TooLong,
    /// An overlong line went on past [`DISCARD_MAX`]: the connection is to be closed.
    Endless,
    /// All octets were used and the line is not at its end.
    Partial,
}

/// Collects one line over any number of reads, in at most [`LINE_MAX`] octets.
///
/// A line ends at LF; one CR right before it belongs to the line end. RFC 1939 wants CRLF. LF
/// alone is let through as a kindness to people who type into a raw connection; it can't make
/// two readers disagree, since this is the only one and every LF ends a line for it.
#[derive(Debug, Default)]
pub struct LineReader {
    held: Vec<u8>,
    /// Octets of the present overlong line, when it is one.
    thrown: usize,
    /// `held` was given out as a whole line by the call before.
    done: bool,
}

impl LineReader {
    /// Takes octets off the front of `input` up to the end of one line.
    ///
    /// A line that lies whole in `input` is returned as a slice of it, without a copy.
    pub fn take<'l, 'i: 'l>(&'l mut self, input: &mut &'i [u8]) -> Line<'l> {
        if self.done {
            self.wipe();
        }
        let all = *input;
        let Some(at) = memchr(b'\n', all) else {
            *input = &[];
            return self.keep(all);
        };
        // `at` is an index into `all`, so both ranges exist.
        let (head, rest) = (&all[..=at], &all[at + 1..]);
        if self.thrown > 0 || self.held.len() + head.len() > LINE_MAX {
            let seen = self.thrown + self.held.len() + head.len();
            self.wipe();
            self.thrown = 0;
            if seen > DISCARD_MAX {
                *input = rest;
                return Line::Endless;
            }
            *input = rest;
            return Line::TooLong;
        }
        *input = rest;
        let line = if self.held.is_empty() {
            head
        } else {
            self.held.extend_from_slice(head);
            self.done = true;
            &self.held
        };
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.iter().any(u8::is_ascii_control) {
            return Line::Unclean;
        }
        Line::Whole(text)
    }

    /// Whether the reader holds a part of a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        (self.held.is_empty() || self.done) && self.thrown == 0
    }

    fn keep(&mut self, part: &[u8]) -> Line<'static> {
        // A line of LINE_MAX octets has its LF as the last of them.
        if self.thrown == 0 && self.held.len() + part.len() < LINE_MAX {
            self.held.extend_from_slice(part);
            return Line::Partial;
        }
        self.thrown += self.held.len() + part.len();
        self.wipe();
        if self.thrown > DISCARD_MAX {
            Line::Endless
        } else {
            Line::Partial
        }
    }

    /// Forgets the held octets; they may have been a password.
    fn wipe(&mut self) {
        self.held.fill(0);
        std::hint::black_box(&self.held);
        self.held.clear();
        self.done = false;
    }
}

impl Drop for LineReader {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Owned copy of what one call found.
    #[derive(Debug, PartialEq, Eq, Clone)]
    enum Seen {
        Whole(Vec<u8>),
        Unclean,
        TooLong,
        Endless,
    }

    fn read(parts: &[&[u8]]) -> Vec<Seen> {
        let mut reader = LineReader::default();
        let mut all = Vec::new();
        for part in parts {
            let mut input = *part;
            while !input.is_empty() {
                match reader.take(&mut input) {
                    Line::Whole(text) => all.push(Seen::Whole(text.to_vec())),
                    Line::Unclean => all.push(Seen::Unclean),
                    Line::TooLong => all.push(Seen::TooLong),
                    Line::Endless => {
                        all.push(Seen::Endless);
                        return all;
                    }
                    Line::Partial => {}
                }
            }
        }
        all
    }

    #[test]
    fn table() {
        let whole = |text: &[u8]| Seen::Whole(text.to_vec());
        assert_eq!(read(&[b"STAT\r\n"]), [whole(b"STAT")]);
        assert_eq!(
            read(&[b"ST", b"AT\r", b"\nX\n"]),
            [whole(b"STAT"), whole(b"X")]
        );
        assert_eq!(read(&[b"\r\n\n"]), [whole(b""), whole(b"")]);
        assert_eq!(read(&[b"A\rB\r\n"]), [Seen::Unclean]);
        assert_eq!(read(&[b"A\r\r\n"]), [Seen::Unclean]);
        assert_eq!(read(&[b"A\0\r\nB\r\n"]), [Seen::Unclean, whole(b"B")]);
        assert_eq!(read(&[b"no end"]), []);
    }

    #[test]
    fn length_limit() {
        for (length, good) in [
            (LINE_MAX - 1, true),
            (LINE_MAX, true),
            (LINE_MAX + 1, false),
        ] {
            let mut line = vec![b'a'; length - 2];
            line.extend_from_slice(b"\r\nNOOP\r\n");
            let seen = read(&[&line]);
            assert_eq!(matches!(seen[0], Seen::Whole(_)), good, "{length}");
            assert_eq!(seen[1], Seen::Whole(b"NOOP".to_vec()));
        }
    }

    #[test]
    fn discard_limit() {
        for (length, last) in [
            (DISCARD_MAX - 1, Seen::TooLong),
            (DISCARD_MAX, Seen::TooLong),
            (DISCARD_MAX + 1, Seen::Endless),
        ] {
            let mut line = vec![b'a'; length - 1];
            line.push(b'\n');
            assert_eq!(read(&[&line]), std::slice::from_ref(&last), "{length}");
            let (a, b) = line.split_at(1_000);
            assert_eq!(read(&[a, b]), [last], "{length} in two");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn cutting_changes_nothing(
            text in "[A-D \r\n\x00]{0,40}(a{240,270})?\r?\n?[A-D]{0,10}\r\n",
            step in 1usize..300,
        ) {
            let bytes = text.as_bytes();
            let whole = read(&[bytes]);
            let parts: Vec<&[u8]> = bytes.chunks(step).collect();
            prop_assert_eq!(&read(&parts), &whole);
            for cut in 0..bytes.len() {
                let (a, b) = bytes.split_at(cut);
                prop_assert_eq!(&read(&[a, b]), &whole);
            }
        }
    }
}
