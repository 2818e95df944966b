//! `hikyaku message show` on files and standard input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

fn show(arguments: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hikyaku"))
        .args(["message", "show"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_good_message_from_standard_input() {
    let mail = "Date: Sun, 22 Nov 2026 16:12:30 +0900\n\
        From: =?iso-2022-jp?B?GyRCSHQ=?= =?iso-2022-jp?B?NVMbKEI=?= <a@xn--r8jz45g.jp>\n\
        To: Friends: b@c.example, \"D, E\" <d@e.example>;\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\n\
        Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n\n--b\n\
        Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\
        Content-Disposition: attachment; filename*=utf-8''%E9%A3%9B.pdf\n\nYWJj\n--b--\n";
    let (code, out, err) = show(&[], mail.as_bytes());
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<&str> = out.lines().collect();
    // Shown as it goes over the wire, with CR LF.
    let size = mail.len() + mail.matches('\n').count();
    assert_eq!(
        lines[0],
        format!("ok size={size} fields=5 parts=3 defects=0")
    );
    assert!(out.contains("\nFrom: 飛脚 <a@例え.jp>\n"), "{out}");
    assert!(
        out.contains("\nTo: Friends: b@c.example, D, E <d@e.example>;\n"),
        "{out}"
    );
    assert!(out.contains("\nSubject: Grüße\n"), "{out}");
    assert!(out.contains("\npart 0 multipart/mixed header="), "{out}");
    assert!(
        out.contains("\n  part 1 text/plain encoding=7bit lines=1 decoded=7 header="),
        "{out}"
    );
    assert!(
        out.contains(
            "\n  part 2 application/pdf encoding=base64 lines=0 decoded=3 name=\"飛.pdf\" header="
        ),
        "{out}"
    );
}

#[test]
fn a_bad_message_from_a_file_can_not_touch_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mail");
    fs::write(&file, b"From: a@b\r\nSubject: =?utf-8?Q?=1B[2J=E2=80=AE?=\r\nDate: 31 Feb 2026 00:00 +0000\r\n\r\nx\r\n").unwrap();
    let (code, out, err) = show(&[file.to_str().unwrap()], b"");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("defects size="), "{out}");
    assert!(
        out.contains("\n  field Date: the month has no such day\n"),
        "{out}"
    );
    assert!(out.contains("\nSubject: \\u{1b}[2J\\u{202e}\n"), "{out}");
    assert!(!out.contains('\x1b'));
}

#[test]
fn no_such_file() {
    let (code, out, err) = show(&["/nonexistent/mail"], b"");
    assert_eq!((code, out.as_str()), (100, ""));
    assert!(err.contains("/nonexistent/mail"), "{err}");
}
