//! An SMTP server that takes all mail.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::ServerConfig;

use crate::Stream;
use crate::peer::{end_of_data, undot};
use crate::server::Server;

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The MAIL line's argument, from the `<` on, parameters included.
    pub from: String,
    /// The RCPT lines' arguments, in the same way.
    pub to: Vec<String>,
    /// The octets, dots undone.
    pub data: Vec<u8>,
    /// Whether the connection was under TLS.
    pub tls: bool,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

/// How the sink behaves.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// The extensions offered beyond STARTTLS.
    pub extensions: Vec<String>,
    /// Offers STARTTLS when there.
    pub tls: Option<Arc<ServerConfig>>,
    /// Answer to RCPT for recipients that contain the word, as (word, reply).
    pub refuse: Vec<(String, String)>,
}

impl Default for SinkOptions {
    fn default() -> Self {
        let extensions = [
            "PIPELINING",
            "SIZE 52428800",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
        ];
        Self {
            extensions: extensions.iter().map(|&word| word.to_owned()).collect(),
            tls: None,
            refuse: Vec::new(),
        }
    }
}

#[derive(Default)]
struct State {
    letters: Vec<Letter>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} messages", self.letters.len())
    }
}

type Shared = crate::server::Shared<State>;

/// A server on loopback that answers 250 to everything and keeps what it gets. Stops when dropped.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    server: Server<State>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Sink {
    /// Starts on a free port of 127.0.0.1 with the usual extensions and no TLS.
    pub fn start() -> Self {
        Self::start_with((Ipv4Addr::LOCALHOST, 0).into(), SinkOptions::default())
            .expect("a free port")
    }

    /// Starts as told.
    ///
    /// # Errors
    /// What binding gave.
    pub fn start_with(address: SocketAddr, options: SinkOptions) -> io::Result<Self> {
        let server = Server::start(address, move |socket, number, shared| {
            // Ends with the connection, in whatever way.
            let _ = converse(socket, number, &options, shared);
        })?;
        Ok(Self {
            address: server.address,
            server,
        })
    }

    /// Waits until `count` messages have arrived and gives all that have.
    ///
    /// # Panics
    /// When [`PATIENCE`] ends first.
    pub fn letters(&self, count: usize) -> Vec<Letter> {
        let come = |state: &State| (state.letters.len() >= count).then(|| state.letters.clone());
        let letters = self.server.shared.wait(&format!("{count} messages"), come);
        letters.unwrap_or_default()
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        self.server.clients().len()
    }
}

fn converse(
    socket: TcpStream,
    number: usize,
    options: &SinkOptions,
    shared: &Shared,
) -> io::Result<()> {
    let mut stream = Stream::new(socket)?;
    let mut buffer: Vec<u8> = Vec::new();
    let mut block = vec![0; 65_536];
    let mut from = String::new();
    let mut to: Vec<String> = Vec::new();
    let mut in_data = false;
    let mut seen = 0;
    let mut out = b"220 sink.example ESMTP\r\n".to_vec();
    loop {
        let mut start_tls = false;
        // Everything that is complete is answered in one write.
        loop {
            if in_data {
                let Some(at) = end_of_data(&buffer, &mut seen) else {
                    break;
                };
                let raw: Vec<u8> = buffer.drain(..at + 3).collect();
                let data = undot(raw.get(..at).unwrap_or_default());
                let letter = Letter {
                    from: std::mem::take(&mut from),
                    to: std::mem::take(&mut to),
                    data,
                    tls: stream.is_tls(),
                    connection: number,
                };
                shared.change(|state| state.letters.push(letter));
                in_data = false;
                out.extend_from_slice(b"250 2.0.0 taken\r\n");
                continue;
            }
            let Some(at) = buffer.windows(2).position(|pair| pair == b"\r\n") else {
                break;
            };
            let line: Vec<u8> = buffer.drain(..at + 2).collect();
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let mut lines = vec!["sink.example".to_owned()];
                    lines.extend(options.extensions.iter().cloned());
                    if options.tls.is_some() && !stream.is_tls() {
                        lines.push("STARTTLS".to_owned());
                    }
                    let last = lines.len() - 1;
                    for (index, line) in lines.iter().enumerate() {
                        let mark = if index == last { ' ' } else { '-' };
                        out.extend_from_slice(format!("250{mark}{line}\r\n").as_bytes());
                    }
                }
                "HELO" => out.extend_from_slice(b"250 sink.example\r\n"),
                "MAIL" => {
                    line.get(10..).unwrap_or_default().clone_into(&mut from);
                    to.clear();
                    out.extend_from_slice(b"250 2.1.0 ok\r\n");
                }
                "RCPT" => {
                    let refusal = options
                        .refuse
                        .iter()
                        .find(|(word, _)| line.contains(word.as_str()));
                    if let Some((_, reply)) = refusal {
                        out.extend_from_slice(format!("{reply}\r\n").as_bytes());
                    } else {
                        to.push(line.get(8..).unwrap_or_default().to_owned());
                        out.extend_from_slice(b"250 2.1.5 ok\r\n");
                    }
                }
                "DATA" if to.is_empty() => out.extend_from_slice(b"554 5.5.1 no recipients\r\n"),
                "DATA" => {
                    in_data = true;
                    seen = 0;
                    out.extend_from_slice(b"354 go ahead\r\n");
                }
                "STAR" if options.tls.is_some() => {
                    start_tls = true;
                    out.extend_from_slice(b"220 2.0.0 ready\r\n");
                    break;
                }
                "QUIT" => {
                    out.extend_from_slice(b"221 2.0.0 bye\r\n");
                    stream.write_all(&out)?;
                    stream.close();
                    return Ok(());
                }
                "RSET" | "NOOP" => out.extend_from_slice(b"250 2.0.0 ok\r\n"),
                _ => out.extend_from_slice(b"500 5.5.1 what?\r\n"),
            }
        }
        if !out.is_empty() {
            stream.write_all(&out)?;
            stream.flush()?;
            out.clear();
        }
        if start_tls && let Some(config) = &options.tls {
            stream = stream.into_server(Arc::clone(config))?;
            buffer.clear();
            continue;
        }
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(block.get(..count).unwrap_or_default());
    }
}
