use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::act::plan::Host;
use crate::f2b::jail_conf::read_jails;
use crate::f2b::store::Loader;

const OWN: &str = "[Definition]\nactionstart = start\nactionstop = stop\nactionban = ban <ip> <failures>\nactionunban = unban <ip> <failures>\n";

fn plan(jail: &str, actions: &[(&str, &str)]) -> JailPlan {
    let names: Vec<&str> = actions.iter().map(|a| a.0).collect();
    let conf = format!(
        "[{jail}]\nenabled = true\nlogpath = /l\nfailregex = ^<HOST>$\nignorecommand = ask <ip>\naction = {}\n",
        names.join("\n  ")
    );
    let mut files: BTreeMap<PathBuf, String> = [(PathBuf::from("/e/jail.conf"), conf)].into();
    for (name, text) in actions {
        files.insert(
            format!("/e/action.d/{name}.conf").into(),
            (*text).to_owned(),
        );
    }
    let mut loader = Loader::new(&files);
    let all = read_jails(&mut loader, Path::new("/e")).unwrap();
    let conf = all[0].1.as_ref().unwrap();
    let host = Host("a.example".to_owned());
    let (plan, refused) = JailPlan::read(&mut loader, Path::new("/e"), conf, &host);
    assert_eq!(refused, []);
    plan
}

fn lines(actions: &[(&str, &str)]) -> Lines {
    Lines::new(vec![plan("j", actions)], 0)
}

fn values(ip: &str) -> Box<Values> {
    let mut v = Values::of(Who::Net(ip.parse().unwrap()), 100, 600);
    v.failures[0] = 5;
    Box::new(v)
}

fn ban(l: &mut Lines, ip: &str) {
    l.request(Request::Ban("j".to_owned(), values(ip)));
}

fn unban(l: &mut Lines, ip: &str) {
    l.request(Request::Unban(
        "j".to_owned(),
        Who::Net(ip.parse().unwrap()),
    ));
}

/// What a shell would be given: the text with its variables put in.
fn said(w: &Work) -> String {
    w.variables.iter().fold(w.text.clone(), |text, (n, v)| {
        text.replace(&format!("\"${{{n}}}\""), v)
    })
}

/// Runs everything; commands for which `bad` is true fail.
fn run(l: &mut Lines, bad: impl Fn(&str, usize) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(w) = l.next_work() {
        let said = said(&w);
        let code = u8::from(bad(&said, all.len()));
        all.push(said);
        l.ended(w.number, Some(code), false);
        assert!(all.len() < 10_000);
    }
    all
}

fn good(l: &mut Lines) -> Vec<String> {
    run(l, |_, _| false)
}

#[test]
fn started_once_banned_lifted_stopped() {
    let mut l = lines(&[("one", OWN)]);
    assert_eq!(good(&mut l), ["start"]);
    ban(&mut l, "192.0.2.1");
    ban(&mut l, "2001:db8::1");
    unban(&mut l, "192.0.2.1");
    unban(&mut l, "192.0.2.9");
    assert_eq!(
        good(&mut l),
        ["ban 192.0.2.1 5", "ban 2001:db8::1 5", "unban 192.0.2.1 5"]
    );
    l.stop();
    ban(&mut l, "192.0.2.3");
    assert_eq!(good(&mut l), ["unban 2001:db8::1 5", "stop"]);
    assert!(l.is_idle());
    assert_eq!((l.counts.run, l.counts.failed), (6, 0));
}

#[test]
fn one_at_a_time_in_each_jail_and_jails_do_not_wait() {
    let mut l = Lines::new(
        vec![plan("j", &[("one", OWN)]), plan("k", &[("one", OWN)])],
        0,
    );
    assert_eq!(good(&mut l).len(), 2);
    for n in 1..=3 {
        ban(&mut l, &format!("192.0.2.{n}"));
    }
    l.request(Request::Ban("k".to_owned(), values("192.0.2.9")));
    let first = l.next_work().unwrap();
    let other = l.next_work().unwrap();
    assert_eq!((first.jail.as_str(), other.jail.as_str()), ("j", "k"));
    assert!(l.next_work().is_none());
    l.ended(other.number, Some(0), false);
    assert!(l.next_work().is_none());
    l.ended(first.number, None, true);
    assert_eq!(said(&l.next_work().unwrap()), "ban 192.0.2.2 5");
    assert_eq!((l.counts.timeouts, l.counts.failed), (1, 1));
}

#[test]
fn families_and_actions_on_demand() {
    let two = "[Definition]\nactionstart = start <f>\nactionstop = stop <f>\nactionban = ban <ip>\nactionunban = unban <ip>\nactionflush = flush <f>\n[Init]\nf = 4\n[Init?family=inet6]\nf = 6\n";
    let mut l = lines(&[("one", two), ("two", OWN)]);
    assert_eq!(good(&mut l), ["start"]);
    ban(&mut l, "2001:db8::1");
    assert_eq!(
        good(&mut l),
        ["start 6", "ban 2001:db8::1", "ban 2001:db8::1 5"]
    );
    ban(&mut l, "2001:db8::2");
    assert_eq!(good(&mut l), ["ban 2001:db8::2", "ban 2001:db8::2 5"]);
    l.stop();
    // All at once where the action can; the actions in reverse order.
    let all = good(&mut l);
    assert_eq!(all[0], "flush 6");
    assert_eq!(all[3..], ["stop", "stop 6"]);
    assert_eq!(all.len(), 5);
}

#[test]
fn bans_of_before_a_restart() {
    let quiet = "[Definition]\nnorestored = 1\nactionban = mail <ip>\nactionunban =\n";
    let mut l = lines(&[("one", OWN), ("two", quiet)]);
    good(&mut l);
    let stands = |l: &mut Lines, ips: &[&str]| {
        l.request(Request::Begin);
        for ip in ips {
            l.request(Request::Stands("j".to_owned(), values(ip)));
        }
        l.request(Request::End);
        good(l)
    };
    assert_eq!(
        stands(&mut l, &["192.0.2.1", "192.0.2.2"]),
        ["ban 192.0.2.1 5", "ban 192.0.2.2 5"]
    );
    // Said again: nothing new, and what is not named is over.
    assert_eq!(
        stands(&mut l, &["192.0.2.2", "192.0.2.3"]),
        ["ban 192.0.2.3 5", "unban 192.0.2.1 5"]
    );
    ban(&mut l, "192.0.2.4");
    assert_eq!(good(&mut l), ["ban 192.0.2.4 5", "mail 192.0.2.4"]);
}

#[test]
fn longer_and_again() {
    let more = format!("{OWN}actionprolong = longer <ip>\nactionreban = again <ip>\n");
    let mut l = lines(&[("one", &more), ("two", OWN)]);
    good(&mut l);
    l.request(Request::Prolong("j".to_owned(), values("192.0.2.1")));
    assert!(good(&mut l).is_empty());
    ban(&mut l, "192.0.2.1");
    l.request(Request::Prolong("j".to_owned(), values("192.0.2.1")));
    ban(&mut l, "192.0.2.1");
    assert_eq!(
        good(&mut l)[2..],
        ["longer 192.0.2.1", "again 192.0.2.1", "ban 192.0.2.1 5"]
    );
    l.request(Request::Flush("j".to_owned()));
    assert_eq!(good(&mut l), ["unban 192.0.2.1 5", "unban 192.0.2.1 5"]);
}

#[test]
fn what_fails_is_tried_once_more() {
    let mut l = lines(&[("one", OWN)]);
    good(&mut l);
    ban(&mut l, "192.0.2.1");
    let all = run(&mut l, |s, _| s.starts_with("ban"));
    assert_eq!(all, ["ban 192.0.2.1 5"; 2]);
    assert_eq!(l.counts.failed, 2);
    // What never was banned is not lifted.
    unban(&mut l, "192.0.2.1");
    assert!(good(&mut l).is_empty());
    // One that took too long is not tried again.
    ban(&mut l, "192.0.2.2");
    let w = l.next_work().unwrap();
    l.ended(w.number, None, true);
    assert!(l.next_work().is_none());
}

#[test]
fn what_is_broken_is_mended() {
    let checked = format!("{OWN}actioncheck = check\n");
    let mut l = lines(&[("one", &checked)]);
    good(&mut l);
    ban(&mut l, "192.0.2.1");
    good(&mut l);
    ban(&mut l, "192.0.2.2");
    let all = run(&mut l, |_, n| n < 2);
    assert_eq!(
        all,
        [
            "ban 192.0.2.2 5",
            "check",
            "stop",
            "start",
            "check",
            "ban 192.0.2.2 5",
            // What stood before is made again.
            "ban 192.0.2.1 5"
        ]
    );
    // Nor is anything mended at the end.
    let mut ends = lines(&[("one", &checked)]);
    good(&mut ends);
    ban(&mut ends, "192.0.2.1");
    good(&mut ends);
    ends.stop();
    assert_eq!(run(&mut ends, |_, _| true), ["unban 192.0.2.1 5", "stop"]);
    // An unban mends nothing.
    unban(&mut l, "192.0.2.1");
    assert_eq!(run(&mut l, |_, _| true), ["unban 192.0.2.1 5", "check"]);
    let repaired = format!("{checked}actionrepair = repair\nactionrepair_on_unban = 1\n");
    let mut l = lines(&[("one", &repaired)]);
    good(&mut l);
    ban(&mut l, "192.0.2.1");
    good(&mut l);
    unban(&mut l, "192.0.2.1");
    assert_eq!(
        run(&mut l, |_, n| n < 2),
        [
            "unban 192.0.2.1 5",
            "check",
            "repair",
            "check",
            "unban 192.0.2.1 5"
        ]
    );
    ban(&mut l, "192.0.2.1");
    assert_eq!(
        run(&mut l, |_, _| true),
        ["ban 192.0.2.1 5", "check", "repair"]
    );
}

#[test]
fn questions() {
    let mut l = lines(&[("one", OWN)]);
    good(&mut l);
    for (n, code, late) in [
        (1, Some(0), false),
        (2, Some(1), false),
        (3, Some(2), false),
        (4, None, true),
    ] {
        l.request(Request::Ignore(n, "j".to_owned(), values("192.0.2.1")));
        let w = l.next_work().unwrap();
        assert_eq!(
            (said(&w).as_str(), w.what.as_str()),
            ("ask 192.0.2.1", "ignorecommand")
        );
        l.ended(w.number, code, late);
    }
    l.request(Request::Ignore(5, "none".to_owned(), values("192.0.2.1")));
    assert_eq!(
        std::mem::take(&mut l.answers),
        [(1, true), (2, false), (3, false), (4, false), (5, false)]
    );
    assert_eq!(l.counts.failed, 2);
    for n in 0..QUESTIONS_MAX as u32 + 1 {
        l.request(Request::Ignore(n, "j".to_owned(), values("192.0.2.1")));
    }
    assert_eq!(l.answers, [(QUESTIONS_MAX as u32, false)]);
    for _ in 0..ASKING_MAX {
        assert!(l.next_work().is_some());
    }
    assert!(l.next_work().is_none());
}

#[test]
fn queues_are_bounded_and_what_ends_a_ban_is_never_dropped() {
    let mut l = lines(&[("one", OWN)]);
    good(&mut l);
    let ip = |n: usize| format!("10.0.{}.{}", n / 250, n % 250);
    for n in 0..WAITING_MAX + 2 {
        ban(&mut l, &ip(n));
        let dropped = (n + 1).saturating_sub(WAITING_MAX);
        assert_eq!(l.counts.dropped, dropped as u64, "{n}");
    }
    for n in 0..WAITING_MAX + 2 {
        unban(&mut l, &ip(n));
    }
    assert_eq!(good(&mut l).len(), 2 * WAITING_MAX);
    let mut l = lines(&[("one", OWN)]);
    for n in 0..KNOWN_MAX + 1 {
        let ip = format!("10.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256);
        l.request(Request::Stands("j".to_owned(), values(&ip)));
    }
    assert_eq!(l.counts.dropped, 1);
    // At the end there is no time for all of them.
    l.stop();
    l.hurry();
    assert_eq!(good(&mut l), Vec::<String>::new());
}

#[test]
fn a_value_that_is_not_plain_where_it_must_be_is_not_used() {
    let quoted = "[Definition]\nactionban = sed -i \"/<ip>/d\" list\n";
    let mut l = lines(&[("one", quoted)]);
    let id = |text: &str| {
        let v = Values::of(Who::Id(text.into()), 0, 60);
        Request::Ban("j".to_owned(), Box::new(v))
    };
    l.request(id("x/e touch made"));
    assert!(l.next_work().is_none());
    assert_eq!(l.counts.failed, 1);
    l.request(id("alice"));
    assert!(l.next_work().unwrap().text.contains("${f2bV_ip}"));
    assert_eq!(l.running, 1);
}

#[test]
fn many_jails_share_what_may_run() {
    let plans = (0..RUNNING_MAX + 3).map(|n| plan(&format!("j{n}"), &[("one", OWN)]));
    let mut l = Lines::new(plans.collect(), 0);
    let mut first: Vec<Work> = Vec::new();
    while let Some(w) = l.next_work() {
        first.push(w);
    }
    assert_eq!(first.len(), RUNNING_MAX);
    for w in first {
        l.ended(w.number, Some(0), false);
    }
    assert_eq!(good(&mut l).len(), 3);
}
