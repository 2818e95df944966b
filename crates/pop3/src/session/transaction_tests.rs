//! Tables and properties of the session machine.

use proptest::prelude::*;

use super::*;
use crate::rehearse::{Shelf, fuzz_session, session, wire_size};
use crate::types::Uid;

fn shelf() -> Shelf {
    Shelf::new(&["A: 1\n\none\n", "A: 2\n\n.two\nmore\n", "A: 3\r\n\r\nthree"])
}

/// The octets behind the greeting.
fn answer(lines: &str) -> (String, Vec<u32>, Option<End>) {
    let bytes = lines.replace('\n', "\r\n").into_bytes();
    let outcome = session(&shelf(), &[&bytes], 4);
    let text = String::from_utf8(outcome.sent).unwrap();
    let (_, rest) = text.split_once("\r\n").unwrap();
    (rest.replace("\r\n", "\n"), outcome.deleted, outcome.end)
}

#[test]
fn greeting_counts() {
    let outcome = session(&shelf(), &[], 1);
    assert_eq!(outcome.sent, b"+OK 3 messages (48 octets)\r\n");
    assert_eq!(wire_size(b"A: 1\n\none\n"), 13);
    assert_eq!(wire_size(b"A: 2\n\n.two\nmore\n"), 20);
    assert_eq!(wire_size(b"A: 3\r\n\r\nthree"), 15);
}

#[test]
fn table() {
    for (lines, expected) in [
        ("STAT\n", "+OK 3 48\n"),
        (
            "LIST\n",
            "+OK 3 messages (48 octets)\n1 13\n2 20\n3 15\n.\n",
        ),
        ("LIST 2\n", "+OK 2 20\n"),
        ("LIST 4\n", "-ERR no such message\n"),
        ("UIDL\n", "+OK unique-ids follow\n1 u0\n2 u1\n3 u2\n.\n"),
        ("UIDL 3\n", "+OK 3 u2\n"),
        ("RETR 2\n", "+OK 20 octets\nA: 2\n\n..two\nmore\n.\n"),
        ("RETR 3\n", "+OK 15 octets\nA: 3\n\nthree\n.\n"),
        ("RETR 99999999999\n", "-ERR no such message\n"),
        ("TOP 2 0\n", "+OK top of message follows\nA: 2\n\n.\n"),
        (
            "TOP 2 1\n",
            "+OK top of message follows\nA: 2\n\n..two\n.\n",
        ),
        (
            "TOP 2 9\n",
            "+OK top of message follows\nA: 2\n\n..two\nmore\n.\n",
        ),
        ("NOOP\n", "+OK\n"),
        ("DELE 1\nSTAT\n", "+OK marked\n+OK 2 35\n"),
        ("DELE 1\nDELE 1\n", "+OK marked\n-ERR message is deleted\n"),
        ("DELE 1\nRETR 1\n", "+OK marked\n-ERR message is deleted\n"),
        ("DELE 1\nTOP 1 0\n", "+OK marked\n-ERR message is deleted\n"),
        ("DELE 1\nLIST 1\n", "+OK marked\n-ERR message is deleted\n"),
        ("DELE 1\nUIDL 1\n", "+OK marked\n-ERR message is deleted\n"),
        (
            "DELE 2\nLIST\n",
            "+OK marked\n+OK 2 messages (28 octets)\n1 13\n3 15\n.\n",
        ),
        (
            "DELE 2\nUIDL\n",
            "+OK marked\n+OK unique-ids follow\n1 u0\n3 u2\n.\n",
        ),
        (
            "DELE 1\nDELE 3\nRSET\nSTAT\n",
            "+OK marked\n+OK marked\n+OK 3 messages\n+OK 3 48\n",
        ),
        ("USER x\n", "-ERR already logged in\n"),
        ("STLS\n", "-ERR already logged in\n"),
        ("APOP a b\n", "-ERR unknown command\n"),
        ("LIST x\n", "-ERR bad arguments\n"),
    ] {
        let (sent, deleted, end) = answer(lines);
        assert_eq!(sent, expected, "{lines:?}");
        assert_eq!((deleted, end), (vec![], None), "{lines:?}");
    }
}

#[test]
fn deletion_only_after_quit() {
    assert_eq!(
        answer("DELE 1\nDELE 3\nQUIT\n"),
        (
            "+OK marked\n+OK marked\n+OK bye\n".into(),
            vec![0, 2],
            Some(End::Quit)
        )
    );
    assert_eq!(answer("DELE 1\nRSET\nQUIT\n").1, Vec::<u32>::new());
    assert_eq!(answer("DELE 1\nNOOP\n").1, Vec::<u32>::new());
    let too_many = format!("DELE 1\n{}", "X\n".repeat(ERRORS_MAX as usize + 1));
    let (_, deleted, end) = answer(&too_many);
    assert_eq!((deleted, end), (vec![], Some(End::Errors)));
}

#[test]
fn failed_removal_is_told() {
    let mut out = Vec::new();
    let mut session = Session::new(shelf(), &mut out);
    out.clear();
    session.input(b"DELE 1\r\nQUIT\r\n", &mut out);
    assert_eq!(session.want(), SessionWant::Update);
    session.updated(0, 1, &mut out);
    assert!(out.ends_with(b"-ERR [SYS/TEMP] 1 deleted messages not removed\r\n"));
    assert_eq!(session.want(), SessionWant::Close(End::Quit));
}

#[test]
fn errors_are_bounded() {
    for (errors, end) in [
        (ERRORS_MAX - 1, None),
        (ERRORS_MAX, None),
        (ERRORS_MAX + 1, Some(End::Errors)),
    ] {
        assert_eq!(answer(&"X\n".repeat(errors as usize)).2, end, "{errors}");
    }
}

#[test]
fn a_message_that_breaks_off_never_gets_its_dot() {
    let mut out = Vec::new();
    let mut session = Session::new(shelf(), &mut out);
    session.input(b"DELE 2\r\nRETR 1\r\nQUIT\r\n", &mut out);
    assert_eq!(session.want(), SessionWant::Open(0));
    session.opened(&mut out);
    session.block(b"A: 1\n", &mut out);
    session.broken();
    assert_eq!(session.want(), SessionWant::Close(End::BrokenMessage));
    assert!(!out.ends_with(b".\r\n"));
}

#[test]
fn a_missing_message_is_an_error_and_the_session_goes_on() {
    let mut out = Vec::new();
    let mut session = Session::new(shelf(), &mut out);
    session.input(b"RETR 1\r\n", &mut out);
    out.clear();
    session.missing(&mut out);
    assert!(out.starts_with(b"-ERR"));
    assert_eq!(session.want(), SessionWant::Input);
}

#[test]
fn top_stops_reading() {
    let mut out = Vec::new();
    let mut session = Session::new(shelf(), &mut out);
    session.input(b"TOP 1 0\r\n", &mut out);
    session.opened(&mut out);
    session.block(b"A: 1\n\nbody\n", &mut out);
    assert_eq!(session.want(), SessionWant::Input);
    assert_eq!(session.tally().tops, 1);
}

#[test]
fn stop_deletes_nothing() {
    let mut out = Vec::new();
    let mut session = Session::new(shelf(), &mut out);
    session.input(b"DELE 1\r\n", &mut out);
    out.clear();
    session.stop();
    assert_eq!(session.want(), SessionWant::Close(End::Stopped));
    assert!(out.is_empty());
}

/// Many messages with long unique-ids.
struct Crowd(u32, String);

impl Messages for Crowd {
    fn count(&self) -> u32 {
        self.0
    }
    fn size(&self, index: u32) -> u64 {
        u64::from(index) + 1_000
    }
    fn uid(&self, _: u32) -> Uid<'_> {
        Uid::new(&self.1).unwrap()
    }
}

#[test]
fn long_listings_come_in_pieces() {
    let mut out = Vec::new();
    let mut session = Session::new(Crowd(10_000, "u".repeat(70)), &mut out);
    out.clear();
    assert_eq!(session.input(b"UIDL\r\nNOOP\r\n", &mut out), 6);
    let mut all = Vec::new();
    let mut pieces = 0;
    while session.want() == SessionWant::Drain {
        assert!(out.len() < OUTPUT_HIGH + 100);
        all.append(&mut out);
        session.drained(&mut out);
        pieces += 1;
    }
    all.append(&mut out);
    assert!(pieces > 10);
    let text = String::from_utf8(all).unwrap();
    assert_eq!(text.lines().count(), 10_002);
    assert!(text.contains("\r\n10000 uuu") && text.ends_with("\r\n.\r\n"));
    assert_eq!(session.input(b"NOOP\r\n", &mut out), 6);
    assert_eq!(out, b"+OK\r\n");
}

#[test]
fn a_flood_of_commands_waits_for_the_output() {
    let mut out = Vec::new();
    let mut session = Session::new(shelf(), &mut out);
    let flood = b"CAPA\r\n".repeat(10_000);
    let used = session.input(&flood, &mut out);
    assert!(used < flood.len());
    assert!(out.len() < OUTPUT_HIGH + 300);
    assert_eq!(session.input(&flood[used..], &mut out), 0);
    out.clear();
    assert!(session.input(&flood[used..], &mut out) > 0);
}

#[test]
fn numbers() {
    for value in [0, 1, 9, 10, 12_345, u64::MAX] {
        let mut out = Vec::new();
        decimal(&mut out, value);
        assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_octets(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_session(&data);
    }

    #[test]
    fn cutting_changes_nothing(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("STAT"), Just("LIST"), Just("UIDL 2"), Just("RETR 1"), Just("RETR 2"), Just("TOP 3 1"),
                Just("DELE 1"), Just("DELE 3"), Just("RSET"), Just("QUIT"), Just("X"), Just("CAPA"),
            ],
            0..10,
        ),
        block in 1usize..20,
    ) {
        let bytes = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>().into_bytes();
        let whole = session(&shelf(), &[&bytes], usize::MAX);
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            prop_assert_eq!(&session(&shelf(), &[a, b], block), &whole);
        }
    }

    #[test]
    fn announced_sizes_are_the_octets_sent(stored in "[a.\r\n\x00]{0,60}") {
        let outcome = session(&Shelf::new(&[&stored]), &[b"RETR 1\r\n"], 5);
        let text = String::from_utf8(outcome.sent).unwrap();
        let (_, rest) = text.split_once("\r\n").unwrap();
        let (head, body) = rest.split_once("\r\n").unwrap();
        let body = body.strip_suffix(".\r\n").unwrap();
        let stuffed = body.split("\r\n").filter(|line| line.starts_with('.')).count();
        prop_assert_eq!(head, format!("+OK {} octets", body.len() - stuffed));
    }
}
