//! Checks of SPF and DMARC a second against a canned DNS, beside pyspf in the same run: three
//! rounds in turn, medians.
//!
//! `cargo run --release -p sender-auth --example policy_speed [TIMES]` (2,000 if not said). pyspf
//! is compared, with a hundredth of the checks, when the Python that `HIKYAKU_ORACLE_PYTHON` names
//! has it; both must come to the same results.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "speed/measure.rs"]
mod measure;

use measure::{Folder, cpu, median, python};
use sender_auth::dmarc::{Dmarc, DmarcRequest, DmarcResult, Method, SuffixList};
use sender_auth::lookup::{Answer, Question, Record, drive};
use sender_auth::spf::{Spf, SpfRequest};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

const NOW: i64 = 1_767_225_600;
const ROUNDS: usize = 3;

/// What the canned DNS holds.
const ZONE: &[(&str, &str, &str)] = &[
    ("small.example", "TXT", "v=spf1 ip4:192.0.2.0/24 -all"),
    (
        "hosted.example",
        "TXT",
        "v=spf1 a mx include:_spf.host.example ~all",
    ),
    ("hosted.example", "A", "198.51.100.1"),
    ("hosted.example", "MX", "mx1.host.example"),
    ("hosted.example", "MX", "mx2.host.example"),
    ("hosted.example", "AAAA", "2001:db8:9::1"),
    ("mx1.host.example", "A", "198.51.100.11"),
    ("mx1.host.example", "AAAA", "2001:db8:9::11"),
    ("mx2.host.example", "A", "198.51.100.12"),
    (
        "_spf.host.example",
        "TXT",
        "v=spf1 include:_n1.host.example include:_n2.host.example include:_n3.host.example ~all",
    ),
    (
        "_n1.host.example",
        "TXT",
        "v=spf1 ip4:203.0.113.0/28 ip4:203.0.113.16/28 ip4:203.0.113.32/28 ip4:203.0.113.48/28 \
         ip4:203.0.113.64/28 ip4:203.0.113.80/28 ip4:203.0.113.96/28 ip4:203.0.113.112/28 ~all",
    ),
    (
        "_n2.host.example",
        "TXT",
        "v=spf1 ip6:2001:db8:1::/48 ip6:2001:db8:2::/48 ip6:2001:db8:3::/48 ip6:2001:db8:4::/48 ~all",
    ),
    (
        "_n3.host.example",
        "TXT",
        "v=spf1 ip4:203.0.113.128/28 ip4:203.0.113.144/28 ip4:203.0.113.160/28 ip4:203.0.113.200 ~all",
    ),
    (
        "macro.example",
        "TXT",
        "v=spf1 exists:%{ir}.%{l1r-}.allowed.example -all",
    ),
    ("200.113.0.203.joe.allowed.example", "A", "127.0.0.2"),
    (
        "_dmarc.small.example",
        "TXT",
        "v=DMARC1; p=reject; rua=mailto:d@small.example",
    ),
    (
        "_dmarc.hosted.example",
        "TXT",
        "v=DMARC1; p=quarantine; sp=reject; adkim=s; pct=50",
    ),
];

/// Client, sender, and the right result of SPF.
const SPF: &[(&str, &str, &str)] = &[
    ("192.0.2.7", "joe@small.example", "pass"),
    ("203.0.113.7", "joe@small.example", "fail"),
    ("198.51.100.12", "joe@hosted.example", "pass"),
    ("203.0.113.200", "joe@hosted.example", "pass"),
    ("2001:db8:4::25", "joe@hosted.example", "pass"),
    ("192.0.2.99", "joe@hosted.example", "softfail"),
    ("203.0.113.200", "joe-list@macro.example", "pass"),
    ("192.0.2.99", "joe-list@macro.example", "fail"),
    ("192.0.2.99", "joe@silent.example", "none"),
];

/// Author's domain, proven by SPF, proven by DKIM, and the right result of DMARC.
const DMARC: &[(&str, &str, &str, DmarcResult)] = &[
    ("small.example", "small.example", "", DmarcResult::Pass),
    ("small.example", "", "", DmarcResult::Fail),
    (
        "news.small.example",
        "bounce.host.example",
        "small.example",
        DmarcResult::Pass,
    ),
    (
        "a.b.hosted.example",
        "",
        "hosted.example",
        DmarcResult::Fail,
    ),
    ("silent.example", "silent.example", "", DmarcResult::None),
];

type Names = HashMap<(&'static str, &'static str), Vec<Record>>;

fn names() -> Names {
    let mut names = Names::new();
    for (name, kind, data) in ZONE {
        let record = match *kind {
            "TXT" => Record::Txt(data.as_bytes().to_vec()),
            "A" => Record::A(data.parse().unwrap()),
            "AAAA" => Record::Aaaa(data.parse().unwrap()),
            "MX" => Record::Mx {
                preference: 10,
                host: (*data).to_owned(),
            },
            other => panic!("{other}"),
        };
        names.entry((*name, *kind)).or_default().push(record);
    }
    names
}

fn resolve(names: &Names, question: &Question) -> Answer {
    let kind = match question {
        Question::Txt(_) => "TXT",
        Question::A(_) => "A",
        Question::Mx(_) => "MX",
        Question::Aaaa(_) => "AAAA",
        Question::Ptr(_) | Question::Tlsa(_) => return Answer::NoData,
    };
    match names.get(&(question.name().unwrap(), kind)) {
        Some(records) => Answer::Records(records.clone()),
        None => Answer::NxDomain,
    }
}

/// Seconds a check.
fn spf(times: usize, names: &Names) -> f64 {
    let requests: Vec<(SpfRequest, &str)> = SPF
        .iter()
        .map(|(ip, mail_from, result)| {
            let request = SpfRequest {
                ip: ip.parse().unwrap(),
                helo: "client.example".to_owned(),
                mail_from: (*mail_from).to_owned(),
                receiver: "mx.example".to_owned(),
                now: NOW,
            };
            (request, *result)
        })
        .collect();
    let start = cpu();
    for _ in 0..times {
        for (request, result) in &requests {
            let mut check = Spf::mail_from(black_box(request));
            let verdict = drive(&mut check, |question| resolve(names, question)).unwrap();
            assert_eq!(verdict.result.as_str(), *result, "{request:?}");
        }
    }
    (cpu() - start) / (times * requests.len()) as f64
}

/// Seconds a check.
fn dmarc(times: usize, names: &Names, method: &Method) -> f64 {
    let requests: Vec<(DmarcRequest, DmarcResult)> = DMARC
        .iter()
        .map(|(author, spf, dkim, result)| {
            let request = DmarcRequest {
                author: (*author).to_owned(),
                spf: (!spf.is_empty()).then(|| (*spf).to_owned()),
                dkim: dkim.split_whitespace().map(str::to_owned).collect(),
                unsure: false,
                sample: 0,
            };
            (request, *result)
        })
        .collect();
    let start = cpu();
    for _ in 0..times {
        for (request, result) in &requests {
            let mut check = Dmarc::new(black_box(request).clone(), method.clone());
            let verdict = drive(&mut check, |question| resolve(names, question)).unwrap();
            assert_eq!(verdict.result, *result, "{request:?}");
        }
    }
    (cpu() - start) / (times * requests.len()) as f64
}

/// The zone and the checks for pyspf.
fn as_json() -> Value {
    let mut zone = json!({});
    for (name, kind, data) in ZONE {
        let row = match *kind {
            "MX" => json!([10, data]),
            _ => json!(data),
        };
        let rows = &mut zone[*name][*kind];
        match rows.as_array_mut() {
            Some(rows) => rows.push(row),
            None => *rows = json!([row]),
        }
    }
    let asks = SPF.iter().map(|(ip, mail_from, result)| {
        json!({"ip": ip, "mail_from": mail_from, "helo": "client.example", "result": result})
    });
    json!({"zone": zone, "asks": asks.collect::<Vec<_>>()})
}

fn main() {
    let times = std::env::args()
        .nth(1)
        .map_or(2_000_usize, |text| text.parse().expect("how often"));
    let names = names();
    let suffixes = Method::Suffixes(Arc::new(SuffixList::parse(b"example\nco.example\n")));
    let folder = Folder::new("policy-speed");
    let questions = folder.path("questions.json");
    std::fs::write(&questions, as_json().to_string()).unwrap();
    let python = python("spf");
    let pyspf_times = times.div_ceil(100);

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut walks, mut lists) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(spf(times, &names));
        if let Some(python) = &python {
            let mut command = Command::new(python);
            command.args([measure::SCRIPT, "spf", &pyspf_times.to_string()]);
            let seconds = measure::run(command.arg(&questions)).unwrap();
            theirs.push(seconds / (pyspf_times * SPF.len()) as f64);
        }
        walks.push(dmarc(times, &names, &Method::TreeWalk));
        lists.push(dmarc(times, &names, &suffixes));
    }
    println!("medians of {ROUNDS} rounds, one core; answers of the DNS are at hand\n");
    let row = |what: &str, times: Vec<f64>| {
        let middle = median(times.into_iter())?;
        let (each, second) = (middle * 1e6, 1.0 / middle);
        println!("{what:22} {each:9.2} microseconds a check, {second:9.0} checks a second");
        Some(middle)
    };
    let spf = row("SPF", ours);
    let pyspf = row("SPF by pyspf", theirs);
    row("DMARC, tree walk", walks);
    row("DMARC, public suffixes", lists);
    match (spf, pyspf) {
        (Some(ours), Some(theirs)) => println!("SPF: {:.4} of pyspf's CPU time", ours / theirs),
        _ => println!("pyspf: not in this Python (HIKYAKU_ORACLE_PYTHON)"),
    }
}
