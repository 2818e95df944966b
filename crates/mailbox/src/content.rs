//! CRLF line ends to LF, block by block.

use memchr::memchr;

/// Turns received content (CRLF line ends) into what a Maildir holds (LF).
///
/// `CR LF` becomes `LF`, except behind another CR: `CR CR LF` stays, since `CR LF` in a stored
/// file means one line end. So nothing is lost: sent again with CRLF, the message has exactly
/// the octets that were received. A CR or LF that stands alone stays too (an LF alone is sent
/// as CRLF; our own smtpd accepts no message that has one).
#[derive(Debug, Default)]
pub struct LineEnds {
    /// The last block ended in CR, which was not written yet.
    held: bool,
    /// The last octet written or held back before `held` was CR.
    after_cr: bool,
}

impl LineEnds {
    /// Converts the next block.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        if self.held && !rest.is_empty() {
            self.held = false;
            let ends_line = rest.first() == Some(&b'\n');
            if !ends_line || self.after_cr {
                out.push(b'\r');
            }
            // Either way the octet before `rest` was a CR of the input; it counts as one for
            // what follows only if a CR comes next, and that is the case decided here.
            self.after_cr = true;
            if ends_line {
                out.push(b'\n');
                self.after_cr = false;
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        while let Some(at) = memchr(b'\r', rest) {
            let (text, tail) = rest.split_at(at);
            out.extend_from_slice(text);
            let after_cr = text.is_empty() && self.after_cr;
            rest = match tail {
                [_, b'\n', more @ ..] => {
                    out.extend_from_slice(if after_cr { b"\r\n" } else { b"\n" });
                    self.after_cr = false;
                    more
                }
                [_] => {
                    self.held = true;
                    self.after_cr = after_cr;
                    return;
                }
                _ => {
                    out.push(b'\r');
                    self.after_cr = true;
                    tail.get(1..).unwrap_or_default()
                }
            };
        }
        if !rest.is_empty() {
            self.after_cr = false;
            out.extend_from_slice(rest);
        }
    }

    /// Writes a CR that was held back at the end of the content.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held) {
            out.push(b'\r');
        }
    }
}

/// What the fuzz target `mailbox_content` checks: cutting the content changes nothing, and the
/// wire size of what is stored is what a sender makes of it.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let convert = |parts: &[&[u8]]| {
        let (mut ends, mut out) = (LineEnds::default(), Vec::new());
        parts.iter().for_each(|part| ends.push(part, &mut out));
        ends.finish(&mut out);
        out
    };
    let stored = convert(&[data]);
    let (a, b) = data.split_at(data.len() / 2);
    assert_eq!(convert(&[a, b]), stored);
    let mut count = crate::wire::WireCount::default();
    count.push(&stored);
    let mut sent = 0u64;
    let mut before = b' ';
    for &octet in &stored {
        sent += if octet == b'\n' && before != b'\r' {
            2
        } else {
            1
        };
        before = octet;
    }
    if !count.ends_line() {
        sent += 2;
    }
    assert_eq!(count.wire(), sent);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::WireCount;
    use proptest::prelude::*;

    fn convert(parts: &[&[u8]]) -> String {
        let mut ends = LineEnds::default();
        let mut out = Vec::new();
        parts.iter().for_each(|part| ends.push(part, &mut out));
        ends.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn table() {
        for (received, stored) in [
            ("", ""),
            ("a\r\nb\r\n", "a\nb\n"),
            ("\r\n\r\n", "\n\n"),
            ("a\rb\r\n", "a\rb\n"),
            ("a\r", "a\r"),
            ("\r\r\n", "\r\r\n"),
            ("\r\r\r\n", "\r\r\r\n"),
            ("\r\r\n\r\n", "\r\r\n\n"),
            ("a\n", "a\n"),
            ("\r\n\n", "\n\n"),
            ("\ra\r\n", "\ra\n"),
        ] {
            assert_eq!(convert(&[received.as_bytes()]), stored, "{received:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn cutting_changes_nothing(received in "[a\r\n]{0,24}", step in 1usize..6) {
            let bytes = received.as_bytes();
            let whole = convert(&[bytes]);
            for cut in 0..=bytes.len() {
                let (a, b) = bytes.split_at(cut);
                prop_assert_eq!(&convert(&[a, b]), &whole);
            }
            let parts: Vec<&[u8]> = bytes.chunks(step).collect();
            prop_assert_eq!(&convert(&parts), &whole);
        }

        /// What smtpd can accept comes back from POP3 octet for octet.
        #[test]
        fn nothing_is_lost(lines in proptest::collection::vec("[a.\r]{0,4}", 0..6)) {
            let received: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let stored = convert(&[received.as_bytes()]);
            let mut sent = String::new();
            let mut before = ' ';
            for c in stored.chars() {
                if c == '\n' && before != '\r' {
                    sent.push('\r');
                }
                sent.push(c);
                before = c;
            }
            let mut count = WireCount::default();
            count.push(stored.as_bytes());
            prop_assert_eq!(count.wire(), received.len() as u64);
            prop_assert_eq!(sent, received);
        }

        #[test]
        fn any_octets(received in "[a\r\n]{0,60}") {
            fuzz(received.as_bytes());
        }
    }
}
