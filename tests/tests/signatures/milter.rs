//! The mail host's side of the milter protocol, version 6, for one message.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::PATIENCE;

/// Header values come with the white space after the colon, and go back so.
const LEADING_SPACE: u32 = 0x0010_0000;

/// Everything that a filter may change.
const ACTIONS: u32 = 0x1ff;

/// What the filter did.
#[derive(Debug, Default)]
pub struct Filtered {
    /// Fields put before the message, the last one on top; lines end in CR LF.
    pub fields: String,
    /// The last word: `a` accept, `c` continue, `r` reject, `t` try later, `y` a reply of its own.
    pub last: char,
}

struct Milter {
    stream: UnixStream,
}

/// Connects; the filter makes its socket some time after it was started.
fn connect(socket: &Path) -> UnixStream {
    let end = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > end => panic!("{}: {error}", socket.display()),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

impl Milter {
    fn send(&mut self, command: u8, data: &[u8]) {
        let length = u32::try_from(data.len() + 1).unwrap().to_be_bytes();
        let packet = [&length[..], &[command], data].concat();
        self.stream.write_all(&packet).unwrap();
    }

    fn receive(&mut self) -> (char, Vec<u8>) {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut packet).unwrap();
        (char::from(packet.remove(0)), packet)
    }

    /// Sends a command that the filter must let pass.
    fn say(&mut self, command: u8, data: &[u8]) {
        self.send(command, data);
        let (answer, data) = self.receive();
        let shown = String::from_utf8_lossy(&data);
        assert!(
            matches!(answer, 'c' | 'a'),
            "{} -> {answer} {shown}",
            char::from(command)
        );
    }
}

/// Gives a message (CR LF) that comes from `ip` to the filter at `socket`.
pub fn filter(socket: &Path, ip: &str, message: &str) -> Filtered {
    let stream = connect(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut milter = Milter { stream };
    let offer = [6, ACTIONS, LEADING_SPACE].map(u32::to_be_bytes).concat();
    milter.send(b'O', &offer);
    let (answer, wanted) = milter.receive();
    assert!(answer == 'O' && wanted.len() >= 12, "{answer} {wanted:?}");
    let wants = u32::from_be_bytes(wanted[8..12].try_into().unwrap());
    assert_eq!(wants, LEADING_SPACE, "all else was not offered");

    milter.say(
        b'C',
        &[
            &b"peer.example\0\x34\x30\x39"[..],
            ip.as_bytes(),
            &b"\0"[..],
        ]
        .concat(),
    );
    milter.say(b'H', b"peer.example\0");
    milter.send(b'D', b"Mi\0ID1\0");
    milter.say(b'M', b"<joe@peer.example>\0");
    milter.say(b'R', b"<ann@oracle.example>\0");
    milter.say(b'T', b"");
    let (header, body) = message.split_once("\r\n\r\n").expect("header and body");
    for field in fields(header) {
        let (name, value) = field.split_once(':').expect("a field");
        // Mail hosts hand folds over with a bare LF.
        let value = value.replace("\r\n", "\n");
        milter.say(b'L', format!("{name}\0{value}\0").as_bytes());
    }
    milter.say(b'N', b"");
    for block in body.as_bytes().chunks(60_000) {
        milter.say(b'B', block);
    }
    milter.send(b'E', b"");
    let mut filtered = Filtered::default();
    loop {
        let (answer, data) = milter.receive();
        match answer {
            // h: at the end, i: at a place. All that is added here stands above the message.
            'h' | 'i' => {
                let text = data.get(if answer == 'i' { 4 } else { 0 }..).unwrap();
                let text = String::from_utf8(text.to_vec()).unwrap();
                let mut words = text.split('\0');
                let (name, value) = (words.next().unwrap(), words.next().unwrap());
                let value = value.replace("\r\n", "\n").replace('\n', "\r\n");
                filtered.fields = format!("{name}:{value}\r\n{}", filtered.fields);
            }
            'm' => {}
            last => {
                filtered.last = last;
                return filtered;
            }
        }
    }
}

/// The fields of a header, folds kept.
pub fn fields(header: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = header;
    while !rest.is_empty() {
        let mut end = 0;
        loop {
            end += rest[end..].find("\r\n").map_or(rest[end..].len(), |at| at);
            let next = rest.as_bytes().get(end + 2);
            match next {
                Some(b' ' | b'\t') => end += 2,
                _ => break,
            }
        }
        found.push(&rest[..end]);
        rest = rest.get(end + 2..).unwrap_or_default();
    }
    found
}
