//! Whole filters on whole lines, and what attackers put into them.

use proptest::prelude::*;

use super::super::filter::Who;
use super::super::session::USER;
use super::*;

const NOW: i64 = 1_124_013_600;

const SSHD: &str = r"^Failed (?:<F-NOFAIL>publickey</F-NOFAIL>|\S+) for (?P<cond_inv>invalid user )?<F-USER>(?P<cond_user>\S+)|(?(cond_inv)(?:(?! from ).)*?|[^:]+)</F-USER> from <HOST>(?: (?:port \d+|on \S+)){0,2}(?: ssh\d*)?(?(cond_user): |(?:(?:(?! from ).)*)$)
^[iI](?:llegal|nvalid) user <F-USER>.*?</F-USER> from <HOST>(?: port \d+)?\s*$
^<F-NOFAIL>Connection from</F-NOFAIL> <HOST>
^<F-MLFFORGET><F-MLFGAINED>Accepted \w+</F-MLFGAINED></F-MLFFORGET> for <F-USER>\S+</F-USER> from <HOST>(?:\s|$)
^Disconnecting: Too many authentication failures";

fn sshd() -> FilterConf {
    FilterConf {
        failregex: SSHD.lines().map(str::to_owned).collect(),
        prefregex: Some(
            r"^<F-MLFID>\s*\S+ sshd\[\d+\]: </F-MLFID><F-CONTENT>.+</F-CONTENT>$".to_owned(),
        ),
        maxlines: 1,
        datepattern: Some("{^LN-BEG}".to_owned()),
        ..FilterConf::default()
    }
}

fn simple(list: &[&str]) -> FilterConf {
    FilterConf {
        failregex: list.iter().map(|s| (*s).to_owned()).collect(),
        maxlines: 1,
        ..FilterConf::default()
    }
}

fn watch(confs: &[FilterConf]) -> Watch {
    let mut w = Watch::new(Zone::posix("CET-1CEST,M3.5.0,M10.5.0").unwrap(), NOW);
    for c in confs {
        w.add(c, UseDns::Warn, None, true).unwrap();
    }
    w
}

fn feed(w: &mut Watch, line: &str) -> Vec<(usize, Failure)> {
    let mut out = Vec::new();
    w.line(line.as_bytes(), NOW, None, &mut |i, f| out.push((i, f)));
    out
}

/// Who each line is charged to, `-` for nobody.
fn charged(w: &mut Watch, lines: &[&str]) -> Vec<String> {
    lines
        .iter()
        .map(
            |l| match feed(w, &format!("Aug 14 11:59:59 mx sshd[7]: {l}")).first() {
                Some((_, f)) => f.who.to_string(),
                None => "-".to_owned(),
            },
        )
        .collect()
}

#[test]
fn a_line_with_its_date() {
    let mut w = watch(&[sshd()]);
    let line = "Aug 14 11:59:58 mx sshd[7]: Failed password for root from 192.0.2.7 port 5 ssh2";
    let out = feed(&mut w, line);
    let (_, f) = &out[0];
    assert_eq!((out.len(), f.regex, f.attempts), (1, 0, 1));
    assert_eq!(f.time, Some((NOW - 2) as f64));
    assert_eq!(
        f.who,
        Who::Address {
            ip: "192.0.2.7".parse().unwrap(),
            prefix: None
        }
    );
    assert_eq!(f.facts.get(USER), Some("root"));
    assert_eq!(f.facts.lines, [line]);
}

#[test]
fn sessions() {
    let mut w = watch(&[sshd()]);
    let lines = [
        "Connection from 192.0.2.7 port 5",
        "Failed publickey for anna from 192.0.2.7 port 5 ssh2",
        "Accepted publickey for anna from 192.0.2.7 port 5 ssh2",
        "Disconnecting: Too many authentication failures",
        "Connection from 192.0.2.8 port 5",
        "Disconnecting: Too many authentication failures",
    ];
    assert_eq!(
        charged(&mut w, &lines),
        ["-", "-", "-", "-", "192.0.2.8", "192.0.2.8"]
    );
}

/// One process id, an IPv4 session and then an IPv6 one: each is charged for itself.
/// As fail2ban has it since 1.1.1: a group of the rule that took no part hides nothing. Of two
/// addresses the rule's own counts, of whatever family.
#[test]
fn an_address_in_the_prefix() {
    let mut conf = simple(&["^(?:of <ADDR>: )?mismatch$"]);
    conf.prefregex = Some(r"^ mx sshd\[7\]: auth\(<ADDR>\): <F-CONTENT>.+</F-CONTENT>$".to_owned());
    let lines = [
        "auth(192.0.2.1): mismatch",
        "auth(192.0.2.1): of 192.0.2.2: mismatch",
        "auth(192.0.2.1): of 2001:db8::2: mismatch",
        "auth(2001:db8::1): of 192.0.2.2: mismatch",
    ];
    assert_eq!(
        charged(&mut watch(&[conf]), &lines),
        ["192.0.2.1", "192.0.2.2", "2001:db8::2", "192.0.2.2"]
    );
}

#[test]
fn a_process_id_used_again() {
    let mut w = watch(&[sshd()]);
    let lines = [
        "Failed password for root from 192.0.2.7 port 5 ssh2",
        "Failed password for root from 2001:db8:9::7 port 5 ssh2",
        "Failed password for root from 192.0.2.7 port 5 ssh2",
    ];
    assert_eq!(
        charged(&mut w, &lines),
        ["192.0.2.7", "2001:db8:9::7", "192.0.2.7"]
    );
}

/// The address that an attacker writes into a user name is never the one charged.
#[test]
fn forged_addresses() {
    let mut w = watch(&[sshd()]);
    for user in [
        "x from 203.0.113.1",
        "x from 203.0.113.1 port 22 ssh2",
        "root from 203.0.113.1 port 22 ssh2: x",
        " from 203.0.113.1",
        "from 203.0.113.1 port 5 ssh2\tfrom 203.0.113.1",
        "x\u{a0}from 203.0.113.1",
    ] {
        let lines = [
            format!("Failed password for invalid user {user} from 192.0.2.7 port 5 ssh2"),
            format!("Invalid user {user} from 192.0.2.7 port 5"),
        ];
        for l in &lines {
            let got = charged(&mut w, &[l]);
            assert!(
                got[0] == "192.0.2.7" || got[0] == "-",
                "{l} charged {}",
                got[0]
            );
        }
        // one of the two lines that sshd writes is understood
        let got = charged(&mut w, &[&lines[0], &lines[1]]);
        assert!(got.contains(&"192.0.2.7".to_owned()), "{user}");
    }
}

/// The same where the filter reads the address out of a list.
#[test]
fn forged_lists() {
    let conf = simple(&["failed: user=<F-USER>[^,]*</F-USER>, rip=<HOST>, .*$"]);
    let line = |user: &str| {
        format!("Aug 14 11:59:59 login: failed: user={user}, rip=192.0.2.7, session=a")
    };
    let mut w = watch(&[conf]);
    assert_eq!(
        feed(&mut w, &line("anna"))[0].1.who.to_string(),
        "192.0.2.7"
    );
    assert!(feed(&mut w, &line("x, rip=203.0.113.1")).is_empty());
    assert_eq!(w.filter(0).unwrap().doubtful(), 1);
    w.set_charge_doubtful(true);
    assert_eq!(feed(&mut w, &line("x, rip=203.0.113.1")).len(), 1);
    // where the name may hold anything, the later address is the one that is read
    let mut w = watch(&[simple(&[
        "failed: user=<F-USER>.*?</F-USER>, rip=<HOST>, .*$",
    ])]);
    let out = feed(&mut w, &line("x, rip=203.0.113.1"));
    assert_eq!(out[0].1.who.to_string(), "192.0.2.7");
}

#[test]
fn long_lines() {
    let line = |n: usize| {
        let head = "Aug 14 11:59:59 mx sshd[7]: Invalid user ";
        let tail = " from 192.0.2.7 port 5";
        format!("{head}{}{tail}", "x".repeat(n - head.len() - tail.len()))
    };
    let mut w = watch(&[sshd()]);
    assert_eq!(feed(&mut w, &line(LINE_MAX - 1)).len(), 1);
    assert_eq!(feed(&mut w, &line(LINE_MAX)).len(), 1);
    assert_eq!(feed(&mut w, &line(LINE_MAX + 1)).len(), 0);
    assert_eq!(w.too_long(), 1);
}

/// What is too long to be a name is none; it is not shortened into another one.
#[test]
fn long_names() {
    let mut w = watch(&[simple(&["bad from <HOST>$"])]);
    for (n, found) in [(253, 1), (254, 0)] {
        let line = format!("Aug 14 11:59:59 bad from {}", "h".repeat(n));
        assert_eq!(feed(&mut w, &line).len(), found, "{n}");
    }
    let mut w = watch(&[simple(&["bad id <F-ID/>$"])]);
    for (n, found) in [(512, 1), (513, 0)] {
        let line = format!("Aug 14 11:59:59 bad id {}", "h".repeat(n));
        assert_eq!(feed(&mut w, &line).len(), found, "{n}");
    }
}

/// User names made to keep a backtracking matcher busy: a bounded number of steps, and the
/// next line is found as ever.
#[test]
fn pattern_bombs() {
    let mut w = watch(&[
        sshd(),
        simple(&[
            r"^.*(?:a+)+b(?!c) <HOST>$",
            r"^((?:x|xx|\S)+ ?)+: bad (?P<q>\w+) \S* (?P=q) <HOST>$",
        ]),
    ]);
    for bomb in [
        "from ".repeat(12_000),
        "a".repeat(60_000),
        format!("{} from", " x".repeat(30_000)),
        format!("{}: bad x y", "x".repeat(50_000)),
    ] {
        let line = format!("Aug 14 11:59:59 mx sshd[7]: Failed password for invalid user {bomb}");
        let out = feed(&mut w, &line);
        assert!(!out.iter().any(|f| matches!(f.1.who, Who::Address { .. })));
    }
    assert_eq!(
        charged(&mut w, &["Invalid user x from 192.0.2.7"]),
        ["192.0.2.7"]
    );
}

#[test]
fn each_jail_its_own() {
    let common = |name: &str| simple(&[&format!("{name}: bad thing from <HOST>")]);
    let mut w = watch(&[
        common("one"),
        common("two"),
        simple(&["bad thing from <ADDR>"]),
    ]);
    let out = feed(&mut w, "Aug 14 11:59:59 mx two: bad thing from 192.0.2.7");
    assert_eq!(out.iter().map(|o| o.0).collect::<Vec<_>>(), [1, 2]);
    assert!(feed(&mut w, "Aug 14 11:59:59 mx two: good thing from 192.0.2.7").is_empty());
}

/// What is needed may stand across the place where the date was.
#[test]
fn a_date_in_the_middle() {
    let mut w = watch(&[simple(&[r"^\[\] \[client <HOST>\] denied"])]);
    let out = feed(
        &mut w,
        "[Sun Aug 14 11:59:59 2005] [client 192.0.2.7] denied",
    );
    assert_eq!(out.len(), 1);
}

#[test]
fn ignored_lines() {
    let mut conf = simple(&["bad from <HOST>"]);
    conf.ignoreregex = vec!["from 192\\.0\\.2\\.9$".to_owned()];
    let mut w = watch(&[conf]);
    assert_eq!(feed(&mut w, "Aug 14 11:59:59 bad from 192.0.2.7").len(), 1);
    assert_eq!(feed(&mut w, "Aug 14 11:59:59 bad from 192.0.2.9").len(), 0);
}

#[test]
fn lines_without_a_date_borrow_one() {
    let mut w = watch(&[simple(&["bad from <HOST>"])]);
    assert_eq!(feed(&mut w, "bad from 192.0.2.7")[0].1.time, None);
    feed(&mut w, "Aug 14 11:59:30 x");
    assert_eq!(
        feed(&mut w, "bad from 192.0.2.7")[0].1.time,
        Some((NOW - 30) as f64)
    );
    let mut later = Vec::new();
    w.line(b"bad from 192.0.2.7", NOW + 31, None, &mut |_, f| {
        later.push(f.time)
    });
    assert_eq!(later, [None]);
}

#[test]
fn several_lines() {
    let mut conf =
        simple(&[r"^(?P<pre>\s*\S+ x\[\d+\]: )connect from <HOST>$<SKIPLINES>^(?P=pre)refused$"]);
    conf.maxlines = 4;
    let mut w = watch(&[conf]);
    let at = |l: &str| format!("Aug 14 11:59:59 {l}");
    assert!(feed(&mut w, &at("mx x[1]: connect from 192.0.2.7")).is_empty());
    assert!(feed(&mut w, &at("mx x[2]: connect from 192.0.2.8")).is_empty());
    let out = feed(&mut w, &at("mx x[1]: refused"));
    assert_eq!(
        (out.len(), out[0].1.who.to_string(), out[0].1.attempts),
        (1, "192.0.2.7".into(), 2)
    );
    // the line between was not used up
    assert_eq!(
        feed(&mut w, &at("mx x[2]: refused"))[0].1.who.to_string(),
        "192.0.2.8"
    );
    // out of sight after four lines
    feed(&mut w, &at("mx x[3]: connect from 192.0.2.9"));
    for _ in 0..3 {
        feed(&mut w, &at("mx y"));
    }
    assert!(feed(&mut w, &at("mx x[3]: refused")).is_empty());
}

#[test]
fn not_quite_addresses() {
    let mut w = watch(&[simple(&[
        "bad from <ADDR>$",
        "net <SUBNET>$",
        "id <F-ID>\\S+</F-ID>$",
    ])]);
    let mut who = |l: &str| {
        feed(&mut w, &format!("Aug 14 11:59:59 {l}"))
            .pop()
            .map(|f| f.1.who)
    };
    let ip = |t: &str, prefix| {
        Some(Who::Address {
            ip: t.parse().unwrap(),
            prefix,
        })
    };
    assert_eq!(who("bad from ::ffff:192.0.2.7"), ip("192.0.2.7", None));
    assert_eq!(who("bad from 300.1.1.1"), Some(Who::Id("300.1.1.1".into())));
    assert_eq!(who("net 192.0.2.0/24"), ip("192.0.2.0", Some(24)));
    assert_eq!(who("net 192.0.2.0/33"), None);
    assert_eq!(who("net 2001:db8::/0"), None);
    assert_eq!(who("id 192.0.2.7"), ip("192.0.2.7", None));
    assert_eq!(who("id anna"), Some(Who::Id("anna".into())));
}

#[test]
fn octets_that_are_no_text() {
    let mut w = watch(&[sshd()]);
    let mut n = 0;
    let line = b"Aug 14 11:59:59 mx sshd[7]: Invalid user \xff\xfe\x00 from 192.0.2.7 port 5\r\n";
    w.line(line, NOW, None, &mut |_, f| {
        assert_eq!(f.who.to_string(), "192.0.2.7");
        n += 1;
    });
    assert_eq!(n, 1);
}

#[test]
fn refused_by_name() {
    let mut w = watch(&[]);
    let mut add = |c: &FilterConf| w.add(c, UseDns::Warn, None, true).unwrap_err().to_string();
    assert!(add(&simple(&["ok <HOST>", r"bad \q <HOST>"])).contains(r"bad \q <HOST>"));
    assert!(add(&simple(&["nobody"])).contains("nobody"));
    assert!(add(&simple(&[])).contains("no failregex"));
    let mut conf = simple(&["<HOST>"]);
    conf.datepattern = Some("%Q".to_owned());
    assert!(add(&conf).contains("%Q"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Skipping lines without the needed texts changes nothing.
    #[test]
    fn the_short_cut_changes_nothing(
        body in "(Failed|Invalid|user| |from|192.0.2.7|for|root|port 5|\\PC){0,12}",
    ) {
        let line = format!("Aug 14 11:59:59 mx sshd[7]: {body}");
        let mut quick = watch(&[sshd()]);
        let mut slow = watch(&[sshd()]);
        slow.prepare();
        for r in &mut slow.readers {
            r.filter.want_all();
        }
        prop_assert_eq!(feed(&mut quick, &line), feed(&mut slow, &line));
    }

    /// Any octets: an answer, never a panic.
    #[test]
    fn any_line(line in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut w = watch(&[sshd()]);
        w.line(&line, NOW, None, &mut |_, _| {});
    }
}
