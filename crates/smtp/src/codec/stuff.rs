//! The writer of message data: dots doubled at line starts, the final dot, and never a bare
//! CR or LF (RFC 5321, 4.5.2 and 2.3.8).

use memchr::memchr2;

/// Size of the blocks in which a message is read and sent, in octets.
pub const BLOCK: usize = 65_536;

/// Turns content into what goes over the wire behind 354.
///
/// A LF without CR becomes CR LF, a CR without LF a space: content that smtpd took in has
/// neither, content made by programs on this host may.
#[derive(Clone, Debug)]
pub struct DotEncoder {
    line_start: bool,
    /// A CR ended the last block and is not written yet.
    held_cr: bool,
}

impl Default for DotEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl DotEncoder {
    /// An encoder at the start of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            line_start: true,
            held_cr: false,
        }
    }

    /// Appends the wire form of the next block of content: at most twice its octets and two.
    pub fn encode(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        if self.held_cr && !rest.is_empty() {
            self.held_cr = false;
            if let Some(after) = rest.strip_prefix(b"\n") {
                out.extend_from_slice(b"\r\n");
                self.line_start = true;
                rest = after;
            } else {
                out.push(b' ');
            }
        }
        while let Some(first) = rest.first() {
            if self.line_start && *first == b'.' {
                out.push(b'.');
            }
            self.line_start = false;
            let Some(found) = memchr2(b'\r', b'\n', rest) else {
                out.extend_from_slice(rest);
                return;
            };
            let Some((text, tail)) = rest.split_at_checked(found) else {
                return;
            };
            out.extend_from_slice(text);
            rest = match tail {
                [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => {
                    out.extend_from_slice(b"\r\n");
                    self.line_start = true;
                    after
                }
                [b'\r'] => {
                    self.held_cr = true;
                    return;
                }
                [_, after @ ..] => {
                    out.push(b' ');
                    after
                }
                [] => return,
            };
        }
    }

    /// Ends the last line where that is missing and appends the final dot.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &[u8], size: usize) -> Vec<u8> {
        let (mut encoder, mut out) = (DotEncoder::new(), Vec::new());
        for block in input.chunks(size) {
            encoder.encode(block, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    #[test]
    fn table() {
        let cases: [(&[u8], &[u8]); 11] = [
            (b"", b".\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b".\r\n..a\r\n", b"..\r\n...a\r\n.\r\n"),
            (b"a\n.\nb\n", b"a\r\n..\r\nb\r\n.\r\n"),
            (b"a\rb\r\n", b"a b\r\n.\r\n"),
            (b"a\r", b"a\r\n.\r\n"),
            (b"a\r\r\n.", b"a \r\n..\r\n.\r\n"),
            (b"\r.\r\n", b" .\r\n.\r\n"),
            (b"a\n\r\n", b"a\r\n\r\n.\r\n"),
        ];
        for (input, want) in cases {
            for size in 1..=input.len().max(1) {
                assert_eq!(run(input, size), want, "{input:?} in blocks of {size}");
            }
        }
    }
}
