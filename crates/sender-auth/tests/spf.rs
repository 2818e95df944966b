//! SPF against tables of our own, and against the public suite for RFC 7208 and pyspf where they
//! are at hand.
//!
//! The suite: `HIKYAKU_SPF_SUITE` names `rfc7208-tests.yml` (pyspf's source archive has it); it
//! is read by Python with PyYAML. `HIKYAKU_ORACLE_PYTHON` names a Python, otherwise `python3`;
//! with pyspf in it, results for generated records are compared. Without them the tests say
//! so and pass, unless `HIKYAKU_ORACLE_REQUIRED` is set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use sender_auth::lookup::{Answer, Check, Need, Question, Record};
use sender_auth::spf::{
    LOOKUPS_MAX, MX_MAX, PTR_MAX, QUESTIONS_MAX, Spf, SpfRequest, SpfResult, SpfVerdict, VOIDS_MAX,
};
use serde_json::{Value, json};

/// Names in lower case to records of all types, and aliases; a name with `None` has no answer.
#[derive(Default, Clone)]
struct Zone(
    BTreeMap<String, Vec<Option<Record>>>,
    BTreeMap<String, String>,
);

fn reverse(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let mut nibbles: Vec<String> = ip
                .octets()
                .iter()
                .flat_map(|b| [format!("{:x}", b >> 4), format!("{:x}", b & 15)])
                .collect();
            nibbles.reverse();
            format!("{}.ip6.arpa", nibbles.join("."))
        }
    }
}

impl Zone {
    /// Rows of `NAME TYPE DATA`; `NAME fails`.
    fn parse(rows: &str) -> Self {
        let mut zone = Self::default();
        for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let mut words = row.splitn(3, ' ');
            let (name, kind) = (words.next().unwrap(), words.next().unwrap());
            zone.add(name, kind, words.next().unwrap_or_default());
        }
        zone
    }

    fn add(&mut self, name: &str, kind: &str, data: &str) {
        let record = match kind {
            "fails" => None,
            "TXT" => Some(Record::Txt(data.as_bytes().to_vec())),
            "A" => Some(Record::A(data.parse().unwrap())),
            "AAAA" => Some(Record::Aaaa(data.parse().unwrap())),
            "PTR" => Some(Record::Ptr(data.to_owned())),
            "MX" => {
                let (preference, host) = data.split_once(' ').unwrap();
                Some(Record::Mx {
                    preference: preference.parse().unwrap(),
                    host: host.trim_matches('.').to_owned(),
                })
            }
            other => panic!("{other}"),
        };
        let name = match name.parse() {
            Ok(ip) => reverse(ip),
            Err(_) => name.to_ascii_lowercase(),
        };
        self.0.entry(name).or_default().push(record);
    }

    fn resolve(&self, question: &Question) -> Answer {
        let name = match question {
            Question::Ptr(ip) => reverse(*ip),
            other => other.name().unwrap().to_ascii_lowercase(),
        };
        let mut name = name;
        for _ in 0..10 {
            let Some(alias) = self.1.get(&name) else {
                break;
            };
            name.clone_from(alias);
        }
        if self.1.contains_key(&name) {
            return Answer::TempFail;
        }
        let Some(rows) = self.0.get(&name) else {
            return Answer::NxDomain;
        };
        let fits = |record: &Record| {
            matches!(
                (question, record),
                (Question::Txt(_), Record::Txt(_))
                    | (Question::A(_), Record::A(_))
                    | (Question::Aaaa(_), Record::Aaaa(_))
                    | (Question::Mx(_), Record::Mx { .. })
                    | (Question::Ptr(_), Record::Ptr(_))
            )
        };
        let found: Vec<Record> = rows.iter().flatten().filter(|r| fits(r)).cloned().collect();
        if !found.is_empty() {
            Answer::Records(found)
        } else if rows.contains(&None) {
            Answer::TempFail
        } else {
            Answer::NoData
        }
    }
}

fn request(ip: &str, helo: &str, mail_from: &str) -> SpfRequest {
    SpfRequest {
        ip: ip.parse().unwrap(),
        helo: helo.to_owned(),
        mail_from: mail_from.to_owned(),
        receiver: "mx.us.example".to_owned(),
        now: 1_767_225_600,
    }
}

/// Runs a check; also how many questions it put.
fn run(mut check: Spf, mut resolve: impl FnMut(&Question) -> Answer) -> (SpfVerdict, usize) {
    let mut questions = 0;
    loop {
        match check.poll() {
            Need::Lookup(question) => {
                questions += 1;
                assert!(questions <= QUESTIONS_MAX, "too many questions");
                let answer = resolve(&question);
                check.answer(&question, &answer);
            }
            Need::Done(verdict) => return (verdict, questions),
            Need::Wait => panic!("waits for nothing"),
        }
    }
}

fn check(zone: &Zone, ip: &str, mail_from: &str) -> SpfVerdict {
    let asked = request(ip, "mail.a.example", mail_from);
    run(Spf::mail_from(&asked), |q| zone.resolve(q)).0
}

/// A zone in which `a.example` has this record beside what all rows share.
fn shared(record: &str) -> Zone {
    let mut zone = Zone::parse(
        "a.example A 192.0.2.1
         a.example AAAA 2001:db8::1
         a.example MX 10 mx1.a.example
         a.example MX 5 mx2.a.example
         mx1.a.example A 192.0.2.11
         mx1.a.example AAAA 2001:db8::11
         mx2.a.example A 192.0.2.12
         pass.example TXT v=spf1 +all
         fail.example TXT v=spf1 -all exp=why.fail.example
         why.fail.example TXT Not from %{i} by %{l}, says %{d}.
         soft.example TXT v=spf1 ~all
         neutral.example TXT v=spf1
         broken.example TXT v=spf1 foo
         two.example TXT v=spf1 -all
         two.example TXT v=spf1 +all
         down.example fails
         null.example MX 0 .
         x.mx2.only6.example AAAA 2001:db8::1
         192.0.2.1 PTR Host.A.Example
         host.a.example A 192.0.2.1
         192.0.2.2 PTR host.a.example
         192.0.2.3 fails
         192.0.2.4 PTR down.example
         192.0.2.4 PTR four.b.example
         four.b.example A 192.0.2.4
         2001:db8::1 PTR six.a.example
         six.a.example AAAA 2001:db8::1
         1.2.0.192.in-addr.joe.exists.example A 127.0.0.2
         host.a.example.p.example A 127.0.0.2
         unknown.p.example A 127.0.0.2
         mail.a.example.h.example A 127.0.0.2",
    );
    zone.add("a.example", "TXT", "unrelated \u{e9}");
    zone.add("a.example", "TXT", record);
    zone
}

#[test]
fn mechanisms() {
    for (record, ip, expected) in [
        ("v=spf1", "192.0.2.1", "neutral"),
        ("v=spf1 ", "192.0.2.1", "neutral"),
        ("v=spf1 all -all", "192.0.2.1", "pass"),
        ("V=SPF1 ?ALL", "192.0.2.1", "neutral"),
        ("v=spf1 ~all", "192.0.2.1", "softfail"),
        ("v=spf1 -all", "192.0.2.1", "fail"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.255", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "::ffff:192.0.2.9", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "2001:db8::1", "fail"),
        ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8:1::1", "pass"),
        ("v=spf1 a -all", "192.0.2.1", "pass"),
        ("v=spf1 a -all", "192.0.2.2", "fail"),
        ("v=spf1 a -all", "2001:db8::1", "pass"),
        ("v=spf1 a/24 -all", "192.0.2.2", "pass"),
        ("v=spf1 a/24 -all", "2001:db8::2", "fail"),
        ("v=spf1 a//64 -all", "2001:db8::2", "pass"),
        ("v=spf1 a:mx1.a.example -all", "192.0.2.11", "pass"),
        ("v=spf1 a:none.example/0 -all", "192.0.2.11", "fail"),
        ("v=spf1 a:down.example -all", "192.0.2.11", "temperror"),
        ("v=spf1 a:x...y.example -all", "192.0.2.11", "fail"),
        ("v=spf1 mx -all", "192.0.2.11", "pass"),
        ("v=spf1 mx -all", "192.0.2.12", "pass"),
        ("v=spf1 mx -all", "192.0.2.1", "fail"),
        ("v=spf1 mx -all", "2001:db8::11", "pass"),
        ("v=spf1 mx:a.example/24 -all", "192.0.2.99", "pass"),
        ("v=spf1 mx:null.example -all", "192.0.2.1", "fail"),
        ("v=spf1 mx:mx1.a.example -all", "192.0.2.11", "fail"),
        ("v=spf1 ptr -all", "192.0.2.1", "pass"),
        ("v=spf1 ptr -all", "2001:db8::1", "pass"),
        ("v=spf1 ptr:b.example -all", "192.0.2.1", "fail"),
        (
            "v=spf1 ptr:EXAMPLE.example ptr:A.Example -all",
            "192.0.2.1",
            "pass",
        ),
        ("v=spf1 ptr -all", "192.0.2.2", "fail"),
        ("v=spf1 ptr -all", "192.0.2.3", "fail"),
        ("v=spf1 ptr:b.example -all", "192.0.2.4", "pass"),
        (
            "v=spf1 exists:%{ir}.%{v}.%{l}.exists.example -all",
            "192.0.2.1",
            "pass",
        ),
        (
            "v=spf1 exists:%{ir}.%{v}.%{l}.exists.example -all",
            "192.0.2.2",
            "fail",
        ),
        ("v=spf1 exists:%{p}.p.example -all", "192.0.2.1", "pass"),
        ("v=spf1 exists:%{p}.p.example -all", "192.0.2.2", "pass"),
        ("v=spf1 exists:%{p}.p.example -all", "192.0.2.4", "fail"),
        ("v=spf1 exists:%{h}.h.example -all", "192.0.2.1", "pass"),
        ("v=spf1 exists:mx1.a.example -all", "2001:db8::9", "pass"),
        ("v=spf1 exists:six.a.example -all", "2001:db8::1", "fail"),
        ("v=spf1 include:pass.example -all", "192.0.2.1", "pass"),
        ("v=spf1 -include:pass.example +all", "192.0.2.1", "fail"),
        ("v=spf1 include:fail.example ~all", "192.0.2.1", "softfail"),
        ("v=spf1 include:soft.example +all", "192.0.2.1", "pass"),
        ("v=spf1 include:neutral.example +all", "192.0.2.1", "pass"),
        ("v=spf1 include:none.example +all", "192.0.2.1", "permerror"),
        (
            "v=spf1 include:broken.example +all",
            "192.0.2.1",
            "permerror",
        ),
        ("v=spf1 include:two.example +all", "192.0.2.1", "permerror"),
        ("v=spf1 include:down.example +all", "192.0.2.1", "temperror"),
        ("v=spf1 redirect=fail.example", "192.0.2.1", "fail"),
        ("v=spf1 redirect=none.example", "192.0.2.1", "permerror"),
        ("v=spf1 redirect=neutral.example", "192.0.2.1", "neutral"),
        ("v=spf1 redirect=fail.example ?all", "192.0.2.1", "neutral"),
        (
            "v=spf1 ip4:192.0.2.1 redirect=fail.example",
            "192.0.2.1",
            "pass",
        ),
        ("v=spf1 a -all moo", "192.0.2.1", "permerror"),
        ("v=spf1 moo=x -all", "192.0.2.1", "fail"),
    ] {
        let found = check(&shared(record), ip, "joe@a.example");
        assert_eq!(found.result.as_str(), expected, "{record} {ip}: {found:?}");
    }
}

#[test]
fn who_is_checked() {
    let zone = shared("v=spf1 -all");
    for (mail_from, expected, domain) in [
        ("joe@a.example", "fail", "a.example"),
        ("joe@A.EXAMPLE.", "fail", "a.example"),
        ("a@b@a.example", "fail", "a.example"),
        ("@a.example", "fail", "a.example"),
        ("a.example", "fail", "a.example"),
        ("joe@none.example", "none", "none.example"),
        ("joe@pass.example", "pass", "pass.example"),
        ("joe@example", "none", ""),
        ("joe@", "none", ""),
        ("joe@[192.0.2.1]", "none", ""),
        ("joe@a...example", "none", ""),
        ("joe@down.example", "temperror", "down.example"),
        ("joe@two.example", "permerror", "two.example"),
        // A bounce: the name of HELO.
        ("", "none", "mail.a.example"),
    ] {
        let found = check(&zone, "192.0.2.1", mail_from);
        assert_eq!(
            (found.result.as_str(), found.domain.as_str()),
            (expected, domain),
            "{mail_from}"
        );
    }
    for (length, expected) in [(62, "none"), (63, "none"), (64, "")] {
        let domain = format!("{}.example", "a".repeat(length));
        let found = check(&zone, "192.0.2.1", &format!("joe@{domain}"));
        let expected = if expected == "none" {
            domain.as_str()
        } else {
            ""
        };
        assert_eq!(found.domain, expected);
    }
    let asked = request("192.0.2.1", "fail.example", "joe@pass.example");
    let (found, _) = run(Spf::helo(&asked), |q| zone.resolve(q));
    assert_eq!(found.result, SpfResult::Fail);
    assert_eq!(
        found.explanation.as_deref(),
        Some("Not from 192.0.2.1 by postmaster, says fail.example.")
    );
    assert_eq!(found.mechanism.as_deref(), Some("-all"));
}

#[test]
fn explanations() {
    for (record, more, expected) in [
        ("v=spf1 -all", "", None),
        ("v=spf1 -all exp=none.example", "", None),
        (
            "v=spf1 -all exp=why.fail.example",
            "",
            Some("Not from 192.0.2.1 by joe, says a.example."),
        ),
        (
            "v=spf1 redirect=fail.example",
            "",
            Some("Not from 192.0.2.1 by joe, says fail.example."),
        ),
        // Neither that of the includer's redirect nor that of the included record.
        ("v=spf1 include:fail.example -all", "", None),
        (
            "v=spf1 exp=why.fail.example redirect=soft.example",
            "",
            None,
        ),
        ("v=spf1 -all exp=e.example", "e.example TXT bad %{x}", None),
        (
            "v=spf1 -all exp=e.example",
            "e.example TXT sm\u{f6}rg\u{e5}s",
            None,
        ),
        (
            "v=spf1 -all exp=e.example",
            "e.example TXT one\ne.example TXT two",
            None,
        ),
        ("v=spf1 -all exp=e.example", "e.example fails", None),
        (
            "v=spf1 -all exp=e.example",
            "e.example TXT %{p} at %{r}",
            Some("host.a.example at mx.us.example"),
        ),
        (
            "v=spf1 -all exp=%{p}.e.example",
            "host.a.example.e.example TXT x",
            Some("x"),
        ),
    ] {
        let mut zone = shared(record);
        for (name, rows) in Zone::parse(more).0 {
            zone.0.entry(name).or_default().extend(rows);
        }
        let found = check(&zone, "192.0.2.1", "joe@a.example");
        let expected_result = if record.contains("soft") {
            SpfResult::SoftFail
        } else {
            SpfResult::Fail
        };
        assert_eq!(found.result, expected_result);
        assert_eq!(found.explanation.as_deref(), expected, "{record} {more}");
    }
    // A sender can't put a line end into a reply.
    let zone = shared("v=spf1 -all exp=why.fail.example");
    let found = check(&zone, "192.0.2.1", "j\r\noe@a.example");
    assert_eq!(
        found.explanation.as_deref(),
        Some("Not from 192.0.2.1 by joe, says a.example.")
    );
}

#[test]
fn lookup_limit() {
    let most = LOOKUPS_MAX as usize;
    for (count, good) in [(most - 1, true), (most, true), (most + 1, false)] {
        let expected = if good {
            SpfResult::Pass
        } else {
            SpfResult::PermError
        };
        // Terms in one record.
        let record = format!("v=spf1{} +all", " a:mx1.a.example".repeat(count));
        assert_eq!(
            check(&shared(&record), "192.0.2.1", "j@a.example").result,
            expected
        );
        // Records one inside another, and one after another.
        for link in ["include:", "redirect="] {
            let mut zone = shared(&format!("v=spf1 {link}r1.example"));
            for n in 1..count {
                let text = format!("v=spf1 {link}r{}.example", n + 1);
                zone.add(&format!("r{n}.example"), "TXT", &text);
            }
            zone.add(&format!("r{count}.example"), "TXT", "v=spf1 +all");
            let found = check(&zone, "192.0.2.1", "j@a.example");
            assert_eq!(found.result, expected, "{link} {count}");
        }
    }
    // For ever.
    for link in ["include:", "redirect="] {
        let zone = shared(&format!("v=spf1 {link}a.example"));
        let asked = request("192.0.2.1", "h.example", "j@a.example");
        let (found, questions) = run(Spf::mail_from(&asked), |q| zone.resolve(q));
        assert_eq!(found.result, SpfResult::PermError);
        assert_eq!(questions, most + 1);
    }
}

#[test]
fn void_limit() {
    let most = VOIDS_MAX as usize;
    for (count, good) in [(most - 1, true), (most, true), (most + 1, false)] {
        let expected = if good {
            SpfResult::Pass
        } else {
            SpfResult::PermError
        };
        for term in [
            "a:none.example",
            "mx:none.example",
            "exists:none.example",
            "mx:deadmx.example",
        ] {
            let mut zone = shared(&format!("v=spf1{} +all", format!(" {term}").repeat(count)));
            zone.add("deadmx.example", "MX", "1 none.example");
            let found = check(&zone, "192.0.2.1", "j@a.example");
            assert_eq!(found.result, expected, "{term} {count}");
            assert_eq!(found.voids as usize, count);
        }
    }
}

#[test]
fn mx_and_ptr_limits() {
    for (count, good) in [(MX_MAX - 1, true), (MX_MAX, true), (MX_MAX + 1, false)] {
        let mut zone = shared("v=spf1 mx:many.example -all");
        for n in 1..=count {
            zone.add("many.example", "MX", &format!("{n} m{n}.example"));
            zone.add(
                &format!("m{n}.example"),
                "A",
                &format!("192.0.2.{}", 100 + n),
            );
        }
        let found = check(&zone, &format!("192.0.2.{}", 100 + count), "j@a.example");
        let expected = if good {
            SpfResult::Pass
        } else {
            SpfResult::PermError
        };
        assert_eq!(found.result, expected, "{count}");
    }
    for (count, good) in [(PTR_MAX - 1, true), (PTR_MAX, true), (PTR_MAX + 1, false)] {
        let mut zone = shared("v=spf1 ptr -all");
        for n in 1..count {
            zone.add("192.0.2.77", "PTR", &format!("n{n}.b.example"));
        }
        zone.add("192.0.2.77", "PTR", "right.a.example");
        zone.add("right.a.example", "A", "192.0.2.77");
        let found = check(&zone, "192.0.2.77", "j@a.example");
        let expected = if good {
            SpfResult::Pass
        } else {
            SpfResult::Fail
        };
        assert_eq!(found.result, expected, "{count}");
    }
}

#[test]
fn hostile_answers_are_bounded() {
    // 64 KiB records, answers of the wrong type, thousands of records, a name that includes itself.
    let long = format!("v=spf1{}", " exists:%{l}.%{l}.%{d}.example".repeat(2_000));
    let wide = format!("v=spf1 include:{}.example", "%{s}".repeat(15_000));
    let local = "l.".repeat(500);
    for text in [long, wide, format!("v=spf1 {}", "?".repeat(65_000))] {
        for wrong in [false, true] {
            let asked = request("192.0.2.1", "h.example", &format!("{local}@a.example"));
            let (found, _) = run(Spf::mail_from(&asked), |question| {
                let record = match question {
                    Question::Txt(_) if wrong => Record::A([127, 0, 0, 1].into()),
                    Question::Txt(_) => Record::Txt(text.clone().into_bytes()),
                    Question::Mx(_) => Record::Txt(vec![0; 65_535]),
                    _ => Record::Ptr("\0".repeat(60_000)),
                };
                Answer::Records(vec![record; if wrong { 4_000 } else { 1 }])
            });
            let expected = if wrong {
                SpfResult::None
            } else {
                SpfResult::PermError
            };
            assert_eq!(found.result, expected, "{found:?}");
        }
    }
}

#[test]
fn answers_nobody_asked_for_are_ignored() {
    let zone = shared("v=spf1 -all");
    let mut check = Spf::mail_from(&request("192.0.2.1", "h.example", "j@a.example"));
    let other = Question::A("a.example".to_owned());
    check.answer(&other, &Answer::TempFail);
    let Need::Lookup(question) = check.poll() else {
        panic!("no question");
    };
    assert_eq!(check.poll(), Need::Wait);
    check.answer(&other, &Answer::TempFail);
    assert_eq!(check.poll(), Need::Wait);
    check.answer(&question, &zone.resolve(&question));
    check.answer(&question, &Answer::TempFail);
    assert!(matches!(check.poll(), Need::Done(verdict) if verdict.result == SpfResult::Fail));
    assert_eq!(check.poll(), Need::Wait);
}

fn python() -> String {
    std::env::var("HIKYAKU_ORACLE_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/spf_oracle.py");

/// Whether something that a test needs is there; says why not.
fn there(found: bool, what: &str) -> bool {
    if !found {
        assert!(
            std::env::var_os("HIKYAKU_ORACLE_REQUIRED").is_none(),
            "{what}"
        );
        eprintln!("skipped: {what}");
    }
    found
}

/// One row of the suite's zone data.
fn suite_row(zone: &mut Zone, name: &str, kind: &str, value: &Value, has_txt: bool) {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    // Texts hold octets above 0x7f as characters of that number.
    let octets = |value: &Value| -> Vec<u8> {
        let one = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let text: String = match value {
            Value::Array(parts) => parts.iter().map(one).collect(),
            other => one(other),
        };
        text.chars()
            .map(|c| u8::try_from(c as u32).unwrap_or(0xff))
            .collect()
    };
    let rows = zone.0.entry(name.clone()).or_default();
    match kind {
        "TXT" if value != "NONE" => rows.push(Some(Record::Txt(octets(value)))),
        // Records of the type SPF also stand for text records unless there are some.
        "SPF" if !has_txt => rows.push(Some(Record::Txt(octets(value)))),
        "CNAME" => {
            let target = value.as_str().unwrap().trim_end_matches('.');
            zone.1.insert(name, target.to_ascii_lowercase());
        }
        "A" | "AAAA" | "PTR" => {
            let data = value.as_str().unwrap().trim_end_matches('.').to_owned();
            zone.add(&name, kind, &data);
        }
        "MX" => rows.push(Some(Record::Mx {
            preference: u16::try_from(value[0].as_u64().unwrap()).unwrap(),
            host: value[1].as_str().unwrap().trim_end_matches('.').to_owned(),
        })),
        _ => {}
    }
}

fn suite_zone(data: &Value) -> Zone {
    let mut zone = Zone::default();
    for (name, rows) in data.as_object().unwrap() {
        let rows = rows.as_array().unwrap();
        let has_txt = rows.iter().any(|row| row.get("TXT").is_some());
        for row in rows {
            if row == "TIMEOUT" {
                zone.0
                    .entry(name.to_ascii_lowercase())
                    .or_default()
                    .push(None);
                continue;
            }
            for (kind, value) in row.as_object().unwrap() {
                suite_row(&mut zone, name, kind, value, has_txt);
            }
        }
    }
    zone
}

#[test]
fn public_suite() {
    let Some(path) = std::env::var_os("HIKYAKU_SPF_SUITE") else {
        there(false, "HIKYAKU_SPF_SUITE does not name rfc7208-tests.yml");
        return;
    };
    let output = Command::new(python())
        .args([SCRIPT, "suite"])
        .arg(path)
        .output()
        .unwrap();
    if !there(output.status.success(), "no Python with PyYAML") {
        return;
    }
    let documents: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (mut cases, mut wrong) = (0, Vec::new());
    for document in documents.as_array().unwrap() {
        let zone = suite_zone(&document["zonedata"]);
        for (name, test) in document["tests"].as_object().unwrap() {
            cases += 1;
            let text = |key: &str| test[key].as_str().unwrap_or_default();
            let asked = request(text("host"), text("helo"), text("mailfrom"));
            let (found, _) = run(Spf::mail_from(&asked), |q| zone.resolve(q));
            let expected = match &test["result"] {
                Value::Array(several) => several.clone(),
                one => vec![one.clone()],
            };
            let good = expected.iter().any(|word| word == found.result.as_str());
            let said = match test["explanation"].as_str() {
                None => true,
                Some("DEFAULT") => found.explanation.is_none(),
                Some(words) => found
                    .explanation
                    .as_ref()
                    .is_some_and(|said| said.eq_ignore_ascii_case(words)),
            };
            if !good || !said {
                wrong.push(format!(
                    "{name}: expected {expected:?} {:?}, {found:?}",
                    test["explanation"]
                ));
            }
        }
    }
    eprintln!("{cases} cases");
    assert!(
        cases > 190 && wrong.is_empty(),
        "{cases} cases, wrong:\n{}",
        wrong.join("\n")
    );
}

/// Records that are more often right than wrong.
fn records() -> impl Strategy<Value = String> {
    let names = ["a.example", "b.example", "c.example", "none.example"];
    let name = prop::sample::select(names.to_vec());
    let term = prop_oneof![
        prop::sample::select(vec![
            "a",
            "mx",
            "ptr",
            "a/24",
            "mx/24",
            "ip4:192.0.2.0/30",
            "ip4:192.0.2.8",
            "ip6:2001:db8::/64",
            "exists:%{ir}.e.example",
            "exists:%{l1r-}.%{d2}",
            "a:%{d1r}.example",
            "ptr:example",
            "x=y",
            "bad",
            "ip4:1.2.3",
            "exists:x",
        ])
        .prop_map(str::to_owned),
        (
            prop::sample::select(vec!["a:", "mx:", "include:", "redirect=", "exists:"]),
            name
        )
            .prop_map(|(kind, name)| format!("{kind}{name}")),
    ];
    let qualified = (prop::sample::select(vec!["", "", "+", "-", "~", "?"]), term).prop_map(
        |(qualifier, term)| match term.contains('=') {
            true => term,
            false => format!("{qualifier}{term}"),
        },
    );
    (
        prop::collection::vec(qualified, 0..4),
        prop::sample::select(vec!["", " -all", " ~all"]),
    )
        .prop_map(|(terms, end)| format!("v=spf1 {}{end}", terms.join(" ")))
}

#[test]
fn compared_with_pyspf() {
    let probe = Command::new(python())
        .args(["-c", "import spf"])
        .stderr(Stdio::null())
        .status();
    let found = probe.is_ok_and(|status| status.success());
    if !there(found, "no Python with pyspf") {
        return;
    }
    let mut child = Command::new(python())
        .args([SCRIPT, "check"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = (
        prop::collection::vec(records(), 3),
        prop::sample::select(vec!["192.0.2.1", "192.0.2.9", "198.51.100.1"]),
    );
    let mut compared = 0;
    for _ in 0..400 {
        let names = ["a.example", "b.example", "c.example"];
        let (texts, ip) = tree.new_tree(&mut runner).unwrap().current();
        let rows = "a.example A 192.0.2.1\nb.example A 192.0.2.9\nb.example MX 1 a.example\nc.example MX 1 b.example\n\
            192.0.2.1 PTR a.example\n192.0.2.9 PTR h.b.example\nh.b.example A 192.0.2.9\n\
            9.2.0.192.e.example A 127.0.0.1\n198.51.100.1 PTR a.example";
        let mut zone = Zone::parse(rows);
        for (name, text) in names.iter().zip(&texts) {
            zone.add(name, "TXT", text);
        }
        let ours = check(&zone, ip, "joe-x@a.example");
        // pyspf refuses a record that names itself even where it is not evaluated.
        let itself = |(name, text): (&&str, &String)| {
            text.contains(&format!("include:{name}")) || text.contains(&format!("redirect={name}"))
        };
        // It also refuses any modifier that stands there twice.
        let twice = |text: &String| text.matches("x=y").count() > 1;
        if names.iter().zip(&texts).any(itself) || texts.iter().any(twice) {
            continue;
        }
        // How many of one term's queries may find nothing is read differently.
        if ours.voids > 1 {
            continue;
        }
        let mut table = json!({});
        for (name, rows) in &zone.0 {
            for record in rows.iter().flatten() {
                let (kind, value) = match record {
                    Record::Txt(text) => ("TXT", json!(String::from_utf8_lossy(text))),
                    Record::A(ip) => ("A", json!(ip.to_string())),
                    Record::Ptr(name) => ("PTR", json!(name)),
                    Record::Mx { preference, host } => ("MX", json!([preference, host])),
                    _ => continue,
                };
                let row = &mut table[name][kind];
                if row.is_null() {
                    *row = json!([]);
                }
                row.as_array_mut().unwrap().push(value);
            }
        }
        let question = json!({"zone": table, "ip": ip, "helo": "mail.a.example", "mail_from": "joe-x@a.example"});
        writeln!(to, "{question}").unwrap();
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        let theirs: Value = serde_json::from_str(&line).unwrap();
        compared += 1;
        assert_eq!(
            theirs["result"],
            ours.result.as_str(),
            "{texts:?} {ip} {ours:?}"
        );
    }
    drop(to);
    let _ = child.wait();
    eprintln!("{compared} compared");
    assert!(compared > 200);
}
