//! Line ends made uniform while a text streams by.

use memchr::memchr2;

/// Turns bare LF and bare CR into CRLF over any cutting of the input, and leaves CRLF alone.
///
/// Everything that becomes part of a message built here goes through it, so that a stored message
/// with strange line ends can't smuggle a line into a report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Crlf {
    after_cr: bool,
}

impl Crlf {
    /// At the start of a text.
    pub fn new() -> Crlf {
        Crlf::default()
    }

    /// Appends `block` to `out`.
    pub fn push(&mut self, mut block: &[u8], out: &mut Vec<u8>) {
        if self.after_cr {
            match block {
                [] => return,
                [b'\n', rest @ ..] => block = rest,
                _ => {}
            }
            out.extend_from_slice(b"\r\n");
            self.after_cr = false;
        }
        while let Some(at) = memchr2(b'\r', b'\n', block) {
            let (line, rest) = block.split_at(at);
            out.extend_from_slice(line);
            match rest {
                [b'\r'] => {
                    self.after_cr = true;
                    return;
                }
                [b'\r', b'\n', rest @ ..] | [b'\r' | b'\n', rest @ ..] => {
                    out.extend_from_slice(b"\r\n");
                    block = rest;
                }
                _ => return,
            }
        }
        out.extend_from_slice(block);
    }

    /// Ends the text: a CR that was held back is written as CRLF.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.after_cr {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// A whole text at once.
    pub fn convert(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + text.len() / 32);
        let mut state = Crlf::new();
        state.push(text, &mut out);
        state.finish(&mut out);
        out
    }
}

/// Whether every CR is followed by LF and every LF preceded by CR.
#[cfg(test)]
pub(super) fn is_clean(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        match rest.get(at..) {
            Some([b'\r', b'\n', tail @ ..]) => rest = tail,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        for (from, to) in [
            ("a\nb", "a\r\nb"),
            ("a\rb", "a\r\nb"),
            ("a\r\n", "a\r\n"),
            ("\r", "\r\n"),
            ("\n\r", "\r\n\r\n"),
            ("\r\r\n", "\r\n\r\n"),
        ] {
            assert_eq!(Crlf::convert(from.as_bytes()), to.as_bytes(), "{from:?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(text in "[ab\r\n]{0,40}", cut in 0usize..40) {
            let cut = cut.min(text.len());
            let (a, b) = text.as_bytes().split_at(cut);
            let mut out = Vec::new();
            let mut state = Crlf::new();
            state.push(a, &mut out);
            state.push(b, &mut out);
            state.finish(&mut out);
            prop_assert!(is_clean(&out));
            prop_assert_eq!(&out, &Crlf::convert(text.as_bytes()));
            prop_assert_eq!(Crlf::convert(&out), out);
        }
    }
}
