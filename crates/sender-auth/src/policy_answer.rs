//! A web server's answer to the question for an MTA-STS policy (RFC 8461, 3.3), read as it comes.
//!
//! So much of HTTP/1.1 (RFC 9112) as one GET needs: a head, then a body that ends by its length, by
//! its last chunk or with the connection. Whatever is not status 200, plain text and at most
//! [`POLICY_MAX`] octets is refused; a redirect is never followed.
//!
//! ```text
//! Head --1xx--> Head    Head --200--> Sized | Chunks | UntilEnd --> Whole
//! ```

use std::fmt;

use crate::mta_sts::POLICY_MAX;

/// Longest head in octets, all interim answers and trailers counted in.
pub const HEAD_MAX: usize = 16_384;

/// Longest line that says how long a chunk is, in octets.
const CHUNK_LINE_MAX: usize = 256;

/// The seconds that asking for a policy may take in all (RFC 8461, 3.3 suggests a minute).
pub const FETCH_SECONDS_MAX: u64 = 60;

/// The host that serves the policy of a domain.
pub fn policy_host(domain: &str) -> String {
    format!("mta-sts.{domain}")
}

/// What is sent to that host, under TLS.
pub fn policy_request(domain: &str) -> String {
    format!(
        "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {}\r\nAccept: text/plain\r\n\
         User-Agent: hikyaku\r\nConnection: close\r\n\r\n",
        policy_host(domain)
    )
}

/// Why there is no policy in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerError {
    /// Not HTTP/1, or a head that breaks its rules.
    NotHttp,
    /// More than [`HEAD_MAX`] octets before the body.
    HeadTooLong,
    /// A redirect with this status; where it leads does not matter.
    Redirect(u16),
    /// Any other status than 200.
    Status(u16),
    /// Not `text/plain` but this (cut to 80 characters, empty without the field).
    Type(String),
    /// A content or transfer coding that was not asked for.
    Coding,
    /// More than [`POLICY_MAX`] octets.
    TooLong,
    /// A chunk's length can't be read, or a chunk does not end where it says.
    Chunk,
    /// The connection ended before the answer did.
    Cut,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => f.write_str("the answer is not HTTP/1"),
            Self::HeadTooLong => f.write_str("the head of the answer is larger than 16 KiB"),
            Self::Redirect(status) => {
                write!(f, "status {status}: redirects are not followed")
            }
            Self::Status(status) => write!(f, "status {status} instead of 200"),
            Self::Type(found) if found.is_empty() => f.write_str("no Content-Type: text/plain"),
            Self::Type(found) => write!(f, "Content-Type {found} instead of text/plain"),
            Self::Coding => f.write_str("the answer is coded in a way that was not asked for"),
            Self::TooLong => f.write_str("the policy is larger than 64 KiB"),
            Self::Chunk => f.write_str("a chunk of the answer has no valid length"),
            Self::Cut => f.write_str("the connection ended before the answer"),
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The policy's text, at most [`POLICY_MAX`] octets.
    pub text: Vec<u8>,
    /// The Date field as it stands there.
    pub date: Option<String>,
}

/// Where the reader is.
#[derive(Debug)]
enum State {
    /// Lines of a head so far, the last one perhaps incomplete.
    Head(Vec<u8>),
    Body {
        date: Option<String>,
        framing: Framing,
    },
}

/// How the body ends.
#[derive(Debug)]
enum Framing {
    /// So many octets are still to come.
    Sized(usize),
    /// The line before a chunk.
    ChunkLine(Vec<u8>),
    /// Inside a chunk.
    Chunk(usize),
    /// The line end after a chunk, as far as it has come.
    ChunkEnd(Vec<u8>),
    /// After the last chunk: the present line of the trailer.
    Trailer(Vec<u8>),
    UntilEnd,
    Whole,
}

/// Reads one answer.
#[derive(Debug)]
pub struct PolicyAnswer {
    state: State,
    text: Vec<u8>,
    /// Octets of heads and trailers so far.
    around: usize,
}

impl Default for PolicyAnswer {
    fn default() -> Self {
        Self::new()
    }
}

impl PolicyAnswer {
    /// Nothing has come yet.
    pub const fn new() -> Self {
        Self {
            state: State::Head(Vec::new()),
            text: Vec::new(),
            around: 0,
        }
    }

    /// Takes the next octets; says whether the answer is whole. What follows it is ignored.
    ///
    /// # Errors
    /// See [`AnswerError`]; after one the reader must not be fed again.
    pub fn feed(&mut self, mut block: &[u8]) -> Result<bool, AnswerError> {
        loop {
            match &mut self.state {
                State::Head(head) => {
                    let line = take_line(head, &mut block, HEAD_MAX - self.around)
                        .ok_or(AnswerError::HeadTooLong)?;
                    if !line {
                        return Ok(false);
                    }
                    if !head.ends_with(b"\n\r\n") && !head.ends_with(b"\n\n") {
                        continue;
                    }
                    self.around += head.len();
                    self.state = match Head::parse(head)? {
                        None => State::Head(Vec::new()),
                        Some(found) => State::Body {
                            date: found.date,
                            framing: found.framing,
                        },
                    };
                }
                State::Body { framing, .. } => {
                    if !body(framing, &mut block, &mut self.text, &mut self.around)? {
                        return Ok(matches!(framing, Framing::Whole));
                    }
                }
            }
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`AnswerError::Cut`] when the answer is not whole.
    pub fn end(self) -> Result<Fetched, AnswerError> {
        match self.state {
            State::Body {
                date,
                framing: Framing::Whole | Framing::UntilEnd,
            } => Ok(Fetched {
                text: self.text,
                date,
            }),
            _ => Err(AnswerError::Cut),
        }
    }
}

/// Moves octets up to and with the next LF; `Some(true)` when there was one, `None` when the line
/// would be longer than `most`.
fn take_line(line: &mut Vec<u8>, block: &mut &[u8], most: usize) -> Option<bool> {
    let (taken, found) = match memchr::memchr(b'\n', block) {
        Some(at) => (at + 1, true),
        None => (block.len(), false),
    };
    let (now, rest) = block.split_at_checked(taken)?;
    if line.len() + now.len() > most {
        return None;
    }
    line.extend_from_slice(now);
    *block = rest;
    Some(found)
}

/// One step; `false` when more octets are needed or nothing more will come.
fn body(
    framing: &mut Framing,
    block: &mut &[u8],
    text: &mut Vec<u8>,
    around: &mut usize,
) -> Result<bool, AnswerError> {
    match framing {
        Framing::Sized(left) => {
            *left -= take(*left, block, text)?;
            if *left > 0 {
                return Ok(false);
            }
            *framing = Framing::Whole;
        }
        Framing::UntilEnd => {
            take(usize::MAX, block, text)?;
            return Ok(false);
        }
        Framing::ChunkLine(line) => {
            if !take_line(line, block, CHUNK_LINE_MAX).ok_or(AnswerError::Chunk)? {
                return Ok(false);
            }
            *framing = match chunk_length(line).ok_or(AnswerError::Chunk)? {
                0 => Framing::Trailer(Vec::new()),
                length if length > POLICY_MAX - text.len() => return Err(AnswerError::TooLong),
                length => Framing::Chunk(length),
            };
        }
        Framing::Chunk(left) => {
            *left -= take(*left, block, text)?;
            if *left > 0 {
                return Ok(false);
            }
            *framing = Framing::ChunkEnd(Vec::new());
        }
        Framing::ChunkEnd(line) => {
            if !take_line(line, block, 2).ok_or(AnswerError::Chunk)? {
                return Ok(false);
            }
            if !matches!(line.as_slice(), b"\r\n" | b"\n") {
                return Err(AnswerError::Chunk);
            }
            *framing = Framing::ChunkLine(Vec::new());
        }
        Framing::Trailer(line) => {
            if !take_line(line, block, HEAD_MAX - *around).ok_or(AnswerError::HeadTooLong)? {
                return Ok(false);
            }
            *around += line.len();
            *framing = match line.as_slice() {
                b"\r\n" | b"\n" => Framing::Whole,
                _ => Framing::Trailer(Vec::new()),
            };
        }
        Framing::Whole => return Ok(false),
    }
    Ok(true)
}

/// Moves at most `most` octets of the body; gives how many.
fn take(most: usize, block: &mut &[u8], text: &mut Vec<u8>) -> Result<usize, AnswerError> {
    let (now, rest) = block.split_at_checked(most).unwrap_or((*block, &[]));
    if now.len() > POLICY_MAX - text.len() {
        return Err(AnswerError::TooLong);
    }
    text.extend_from_slice(now);
    *block = rest;
    Ok(now.len())
}

/// `chunk-size [ chunk-ext ] CRLF` (RFC 9112, 7.1).
fn chunk_length(line: &[u8]) -> Option<usize> {
    let line = std::str::from_utf8(line).ok()?;
    let digits = line.split(';').next()?.trim();
    let hex = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| usize::from_str_radix(digits, 16).ok())?
}

/// What a final head says.
struct Head {
    date: Option<String>,
    framing: Framing,
}

impl Head {
    /// `None` for an interim answer (1xx).
    fn parse(head: &[u8]) -> Result<Option<Self>, AnswerError> {
        use AnswerError as E;
        let head = std::str::from_utf8(head).map_err(|_| E::NotHttp)?;
        let mut lines = head.lines();
        let status = status(lines.next().unwrap_or_default()).ok_or(E::NotHttp)?;
        match status {
            100..=199 => return Ok(None),
            200 => {}
            300..=399 => return Err(E::Redirect(status)),
            _ => return Err(E::Status(status)),
        }
        let (mut date, mut kind) = (None, None);
        let (mut length, mut chunked) = (None, false);
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(E::NotHttp)?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "date" => date = Some(value.to_owned()),
                "content-type" => kind = Some(value),
                "content-length" => {
                    let number = crate::tag_list::number(value.as_bytes()).ok_or(E::NotHttp)?;
                    // Two that differ are how answers are smuggled.
                    if length.replace(number).is_some_and(|other| other != number) {
                        return Err(E::NotHttp);
                    }
                }
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => chunked = true,
                "transfer-encoding" => return Err(E::Coding),
                "content-encoding" if !value.eq_ignore_ascii_case("identity") => {
                    return Err(E::Coding);
                }
                // A line that begins with white space would continue the one before it.
                name if name.is_empty() || name.contains([' ', '\t']) => return Err(E::NotHttp),
                _ => {}
            }
        }
        let kind = kind.unwrap_or_default();
        let media = kind.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("text/plain") {
            return Err(E::Type(kind.chars().take(80).collect()));
        }
        let framing = match (chunked, length) {
            (true, Some(_)) => return Err(E::NotHttp),
            (true, None) => Framing::ChunkLine(Vec::new()),
            (false, None) => Framing::UntilEnd,
            (false, Some(length)) => match usize::try_from(length) {
                Ok(length) if length <= POLICY_MAX => Framing::Sized(length),
                _ => return Err(E::TooLong),
            },
        };
        Ok(Some(Self { date, framing }))
    }
}

/// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112, 4).
fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.")?;
    let (minor, rest) = rest.split_once(' ')?;
    let code = rest.split(' ').next()?;
    let good =
        matches!(minor, "0" | "1") && code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    good.then(|| code.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use AnswerError as E;
    use proptest::prelude::*;

    fn read(answer: &[u8]) -> Result<Fetched, E> {
        let mut reader = PolicyAnswer::new();
        reader.feed(answer)?;
        reader.end()
    }

    fn answer(fields: &str, body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}\r\n{body}")
    }

    #[test]
    fn bodies() {
        for (fields, body) in [
            ("Content-Length: 2\r\n", "Hi"),
            (
                "Content-Length: 2\r\nContent-Length: 2\r\n",
                "Hi, and what follows",
            ),
            ("", "Hi"),
            ("content-encoding: identity\r\n", "Hi"),
            (
                "Transfer-Encoding: Chunked\r\n",
                "1\r\nH\r\n01 ; x=y\r\ni\r\n0\r\n\r\n",
            ),
            (
                "Transfer-Encoding: chunked\r\n",
                "2\r\nHi\r\n0\r\nX: y\r\nZ: 1\r\n\r\nmore",
            ),
        ] {
            let found = read(answer(fields, body).as_bytes());
            assert_eq!(found.unwrap().text, b"Hi", "{fields} {body}");
        }
        let dated = answer("Date: Sun, 22 Nov 2026 10:00:00 GMT\r\n", "");
        let text = format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{dated}");
        let found = read(text.as_bytes()).unwrap();
        assert_eq!(found.date.unwrap(), "Sun, 22 Nov 2026 10:00:00 GMT");
        for kind in ["text/plain; charset=utf-8", "Text/Plain ;x=y"] {
            let text = format!("HTTP/1.0 200\r\nContent-Type: {kind}\r\n\r\nHi");
            assert_eq!(
                read(text.as_bytes()).map(|found| found.text),
                Ok(b"Hi".to_vec())
            );
        }
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("".to_owned(), E::Cut),
            ("HTTP/1.1 200 OK\r\n".to_owned(), E::Cut),
            ("SSH-2.0-x\r\n\r\n".to_owned(), E::NotHttp),
            ("HTTP/2 200 OK\r\n\r\n".to_owned(), E::NotHttp),
            ("HTTP/1.1 20 OK\r\n\r\n".to_owned(), E::NotHttp),
            (
                "HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n".to_owned(),
                E::Redirect(301),
            ),
            ("HTTP/1.1 404 No\r\n\r\n".to_owned(), E::Status(404)),
            ("HTTP/1.1 204 No\r\n\r\n".to_owned(), E::Status(204)),
            ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), E::Type(String::new())),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n".to_owned(),
                E::Type("text/html".to_owned()),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/plainer\r\n\r\n".to_owned(),
                E::Type("text/plainer".to_owned()),
            ),
            (answer(" folded: x\r\n", ""), E::NotHttp),
            (answer("no field\r\n", ""), E::NotHttp),
            (
                answer("Content-Length: 1\r\nContent-Length: 2\r\n", "Hi"),
                E::NotHttp,
            ),
            (answer("Content-Length: -1\r\n", ""), E::NotHttp),
            (answer("Content-Length: 3\r\n", "Hi"), E::Cut),
            (
                answer("Content-Length: 99999999999999999999\r\n", ""),
                E::NotHttp,
            ),
            (
                answer("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", ""),
                E::NotHttp,
            ),
            (
                answer("Transfer-Encoding: gzip, chunked\r\n", ""),
                E::Coding,
            ),
            (answer("Content-Encoding: br\r\n", ""), E::Coding),
            (answer("Transfer-Encoding: chunked\r\n", "x\r\n"), E::Chunk),
            (
                answer("Transfer-Encoding: chunked\r\n", "fffffffff\r\n"),
                E::Chunk,
            ),
            (
                answer("Transfer-Encoding: chunked\r\n", "1\r\nHi\r\n"),
                E::Chunk,
            ),
            (
                answer("Transfer-Encoding: chunked\r\n", "2\r\nHi\r\n0\r\n"),
                E::Cut,
            ),
        ] {
            assert_eq!(read(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn limits() {
        for (length, good) in [
            (POLICY_MAX - 1, true),
            (POLICY_MAX, true),
            (POLICY_MAX + 1, false),
        ] {
            let body = "x".repeat(length);
            let half = length / 2;
            for (fields, body) in [
                (format!("Content-Length: {length}\r\n"), body.clone()),
                (String::new(), body.clone()),
                (
                    "Transfer-Encoding: chunked\r\n".to_owned(),
                    format!(
                        "{half:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                        &body[..half],
                        length - half,
                        &body[half..]
                    ),
                ),
            ] {
                let found = read(answer(&fields, &body).as_bytes());
                match good {
                    true => assert_eq!(found.unwrap().text.len(), length),
                    false => assert_eq!(found, Err(E::TooLong), "{fields}"),
                }
            }
        }
        let around = answer("X: \r\n", "").len();
        for (length, good) in [
            (HEAD_MAX - 1, true),
            (HEAD_MAX, true),
            (HEAD_MAX + 1, false),
        ] {
            let field = format!("X: {}\r\n", "y".repeat(length - around));
            let text = answer(&field, "");
            assert_eq!(text.len(), length);
            assert_eq!(read(text.as_bytes()).is_ok(), good, "{length}");
            // Interim answers count.
            let text = format!("HTTP/1.1 100 C\r\n\r\n{}", answer("", ""));
            let interim = "HTTP/1.1 100 C\r\n\r\n".repeat((length - text.len()) / 18 + 2);
            assert_eq!(
                read((interim.clone() + &text).as_bytes()).is_ok(),
                interim.len() + text.len() <= HEAD_MAX
            );
        }
        for (length, good) in [
            (CHUNK_LINE_MAX - 1, true),
            (CHUNK_LINE_MAX, true),
            (CHUNK_LINE_MAX + 1, false),
        ] {
            let line = format!("0;{}\r\n\r\n", "x".repeat(length - 4));
            let text = answer("Transfer-Encoding: chunked\r\n", &line);
            assert_eq!(read(text.as_bytes()).is_ok(), good, "{length}");
        }
        // A trailer without end.
        let text = answer("Transfer-Encoding: chunked\r\n", "0\r\n") + &"a: b\r\n".repeat(4_000);
        assert_eq!(read(text.as_bytes()), Err(E::HeadTooLong));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn cuts_do_not_matter(
            which in 0_usize..7,
            junk in prop::collection::vec(any::<u8>(), 0..40),
            at in 0_usize..200,
            cut in 0_usize..200,
        ) {
            let texts = [
                answer("Content-Length: 2\r\n", "Hi"),
                answer("", "Hi"),
                answer("Transfer-Encoding: chunked\r\n", "1\r\nH\r\n1\r\ni\r\n0\r\nX: y\r\n\r\n"),
                format!("HTTP/1.1 100 x\r\n\r\n{}", answer("", "x")),
                "HTTP/1.1 301 x\r\n\r\n".to_owned(),
                answer("Transfer-Encoding: chunked\r\n", ""),
                String::new(),
            ];
            let mut text = texts[which].clone().into_bytes();
            let at = at.min(text.len());
            text.splice(at..at, junk);
            crate::exercise_policy::policy_answer(&text, cut.min(text.len()));
        }
    }
}
