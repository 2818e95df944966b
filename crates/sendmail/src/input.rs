//! The message on standard input, up to its end or to a line with a dot alone.

use std::io::{self, BufRead, BufReader, Read};

use memchr::memchr;

/// Octets read at once.
const BLOCK: usize = 65_536;

/// Reads a message. Line ends stay as they are; the encoder makes CR LF of them.
pub struct Input<R: Read> {
    inner: BufReader<R>,
    /// A line with a dot alone ends the message.
    dot_ends: bool,
    line_start: bool,
    ended: bool,
}

impl<R: Read> Input<R> {
    /// A message that ends with the input or, with `dot_ends`, with a lone dot.
    pub fn new(inner: R, dot_ends: bool) -> Self {
        Self {
            inner: BufReader::with_capacity(BLOCK, inner),
            dot_ends,
            line_start: true,
            ended: false,
        }
    }

    /// Appends the next line with its line end to `out`, or a part of at most `max` octets of a
    /// long one. False at the end.
    ///
    /// # Errors
    /// The system's.
    pub fn line(&mut self, max: usize, out: &mut Vec<u8>) -> io::Result<bool> {
        let before = out.len();
        while !self.ended && out.len() - before < max {
            let room = max - (out.len() - before);
            let was_start = self.line_start;
            let available = self.inner.fill_buf()?;
            if available.is_empty() {
                self.ended = true;
                break;
            }
            let window = available.get(..room).unwrap_or(available);
            let (take, complete) = match memchr(b'\n', window) {
                Some(lf) => (lf + 1, true),
                None => (window.len(), false),
            };
            out.extend_from_slice(window.get(..take).unwrap_or(&[]));
            self.inner.consume(take);
            self.line_start = complete;
            if complete {
                let line = out.get(before..).unwrap_or(&[]);
                if self.dot_ends
                    && (was_start || line.len() <= 3)
                    && matches!(line, b".\n" | b".\r\n")
                {
                    self.ended = true;
                    out.truncate(before);
                }
                return Ok(out.len() > before);
            }
        }
        // A lone dot without a line end, at the end of the input.
        if self.ended && self.dot_ends && out.get(before..) == Some(b".") {
            out.truncate(before);
        }
        Ok(out.len() > before)
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        if !self.dot_ends {
            return self.inner.read(buffer);
        }
        // Lines, as many as fit. A dot is looked for at line starts only.
        let mut block = Vec::with_capacity(buffer.len());
        let mut piece = Vec::new();
        while block.len() < buffer.len() && !self.ended {
            let at_start = self.line_start;
            // The last octets of a block must not cut what could be a lone dot.
            let room = buffer.len() - block.len();
            if at_start && room < 3 && !block.is_empty() {
                break;
            }
            piece.clear();
            let dot_ends = self.dot_ends;
            self.dot_ends = dot_ends && at_start;
            let more = self.line(room, &mut piece);
            self.dot_ends = dot_ends;
            if !more? {
                break;
            }
            block.extend_from_slice(&piece);
            if self.inner.buffer().is_empty() {
                break;
            }
        }
        if let Some(place) = buffer.get_mut(..block.len()) {
            place.copy_from_slice(&block);
        }
        Ok(block.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives its octets in small pieces.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn all(text: &[u8], dot_ends: bool, size: usize, buffer: usize) -> Vec<u8> {
        let mut input = Input::new(Slow(text, size), dot_ends);
        let (mut out, mut block) = (Vec::new(), vec![0; buffer]);
        loop {
            let n = input.read(&mut block).unwrap();
            if n == 0 {
                return out;
            }
            out.extend_from_slice(&block[..n]);
        }
    }

    fn expected(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in text.split_inclusive(|&b| b == b'\n') {
            if matches!(line, b".\n" | b".\r\n" | b".") {
                break;
            }
            out.extend_from_slice(line);
        }
        out
    }

    #[test]
    fn dots() {
        for text in [
            &b"a\n.\nb\n"[..],
            b".\nx",
            b"a\n.b\n..\n.\r\nc",
            b"a.\n.",
            b"no end",
            b"",
            b"\n.\n",
        ] {
            for size in 1..8 {
                for buffer in [3, 4, 5, 64] {
                    assert_eq!(
                        all(text, true, size, buffer),
                        expected(text),
                        "{text:?} {size} {buffer}"
                    );
                    assert_eq!(all(text, false, size, buffer), text);
                }
            }
        }
    }

    #[test]
    fn lines_are_bounded() {
        let mut input = Input::new(&b"long line\nx"[..], false);
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            if !input.line(4, &mut line).unwrap() {
                break;
            }
            lines.push(line);
        }
        assert_eq!(lines, [&b"long"[..], b" lin", b"e\n", b"x"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn any_text(text in "[.\r\na]{0,30}", size in 1usize..6, buffer in 3usize..12) {
            prop_assert_eq!(all(text.as_bytes(), true, size, buffer), expected(text.as_bytes()));
        }
    }
}
