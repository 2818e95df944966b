//! Tokens of structured header fields (RFC 5322 3.2, 4.1).

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr3;

/// One lexical token; ranges are into the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Anything that is no special, space or control character; 8-bit octets count (RFC 6532).
    Atom(Range<usize>),
    /// The inside of a quoted string.
    Quoted(Range<usize>),
    /// A domain literal with its brackets.
    Literal(Range<usize>),
    /// The inside of a comment, outermost parentheses removed.
    Comment(Range<usize>),
    /// One of `< > @ , ; : .` or, where it makes no sense, any other octet.
    Special(u8, usize),
}

impl Token {
    /// Where the token begins and ends, delimiters included.
    pub(crate) fn span(&self) -> Range<usize> {
        match self {
            Token::Atom(r) | Token::Literal(r) => r.clone(),
            Token::Quoted(r) | Token::Comment(r) => r.start.saturating_sub(1)..r.end + 1,
            Token::Special(_, at) => *at..*at + 1,
        }
    }
}

/// Splits a field body into tokens. Each octet is looked at a bounded number of times.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    input: &'a [u8],
    at: usize,
    /// An opener of this kind was not closed; later ones aren't either, so they count as octets.
    open_quote: bool,
    open_comment: bool,
    open_literal: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Lexer<'a> {
        Lexer {
            input,
            at: 0,
            open_quote: false,
            open_comment: false,
            open_literal: false,
        }
    }

    /// Whether a quote, comment or literal was opened and never closed.
    pub(crate) fn unclosed(&self) -> bool {
        self.open_quote || self.open_comment || self.open_literal
    }

    fn octet(&self, at: usize) -> Option<u8> {
        self.input.get(at).copied()
    }

    fn quoted(&mut self) -> Option<Token> {
        if self.open_quote {
            return None;
        }
        let start = self.at + 1;
        let mut at = start;
        while let Some(offset) = self
            .input
            .get(at..)
            .and_then(|rest| memchr3(b'"', b'\\', b'"', rest))
        {
            at += offset;
            if self.octet(at) == Some(b'"') {
                self.at = at + 1;
                return Some(Token::Quoted(start..at));
            }
            at += 2;
        }
        self.open_quote = true;
        None
    }

    fn comment(&mut self) -> Option<Token> {
        if self.open_comment {
            return None;
        }
        let start = self.at + 1;
        let mut at = start;
        let mut depth = 1usize;
        while let Some(offset) = self
            .input
            .get(at..)
            .and_then(|rest| memchr3(b'(', b'\\', b')', rest))
        {
            at += offset;
            match self.octet(at) {
                Some(b'(') => depth += 1,
                Some(b')') => depth -= 1,
                _ => at += 1,
            }
            if depth == 0 {
                self.at = at + 1;
                return Some(Token::Comment(start..at));
            }
            at += 1;
        }
        self.open_comment = true;
        None
    }

    fn literal(&mut self) -> Option<Token> {
        if self.open_literal {
            return None;
        }
        let rest = self.input.get(self.at..)?;
        match memchr3(b']', b'\r', b'\n', rest) {
            Some(len) if rest.get(len) == Some(&b']') => {
                let start = self.at;
                self.at += len + 1;
                Some(Token::Literal(start..self.at))
            }
            // A line end inside: only this opener is wrong, but the next look is no shorter.
            _ => {
                self.open_literal = true;
                None
            }
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let rest = self.input.get(self.at..)?;
        self.at += rest.iter().take_while(|b| is_space(**b)).count();
        let octet = self.octet(self.at)?;
        let token = match octet {
            b'"' => self.quoted(),
            b'(' => self.comment(),
            b'[' => self.literal(),
            octet if is_atom(octet) => {
                let start = self.at;
                let rest = self.input.get(start..)?;
                self.at += rest.iter().take_while(|b| is_atom(**b)).count();
                Some(Token::Atom(start..self.at))
            }
            _ => None,
        };
        Some(token.unwrap_or_else(|| {
            self.at += 1;
            Token::Special(octet, self.at - 1)
        }))
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// `atext` (RFC 5322 3.2.3) and all 8-bit octets.
pub(crate) fn is_atom(b: u8) -> bool {
    match b {
        b'(' | b')' | b'<' | b'>' | b'[' | b']' | b':' | b';' | b'@' | b'\\' | b',' | b'.'
        | b'"' => false,
        _ => b > b' ' && b != 0x7f,
    }
}

/// The content of a quoted string or comment: escapes resolved, line breaks of folding removed.
pub(crate) fn unescape(inner: &[u8]) -> Cow<'_, [u8]> {
    if memchr3(b'\\', b'\r', b'\n', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut octets = inner.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => out.extend(octets.next()),
            b'\r' | b'\n' => {}
            octet => out.push(*octet),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let input = b"a.b \"q \\\" r\"\r\n (c (d) e) <x@[1.2.3.4]>, ;";
        let kinds: Vec<String> = Lexer::new(input)
            .map(|token| {
                let span = token.span();
                format!(
                    "{}|{}",
                    matches!(token, Token::Special(..)),
                    String::from_utf8_lossy(&input[span])
                )
            })
            .collect();
        assert_eq!(
            kinds,
            [
                "false|a",
                "true|.",
                "false|b",
                "false|\"q \\\" r\"",
                "false|(c (d) e)",
                "true|<",
                "false|x",
                "true|@",
                "false|[1.2.3.4]",
                "true|>",
                "true|,",
                "true|;"
            ]
        );
    }

    #[test]
    fn unclosed_openers_are_linear_and_lose_nothing() {
        for opener in ["(", "\"", "[", "\\", "(\\"] {
            let input = opener.repeat(200_000);
            let mut lexer = Lexer::new(input.as_bytes());
            assert!(lexer.by_ref().count() > 0);
        }
        let tokens: Vec<Token> = Lexer::new(b"\"open <a@b>").collect();
        assert_eq!(tokens.len(), 7);
        assert_eq!(unescape(b"a\\\"b\r\n c"), b"a\"b c".as_slice());
    }
}
