//! Programs started with given descriptors. A binary of its own: forked children hold copies of
//! every descriptor for a moment, which tests about closed peers would see.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use daemon::process::{End, Spawn, reap};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;

/// Waits for one child; the tests here run one after another because they share the children.
fn wait(pid: u32) -> End {
    loop {
        match reap() {
            Some((ended, end)) if ended == pid => return end,
            Some(other) => panic!("unknown child {other:?}"),
            None => std::thread::yield_now(),
        }
    }
}

fn a_child_finds_its_descriptors_in_order_and_nothing_else() {
    let out = tempfile::tempfile().unwrap();
    // High and low numbers, the same descriptor twice.
    let a = File::open("/dev/zero").unwrap();
    let pid = Spawn::new("/bin/sh")
        .arg("-c")
        .arg("echo $LISTEN_FDS $LISTEN_FDNAMES $X >&4; ls /proc/self/fd >&4; readlink /proc/self/fd/3 /proc/self/fd/0 >&4; pwd >&4")
        .env("X", "y")
        .env("PATH", "/usr/bin:/bin")
        .give("zero", a.as_fd())
        .give("out", out.as_fd())
        .give("out", out.as_fd())
        .start()
        .unwrap();
    assert_eq!(wait(pid), End::Code(0));
    let mut text = String::new();
    let mut out = out;
    out.rewind().unwrap();
    out.read_to_string(&mut text).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "3 zero:out:out y");
    // `ls` itself opens one more to read the directory; 10 is where the shell keeps its own.
    let (numbers, rest): (Vec<&str>, Vec<&str>) = lines[1..]
        .iter()
        .filter(|l| **l != "10")
        .partition(|l| l.parse::<u32>().is_ok());
    assert_eq!(numbers, ["0", "1", "2", "3", "4", "5", "6"], "{text}");
    assert_eq!(rest, ["/dev/zero", "/dev/null", "/"]);
}

fn a_program_that_is_not_there_is_a_child_that_failed() {
    let pid = Spawn::new("/nonexistent/x").start().unwrap();
    assert_eq!(wait(pid), End::Code(111));
}

#[test]
fn starting() {
    a_child_finds_its_descriptors_in_order_and_nothing_else();
    a_program_that_is_not_there_is_a_child_that_failed();
}
