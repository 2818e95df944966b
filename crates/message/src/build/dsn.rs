//! Delivery status notifications (RFC 3461, 3464, 6522, 6533).

use std::fmt;

use super::body::{automatic, encoding};
use super::field::cleaned;
use super::{Body, Boundary, Crlf, FieldName, Fields, MessageId, Multipart, TransferEncoding};
use crate::address::Address;
use crate::date::Date;

/// What was done for a recipient (RFC 3464 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Could not be delivered, and will not be tried again.
    Failed,
    /// Not delivered yet; it will be tried again.
    Delayed,
    /// Delivered to the mailbox.
    Delivered,
    /// Handed to a host that does not report back.
    Relayed,
    /// Delivered and sent on to several addresses.
    Expanded,
}

impl Action {
    /// The word in the Action field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }
}

/// An enhanced status code, `class.subject.detail` (RFC 3463 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status {
    class: u8,
    subject: u16,
    detail: u16,
}

/// The text is no status code: `2`, `4` or `5`, then two numbers of up to three digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadStatus;

impl fmt::Display for BadStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a status code is 2, 4 or 5 and two numbers of up to three digits, such as 5.1.1",
        )
    }
}

impl std::error::Error for BadStatus {}

impl Status {
    /// Checks three numbers: class 2, 4 or 5, the others up to 999.
    ///
    /// # Errors
    /// [`BadStatus`].
    pub const fn new(class: u8, subject: u16, detail: u16) -> Result<Status, BadStatus> {
        if matches!(class, 2 | 4 | 5) && subject <= 999 && detail <= 999 {
            Ok(Status {
                class,
                subject,
                detail,
            })
        } else {
            Err(BadStatus)
        }
    }

    /// Reads `5.1.1`.
    ///
    /// # Errors
    /// [`BadStatus`].
    pub fn parse(text: &str) -> Result<Status, BadStatus> {
        let number = |part: Option<&str>| {
            part.filter(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|p| p.parse::<u16>().ok())
                .ok_or(BadStatus)
        };
        let mut parts = text.split('.');
        let class = number(parts.next())?;
        let (subject, detail) = (number(parts.next())?, number(parts.next())?);
        if parts.next().is_some() {
            return Err(BadStatus);
        }
        Status::new(u8::try_from(class).map_err(|_| BadStatus)?, subject, detail)
    }

    /// 2, 4 or 5.
    pub const fn class(self) -> u8 {
        self.class
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// What is reported of one recipient (RFC 3464 2.3). Texts may be foreign.
#[derive(Clone, Copy, Debug)]
pub struct ReportRecipient<'a> {
    /// The ORCPT parameter as `type;address`, xtext decoded (RFC 3461 4.2).
    pub original: Option<&'a str>,
    /// The address that delivery was tried for.
    pub address: &'a str,
    /// What was done.
    pub action: Action,
    /// Why.
    pub status: Status,
    /// The host that said so, by name.
    pub remote_mta: Option<&'a str>,
    /// Its reply as it came, several lines joined by spaces or line ends.
    pub diagnostic: Option<&'a str>,
    /// When it was tried last.
    pub last_attempt: Option<Date>,
    /// Until when it will be tried, for delays.
    pub retry_until: Option<Date>,
}

/// How much of the message comes back with the report.
#[derive(Clone, Copy, Debug)]
pub enum Returned<'a> {
    /// Nothing.
    Nothing,
    /// Its header block (text/rfc822-headers, RFC 6522 4), up to and without the empty line.
    Headers(&'a [u8]),
    /// All of it, given here.
    Message(&'a [u8]),
    /// All of it, which the caller writes between the two halves of [`Report::halves`], through
    /// [`Crlf`] unless its line ends are known to be clean.
    Streamed {
        /// Whether it holds octets above 127.
        eight_bit: bool,
    },
}

/// One report about one message to its sender.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Who reports, as it stands in From; the envelope's sender is always `<>`.
    pub from: &'a Address,
    /// The sender of the message reported on.
    pub to: &'a Address,
    /// Now.
    pub date: Date,
    /// The report's own id.
    pub message_id: &'a MessageId,
    /// The id of the message reported on, for In-Reply-To and References.
    pub about: Option<&'a MessageId>,
    /// A boundary that the returned message does not hold: make it of a fresh random id.
    pub boundary: &'a Boundary,
    /// Our host name.
    pub reporting_mta: &'a str,
    /// The ENVID parameter, xtext decoded (RFC 3461 4.4).
    pub envelope_id: Option<&'a str>,
    /// The host that gave us the message.
    pub received_from: Option<&'a str>,
    /// When it came.
    pub arrival: Option<Date>,
    /// The recipients, all with the same action.
    pub recipients: &'a [ReportRecipient<'a>],
    /// Whether the sender's message came with SMTPUTF8, so that the report may use UTF-8 (RFC 6533).
    pub utf8: bool,
    /// What comes back.
    pub returned: Returned<'a>,
    /// A text for people in place of the usual one.
    pub text: Option<&'a str>,
}

impl Report<'_> {
    /// The whole report as one message. With [`Returned::Streamed`] the returned part is empty.
    pub fn to_message(&self) -> Vec<u8> {
        let (mut out, tail) = self.halves();
        out.extend_from_slice(&tail);
        out
    }

    /// What stands before and after a streamed message.
    pub fn halves(&self) -> (Vec<u8>, Vec<u8>) {
        let mut multipart = Multipart::new(
            "report",
            self.boundary.clone(),
            &[("report-type", "delivery-status")],
        );
        multipart.part(&Body::text(&self.human_text()));
        multipart.part(&self.status_part());
        let (eight_bit, content) = self.open_returned(&mut multipart);
        let closing = multipart.closing();
        let (mime, body) = multipart.into_open();

        let mut head = Fields::new();
        automatic(&mut head, self.date);
        head.addresses(FieldName::FROM, [(Some("Mail Delivery System"), self.from)]);
        head.addresses(FieldName::TO, [(None, self.to)]);
        head.text(FieldName::SUBJECT, self.subject());
        head.message_ids(FieldName::MESSAGE_ID, [self.message_id]);
        if let Some(about) = self.about {
            head.message_ids(FieldName::IN_REPLY_TO, [about]);
            head.message_ids(FieldName::REFERENCES, [about]);
        }
        head.field(FieldName::MIME_VERSION).words("1.0");
        head.bytes_mut().extend_from_slice(mime.as_bytes());
        if eight_bit || self.utf8 {
            encoding(&mut head, TransferEncoding::EightBit);
        }

        let mut out = head.into_bytes();
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
        out.extend_from_slice(&content);
        let mut tail = if matches!(self.returned, Returned::Nothing) {
            Vec::new()
        } else {
            b"\r\n".to_vec()
        };
        tail.extend_from_slice(&closing);
        (out, tail)
    }

    fn action(&self) -> Action {
        self.recipients.first().map_or(Action::Failed, |r| r.action)
    }

    fn subject(&self) -> &'static str {
        match self.action() {
            Action::Failed => "Your message could not be delivered",
            Action::Delayed => "Your message is delayed",
            Action::Delivered => "Your message was delivered",
            Action::Relayed => "Your message was passed on",
            Action::Expanded => "Your message was delivered and passed on",
        }
    }

    fn human_text(&self) -> String {
        use fmt::Write;
        let mut text = String::new();
        if let Some(own) = self.text {
            text.push_str(own);
        } else {
            let intro = match self.action() {
                Action::Failed => {
                    "could not deliver your message to the addresses below,\nand has given up."
                }
                Action::Delayed => {
                    "could not deliver your message to the addresses below yet.\nIt goes on trying; you need not send it again."
                }
                Action::Delivered => "has delivered your message to the addresses below.",
                Action::Relayed => {
                    "has passed your message for the addresses below on to a host\nthat does not report on its delivery."
                }
                Action::Expanded => {
                    "has delivered your message to the addresses below, which\nsend it on to others."
                }
            };
            let _ = writeln!(
                text,
                "This is the mail system of {}.\nIt {intro}",
                cleaned(self.reporting_mta)
            );
        }
        for recipient in self.recipients {
            let _ = write!(
                text,
                "\n<{}>\n    {}",
                cleaned(recipient.address),
                recipient.status
            );
            if let Some(host) = recipient.remote_mta {
                let _ = write!(text, "  {} said", cleaned(host));
            }
            text.push('\n');
            for line in recipient.diagnostic.unwrap_or_default().split(['\r', '\n']) {
                if !line.trim().is_empty() {
                    let _ = writeln!(text, "    {}", cleaned(line.trim()));
                }
            }
            if let Some(until) = recipient.retry_until {
                let _ = writeln!(text, "    tried until {until}");
            }
        }
        text
    }

    /// message/delivery-status: one group of fields for the message, one for each recipient.
    fn status_part(&self) -> Body {
        let mut fields = Fields::new();
        let kind = if self.utf8 {
            "message/global-delivery-status"
        } else {
            "message/delivery-status"
        };
        fields.field(FieldName::CONTENT_TYPE).words(kind);
        if self.utf8 {
            encoding(&mut fields, TransferEncoding::EightBit);
        }
        let mut status = Fields::new();
        if let Some(envelope_id) = self.envelope_id {
            self.typed(&mut status, "Original-Envelope-Id", "", envelope_id);
        }
        self.typed(&mut status, "Reporting-MTA", "dns; ", self.reporting_mta);
        if let Some(host) = self.received_from {
            self.typed(&mut status, "Received-From-MTA", "dns; ", host);
        }
        if let Some(arrival) = self.arrival {
            status.date(name("Arrival-Date"), arrival);
        }
        for recipient in self.recipients {
            status.bytes_mut().extend_from_slice(b"\r\n");
            self.recipient_fields(&mut status, recipient);
        }
        Body {
            fields,
            content: status.into_bytes(),
        }
    }

    fn recipient_fields(&self, out: &mut Fields, recipient: &ReportRecipient<'_>) {
        if let Some(original) = recipient.original {
            // `type;address`, and without a type it is an Internet address.
            let (kind, address) = original.split_once(';').unwrap_or(("rfc822", original));
            self.address_field(out, "Original-Recipient", kind.trim(), address.trim());
        }
        self.address_field(out, "Final-Recipient", "rfc822", recipient.address);
        out.field(name("Action")).words(recipient.action.as_str());
        out.field(name("Status"))
            .words(&recipient.status.to_string());
        if let Some(host) = recipient.remote_mta {
            self.typed(out, "Remote-MTA", "dns; ", host);
        }
        if let Some(diagnostic) = recipient.diagnostic {
            self.typed(out, "Diagnostic-Code", "smtp; ", diagnostic);
        }
        if let Some(date) = recipient.last_attempt {
            out.date(name("Last-Attempt-Date"), date);
        }
        if let Some(date) = recipient.retry_until {
            out.date(name("Will-Retry-Until"), date);
        }
    }

    /// An address with its type; one that is not ASCII has the type `utf-8` (RFC 6533 3).
    fn address_field(&self, out: &mut Fields, field: &'static str, kind: &str, address: &str) {
        let address = cleaned(address);
        let kind: String = kind
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(40)
            .collect();
        if address.is_ascii() {
            out.field(name(field))
                .words(&format!("{kind};"))
                .words(&address);
        } else if self.utf8 {
            out.field(name(field)).words("utf-8;").words(&address);
        } else {
            out.field(name(field))
                .words("utf-8;")
                .words(&utf8_addr_xtext(&address));
        }
    }

    fn typed(&self, out: &mut Fields, field: &'static str, kind: &str, text: &str) {
        let mut text: String =
            cleaned(&text.replace("\r\n", " ").replace(['\r', '\n'], " ")).into_owned();
        if !self.utf8 {
            text = text
                .chars()
                .map(|c| if c.is_ascii() { c } else { '?' })
                .collect();
        }
        out.field(name(field)).words(kind).words(&text);
    }

    /// Opens the third part if there is one; gives its content and whether anything has 8 bits.
    fn open_returned(&self, multipart: &mut Multipart) -> (bool, Vec<u8>) {
        let (kind, wide_kind, eight_bit, content) = match self.returned {
            Returned::Nothing => return (false, Vec::new()),
            Returned::Headers(headers) => {
                let headers = Crlf::convert(headers);
                (
                    "text/rfc822-headers",
                    "message/global-headers",
                    !headers.is_ascii(),
                    headers,
                )
            }
            Returned::Message(message) => {
                let message = Crlf::convert(message);
                (
                    "message/rfc822",
                    "message/global",
                    !message.is_ascii(),
                    message,
                )
            }
            Returned::Streamed { eight_bit } => {
                ("message/rfc822", "message/global", eight_bit, Vec::new())
            }
        };
        let mut fields = Fields::new();
        fields
            .field(FieldName::CONTENT_TYPE)
            .words(if self.utf8 { wide_kind } else { kind });
        if eight_bit {
            encoding(&mut fields, TransferEncoding::EightBit);
        }
        multipart.open_part(&fields);
        (eight_bit, content)
    }
}

/// Names of this file are constants that the test below has seen to be valid.
fn name(text: &'static str) -> FieldName<'static> {
    FieldName::new(text).unwrap_or(FieldName::CONTENT_DESCRIPTION)
}

/// `utf-8-addr-xtext` of RFC 6533 3: what is not plain ASCII becomes `\x{HEX}`.
fn utf8_addr_xtext(address: &str) -> String {
    let mut out = String::with_capacity(address.len() * 2);
    for c in address.chars() {
        if c.is_ascii_graphic() && !matches!(c, '+' | '=' | '\\') {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::crlf::is_clean;
    use super::*;
    use crate::address::Domain;

    fn with_report<T>(then: impl FnOnce(Report<'_>) -> T) -> T {
        let from = Address::new("mailer-daemon@mx.example.org").unwrap();
        let to = Address::new("alice@example.net").unwrap();
        let host = Domain::new("mx.example.org").unwrap();
        let id = MessageId::new("bounce1", &host).unwrap();
        let about = MessageId::from_text("<orig@example.net>").unwrap();
        let boundary = Boundary::new("01k3s5").unwrap();
        let recipients = [ReportRecipient {
            original: Some("rfc822;bob@example.com"),
            address: "bob@example.com",
            action: Action::Failed,
            status: Status::new(5, 1, 1).unwrap(),
            remote_mta: Some("mx.example.com"),
            diagnostic: Some("550-5.1.1 no such user\r\n550 5.1.1 here"),
            last_attempt: Some(Date::utc(1_795_331_550)),
            retry_until: None,
        }];
        let report = Report {
            from: &from,
            to: &to,
            date: Date::utc(1_795_331_560),
            message_id: &id,
            about: Some(&about),
            boundary: &boundary,
            reporting_mta: "mx.example.org",
            envelope_id: Some("QQ314159"),
            received_from: None,
            arrival: Some(Date::utc(1_795_331_500)),
            recipients: &recipients,
            utf8: false,
            returned: Returned::Headers(b"Subject: hi\nFrom: alice@example.net\n"),
            text: None,
        };
        then(report)
    }

    #[test]
    fn whole_report() {
        let bytes = with_report(|r| r.to_message());
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "Date: Sun, 22 Nov 2026 07:12:40 +0000\r\n\
Auto-Submitted: auto-replied\r\n\
From: Mail Delivery System <mailer-daemon@mx.example.org>\r\n\
To: alice@example.net\r\n\
Subject: Your message could not be delivered\r\n\
Message-ID: <bounce1@mx.example.org>\r\n\
In-Reply-To: <orig@example.net>\r\n\
References: <orig@example.net>\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/report; report-type=delivery-status;\r\n\
\tboundary=\"=_01k3s5\"\r\n\
\r\n\
--=_01k3s5\r\n\
Content-Type: text/plain; charset=us-ascii\r\n\
\r\n\
This is the mail system of mx.example.org.\r\n\
It could not deliver your message to the addresses below,\r\n\
and has given up.\r\n\
\r\n\
<bob@example.com>\r\n\
\x20   5.1.1  mx.example.com said\r\n\
\x20   550-5.1.1 no such user\r\n\
\x20   550 5.1.1 here\r\n\
\r\n\
--=_01k3s5\r\n\
Content-Type: message/delivery-status\r\n\
\r\n\
Original-Envelope-Id: QQ314159\r\n\
Reporting-MTA: dns; mx.example.org\r\n\
Arrival-Date: Sun, 22 Nov 2026 07:11:40 +0000\r\n\
\r\n\
Original-Recipient: rfc822; bob@example.com\r\n\
Final-Recipient: rfc822; bob@example.com\r\n\
Action: failed\r\n\
Status: 5.1.1\r\n\
Remote-MTA: dns; mx.example.com\r\n\
Diagnostic-Code: smtp; 550-5.1.1 no such user 550 5.1.1 here\r\n\
Last-Attempt-Date: Sun, 22 Nov 2026 07:12:30 +0000\r\n\
\r\n\
--=_01k3s5\r\n\
Content-Type: text/rfc822-headers\r\n\
\r\n\
Subject: hi\r\n\
From: alice@example.net\r\n\
\r\n\
--=_01k3s5--\r\n"
        );
    }

    #[test]
    fn streamed_and_given_are_the_same() {
        let message = b"Subject: x\r\n\r\nb\xe9\r\n";
        let given = with_report(|r| {
            Report {
                returned: Returned::Message(message),
                ..r
            }
            .to_message()
        });
        let (mut head, tail) = with_report(|r| {
            Report {
                returned: Returned::Streamed { eight_bit: true },
                ..r
            }
            .halves()
        });
        head.extend_from_slice(message);
        head.extend_from_slice(&tail);
        assert_eq!(given, head);
        assert!(
            given
                .windows(31)
                .any(|w| w == b"Content-Transfer-Encoding: 8bit")
        );
        let nothing = with_report(|r| {
            Report {
                returned: Returned::Nothing,
                ..r
            }
            .to_message()
        });
        assert!(is_clean(&nothing) && nothing.ends_with(b"\r\n\r\n--=_01k3s5--\r\n"));
    }

    #[test]
    fn hostile_remote_words() {
        let evil = "550 \r\n\r\nAction: delivered\u{0}\n--=_01k3s5--\n\u{e9}";
        let recipients = [ReportRecipient {
            original: Some(evil),
            address: evil,
            action: Action::Delayed,
            status: Status::new(4, 4, 1).unwrap(),
            remote_mta: Some(evil),
            diagnostic: Some(evil),
            last_attempt: None,
            retry_until: Some(Date::utc(0)),
        }];
        for utf8 in [false, true] {
            let bytes = with_report(|r| {
                let some = Some(evil);
                let recipients = &recipients;
                Report {
                    utf8,
                    reporting_mta: evil,
                    received_from: some,
                    envelope_id: some,
                    recipients,
                    ..r
                }
                .to_message()
            });
            assert!(is_clean(&bytes));
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(!text.contains("\r\nAction: delivered"), "{text}");
            assert_eq!(text.matches("\r\n--=_01k3s5--").count(), 1);
            assert!(utf8 || bytes.is_ascii());
        }
    }

    #[test]
    fn international_addresses() {
        let address = "pelé@bücher.example";
        assert_eq!(utf8_addr_xtext(address), "pel\\x{E9}@b\\x{FC}cher.example");
        let recipients = [ReportRecipient {
            original: None,
            address,
            action: Action::Failed,
            status: Status::new(5, 6, 7).unwrap(),
            remote_mta: None,
            diagnostic: None,
            last_attempt: None,
            retry_until: None,
        }];
        let text = with_report(|r| {
            Report {
                utf8: true,
                recipients: &recipients,
                ..r
            }
            .to_message()
        });
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("Content-Type: message/global-delivery-status\r\n"));
        assert!(text.contains("Final-Recipient: utf-8; pelé@bücher.example\r\n"));
        assert!(text.contains("Content-Type: message/global-headers\r\n"));
    }

    #[test]
    fn status_codes() {
        assert_eq!(Status::parse("5.7.26").unwrap().to_string(), "5.7.26");
        for bad in [
            "", "3.0.0", "5.1", "5.1.1.1", "5.1.1000", "5.+1.1", "a.b.c", "5..1",
        ] {
            assert_eq!(Status::parse(bad), Err(BadStatus), "{bad}");
        }
        assert!(
            Status::new(5, 999, 999).is_ok()
                && Status::new(5, 1000, 0).is_err()
                && Status::new(5, 0, 1000).is_err()
        );
    }

    #[test]
    fn names_are_valid() {
        for text in [
            "Original-Envelope-Id",
            "Reporting-MTA",
            "Received-From-MTA",
            "Arrival-Date",
            "Original-Recipient",
            "Final-Recipient",
            "Action",
            "Status",
            "Remote-MTA",
            "Diagnostic-Code",
            "Last-Attempt-Date",
            "Will-Retry-Until",
        ] {
            assert_eq!(name(text).as_str(), text);
        }
    }
}
