//! The header of the message: read whole, because recipients and From may stand in it.

use std::io::Read;

use crate::exit::{Exit, Failure};
use crate::input::Input;

/// Longest header accepted, in octets.
pub const HEADER_MAX: usize = 1 << 20;

/// Fields as they were written, with what follows the last one.
#[derive(Debug, Default)]
pub struct Header {
    /// Each with its folded lines and line ends.
    fields: Vec<Vec<u8>>,
    /// The empty line, or the line that showed that the text has begun without one.
    behind: Vec<u8>,
}

impl Header {
    /// Reads up to the empty line. A line that is no field ends the header too: an empty line is
    /// then put in front of it. A first line `From ...` of a mailbox file is dropped.
    ///
    /// # Errors
    /// 65 above [`HEADER_MAX`], 66 when the input can't be read.
    pub fn read<R: Read>(input: &mut Input<R>) -> Result<Self, Failure> {
        let mut header = Self::default();
        let mut size = 0;
        let mut first = true;
        loop {
            let mut line = Vec::new();
            let more = input
                .line(HEADER_MAX, &mut line)
                .map_err(|e| Failure::new(Exit::NoInput, format!("reading the message: {e}")))?;
            size += line.len();
            if size > HEADER_MAX {
                return Err(Failure::new(
                    Exit::Data,
                    format!("the header is longer than {HEADER_MAX} octets"),
                ));
            }
            let first = std::mem::take(&mut first);
            match &*line {
                _ if !more => {
                    header.behind = b"\n".to_vec();
                    return Ok(header);
                }
                b"\n" | b"\r\n" => {
                    header.behind = line;
                    return Ok(header);
                }
                [b' ' | b'\t', ..] if !header.fields.is_empty() => {
                    if let Some(field) = header.fields.last_mut() {
                        field.append(&mut line);
                    }
                }
                text if first && (text.starts_with(b"From ") || text.starts_with(b">From ")) => {}
                text if name(text).is_some() => header.fields.push(line),
                _ => {
                    header.behind = b"\n".to_vec();
                    header.behind.append(&mut line);
                    return Ok(header);
                }
            }
        }
    }

    /// The bodies of all fields with this lower-case name.
    pub fn bodies<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter_map(move |field| {
            let name = name(field)?;
            let colon = field.iter().position(|b| *b == b':')?;
            name.eq_ignore_ascii_case(wanted.as_bytes())
                .then(|| field.get(colon + 1..).unwrap_or(&[]))
        })
    }

    /// Whether there is a field with this lower-case name.
    pub fn has(&self, wanted: &str) -> bool {
        self.bodies(wanted).next().is_some()
    }

    /// Takes out what the other recipients must not see.
    pub fn remove_bcc(&mut self) {
        self.fields.retain(|field| {
            !name(field).is_some_and(|n| {
                n.eq_ignore_ascii_case(b"bcc") || n.eq_ignore_ascii_case(b"resent-bcc")
            })
        });
    }

    /// Adds whole fields with their line ends at the end.
    pub fn push(&mut self, field: Vec<u8>) {
        // A last line without its end must not swallow the new field.
        if let Some(last) = self.fields.last_mut() {
            if !last.ends_with(b"\n") {
                last.push(b'\n');
            }
        }
        self.fields.push(field);
    }

    /// The header as it goes out.
    pub fn into_octets(self) -> std::io::Cursor<Vec<u8>> {
        let mut octets = self.fields.concat();
        if !octets.is_empty() && !octets.ends_with(b"\n") {
            octets.push(b'\n');
        }
        octets.extend_from_slice(&self.behind);
        std::io::Cursor::new(octets)
    }
}

/// The name of a field: printable octets up to a colon, blanks before it allowed.
fn name(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = line.get(..colon)?.trim_ascii_end();
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn read(text: &str) -> (Header, String) {
        let mut input = Input::new(text.as_bytes(), true);
        let header = Header::read(&mut input).unwrap();
        let mut rest = String::new();
        input.read_to_string(&mut rest).unwrap();
        (header, rest)
    }

    fn through(text: &str) -> String {
        let (mut header, rest) = read(text);
        header.remove_bcc();
        header.push(b"From: x\r\n".to_vec());
        let mut out = String::new();
        header.into_octets().read_to_string(&mut out).unwrap();
        out + &rest
    }

    #[test]
    fn fields_and_text() {
        assert_eq!(
            through("A: b\n c\nB: d\n\ntext\n"),
            "A: b\n c\nB: d\nFrom: x\r\n\ntext\n"
        );
        assert_eq!(through("hello\nworld\n"), "From: x\r\n\nhello\nworld\n");
        assert_eq!(through(""), "From: x\r\n\n");
        assert_eq!(through("A: b"), "A: b\nFrom: x\r\n\n");
        assert_eq!(through("A: b\nno field\n"), "A: b\nFrom: x\r\n\nno field\n");
        assert_eq!(through("From joe Mon\nA: b\n\nx"), "A: b\nFrom: x\r\n\nx");
        assert_eq!(
            through("To: a\nBcc: b,\n c\nResent-Bcc : d\n\nx\n"),
            "To: a\nFrom: x\r\n\nx\n"
        );
        assert_eq!(through("A: b\r\n\r\nx\r\n"), "A: b\r\nFrom: x\r\n\r\nx\r\n");
        assert_eq!(through("A: b\n.\nx\n"), "A: b\nFrom: x\r\n\n");
        // A dot in the middle of the header ended the input: nothing behind it is read.
        assert_eq!(read("A: b\n.\nx\n").1, "");
    }

    #[test]
    fn names_are_compared_without_case() {
        let (header, _) = read("TO: a\nto : b\nX-To: c\n\n");
        assert_eq!(
            header.bodies("to").collect::<Vec<_>>(),
            [&b" a\n"[..], b" b\n"]
        );
        assert!(!header.has("from"));
    }

    #[test]
    fn limit() {
        let read = |n: usize| {
            let text = format!("A: {}\n\n", "x".repeat(n - 5));
            Header::read(&mut Input::new(text.as_bytes(), false))
                .map(|_| ())
                .map_err(|f| f.exit)
        };
        assert_eq!(read(HEADER_MAX - 1), Ok(()));
        assert_eq!(read(HEADER_MAX), Ok(()));
        assert_eq!(read(HEADER_MAX + 1), Err(Exit::Data));
    }
}
