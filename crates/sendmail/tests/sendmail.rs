//! The real program against the server core on a real socket.

// A broken expectation is a panic, with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use smtp::exercise::{SpoolFault, Transcript, Trial};
use smtp::server::{Event, Role, Settings, SpoolError};

struct House {
    dir: tempfile::TempDir,
    server: Option<JoinHandle<Transcript>>,
}

impl House {
    /// A house whose smtpd serves one connection.
    fn new(fault: SpoolFault) -> Self {
        let house = Self::empty();
        let listener = UnixListener::bind(house.dir.path().join("submit")).unwrap();
        let server = std::thread::spawn(move || {
            let settings = Settings {
                hostname: "h.example".into(),
                role: Role::Local,
                tls: false,
                max_message_size: 1_000_000,
                max_recipients: 3,
                max_errors: 10,
            };
            let mut trial = Trial::with(settings, fault);
            let (mut socket, _) = listener.accept().unwrap();
            let (mut said, mut buffer) = (0, [0; 4096]);
            loop {
                // A caller that has hung up is seen by the next read.
                let _ = socket.write_all(&trial.seen.replies[said..]);
                said = trial.seen.replies.len();
                if trial.seen.closed {
                    break;
                }
                match socket.read(&mut buffer) {
                    Ok(n) if n > 0 => trial.feed(&buffer[..n], n),
                    _ => trial.on(Event::Closed),
                }
            }
            trial.seen
        });
        Self {
            server: Some(server),
            ..house
        }
    }

    /// A house in which nobody answers.
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        let text = format!(
            "hostname = \"h.example\"\ndomains = [\"here.example\"]\n[paths]\nrun = \"{path}\"\n"
        );
        std::fs::write(dir.path().join("hikyaku.toml"), text).unwrap();
        Self { dir, server: None }
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sendmail"))
            .env("HIKYAKU_CONFIG", self.dir.path().join("hikyaku.toml"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    fn seen(mut self) -> Transcript {
        self.server.take().unwrap().join().unwrap()
    }
}

/// Sends and gives sender, recipients and content as smtpd got them.
fn send(arguments: &[&str], input: &[u8]) -> (String, Vec<String>, String) {
    let house = House::new(SpoolFault::Never);
    let out = house.run(arguments, input);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let (envelope, content) = house.seen().messages.pop().unwrap();
    let to = envelope.to.iter().map(|t| t.as_str().to_owned()).collect();
    (
        envelope.from.as_str().to_owned(),
        to,
        String::from_utf8(content).unwrap(),
    )
}

fn code(fault: SpoolFault, arguments: &[&str], input: &[u8]) -> (Option<i32>, String) {
    let house = House::new(fault);
    let out = house.run(arguments, input);
    let _ = house.seen();
    (out.status.code(), String::from_utf8(out.stderr).unwrap())
}

#[test]
fn as_cron_calls_it() {
    let mail = b"From: root (Cron Daemon)\nTo: u@here.example\nSubject: Cron\n\nout\n.\nmore\n";
    let (from, to, content) = send(
        &[
            "-FCronDaemon",
            "-i",
            "-B8BITMIME",
            "-oem",
            "-f",
            "root",
            "u@here.example",
        ],
        mail,
    );
    assert_eq!(
        (from.as_str(), to),
        ("root@h.example", vec!["u@here.example".to_owned()])
    );
    // Date and Message-ID are added by smtpd, here as marks.
    assert_eq!(
        content,
        "From: root (Cron Daemon)\r\nTo: u@here.example\r\nSubject: Cron\r\n+date\r\n+id\r\n\r\nout\r\n.\r\nmore\r\n"
    );
}

#[test]
fn recipients_from_the_header() {
    let mail = b"To: Joe <a@x.example>,\n b@x.example\nBcc: c@x.example\nFrom: me@x.example\n\nhi\n.\nnot this\n";
    let (_, to, content) = send(&["-t", "-f", "me@x.example"], mail);
    assert_eq!(to, ["a@x.example", "b@x.example", "c@x.example"]);
    assert_eq!(
        content,
        "To: Joe <a@x.example>,\r\n b@x.example\r\nFrom: me@x.example\r\n+date\r\n+id\r\n\r\nhi\r\n"
    );
}

#[test]
fn plain_text_gets_a_header() {
    let (from, _, content) = send(
        &[
            "-F",
            "Full Name",
            "-f",
            "me@x.example",
            "--",
            "u@here.example",
        ],
        b"just text, no header\n..dots\n",
    );
    assert_eq!(from, "me@x.example");
    assert_eq!(
        content,
        "From: Full Name <me@x.example>\r\n+date\r\n+id\r\n\r\njust text, no header\r\n..dots\r\n"
    );
}

#[test]
fn null_sender_and_own_name() {
    let (from, _, content) = send(&["-f", "", "u@here.example"], b"Subject: x\n\n");
    assert!(from.is_empty() && content.contains("From: "));
    let (from, ..) = send(&["u@here.example"], b"Subject: x\n\n");
    let name = nix::unistd::User::from_uid(nix::unistd::getuid())
        .unwrap()
        .unwrap()
        .name;
    assert_eq!(from, format!("{name}@h.example"));
}

#[test]
fn a_big_message_streams() {
    let mut mail = b"From: a@b\n\n".to_vec();
    for _ in 0..10_000 {
        mail.extend_from_slice(b".0123456789012345678901234567890123456789\n");
    }
    let (_, _, content) = send(&["-i", "u@here.example"], &mail);
    assert!(content.ends_with("\r\n.0123456789012345678901234567890123456789\r\n"));
    assert_eq!(content.matches(".0123").count(), 10_000);
}

#[test]
fn exit_codes() {
    let mail = b"From: a@b\n\nx\n";
    let never = SpoolFault::Never;
    for (fault, arguments, input, want, word) in [
        (
            never,
            vec!["nobody@here.example"],
            &mail[..],
            67,
            "550 5.1.1",
        ),
        (
            never,
            vec!["u@here.example", "nobody@here.example"],
            mail,
            67,
            "sent to the other 1",
        ),
        (
            never,
            vec!["-f", "bad@x.example", "u@here.example"],
            mail,
            77,
            "550 5.7.1",
        ),
        (never, vec!["u@here.example"], b"a\0b\n", 65, "550 5.6.0"),
        (
            never,
            vec!["a@x", "b@x", "c@x", "d@x"],
            mail,
            75,
            "452 4.5.3",
        ),
        (
            SpoolFault::Open(SpoolError::Full),
            vec!["u@here.example"],
            mail,
            75,
            "452 4.3.1",
        ),
        (
            SpoolFault::Commit(SpoolError::Broken),
            vec!["u@here.example"],
            mail,
            75,
            "451 4.3.0",
        ),
    ] {
        let (got, text) = code(fault, &arguments, input);
        assert_eq!(got, Some(want), "{arguments:?}: {text}");
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn exit_codes_without_a_talk() {
    let house = House::empty();
    for (arguments, want) in [
        (&["u@here.example"][..], 75),
        (&["-t"], 64),
        (&["-bp"], 64),
        (&["a@@b"], 64),
        (&["-C", "/nonexistent.toml", "u"], 78),
    ] {
        let out = house.run(arguments, b"From: a@b\n\nx\n");
        assert_eq!(
            out.status.code(),
            Some(want),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    let out = house.run(&["-t"], b"To: a@@b\n\n");
    assert_eq!(out.status.code(), Some(65));
}

#[test]
fn dialogue() {
    let house = House::new(SpoolFault::Never);
    let out = house.run(
        &["-bs"],
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@here.example>\r\nDATA\r\nhi\r\n.\r\nQUIT\r\n",
    );
    assert!(out.status.success());
    assert!(
        String::from_utf8(out.stdout)
            .unwrap()
            .ends_with("221 2.0.0 Bye\r\n")
    );
    assert_eq!(house.seen().messages.len(), 1);
}
