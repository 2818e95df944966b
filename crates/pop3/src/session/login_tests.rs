//! Tables and properties of the login machine.

use proptest::prelude::*;

use super::*;
use crate::limits::{ERRORS_MAX, LOGIN_FAILURES_MAX};
use crate::rehearse::{fuzz_login, login};

const TLS: LoginOptions = LoginOptions {
    tls: Tls::On,
    clear_passwords: false,
};
const OFFERED: LoginOptions = LoginOptions {
    tls: Tls::Offered,
    clear_passwords: false,
};
const CLEAR: LoginOptions = LoginOptions {
    tls: Tls::Unavailable,
    clear_passwords: true,
};
const NOTHING: LoginOptions = LoginOptions {
    tls: Tls::Unavailable,
    clear_passwords: false,
};

/// The reply lines behind the greeting, one read a command.
fn replies(options: LoginOptions, lines: &[&str]) -> Vec<String> {
    let parts: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| format!("{line}\r\n").into_bytes())
        .collect();
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let (outcome, ..) = login(options, &parts);
    let text = String::from_utf8(outcome.sent).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn password_only_where_it_is_private() {
    let start_first = "-ERR [AUTH] start TLS first";
    for options in [OFFERED, NOTHING] {
        assert_eq!(
            replies(options, &["USER anna", "PASS right"]),
            [start_first, start_first]
        );
    }
    for options in [TLS, CLEAR] {
        let (_, left, done) = login(options, &[b"USER anna\r\nPASS right\r\nSTAT\r\n"]);
        assert!(done);
        assert_eq!(left, b"STAT\r\n");
    }
    assert_eq!(
        replies(OFFERED, &["STLS", "USER anna", "PASS wrong"]),
        [
            "+OK begin TLS",
            "<TLS>+OK send PASS",
            "-ERR [AUTH] name or password is wrong"
        ]
    );
}

#[test]
fn wrong_order_and_wrong_state() {
    assert_eq!(replies(TLS, &["PASS right"]), ["-ERR USER first"]);
    assert_eq!(
        replies(TLS, &["USER anna", "PASS later", "PASS right"])[1..],
        [
            "-ERR [SYS/TEMP] can't check now, try again later",
            "-ERR USER first"
        ]
    );
    for command in [
        "STAT", "LIST", "UIDL", "RETR 1", "TOP 1 0", "DELE 1", "RSET", "NOOP",
    ] {
        assert_eq!(replies(TLS, &[command]), ["-ERR log in first"], "{command}");
    }
    assert_eq!(replies(TLS, &["STLS"]), ["-ERR STLS is not possible here"]);
    assert_eq!(
        replies(NOTHING, &["STLS"]),
        ["-ERR STLS is not possible here"]
    );
    assert_eq!(replies(TLS, &["XYZZY"]), ["-ERR unknown command"]);
    assert_eq!(replies(TLS, &["USER a\0b"]), ["-ERR bad arguments"]);
    assert_eq!(replies(TLS, &["QUIT", "USER anna"]), ["+OK bye"]);
}

#[test]
fn capabilities_follow_the_state() {
    let has = |options, lines: &[&str], word: &str| {
        replies(options, lines).iter().any(|line| line == word)
    };
    assert!(has(OFFERED, &["CAPA"], "STLS") && !has(OFFERED, &["CAPA"], "USER"));
    assert!(!has(TLS, &["CAPA"], "STLS") && has(TLS, &["CAPA"], "USER"));
    assert!(!has(NOTHING, &["CAPA"], "STLS") && !has(NOTHING, &["CAPA"], "USER"));
    assert!(has(CLEAR, &["CAPA"], "USER"));
    assert!(has(OFFERED, &["STLS", "CAPA"], "USER") && !has(OFFERED, &["STLS", "CAPA"], "STLS"));
}

#[test]
fn octets_behind_stls_end_the_connection() {
    for behind in ["USER anna\r\n", "C", "\0"] {
        let bytes = format!("STLS\r\n{behind}");
        let (outcome, ..) = login(OFFERED, &[bytes.as_bytes()]);
        assert_eq!(outcome.end, Some(End::EarlyOctets), "{behind:?}");
        assert!(!outcome.sent.windows(5).any(|w| w == b"begin"));
    }
}

#[test]
fn tls_forgets_what_was_said_in_clear() {
    let options = LoginOptions {
        tls: Tls::Offered,
        clear_passwords: true,
    };
    assert_eq!(
        replies(options, &["USER anna", "STLS", "PASS right"])[1..],
        ["+OK begin TLS", "<TLS>-ERR USER first"]
    );
}

#[test]
fn failures_are_bounded() {
    for tries in [LOGIN_FAILURES_MAX - 1, LOGIN_FAILURES_MAX] {
        let bytes = "USER anna\r\nPASS wrong\r\n".repeat(tries as usize);
        let (outcome, ..) = login(TLS, &[bytes.as_bytes()]);
        let expected = (tries == LOGIN_FAILURES_MAX).then_some(End::LoginFailures);
        assert_eq!(outcome.end, expected, "{tries}");
    }
    // Trouble on our side is not held against the client.
    let bytes = "USER anna\r\nPASS later\r\n".repeat(LOGIN_FAILURES_MAX as usize + 1);
    assert_eq!(login(TLS, &[bytes.as_bytes()]).0.end, None);
}

#[test]
fn errors_are_bounded() {
    for (errors, end) in [
        (ERRORS_MAX - 1, None),
        (ERRORS_MAX, None),
        (ERRORS_MAX + 1, Some(End::Errors)),
    ] {
        let bytes = "X\r\n".repeat(errors as usize);
        assert_eq!(login(TLS, &[bytes.as_bytes()]).0.end, end, "{errors}");
    }
}

#[test]
fn input_is_not_echoed() {
    let secret = "tOpSeCrEt";
    let lines: Vec<String> = [
        "USER {}",
        "PASS {}",
        "{}",
        "USER {}\u{1}",
        "PASS {} {}\u{1}",
        "STLS {}",
        "RETR {}",
        "CAPA {}",
    ]
    .iter()
    .map(|line| line.replace("{}", secret))
    .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for options in [TLS, OFFERED, CLEAR, NOTHING] {
        assert!(!replies(options, &lines).concat().contains(secret));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_octets(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_login(&data);
    }

    #[test]
    fn cutting_changes_nothing(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("USER anna"), Just("PASS right"), Just("PASS wrong"), Just("PASS later"),
                Just("CAPA"), Just("QUIT"), Just("NOOP"), Just(""), Just("USER \u{1}"),
            ],
            0..8,
        ),
    ) {
        let bytes = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>().into_bytes();
        let whole = login(TLS, &[&bytes]);
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            prop_assert_eq!(&login(TLS, &[a, b]), &whole);
        }
    }
}
