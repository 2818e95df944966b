//! Message-ID, In-Reply-To and References, reading side (RFC 5322 3.6.4).

use memchr::memchr;

/// Most ids read of one field.
pub const IDS_MAX: usize = 1_000;

/// The message ids of a field body with their angle brackets, in order, at most [`IDS_MAX`].
///
/// What stands between them is ignored: In-Reply-To of old programs holds whole sentences. White
/// space inside the brackets is kept; an opening bracket that is not closed before the next one
/// is skipped. Ids are compared octet by octet.
pub fn message_ids(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        loop {
            rest = rest.get(memchr(b'<', rest)?..)?;
            let end = memchr(b'>', rest)?;
            let (id, after) = rest.split_at(end + 1);
            rest = after;
            // The last opening bracket before the closing one.
            let start = memchr::memrchr(b'<', id)?;
            let id = id.get(start..)?;
            if id.len() > 2 {
                return Some(id);
            }
        }
    })
    .take(IDS_MAX)
}

/// The one id of a Message-ID field; without brackets the first word, as some programs leave them out.
pub fn message_id(body: &[u8]) -> Option<&[u8]> {
    message_ids(body).next().or_else(|| {
        body.split(u8::is_ascii_whitespace)
            .find(|word| !word.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(body: &str) -> Vec<String> {
        message_ids(body.as_bytes())
            .map(|id| String::from_utf8_lossy(id).into_owned())
            .collect()
    }

    #[test]
    fn lists() {
        assert_eq!(all(" <a@b>\r\n\t<c@d><e@f> "), ["<a@b>", "<c@d>", "<e@f>"]);
        assert_eq!(all("Your message of Monday <a@b> \"x\""), ["<a@b>"]);
        assert_eq!(all("<open <a@b> <> > <c"), ["<a@b>"]);
        assert_eq!(all("nothing"), [""; 0]);
        assert_eq!(message_id(b"  bare@id x"), Some(&b"bare@id"[..]));
        assert_eq!(message_id(b" \r\n"), None);
    }

    #[test]
    fn limit_and_time() {
        let count = |n: usize| message_ids("<a>".repeat(n).as_bytes()).count();
        assert_eq!(
            (count(IDS_MAX - 1), count(IDS_MAX), count(IDS_MAX + 1)),
            (IDS_MAX - 1, IDS_MAX, IDS_MAX)
        );
        assert_eq!(all(&"<".repeat(500_000)).len(), 0);
        assert_eq!(all(&"<>".repeat(500_000)).len(), 0);
    }
}
