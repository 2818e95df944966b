//! One MIME entity: its Content fields and its encoded content.

use data_encoding::BASE64;
use memchr::memchr;

use super::{Crlf, FieldName, Fields, LINE_HARD};
use crate::date::Date;

/// How content is made fit for transport (RFC 2045 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransferEncoding {
    /// ASCII lines of at most 998 octets.
    SevenBit,
    /// Any octets but NUL in lines of at most 998 octets.
    EightBit,
    /// Mostly ASCII with exceptions.
    QuotedPrintable,
    /// Anything.
    Base64,
}

impl TransferEncoding {
    /// The name as it stands in Content-Transfer-Encoding.
    pub const fn as_str(self) -> &'static str {
        match self {
            TransferEncoding::SevenBit => "7bit",
            TransferEncoding::EightBit => "8bit",
            TransferEncoding::QuotedPrintable => "quoted-printable",
            TransferEncoding::Base64 => "base64",
        }
    }
}

/// Fields (Content-Type and its kin) and content of one entity, ready to be a message's body or a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The Content fields.
    pub fields: Fields,
    /// The content: clean CRLF lines in the encoding that the fields name.
    pub(super) content: Vec<u8>,
}

impl Body {
    /// Plain text for people. Line ends of any kind become CRLF; the encoding is the first that
    /// holds the text of 7bit, quoted-printable and base64; the charset us-ascii or utf-8.
    pub fn text(text: &str) -> Body {
        Body::text_of("plain", text)
    }

    /// Text of another subtype, such as `html`.
    pub fn text_of(subtype: &str, text: &str) -> Body {
        let subtype: String = subtype
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let lines = Crlf::convert(text.as_bytes());
        let ascii = lines.is_ascii() && memchr(0, &lines).is_none();
        let mut fields = Fields::new();
        fields
            .field(FieldName::CONTENT_TYPE)
            .words(&format!("text/{subtype}"))
            .param("charset", if ascii { "us-ascii" } else { "utf-8" });
        if ascii && longest_line(&lines) <= LINE_HARD {
            return Body {
                fields,
                content: lines,
            };
        }
        let high = lines.iter().filter(|b| !b.is_ascii()).count();
        if high * 3 <= lines.len() {
            encoding(&mut fields, TransferEncoding::QuotedPrintable);
            return Body {
                fields,
                content: quoted_printable(&lines),
            };
        }
        encoding(&mut fields, TransferEncoding::Base64);
        Body {
            fields,
            content: base64(&lines),
        }
    }

    /// Any octets as a file: base64, with its name in Content-Disposition.
    ///
    /// A media type that is not `type/subtype` of RFC 2045 tokens becomes `application/octet-stream`.
    pub fn attachment(media_type: &str, file_name: &str, content: &[u8]) -> Body {
        let mut fields = Fields::new();
        fields
            .field(FieldName::CONTENT_TYPE)
            .words(checked_type(media_type));
        fields
            .field(FieldName::CONTENT_DISPOSITION)
            .words("attachment")
            .param("filename", file_name);
        encoding(&mut fields, TransferEncoding::Base64);
        Body {
            fields,
            content: base64(content),
        }
    }

    /// A whole message as a part (message/rfc822), never encoded beyond 8bit (RFC 2046 5.2.1).
    ///
    /// Line ends are made CRLF. Lines longer than 998 octets stay as they are.
    pub fn message(message: &[u8]) -> Body {
        let mut fields = Fields::new();
        fields
            .field(FieldName::CONTENT_TYPE)
            .words("message/rfc822");
        let content = Crlf::convert(message);
        if !content.is_ascii() {
            encoding(&mut fields, TransferEncoding::EightBit);
        }
        Body { fields, content }
    }

    /// The content.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Makes a whole message: `head`, MIME-Version, the entity's fields, the empty line, the content.
    pub fn into_message(self, head: Fields) -> Vec<u8> {
        let mut out = head.into_bytes();
        out.reserve(self.content.len() + self.fields.as_bytes().len() + 32);
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        out.extend_from_slice(self.fields.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.content);
        if !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out
    }
}

/// Adds the fields that say that a program wrote this (RFC 3834 5.1), with a date.
pub(super) fn automatic(fields: &mut Fields, date: Date) {
    fields.date(FieldName::DATE, date);
    fields
        .field(FieldName::AUTO_SUBMITTED)
        .words("auto-replied");
}

pub(super) fn encoding(fields: &mut Fields, which: TransferEncoding) {
    fields
        .field(FieldName::CONTENT_TRANSFER_ENCODING)
        .words(which.as_str());
}

fn checked_type(text: &str) -> &str {
    let fine = text.split_once('/').is_some_and(|(a, b)| {
        [a, b]
            .iter()
            .all(|t| !t.is_empty() && t.len() < 100 && t.chars().all(super::field::is_token_char))
    });
    if fine {
        text
    } else {
        "application/octet-stream"
    }
}

/// Length of the longest line without CRLF.
fn longest_line(text: &[u8]) -> usize {
    text.split(|b| *b == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line).len())
        .max()
        .unwrap_or(0)
}

/// Base64 in lines of 76 (RFC 2045 6.8).
fn base64(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() / 57 * 78 + 80);
    let mut line = String::with_capacity(76);
    for chunk in content.chunks(57) {
        line.clear();
        BASE64.encode_append(chunk, &mut line);
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Quoted-printable of text with CRLF line ends (RFC 2045 6.7).
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len() + text.len() / 4);
    let mut column = 0;
    let mut rest = text;
    while let [octet, tail @ ..] = rest {
        rest = tail;
        if *octet == b'\r' && tail.first() == Some(&b'\n') {
            out.extend_from_slice(b"\r\n");
            rest = tail.get(1..).unwrap_or_default();
            column = 0;
            continue;
        }
        let at_end = tail.is_empty() || tail.starts_with(b"\r\n");
        let plain = match octet {
            b'=' => false,
            b' ' | b'\t' => !at_end,
            // A line that begins with a dot or "From " invites trouble in transport (RFC 2049 3).
            b'.' | b'F' => column != 0,
            octet => octet.is_ascii_graphic(),
        };
        let width = if plain { 1 } else { 3 };
        // A line is at most 76 long, and unless it ends here one of these is the soft break's "=".
        if column + width > if at_end { 76 } else { 75 } {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if plain {
            out.push(*octet);
        } else {
            let hex = |n: u8| HEX.get(usize::from(n & 15)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'=', hex(octet >> 4), hex(*octet)]);
        }
        column += width;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::crlf::is_clean;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encodings_are_chosen() {
        assert_eq!(Body::text("a\nb").content(), b"a\r\nb");
        let german = Body::text("Grüße = ok \nFrom me\n.\n");
        assert!(
            german
                .fields
                .as_bytes()
                .ends_with(b"Content-Transfer-Encoding: quoted-printable\r\n")
        );
        assert_eq!(
            std::str::from_utf8(german.content()).unwrap(),
            "Gr=C3=BC=C3=9Fe =3D ok=20\r\n=46rom me\r\n=2E\r\n"
        );
        assert_eq!(Body::text("飛脚").content(), b"6aOb6ISa\r\n");
        let long = "x".repeat(LINE_HARD + 1);
        assert!(
            Body::text(&long[1..])
                .fields
                .as_bytes()
                .ends_with(b"us-ascii\r\n")
        );
        assert!(
            Body::text(&long)
                .fields
                .as_bytes()
                .ends_with(b"quoted-printable\r\n")
        );
    }

    #[test]
    fn attachment_and_message() {
        let file = Body::attachment("bad type\r\n", "a\r\nb.txt", &[0; 60]);
        let fields = String::from_utf8(file.fields.as_bytes().to_vec()).unwrap();
        assert!(
            fields.starts_with("Content-Type: application/octet-stream\r\n"),
            "{fields}"
        );
        assert!(fields.contains("filename=\"a??b.txt\""), "{fields}");
        assert_eq!(
            file.content()
                .split(|b| *b == b'\n')
                .next()
                .map(<[u8]>::len),
            Some(77)
        );
        let inner = Body::message(b"Subject: x\n\n\xe9\r");
        assert_eq!(inner.content(), b"Subject: x\r\n\r\n\xe9\r\n");
        let mut head = Fields::new();
        head.text(FieldName::SUBJECT, "fwd");
        let whole = inner.into_message(head);
        assert!(
            whole.starts_with(
                b"Subject: fwd\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n"
            )
        );
    }

    proptest! {
        #[test]
        fn text_comes_back(text in "[\\PC\r\n\t\0]{0,300}") {
            let lines = Crlf::convert(text.as_bytes());
            let body = Body::text(&text);
            prop_assert!(is_clean(body.content()));
            prop_assert!(longest_line(body.content()) <= LINE_HARD);
            let qp = quoted_printable(&lines);
            prop_assert!(qp.is_ascii() && is_clean(&qp) && longest_line(&qp) <= 76);
            let mut whole = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n".to_vec();
            whole.extend_from_slice(&qp);
            prop_assert_eq!(mailparse::parse_mail(&whole).unwrap().get_body_raw().unwrap(), lines);
        }
    }
}
