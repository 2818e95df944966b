//! banwatch-regex as people and programs call it.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

const COMMON: &str = "[DEFAULT]\nlogtype = file\n__prefix = <lt_<logtype>/__prefix>\n[lt_file]\n__prefix = \\s*\\S+ demo\\[\\d+\\]:\\s+\n[lt_journal]\n__prefix = demo:\\s+\n";
const FILTER: &str = "[INCLUDES]\nbefore = common.conf\n[Definition]\nprefregex = ^<F-MLFID>%(__prefix)s</F-MLFID><F-CONTENT>.+</F-CONTENT>$\nfailregex = ^bad user <F-USER>.*?</F-USER> from <HOST>$\n            ^<F-NOFAIL>hello from</F-NOFAIL> <HOST>$\n            ^too many$\n            <more-<mode>>\nmore-none =\nmore-all = ^odd from <HOST>$\nmode = none\nignoreregex = from 192\\.0\\.2\\.99$\n";
const LOG: &str = "Aug 14 11:59:58 mx demo[1]: bad user a b from 192.0.2.1\n2005-08-14 11:59:58 mx demo[2]: hello from 2001:db8::2\nAug 14 11:59:59 mx demo[3]: good\nAug 14 11:59:59 mx demo[2]: too many\r\nAug 14 11:59:59 mx demo[4]: odd from mail.example.com\nAug 14 11:59:59 mx demo[5]: bad user c from 192.0.2.99";

fn files(dir: &Path) {
    let filters = dir.join("filter.d");
    std::fs::create_dir(&filters).unwrap();
    std::fs::write(filters.join("common.conf"), COMMON).unwrap();
    std::fs::write(filters.join("demo.conf"), FILTER).unwrap();
    std::fs::write(dir.join("log"), LOG).unwrap();
}

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_banwatch-regex"))
        .args(args)
        .current_dir(dir)
        .env("TZ", "CET-1CEST,M3.5.0,M10.5.0")
        .output()
        .unwrap()
}

fn objects(out: &Output) -> Vec<serde_json::Value> {
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[test]
fn one_object_a_match() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    let base = [
        "--json",
        "--filter",
        "filter.d/demo.conf",
        "--now",
        "1124013600",
    ];
    let got = objects(&run(dir.path(), &[&base[..], &["log"]].concat()));
    assert_eq!(got.len(), 2);
    assert_eq!(got[0]["line"], 1);
    assert_eq!(got[0]["host"], "192.0.2.1");
    assert_eq!(got[0]["time"], 1_124_013_598.0);
    assert_eq!(got[0]["user"], "a b");
    assert_eq!(got[1]["line"], 4);
    assert_eq!(got[1]["host"], "2001:db8::2");
    assert_eq!(got[1]["attempts"], 2);

    let more = [&base[..], &["--opt", "mode=all", "log"]].concat();
    let got = objects(&run(dir.path(), &more));
    assert_eq!(got.len(), 3);
    assert_eq!(got[2]["host"], "mail.example.com");

    std::fs::write(
        dir.path().join("journal"),
        "demo: bad user x from 192.0.2.7\n",
    )
    .unwrap();
    let journal = [&base[..], &["--opt", "logtype=journal", "journal"]].concat();
    let got = objects(&run(dir.path(), &journal));
    assert_eq!(got[0]["time"], 1_124_013_600.0);
}

#[test]
fn for_people() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    let out = run(
        dir.path(),
        &["-c", ".", "--now=1124013600", "log", "demo[mode=all]"],
    );
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success());
    assert!(
        text.contains("Lines: 6 lines, 3 matched, 3 missed"),
        "{text}"
    );
    assert!(text.contains("demo[3]: good"), "{text}");
    let line = "Aug 14 11:59:59 x from 192.0.2.7";
    assert_eq!(
        run(dir.path(), &[line, "x from <HOST>$"]).status.code(),
        Some(0)
    );
    assert_eq!(
        run(dir.path(), &[line, "y from <HOST>$"]).status.code(),
        Some(1)
    );
    assert_eq!(
        run(dir.path(), &[line, "x from <HOST>$", "192"])
            .status
            .code(),
        Some(1)
    );
}

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path());
    for (args, said) in [
        (&["log", "x (from <HOST>"][..], "x (from <HOST>"),
        (&["log", "nobody"], "nobody"),
        (&["none", "<HOST>"], "none"),
        (
            &["--json", "--filter", "filter.d/absent.conf", "log"],
            "absent",
        ),
        (&["--what", "log", "x"], "--what"),
        (&["-d", "%Q", "log", "<HOST>"], "%Q"),
        (&[], "usage"),
    ] {
        let out = run(dir.path(), args);
        assert_eq!(out.status.code(), Some(100), "{args:?}");
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(text.contains(said), "{args:?}: {text}");
    }
}
