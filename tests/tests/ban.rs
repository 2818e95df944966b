//! banwatch in the whole house: wrong passwords from an address of their own are seen, the ban is
//! decided and listed, and it ends by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};

use end_to_end::connect_from;
use testkit::{House, Plan};

const HERE: &str = "here.example";

fn house(ban: &str) -> House {
    let config = format!("[pop3]\nclear_on_loopback = true\n\n[ban]\nloopback = true\n{ban}");
    House::start(Plan::new(HERE).user("alice", "apple").config(&config))
}

/// A POP3 login from one of the loopback addresses, up to the question.
fn ask(house: &House, from: Ipv4Addr, user: &str, password: &str) -> BufReader<TcpStream> {
    let mut read = BufReader::new(connect_from(from, house.address("pop3")));
    let mut line = String::new();
    read.read_line(&mut line).unwrap();
    for command in [format!("USER {user}"), format!("PASS {password}")] {
        read.get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        if command.starts_with("USER") {
            read.read_line(&mut line).unwrap();
        }
    }
    read
}

/// The same with the answer.
fn login(house: &House, from: Ipv4Addr, user: &str, password: &str) -> String {
    let mut line = String::new();
    ask(house, from, user, password)
        .read_line(&mut line)
        .unwrap();
    line
}

fn hikyaku(house: &House, arguments: &[&str]) -> String {
    let out = house.run("hikyaku", arguments, b"");
    let (text, error) = (
        String::from_utf8_lossy(&out.stdout).into_owned(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    );
    assert!(out.status.success(), "{arguments:?}: {error}");
    text
}

#[test]
fn ten_wrong_passwords_are_a_ban_that_ends_by_itself() {
    let house = house("first = \"3s\"\nfactor = 1\n");
    let bad = Ipv4Addr::new(127, 0, 9, 9);
    assert_eq!(hikyaku(&house, &["ban", "list"]), "");
    let mark = house.mark();
    // Refusals are held back, so the attacker asks in parallel, as attackers do.
    let asked: Vec<_> = (0..10)
        .map(|n| ask(&house, bad, "alice", &format!("guess{n}")))
        .collect();
    let line = house.wait(
        mark,
        &[
            "banwatch",
            " ban ",
            "prefix=127.0.9.9",
            "jail=mail-guessing",
        ],
    );
    assert!(line.contains("enforced=\"no: observing\""), "{line}");
    let listed = hikyaku(&house, &["ban", "list"]);
    assert!(listed.starts_with("127.0.9.9\tmail-guessing\t"), "{listed}");
    let why = hikyaku(&house, &["ban", "why", "127.0.9.9"]);
    assert!(why.contains("auth-fail pop3 from 127.0.9.9"), "{why}");
    let json = hikyaku(&house, &["ban", "why", "127.0.9.9", "--json"]);
    assert!(json.contains("\"jail\":\"mail-guessing\""), "{json}");
    house.wait(mark, &["banwatch", " expired ", "prefix=127.0.9.9"]);
    assert_eq!(hikyaku(&house, &["ban", "list"]), "");
    drop(asked);
    // With no right to the firewall only the decision is made: the owner still gets in.
    assert!(login(&house, Ipv4Addr::new(127, 0, 9, 10), "alice", "apple").starts_with("+OK"));
}

#[test]
fn the_admins_bans_outlive_a_crash() {
    let mut house = house("");
    assert_eq!(
        hikyaku(&house, &["ban", "add", "203.0.113.0/24", "2h"]),
        "203.0.113.0/24: banned\n"
    );
    assert_eq!(
        hikyaku(&house, &["ban", "add", "2001:db8::/48", "-"]),
        "2001:db8::/48: banned\n"
    );
    assert!(hikyaku(&house, &["ban", "why", "203.0.113.77"]).contains("admin"));
    house.crash();
    house.start_again();
    let listed = hikyaku(&house, &["ban", "list"]);
    assert!(
        listed.contains("203.0.113.0/24\tadmin")
            && listed.contains("2001:db8::/48\tadmin\tfor ever"),
        "{listed}"
    );
    let mark = house.mark();
    house.kill("banwatch");
    house.wait(mark, &["serving", "program=banwatch"]);
    assert_eq!(
        hikyaku(&house, &["ban", "del", "203.0.113.0/24"]),
        "203.0.113.0/24: lifted\n"
    );
    assert!(!hikyaku(&house, &["ban", "list"]).contains("203.0.113"));
    assert!(
        hikyaku(&house, &["ban", "stats", "--prometheus"]).contains("hikyaku_ban_observing 1\n")
    );
    let out = house.run("hikyaku", &["ban", "del", "203.0.113.0/24"], b"");
    assert_eq!(out.status.code(), Some(100));
}

#[test]
fn switched_off_there_is_none() {
    let house = House::start(Plan::new(HERE).config("[ban]\nenabled = false\n"));
    let out = house.run("hikyaku", &["ban", "list"], b"");
    assert_eq!(out.status.code(), Some(111));
}

#[test]
fn an_account_guessed_at_from_many_places_is_told_and_its_owner_gets_in() {
    let house = house("");
    let mark = house.mark();
    let from = |n: u8| Ipv4Addr::new(127, 1, n, 1);
    let asked: Vec<_> = (0..14)
        .map(|n| ask(&house, from(n), "alice", &format!("guess{n}")))
        .collect();
    house.wait(mark, &["banwatch", " account-attacked "]);
    assert_eq!(hikyaku(&house, &["ban", "list"]), "", "nobody is banned");
    // The next refusal finds authd warned.
    let one_more = ask(&house, from(99), "alice", "guess");
    house.wait(mark, &["authd", " attacked "]);
    assert!(login(&house, Ipv4Addr::LOCALHOST, "alice", "apple").starts_with("+OK"));
    drop((asked, one_more));
}
