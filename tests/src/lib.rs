//! What the end-to-end tests and `make run` share: the clients' side of a mail system.
//!
//! The tests themselves stand in `tests/`, one file a subject; they start the real programs through
//! `testkit::House`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use testkit::{House, play};

/// A message with a Message-ID that tells it from all others.
pub fn letter(from: &str, to: &str, subject: &str, text: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@letters.example>\r\n\r\n{text}\r\n"
    )
}

/// A message's lines as steps that say them, dots stuffed.
fn said(message: &str) -> String {
    message.lines().fold(String::new(), |mut all, line| {
        let dot = if line.starts_with('.') { "." } else { "" };
        let _ = writeln!(all, "-> {dot}{line}");
        all
    })
}

/// Base 64, as SASL wants it.
pub fn base64(octets: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    octets
        .chunks(3)
        .flat_map(|c| {
            let n = c.iter().fold(0_u32, |n, &b| n << 8 | u32::from(b)) << (8 * (3 - c.len()));
            (0..4).map(move |i| {
                if i <= c.len() {
                    char::from(LETTERS[(n >> (18 - 6 * i)) as usize & 63])
                } else {
                    '='
                }
            })
        })
        .collect()
}

/// Hands a message in over TLS with a login, as a mail program does; gives the queue id.
///
/// # Panics
/// When a step is not answered as it should be, with the dialogue.
pub fn submit(
    house: &House,
    login: &str,
    password: &str,
    from: &str,
    to: &[&str],
    message: &str,
) -> String {
    let plain = base64(format!("\0{login}\0{password}").as_bytes());
    let rcpt: String = to.iter().fold(String::new(), |mut all, r| {
        let _ = writeln!(all, "-> RCPT TO:<{r}>\n<~ 250 2.1.5");
        all
    });
    let script = format!(
        "tls\n<~ 220 \n-> EHLO client.example\n<~ 250-\n-> AUTH PLAIN {plain}\n<~ 235 2.7.0\n\
         -> MAIL FROM:<{from}>\n<~ 250 2.1.0\n{rcpt}-> DATA\n<~ 354\n{}-> .\n<~ 250 2.0.0\n-> QUIT\n<~ 221 2.0.0\n",
        said(message)
    );
    let client = house.authority().client();
    let played = play(
        house.address("submissions"),
        &script,
        Some((client, "localhost")),
    );
    queue_id(&played.heard())
}

/// Hands a message in on port 25's role, as another host does; gives the queue id.
///
/// # Panics
/// When a step is not answered as it should be, with the dialogue.
pub fn transfer(house: &House, from: &str, to: &str, message: &str) -> String {
    let script = format!(
        "<~ 220 \n-> EHLO other.example\n<~ 250-\n-> MAIL FROM:<{from}>\n<~ 250 2.1.0\n-> RCPT TO:<{to}>\n<~ 250 2.1.5\n\
         -> DATA\n<~ 354\n{}-> .\n<~ 250 2.0.0\n-> QUIT\n<~ 221 2.0.0\n",
        said(message)
    );
    queue_id(&play(house.address("mx"), &script, None).heard())
}

/// The id in `250 2.0.0 Ok: queued as ID`.
fn queue_id(heard: &[&str]) -> String {
    heard
        .iter()
        .find_map(|l| l.split_once("queued as "))
        .map(|(_, id)| id.trim().to_owned())
        .unwrap_or_else(|| panic!("no queue id in {heard:?}"))
}

/// What a POP3 client finds: the reply to STAT, and the text of the last message.
///
/// # Panics
/// When a step is not answered as it should be, with the dialogue.
pub fn fetch_last(house: &House, user: &str, password: &str) -> (usize, String) {
    let client = || Some((house.authority().client(), "localhost"));
    let login = format!("tls\n<~ +OK\n-> USER {user}\n<~ +OK\n-> PASS {password}\n<~ +OK\n");
    let played = play(
        house.address("pop3s"),
        &format!("{login}-> STAT\n<~ +OK\n-> QUIT\n<~ +OK\n"),
        client(),
    );
    let count: usize = played
        .heard()
        .iter()
        .rev()
        .find_map(|l| l.strip_prefix("+OK ")?.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no count in {:?}", played.heard()));
    if count == 0 {
        return (0, String::new());
    }
    let script = format!("{login}-> RETR {count}\n<~ +OK\n<data\n-> QUIT\n<~ +OK\n");
    let played = play(house.address("pop3s"), &script, client());
    let text = played
        .messages
        .last()
        .map(|d| String::from_utf8_lossy(d).into_owned())
        .unwrap_or_default();
    (count, text)
}

/// The value of `key=` in a log line.
pub fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let at = line.find(&format!(" {key}="))? + key.len() + 2;
    let rest = &line[at..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(' ').next(),
    }
}

/// A TCP connection from one of the loopback addresses.
///
/// # Panics
/// When it can't be made.
pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    use std::os::fd::AsRawFd;
    let SocketAddr::V4(to) = to else {
        panic!("an IPv4 listener")
    };
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    let [a, b, c, d] = from.octets();
    bind(fd.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    TcpStream::from(fd)
}
