//! banwatch in the whole house: wrong passwords from an address of their own are seen, the ban is
//! decided and listed, and it ends by itself. Jails of fail2ban's and their own actions do their work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    // Places are counted by a sketch under a key of chance: of 14 it now and then sees less than 10.
    let asked: Vec<_> = (0..24)
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

const FILTER: &str = "[Definition]\ndatepattern = {NONE}\n\
    failregex = ^door: wrong key of <F-USER>.*</F-USER> from <HOST>$\n";

/// A tree of fail2ban's with one jail, whose log is `log` and whose action writes into `out/told`.
fn furnish(root: &Path) {
    let tree = root.join("fail2ban");
    for folder in [
        root.to_owned(),
        root.join("out"),
        tree.clone(),
        tree.join("filter.d"),
        tree.join("action.d"),
    ] {
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // The house may be another user's than the test.
    fs::set_permissions(root.join("out"), fs::Permissions::from_mode(0o777)).unwrap();
    let told = root.join("out/told");
    let (told, log) = (told.display(), root.join("door.log"));
    let action = format!(
        "[Definition]\nactionstart = echo start <name> >> {told}\nactionstop = echo stop <name> >> {told}\n\
         actionban = printf '%%s\\n' \"ban <ip>\" <F-USER> \"<matches>\" '<matches>' >> {told}; echo done <ip> >> {told}\n\
         actionunban = echo unban <ip> >> {told}\n"
    );
    let jail = format!(
        "[door]\nenabled = true\nfilter = door\nbackend = auto\nusedns = no\nmaxretry = 2\nbantime = 600\n\
         logpath = {}\naction = tells\n",
        log.display()
    );
    fs::write(tree.join("filter.d/door.conf"), FILTER).unwrap();
    fs::write(tree.join("action.d/tells.conf"), action).unwrap();
    fs::write(tree.join("jail.conf"), jail).unwrap();
    fs::write(log, "").unwrap();
}

#[test]
fn a_jails_own_action_gets_what_strangers_wrote_and_runs_nothing_of_it() {
    let tmp = tempfile::tempdir().unwrap();
    let root = tmp.path().join("house");
    furnish(&root);
    let tree = root.join("fail2ban");
    let mut house = House::start(
        Plan::new(HERE)
            .directory(&root)
            .config(&format!("[ban]\nfail2ban = {tree:?}\n")),
    );
    let told = || fs::read_to_string(root.join("out/told")).unwrap_or_default();
    let evil = root.join("out/EVIL");
    // Where the action writes, a command of a stranger could too.
    let user = format!(
        "'; touch {0}; \"$(touch {0})\" `touch {0}` \\",
        evil.display()
    );
    let line = format!("door: wrong key of {user} from 203.0.113.5\n");
    let wrong_twice = |line: &str| {
        let mut log = File::options()
            .append(true)
            .open(root.join("door.log"))
            .unwrap();
        log.write_all(line.repeat(2).as_bytes()).unwrap();
    };
    wrong_twice(&line);
    let start = "start door\n";
    let ban = format!("ban 203.0.113.5\n{user}\n{line}{line}{line}{line}done 203.0.113.5\n");
    house.until("the action of the ban", || {
        told().contains("done 203.0.113.5\n")
    });
    assert!(!evil.exists(), "a stranger's command ran");
    assert_eq!(told(), format!("{start}{ban}"));
    let listed = hikyaku(&house, &["ban", "list"]);
    assert!(listed.starts_with("203.0.113.5\tdoor\t"), "{listed}");

    // The next act makes again what stands, and hears of what is new.
    let mark = house.mark();
    house.kill("ban-act");
    house.wait(mark, &["serving", "program=ban-act"]);
    house.until("the ban made again", || {
        told().matches("done 203.0.113.5\n").count() == 2
    });
    assert!(told().starts_with(&format!("{start}{ban}{start}ban 203.0.113.5\n")));
    wrong_twice(&line.replace("113.5", "113.6"));
    house.until("the second ban", || told().contains("done 203.0.113.6\n"));

    assert_eq!(
        hikyaku(&house, &["ban", "del", "203.0.113.5"]),
        "203.0.113.5: lifted\n"
    );
    house.until("the action of the end", || {
        told().contains("unban 203.0.113.5\n")
    });
    assert!(!told().contains("unban 203.0.113.6"));
    let listed = hikyaku(&house, &["ban", "list"]);
    assert!(
        listed.starts_with("203.0.113.6\tdoor\t") && !listed.contains("113.5"),
        "{listed}"
    );
    // The end of the house lifts what stands and stops the action.
    assert!(house.stop().success());
    assert!(
        told().ends_with("unban 203.0.113.6\nstop door\n"),
        "{}",
        told()
    );
    assert!(!evil.exists(), "a stranger's command ran");
}
