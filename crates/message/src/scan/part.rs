//! What the scanner finds: a tree of parts, stored flat.

use std::fmt;
use std::ops::Range;

use crate::media::MediaType;
use crate::transfer::Encoding;

/// What a part is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Content.
    Leaf,
    /// Parts between delimiter lines (RFC 2046 5.1).
    Multipart,
    /// A whole message, which is the only child (RFC 2046 5.2.1, RFC 6532 3.7).
    Message,
}

/// Something wrong with one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Defect {
    /// The header ends without an empty line.
    NoEmptyLine,
    /// A line of the header is no field.
    NotAField,
    /// A multipart without a boundary, or one longer than [`super::BOUNDARY_MAX`]; taken as a leaf.
    NoBoundary,
    /// A multipart without its final delimiter line.
    Unclosed,
    /// A multipart whose boundary occurs nowhere.
    NoParts,
    /// Nested deeper than [`super::DEPTH_MAX`]; taken as a leaf.
    TooDeep,
    /// There are more than [`super::PARTS_MAX`] parts; this one holds the rest.
    TooManyParts,
    /// More than one Content-Type or Content-Transfer-Encoding; the first counts.
    Repeated,
    /// Content-Type can't be read; text/plain is assumed.
    BadContentType,
    /// An embedded message or multipart in base64 or quoted-printable (forbidden by RFC 2045 6.4).
    EncodedContainer,
    /// Content-Transfer-Encoding names no known encoding.
    UnknownEncoding,
}

impl Defect {
    const ALL: [Defect; 11] = [
        Defect::NoEmptyLine,
        Defect::NotAField,
        Defect::NoBoundary,
        Defect::Unclosed,
        Defect::NoParts,
        Defect::TooDeep,
        Defect::TooManyParts,
        Defect::Repeated,
        Defect::BadContentType,
        Defect::EncodedContainer,
        Defect::UnknownEncoding,
    ];
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Defect::NoEmptyLine => "the header ends without an empty line",
            Defect::NotAField => "a line of the header is no field",
            Defect::NoBoundary => "a multipart without a usable boundary",
            Defect::Unclosed => "a multipart without its final delimiter line",
            Defect::NoParts => "a multipart whose boundary occurs nowhere",
            Defect::TooDeep => "nested too deep, not looked into",
            Defect::TooManyParts => "too many parts, the rest was not looked into",
            Defect::Repeated => "Content-Type or Content-Transfer-Encoding more than once",
            Defect::BadContentType => "Content-Type can't be read",
            Defect::EncodedContainer => "an embedded message or multipart is encoded",
            Defect::UnknownEncoding => "an unknown Content-Transfer-Encoding",
        })
    }
}

/// A set of [`Defect`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Defects(u16);

impl Defects {
    pub(super) fn add(&mut self, defect: Defect) {
        self.0 |= 1 << defect as u8;
    }

    /// Whether it is in the set.
    pub fn has(self, defect: Defect) -> bool {
        self.0 & 1 << defect as u8 != 0
    }

    /// Whether nothing is wrong.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All defects of the set.
    pub fn iter(self) -> impl Iterator<Item = Defect> {
        Defect::ALL
            .into_iter()
            .filter(move |defect| self.has(*defect))
    }
}

/// One part: ranges into the message, octets from its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index of the part that this one stands in; `None` for the message itself.
    pub parent: Option<u32>,
    /// Index of the first part that is neither this one nor inside it.
    pub next: u32,
    /// How many parts this one stands in.
    pub depth: u16,
    /// What it is made of.
    pub kind: Kind,
    /// Its Content-Transfer-Encoding.
    pub encoding: Encoding,
    /// What is wrong with it.
    pub defects: Defects,
    /// Whether the type is message/rfc822 when no Content-Type says otherwise (in multipart/digest).
    pub in_digest: bool,
    /// Lines of the header, the empty one included.
    pub header_lines: u32,
    /// Line ends (LF) in the body.
    pub lines: u64,
    /// The header with the empty line.
    pub header: Range<usize>,
    /// The body: up to and without the line end that belongs to the next delimiter.
    pub body: Range<usize>,
    /// Value of the Content-Type field, folds included; empty when there is none.
    pub content_type: Range<usize>,
}

impl Part {
    /// The octets of the header, the empty line included.
    pub fn header_of<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        message.get(self.header.clone()).unwrap_or_default()
    }

    /// The octets of the body, not decoded.
    pub fn body_of<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        message.get(self.body.clone()).unwrap_or_default()
    }

    /// The media type with its parameters: what the part says, or the default of where it stands.
    pub fn media_type<'a>(&self, message: &'a [u8]) -> MediaType<'a> {
        let value = message.get(self.content_type.clone()).unwrap_or_default();
        MediaType::read(value).unwrap_or(if self.in_digest && self.content_type.is_empty() {
            MediaType::MESSAGE
        } else {
            MediaType::TEXT
        })
    }

    /// The body, decoded.
    pub fn decoded(&self, message: &[u8]) -> Vec<u8> {
        self.encoding.decode(self.body_of(message))
    }

    /// Octets of the decoded body. Costs a decoding, but no more than 64 KiB of memory.
    pub fn decoded_size(&self, message: &[u8]) -> u64 {
        let body = self.body_of(message);
        let mut decoder = crate::transfer::Decoder::new(self.encoding);
        if matches!(decoder, crate::transfer::Decoder::Identity) {
            return body.len() as u64;
        }
        let mut block = Vec::new();
        let mut size = 0;
        for chunk in body.chunks(64 * 1024) {
            block.clear();
            decoder.push(chunk, &mut block);
            size += block.len() as u64;
        }
        block.clear();
        decoder.finish(&mut block);
        size + block.len() as u64
    }
}

/// The structure of a message: its parts in the order in which they begin.
///
/// There is always at least one part, the message itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    pub(super) parts: Vec<Part>,
}

impl Structure {
    /// All parts; the first is the message.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The message itself.
    pub fn root(&self) -> Option<&Part> {
        self.parts.first()
    }

    /// The parts directly inside the part of that index, with their indices.
    pub fn children(&self, index: u32) -> impl Iterator<Item = (u32, &Part)> {
        let end = self.parts.get(index as usize).map_or(0, |part| part.next);
        let mut at = index + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let part = self.parts.get(at as usize)?;
            let found = at;
            at = part.next;
            Some((found, part))
        })
    }

    /// Finds a part by its IMAP section numbers (RFC 3501 6.4.5): `[2, 1]` is `BODY[2.1]`.
    ///
    /// A message that is no multipart has one part, number 1; an embedded message's parts follow
    /// the number of the part that embeds it. No numbers give the message itself.
    pub fn section(&self, numbers: &[u32]) -> Option<u32> {
        let mut at = 0u32;
        for (depth, number) in numbers.iter().enumerate() {
            let mut part = self.parts.get(at as usize)?;
            if depth > 0 && part.kind == Kind::Message {
                at += 1;
                part = self.parts.get(at as usize)?;
            } else if depth > 0 && part.kind == Kind::Leaf {
                return None;
            }
            let wanted = number.checked_sub(1)? as usize;
            if part.kind == Kind::Multipart {
                at = self.children(at).nth(wanted)?.0;
            } else if wanted != 0 {
                return None;
            }
        }
        Some(at)
    }
}
