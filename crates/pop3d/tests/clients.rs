//! Programs that people use: curl and Python's poplib, in clear, by STLS and on pop3s.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::process::Command;

use common::{House, Setup};

/// Runs a program; its output, or `None` where it isn't installed.
fn run(program: &str, arguments: &[String]) -> Option<(bool, String)> {
    match Command::new(program).args(arguments).output() {
        Ok(done) => {
            let text = String::from_utf8_lossy(&done.stdout).into_owned()
                + &String::from_utf8_lossy(&done.stderr);
            Some((done.status.success(), text))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("{program} is not installed: skipped");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn filled() -> House {
    let house = House::start(Setup::default());
    house.put("1.a", b"Subject: one\n\nfirst\n.dot\n\xe4\n");
    house.put("2.b", "Subject: two\n\nlong\n".repeat(20_000).as_bytes());
    house.put("3.c", b"no end");
    house
}

/// curl's arguments for a way to the server: clear, STLS, TLS.
fn curl(house: &House, way: &str, path: &str, more: &[&str]) -> Option<(bool, String)> {
    let (scheme, port) = match way {
        "tls" => ("pop3s", house.pop3s.port()),
        _ => ("pop3", house.pop3.port()),
    };
    let mut arguments: Vec<String> = [
        "-sS",
        "-4",
        "--max-time",
        "30",
        "-u",
        "al:right",
        "--cacert",
    ]
    .iter()
    .map(|text| (*text).to_owned())
    .collect();
    arguments.push(house.dir.path().join("ca.pem").display().to_string());
    if way == "stls" {
        arguments.push("--ssl-reqd".into());
    }
    arguments.extend(more.iter().map(|text| (*text).to_owned()));
    arguments.push(format!("{scheme}://localhost:{port}/{path}"));
    run("curl", &arguments)
}

#[test]
fn curl_reads_and_deletes() {
    for way in ["clear", "stls", "tls"] {
        let house = filled();
        let Some((done, list)) = curl(&house, way, "", &[]) else {
            return;
        };
        assert!(done, "{way}: {list}\n{}", house.log());
        assert_eq!(list, "1 32\r\n2 440000\r\n3 8\r\n", "{way}");
        let (_, one) = curl(&house, way, "1", &[]).unwrap();
        assert!(
            one.starts_with("Subject: one\r\n\r\nfirst\r\n.dot\r\n"),
            "{way}: {one}"
        );
        let (_, two) = curl(&house, way, "2", &[]).unwrap();
        assert!(
            two == "Subject: two\r\n\r\nlong\r\n".repeat(20_000),
            "{way}: {} octets",
            two.len()
        );
        let (_, three) = curl(&house, way, "3", &[]).unwrap();
        assert_eq!(three, "no end\r\n", "{way}");
        let (_, uids) = curl(&house, way, "", &["-X", "UIDL"]).unwrap();
        assert_eq!(uids, "1 1.a\r\n2 2.b\r\n3 3.c\r\n", "{way}");
        let (done, text) = curl(&house, way, "2", &["-I", "-X", "DELE"]).unwrap();
        assert!(done, "{way}: {text}");
        assert_eq!(house.names(), ["1.a", "3.c"], "{way}");
        let (done, text) = curl(&house, way, "", &["-u", "al:wrong"]).unwrap();
        assert!(!done, "{way}: {text}");
    }
}

#[test]
fn pythons_poplib() {
    let house = filled();
    let script = r#"
import poplib, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[3])
poplib._MAXLINE = 100000
def check(p, first):
    assert p.getwelcome().startswith(b"+OK")
    assert "UIDL" in p.capa() and "TOP" in p.capa(), p.capa()
    p.user("al")
    p.pass_("right")
    count, size = p.stat()
    response, listing, _ = p.list()
    assert len(listing) == count and sum(int(l.split()[1]) for l in listing) == size
    uids = [l.split()[1] for l in p.uidl()[1]]
    assert len(set(uids)) == count
    for number in range(1, count + 1):
        lines = p.retr(number)[1]
        announced = int(p.list(number).split()[2])
        assert sum(len(l) + 2 for l in lines) == announced, (number, announced)
    assert p.top(1, 1)[1] == first, p.top(1, 1)
    assert p.noop().startswith(b"+OK")
    p.dele(count)
    p.rset()
    p.dele(count)
    try:
        p.retr(count)
        raise SystemExit("deleted message was sent")
    except poplib.error_proto:
        pass
    p.quit()
    return count
p = poplib.POP3("localhost", int(sys.argv[1]))
p.stls(context)
assert "STLS" not in p.capa()
first = [b"Subject: one", b"", b"first"]
assert check(p, first) == 3
assert check(poplib.POP3_SSL("localhost", int(sys.argv[2]), context=context), first) == 2
assert check(poplib.POP3("127.0.0.1", int(sys.argv[1])), first) == 1
p = poplib.POP3_SSL("localhost", int(sys.argv[2]), context=context)
p.user("al")
try:
    p.pass_("wrong")
    raise SystemExit("wrong password was taken")
except poplib.error_proto as error:
    assert b"[AUTH]" in error.args[0]
print("good")
"#;
    let ca = house.dir.path().join("ca.pem").display().to_string();
    let arguments = [
        "-c".into(),
        script.into(),
        house.pop3.port().to_string(),
        house.pop3s.port().to_string(),
        ca,
    ];
    if let Some((done, text)) = run("python3", &arguments) {
        assert!(done && text.trim() == "good", "{text}\n{}", house.log());
        assert!(house.names().is_empty());
    }
}
