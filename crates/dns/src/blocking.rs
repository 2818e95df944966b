//! A driver of the [`Resolver`] for command line tools: asks, waits, answers.
//!
//! Not for daemons: it blocks its thread, up to [`LOOKUP_DEADLINE`](crate::LOOKUP_DEADLINE).

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{
    Answer, Command, Lookup, Question, Resolver, Settings, Transmit, TransmitId, Transport,
};

/// Longest sleep in one wait for a datagram while several sockets are open, so that a late answer
/// on an older socket is seen soon.
const TURN: Duration = Duration::from_millis(50);

/// Largest datagram taken; one more octet than EDNS allows would not be ours.
const DATAGRAM_MAX: usize = 4_096;

/// A resolver with sockets of its own and its own cache.
#[derive(Debug)]
pub struct Client {
    resolver: Resolver,
}

/// Unpredictable numbers from the standard library: SipHash under a key that the kernel gave,
/// over a counter.
fn random_numbers() -> Box<dyn FnMut() -> u64 + Send> {
    let state = RandomState::new();
    let mut counter = 0_u64;
    Box::new(move || {
        counter += 1;
        state.hash_one(counter)
    })
}

impl Client {
    /// A client that asks as `settings` say.
    pub fn new(settings: Settings) -> Self {
        Self {
            resolver: Resolver::new(settings, random_numbers()),
        }
    }

    /// A client that asks as the file (usually `/etc/resolv.conf`) says; without the file,
    /// loopback is asked.
    ///
    /// # Errors
    /// What reading the file gave, apart from its absence.
    pub fn from_file(path: &std::path::Path) -> io::Result<Self> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        Ok(Self::new(Settings::from_resolv_conf(&text).0))
    }

    /// Asks and waits. Trouble of any kind is an [`Outcome::Temporary`](crate::Outcome::Temporary).
    pub fn lookup(&mut self, question: &Question) -> Arc<Answer> {
        let key = match self.resolver.query(question, Instant::now()) {
            Lookup::Ready(answer) => return answer,
            Lookup::Pending(key) => key,
        };
        let mut open: HashMap<TransmitId, (UdpSocket, SocketAddr)> = HashMap::new();
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            while let Some(command) = self.resolver.poll() {
                match command {
                    Command::Send(transmit) => self.send(&transmit, &mut open),
                    Command::Close(id) => {
                        open.remove(&id);
                    }
                    Command::Answered(answered, answer) if answered == key => return answer,
                    Command::Answered(..) => {}
                }
            }
            let now = Instant::now();
            let wait = self
                .resolver
                .next_timeout()
                .map_or(TURN, |when| when.saturating_duration_since(now));
            if wait.is_zero() {
                self.resolver.on_timeout(now);
                continue;
            }
            self.receive(&open, wait, &mut buffer);
        }
    }

    fn send(
        &mut self,
        transmit: &Transmit,
        open: &mut HashMap<TransmitId, (UdpSocket, SocketAddr)>,
    ) {
        let sent = match transmit.transport {
            Transport::Udp => datagram(transmit).map(|socket| {
                open.insert(transmit.id, (socket, transmit.server));
            }),
            Transport::Tcp => {
                let deadline = self.resolver.next_timeout();
                exchange(transmit, deadline).map(|message| {
                    self.resolver
                        .on_stream(transmit.id, &message, Instant::now());
                })
            }
        };
        if sent.is_err() {
            self.resolver.on_failed(transmit.id, Instant::now());
        }
    }

    /// Waits on the sockets in turn, at most `wait` in all.
    fn receive(
        &mut self,
        open: &HashMap<TransmitId, (UdpSocket, SocketAddr)>,
        wait: Duration,
        buffer: &mut [u8],
    ) {
        if open.is_empty() {
            std::thread::sleep(wait.min(TURN));
            return;
        }
        let each = if open.len() == 1 {
            wait
        } else {
            wait.min(TURN)
        };
        for (&id, (socket, server)) in open {
            if socket
                .set_read_timeout(Some(each.max(Duration::from_millis(1))))
                .is_err()
            {
                self.resolver.on_failed(id, Instant::now());
                return;
            }
            match socket.recv(buffer) {
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.resolver
                        .on_datagram(id, *server, bytes, Instant::now());
                    return;
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock
                            | io::ErrorKind::TimedOut
                            | io::ErrorKind::Interrupted
                    ) => {}
                Err(_) => {
                    self.resolver.on_failed(id, Instant::now());
                    return;
                }
            }
        }
    }
}

fn datagram(transmit: &Transmit) -> io::Result<UdpSocket> {
    let any: SocketAddr = if transmit.server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    // Connected, so that the kernel drops what comes from elsewhere.
    socket.connect(transmit.server)?;
    socket.send(&transmit.payload)?;
    Ok(socket)
}

fn exchange(transmit: &Transmit, deadline: Option<Instant>) -> io::Result<Vec<u8>> {
    let left = || -> io::Result<Duration> {
        let left = deadline.map_or(Duration::from_secs(5), |end| {
            end.saturating_duration_since(Instant::now())
        });
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    };
    let mut stream = TcpStream::connect_timeout(&transmit.server, left()?)?;
    let length = u16::try_from(transmit.payload.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(&transmit.payload);
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(&message)?;
    let mut fill = |buffer: &mut [u8]| -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            // Set anew for each read: the deadline is of the whole, not of one octet.
            stream.set_read_timeout(Some(left()?))?;
            match stream.read(rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => done += count,
            }
        }
        Ok(())
    };
    let mut prefix = [0; 2];
    fill(&mut prefix)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(prefix))];
    fill(&mut answer)?;
    Ok(answer)
}
