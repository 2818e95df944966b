//! From octets in a named charset to text.
//!
//! `encoding_rs` knows the charsets of the web; mail adds UTF-7 (RFC 2152), ISO-2022-KR (RFC 1557)
//! and many names. Decoding never fails: what can't be read becomes U+FFFD and is reported.

mod iso2022kr;
mod utf7;

use std::borrow::Cow;

use encoding_rs::Encoding;
use memchr::memchr;

/// Longest charset name looked at, in octets; longer ones are unknown.
pub const LABEL_MAX: usize = 64;

/// A charset that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Charset {
    /// One of `encoding_rs`.
    Standard(&'static Encoding),
    /// US-ASCII or no name: octets above 127 are guessed, UTF-8 first, then windows-1252.
    Ascii,
    /// UTF-7 (RFC 2152).
    Utf7,
    /// ISO-2022-KR (RFC 1557).
    Iso2022Kr,
    /// A name that nobody here knows; decoded like [`Charset::Ascii`] and reported.
    Unknown,
}

/// Text and whether all of it could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The text, with U+FFFD where octets meant nothing.
    pub text: Cow<'a, str>,
    /// No octet was replaced and the charset was known.
    pub complete: bool,
}

/// Names in use in mail that the WHATWG list behind `encoding_rs` lacks.
const ALIASES: &[(&[u8], &[u8])] = &[
    (b"cp932", b"shift_jis"),
    (b"sjis-win", b"shift_jis"),
    (b"shift-jis-2004", b"shift_jis"),
    (b"eucjp", b"euc-jp"),
    (b"eucjp-ms", b"euc-jp"),
    (b"eucjp-win", b"euc-jp"),
    (b"euc_jp", b"euc-jp"),
    (b"iso-2022-jp-1", b"iso-2022-jp"),
    (b"iso-2022-jp-2", b"iso-2022-jp"),
    (b"iso-2022-jp-3", b"iso-2022-jp"),
    (b"iso-2022-jp-ms", b"iso-2022-jp"),
    (b"cp50220", b"iso-2022-jp"),
    (b"cp50221", b"iso-2022-jp"),
    (b"jis", b"iso-2022-jp"),
    (b"cp936", b"gbk"),
    (b"ms936", b"gbk"),
    (b"cp949", b"euc-kr"),
    (b"uhc", b"euc-kr"),
    (b"euckr", b"euc-kr"),
    (b"cp950", b"big5"),
    (b"big-5", b"big5"),
    (b"koi8r", b"koi8-r"),
    (b"koi8u", b"koi8-u"),
    (b"utf8mb4", b"utf-8"),
    (b"utf_8", b"utf-8"),
    (b"latin-1", b"iso-8859-1"),
    (b"tis620", b"tis-620"),
];

impl Charset {
    /// Finds a charset by its name, letter case and an RFC 2231 language tag (`utf-8*ja`) apart.
    pub fn for_label(label: &[u8]) -> Charset {
        let label = label
            .split(|b| *b == b'*')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        if label.is_empty() {
            return Charset::Ascii;
        }
        if label.len() > LABEL_MAX {
            return Charset::Unknown;
        }
        let is = |names: &[&str]| {
            names
                .iter()
                .any(|name| label.eq_ignore_ascii_case(name.as_bytes()))
        };
        if is(&["us-ascii", "ascii", "ansi_x3.4-1968", "iso646-us", "us"]) {
            return Charset::Ascii;
        }
        if is(&["utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7"]) {
            return Charset::Utf7;
        }
        if is(&["iso-2022-kr", "csiso2022kr"]) {
            return Charset::Iso2022Kr;
        }
        let alias = ALIASES
            .iter()
            .find(|(name, _)| label.eq_ignore_ascii_case(name));
        match Encoding::for_label_no_replacement(alias.map_or(label, |(_, known)| known)) {
            Some(encoding) => Charset::Standard(encoding),
            None => Charset::Unknown,
        }
    }

    /// Decodes whole text. A byte order mark of UTF-8 or UTF-16 is removed.
    pub fn decode(self, bytes: &[u8]) -> Decoded<'_> {
        match self {
            Charset::Standard(encoding) => {
                let (text, errors) = encoding.decode_with_bom_removal(bytes);
                Decoded {
                    text,
                    complete: !errors,
                }
            }
            Charset::Ascii => decode_unlabelled(bytes),
            Charset::Utf7 => utf7::decode(bytes),
            Charset::Iso2022Kr => iso2022kr::decode(bytes),
            Charset::Unknown => Decoded {
                text: decode_unlabelled(bytes).text,
                complete: false,
            },
        }
    }
}

/// Decodes octets of which nothing is known.
///
/// ASCII as it is, else UTF-8 if it is valid, else ISO-2022-JP if it has that charset's escapes
/// (old Japanese programs put it into headers without any label), else windows-1252, which
/// counts as incomplete because it is a guess that never fails.
pub fn decode_unlabelled(bytes: &[u8]) -> Decoded<'_> {
    if looks_like_iso_2022_jp(bytes) {
        let (text, errors) = encoding_rs::ISO_2022_JP.decode_without_bom_handling(bytes);
        if !errors {
            return Decoded {
                text,
                complete: true,
            };
        }
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Decoded {
            text: Cow::Borrowed(text),
            complete: true,
        },
        Err(_) => Decoded {
            text: encoding_rs::WINDOWS_1252
                .decode_without_bom_handling(bytes)
                .0,
            complete: false,
        },
    }
}

fn looks_like_iso_2022_jp(bytes: &[u8]) -> bool {
    const ESC: u8 = 0x1b;
    memchr(ESC, bytes)
        .and_then(|at| bytes.get(at + 1..))
        .is_some_and(|rest| rest.starts_with(b"$B") || rest.starts_with(b"$@"))
        && bytes.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(label: &str, bytes: &[u8]) -> String {
        Charset::for_label(label.as_bytes())
            .decode(bytes)
            .text
            .into_owned()
    }

    #[test]
    fn japanese() {
        assert_eq!(text("ISO-2022-JP", b"\x1b$BHt5S\x1b(B!"), "飛脚!");
        assert_eq!(text("cp932", b"\x94\xf2\x8br"), "飛脚");
        assert_eq!(text("euc-jp", b"\xc8\xf4\xb5\xd3"), "飛脚");
        assert_eq!(text("utf-8*ja", "飛脚".as_bytes()), "飛脚");
        assert_eq!(text("", b"\x1b$BHt5S\x1b(B"), "飛脚");
    }

    #[test]
    fn guesses_and_unknowns() {
        assert_eq!(text("us-ascii", "é".as_bytes()), "é");
        assert_eq!(text("us-ascii", b"caf\xe9"), "café");
        let unknown = Charset::for_label(b"x-klingon").decode(b"abc");
        assert_eq!((unknown.text.as_ref(), unknown.complete), ("abc", false));
        assert!(!Charset::for_label(b"utf-8").decode(b"\xff").complete);
        assert_eq!(Charset::for_label(&[b'a'; LABEL_MAX + 1]), Charset::Unknown);
        // What the web refuses for its safety has no place here either.
        assert_eq!(Charset::for_label(b"hz-gb-2312"), Charset::Unknown);
    }

    #[test]
    fn every_alias_leads_somewhere() {
        for (name, known) in ALIASES {
            assert!(
                Encoding::for_label(name).is_none(),
                "{}",
                String::from_utf8_lossy(name)
            );
            assert!(Encoding::for_label(known).is_some());
        }
    }
}
