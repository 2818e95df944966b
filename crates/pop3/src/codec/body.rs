//! A stored message to the octets that RETR and TOP send.

use memchr::memchr;

/// Turns a message into a multi-line answer, block by block (RFC 1939, 3).
///
/// * A line end is sent as CRLF, whether the file holds LF (Maildir) or CRLF.
/// * A CR that stands alone and a NUL are sent as they are.
/// * A dot at the start of a line is doubled.
/// * A last line without a line end gets one; then comes the dot line.
///
/// What is sent without the doubled dots and the dot line has exactly the length that the
/// mailbox announces. Where a message is cut into blocks makes no difference.
#[derive(Debug)]
pub struct BodyEncoder {
    /// Octets of the present line so far, saturating; 0 at the start of a line.
    line: usize,
    /// The octet before was CR.
    after_cr: bool,
    part: Part,
}

#[derive(Debug)]
enum Part {
    /// RETR: everything goes.
    All,
    /// TOP, in the header: then this many lines.
    Header(u64),
    /// TOP, in the body: this many lines are left.
    Body(u64),
}

impl BodyEncoder {
    /// An encoder for a whole message (RETR).
    #[must_use]
    pub fn whole() -> Self {
        Self {
            line: 0,
            after_cr: false,
            part: Part::All,
        }
    }

    /// An encoder for the header, the empty line and `lines` lines of the body (TOP).
    #[must_use]
    pub fn top(lines: u64) -> Self {
        Self {
            line: 0,
            after_cr: false,
            part: Part::Header(lines),
        }
    }

    /// Encodes the next block. `false`: enough was seen (TOP), the rest need not be read.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) -> bool {
        // Line ends grow by one octet each: mails have one in every 40 to 80 octets.
        out.reserve(block.len() + block.len() / 16 + 16);
        let mut rest = block;
        while !rest.is_empty() {
            if matches!(self.part, Part::Body(0)) {
                return false;
            }
            if self.line == 0 && rest.first() == Some(&b'.') {
                out.push(b'.');
            }
            let Some(at) = memchr(b'\n', rest) else {
                out.extend_from_slice(rest);
                self.line = self.line.saturating_add(rest.len());
                self.after_cr = rest.last() == Some(&b'\r');
                return true;
            };
            let (text, tail) = rest.split_at(at);
            out.extend_from_slice(text);
            let after_cr = match text.last() {
                Some(last) => *last == b'\r',
                None => self.after_cr,
            };
            out.extend_from_slice(if after_cr { b"\n" } else { b"\r\n" });
            let length = self.line.saturating_add(at);
            self.line_ended(length == 0 || (length == 1 && after_cr));
            rest = tail.get(1..).unwrap_or_default();
        }
        !matches!(self.part, Part::Body(0))
    }

    /// Writes what is missing of the last line, and the dot line.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.line > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }

    fn line_ended(&mut self, empty: bool) {
        self.line = 0;
        self.after_cr = false;
        match &mut self.part {
            Part::All => {}
            Part::Header(lines) => {
                if empty {
                    self.part = Part::Body(*lines);
                }
            }
            Part::Body(left) => *left = left.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(mut encoder: BodyEncoder, parts: &[&[u8]]) -> String {
        let mut out = Vec::new();
        for part in parts {
            if !encoder.push(part, &mut out) {
                break;
            }
        }
        encoder.finish(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn whole_messages() {
        for (stored, sent) in [
            ("", ".\r\n"),
            ("a\nb\n", "a\r\nb\r\n.\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
            ("a\r\nb\nc", "a\r\nb\r\nc\r\n.\r\n"),
            (".\n..\n.a", "..\r\n...\r\n..a\r\n.\r\n"),
            ("\r", "\r\r\n.\r\n"),
            ("a\rb\n", "a\rb\r\n.\r\n"),
            ("\r\r\n", "\r\r\n.\r\n"),
            ("\n\n", "\r\n\r\n.\r\n"),
            ("\0\n", "\0\r\n.\r\n"),
        ] {
            assert_eq!(
                encode(BodyEncoder::whole(), &[stored.as_bytes()]),
                sent,
                "{stored:?}"
            );
        }
    }

    #[test]
    fn tops() {
        let stored = "A: b\nC: d\n\n1\n.2\n3\n";
        for (lines, sent) in [
            (0, "A: b\r\nC: d\r\n\r\n.\r\n"),
            (1, "A: b\r\nC: d\r\n\r\n1\r\n.\r\n"),
            (2, "A: b\r\nC: d\r\n\r\n1\r\n..2\r\n.\r\n"),
            (3, "A: b\r\nC: d\r\n\r\n1\r\n..2\r\n3\r\n.\r\n"),
            (4, "A: b\r\nC: d\r\n\r\n1\r\n..2\r\n3\r\n.\r\n"),
            (u64::MAX, "A: b\r\nC: d\r\n\r\n1\r\n..2\r\n3\r\n.\r\n"),
        ] {
            assert_eq!(
                encode(BodyEncoder::top(lines), &[stored.as_bytes()]),
                sent,
                "{lines}"
            );
            let crlf = stored.replace('\n', "\r\n");
            assert_eq!(
                encode(BodyEncoder::top(lines), &[crlf.as_bytes()]),
                sent,
                "{lines} crlf"
            );
        }
        assert_eq!(encode(BodyEncoder::top(0), &[b"A: b"]), "A: b\r\n.\r\n");
        assert_eq!(encode(BodyEncoder::top(0), &[b"\nx\n"]), "\r\n.\r\n");
        assert_eq!(
            encode(BodyEncoder::top(1), &[b"a\n\r\nx\ny"]),
            "a\r\n\r\nx\r\n.\r\n"
        );
    }

    #[test]
    fn top_says_when_it_has_enough() {
        let mut out = Vec::new();
        let mut encoder = BodyEncoder::top(1);
        assert!(encoder.push(b"A: b\n\n", &mut out));
        assert!(!encoder.push(b"x\n", &mut out));
        assert!(!encoder.push(b"y\n", &mut out));
        assert_eq!(out, b"A: b\r\n\r\nx\r\n");
    }

    /// What a client does with a multi-line answer.
    fn decode(sent: &str) -> Option<String> {
        let mut text = String::new();
        let mut rest = sent;
        loop {
            let (line, tail) = rest.split_once("\r\n")?;
            if line == "." {
                return tail.is_empty().then_some(text);
            }
            text.push_str(line.strip_prefix('.').unwrap_or(line));
            text.push_str("\r\n");
            rest = tail;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn client_reads_what_was_stored(stored in "[a.\r\n]{0,40}") {
            let sent = encode(BodyEncoder::whole(), &[stored.as_bytes()]);
            let mut expected = stored.replace("\r\n", "\n").replace('\n', "\r\n");
            if !stored.is_empty() && !stored.ends_with('\n') {
                expected.push_str("\r\n");
            }
            prop_assert_eq!(decode(&sent), Some(expected));
        }

        #[test]
        fn cutting_changes_nothing(stored in "[a.\r\n]{0,40}", lines in proptest::option::of(0u64..4)) {
            let make = || lines.map_or_else(BodyEncoder::whole, BodyEncoder::top);
            let bytes = stored.as_bytes();
            let sent = encode(make(), &[bytes]);
            for cut in 0..=bytes.len() {
                let (a, b) = bytes.split_at(cut);
                prop_assert_eq!(&encode(make(), &[a, b]), &sent);
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&encode(make(), &single), &sent);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn any_octets(choice: u8, stored in "[a.\r\n]{0,60}") {
            let mut data = vec![choice];
            data.extend_from_slice(stored.as_bytes());
            crate::rehearse::fuzz_body(&data);
        }
    }
}
