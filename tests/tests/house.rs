//! The whole house: real programs, real sockets, a letter's way through all of them, and what
//! happens to it when one of them is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use end_to_end::{fetch_last, letter, submit, transfer, value};
use testkit::{Dns, House, Plan, Sink, SinkOptions, Zone, play};

const HERE: &str = "here.example";

fn house() -> House {
    House::start(Plan::new(HERE).user("alice", "apple").user("bob", "banana"))
}

fn at(user: &str) -> String {
    format!("{user}@{HERE}")
}

/// Waits until the queue-manager has said that this message is delivered.
fn delivered(house: &House, id: &str) -> String {
    house.wait(0, &["queue-manager", " delivered ", &format!("id={id}")])
}

/// Whether a client program is there; says so when it is not, as the test's result does not.
fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

#[test]
fn a_letter_comes_in_by_smtp_and_out_by_pop3() {
    let house = house();
    let text = letter(
        "far@other.example",
        &at("bob"),
        "one",
        "first line\r\n.second begins with a dot\r\n\r\nlast",
    );
    let id = transfer(&house, "far@other.example", &at("bob"), &text);
    delivered(&house, &id);
    let (count, found) = fetch_last(&house, "bob", "banana");
    assert_eq!(count, 1);
    assert!(found.contains("\n.second begins with a dot\r\n"), "{found}");
    assert!(
        found.contains("Return-Path: <far@other.example>"),
        "{found}"
    );
    assert!(found.contains("Delivered-To: bob"), "{found}");
    assert!(
        found.contains(&format!("by {HERE}")) && found.contains(&id),
        "{found}"
    );
    assert!(found.ends_with("last\r\n"), "{found}");
    assert_eq!(
        fetch_last(&house, "alice", "apple").0,
        0,
        "nobody else has it"
    );
    house.until("an empty queue", || house.queued().is_empty());
}

#[test]
fn strangers_are_refused_at_rcpt() {
    let house = house();
    let script = format!(
        "<~ 220 \n-> EHLO x.example\n<~ 250-\n-> MAIL FROM:<a@x.example>\n<~ 250 2.1.0\n\
         -> RCPT TO:<nobody@{HERE}>\n<~ 550 5.1.1\n-> RCPT TO:<{}>\n<~ 250 2.1.5\n\
         -> RCPT TO:<postmaster>\n<~ 250 2.1.5\n-> RSET\n<~ 250\n-> QUIT\n<~ 221\n",
        at("bob")
    );
    // The house of these tests has no postmaster of its own: the role exists all the same.
    let house_with = House::start(
        Plan::new(HERE)
            .user("bob", "banana")
            .user("postmaster", "p"),
    );
    play(house_with.address("mx"), &script, None);
    // From port 25 nobody relays but the listed networks; here none are.
    let closed = House::start(
        Plan::new(HERE)
            .user("bob", "banana")
            .config("[smtp]\nrelay_from = []\n"),
    );
    let script = format!(
        "<~ 220 \n-> EHLO x.example\n<~ 250-\n-> AUTH PLAIN AGJvYgBiYW5hbmE=\n<~ 5\n-> MAIL FROM:<a@x.example>\n<~ 250\n\
         -> RCPT TO:<a@far.example>\n<~ 550 5.7.1\n-> RCPT TO:<a%far.example@{HERE}>\n<~ 550 5.\n\
         -> RCPT TO:<@{HERE}:a@far.example>\n<~ 550 5.7.1\n-> RCPT TO:<\"a@far.example\"@{HERE}>\n<~ 550 5.\n-> QUIT\n<~ 221\n"
    );
    play(closed.address("mx"), &script, None);
    // Submission wants a login before anything else.
    let script = "tls\n<~ 220\n-> EHLO x\n<~ 250-\n-> MAIL FROM:<a@b.example>\n<~ 530 5.7.0\n-> AUTH PLAIN AGJvYgB3cm9uZw==\n<~ 535 5.7.8\n-> QUIT\n<~ 221\n";
    play(
        house.address("submissions"),
        script,
        Some((house.authority().client(), "localhost")),
    );
}

#[test]
fn curl_sends_and_reads() {
    if !installed("curl") {
        return;
    }
    let house = house();
    let file = house.directory().join("curl.eml");
    let text = letter(&at("alice"), &at("bob"), "curl", "sent by curl");
    fs::write(&file, text).unwrap();
    let authority = house.directory().join("tls/authority.pem");
    let curl = |arguments: &[&str]| {
        let out = Command::new("curl")
            .args(["-sS", "--cacert", authority.to_str().unwrap()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    // STARTTLS on submission, TLS from the start on submissions.
    let (starttls, implicit) = (
        house.address("submission").port(),
        house.address("submissions").port(),
    );
    let urls = [
        format!("smtp://localhost:{starttls}"),
        format!("smtps://localhost:{implicit}"),
    ];
    for (n, url) in urls.iter().enumerate() {
        let mark = house.mark();
        curl(&[
            "--ssl-reqd",
            url,
            "--user",
            "alice:apple",
            "--mail-from",
            &at("alice"),
            "--mail-rcpt",
            &at("bob"),
            "--upload-file",
            file.to_str().unwrap(),
        ]);
        house.wait(mark, &["queue-manager", " delivered "]);
        let (stls, tls) = (house.address("pop3").port(), house.address("pop3s").port());
        let list = curl(&["--user", "bob:banana", &format!("pop3s://localhost:{tls}/")]);
        assert_eq!(list.lines().count(), n + 1, "{list}");
        let text = curl(&[
            "--ssl-reqd",
            "--user",
            "bob:banana",
            &format!("pop3://localhost:{stls}/{}", n + 1),
        ]);
        assert!(text.contains("sent by curl"), "{text}");
    }
}

#[test]
fn swaks_sends() {
    if !installed("swaks") {
        return;
    }
    let house = house();
    for (port, more) in [
        ("mx", &[][..]),
        (
            "submission",
            &[
                "--tls",
                "--auth",
                "PLAIN",
                "--auth-user",
                "alice",
                "--auth-password",
                "apple",
            ][..],
        ),
        (
            "submissions",
            &[
                "--tlsc",
                "--auth",
                "PLAIN",
                "--auth-user",
                "alice",
                "--auth-password",
                "apple",
            ][..],
        ),
    ] {
        let mark = house.mark();
        let address = house.address(port);
        let out = Command::new("swaks")
            .args([
                "--server",
                &address.ip().to_string(),
                "--port",
                &address.port().to_string(),
                "--from",
                &at("alice"),
                "--to",
                &at("bob"),
            ])
            .args(more)
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{port}: {}",
            String::from_utf8_lossy(&out.stdout)
        );
        house.wait(mark, &["queue-manager", " delivered "]);
    }
    assert_eq!(house.mail("bob").len(), 3);
}

#[test]
fn python_sends_and_reads() {
    if !installed("python3") {
        return;
    }
    let house = house();
    let program = format!(
        "import smtplib, poplib, ssl\n\
         c = ssl.create_default_context(cafile={:?})\n\
         s = smtplib.SMTP('localhost', {}); s.starttls(context=c); s.login('alice', 'apple')\n\
         s.sendmail({:?}, [{:?}, {:?}], 'Subject: from python\\r\\n\\r\\nhello\\r\\n.\\r\\n..\\r\\n'); s.quit()\n",
        house.directory().join("tls/authority.pem"),
        house.address("submission").port(),
        at("alice"),
        at("bob"),
        at("alice"),
    );
    let python = |program: &str| {
        let out = Command::new("python3")
            .args(["-c", program])
            .output()
            .unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    python(&program);
    let line = house.wait(0, &["smtpd", "received"]);
    let id = value(&line, "id").unwrap();
    house.wait(0, &["queue-manager", " removed ", &format!("id={id}")]);
    let program = format!(
        "import poplib, ssl\n\
         c = ssl.create_default_context(cafile={:?})\n\
         p = poplib.POP3('localhost', {}); p.stls(c); p.user('bob'); p.pass_('banana')\n\
         n, size = p.stat(); assert n == 1, n\n\
         lines = p.retr(1)[1]; assert lines[-3:] == [b'hello', b'.', b'..'], lines\n\
         assert sum(len(l) + 2 for l in lines) == size, size\n\
         assert len(p.top(1, 1)[1]) == len(lines) - 2\n\
         u = p.uidl(1); p.dele(1); p.quit(); print(u)\n",
        house.directory().join("tls/authority.pem"),
        house.address("pop3").port(),
    );
    python(&program);
    assert!(house.mail("bob").is_empty(), "deleted at QUIT");
    assert_eq!(house.mail("alice").len(), 1);
}

#[test]
fn programs_send_through_the_local_socket() {
    let house = house();
    let text = format!(
        "To: Bob <{}>\nBcc: {}\nSubject: from cron\n\nnightly report\n.\nmore\n",
        at("bob"),
        at("alice")
    );
    let out = house.run("sendmail", &["-t", "-i"], text.as_bytes());
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let line = house.wait(0, &["smtpd", "received"]);
    house.wait(
        0,
        &[
            "queue-manager",
            " removed ",
            &format!("id={}", value(&line, "id").unwrap()),
        ],
    );
    for user in ["alice", "bob"] {
        let mail = house.mail(user);
        assert_eq!(mail.len(), 1, "{user}");
        let text = mail[0].to_ascii_lowercase();
        assert!(text.contains("nightly report\n.\nmore\n"), "{text}");
        assert!(!text.contains("bcc:"), "{text}");
        assert!(
            text.contains("\nmessage-id: <")
                && text.contains("\ndate: ")
                && text.contains("\nfrom: "),
            "{text}"
        );
    }
    let out = house.run(
        "sendmail",
        &["-f", "someone@else.example", "--", "nobody@here.example"],
        b"Subject: x\n\nx\n",
    );
    assert_eq!(
        out.status.code(),
        Some(67),
        "EX_NOUSER: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    let out = house.run("sendmail", &["-i"], b"x\n");
    assert_eq!(out.status.code(), Some(64), "EX_USAGE");
}

#[test]
fn no_daemon_is_a_temporary_failure_for_sendmail() {
    let mut house = house();
    assert!(house.stop().success());
    let out = house.run("sendmail", &[at("bob")], b"Subject: x\n\nx\n");
    assert_eq!(
        out.status.code(),
        Some(75),
        "EX_TEMPFAIL: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// Two houses and the name server between them.
fn two_houses(more: &str) -> (House, House, Dns) {
    let mut zone = Zone::new();
    zone.row("there.example MX 10 mx.there.example");
    zone.row("mx.there.example A 127.0.0.1");
    zone.row("here.example MX 10 mx.here.example");
    zone.row("mx.here.example A 127.0.0.1");
    let dns = Dns::start(zone);
    let there = House::start(Plan::new("there.example").user("carol", "cherry"));
    let config = format!(
        "[remote]\nresolver = \"{}\"\nport = {}\n{more}",
        dns.address,
        there.address("mx").port()
    );
    let here = House::start(
        Plan::new(HERE)
            .user("alice", "apple")
            .user("bob", "banana")
            .config(&config),
    );
    (here, there, dns)
}

#[test]
fn a_letter_goes_to_the_other_house() {
    let (here, there, _dns) = two_houses("");
    let text = letter(
        &at("alice"),
        "carol@there.example",
        "far",
        "over the mountains",
    );
    let id = submit(
        &here,
        "alice",
        "apple",
        &at("alice"),
        &["carol@there.example", &at("bob")],
        &text,
    );
    here.wait(0, &["queue-manager", " removed ", &format!("id={id}")]);
    let line = there.wait(0, &["smtpd", "received"]);
    delivered(&there, value(&line, "id").unwrap());
    let mail = there.mail("carol");
    assert_eq!(mail.len(), 1);
    assert!(
        mail[0].contains("over the mountains") && mail[0].contains(&id),
        "{}",
        mail[0]
    );
    assert!(
        mail[0].contains("TLS"),
        "opportunistic TLS between the houses: {}",
        mail[0]
    );
    assert_eq!(here.mail("bob").len(), 1);
    there.until("empty queues", || {
        here.queued().is_empty() && there.queued().is_empty()
    });
}

#[test]
fn what_cannot_be_delivered_comes_back() {
    let (here, _there, _dns) = two_houses("");
    // The other house knows no dave; the third domain does not exist.
    for (to, words) in [
        ("dave@there.example", "5.1.1"),
        ("x@nowhere.example", "5.1.2"),
    ] {
        let mark = here.mark();
        let id = submit(
            &here,
            "alice",
            "apple",
            &at("alice"),
            &[to],
            &letter(&at("alice"), to, "lost", "where to?"),
        );
        here.wait(mark, &["queue-manager", " removed ", &format!("id={id}")]);
        here.wait(mark, &["queue-manager", " delivered ", "alice"]);
        let mail = here
            .mail("alice")
            .into_iter()
            .find(|m| m.contains(to))
            .expect("a bounce");
        for part in [
            "Return-Path: <>",
            "multipart/report",
            "message/delivery-status",
            "Action: failed",
            words,
            "where to?",
        ] {
            assert!(mail.contains(part), "{part} is not in\n{mail}");
        }
    }
    assert_eq!(here.mail("alice").len(), 2);
}

#[test]
fn what_waits_is_listed_and_goes_later() {
    let (here, mut there, _dns) = two_houses("[queue]\nretry = [\"1s\"]\n");
    let address = there.address("mx");
    assert!(there.stop().success());
    let id = submit(
        &here,
        "alice",
        "apple",
        &at("alice"),
        &["carol@there.example"],
        &letter(&at("alice"), "carol@there.example", "w", "patience"),
    );
    here.wait(0, &["queue-manager", "deferred", &format!("id={id}")]);
    let out = here.run("hikyaku", &["queue", "list"], b"");
    let list = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success() && list.contains(&id) && list.contains("carol@there.example"),
        "{list}"
    );
    // Somebody answers at that address again.
    let sink = Sink::start_with(address, SinkOptions::default()).expect("the address is free");
    here.wait(0, &["queue-manager", " delivered ", &format!("id={id}")]);
    assert!(String::from_utf8_lossy(&sink.letters(1)[0].data).contains("patience"));
    here.until("an empty queue", || here.queued().is_empty());
}

#[test]
fn killed_programs_come_back_and_lose_nothing() {
    let house = house();
    let mut wanted = 0;
    for program in [
        "smtpd",
        "queue-manager",
        "local-deliver",
        "remote-send",
        "authd",
        "pop3d",
    ] {
        let mark = house.mark();
        house.kill(program);
        house.wait(
            mark,
            &["mail-start", "serving", &format!("program={program} ")],
        );
        let id = submit(
            &house,
            "alice",
            "apple",
            &at("alice"),
            &[&at("bob")],
            &letter(&at("alice"), &at("bob"), program, "still here"),
        );
        delivered(&house, &id);
        wanted += 1;
        assert_eq!(
            fetch_last(&house, "bob", "banana").0,
            wanted,
            "after {program}"
        );
    }
}

#[test]
fn programs_that_live_and_do_nothing_are_replaced() {
    let (here, there, _dns) =
        two_houses("[queue]\nanswer_time = \"1s\"\ndelivery_time = \"1s\"\nretry = [\"1s\"]\n");
    let send = |to: &str, name: &str| {
        let text = letter(&at("alice"), to, name, "still here");
        submit(&here, "alice", "apple", &at("alice"), &[to], &text)
    };
    // remote-send, and local-deliver's parent before it has made a worker.
    for (program, to) in [
        ("remote-send", "carol@there.example".to_owned()),
        ("local-deliver", at("bob")),
    ] {
        let mark = here.mark();
        here.freeze(here.pid(program));
        let id = send(&to, program);
        here.wait(mark, &["mail-start", "killed", program, "does not answer"]);
        here.wait(mark, &["mail-start", "serving", program]);
        here.wait(mark, &["queue-manager", "removed", &format!("id={id}")]);
    }
    there.until("carol's letter", || there.mail("carol").len() == 1);
    // A worker, in the middle of nothing.
    let mark = here.mark();
    let parent = here.pid("local-deliver");
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let workers: Vec<u32> = list
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert_eq!(workers.len(), 1, "bob's");
    here.freeze(workers[0]);
    let id = send(&at("bob"), "worker");
    let killed = format!("pid={}", workers[0]);
    here.wait(
        mark,
        &["local-deliver", "worker-killed", "user=bob", &killed],
    );
    here.wait(mark, &["queue-manager", "not-now", &id, "did not answer"]);
    here.wait(mark, &["queue-manager", "removed", &format!("id={id}")]);
    assert_eq!(here.mail("bob").len(), 2, "once each");
}

#[test]
fn nothing_acknowledged_is_lost_in_a_crash_of_everything() {
    let mut house = house();
    let address = house.address("mx");
    let acknowledged = AtomicUsize::new(0);
    let (acked, rcpt) = (&acknowledged, at("bob"));
    // Clients send until their connection breaks; the house is killed in the middle.
    std::thread::scope(|scope| {
        for client in 0..4 {
            let rcpt = &rcpt;
            scope.spawn(move || {
                for n in 0..2000 {
                    if send_one(address, rcpt, &format!("c{client}n{n}")).is_none() {
                        return;
                    }
                    acked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        house.until("40 messages", || acknowledged.load(Ordering::SeqCst) >= 40);
        house.crash();
    });
    let acknowledged = acknowledged.into_inner();
    house.start_again();
    let id = transfer(
        &house,
        "last@other.example",
        &rcpt,
        &letter("last@other.example", &rcpt, "last", "the last one"),
    );
    // From the first line of the new start: it may be delivered before we come to look.
    house.wait(0, &["queue-manager", " delivered ", &id]);
    // What waited was scheduled before the last one came; the queue is empty when all is delivered.
    house.until("an empty queue", || house.queued().is_empty());
    let mail = house.mail("bob");
    let mut subjects: Vec<&str> = mail
        .iter()
        .filter_map(|m| m.lines().find_map(|l| l.strip_prefix("Subject: n-")))
        .collect();
    let copies = subjects.len();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), copies, "a message was delivered twice");
    // Each of the four clients may have had one on its way that was kept without its 250 arriving.
    assert!(
        (acknowledged..=acknowledged + 4).contains(&copies),
        "{copies} delivered, {acknowledged} acknowledged"
    );
}

/// Sends one message; `None` when the connection broke before the final reply.
fn send_one(address: std::net::SocketAddr, rcpt: &str, name: &str) -> Option<()> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(testkit::PATIENCE)).ok()?;
    let expect = |socket: &mut TcpStream, say: &str, code: &[u8]| -> Option<()> {
        socket.write_all(say.as_bytes()).ok()?;
        let mut reply = Vec::new();
        let mut block = [0; 512];
        loop {
            let n = socket.read(&mut block).ok().filter(|&n| n > 0)?;
            reply.extend_from_slice(&block[..n]);
            let last = reply
                .strip_suffix(b"\r\n")
                .and_then(|r| r.rsplit(|&b| b == b'\n').next());
            if last.is_some_and(|l| l.get(3) == Some(&b' ')) {
                return reply.starts_with(code).then_some(());
            }
        }
    };
    expect(&mut socket, "", b"220")?;
    expect(&mut socket, "EHLO c.example\r\n", b"250")?;
    expect(&mut socket, "MAIL FROM:<c@c.example>\r\n", b"250")?;
    expect(&mut socket, &format!("RCPT TO:<{rcpt}>\r\n"), b"250")?;
    expect(&mut socket, "DATA\r\n", b"354")?;
    expect(
        &mut socket,
        &format!("Subject: n-{name}\r\n\r\ntext\r\n.\r\n"),
        b"250",
    )
}

#[test]
fn a_reload_drops_no_session() {
    let house = house();
    let mut socket = TcpStream::connect(house.address("mx")).unwrap();
    socket.set_read_timeout(Some(testkit::PATIENCE)).unwrap();
    say(&mut socket, "", "220");
    say(&mut socket, "EHLO x.example\r\n", "250");
    say(&mut socket, "MAIL FROM:<x@x.example>\r\n", "250");
    let mark = house.mark();
    let old = house.pid("smtpd");
    house.reload();
    house.wait(mark, &["mail-start", "replaced", "program=smtpd"]);
    house.wait(mark, &["mail-start", "serving", "program=queue-manager"]);
    assert_ne!(house.pid("smtpd"), old);
    // The old process still serves the old session, the new one new ones.
    transfer(
        &house,
        "y@y.example",
        &at("bob"),
        &letter("y@y.example", &at("bob"), "new", "through the new one"),
    );
    say(&mut socket, &format!("RCPT TO:<{}>\r\n", at("bob")), "250");
    say(&mut socket, "DATA\r\n", "354");
    say(
        &mut socket,
        "Subject: old\r\n\r\nthrough the old one\r\n.\r\n",
        "250",
    );
    say(&mut socket, "QUIT\r\n", "221");
    house.wait(
        mark,
        &[
            "mail-start",
            "ended",
            "program=smtpd",
            &format!("child={old} "),
        ],
    );
    house.until("both messages", || house.mail("bob").len() == 2);
}

#[test]
fn a_wrong_configuration_changes_nothing_at_reload() {
    let mut house = house();
    let mark = house.mark();
    let old = house.pid("smtpd");
    house.reconfigure("[smtp]\nmax_recipient = 5\n");
    house.reload();
    let line = house.wait(mark, &["mail-start", "reload", "max_recipient"]);
    assert!(
        line.contains("hikyaku.toml:") && line.contains("max_recipients"),
        "{line}"
    );
    assert_eq!(house.pid("smtpd"), old);
    let out = house.run("hikyaku", &["check"], b"");
    assert_eq!(out.status.code(), Some(100));
    house.reconfigure("[smtp]\nmax_message_size = \"128K\"\n");
    let mark = house.mark();
    house.reload();
    // The old one shares the socket until it has heard that it is replaced; it has no session to finish.
    house.wait(
        mark,
        &[
            "mail-start",
            "ended",
            "program=smtpd",
            &format!("child={old} "),
        ],
    );
    let script = "<~ 220\n-> EHLO x\n<~ 250-\n-> MAIL FROM:<a@b.example> SIZE=131072\n<~ 250\n-> RSET\n<~ 250\n\
                  -> MAIL FROM:<a@b.example> SIZE=131073\n<~ 552 5.3.4\n-> QUIT\n<~ 221\n";
    play(house.address("mx"), script, None);
}

#[test]
fn a_user_added_while_it_runs_gets_mail() {
    let house = house();
    let (mark, old) = (house.mark(), house.pid("smtpd"));
    let out = house.run(
        "hikyaku",
        &["user", "add", "dora", "--password-stdin"],
        b"date\n",
    );
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    house.wait(
        mark,
        &[
            "mail-start",
            "ended",
            "program=smtpd",
            &format!("child={old} "),
        ],
    );
    house.wait(mark, &["mail-start", "serving", "program=local-deliver"]);
    let id = submit(
        &house,
        "dora",
        "date",
        &at("dora"),
        &[&at("dora")],
        &letter(&at("dora"), &at("dora"), "me", "to myself"),
    );
    delivered(&house, &id);
    assert_eq!(fetch_last(&house, "dora", "date").0, 1);
}

/// Runs a program as inetd does, with one end of a TCP connection on descriptor 0.
fn inetd(house: &House, program: &str, role: &str) -> (TcpStream, std::process::Child) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ours.set_read_timeout(Some(testkit::PATIENCE)).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    let mut command = house.command(program);
    command.args(["--role", role]).stdin(OwnedFd::from(theirs));
    (ours, command.spawn().unwrap())
}

/// Says a line and hears one, which begins like this.
fn say(socket: &mut TcpStream, text: &str, code: &str) {
    socket.write_all(text.as_bytes()).unwrap();
    let mut block = [0; 1024];
    let n = socket.read(&mut block).unwrap();
    let reply = String::from_utf8_lossy(&block[..n]).into_owned();
    assert!(reply.starts_with(code), "{text:?} -> {reply:?}");
}

/// A whole dialogue with smtpd over a connection that has just been made.
fn write_to_bob(socket: &mut TcpStream, text: &str) {
    let recipient = format!("RCPT TO:<{}>\r\n", at("bob"));
    let message = format!("Subject: s\r\n\r\n{text}\r\n.\r\n");
    for (command, reply) in [
        ("", "220"),
        ("EHLO x.example\r\n", "250"),
        ("MAIL FROM:<x@x.example>\r\n", "250"),
        (&recipient, "250"),
        ("DATA\r\n", "354"),
        (&message, "250 2.0.0"),
        ("QUIT\r\n", "221"),
    ] {
        say(socket, command, reply);
    }
}

#[test]
fn inetd_starts_a_program_for_each_connection() {
    let house = House::start(
        Plan::new(HERE)
            .user("bob", "banana")
            .config("[pop3]\nclear_on_loopback = true\n"),
    );
    let (mut smtp, mut child) = inetd(&house, "smtpd", "mx");
    write_to_bob(&mut smtp, "one connection, one process");
    assert!(child.wait().unwrap().success());
    // queue-manager was told at once, through the channel that mail-start hands out.
    house.wait(0, &["queue-manager", " delivered ", "bob"]);
    let (mut pop3, mut child) = inetd(&house, "pop3d", "pop3");
    say(&mut pop3, "", "+OK");
    say(&mut pop3, "USER bob\r\n", "+OK");
    say(&mut pop3, "PASS banana\r\n", "+OK");
    say(&mut pop3, "STAT\r\n", "+OK 1 ");
    say(&mut pop3, "QUIT\r\n", "+OK");
    assert!(child.wait().unwrap().success());
}

#[test]
fn systemd_gives_the_sockets() {
    let mut house = House::start(Plan::new(HERE).user("bob", "banana").listen("mx", ""));
    assert!(house.stop().success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // As systemd does: a listening socket on descriptor 3, its name, and for whom it is.
    let main = house.command("mail-start");
    let script = "LISTEN_FDS=1 LISTEN_FDNAMES=mx LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null";
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", script])
        .arg(main.get_program())
        .args(main.get_args());
    shell.stdin(OwnedFd::from(listener)).stderr(Stdio::null());
    house.belong(&mut shell);
    let mut child = shell.spawn().unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(testkit::PATIENCE)).unwrap();
    write_to_bob(&mut socket, "through a socket of systemd's");
    house.until("the message", || house.mail("bob").len() == 1);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_readme_s_run_carries_its_letters_twice() {
    let place = tempfile::tempdir().unwrap();
    for round in ["bob has 0 letters", "bob has 1 letters from earlier runs"] {
        let mut command = Command::new(programs().join("first-letter"));
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let out = command
            .arg("--once")
            .env("HIKYAKU_RUN", place.path().join("houses"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(
            out.status.success(),
            "{text}\n{}",
            String::from_utf8_lossy(&out.stderr)
        );
        assert!(text.contains(round), "{text}");
    }
}

/// Where the programs are: above the directory of the tests.
fn programs() -> std::path::PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).unwrap_or(&own).to_owned()
}
