//! Quoted-printable, decoded in a stream.

use crate::words::hex;

/// Longest run of white space held back because it might end a line, in octets. More than that
/// is written as it is: no line of valid quoted-printable is longer than 76 (RFC 2045 6.7).
pub const QP_SPACE_MAX: usize = 998;

/// Quoted-printable (RFC 2045 6.7). White space at a line's end is removed, a wrong escape is
/// passed on as it stands.
#[derive(Clone, Debug, Default)]
pub struct QuotedPrintable {
    /// `=` and what has come after it, or white space that may turn out to end a line.
    held: Vec<u8>,
    defects: u64,
}

impl QuotedPrintable {
    /// At the start of a body.
    pub fn new() -> QuotedPrintable {
        QuotedPrintable::default()
    }

    /// Decodes a block, appending to `out`.
    pub fn push(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut rest = block;
        while let [first, tail @ ..] = rest {
            if self.held.is_empty() {
                let len = rest
                    .iter()
                    .take_while(|b| !matches!(b, b'=' | b' ' | b'\t' | b'\r'))
                    .count();
                let (plain, special) = rest.split_at(len);
                out.extend_from_slice(plain);
                rest = special;
                // The frequent cases without a detour through `held`.
                match special {
                    [b'=', b'\r', b'\n', after @ ..] | [b'=', b'\n', after @ ..] => rest = after,
                    [b'=', a, b, after @ ..] if hex(*a).is_some() && hex(*b).is_some() => {
                        out.push(hex(*a).unwrap_or(0) << 4 | hex(*b).unwrap_or(0));
                        rest = after;
                    }
                    [b' ' | b'\t', b, ..] if !matches!(b, b' ' | b'\t' | b'\r' | b'\n') => {
                        out.extend(special.first());
                        rest = special.get(1..).unwrap_or_default();
                    }
                    [b'\r', b'\n', after @ ..] => {
                        out.extend_from_slice(b"\r\n");
                        rest = after;
                    }
                    [octet, after @ ..] => {
                        self.held.push(*octet);
                        rest = after;
                    }
                    [] => {}
                }
                continue;
            }
            if self.step(*first, out) {
                rest = tail;
            }
        }
    }

    /// Takes one octet while something is held; false if the octet has to be looked at again.
    fn step(&mut self, octet: u8, out: &mut Vec<u8>) -> bool {
        let escape = self.held.first() == Some(&b'=');
        let bare_cr = self.held.last() == Some(&b'\r');
        match (escape, octet) {
            (true, b'\n') if self.held.get(1).is_some_and(|b| hex(*b).is_some()) => {
                self.give_up(out);
                false
            }
            (_, b'\n') => {
                if !escape {
                    // White space before the line end is not content.
                    out.extend_from_slice(if bare_cr { b"\r\n" } else { b"\n" });
                }
                self.held.clear();
                true
            }
            (_, _) if bare_cr => {
                self.give_up(out);
                false
            }
            (_, b'\r') => {
                self.held.push(b'\r');
                true
            }
            (true, octet) => match self.held.as_slice() {
                [b'='] if hex(octet).is_some() || matches!(octet, b' ' | b'\t') => {
                    self.held.push(octet);
                    true
                }
                [b'=', a] if hex(*a).is_some() && hex(octet).is_some() => {
                    out.push(hex(*a).unwrap_or(0) << 4 | hex(octet).unwrap_or(0));
                    self.held.clear();
                    true
                }
                // Space between the soft break's sign and the line end.
                [b'=', b' ' | b'\t', ..]
                    if matches!(octet, b' ' | b'\t') && self.held.len() < QP_SPACE_MAX =>
                {
                    self.held.push(octet);
                    true
                }
                _ => {
                    self.give_up(out);
                    false
                }
            },
            (false, b' ' | b'\t') if self.held.len() < QP_SPACE_MAX => {
                self.held.push(octet);
                true
            }
            (false, _) => {
                out.append(&mut self.held);
                false
            }
        }
    }

    fn give_up(&mut self, out: &mut Vec<u8>) {
        self.defects += 1;
        out.append(&mut self.held);
    }

    /// Ends the body; returns how many sequences had to be forgiven.
    pub fn finish(mut self, out: &mut Vec<u8>) -> u64 {
        match self.held.as_slice() {
            // A soft break at the very end, or white space at the end of the last line.
            [b'='] | [b'=', b' ' | b'\t' | b'\r', ..] | [b' ' | b'\t', ..] => {}
            [] => {}
            _ => self.give_up(out),
        }
        self.defects
    }
}
