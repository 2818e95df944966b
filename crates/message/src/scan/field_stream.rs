//! Header fields of a message that comes in blocks, as offsets.

use std::ops::Range;

use memchr::memchr;

use super::field::NAME_MAX;

/// Where a field stands, in octets from the message's first. The same as [`super::RawField`], but
/// without the octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRange {
    /// The name; empty for a line that is no field.
    pub name: Range<usize>,
    /// The body, folds included, without the last line end.
    pub value: Range<usize>,
    /// All of it, line end included.
    pub raw: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a line.
    Line,
    /// After a CR at the start of a line.
    Cr,
    /// In what may be a name; `space` after white space that follows it.
    Name { end: usize, space: bool },
    /// In the rest of a line.
    Rest,
    /// After the empty line.
    Ended { body: usize },
}

/// Finds the fields of a header that comes in blocks of any size. Holds no octets.
#[derive(Clone, Debug)]
pub struct FieldStream {
    state: State,
    offset: usize,
    /// Start of the field being read, and the offsets of its name's end and its colon.
    start: Option<usize>,
    colon: Option<(usize, usize)>,
    /// End of the last line read of it, line end left out.
    text_end: usize,
    after_cr: bool,
}

impl Default for FieldStream {
    fn default() -> FieldStream {
        FieldStream::new()
    }
}

impl FieldStream {
    /// At the start of a message.
    pub fn new() -> FieldStream {
        FieldStream {
            state: State::Line,
            offset: 0,
            start: None,
            colon: None,
            text_end: 0,
            after_cr: false,
        }
    }

    /// Takes the next block and calls `found` for each field that is complete.
    ///
    /// A field is complete when the line after it has begun. After the empty line nothing is read.
    pub fn feed(&mut self, block: &[u8], mut found: impl FnMut(FieldRange)) {
        let mut rest = block;
        while let [octet, tail @ ..] = rest {
            match self.state {
                State::Ended { .. } => return,
                State::Line => match octet {
                    b'\n' => {
                        self.close(self.offset, &mut found);
                        self.state = State::Ended {
                            body: self.offset + 1,
                        };
                        return;
                    }
                    b'\r' => self.state = State::Cr,
                    b' ' | b'\t' if self.start.is_some() => self.state = State::Rest,
                    _ => {
                        self.close(self.offset, &mut found);
                        self.start = Some(self.offset);
                        self.state = State::Name {
                            end: self.offset,
                            space: false,
                        };
                        continue;
                    }
                },
                State::Cr => {
                    self.close(self.offset - 1, &mut found);
                    if *octet == b'\n' {
                        self.state = State::Ended {
                            body: self.offset + 1,
                        };
                        return;
                    }
                    self.start = Some(self.offset - 1);
                    self.after_cr = true;
                    self.state = State::Rest;
                    continue;
                }
                State::Name { end, space } => {
                    let start = self.start.unwrap_or(end);
                    let named = end > start && self.offset - start <= NAME_MAX;
                    self.state = match octet {
                        b':' if named => {
                            self.colon = Some((end, self.offset));
                            State::Rest
                        }
                        b' ' | b'\t' if named => State::Name { end, space: true },
                        octet
                            if octet.is_ascii_graphic()
                                && *octet != b':'
                                && !space
                                && self.offset - start <= NAME_MAX =>
                        {
                            State::Name {
                                end: self.offset + 1,
                                space: false,
                            }
                        }
                        _ => {
                            self.state = State::Rest;
                            continue;
                        }
                    };
                }
                State::Rest => {
                    let Some(at) = memchr(b'\n', rest) else {
                        self.after_cr = rest.ends_with(b"\r");
                        self.offset += rest.len();
                        return;
                    };
                    let cr = match at {
                        0 => self.after_cr,
                        at => rest.get(at - 1) == Some(&b'\r'),
                    };
                    self.text_end = self.offset + at - usize::from(cr);
                    self.after_cr = false;
                    self.offset += at + 1;
                    self.state = State::Line;
                    rest = rest.get(at + 1..).unwrap_or_default();
                    continue;
                }
            }
            self.after_cr = false;
            self.offset += 1;
            rest = tail;
        }
    }

    /// Ends the message, if the header has not ended before; tells the offset of the body.
    pub fn finish(mut self, mut found: impl FnMut(FieldRange)) -> usize {
        match self.state {
            State::Ended { body } => return body,
            State::Line => {}
            State::Cr => {
                self.close(self.offset - 1, &mut found);
                self.start = Some(self.offset - 1);
                self.text_end = self.offset - 1;
            }
            State::Name { .. } | State::Rest => {
                self.text_end = self.offset - usize::from(self.after_cr)
            }
        }
        self.close(self.offset, &mut found);
        self.offset
    }

    /// The offset of the body, once the empty line has been read.
    pub fn body(&self) -> Option<usize> {
        match self.state {
            State::Ended { body } => Some(body),
            _ => None,
        }
    }

    fn close(&mut self, end: usize, found: &mut impl FnMut(FieldRange)) {
        let Some(start) = self.start.take() else {
            return;
        };
        let (name, value) = match self.colon.take() {
            Some((name_end, colon)) => (start..name_end, colon + 1..self.text_end.max(colon + 1)),
            None => (start..start, start..self.text_end.max(start)),
        };
        found(FieldRange {
            name,
            value,
            raw: start..end,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Fields;
    use proptest::prelude::*;

    /// The same from the reader of whole headers.
    fn whole(input: &[u8]) -> (Vec<FieldRange>, usize) {
        let mut fields = Fields::new(input);
        let at = |part: &[u8]| {
            let start = part.as_ptr() as usize - input.as_ptr() as usize;
            start..start + part.len()
        };
        let list = fields
            .by_ref()
            .map(|f| FieldRange {
                name: if f.is_field() { at(f.name) } else { f.at..f.at },
                value: at(f.value),
                raw: f.range(),
            })
            .collect();
        (list, fields.body().unwrap())
    }

    fn in_blocks(input: &[u8], size: usize) -> (Vec<FieldRange>, usize) {
        let mut list = Vec::new();
        let mut stream = FieldStream::new();
        for block in input.chunks(size) {
            stream.feed(block, |field| list.push(field));
        }
        let body = stream.finish(|field| list.push(field));
        (list, body)
    }

    #[test]
    fn name_limit() {
        for len in [NAME_MAX - 1, NAME_MAX, NAME_MAX + 1] {
            for space in ["", " "] {
                let text = format!("{}{space}: v\r\n\r\n", "n".repeat(len - space.len()));
                for size in [1, 100, 5_000] {
                    assert_eq!(
                        in_blocks(text.as_bytes(), size),
                        whole(text.as_bytes()),
                        "{len} {size}"
                    );
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_same_as_from_the_whole(input in "[ab:\t \r\n\0]{0,60}", size in 1usize..12) {
            let input = input.as_bytes();
            prop_assert_eq!(in_blocks(input, size), whole(input));
            prop_assert_eq!(in_blocks(input, 100), whole(input));
        }
    }
}
