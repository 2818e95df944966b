//! The load side of `make bench`: `bench-load send` and `bench-load sink`.
//!
//! `send ADDRESS COUNT CONNECTIONS SIZE RCPT` hands in COUNT messages of SIZE octets over
//! CONNECTIONS connections at a time, one message a connection; `%d` in RCPT is the message's
//! number modulo 100. Prints one JSON object: seconds to the last 250, and what was refused.
//!
//! `sink ADDRESS COUNT` takes all mail and ends after COUNT messages, printing the seconds from
//! the first connection to the last message.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// No wait for the other side lasts longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |s: &str| s.parse::<usize>().expect("a number");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["send", address, count, connections, size, rcpt] => {
            send(
                address,
                number(count),
                number(connections),
                number(size),
                rcpt,
            );
        }
        ["sink", address, count] => sink(address, number(count)),
        _ => {
            eprintln!(
                "usage: bench-load send ADDRESS COUNT CONNECTIONS SIZE RCPT | sink ADDRESS COUNT"
            );
            std::process::exit(100);
        }
    }
}

fn send(address: &str, count: usize, connections: usize, size: usize, rcpt: &str) {
    let body = message(size);
    let (next, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return;
                    }
                    if let Err(error) =
                        one(address, &rcpt.replace("%d", &(n % 100).to_string()), &body)
                    {
                        eprintln!("message {n}: {error}");
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{{\"accept_s\": {seconds:.4}, \"refused\": {}}}",
        refused.into_inner()
    );
}

/// A message of about this many octets.
fn message(size: usize) -> Vec<u8> {
    let mut text =
        b"From: <load@bench.test>\r\nTo: <alice@mx.bench.test>\r\nSubject: bench\r\n\r\n".to_vec();
    while text.len() < size {
        text.extend_from_slice(
            b"The quick brown fox jumps over the lazy dog, and again, and again.\r\n",
        );
    }
    text.extend_from_slice(b".\r\n");
    text
}

fn one(address: &str, rcpt: &str, body: &[u8]) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::with_capacity(1024, socket.try_clone()?);
    let mut line = String::new();
    let mut expect = |code: &str| -> std::io::Result<()> {
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if !line.starts_with(code) {
                return Err(std::io::Error::other(line.trim().to_owned()));
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    };
    expect("220")?;
    socket.write_all(b"EHLO load.bench.test\r\n")?;
    expect("250")?;
    socket.write_all(b"MAIL FROM:<load@bench.test>\r\n")?;
    expect("250")?;
    socket.write_all(format!("RCPT TO:<{rcpt}>\r\n").as_bytes())?;
    expect("250")?;
    socket.write_all(b"DATA\r\n")?;
    expect("354")?;
    socket.write_all(body)?;
    expect("250")?;
    socket.write_all(b"QUIT\r\n")?;
    expect("221")
}

fn sink(address: &str, count: usize) {
    let listener = TcpListener::bind(address).expect("bind");
    println!("ready");
    let (done, all) = mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let done = done.clone();
            std::thread::spawn(move || {
                // A client that goes away mid-way has sent nothing that counts.
                let _ = take(socket, &done);
            });
        }
    });
    let mut first = None;
    for n in 0..count {
        match all.recv_timeout(PATIENCE) {
            Ok(at) => first = first.or(Some(at)),
            Err(_) => {
                println!("{{\"sink_s\": null, \"messages\": {n}}}");
                return;
            }
        }
    }
    let seconds = first.map_or(0.0, |f: Instant| f.elapsed().as_secs_f64());
    println!("{{\"sink_s\": {seconds:.4}, \"messages\": {count}}}");
}

fn take(mut socket: TcpStream, done: &mpsc::Sender<Instant>) -> std::io::Result<()> {
    let begin = Instant::now();
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::with_capacity(16 * 1024, socket.try_clone()?);
    let mut line = Vec::new();
    socket.write_all(b"220 sink ESMTP\r\n")?;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_slice() {
            b"EHLO" => socket.write_all(b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")?,
            b"DATA" => {
                socket.write_all(b"354 go on\r\n")?;
                loop {
                    line.clear();
                    if reader.read_until(b'\n', &mut line)? == 0 {
                        return Ok(());
                    }
                    if line == b".\r\n" {
                        break;
                    }
                }
                socket.write_all(b"250 2.0.0 taken\r\n")?;
                if done.send(begin).is_err() {
                    return Ok(());
                }
            }
            b"QUIT" => {
                socket.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => socket.write_all(b"250 2.0.0 Ok\r\n")?,
        }
    }
}
