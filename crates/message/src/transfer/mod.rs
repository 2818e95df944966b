//! Content-Transfer-Encoding, reading side (RFC 2045 6). Streams, and survives anything.
//!
//! Any cutting of the input gives the same output. A decoder counts what it had to forgive in
//! `defects`, and goes on: half a picture is better than none.

mod base64;
mod quoted_printable;

pub use base64::Base64;
pub use quoted_printable::{QP_SPACE_MAX, QuotedPrintable};

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

#[cfg(test)]
mod tests;
