//! The other end of a connection, following a script.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ServerConfig};

use crate::script::like;
use crate::server::Server;
use crate::{PATIENCE, Script, Step, Stream};

/// What came of one connection.
#[derive(Debug, Clone, Default)]
pub struct Played {
    /// Everything said (`-> `) and heard (`<- `), line by line.
    pub transcript: Vec<String>,
    /// The messages taken by `<data`, dots undone, lone dot left out.
    pub messages: Vec<Vec<u8>>,
    /// Whether TLS came up.
    pub tls: bool,
    /// What did not go as the script says.
    pub error: Option<String>,
}

impl Played {
    /// The lines heard, without the arrow.
    pub fn heard(&self) -> Vec<&str> {
        self.transcript
            .iter()
            .filter_map(|line| line.strip_prefix("<- "))
            .collect()
    }
}

/// TLS as a script's `tls` step does it.
#[derive(Debug, Clone)]
enum Role {
    Plain,
    Server(Arc<ServerConfig>),
    Client(Arc<ClientConfig>, String),
}

#[derive(Debug, Default)]
struct State {
    played: Vec<Played>,
    marks: Vec<String>,
    released: Vec<String>,
}

type Shared = crate::server::Shared<State>;

/// A scripted server on a free port of 127.0.0.1. Connection number N follows script number N, the
/// last script serves all further ones; connections are served side by side. Stops when dropped.
pub struct Peer {
    /// Where it listens.
    pub address: SocketAddr,
    server: Server<State>,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Peer {
    /// Serves `scripts` in clear.
    pub fn serve(scripts: &[&str]) -> Self {
        Self::start((Ipv4Addr::LOCALHOST, 0).into(), scripts, Role::Plain).expect("a free port")
    }

    /// Serves `scripts`, their `tls` steps with `config`.
    pub fn serve_tls(scripts: &[&str], config: Arc<ServerConfig>) -> Self {
        Self::start(
            (Ipv4Addr::LOCALHOST, 0).into(),
            scripts,
            Role::Server(config),
        )
        .expect("a free port")
    }

    /// Serves `scripts` at a given address, port 0 for a free one; TLS when `config` is there.
    ///
    /// # Errors
    /// What binding gave.
    pub fn serve_at(
        address: SocketAddr,
        scripts: &[&str],
        config: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        Self::start(address, scripts, config.map_or(Role::Plain, Role::Server))
    }

    fn start(address: SocketAddr, scripts: &[&str], role: Role) -> io::Result<Self> {
        let scripts: Vec<Script> = scripts.iter().map(|text| Script::parse(text)).collect();
        assert!(!scripts.is_empty(), "a peer needs a script");
        let server = Server::start(address, move |socket, number, shared| {
            let script = scripts.get(number).or(scripts.last());
            let played = run(socket, script.unwrap_or(&Script::default()), &role, shared);
            shared.change(|state| state.played.push(played));
        })?;
        Ok(Self {
            address: server.address,
            server,
        })
    }

    /// Waits until `count` connections have played to their end, and gives all that have, in the
    /// order of their ends.
    ///
    /// # Panics
    /// When [`PATIENCE`] ends first, or one of them did not go by its script.
    pub fn finished(&self, count: usize) -> Vec<Played> {
        let ended = self
            .server
            .shared
            .wait(&format!("{count} connections to end"), |state| {
                (state.played.len() >= count).then(|| state.played.clone())
            });
        let played = ended.unwrap_or_default();
        for one in &played {
            assert!(
                one.error.is_none(),
                "{}\n{}",
                one.error.as_deref().unwrap_or_default(),
                one.transcript.join("\n")
            );
        }
        played
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.server.clients().len()
    }

    /// From where connections came so far, in order.
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.server.clients()
    }

    /// Waits until a script reached `mark WORD`.
    ///
    /// # Panics
    /// When [`PATIENCE`] ends first.
    pub fn wait_mark(&self, word: &str) {
        let marked = |state: &State| state.marks.iter().any(|mark| mark == word).then_some(());
        self.server.shared.wait(&format!("mark {word}"), marked);
    }

    /// Lets every script that waits at `hold WORD` go on, now and later.
    pub fn release(&self, word: &str) {
        let released = |state: &mut State| state.released.push(word.to_owned());
        self.server.shared.change(released);
    }
}

/// Plays `script` as the client of the server at `address`; `tls` steps check the server's
/// certificate for the given name.
///
/// # Panics
/// When it does not go by the script.
pub fn play(address: SocketAddr, script: &str, tls: Option<(Arc<ClientConfig>, &str)>) -> Played {
    let role = tls.map_or(Role::Plain, |(config, name)| {
        Role::Client(config, name.to_owned())
    });
    let socket = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    let played = run(socket, &Script::parse(script), &role, &Shared::default());
    assert!(
        played.error.is_none(),
        "{}\n{}",
        played.error.as_deref().unwrap_or_default(),
        played.transcript.join("\n")
    );
    played
}

fn run(socket: TcpStream, script: &Script, role: &Role, shared: &Shared) -> Played {
    let mut player = Player {
        stream: None,
        buffer: Vec::new(),
        trickle: false,
        played: Played::default(),
    };
    let result = Stream::new(socket)
        .map_err(|error| error.to_string())
        .and_then(|stream| {
            player.stream = Some(stream);
            player.steps(script, role, shared)
        });
    if let Err(error) = result {
        player.played.error = Some(error);
    }
    if let Some(stream) = player.stream.take() {
        stream.close();
    }
    player.played
}

struct Player {
    stream: Option<Stream>,
    buffer: Vec<u8>,
    trickle: bool,
    played: Played,
}

impl Player {
    fn steps(&mut self, script: &Script, role: &Role, shared: &Shared) -> Result<(), String> {
        let mut index = 0;
        while let Some(step) = script.0.get(index) {
            index += 1;
            if *step == Step::Again {
                // A loop ends when the other side goes.
                if self.buffer.is_empty() && self.fill()? == 0 {
                    return Ok(());
                }
                index = 0;
                continue;
            }
            self.step(step, role, shared)
                .map_err(|error| format!("step {index} ({step:?}): {error}"))?;
            if matches!(
                step,
                Step::Close | Step::Cut | Step::Reset | Step::Eof | Step::Drain
            ) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, role: &Role, shared: &Shared) -> Result<(), String> {
        match step {
            Step::Say(text) => {
                self.played.transcript.push(format!("-> {text}"));
                self.write(format!("{text}\r\n").as_bytes())
            }
            Step::Raw(octets) => {
                self.played
                    .transcript
                    .push(format!("->> {}", octets.escape_ascii()));
                self.write(octets)
            }
            Step::Exactly(expected) => {
                let line = self.line()?;
                if line == *expected {
                    Ok(())
                } else {
                    Err(format!("heard {line:?}"))
                }
            }
            Step::Like(pattern) => {
                let line = self.line()?;
                let mut last = line.clone();
                while last.len() > 3 && last.as_bytes().get(3) == Some(&b'-') && is_reply(&last) {
                    last = self.line()?;
                }
                if like(pattern, &line) {
                    Ok(())
                } else {
                    Err(format!("heard {line:?}"))
                }
            }
            Step::Data => self.data(),
            Step::Any => {
                if self.buffer.is_empty() && self.fill()? == 0 {
                    return Err("the connection ended".to_owned());
                }
                self.buffer.clear();
                Ok(())
            }
            Step::Tls => {
                if !self.buffer.is_empty() {
                    return Err("octets came before the handshake".to_owned());
                }
                self.handshake(role)
            }
            Step::TlsFails => match self.handshake(role) {
                Ok(()) => Err("the handshake did not fail".to_owned()),
                Err(_) => Ok(()),
            },
            Step::Close => {
                if let Some(stream) = self.stream.take() {
                    stream.close();
                }
                Ok(())
            }
            Step::Cut => match self.stream.take() {
                Some(stream) => stream
                    .socket()
                    .shutdown(Shutdown::Both)
                    .map_err(|error| error.to_string()),
                None => Ok(()),
            },
            Step::Reset => {
                if let Some(stream) = self.stream.take() {
                    let linger = nix::libc::linger {
                        l_onoff: 1,
                        l_linger: 0,
                    };
                    nix::sys::socket::setsockopt(
                        stream.socket(),
                        nix::sys::socket::sockopt::Linger,
                        &linger,
                    )
                    .map_err(|error| error.to_string())?;
                    // The copy kept for stopping would hold the socket open.
                    shared.forget(stream.socket().peer_addr().ok());
                }
                Ok(())
            }
            Step::Eof => match self.fill() {
                Ok(0) if self.buffer.is_empty() => Ok(()),
                Err(error) if error.contains("reset") => Ok(()),
                _ => Err(format!(
                    "expected the end, heard {}",
                    self.buffer.escape_ascii()
                )),
            },
            Step::Drain => {
                while matches!(self.fill(), Ok(count) if count > 0) {
                    self.buffer.clear();
                }
                Ok(())
            }
            Step::Hold(word) => {
                shared.wait(&format!("release of {word}"), |state| {
                    state.released.contains(word).then_some(())
                });
                Ok(())
            }
            Step::Mark(word) => {
                shared.change(|state| state.marks.push(word.clone()));
                Ok(())
            }
            Step::Endless(count) => {
                let block = [b'a'; 4096];
                let mut left = *count;
                while left > 0 {
                    let take = left.min(block.len());
                    if self.write(block.get(..take).unwrap_or_default()).is_err() {
                        break;
                    }
                    left -= take;
                }
                Ok(())
            }
            Step::Trickle => {
                self.trickle = true;
                Ok(())
            }
            Step::Again => Ok(()),
        }
    }

    fn handshake(&mut self, role: &Role) -> Result<(), String> {
        let stream = self.stream.take().ok_or("the connection is over")?;
        let secured = match role {
            Role::Plain => return Err("the peer has no certificate".to_owned()),
            Role::Server(config) => stream.into_server(Arc::clone(config)),
            Role::Client(config, name) => stream.into_client(Arc::clone(config), name),
        };
        self.stream = Some(secured.map_err(|error| error.to_string())?);
        self.played.tls = true;
        self.played.transcript.push("-- tls".to_owned());
        Ok(())
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), String> {
        let trickle = self.trickle;
        let stream = self.stream.as_mut().ok_or("the connection is over")?;
        let parts = octets.chunks(if trickle { 1 } else { octets.len().max(1) });
        for part in parts {
            stream
                .write_all(part)
                .and_then(|()| stream.flush())
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<usize, String> {
        let stream = self.stream.as_mut().ok_or("the connection is over")?;
        let mut block = [0; 16_384];
        let count = stream.read(&mut block).map_err(|error| error.to_string())?;
        self.buffer
            .extend_from_slice(block.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|&octet| octet == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                let Some(line) = line.strip_suffix(b"\r\n") else {
                    return Err(format!("a line without CRLF: {}", line.escape_ascii()));
                };
                let line = String::from_utf8_lossy(line).into_owned();
                self.played.transcript.push(format!("<- {line}"));
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(format!(
                    "the connection ended after {}",
                    self.buffer.escape_ascii()
                ));
            }
        }
    }

    fn data(&mut self) -> Result<(), String> {
        let mut seen = 0;
        loop {
            if let Some(at) = end_of_data(&self.buffer, &mut seen) {
                let raw: Vec<u8> = self.buffer.drain(..at + 3).collect();
                let message = undot(raw.get(..at).unwrap_or_default());
                self.played
                    .transcript
                    .push(format!("<- ({} octets)", message.len()));
                self.played.messages.push(message);
                return Ok(());
            }
            if self.fill()? == 0 {
                return Err("the connection ended inside of a message".to_owned());
            }
        }
    }
}

/// Where the lone dot begins; `seen` remembers how far was looked.
pub(crate) fn end_of_data(buffer: &[u8], seen: &mut usize) -> Option<usize> {
    const END: &[u8] = b"\r\n.\r\n";
    if buffer.starts_with(b".\r\n") {
        return Some(0);
    }
    let rest = buffer.get(*seen..).unwrap_or_default();
    match rest.windows(END.len()).position(|part| part == END) {
        Some(at) => Some(*seen + at + 2),
        None => {
            *seen = buffer.len().saturating_sub(END.len() - 1);
            None
        }
    }
}

fn is_reply(line: &str) -> bool {
    line.as_bytes().iter().take(3).all(u8::is_ascii_digit)
}

/// Takes away the dot that begins a line before another octet (RFC 5321, 4.5.2).
pub(crate) fn undot(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at_start = true;
    for (index, &octet) in raw.iter().enumerate() {
        if !(at_start && octet == b'.') {
            out.push(octet);
        }
        at_start = octet == b'\n' && index > 0 && raw.get(index - 1) == Some(&b'\r');
    }
    out
}
