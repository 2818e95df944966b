//! The systemd journal's export stream (`journalctl -o export`).
//!
//! ```text
//! entry = *( NAME "=" value LF / NAME LF length 8, little end first, value LF ) LF
//! ```

/// Longest value that is kept, in octets; longer ones are passed over.
pub const VALUE_MAX: usize = 64 * 1024;
/// Fields kept of one entry.
pub const FIELDS_MAX: usize = 64;
/// Octets of one entry that are kept.
pub const ENTRY_MAX: usize = 256 * 1024;
const NAME_MAX: usize = 64;

/// One entry: fields in the order of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    fields: Vec<(String, Vec<u8>)>,
    size: usize,
}

impl Entry {
    /// The first value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_slice())
    }

    /// When it was written, in seconds since 1970.
    #[must_use]
    pub fn time(&self) -> Option<f64> {
        let source = self.get("_SOURCE_REALTIME_TIMESTAMP");
        let text = source.or_else(|| self.get("__REALTIME_TIMESTAMP"))?;
        let us: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        Some(us as f64 / 1e6)
    }

    /// When the journal took it, in microseconds since 1970.
    #[must_use]
    pub fn written(&self) -> Option<u64> {
        let text = self.get("__REALTIME_TIMESTAMP")?;
        std::str::from_utf8(text).ok()?.parse().ok()
    }

    /// Writes it as it stands in the stream.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.fields {
            out.extend(name.as_bytes());
            if value.contains(&b'\n') {
                out.push(b'\n');
                out.extend((value.len() as u64).to_le_bytes());
            } else {
                out.push(b'=');
            }
            out.extend(value);
            out.push(b'\n');
        }
        out.push(b'\n');
    }

    /// The line that a log file would have: host, program with its process id, message. Newlines
    /// in the message become spaces, so that no entry can look like two.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.get("_HOSTNAME").unwrap_or(b"localhost"));
        out.push(b' ');
        let program = self.get("SYSLOG_IDENTIFIER").or_else(|| self.get("_COMM"));
        if let Some(program) = program {
            out.extend(program);
            let pid = self.get("SYSLOG_PID").or_else(|| self.get("_PID"));
            if let Some(pid) = pid {
                out.push(b'[');
                out.extend(pid);
                out.push(b']');
            }
            out.extend(b": ");
        }
        out.extend(self.get("MESSAGE").unwrap_or(b""));
        for b in &mut out {
            if matches!(b, b'\n' | b'\r') {
                *b = b' ';
            }
        }
        out
    }

    /// Whether the entry fits a `journalmatch`: fields of one name are alternatives, different
    /// names must all fit, `+` begins another set.
    #[must_use]
    pub fn fits(&self, journalmatch: &str) -> bool {
        journalmatch
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .split(|w| *w == "+")
            .any(|set| {
                set.iter().all(|term| {
                    let Some((name, _)) = term.split_once('=') else {
                        return false;
                    };
                    set.iter().any(|t| {
                        t.split_once('=').is_some_and(|(n, v)| {
                            n == name
                                && self
                                    .fields
                                    .iter()
                                    .any(|(fn_, fv)| fn_ == n && fv == v.as_bytes())
                        })
                    })
                })
            })
    }
}

#[derive(Clone, Debug)]
enum State {
    /// A name, `=` or the end of a line.
    Name(Vec<u8>),
    /// The rest of a line.
    Text(String, Vec<u8>),
    /// Eight octets of length.
    Length(String, Vec<u8>),
    /// So many octets and a newline.
    Data(String, u64, Vec<u8>),
    /// The newline behind them.
    DataEnd(String, Vec<u8>),
}

/// Reads the stream piece by piece.
#[derive(Clone, Debug)]
pub struct Reader {
    state: State,
    entry: Entry,
    broken: u64,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            state: State::Name(Vec::new()),
            entry: Entry::default(),
            broken: 0,
        }
    }
}

impl Reader {
    /// Calls `each` for every whole entry.
    pub fn feed(&mut self, mut piece: &[u8], each: &mut dyn FnMut(&Entry)) {
        while !piece.is_empty() {
            match &mut self.state {
                State::Name(name) => {
                    let at = memchr::memchr2(b'=', b'\n', piece);
                    let part = piece.get(..at.unwrap_or(piece.len())).unwrap_or(&[]);
                    if name.len() + part.len() <= NAME_MAX {
                        name.extend(part);
                    } else {
                        // No field's name is so long: it is kept as one that nobody asks for.
                        name.truncate(NAME_MAX - 1);
                        name.push(b'?');
                        name.resize(NAME_MAX, b'?');
                    }
                    let Some(at) = at else { return };
                    let ends = piece.get(at) == Some(&b'\n');
                    piece = piece.get(at + 1..).unwrap_or(&[]);
                    let name = String::from_utf8_lossy(&std::mem::take(name)).into_owned();
                    self.state = match (ends, name.is_empty()) {
                        (false, _) => State::Text(name, Vec::new()),
                        (true, false) => State::Length(name, Vec::new()),
                        (true, true) => {
                            let entry = std::mem::take(&mut self.entry);
                            if !entry.fields.is_empty() {
                                each(&entry);
                            }
                            State::Name(Vec::new())
                        }
                    };
                }
                State::Text(name, value) => {
                    let at = memchr::memchr(b'\n', piece);
                    let part = piece.get(..at.unwrap_or(piece.len())).unwrap_or(&[]);
                    let room = (VALUE_MAX + 1).saturating_sub(value.len());
                    value.extend(part.get(..part.len().min(room)).unwrap_or(&[]));
                    let Some(at) = at else { return };
                    piece = piece.get(at + 1..).unwrap_or(&[]);
                    let (name, value) = (std::mem::take(name), std::mem::take(value));
                    self.keep(name, value);
                }
                State::Length(name, octets) => {
                    let need = 8 - octets.len();
                    let (part, rest) = piece.split_at(need.min(piece.len()));
                    octets.extend(part);
                    piece = rest;
                    if let Ok(eight) = <[u8; 8]>::try_from(octets.as_slice()) {
                        let length = u64::from_le_bytes(eight);
                        let name = std::mem::take(name);
                        self.state = match length {
                            0 => State::DataEnd(name, Vec::new()),
                            n => State::Data(name, n, Vec::new()),
                        };
                    }
                }
                State::Data(name, left, value) => {
                    let n = usize::try_from(*left)
                        .unwrap_or(usize::MAX)
                        .min(piece.len());
                    let (part, rest) = piece.split_at(n);
                    let room = (VALUE_MAX + 1).saturating_sub(value.len());
                    value.extend(part.get(..part.len().min(room)).unwrap_or(&[]));
                    *left -= n as u64;
                    piece = rest;
                    if *left == 0 {
                        self.state = State::DataEnd(std::mem::take(name), std::mem::take(value));
                    }
                }
                State::DataEnd(name, value) => {
                    let (name, value) = (std::mem::take(name), std::mem::take(value));
                    if piece.first() == Some(&b'\n') {
                        piece = piece.get(1..).unwrap_or(&[]);
                        self.keep(name, value);
                    } else {
                        // Out of step: begin anew at the next empty line.
                        self.broken += 1;
                        self.entry = Entry::default();
                        self.state = State::Text(String::new(), Vec::new());
                    }
                }
            }
        }
    }

    fn keep(&mut self, name: String, value: Vec<u8>) {
        self.state = State::Name(Vec::new());
        let size = self.entry.size + name.len() + value.len();
        // The journal has no other names; one that is empty would read as the end of the entry.
        let named = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(named) {
            return;
        }
        if value.len() > VALUE_MAX || self.entry.fields.len() >= FIELDS_MAX || size > ENTRY_MAX {
            return;
        }
        self.entry.size = size;
        self.entry.fields.push((name, value));
    }

    /// Times the stream was out of step.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &[u8] = b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1124013600500000\n_HOSTNAME=h\nSYSLOG_IDENTIFIER=sshd\n_PID=17\n_SYSTEMD_UNIT=ssh.service\n_COMM=sshd\nMESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\n\n\
        MESSAGE=plain = text\n\n\nX=\n\n";

    fn entries(pieces: &[&[u8]]) -> Vec<Entry> {
        let mut r = Reader::default();
        let mut all = Vec::new();
        for p in pieces {
            r.feed(p, &mut |e| all.push(e.clone()));
        }
        all
    }

    #[test]
    fn entries_are_read_wherever_the_stream_is_cut() {
        let all = entries(&[STREAM]);
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].line(), b"h sshd[17]: two lines");
        assert_eq!(all[0].time(), Some(1_124_013_600.5));
        assert_eq!(all[1].line(), b"localhost plain = text");
        for n in 0..=STREAM.len() {
            let (a, b) = STREAM.split_at(n);
            assert_eq!(entries(&[a, b]), all);
        }
    }

    #[test]
    fn matches() {
        let e = &entries(&[STREAM])[0];
        assert!(e.fits("_SYSTEMD_UNIT=ssh.service + _COMM=nobody"));
        assert!(e.fits("_SYSTEMD_UNIT=other + _COMM=sshd"));
        assert!(!e.fits("_SYSTEMD_UNIT=other _COMM=sshd"));
        assert!(e.fits("_COMM=other _COMM=sshd _PID=17"));
        assert!(!e.fits("nonsense"));
    }

    #[test]
    fn limits() {
        for (n, kept) in [
            (VALUE_MAX - 1, true),
            (VALUE_MAX, true),
            (VALUE_MAX + 1, false),
        ] {
            let text = format!("A=1\nMESSAGE={}\n\n", "x".repeat(n));
            assert_eq!(
                entries(&[text.as_bytes()])[0].get("MESSAGE").is_some(),
                kept,
                "{n}"
            );
        }
        let text = "F=1\n".repeat(FIELDS_MAX + 5) + "\n";
        assert_eq!(entries(&[text.as_bytes()])[0].fields.len(), FIELDS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn what_is_written_is_read(
            fields in prop::collection::vec(("[A-Z_]{1,20}", prop::collection::vec(any::<u8>(), 0..40)), 1..10),
        ) {
            let entry = Entry { size: fields.iter().map(|(n, v)| n.len() + v.len()).sum(), fields };
            let mut text = Vec::new();
            entry.encode(&mut text);
            prop_assert_eq!(entries(&[&text]), [entry]);
        }

        #[test]
        fn garbage_ends(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            for e in entries(&[&octets]) {
                prop_assert!(e.size <= ENTRY_MAX && !e.line().contains(&b'\n'));
            }
        }
    }
}
