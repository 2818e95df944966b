//! `make crash`: kill -9 after every system call of one message's way through smtpd,
//! queue-manager, local-deliver's parent and its worker, one after another.
//!
//! For each program and each N: a house is started, one message is handed in while the program
//! is traced, and the program is killed when its Nth system call returns. The house is
//! stopped, started again, and left until its queue is empty. Then: a message whose 250 was seen
//! is in the mailbox; no message is there twice. N grows until the message goes through before
//! its Nth call. Exits with 1 when anything was lost or doubled.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use testkit::{House, PATIENCE, Plan};

const HERE: &str = "crash.example";
const BOB: &str = "bob@crash.example";

/// No program needs more calls for one message; a program that does is a bug of its own.
const CALLS_MAX: usize = 500;

fn main() -> ExitCode {
    let mut wrong = 0;
    let mut house = House::start(
        Plan::new(HERE)
            .user("bob", "banana")
            .config("[queue]\nretry = [\"1s\"]\n"),
    );
    // The first message makes the Maildir: every later one goes the ordinary way.
    send(&house, "warm").expect("the first message");
    emptied(&house);
    for program in ["smtpd", "queue-manager", "local-deliver", "worker"] {
        let mut tried = 0;
        let mut acknowledged = 0;
        for n in 1..=CALLS_MAX {
            let subject = format!("{program}-{n}");
            let round = round(&mut house, program, n, &subject);
            let copies = house
                .mail("bob")
                .iter()
                .filter(|m| m.contains(&format!("Subject: {subject}\n")))
                .count();
            acknowledged += usize::from(round.acknowledged);
            let fault = match (round.acknowledged, copies) {
                (true, 0) => Some("LOST"),
                (_, 0 | 1) => None,
                _ => Some("DOUBLED"),
            };
            if let Some(fault) = fault {
                wrong += 1;
                println!("{program}, killed after call {n}: {fault} ({copies} copies)");
            }
            if !round.killed {
                break;
            }
            tried += 1;
        }
        println!(
            "{program}: killed after each of {tried} system calls, {acknowledged} messages acknowledged"
        );
    }
    println!("acknowledged and missing, or doubled: {wrong}");
    if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Round {
    acknowledged: bool,
    /// Whether the program got as far as its Nth call.
    killed: bool,
}

/// One message with the program killed after its `n`th call, then everything started again.
fn round(house: &mut House, program: &str, n: usize, subject: &str) -> Round {
    if matches!(program, "worker" | "local-deliver") {
        // What the round before left behind was delivered by workers that still stand: begin anew.
        house.stop();
        house.start_again();
    }
    let victim = if program == "worker" {
        // A worker stays for a while after a message: this one makes it, the next one finds it.
        let mark = house.mark();
        let id = send(house, &format!("before-{subject}")).expect("the message before");
        house.wait(mark, &["queue-manager", " removed ", &id]);
        worker(house.pid("local-deliver"))
    } else {
        house.pid(program)
    };
    let (armed, is_armed) = mpsc::channel();
    // A thread of its own: its tracees are waited for apart from this process's children.
    let tracer = std::thread::spawn(move || trace(victim, n, &armed));
    is_armed.recv_timeout(PATIENCE).expect("the tracer");
    let mark = house.mark();
    let acknowledged = send(house, subject);
    if let (Some(id), true) = (&acknowledged, program != "smtpd") {
        let removed = format!(" removed id={id}");
        // Either it was killed on the way, or the message arrives.
        let deadline = Instant::now() + PATIENCE;
        while !tracer.is_finished() && !house.log_since(mark).contains(&removed) {
            assert!(Instant::now() < deadline, "{}", house.log_since(mark));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // What is left of it goes now, so that the tracer ends.
    let _ = kill(pid(victim), Signal::SIGKILL);
    let killed = tracer.join().expect("the tracer");
    house.crash();
    house.start_again();
    emptied(house);
    Round {
        acknowledged: acknowledged.is_some(),
        killed,
    }
}

/// The worker of the only user.
fn worker(parent: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .expect("its children");
    children
        .split_whitespace()
        .next()
        .expect("a worker")
        .parse()
        .expect("a number")
}

/// Waits until nothing is in the queue.
fn emptied(house: &House) {
    let deadline = Instant::now() + PATIENCE;
    while !house.queued().is_empty() {
        assert!(
            Instant::now() < deadline,
            "the queue is not emptied: {:?}\n{}",
            house.queued(),
            house.log()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Hands one message in; its queue id when its 250 came.
fn send(house: &House, subject: &str) -> Option<String> {
    let mut socket = TcpStream::connect(house.address("mx")).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    let lines = [
        (String::new(), "220"),
        ("EHLO c.example\r\n".into(), "250"),
        ("MAIL FROM:<c@c.example>\r\n".into(), "250"),
        (format!("RCPT TO:<{BOB}>\r\n"), "250"),
        ("DATA\r\n".into(), "354"),
        (format!("Subject: {subject}\r\n\r\ntext\r\n.\r\n"), "250"),
    ];
    let mut last = String::new();
    for (line, code) in lines {
        socket.write_all(line.as_bytes()).ok()?;
        let mut reply = String::new();
        let mut block = [0; 512];
        while !reply.ends_with('\n')
            || reply
                .lines()
                .last()
                .is_some_and(|l| l.as_bytes().get(3) == Some(&b'-'))
        {
            let n = socket.read(&mut block).ok().filter(|&n| n > 0)?;
            reply.push_str(&String::from_utf8_lossy(&block[..n]));
        }
        if !reply.starts_with(code) {
            return None;
        }
        last = reply;
    }
    last.trim().rsplit(' ').next().map(str::to_owned)
}

/// Follows every thread of a process; kills it when its `n`th system call returns. Says whether it came to that.
fn trace(victim: u32, n: usize, armed: &mpsc::Sender<()>) -> bool {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE;
    let mut stopping = HashSet::new();
    for task in std::fs::read_dir(format!("/proc/{victim}/task"))
        .expect("its threads")
        .flatten()
    {
        let tid: i32 = task
            .file_name()
            .to_string_lossy()
            .parse()
            .expect("a number");
        let tid = Pid::from_raw(tid);
        if ptrace::seize(tid, options).is_ok() && ptrace::interrupt(tid).is_ok() {
            stopping.insert(tid);
        }
    }
    let mut inside: HashSet<Pid> = HashSet::new();
    let mut calls = 0;
    let mut killed = false;
    loop {
        // Only what this thread traces.
        let status = match waitpid(
            None::<Pid>,
            Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD),
        ) {
            Ok(status) => status,
            Err(Errno::EINTR) => continue,
            Err(_) => return killed,
        };
        let (tid, signal) = match status {
            WaitStatus::PtraceSyscall(tid) => {
                if inside.remove(&tid) {
                    calls += 1;
                    if calls == n && !killed {
                        killed = true;
                        let _ = kill(pid(victim), Signal::SIGKILL);
                    }
                } else {
                    inside.insert(tid);
                }
                (tid, None)
            }
            WaitStatus::PtraceEvent(tid, ..) => (tid, None),
            WaitStatus::Stopped(tid, signal) => (
                tid,
                Some(signal).filter(|s| !matches!(s, Signal::SIGSTOP | Signal::SIGTRAP)),
            ),
            _ => continue,
        };
        // It may have been killed meanwhile.
        let _ = ptrace::syscall(tid, signal);
        if stopping.remove(&tid) && stopping.is_empty() {
            let _ = armed.send(());
        }
    }
}

fn pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a process id"))
}
