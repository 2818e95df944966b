//! The sending side: what remote-send says to other hosts and sendmail to the local socket.
//!
//! A [`Client`] is one connection. The shell connects, makes a client, gives it a
//! [`Transaction`] with [`Client::begin`] (at once; it is kept until the greeting and EHLO are
//! done) and from then on
//!
//! * hands every received block to [`Client::input`] (after TLS: the clear text of it);
//! * after each call writes [`Output::bytes`] to the connection and then carries out
//!   [`Output::actions`] in order; both are drained by the shell;
//! * keeps a timer of [`Client::wait`]'s length, started again whenever bytes came or went, and
//!   calls [`Client::timeout`] when it fires;
//! * calls [`Client::closed`] when the connection ends or breaks.
//!
//! Every recipient of a transaction gets exactly one [`Outcome`], except where
//! [`Action::ReconnectClear`] asks for a fresh connection for those that have none yet.
//!
//! ```
//! use smtp::client::{Action, Client, Output, Settings, TlsUse, Transaction};
//! use smtp::types::{BodyKind, Mailbox, ReversePath};
//!
//! let mut out = Output::default();
//! let mut client = Client::new(Settings { hello: "me.example".into(), tls: TlsUse::Never });
//! let to = vec![Mailbox::parse("you@there.example").unwrap()];
//! let from = ReversePath::Null;
//! client.begin(Transaction { from, to, size: 6, body: BodyKind::SevenBit }, &mut out).unwrap();
//! client.input(b"220 there\r\n", &mut out);
//! client.input(b"250-there\r\n250 PIPELINING\r\n", &mut out);
//! client.input(b"250 ok\r\n250 ok\r\n354 go\r\n", &mut out);
//! assert!(out.bytes.ends_with(b"MAIL FROM:<>\r\nRCPT TO:<you@there.example>\r\nDATA\r\n"));
//! assert!(matches!(out.actions[..], [Action::SendBody]));
//! // ... the shell streams the content through codec::DotEncoder, then:
//! client.body_sent(&mut out);
//! client.input(b"250 2.0.0 queued\r\n", &mut out);
//! assert!(matches!(out.actions[1..], [Action::Outcome(_), Action::Idle]));
//! ```

mod offers;
mod outcome;
mod session;
#[cfg(test)]
mod tests;
mod wait;

pub use offers::Offers;
pub use outcome::{Outcome, Stage, WORDS_MAX};
pub use session::{Client, HELLO_DEFAULT};
pub use wait::Wait;

use crate::types::{BodyKind, Mailbox, ReversePath};

/// Most recipients that one transaction should carry (RFC 5321, 4.5.3.1.8 makes every server
/// take that many). More work, but may be refused by the server.
pub const RECIPIENTS_MAX: usize = 100;

/// Whether a connection is to be encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsUse {
    /// Don't ask for it.
    Never,
    /// Use it when offered; go on in clear when it is refused or fails.
    May,
    /// Nothing is sent in clear but EHLO and STARTTLS.
    Must,
    /// The connection already is encrypted (or is a local socket that needs none).
    Done,
}

/// What holds for a whole connection.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Our name for EHLO: a host name or address literal. A name that EHLO can't carry is
    /// replaced by [`HELLO_DEFAULT`].
    pub hello: Box<str>,
    /// Whether to use STARTTLS.
    pub tls: TlsUse,
}

/// One message to some recipients.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Envelope sender.
    pub from: ReversePath,
    /// Envelope recipients; outcomes name them by their place in here.
    pub to: Vec<Mailbox>,
    /// Octets of the content before dots are doubled; 0 when unknown.
    pub size: u64,
    /// Whether octets above 127 may occur. Announced where the server knows BODY; elsewhere
    /// the content is sent as it is.
    pub body: BodyKind,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Begin the TLS handshake as client; then call [`Client::tls_started`] or
    /// [`Client::tls_failed`].
    StartTls,
    /// Stream the content through [`crate::codec::DotEncoder`] and call
    /// [`Client::body_sent`] once its last octet, final dot included, was given to the
    /// connection; [`Client::body_failed`] when the content can't be read. Replies that come
    /// meanwhile go to [`Client::input`] as always.
    SendBody,
    /// What became of a recipient.
    Outcome(Outcome),
    /// Each recipient has its outcome and [`Client::begin`] may be called again, or
    /// [`Client::quit`].
    Idle,
    /// TLS failed and is not required: close, connect to the same address once more with
    /// [`TlsUse::Never`] and begin the same transaction for the recipients without outcome.
    ReconnectClear,
    /// Write what is still to be written, without waiting long, and close.
    Close,
}

/// What a call wants written and done: first the bytes, then the actions in order.
#[derive(Debug, Default)]
pub struct Output {
    /// For the connection. The shell takes away what it wrote.
    pub bytes: Vec<u8>,
    /// The shell drains this after each call.
    pub actions: Vec<Action>,
}
