//! `hikyaku spf` and `dmarc` against a name server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use common::Host;

const ZONE: &str = r#"
a.example TXT "v=spf1 mx exists:%{l}.ok.a.example -all exp=why.a.example"
why.a.example TXT "not %{i}"
a.example MX "10" mail.a.example
mail.a.example A 192.0.2.1
mail.a.example TXT "v=spf1 a -all"
joe.ok.a.example A 127.0.0.2
down.example !serv-fail
loop.example TXT "v=spf1 include:loop.example"
_dmarc.a.example TXT "v=DMARC1; p=reject; sp=none; rua=mailto:d@a.example"
"#;

#[test]
fn spf() {
    let host = Host::new(&ZONE.replace("\"10\"", "10"));
    let spf = |rest: &str| host.asks(&format!("spf {rest}"), "");
    let out = spf("--ip 192.0.2.1 --helo mail.a.example --mail-from ann@a.example");
    assert_eq!(
        out,
        "pass mail-from a.example ip 192.0.2.1 lookups 1 by mx\n  \
         pass helo mail.a.example ip 192.0.2.1 lookups 1 by a\n"
    );
    let out = spf("--ip 192.0.2.2 --mail-from <ann@a.example> --authserv-id mx.b.example");
    assert_eq!(
        out,
        "fail mail-from a.example ip 192.0.2.2 lookups 2 void 1 by -all\n  \
         a.example explains: not 192.0.2.2\n\
         Authentication-Results: mx.b.example; spf=fail smtp.mailfrom=a.example\n"
    );
    assert!(spf("--ip 192.0.2.2 --mail-from joe@a.example").starts_with("pass "));
    assert!(
        spf("--ip ::1 --mail-from _ --helo mail.a.example")
            .starts_with("fail mail-from mail.a.example ")
    );
    assert!(spf("--ip ::1 --mail-from x@b.example").starts_with("none "));
    let out = spf("--ip ::1 --mail-from x@loop.example");
    assert!(
        out.starts_with("permerror ") && out.ends_with(": more than 10 DNS lookups\n"),
        "{out}"
    );
    let arguments = format!(
        "spf --ip ::1 --mail-from x@down.example --dns {}",
        host.dns.address
    );
    // A name server that has troubles of its own is an answer, silence is none.
    let (code, out, _) = host.run(&arguments, "");
    assert!(code == 0 && out.starts_with("temperror "), "{code} {out}");
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let arguments = format!("spf --ip ::1 --mail-from x@a.example --dns {nobody}");
    let (code, out, _) = host.run(&arguments, "");
    assert!(code == 111 && out.starts_with("temperror "), "{code} {out}");
    let (code, _, err) = host.run("spf --ip ::1", "");
    assert!(code == 100 && err.contains("--mail-from"), "{err}");
}

#[test]
fn dmarc_check() {
    let host = Host::new(&ZONE.replace("\"10\"", "10"));
    let mail = "Return-Path: <ann@a.example>\nFrom: Ann <ann@a.example>\nSubject: x\n\nHi\n";
    let out = host.asks(
        "dmarc check --ip 192.0.2.1 --authserv-id mx.b.example",
        mail,
    );
    assert_eq!(
        out,
        "pass from a.example policy reject at a.example disposition none spf a.example\n  \
         spf pass mail-from a.example ip 192.0.2.1 lookups 1 by mx\n\
         Authentication-Results: mx.b.example; spf=pass smtp.mailfrom=a.example;\n \
         dkim=none; dmarc=pass (p=reject dis=none at a.example)\n header.from=a.example\n"
    );
    let out = host.asks("dmarc check --ip 192.0.2.9", mail);
    assert!(out.starts_with(
        "fail from a.example policy reject at a.example disposition reject: neither SPF nor DKIM passed\n"
    ), "{out}");
    let out = host.asks(
        "dmarc check --ip 192.0.2.9",
        &mail.replace("From: Ann <ann@a", "From: <ann@sub.a"),
    );
    assert!(
        out.starts_with("fail from sub.a.example policy reject at a.example disposition none: "),
        "{out}"
    );
    fs::write(host.path("psl"), "example\n").unwrap();
    let out = host.asks("dmarc check --ip 192.0.2.1 --suffixes psl", mail);
    assert!(out.starts_with("pass "), "{out}");
    for (mail, expected) in [
        ("To: x\n\n", "permerror no From field\n"),
        (
            "From: a@a.example\nFrom: b@b.example\n\n",
            "permerror several From fields\n",
        ),
        (
            "From: a@a.example, b@b.example\n\n",
            "permerror From has authors of several domains\n",
        ),
        (
            "From: a@b.example\n\n",
            "none from b.example disposition none: no DMARC record\n",
        ),
    ] {
        let out = host.asks("dmarc check --ip 192.0.2.1 --mail-from _ --helo x.y", mail);
        assert!(out.starts_with(expected), "{out}");
    }
}

const REPORT: &str = "<?xml version=\"1.0\"?><feedback><report_metadata><org_name>Big</org_name>\
<email>d@big.example</email><report_id>1</report_id><date_range><begin>1767225600</begin>\
<end>1767311999</end></date_range></report_metadata><policy_published><domain>a.example</domain>\
<p>none</p></policy_published><record><row><source_ip>192.0.2.1</source_ip><count>30</count>\
<policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>pass</spf></policy_evaluated>\
</row><identifiers><header_from>a.example</header_from></identifiers></record><record><row>\
<source_ip>198.51.100.7</source_ip><count>10</count><policy_evaluated><disposition>reject</disposition>\
<dkim>fail</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>a.example\x1b</header_from>\
</identifiers></record></feedback>";

#[test]
fn dmarc_report() {
    let host = Host::new("");
    fs::write(host.path("r.xml"), REPORT).unwrap();
    let other = REPORT
        .replace("<report_id>1<", "<report_id>2<")
        .replace("198.51.100.7", "192.0.2.1");
    let mail = format!("From: d@big.example\nContent-Type: text/xml\n\n{other}\n");
    fs::write(host.path("mail"), mail).unwrap();
    fs::write(
        host.path("ruf"),
        "From: x@y.example\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n\
         --b\nContent-Type: text/plain\n\nhello\n--b\nContent-Type: message/feedback-report\n\n\
         Feedback-Type: auth-failure\nAuth-Failure: dmarc\nSource-IP: 192.0.2.77\nReported-Domain: a.example\n\n--b--\n",
    )
    .unwrap();
    fs::write(host.path("bad"), "<feedback>").unwrap();
    let out = host.good("dmarc report r.xml mail r.xml ruf bad", "");
    assert!(
        out.starts_with(
            "read: reports 2, messages 80, passed 60 (75 %), 2026-01-01 to 2026-01-01, repeated 1\n"
        ),
        "{out}"
    );
    assert!(out.contains("\n192.0.2.1                                      70        60        60        60         0        10\n"), "{out}");
    assert!(
        out.contains("a.example\\u{1b}") && !out.contains('\x1b'),
        "{out}"
    );
    let picture = format!(
        "192.0.2.1                               {}{} 70\n",
        "#".repeat(34),
        ".".repeat(6)
    );
    assert!(out.contains(&picture), "{out}");
    assert!(
        out.contains("failure dmarc from 192.0.2.77 domain a.example "),
        "{out}"
    );
    assert!(out.contains("not read: bad: XML ends too early\n"), "{out}");
    let out = host.good("dmarc report --json r.xml mail r.xml ruf bad", "");
    for piece in [
        "\"reports\":2",
        "\"repeated\":1",
        "\"begin\":1767225600",
        "\"failures\":[{\"arrival\":\"\",\"delivery\":\"\",\"domain\":\"a.example\",\"failure\":\"dmarc\"",
        "{\"dkim\":60,\"messages\":70,\"name\":\"192.0.2.1\",\"passed\":60,\"quarantined\":0,\"rejected\":10,\"spf\":60}",
        "\"not_read\":[\"bad: XML ends too early\"]",
        "a.example\\u001b",
    ] {
        assert!(out.contains(piece), "{piece} in {out}");
    }
    let (code, _, err) = host.run("dmarc report nothing", "");
    assert!(code == 100 && err.contains("nothing"), "{err}");
}

const TLS_REPORT: &str = r#"{"organization-name":"Big","report-id":"1","date-range":{"start-datetime":
 "2026-01-02T00:00:00Z","end-datetime":"2026-01-03T23:59:59Z"},"policies":[{"policy":{"policy-type":
 "sts","policy-domain":"a.example","mx-host":["mail.a.example"]},"summary":{"total-successful-session-count":
 70,"total-failure-session-count":30},"failure-details":[{"result-type":"certificate-expired",
 "receiving-mx-hostname":"mail.a.example","failed-session-count":29},{"result-type":
 "starttls-not-supported","failed-session-count":1}]}]}"#;

/// gzip(1) without a compressor: one stored block.
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

#[test]
fn tls_report() {
    let host = Host::new("");
    fs::write(host.path("r.json"), TLS_REPORT).unwrap();
    let other = TLS_REPORT
        .replace("\"1\"", "\"2\"")
        .replace("Big", "Sm\\u001ball")
        .replace("\"sts\"", "\"tlsa\"");
    fs::write(host.path("r.json.gz"), gzip(other.as_bytes())).unwrap();
    let mail = format!(
        "From: t@big.example\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=\"tlsrpt\"; boundary=b\n\n\
         --b\nContent-Type: text/plain\n\nhello\n--b\nContent-Type: application/tlsrpt+json\n\n{}\n--b--\n",
        TLS_REPORT.replace("\"1\"", "\"3\"")
    );
    fs::write(host.path("mail"), mail).unwrap();
    fs::write(host.path("bad"), "{\"policies\":1}").unwrap();
    fs::write(
        host.path("deep"),
        "{\"x\":".to_owned() + &"[".repeat(100_000),
    )
    .unwrap();
    fs::write(host.path("text"), "To: x\n\nhello\n").unwrap();
    let files = "r.json r.json.gz mail r.json bad deep text";
    let out = host.good(&format!("tls-report {files}"), "");
    assert!(
        out.starts_with(
            "read: reports 3, sessions 300, good 210 (70 %), 2026-01-02 to 2026-01-03, repeated 1\n"
        ),
        "{out}"
    );
    for line in [
        "\na.example sts                                 200       140        60\n",
        "\na.example tlsa                                100        70        30\n",
        "\nBig                                           200       140        60\n",
        "\nSm\\u{1b}all                                   100        70        30\n",
        "\ncertificate-expired                     mail.a.example                        87\n",
        "\nstarttls-not-supported                  -                                      3\n",
        "\nnot read: bad: not a TLS report: ",
        "\nnot read: deep: not a TLS report: EOF while parsing a list",
        "\nnot read: text: no report in it\n",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let out = host.good(&format!("tls-report --json {files}"), "");
    for piece in [
        "\"reports\":3",
        "\"begin\":\"2026-01-02\"",
        "{\"domain\":\"a.example\",\"failed\":30,\"good\":70,\"type\":\"tlsa\"}",
        "{\"failed\":87,\"host\":\"mail.a.example\",\"type\":\"certificate-expired\"}",
        "Sm\\u001ball",
    ] {
        assert!(out.contains(piece), "{piece} in {out}");
    }
    assert_eq!(out.lines().count(), 1);
    assert_eq!(host.run("tls-report nothing", "").0, 100);
    assert_eq!(host.run("tls-report", "").0, 100);
}
