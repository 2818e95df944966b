//! Aggregate reports that we make, against the schema (tests/vectors/aggregate-report.xsd), and
//! what `AggregateReport::problems` says of them; reports in the shapes in which others send them.
//!
//! The schema is applied by xmllint (Debian: libxml2-utils). Without it the test says so and
//! passes, unless `HIKYAKU_ORACLE_REQUIRED` is set.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use sender_auth::dmarc::{Alignment, Policy};
use sender_auth::report::{
    AggregateReport, DkimAuth, PublishedPolicy, Reason, Row, SpfAuth, unpack,
};
use std::net::IpAddr;
use std::process::{Command, Stdio};

const SCHEMA: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/vectors/aggregate-report.xsd"
);

/// Which of these documents the schema accepts; `None` without xmllint.
fn accepted(documents: &[String]) -> Option<Vec<bool>> {
    let folder = std::env::temp_dir().join(format!(
        "report-schema-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir(&folder).unwrap();
    for (number, text) in documents.iter().enumerate() {
        std::fs::write(folder.join(format!("{number}.xml")), text).unwrap();
    }
    let output = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema", SCHEMA])
        .args((0..documents.len()).map(|number| format!("{number}.xml")))
        .current_dir(&folder)
        .stdin(Stdio::null())
        .output();
    std::fs::remove_dir_all(&folder).unwrap();
    let Ok(output) = output else {
        assert!(
            std::env::var_os("HIKYAKU_ORACLE_REQUIRED").is_none(),
            "no xmllint: install libxml2-utils"
        );
        eprintln!("skipped: no xmllint");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let verdict = |number: usize| {
        let file = format!("{number}.xml");
        let lines = said.lines().filter_map(|line| line.strip_prefix(&file));
        // Of one that is not well-formed only the place is told.
        let words: Vec<&str> = lines.collect();
        assert!(!words.is_empty(), "{number}: {said}");
        words == [" validates"]
    };
    Some((0..documents.len()).map(verdict).collect())
}

fn text() -> impl Strategy<Value = String> {
    // What XML has to escape or can't hold is among it.
    "[ -~\u{e4}\u{4e00}\u{1}\t]{0,12}"
}

/// A word of a list, now and then one that is not in it.
fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        60 => prop::sample::select(words).prop_map(str::to_owned),
        1 => text(),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    prop::sample::select(&[Policy::None, Policy::Quarantine, Policy::Reject][..])
}

fn alignment() -> impl Strategy<Value = Alignment> {
    prop::sample::select(&[Alignment::Relaxed, Alignment::Strict][..])
}

fn row() -> impl Strategy<Value = Row> {
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
        prop::sample::select(&["::", "::1", "::ffff:192.0.2.1", "2001:db8::1:0:0:1"][..])
            .prop_map(|ip| ip.parse().unwrap()),
    ];
    let reason = (
        word(&[
            "forwarded",
            "sampled_out",
            "trusted_forwarder",
            "mailing_list",
            "local_policy",
            "other",
        ]),
        text(),
    )
        .prop_map(|(kind, comment)| Reason { kind, comment });
    let dkim = (
        text(),
        text(),
        word(&[
            "none",
            "pass",
            "fail",
            "policy",
            "neutral",
            "temperror",
            "permerror",
        ]),
    )
        .prop_map(|(domain, selector, result)| DkimAuth {
            domain,
            selector,
            result,
        });
    let spf = (
        text(),
        word(&["helo", "mfrom"]),
        word(&[
            "none",
            "neutral",
            "pass",
            "fail",
            "softfail",
            "temperror",
            "permerror",
        ]),
    )
        .prop_map(|(domain, scope, result)| SpfAuth {
            domain,
            scope,
            result,
        });
    let count = prop_oneof![40 => 1..u64::MAX, 1 => Just(0)];
    let author = prop_oneof![40 => "[a-z]{1,9}", 1 => Just(String::new())];
    let spf = prop_oneof![40 => prop::collection::vec(spf.boxed(), 1..3), 1 => Just(Vec::new())];
    (
        (address, count, policy(), any::<bool>(), any::<bool>()),
        (prop::collection::vec(reason, 0..3), text(), text(), author),
        (prop::collection::vec(dkim, 0..3), spf),
    )
        .prop_map(
            |((source, count, disposition, dkim_aligned, spf_aligned), names, auth)| Row {
                source,
                count,
                disposition,
                dkim_aligned,
                spf_aligned,
                reasons: names.0,
                envelope_to: names.1,
                envelope_from: names.2,
                header_from: names.3,
                dkim: auth.0,
                spf: auth.1,
            },
        )
}

fn report() -> impl Strategy<Value = AggregateReport> {
    let needed = || prop_oneof![40 => "[ -~]{1,9}", 1 => Just(String::new())];
    let percent = prop_oneof![40 => 0..=100_u8, 1 => Just(101_u8)];
    let rows = prop_oneof![40 => prop::collection::vec(row().boxed(), 1..4), 1 => Just(Vec::new())];
    (
        (
            needed(),
            needed(),
            text(),
            needed(),
            prop::collection::vec(text(), 0..3),
        ),
        (0..i64::from(u32::MAX), 0..1_000_000_i64),
        (
            needed(),
            alignment(),
            alignment(),
            policy(),
            policy(),
            percent,
        ),
        rows,
    )
        .prop_map(|(who, when, said, rows)| AggregateReport {
            reporter: who.0,
            email: who.1,
            contact: who.2,
            id: who.3,
            begin: when.0,
            end: when.0 + when.1,
            errors: who.4,
            policy: PublishedPolicy {
                domain: said.0,
                dkim: said.1,
                spf: said.2,
                policy: said.3,
                subdomain_policy: said.4,
                percent: said.5,
                failure_options: "1:d:s".to_owned(),
            },
            rows,
            left_out: 0,
        })
}

#[test]
fn the_schema_and_we_say_the_same() {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let strategy = report();
    let reports: Vec<AggregateReport> = (0..400)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    let texts: Vec<String> = reports.iter().map(AggregateReport::to_xml).collect();
    let Some(accepted) = accepted(&texts) else {
        return;
    };
    for ((report, text), good) in reports.iter().zip(&texts).zip(&accepted) {
        let problems = report.problems();
        assert_eq!(*good, problems.is_empty(), "{problems:?} {text}");
    }
    let good = accepted.iter().filter(|good| **good).count();
    assert!((100..360).contains(&good), "{good} of 400 are good");
}

#[test]
fn the_schema_refuses_what_is_broken() {
    let mut runner = TestRunner::deterministic();
    let strategy = report();
    let whole = std::iter::repeat_with(|| strategy.new_tree(&mut runner).unwrap().current())
        .find(|report| report.problems().is_empty() && !report.rows[0].dkim.is_empty())
        .unwrap()
        .to_xml();
    let mut documents = vec![whole.clone()];
    for (from, to) in [
        ("<version>1.0</version>", ""),
        ("<version>1.0</version>", "<version>one</version>"),
        ("<report_metadata>", "<report_metadata><added/>"),
        ("<begin>", "<begin>x"),
        ("<pct>", "<pct>9999"),
        ("<p>", "<p>x"),
        ("<adkim>", "<adkim>r"),
        ("<source_ip>", "<source_ip>nowhere "),
        ("<count>", "<count>-"),
        ("<disposition>", "<disposition>x"),
        ("<scope>", "<scope>x"),
        ("<identifiers>", "<identifiers/><identifiers>"),
        ("</policy_published>", "</policy_published><record/>"),
        ("</feedback>", "<extra/></feedback>"),
        ("<feedback>", "<report>"),
        ("</feedback>", ""),
    ] {
        let broken = whole.replacen(from, to, 1);
        assert_ne!(broken, whole, "{from}");
        documents.push(broken);
    }
    let Some(accepted) = accepted(&documents) else {
        return;
    };
    assert!(accepted[0], "{whole}");
    for (document, good) in documents.iter().zip(accepted).skip(1) {
        assert!(!good, "{document}");
    }
}

/// gzip with one stored block.
fn gzip(data: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let length = u16::try_from(data.len()).unwrap();
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(data);
    let crc = data.iter().fold(!0_u32, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    packed.extend((!crc).to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}

/// The shapes that large receivers are known for; every one is read, whatever the schema says.
const OTHERS: [(&str, &str); 5] = [
    // No version, the policy without fo, a selector, one spf without a scope.
    (
        "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<feedback>\n  <report_metadata>\n    <org_name>one.example</org_name>\n    \
         <email>noreply-dmarc@one.example</email>\n    <extra_contact_info>https://one.example/a/answer/2466580?x=1&amp;y=2</extra_contact_info>\n    \
         <report_id>10123456789012345678</report_id>\n    <date_range>\n      <begin>1767225600</begin>\n      <end>1767311999</end>\n    \
         </date_range>\n  </report_metadata>\n  <policy_published>\n    <domain>a.example</domain>\n    <adkim>r</adkim>\n    <aspf>r</aspf>\n    \
         <p>none</p>\n    <sp>none</sp>\n    <pct>100</pct>\n    <np>none</np>\n  </policy_published>\n  <record>\n    <row>\n      \
         <source_ip>192.0.2.1</source_ip>\n      <count>2</count>\n      <policy_evaluated>\n        <disposition>none</disposition>\n        \
         <dkim>pass</dkim>\n        <spf>fail</spf>\n      </policy_evaluated>\n    </row>\n    <identifiers>\n      \
         <header_from>a.example</header_from>\n    </identifiers>\n    <auth_results>\n      <dkim>\n        <domain>a.example</domain>\n        \
         <result>pass</result>\n        <selector>s1</selector>\n      </dkim>\n      <spf>\n        <domain>bounce.a.example</domain>\n        \
         <result>pass</result>\n      </spf>\n    </auth_results>\n  </record>\n</feedback>\n",
        "one.example",
    ),
    // All on one line, schema attributes on the root, envelope_to, an empty fo.
    (
        "<?xml version=\"1.0\"?><feedback xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <version>1.0</version><report_metadata><org_name>Two Mail</org_name><email>dmarcreport@two.example</email>\
         <report_id>0f1e2d3c4b5a69788796a5b4c3d2e1f0</report_id><date_range><begin>1767225600</begin><end>1767312000</end></date_range>\
         </report_metadata><policy_published><domain>a.example</domain><adkim>r</adkim><aspf>r</aspf><p>none</p><sp>none</sp><pct>100</pct>\
         <fo></fo></policy_published><record><row><source_ip>192.0.2.1</source_ip><count>2</count><policy_evaluated><disposition>none</disposition>\
         <dkim>pass</dkim><spf>fail</spf></policy_evaluated></row><identifiers><envelope_to>two.example</envelope_to>\
         <envelope_from>bounce.a.example</envelope_from><header_from>a.example</header_from></identifiers><auth_results><dkim>\
         <domain>a.example</domain><selector>s1</selector><result>pass</result></dkim><spf><domain>bounce.a.example</domain>\
         <scope>mfrom</scope><result>pass</result></spf></auth_results></record></feedback>",
        "Two Mail",
    ),
    // The namespace of the schema, tabs, CR LF, identifiers before the row, a reason.
    (
        "<?xml version='1.0' encoding='utf-8'?>\r\n<feedback xmlns=\"http://dmarc.org/dmarc-xml/0.1\">\r\n\t<report_metadata>\r\n\t\t\
         <date_range><end>1767311999</end><begin>1767225600</begin></date_range>\r\n\t\t<report_id>&lt;3@three.example&gt;</report_id>\r\n\t\t\
         <org_name>\r\n\t\t\tThree\r\n\t\t</org_name><email>a@three.example</email></report_metadata>\r\n\t<policy_published><p>none</p>\
         <domain>A.EXAMPLE</domain></policy_published>\r\n\t<record><identifiers><header_from>A.Example</header_from></identifiers><row>\
         <policy_evaluated><spf>fail</spf><reason><comment>known list</comment><type>mailing_list</type></reason><dkim>pass</dkim>\
         <disposition>none</disposition></policy_evaluated><count> 2 </count><source_ip> 192.0.2.1 </source_ip></row><auth_results>\
         <spf><result>pass</result><domain>bounce.a.example</domain></spf><dkim><human_result/><domain>a.example</domain><result>pass</result></dkim>\
         </auth_results></record>\r\n</feedback>\r\n",
        "Three",
    ),
    // The successor's draft: namespace, generator, discovery method, prefixed names, an extension.
    (
        "<?xml version=\"1.0\"?><d:feedback xmlns:d=\"urn:ietf:params:xml:ns:dmarc-2.0\" xmlns:e=\"urn:e\"><d:version>1.0</d:version><d:report_metadata>\
         <d:org_name>Four</d:org_name><d:email>a@four.example</d:email><d:report_id>4</d:report_id><d:date_range><d:begin>1767225600</d:begin>\
         <d:end>1767311999</d:end></d:date_range><d:generator>Maker 1.0</d:generator></d:report_metadata><d:policy_published><d:domain>a.example</d:domain>\
         <d:discovery_method>treewalk</d:discovery_method><d:p>none</d:p><d:testing>n</d:testing></d:policy_published><d:extension><e:x>1</e:x></d:extension>\
         <d:record><d:row><d:source_ip>192.0.2.1</d:source_ip><d:count>2</d:count><d:policy_evaluated><d:disposition>pass</d:disposition><d:dkim>pass</d:dkim>\
         <d:spf>fail</d:spf></d:policy_evaluated></d:row><d:identifiers><d:header_from>a.example</d:header_from></d:identifiers><d:auth_results/></d:record></d:feedback>",
        "Four",
    ),
    // No declaration, a comment, text in CDATA, upper case words, unknown results.
    (
        "<!-- made by hand --><feedback><report_metadata><org_name><![CDATA[Five & Co]]></org_name><report_id>5</report_id><date_range>\
         <begin>1767225600</begin><end>1767311999</end></date_range></report_metadata><policy_published><domain>a.example.</domain><p>NONE</p>\
         </policy_published><record><row><source_ip>192.0.2.1</source_ip><count>2</count><policy_evaluated><disposition>none</disposition>\
         <dkim>PASS</dkim><spf>Fail</spf></policy_evaluated></row><identifiers><header_from>a.example</header_from></identifiers>\
         <auth_results><dkim><domain>a.example</domain><result>hardfail</result></dkim></auth_results></record></feedback>",
        "Five & Co",
    ),
];

#[test]
fn other_shapes_are_read() {
    for (text, reporter) in OTHERS {
        let packed = unpack(&gzip(text.as_bytes())).unwrap();
        let found =
            AggregateReport::parse(&packed).unwrap_or_else(|error| panic!("{reporter}: {error}"));
        assert_eq!(found.reporter, reporter);
        assert_eq!(
            (found.begin, found.rows.len(), found.left_out),
            (1_767_225_600, 1, 0),
            "{reporter}"
        );
        assert_eq!(found.policy.policy, Policy::None, "{reporter}");
        let row = &found.rows[0];
        assert_eq!(
            (row.source, row.count),
            ("192.0.2.1".parse().unwrap(), 2),
            "{reporter}"
        );
        assert!(
            row.dkim_aligned && !row.spf_aligned && row.passed(),
            "{reporter}: {row:?}"
        );
        assert_eq!(
            row.header_from.to_ascii_lowercase(),
            "a.example",
            "{reporter}"
        );
        assert_eq!(
            found.policy.domain.trim_end_matches('.'),
            "a.example",
            "{reporter}"
        );
    }
}
