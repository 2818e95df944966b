//! Header fields as ranges (RFC 5322 2.2, 4.5).

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use crate::words;

/// One field as it stands, or a line of a header that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawField<'a> {
    /// The name without colon and without the space that obsolete mail puts before it; empty when
    /// the line has no colon or nothing before it.
    pub name: &'a [u8],
    /// What follows the colon, folds included, without the last line end. For a line that is no
    /// field, the whole line.
    pub value: &'a [u8],
    /// All octets of the field, line end included: what DKIM signs.
    pub raw: &'a [u8],
    /// Offset of `raw` in the input.
    pub at: usize,
}

impl<'a> RawField<'a> {
    /// Whether it has that name; letter case makes no difference (RFC 5322 1.2.2).
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Where it stands in the input, line end included.
    pub fn range(&self) -> Range<usize> {
        self.at..self.at + self.raw.len()
    }

    /// Whether it is a field at all.
    pub fn is_field(&self) -> bool {
        !self.name.is_empty()
    }

    /// Whether there is white space between name and colon (RFC 5322 4.5), as in `Subject : x`.
    pub fn has_obsolete_space(&self) -> bool {
        self.raw
            .get(self.name.len())
            .is_some_and(|b| matches!(b, b' ' | b'\t'))
    }

    /// The value without folds and without white space at its ends, nothing decoded.
    pub fn unfolded(&self) -> Cow<'a, [u8]> {
        words::unfold(self.value.trim_ascii())
    }

    /// The value as text, encoded words decoded.
    pub fn text(&self) -> Cow<'a, str> {
        words::decode(self.value)
    }
}

/// Iterates over the fields of a header block, up to the empty line or the end of the input.
///
/// Lines end in LF or CRLF; a lone CR is an octet like others. The input may be a whole message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    input: &'a [u8],
    at: usize,
    body: Option<usize>,
}

impl<'a> Fields<'a> {
    /// Over a message or a header block.
    pub fn new(input: &'a [u8]) -> Fields<'a> {
        Fields {
            input,
            at: 0,
            body: None,
        }
    }

    /// The first field of that name.
    pub fn find(input: &'a [u8], name: &str) -> Option<RawField<'a>> {
        Fields::new(input).find(|field| field.is(name))
    }

    /// Offset of the body once the iteration has ended: after the empty line, or the input's
    /// length when there is none.
    pub fn body(&self) -> Option<usize> {
        self.body
    }

    /// Offset of a message's body: after the empty line, or its length when there is none.
    pub fn body_of(input: &'a [u8]) -> usize {
        let mut rest = input;
        let mut at = 0;
        loop {
            match rest {
                [b'\n', ..] => return at + 1,
                [b'\r', b'\n', ..] => return at + 2,
                _ => {}
            }
            match memchr(b'\n', rest) {
                Some(len) => {
                    at += len + 1;
                    rest = rest.get(len + 1..).unwrap_or_default();
                }
                None => return input.len(),
            }
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = RawField<'a>;

    fn next(&mut self) -> Option<RawField<'a>> {
        if self.body.is_some() {
            return None;
        }
        let rest = self.input.get(self.at..).unwrap_or_default();
        match rest {
            [] => {
                self.body = Some(self.at);
                return None;
            }
            [b'\n', ..] => {
                self.body = Some(self.at + 1);
                return None;
            }
            [b'\r', b'\n', ..] => {
                self.body = Some(self.at + 2);
                return None;
            }
            _ => {}
        }
        let colon = name_len(rest);
        let mut len = colon.unwrap_or(0);
        // A field ends at a line end that no white space follows.
        loop {
            let tail = rest.get(len..).unwrap_or_default();
            match memchr(b'\n', tail) {
                Some(line) => len += line + 1,
                None => {
                    len = rest.len();
                    break;
                }
            }
            if !matches!(rest.get(len), Some(b' ' | b'\t')) {
                break;
            }
        }
        let raw = rest.get(..len).unwrap_or_default();
        let at = self.at;
        self.at += len;
        let line = raw.strip_suffix(b"\n").unwrap_or(raw);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (name, value) = match colon {
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                (trim_end(name), value.get(1..).unwrap_or_default())
            }
            None => (&line[..0], line),
        };
        Some(RawField {
            name,
            value,
            raw,
            at,
        })
    }
}

/// Longest name of a field with the space before its colon, in octets; what is longer is no field.
pub const NAME_MAX: usize = 998;

/// Offset of the colon if the line begins like a field: `name [WSP] ":"`, printable ASCII.
pub(super) fn name_len(line: &[u8]) -> Option<usize> {
    // Names are short: one loop is faster than a search for the colon and a check of what is before.
    let line = line.get(..NAME_MAX + 1).unwrap_or(line);
    let name = line
        .iter()
        .position(|b| *b == b':' || !b.is_ascii_graphic())?;
    let space = line
        .get(name..)?
        .iter()
        .position(|b| !matches!(b, b' ' | b'\t'))?;
    if name > 0 && line.get(name + space) == Some(&b':') {
        Some(name + space)
    } else {
        None
    }
}

fn trim_end(mut name: &[u8]) -> &[u8] {
    while let [head @ .., b' ' | b'\t'] = name {
        name = head;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(input: &[u8]) -> Vec<(String, String)> {
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Fields::new(input)
            .map(|f| (text(f.name), text(f.value)))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn forms() {
        assert_eq!(
            list(b"A: 1\r\nSubject : x\r\nB:\r\n\tfolded\r\n more\r\nC:last\n\nbody: no\n"),
            pairs(&[
                ("A", " 1"),
                ("Subject", " x"),
                ("B", "\r\n\tfolded\r\n more"),
                ("C", "last")
            ])
        );
        // No body, no line end.
        assert_eq!(list(b"Subject: only"), pairs(&[("Subject", " only")]));
        // Lines that are no field.
        assert_eq!(
            list(b"From a@b Sat\nA: 1\nno colon\n: x\nB C: d\n"),
            pairs(&[
                ("", "From a@b Sat"),
                ("A", " 1"),
                ("", "no colon"),
                ("", ": x"),
                ("", "B C: d")
            ])
        );
        // A lone CR, NUL and 8-bit octets are kept.
        assert_eq!(list(b"A: x\ry\0\xff\r\n")[0].1, " x\ry\0\u{fffd}");
        assert_eq!(list(b""), pairs(&[]));
        assert_eq!(list(b"\r\nbody"), pairs(&[]));
    }

    #[test]
    fn flags_and_offsets() {
        let input = b"Subject : x\r\n y\r\nTo: z\r\n\r\nbody";
        let mut fields = Fields::new(input);
        let first = fields.next().unwrap();
        assert!(first.has_obsolete_space() && first.is("SUBJECT") && first.is_field());
        assert_eq!(first.unfolded().as_ref(), b"x y");
        assert_eq!(&input[first.range()], first.raw);
        assert!(!fields.next().unwrap().has_obsolete_space());
        assert_eq!((fields.next(), fields.body()), (None, Some(26)));
        assert_eq!(Fields::body_of(input), 26);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(input in "[ab:\t \r\n]{0,60}") {
            let input = input.as_bytes();
            let mut fields = Fields::new(input);
            let mut joined = Vec::new();
            for field in fields.by_ref() {
                prop_assert_eq!(field.at, joined.len());
                joined.extend_from_slice(field.raw);
            }
            let body = fields.body().unwrap();
            prop_assert_eq!(body, Fields::body_of(input).max(joined.len()));
            prop_assert_eq!(&input[..joined.len()], joined.as_slice());
            prop_assert!(input[joined.len()..body].iter().all(|b| matches!(b, b'\r' | b'\n')));
        }
    }
}
