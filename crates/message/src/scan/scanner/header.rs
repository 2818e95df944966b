//! The scanner inside a header: which fields matter, and what the part is when it ends.

use memchr::memchr;

use super::{Keep, Line, Phase, Scanner};
use crate::media::MediaType;
use crate::scan::field::name_len;
use crate::scan::part::{Defect, Kind};
use crate::scan::{BOUNDARY_MAX, DEPTH_MAX, FIELD_KEEP_MAX, PARTS_MAX};
use crate::transfer::Encoding;

impl Scanner {
    pub(super) fn header<'b>(&mut self, block: &'b [u8]) -> &'b [u8] {
        let Some(at) = memchr(b'\n', block) else {
            self.hold(block);
            return b"";
        };
        let (line, rest) = block.split_at(at + 1);
        self.header_line(Line::of(line));
        rest
    }

    pub(super) fn header_line(&mut self, line: Line<'_>) {
        let text = line.text();
        let start = self.offset;
        let Some(first) = text.first() else {
            self.end_field();
            self.pass(line);
            self.count_header_line();
            self.end_header(self.offset);
            return;
        };
        match first {
            b'-' if self.open.any() => {
                if let Some(delimiter) = self.delimiter_in(line) {
                    self.end_headers(start.saturating_sub(self.eol));
                    self.delimiter(delimiter, line);
                    return;
                }
                self.end_field();
                if name_len(text).is_none() {
                    self.defect(Defect::NotAField);
                }
            }
            b' ' | b'\t' => {
                if self.keep != Keep::Nothing {
                    self.collect(line.octets, start + line.text_len());
                } else if self
                    .parts
                    .last()
                    .is_some_and(|part| part.header.start == start)
                {
                    self.defect(Defect::NotAField);
                }
            }
            first => {
                self.end_field();
                match name_len(text) {
                    None => self.defect(Defect::NotAField),
                    Some(colon) if matches!(first, b'C' | b'c') => {
                        self.begin_field(line, colon, start)
                    }
                    Some(_) => {}
                }
            }
        }
        self.count_header_line();
        self.pass(line);
    }

    fn count_header_line(&mut self) {
        if let Some(part) = self.parts.last_mut() {
            part.header_lines = part.header_lines.saturating_add(1);
        }
    }

    fn begin_field(&mut self, line: Line<'_>, colon: usize, start: usize) {
        let (name, value) = line.octets.split_at(colon);
        let name = name.trim_ascii_end();
        let (keep, seen) = if name.eq_ignore_ascii_case(b"Content-Type") {
            (Keep::ContentType, &mut self.said.has_type)
        } else if name.eq_ignore_ascii_case(b"Content-Transfer-Encoding") {
            (Keep::Encoding, &mut self.said.has_encoding)
        } else {
            return;
        };
        if std::mem::replace(seen, true) {
            self.defect(Defect::Repeated);
            return;
        }
        self.keep = keep;
        self.field.clear();
        let at = start + colon + 1;
        if keep == Keep::ContentType
            && let Some(part) = self.parts.last_mut()
        {
            part.content_type = at..at;
        }
        self.collect(value.get(1..).unwrap_or_default(), start + line.text_len());
    }

    /// Adds octets to the field being kept; `end` is the offset after them, line end left out.
    fn collect(&mut self, octets: &[u8], end: usize) {
        let room = FIELD_KEEP_MAX
            .saturating_sub(self.field.len())
            .min(octets.len());
        self.field
            .extend_from_slice(octets.get(..room).unwrap_or_default());
        if self.keep == Keep::ContentType
            && let Some(part) = self.parts.last_mut()
        {
            // Who reads the value again from the message has to see what was read here.
            part.content_type.end = end.min(part.content_type.start + FIELD_KEEP_MAX);
        }
    }

    /// The field being kept is complete.
    fn end_field(&mut self) {
        let mut defect = None;
        match std::mem::replace(&mut self.keep, Keep::Nothing) {
            Keep::Nothing => {}
            Keep::Encoding => {
                let encoding = Encoding::read(&self.field);
                if encoding == Encoding::Unknown {
                    defect = Some(Defect::UnknownEncoding);
                }
                if let Some(part) = self.parts.last_mut() {
                    part.encoding = encoding;
                }
            }
            Keep::ContentType => match MediaType::read(&self.field) {
                None => defect = Some(Defect::BadContentType),
                Some(media) if media.is("multipart", "*") => {
                    let boundary = media.params.octets("boundary").unwrap_or_default();
                    let boundary = boundary.trim_ascii_end();
                    if (1..=BOUNDARY_MAX).contains(&boundary.len()) {
                        self.boundary.clear();
                        self.boundary.extend_from_slice(boundary);
                        self.said.kind = Kind::Multipart;
                        self.said.digest = media.is("multipart", "digest");
                    } else {
                        defect = Some(Defect::NoBoundary);
                    }
                }
                Some(media) if media.is("message", "rfc822") || media.is("message", "global") => {
                    self.said.kind = Kind::Message;
                }
                Some(_) => {}
            },
        }
        if let Some(defect) = defect {
            self.defect(defect);
        }
    }

    /// Ends the header of the last part; its body begins at `at`.
    fn end_header(&mut self, at: usize) {
        let (lines, depth, full) = (self.lines, self.open.depth(), self.parts.len() >= PARTS_MAX);
        let index = (self.parts.len() - 1) as u32;
        let Some(part) = self.parts.last_mut() else {
            return;
        };
        // A delimiter takes the line end before it, but not from before the part.
        let at = at.max(part.header.start);
        part.header.end = at;
        part.body = at..at;
        part.lines = lines;
        let mut kind = self.said.kind;
        if part.in_digest && !self.said.has_type {
            kind = Kind::Message;
        }
        if kind != Kind::Leaf
            && matches!(part.encoding, Encoding::Base64 | Encoding::QuotedPrintable)
        {
            part.defects.add(Defect::EncodedContainer);
            // Multiparts so labelled are plain in practice: their parts carry the encodings.
            if kind == Kind::Message {
                kind = Kind::Leaf;
            }
        }
        if kind != Kind::Leaf && depth >= DEPTH_MAX {
            part.defects.add(Defect::TooDeep);
            kind = Kind::Leaf;
        }
        if kind == Kind::Message && full {
            part.defects.add(Defect::TooManyParts);
            kind = Kind::Leaf;
        }
        part.kind = kind;
        self.phase = Phase::Body { line_start: true };
        match kind {
            Kind::Leaf => self.leaf = Some(index),
            Kind::Multipart => self.open.push(index, &self.boundary, self.said.digest),
            Kind::Message => {
                self.open.push(index, b"", false);
                self.begin_part(Some(index), false, at);
            }
        }
    }

    /// Ends all headers that a delimiter or the end of the message has cut off.
    pub(super) fn end_headers(&mut self, at: usize) {
        while self.phase == Phase::Header {
            self.end_field();
            self.defect(Defect::NoEmptyLine);
            self.end_header(at);
        }
    }
}
