//! What `hikyaku ban stats --prometheus` writes: a form that collectors read, every name of it in
//! the manual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{HashMap, HashSet};

use banwatch::own::book::Growth;
use banwatch::own::judge::Judge;
use banwatch::own::never::Never;
use banwatch::watch::control::{Command, answer};
use banwatch::watch::desk::Desk;
use banwatch::watch::jails::Jails;

fn ask(desk: &mut Desk, question: &str) -> String {
    let command = Command::parse(question.as_bytes()).unwrap();
    let said = answer(&command, 1_000, desk, &mut Jails::default());
    said.strip_prefix("+\n").unwrap().to_owned()
}

#[test]
fn numbers_for_collectors() {
    let mut desk = Desk::new(
        Judge::new(7, 1),
        Never::new(&[], false),
        Growth::default(),
        false,
    );
    desk.asker("odd \"name\"\n\\", 0, false);
    ask(&mut desk, "add 203.0.113.9 10m");
    let text = ask(&mut desk, "metrics");
    let manual = include_str!("../../../man/hikyaku-ban.1");
    let (mut kinds, mut helped) = (HashMap::new(), HashSet::new());
    let mut series = HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(!help.is_empty() && helped.insert(name), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(["counter", "gauge"].contains(&kind) && kinds.insert(name, kind).is_none());
            continue;
        }
        let (what, value) = line.rsplit_once(' ').unwrap();
        value.parse::<u64>().unwrap();
        let name = what.split('{').next().unwrap();
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
            "{line}"
        );
        assert!(kinds.contains_key(name) && helped.contains(name), "{line}");
        assert!(series.insert(what.to_owned()), "{line}: twice");
        if let Some(labels) = what.strip_prefix(name).filter(|l| !l.is_empty()) {
            let value = labels.strip_prefix("{jail=\"").unwrap().strip_suffix("\"}");
            assert!(!value.unwrap().contains(['"', '\\', '\n']), "{line}");
        }
        let short = name.strip_prefix("hikyaku_ban_").unwrap();
        assert!(
            manual.contains(&format!(".It Va {short}")),
            "{short} is not in the manual"
        );
    }
    assert!(text.contains("\nhikyaku_ban_bans_standing 1\n"));
    assert!(text.contains("\nhikyaku_ban_jail_bans{jail=\"admin\"} 1\n"));
    assert!(text.contains("\nhikyaku_ban_jail_bans{jail=\"odd name\"} 0\n"));
    // The other forms have the same numbers.
    let json: serde_json::Value = serde_json::from_str(&ask(&mut desk, "stats json")).unwrap();
    let json = json.as_object().unwrap();
    let plain = ask(&mut desk, "stats");
    assert_eq!(plain.lines().count(), json.len());
    for name in json.keys() {
        assert!(
            kinds.contains_key(format!("hikyaku_ban_{name}").as_str()),
            "{name}"
        );
    }
}
