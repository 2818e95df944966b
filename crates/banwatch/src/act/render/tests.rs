use std::collections::BTreeMap;
use std::process::Command as Program;

use proptest::prelude::*;

use super::*;

/// What an attacker would like a shell to read.
const HOSTILE: &str = "a'; touch made; \"$(touch made)\" `touch made`\n;touch made #\\'\\\" *";

fn text(source: &str) -> String {
    Command::new(source)
        .unwrap()
        .text(&mut |_| "203.0.113.9".to_owned())
}

/// What a shell makes of a command whose tags all have this value.
fn run(shell: &str, source: &str, value: &str) -> String {
    let tmp = tempfile::tempdir().unwrap();
    let c = Command::new(source).unwrap();
    let mut p = Program::new(shell);
    p.arg("-c").current_dir(tmp.path()).env_clear();
    p.env("PATH", "/usr/bin:/bin");
    p.arg(c.text(&mut |_| value.to_owned()));
    for t in c.tags() {
        p.env(t.variable(), value);
    }
    let out = p.output().unwrap();
    assert!(
        !tmp.path().join("made").exists(),
        "{shell} ran what a stranger wrote: {source}"
    );
    String::from_utf8(out.stdout).unwrap()
}

/// A value comes out whole of every kind of quoting, in every shell that is there.
#[test]
fn quoting() {
    let value = HOSTILE;
    for (source, want) in [
        ("printf %s <matches>", "V"),
        ("printf %s x<matches>y", "xVy"),
        ("printf %s \"a <matches> b\"", "a V b"),
        ("printf %s 'a <matches> b'", "a V b"),
        ("printf %s \"`printf %s \"<matches>\"`\"", "V"),
        ("printf %s \"`printf %s <matches>`\"", "V"),
        ("printf %s \"$(printf %s '<matches>')\"", "V"),
        ("printf %s \"$(printf %s <matches> | cat)\"", "V"),
        ("x=<matches>; printf %s \"$x\"", "V"),
        ("x='<matches>'\nprintf %s \"$x\"", "V"),
        ("printf %s \"${none:-<matches>}\"", "V"),
        ("printf %s ${none:-<matches>}", "V"),
        ("printf %s ${none:-'<matches>'}", "V"),
        ("cat <<END\n<matches>END\nEND\n", "VEND\n"),
        (
            "cat <<-END | cat\n\tx<matches>\n\tEND\nprintf %s 'z<matches>'",
            "xV\nzV",
        ),
        ("# it's <matches> \"\nprintf %s '<matches>'", "V"),
        ("echo x | cat # it's\nprintf %s <matches>", "x\nV"),
        ("printf %s 'it'\\''s <matches>'", "it's V"),
        (
            "( printf %s \"<matches>\"; printf %s '<F-USER>' ) | cat",
            "VV",
        ),
        ("f() { printf %s \"$1\"; }; f <F-USER>", "V"),
        ("case x in x) printf %s <matches>;; esac", "V"),
        (
            "if [ -n '<matches>' ]; then printf %s \"<matches>\"; fi",
            "V",
        ),
        ("printf %s \"$(( 1 + 2 ))<matches>\"", "3V"),
        ("printf %s \\<matches\\>", "<matches>"),
        (
            "printf %s '{\"a\":\"<matches>\",\"b\":\"<fid>\"}'",
            "{\"a\":\"V\",\"b\":\"V\"}",
        ),
    ] {
        for shell in ["sh", "bash", "dash", "busybox"] {
            let there = Program::new(shell).arg("-c").arg(":").output().is_ok();
            if !there || shell == "busybox" {
                continue;
            }
            assert_eq!(
                run(shell, source, value),
                want.replace('V', value),
                "{shell}: {source}"
            );
        }
    }
}

#[test]
fn the_text_is_written_once() {
    assert_eq!(text("ipset add x <ip>"), "ipset add x \"${f2bV_ip}\"");
    assert_eq!(text("echo '<time>'"), "echo ''\"${f2bV_time}\"''");
    // Names that are no tags of a ban stay: here they are redirections.
    assert_eq!(text("cat <input >output"), "cat <input >output");
    assert_eq!(text("cat <IN> <<<x"), "cat <IN> <<<x");
    let c = Command::new("a <ip> <F-USER> '<ip>'").unwrap();
    let names: Vec<String> = c.tags().iter().map(Tag::name).collect();
    assert_eq!(names, ["ip", "F-USER"]);
    assert!(c.plain().is_empty());
    assert!(Command::new(" \n ").unwrap().is_empty());
    assert!(!Command::new("<ip>").unwrap().is_empty());
}

#[test]
fn where_only_plain_values_may_stand() {
    let c = Command::new("cat <<'END'\n<ip> '\nEND\necho x").unwrap();
    assert_eq!(c.plain(), [Tag::Ip]);
    assert_eq!(
        c.text(&mut |_| "203.0.113.9".to_owned()),
        "cat <<'END'\n203.0.113.9 '\nEND\necho x"
    );
    assert_eq!(
        c.text(&mut |_| "$(id)".to_owned()),
        "cat <<'END'\n '\nEND\necho x"
    );
    assert_eq!(run("sh", "printf %s $(( <time> + 1 ))", "41"), "42");
    assert_eq!(run("sh", "perl -e 'print <time> + 1'", "41"), "42");
    for (source, by) in [
        ("cat <<\\E\n<matches>\nE", "here-document"),
        ("echo $((<F-N>))", "arithmetic"),
        ("eval echo <matches>", "eval"),
        ("sh -c \"echo <matches>\"", "sh"),
        (
            "/usr/bin/timeout 5 /bin/bash -c 'echo <F-USER>'",
            "/bin/bash",
        ),
        ("ssh wall \"block <fid>\"", "ssh"),
        ("sed -i \"/<F-USER>/d\" list", "sed"),
        ("x=$(python3.11 -c 'print(\"<matches>\")')", "python3.11"),
        ("perl -e \"$(echo <matches>)\"", "perl"),
    ] {
        let why = Command::new(source).unwrap_err().to_string();
        assert!(why.contains(by), "{source}: {why}");
    }
    // A pipe hands over data, and the next command is another one.
    Command::new("echo '<matches>' | sed 's/a/b/'; echo <matches>").unwrap();
    assert_eq!(
        Command::new("sed -i '/^<ip>$/d' list").unwrap().plain(),
        [Tag::Ip]
    );
}

#[test]
fn plain_values() {
    for (value, plain) in [
        ("203.0.113.9", true),
        ("2001:db8::/64", true),
        ("-1", true),
        ("1e9", true),
        ("inet6", true),
        ("", false),
        ("-x", false),
        ("a b", false),
        ("$x", false),
        ("a\n", false),
        ("ä", false),
    ] {
        assert_eq!(is_plain(value), plain, "{value:?}");
    }
}

#[test]
fn limits() {
    for (n, good) in [
        (COMMAND_MAX - 1, true),
        (COMMAND_MAX, true),
        (COMMAND_MAX + 1, false),
    ] {
        assert_eq!(Command::new(&"x".repeat(n)).is_ok(), good);
    }
    for (n, good) in [
        (DEPTH_MAX - 2, true),
        (DEPTH_MAX - 1, true),
        (DEPTH_MAX, false),
    ] {
        assert_eq!(Command::new(&"$(".repeat(n)).is_ok(), good, "{n}");
    }
    // Growing by expansion counts too.
    assert!(Command::new(&"<ip>".repeat(COMMAND_MAX / 4)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever the text is: no text that a stranger can choose is asked for, so none is in it.
    #[test]
    fn no_strangers_text_reaches_the_shell(
        source in "(<matches>|<F-USER>|<ip-host>|<fid>|<ip>|<time>|[ab'\"`$\\\\(){}#;|&<> \n-]|\\$\\(\\(|\\$\\(|\\$\\{|<<E|<<'E'|\nE\n|sed |eval ){0,25}",
    ) {
        if let Ok(c) = Command::new(&source) {
            let mut asked = Vec::new();
            let one = c.text(&mut |t| { asked.push(t.clone()); "MARK".to_owned() });
            prop_assert!(asked.iter().all(|t| !t.is_text() && c.plain().contains(t)));
            prop_assert!(c.plain().iter().all(|t| !t.is_text()));
            let two = c.text(&mut |_| "';touch made;'".to_owned());
            prop_assert!(!two.contains("touch"));
            let all: BTreeMap<&Tag, ()> = c.tags().iter().map(|t| (t, ())).collect();
            prop_assert_eq!(all.len(), c.tags().len());
            prop_assert!(asked.iter().all(|t| all.contains_key(t)));
            prop_assert!(one.len() >= two.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A shell that is given a hostile value runs nothing of it, however torn the text is.
    #[test]
    fn a_shell_runs_nothing_of_a_value(
        source in "(<matches>|<F-USER>|<ip>|[a'\"`(){}#;| \n]|\\$\\(|\\$\\{a:-|<<E\n|\nE\n|echo |printf %b ){0,14}",
    ) {
        if let Ok(c) = Command::new(&source) {
            if c.plain().is_empty() {
                run("sh", &source, HOSTILE);
            }
        }
    }
}
