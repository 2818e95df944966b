//! The lines that we put in front of a message, and those that a submission lacks.

use daemon::net::Peer;
use daemon::tls::TlsFacts;
use message::build::{Received, TlsUsed, With};
use message::date::Date;
use smtp::codec::Missing;
use smtp::server::{Facts, Role};
use smtp::types::ReversePath;

/// What a trace field says beyond the session's own facts.
pub struct Trace<'a> {
    /// The session.
    pub facts: &'a Facts,
    /// Who is there.
    pub peer: Peer,
    /// By which door.
    pub role: Role,
    /// TLS, if it is on.
    pub tls: Option<&'a TlsFacts>,
    /// Our name.
    pub hostname: &'a str,
    /// The queue id.
    pub id: &'a str,
    /// The recipient when there is only one.
    pub recipient: Option<&'a str>,
    /// Now.
    pub date: Date,
}

/// The `with` clause (RFC 3848).
pub fn with(role: Role, facts: &Facts) -> With {
    match &facts.hello {
        _ if role == Role::Local => With::Local,
        Some(hello) if hello.is_extended() => With::Esmtp {
            tls: facts.encrypted,
            auth: facts.login.is_some(),
            utf8: false,
        },
        _ => With::Smtp,
    }
}

impl Trace<'_> {
    /// Appends the Received field (RFC 5321, 4.4).
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let (client, user) = match self.peer {
            Peer::Tcp(address) => (Some(address.ip()), None),
            Peer::Unix(who) => (None, Some(format!("uid {}", who.uid))),
        };
        Received {
            helo: self.facts.hello.as_ref().map_or("", |h| h.name()),
            reverse_name: None,
            client,
            local_user: user.as_deref(),
            by: self.hostname,
            with: with(self.role, self.facts),
            id: self.id,
            tls: self.tls.map(|t| TlsUsed {
                version: t.protocol,
                cipher: &t.cipher,
            }),
            recipient: self.recipient,
            date: self.date,
        }
        .write_to(out);
    }
}

/// Appends the fields that a submission lacks (RFC 6409, 8.2, 8.3, 8.5). A null sender gives no
/// From: then there is none to give.
pub fn missing(
    missing: Missing,
    from: &ReversePath,
    hostname: &str,
    id: &str,
    date: Date,
    out: &mut Vec<u8>,
) {
    if missing.date {
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(&date.to_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if missing.message_id {
        for part in ["Message-ID: <", id, "@", hostname, ">\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    if let (true, ReversePath::Mailbox(from)) = (missing.from, from) {
        // A checked address holds no CR, LF or control character.
        for part in ["From: <", from.as_str(), ">\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemon::net::Credentials;
    use smtp::types::Hello;

    fn field(peer: Peer, role: Role, facts: &Facts, tls: Option<&TlsFacts>) -> String {
        let mut out = Vec::new();
        let date = Date::new(1_795_331_550, 540);
        let trace = Trace {
            facts,
            peer,
            role,
            tls,
            hostname: "mx.here.example",
            id: "ID",
            recipient: Some("u@here.example"),
            date,
        };
        trace.write_to(&mut out);
        String::from_utf8(out).unwrap().replace("\r\n\t", " ")
    }

    #[test]
    fn received() {
        let hello = |text| Some(Hello::parse(text, true).unwrap());
        let facts = Facts {
            hello: hello("a.example"),
            login: Some("u".into()),
            encrypted: true,
        };
        let tls = TlsFacts {
            protocol: "TLSv1.3",
            cipher: "TLS_X".into(),
            server_name: None,
        };
        let peer = Peer::Tcp("192.0.2.1:5".parse().unwrap());
        let line = field(peer, Role::Submission, &facts, Some(&tls));
        assert_eq!(
            line,
            "Received: from a.example ([192.0.2.1]) by mx.here.example with ESMTPSA id ID for <u@here.example> \
             tls TLS_X (TLSv1.3); Sun, 22 Nov 2026 16:12:30 +0900\r\n"
        );
        let facts = Facts {
            hello: hello("localhost"),
            ..Facts::default()
        };
        let local = Peer::Unix(Credentials {
            uid: 1000,
            gid: 1000,
            pid: 1,
        });
        assert!(
            field(local, Role::Local, &facts, None)
                .starts_with("Received: (uid 1000) by mx.here.example with local id ID")
        );
    }

    #[test]
    fn missing_fields() {
        let run = |m, from: &str| {
            let mut out = Vec::new();
            missing(
                m,
                &ReversePath::parse_bare(from).unwrap(),
                "h.example",
                "ID",
                Date::utc(0),
                &mut out,
            );
            String::from_utf8(out).unwrap()
        };
        let all = Missing {
            date: true,
            message_id: true,
            from: true,
        };
        assert_eq!(
            run(all, "a@b"),
            "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <ID@h.example>\r\nFrom: <a@b>\r\n"
        );
        assert_eq!(
            run(
                Missing {
                    date: false,
                    message_id: false,
                    from: true
                },
                ""
            ),
            ""
        );
    }
}
