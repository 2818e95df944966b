//! `hikyaku spf`, `dmarc`, `mta-sts`, `dns` and `doctor` against a name server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testkit::{Dns, Zone};

struct Host {
    dir: TempDir,
    dns: Dns,
}

impl Host {
    fn new(zone: &str) -> Self {
        let host = Self {
            dir: tempfile::tempdir().unwrap(),
            dns: Dns::start(Zone::parse(zone)),
        };
        let text = "root = \".\"\nhostname = \"mail.a.example\"\ndomains = [\"a.example\"]\n";
        fs::write(host.path("hikyaku.toml"), text).unwrap();
        fs::create_dir(host.path("etc")).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Exit code, output and errors; words are separated by single spaces, `_` is an empty word.
    fn run(&self, arguments: &str, input: &str) -> (i32, String, String) {
        let words = arguments
            .split(' ')
            .map(|word| if word == "_" { "" } else { word });
        let mut child = Command::new(env!("CARGO_BIN_EXE_hikyaku"))
            .arg("--config")
            .arg(self.path("hikyaku.toml"))
            .args(words)
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        let code = output.status.code().unwrap();
        (code, text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn good(&self, arguments: &str, input: &str) -> String {
        let (code, out, err) = self.run(arguments, input);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments}: {out}");
        out
    }

    /// The same with `--dns`.
    #[track_caller]
    fn asks(&self, arguments: &str, input: &str) -> String {
        self.good(&format!("{arguments} --dns {}", self.dns.address), input)
    }
}

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
        "pass: mail-from a.example ip 192.0.2.1 lookups 1 by mx\n  \
         pass: helo mail.a.example ip 192.0.2.1 lookups 1 by a\n"
    );
    let out = spf("--ip 192.0.2.2 --mail-from <ann@a.example> --authserv-id mx.b.example");
    assert_eq!(
        out,
        "fail: mail-from a.example ip 192.0.2.2 lookups 2 void 1 by -all\n  \
         a.example explains: not 192.0.2.2\n\
         Authentication-Results: mx.b.example; spf=fail smtp.mailfrom=a.example\n"
    );
    assert!(spf("--ip 192.0.2.2 --mail-from joe@a.example").starts_with("pass: "));
    assert!(
        spf("--ip ::1 --mail-from _ --helo mail.a.example")
            .starts_with("fail: mail-from mail.a.example ")
    );
    assert!(spf("--ip ::1 --mail-from x@b.example").starts_with("none: "));
    let out = spf("--ip ::1 --mail-from x@loop.example");
    assert!(
        out.starts_with("permerror: ") && out.ends_with(": more than 10 DNS lookups\n"),
        "{out}"
    );
    let arguments = format!(
        "spf --ip ::1 --mail-from x@down.example --dns {}",
        host.dns.address
    );
    let (code, out, _) = host.run(&arguments, "");
    assert!(
        code == 111 && out.starts_with("temperror: "),
        "{code} {out}"
    );
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
        "pass: from a.example policy reject at a.example disposition none spf a.example\n  \
         spf pass: mail-from a.example ip 192.0.2.1 lookups 1 by mx\n\
         Authentication-Results: mx.b.example; spf=pass smtp.mailfrom=a.example;\n \
         dkim=none; dmarc=pass (p=reject dis=none at a.example)\n header.from=a.example\n"
    );
    let out = host.asks("dmarc check --ip 192.0.2.9", mail);
    assert!(out.starts_with(
        "fail: from a.example policy reject at a.example disposition reject: neither SPF nor DKIM passed\n"
    ), "{out}");
    let out = host.asks(
        "dmarc check --ip 192.0.2.9",
        &mail.replace("From: Ann <ann@a", "From: <ann@sub.a"),
    );
    assert!(
        out.starts_with("fail: from sub.a.example policy reject at a.example disposition none: "),
        "{out}"
    );
    fs::write(host.path("psl"), "example\n").unwrap();
    let out = host.asks("dmarc check --ip 192.0.2.1 --suffixes psl", mail);
    assert!(out.starts_with("pass: "), "{out}");
    for (mail, expected) in [
        ("To: x\n\n", "permerror: no From field\n"),
        (
            "From: a@a.example\nFrom: b@b.example\n\n",
            "permerror: several From fields\n",
        ),
        (
            "From: a@a.example, b@b.example\n\n",
            "permerror: From has authors of several domains\n",
        ),
        (
            "From: a@b.example\n\n",
            "none: from b.example disposition none: no DMARC record\n",
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
    let (code, _, err) = host.run("dmarc report nothing", "");
    assert!(code == 100 && err.contains("nothing"), "{err}");
}

#[test]
fn mta_sts() {
    let host = Host::new(
        "_mta-sts.a.example TXT \"v=STSv1; id=20260101;\"\na.example MX 10 mail.a.example\na.example MX 20 Backup.b.example\n\
         _mta-sts.bad.example TXT v=STSv1\n_mta-sts.down.example !serv-fail",
    );
    let out = host.asks("mta-sts check A.example", "");
    assert_eq!(
        out,
        "record: a.example: id 20260101\n  fetch https://mta-sts.a.example/.well-known/mta-sts.txt \
         (no redirects), then give it with --policy\n"
    );
    let policy = "version: STSv1\nmode: enforce\nmx: *.a.example\nmax_age: 86400\n";
    fs::write(host.path("policy"), policy).unwrap();
    let out = host.asks("mta-sts check a.example --policy policy", "");
    assert_eq!(
        out,
        "bad: a.example: id 20260101 mode enforce max_age 86400\n  permitted mail.a.example\n  \
         not permitted backup.b.example\n"
    );
    fs::write(
        host.path("policy"),
        policy.replace("max", "mx: backup.b.example\nmax"),
    )
    .unwrap();
    assert!(
        host.asks("mta-sts check a.example --policy policy", "")
            .starts_with("ok: ")
    );
    fs::write(host.path("policy"), "x").unwrap();
    let out = host.asks("mta-sts check a.example --policy policy", "");
    assert_eq!(out, "bad: a.example: id 20260101: a line is no field\n");
    assert!(
        host.asks("mta-sts check b.example", "")
            .starts_with("none: ")
    );
    assert!(
        host.asks("mta-sts check bad.example", "")
            .starts_with("bad: ")
    );
    let arguments = format!("mta-sts check down.example --dns {}", host.dns.address);
    let (code, out, _) = host.run(&arguments, "");
    assert!(
        code == 111 && out.starts_with("temperror: "),
        "{code} {out}"
    );
    assert_eq!(host.run("mta-sts check a..b", "").0, 100);
}

/// What was printed as rows of the test's zone.
fn rows(printed: &str) -> String {
    printed
        .lines()
        .filter(|line| !line.starts_with(';'))
        .map(|line| {
            let line = line.replacen(" IN ", " ", 1);
            line.replace("( ", "").replace(" )", "") + "\n"
        })
        .collect()
}

#[test]
fn what_is_printed_makes_the_doctor_content() {
    let host = Host::new("");
    let authority = testkit::Authority::new();
    let (chain, key) = authority.write(host.dir.path(), &["mail.a.example"]);
    let mut text = fs::read_to_string(host.path("hikyaku.toml")).unwrap();
    text += &format!("[[tls.certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    fs::write(host.path("hikyaku.toml"), text).unwrap();

    let out = host.asks("doctor a.example", "");
    assert!(out.starts_with("bad: a.example: checks "), "{out}");
    for line in [
        "  bad mx: no record\n    mend: a.example. IN MX 10 mail.a.example.\n",
        "  bad address: mail.a.example lacks an address record\n",
        "  bad dkim: no key signs\n    mend: `hikyaku dkim key new a.example`\n",
        "  bad dmarc: no record\n    mend: _dmarc.a.example. IN TXT \"v=DMARC1; p=none;",
        "  note tlsa: no record\n    mend: _25._tcp.mail.a.example. IN TLSA 3 1 1 ",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }

    let made = host.good("dkim key new a.example --selector one", "");
    let printed = host.good("dns print a.example --ip 192.0.2.1 --ip 2001:db8::1", "");
    for line in [
        "a.example. IN MX 10 mail.a.example.\n",
        "mail.a.example. IN A 192.0.2.1\n",
        "mail.a.example. IN AAAA 2001:db8::1\n",
        "a.example. IN TXT \"v=spf1 mx -all\"\n",
        "mail.a.example. IN TXT \"v=spf1 a -all\"\n",
        "_smtp._tls.a.example. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@a.example\"\n",
        "_mta-sts.a.example. IN TXT \"v=STSv1; id=",
        "1.2.0.192.in-addr.arpa. IN PTR mail.a.example.\n",
        made.lines().nth(1).unwrap(),
    ] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
    let mut zone = rows(&printed);
    host.dns.set(Zone::parse(&zone));
    host.asks("dkim key check a.example --switch", "");
    let out = host.asks("doctor a.example", "");
    assert!(out.starts_with("ok: a.example: checks "), "{out}");
    assert!(out.contains("  ok dkim: one current published\n"), "{out}");
    assert!(
        out.contains("  ok reverse: 2001:db8::1 is mail.a.example\n"),
        "{out}"
    );
    assert!(
        out.contains("  note tlsa: fits, but the answer is not proven"),
        "{out}"
    );
    assert!(out.contains("  note dmarc: policy none\n"), "{out}");

    // Loopback is trusted to say what DNSSEC proved.
    zone += "_25._tcp.mail.a.example !authentic\n";
    host.dns.set(Zone::parse(&zone));
    let out = host.asks("doctor a.example", "");
    assert!(out.contains("  ok tlsa: fits\n"), "{out}");

    for (from, to, line) in [
        (
            "v=spf1 mx",
            "v=spf1 ip4:10.0.0.1",
            "  bad spf: fail: mail-from a.example ip 192.0.2.1",
        ),
        (
            "PTR mail.",
            "PTR other.",
            "  bad reverse: 192.0.2.1 is other.a.example\n",
        ),
        ("p=none", "p=nonsense", "  note dmarc: policy none\n"),
        (
            "MX 10 mail.",
            "MX 10 other.",
            "  bad mx: other.a.example: not this host\n",
        ),
        (
            "TLSA 3 1 1 ",
            "TLSA 3 0 1 ",
            "  bad tlsa: a certificate of this host does not fit\n",
        ),
        (
            "p=none; rua",
            "x=none; ru",
            "  bad dmarc: no valid p= tag\n",
        ),
    ] {
        host.dns.set(Zone::parse(&zone.replace(from, to)));
        let out = host.asks("doctor a.example", "");
        assert!(out.contains(line), "{line} in {out}");
    }
    // Nothing answers.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, out, _) = host.run(&format!("doctor a.example --dns {nobody}"), "");
    assert!(code == 111 && out.starts_with("unknown: "), "{code} {out}");
}
