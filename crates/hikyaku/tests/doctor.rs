//! `hikyaku dns print` and `hikyaku doctor` against a name server and a web server on loopback: what
//! is printed makes the doctor content, and each way to have it wrong is seen, with its mend.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use common::Host;
use testkit::{Authority, Peer, Zone};

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

/// A host with a certificate, a DKIM key that signs, and a web server with its policy.
struct Clinic {
    host: Host,
    authority: Authority,
    /// Everything published as it should be.
    zone: String,
    /// The record of the key.
    key: String,
}

/// A web server's answer with a policy and a date.
fn answer(policy: &str, date: &str) -> String {
    let policy = policy.replace('\n', "\\r\\n");
    let date = match date {
        "" => String::new(),
        date => format!("Date: {date}\\r\\n"),
    };
    format!(
        "tls\n<~ GET\n<~ Host\n<~ Accept\n<~ User\n<~ Connection\n<-\n->> HTTP/1.1 200 OK\\r\\n{date}\
         Content-Type: text/plain\\r\\n\\r\\n{policy}\nclose\n"
    )
}

const POLICY: &str = "version: STSv1\nmode: enforce\nmx: mail.a.example\nmax_age: 604800\n";

impl Clinic {
    fn new() -> Self {
        let host = Host::new("");
        let authority = Authority::new();
        fs::write(host.path("ca.pem"), authority.pem()).unwrap();
        let (chain, key) = authority.write(host.dir.path(), &["mail.a.example"]);
        let mut text = fs::read_to_string(host.path("hikyaku.toml")).unwrap();
        text += &format!("[[tls.certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
        fs::write(host.path("hikyaku.toml"), text).unwrap();
        let made = host.good("dkim key new a.example --selector one", "");
        let printed = host.good("dns print a.example --ip 192.0.2.1 --ip 2001:db8::1", "");
        let zone =
            rows(&printed).replace("p=none", "p=reject") + "_25._tcp.mail.a.example !authentic\n";
        host.dns.set(Zone::parse(&zone));
        host.asks("dkim key check a.example --switch", "");
        Self {
            host,
            authority,
            zone,
            key: made.lines().nth(1).unwrap().to_owned(),
        }
    }

    fn run_with(&self, zone: &str, answer: &str, more: &str) -> (i32, String) {
        self.host.dns.set(Zone::parse(zone));
        let peer = Peer::serve_tls(&[answer], self.authority.server(&["mta-sts.a.example"]));
        let arguments = format!(
            "doctor a.example --ca ca.pem --connect-to {} --dns {}{more}",
            peer.address, self.host.dns.address
        );
        let (code, out, err) = self.host.run(&arguments, "");
        assert_eq!(err, "", "{out}");
        (code, out)
    }

    fn run(&self, zone: &str) -> (i32, String) {
        self.run_with(zone, &answer(POLICY, ""), "")
    }

    /// The zone with one row changed; this line has to be said, followed by its mend.
    #[track_caller]
    fn sees(&self, from: &str, to: &str, line: &str, mend: &str) {
        let zone = self.zone.replace(from, to);
        assert_ne!(zone, self.zone, "{from}");
        let (code, out) = self.run(&zone);
        let mend = match mend {
            "" => String::new(),
            mend => format!("    mend: {mend}\n"),
        };
        assert!(
            out.contains(&format!("  {line}\n{mend}")),
            "{line} / {mend} in {out}"
        );
        let first = match (line.split_once(' ').unwrap().0, code) {
            ("bad", 0) => "bad ",
            ("note" | "ok", 0) => "ok ",
            ("unknown", 111) => "unknown ",
            other => panic!("{other:?}: {out}"),
        };
        assert!(out.starts_with(first), "{line} in {out}");
    }
}

#[test]
fn what_is_printed_makes_the_doctor_content() {
    let clinic = Clinic::new();
    let host = &clinic.host;
    // Nothing is published.
    let (code, out) = clinic.run("");
    assert!(
        code == 0 && out.starts_with("bad a.example: checks "),
        "{out}"
    );
    for line in [
        "  bad mx: no record\n    mend: a.example. IN MX 10 mail.a.example.\n",
        "  bad address: mail.a.example has no address record\n",
        "  bad dmarc: no record\n    mend: _dmarc.a.example. IN TXT \"v=DMARC1; p=none;",
        "  note tlsa: no record\n    mend: _25._tcp.mail.a.example. IN TLSA 3 1 1 ",
        "  note mta-sts: no record\n    mend: see `hikyaku dns print a.example`\n",
        "  note tlsrpt: no record\n    mend: _smtp._tls.a.example. IN TXT \"v=TLSRPTv1; ",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let line = format!(
        "  bad dkim: one current missing\n    mend: {}\n",
        clinic.key
    );
    assert!(out.contains(&line), "{line} in {out}");

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
        &clinic.key,
    ] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
    let (code, out) = clinic.run(&clinic.zone);
    assert!(
        code == 0 && out.starts_with("ok a.example: checks "),
        "{out}"
    );
    assert!(out.contains(", bad 0, notes "), "{out}");
    for line in [
        "  ok mx: mail.a.example\n",
        "  ok address: 192.0.2.1, 2001:db8::1\n",
        "  ok reverse: 2001:db8::1 is mail.a.example\n",
        "  ok spf: pass mail-from a.example ip 192.0.2.1 ",
        "  ok spf: pass helo mail.a.example ip 2001:db8::1 ",
        "  ok dkim: one current published\n",
        "  ok dmarc: policy reject\n",
        " mode enforce max_age 604800\n",
        "  ok tlsrpt: places 1\n",
        "  ok tlsa: fits\n",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    // As it is printed for the first day: a policy that only reports.
    let first = clinic
        .zone
        .replace("p=reject", "p=none")
        .replace("_25._tcp.mail.a.example !authentic\n", "");
    let (_, out) = clinic.run(&first);
    assert!(
        out.starts_with("ok ") && out.contains("  note dmarc: policy none\n"),
        "{out}"
    );
    assert!(
        out.contains("  note tlsa: fits, but the answer is not proven"),
        "{out}"
    );
    // Without a key.
    let empty = Host::new("");
    let out = empty.asks("doctor a.example", "");
    assert!(
        out.contains("  bad dkim: no key signs\n    mend: `hikyaku dkim key new a.example`\n"),
        "{out}"
    );
    // Nothing answers.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, out, _) = host.run(&format!("doctor a.example --dns {nobody}"), "");
    assert!(code == 111 && out.starts_with("unknown "), "{code} {out}");
}

const MX: &str = "a.example. MX 10 mail.a.example.\n";

#[test]
fn the_way_to_the_host() {
    let clinic = Clinic::new();
    let sees = |from: &str, to: &str, line: &str, mend: &str| clinic.sees(from, to, line, mend);
    let mend = "a.example. IN MX 10 mail.a.example.";
    sees(MX, "", "bad mx: no record", mend);
    sees(
        MX,
        "a.example MX 10 other.example\nother.example A 192.0.2.7\n",
        "bad mx: other.example: not this host",
        mend,
    );
    sees(
        MX,
        "a.example MX 0 .\n",
        "bad mx: a null MX: the domain says that it takes no mail",
        "take out `a.example. IN MX 0 .`; in its place a.example. IN MX 10 mail.a.example.",
    );
    sees(
        MX,
        &format!("{MX}a.example MX 0 .\n"),
        "bad mx: a null MX beside others",
        "take out `a.example. IN MX 0 .`",
    );
    sees(
        MX,
        &format!("{MX}a.example MX 20 192.0.2.1\n"),
        "bad mx: 192.0.2.1 is an address where a name has to stand",
        "take out `a.example. IN MX 20 192.0.2.1.`; a.example. IN MX 10 mail.a.example.",
    );
    sees(
        MX,
        &format!("{MX}a.example MX 20 gone.example\n"),
        "bad mx: gone.example has no address",
        "take out `a.example. IN MX 20 gone.example.`, or give gone.example an address record",
    );
    sees(
        MX,
        &format!(
            "{MX}a.example MX 20 www.example\nwww.example CNAME web.example\nweb.example A 192.0.2.8\n"
        ),
        "bad mx: www.example is an alias of web.example, where no alias may stand",
        "in the place of `a.example. IN MX 20 www.example.`: a.example. IN MX 20 web.example.",
    );
    sees(
        "mail.a.example. A 192.0.2.1\nmail.a.example. AAAA 2001:db8::1\n",
        "mail.a.example CNAME web.example\nweb.example A 192.0.2.1\n",
        "bad mx: mail.a.example is an alias of web.example, where no alias may stand",
        "take out `mail.a.example. IN CNAME web.example.` and give mail.a.example its own address records",
    );
    sees(MX, "a.example !serv-fail MX\n", "unknown mx: no answer", "");
    // A name below the zone's: the row of the mail host's address is the only thing that goes.
    sees(
        "mail.a.example. A 192.0.2.1\n",
        "mail.a.example A 10.0.0.1\nmail.a.example A 192.0.2.1\n",
        "bad address: mail.a.example has 10.0.0.1, which nobody outside reaches",
        "take out `mail.a.example. IN A 10.0.0.1`",
    );

    let wrong = "let whoever gave you 192.0.2.1 set 1.2.0.192.in-addr.arpa. IN PTR mail.a.example.";
    let row = "1.2.0.192.in-addr.arpa. PTR mail.a.example.\n";
    sees(row, "", "bad reverse: 192.0.2.1 has no name", wrong);
    sees(
        row,
        "1.2.0.192.in-addr.arpa PTR other.example\n",
        "bad reverse: 192.0.2.1 is other.example, which does not lead back to 192.0.2.1",
        wrong,
    );
    sees(
        row,
        "1.2.0.192.in-addr.arpa PTR other.example\nother.example A 192.0.2.1\n",
        "note reverse: 192.0.2.1 is other.example, not mail.a.example as this host calls itself",
        wrong,
    );
    sees(
        row,
        "1.2.0.192.in-addr.arpa !serv-fail\n",
        "unknown reverse: 192.0.2.1: no answer",
        "",
    );
    sees(
        row,
        "1.2.0.192.in-addr.arpa PTR down.example\ndown.example !serv-fail\n",
        "unknown reverse: 192.0.2.1 is down.example: no answer for the addresses of that name",
        "",
    );

    // What somebody knows better than the DNS.
    let (_, out) = clinic.run_with(
        &clinic.zone,
        &answer(POLICY, ""),
        " --ip 192.0.2.1 --ip 192.0.2.2",
    );
    for line in [
        "  bad address: mail.a.example lacks 192.0.2.2\n    mend: mail.a.example. IN A 192.0.2.2\n",
        "  note address: mail.a.example also has 2001:db8::1, which --ip did not name\n    mend: take out `mail.a.example. IN AAAA 2001:db8::1` unless the address is this host's\n",
        "  bad reverse: 192.0.2.2 has no name\n",
    ] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let zone = clinic.zone.clone() + "2.2.0.192.in-addr.arpa PTR mail.a.example\n";
    let (_, out) = clinic.run_with(&zone, &answer(POLICY, ""), " --ip 192.0.2.2");
    let line = "  bad reverse: 192.0.2.2 is mail.a.example, but mail.a.example is not 192.0.2.2\n    mend: mail.a.example. IN A 192.0.2.2\n";
    assert!(out.contains(line), "{line} in {out}");
}

#[test]
fn what_the_domain_says_of_its_mail() {
    let clinic = Clinic::new();
    let sees = |from: &str, to: &str, line: &str, mend: &str| clinic.sees(from, to, line, mend);
    let spf = "a.example. TXT \"v=spf1 mx -all\"\n";
    let line = "bad spf: fail mail-from a.example ip 192.0.2.1 lookups";
    sees(
        spf,
        "a.example TXT \"v=spf1 ip4:10.0.0.1 -all\"\n",
        &format!("{line} 0 by -all"),
        "a.example. IN TXT \"v=spf1 ip4:192.0.2.1 ip4:10.0.0.1 -all\"",
    );
    sees(
        spf,
        "\n",
        "bad spf: none mail-from a.example ip 192.0.2.1 lookups 0",
        "a.example. IN TXT \"v=spf1 mx -all\"",
    );
    sees(
        spf,
        &format!("{spf}a.example TXT \"v=spf1 -all\"\n"),
        "bad spf: permerror mail-from a.example ip 192.0.2.1 lookups 0: a.example has several SPF records",
        "keep one of `v=spf1 mx -all` `v=spf1 -all`, such as a.example. IN TXT \"v=spf1 mx -all\"",
    );
    sees(
        spf,
        "a.example TXT \"v=spf1 mx ipv4:192.0.2.1 -all\"\n",
        "bad spf: permerror mail-from a.example ip 192.0.2.1 lookups 0: record of a.example: bad term \"ipv4:192.0.2.1\"",
        "correct `v=spf1 mx ipv4:192.0.2.1 -all`; what this host needs is a.example. IN TXT \"v=spf1 mx -all\"",
    );
    sees(
        spf,
        "a.example TXT \"v=spf1 +all\"\n",
        "bad spf: anybody may send, 203.0.113.77 too",
        "a.example. IN TXT \"v=spf1 -all\"",
    );
    sees(
        spf,
        "a.example TXT \"v=spf1 mx ip6:2000::/3 -all\"\n",
        "bad spf: anybody may send, 2001:db8:ffff::77 too",
        "a.example. IN TXT \"v=spf1 mx ip6:2000::/3 -all\"",
    );
    sees(
        spf,
        "a.example TXT \"v=spf1 mx ?all\"\n",
        "note spf: says nothing of strangers, so that forged mail is not seen as such",
        "a.example. IN TXT \"v=spf1 mx -all\"",
    );
    sees(
        "mail.a.example. TXT",
        "x.example. TXT",
        "note spf: none helo mail.a.example ip 192.0.2.1 lookups 0",
        "mail.a.example. IN TXT \"v=spf1 a -all\"",
    );
    sees(
        spf,
        "a.example !serv-fail TXT\n",
        "unknown spf: temperror mail-from a.example ip 192.0.2.1 lookups 0: no answer for a.example",
        "",
    );

    let name = "one._domainkey.a.example";
    let row = rows(&clinic.key);
    let whole = format!("in the place of all text records of {name}: {}", clinic.key);
    sees(&row, "", "bad dkim: one current missing", &clinic.key);
    // Another key: RFC 8463's own.
    let other = format!(
        "{name} TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n"
    );
    sees(&row, &other, "bad dkim: one current different", &whole);
    sees(
        &row,
        &format!("{row}{other}"),
        "bad dkim: one current several",
        &whole,
    );
    sees(
        &row,
        &format!("{name} TXT \"v=DKIM1; k=ed25519; p=\"\n"),
        "bad dkim: one current broken: key was revoked",
        &whole,
    );
    sees(
        &row,
        &format!("{name} TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrf\"\n"),
        "bad dkim: one current broken: public key is malformed",
        &whole,
    );
    sees(
        &row,
        &row.replace("v=DKIM1;", "v=DKIM1; t=y;"),
        "note dkim: one is published for testing (t=y)",
        &clinic.key,
    );
    sees(
        &row,
        &format!("{name} !serv-fail\n"),
        "unknown dkim: one current unavailable",
        "",
    );

    let row = "_dmarc.a.example. TXT \"v=DMARC1; p=reject; rua=mailto:postmaster@a.example\"\n";
    let mend = "_dmarc.a.example. IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@a.example\"";
    let other = |text: &str| format!("_dmarc.a.example TXT \"{text}\"\n");
    sees(row, "", "bad dmarc: no record", mend);
    sees(
        row,
        &other("v=dmarc1; p=reject"),
        "bad dmarc: no record that begins with v=DMARC1, but v=dmarc1; p=reject",
        &format!("in the place of it: {mend}"),
    );
    sees(
        row,
        &other("v=DMARC1; x=reject"),
        "bad dmarc: no valid p= tag: v=DMARC1; x=reject",
        &format!("in the place of it: {mend}"),
    );
    sees(
        row,
        &format!("{row}{row}"),
        "bad dmarc: several records count as none",
        &format!("in the place of all of them: {mend}"),
    );
    sees(
        row,
        "_dmarc.example TXT \"v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@example\"\n",
        "ok dmarc: policy quarantine of example",
        "",
    );
    sees(
        row,
        &other("v=DMARC1; p=reject; t=y; rua=mailto:x@a.example"),
        "note dmarc: policy reject, for testing (t=y)",
        "take t= and pct= out when the reports show no own mail failing",
    );
    sees(
        row,
        &other("v=DMARC1; p=reject; pct=99; rua=mailto:x@a.example"),
        "note dmarc: policy reject, for 99 percent of the mail",
        "take t= and pct= out when the reports show no own mail failing",
    );
    sees(
        row,
        &other("v=DMARC1; p=reject"),
        "note dmarc: nobody gets the reports",
        "add rua=mailto:postmaster@a.example",
    );
    let far = "v=DMARC1; p=reject; rua=mailto:a@reports.example";
    sees(
        row,
        &other(far),
        "bad dmarc: reports.example does not say that it takes the reports",
        "in the zone of reports.example: a.example._report._dmarc.reports.example. IN TXT \"v=DMARC1\"",
    );
    let permitted = other(far) + "a.example._report._dmarc.reports.example TXT v=DMARC1\n";
    sees(row, &permitted, "ok dmarc: policy reject", "");
    sees(
        row,
        "_dmarc.a.example !serv-fail\n",
        "unknown dmarc: no answer",
        "",
    );
}

#[test]
fn mail_that_leaves_through_another_host() {
    let clinic = Clinic::new();
    let file = clinic.host.path("hikyaku.toml");
    let text =
        fs::read_to_string(&file).unwrap() + "[remote]\nrelay_host = \"smtp.isp.example:25\"\n";
    fs::write(file, text).unwrap();
    let spf = "a.example. TXT \"v=spf1 mx -all\"\n";
    // Our own address need not be permitted then.
    clinic.sees(
        spf,
        "a.example TXT \"v=spf1 ip4:192.0.2.200 -all\"\n",
        "note spf: fail mail-from a.example ip 192.0.2.1 lookups 0 by -all",
        "let the record permit the host that mail is relayed through",
    );
    clinic.sees(
        spf,
        "\n",
        "bad spf: none mail-from a.example ip 192.0.2.1 lookups 0",
        "a.example. IN TXT \"v=spf1 mx -all\", with the include: that the relay's owner names",
    );
}

#[test]
fn tls_and_the_clock() {
    let clinic = Clinic::new();
    let sees = |from: &str, to: &str, line: &str, mend: &str| clinic.sees(from, to, line, mend);
    let row = "_smtp._tls.a.example. TXT \"v=TLSRPTv1; rua=mailto:postmaster@a.example\"";
    let mend = "_smtp._tls.a.example. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@a.example\"";
    sees(row, "", "note tlsrpt: no record", mend);
    sees(
        row,
        "_smtp._tls.a.example TXT \"v=TLSRPTv1\"",
        "bad tlsrpt: the TLSRPT record can't be read",
        &format!("in the place of it: {mend}"),
    );
    sees(
        row,
        "_smtp._tls.a.example !serv-fail",
        "unknown tlsrpt: no answer",
        "",
    );

    let name = "_25._tcp.mail.a.example";
    let printed = clinic.host.good("dns print a.example", "");
    let tlsa = printed
        .lines()
        .find(|line| line.starts_with("_25."))
        .unwrap();
    let instead = format!("in the place of the records of {name}: {tlsa}");
    sees(
        "TLSA 3 1 1 ",
        "TLSA 3 0 1 ",
        "bad tlsa: a certificate of this host does not fit",
        &instead,
    );
    sees(
        "TLSA 3 1 1 ",
        "TLSA 1 1 1 ",
        "bad tlsa: no record that a sender can use",
        &instead,
    );
    sees(
        "TLSA 3 1 1 ",
        "TLSA 2 1 1 ",
        "note tlsa: trust anchors only: not compared",
        "",
    );
    sees(&rows(tlsa), "", "note tlsa: no record", tlsa);
    sees(
        &format!("{name} !authentic"),
        &format!("{name} !serv-fail"),
        "unknown tlsa: no answer",
        "",
    );

    let id = clinic
        .zone
        .lines()
        .find(|line| line.starts_with("_mta-sts."))
        .unwrap();
    sees(
        id,
        "_mta-sts.a.example TXT v=STSv1",
        "bad mta-sts: the MTA-STS record can't be read",
        "",
    );
    sees(
        id,
        "_mta-sts.a.example !serv-fail",
        "unknown mta-sts: no answer",
        "",
    );
    let number = id.split("id=").nth(1).unwrap().trim_end_matches('"');
    let url = "https://mta-sts.a.example/.well-known/mta-sts.txt";
    let mine = format!(
        "    mend: serve this as text/plain at {url} under a certificate of that name, without a redirect\n          \
         version: STSv1\n          mode: testing\n          mx: mail.a.example\n          max_age: 604800\n          \
         then _mta-sts.a.example. IN TXT \"v=STSv1; id="
    );
    for (policy, line, mend) in [
        (
            POLICY.replace("enforce", "testing"),
            format!("  note mta-sts: id {number} mode testing max_age 604800\n"),
            "    mend: mode: enforce when the TLS reports show no failure\n".to_owned(),
        ),
        (
            POLICY.replace("enforce", "none"),
            format!(
                "  note mta-sts: id {number} mode none max_age 604800: as if there were no policy\n"
            ),
            mine.clone(),
        ),
        (
            POLICY.replace("604800", "86399"),
            format!(
                "  note mta-sts: id {number} mode enforce max_age 86399: kept for less than a day\n"
            ),
            "    mend: max_age: 604800\n".to_owned(),
        ),
        (
            POLICY.replace("mail.", "*.mail."),
            format!(
                "  bad mta-sts: id {number} mode enforce max_age 604800 does not permit mail.a.example\n"
            ),
            format!(
                "    mend: add to {url}\n          mx: mail.a.example\n          then _mta-sts.a.example. IN TXT \"v=STSv1; id="
            ),
        ),
        (
            "<html>".to_owned(),
            format!("  bad mta-sts: id {number}, {url}: a line is no field\n"),
            mine.clone(),
        ),
    ] {
        let (code, out) = clinic.run_with(&clinic.zone, &answer(&policy, ""), "");
        assert!(
            code == 0 && out.contains(&format!("{line}{mend}")),
            "{line}{mend} in {out}"
        );
    }
    let redirect = "tls\n<~ GET\n<~ Host\n<~ Accept\n<~ User\n<~ Connection\n<-\n->> HTTP/1.1 302 Found\\r\\n\\r\\n\nclose";
    let (_, out) = clinic.run_with(&clinic.zone, redirect, "");
    let line = format!(
        "  bad mta-sts: id {number}, {url}: status 302: redirects are not followed\n{mine}"
    );
    assert!(out.contains(&line), "{line} in {out}");
    let (code, out) = clinic.run_with(&clinic.zone, "tls\nclose", "");
    assert!(
        code == 111 && out.contains(&format!("  unknown mta-sts: id {number}, {url}: ")),
        "{out}"
    );

    // A clock that a web server contradicts.
    let (_, out) = clinic.run_with(
        &clinic.zone,
        &answer(POLICY, "Thu, 01 Jan 2026 00:00:00 GMT"),
        "",
    );
    assert!(out.starts_with("bad ") && out.contains(" s ahead of the clock of mta-sts.a.example\n    mend: if it is ours that is wrong: `chronyc makestep`"), "{out}");
    let (_, out) = clinic.run_with(&clinic.zone, &answer(POLICY, "soon"), "");
    assert!(
        out.contains("  note clock: mta-sts.a.example says \"soon\", which is no date\n"),
        "{out}"
    );
}
