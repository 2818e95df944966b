//! `hikyaku mta-sts check` against a name server and a web server on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use common::Host;
use testkit::{Authority, Peer, Zone};

const ZONE: &str = "_mta-sts.a.example TXT \"v=STSv1; id=20260101;\"\na.example MX 10 mail.a.example\n\
     a.example MX 20 Backup.b.example\n_mta-sts.bad.example TXT v=STSv1\n_mta-sts.down.example !serv-fail\n";

/// Hears the request as RFC 8461 wants it, then says this.
fn script(answer: &str) -> String {
    format!(
        "tls\n<- GET /.well-known/mta-sts.txt HTTP/1.1\n<- Host: mta-sts.a.example\n<- Accept: text/plain\n\
         <- User-Agent: hikyaku\n<- Connection: close\n<-\n{answer}\n"
    )
}

const GOOD: &str = "->> HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 86\\r\\n\\r\\n\
    version: STSv1\\r\\nmode: enforce\\r\\nmx: *.a.example\\r\\nmx: backup.b.example\\r\\nmax_age: 86400\\r\\n\nclose";

struct Web {
    host: Host,
    authority: Authority,
}

impl Web {
    fn new() -> Self {
        let web = Self {
            host: Host::new(ZONE),
            authority: Authority::new(),
        };
        fs::write(web.host.path("ca.pem"), web.authority.pem()).unwrap();
        web
    }

    /// What the command says of a server with this name in its certificate that follows this script.
    fn check(&self, name: &str, script: &str) -> (i32, String) {
        let peer = Peer::serve_tls(&[script], self.authority.server(&[name]));
        self.check_at(&peer.address.to_string(), "--ca ca.pem ")
    }

    fn check_at(&self, place: &str, more: &str) -> (i32, String) {
        let arguments = format!(
            "mta-sts check a.example {more}--connect-to {place} --dns {}",
            self.host.dns.address
        );
        let (code, out, err) = self.host.run(&arguments, "");
        assert_eq!(err, "", "{out}");
        (code, out)
    }
}

const NAME: &str = "mta-sts.a.example";
const BEFORE: &str = "a.example: id 20260101: https://mta-sts.a.example/.well-known/mta-sts.txt: ";

#[test]
fn the_policy_is_fetched_and_held_against_the_mail_hosts() {
    let web = Web::new();
    let expected = "ok a.example: id 20260101 mode enforce max_age 86400\n  permitted mail.a.example\n  \
         permitted backup.b.example\n";
    assert_eq!(web.check(NAME, &script(GOOD)), (0, expected.to_owned()));
    // In pieces, octet by octet, without a length, after an interim answer.
    let chunked = "->> HTTP/1.1 103 Early Hints\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\nContent-Type: text/plain; charset=utf-8\\r\\n\
         Transfer-Encoding: chunked\\r\\n\\r\\n10\\r\\nversion: STSv1\\r\\n\\r\\n20\\r\\nmode: enforce\\r\\nmx: *.a.example\\r\\n\\r\\n\
         26\\r\\nmx: backup.b.example\\r\\nmax_age: 86400\\r\\n\\r\\n0\\r\\n\\r\\n\nclose";
    assert_eq!(
        web.check(NAME, &script(&format!("trickle\n{chunked}"))).1,
        expected
    );
    // A certificate for all hosts of the domain does as well (RFC 8461, 3.3).
    assert_eq!(web.check("*.a.example", &script(GOOD)).1, expected);
    let fewer = GOOD
        .replace("mx: backup.b.example\\r\\n", "")
        .replace("Length: 86", "Length: 64");
    let (code, out) = web.check(NAME, &script(&fewer));
    assert_eq!(code, 0);
    assert!(
        out.starts_with("bad a.example: id 20260101 mode enforce max_age 86400\n")
            && out.ends_with("  permitted mail.a.example\n  not permitted backup.b.example\n"),
        "{out}"
    );
    let broken = GOOD.replace("STSv1", "STSv2");
    let (code, out) = web.check(NAME, &script(&broken));
    assert_eq!(
        (code, out.as_str()),
        (0, "bad a.example: id 20260101: no \"version: STSv1\"\n")
    );
}

#[test]
fn what_senders_refuse_is_refused() {
    let web = Web::new();
    let long = format!(
        "->> HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\n{}\nclose",
        "version: STSv1\\n".repeat(5_000)
    );
    for (answer, why) in [
        (
            "->> HTTP/1.1 301 Moved\\r\\nLocation: https://www.a.example/.well-known/mta-sts.txt\\r\\n\\r\\n\nclose",
            "status 301: redirects are not followed\n",
        ),
        (
            "->> HTTP/1.1 308 Moved\\r\\nLocation: /\\r\\n\\r\\n\nclose",
            "status 308: redirects are not followed\n",
        ),
        (
            "->> HTTP/1.1 404 Not Found\\r\\n\\r\\n\nclose",
            "status 404 instead of 200\n",
        ),
        (
            &GOOD.replace("text/plain", "text/html"),
            "Content-Type text/html instead of text/plain\n",
        ),
        (
            &GOOD.replace("Content-Type", "X-Type"),
            "no Content-Type: text/plain\n",
        ),
        (
            &GOOD.replace("Length: 86", "Length: 65537"),
            "the policy is larger than 64 KiB\n",
        ),
        (&long, "the policy is larger than 64 KiB\n"),
        (
            &GOOD.replace("HTTP/1.1", "ICY"),
            "the answer is not HTTP/1\n",
        ),
        (
            &GOOD.replace("\\r\\n\\r\\n", "\\r\\nContent-Encoding: gzip\\r\\n\\r\\n"),
            "the answer is coded in a way that was not asked for\n",
        ),
        (
            &format!(
                "->> HTTP/1.1 200 OK\\r\\nX: {}\\r\\n\\r\\n\nclose",
                "x".repeat(17_000)
            ),
            "the head of the answer is larger than 16 KiB\n",
        ),
    ] {
        let (code, out) = web.check(NAME, &script(answer));
        assert_eq!((code, out), (0, format!("bad {BEFORE}{why}")), "{answer}");
    }
}

#[test]
fn certificates_are_checked() {
    let web = Web::new();
    // Another host's.
    let (code, out) = web.check("www.a.example", "tls-fails");
    assert_eq!(code, 0);
    assert!(
        out.starts_with(&format!(
            "bad {BEFORE}TLS: invalid peer certificate: certificate not valid for name"
        )),
        "{out}"
    );
    // Of an authority that nobody knows.
    let other = Authority::new();
    let peer = Peer::serve_tls(&["tls-fails"], other.server(&[NAME]));
    let (code, out) = web.check_at(&peer.address.to_string(), "--ca ca.pem ");
    // Both authorities of this test have one name, so that the signature is what is wrong.
    let refused = format!("bad {BEFORE}TLS: invalid peer certificate: BadSignature\n");
    assert_eq!((code, out), (0, refused));
    // No TLS there.
    let peer = Peer::serve(&["<any\n-> 220 smtp\nclose"]);
    let (code, out) = web.check_at(&peer.address.to_string(), "--ca ca.pem ");
    assert!(
        code == 0 && out.starts_with(&format!("bad {BEFORE}TLS: ")),
        "{out}"
    );
}

#[test]
fn what_may_pass_is_temporary() {
    let web = Web::new();
    let cut = GOOD.replace("Length: 86", "Length: 87");
    let (code, out) = web.check(NAME, &script(&cut));
    assert_eq!(
        (code, out),
        (
            111,
            format!("temperror {BEFORE}the connection ended before the answer\n")
        )
    );
    // Without a length only the server's close_notify tells that nothing is missing (RFC 9112, 9.8).
    let unsized_answer = GOOD.replace("Content-Length: 86\\r\\n", "");
    let cut = unsized_answer.replace("\nclose", "\ncut");
    assert!(unsized_answer != GOOD && cut != unsized_answer);
    assert_eq!(web.check(NAME, &script(&unsized_answer)).0, 0);
    let (code, out) = web.check(NAME, &script(&cut));
    assert_eq!(
        (code, out),
        (
            111,
            format!("temperror {BEFORE}the connection ended before the answer\n")
        )
    );
    // With one it does not matter.
    let (code, out) = web.check(NAME, &script(&GOOD.replace("\nclose", "\ncut")));
    assert!(code == 0 && out.starts_with("ok "), "{out}");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, out) = web.check_at(&nobody.to_string(), "--ca ca.pem ");
    assert!(
        code == 111 && out.starts_with(&format!("temperror {BEFORE}127.0.0.1:")),
        "{out}"
    );
    // The address comes from the DNS.
    for (rows, code, why) in [
        ("", 0, "bad {BEFORE}mta-sts.a.example has no address\n"),
        (
            "mta-sts.a.example !serv-fail",
            111,
            "temperror {BEFORE}no answer for the addresses of mta-sts.a.example\n",
        ),
    ] {
        web.host.dns.set(Zone::parse(&format!("{ZONE}{rows}")));
        let arguments = format!(
            "mta-sts check a.example --ca ca.pem --dns {}",
            web.host.dns.address
        );
        let found = web.host.run(&arguments, "");
        assert_eq!((found.0, found.1), (code, why.replace("{BEFORE}", BEFORE)));
    }
}

#[test]
fn the_record_and_a_policy_at_hand() {
    let host = Host::new(ZONE);
    let policy = "version: STSv1\nmode: enforce\nmx: *.a.example\nmax_age: 86400\n";
    fs::write(host.path("policy"), policy).unwrap();
    let out = host.asks("mta-sts check A.example --policy policy", "");
    assert_eq!(
        out,
        "bad a.example: id 20260101 mode enforce max_age 86400\n  permitted mail.a.example\n  \
         not permitted backup.b.example\n"
    );
    fs::write(host.path("policy"), "x").unwrap();
    let out = host.asks("mta-sts check a.example --policy policy", "");
    assert_eq!(out, "bad a.example: id 20260101: a line is no field\n");
    assert!(
        host.asks("mta-sts check b.example", "")
            .starts_with("none ")
    );
    assert!(
        host.asks("mta-sts check bad.example", "")
            .starts_with("bad ")
    );
    let arguments = format!("mta-sts check down.example --dns {}", host.dns.address);
    let (code, out, _) = host.run(&arguments, "");
    assert!(code == 0 && out.starts_with("temperror "), "{code} {out}");
    assert_eq!(host.run("mta-sts check a..b", "").0, 100);
    let arguments = format!(
        "mta-sts check a.example --ca nothing --dns {}",
        host.dns.address
    );
    let (code, out, err) = host.run(&arguments, "");
    assert!(
        code == 100 && out.is_empty() && err.contains("nothing"),
        "{err}"
    );
}
