//! IMAP strings.

/// Longest text written as a quoted string; longer ones are literals, in octets.
const QUOTED_MAX: usize = 1_000;

/// Writes `NIL`, a quoted string, or a literal (RFC 3501 4.3).
///
/// A quoted string where the octets allow it: 7 bits, no CR, LF or NUL. A NUL can stand nowhere in
/// IMAP and becomes `?`.
pub fn nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"NIL"),
    }
}

pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    write(out, text, |octet| octet);
}

/// A string in upper case, as types and encodings are shown by custom.
pub(super) fn upper(out: &mut Vec<u8>, text: &[u8]) {
    write(out, text, |octet| octet.to_ascii_uppercase());
}

fn write(out: &mut Vec<u8>, text: &[u8], map: impl Fn(u8) -> u8) {
    let quotable = text.len() <= QUOTED_MAX
        && text
            .iter()
            .all(|b| b.is_ascii() && !matches!(b, 0 | b'\r' | b'\n'));
    if !quotable {
        out.push(b'{');
        number(out, text.len() as u64);
        out.extend_from_slice(b"}\r\n");
        out.extend(text.iter().map(|b| if *b == 0 { b'?' } else { map(*b) }));
        return;
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    for octet in text {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(map(*octet));
    }
    out.push(b'"');
}

pub(super) fn number(out: &mut Vec<u8>, number: u64) {
    use std::io::Write;
    // Writing to a vector does not fail.
    let _ = write!(out, "{number}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let wire = |text: Option<&[u8]>| {
            let mut out = Vec::new();
            nstring(&mut out, text);
            out
        };
        assert_eq!(wire(None), b"NIL");
        assert_eq!(wire(Some(b"")), b"\"\"");
        assert_eq!(wire(Some(b"a\"b\\c")), b"\"a\\\"b\\\\c\"");
        assert_eq!(wire(Some("é".as_bytes())), b"{2}\r\n\xc3\xa9");
        assert_eq!(wire(Some(b"a\r\nb")), b"{4}\r\na\r\nb");
        assert_eq!(wire(Some(b"a\0")), b"{2}\r\na?");
        assert!(wire(Some(&[b'x'; QUOTED_MAX - 1])).starts_with(b"\""));
        assert!(wire(Some(&[b'x'; QUOTED_MAX])).starts_with(b"\""));
        assert!(wire(Some(&[b'x'; QUOTED_MAX + 1])).starts_with(b"{1001}\r\n"));
    }
}
