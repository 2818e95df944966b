//! What the log and banwatch are told.

use daemon::log;
use daemon::net::Peer;
use events::{Event, Kind, Reporter, Service};
use smtp::server::{Refused, Role};

use crate::house::role_name;

/// Who a session is, in the log and in events.
#[derive(Clone, Debug)]
pub struct Name {
    /// The session's id: `sid=`.
    pub sid: String,
    /// Joins the session's events.
    pub number: u32,
    /// Who is there.
    pub peer: Peer,
    /// By which door.
    pub role: Role,
}

impl Name {
    /// Begins a line of this session.
    pub fn line(&self, line: log::Line) -> log::Line {
        let line = line.kv("sid", &self.sid);
        match self.peer {
            Peer::Tcp(address) => line.val("client", address.ip()),
            Peer::Unix(who) => line.val("uid", who.uid),
        }
    }

    /// The peer has come.
    pub fn connected(&self, events: &mut Reporter) {
        self.line(log::debug("connect"))
            .kv("role", role_name(self.role))
            .send();
        self.event(Kind::Connect, 1, events);
    }

    /// Something was refused.
    pub fn refused(&self, refused: &Refused, count: u16, events: &mut Reporter) {
        let line = self
            .line(log::info("refused"))
            .kv("rule", refused.rule)
            .kv("reply", refused.answer.text());
        let line = if refused.about.is_empty() {
            line
        } else {
            line.kv("about", refused.about.as_bytes())
        };
        line.send();
        let kind = match refused.rule {
            "unknown-user" => Kind::RcptUnknown,
            "relay" => Kind::RelayDenied,
            "timeout" => Kind::Slow,
            "syntax" | "sequence" | "errors" | "line-ends" | "line-length"
            | "starttls-injection" | "junk" => Kind::Syntax,
            // Failed logins are reported by authd, which knows more about them.
            _ => return,
        };
        self.event(kind, count, events);
    }

    /// Tells banwatch; the local socket has no address to ban.
    pub fn event(&self, kind: Kind, count: u16, events: &mut Reporter) {
        let Peer::Tcp(address) = self.peer else {
            return;
        };
        let service = if self.role == Role::Mx {
            Service::Mx
        } else {
            Service::Submission
        };
        events.report(&Event {
            service,
            kind,
            address: address.ip(),
            port: address.port(),
            account: None,
            secret: None,
            session: self.number,
            count,
        });
    }
}
