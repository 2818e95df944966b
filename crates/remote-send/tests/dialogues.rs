//! Scripted hosts that refuse, lie, stall, close and talk too much, one row each. All rows run at
//! the same time in one process, so that none of them may hold up another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Answer, Fixture};
use queue::wire::remote::{NextHop, Scope};
use testkit::{Authority, Peer};

/// What a row expects of its answers.
struct Row {
    what: &'static str,
    scripts: &'static [&'static str],
    recipients: &'static [&'static str],
    /// (recipients, status, scope, part of the text), in any order.
    expected: &'static [(&'static [u32], &'static str, Scope, &'static str)],
}

const ONE: &[&str] = &["a@there.example"];
const TWO: &[&str] = &["a@there.example", "b@there.example"];
use Scope::{Destination, Message, Recipient};

const ROWS: &[Row] = &[
    Row {
        what: "all is well",
        scripts: &[
            "-> 220 hi\n<- EHLO me.example\n-> 250 hi\n<- MAIL FROM:<s@me.example>\n-> 250 ok\n<- RCPT TO:<a@there.example>\n-> 250 ok\n<- DATA\n-> 354 go\n<data\n-> 250 2.6.0 taken as 42",
        ],
        recipients: ONE,
        expected: &[(&[0], "2.6.0", Recipient, "250 2.6.0 taken as 42")],
    },
    Row {
        what: "pipelining",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250-SIZE 1000\n-> 250 PIPELINING\n<- MAIL FROM:<s@me.example> SIZE=18\n<- RCPT TO:<a@there.example>\n<- RCPT TO:<b@there.example>\n<- DATA\n-> 250 ok\n-> 250 ok\n-> 250 ok\n-> 354 go\n<data\n-> 250 ok",
        ],
        recipients: TWO,
        expected: &[(&[0, 1], "2.0.0", Recipient, "250 ok")],
    },
    Row {
        what: "one octet at a time",
        scripts: &[
            "trickle\n-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 PIPELINING\n<~ MAIL\n<~ RCPT\n<~ DATA\n-> 250 ok\n-> 250 ok\n-> 354 go\n<data\n-> 250 ok",
        ],
        recipients: ONE,
        expected: &[(&[0], "2.0.0", Recipient, "250 ok")],
    },
    Row {
        what: "greeting 554",
        scripts: &["-> 554 5.7.1 go away\neof"],
        recipients: TWO,
        expected: &[(&[0, 1], "4.7.1", Destination, "554 5.7.1 go away")],
    },
    Row {
        what: "greeting 421",
        scripts: &["-> 421 4.3.2 busy\neof"],
        recipients: ONE,
        expected: &[(&[0], "4.3.2", Destination, "421 4.3.2 busy")],
    },
    Row {
        what: "closed without a greeting",
        scripts: &["close"],
        recipients: ONE,
        expected: &[(&[0], "4.4.2", Destination, "connection lost: greeting")],
    },
    Row {
        what: "reset without a greeting",
        scripts: &["reset"],
        recipients: ONE,
        // It may come before or after the connection is seen to stand.
        expected: &[(&[0], "4.4.", Destination, "reset by peer")],
    },
    Row {
        what: "a greeting that is none",
        scripts: &["-> hello, my friend\neof"],
        recipients: ONE,
        expected: &[(&[0], "4.5.0", Destination, "")],
    },
    Row {
        what: "a web server",
        scripts: &["-> HTTP/1.1 400 Bad Request\neof"],
        recipients: ONE,
        expected: &[(&[0], "4.5.0", Destination, "")],
    },
    Row {
        what: "an endless line",
        scripts: &["endless 10000000"],
        recipients: ONE,
        expected: &[(&[0], "4.5.0", Destination, "")],
    },
    Row {
        what: "a reply with NUL in its words",
        scripts: &["->> 554 5.7.1 a\\0b\\r\\n\neof"],
        recipients: ONE,
        expected: &[(&[0], "4.7.1", Destination, "554 5.7.1 a")],
    },
    Row {
        what: "EHLO unknown, HELO works",
        scripts: &[
            "-> 220 hi\n<- EHLO me.example\n-> 502 what\n<- HELO me.example\n-> 250 hi\n<~ MAIL FROM:<s@me.example>\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 250 ok",
        ],
        recipients: ONE,
        expected: &[(&[0], "2.0.0", Recipient, "250 ok")],
    },
    Row {
        what: "EHLO and HELO refused",
        scripts: &["-> 220 hi\n<~ EHLO\n-> 550 no\n<~ HELO\n-> 550 5.7.1 not you\neof"],
        recipients: ONE,
        expected: &[(&[0], "4.7.1", Destination, "550 5.7.1 not you")],
    },
    Row {
        what: "closed after EHLO",
        scripts: &["-> 220 hi\n<~ EHLO\nclose"],
        recipients: ONE,
        expected: &[(&[0], "4.4.2", Destination, "connection lost: reply to EHLO")],
    },
    Row {
        what: "MAIL refused for good",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 550-5.1.8 bad\n-> 550 5.1.8 sender\ndrain",
        ],
        recipients: TWO,
        expected: &[(&[0, 1], "5.1.8", Message, "550 5.1.8 bad")],
    },
    Row {
        what: "MAIL refused for now",
        scripts: &["-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 451 4.3.0 later\ndrain"],
        recipients: ONE,
        expected: &[(&[0], "4.3.0", Message, "451 4.3.0 later")],
    },
    Row {
        what: "421 instead of an answer to MAIL",
        scripts: &["-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 421 4.7.0 too much\neof"],
        recipients: ONE,
        expected: &[(&[0], "4.7.0", Destination, "421 4.7.0 too much")],
    },
    Row {
        what: "each recipient its own answer",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ RCPT\n-> 550 5.1.1 unknown\n<~ RCPT\n-> 452 4.2.2 full\n<~ DATA\n-> 354 go\n<data\n-> 250 ok\ndrain",
        ],
        recipients: &["a@there.example", "b@there.example", "c@there.example"],
        expected: &[
            (&[0], "2.0.0", Recipient, "250 ok"),
            (&[1], "5.1.1", Recipient, "550 5.1.1 unknown"),
            (&[2], "4.2.2", Recipient, "452 4.2.2 full"),
        ],
    },
    Row {
        what: "all recipients refused",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 PIPELINING\n<~ MAIL\n<~ RCPT\n<~ RCPT\n<~ DATA\n-> 250 ok\n-> 550 5.1.1 no a\n-> 550 5.1.1 no b\n-> 554 5.5.1 nobody\ndrain",
        ],
        recipients: TWO,
        expected: &[
            (&[0], "5.1.1", Recipient, "550 5.1.1 no a"),
            (&[1], "5.1.1", Recipient, "550 5.1.1 no b"),
        ],
    },
    Row {
        what: "all refused and DATA taken all the same",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 PIPELINING\n<~ MAIL\n<~ RCPT\n<~ DATA\n-> 250 ok\n-> 550 5.1.1 no a\n-> 354 go\n<- .\n-> 554 5.5.1 nobody\ndrain",
        ],
        recipients: ONE,
        expected: &[(&[0], "5.1.1", Recipient, "550 5.1.1 no a")],
    },
    Row {
        what: "DATA refused",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 554 5.7.1 no data\ndrain",
        ],
        recipients: ONE,
        expected: &[(&[0], "5.7.1", Message, "554 5.7.1 no data")],
    },
    Row {
        what: "closed instead of an answer to DATA",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\nclose",
        ],
        recipients: ONE,
        expected: &[(&[0], "4.4.2", Destination, "connection lost: reply to DATA")],
    },
    Row {
        what: "refused after the dot",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 550 5.7.1 spam\ndrain",
        ],
        recipients: TWO,
        expected: &[(&[0, 1], "5.7.1", Message, "550 5.7.1 spam")],
    },
    Row {
        what: "deferred after the dot",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 451 4.7.1 greylisted\ndrain",
        ],
        recipients: ONE,
        expected: &[(&[0], "4.7.1", Message, "451 4.7.1 greylisted")],
    },
    Row {
        what: "closed after the dot",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\nclose",
        ],
        recipients: ONE,
        expected: &[(
            &[0],
            "4.4.2",
            Message,
            "connection lost: reply to the end of the message",
        )],
    },
    Row {
        what: "control characters in the words",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n->> 550 5.1.8 a\\tb\\x1bc\\xffd\\r\\n\ndrain",
        ],
        recipients: ONE,
        expected: &[(&[0], "", Message, "")],
    },
    Row {
        what: "codes of another class in the words",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 550 4.2.1 odd\ndrain",
        ],
        recipients: ONE,
        expected: &[(&[0], "5.", Recipient, "550 4.2.1 odd")],
    },
    Row {
        what: "too big by SIZE",
        scripts: &["-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 SIZE 10\ndrain"],
        recipients: ONE,
        expected: &[(&[0], "5.3.4", Message, "above the server's limit")],
    },
    Row {
        what: "an intermediate answer where none belongs",
        scripts: &["-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 354 go\neof"],
        recipients: ONE,
        expected: &[(&[0], "4.5.0", Destination, "unexpected reply")],
    },
    Row {
        what: "a multiline reply whose codes differ",
        scripts: &["-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 220 PIPELINING\neof"],
        recipients: ONE,
        expected: &[(&[0], "4.5.0", Destination, "")],
    },
    Row {
        what: "a recipient that is no address",
        scripts: &[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<- RCPT TO:<a@there.example>\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 250 ok\ndrain",
        ],
        recipients: &["a@there.example", "no address"],
        expected: &[
            (&[0], "2.0.0", Recipient, "250 ok"),
            (&[1], "5.1.3", Recipient, "can't be sent"),
        ],
    },
];

fn check(what: &str, answers: &[Answer], row: &Row) {
    assert_eq!(answers.len(), row.expected.len(), "{what}: {answers:#?}");
    for (recipients, status, scope, text) in row.expected {
        let found = answers.iter().any(|answer| {
            answer.recipients == *recipients
                && answer.status.starts_with(status)
                && answer.scope == *scope
                && answer.text.contains(text)
        });
        assert!(
            found,
            "{what}: expected {recipients:?} {status} {scope:?} {text:?}, got {answers:#?}"
        );
        assert!(
            answers
                .iter()
                .all(|answer| !answer.text.chars().any(char::is_control))
        );
    }
}

#[test]
fn hosts_of_all_kinds_at_once() {
    let mut fixture = Fixture::start("tls = \"none\"");
    let peers: Vec<Peer> = ROWS.iter().map(|row| Peer::serve(row.scripts)).collect();
    let mut rows = Vec::new();
    let mut count = 0;
    for (row, peer) in ROWS.iter().zip(&peers) {
        let hop = NextHop::Host("127.0.0.1", peer.address.port());
        let number = fixture.send(
            hop,
            "s@me.example",
            row.recipients,
            b"Subject: x\r\n\r\n.x\r\n",
        );
        rows.push((number, row));
        count += row.recipients.len();
    }
    let answers = fixture.answers(count);
    for (number, row) in rows {
        let own: Vec<Answer> = answers
            .iter()
            .filter(|answer| answer.number == number)
            .cloned()
            .collect();
        check(row.what, &own, row);
    }
    // Every host heard what its script says, and got the octets of the file.
    drop(fixture);
    for (row, peer) in ROWS.iter().zip(&peers) {
        for played in peer.finished(1) {
            for message in played.messages {
                assert_eq!(message, b"Subject: x\r\n\r\n.x\r\n", "{}", row.what);
            }
        }
    }
}

#[test]
fn encryption_when_it_is_offered() {
    let mut fixture = Fixture::start("tls = \"may\"");
    let authority = Authority::new();
    let tls = authority.server(&["somebody.else"]);
    let after = "<- EHLO me.example\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 250 ok\ndrain";
    let good = format!(
        "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 STARTTLS\n<- STARTTLS\n-> 220 go\ntls\n{after}"
    );
    let refused = "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 STARTTLS\n<- STARTTLS\n-> 454 not now\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 250 ok\ndrain";
    // The handshake breaks; the second connection is in clear and does not ask for TLS.
    let broken = "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 STARTTLS\n<- STARTTLS\n-> 220 go\n<any\n-> this is not TLS at all\ndrain";
    let closed = "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 STARTTLS\n<- STARTTLS\n-> 220 go\nclose";
    let clear = format!(
        "-> 220 hi\n{}",
        after.replacen("-> 250 hi", "-> 250-hi\n-> 250 STARTTLS", 1)
    );
    // Octets behind the 220 are somebody else's.
    let injected = "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 STARTTLS\n<- STARTTLS\n->> 220 go\\r\\n250 ok\\r\\n\neof";
    let peers = [
        Peer::serve_tls(&[&good], tls.clone()),
        Peer::serve(&[refused]),
        Peer::serve(&[broken, &clear]),
        Peer::serve(&[closed, &clear]),
        Peer::serve(&[injected]),
    ];
    let mut numbers = Vec::new();
    for peer in &peers {
        let hop = NextHop::Host("127.0.0.1", peer.address.port());
        numbers.push(fixture.send(hop, "", ONE, b"x\r\n"));
    }
    let answers = fixture.answers(peers.len());
    for (number, expected) in numbers
        .iter()
        .zip(["2.0.0", "2.0.0", "2.0.0", "2.0.0", "4.7.0"])
    {
        let answer = answers
            .iter()
            .find(|answer| answer.number == *number)
            .unwrap();
        assert_eq!(answer.status, expected, "{answers:#?}");
    }
    let log = fixture.end();
    assert!(peers[0].finished(1)[0].tls);
    assert_eq!(peers[2].finished(2).len(), 2);
    assert_eq!(peers[3].finished(2).len(), 2);
    assert!(log.contains("tls=TLSv1.3"), "{log}");
    assert_eq!(log.matches("tls-failed").count(), 2, "{log}");
}

#[test]
fn encryption_required() {
    let mut fixture = Fixture::start("tls = \"encrypt\"");
    let peers = [
        Peer::serve(&["-> 220 hi\n<~ EHLO\n-> 250 hi\neof"]),
        Peer::serve(&[
            "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 STARTTLS\n<- STARTTLS\n-> 454 no\neof",
        ]),
        Peer::serve(&[
            "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 STARTTLS\n<- STARTTLS\n-> 220 go\n<any\n-> not TLS\ndrain",
        ]),
    ];
    for peer in &peers {
        fixture.send(
            NextHop::Host("127.0.0.1", peer.address.port()),
            "",
            ONE,
            b"x\r\n",
        );
    }
    for answer in fixture.answers(peers.len()) {
        assert!(answer.status.starts_with("4."), "{answer:?}");
        assert_eq!(answer.scope, Scope::Destination);
    }
    for peer in &peers {
        assert!(
            peer.finished(1)[0]
                .heard()
                .iter()
                .all(|line| !line.starts_with("MAIL"))
        );
        assert_eq!(peer.accepted(), 1);
    }
}
