//! Shells in memory that drive the cores with any bytes: for property tests and fuzz targets.
//!
//! Each function here survives every input; what it checks on the way it checks by panicking,
//! which is why it has no place in a daemon.

// A broken promise of a core is a panic here: it is what the trials look for.
#![allow(clippy::panic)]

use crate::client::{self, Client, TlsUse, Transaction};
use crate::codec::{COMMAND_LINE_MAX, DotDecoder, DotEncoder, DotStep, Missing, ReplyParser};
use crate::server::{
    Action, AuthOutcome, Context, Envelope, Event, Facts, Output, Policy, RecipientVerdict,
    Refused, Role, SenderVerdict, Session, Settings, SpoolError, Wait,
};
use crate::types::{BodyKind, ForwardPath, Mailbox, ReversePath};

/// Tables for trials: `*@here.example` are users unless they begin with `no`, others may be
/// reached after a login or from the local socket, senders that begin with `bad` are refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrialPolicy {
    /// Everybody may send everywhere.
    pub open: bool,
}

impl Policy for TrialPolicy {
    fn sender(&self, _facts: &Facts, from: &ReversePath) -> SenderVerdict {
        if from.as_str().starts_with("bad") {
            SenderVerdict::Refused
        } else {
            SenderVerdict::Accept
        }
    }

    fn recipient(&self, facts: &Facts, _from: &ReversePath, to: &ForwardPath) -> RecipientVerdict {
        match to {
            ForwardPath::Postmaster => RecipientVerdict::Accept,
            ForwardPath::Mailbox(m) if m.host() == "here.example" => match m.local_wire() {
                local if local.starts_with("no") => RecipientVerdict::UnknownUser,
                local if local.starts_with("later") => RecipientVerdict::Later,
                _ => RecipientVerdict::Accept,
            },
            ForwardPath::Mailbox(_) if self.open || facts.login.is_some() => {
                RecipientVerdict::Accept
            }
            ForwardPath::Mailbox(_) => RecipientVerdict::RelayDenied,
        }
    }
}

/// Which call of the trial shell's spool fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpoolFault {
    /// None.
    #[default]
    Never,
    /// Creating the file.
    Open(SpoolError),
    /// Writing to it.
    Write(SpoolError),
    /// Making it durable.
    Commit(SpoolError),
}

/// Everything that one trial session said and did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// All replies.
    pub replies: Vec<u8>,
    /// Each committed message with its envelope. Missing fields appear as `+date` and so on.
    pub messages: Vec<(Envelope, Vec<u8>)>,
    /// The session ended itself.
    pub closed: bool,
    /// How many queue files were begun and given up.
    pub aborted: usize,
    /// Each refusal.
    pub refused: Vec<Refused>,
}

/// A server session with a shell in memory around it.
#[derive(Debug)]
pub struct Trial {
    session: Session,
    settings: Settings,
    policy: TrialPolicy,
    fault: SpoolFault,
    held: Vec<u8>,
    spool: Option<(Envelope, Vec<u8>)>,
    out: Output,
    /// What happened so far.
    pub seen: Transcript,
}

impl Trial {
    /// A greeted session.
    #[must_use]
    pub fn new(role: Role) -> Self {
        let settings = Settings {
            hostname: "mx.here.example".into(),
            role,
            tls: true,
            max_message_size: 100_000,
            max_recipients: 10,
            max_errors: 10,
        };
        Self::with(settings, SpoolFault::Never)
    }

    /// A greeted session with settings and a fault of the caller's choice.
    #[must_use]
    pub fn with(settings: Settings, fault: SpoolFault) -> Self {
        let policy = TrialPolicy {
            open: settings.role == Role::Local,
        };
        let session = Session::new(settings.role == Role::Submissions);
        let mut trial = Self {
            session,
            settings,
            policy,
            fault,
            held: Vec::new(),
            spool: None,
            out: Output::default(),
            seen: Transcript::default(),
        };
        trial.session.start(
            &Context {
                settings: &trial.settings,
                policy: &trial.policy,
            },
            &mut trial.out,
        );
        trial.perform();
        trial
    }

    /// The session under trial.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Hands in bytes in pieces of at most `size`.
    pub fn feed(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size.max(1)) {
            self.held.extend_from_slice(piece);
            loop {
                let cx = Context {
                    settings: &self.settings,
                    policy: &self.policy,
                };
                let used = self.session.input(&cx, &self.held, &mut self.out);
                assert!(used <= self.held.len(), "used more than there was");
                self.perform_up_to(used);
                if self.held.is_empty() || used == 0 {
                    break;
                }
            }
            let waits = matches!(self.session.wait(), Wait::Host | Wait::Handshake);
            assert!(!waits, "the trial shell answers at once");
            assert!(self.held.len() < COMMAND_LINE_MAX, "kept too much");
        }
    }

    /// Hands in an event.
    pub fn on(&mut self, event: Event<'_>) {
        let cx = Context {
            settings: &self.settings,
            policy: &self.policy,
        };
        self.session.on(&cx, event, &mut self.out);
        self.perform();
    }

    fn perform(&mut self) {
        self.perform_up_to(0);
    }

    /// Carries out the actions, whose ranges are within the held bytes, and then drops the
    /// used ones.
    fn perform_up_to(&mut self, used: usize) {
        let mut failed = None;
        let mut waiting = None;
        for action in std::mem::take(&mut self.out.actions) {
            match action {
                Action::StartTls => waiting = Some(Event::TlsStarted),
                Action::Authenticate { response } => {
                    let good = response.expose() == b"\0user\0good";
                    let outcome = if good {
                        AuthOutcome::Granted("user".into())
                    } else {
                        AuthOutcome::Denied
                    };
                    waiting = Some(Event::Auth(outcome));
                }
                Action::OpenSpool(envelope) => {
                    assert!(!envelope.to.is_empty(), "no recipients");
                    if let SpoolFault::Open(error) = self.fault {
                        waiting = Some(Event::SpoolFailed(error));
                    } else {
                        assert!(self.spool.is_none(), "two files at once");
                        self.spool = Some((envelope, Vec::new()));
                        waiting = Some(Event::SpoolOpened);
                    }
                }
                Action::SpoolData(range) if failed.is_none() => {
                    let data = self.held.get(range).unwrap_or(&[]).to_vec();
                    failed = self.write(&data);
                }
                Action::SpoolText(text) if failed.is_none() => failed = self.write(text),
                Action::SpoolMissing(missing) if failed.is_none() => {
                    failed = self.write(&marks(missing))
                }
                Action::SpoolData(_) | Action::SpoolText(_) | Action::SpoolMissing(_) => {}
                Action::CommitSpool if failed.is_some() => {}
                Action::CommitSpool => match self.fault {
                    SpoolFault::Commit(error) => {
                        self.spool = None;
                        waiting = Some(Event::CommitFailed(error));
                    }
                    _ => {
                        self.seen.messages.extend(self.spool.take());
                        waiting = Some(Event::Committed("id"));
                    }
                },
                Action::AbortSpool => {
                    if failed.is_none() {
                        assert!(self.spool.take().is_some(), "nothing to give up");
                    }
                    self.seen.aborted += 1;
                }
                Action::Close => self.seen.closed = true,
                Action::Log(refused) => self.seen.refused.push(refused),
            }
        }
        self.seen.replies.append(&mut self.out.bytes);
        self.held.drain(..used);
        if let Some(error) = failed {
            self.spool = None;
            self.on(Event::SpoolFailed(error));
        } else if let Some(event) = waiting {
            self.on(event);
        }
    }

    fn write(&mut self, data: &[u8]) -> Option<SpoolError> {
        if let SpoolFault::Write(error) = self.fault {
            return Some(error);
        }
        match &mut self.spool {
            Some((_, content)) => content.extend_from_slice(data),
            None => panic!("data without a file"),
        }
        None
    }
}

fn marks(missing: Missing) -> Vec<u8> {
    let mut out = Vec::new();
    for (is, name) in [
        (missing.date, "+date\r\n"),
        (missing.message_id, "+id\r\n"),
        (missing.from, "+from\r\n"),
    ] {
        if is {
            out.extend_from_slice(name.as_bytes());
        }
    }
    out
}

/// Bytes that bring a session of some role into each of its states.
const ENTRIES: &[(Role, &[u8])] = &[
    (Role::Mx, b""),
    (Role::Mx, b"EHLO a\r\n"),
    (Role::Mx, b"EHLO a\r\nMAIL FROM:<a@b>\r\n"),
    (
        Role::Mx,
        b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@here.example>\r\n",
    ),
    (
        Role::Mx,
        b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@here.example>\r\nDATA\r\n",
    ),
    (Role::Submission, b"EHLO a\r\n"),
    (Role::Submissions, b"EHLO a\r\nAUTH PLAIN\r\n"),
    (
        Role::Submissions,
        b"EHLO a\r\nAUTH PLAIN AHVzZXIAZ29vZA==\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\n",
    ),
    (
        Role::Local,
        b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nDATA\r\n",
    ),
];

/// Drives a server session. The first octet chooses a state, the second the size of the
/// pieces, the rest goes in.
pub fn server_session(data: &[u8]) {
    let [entry, size, rest @ ..] = data else {
        return;
    };
    let Some((role, prefix)) = ENTRIES.get(usize::from(*entry) % ENTRIES.len()) else {
        return;
    };
    let mut trial = Trial::new(*role);
    trial.feed(prefix, 4096);
    trial.feed(rest, 1 + usize::from(*size));
    trial.on(Event::Closed);
    assert!(trial.spool.is_none(), "a file left open");
    // Every reply is one.
    let mut replies = &*trial.seen.replies;
    let mut parser = ReplyParser::new();
    while let Some(_reply) = parser
        .next(&mut replies)
        .unwrap_or_else(|e| panic!("bad reply: {e}"))
    {}
    assert!(!parser.is_inside());
}

/// Drives a client connection with whatever a server may say. The first octet chooses the use
/// of TLS, the second the size of the pieces.
pub fn client_session(data: &[u8]) {
    let [mode, size, rest @ ..] = data else {
        return;
    };
    let tls = match mode % 3 {
        0 => TlsUse::Never,
        1 => TlsUse::May,
        _ => TlsUse::Must,
    };
    let mut client = Client::new(client::Settings {
        hello: "a.example".into(),
        tls,
    });
    let to: Vec<Mailbox> = ["a@b", "c@d", "e@f"]
        .iter()
        .filter_map(|a| Mailbox::parse(a).ok())
        .collect();
    let tx = Transaction {
        from: ReversePath::Null,
        to,
        size: 1_000,
        body: BodyKind::EightBitMime,
    };
    let mut out = client::Output::default();
    let mut begun = usize::from(client.begin(tx.clone(), &mut out).is_ok());
    let (mut outcomes, mut retry) = (0, false);
    let mut input = rest.chunks(1 + usize::from(*size));
    loop {
        for action in std::mem::take(&mut out.actions) {
            match action {
                client::Action::StartTls if mode & 64 == 0 => client.tls_started(&mut out),
                client::Action::StartTls => client.tls_failed("trial", &mut out),
                client::Action::SendBody if mode & 128 == 0 => client.body_sent(&mut out),
                client::Action::SendBody => client.body_failed(&mut out),
                client::Action::Outcome(_) => outcomes += 1,
                client::Action::Idle if begun < 5 => {
                    begun += usize::from(client.begin(tx.clone(), &mut out).is_ok());
                }
                client::Action::Idle => client.quit(&mut out),
                client::Action::ReconnectClear => retry = true,
                client::Action::Close => assert!(client.is_closed()),
            }
        }
        if out.actions.is_empty() {
            match input.next() {
                Some(piece) => client.input(piece, &mut out),
                None if client.is_closed() => break,
                None => client.closed("", &mut out),
            }
        }
    }
    if !retry {
        assert_eq!(
            outcomes,
            begun * tx.to.len(),
            "each recipient has one outcome"
        );
    }
}

/// Feeds the reply parser; the first octet is the size of the pieces.
pub fn replies(data: &[u8]) {
    let [size, rest @ ..] = data else { return };
    let mut parser = ReplyParser::new();
    for mut piece in rest.chunks(1 + usize::from(*size)) {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(reply)) => {
                    assert!(reply.words(512).len() <= 512);
                    let mut wire = Vec::new();
                    reply.encode(&mut wire);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// Decodes message data and encodes it again; the first octet is the size of the pieces.
pub fn dots(data: &[u8]) {
    let [size, rest @ ..] = data else { return };
    let mut decoder = DotDecoder::new();
    let mut content = Vec::new();
    'pieces: for mut piece in rest.chunks(1 + usize::from(*size)) {
        while !piece.is_empty() {
            let (range, used, end) = match decoder.next(piece) {
                DotStep::Content { content, used } => (content, used, false),
                DotStep::End { content, used } => (content, used, true),
            };
            assert!(used > 0 && range.end <= used);
            content.extend_from_slice(piece.get(range).unwrap_or(&[]));
            if end {
                break 'pieces;
            }
            piece = piece.get(used..).unwrap_or(&[]);
        }
    }
    let mut wire = Vec::new();
    let mut encoder = DotEncoder::new();
    for block in content.chunks(1 + usize::from(*size)) {
        encoder.encode(block, &mut wire);
    }
    encoder.finish(&mut wire);
    let mut decoder = DotDecoder::new();
    let mut rest = &*wire;
    while let DotStep::Content { used, .. } = decoder.next(rest) {
        rest = rest.get(used..).unwrap_or(&[]);
        assert!(!rest.is_empty(), "encoded data has no end");
    }
    assert!(
        decoder.defect().is_none() || content.contains(&0),
        "encoded data has a bare CR or LF"
    );
}

/// Parses addresses and paths; what is accepted reads back as itself.
pub fn addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(mailbox) = Mailbox::parse(text) {
        assert_eq!(Mailbox::parse(mailbox.as_str()).as_ref(), Ok(&mailbox));
    }
    if let Ok((path, _)) = ReversePath::take(text) {
        assert_eq!(ReversePath::parse_bare(path.as_str()).as_ref(), Ok(&path));
        assert_eq!(ReversePath::take(&path.to_string()), Ok((path, "")));
    }
    if let Ok((path, _)) = ForwardPath::take(text) {
        assert_eq!(ForwardPath::take(&path.to_string()), Ok((path, "")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pieces of dialogue, so that random input gets further than the first error.
    fn words() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "EHLO a\r\n",
            "MAIL FROM:<a@b>\r\n",
            "RCPT TO:<u@here.example>\r\n",
            "DATA\r\n",
            ".\r\n",
            "\r\n",
            "\n",
            "\r",
            ".",
            "x: y\r\n",
            "text",
            "QUIT\r\n",
            "RSET\r\n",
            "STARTTLS\r\n",
            "AUTH PLAIN AHVzZXIAZ29vZA==\r\n",
            "AUTH PLAIN\r\n",
            "AHVzZXIAZ29vZA==\r\n",
            "*\r\n",
            "\0",
            "250 ok\r\n",
            "250-x\r\n",
            "354 go\r\n",
            "550 no\r\n",
            "421 bye\r\n",
            "220 hi\r\n",
            "250-PIPELINING\r\n",
            "250 STARTTLS\r\n",
            "452 later\r\n",
        ]);
        (any::<[u8; 2]>(), prop::collection::vec(word, 0..40))
            .prop_map(|(head, words)| [&head[..], words.concat().as_bytes()].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn server_survives(data in words()) { server_session(&data); }
        #[test]
        fn client_survives(data in words()) { client_session(&data); }
        #[test]
        fn replies_survive(data in words()) { replies(&data); }
        #[test]
        fn dots_survive(data in words()) { dots(&data); }
        #[test]
        fn addresses_survive(data in "[<>@a-z\"\\\\ \\[\\]:.,+0-9]{0,40}") { addresses(data.as_bytes()); }
        #[test]
        fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
            server_session(&data);
            client_session(&data);
            replies(&data);
            dots(&data);
            addresses(&data);
        }
    }
}
