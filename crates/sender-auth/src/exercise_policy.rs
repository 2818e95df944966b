//! What the fuzz targets of SPF, DMARC, reports, MTA-STS, TLSRPT and DANE call, and the tests
//! too; see [`crate::exercise`]. They panic when something does not hold.
#![allow(clippy::panic, clippy::expect_used)]

use std::net::IpAddr;

use crate::dane;
use crate::dmarc::{Dmarc, DmarcRecord, DmarcRequest, Method, SuffixList, author_domain};
use crate::lookup::{Answer, Check, Need, Question, Record as Dns};
use crate::mta_sts::{self, StsPolicy};
use crate::name::is_within;
use crate::policy_answer::PolicyAnswer;
use crate::report::{AggregateReport, FailureReport, Summary, unpack};
use crate::spf::{QUESTIONS_MAX, Spf, SpfRequest};
use crate::tls_sums::TlsSums;
use crate::tlsrpt::{self, TlsReport};

/// Puts no more questions than this whatever is answered.
fn bounded<C: Check>(
    mut check: C,
    most: usize,
    mut resolve: impl FnMut(&Question) -> Answer,
) -> C::Verdict {
    for _ in 0..=most {
        match check.poll() {
            Need::Lookup(question) => {
                let answer = resolve(&question);
                check.answer(&question, &answer);
            }
            Need::Done(verdict) => return verdict,
            Need::Wait => panic!("waits for nothing"),
        }
    }
    panic!("more than {most} questions");
}

fn lines(data: &[u8]) -> Vec<&[u8]> {
    data.split(|b| *b == b'\n').collect()
}

/// SPF: the first line is the sender, the second the client's HELO, the others are answers,
/// used in turn: texts for TXT, names for MX and PTR, addresses otherwise.
pub fn spf_check(data: &[u8]) {
    let lines = lines(data);
    let text = |n: usize| String::from_utf8_lossy(lines.get(n).copied().unwrap_or_default());
    let answers = lines.get(2..).unwrap_or_default();
    for ip in ["192.0.2.1", "2001:db8::1"] {
        let Ok(ip) = ip.parse::<IpAddr>() else {
            continue;
        };
        let request = SpfRequest {
            ip,
            helo: text(1).into_owned(),
            mail_from: text(0).into_owned(),
            receiver: "us.example".to_owned(),
            now: 0,
        };
        let mut at = 0;
        let verdict = bounded(Spf::mail_from(&request), QUESTIONS_MAX, |question| {
            let line = match answers.len() {
                0 => return Answer::NxDomain,
                count => answers.get(at % count).copied().unwrap_or_default(),
            };
            at += 1;
            let name = || String::from_utf8_lossy(line).into_owned();
            let record = match question {
                Question::Txt(_) => Dns::Txt(line.to_vec()),
                Question::Mx(_) => Dns::Mx {
                    preference: 1,
                    host: name(),
                },
                Question::Ptr(_) => Dns::Ptr(name()),
                _ if line.len() % 3 == 0 => return Answer::NoData,
                Question::A(_) => Dns::A([192, 0, 2, 1].into()),
                _ => Dns::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()),
            };
            Answer::Records(vec![record; 1 + line.len() % 12])
        });
        if let Some(words) = &verdict.explanation {
            let plain = |b: u8| b == b' ' || b.is_ascii_graphic();
            assert!(words.bytes().all(plain), "{words:?}");
        }
    }
}

/// DMARC: the first line is the author's domain, the second a proven one, the others are records.
pub fn dmarc_check(data: &[u8]) {
    let lines = lines(data);
    let line = |n: usize| lines.get(n).copied().unwrap_or_default();
    let answers = lines.get(2..).unwrap_or_default();
    if let Ok(record) = DmarcRecord::parse(data) {
        assert!(record.percent <= 100);
    }
    let text = String::from_utf8_lossy(line(0));
    let Ok(author) = author_domain(1, [&*text]) else {
        return;
    };
    let list = SuffixList::parse(data);
    assert!(is_within(&author, list.organizational(&author)));
    let proven = String::from_utf8_lossy(line(1)).into_owned();
    for method in [Method::TreeWalk, Method::Suffixes(list.into())] {
        let request = DmarcRequest {
            author: author.clone(),
            spf: Some(proven.clone()),
            dkim: vec![proven.clone()],
            unsure: false,
            sample: 50,
        };
        let mut at = 0;
        let verdict = bounded(Dmarc::new(request, method), 32, |_| {
            let answer = match answers.get(at) {
                Some(line) => Answer::Records(vec![Dns::Txt(line.to_vec())]),
                None => Answer::NxDomain,
            };
            at += 1;
            answer
        });
        assert!(is_within(&author, &verdict.organizational));
    }
}

/// A file that may be a report of any kind, packed or not.
pub fn dmarc_report(data: &[u8]) {
    let _ = FailureReport::parse(data);
    let Ok(unpacked) = unpack(data) else {
        return;
    };
    if let Ok(report) = AggregateReport::parse(&unpacked) {
        let again = AggregateReport::parse(report.to_xml().as_bytes());
        let again = again.expect("what we write we read");
        assert_eq!(again.rows.len(), report.rows.len());
        let mut summary = Summary::default();
        summary.add(&report);
        assert_eq!(summary.total.messages, report.messages());
    }
}

/// Records and policies of MTA-STS.
pub fn mta_sts_texts(data: &[u8]) {
    let _ = mta_sts::record_id([data]);
    if let Ok(policy) = StsPolicy::parse(data) {
        assert_eq!(
            StsPolicy::parse(policy.to_text().as_bytes()),
            Ok(policy.clone())
        );
        for mx in &policy.mx {
            assert!(policy.permits(&mx.replacen('*', "x", 1)), "{mx}");
        }
    }
}

/// A web server's answer, whole and cut at one place.
pub fn policy_answer(data: &[u8], cut: usize) {
    let read = |blocks: &[&[u8]]| {
        let mut reader = PolicyAnswer::new();
        for block in blocks {
            if reader.feed(block)? {
                break;
            }
        }
        reader.end()
    };
    let whole = read(&[data]);
    if let Ok(found) = &whole {
        assert!(found.text.len() <= mta_sts::POLICY_MAX);
    }
    let (before, after) = data.split_at(cut.min(data.len()));
    assert_eq!(read(&[before, after]), whole);
    let octets: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(read(&octets), whole);
}

/// Records and reports of TLSRPT.
pub fn tlsrpt_texts(data: &[u8]) {
    let _ = tlsrpt::places([data]);
    if let Ok(report) = TlsReport::parse(data) {
        let again = TlsReport::parse(report.to_json().as_bytes());
        assert_eq!(again.expect("what we write we read"), report);
        let mut sums = TlsSums::default();
        assert!(sums.add(&report));
        assert_eq!(sums.add(&report), report.report_id.is_empty());
    }
}

/// Certificates in DER and PEM.
pub fn dane_certificate(data: &[u8]) {
    let key = dane::public_key(data);
    if let Some(record) = dane::Tlsa::for_host(data) {
        assert!(key.is_some());
        assert_eq!(dane::match_chain(&[record], &[data]), dane::DaneMatch::Host);
    }
    let _ = dane::certificates(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text that is more often nearly right than random octets are.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<u8>().prop_map(|b| vec![b]),
            prop::sample::select(vec![
                "\n",
                "\n\n",
                ";",
                "=",
                ":",
                " ",
                "%{",
                "}",
                "/",
                "a.example",
                "x.a.example",
                "v=spf1 ",
                "include:",
                "redirect=",
                "exp=",
                "exists:",
                "a ",
                "mx ",
                "ptr ",
                "all ",
                "%{p}.x.example ",
                "%{lr-}.%{d2} ",
                "ip4:192.0.2.1 ",
                "ip6:::/0 ",
                "v=DMARC1; p=reject; ",
                "sp=none; ",
                "np=reject; ",
                "psd=y; ",
                "psd=n; ",
                "pct=5; ",
                "rua=mailto:a@b.example ",
                "<feedback>",
                "</feedback>",
                "<record>",
                "</record>",
                "<row>",
                "</row>",
                "<source_ip>::1</source_ip>",
                "<count>7</count>",
                "<!--",
                "-->",
                "<policy_published><domain>a</domain></policy_published>",
                "&lt;",
                "<![CDATA[",
                "]]>",
                "Feedback-Type: auth-failure\n",
                "version: STSv1\n",
                "mode: enforce\n",
                "mx: *.a.example\n",
                "max_age: 86400\n",
                "v=STSv1; id=1;",
                "v=TLSRPTv1; rua=https://a/",
                "{\"policies\":[{}]}",
                "{\"report-id\":\"x\"",
                "}",
                "*.",
                "!",
                "-----BEGIN CERTIFICATE-----\n",
                "AAAA",
                "0\u{3}\u{2}\u{1}",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn holds_for_anything(data in texts()) {
            spf_check(&data);
            spf_check(&[b"a@a.example\nh.example\nv=spf1 ", data.as_slice()].concat());
            dmarc_check(&data);
            dmarc_check(&[b"b.a.example\nx.a.example\nv=DMARC1; p=none; ", data.as_slice()].concat());
            dmarc_report(&data);
            mta_sts_texts(&data);
            policy_answer(&data, data.len() / 2);
            tlsrpt_texts(&data);
            dane_certificate(&data);
        }
    }
}
