//! Writes a header field that is a list of tags, folded where folding is allowed.

/// Length that lines of a field don't exceed if a place to fold is there, in octets without
/// CR LF (RFC 5322, 2.1.1 asks for 78).
pub const LINE_MAX: usize = 76;

/// A field being written.
#[derive(Debug)]
pub(crate) struct Folded {
    out: String,
    column: usize,
}

impl Folded {
    /// Begins with the name and the colon.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            out: format!("{name}:"),
            column: name.len() + 1,
        }
    }

    /// Adds a piece that is not broken, after a space or a fold.
    pub(crate) fn word(&mut self, text: &str) {
        if self.column + 1 + text.len() > LINE_MAX {
            self.fold();
        } else {
            self.out.push(' ');
            self.column += 1;
        }
        self.push(text);
    }

    /// Adds a piece with nothing before it but a fold where it has to be.
    pub(crate) fn joined(&mut self, text: &str) {
        if self.column + text.len() > LINE_MAX {
            self.fold();
        }
        self.push(text);
    }

    /// Adds text that may be broken anywhere, such as base64.
    pub(crate) fn broken(&mut self, mut text: &str) {
        while !text.is_empty() {
            if self.column >= LINE_MAX {
                self.fold();
            }
            let room = LINE_MAX - self.column;
            // The text is ASCII.
            let (now, later) = text.split_at_checked(room).unwrap_or((text, ""));
            self.push(now);
            text = later;
        }
    }

    fn fold(&mut self) {
        self.out.push_str("\r\n ");
        self.column = 1;
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.len();
    }

    /// The field without its last CR LF.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// The field as far as it is written.
    pub(crate) fn as_str(&self) -> &str {
        &self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds() {
        let mut field = Folded::new("X");
        field.word("a=1;");
        field.word(&"w".repeat(LINE_MAX - 8));
        field.word("y");
        field.broken(&"b".repeat(2 * LINE_MAX));
        field.joined("::");
        let text = field.finish();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0].len(), LINE_MAX);
        assert!(lines.iter().all(|line| line.len() <= LINE_MAX));
        assert!(lines[1..].iter().all(|line| line.starts_with(' ')));
        assert!(lines[1].starts_with(" ybbb"));
    }
}
