//! Content-Transfer-Encoding, reading side (RFC 2045 6). Streams, and survives anything.
//!
//! Any cutting of the input gives the same output. A decoder counts what it had to forgive in
//! `defects`, and goes on: half a picture is better than none.

use crate::words::hex;

/// The encodings that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// `7bit`, also the default (RFC 2045 6.1).
    #[default]
    SevenBit,
    /// `8bit`
    EightBit,
    /// `binary`
    Binary,
    /// `quoted-printable`
    QuotedPrintable,
    /// `base64`
    Base64,
    /// Anything else: the octets are not touched.
    Unknown,
}

impl Encoding {
    /// Reads the field's value; comments and space around the word are ignored.
    pub fn read(value: &[u8]) -> Encoding {
        let value = value.trim_ascii();
        let word = value
            .split(|b| b.is_ascii_whitespace() || matches!(b, b'(' | b';'))
            .next()
            .unwrap_or_default();
        let word = word.trim_ascii();
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("7bit") || is("7-bit") || word.is_empty() {
            Encoding::SevenBit
        } else if is("8bit") || is("8-bit") {
            Encoding::EightBit
        } else if is("binary") {
            Encoding::Binary
        } else if is("quoted-printable") {
            Encoding::QuotedPrintable
        } else if is("base64") {
            Encoding::Base64
        } else {
            Encoding::Unknown
        }
    }

    /// The name as BODYSTRUCTURE shows it; `Unknown` has none of its own.
    pub const fn as_str(self) -> &'static str {
        match self {
            Encoding::SevenBit => "7BIT",
            Encoding::EightBit => "8BIT",
            Encoding::Binary => "BINARY",
            Encoding::QuotedPrintable => "QUOTED-PRINTABLE",
            Encoding::Base64 => "BASE64",
            Encoding::Unknown => "UNKNOWN",
        }
    }

    /// Decodes a whole body.
    pub fn decode(self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(if self == Encoding::Base64 {
            body.len() / 4 * 3
        } else {
            body.len()
        });
        let mut decoder = Decoder::new(self);
        decoder.push(body, &mut out);
        decoder.finish(&mut out);
        out
    }
}

/// A decoder of any encoding.
#[derive(Clone, Debug)]
pub enum Decoder {
    /// 7bit, 8bit, binary and unknown ones: octets pass.
    Identity,
    /// base64
    Base64(Base64),
    /// quoted-printable
    QuotedPrintable(QuotedPrintable),
}

impl Decoder {
    /// At the start of a body.
    pub fn new(encoding: Encoding) -> Decoder {
        match encoding {
            Encoding::Base64 => Decoder::Base64(Base64::new()),
            Encoding::QuotedPrintable => Decoder::QuotedPrintable(QuotedPrintable::new()),
            _ => Decoder::Identity,
        }
    }

    /// Decodes a block, appending to `out`.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        match self {
            Decoder::Identity => out.extend_from_slice(block),
            Decoder::Base64(decoder) => decoder.push(block, out),
            Decoder::QuotedPrintable(decoder) => decoder.push(block, out),
        }
    }

    /// Ends the body; returns how many octets had to be forgiven.
    pub fn finish(self, out: &mut Vec<u8>) -> u64 {
        match self {
            Decoder::Identity => 0,
            Decoder::Base64(decoder) => decoder.finish(out),
            Decoder::QuotedPrintable(decoder) => decoder.finish(out),
        }
    }
}

/// Base64 (RFC 2045 6.8). Octets outside the alphabet are skipped; padding ends a group, not the
/// body, as concatenated base64 exists; missing padding at the end is forgiven.
#[derive(Clone, Debug, Default)]
pub struct Base64 {
    bits: u32,
    /// Characters collected of the current group, 0 to 3.
    held: u8,
    defects: u64,
}

const SKIP: u8 = 0x40;
const PAD: u8 = 0x41;
const BAD: u8 = 0x42;

/// Six-bit value, or what to do with the octet.
const BASE64_TABLE: [u8; 256] = {
    let mut table = [BAD; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut i = 0;
    while i < 64 {
        table[alphabet[i] as usize] = i as u8;
        i += 1;
    }
    table[b'\r' as usize] = SKIP;
    table[b'\n' as usize] = SKIP;
    table[b' ' as usize] = SKIP;
    table[b'\t' as usize] = SKIP;
    table[b'=' as usize] = PAD;
    table
};

fn six(octet: u8) -> u8 {
    BASE64_TABLE.get(usize::from(octet)).copied().unwrap_or(BAD)
}

impl Base64 {
    /// At the start of a body.
    pub fn new() -> Base64 {
        Base64::default()
    }

    /// Decodes a block, appending to `out`.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        while let [first, tail @ ..] = rest {
            if self.held == 0 {
                // Whole groups of the alphabet, the common case.
                let (groups, _) = rest.as_chunks::<4>();
                let mut done = 0;
                for [a, b, c, d] in groups {
                    let (a, b, c, d) = (six(*a), six(*b), six(*c), six(*d));
                    if (a | b | c | d) & 0xc0 != 0 {
                        break;
                    }
                    out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
                    done += 4;
                }
                if done > 0 {
                    rest = rest.get(done..).unwrap_or_default();
                    continue;
                }
            }
            self.one(*first, out);
            rest = tail;
        }
    }

    fn one(&mut self, octet: u8, out: &mut Vec<u8>) {
        match six(octet) {
            SKIP => {}
            PAD => self.pad(out),
            BAD => self.defects += 1,
            value => {
                self.bits = self.bits << 6 | u32::from(value);
                self.held += 1;
                if self.held == 4 {
                    let [_, a, b, c] = self.bits.to_be_bytes();
                    out.extend_from_slice(&[a, b, c]);
                    self.bits = 0;
                    self.held = 0;
                }
            }
        }
    }

    /// Writes what an incomplete group holds.
    fn pad(&mut self, out: &mut Vec<u8>) {
        match self.held {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend_from_slice(&[(self.bits >> 10) as u8, (self.bits >> 2) as u8]),
            1 => self.defects += 1,
            _ => {}
        }
        self.bits = 0;
        self.held = 0;
    }

    /// Ends the body; returns how many octets had to be forgiven.
    pub fn finish(mut self, out: &mut Vec<u8>) -> u64 {
        if self.held > 0 {
            self.defects += u64::from(self.held > 1);
            self.pad(out);
        }
        self.defects
    }
}

/// Longest run of white space held back because it might end a line, in octets. More than that
/// is written as it is: no line of valid quoted-printable is longer than 76 (RFC 2045 6.7).
pub const QP_SPACE_MAX: usize = 998;

/// Quoted-printable (RFC 2045 6.7). White space at a line's end is removed, a wrong escape is
/// passed on as it stands.
#[derive(Clone, Debug, Default)]
pub struct QuotedPrintable {
    /// `=` and what has come after it, or white space that may turn out to end a line.
    held: Vec<u8>,
    defects: u64,
}

impl QuotedPrintable {
    /// At the start of a body.
    pub fn new() -> QuotedPrintable {
        QuotedPrintable::default()
    }

    /// Decodes a block, appending to `out`.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        while let [first, tail @ ..] = rest {
            if self.held.is_empty() {
                let len = rest
                    .iter()
                    .take_while(|b| !matches!(b, b'=' | b' ' | b'\t' | b'\r'))
                    .count();
                let (plain, special) = rest.split_at(len);
                out.extend_from_slice(plain);
                rest = special;
                // The frequent cases without a detour through `held`.
                match special {
                    [b'=', b'\r', b'\n', after @ ..] | [b'=', b'\n', after @ ..] => rest = after,
                    [b'=', a, b, after @ ..] if hex(*a).is_some() && hex(*b).is_some() => {
                        out.push(hex(*a).unwrap_or(0) << 4 | hex(*b).unwrap_or(0));
                        rest = after;
                    }
                    [b' ' | b'\t', b, ..] if !matches!(b, b' ' | b'\t' | b'\r' | b'\n') => {
                        out.extend(special.first());
                        rest = special.get(1..).unwrap_or_default();
                    }
                    [b'\r', b'\n', after @ ..] => {
                        out.extend_from_slice(b"\r\n");
                        rest = after;
                    }
                    [octet, after @ ..] => {
                        self.held.push(*octet);
                        rest = after;
                    }
                    [] => {}
                }
                continue;
            }
            if self.step(*first, out) {
                rest = tail;
            }
        }
    }

    /// Takes one octet while something is held; false if the octet has to be looked at again.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) -> bool {
        let escape = self.held.first() == Some(&b'=');
        let bare_cr = self.held.last() == Some(&b'\r');
        match (escape, octet) {
            (true, b'\n') if self.held.get(1).is_some_and(|b| hex(*b).is_some()) => {
                self.give_up(out);
                false
            }
            (_, b'\n') => {
                if !escape {
                    // White space before the line end is not content.
                    out.extend_from_slice(if bare_cr { b"\r\n" } else { b"\n" });
                }
                self.held.clear();
                true
            }
            (_, _) if bare_cr => {
                self.give_up(out);
                false
            }
            (_, b'\r') => {
                self.held.push(b'\r');
                true
            }
            (true, octet) => match self.held.as_slice() {
                [b'='] if hex(octet).is_some() || matches!(octet, b' ' | b'\t') => {
                    self.held.push(octet);
                    true
                }
                [b'=', a] if hex(*a).is_some() && hex(octet).is_some() => {
                    out.push(hex(*a).unwrap_or(0) << 4 | hex(octet).unwrap_or(0));
                    self.held.clear();
                    true
                }
                // Space between the soft break's sign and the line end.
                [b'=', b' ' | b'\t', ..]
                    if matches!(octet, b' ' | b'\t') && self.held.len() < QP_SPACE_MAX =>
                {
                    self.held.push(octet);
                    true
                }
                _ => {
                    self.give_up(out);
                    false
                }
            },
            (false, b' ' | b'\t') if self.held.len() < QP_SPACE_MAX => {
                self.held.push(octet);
                true
            }
            (false, _) => {
                out.append(&mut self.held);
                false
            }
        }
    }

    fn give_up(&mut self, out: &mut Vec<u8>) {
        self.defects += 1;
        out.append(&mut self.held);
    }

    /// Ends the body; returns how many sequences had to be forgiven.
    pub fn finish(mut self, out: &mut Vec<u8>) -> u64 {
        match self.held.as_slice() {
            // A soft break at the very end, or white space at the end of the last line.
            [b'='] | [b'=', b' ' | b'\t' | b'\r', ..] | [b' ' | b'\t', ..] => {}
            [] => {}
            _ => self.give_up(out),
        }
        self.defects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64_kindness() {
        for (text, octets, defects) in [
            ("YWJj", "abc", 0),
            ("YW\r\nJj", "abc", 0),
            ("YQ==", "a", 0),
            ("YWI=", "ab", 0),
            ("YQ", "a", 1),
            ("YWI", "ab", 1),
            ("YQ==YWI=", "aab", 0),
            ("Y!W-Jj", "abc", 2),
            ("YWJjZ", "abc", 1),
            ("====", "", 0),
        ] {
            let mut out = Vec::new();
            let mut decoder = Base64::new();
            decoder.push(text.as_bytes(), &mut out);
            assert_eq!(decoder.finish(&mut out), defects, "{text}");
            assert_eq!(out, octets.as_bytes(), "{text}");
        }
    }

    #[test]
    fn quoted_printable_kindness() {
        for (text, octets) in [
            ("a=3Db", "a=b"),
            ("a=3db", "a=b"),
            ("soft=\r\nbreak", "softbreak"),
            ("soft=  \r\nbreak", "softbreak"),
            ("soft=\nbreak", "softbreak"),
            ("end  \r\nx", "end\r\nx"),
            ("end \t", "end"),
            ("a=zz", "a=zz"),
            ("a=4", "a=4"),
            ("a=", "a"),
            ("a=4\r\n", "a=4\r\n"),
            ("a  b", "a  b"),
            ("a\rb", "a\rb"),
            ("a \rb", "a \rb"),
            ("==41", "=A"),
            ("a\n\nb", "a\n\nb"),
            ("é", "é"),
        ] {
            assert_eq!(
                String::from_utf8_lossy(&Encoding::QuotedPrintable.decode(text.as_bytes())),
                octets,
                "{text:?}"
            );
        }
    }

    #[test]
    fn held_space_is_bounded() {
        for n in [QP_SPACE_MAX - 1, QP_SPACE_MAX] {
            let text = format!("a{}\n", " ".repeat(n));
            assert_eq!(Encoding::QuotedPrintable.decode(text.as_bytes()), b"a\n");
        }
        let text = format!("a{}\n", " ".repeat(QP_SPACE_MAX + 1));
        assert_eq!(
            Encoding::QuotedPrintable.decode(text.as_bytes()).len(),
            1 + QP_SPACE_MAX + 1
        );
    }

    #[test]
    fn names() {
        assert_eq!(Encoding::read(b" BASE64 (x)\r\n"), Encoding::Base64);
        assert_eq!(
            Encoding::read(b"quoted-printable;"),
            Encoding::QuotedPrintable
        );
        assert_eq!(Encoding::read(b""), Encoding::SevenBit);
        assert_eq!(Encoding::read(b"uuencode"), Encoding::Unknown);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(text in "[=A-Fa-f0-9 \t\r\nxyz!]{0,60}", cut in 0usize..60) {
            let cut = cut.min(text.len());
            let (a, b) = text.as_bytes().split_at(cut);
            for encoding in [Encoding::Base64, Encoding::QuotedPrintable] {
                let mut out = Vec::new();
                let mut decoder = Decoder::new(encoding);
                decoder.push(a, &mut out);
                decoder.push(b, &mut out);
                decoder.finish(&mut out);
                prop_assert_eq!(&out, &encoding.decode(text.as_bytes()));
                prop_assert!(out.len() <= text.len());
            }
        }

        #[test]
        fn base64_comes_back(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let text = data_encoding::BASE64.encode(&octets);
            prop_assert_eq!(Encoding::Base64.decode(text.as_bytes()), octets);
        }
    }
}
