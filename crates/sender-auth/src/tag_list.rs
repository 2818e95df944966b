//! Lists of `tag=value` pairs: DKIM signatures and keys, ARC, and what else borrowed the form
//! (RFC 6376, 3.2).

use data_encoding::{Encoding, Specification};
use std::ops::Range;
use std::sync::LazyLock;

/// Most tags of one list. RFC 6376 defines 14 for a signature.
pub const TAGS_MAX: usize = 64;

/// What is wrong with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagError {
    /// A piece between semicolons has no `=`, or its name is no tag name.
    Syntax,
    /// The same name twice: the whole list is void (RFC 6376, 3.2).
    Duplicate,
    /// More than [`TAGS_MAX`].
    TooMany,
}

/// One pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Case matters.
    pub name: &'a str,
    /// Without the white space around it; white space and folds inside it are left.
    pub value: &'a [u8],
    /// Where the value stands in the text, white space around it included: what is cut from
    /// `b=` before a signature is computed (RFC 6376, 3.7).
    pub span: Range<usize>,
}

/// The pairs of a list in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagList<'a> {
    tags: Vec<Tag<'a>>,
}

impl<'a> TagList<'a> {
    /// Reads `tag-list = tag-spec *( ";" tag-spec ) [ ";" ]`.
    ///
    /// Octets of 0x80 and above are let through in values, as RFC 8616 needs; each tag's own
    /// reader decides on them.
    ///
    /// # Errors
    /// See [`TagError`].
    pub fn parse(text: &'a [u8]) -> Result<Self, TagError> {
        let mut tags: Vec<Tag<'a>> = Vec::with_capacity(12);
        let mut start = 0;
        loop {
            let rest = text.get(start..).unwrap_or_default();
            let semicolon = memchr::memchr(b';', rest);
            let piece = match semicolon {
                Some(at) => rest.get(..at).unwrap_or_default(),
                None => rest,
            };
            // Only after the last semicolon may there be nothing.
            if semicolon.is_none() && trim(piece).is_empty() && !tags.is_empty() {
                break;
            }
            let tag = read_tag(piece, start)?;
            if tags.len() == TAGS_MAX {
                return Err(TagError::TooMany);
            }
            if tags.iter().any(|known| known.name == tag.name) {
                return Err(TagError::Duplicate);
            }
            tags.push(tag);
            match semicolon {
                Some(at) => start += at + 1,
                None => break,
            }
        }
        Ok(Self { tags })
    }

    /// The pair of this name.
    pub fn tag(&self, name: &str) -> Option<&Tag<'a>> {
        self.tags.iter().find(|tag| tag.name == name)
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.tag(name).map(|tag| tag.value)
    }

    /// All pairs in their order; there is at least one.
    pub fn tags(&self) -> &[Tag<'a>] {
        &self.tags
    }
}

fn read_tag(piece: &[u8], at: usize) -> Result<Tag<'_>, TagError> {
    let equals = memchr::memchr(b'=', piece).ok_or(TagError::Syntax)?;
    let name = trim(piece.get(..equals).unwrap_or_default());
    let value = piece.get(equals + 1..).unwrap_or_default();
    let starts_with_letter = name.first().is_some_and(u8::is_ascii_alphabetic);
    let name_good = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let value_good = value
        .iter()
        .all(|b| is_space(*b) || (*b > b' ' && *b != 0x7f));
    if !(starts_with_letter && name_good && value_good) {
        return Err(TagError::Syntax);
    }
    let name = std::str::from_utf8(name).map_err(|_| TagError::Syntax)?;
    Ok(Tag {
        name,
        value: trim(value),
        span: at + equals + 1..at + piece.len(),
    })
}

/// White space of a list: SP, TAB and the two octets of a fold.
pub(crate) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without white space at both ends.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|b| !is_space(*b));
    let end = text.iter().rposition(|b| !is_space(*b));
    match (start, end) {
        (Some(start), Some(end)) => text.get(start..=end).unwrap_or_default(),
        _ => &[],
    }
}

/// Base64 in which white space may stand anywhere, as folding leaves it. Padding is needed;
/// left-over bits in the last character are not looked at, as some publishers get them wrong
/// and nothing depends on them.
static BASE64_FOLDED: LazyLock<Option<Encoding>> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    specification.padding = Some('=');
    specification.check_trailing_bits = false;
    specification.ignore.push_str(" \t\r\n");
    specification.encoding().ok()
});

/// Decodes base64 with white space inside; `None` when it is none.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64_FOLDED.as_ref()?.decode(text).ok()
}

/// Reads `1*DIGIT`, at most 12 of them as RFC 6376 (3.5, `t=`) allows; white space is refused.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > NUMBER_DIGITS_MAX || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')),
    )
}

/// Longest number of a tag in digits: RFC 6376 wants 12 for times; `l=` may have up to 76, of
/// which no message needs more than these.
pub(crate) const NUMBER_DIGITS_MAX: usize = 12;

/// The items of a colon-separated value, white space around each taken away.
pub(crate) fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b':').map(trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs() {
        let list = TagList::parse(b" v=1; a = b c\r\n\td ;x_1=;").unwrap();
        let pairs: Vec<_> = list.tags().iter().map(|t| (t.name, t.value)).collect();
        assert_eq!(
            pairs,
            [("v", &b"1"[..]), ("a", b"b c\r\n\td"), ("x_1", b"")]
        );
        assert_eq!(list.tag("a").unwrap().span, 9..18);
        assert_eq!(list.get("A"), None);
    }

    #[test]
    fn refuses() {
        for (text, error) in [
            (&b""[..], TagError::Syntax),
            (b";", TagError::Syntax),
            (b"a=1;;b=2", TagError::Syntax),
            (b"a", TagError::Syntax),
            (b"=1", TagError::Syntax),
            (b"1a=1", TagError::Syntax),
            (b"a b=1", TagError::Syntax),
            (b"a=\x00", TagError::Syntax),
            (b"a=1;a=2", TagError::Duplicate),
        ] {
            assert_eq!(TagList::parse(text), Err(error), "{text:?}");
        }
        assert!(TagList::parse(b"a=1;A=2; ").is_ok());
    }

    #[test]
    fn tag_count_limit() {
        for (count, good) in [
            (TAGS_MAX - 1, true),
            (TAGS_MAX, true),
            (TAGS_MAX + 1, false),
        ] {
            let text: String = (0..count).map(|n| format!("t{n}=x;")).collect();
            assert_eq!(TagList::parse(text.as_bytes()).is_ok(), good);
        }
    }

    #[test]
    fn base64_and_numbers() {
        assert_eq!(base64(b"aGV s\r\n bG8=").unwrap(), b"hello");
        assert_eq!(base64(b"aGVsbG8"), None);
        assert_eq!(base64(b"aGV*"), None);
        assert_eq!(number(b"0123"), Some(123));
        assert_eq!(number(b"999999999999"), Some(999_999_999_999));
        for bad in [&b""[..], b"1234567890123", b"-1", b"1 "] {
            assert_eq!(number(bad), None);
        }
    }
}
