//! What a message costs, for people to run: `cargo test --release -p remote-send --test speed -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::Fixture;
use queue::wire::remote::NextHop;
use testkit::Sink;

/// Messages sent, and how many of them at once.
const MESSAGES: usize = 10_000;
const AT_ONCE: usize = 20;

/// Clock ticks of user and system time that a process has used (proc(5), `stat`).
fn ticks(pid: u32) -> (u64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    (fields[11].parse().unwrap(), fields[12].parse().unwrap())
}

#[test]
#[ignore = "a measurement, not a check"]
fn cpu_per_message_of_4_kib() {
    let sink = Sink::start();
    let mut fixture = Fixture::start("tls = \"none\"");
    let content = b"0123456789012345678901234567890123456789012345678901234567890\r\n".repeat(65);
    let port = sink.address.port();
    let send = |fixture: &mut Fixture| {
        fixture.send(
            NextHop::Host("127.0.0.1", port),
            "s@me.example",
            &["a@x.example"],
            &content,
        );
    };
    let start = std::time::Instant::now();
    let before = ticks(fixture.pid());
    for _ in 0..AT_ONCE {
        send(&mut fixture);
    }
    for done in 0..MESSAGES {
        assert_eq!(fixture.answer().status, "2.0.0");
        if done + AT_ONCE < MESSAGES {
            send(&mut fixture);
        }
    }
    let after = ticks(fixture.pid());
    let (user, system) = (after.0 - before.0, after.1 - before.1);
    println!(
        "{MESSAGES} messages in {:.2} s over {} connections; {:.1} us user and {:.1} us system CPU each (at 100 ticks a second)",
        start.elapsed().as_secs_f64(),
        sink.connections(),
        user as f64 * 10_000.0 / MESSAGES as f64,
        system as f64 * 10_000.0 / MESSAGES as f64,
    );
}
