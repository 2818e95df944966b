//! Dialogues as text: what we say, what we expect to hear.

/// One step of a [`Script`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `-> TEXT`: send a line.
    Say(String),
    /// `->> TEXT`: send octets, with the escapes `\r \n \t \0 \\ \xHH` and no line end added.
    Raw(Vec<u8>),
    /// `<- TEXT`: the next line is exactly this.
    Exactly(String),
    /// `<~ PATTERN`: the next line begins like this, `*` standing for anything. A reply of several
    /// lines (`250-...`) is taken as a whole and compared by its first line.
    Like(String),
    /// `<data`: a message up to the lone dot, kept with its dots undone.
    Data,
    /// `<any`: whatever has come, at least one octet; thrown away.
    Any,
    /// `tls`: the TLS handshake.
    Tls,
    /// `tls-fails`: the TLS handshake, which must fail.
    TlsFails,
    /// `close`: end the connection.
    Close,
    /// `cut`: end it with a FIN, under TLS without the close_notify that tells of the end.
    Cut,
    /// `reset`: end it with a reset instead of a FIN.
    Reset,
    /// `eof`: the other side ends it, having said nothing more.
    Eof,
    /// `drain`: take whatever comes until the other side ends it.
    Drain,
    /// `hold WORD`: go on when the test releases the word.
    Hold(String),
    /// `mark WORD`: tell the test that we are here.
    Mark(String),
    /// `endless COUNT`: send that many octets without a line end; an error while sending is
    /// expected and ends the step.
    Endless(usize),
    /// `trickle`: from here on everything is sent one octet at a time.
    Trickle,
    /// `again`: go back to the start of the script.
    Again,
}

/// A list of steps. Every line of the text form is a step, from the view of whoever plays it:
/// `->` is said, `<-` is heard. Empty lines and lines that begin with `#` are nothing.
///
/// ```text
/// -> 220 peer.example ESMTP
/// <~ EHLO
/// -> 250-peer.example
/// -> 250 SIZE
/// <~ MAIL FROM:<*>
/// -> 451 4.3.0 later
/// close
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script(pub Vec<Step>);

impl Script {
    /// Reads the text form.
    ///
    /// # Panics
    /// At a line that is no step.
    pub fn parse(text: &str) -> Self {
        let steps = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(step)
            .collect();
        Self(steps)
    }
}

fn step(line: &str) -> Step {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "->" => Step::Say(rest.to_owned()),
        "->>" => Step::Raw(unescape(rest)),
        "<-" => Step::Exactly(rest.to_owned()),
        "<~" => Step::Like(rest.to_owned()),
        "<data" => Step::Data,
        "<any" => Step::Any,
        "tls" => Step::Tls,
        "tls-fails" => Step::TlsFails,
        "close" => Step::Close,
        "cut" => Step::Cut,
        "reset" => Step::Reset,
        "eof" => Step::Eof,
        "drain" => Step::Drain,
        "hold" => Step::Hold(rest.to_owned()),
        "mark" => Step::Mark(rest.to_owned()),
        "endless" => Step::Endless(rest.parse().expect("a number of octets after endless")),
        "trickle" => Step::Trickle,
        "again" => Step::Again,
        _ => panic!("no such step: {line:?}"),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'\\' {
            out.push(octet);
            continue;
        }
        out.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits after \\x")
            }
            other => panic!("no such escape: {other:?} in {text:?}"),
        });
    }
    out
}

/// Whether `line` begins like `pattern`, where `*` stands for any octets.
pub(crate) fn like(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        let script = Script::parse(
            "# c\n-> 220 hi\n  <~ EHLO *\n->> a\\x41\\r\\n\\0\n\n<data\nendless 12\n",
        );
        assert_eq!(
            script.0,
            [
                Step::Say("220 hi".into()),
                Step::Like("EHLO *".into()),
                Step::Raw(b"aA\r\n\0".to_vec()),
                Step::Data,
                Step::Endless(12),
            ]
        );
    }

    #[test]
    fn patterns() {
        assert!(like("MAIL FROM:<*> SIZE=", "MAIL FROM:<a@b> SIZE=12"));
        assert!(like("250", "250-x"));
        assert!(!like("MAIL FROM:<*> SIZE=", "MAIL FROM:<a@b>"));
        assert!(!like("RCPT", "DATA"));
    }
}
