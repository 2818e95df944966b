//! `make run`: the whole system on this machine, without root, with a letter carried through it.
//!
//! Builds two houses on loopback ports and a name server that knows both, hands a letter in to the
//! first, reads it back, sends another one to the second, has somebody guess passwords, prints how to point a mail program at
//! the first, and stays until Ctrl-C (`--once` ends it there). Exits with 1 and the step's name when a step fails.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use end_to_end::{fetch_last, letter, submit, value};
use nix::sys::signal::{SigSet, Signal};
use testkit::{Dns, House, Plan, Zone};

const FIRST: &str = "first.example";
const SECOND: &str = "second.example";
const PASSWORD: &str = "courier";

/// The step under way, named when it fails.
static STEP: Mutex<&str> = Mutex::new("");

fn step(name: &'static str) {
    *STEP.lock().unwrap() = name;
    println!("\n{name}");
}

fn main() -> ExitCode {
    // Blocked before any thread is started, so that Ctrl-C is taken by the wait at the end.
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGINT);
    stop.add(Signal::SIGTERM);
    stop.thread_block().unwrap();
    let once = std::env::args().any(|a| a == "--once");
    match std::panic::catch_unwind(|| run(once, &stop)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => {
            eprintln!(
                "\nfailed at: {}",
                STEP.lock().unwrap_or_else(|e| e.into_inner())
            );
            ExitCode::FAILURE
        }
    }
}

/// Where the houses stay between runs.
fn place() -> PathBuf {
    match std::env::var_os("HIKYAKU_RUN") {
        Some(path) => path.into(),
        // As root the houses belong to nobody, who can't reach everybody's source tree.
        None if nix::unistd::geteuid().is_root() => "/var/tmp/hikyaku-run".into(),
        None => std::env::current_dir().unwrap().join("run"),
    }
}

/// A preferred port, or a free one when somebody else has it.
fn port(wanted: u16) -> String {
    let free = TcpListener::bind(("127.0.0.1", wanted)).is_ok();
    format!("127.0.0.1:{}", if free { wanted } else { 0 })
}

/// One wrong password from an address of its own; the answer is held back, so it is not waited for.
fn guess(house: &House, number: u32) -> TcpStream {
    let from = Ipv4Addr::new(127, 0, 9, 9);
    let mut socket = end_to_end::connect_from(from, house.address("pop3"));
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    socket.write_all(b"USER bob\r\n").unwrap();
    reader.read_line(&mut line).unwrap();
    socket
        .write_all(format!("PASS guess{number}\r\n").as_bytes())
        .unwrap();
    socket
}

fn run(once: bool, stop: &SigSet) {
    let place = place();
    step("1. building two houses, and a name server that knows both");
    let mut zone = Zone::new();
    for name in [FIRST, SECOND] {
        zone.row(&format!("{name} MX 10 mx.{name}"));
        zone.row(&format!("mx.{name} A 127.0.0.1"));
    }
    let dns = Dns::start(zone);
    let second = House::start(
        Plan::new(SECOND)
            .user("carol", PASSWORD)
            .directory(place.join("second")),
    );
    let first = House::start(
        Plan::new(FIRST)
            .user("alice", PASSWORD)
            .user("bob", PASSWORD)
            .directory(place.join("first"))
            .listen("mx", &port(10_025))
            .listen("submission", &port(10_587))
            .listen("submissions", &port(10_465))
            .listen("pop3", &port(10_110))
            .listen("pop3s", &port(10_995))
            .config(&format!(
                "[remote]\nresolver = \"{}\"\nport = {}\n\
                 [pop3]\nclear_on_loopback = true\n\
                 [ban]\nloopback = true\nfirst = \"3s\"\nfactor = 1\n",
                dns.address,
                second.address("mx").port()
            )),
    );
    let (before, _) = fetch_last(&first, "bob", PASSWORD);
    println!("   {FIRST} and {SECOND} stand below {}", place.display());
    println!(
        "   bob has {before} letters{}",
        if before > 0 { " from earlier runs" } else { "" }
    );

    step("2. alice writes to bob: submission over TLS with a password");
    let mark = first.mark();
    let subject = format!("letter {before}").replace(' ', "-");
    let text = letter(
        &format!("alice@{FIRST}"),
        &format!("bob@{FIRST}"),
        &subject,
        "Hello Bob, this came by courier.",
    );
    let id = submit(
        &first,
        "alice",
        PASSWORD,
        &format!("alice@{FIRST}"),
        &[&format!("bob@{FIRST}")],
        &text,
    );
    println!("   accepted and durable: 250 2.0.0 Ok: queued as {id}");
    let id_part = format!("id={id}");
    let received = first.wait(mark, &["smtpd", "received", &id_part]);
    println!("   {received}");
    let delivered = first.wait(mark, &["queue-manager", "delivered", &id_part]);
    println!("   {delivered}");

    step("3. bob reads it: POP3 over TLS");
    let (after, found) = fetch_last(&first, "bob", PASSWORD);
    assert_eq!(after, before + 1, "bob's letters");
    assert!(
        found.contains("this came by courier") && found.contains(&id),
        "bob's letter:\n{found}"
    );
    for line in found.lines() {
        println!("   | {line}");
    }

    step("4. alice writes to carol at the other house, found through the DNS");
    let (mark, far) = (first.mark(), second.mark());
    let (had, _) = fetch_last(&second, "carol", PASSWORD);
    let text = letter(
        &format!("alice@{FIRST}"),
        &format!("carol@{SECOND}"),
        &format!("far-{subject}"),
        "Hello Carol, over the mountains.",
    );
    let id = submit(
        &first,
        "alice",
        PASSWORD,
        &format!("alice@{FIRST}"),
        &[&format!("carol@{SECOND}")],
        &text,
    );
    println!("   accepted and durable: 250 2.0.0 Ok: queued as {id}");
    println!(
        "   {}",
        first.wait(mark, &["queue-manager", "delivered", &format!("id={id}")])
    );
    let received = second.wait(far, &["smtpd", "received"]);
    println!("   {received}");
    let far_id = value(&received, "id").expect("an id").to_owned();
    println!(
        "   {}",
        second.wait(
            far,
            &["queue-manager", "delivered", &format!("id={far_id}")]
        )
    );

    step("5. carol reads it there");
    let (has, found) = fetch_last(&second, "carol", PASSWORD);
    assert_eq!(has, had + 1, "carol's letters");
    assert!(
        found.contains("over the mountains") && found.contains(&id),
        "carol's letter:\n{found}"
    );
    println!("   {has} letters; the last one came through {id} and {far_id}");

    step("6. somebody at 127.0.9.9 guesses bob's password, ten times");
    let mark = first.mark();
    let guesses: Vec<_> = (0..10).map(|n| guess(&first, n)).collect();
    println!(
        "   {}",
        first.wait(mark, &["banwatch", " ban ", "127.0.9.9"])
    );
    let list = first.run("hikyaku", &["ban", "list"], b"");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("127.0.9.9"), "hikyaku ban list:\n{list}");
    println!("   hikyaku ban list: {}", list.trim());
    println!(
        "   {}",
        first.wait(mark, &["banwatch", " expired ", "127.0.9.9"])
    );
    drop(guesses);

    step("7. your turn: point a mail program at it");
    let at = |role: &str| first.address(role);
    println!(
        "   user      alice or bob, password {PASSWORD}, address alice@{FIRST} or bob@{FIRST}"
    );
    println!(
        "   reading   POP3 {} with STARTTLS, or {} with TLS",
        at("pop3"),
        at("pop3s")
    );
    println!(
        "   sending   SMTP {} with STARTTLS, or {} with TLS; method PLAIN (normal password)",
        at("submission"),
        at("submissions")
    );
    println!(
        "   trust     {} (self-made)",
        first.directory().join("tls/authority.pem").display()
    );
    println!("   log       {}", first.directory().join("log").display());
    if once {
        return;
    }
    println!("\nThe houses stay up until Ctrl-C.");
    stop.wait().unwrap();
    println!("stopping");
}
