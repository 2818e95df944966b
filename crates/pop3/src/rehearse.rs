//! Whole dialogues over a mailbox in memory, for the fuzz targets and the property tests.
//!
//! Not part of the interface: programs drive the machines themselves.

use crate::codec::body::BodyEncoder;
use crate::session::End;
use crate::types::{Messages, Uid};
use crate::{Login, LoginOptions, LoginWant, Refusal, Session, SessionWant, Tls};

/// A mailbox in memory; message `n` has the unique-id `un`.
#[derive(Debug, Clone)]
pub struct Shelf {
    messages: Vec<(String, Vec<u8>)>,
}

impl Shelf {
    /// A shelf with these stored messages.
    #[must_use]
    pub fn new<T: AsRef<[u8]>>(stored: &[T]) -> Self {
        let messages = stored
            .iter()
            .enumerate()
            .map(|(n, text)| (format!("u{n}"), text.as_ref().to_vec()))
            .collect();
        Self { messages }
    }

    fn at(&self, index: u32) -> Option<&(String, Vec<u8>)> {
        usize::try_from(index)
            .ok()
            .and_then(|at| self.messages.get(at))
    }
}

/// Octets that RETR sends of a stored message, doubled dots and dot line left out.
#[must_use]
pub fn wire_size(stored: &[u8]) -> u64 {
    let mut size = 0u64;
    let mut before = None;
    for octet in stored {
        size += if *octet == b'\n' && before != Some(b'\r') {
            2
        } else {
            1
        };
        before = Some(*octet);
    }
    match before {
        None | Some(b'\n') => size,
        Some(_) => size + 2,
    }
}

impl Messages for Shelf {
    fn count(&self) -> u32 {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX)
    }

    fn size(&self, index: u32) -> u64 {
        self.at(index).map_or(0, |(_, text)| wire_size(text))
    }

    fn uid(&self, index: u32) -> Uid<'_> {
        self.at(index)
            .and_then(|(uid, _)| Uid::new(uid))
            .unwrap_or(Uid::UNKNOWN)
    }
}

/// What a dialogue came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// All that was sent.
    pub sent: Vec<u8>,
    /// The indexes that were removed.
    pub deleted: Vec<u32>,
    /// Why it ended; `None` when it still waits for input.
    pub end: Option<End>,
}

/// Plays one client against a session, each part arriving as one read; messages are read in
/// blocks of `block` octets (at least 1).
pub fn session(shelf: &Shelf, parts: &[&[u8]], block: usize) -> Outcome {
    let mut sent = Vec::new();
    let mut out = Vec::new();
    let mut deleted = Vec::new();
    let mut session = Session::new(shelf.clone(), &mut out);
    let mut open: &[u8] = &[];
    let mut parts = parts.iter();
    let mut input: &[u8] = &[];
    loop {
        sent.append(&mut out);
        match session.want() {
            SessionWant::Input => {
                if input.is_empty() {
                    match parts.next() {
                        Some(part) => input = part,
                        None => {
                            return Outcome {
                                sent,
                                deleted,
                                end: None,
                            };
                        }
                    }
                }
                let used = session.input(input, &mut out);
                input = input.get(used..).unwrap_or_default();
            }
            SessionWant::Drain => session.drained(&mut out),
            SessionWant::Open(index) => match shelf.at(index) {
                Some((_, text)) => {
                    open = text;
                    session.opened(&mut out);
                }
                None => session.missing(&mut out),
            },
            SessionWant::Block if open.is_empty() => session.end(&mut out),
            SessionWant::Block => {
                let (head, tail) = open.split_at(block.clamp(1, open.len()));
                session.block(head, &mut out);
                open = tail;
            }
            SessionWant::Update => {
                deleted = session.deletions().collect();
                session.updated(
                    u32::try_from(deleted.len()).unwrap_or(u32::MAX),
                    0,
                    &mut out,
                );
            }
            SessionWant::Close(end) => {
                return Outcome {
                    sent,
                    deleted,
                    end: Some(end),
                };
            }
        }
    }
}

/// Plays one client against the login machine. The password `right` is right, `later` can't
/// be checked, any other is wrong. Returns the dialogue and the octets that were not used.
pub fn login(options: LoginOptions, parts: &[&[u8]]) -> (Outcome, Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut login = Login::new(options);
    login.greet(&mut out);
    let mut parts = parts.iter();
    let mut input: &[u8] = &[];
    loop {
        match login.want() {
            LoginWant::Input => {
                if input.is_empty() {
                    match parts.next() {
                        Some(part) => input = part,
                        None => break,
                    }
                }
                let used = login.input(input, &mut out);
                input = input.get(used..).unwrap_or_default();
                if out.len() >= crate::limits::OUTPUT_HIGH {
                    break;
                }
            }
            LoginWant::StartTls => {
                out.extend_from_slice(b"<TLS>");
                login.tls_started();
            }
            LoginWant::Authenticate { password, .. } => match password.expose() {
                b"right" => login.accepted(),
                b"later" => login.refused(Refusal::Temporary, &mut out),
                _ => login.refused(Refusal::Credentials, &mut out),
            },
            LoginWant::HandOver => {
                let mut left = input.to_vec();
                parts.for_each(|part| left.extend_from_slice(part));
                return (
                    Outcome {
                        sent: out,
                        deleted: Vec::new(),
                        end: None,
                    },
                    left,
                    true,
                );
            }
            LoginWant::Close(end) => {
                return (
                    Outcome {
                        sent: out,
                        deleted: Vec::new(),
                        end: Some(end),
                    },
                    Vec::new(),
                    false,
                );
            }
        }
    }
    (
        Outcome {
            sent: out,
            deleted: Vec::new(),
            end: None,
        },
        Vec::new(),
        false,
    )
}

/// Everything the fuzz target `pop3_login` checks of one input: the first octet chooses the
/// state of TLS, the rest is what the client sends, whole and cut in two.
pub fn fuzz_login(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    let tls = match choice % 3 {
        0 => Tls::Unavailable,
        1 => Tls::Offered,
        _ => Tls::On,
    };
    let options = LoginOptions {
        tls,
        clear_passwords: choice & 4 != 0,
    };
    let whole = login(options, &[bytes]);
    no_control_octets(&whole.0.sent);
    // STLS is the one place where cutting may change something: that is its purpose.
    if tls != Tls::Offered {
        let (a, b) = bytes.split_at(bytes.len() / 2);
        assert_eq!(login(options, &[a, b]), whole);
    }
}

/// Everything the fuzz target `pop3_session` checks of one input: up to the first 0xFF a
/// stored message, behind it what the client sends.
pub fn fuzz_session(data: &[u8]) {
    let cut = memchr::memchr(0xff, data).unwrap_or(data.len() / 2);
    let (stored, bytes) = data.split_at(cut);
    let shelf = Shelf::new(&[stored, b"A: b\n\n.c\n"]);
    let whole = session(&shelf, &[bytes], usize::MAX);
    let (a, b) = bytes.split_at(bytes.len() / 2);
    assert_eq!(session(&shelf, &[a, b], 7), whole);
    if whole.end != Some(End::Quit) {
        assert!(whole.deleted.is_empty());
    }
}

/// Everything the fuzz target `pop3_body` checks of one stored message: the first octet chooses
/// RETR or how many lines of TOP, and where the message is cut.
pub fn fuzz_body(data: &[u8]) {
    let Some((choice, stored)) = data.split_first() else {
        return;
    };
    let make = || match choice {
        0..128 => BodyEncoder::whole(),
        lines => BodyEncoder::top(u64::from(lines - 128)),
    };
    let encode = |parts: &[&[u8]]| {
        let (mut encoder, mut out) = (make(), Vec::new());
        for part in parts {
            if !encoder.push(part, &mut out) {
                break;
            }
        }
        encoder.finish(&mut out);
        out
    };
    let whole = encode(&[stored]);
    let (a, b) = stored.split_at(stored.len() * usize::from(*choice) / 256);
    assert_eq!(encode(&[a, b]), whole);
    // Only the last line is a single dot, and nothing comes behind it.
    assert!(whole == b".\r\n" || whole.ends_with(b"\r\n.\r\n"));
    let end = memchr::memmem::find(&whole, b"\r\n.\r\n").map_or(0, |at| at + 2);
    assert_eq!(end, whole.len() - 3);
    if *choice < 128 {
        let stuffed = u64::from(whole.starts_with(b".."))
            + u64::try_from(memchr::memmem::find_iter(&whole, b"\r\n..").count()).unwrap_or(0);
        let sent = u64::try_from(whole.len()).unwrap_or(0);
        assert_eq!(sent - 3 - stuffed, wire_size(stored));
    }
}

fn no_control_octets(sent: &[u8]) {
    assert!(
        sent.iter()
            .all(|b| !b.is_ascii_control() || matches!(b, b'\r' | b'\n'))
    );
}
