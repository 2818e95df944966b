//! Aggregate reports: made, checked, read and summed up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use sender_auth::dmarc::{Alignment, Policy};
use sender_auth::report::{
    AggregateReport, DkimAuth, KINDS_MAX, LIST_MAX, PublishedPolicy, ROWS_MAX, Reason, ReportError,
    Row, SpfAuth, Summary, TEXT_MAX, Tally,
};

fn row(source: &str, count: u64, passed: bool) -> Row {
    Row {
        source: source.parse().unwrap(),
        count,
        disposition: if passed { Policy::None } else { Policy::Reject },
        dkim_aligned: passed,
        spf_aligned: false,
        reasons: Vec::new(),
        envelope_to: String::new(),
        envelope_from: "a.example".to_owned(),
        header_from: "a.example".to_owned(),
        dkim: vec![DkimAuth {
            domain: "a.example".to_owned(),
            selector: "s".to_owned(),
            result: if passed { "pass" } else { "fail" }.to_owned(),
        }],
        spf: vec![SpfAuth {
            domain: "a.example".to_owned(),
            scope: "mfrom".to_owned(),
            result: "softfail".to_owned(),
        }],
    }
}

fn report(rows: Vec<Row>) -> AggregateReport {
    AggregateReport {
        reporter: "Us & Co".to_owned(),
        email: "postmaster@us.example".to_owned(),
        contact: String::new(),
        id: "2026.1".to_owned(),
        begin: 1_767_225_600,
        end: 1_767_311_999,
        errors: vec!["one <error>".to_owned()],
        policy: PublishedPolicy {
            domain: "a.example".to_owned(),
            dkim: Alignment::Strict,
            spf: Alignment::Relaxed,
            policy: Policy::Reject,
            subdomain_policy: Policy::Quarantine,
            percent: 50,
            failure_options: "1:d".to_owned(),
        },
        rows,
        left_out: 0,
    }
}

#[test]
fn written_and_read() {
    let mut one = row("192.0.2.1", 3, true);
    one.reasons.push(Reason {
        kind: "mailing_list".to_owned(),
        comment: "a < b".to_owned(),
    });
    one.envelope_to = "us.example".to_owned();
    let made = report(vec![one, row("2001:db8::1", 1, false)]);
    assert_eq!(made.problems(), Vec::<String>::new());
    let xml = made.to_xml();
    // The order that the schema wants.
    let mut at = 0;
    for name in [
        "<feedback>",
        "<version>1.0<",
        "<report_metadata>",
        "<org_name>Us &amp; Co<",
        "<email>",
        "<report_id>2026.1<",
        "<date_range>",
        "<begin>1767225600<",
        "<end>1767311999<",
        "<error>one &lt;error&gt;<",
        "<policy_published>",
        "<domain>a.example<",
        "<adkim>s<",
        "<aspf>r<",
        "<p>reject<",
        "<sp>quarantine<",
        "<pct>50<",
        "<fo>1:d<",
        "<record>",
        "<row>",
        "<source_ip>192.0.2.1<",
        "<count>3<",
        "<policy_evaluated>",
        "<disposition>none<",
        "<dkim>pass<",
        "<spf>fail<",
        "<reason>",
        "<type>mailing_list<",
        "<comment>a &lt; b<",
        "<identifiers>",
        "<envelope_to>",
        "<envelope_from>",
        "<header_from>",
        "<auth_results>",
        "<dkim>",
        "<selector>s<",
        "<result>pass<",
        "<spf>",
        "<scope>mfrom<",
        "<result>softfail<",
        "<record>",
        "<source_ip>2001:db8::1<",
        "</feedback>",
    ] {
        at += xml[at..]
            .find(name)
            .unwrap_or_else(|| panic!("{name} after {}", &xml[..at]));
    }
    assert_eq!(AggregateReport::parse(xml.as_bytes()).unwrap(), made);
    assert_eq!(
        made.file_name("mx.us.example"),
        "mx.us.example!a.example!1767225600!1767311999!20261.xml.gz"
    );
    assert_eq!(
        made.subject("mx.us.example"),
        "Report Domain: a.example Submitter: mx.us.example Report-ID: <2026.1>"
    );
}

#[test]
fn what_may_not_go_out() {
    let mut bad = report(Vec::new());
    bad.id.clear();
    bad.end = 0;
    assert_eq!(bad.problems().len(), 3);
    let mut bad = report(vec![row("192.0.2.1", 0, true)]);
    bad.rows[0].spf.clear();
    bad.rows[0].dkim[0].result = "hmm".to_owned();
    bad.rows[0].reasons.push(Reason {
        kind: "why".to_owned(),
        comment: String::new(),
    });
    assert_eq!(
        bad.problems(),
        [
            "record 1: count is 0",
            "record 1: no spf result",
            "record 1: unknown dkim result",
            "record 1: unknown reason"
        ]
    );
}

#[test]
fn read_leniently() {
    let text = b"\xef\xbb\xbf<?xml version='1.0'?>\n<x:feedback xmlns:x='urn:y'><version/><x:report_metadata>\
        <x:org_name> A </x:org_name></x:report_metadata><policy_published><domain>A.Example</domain>\
        <p>reject</p><new>1</new></policy_published><extension><deep><deeper/></deep></extension>\
        <record><row><source_ip>nowhere</source_ip><count>1</count></row></record>\
        <record><row><source_ip>192.0.2.1</source_ip><count>x</count></row></record>\
        <record><row><source_ip>192.0.2.1</source_ip><count>7</count><policy_evaluated><dkim>fail</dkim>\
        <spf>pass</spf></policy_evaluated></row><auth_results/></record></x:feedback> junk";
    let found = AggregateReport::parse(text).unwrap();
    assert_eq!(
        (found.reporter.as_str(), found.policy.domain.as_str()),
        ("A", "a.example")
    );
    assert_eq!(found.policy.subdomain_policy, Policy::Reject);
    assert_eq!(
        (found.rows.len(), found.left_out, found.messages()),
        (1, 2, 7)
    );
    assert!(found.rows[0].passed() && !found.rows[0].dkim_aligned);
    for (text, error) in [
        ("<report/>", ReportError::NotFeedback),
        ("<feedback/>", ReportError::NoDomain),
    ] {
        assert_eq!(AggregateReport::parse(text.as_bytes()), Err(error));
    }
}

#[test]
fn limits() {
    let head = "<feedback><policy_published><domain>a.example</domain></policy_published>";
    let one = "<record><row><source_ip>::1</source_ip><count>1</count></row></record>";
    for (count, rows, left_out) in [
        (ROWS_MAX - 1, ROWS_MAX - 1, 0),
        (ROWS_MAX, ROWS_MAX, 0),
        (ROWS_MAX + 1, ROWS_MAX, 1),
    ] {
        let text = format!("{head}{}</feedback>", one.repeat(count));
        let found = AggregateReport::parse(text.as_bytes()).unwrap();
        assert_eq!((found.rows.len(), found.left_out), (rows, left_out));
    }
    for (count, expected) in [
        (LIST_MAX - 1, LIST_MAX - 1),
        (LIST_MAX, LIST_MAX),
        (LIST_MAX + 1, LIST_MAX),
    ] {
        let text = format!(
            "{head}<report_metadata>{}</report_metadata></feedback>",
            "<error>x</error>".repeat(count)
        );
        assert_eq!(
            AggregateReport::parse(text.as_bytes())
                .unwrap()
                .errors
                .len(),
            expected
        );
    }
    for (length, expected) in [
        (TEXT_MAX - 1, TEXT_MAX - 1),
        (TEXT_MAX, TEXT_MAX),
        (TEXT_MAX + 1, TEXT_MAX),
    ] {
        let text = format!(
            "{head}<report_metadata><email>{}</email></report_metadata></feedback>",
            "x".repeat(length)
        );
        assert_eq!(
            AggregateReport::parse(text.as_bytes()).unwrap().email.len(),
            expected
        );
    }
}

#[test]
fn counted() {
    let mut tally = Tally::default();
    for _ in 0..3 {
        tally.add(row("192.0.2.1", 1, true));
    }
    tally.add(row("192.0.2.1", 1, false));
    let counts: Vec<u64> = tally.into_rows().iter().map(|row| row.count).collect();
    assert_eq!(counts, [3, 1]);
    for (kinds, left_out) in [(KINDS_MAX - 1, 0), (KINDS_MAX, 0), (KINDS_MAX + 1, 1)] {
        let mut tally = Tally::default();
        for n in 0..kinds {
            let mut one = row("192.0.2.1", 1, true);
            one.envelope_from = format!("{n}.example");
            tally.add(one);
        }
        tally.add(row("192.0.2.1", 0, true));
        assert_eq!(tally.left_out, left_out);
    }
}

#[test]
fn summed_up() {
    let mut summary = Summary::default();
    let first = report(vec![row("192.0.2.1", 3, true), row("192.0.2.9", 5, false)]);
    let mut second = report(vec![row("192.0.2.1", 4, true)]);
    second.id = "2".to_owned();
    second.end += 86_400;
    assert!(summary.add(&first));
    assert!(!summary.add(&first));
    assert!(summary.add(&second));
    assert_eq!((summary.reports, summary.repeated), (2, 1));
    assert_eq!(summary.period, Some((first.begin, second.end)));
    let total = summary.total;
    assert_eq!((total.messages, total.passed, total.rejected), (12, 7, 5));
    let sources: Vec<(String, u64)> = summary
        .sources()
        .iter()
        .map(|(ip, source)| (ip.to_string(), source.messages))
        .collect();
    assert_eq!(
        sources,
        [("192.0.2.1".to_owned(), 7), ("192.0.2.9".to_owned(), 5)]
    );
    assert_eq!(summary.authors["a.example"].messages, 12);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_report_survives(
        texts in prop::collection::vec("[!-~\u{e9}\u{4e00}]([ -~\u{e9}]{0,20}[!-~])?", 6),
        numbers in prop::collection::vec(1..u64::MAX, 3),
        ip in any::<[u8; 16]>(),
    ) {
        let mut one = row("::1", numbers[0], numbers[1] % 2 == 0);
        one.source = std::net::IpAddr::from(ip);
        one.envelope_from = texts[0].clone();
        one.reasons.push(Reason { kind: texts[1].clone(), comment: texts[2].clone() });
        one.dkim[0].selector = texts[3].clone();
        let mut made = report(vec![one]);
        made.reporter = texts[4].clone();
        made.id = texts[5].clone();
        let xml = made.to_xml();
        prop_assert_eq!(AggregateReport::parse(xml.as_bytes()).unwrap(), made);
        // Cut anywhere it is an error and nothing worse.
        let end = xml.len() - 12;
        prop_assert!(AggregateReport::parse(&xml.as_bytes()[..numbers[2] as usize % end]).is_err());
    }
}
