//! BODY and BODYSTRUCTURE (RFC 3501 7.4.2).
//!
//! ```text
//! body            = "(" (body-type-1part / body-type-mpart) ")"
//! body-type-1part = media SP params SP id SP desc SP enc SP octets [SP envelope SP body] [SP lines] [SP ext]
//! body-type-mpart = 1*body SP subtype [SP params SP dsp SP lang SP loc]
//! ext             = md5 SP dsp SP lang SP loc
//! ```

use super::envelope::envelope;
use super::string::{nstring, number, string, upper};
use crate::media::{MediaType, Params, disposition};
use crate::scan::{Fields, Kind, Part, RawField, Structure};
use crate::transfer::Encoding;

/// Writes BODY: the structure without extension data.
pub fn body(structure: &Structure, message: &[u8], out: &mut Vec<u8>) {
    Writer {
        structure,
        message,
        extended: false,
    }
    .part(0, out);
}

/// Writes BODYSTRUCTURE: with parameters of multiparts, disposition, language, location and MD5.
pub fn body_structure(structure: &Structure, message: &[u8], out: &mut Vec<u8>) {
    Writer {
        structure,
        message,
        extended: true,
    }
    .part(0, out);
}

/// The fields of a part's header that are shown.
#[derive(Default)]
struct Found<'a> {
    id: Option<RawField<'a>>,
    description: Option<RawField<'a>>,
    encoding: Option<RawField<'a>>,
    md5: Option<RawField<'a>>,
    disposition: Option<RawField<'a>>,
    language: Option<RawField<'a>>,
    location: Option<RawField<'a>>,
}

impl<'a> Found<'a> {
    fn read(header: &'a [u8]) -> Found<'a> {
        let mut found = Found::default();
        for field in Fields::new(header) {
            let Some(rest) = field
                .name
                .get(..8)
                .filter(|head| head.eq_ignore_ascii_case(b"Content-"))
            else {
                continue;
            };
            let tail = field.name.get(rest.len()..).unwrap_or_default();
            let is = |name: &str| tail.eq_ignore_ascii_case(name.as_bytes());
            let slot = if is("ID") {
                &mut found.id
            } else if is("Description") {
                &mut found.description
            } else if is("Transfer-Encoding") {
                &mut found.encoding
            } else if is("MD5") {
                &mut found.md5
            } else if is("Disposition") {
                &mut found.disposition
            } else if is("Language") {
                &mut found.language
            } else if is("Location") {
                &mut found.location
            } else {
                continue;
            };
            slot.get_or_insert(field);
        }
        found
    }
}

struct Writer<'a> {
    structure: &'a Structure,
    message: &'a [u8],
    extended: bool,
}

impl Writer<'_> {
    /// Depth is bounded by `scan::DEPTH_MAX`, so is this recursion.
    fn part(&self, index: u32, out: &mut Vec<u8>) {
        let Some(part) = self.structure.parts().get(index as usize) else {
            return;
        };
        let found = Found::read(part.header_of(self.message));
        let media = part.media_type(self.message);
        out.push(b'(');
        if part.kind == Kind::Multipart {
            self.multipart(index, &media, &found, out);
        } else {
            self.single(index, part, &media, &found, out);
        }
        out.push(b')');
    }

    fn multipart(&self, index: u32, media: &MediaType<'_>, found: &Found<'_>, out: &mut Vec<u8>) {
        let mut any = false;
        for (child, _) in self.structure.children(index) {
            self.part(child, out);
            any = true;
        }
        if !any {
            // The grammar wants at least one.
            out.extend_from_slice(b"(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0)");
        }
        out.push(b' ');
        upper(out, media.sub);
        if self.extended {
            out.push(b' ');
            params(out, media.params);
            tail(out, found);
        }
    }

    fn single(
        &self,
        index: u32,
        part: &Part,
        media: &MediaType<'_>,
        found: &Found<'_>,
        out: &mut Vec<u8>,
    ) {
        let as_written = |media: &MediaType<'_>| !media.is("multipart", "*") && !is_message(media);
        let embeds = part.kind == Kind::Message;
        // A client expects an envelope after message/rfc822 and parts in a multipart, so a leaf that
        // claims to be one (too deep, encoded, without boundary) is shown as what can be done with it.
        let (main, sub): (&[u8], &[u8]) = if embeds || as_written(media) {
            (media.main, media.sub)
        } else if is_message(media) {
            (b"application", b"octet-stream")
        } else {
            (b"text", b"plain")
        };
        upper(out, main);
        out.push(b' ');
        upper(out, sub);
        out.push(b' ');
        if part.content_type.is_empty() && !embeds {
            out.extend_from_slice(b"(\"CHARSET\" \"US-ASCII\")");
        } else {
            params(out, media.params);
        }
        out.push(b' ');
        field(out, found.id);
        out.push(b' ');
        field(out, found.description);
        out.push(b' ');
        match (part.encoding, found.encoding) {
            (Encoding::Unknown, Some(named)) => upper(out, first_word(named.value)),
            (encoding, _) => upper(out, encoding.as_str().as_bytes()),
        }
        out.push(b' ');
        number(out, part.body.len() as u64);
        if embeds && let Some((child_index, child)) = self.structure.children(index).next() {
            out.push(b' ');
            envelope(child.header_of(self.message), out);
            out.push(b' ');
            self.part(child_index, out);
        }
        if embeds || main.eq_ignore_ascii_case(b"text") {
            out.push(b' ');
            number(out, part.lines);
        }
        if self.extended {
            out.push(b' ');
            field(out, found.md5);
            tail(out, found);
        }
    }
}

fn is_message(media: &MediaType<'_>) -> bool {
    media.is("message", "rfc822") || media.is("message", "global")
}

fn field(out: &mut Vec<u8>, field: Option<RawField<'_>>) {
    nstring(out, field.as_ref().map(RawField::unfolded).as_deref());
}

fn first_word(value: &[u8]) -> &[u8] {
    value
        .split(|b| b.is_ascii_whitespace() || *b == b';')
        .find(|word| !word.is_empty())
        .unwrap_or_default()
}

/// Parameters as written: RFC 2231 is the client's to read.
fn params(out: &mut Vec<u8>, params: Params<'_>) {
    let start = out.len();
    for param in params.raw() {
        out.push(if out.len() == start { b'(' } else { b' ' });
        upper(out, param.name);
        out.push(b' ');
        string(out, &param.value);
    }
    out.extend_from_slice(if out.len() == start { b"NIL" } else { b")" });
}

/// Disposition, language and location, each with a space before it.
fn tail(out: &mut Vec<u8>, found: &Found<'_>) {
    out.push(b' ');
    match found.disposition.and_then(|field| disposition(field.value)) {
        Some((word, rest)) => {
            out.push(b'(');
            upper(out, word);
            out.push(b' ');
            params(out, rest);
            out.push(b')');
        }
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    language(out, found.language);
    out.push(b' ');
    field(out, found.location);
}

/// `NIL`, one tag, or several in parentheses (RFC 3282).
fn language(out: &mut Vec<u8>, field: Option<RawField<'_>>) {
    let value = field.map(|field| field.value).unwrap_or_default();
    let mut tags = value
        .split(|b| *b == b',' || b.is_ascii_whitespace())
        .filter(|tag| {
            !tag.is_empty() && tag.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        });
    match (tags.next(), tags.next()) {
        (None, _) => out.extend_from_slice(b"NIL"),
        (Some(tag), None) => string(out, tag),
        (Some(first), Some(second)) => {
            out.push(b'(');
            string(out, first);
            for tag in std::iter::once(second).chain(tags) {
                out.push(b' ');
                string(out, tag);
            }
            out.push(b')');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scanner;
    use proptest::prelude::*;

    fn wire(message: &str, extended: bool) -> String {
        let structure = Scanner::scan(message.as_bytes());
        let mut out = Vec::new();
        if extended {
            body_structure(&structure, message.as_bytes(), &mut out);
        } else {
            body(&structure, message.as_bytes(), &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn single_parts() {
        assert_eq!(
            wire("A: b\r\n\r\nx\r\ny\r\n", false),
            "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 6 2)"
        );
        assert_eq!(
            wire(
                "Content-Type: text/html; charset=\"utf-8\"\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <i>\r\n\
                Content-Disposition: inline; filename=\"a \\\"b\"\r\nContent-Language: en, de\r\nContent-MD5: m==\r\n\
                Content-Location: http://x/\r\nContent-Description: d\r\n e\r\n\r\nYQ==\r\n",
                true
            ),
            "(\"TEXT\" \"HTML\" (\"CHARSET\" \"utf-8\") \"<i>\" \"d e\" \"BASE64\" 6 1 \"m==\" \
            (\"INLINE\" (\"FILENAME\" \"a \\\"b\")) (\"en\" \"de\") \"http://x/\")"
        );
        assert_eq!(
            wire(
                "Content-Type: image/png\r\nContent-Transfer-Encoding: x-uue\r\n\r\n",
                true
            ),
            "(\"IMAGE\" \"PNG\" NIL NIL NIL \"X-UUE\" 0 NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn trees() {
        let message = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\nhi\r\n--o\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n\r\n--o--\r\n";
        let inner = "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 6 1)";
        assert_eq!(
            wire(message, false),
            format!(
                "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 2 0)\
                (\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 21 (NIL \"in\" NIL NIL NIL NIL NIL NIL NIL NIL) {inner} 3) \"MIXED\")"
            )
        );
        assert!(wire(message, true).ends_with(" \"MIXED\" (\"BOUNDARY\" \"o\") NIL NIL NIL)"));
        assert_eq!(
            wire("Content-Type: multipart/mixed; boundary=o\r\n\r\n", false),
            "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 0 0) \"MIXED\")"
        );
        assert_eq!(
            wire("Content-Type: multipart/mixed\r\n\r\nx", false),
            "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 1 0)"
        );
        assert!(
            wire(
                "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==",
                false
            )
            .starts_with("(\"APPLICATION\" \"OCTET-STREAM\" NIL")
        );
    }

    /// Reads one IMAP value and returns what follows; the grammar of a client.
    fn value(text: &[u8]) -> Option<&[u8]> {
        match text.first()? {
            b'(' => {
                let mut rest = text.get(1..)?;
                loop {
                    rest = match rest.first()? {
                        b')' => return rest.get(1..),
                        b' ' => rest.get(1..)?,
                        _ => value(rest)?,
                    };
                }
            }
            b'"' => {
                let mut rest = text.get(1..)?;
                loop {
                    rest = match rest.first()? {
                        b'"' => return rest.get(1..),
                        b'\\' => rest.get(2..)?,
                        b'\r' | b'\n' | 0 | 0x80.. => return None,
                        _ => rest.get(1..)?,
                    };
                }
            }
            b'{' => {
                let end = text.iter().position(|b| *b == b'}')?;
                let len: usize = std::str::from_utf8(text.get(1..end)?).ok()?.parse().ok()?;
                let rest = text.get(end + 1..)?.strip_prefix(b"\r\n")?;
                if rest.get(..len)?.contains(&0) {
                    None
                } else {
                    rest.get(len..)
                }
            }
            _ => {
                let len = text
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric())
                    .count();
                if len == 0 { None } else { text.get(len..) }
            }
        }
    }

    /// Lines that lead the writers into their corners.
    const PIECES: &[&[u8]] = &[
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: message/rfc822\n",
        b"Subject: a\"\\\xe9\0\r\n b\n",
        b"To: \"x\\\"\" <a@b>, g: c\0@d;\r\n",
        b"From: (\xff) x\r\n",
        b"Content-Disposition: a\xe9; b=\"\r\n c\"\n",
        b"Content-ID: \"\r\n",
        b"Content-Language: a, b\n",
        b"\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"text",
    ];

    proptest! {
        #[test]
        fn always_well_formed(pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..20)) {
            let message = pieces.concat();
            let structure = Scanner::scan(&message);
            let mut out = Vec::new();
            envelope(&message, &mut out);
            prop_assert_eq!(value(&out), Some(&b""[..]), "{}", String::from_utf8_lossy(&out));
            for write in [body, body_structure] {
                out.clear();
                write(&structure, &message, &mut out);
                prop_assert_eq!(value(&out), Some(&b""[..]), "{}", String::from_utf8_lossy(&out));
            }
        }
    }
}
