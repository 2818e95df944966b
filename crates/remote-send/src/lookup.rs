//! The resolver's sockets in the event loop.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use dns::{
    Answer, Command, Key, Lookup, Question, Resolver, Settings, Transmit, TransmitId, Transport,
};
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry, Token};

/// Largest datagram read; EDNS lets servers send 1,232 octets.
const DATAGRAM_MAX: usize = 4_096;

/// The first token of a lookup; all of them are odd, those of connections even.
const FIRST_TOKEN: usize = 17;

enum Socket {
    Udp {
        socket: UdpSocket,
        server: SocketAddr,
    },
    Tcp {
        socket: TcpStream,
        out: Vec<u8>,
        sent: usize,
        received: Vec<u8>,
    },
}

/// The resolver with its open sockets, one per message sent.
pub struct Lookups {
    resolver: Resolver,
    sockets: HashMap<usize, (TransmitId, Socket)>,
    tokens: HashMap<TransmitId, usize>,
    next_token: usize,
}

impl std::fmt::Debug for Lookups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookups")
            .field("resolver", &self.resolver)
            .finish_non_exhaustive()
    }
}

impl Lookups {
    /// Asks as `settings` say.
    pub fn new(settings: Settings) -> Self {
        Self {
            resolver: Resolver::new(settings, Box::new(daemon::clock::random_u64)),
            sockets: HashMap::new(),
            tokens: HashMap::new(),
            next_token: FIRST_TOKEN,
        }
    }

    /// Whether an event's token is one of ours.
    pub const fn owns(token: usize) -> bool {
        token >= FIRST_TOKEN && token % 2 == 1
    }

    /// Asks; call [`Lookups::turn`] afterwards.
    pub fn query(&mut self, question: &Question, now: Instant) -> Lookup {
        self.resolver.query(question, now)
    }

    /// When [`Lookups::timeout`] has to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.resolver.next_timeout()
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Instant) {
        self.resolver.on_timeout(now);
    }

    /// A socket has something.
    pub fn ready(&mut self, token: usize, now: Instant) {
        let Some((id, socket)) = self.sockets.get_mut(&token) else {
            return;
        };
        let id = *id;
        match socket {
            Socket::Udp { socket, server } => {
                let server = *server;
                let mut buffer = [0; DATAGRAM_MAX];
                // Bounded: a flood of datagrams must not hold the loop. What is left comes when
                // the next one does, or the timeout.
                for _ in 0..64 {
                    match socket.recv(&mut buffer) {
                        Ok(length) => {
                            let bytes = buffer.get(..length).unwrap_or_default();
                            self.resolver.on_datagram(id, server, bytes, now);
                            if !self.resolver.expects(id) {
                                return;
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => return self.resolver.on_failed(id, now),
                    }
                }
            }
            Socket::Tcp {
                socket,
                out,
                sent,
                received,
            } => match exchange(socket, out, sent, received) {
                Ok(None) => {}
                Ok(Some(message)) => self.resolver.on_stream(id, &message, now),
                Err(_) => self.resolver.on_failed(id, now),
            },
        }
    }

    /// Does what the resolver wants and gives the answers that have come.
    pub fn turn(&mut self, registry: &Registry, now: Instant) -> Vec<(Key, Arc<Answer>)> {
        let mut answers = Vec::new();
        while let Some(command) = self.resolver.poll() {
            match command {
                Command::Answered(key, answer) => answers.push((key, answer)),
                Command::Close(id) => {
                    if let Some(token) = self.tokens.remove(&id) {
                        self.sockets.remove(&token);
                    }
                }
                Command::Send(transmit) => {
                    if self.send(registry, &transmit).is_err() {
                        self.resolver.on_failed(transmit.id, now);
                    }
                }
            }
        }
        answers
    }

    fn send(&mut self, registry: &Registry, transmit: &Transmit) -> io::Result<()> {
        let token = self.next_token;
        self.next_token += 2;
        let socket = match transmit.transport {
            Transport::Udp => {
                let any: SocketAddr = if transmit.server.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    (Ipv6Addr::UNSPECIFIED, 0).into()
                };
                let mut socket = UdpSocket::bind(any)?;
                // Connected: the kernel drops what comes from elsewhere.
                socket.connect(transmit.server)?;
                registry.register(&mut socket, Token(token), Interest::READABLE)?;
                socket.send(&transmit.payload)?;
                Socket::Udp {
                    socket,
                    server: transmit.server,
                }
            }
            Transport::Tcp => {
                let length = u16::try_from(transmit.payload.len())
                    .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
                let mut out = length.to_be_bytes().to_vec();
                out.extend_from_slice(&transmit.payload);
                let mut socket = TcpStream::connect(transmit.server)?;
                registry.register(
                    &mut socket,
                    Token(token),
                    Interest::READABLE | Interest::WRITABLE,
                )?;
                Socket::Tcp {
                    socket,
                    out,
                    sent: 0,
                    received: Vec::new(),
                }
            }
        };
        self.tokens.insert(transmit.id, token);
        self.sockets.insert(token, (transmit.id, socket));
        Ok(())
    }
}

/// Writes the question and reads the answer as far as the socket allows; the answer when whole.
fn exchange(
    socket: &mut TcpStream,
    out: &[u8],
    sent: &mut usize,
    received: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    while let Some(rest) = out.get(*sent..).filter(|rest| !rest.is_empty()) {
        match socket.write(rest) {
            Ok(count) => *sent += count,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                ) =>
            {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut block = [0; 4_096];
    loop {
        if let Some((prefix, message)) = received.split_first_chunk::<2>()
            && let Some(message) = message.get(..usize::from(u16::from_be_bytes(*prefix)))
        {
            return Ok(Some(message.to_vec()));
        }
        match socket.read(&mut block) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => received.extend_from_slice(block.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
