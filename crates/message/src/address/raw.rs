//! Address lists as they are written (RFC 5322 3.4, 4.4), for IMAP's ENVELOPE and for [`super::AddressList`].
//!
//! ```text
//! address     = mailbox / group
//! mailbox     = [phrase] "<" [route] addr-spec ">" / addr-spec
//! group       = phrase ":" [mailbox-list] ";"
//! ```
//!
//! Nothing is refused: what is wrong with an entry stands in its [`Defects`].

use std::borrow::Cow;
use std::ops::Range;

use super::lexer::{Lexer, Token, unescape};

/// Most words (and dots between them) of one phrase, local part or domain; what comes after them
/// is left out and counts as garbage. Keeps memory in bounds: nothing else in a list is collected.
pub const WORDS_MAX: usize = 1_000;

/// One step through an address list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawEntry<'a> {
    /// A mailbox, in a group or not.
    Mailbox(RawMailbox<'a>),
    /// A group begins; its name, quotes removed, encoded words as they are.
    GroupStart(Cow<'a, [u8]>),
    /// The group has ended, by `;` or with the list.
    GroupEnd,
}

/// One mailbox: octets without quotes and comments, nothing decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawMailbox<'a> {
    /// The phrase before the angle bracket, words joined by one space.
    pub name: Option<Cow<'a, [u8]>>,
    /// The last comment of the entry, which old mail uses as name: `user@host (Full Name)`.
    pub comment: Option<Cow<'a, [u8]>>,
    /// The source route without its colon (`@a,@b`; RFC 5322 4.4).
    pub route: Option<Cow<'a, [u8]>>,
    /// The local part without quotes.
    pub local: Cow<'a, [u8]>,
    /// What follows the `@`; `None` when there is no `@`.
    pub domain: Option<Cow<'a, [u8]>>,
    /// What is wrong.
    pub defects: Defects,
    /// Where the entry stands in the input.
    pub span: Range<usize>,
}

/// What was found wrong or obsolete in one mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defects {
    /// Something that has no place in an address, which was skipped.
    pub garbage: bool,
    /// The angle bracket, a quote, a comment or a bracket is not closed.
    pub unclosed: bool,
    /// White space, words or anything else where only a dot may be: it is not known what address
    /// is meant.
    pub spaced: bool,
    /// A source route, which is to be ignored (RFC 5321 appendix C).
    pub routed: bool,
    /// No comma between this mailbox and the one before.
    pub no_comma: bool,
    /// A phrase but no angle brackets around the address.
    pub bare_phrase: bool,
}

/// Iterates over an address list.
#[derive(Clone, Debug)]
pub struct RawList<'a> {
    input: &'a [u8],
    lexer: Lexer<'a>,
    again: Option<Token>,
    in_group: bool,
    after_mailbox: bool,
}

impl<'a> RawList<'a> {
    /// Over the raw body of a field (what follows the colon, folds included).
    pub fn new(input: &'a [u8]) -> RawList<'a> {
        RawList {
            input,
            lexer: Lexer::new(input),
            again: None,
            in_group: false,
            after_mailbox: false,
        }
    }

    fn token(&mut self) -> Option<Token> {
        self.again.take().or_else(|| self.lexer.next())
    }

    fn slice(&self, range: Range<usize>) -> &'a [u8] {
        self.input.get(range).unwrap_or_default()
    }

    /// Joins words: with a space between them, or without next to a dot.
    fn join(&self, words: &[Token]) -> Cow<'a, [u8]> {
        match words {
            [] => return Cow::Borrowed(b""),
            [Token::Quoted(range)] => return unescape(self.slice(range.clone())),
            [Token::Atom(range)] => return Cow::Borrowed(self.slice(range.clone())),
            _ => {}
        }
        let mut out = Vec::new();
        let mut end = None;
        for word in words {
            let span = word.span();
            if end.is_some_and(|end| end < span.start) {
                out.push(b' ');
            }
            end = Some(span.end);
            match word {
                Token::Quoted(range) => out.extend_from_slice(&unescape(self.slice(range.clone()))),
                other => out.extend_from_slice(self.slice(other.span())),
            }
        }
        Cow::Owned(out)
    }

    /// Reads `addr-spec` after `words` (its local part) and the `@`.
    fn domain(&mut self, mailbox: &mut RawMailbox<'a>) {
        let mut parts: Vec<Token> = Vec::new();
        while let Some(token) = self.token() {
            let part = match &token {
                Token::Atom(_) | Token::Literal(_) => {
                    // Two atoms without a dot between them are not one domain.
                    parts
                        .last()
                        .is_none_or(|last| matches!(last, Token::Special(b'.', _)))
                }
                Token::Special(b'.', _) => true,
                Token::Comment(range) => {
                    mailbox.comment = Some(unescape(self.slice(range.clone())));
                    continue;
                }
                _ => false,
            };
            if !part || parts.len() >= WORDS_MAX {
                self.again = Some(token);
                break;
            }
            parts.push(token);
        }
        mailbox.domain = Some(self.compact(&parts));
    }

    /// Joins without spaces: local parts and domains.
    fn compact(&self, parts: &[Token]) -> Cow<'a, [u8]> {
        let contiguous = parts.windows(2).all(|pair| match pair {
            [a, b] => a.span().end == b.span().start,
            _ => true,
        });
        if contiguous && !parts.iter().any(|part| matches!(part, Token::Quoted(_))) {
            return match (parts.first(), parts.last()) {
                (Some(first), Some(last)) => {
                    Cow::Borrowed(self.slice(first.span().start..last.span().end))
                }
                _ => Cow::Borrowed(b""),
            };
        }
        if let [Token::Quoted(range)] = parts {
            return unescape(self.slice(range.clone()));
        }
        let mut out = Vec::new();
        for part in parts {
            match part {
                Token::Quoted(range) => out.extend_from_slice(&unescape(self.slice(range.clone()))),
                other => out.extend_from_slice(self.slice(other.span())),
            }
        }
        Cow::Owned(out)
    }

    /// What stands between `<` and `>`.
    fn angle(&mut self, mailbox: &mut RawMailbox<'a>) {
        let mut words: Vec<Token> = Vec::new();
        while let Some(token) = self.token() {
            match token {
                Token::Special(b'>', _) => {
                    mailbox.local = self.local(&words, mailbox);
                    return;
                }
                Token::Special(b'@', at) if words.is_empty() && mailbox.route.is_none() => {
                    self.route(at, mailbox);
                }
                Token::Special(b'@', _) => {
                    mailbox.local = self.local(&words, mailbox);
                    self.domain(mailbox);
                    self.close_angle(mailbox);
                    return;
                }
                Token::Special(b',' | b';' | b'<', _) => {
                    self.again = Some(token);
                    mailbox.local = self.local(&words, mailbox);
                    mailbox.defects.unclosed = true;
                    return;
                }
                Token::Comment(range) => mailbox.comment = Some(unescape(self.slice(range))),
                Token::Special(b'.', _) | Token::Atom(_) | Token::Quoted(_)
                    if words.len() < WORDS_MAX =>
                {
                    words.push(token);
                }
                _ => mailbox.defects.spaced = true,
            }
        }
        mailbox.local = self.local(&words, mailbox);
        mailbox.defects.unclosed = true;
    }

    fn local(&self, words: &[Token], mailbox: &mut RawMailbox<'a>) -> Cow<'a, [u8]> {
        mailbox.defects.spaced |= words
            .windows(2)
            .any(|pair| !matches!(pair, [Token::Special(..), _] | [_, Token::Special(..)]));
        self.compact(words)
    }

    /// `@a,@b:` after the first `@` of an angle address.
    fn route(&mut self, start: usize, mailbox: &mut RawMailbox<'a>) {
        mailbox.defects.routed = true;
        while let Some(token) = self.token() {
            match token {
                Token::Special(b':', at) => {
                    let route: Vec<u8> = self
                        .slice(start..at)
                        .iter()
                        .copied()
                        .filter(|b| !b.is_ascii_whitespace())
                        .collect();
                    mailbox.route = Some(Cow::Owned(route));
                    return;
                }
                Token::Special(b'>' | b'<' | b';', _) => {
                    // `<@host>`: no route but an address without local part.
                    mailbox.defects.routed = false;
                    mailbox.domain = Some(Cow::Borrowed(
                        self.slice(start + 1..token.span().start).trim_ascii(),
                    ));
                    self.again = Some(token);
                    return;
                }
                _ => {}
            }
        }
        mailbox.defects.unclosed = true;
    }

    fn close_angle(&mut self, mailbox: &mut RawMailbox<'a>) {
        while let Some(token) = self.token() {
            match token {
                Token::Special(b'>', _) => return,
                Token::Special(b',' | b';' | b'<', _) => {
                    self.again = Some(token);
                    break;
                }
                Token::Comment(range) => mailbox.comment = Some(unescape(self.slice(range))),
                _ => mailbox.defects.spaced = true,
            }
        }
        mailbox.defects.unclosed = true;
    }

    /// After a complete address: comments up to the separator; anything else begins a new entry.
    fn trailer(&mut self, mailbox: &mut RawMailbox<'a>) {
        while let Some(token) = self.token() {
            match token {
                Token::Comment(range) => mailbox.comment = Some(unescape(self.slice(range))),
                Token::Special(b'>' | b'.', _) => mailbox.defects.garbage = true,
                token => {
                    self.again = Some(token);
                    return;
                }
            }
        }
    }

    fn finish(&mut self, mut mailbox: RawMailbox<'a>) -> RawEntry<'a> {
        mailbox.defects.unclosed |= self.lexer.unclosed();
        mailbox.span.end = match &self.again {
            Some(token) => token.span().start,
            None => self.input.len(),
        };
        self.after_mailbox = true;
        RawEntry::Mailbox(mailbox)
    }
}

impl<'a> Iterator for RawList<'a> {
    type Item = RawEntry<'a>;

    fn next(&mut self) -> Option<RawEntry<'a>> {
        let mut mailbox = RawMailbox::default();
        let mut words: Vec<Token> = Vec::new();
        let mut begun = false;
        // Garbage after the first word, which is harmless in a phrase and not in an address.
        let mut broken = false;
        while let Some(token) = self.token() {
            if !begun && !matches!(token, Token::Special(b',' | b';', _)) {
                begun = true;
                mailbox.span.start = token.span().start;
                mailbox.defects.no_comma = std::mem::take(&mut self.after_mailbox);
            }
            match token {
                Token::Special(b',' | b';', _) if !words.is_empty() || mailbox.defects.garbage => {
                    // A name without a host.
                    self.again = Some(token);
                    mailbox.local = self.local(&words, &mut mailbox);
                    return Some(self.finish(mailbox));
                }
                Token::Special(b',', _) => {
                    self.after_mailbox = false;
                    begun = false;
                }
                Token::Special(b';', _) => {
                    self.after_mailbox = false;
                    begun = false;
                    if std::mem::take(&mut self.in_group) {
                        return Some(RawEntry::GroupEnd);
                    }
                }
                Token::Special(b':', _) if !self.in_group && !words.is_empty() => {
                    self.in_group = true;
                    self.after_mailbox = false;
                    return Some(RawEntry::GroupStart(self.join(&words)));
                }
                Token::Special(b'<', _) => {
                    if !words.is_empty() {
                        mailbox.name = Some(self.join(&words));
                    }
                    self.angle(&mut mailbox);
                    self.trailer(&mut mailbox);
                    return Some(self.finish(mailbox));
                }
                Token::Special(b'@', _) => {
                    // The words next to the @ joined by dots are the local part, others a name
                    // that lacks its angle brackets.
                    let mut from = words.len().saturating_sub(1);
                    while from > 0 && (is_dot(words.get(from)) || is_dot(words.get(from - 1))) {
                        from -= 1;
                    }
                    let (name, local) = words.split_at(from);
                    if !name.is_empty() {
                        mailbox.name = Some(self.join(name));
                        mailbox.defects.bare_phrase = true;
                    }
                    mailbox.local = self.local(local, &mut mailbox);
                    mailbox.defects.spaced |= broken;
                    self.domain(&mut mailbox);
                    self.trailer(&mut mailbox);
                    return Some(self.finish(mailbox));
                }
                Token::Comment(range) => mailbox.comment = Some(unescape(self.slice(range))),
                Token::Atom(_) | Token::Quoted(_) | Token::Special(b'.', _)
                    if words.len() < WORDS_MAX =>
                {
                    words.push(token);
                }
                _ => {
                    mailbox.defects.garbage = true;
                    broken |= !words.is_empty();
                }
            }
        }
        if !words.is_empty() || mailbox.defects.garbage {
            mailbox.local = self.local(&words, &mut mailbox);
            return Some(self.finish(mailbox));
        }
        if std::mem::take(&mut self.in_group) {
            return Some(RawEntry::GroupEnd);
        }
        None
    }
}

fn is_dot(token: Option<&Token>) -> bool {
    matches!(token, Some(Token::Special(b'.', _)))
}
