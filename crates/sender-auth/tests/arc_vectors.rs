//! The example of RFC 8617, appendix B. Its keys are not published and have 512 bits, which no
//! verifier may accept (RFC 8301, 3.2); its form, its results and its body hash can be checked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{NOW, Zone, crlf, replace, rsa, run, verify};
use sender_auth::arc::{ChainProblem, ChainStatus, Validation};
use sender_auth::authres::parse_arc;
use sender_auth::dkim::verify::Problem;
use sender_auth::lookup::{Answer, Question, drive};
use sender_auth::pass::Pass;

/// A set: number, `cv`, domain, selector, both signatures, results.
const SETS: [(u32, &str, &str, &str, &str, &str, &str); 3] = [
    (
        3,
        "pass",
        "clochette.example.org",
        "clochette",
        "CU87XzXlNlk5X/yW4l73UvPUcP9ivwYWxyBWcVrRs7\n +HPx3K05nJhny2fvymbReAmOA9GTH/y+k9kEc59hAKVg==",
        "o71vwyLsK+Wm4cOSlirXoRwzEvi0vqIjd/2/GkYFYlSd/GGfKzkAgPqxf\n K7ccBMP7Zjb/mpeggswHjEMS8x5NQ==",
        "spf=fail\n smtp.from=jqd@d1.example; dkim=fail (512-bit key)\n header.i=@d1.example; dmarc=fail; \
         arc=pass (as.2.gmail.example=pass,\n ams.2.gmail.example=pass, as.1.lists.example.org=pass,\n \
         ams.1.lists.example.org=fail (message has been altered))",
    ),
    (
        2,
        "pass",
        "gmail.example",
        "20120806",
        "Zpukh/kJL4Q7Kv391FKwTepgS56dgHIcdhhJZjsalhqkFIQQAJ4T9BE\n 8jjLXWpRNuh81yqnT1/jHn086RwezGw==",
        "CVoG44\n cVZvoSs2mMig2wwqPaJ4OZS5XGMCegWqQs1wvRZJS894tJM0xO1RJLgCPsBOxdA5\n 9WSqI9s9DfyKDfWg==",
        "spf=fail\n smtp.from=jqd@d1.example; dkim=fail (512-bit key)\n header.i=@example.org; dmarc=fail; \
         arc=pass\n (as.1.lists.example.org=pass, ams.1.lists.example.org=pass)",
    ),
    (
        1,
        "none",
        "lists.example.org",
        "dk-lists",
        "TlCCKzgk3TrAa+G77gYYO8Fxk4q/Ml0biqduZJeOYh6+0zhwQ8u/\n lHxLi21pxu347isLSuNtvIagIvAQna9a5A==",
        "DsoD3n3hiwlrN1ma8IZQFgZx8EDO7Wah3hUjIEsYKuShRKYB4LwGUiKD5Y\n yHgcIwGHhSc/4+ewYqHMWDnuFxiQ==",
        "spf=pass\n smtp.mfrom=jqd@d1.example; dkim=pass (512-bit key)\n header.i=@d1.example; dmarc=pass",
    ),
];

const REST: &str = "DKIM-Signature: v=1; a=rsa-sha1; c=relaxed/relaxed; d=d1.example; h=\n \
    message-id:date:from:to:subject; s=origin2015; bh=bIxxaeIQvmOBdT\n AitYfSNFgzPP4=; b=qKjd5fYibKXWWIcMKCgRYuo1vJ2fD+IAQPjX+uamXIGY2Q\n \
    0HjQ+Lq3/yHzG3JHJp6780/nKQPOWt2UDJQrJkEA==\nMessage-ID: <54B84785.1060301@d1.example>\n\
    Date: Thu, 14 Jan 2015 15:00:01 -0800\nFrom: John Q Doe <jqd@d1.example>\nTo: arc@dmarc.example\n\
    Subject: [List 2] Example 1\n\nHey gang,\nThis is a test message.\n--J.\n";

fn message() -> Vec<u8> {
    let mut text = String::new();
    for (number, cv, domain, selector, seal, signature, results) in SETS {
        text += &format!(
            "ARC-Seal: i={number}; a=rsa-sha256; cv={cv}; d={domain}; s=\n {selector}; t=12345; b={seal}\n\
             ARC-Message-Signature: i={number}; a=rsa-sha256; c=relaxed/relaxed; d=\n {domain}; \
             h=message-id:date:from:to:subject; s=\n {selector}; t=12345; bh=KWSe46TZKCcDbH4klJPo+tjk5LWJnVRlP5pvjXFZY\n \
             LQ=; b={signature}\nARC-Authentication-Results: i={number}; {domain}; {results}\n"
        );
    }
    crlf(&(text + REST)).into_bytes()
}

#[test]
fn rfc_8617_appendix_b() {
    // The keys that are asked for.
    let mut pass = Pass::new(Validation::new());
    pass.feed(&message());
    pass.end(NOW);
    let mut asked = Vec::new();
    let found = drive(&mut pass, |question| {
        if let Question::Txt(name) = question {
            asked.push(name.clone());
        }
        Answer::NxDomain
    })
    .unwrap();
    asked.sort();
    assert_eq!(
        asked,
        [
            "20120806._domainkey.gmail.example",
            "clochette._domainkey.clochette.example.org",
            "dk-lists._domainkey.lists.example.org"
        ]
    );
    assert!(
        matches!(
            found.status,
            ChainStatus::Fail(ChainProblem::Message(3, Problem::NoKey))
        ),
        "{found:?}"
    );
    assert_eq!(
        found.domains,
        [
            "lists.example.org",
            "gmail.example",
            "clochette.example.org"
        ]
    );

    // With keys of somebody else the body hash still holds, and the signature is what is wrong.
    let zone = SETS.iter().fold(Zone::default(), |zone, set| {
        zone.with_key(set.3, set.2, &rsa())
    });
    let found = run(Validation::new(), &message(), &zone, NOW);
    assert_eq!(
        found.status,
        ChainStatus::Fail(ChainProblem::Message(3, Problem::Mismatch))
    );
    let changed = replace(&message(), "Hey gang", "Hey Gang");
    let found = run(Validation::new(), &changed, &zone, NOW);
    assert_eq!(
        found.status,
        ChainStatus::Fail(ChainProblem::Message(3, Problem::BodyHash))
    );
    // The author's own signature is one of SHA-1 (RFC 8301, 3.1).
    let found = verify(&message(), &zone);
    assert_ne!(found.result().as_str(), "pass");
}

#[test]
fn its_results() {
    for (number, _, domain, _, _, _, results) in SETS {
        let (instance, found) =
            parse_arc(crlf(&format!("i={number}; {domain}; {results}")).as_bytes()).unwrap();
        assert_eq!((instance, found.authserv_id.as_str()), (number, domain));
        let words: Vec<(&str, &str)> = found
            .results
            .iter()
            .map(|one| (&*one.method, &*one.result))
            .collect();
        let first = if number == 1 { "pass" } else { "fail" };
        let mut expected = vec![("spf", first), ("dkim", first), ("dmarc", first)];
        if number > 1 {
            expected.push(("arc", "pass"));
        }
        assert_eq!(words, expected);
        let name = if number == 1 { "mfrom" } else { "from" };
        assert_eq!(found.results[0].get("smtp", name), Some("jqd@d1.example"));
        let identity = if number == 2 {
            "@example.org"
        } else {
            "@d1.example"
        };
        assert_eq!(found.results[1].get("header", "i"), Some(identity));
    }
}
