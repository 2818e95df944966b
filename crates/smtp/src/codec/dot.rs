//! The one reader of message data behind DATA (RFC 5321, 4.5.2).
//!
//! Only CR LF . CR LF ends a message. A CR without LF, a LF without CR and a NUL are defects:
//! the message will be refused, but its end is still looked for by the same rule, so that
//! nothing inside it is ever taken for a command (SMTP smuggling, CVE-2023-51764 and its kin).
//!
//! The content is not copied: the reader names ranges of the input that belong to it, leaving
//! out the dots that were added for transport. A range may be handed on at once; octets of a
//! block that could still turn out to be the end are never part of a range.

use std::ops::Range;

use memchr::memchr3;

/// What makes a message unacceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// CR that no LF follows.
    BareCr,
    /// LF that no CR precedes.
    BareLf,
    /// An octet of value 0.
    Nul,
}

/// What was found in a block.
#[derive(Debug, PartialEq, Eq)]
pub enum DotStep {
    /// `content` of the input belongs to the message; the first `used` octets are done with.
    /// Call again with the rest as long as there is one.
    Content {
        /// May be empty.
        content: Range<usize>,
        /// At least 1 for a non-empty input.
        used: usize,
    },
    /// As `Content`, and the message ends behind `used` octets.
    End {
        /// The last piece of the message; may be empty.
        content: Range<usize>,
        /// What follows is the next command.
        used: usize,
    },
}

/// Where in a line the reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Behind CR LF, or at the start: a dot here is special.
    LineStart,
    /// Behind a dot at the start of a line.
    Dot,
    /// Behind a dot and CR at the start of a line.
    DotCr,
    /// Inside a line.
    Middle,
    /// Behind a CR inside a line.
    Cr,
}

/// See the module's page.
#[derive(Clone, Debug)]
pub struct DotDecoder {
    at: At,
    defect: Option<Defect>,
}

impl Default for DotDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl DotDecoder {
    /// A decoder behind the reply 354: the CR LF of the DATA line counts, so that a message
    /// may be empty.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            at: At::LineStart,
            defect: None,
        }
    }

    /// The first defect seen so far.
    #[must_use]
    pub const fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Looks at `input`, which begins where the last used octet ended.
    pub fn next(&mut self, input: &[u8]) -> DotStep {
        // The piece of content that is being gathered begins here.
        let mut start = 0;
        let mut pos = 0;
        while let Some(&byte) = input.get(pos) {
            match self.at {
                At::LineStart if byte == b'.' => {
                    self.at = At::Dot;
                    pos += 1;
                    if start + 1 == pos {
                        start = pos;
                    } else {
                        return DotStep::Content {
                            content: start..pos - 1,
                            used: pos,
                        };
                    }
                }
                At::Dot if byte == b'\r' => {
                    // Held back: if LF follows, the end; if not, the message is refused anyway.
                    self.at = At::DotCr;
                    pos += 1;
                    start = pos;
                }
                At::DotCr if byte == b'\n' => {
                    self.at = At::LineStart;
                    return DotStep::End {
                        content: pos..pos,
                        used: pos + 1,
                    };
                }
                At::DotCr => {
                    self.spoil(Defect::BareCr);
                    self.at = At::Middle;
                }
                At::Cr => {
                    if byte == b'\n' {
                        self.at = At::LineStart;
                        pos += 1;
                    } else {
                        self.spoil(Defect::BareCr);
                        self.at = At::Middle;
                    }
                }
                At::LineStart | At::Dot | At::Middle => {
                    self.at = At::Middle;
                    pos = self.line(input, pos);
                }
            }
        }
        DotStep::Content {
            content: start.min(pos)..pos,
            used: pos,
        }
    }

    /// Goes to the next CR, or to the end, and returns the position behind it.
    fn line(&mut self, input: &[u8], mut pos: usize) -> usize {
        loop {
            let rest = input.get(pos..).unwrap_or(&[]);
            let Some(found) = memchr3(b'\r', b'\n', 0, rest) else {
                return input.len();
            };
            pos += found + 1;
            match rest.get(found) {
                Some(b'\r') => {
                    // The common case needs no second look at the state.
                    if input.get(pos) == Some(&b'\n') {
                        pos += 1;
                        match input.get(pos) {
                            Some(b'.') | None => {
                                self.at = At::LineStart;
                                return pos;
                            }
                            Some(_) => continue,
                        }
                    }
                    self.at = At::Cr;
                    return pos;
                }
                Some(b'\n') => self.spoil(Defect::BareLf),
                _ => self.spoil(Defect::Nul),
            }
        }
    }

    fn spoil(&mut self, defect: Defect) {
        self.defect.get_or_insert(defect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::DotEncoder;
    use proptest::prelude::*;

    struct Seen {
        content: Vec<u8>,
        defect: Option<Defect>,
        rest: Option<Vec<u8>>,
    }

    fn run(input: &[u8], size: usize) -> Seen {
        let mut decoder = DotDecoder::new();
        let mut content = Vec::new();
        let mut taken = 0;
        for block in input.chunks(size.max(1)) {
            let mut rest = block;
            while !rest.is_empty() {
                match decoder.next(rest) {
                    DotStep::Content {
                        content: range,
                        used,
                    } => {
                        assert!(used > 0);
                        content.extend_from_slice(&rest[range]);
                        rest = &rest[used..];
                        taken += used;
                    }
                    DotStep::End {
                        content: range,
                        used,
                    } => {
                        content.extend_from_slice(&rest[range]);
                        taken += used;
                        return Seen {
                            content,
                            defect: decoder.defect(),
                            rest: Some(input[taken..].to_vec()),
                        };
                    }
                }
            }
        }
        Seen {
            content,
            defect: decoder.defect(),
            rest: None,
        }
    }

    #[test]
    fn ends_and_contents() {
        let cases: [(&[u8], &[u8]); 9] = [
            (b".\r\n", b""),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"..a\r\n.\r\n", b".a\r\n"),
            (b".a\r\n.\r\n", b"a\r\n"),
            (b"a.\r\n.b\r\n.\r\n", b"a.\r\nb\r\n"),
            (b"\r\n\r\n.\r\n", b"\r\n\r\n"),
            (b"x\r\n...\r\n.\r\n", b"x\r\n..\r\n"),
            (b"a.b\r\n\r\n..\r\n.\r\n", b"a.b\r\n\r\n.\r\n"),
        ];
        for (input, want) in cases {
            for size in 1..=input.len() {
                let seen = run(&[input, b"QUIT\r\n"].concat(), size);
                assert_eq!(seen.content, want, "{input:?} {size}");
                assert_eq!(seen.rest.as_deref(), Some(&b"QUIT\r\n"[..]));
                assert_eq!(seen.defect, None);
            }
        }
    }

    /// Every pair of two line ends around a dot: only CR LF . CR LF is an end.
    #[test]
    fn smuggling_table() {
        let ends: [&[u8]; 8] = [
            b"\r\n", b"\n", b"\r", b"\r\r\n", b"\r\0\n", b"\n\r", b"", b"\0",
        ];
        for before in ends {
            for after in ends {
                let probe = [b"a", before, b".", after, b"MAIL FROM:<evil@x>\r\n"].concat();
                let input = [&probe[..], b"\r\n.\r\nQUIT\r\n"].concat();
                for size in 1..=input.len() {
                    let seen = run(&input, size);
                    let rest = seen.rest.unwrap();
                    // A line end that is one already: "\r\r\n" has CR LF at its end.
                    let line_start = before == b"\r\n" || before == b"\r\r\n";
                    if line_start && after == b"\r\n" {
                        assert!(rest.starts_with(b"MAIL"));
                    } else {
                        assert_eq!(rest, b"QUIT\r\n", "{before:?} {after:?} {size}");
                        if before != b"\r\n" && !before.is_empty()
                            || after != b"\r\n" && !after.is_empty()
                        {
                            assert!(seen.defect.is_some(), "{before:?} {after:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn defects_are_named() {
        for (input, defect) in [
            (&b"a\rb\r\n.\r\n"[..], Defect::BareCr),
            (b"a\nb\r\n.\r\n", Defect::BareLf),
            (b"a\0b\r\n.\r\n", Defect::Nul),
            (b".\rb\r\n.\r\n", Defect::BareCr),
            (b".\nb\r\n.\r\n", Defect::BareLf),
            (b"\r\r\n.\r\n", Defect::BareCr),
        ] {
            for size in 1..=input.len() {
                assert_eq!(run(input, size).defect, Some(defect), "{input:?}");
            }
        }
    }

    #[test]
    fn long_lines_survive() {
        let long = vec![b'x'; 1_000_000];
        let seen = run(&[&long[..], b"\r\n.\r\n"].concat(), 4096);
        assert_eq!(seen.content.len(), long.len() + 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn undoes_the_encoder(lines in prop::collection::vec("[.a ]{0,5}", 0..20), size in 1usize..40) {
            let content: Vec<u8> = lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect();
            let mut wire = Vec::new();
            let mut encoder = DotEncoder::new();
            for block in content.chunks(size) {
                encoder.encode(block, &mut wire);
            }
            encoder.finish(&mut wire);
            let seen = run(&wire, size);
            prop_assert_eq!(seen.content, content);
            prop_assert_eq!(seen.defect, None);
            prop_assert_eq!(seen.rest, Some(Vec::new()));
        }

        #[test]
        fn cuts_do_not_matter(input in prop::collection::vec(prop::sample::select(b".\r\na\0".to_vec()), 0..60), size in 1usize..9) {
            let (whole, cut) = (run(&input, usize::MAX), run(&input, size));
            prop_assert_eq!(&whole.rest, &cut.rest);
            prop_assert_eq!(whole.defect, cut.defect);
            if whole.defect.is_none() {
                prop_assert_eq!(whole.content, cut.content);
            }
        }
    }
}
