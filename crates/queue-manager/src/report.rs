//! Reports to senders: what could not be delivered, to whom, and why (RFC 3464).

use daemon::clock;
use memchr::memmem;
use message::address::{Address, Domain};
use message::build::{Action, Boundary, MessageId, Report, ReportRecipient, Returned};
use message::date::Date;
use queue::envelope::{Ret, Role};
use queue::{Arrival, Envelope, QueueId, Recipient};

use crate::sched::{Addressee, Failure};

/// A message up to this many octets comes back whole; of a longer one only its header does.
pub const RETURN_MAX: usize = 64 * 1024;

/// A header longer than this is cut at a line's end.
pub const HEADER_MAX: usize = 32 * 1024;

/// What a report is about.
#[derive(Debug)]
pub struct About<'a> {
    /// The message's envelope.
    pub envelope: &'a Envelope,
    /// The first [`RETURN_MAX`] octets of its content and, if it goes on, the next one.
    pub content: &'a [u8],
    /// The recipients that failed, never empty.
    pub failures: &'a [Failure],
    /// Who is told.
    pub to: Addressee,
}

/// Makes the envelope and the text of a report. `None` when there is nobody to send it to: the
/// sender's address is none that a message could be sent to.
///
/// `id` is the report's own; `now` is in seconds since 1970.
pub fn compose(
    about: &About<'_>,
    hostname: &str,
    id: QueueId,
    now: i64,
) -> Option<(Envelope, Vec<u8>)> {
    let host = Domain::new(hostname).ok()?;
    let from = Address::new(&format!("MAILER-DAEMON@{hostname}")).ok()?;
    let to = match about.to {
        Addressee::Sender => Address::new(&about.envelope.reverse_path).ok()?,
        Addressee::Postmaster => Address::new(&format!("postmaster@{hostname}")).ok()?,
    };
    let date = |seconds: i64| {
        let offset = i16::try_from(clock::local_offset(seconds) / 60).unwrap_or(0);
        Date::new(seconds, offset)
    };
    let header = header_of(about.content);
    let whole = about.content.len() <= RETURN_MAX && about.envelope.ret != Some(Ret::Headers);
    let original = message_id(header);
    let boundary = Boundary::new(id.as_str()).ok()?.avoiding(&[about.content]);
    let decoded: Vec<Option<String>> = about
        .failures
        .iter()
        .map(|failure| {
            recipient(about.envelope, failure)
                .and_then(|r| r.orcpt.as_deref())
                .map(unxtext)
        })
        .collect();
    let recipients: Vec<ReportRecipient<'_>> = about
        .failures
        .iter()
        .zip(&decoded)
        .map(|(failure, orcpt)| {
            let status =
                message::build::Status::new(5, failure.status.subject(), failure.status.detail())
                    .ok()?;
            Some(ReportRecipient {
                original: orcpt.as_deref(),
                address: recipient(about.envelope, failure).map_or("", |r| &r.address),
                action: Action::Failed,
                status,
                remote_mta: host_name(&failure.host),
                diagnostic: (!failure.text.is_empty()).then_some(failure.text.as_str()),
                last_attempt: Some(date(now)),
                retry_until: None,
            })
        })
        .collect::<Option<_>>()?;
    let envelope_id = about.envelope.envid.as_deref().map(unxtext);
    let text = Report {
        from: &from,
        to: &to,
        date: date(now),
        message_id: &MessageId::new(&format!("{id}.report"), &host).ok()?,
        about: original.as_ref(),
        boundary: &boundary,
        reporting_mta: hostname,
        envelope_id: envelope_id.as_deref(),
        received_from: None,
        arrival: Some(date(about.envelope.arrival.time)),
        recipients: &recipients,
        utf8: about.envelope.utf8,
        returned: if whole {
            Returned::Message(about.content)
        } else {
            Returned::Headers(header)
        },
        text: None,
    }
    .to_message();
    // A report to the postmaster that fails is the end of it: it must not look like one.
    let (role, protocol) = match about.to {
        Addressee::Sender => (Role::Report, "REPORT"),
        Addressee::Postmaster => (Role::Mx, "DOUBLE-REPORT"),
    };
    let address = match about.to {
        Addressee::Sender => about.envelope.reverse_path.clone(),
        Addressee::Postmaster => format!("postmaster@{hostname}"),
    };
    let envelope = Envelope {
        recipients: vec![Recipient::new(address)],
        arrival: Arrival {
            time: now,
            role,
            protocol: protocol.into(),
            ..Arrival::default()
        },
        eight_bit: !text.is_ascii(),
        utf8: about.envelope.utf8,
        ..Envelope::default()
    };
    Some((envelope, text))
}

fn recipient<'a>(envelope: &'a Envelope, failure: &Failure) -> Option<&'a Recipient> {
    envelope.recipients.get(failure.index as usize)
}

/// `name[address]` without the address.
fn host_name(host: &str) -> Option<&str> {
    let name = host.split('[').next().unwrap_or(host);
    match (name.is_empty(), host.is_empty()) {
        (false, _) => Some(name),
        (true, false) => Some(host),
        (true, true) => None,
    }
}

/// The header block, without the empty line.
fn header_of(content: &[u8]) -> &[u8] {
    let end = match memmem::find(content, b"\r\n\r\n") {
        Some(at) => at + 2,
        None if content.starts_with(b"\r\n") => 0,
        None => content.len(),
    };
    let header = content.get(..end).unwrap_or_default();
    if header.len() <= HEADER_MAX {
        return header;
    }
    let cut = header.get(..HEADER_MAX).unwrap_or_default();
    let line = memmem::rfind(cut, b"\r\n").map_or(0, |at| at + 2);
    header.get(..line).unwrap_or_default()
}

fn message_id(header: &[u8]) -> Option<MessageId> {
    const NAME: &[u8] = b"message-id:";
    let mut lines = header.split(|&octet| octet == b'\n');
    let line = lines.find(|line| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    })?;
    let value = std::str::from_utf8(line.get(NAME.len()..)?).ok()?;
    MessageId::from_text(value.trim()).ok()
}

/// Decodes xtext (RFC 3461, 4): `+` and two hex digits stand for an octet. What is no xtext
/// stays as it is.
fn unxtext(text: &str) -> String {
    let octets = text.as_bytes();
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((&first, after)) = rest.split_first() {
        let hex = |octet: u8| char::from(octet).to_digit(16);
        let pair = match (first, after) {
            (b'+', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match pair.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(octet) => {
                out.push(octet);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    queue::reply::clean(&out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::reply::Status;

    fn envelope() -> Envelope {
        Envelope {
            reverse_path: "al@example.org".into(),
            recipients: vec![
                Recipient::new("bo@example.net"),
                Recipient::new("cy@example.net"),
            ],
            ..Envelope::default()
        }
    }

    fn failure() -> Failure {
        Failure {
            index: 1,
            status: Status::NO_SUCH_MAILBOX,
            host: "mx.example.net[192.0.2.1]".into(),
            text: "550 no such user".into(),
        }
    }

    fn about<'a>(envelope: &'a Envelope, content: &'a [u8], failures: &'a [Failure]) -> About<'a> {
        About {
            envelope,
            content,
            failures,
            to: Addressee::Sender,
        }
    }

    #[test]
    fn a_report_has_three_parts() {
        let content = b"Message-ID: <x@y>\r\nSubject: hi\r\n\r\nhello\r\n";
        let (envelope, failures) = (envelope(), [failure()]);
        let id = QueueId::new(5, 6);
        let (back, text) = compose(
            &about(&envelope, content, &failures),
            "mx.example.org",
            id,
            1_700_000_000,
        )
        .unwrap();
        assert_eq!(back.reverse_path, "");
        assert_eq!(back.recipients, [Recipient::new("al@example.org")]);
        assert_eq!(back.arrival.role, Role::Report);
        let mail = mailparse::parse_mail(&text).unwrap();
        assert_eq!(mail.ctype.mimetype, "multipart/report");
        assert_eq!(mail.ctype.params["report-type"], "delivery-status");
        let kinds: Vec<_> = mail
            .subparts
            .iter()
            .map(|part| part.ctype.mimetype.clone())
            .collect();
        assert_eq!(
            kinds,
            ["text/plain", "message/delivery-status", "message/rfc822"]
        );
        let status = mail.subparts[1].get_body().unwrap();
        for line in [
            "Reporting-MTA: dns; mx.example.org",
            "Final-Recipient: rfc822; cy@example.net",
            "Action: failed",
            "Status: 5.1.1",
            "Remote-MTA: dns; mx.example.net",
            "Diagnostic-Code: smtp; 550 no such user",
        ] {
            assert!(status.contains(line), "{line} is not in {status}");
        }
        assert!(!status.contains("bo@example.net"));
        let all = String::from_utf8(text).unwrap();
        assert!(all.contains("In-Reply-To: <x@y>"));
        assert!(all.contains("Subject: hi\r\n\r\nhello\r\n"));
        assert!(!all.replace("\r\n", "").contains(['\r', '\n']));
    }

    #[test]
    fn long_messages_come_back_as_headers() {
        let mut content = b"Subject: long\r\n\r\n".to_vec();
        let (mut envelope, failures) = (envelope(), [failure()]);
        let kind = |envelope: &Envelope, content: &[u8]| {
            let (_, text) = compose(
                &about(envelope, content, &failures),
                "h.example",
                QueueId::new(1, 1),
                0,
            )
            .unwrap();
            mailparse::parse_mail(&text).unwrap().subparts[2]
                .ctype
                .mimetype
                .clone()
        };
        content.resize(RETURN_MAX - 1, b'x');
        assert_eq!(kind(&envelope, &content), "message/rfc822");
        content.resize(RETURN_MAX, b'x');
        assert_eq!(kind(&envelope, &content), "message/rfc822");
        content.resize(RETURN_MAX + 1, b'x');
        assert_eq!(kind(&envelope, &content), "text/rfc822-headers");
        envelope.ret = Some(Ret::Headers);
        assert_eq!(
            kind(&envelope, b"Subject: short\r\n\r\nx\r\n"),
            "text/rfc822-headers"
        );
    }

    #[test]
    fn a_second_report_goes_to_the_postmaster_and_cannot_be_reported() {
        let (envelope, failures) = (envelope(), [failure()]);
        let about = About {
            to: Addressee::Postmaster,
            ..about(&envelope, b"", &failures)
        };
        let (back, _) = compose(&about, "mx.example.org", QueueId::new(1, 1), 0).unwrap();
        assert_eq!(
            back.recipients,
            [Recipient::new("postmaster@mx.example.org")]
        );
        assert!(back.reverse_path.is_empty() && back.arrival.role != Role::Report);
    }

    #[test]
    fn foreign_text_stays_in_its_field() {
        let mut envelope = envelope();
        envelope.envid = Some("a+0D+0ABcc:+20x".into());
        envelope.recipients[1].orcpt = Some("rfc822;c+2By@example.net".into());
        let failures = [Failure {
            text: "550 x".into(),
            ..failure()
        }];
        let content = b"Message-ID: <a b>\r\n\r\n";
        let (_, text) = compose(
            &about(&envelope, content, &failures),
            "h.example",
            QueueId::new(1, 1),
            0,
        )
        .unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("\r\nBcc"));
        assert!(text.contains("Original-Recipient: rfc822; c+y@example.net"));
        assert!(!text.contains("In-Reply-To"));
    }

    #[test]
    fn an_unusable_sender_gets_nothing() {
        let mut envelope = envelope();
        let failures = [failure()];
        envelope.reverse_path = "no domain".into();
        assert!(
            compose(
                &about(&envelope, b"", &failures),
                "h.example",
                QueueId::new(1, 1),
                0
            )
            .is_none()
        );
    }

    #[test]
    fn headers_are_cut_at_lines() {
        assert_eq!(header_of(b"A: b\r\n\r\nbody"), b"A: b\r\n");
        assert_eq!(header_of(b"\r\nbody"), b"");
        assert_eq!(header_of(b"A: b"), b"A: b");
        let long = b"A: 0123456789\r\n".repeat(HEADER_MAX / 10);
        assert!(header_of(&long).len() <= HEADER_MAX && header_of(&long).ends_with(b"\r\n"));
    }

    #[test]
    fn xtext() {
        for (given, plain) in [
            ("a+2Bb", "a+b"),
            ("a+", "a+"),
            ("a+2", "a+2"),
            ("+zz", "+zz"),
            ("+41", "A"),
        ] {
            assert_eq!(unxtext(given), plain);
        }
    }
}
