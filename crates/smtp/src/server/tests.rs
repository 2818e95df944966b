//! Dialogues: what goes in and which codes come out.

use proptest::prelude::*;

use super::*;
use crate::codec::{COMMAND_LINE_MAX, HOPS_MAX};
use crate::exercise::{SpoolFault, Trial};

/// `c` in, codes out: "250 5.1.1" style, the first line of each reply.
fn codes(trial: &mut Trial, input: &[u8]) -> String {
    let before = trial.seen.replies.len();
    trial.feed(input, usize::MAX);
    heads(&trial.seen.replies[before..])
}

fn heads(replies: &[u8]) -> String {
    let text = std::str::from_utf8(replies).unwrap();
    let heads: Vec<String> = text
        .split_terminator("\r\n")
        .filter(|line| line.as_bytes().get(3) == Some(&b' '))
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let code = words.next().unwrap();
            match words.next() {
                Some(w) if w.starts_with(|c: char| c.is_ascii_digit()) && w.contains('.') => {
                    format!("{code} {w}")
                }
                _ => code.to_owned(),
            }
        })
        .collect();
    heads.join(", ")
}

fn settings(role: Role) -> Settings {
    Settings {
        hostname: "mx.here.example".into(),
        role,
        tls: true,
        max_message_size: 100_000,
        max_recipients: 10,
        max_errors: 10,
    }
}

/// Each line is `input -> codes`; `~` stands for CR LF at the end of each line of input.
fn dialogue(role: Role, script: &str) -> Trial {
    let mut trial = Trial::new(role);
    play(&mut trial, script);
    trial
}

fn play(trial: &mut Trial, script: &str) {
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (input, want) = line.split_once(" -> ").unwrap();
        let input = format!("{}\r\n", input.replace('~', "\r\n"));
        assert_eq!(codes(trial, input.as_bytes()), want, "{input:?}");
    }
}

const AUTH: &str = "AUTH PLAIN AHVzZXIAZ29vZA== -> 235 2.7.0";

#[test]
fn a_message() {
    let mut t = dialogue(
        Role::Mx,
        "EHLO there.example -> 250
         MAIL FROM:<a@b.example> SIZE=20 BODY=8BITMIME -> 250 2.1.0
         RCPT TO:<u@here.example> -> 250 2.1.5
         DATA -> 354
         Subject: x~~..hello~. -> 250 2.0.0
         QUIT -> 221 2.0.0",
    );
    assert!(t.seen.closed);
    let (envelope, content) = t.seen.messages.pop().unwrap();
    assert_eq!(content, b"Subject: x\r\n\r\n.hello\r\n");
    assert_eq!(envelope.from.as_str(), "a@b.example");
    assert_eq!(envelope.to[0].as_str(), "u@here.example");
    assert_eq!(
        (envelope.size, envelope.body),
        (Some(20), BodyKind::EightBitMime)
    );
}

#[test]
fn pipelined() {
    let mut t = Trial::new(Role::Mx);
    let input = b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@here.example>\r\nRCPT TO:<no@here.example>\r\nDATA\r\n";
    assert_eq!(
        codes(&mut t, input),
        "250, 250 2.1.0, 250 2.1.5, 550 5.1.1, 354"
    );
    let input = b"x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<no@here.example>\r\nDATA\r\n";
    assert_eq!(
        codes(&mut t, input),
        "250 2.0.0, 250 2.1.0, 550 5.1.1, 554 5.5.1"
    );
    assert_eq!(codes(&mut t, b"RSET\r\nQUIT\r\n"), "250 2.0.0, 221 2.0.0");
}

#[test]
fn wrong_order() {
    dialogue(
        Role::Mx,
        "MAIL FROM:<a@b> -> 503 5.5.1
         RCPT TO:<u@here.example> -> 503 5.5.1
         DATA -> 503 5.5.1
         STARTTLS -> 503 5.5.1
         HELO a -> 250
         RCPT TO:<u@here.example> -> 503 5.5.1
         DATA -> 503 5.5.1
         MAIL FROM:<a@b> -> 250 2.1.0
         MAIL FROM:<a@b> -> 503 5.5.1
         DATA -> 554 5.5.1
         STARTTLS -> 503 5.5.1",
    );
}

#[test]
fn wrong_words() {
    dialogue(
        Role::Mx,
        "EHLO -> 501 5.5.4
         EHLO a -> 250
         FOO -> 500 5.5.1
         BDAT 4 -> 502 5.5.1
         EXPN list -> 502 5.5.1
         MAIL FROM:a@b -> 501 5.1.7
         MAIL FROM:<a@b> FOO=1 -> 555 5.5.4
         MAIL FROM:<a@b> SIZE=x -> 501 5.5.4
         MAIL FROM:<a@b> AUTH=<> -> 555 5.5.4
         MAIL FROM:<\u{e9}@b> -> 553 5.6.7",
    );
    dialogue(
        Role::Mx,
        "EHLO a -> 250
         MAIL FROM:<bad@b> -> 550 5.7.1
         MAIL FROM:<a@b> -> 250 2.1.0
         RCPT TO:<u@here.example> NOTIFY=NEVER -> 555 5.5.4
         RCPT TO:<u> -> 501 5.1.3
         RCPT TO:<u@elsewhere.example> -> 550 5.7.1
         RCPT TO:<later@here.example> -> 451 4.3.0
         RCPT TO:<no@here.example> -> 550 5.1.1
         RCPT TO:<Postmaster> -> 250 2.1.5
         VRFY u -> 252 2.5.0
         HELP -> 214 2.0.0
         NOOP -> 250 2.0.0",
    );
}

#[test]
fn no_open_relay_in_classic_forms() {
    let mut t = dialogue(Role::Mx, "EHLO a -> 250\nMAIL FROM:<a@b> -> 250 2.1.0");
    for to in [
        "<u@x.example>",
        "<@here.example:u@x.example>",
        "<u@[192.0.2.1]>",
    ] {
        assert_eq!(
            codes(&mut t, format!("RCPT TO:{to}\r\n").as_bytes()),
            "550 5.7.1",
            "{to}"
        );
    }
    for to in [
        "<u@x.example@here.example>",
        "<u@here.example.>",
        "<u@>",
        "<u@x.example,v@here.example>",
    ] {
        assert_eq!(
            codes(&mut t, format!("RCPT TO:{to}\r\n").as_bytes()),
            "501 5.1.3",
            "{to}"
        );
    }
    // These are odd local parts of ours and nothing else: the trial tables take any user.
    for to in [
        "<u%x.example@here.example>",
        "<x.example!u@here.example>",
        "<\"u@x.example\"@here.example>",
    ] {
        assert_eq!(
            codes(&mut t, format!("RCPT TO:{to}\r\n").as_bytes()),
            "250 2.1.5",
            "{to}"
        );
    }
}

#[test]
fn rset_and_ehlo_forget_the_envelope() {
    let t = dialogue(
        Role::Mx,
        "EHLO a -> 250
         MAIL FROM:<a@b> -> 250 2.1.0
         RCPT TO:<u@here.example> -> 250 2.1.5
         RSET -> 250 2.0.0
         DATA -> 503 5.5.1
         MAIL FROM:<c@d> -> 250 2.1.0
         RCPT TO:<v@here.example> -> 250 2.1.5
         EHLO a -> 250
         RCPT TO:<w@here.example> -> 503 5.5.1
         MAIL FROM:<e@f> -> 250 2.1.0
         RCPT TO:<w@here.example> -> 250 2.1.5
         DATA -> 354
         . -> 250 2.0.0
         DATA -> 503 5.5.1",
    );
    let (envelope, content) = &t.seen.messages[0];
    assert_eq!(
        (envelope.from.as_str(), envelope.to.len(), content.len()),
        ("e@f", 1, 0)
    );
}

#[test]
fn submission_needs_tls_then_login() {
    let mut t = dialogue(
        Role::Submission,
        "EHLO a -> 250
         AUTH PLAIN AHVzZXIAZ29vZA== -> 538 5.7.11
         MAIL FROM:<a@b> -> 530 5.7.0
         STARTTLS now -> 501 5.5.4
         STARTTLS -> 220 2.0.0
         MAIL FROM:<a@b> -> 503 5.5.1
         EHLO a -> 250
         STARTTLS -> 503 5.5.1
         MAIL FROM:<a@b> -> 530 5.7.0
         AUTH LOGIN -> 504 5.5.4
         AUTH PLAIN !!! -> 501 5.5.2
         AUTH PLAIN -> 334
         * -> 501 5.7.0
         AUTH PLAIN AHVzZXIAYmFk -> 535 5.7.8",
    );
    play(&mut t, AUTH);
    play(
        &mut t,
        "AUTH PLAIN -> 503 5.5.1
         MAIL FROM:<a@b> AUTH=<> -> 250 2.1.0
         RCPT TO:<x@elsewhere.example> -> 250 2.1.5",
    );
    assert_eq!(t.session().facts().login.as_deref(), Some("user"));
}

#[test]
fn tls_forgets_what_was_said_in_clear() {
    let t = dialogue(Role::Mx, "EHLO a -> 250\nSTARTTLS -> 220 2.0.0");
    assert!(t.session().facts().hello.is_none() && t.session().facts().encrypted);
}

#[test]
fn submissions_in_challenge_form() {
    let mut t = Trial::new(Role::Submissions);
    play(
        &mut t,
        "EHLO a -> 250\nSTARTTLS -> 503 5.5.1\nAUTH PLAIN -> 334\nAHVzZXIAZ29vZA== -> 235 2.7.0",
    );
    let mut t = Trial::new(Role::Submissions);
    play(
        &mut t,
        "EHLO a -> 250\nAUTH PLAIN = -> 535 5.7.8\nAUTH PLAIN -> 334",
    );
    let long = vec![b'A'; COMMAND_LINE_MAX];
    assert_eq!(codes(&mut t, &[&long[..], b"\r\n"].concat()), "500 5.5.6");
    play(&mut t, "NOOP -> 250 2.0.0");
}

#[test]
fn offers_fit_the_role() {
    let offers = |role, tls: bool, hello: &str| {
        let mut t = Trial::with(
            Settings {
                tls,
                ..settings(role)
            },
            SpoolFault::Never,
        );
        t.seen.replies.clear();
        t.feed(hello.as_bytes(), 99);
        String::from_utf8(t.seen.replies).unwrap()
    };
    let mx = offers(Role::Mx, true, "EHLO a\r\n");
    assert_eq!(
        mx,
        "250-mx.here.example\r\n250-PIPELINING\r\n250-SIZE 100000\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n"
    );
    assert!(!offers(Role::Mx, false, "EHLO a\r\n").contains("STARTTLS"));
    assert!(!offers(Role::Submission, true, "EHLO a\r\n").contains("AUTH"));
    assert!(offers(Role::Submissions, true, "EHLO a\r\n").contains("250-AUTH PLAIN\r\n"));
    assert!(!offers(Role::Submissions, true, "EHLO a\r\n").contains("STARTTLS"));
    assert!(!offers(Role::Local, true, "EHLO a\r\n").contains("STARTTLS"));
    assert_eq!(
        offers(Role::Mx, true, "HELO a\r\n"),
        "250 mx.here.example\r\n"
    );
}

#[test]
fn auth_is_not_offered_on_mx_and_local() {
    for role in [Role::Mx, Role::Local] {
        dialogue(
            role,
            "EHLO a -> 250\nAUTH PLAIN AHVzZXIAZ29vZA== -> 502 5.5.1",
        );
    }
}

#[test]
fn starttls_injection_ends_the_session() {
    let mut t = Trial::new(Role::Mx);
    assert_eq!(
        codes(&mut t, b"EHLO a\r\nSTARTTLS\r\nMAIL FROM:<evil@x>\r\n"),
        "250, 554 5.5.0"
    );
    assert!(t.seen.closed && !t.session().facts().encrypted);
}

#[test]
fn text_behind_a_refused_data_is_not_read_as_commands() {
    let mut t = Trial::new(Role::Mx);
    assert_eq!(
        codes(&mut t, b"EHLO a\r\nMAIL FROM:<a@b>\r\nDATA\r\nQUIT\r\n"),
        "250, 250 2.1.0, 554 5.5.1"
    );
    assert!(t.seen.closed);
    let mut t = Trial::with(settings(Role::Mx), SpoolFault::Open(SpoolError::Full));
    let input = b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@here.example>\r\nDATA\r\nQUIT\r\n";
    assert_eq!(codes(&mut t, input), "250, 250 2.1.0, 250 2.1.5, 452 4.3.1");
    assert!(t.seen.closed);
}

#[test]
fn line_ends_in_commands() {
    let mut t = Trial::new(Role::Mx);
    assert_eq!(
        codes(&mut t, b"EHLO a\rb\r\nNOOP\r\n"),
        "500 5.5.2, 250 2.0.0"
    );
    assert_eq!(codes(&mut t, b"EHLO a\nNOOP\r\n"), "500 5.5.2");
    assert!(t.seen.closed);
}

#[test]
fn line_length() {
    let line = |n: usize| [b"NOOP ".to_vec(), vec![b'x'; n - 7], b"\r\n".to_vec()].concat();
    let mut t = Trial::new(Role::Mx);
    assert_eq!(codes(&mut t, &line(COMMAND_LINE_MAX - 1)), "250 2.0.0");
    assert_eq!(codes(&mut t, &line(COMMAND_LINE_MAX)), "250 2.0.0");
    assert_eq!(codes(&mut t, &line(COMMAND_LINE_MAX + 1)), "500 5.5.2");
    assert_eq!(codes(&mut t, b"NOOP\r\n"), "250 2.0.0");
    assert_eq!(
        codes(&mut t, &line(crate::codec::DISCARD_MAX + 1)),
        "500 5.5.2"
    );
    assert!(t.seen.closed);
}

fn to_data(t: &mut Trial) {
    play(
        t,
        "EHLO a -> 250\nMAIL FROM:<a@b> -> 250 2.1.0\nRCPT TO:<u@here.example> -> 250 2.1.5\nDATA -> 354",
    );
}

#[test]
fn defects_in_data() {
    for (data, want) in [
        (&b"a\nb\r\n.\r\n"[..], "550 5.6.0"),
        (b"a\rb\r\n.\r\n", "550 5.6.0"),
        (b"a\0b\r\n.\r\n", "550 5.6.0"),
        (b"a\n.\nMAIL FROM:<x@y>\r\n.\r\n", "550 5.6.0"),
        (b"a\r\n.\nMAIL FROM:<x@y>\r\n.\r\n", "550 5.6.0"),
        (b"a\r\n.\rMAIL FROM:<x@y>\r\n.\r\n", "550 5.6.0"),
    ] {
        let mut t = Trial::new(Role::Mx);
        to_data(&mut t);
        assert_eq!(codes(&mut t, data), want, "{data:?}");
        assert_eq!((t.seen.messages.len(), t.seen.aborted), (0, 1));
        play(&mut t, "MAIL FROM:<a@b> -> 250 2.1.0");
    }
}

#[test]
fn size_limits() {
    let limit = 100_000;
    for (size, want) in [
        (limit - 1, "250 2.0.0"),
        (limit, "250 2.0.0"),
        (limit + 1, "552 5.3.4"),
    ] {
        let mut t = Trial::new(Role::Mx);
        to_data(&mut t);
        let text = [vec![b'x'; size - 2], b"\r\n.\r\n".to_vec()].concat();
        assert_eq!(codes(&mut t, &text), want);
        play(&mut t, "NOOP -> 250 2.0.0");
        let mail = format!("MAIL FROM:<a@b> SIZE={size}\r\n");
        assert_eq!(
            codes(&mut t, mail.as_bytes()),
            want.replace("2.0.0", "2.1.0")
        );
    }
}

#[test]
fn hop_limit() {
    for (hops, want) in [
        (HOPS_MAX - 1, "250 2.0.0"),
        (HOPS_MAX, "250 2.0.0"),
        (HOPS_MAX + 1, "554 5.4.6"),
    ] {
        let mut t = Trial::new(Role::Mx);
        to_data(&mut t);
        let text = format!("{}\r\n.\r\n", "Received: x\r\n".repeat(usize::from(hops)));
        assert_eq!(codes(&mut t, text.as_bytes()), want);
    }
}

#[test]
fn recipient_limit() {
    let mut t = dialogue(Role::Mx, "EHLO a -> 250\nMAIL FROM:<a@b> -> 250 2.1.0");
    for n in 1..=11 {
        let want = if n <= 10 { "250 2.1.5" } else { "452 4.5.3" };
        assert_eq!(
            codes(
                &mut t,
                format!("RCPT TO:<u{n}@here.example>\r\n").as_bytes()
            ),
            want
        );
    }
    play(&mut t, "DATA -> 354\n. -> 250 2.0.0");
    assert_eq!(t.seen.messages[0].0.to.len(), 10);
}

#[test]
fn excess_recipient_limit() {
    let mut t = Trial::with(
        Settings {
            max_recipients: 1,
            ..settings(Role::Mx)
        },
        SpoolFault::Never,
    );
    play(
        &mut t,
        "EHLO a -> 250\nMAIL FROM:<a@b> -> 250 2.1.0\nRCPT TO:<u@here.example> -> 250 2.1.5",
    );
    for _ in 1..EXCESS_RECIPIENTS_MAX {
        assert_eq!(codes(&mut t, b"RCPT TO:<u@here.example>\r\n"), "452 4.5.3");
    }
    assert!(!t.seen.closed && t.seen.refused.len() == 1);
    assert_eq!(
        codes(&mut t, b"RCPT TO:<u@here.example>\r\n"),
        "452 4.5.3, 421 4.7.0"
    );
    assert!(t.seen.closed);
}

#[test]
fn error_limit() {
    let mut t = Trial::new(Role::Mx);
    for _ in 0..10 {
        assert_eq!(codes(&mut t, b"FOO\r\n"), "500 5.5.1");
    }
    assert!(!t.seen.closed);
    assert_eq!(codes(&mut t, b"FOO\r\nNOOP\r\n"), "500 5.5.1, 421 4.7.0");
    assert!(t.seen.closed);
}

#[test]
fn junk_limit() {
    let mut t = Trial::new(Role::Mx);
    for _ in 0..JUNK_MAX {
        assert_eq!(codes(&mut t, b"NOOP\r\n"), "250 2.0.0");
    }
    assert_eq!(codes(&mut t, b"NOOP\r\n"), "250 2.0.0, 421 4.7.0");
    assert!(t.seen.closed);
}

#[test]
fn auth_failure_limit() {
    let mut t = dialogue(Role::Submissions, "EHLO a -> 250");
    for _ in 1..AUTH_FAILURES_MAX {
        assert_eq!(codes(&mut t, b"AUTH PLAIN AAA=\r\n"), "535 5.7.8");
    }
    assert_eq!(
        codes(&mut t, b"AUTH PLAIN AAA=\r\n"),
        "535 5.7.8, 421 4.7.0"
    );
    assert!(t.seen.closed);
}

#[test]
fn refused_recipient_limit() {
    let mut t = dialogue(Role::Mx, "EHLO a -> 250\nMAIL FROM:<a@b> -> 250 2.1.0");
    for _ in 1..REFUSED_RECIPIENTS_MAX {
        assert_eq!(codes(&mut t, b"RCPT TO:<no@here.example>\r\n"), "550 5.1.1");
    }
    assert_eq!(
        codes(&mut t, b"RCPT TO:<no@here.example>\r\n"),
        "550 5.1.1, 421 4.7.0"
    );
    assert!(t.seen.closed);
}

#[test]
fn spool_faults() {
    for (fault, at_data, at_end) in [
        (SpoolFault::Open(SpoolError::Full), "452 4.3.1", ""),
        (SpoolFault::Open(SpoolError::Broken), "451 4.3.0", ""),
        (SpoolFault::Write(SpoolError::Full), "354", "452 4.3.1"),
        (SpoolFault::Write(SpoolError::Broken), "354", "451 4.3.0"),
        (SpoolFault::Commit(SpoolError::Full), "354", "452 4.3.1"),
        (SpoolFault::Commit(SpoolError::Broken), "354", "451 4.3.0"),
    ] {
        for size in [1, 3, 99] {
            let mut t = Trial::with(settings(Role::Mx), fault);
            play(
                &mut t,
                "EHLO a -> 250\nMAIL FROM:<a@b> -> 250 2.1.0\nRCPT TO:<u@here.example> -> 250 2.1.5",
            );
            assert_eq!(codes(&mut t, b"DATA\r\n"), at_data);
            if !at_end.is_empty() {
                let before = t.seen.replies.len();
                t.feed(b"x: y\r\n\r\ntext\r\n.\r\n", size);
                assert_eq!(heads(&t.seen.replies[before..]), at_end, "{fault:?}");
            }
            assert!(t.seen.messages.is_empty());
            play(&mut t, "MAIL FROM:<a@b> -> 250 2.1.0");
        }
    }
}

#[test]
fn missing_fields_are_added_to_submissions_only() {
    let run = |role, text: &str, size| {
        let mut t = Trial::new(role);
        if role == Role::Submissions {
            play(&mut t, &format!("EHLO a -> 250\n{AUTH}"));
        } else {
            play(&mut t, "EHLO a -> 250");
        }
        play(
            &mut t,
            "MAIL FROM:<a@b> -> 250 2.1.0\nRCPT TO:<u@here.example> -> 250 2.1.5\nDATA -> 354",
        );
        t.feed(format!("{text}.\r\n").as_bytes(), size);
        String::from_utf8(t.seen.messages.pop().unwrap().1).unwrap()
    };
    for size in 1..40 {
        let text = "Date: x\r\nSubject: y\r\n\r\n..body\r\n";
        assert_eq!(
            run(Role::Mx, text, size),
            "Date: x\r\nSubject: y\r\n\r\n.body\r\n"
        );
        for role in [Role::Submissions, Role::Local] {
            assert_eq!(
                run(role, text, size),
                "Date: x\r\nSubject: y\r\n+id\r\n+from\r\n\r\n.body\r\n"
            );
            assert_eq!(
                run(role, "From: a\r\nDate: b\r\n", size),
                "From: a\r\nDate: b\r\n+id\r\n"
            );
            let full = "From: a\r\nDate: b\r\nMessage-ID: c\r\n\r\nx\r\n";
            assert_eq!(run(role, full, size), full);
        }
    }
}

#[test]
fn timeout_shutdown_and_loss() {
    let mut t = dialogue(Role::Mx, "EHLO a -> 250");
    t.on(Event::Timeout);
    assert!(t.seen.closed && heads(&t.seen.replies).ends_with("421 4.4.2"));

    let mut t = dialogue(Role::Mx, "EHLO a -> 250");
    t.on(Event::Shutdown);
    assert!(t.seen.closed && heads(&t.seen.replies).ends_with("421 4.3.2"));

    let mut t = Trial::new(Role::Mx);
    to_data(&mut t);
    t.on(Event::Shutdown);
    assert!(!t.seen.closed);
    assert_eq!(
        codes(&mut t, b"x\r\n.\r\nMAIL FROM:<>\r\n"),
        "250 2.0.0, 421 4.3.2"
    );
    assert!(t.seen.closed && t.seen.messages.len() == 1);

    for event in [Event::Timeout, Event::Closed] {
        let mut t = Trial::new(Role::Mx);
        to_data(&mut t);
        t.feed(b"half a message\r\n", 99);
        t.on(event);
        assert_eq!(
            (t.seen.closed, t.seen.aborted, t.seen.messages.len()),
            (true, 1, 0)
        );
    }
}

#[test]
fn nothing_is_echoed() {
    let mut t = Trial::new(Role::Mx);
    t.feed(
        b"EHLO zqx\r\nzqx\r\nMAIL FROM:<zqx@zqx>\r\nRCPT TO:<zqx@zqx.example>\r\nVRFY zqx\r\n",
        99,
    );
    assert!(!String::from_utf8_lossy(&t.seen.replies).contains("zqx"));
}

fn segment() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "EHLO a\r\n",
        "HELO a\r\n",
        "MAIL FROM:<a@b> SIZE=10\r\n",
        "RCPT TO:<u@here.example>\r\n",
        "RCPT TO:<no@here.example>\r\n",
        "DATA\r\n",
        "a: b\r\n\r\n..x\r\n.\r\n",
        "bare\nlf\r\n.\r\n",
        "bare\rcr\r\n.\r\n",
        ".\r\n",
        "RSET\r\n",
        "STARTTLS\r\n",
        "AUTH PLAIN AHVzZXIAZ29vZA==\r\n",
        "AUTH PLAIN\r\n",
        "AHVzZXIAZ29vZA==\r\n",
        "*\r\n",
        "FOO\r\n",
        "QUIT\r\n",
        "MAIL FROM:<a@b>\r\nRCPT TO:<u@here.example>\r\nRSET\r\nMAIL FROM:<>\r\n",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A dialogue whose client waits where it must gives the same replies however its
    /// segments are cut.
    #[test]
    fn cuts_do_not_matter(segments in prop::collection::vec(segment(), 1..25), size in 1usize..6, role in 0usize..4) {
        let role = [Role::Mx, Role::Submission, Role::Submissions, Role::Local][role];
        let (mut whole, mut cut) = (Trial::new(role), Trial::new(role));
        for text in &segments {
            // Not a segment boundary that a client would have: message text in one go with what
            // comes behind a refused DATA.
            whole.feed(text.as_bytes(), usize::MAX);
            cut.feed(text.as_bytes(), size);
            prop_assert_eq!(&whole.seen, &cut.seen);
        }
    }
}
