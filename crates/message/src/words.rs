//! RFC 2047 encoded words, reading side, and unfolding.
//!
//! Adjacent words of one charset are joined as octets before they are decoded: Japanese programs
//! cut in the middle of characters, which the RFC forbids and readers have to live with.
//!
//! Tolerated beyond the RFC, each seen in real mail: an encoded word without white space around
//! it, spaces and line breaks inside one, one longer than 75 octets, base64 without padding or
//! with stray characters, a charset that is unknown (guessed), a language tag (RFC 2231 5).

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};

use crate::charset::{Charset, decode_unlabelled};
use crate::transfer;

/// Text of a header field: unfolded, encoded words decoded. Linear in the input's length.
///
/// Takes the raw octets after the colon, folds included. White space at both ends is removed.
pub fn decode(raw: &[u8]) -> Cow<'_, str> {
    let raw = raw.trim_ascii();
    if memmem::find(raw, b"=?").is_none() {
        return match unfold(raw) {
            Cow::Borrowed(bytes) => decode_unlabelled(bytes).text,
            Cow::Owned(bytes) => Cow::Owned(decode_unlabelled(&bytes).text.into_owned()),
        };
    }
    Cow::Owned(decode_words(raw))
}

/// Removes the line breaks of folding (RFC 5322 2.2.3): CR and LF before white space vanish,
/// any other CR or LF becomes a space.
pub fn unfold(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr2(b'\r', b'\n', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        let (text, breaks) = rest.split_at(at);
        out.extend_from_slice(text);
        let len = breaks
            .iter()
            .take_while(|b| matches!(b, b'\r' | b'\n'))
            .count();
        rest = breaks.get(len..).unwrap_or_default();
        if !matches!(rest.first(), Some(b' ' | b'\t') | None) {
            out.push(b' ');
        }
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// Octets of encoded words that follow each other in one charset.
#[derive(Default)]
struct Run<'a> {
    charset: &'a [u8],
    octets: Vec<u8>,
    open: bool,
}

impl Run<'_> {
    fn flush(&mut self, out: &mut String) {
        if self.open {
            out.push_str(&Charset::for_label(self.charset).decode(&self.octets).text);
            self.octets.clear();
            self.open = false;
        }
    }
}

fn decode_words(raw: &[u8]) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut run = Run::default();
    let mut rest = raw;
    // Text that belongs to no word, not written yet, ends where `rest` begins.
    let mut plain = raw;
    let mut plain_len = 0;
    while let Some(at) = memmem::find(rest, b"=?") {
        let Some(word) = rest.get(at..).and_then(EncodedWord::read) else {
            plain_len += at + 2;
            rest = rest.get(at + 2..).unwrap_or_default();
            continue;
        };
        let between = plain.get(..plain_len + at).unwrap_or_default();
        let adjacent = run.open && between.iter().all(u8::is_ascii_whitespace);
        if !adjacent {
            run.flush(&mut out);
            push_plain(between, &mut out);
        } else if !run.charset.eq_ignore_ascii_case(word.charset) {
            run.flush(&mut out);
        }
        run.charset = word.charset;
        run.open = true;
        word.decode_into(&mut run.octets);
        rest = rest.get(at + word.len..).unwrap_or_default();
        plain = rest;
        plain_len = 0;
    }
    run.flush(&mut out);
    push_plain(plain, &mut out);
    out
}

fn push_plain(bytes: &[u8], out: &mut String) {
    if !bytes.is_empty() {
        out.push_str(&decode_unlabelled(&unfold(bytes)).text);
    }
}

/// `=?charset?encoding?text?=` (RFC 2047 2).
struct EncodedWord<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
    /// Octets of the whole word.
    len: usize,
}

impl<'a> EncodedWord<'a> {
    /// Reads a word at the start of `input`, which begins with `=?`.
    ///
    /// Looks no further than the fourth question mark, so reading at every `=?` stays linear.
    fn read(input: &'a [u8]) -> Option<EncodedWord<'a>> {
        let after = input.get(2..)?;
        let charset_len = memchr(b'?', after)?;
        let charset = after.get(..charset_len)?;
        let fine = |b: &u8| {
            b.is_ascii_graphic()
                && !matches!(b, b'=' | b'<' | b'>' | b'(' | b')' | b',' | b';' | b'"')
        };
        if charset.is_empty() || !charset.iter().all(fine) {
            return None;
        }
        let (encoding, after) = match after.get(charset_len + 1..)? {
            [encoding, b'?', after @ ..] => (encoding.to_ascii_lowercase(), after),
            _ => return None,
        };
        let base64 = match encoding {
            b'b' => true,
            b'q' => false,
            _ => return None,
        };
        let text_len = memchr(b'?', after)?;
        if after.get(text_len + 1) != Some(&b'=') {
            return None;
        }
        let text = after.get(..text_len)?;
        Some(EncodedWord {
            charset,
            base64,
            text,
            len: 2 + charset_len + 3 + text_len + 2,
        })
    }

    fn decode_into(&self, out: &mut Vec<u8>) {
        if self.base64 {
            let mut decoder = transfer::Base64::new();
            decoder.push(self.text, out);
            decoder.finish(out);
            return;
        }
        let mut rest = self.text;
        while let [octet, tail @ ..] = rest {
            rest = tail;
            match octet {
                b'_' => out.push(b' '),
                b'\r' | b'\n' => {}
                b'=' => match tail {
                    [high, low, after @ ..] => match (hex(*high), hex(*low)) {
                        (Some(high), Some(low)) => {
                            out.push(high << 4 | low);
                            rest = after;
                        }
                        _ => out.push(b'='),
                    },
                    _ => out.push(b'='),
                },
                octet => out.push(*octet),
            }
        }
    }
}

pub(crate) fn hex(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{FieldName, Fields};
    use proptest::prelude::*;

    #[test]
    fn rfc_2047_section_8() {
        for (raw, text) in [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            (
                "=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>",
                "Keith Moore <moore@cs.utk.edu>",
            ),
            (
                "=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=",
                "Keld Jørn Simonsen",
            ),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
        ] {
            assert_eq!(decode(raw.as_bytes()), text, "{raw}");
        }
    }

    #[test]
    fn split_characters_are_joined() {
        // "飛脚" in UTF-8 is e9 a3 9b e8 84 9a: cut after four octets.
        assert_eq!(decode(b"=?utf-8?B?6aOb6A==?= =?UTF-8?B?hJo=?="), "飛脚");
        assert_eq!(
            decode(b"=?utf-8?Q?=E9=A3?=\r\n =?utf-8?B?m+iEmg==?="),
            "飛脚"
        );
        assert_eq!(
            decode(b"=?iso-2022-jp?B?GyRCSHQ=?= =?iso-2022-jp?B?NVMbKEI=?="),
            "飛脚"
        );
    }

    #[test]
    fn kindness() {
        for (raw, text) in [
            ("a=?utf-8?q?b?=c", "abc"),
            ("=?utf-8?q?a b?=", "a b"),
            ("=?utf-8*ja?B?6aOb6ISa?=", "飛脚"),
            ("=?utf-8?B?6aOb6ISa", "=?utf-8?B?6aOb6ISa"),
            ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
            ("=?x-nobody?q?abc?=", "abc"),
            ("=?=?utf-8?q?a?=", "=?a"),
            ("=?utf-8?q?=C3=?=", "Ã="),
            ("=?utf-8?B?Y!WI?=", "ab"),
            ("=?utf-8?q??= x", " x"),
            ("caf\u{e9}", "caf\u{e9}"),
            (" a\r\n\tb\r\n", "a\tb"),
        ] {
            // Invalid UTF-8 inside a word shows as U+FFFD, not as Latin-1.
            let expected = text.replace('Ã', "\u{fffd}");
            assert_eq!(decode(raw.as_bytes()), expected, "{raw}");
        }
    }

    #[test]
    fn unfolding() {
        for (raw, text) in [
            ("a\r\n b", "a b"),
            ("a\n\tb", "a\tb"),
            ("a\nb", "a b"),
            ("a\rb", "a b"),
            ("a\r\n\r\n b", "a b"),
            ("a\r\n", "a"),
            ("ab", "ab"),
        ] {
            assert_eq!(unfold(raw.as_bytes()), text.as_bytes(), "{raw:?}");
        }
    }

    #[test]
    fn many_openers_are_linear() {
        let hostile = "=?a?q?".repeat(200_000);
        assert_eq!(decode(hostile.as_bytes()).len(), hostile.len());
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(text in "[\\PC]{0,200}", ascii in "[ -~]{0,100}") {
            for text in [&text, &ascii, &format!("{ascii}{text} {ascii}")] {
                // U+2028 and U+2029 are replaced when written; NEL and the like are not in \PC.
                let text = text.replace(['\u{2028}', '\u{2029}'], "");
                let text = text.trim_matches(' ');
                let mut fields = Fields::new();
                fields.text(FieldName::SUBJECT, text);
                let raw = fields.as_bytes().strip_prefix(b"Subject:").unwrap();
                prop_assert_eq!(decode(raw), text);
            }
        }

        #[test]
        fn any_octets(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&raw);
        }
    }
}
