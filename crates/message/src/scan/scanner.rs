//! The pass over a message that finds its parts.
//!
//! The state between two blocks is a line that has not ended yet, the value of the Content field
//! being read, and the stack of open multiparts; a whole message is one block and copies nothing
//! but those values.

mod header;

use std::sync::LazyLock;

use memchr::{memchr, memchr_iter, memmem};

use super::boundaries::{Boundaries, Delimiter};
use super::part::{Defect, Defects, Kind, Part, Structure};
use super::{DELIMITER_MAX, FIELD_KEEP_MAX, PARTS_MAX};
use crate::transfer::Encoding;

static LINE_OF_HYPHENS: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(b"\n--"));

/// Which field is being collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Nothing,
    ContentType,
    Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In the header of the last part.
    Header,
    /// In a body, preamble or epilogue.
    Body {
        /// The next octet begins a line.
        line_start: bool,
    },
}

/// A line that is whole, though perhaps not all of it is here.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// Its octets with the line end, cut at the cap of the phase.
    octets: &'a [u8],
    /// Its length with the line end.
    len: usize,
    /// Octets of the line end: 0 at the end of the message, 1 or 2.
    eol: usize,
}

impl<'a> Line<'a> {
    /// A line that lies in one block, LF included.
    fn of(octets: &'a [u8]) -> Line<'a> {
        Line {
            octets,
            len: octets.len(),
            eol: if octets.ends_with(b"\r\n") { 2 } else { 1 },
        }
    }

    /// Without its line end, as far as it is here.
    fn text(&self) -> &'a [u8] {
        let len = self.octets.len().min(self.len - self.eol);
        self.octets.get(..len).unwrap_or_default()
    }

    fn text_len(&self) -> usize {
        self.len - self.eol
    }
}

/// What the header being read has said about its part.
#[derive(Clone, Copy, Debug)]
struct Said {
    has_type: bool,
    has_encoding: bool,
    kind: Kind,
    digest: bool,
}

const SAID_NOTHING: Said = Said {
    has_type: false,
    has_encoding: false,
    kind: Kind::Leaf,
    digest: false,
};

/// Finds the structure of one message. Feed blocks of any size, then [`Scanner::finish`].
#[derive(Clone, Debug)]
pub struct Scanner {
    parts: Vec<Part>,
    open: Boundaries,
    phase: Phase,
    /// The part whose body is being read, if it is a leaf.
    leaf: Option<u32>,
    /// Octets consumed: everything before the unfinished line.
    offset: usize,
    /// LF consumed.
    lines: u64,
    /// Line end of the last line consumed, 0 within a line; and whether the last octet is CR.
    eol: usize,
    after_cr: bool,
    /// The unfinished line: what is kept of it, its whole length, and whether it ends in CR.
    held: Vec<u8>,
    held_len: usize,
    held_cr: bool,
    keep: Keep,
    field: Vec<u8>,
    boundary: Vec<u8>,
    said: Said,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new()
    }
}

impl Scanner {
    /// At the start of a message.
    pub fn new() -> Scanner {
        let mut scanner = Scanner {
            parts: Vec::with_capacity(4),
            open: Boundaries::default(),
            phase: Phase::Header,
            leaf: None,
            offset: 0,
            lines: 0,
            eol: 0,
            after_cr: false,
            held: Vec::new(),
            held_len: 0,
            held_cr: false,
            keep: Keep::Nothing,
            field: Vec::new(),
            boundary: Vec::new(),
            said: SAID_NOTHING,
        };
        scanner.begin_part(None, false, 0);
        scanner
    }

    /// Scans a whole message.
    pub fn scan(message: &[u8]) -> Structure {
        let mut scanner = Scanner::new();
        scanner.feed(message);
        scanner.finish()
    }

    /// Takes the next block.
    pub fn feed(&mut self, block: &[u8]) {
        let mut rest = block;
        if self.held_len > 0 {
            rest = self.resume(rest);
        }
        while !rest.is_empty() {
            rest = match self.phase {
                Phase::Header => self.header(rest),
                Phase::Body { line_start } => self.body(rest, line_start),
            };
        }
    }

    /// Ends the message.
    pub fn finish(mut self) -> Structure {
        if self.held_len > 0 {
            let held = std::mem::take(&mut self.held);
            self.line(Line {
                octets: &held,
                len: self.held_len,
                eol: 0,
            });
        }
        self.end_headers(self.offset);
        self.end_bodies(0, self.offset, self.lines);
        Structure { parts: self.parts }
    }

    /// Completes the line that the block before has begun.
    fn resume<'b>(&mut self, block: &'b [u8]) -> &'b [u8] {
        let Some(at) = memchr(b'\n', block) else {
            self.hold(block);
            return b"";
        };
        let (end, rest) = block.split_at(at + 1);
        let cr = if at == 0 {
            self.held_cr
        } else {
            end.ends_with(b"\r\n")
        };
        self.hold(end);
        let mut held = std::mem::take(&mut self.held);
        self.line(Line {
            octets: &held,
            len: self.held_len,
            eol: 1 + usize::from(cr),
        });
        // The buffer goes back for the next unfinished line.
        held.clear();
        self.held = held;
        self.held_len = 0;
        rest
    }

    fn hold(&mut self, text: &[u8]) {
        // One octet more than can matter shows that the line is too long.
        let cap = match self.phase {
            Phase::Header => FIELD_KEEP_MAX * 2,
            Phase::Body { .. } => DELIMITER_MAX + 3,
        };
        let room = cap.saturating_sub(self.held.len()).min(text.len());
        self.held
            .extend_from_slice(text.get(..room).unwrap_or_default());
        self.held_len += text.len();
        self.held_cr = text.last().map_or(self.held_cr, |last| *last == b'\r');
    }

    fn line(&mut self, line: Line<'_>) {
        match self.phase {
            Phase::Header => self.header_line(line),
            Phase::Body { .. } => self.body_line(line),
        }
    }

    /// Counts a line as read.
    fn pass(&mut self, line: Line<'_>) {
        self.offset += line.len;
        self.lines += u64::from(line.eol > 0);
        self.eol = line.eol;
        self.after_cr = false;
    }

    /// Counts content as read, whole lines or not.
    fn pass_text(&mut self, text: &[u8]) {
        let Some((last, before)) = text.split_last() else {
            return;
        };
        self.offset += text.len();
        self.lines += memchr_iter(b'\n', text).count() as u64;
        self.eol = match (last, before.last()) {
            (b'\n', Some(b'\r')) => 2,
            (b'\n', None) if self.after_cr => 2,
            (b'\n', _) => 1,
            _ => 0,
        };
        self.after_cr = *last == b'\r';
        self.phase = Phase::Body {
            line_start: *last == b'\n',
        };
    }

    fn body<'b>(&mut self, block: &'b [u8], line_start: bool) -> &'b [u8] {
        if !self.open.any() {
            self.pass_text(block);
            return b"";
        }
        if line_start && (block.starts_with(b"--") || block == b"-") {
            let window = block.get(..DELIMITER_MAX + 2).unwrap_or(block);
            if let Some(at) = memchr(b'\n', window) {
                let (line, rest) = block.split_at(at + 1);
                self.body_line(Line::of(line));
                return rest;
            }
            if block.len() < DELIMITER_MAX + 2 {
                self.hold(block);
                return b"";
            }
        }
        match LINE_OF_HYPHENS.find(block) {
            Some(at) => {
                let (text, rest) = block.split_at(at + 1);
                self.pass_text(text);
                rest
            }
            None if block.ends_with(b"\n-") => {
                let (text, hyphen) = block.split_at(block.len() - 1);
                self.pass_text(text);
                hyphen
            }
            None => {
                self.pass_text(block);
                b""
            }
        }
    }

    fn body_line(&mut self, line: Line<'_>) {
        match self.delimiter_in(line) {
            Some(delimiter) => self.delimiter(delimiter, line),
            None => {
                self.pass(line);
                self.phase = Phase::Body {
                    line_start: line.eol > 0,
                };
            }
        }
    }

    fn delimiter_in(&self, line: Line<'_>) -> Option<Delimiter> {
        if line.text_len() > DELIMITER_MAX || line.octets.len() < line.len {
            return None;
        }
        self.open.find(line.text())
    }

    /// A delimiter line stands at the current offset.
    fn delimiter(&mut self, delimiter: Delimiter, line: Line<'_>) {
        if !delimiter.closes && self.parts.len() >= PARTS_MAX {
            self.open.silence();
            self.defect(Defect::TooManyParts);
            self.pass(line);
            self.phase = Phase::Body {
                line_start: line.eol > 0,
            };
            return;
        }
        // The line end before the delimiter is a part of it (RFC 2046 5.1.1).
        let end = self.offset.saturating_sub(self.eol);
        let lines = self.lines.saturating_sub(u64::from(self.eol > 0));
        self.end_bodies(delimiter.frame + 1, end, lines);
        self.pass(line);
        self.phase = Phase::Body {
            line_start: line.eol > 0,
        };
        if delimiter.closes {
            self.open.close(delimiter.frame);
        } else if let Some((parent, digest)) = self.open.part(delimiter.frame) {
            self.begin_part(Some(parent), digest, self.offset);
        }
    }

    /// Ends the leaf being read and all containers but the outermost `keep`.
    fn end_bodies(&mut self, keep: usize, end: usize, lines: u64) {
        if let Some(leaf) = self.leaf.take() {
            self.end_body(leaf, end, lines);
        }
        while self.open.depth() > keep {
            let Some((index, unclosed)) = self.open.pop() else {
                return;
            };
            let childless = self.parts.len() == index as usize + 1;
            if let Some(part) = self.parts.get_mut(index as usize)
                && unclosed
            {
                part.defects.add(if childless {
                    Defect::NoParts
                } else {
                    Defect::Unclosed
                });
            }
            self.end_body(index, end, lines);
            self.fit_into(index);
        }
    }

    /// A container whose last part has no body: the line end before the delimiter is that of the
    /// part's empty line (or of an inner delimiter), so nothing of the part may reach further.
    fn fit_into(&mut self, index: u32) {
        let Some((before, inside)) = self.parts.split_at_mut_checked(index as usize + 1) else {
            return;
        };
        let Some(outer) = before.last() else { return };
        let end = outer.body.end;
        for part in inside
            .iter_mut()
            .rev()
            .take_while(|part| part.body.start > end)
        {
            part.header_lines = part
                .header_lines
                .saturating_sub(u32::from(part.header.end > part.header.start));
            part.header = part.header.start.min(end)..end;
            part.body = end..end;
            part.content_type = part.content_type.start.min(end)..part.content_type.end.min(end);
        }
    }

    fn end_body(&mut self, index: u32, end: usize, lines: u64) {
        let next = self.parts.len() as u32;
        if let Some(part) = self.parts.get_mut(index as usize) {
            part.body.end = end.max(part.body.start);
            // `lines` held the count at the start of the body.
            part.lines = lines.saturating_sub(part.lines);
            part.next = next;
        }
    }

    fn begin_part(&mut self, parent: Option<u32>, in_digest: bool, at: usize) {
        self.parts.push(Part {
            parent,
            next: 0,
            depth: self.open.depth() as u16,
            kind: Kind::Leaf,
            encoding: Encoding::SevenBit,
            defects: Defects::default(),
            in_digest,
            header_lines: 0,
            lines: 0,
            header: at..at,
            body: at..at,
            content_type: at..at,
        });
        self.keep = Keep::Nothing;
        self.said = SAID_NOTHING;
        self.phase = Phase::Header;
        self.leaf = None;
    }

    fn defect(&mut self, defect: Defect) {
        if let Some(part) = self.parts.last_mut() {
            part.defects.add(defect);
        }
    }
}
