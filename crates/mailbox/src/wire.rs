//! How many octets a stored message has once it is sent with CRLF line ends.

use memchr::memchr_iter;

/// Counts stored octets and the octets they become on the wire (POP3 RETR, IMAP RFC822.SIZE).
///
/// An LF that has no CR before it becomes CRLF; a last line without a line end gets one; all
/// other octets stay. POP3's doubled dots are not counted (RFC 1939, 11).
#[derive(Debug, Clone, Copy, Default)]
pub struct WireCount {
    stored: u64,
    /// LFs that had no CR before them.
    bare: u64,
    last: Option<u8>,
}

impl WireCount {
    /// Counts the next block; where the message is cut makes no difference.
    pub fn push(&mut self, block: &[u8]) {
        let Some(&last) = block.last() else { return };
        for at in memchr_iter(b'\n', block) {
            let before = match at.checked_sub(1) {
                Some(before) => block.get(before).copied(),
                None => self.last,
            };
            if before != Some(b'\r') {
                self.bare += 1;
            }
        }
        // A file has at most 2^63 octets.
        self.stored = self
            .stored
            .saturating_add(u64::try_from(block.len()).unwrap_or(u64::MAX));
        self.last = Some(last);
    }

    /// Octets counted so far, as they are stored: `,S=` of the file's name.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Octets on the wire: `,W=` of the file's name.
    #[must_use]
    pub fn wire(&self) -> u64 {
        let end = if self.ends_line() { 0 } else { 2 };
        self.stored.saturating_add(self.bare).saturating_add(end)
    }

    /// Whether nothing was counted yet or the last octet was LF.
    #[must_use]
    pub fn ends_line(&self) -> bool {
        matches!(self.last, None | Some(b'\n'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(parts: &[&[u8]]) -> (u64, u64) {
        let mut count = WireCount::default();
        parts.iter().for_each(|part| count.push(part));
        (count.stored(), count.wire())
    }

    #[test]
    fn table() {
        for (stored, wire) in [
            ("", 0),
            ("a\n", 3),
            ("a\r\n", 3),
            ("a", 3),
            ("\n\n", 4),
            ("\r", 3),
            ("a\rb\n", 5),
            ("\r\r\n", 3),
            (".\n", 3),
            ("a\nb", 6),
        ] {
            assert_eq!(
                count(&[stored.as_bytes()]),
                (stored.len() as u64, wire),
                "{stored:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn counts_what_a_sender_would_send(stored in "[a\r\n]{0,30}", cut in 0usize..30) {
            let mut sent = stored.replace("\r\n", "\n").replace('\n', "\r\n");
            if !stored.is_empty() && !stored.ends_with('\n') {
                sent.push_str("\r\n");
            }
            let (a, b) = stored.as_bytes().split_at(cut.min(stored.len()));
            prop_assert_eq!(count(&[a, b]), (stored.len() as u64, sent.len() as u64));
            let single: Vec<&[u8]> = stored.as_bytes().chunks(1).collect();
            prop_assert_eq!(count(&single), (stored.len() as u64, sent.len() as u64));
        }
    }
}
