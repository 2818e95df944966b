//! Words, strings and comments of a structured field.

/// Reads a field from left to right. Comments are skipped by counting their parentheses, not
/// by recursion, so that a million of them cost a million steps and no stack.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Skips white space, folds and comments. False when a comment doesn't end.
    pub(super) fn skip(&mut self) -> bool {
        let mut depth = 0_usize;
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => self.at += 1,
                _ if depth > 0 => {}
                _ => return true,
            }
            self.at += 1;
        }
        depth == 0
    }

    /// Takes this octet if it is the next one.
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(super) fn is_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Takes the octets for which the test holds; `None` if there is none.
    pub(super) fn run(&mut self, test: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().position(|b| !test(*b)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).filter(|run| !run.is_empty())
    }

    /// Letters, digits, hyphens and underscores.
    pub(super) fn keyword(&mut self) -> Option<String> {
        let run = self.run(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))?;
        Some(String::from_utf8_lossy(run).to_ascii_lowercase())
    }

    /// A quoted string, or everything up to white space, a comment or a semicolon. More than
    /// the grammar allows: much in the field leaves out the quotes around `header.b`.
    pub(super) fn value(&mut self) -> Option<String> {
        if self.take(b'"') {
            return self.quoted_rest();
        }
        let run = self.run(|b| b > b' ' && b != 0x7f && !matches!(b, b';' | b'(' | b'"'))?;
        Some(String::from_utf8_lossy(run).into_owned())
    }

    fn quoted_rest(&mut self) -> Option<String> {
        let mut octets = Vec::new();
        loop {
            let run = self.run(|b| !matches!(b, b'"' | b'\\' | b'\r' | b'\n'));
            octets.extend_from_slice(run.unwrap_or_default());
            let b = self.peek()?;
            self.at += 1;
            match b {
                b'"' => return Some(String::from_utf8_lossy(&octets).into_owned()),
                b'\\' => {
                    octets.push(self.peek()?);
                    self.at += 1;
                }
                // A fold inside a string is the white space after it.
                _ => {}
            }
        }
    }
}
