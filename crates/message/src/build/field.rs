//! One structured header field while it is being written.

use std::borrow::Cow;

use super::words::{encode_run, needs_words};
use super::{FieldName, LINE_SOFT, clean};
use crate::address::is_atext;

/// Longest token of a structured field, in octets; a longer one is cut there.
///
/// Nothing that is valid comes near: it keeps a hostile text from making a line beyond
/// [`super::LINE_HARD`].
pub const TOKEN_MAX: usize = 900;

/// Writes the body of one structured field, folding at token boundaries.
///
/// The field is closed with CRLF when the value is dropped, so it can't be left open. No text
/// given to any method can end the field: control characters become `?`.
#[derive(Debug)]
pub struct Field<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
    /// Whether the current line holds more than the field's name or the indentation.
    started: bool,
    /// Whether the current line is a continuation that holds its indentation only.
    indented: bool,
}

impl<'a> Field<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, name: FieldName<'_>) -> Field<'a> {
        out.extend_from_slice(name.as_str().as_bytes());
        out.push(b':');
        let column = name.as_str().len() + 1;
        Field {
            out,
            column,
            started: false,
            indented: false,
        }
    }

    /// Writes tokens separated by spaces; a line break may come before each.
    pub fn words(&mut self, text: &str) -> &mut Self {
        for word in text
            .split(|c| clean(c) == ' ')
            .filter(|word| !word.is_empty())
        {
            self.token(&cleaned(word));
        }
        self
    }

    /// Writes one token that may hold spaces and is never broken, with a space before it.
    pub(super) fn atomic(&mut self, text: &str) -> &mut Self {
        self.token(&cleaned(text));
        self
    }

    /// Writes text directly after the last token, without a space: punctuation.
    pub fn glue(&mut self, text: &str) -> &mut Self {
        let text = cleaned(text);
        self.push(&text);
        self
    }

    /// Writes a comment in parentheses (RFC 5322 3.2.2), with `(`, `)` and `\` escaped.
    pub fn comment(&mut self, text: &str) -> &mut Self {
        let mut inner = String::with_capacity(text.len() + 2);
        for c in text.chars().map(clean) {
            if matches!(c, '(' | ')' | '\\') {
                inner.push('\\');
            }
            inner.push(c);
        }
        let mut words = inner.split(' ').filter(|word| !word.is_empty()).peekable();
        let mut token = String::from("(");
        while let Some(word) = words.next() {
            token.push_str(cut_escaped(word));
            if words.peek().is_some() {
                self.token(&token);
                token.clear();
            }
        }
        token.push(')');
        self.token(&token);
        self
    }

    /// Writes a phrase (RFC 5322 3.2.5): plain words, a quoted string, or encoded words (RFC 2047).
    pub fn phrase(&mut self, text: &str) -> &mut Self {
        let text: String = text.chars().map(clean).collect();
        let text = text.trim();
        if text.is_empty() {
            self.token("\"\"");
        } else if needs_words(text) || text.len() > LINE_SOFT * 4 {
            for word in encode_run(text) {
                self.token(&word);
            }
        } else if text
            .split(' ')
            .all(|word| !word.is_empty() && word.chars().all(is_atext))
        {
            self.words(text);
        } else {
            self.token(&quoted(text));
        }
        self
    }

    /// Writes a parameter `; name=value` (RFC 2045 5.1), quoted or in the form of RFC 2231 where needed.
    ///
    /// A value of more than one line, or one that is not ASCII, is cut into `name*0*=`, `name*1*=` …
    /// in UTF-8. Characters of the name other than RFC 2045 tokens are left out.
    pub fn param(&mut self, name: &str, value: &str) -> &mut Self {
        let name: String = name
            .chars()
            .filter(|c| is_token_char(*c) && !matches!(c, '*' | '\'' | '%'))
            .take(60)
            .collect();
        let value: String = value.chars().map(clean).collect();
        let plain = value.is_ascii() && name.len() + value.len() + 6 <= LINE_SOFT;
        if plain {
            self.glue(";");
            if !value.is_empty() && value.chars().all(is_token_char) {
                self.token(&format!("{name}={value}"));
            } else {
                self.token(&format!("{name}={}", quoted(&value)));
            }
            return self;
        }
        let mut segment = 0usize;
        let mut piece = String::from("utf-8''");
        for octet in value.bytes() {
            // `attribute-char` of RFC 2231 7, kept to the safe half of it.
            if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_') {
                piece.push(char::from(octet));
            } else {
                piece.push_str(&format!("%{octet:02X}"));
            }
            if name.len() + piece.len() + 12 > LINE_SOFT {
                self.glue(";");
                self.token(&format!("{name}*{segment}*={piece}"));
                segment += 1;
                piece.clear();
            }
        }
        if segment == 0 {
            self.glue(";");
            self.token(&format!("{name}*={piece}"));
        } else if !piece.is_empty() {
            self.glue(";");
            self.token(&format!("{name}*{segment}*={piece}"));
        }
        self
    }

    /// Starts a new line here, unless the line is still empty.
    pub fn fold(&mut self) -> &mut Self {
        if self.started {
            self.break_line();
        }
        self
    }

    /// Ends the field. The same as dropping it, for use at the end of a chain.
    pub fn end(&mut self) {}

    fn break_line(&mut self) {
        self.out.extend_from_slice(b"\r\n\t");
        self.column = 8;
        self.started = false;
        self.indented = true;
    }

    /// `text` is clean already.
    fn token(&mut self, text: &str) {
        let text = cut(text);
        if self.started && self.column + 1 + text.len() > LINE_SOFT {
            self.break_line();
        }
        // After a break the tab is the separator.
        if !self.indented {
            self.out.push(b' ');
            self.column += 1;
        }
        self.push(text);
    }

    fn push(&mut self, text: &str) {
        // Glued text that would pass the hard limit goes on a new line: still no injection, at
        // worst a space in a token that nobody can read anyway.
        let text = cut(text);
        if self.column + text.len() > super::LINE_HARD {
            self.break_line();
        }
        self.out.extend_from_slice(text.as_bytes());
        self.column += text.len();
        if !text.is_empty() {
            self.started = true;
            self.indented = false;
        }
    }
}

impl Drop for Field<'_> {
    fn drop(&mut self) {
        // A fold at the very end would leave a line of white space only.
        if self.indented {
            self.out.truncate(self.out.len() - 3);
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

pub(super) fn cleaned(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(clean).collect())
}

/// At most [`TOKEN_MAX`] octets, on a character boundary.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TOKEN_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A word of a comment, cut so that it and both parentheses fit a token and no escape is halved.
fn cut_escaped(word: &str) -> &str {
    if word.len() <= TOKEN_MAX - 2 {
        return word;
    }
    let mut end = TOKEN_MAX - 2;
    while !word.is_char_boundary(end) {
        end -= 1;
    }
    let word = word.get(..end).unwrap_or_default();
    let backslashes = word.len() - word.trim_end_matches('\\').len();
    if backslashes % 2 == 1 {
        word.get(..word.len() - 1).unwrap_or_default()
    } else {
        word
    }
}

/// A quoted string (RFC 5322 3.2.4) of clean text.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// `token` of RFC 2045 5.1.
pub(super) fn is_token_char(c: char) -> bool {
    c.is_ascii_graphic()
        && !matches!(
            c,
            '(' | ')'
                | '<'
                | '>'
                | '@'
                | ','
                | ';'
                | ':'
                | '\\'
                | '"'
                | '/'
                | '['
                | ']'
                | '?'
                | '='
        )
}
