//! Media types and MIME parameters (RFC 2045 5.1, RFC 2231).
//!
//! ```text
//! value     = type "/" subtype *(";" parameter)
//! parameter = attribute "=" (token / quoted-string)
//! attribute = name ["*" number] ["*"]            ; RFC 2231 7
//! ```
//!
//! Tolerated: missing or doubled semicolons, values without quotes that need them, comments,
//! encoded words in values, pieces of RFC 2231 out of order or with gaps.

use std::borrow::Cow;

use memchr::memchr;

use crate::charset::{Charset, decode_unlabelled};
use crate::words::{self, hex};

/// Most parameters looked at in one field.
pub const PARAMS_MAX: usize = 200;

/// `type/subtype` with its parameters still to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// The type as written.
    pub main: &'a [u8],
    /// The subtype as written.
    pub sub: &'a [u8],
    /// Everything after them.
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// text/plain, the default (RFC 2045 5.2).
    pub const TEXT: MediaType<'static> = MediaType {
        main: b"text",
        sub: b"plain",
        params: Params(b""),
    };
    /// message/rfc822, the default in multipart/digest (RFC 2046 5.1.5).
    pub const MESSAGE: MediaType<'static> = MediaType {
        main: b"message",
        sub: b"rfc822",
        params: Params(b""),
    };

    /// Reads the body of a Content-Type field; `None` when it does not begin with `type/subtype`.
    pub fn read(value: &'a [u8]) -> Option<MediaType<'a>> {
        let value = skip_space(value);
        let (main, rest) = token(value);
        let rest = skip_space(rest).strip_prefix(b"/")?;
        let (sub, rest) = token(skip_space(rest));
        if main.is_empty() || sub.is_empty() {
            return None;
        }
        Some(MediaType {
            main,
            sub,
            params: Params(rest),
        })
    }

    /// Whether the type is this one; `sub` may be `*`.
    pub fn is(&self, main: &str, sub: &str) -> bool {
        self.main.eq_ignore_ascii_case(main.as_bytes())
            && (sub == "*" || self.sub.eq_ignore_ascii_case(sub.as_bytes()))
    }

    /// The value of a parameter, decoded.
    pub fn param(&self, name: &str) -> Option<Cow<'a, str>> {
        self.params.get(name)
    }
}

/// A word and parameters, as in Content-Disposition (RFC 2183).
pub fn disposition(value: &[u8]) -> Option<(&[u8], Params<'_>)> {
    let (word, rest) = token(skip_space(value));
    if word.is_empty() {
        None
    } else {
        Some((word, Params(rest)))
    }
}

/// The parameters of a field, not yet read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

/// One parameter as written; quotes and escapes of the value removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawParam<'a> {
    /// The attribute, RFC 2231 marks included.
    pub name: &'a [u8],
    /// The value.
    pub value: Cow<'a, [u8]>,
}

impl<'a> Params<'a> {
    /// From what follows the first word of a field's body.
    pub fn new(rest: &'a [u8]) -> Params<'a> {
        Params(rest)
    }

    /// The parameters as written, at most [`PARAMS_MAX`].
    pub fn raw(self) -> impl Iterator<Item = RawParam<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || next_param(&mut rest)).take(PARAMS_MAX)
    }

    /// The value of a parameter as octets, pieces joined, percent signs resolved, charset aside.
    ///
    /// This is what a boundary is compared by. The form without `*` counts when both are there
    /// only if the extended one holds nothing.
    pub fn octets(self, name: &str) -> Option<Cow<'a, [u8]>> {
        // Almost always there is one plain parameter.
        let mut plain = None;
        let mut extended = false;
        for param in self.raw() {
            if param.name.eq_ignore_ascii_case(name.as_bytes()) {
                plain.get_or_insert(param.value);
            } else {
                extended |= memchr(b'*', param.name).is_some();
            }
        }
        if extended && let Some(joined) = self.joined(name) {
            return Some(Cow::Owned(joined.octets));
        }
        plain
    }

    /// The value of a parameter as text: RFC 2231 forms and, against the rule, encoded words decoded.
    pub fn get(self, name: &str) -> Option<Cow<'a, str>> {
        let mut plain = None;
        let mut extended = false;
        for param in self.raw() {
            if param.name.eq_ignore_ascii_case(name.as_bytes()) {
                plain.get_or_insert(param.value);
            } else {
                extended |= memchr(b'*', param.name).is_some();
            }
        }
        if extended && let Some(joined) = self.joined(name) {
            let charset = Charset::for_label(&joined.charset);
            return Some(Cow::Owned(charset.decode(&joined.octets).text.into_owned()));
        }
        plain.map(plain_text)
    }

    /// All parameters by their names in lower case, pieces joined, in the order of their first piece.
    pub fn all(self) -> Vec<(String, String)> {
        let mut names: Vec<String> = Vec::new();
        for param in self.raw() {
            let base = param.name.split(|b| *b == b'*').next().unwrap_or_default();
            let name = String::from_utf8_lossy(base).to_ascii_lowercase();
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
            .into_iter()
            .filter_map(|name| {
                let value = self.get(&name)?.into_owned();
                Some((name, value))
            })
            .collect()
    }

    /// Joins the pieces `name*`, `name*0`, `name*0*`, `name*1` … in the order of their numbers.
    fn joined(self, name: &str) -> Option<Joined> {
        let mut pieces: Vec<(u32, bool, Cow<'a, [u8]>)> = Vec::new();
        for param in self.raw() {
            let Some((head, marks)) = param.name.split_at_checked(name.len()) else {
                continue;
            };
            if !head.eq_ignore_ascii_case(name.as_bytes()) {
                continue;
            }
            let Some(marks) = marks.strip_prefix(b"*") else {
                continue;
            };
            let (number, extended) = match marks.strip_suffix(b"*") {
                Some(number) => (number, true),
                None => (marks, marks.is_empty()),
            };
            let number = if number.is_empty() {
                Some(0)
            } else {
                decimal(number)
            };
            if let Some(number) = number {
                pieces.push((number, extended, param.value));
            }
        }
        if pieces.is_empty() {
            return None;
        }
        pieces.sort_by_key(|(number, ..)| *number);
        let mut joined = Joined::default();
        for (place, (_, extended, value)) in pieces.iter().enumerate() {
            let mut value: &[u8] = value;
            if !extended {
                joined.octets.extend_from_slice(value);
                continue;
            }
            if place == 0 {
                // charset'language'text
                let mut quotes = value.splitn(3, |b| *b == b'\'');
                if let (Some(charset), Some(_), Some(text)) =
                    (quotes.next(), quotes.next(), quotes.next())
                {
                    joined.charset = charset.to_vec();
                    value = text;
                }
            }
            percent(value, &mut joined.octets);
        }
        Some(joined)
    }
}

#[derive(Default)]
struct Joined {
    charset: Vec<u8>,
    octets: Vec<u8>,
}

fn plain_text(value: Cow<'_, [u8]>) -> Cow<'_, str> {
    match value {
        Cow::Borrowed(bytes) => {
            if memchr::memmem::find(bytes, b"=?").is_some() {
                words::decode(bytes)
            } else {
                decode_unlabelled(bytes).text
            }
        }
        Cow::Owned(bytes) => Cow::Owned(words::decode(&bytes).into_owned()),
    }
}

fn decimal(text: &[u8]) -> Option<u32> {
    if text.len() > 6 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn percent(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let [octet, tail @ ..] = rest {
        rest = tail;
        if *octet == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = after;
            continue;
        }
        out.push(*octet);
    }
}

/// Skips white space, line ends and comments. An unclosed comment swallows the rest.
fn skip_space(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let Some(mut rest) = text.strip_prefix(b"(") else {
            return text;
        };
        let mut depth = 1u32;
        while depth > 0 {
            match rest {
                [] => return rest,
                [b'\\', _, tail @ ..] => rest = tail,
                [octet, tail @ ..] => {
                    depth = match octet {
                        b'(' => depth + 1,
                        b')' => depth - 1,
                        _ => depth,
                    };
                    rest = tail;
                }
            }
        }
        text = rest;
    }
}

/// A token (RFC 2045 5.1), with 8-bit octets.
fn token(text: &[u8]) -> (&[u8], &[u8]) {
    let len = text
        .iter()
        .take_while(|b| {
            **b > b' '
                && **b != 0x7f
                && !matches!(
                    b,
                    b'(' | b')'
                        | b'<'
                        | b'>'
                        | b'@'
                        | b','
                        | b';'
                        | b':'
                        | b'\\'
                        | b'"'
                        | b'/'
                        | b'['
                        | b']'
                        | b'?'
                        | b'='
                )
        })
        .count();
    text.split_at(len)
}

fn next_param<'a>(rest: &mut &'a [u8]) -> Option<RawParam<'a>> {
    loop {
        *rest = skip_space(rest);
        while let Some(after) = rest.strip_prefix(b";") {
            *rest = skip_space(after);
        }
        if rest.is_empty() {
            return None;
        }
        let (name, after) = token(rest);
        let after = skip_space(after);
        let Some(after) = after.strip_prefix(b"=").filter(|_| !name.is_empty()) else {
            // No parameter: go on after the next semicolon.
            let skip = memchr(b';', after).map_or(after.len(), |at| at + 1);
            *rest = after.get(skip..).unwrap_or_default();
            continue;
        };
        let after = skip_space(after);
        let value = match after.strip_prefix(b"\"") {
            Some(quoted) => {
                let (value, after) = quoted_value(quoted);
                *rest = after;
                value
            }
            None => {
                let end = memchr(b';', after).unwrap_or(after.len());
                let (value, after) = after.split_at(end);
                *rest = after;
                bare_value(value)
            }
        };
        return Some(RawParam { name, value });
    }
}

/// Up to the closing quote, or to the end if there is none.
fn quoted_value(text: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let mut at = 0;
    while let Some(offset) = text
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += offset;
        if text.get(at) == Some(&b'"') {
            let (inner, after) = text.split_at(at);
            return (
                crate::address::lexer::unescape(inner),
                after.get(1..).unwrap_or_default(),
            );
        }
        at += 2;
    }
    (crate::address::lexer::unescape(text.trim_ascii_end()), b"")
}

/// A value without quotes: up to a comment; spaces inside are kept, as file names have them.
fn bare_value(text: &[u8]) -> Cow<'_, [u8]> {
    let text = match memchr::memmem::find(text, b" (") {
        Some(at) => text.get(..at).unwrap_or_default(),
        None => text,
    };
    words::unfold(text.trim_ascii())
}

#[cfg(test)]
mod tests;
