//! Delivery status notifications (RFC 3461, 3464, 6522, 6533).

use std::fmt;

use super::body::{automatic, encoding};
use super::field::cleaned;
use super::{
    Action, Body, Boundary, Crlf, FieldName, Fields, MessageId, Multipart, Status, TransferEncoding,
};
use crate::address::Address;
use crate::date::Date;

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
mod tests;
