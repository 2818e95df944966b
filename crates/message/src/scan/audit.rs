//! Octets and line lengths that transport cares about (RFC 5321 4.5.3.1.6, RFC 5322 2.1, 2.3).

use memchr::{memchr, memchr_iter};

/// What a stream of octets holds; feed blocks, then look at the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Octets seen.
    pub size: u64,
    /// Lines ended by CRLF.
    pub crlf: u64,
    /// LF without CR before it.
    pub bare_lf: u64,
    /// CR without LF after it; one at the very end counts after [`Audit::finish`].
    pub bare_cr: u64,
    /// NUL octets.
    pub nul: u64,
    /// Whether any octet is above 127.
    pub eight_bit: bool,
    /// Longest line, in octets without LF and a CR before it.
    pub longest_line: u64,
    line: u64,
    after_cr: bool,
}

impl Audit {
    /// Nothing seen yet.
    pub fn new() -> Audit {
        Audit::default()
    }

    /// Looks at a whole text.
    pub fn of(bytes: &[u8]) -> Audit {
        let mut audit = Audit::new();
        audit.push(bytes);
        audit.finish();
        audit
    }

    /// Looks at the next block.
    pub fn push(&mut self, block: &[u8]) {
        self.size += block.len() as u64;
        self.eight_bit |= !block.is_ascii();
        if memchr(0, block).is_some() {
            self.nul += memchr_iter(0, block).count() as u64;
        }
        let mut rest = block;
        while let Some(at) = memchr(b'\n', rest) {
            let (line, tail) = rest.split_at(at);
            self.text(line);
            if self.after_cr {
                self.crlf += 1;
                self.line -= 1;
            } else {
                self.bare_lf += 1;
            }
            self.after_cr = false;
            self.longest_line = self.longest_line.max(self.line);
            self.line = 0;
            rest = tail.get(1..).unwrap_or_default();
        }
        self.text(rest);
    }

    /// Octets without LF.
    fn text(&mut self, text: &[u8]) {
        let Some(last) = text.last() else { return };
        if self.after_cr {
            self.bare_cr += 1;
        }
        self.line += text.len() as u64;
        self.after_cr = *last == b'\r';
        if let Some(first) = memchr(b'\r', text) {
            let count = text
                .get(first..)
                .map_or(0, |t| memchr_iter(b'\r', t).count());
            self.bare_cr += count as u64 - u64::from(self.after_cr);
        }
    }

    /// Ends the text.
    pub fn finish(&mut self) {
        if self.after_cr {
            self.bare_cr += 1;
            self.after_cr = false;
        }
        self.longest_line = self.longest_line.max(self.line);
        self.line = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts() {
        let audit = Audit::of(b"abc\r\nd\ne\rf\r\r\n\0\xff\r");
        assert_eq!(
            (audit.crlf, audit.bare_lf, audit.bare_cr, audit.nul),
            (2, 1, 3, 1)
        );
        assert!(audit.eight_bit);
        assert_eq!(audit.longest_line, 4);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(text in "[a\r\n\0]{0,30}", cut in 0usize..30) {
            let (a, b) = text.as_bytes().split_at(cut.min(text.len()));
            let mut audit = Audit::new();
            audit.push(a);
            audit.push(b);
            audit.finish();
            prop_assert_eq!(audit, Audit::of(text.as_bytes()));
            let count = |what: &str| text.matches(what).count() as u64;
            prop_assert_eq!(audit.crlf, count("\r\n"));
            prop_assert_eq!(audit.bare_lf, count("\n") - audit.crlf);
            prop_assert_eq!(audit.bare_cr, count("\r") - audit.crlf);
        }
    }
}
