//! Multipart bodies (RFC 2046 5.1).

use std::fmt;

use memchr::memmem;

use super::{Body, FieldName, Fields};

/// Longest boundary, in octets (RFC 2046 5.1.1).
pub const BOUNDARY_MAX: usize = 70;

/// A string that separates the parts of one multipart.
///
/// Letters, digits and `_ - . =` only (a part of what RFC 2046 5.1.1 allows), beginning with `=_`,
/// which no quoted-printable line and no base64 line begins with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Boundary(String);

/// The seed of a boundary is empty, too long, or holds a character that boundaries don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBoundary;

impl fmt::Display for BadBoundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boundary's seed is 1 to 60 letters, digits, dots, hyphens and underscores")
    }
}

impl std::error::Error for BadBoundary {}

impl Boundary {
    /// Makes a boundary of a string that is not found in the parts: a queue id, a random string.
    ///
    /// # Errors
    /// [`BadBoundary`] when the seed is not 1 to 60 characters of `A-Za-z0-9._-`.
    pub fn new(seed: &str) -> Result<Boundary, BadBoundary> {
        let fine = !seed.is_empty()
            && seed.len() <= BOUNDARY_MAX - 10
            && seed
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fine {
            Ok(Boundary(format!("=_{seed}")))
        } else {
            Err(BadBoundary)
        }
    }

    /// The same boundary with a number at its end if that is needed to be absent from all `contents`.
    pub fn avoiding(self, contents: &[&[u8]]) -> Boundary {
        let mut candidate = self.clone();
        // Each content holds fewer than its length of them, so a free number is soon found.
        for number in 0u32..10_000_000 {
            if number > 0 {
                candidate.0 = format!("{}.{number}", self.0);
            }
            let finder = memmem::Finder::new(candidate.0.as_bytes());
            if !contents
                .iter()
                .any(|content| finder.find(content).is_some())
            {
                break;
            }
        }
        candidate
    }

    /// The boundary without hyphens before it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A multipart that is written part after part.
#[derive(Debug)]
pub struct Multipart {
    boundary: Boundary,
    fields: Fields,
    out: Vec<u8>,
}

impl Multipart {
    /// Begins `multipart/SUBTYPE`. `params` are further parameters of its Content-Type.
    pub fn new(subtype: &str, boundary: Boundary, params: &[(&str, &str)]) -> Multipart {
        let subtype: String = subtype
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .collect();
        let mut fields = Fields::new();
        let mut field = fields.field(FieldName::CONTENT_TYPE);
        field.words(&format!("multipart/{subtype}"));
        for (name, value) in params {
            field.param(name, value);
        }
        field.param("boundary", boundary.as_str());
        drop(field);
        Multipart {
            boundary,
            fields,
            out: Vec::new(),
        }
    }

    /// Adds one part.
    pub fn part(&mut self, part: &Body) -> &mut Self {
        self.open_part(&part.fields);
        self.out.extend_from_slice(&part.content);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// Delimiter and header of a part; content and a CRLF have to follow.
    pub(super) fn open_part(&mut self, fields: &Fields) {
        self.out.extend_from_slice(b"--");
        self.out
            .extend_from_slice(self.boundary.as_str().as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(fields.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// The closing delimiter line.
    pub(super) fn closing(&self) -> Vec<u8> {
        format!("--{}--\r\n", self.boundary.as_str()).into_bytes()
    }

    /// What has been written of the content, with the fields, leaving the closing to the caller.
    pub(super) fn into_open(self) -> (Fields, Vec<u8>) {
        (self.fields, self.out)
    }

    /// Closes the multipart: its own fields (Content-Type) and its content.
    pub fn finish(self) -> Body {
        let closing = self.closing();
        let mut content = self.out;
        content.extend_from_slice(&closing);
        Body {
            fields: self.fields,
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_parts() {
        let mut multipart = Multipart::new("mixed", Boundary::new("x").unwrap(), &[]);
        multipart
            .part(&Body::text("one"))
            .part(&Body::text("two\n"));
        let body = multipart.finish();
        assert_eq!(
            body.fields.as_bytes(),
            b"Content-Type: multipart/mixed; boundary=\"=_x\"\r\n"
        );
        assert_eq!(
            String::from_utf8(body.content).unwrap(),
            "--=_x\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\none\r\n\
             --=_x\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\ntwo\r\n\r\n--=_x--\r\n"
        );
    }

    #[test]
    fn seeds() {
        assert!(Boundary::new(&"a".repeat(59)).is_ok() && Boundary::new(&"a".repeat(60)).is_ok());
        for bad in ["", "a b", "a\r\n", "\"", &"a".repeat(61)] {
            assert_eq!(Boundary::new(bad), Err(BadBoundary));
        }
        let avoided = Boundary::new("x")
            .unwrap()
            .avoiding(&[b"..=_x..", b"=_x.1"]);
        assert_eq!(avoided.as_str(), "=_x.2");
    }
}
