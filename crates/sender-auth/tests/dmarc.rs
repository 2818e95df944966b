//! DMARC: where the policy is found, what is aligned, what is to be done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use sender_auth::dmarc::{
    AuthorProblem, Disposition, Dmarc, DmarcRequest, DmarcResult, DmarcVerdict, Method, Policy,
    SuffixList, WALK_MAX, author_domain,
};
use sender_auth::lookup::{Answer, Check, Need, Question, Record};

/// `name record` a line; `name !` has no answer; `name` alone exists.
fn check(zone: &str, request: DmarcRequest, method: Method) -> (DmarcVerdict, Vec<String>) {
    let zone: BTreeMap<&str, &str> = zone
        .lines()
        .map(str::trim)
        .filter(|row| !row.is_empty())
        .map(|row| row.split_once(' ').unwrap_or((row, "")))
        .collect();
    let mut asked = Vec::new();
    let mut check = Dmarc::new(request, method);
    loop {
        match check.poll() {
            Need::Lookup(question) => {
                let name = question.name().unwrap().to_owned();
                let answer = match (zone.get(name.as_str()), &question) {
                    (None, _) => Answer::NxDomain,
                    (Some(&"!"), _) => Answer::TempFail,
                    (Some(text), Question::Txt(_)) if !text.is_empty() => Answer::Records(
                        text.split('|')
                            .map(|t| Record::Txt(t.as_bytes().to_vec()))
                            .collect(),
                    ),
                    (Some(_), Question::A(_)) => {
                        Answer::Records(vec![Record::A([192, 0, 2, 1].into())])
                    }
                    _ => Answer::NoData,
                };
                asked.push(name);
                assert!(asked.len() <= 100, "{asked:?}");
                check.answer(&question, &answer);
            }
            Need::Done(verdict) => return (verdict, asked),
            Need::Wait => panic!("waits for nothing"),
        }
    }
}

fn request(author: &str, spf: &str, dkim: &str) -> DmarcRequest {
    DmarcRequest {
        author: author.to_owned(),
        spf: (!spf.is_empty()).then(|| spf.to_owned()),
        dkim: dkim.split_whitespace().map(str::to_owned).collect(),
        unsure: false,
        sample: 0,
    }
}

fn suffixes() -> Method {
    Method::Suffixes(Arc::new(SuffixList::parse(b"example\nco.example\n")))
}

fn both() -> [Method; 2] {
    [Method::TreeWalk, suffixes()]
}

#[test]
fn alignment() {
    for (record, author, spf, dkim, result) in [
        ("", "a.example", "a.example", "a.example", "none"),
        ("p=reject", "a.example", "", "", "fail"),
        ("p=reject", "a.example", "a.example", "", "pass"),
        ("p=reject", "a.example", "", "A.Example", "pass"),
        ("p=reject", "a.example", "x.a.example", "", "pass"),
        ("p=reject", "a.example", "", "y.x.a.example", "pass"),
        ("p=reject", "x.a.example", "", "a.example", "pass"),
        ("p=reject", "x.a.example", "y.a.example", "", "pass"),
        ("p=reject", "a.example", "b.example", "ba.example", "fail"),
        ("p=reject; aspf=s", "a.example", "x.a.example", "", "fail"),
        ("p=reject; aspf=s", "a.example", "a.example", "", "pass"),
        (
            "p=reject; aspf=s",
            "a.example",
            "x.a.example",
            "x.a.example",
            "pass",
        ),
        ("p=reject; adkim=s", "a.example", "", "x.a.example", "fail"),
        (
            "p=reject; adkim=s",
            "x.a.example",
            "",
            "x.a.example",
            "pass",
        ),
        ("p=none", "a.example", "b.example", "", "fail"),
        ("p=bad", "a.example", "a.example", "", "none"),
        (
            "p=none|v=DMARC1; p=none",
            "a.example",
            "a.example",
            "",
            "none",
        ),
    ] {
        for method in both() {
            let zone = match record {
                "" => "a.example".to_owned(),
                _ => format!("_dmarc.a.example v=DMARC1; {record}\na.example\nx.a.example"),
            };
            let (found, _) = check(&zone, request(author, spf, dkim), method.clone());
            assert_eq!(
                found.result.as_str(),
                result,
                "{record} {author} {spf} {dkim} {method:?}"
            );
            if found.found.is_some() {
                assert_eq!(found.organizational, "a.example");
            }
        }
    }
}

#[test]
fn policies() {
    use Policy::{None, Quarantine, Reject};
    let full = "p=reject; sp=quarantine; np=none";
    for (record, author, expected) in [
        (full, "a.example", Reject),
        (full, "x.a.example", Quarantine),
        (full, "gone.a.example", None),
        ("p=reject", "gone.a.example", Reject),
        ("p=reject; sp=none", "gone.a.example", None),
        ("p=none; np=reject", "x.a.example", None),
        ("p=none; np=reject", "bare.a.example", Reject),
        ("p=none; np=reject", "gone.a.example", Reject),
        ("p=none; np=reject", "down.a.example", None),
    ] {
        for method in both() {
            let zone = format!(
                "_dmarc.a.example v=DMARC1; {record}\na.example\nx.a.example\n\
                 down.a.example !\nbare.a.example "
            );
            let (found, _) = check(
                &zone.replace("bare.a.example ", "_x.bare.a.example"),
                request(author, "", ""),
                method,
            );
            assert_eq!(found.result, DmarcResult::Fail);
            assert_eq!(found.disposition.policy(), expected, "{record} {author}");
        }
    }
}

#[test]
fn sampling_and_testing() {
    for (record, sample, expected) in [
        ("p=reject; pct=50", 49, Disposition::Asked(Policy::Reject)),
        (
            "p=reject; pct=50",
            50,
            Disposition::Sampled(Policy::Reject, Policy::Quarantine),
        ),
        (
            "p=quarantine; pct=0",
            0,
            Disposition::Sampled(Policy::Quarantine, Policy::None),
        ),
        ("p=reject; pct=100", 99, Disposition::Asked(Policy::Reject)),
        (
            "p=reject; t=y",
            0,
            Disposition::Testing(Policy::Reject, Policy::Quarantine),
        ),
        ("p=none; t=y; pct=0", 0, Disposition::Asked(Policy::None)),
    ] {
        let zone = format!("_dmarc.a.example v=DMARC1; {record}");
        let mut asked = request("a.example", "", "");
        asked.sample = sample;
        let (found, _) = check(&zone, asked, Method::TreeWalk);
        assert_eq!(found.disposition, expected, "{record}");
        let (found, _) = check(
            &zone,
            request("a.example", "a.example", ""),
            Method::TreeWalk,
        );
        assert_eq!(found.disposition, Disposition::Asked(Policy::None));
    }
}

#[test]
fn the_tree_is_walked() {
    let ten = "a.b.c.d.e.f.g.h.i.example";
    let (found, asked) = check("", request(ten, "", ""), Method::TreeWalk);
    assert_eq!(found.result, DmarcResult::None);
    assert_eq!(asked.len(), WALK_MAX);
    assert_eq!(asked[0], format!("_dmarc.{ten}"));
    assert_eq!(asked[1], "_dmarc.d.e.f.g.h.i.example");
    assert_eq!(asked[7], "_dmarc.example");
    for (zone, author, organizational, policy_at) in [
        // The one with the fewest labels.
        (
            "_dmarc.b.a.example v=DMARC1;p=none\n_dmarc.a.example v=DMARC1;p=reject",
            "c.b.a.example",
            "a.example",
            "a.example",
        ),
        // Its own comes before that of the organization.
        (
            "_dmarc.b.a.example v=DMARC1;p=none\n_dmarc.a.example v=DMARC1;p=reject",
            "b.a.example",
            "a.example",
            "b.a.example",
        ),
        // psd=n ends the walk.
        (
            "_dmarc.b.a.example v=DMARC1;p=none;psd=n\n_dmarc.a.example v=DMARC1;p=reject",
            "c.b.a.example",
            "b.a.example",
            "b.a.example",
        ),
        // Below psd=y an organization begins.
        (
            "_dmarc.example v=DMARC1;p=reject;psd=y",
            "c.b.example",
            "b.example",
            "example",
        ),
        (
            "_dmarc.b.example v=DMARC1;p=none\n_dmarc.example v=DMARC1;p=reject;psd=y",
            "c.b.example",
            "b.example",
            "b.example",
        ),
        // At the start of the walk psd=y does not end it.
        (
            "_dmarc.b.example v=DMARC1;p=none;psd=y\n_dmarc.example v=DMARC1;p=reject",
            "b.example",
            "example",
            "b.example",
        ),
        // The suffix itself as author.
        (
            "_dmarc.example v=DMARC1;p=reject;psd=y",
            "example",
            "example",
            "example",
        ),
    ] {
        let (found, _) = check(zone, request(author, "", ""), Method::TreeWalk);
        assert_eq!(found.organizational, organizational, "{zone} {author}");
        assert_eq!(found.found.unwrap().domain, policy_at, "{zone} {author}");
    }
    // Two organizations below one suffix are not one.
    let zone = "_dmarc.example v=DMARC1;p=reject;psd=y";
    let (found, _) = check(
        zone,
        request("a.b.example", "c.example", "d.b.example"),
        Method::TreeWalk,
    );
    assert_eq!(found.dkim_aligned, ["d.b.example"]);
    assert_eq!(found.spf_aligned, None);
    // A part of the organization that says it is one of its own.
    let zone = "_dmarc.a.example v=DMARC1;p=reject\n_dmarc.u.a.example v=DMARC1;p=none;psd=n";
    let (found, _) = check(
        zone,
        request("a.example", "u.a.example", ""),
        Method::TreeWalk,
    );
    assert_eq!(found.result, DmarcResult::Fail);
}

#[test]
fn what_is_not_known() {
    let zone = "_dmarc.a.example !\n_dmarc.down.b.example !\n_dmarc.b.example v=DMARC1;p=reject";
    let (found, _) = check(
        zone,
        request("a.example", "a.example", ""),
        Method::TreeWalk,
    );
    assert_eq!(found.result, DmarcResult::TempError);
    let mut unsure = request("b.example", "", "");
    unsure.unsure = true;
    let (found, _) = check(zone, unsure.clone(), suffixes());
    assert_eq!(found.result, DmarcResult::TempError);
    unsure.spf = Some("b.example".to_owned());
    assert_eq!(check(zone, unsure, suffixes()).0.result, DmarcResult::Pass);
    let asked = request("b.example", "down.b.example", "");
    assert_eq!(
        check(zone, asked, Method::TreeWalk).0.result,
        DmarcResult::TempError
    );
    let asked = request("b.example", "", "down.b.example b.example");
    assert_eq!(
        check(zone, asked, Method::TreeWalk).0.result,
        DmarcResult::Pass
    );
}

#[test]
fn authors() {
    use AuthorProblem as E;
    for (fields, domains, expected) in [
        (0, vec![], Err(E::NoFrom)),
        (2, vec!["a.example"], Err(E::SeveralFrom)),
        (1, vec![], Err(E::NoAddress)),
        (1, vec!["A.example", "a.example"], Ok("a.example")),
        (1, vec!["a.example", "b.example"], Err(E::SeveralDomains)),
        (1, vec!["[192.0.2.1]"], Err(E::BadDomain)),
        (1, vec!["b\u{fc}cher.example"], Ok("xn--bcher-kva.example")),
    ] {
        let found = author_domain(fields, domains.clone());
        assert_eq!(found, expected.map(str::to_owned), "{domains:?}");
    }
}

#[test]
fn hostile_answers_are_bounded() {
    let long = format!("v=DMARC1;p=reject;rua={}", "mailto:a@b.c,".repeat(4_900));
    let (found, _) = check(
        &format!("_dmarc.a.example {long}"),
        request("a.example", "", ""),
        Method::TreeWalk,
    );
    assert_eq!(found.result, DmarcResult::None);
    // A thousand signatures of as many names below the author's ask a bounded number of
    // questions each.
    let names: Vec<String> = (0..12).map(|n| format!("n{n}.a.example")).collect();
    let (found, asked) = check(
        "_dmarc.a.example v=DMARC1;p=reject",
        request("a.example", "", &names.join(" ")),
        Method::TreeWalk,
    );
    assert_eq!(found.dkim_aligned.len(), 12);
    assert!(asked.len() <= 2 + 12 * WALK_MAX);
}
