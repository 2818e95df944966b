//! The header of a message as raw fields: collected from blocks, split without changing an
//! octet, found by name from the bottom up.
//!
//! Only CR LF ends a line here. A bare CR or LF is an ordinary octet of the field it stands
//! in, exactly as it is for the dot decoder of the SMTP server, so that a signature and the
//! transport never disagree on where a field ends.

use memchr::memmem;
use std::cmp::Ordering;

/// Longest header accepted, in octets, the empty line included. A longer one is not verified
/// and not signed; the verdict says so.
pub const HEADER_MAX: usize = 1 << 20;

/// Most fields of one header. The shortest possible field has three octets, so that without
/// it a header of [`HEADER_MAX`] octets could ask for 350,000 entries.
pub const FIELDS_MAX: usize = 10_000;

/// The header is longer than [`HEADER_MAX`] or has more than [`FIELDS_MAX`] fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderTooLarge;

/// Where one field lies in the block. Offsets fit, as [`HEADER_MAX`] is below 2^32.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    /// End of the name, white space before the colon left out. Equal to `start`: no field
    /// (a line without a colon), which no name finds.
    name_end: u32,
    /// The octet after the colon.
    value: u32,
    /// End without the last CR LF.
    end: u32,
}

/// One field of a [`HeaderBlock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// As written, without the colon and white space before it. Empty for a line that is no
    /// field.
    pub name: &'a [u8],
    /// Everything after the colon, folds included, last CR LF not.
    pub value: &'a [u8],
    /// Name, colon and value as they stand, last CR LF not.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name; letter case doesn't matter.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// A whole header, its fields in the order of the message.
#[derive(Debug, Clone, Default)]
pub struct HeaderBlock {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// Numbers of the fields, sorted by lower-case name and then from the bottom up.
    by_name: Vec<u32>,
    bare_line_end: bool,
}

impl HeaderBlock {
    /// Splits a header. The empty line at its end may be there or not.
    ///
    /// # Errors
    /// When it is larger than the limits of this module.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, HeaderTooLarge> {
        if bytes.len() > HEADER_MAX {
            return Err(HeaderTooLarge);
        }
        let mut spans = Vec::with_capacity(32);
        let mut start = 0;
        while start < bytes.len() {
            let (end, next) = field_end(&bytes, start);
            if end > start {
                if spans.len() == FIELDS_MAX {
                    return Err(HeaderTooLarge);
                }
                spans.push(span(&bytes, start, end));
            }
            start = next;
        }
        let mut block = Self {
            bare_line_end: has_bare_line_end(&bytes),
            bytes,
            spans,
            by_name: Vec::new(),
        };
        block.index();
        Ok(block)
    }

    fn index(&mut self) {
        let mut by_name: Vec<u32> = (0u32..).take(self.spans.len()).collect();
        by_name.sort_unstable_by(|a, b| {
            compare_names(self.name_of(*a), self.name_of(*b)).then(b.cmp(a))
        });
        self.by_name = by_name;
    }

    fn name_of(&self, number: u32) -> &[u8] {
        self.field(number as usize).map_or(&[], |field| field.name)
    }

    /// Number of fields, lines that are no fields included.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no field at all.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The field of this number, counted from 0 at the top.
    pub fn field(&self, number: usize) -> Option<Field<'_>> {
        let span = self.spans.get(number)?;
        let cut = |from: u32, to: u32| self.bytes.get(from as usize..to as usize);
        Some(Field {
            name: cut(span.start, span.name_end)?,
            value: cut(span.value, span.end)?,
            raw: cut(span.start, span.end)?,
        })
    }

    /// All fields from the top.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        (0..self.spans.len()).filter_map(|number| self.field(number))
    }

    /// Numbers of the fields of this name, from the bottom up, as RFC 6376 (5.4.2) picks them.
    pub fn named(&self, name: &[u8]) -> &[u32] {
        if name.is_empty() {
            return &[];
        }
        let from = self
            .by_name
            .partition_point(|n| compare_names(self.name_of(*n), name) == Ordering::Less);
        let rest = self.by_name.get(from..).unwrap_or_default();
        let count =
            rest.partition_point(|n| compare_names(self.name_of(*n), name) == Ordering::Equal);
        rest.get(..count).unwrap_or_default()
    }

    /// The header without these fields, whose numbers are sorted. Everything else stays as it
    /// is.
    pub fn without(&self, numbers: &[usize]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len());
        let mut from = 0;
        for span in numbers.iter().filter_map(|number| self.spans.get(*number)) {
            out.extend_from_slice(
                self.bytes
                    .get(from..span.start as usize)
                    .unwrap_or_default(),
            );
            from = span.end as usize;
            if self
                .bytes
                .get(from..)
                .is_some_and(|rest| rest.starts_with(b"\r\n"))
            {
                from += 2;
            }
        }
        out.extend_from_slice(self.bytes.get(from..).unwrap_or_default());
        out
    }

    /// Whether there is a CR or LF outside a pair. Some readers see the end of a field there,
    /// so that they see other fields than were signed; nothing is said about such a header.
    pub fn has_bare_line_end(&self) -> bool {
        self.bare_line_end
    }

    /// Whether the first line begins with white space: a field put on top would swallow it.
    pub fn begins_with_space(&self) -> bool {
        matches!(self.bytes.first(), Some(b' ' | b'\t'))
    }

    /// The octets as given.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Orders names without regard to ASCII letter case.
fn compare_names(a: &[u8], b: &[u8]) -> Ordering {
    a.iter()
        .map(u8::to_ascii_lowercase)
        .cmp(b.iter().map(u8::to_ascii_lowercase))
}

fn has_bare_line_end(bytes: &[u8]) -> bool {
    let pairs = memmem::find_iter(bytes, b"\r\n").count();
    let count = |b: u8| memchr::memchr_iter(b, bytes).count();
    count(b'\n') != pairs || count(b'\r') != pairs
}

/// End of the field that begins at `start` (without CR LF) and start of the next one.
fn field_end(bytes: &[u8], start: usize) -> (usize, usize) {
    let mut from = start;
    while let Some(at) = bytes
        .get(from..)
        .and_then(|rest| memchr::memchr(b'\n', rest))
    {
        let lf = from + at;
        let after_cr = lf > start && bytes.get(lf - 1) == Some(&b'\r');
        if after_cr && !matches!(bytes.get(lf + 1), Some(b' ' | b'\t')) {
            return (lf - 1, lf + 1);
        }
        from = lf + 1;
    }
    (bytes.len(), bytes.len())
}

fn span(bytes: &[u8], start: usize, end: usize) -> Span {
    let raw = bytes.get(start..end).unwrap_or_default();
    let line = memmem::find(raw, b"\r\n").unwrap_or(raw.len());
    let colon = memchr::memchr(b':', raw).filter(|at| *at < line);
    let (name, value) = match colon {
        Some(colon) => {
            let name = raw.get(..colon).unwrap_or_default();
            let trimmed = name
                .iter()
                .rposition(|b| !matches!(b, b' ' | b'\t'))
                .map_or(0, |last| last + 1);
            // A line that begins with white space continues nothing: it is no field.
            let name_len = if matches!(name.first(), Some(b' ' | b'\t')) {
                0
            } else {
                trimmed
            };
            (name_len, colon + 1)
        }
        None => (0, 0),
    };
    // Offsets are at most HEADER_MAX, which fits.
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span {
        start: offset(start),
        name_end: offset(start + name),
        value: offset(start + value),
        end: offset(end),
    }
}

/// Takes the blocks of a message until its header is complete.
#[derive(Debug, Default)]
pub struct Collector {
    bytes: Vec<u8>,
}

/// What [`Collector::feed`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collected {
    /// The block belongs to the header, and the header goes on.
    More,
    /// The header is complete; the body begins after this many octets of the block.
    Complete(usize),
    /// See [`HeaderTooLarge`]. Nothing more is kept.
    TooLarge,
}

impl Collector {
    /// Takes the next block of the message.
    pub fn feed(&mut self, block: &[u8]) -> Collected {
        let had = self.bytes.len();
        // The end may have begun in the blocks before: up to three octets of CR LF CR LF, or
        // the CR of an empty line at the very start.
        let room = (HEADER_MAX + 1).saturating_sub(had);
        let taken = block.get(..room).unwrap_or(block);
        self.bytes.extend_from_slice(taken);
        if let Some(end) = self.end(had.saturating_sub(3)) {
            self.bytes.truncate(end);
            return if end > HEADER_MAX {
                Collected::TooLarge
            } else {
                Collected::Complete(end - had)
            };
        }
        if self.bytes.len() > HEADER_MAX {
            self.bytes = Vec::new();
            return Collected::TooLarge;
        }
        Collected::More
    }

    fn end(&self, from: usize) -> Option<usize> {
        if self.bytes.starts_with(b"\r\n") {
            return Some(2);
        }
        let tail = self.bytes.get(from..)?;
        memmem::find(tail, b"\r\n\r\n").map(|at| from + at + 4)
    }

    /// The header as far as it came.
    ///
    /// # Errors
    /// When it has too many fields.
    pub fn finish(self) -> Result<HeaderBlock, HeaderTooLarge> {
        HeaderBlock::parse(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(block: &HeaderBlock) -> Vec<String> {
        block
            .fields()
            .map(|f| String::from_utf8_lossy(f.name).into_owned())
            .collect()
    }

    #[test]
    fn splits_folded_and_obsolete_fields() {
        let block = HeaderBlock::parse(
            b"A: x\r\n\ty\r\nB \t: z\r\nno colon\r\n c\r\nD:\r\nE: a\nF: b\r\n\r\n".to_vec(),
        )
        .unwrap();
        assert_eq!(names(&block), ["A", "B", "", "D", "E"]);
        assert_eq!(block.field(0).unwrap().value, b" x\r\n\ty");
        assert_eq!(block.field(1).unwrap().raw, b"B \t: z");
        assert_eq!(block.field(2).unwrap().raw, b"no colon\r\n c");
        assert_eq!(block.field(3).unwrap().value, b"");
        assert_eq!(block.field(4).unwrap().value, b" a\nF: b");
    }

    #[test]
    fn bare_line_ends() {
        for (header, bare) in [
            (&b""[..], false),
            (b"A: b\r\nC: d\r\n\r\n", false),
            (b"A: b\nC: d\r\n", true),
            (b"A: b\rC: d\r\n", true),
            (b"A: b\r\n\nC: d\r\n", true),
            (b"A: b\r\r\n", true),
        ] {
            let block = HeaderBlock::parse(header.to_vec()).unwrap();
            assert_eq!(block.has_bare_line_end(), bare, "{header:?}");
        }
    }

    #[test]
    fn finds_from_the_bottom_up() {
        let block = HeaderBlock::parse(b"to: 1\r\nX: 2\r\nTo: 3\r\nTOO: 4\r\n".to_vec()).unwrap();
        assert_eq!(block.named(b"tO"), [2, 0]);
        assert_eq!(block.named(b"x"), [1]);
        assert!(block.named(b"t").is_empty());
        assert!(block.named(b"").is_empty());
    }

    #[test]
    fn collects_the_same_at_every_cut() {
        for message in [
            &b"A: b\r\n c\r\nD: e\r\n\r\nbody\r\n\r\nmore"[..],
            b"\r\nbody",
            b"A: b\r\n\r\n",
        ] {
            let mut whole = Collector::default();
            let Collected::Complete(length) = whole.feed(message) else {
                panic!("no end");
            };
            for cut in 0..=message.len() {
                let mut parts = Collector::default();
                let (first, second) = message.split_at(cut);
                let end = match parts.feed(first) {
                    Collected::Complete(n) => n,
                    Collected::More => match parts.feed(second) {
                        Collected::Complete(n) => cut + n,
                        other => panic!("{other:?} at {cut}"),
                    },
                    Collected::TooLarge => panic!("too large"),
                };
                assert_eq!(end, length, "cut at {cut}");
                assert_eq!(parts.bytes, whole.bytes);
            }
        }
    }

    #[test]
    fn header_length_limit() {
        for (length, good) in [
            (HEADER_MAX - 1, true),
            (HEADER_MAX, true),
            (HEADER_MAX + 1, false),
        ] {
            let mut header = b"A: ".to_vec();
            header.resize(length - 4, b'x');
            header.extend_from_slice(b"\r\n\r\n");
            assert_eq!(header.len(), length);
            header.extend_from_slice(b"body");
            let mut collector = Collector::default();
            let whole = collector.feed(&header);
            let mut collector = Collector::default();
            let mut split = Collected::More;
            for block in header.chunks(65_536) {
                split = collector.feed(block);
                if split != Collected::More {
                    break;
                }
            }
            assert_eq!(matches!(whole, Collected::Complete(_)), good, "{length}");
            assert_eq!(matches!(split, Collected::Complete(_)), good, "{length}");
        }
    }

    #[test]
    fn field_count_limit() {
        for (count, good) in [
            (FIELDS_MAX - 1, true),
            (FIELDS_MAX, true),
            (FIELDS_MAX + 1, false),
        ] {
            let header = b"A:\r\n".repeat(count);
            assert_eq!(HeaderBlock::parse(header).is_ok(), good);
        }
    }
}
