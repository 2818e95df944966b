//! The receiving side: the session that smtpd carries out.
//!
//! A [`Session`] is one connection in one [`Role`]. The shell
//!
//! * calls [`Session::start`] when the connection is there (behind the handshake, where TLS
//!   comes first);
//! * hands what it has received and not yet got rid of to [`Session::input`], which says how
//!   many octets it used; the rest is kept by the shell and shown again together with what
//!   comes later, or after the next [`Session::on`];
//! * after each call writes [`Output::bytes`] and carries out [`Output::actions`] in order
//!   (bytes first); [`Action::SpoolData`] names a range of the input just shown, so message
//!   text is never copied in here;
//! * keeps a timer for [`Session::wait`].
//!
//! While the session waits for the shell (TLS, password check, spool, commit) it uses no input:
//! the peer's window closes and nothing piles up.

mod answers;
mod body;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

pub use answers::Answer;
pub use body::{DATA_DISCARD_MAX, SpoolError};
pub use session::{
    AUTH_FAILURES_MAX, AuthOutcome, EXCESS_RECIPIENTS_MAX, Event, Facts, JUNK_MAX,
    REFUSED_RECIPIENTS_MAX, Session, Wait,
};

use crate::codec::Missing;
use crate::types::{BodyKind, ForwardPath, ReversePath};

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Mail from other hosts, port 25. STARTTLS is offered, AUTH is not.
    Mx,
    /// Mail from users, port 587: STARTTLS, then AUTH, then MAIL.
    Submission,
    /// Mail from users, port 465: TLS from the first octet, AUTH before MAIL.
    Submissions,
    /// The Unix socket: the peer's uid says who it is, there is no TLS and no AUTH.
    Local,
}

impl Role {
    /// True where users hand in mail: what is missing in the header is added.
    #[must_use]
    pub const fn is_submission(self) -> bool {
        !matches!(self, Self::Mx)
    }

    /// True where a login is needed before MAIL.
    #[must_use]
    pub const fn needs_login(self) -> bool {
        matches!(self, Self::Submission | Self::Submissions)
    }
}

/// What holds for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name, in the greeting and the reply to EHLO.
    pub hostname: Box<str>,
    /// What the listener is for.
    pub role: Role,
    /// A certificate is there: STARTTLS can be offered.
    pub tls: bool,
    /// Largest message in octets, counted after the dots are removed.
    pub max_message_size: u64,
    /// Most recipients of one message. RFC 5321, 4.5.3.1.8 wants at least 100.
    pub max_recipients: usize,
    /// Most errors of a session; the next one ends it.
    pub max_errors: u32,
}

/// What the tables say of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderVerdict {
    /// May send.
    Accept,
    /// 550 5.7.1.
    Refused,
    /// 451 4.3.0: the tables can't be asked now.
    Later,
}

/// What the tables say of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientVerdict {
    /// Mail for it is taken.
    Accept,
    /// 550 5.1.1: one of our domains has no such user.
    UnknownUser,
    /// 550 5.7.1: not ours, and this peer may not send elsewhere through us.
    RelayDenied,
    /// 451 4.3.0: the tables can't be asked now.
    Later,
}

/// Decides who may send what to whom, from tables in memory: it must not wait for anything.
pub trait Policy {
    /// Asked at MAIL.
    fn sender(&self, facts: &Facts, from: &ReversePath) -> SenderVerdict;
    /// Asked at each RCPT.
    fn recipient(&self, facts: &Facts, from: &ReversePath, to: &ForwardPath) -> RecipientVerdict;
}

/// Settings and policy, given with each call because the session owns neither.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// See [`Settings`].
    pub settings: &'a Settings,
    /// See [`Policy`].
    pub policy: &'a dyn Policy,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("settings", self.settings)
            .finish_non_exhaustive()
    }
}

/// From whom and to whom; never without a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Envelope sender.
    pub from: ReversePath,
    /// Envelope recipients in the order given, at most [`Settings::max_recipients`].
    pub to: Vec<ForwardPath>,
    /// The size that the client announced.
    pub size: Option<u64>,
    /// What the client said about octets above 127.
    pub body: BodyKind,
}

/// Octets that must not show up in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub(crate) const fn new(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// The octets themselves.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// A refusal, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which rule refused: a fixed name.
    pub rule: &'static str,
    /// What the peer was told.
    pub answer: Answer,
    /// The address or name concerned, or empty. Foreign text: escape before logging.
    pub about: Box<str>,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write everything, then begin the handshake as server; then [`Event::TlsStarted`].
    /// When it fails: close.
    StartTls,
    /// Check a login; then [`Event::Auth`]. `response` is the decoded message of SASL PLAIN
    /// (RFC 4616).
    Authenticate {
        /// The client's message.
        response: Secret,
    },
    /// Create a queue file; then [`Event::SpoolOpened`] or [`Event::SpoolFailed`].
    OpenSpool(Envelope),
    /// Append this range of the input to the queue file. When it fails: drop the file, leave
    /// out the spool actions that follow, [`Event::SpoolFailed`].
    SpoolData(Range<usize>),
    /// Append these octets.
    SpoolText(&'static [u8]),
    /// Append the header fields that are missing, each ended by CR LF.
    SpoolMissing(Missing),
    /// Make the message durable; then [`Event::Committed`] or [`Event::CommitFailed`].
    CommitSpool,
    /// Drop the queue file.
    AbortSpool,
    /// Write what there is, without waiting long, and close.
    Close,
    /// Put it into the log.
    Log(Refused),
}

/// What a call wants written and done: first the bytes, then the actions in order.
#[derive(Debug, Default)]
pub struct Output {
    /// For the peer.
    pub bytes: Vec<u8>,
    /// For the shell.
    pub actions: Vec<Action>,
}
