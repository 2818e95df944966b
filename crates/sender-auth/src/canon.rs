//! The two forms in which header fields are hashed (RFC 6376, 3.4.1 and 3.4.2).

use std::fmt;

/// How far a message may be changed on its way without breaking a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Canon {
    /// Not at all, but for empty lines at the end of the body.
    Simple,
    /// White space may be changed, fields refolded, letter case of field names too.
    Relaxed,
}

impl Canon {
    /// Reads the word of a `c=` tag; letter case doesn't matter.
    pub fn parse(word: &[u8]) -> Option<Self> {
        if word.eq_ignore_ascii_case(b"simple") {
            Some(Self::Simple)
        } else if word.eq_ignore_ascii_case(b"relaxed") {
            Some(Self::Relaxed)
        } else {
            None
        }
    }
}

impl fmt::Display for Canon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        })
    }
}

/// Appends one field in the given form, without the CR LF that ends it.
///
/// `raw` is name, colon and value. A piece may have been cut out of the value (the signature
/// in its own field), which is why the text comes in two parts that are put together here.
pub(crate) fn field(canon: Canon, raw: &[u8], cut: Option<(usize, usize)>, out: &mut Vec<u8>) {
    let (before, after) = match cut {
        Some((from, to)) => (
            raw.get(..from).unwrap_or(raw),
            raw.get(to..).unwrap_or_default(),
        ),
        None => (raw, &[][..]),
    };
    match canon {
        Canon::Simple => {
            out.extend_from_slice(before);
            out.extend_from_slice(after);
        }
        Canon::Relaxed => {
            let colon = memchr::memchr(b':', before).unwrap_or(before.len());
            let name = before.get(..colon).unwrap_or_default();
            let name_end = name
                .iter()
                .rposition(|b| !matches!(b, b' ' | b'\t'))
                .map_or(0, |last| last + 1);
            out.extend(
                name.get(..name_end)
                    .unwrap_or_default()
                    .iter()
                    .map(u8::to_ascii_lowercase),
            );
            out.push(b':');
            let mut value = RelaxedValue::default();
            value.put(before.get(colon + 1..).unwrap_or_default(), out);
            value.put(after, out);
        }
    }
}

/// Relaxes the value of a field: unfolded, runs of white space as one SP, none at the ends.
#[derive(Debug, Default)]
struct RelaxedValue {
    /// White space was seen since the last other octet.
    space: bool,
    /// Something was written, so that white space is no longer leading.
    begun: bool,
}

impl RelaxedValue {
    fn put(&mut self, text: &[u8], out: &mut Vec<u8>) {
        let at = |i: usize| text.get(i).copied();
        let mut i = 0;
        while let Some(b) = at(i) {
            match b {
                b' ' | b'\t' => {
                    self.space = true;
                    i += 1;
                }
                b'\r' if at(i + 1) == Some(b'\n') => i += 2,
                _ => {
                    let end = run_end(text, i + 1);
                    if self.space && self.begun {
                        out.push(b' ');
                    }
                    self.space = false;
                    self.begun = true;
                    out.extend_from_slice(text.get(i..end).unwrap_or_default());
                    i = end;
                }
            }
        }
    }
}

/// End of the text that can be copied as it is: up to white space that is more than one SP
/// between two other octets.
fn run_end(text: &[u8], mut from: usize) -> usize {
    loop {
        let rest = text.get(from..).unwrap_or_default();
        let Some(at) = memchr::memchr3(b' ', b'\t', b'\r', rest) else {
            return text.len();
        };
        let found = from + at;
        let single = text.get(found) == Some(&b' ')
            && !matches!(text.get(found + 1), None | Some(b' ' | b'\t' | b'\r'));
        let bare_cr = text.get(found) == Some(&b'\r') && text.get(found + 1) != Some(&b'\n');
        if !(single || bare_cr) {
            return found;
        }
        from = found + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relaxed(raw: &[u8]) -> String {
        let mut out = Vec::new();
        field(Canon::Relaxed, raw, None, &mut out);
        String::from_utf8(out).unwrap()
    }

    // RFC 6376, 3.4.5, the header of its example.
    #[test]
    fn rfc_6376_example() {
        assert_eq!(relaxed(b"A: X"), "a:X");
        assert_eq!(relaxed(b"B : Y\t\r\n\tZ  "), "b:Y Z");
        let mut out = Vec::new();
        field(Canon::Simple, b"B : Y\t\r\n\tZ  ", None, &mut out);
        assert_eq!(out, b"B : Y\t\r\n\tZ  ");
    }

    #[test]
    fn relaxed_edges() {
        assert_eq!(relaxed(b"Subject:"), "subject:");
        assert_eq!(relaxed(b"Subject: \r\n \r\n "), "subject:");
        assert_eq!(relaxed(b"S:a b  c\td \r\n e"), "s:a b c d e");
        assert_eq!(relaxed(b"S: a:b"), "s:a:b");
        assert_eq!(relaxed(b"S: a\rb \n c"), "s:a\rb \n c");
    }

    #[test]
    fn cuts_a_piece_out() {
        let mut out = Vec::new();
        field(
            Canon::Relaxed,
            b"X: a=1; b= abc ; c=2",
            Some((10, 15)),
            &mut out,
        );
        assert_eq!(out, b"x:a=1; b=; c=2");
    }
}
