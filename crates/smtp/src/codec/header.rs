//! A look at the header while it streams by: hops are counted, and for submissions it is noted
//! which required fields are missing and where they would be put in.
//!
//! This is not a parser of messages (crate `message` is); it knows names of fields and where
//! the header ends, needs 32 octets and touches each octet at most twice.

use memchr::memchr;

/// Most Received fields of an acceptable message; more mean a loop (RFC 5321, 6.3).
pub const HOPS_MAX: u16 = 100;

const NAME_MAX: usize = 10;

/// Fields that a submitted message must have and has not (RFC 6409, 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// No `Date:`.
    pub date: bool,
    /// No `Message-ID:`.
    pub message_id: bool,
    /// No `From:`.
    pub from: bool,
}

impl Missing {
    /// True when nothing has to be added.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !(self.date || self.message_id || self.from)
    }
}

/// What a piece of content meant for the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The header goes on, or its end was passed before.
    Nothing,
    /// The piece ends with the CR of what may be the empty line: hold that octet back. Only
    /// where insertion is wanted.
    HoldCr,
    /// The header ends: what is missing goes in at `at` (0 when a CR is held back).
    End {
        /// Offset in the piece.
        at: usize,
    },
    /// The CR that was held back was none of an empty line: it is content.
    Released,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Name(usize),
    Value,
    HeldCr,
    Past,
}

/// Reads a message's header in pieces.
#[derive(Clone, Debug)]
pub struct HeaderWatch {
    at: At,
    name: [u8; NAME_MAX],
    hops: u16,
    missing: Missing,
    insert: bool,
}

impl HeaderWatch {
    /// `insert` says that missing fields will be added: then the place is reported.
    #[must_use]
    pub const fn new(insert: bool) -> Self {
        let missing = Missing {
            date: true,
            message_id: true,
            from: true,
        };
        Self {
            at: At::LineStart,
            name: [0; NAME_MAX],
            hops: 0,
            missing,
            insert,
        }
    }

    /// How many Received fields were seen.
    #[must_use]
    pub const fn hops(&self) -> u16 {
        self.hops
    }

    /// What has not been seen so far.
    #[must_use]
    pub const fn missing(&self) -> Missing {
        self.missing
    }

    /// True while the end of the header has not come: at the end of the message the missing
    /// fields then go behind everything.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.at != At::Past
    }

    /// Looks at the next piece of content.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Seen {
        if self.at == At::Past {
            return Seen::Nothing;
        }
        let mut pos = 0;
        while let Some(&byte) = piece.get(pos) {
            match self.at {
                At::Past => break,
                At::HeldCr => {
                    self.at = At::Past;
                    return if byte == b'\n' {
                        Seen::End { at: 0 }
                    } else {
                        Seen::Released
                    };
                }
                At::LineStart if byte == b'\r' => {
                    return match piece.get(pos + 1) {
                        Some(b'\n') => {
                            self.at = At::Past;
                            Seen::End { at: pos }
                        }
                        Some(_) => {
                            self.at = At::Past;
                            Seen::Nothing
                        }
                        None => {
                            self.at = At::HeldCr;
                            Seen::HoldCr
                        }
                    };
                }
                At::LineStart if matches!(byte, b' ' | b'\t') => self.at = At::Value,
                At::LineStart => self.at = At::Name(0),
                At::Name(len) => {
                    match byte {
                        b':' => {
                            self.field(len);
                            self.at = At::Value;
                        }
                        // `Name :` is an obsolete form (RFC 5322, 4.5).
                        b' ' | b'\t' if len > 0 => {}
                        33..=126 => {
                            if let Some(slot) = self.name.get_mut(len) {
                                *slot = byte.to_ascii_lowercase();
                            }
                            self.at = At::Name(len.saturating_add(1));
                        }
                        // No field: the text has begun without an empty line.
                        _ => self.at = At::Past,
                    }
                    pos += 1;
                }
                At::Value => match memchr(b'\n', piece.get(pos..).unwrap_or(&[])) {
                    Some(lf) => {
                        pos += lf + 1;
                        self.at = At::LineStart;
                    }
                    None => break,
                },
            }
        }
        Seen::Nothing
    }

    pub(crate) const fn wants_insertion(&self) -> bool {
        self.insert
    }

    fn field(&mut self, len: usize) {
        match self.name.get(..len) {
            Some(b"received") => self.hops = self.hops.saturating_add(1),
            Some(b"date") => self.missing.date = false,
            Some(b"from") => self.missing.from = false,
            Some(b"message-id") => self.missing.message_id = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks the place of insertion with `|`.
    fn run(text: &str, size: usize) -> (String, HeaderWatch) {
        let mut watch = HeaderWatch::new(true);
        let mut out = String::new();
        let mut held = false;
        for piece in text.as_bytes().chunks(size) {
            let piece = std::str::from_utf8(piece).unwrap();
            match watch.feed(piece.as_bytes()) {
                Seen::Nothing => out.push_str(piece),
                Seen::HoldCr => {
                    out.push_str(&piece[..piece.len() - 1]);
                    held = true;
                }
                Seen::End { at } => {
                    out.push_str(&piece[..at]);
                    out.push('|');
                    if held {
                        out.push('\r');
                    }
                    out.push_str(&piece[at..]);
                }
                Seen::Released => {
                    out.push('\r');
                    out.push_str(piece);
                }
            }
        }
        if watch.is_inside() {
            out.push('|');
        }
        (out, watch)
    }

    #[test]
    fn finds_the_end_at_every_cut() {
        for (text, want) in [
            (
                "From: a\r\n\r\nbody\r\n\r\n",
                "From: a\r\n|\r\nbody\r\n\r\n",
            ),
            ("\r\nbody\r\n", "|\r\nbody\r\n"),
            ("From: a\r\n", "From: a\r\n|"),
            ("no header\r\n\r\nx: y\r\n", "no header\r\n\r\nx: y\r\n"),
            ("A: b\r\n c: d\r\n\r\n", "A: b\r\n c: d\r\n|\r\n"),
        ] {
            for size in 1..=text.len() {
                assert_eq!(run(text, size).0, want, "{size}");
            }
        }
    }

    #[test]
    fn notes_fields() {
        let text = "RECEIVED: x\r\nReceived : y\r\n Date: folded\r\nMessage-Id:<a>\r\nX-From: q\r\nReceivedX: z\r\n\r\nFrom: body\r\n";
        for size in 1..=text.len() {
            let watch = run(text, size).1;
            assert_eq!(watch.hops(), 2);
            assert_eq!(
                watch.missing(),
                Missing {
                    date: true,
                    message_id: false,
                    from: true
                }
            );
        }
    }
}
