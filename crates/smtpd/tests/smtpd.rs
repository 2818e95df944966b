//! smtpd alone, from its sockets to the queue file.

// A broken expectation is a panic, with its reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Output, Stdio};

use daemon::process::Order;
use fixture::{Client, Smtpd, find, id};

const MAIL: &str = "From: a@b.example\r\nSubject: x\r\n\r\nHello\r\n.dot\r\n";

fn curl(arguments: &[&str]) -> Output {
    let mut child = Command::new("curl")
        .args([
            "-sS",
            "-k",
            "--max-time",
            "30",
            "--mail-from",
            "a@b.example",
            "-T",
            "-",
        ])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(MAIL.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn a_message_comes_in() {
    let smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    client.until_data();
    client.write(b"From: a@b.example\r\n\r\nHello\r\n..dot\r\n.\r\n");
    let reply = client.reply();
    let word = smtpd.trigger();
    assert_eq!(word, format!("+{}", id(&reply)));
    let (content, envelope) = smtpd.message(id(&reply));
    let content = text(&content);
    assert!(content.starts_with(
        "Received: from client.example ([127.0.0.1])\r\n\tby mx.here.example with ESMTP id "
    ));
    assert!(content.contains("for <u@here.example>"));
    assert!(
        content.ends_with("+0000\r\nFrom: a@b.example\r\n\r\nHello\r\n.dot\r\n"),
        "{content}"
    );
    assert!(
        find(&envelope, b"a@b.example").is_some() && find(&envelope, b"u@here.example").is_some()
    );
    client.dialogue(&[("QUIT", "221"), ("", "")]);
    let log = smtpd.log();
    assert!(log.contains(&format!("id={}", id(&reply))), "{log}");
}

#[test]
fn refusals() {
    let smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    client.dialogue(&[
        ("", "220 mx.here.example ESMTP"),
        ("EHLO x", "250-mx.here.example|250-PIPELINING|250-SIZE 52428800|250-8BITMIME|250-STARTTLS|250 ENHANCEDSTATUSCODES"),
        ("MAIL FROM:<a@b.example>", "250 2.1.0"),
        ("RCPT TO:<nobody@here.example>", "550 5.1.1"),
        ("RCPT TO:<u@there.example>", "550 5.7.1"),
        ("RCPT TO:<u%there.example@here.example>", "550 5.1.1"),
        ("RCPT TO:<\"u@there.example\"@here.example>", "550 5.1.1"),
        ("RCPT TO:<Postmaster>", "250 2.1.5"),
        ("RCPT TO:<U+tag@HERE.example>", "250 2.1.5"),
        ("AUTH PLAIN AHUAZ29vZA==", "502 5.5.1"),
    ]);
    let log = smtpd.log();
    assert!(
        log.contains("rule=unknown-user") && log.contains("rule=relay"),
        "{log}"
    );
}

#[test]
fn curl_in_clear_with_starttls_with_auth_and_with_tls_first() {
    let smtpd = Smtpd::start("");
    let mx = format!("smtp://{}/client.example", smtpd.mx);
    let submission = format!("smtp://{}/client.example", smtpd.submission);
    let submissions = format!("smtps://{}/client.example", smtpd.submissions);
    let there = ["--mail-rcpt", "z@there.example"];
    let here = ["--mail-rcpt", "u@here.example"];
    for (arguments, with) in [
        (vec![&mx[..], here[0], here[1]], "with ESMTP id"),
        (vec![&mx, here[0], here[1], "--ssl-reqd"], "with ESMTPS id"),
        (
            vec![
                &submission,
                there[0],
                there[1],
                "--ssl-reqd",
                "--user",
                "u:good",
            ],
            "with ESMTPSA id",
        ),
        (
            vec![&submissions, there[0], there[1], "--user", "u:good"],
            "with ESMTPSA id",
        ),
    ] {
        let out = curl(&arguments);
        assert!(
            out.status.success(),
            "{arguments:?}: {}{}",
            text(&out.stderr),
            smtpd.log()
        );
        let word = smtpd.trigger();
        let (content, _) = smtpd.message(word.strip_prefix('+').unwrap());
        let content = text(&content);
        assert!(content.contains(with), "{content}");
        assert!(content.ends_with("Hello\r\n.dot\r\n"));
        // Submissions get what is missing, other mail is left alone.
        assert_eq!(
            content.contains("\r\nMessage-ID: <"),
            with.contains("SA"),
            "{content}"
        );
        assert_eq!(
            content.contains("\r\nDate: "),
            with.contains("SA"),
            "{content}"
        );
        assert_eq!(
            content.contains("tls TLS"),
            with.contains("ESMTPS"),
            "{content}"
        );
    }
    let denied = curl(&[&submissions, there[0], there[1], "--user", "u:bad"]);
    assert_eq!(denied.status.code(), Some(67), "{}", text(&denied.stderr));
    let relay = curl(&[&mx, there[0], there[1]]);
    assert_eq!(relay.status.code(), Some(55), "{}", text(&relay.stderr));
}

#[test]
fn swaks_with_pipelining_and_tls() {
    let smtpd = Smtpd::start("");
    let run = |port: u16, more: &[&str]| {
        Command::new("swaks")
            .args([
                "--server",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--from",
                "a@b.example",
                "--helo",
                "client.example",
            ])
            .args(more)
            .output()
            .expect("swaks is installed")
    };
    for (port, more) in [
        (
            smtpd.mx.port(),
            vec!["--to", "u@here.example", "--pipeline"],
        ),
        (smtpd.mx.port(), vec!["--to", "u@here.example", "--tls"]),
        (
            smtpd.submission.port(),
            vec![
                "--to",
                "z@there.example",
                "--tls",
                "--auth",
                "PLAIN",
                "--auth-user",
                "u",
                "--auth-password",
                "good",
            ],
        ),
    ] {
        let out = run(port, &more);
        assert!(out.status.success(), "{more:?}: {}", text(&out.stdout));
        assert!(smtpd.trigger().starts_with('+'));
    }
    assert!(
        !run(smtpd.mx.port(), &["--to", "nobody@here.example"])
            .status
            .success()
    );
}

#[test]
fn the_local_socket_knows_who_is_there() {
    let smtpd = Smtpd::start("");
    let mut client = Client::unix(&smtpd.local);
    client.dialogue(&[
        ("", "220"),
        ("EHLO localhost", "250-mx.here.example|250-PIPELINING|250-SIZE 52428800|250-8BITMIME|250 ENHANCEDSTATUSCODES"),
        ("MAIL FROM:<u@mx.here.example>", "250"),
        ("RCPT TO:<z@there.example>", "250"),
        ("RCPT TO:<nobody@here.example>", "550 5.1.1"),
        ("DATA", "354"),
    ]);
    client.write(b"Subject: x\r\n\r\n.\r\n");
    let reply = client.reply();
    let (content, _) = smtpd.message(id(&reply));
    let uid = nix::unistd::geteuid();
    let content = text(&content);
    assert!(
        content.starts_with(&format!(
            "Received: (uid {uid})\r\n\tby mx.here.example with local id"
        )),
        "{content}"
    );
    assert!(content.contains("From: <u@mx.here.example>\r\n\r\n"));
}

#[test]
fn octet_by_octet() {
    let smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    assert!(client.reply().starts_with("220"));
    for (line, want) in [
        ("EHLO client.example\r\n", "250"),
        ("MAIL FROM:<>\r\n", "250"),
        ("RCPT TO:<u@here.example>\r\n", "250"),
        ("DATA\r\n", "354"),
        ("a: b\r\n\r\n..\r\n.x\r\n.\r\n", "250"),
    ] {
        for octet in line.as_bytes() {
            client.write(&[*octet]);
        }
        let reply = client.reply();
        assert!(reply.starts_with(want), "{line}: {reply}");
    }
    let (content, _) = smtpd.message(&smtpd.trigger()[1..]);
    assert!(content.ends_with(b"a: b\r\n\r\n.\r\nx\r\n"));
}

#[test]
fn all_in_one_segment() {
    let smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    client.write(b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@here.example>\r\nDATA\r\none\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<u@here.example>\r\nDATA\r\ntwo\r\n.\r\nQUIT\r\n");
    client.inner().shutdown(Shutdown::Write).unwrap();
    for want in [
        "220",
        "250-",
        "250",
        "250",
        "354",
        "250 2.0.0 Ok: q",
        "250",
        "250",
        "354",
        "250 2.0.0 Ok: q",
        "221",
        "",
    ] {
        let reply = client.reply();
        assert!(reply.starts_with(want), "{want}: {reply}");
    }
    for word in ["one", "two"] {
        let (content, _) = smtpd.message(&smtpd.trigger()[1..]);
        assert!(text(&content).ends_with(&format!("{word}\r\n")));
    }
}

#[test]
fn big_and_long_lines_survive() {
    let smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    client.until_data();
    let mut body = vec![b'x'; 3_000_000];
    for (i, octet) in body.iter_mut().enumerate() {
        *octet = b'a' + u8::try_from(i % 26).unwrap();
    }
    for cut in [10_000, 20_000, 1_000_000] {
        body[cut..cut + 4].copy_from_slice(b"\r\nxx");
    }
    body.extend_from_slice(b"\r\n");
    client.write(&body);
    client.write(b".\r\n");
    let reply = client.reply();
    let (content, _) = smtpd.message(id(&reply));
    assert!(content.ends_with(&body));
}

#[test]
fn size_limit() {
    let smtpd = Smtpd::start("[smtp]\nmax_message_size = \"1M\"\n");
    let mut client = Client::tcp(smtpd.mx);
    client.dialogue(&[
        ("", "220"),
        ("EHLO c", "250"),
        ("MAIL FROM:<> SIZE=1048577", "552 5.3.4"),
        ("RSET", "250"),
    ]);
    for (size, want) in [
        (1_048_575, "250"),
        (1_048_576, "250"),
        (1_048_577, "552 5.3.4"),
    ] {
        client.dialogue(&[
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<u@here.example>", "250"),
            ("DATA", "354"),
        ]);
        let mut body = vec![b'x'; size - 2];
        body.extend_from_slice(b"\r\n.\r\n");
        client.write(&body);
        let reply = client.reply();
        assert!(reply.starts_with(want), "{size}: {reply}");
    }
    // The file that was begun is to be removed by queue-manager.
    let words = [smtpd.trigger(), smtpd.trigger(), smtpd.trigger()];
    assert_eq!(
        words.iter().filter(|w| w.starts_with('-')).count(),
        1,
        "{words:?}"
    );
}

#[test]
fn a_client_that_goes_away_leaves_nothing_acknowledged() {
    let smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    client.until_data();
    client.write(&[b'x'; 100_000]);
    drop(client);
    let word = smtpd.trigger();
    assert!(word.starts_with('-'), "{word}");
    assert!(smtpd.incoming().join(&word[1..]).exists());
}

#[test]
fn smuggling_is_refused() {
    let smtpd = Smtpd::start("");
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n"] {
        let mut client = Client::tcp(smtpd.mx);
        client.until_data();
        client.write(format!("a: b\r\n\r\nx{end}MAIL FROM:<evil@x>\r\nRCPT TO:<u@here.example>\r\nDATA\r\nevil\r\n.\r\n").as_bytes());
        let reply = client.reply();
        assert!(reply.starts_with("550 5.6.0"), "{end:?}: {reply}");
        client.dialogue(&[("QUIT", "221")]);
    }
    assert_eq!(std::fs::read_dir(smtpd.incoming()).unwrap().count(), 0);
}

#[test]
fn starttls_with_words_behind_it() {
    let smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    client.dialogue(&[("", "220"), ("EHLO c", "250")]);
    client.write(b"STARTTLS\r\nNOOP\r\n");
    assert!(client.reply().starts_with("554 5.5.0"));
    assert_eq!(client.reply(), "");
    // Words that come a little later are no handshake.
    let mut client = Client::tcp(smtpd.mx);
    client.dialogue(&[("", "220"), ("EHLO c", "250"), ("STARTTLS", "220")]);
    client.write(b"MAIL FROM:<evil@x>\r\n");
    let mut rest = Vec::new();
    let _ = client.inner().read_to_end(&mut rest);
    assert!(find(&rest, b"250").is_none(), "{rest:?}");
}

#[test]
fn sessions_per_address() {
    let smtpd = Smtpd::start("[smtp]\nmax_sessions_per_address = 2\nmax_sessions = 3\n");
    let mut first = Client::tcp(smtpd.mx);
    let mut second = Client::tcp(smtpd.mx);
    assert!(first.reply().starts_with("220") && second.reply().starts_with("220"));
    assert!(Client::tcp(smtpd.mx).reply().starts_with("421 4.7.0"));
    // The local socket has no address; the limit of all holds.
    let mut local = Client::unix(&smtpd.local);
    assert!(local.reply().starts_with("220"));
    assert!(Client::unix(&smtpd.local).reply().starts_with("421 4.7.0"));
    first.dialogue(&[("QUIT", "221"), ("", "")]);
    assert!(Client::tcp(smtpd.mx).reply().starts_with("220"));
}

#[test]
fn idle_sessions_end() {
    let smtpd = Smtpd::start("[smtp]\ncommand_timeout = \"1s\"\nmax_errors = 2\n");
    let mut client = Client::tcp(smtpd.mx);
    client.dialogue(&[("", "220"), ("FOO", "500"), ("FOO", "500"), ("FOO", "500")]);
    assert!(client.reply().starts_with("421 4.7.0"));
    assert_eq!(client.reply(), "");
    let mut client = Client::tcp(smtpd.mx);
    client.dialogue(&[("", "220"), ("", "421 4.4.2"), ("", "")]);
}

#[test]
fn many_at_once() {
    let smtpd = Smtpd::start("");
    let ids: HashSet<String> = std::thread::scope(|scope| {
        let client = |n: usize| {
            let address = smtpd.mx;
            move || {
                let mut client = Client::tcp(address);
                client.dialogue(&[("", "220"), ("EHLO c", "250")]);
                let mut ids = Vec::new();
                for i in 0..10 {
                    client.dialogue(&[
                        ("MAIL FROM:<>", "250"),
                        ("RCPT TO:<u@here.example>", "250"),
                        ("DATA", "354"),
                    ]);
                    client.write(
                        format!("N: {n}-{i}\r\n\r\n{}\r\n.\r\n", "x".repeat(4000)).as_bytes(),
                    );
                    ids.push(id(&client.reply()).to_owned());
                }
                ids
            }
        };
        let threads: Vec<_> = (0..20).map(|n| scope.spawn(client(n))).collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    assert_eq!(ids.len(), 200);
    let told: HashSet<String> = (0..200).map(|_| smtpd.trigger()[1..].to_owned()).collect();
    assert_eq!(told, ids);
    assert_eq!(std::fs::read_dir(smtpd.incoming()).unwrap().count(), 200);
}

#[test]
fn stop_finishes_the_message_under_way() {
    let mut smtpd = Smtpd::start("");
    let mut idle = Client::tcp(smtpd.mx);
    assert!(idle.reply().starts_with("220"));
    let mut busy = Client::tcp(smtpd.mx);
    busy.until_data();
    busy.write(b"half");
    smtpd.order(Order::Stop);
    idle.dialogue(&[("", "421 4.3.2"), ("", "")]);
    busy.write(b"\r\n.\r\n");
    let reply = busy.reply();
    assert!(!id(&reply).is_empty());
    busy.dialogue(&[("", "421 4.3.2"), ("", "")]);
    assert_eq!(smtpd.wait(), 0);
}

#[test]
fn reload_lets_sessions_go_on() {
    let mut smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    client.dialogue(&[("", "220"), ("EHLO c", "250")]);
    smtpd.order(Order::Reload);
    client.dialogue(&[
        ("MAIL FROM:<>", "250"),
        ("RCPT TO:<u@here.example>", "250"),
        ("DATA", "354"),
    ]);
    client.write(b"x\r\n.\r\n");
    assert!(!id(&client.reply()).is_empty());
    client.dialogue(&[("QUIT", "221")]);
    assert_eq!(smtpd.wait(), 0);
}

#[test]
fn the_end_of_queue_manager_is_the_end_of_the_house() {
    let mut smtpd = Smtpd::start("");
    let mut client = Client::tcp(smtpd.mx);
    assert!(client.reply().starts_with("220"));
    smtpd.close_trigger();
    client.dialogue(&[("", "421 4.3.2"), ("", "")]);
    assert_eq!(smtpd.wait(), 0);
}

#[test]
fn authd_that_is_gone_is_no_wrong_password() {
    let smtpd = Smtpd::start("");
    smtpd.stop_authd();
    let submissions = format!("smtps://{}/client.example", smtpd.submissions);
    let out = curl(&[
        &submissions,
        "--mail-rcpt",
        "z@there.example",
        "--user",
        "u:good",
    ]);
    assert!(!out.status.success());
    assert!(smtpd.log().contains("454 4.7.0"), "{}", smtpd.log());
}

#[test]
fn a_client_that_talks_and_does_not_read_costs_its_session_only() {
    let smtpd = Smtpd::start("[smtp]\nmax_recipients = 50000\n");
    let mut client = Client::tcp(smtpd.mx);
    client.dialogue(&[("", "220"), ("EHLO c", "250"), ("MAIL FROM:<>", "250")]);
    let block = "RCPT TO:<u@here.example>\r\n".repeat(1_000);
    // Until the session is over: the limits of recipients say when.
    let mut sent = 0;
    while client.inner().write_all(block.as_bytes()).is_ok() {
        sent += block.len();
        assert!(sent < 512 << 20, "no end");
    }
    let mut other = Client::tcp(smtpd.mx);
    other.dialogue(&[("", "220"), ("QUIT", "221")]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", smtpd.pid())).unwrap();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(peak < 64 * 1024, "{peak} KiB");
    assert!(smtpd.log().lines().count() < 20, "{}", smtpd.log());
}

#[test]
fn inetd_one_session() {
    let dir = fixture::directory("");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let config = dir.path().join("hikyaku.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_smtpd"));
    command
        .arg("--config")
        .arg(config)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stderr(log);
    if daemon::process::is_root() {
        use std::os::unix::process::CommandExt;
        command.uid(65_534).gid(65_534);
    }
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut client = Client::over(ours);
    client.until_data();
    client.write(b"x\r\n.\r\n");
    let reply = client.reply();
    assert!(dir.path().join("queue/incoming").join(id(&reply)).exists());
    client.dialogue(&[("QUIT", "221"), ("", "")]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn without_doors_or_with_unknown_words_it_does_not_start() {
    let dir = fixture::directory("");
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_smtpd"))
            .arg("--config")
            .arg(dir.path().join("hikyaku.toml"))
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let out = run(&[]);
    assert_eq!(out.status.code(), Some(100), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("no listener named mx"));
}
