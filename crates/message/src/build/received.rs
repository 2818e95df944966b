//! Trace fields: Received and Return-Path (RFC 5321 4.4).

use std::net::IpAddr;

use super::field::cleaned;
use super::{Field, FieldName};
use crate::address::{Address, Domain};
use crate::date::Date;

/// How a message came in: the protocol names registered for the `with` clause (RFC 3848, 6531).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum With {
    /// HELO.
    Smtp,
    /// EHLO; the flags say whether under TLS, after AUTH, with SMTPUTF8.
    Esmtp {
        /// The session was encrypted when the message came.
        tls: bool,
        /// The client had authenticated itself.
        auth: bool,
        /// The SMTPUTF8 parameter was given.
        utf8: bool,
    },
    /// LMTP without further distinction.
    Lmtp,
    /// Handed in by a program of this host.
    Local,
}

impl With {
    /// The word after `with`.
    pub const fn as_str(self) -> &'static str {
        match self {
            With::Smtp => "SMTP",
            With::Lmtp => "LMTP",
            With::Local => "local",
            With::Esmtp { tls, auth, utf8 } => match (utf8, tls, auth) {
                (false, false, false) => "ESMTP",
                (false, false, true) => "ESMTPA",
                (false, true, false) => "ESMTPS",
                (false, true, true) => "ESMTPSA",
                (true, false, false) => "UTF8SMTP",
                (true, false, true) => "UTF8SMTPA",
                (true, true, false) => "UTF8SMTPS",
                (true, true, true) => "UTF8SMTPSA",
            },
        }
    }
}

/// The TLS parameters of the session, for the `tls` clause (RFC 8314 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsUsed<'a> {
    /// Protocol version, such as `TLS1.3`.
    pub version: &'a str,
    /// The registered name of the cipher suite.
    pub cipher: &'a str,
}

/// Everything a Received field says. All texts may be foreign: they are made harmless on writing.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The argument of HELO or EHLO; empty when the message came from a local program.
    pub helo: &'a str,
    /// The name that DNS gives for the client, checked both ways; `None` when there is none.
    pub reverse_name: Option<&'a str>,
    /// The client's address; `None` for a local program.
    pub client: Option<IpAddr>,
    /// Who the local program runs as, such as `uid 1000`; only shown when `client` is `None`.
    pub local_user: Option<&'a str>,
    /// Our own host name.
    pub by: &'a str,
    /// The protocol.
    pub with: With,
    /// The queue id.
    pub id: &'a str,
    /// TLS parameters, if any.
    pub tls: Option<TlsUsed<'a>>,
    /// The recipient, only to be given when there is exactly one (RFC 5321 7.2).
    pub recipient: Option<&'a str>,
    /// When the message came.
    pub date: Date,
}

impl Received<'_> {
    /// Appends the whole field, CRLF included.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut field = Field::begin(out, FieldName::RECEIVED);
        self.write_from(&mut field);
        if Domain::check(self.by).is_ok() {
            field.words("by").words(self.by);
        } else {
            field.words("by unknown").comment(self.by);
        }
        field.words("with").words(self.with.as_str());
        if !self.id.is_empty() {
            field.words("id").words(self.id);
        }
        if let Some(recipient) = self.recipient {
            field.fold();
            match Address::new(recipient) {
                Ok(address) => field.words("for").address(&address, true),
                Err(_) => {
                    field.comment(recipient);
                }
            }
        }
        if let Some(tls) = self.tls {
            field.fold();
            field.words("tls").words(if is_token(tls.cipher) {
                tls.cipher
            } else {
                "unknown"
            });
            field.comment(tls.version);
        }
        field.glue(";");
        field.fold();
        let date = self.date.to_bytes();
        field.atomic(std::str::from_utf8(&date).unwrap_or_default());
    }

    /// `from HELO (NAME [IP])`, then a new line.
    ///
    /// A HELO argument that is no domain would make the field unreadable; it goes into a comment.
    fn write_from(&self, field: &mut Field<'_>) {
        let Some(ip) = self.client else {
            if let Some(user) = self.local_user {
                // A `from` clause needs a domain; a local program has none to show.
                field.comment(user);
                field.fold();
            }
            return;
        };
        let literal = Domain::literal(ip);
        let info = match self.reverse_name {
            Some(name) if Domain::check(name).is_ok() => format!("({name} {literal})"),
            _ => format!("({literal})"),
        };
        field.words("from");
        if Domain::check(self.helo).is_ok() {
            field.words(self.helo).words(&info);
        } else {
            field.words(literal.as_str()).words(&info);
            if !self.helo.is_empty() {
                field.comment(&format!("helo {}", cleaned(self.helo)));
            }
        }
        field.fold();
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

/// Appends the Return-Path field for a reverse-path; `None` is the null path `<>` (RFC 5321 4.4, 4.5.5).
pub fn return_path(out: &mut Vec<u8>, reverse_path: Option<&Address>) {
    let mut field = Field::begin(out, FieldName::RETURN_PATH);
    match reverse_path {
        Some(address) => field.address(address, true),
        None => {
            field.words("<>");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample<'a>() -> Received<'a> {
        Received {
            helo: "mail.example.net",
            reverse_name: Some("mx1.example.net"),
            client: Some(IpAddr::from([192, 0, 2, 1])),
            local_user: None,
            by: "mx.example.org",
            with: With::Esmtp {
                tls: true,
                auth: false,
                utf8: false,
            },
            id: "01k3s5c3q0abcdefgh01",
            tls: Some(TlsUsed {
                version: "TLS1.3",
                cipher: "TLS_AES_256_GCM_SHA384",
            }),
            recipient: Some("bob@example.org"),
            date: Date::new(1_795_331_550, 540),
        }
    }

    fn written(received: Received<'_>) -> String {
        let mut out = Vec::new();
        received.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn full() {
        assert_eq!(
            written(sample()),
            "Received: from mail.example.net (mx1.example.net [192.0.2.1])\r\n\
             \tby mx.example.org with ESMTPS id 01k3s5c3q0abcdefgh01\r\n\
             \tfor <bob@example.org>\r\n\
             \ttls TLS_AES_256_GCM_SHA384 (TLS1.3);\r\n\
             \tSun, 22 Nov 2026 16:12:30 +0900\r\n"
        );
    }

    #[test]
    fn local_and_ipv6() {
        let local = Received {
            client: None,
            local_user: Some("uid 1000"),
            with: With::Local,
            tls: None,
            recipient: None,
            ..sample()
        };
        assert_eq!(
            written(local),
            "Received: (uid 1000)\r\n\tby mx.example.org with local id 01k3s5c3q0abcdefgh01;\r\n\
             \tSun, 22 Nov 2026 16:12:30 +0900\r\n"
        );
        let six = Received {
            client: Some("2001:db8::1".parse().unwrap()),
            reverse_name: None,
            tls: None,
            recipient: None,
            ..sample()
        };
        assert!(
            written(six).starts_with("Received: from mail.example.net ([IPv6:2001:db8::1])\r\n")
        );
    }

    #[test]
    fn hostile_texts_stay_inside() {
        let evil = "x\r\nBcc: a@b (;\u{0}\u{85}";
        for received in [
            Received {
                helo: evil,
                ..sample()
            },
            Received {
                reverse_name: Some(evil),
                ..sample()
            },
            Received {
                by: evil,
                id: evil,
                ..sample()
            },
            Received {
                recipient: Some(evil),
                tls: Some(TlsUsed {
                    version: evil,
                    cipher: evil,
                }),
                ..sample()
            },
            Received {
                client: None,
                local_user: Some(evil),
                ..sample()
            },
        ] {
            let text = written(received);
            assert_eq!(
                text.matches("\r\n").count(),
                text.matches(['\r', '\n']).count() / 2
            );
            assert!(
                text.split("\r\n")
                    .skip(1)
                    .all(|line| line.is_empty() || line.starts_with('\t')),
                "{text}"
            );
            assert!(!text.contains('\0'));
        }
        let helo = written(Received {
            helo: "a(b;c",
            ..sample()
        });
        assert!(
            helo.starts_with(
                "Received: from [192.0.2.1] (mx1.example.net [192.0.2.1]) (helo a\\(b;c)\r\n"
            ),
            "{helo}"
        );
    }

    #[test]
    fn return_paths() {
        let mut out = Vec::new();
        return_path(&mut out, None);
        return_path(
            &mut out,
            Some(&Address::new("\"a b\"@example.org").unwrap()),
        );
        assert_eq!(
            out,
            b"Return-Path: <>\r\nReturn-Path: <\"a b\"@example.org>\r\n"
        );
    }

    #[test]
    fn protocol_names() {
        let name = |tls, auth, utf8| With::Esmtp { tls, auth, utf8 }.as_str();
        assert_eq!(
            [
                name(false, true, false),
                name(true, true, false),
                name(true, true, true)
            ],
            ["ESMTPA", "ESMTPSA", "UTF8SMTPSA"]
        );
    }
}
