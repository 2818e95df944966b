//! Reports octet by octet, and with hostile words from other hosts.

use super::super::BadStatus;
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
