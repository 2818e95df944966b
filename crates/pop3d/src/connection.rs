//! One client's connection, from the greeting to its end.

use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use config::settings::Pop3;
use daemon::log;
use daemon::net::Socket;
use daemon::packet::Packets;
use daemon::tls::{ServerTls, Stream};
use events::{Kind, Reporter};
use pop3::session::End;
use pop3::{Login, LoginWant, Refusal};

use crate::ask::{self, Said};
use crate::pending::Pending;
use crate::relay::{Relay, Round};
use crate::report::Name;

/// How long a client may take to read our last words and close.
pub const LINGER: Duration = Duration::from_secs(5);

/// Most octets thrown away while it does.
const LINGER_MAX: usize = 256 * 1_024;

/// Rounds of reading and writing before other connections get their turn.
const ROUNDS: usize = 16;

/// What a socket can do, as far as events and errors told: edge-triggered events come once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ready {
    /// Octets, or an end, may be there.
    pub read: bool,
    /// There may be room.
    pub write: bool,
    /// The other side sends no more: its end comes without another event.
    pub ended: bool,
}

impl Ready {
    /// Adds what an event told.
    pub const fn add(&mut self, event: Self) {
        self.read |= event.read;
        self.write |= event.write;
        self.ended |= event.ended;
    }

    /// A read has not filled its room: nothing is left, and what comes later brings an event.
    pub const fn read_short(&mut self) {
        self.read = self.ended;
    }
}

/// What all connections share.
pub struct Shared<'a> {
    /// The socket to authd.
    pub auth: &'a Packets,
    /// The way to banwatch.
    pub events: &'a mut Reporter,
    /// The certificates.
    pub tls: Option<&'a ServerTls>,
    /// Room for one read; nobody keeps anything in it.
    pub scratch: &'a mut [u8],
    /// The time of this turn.
    pub now: Instant,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream<Socket>,
    /// Who it is.
    pub name: Name,
    /// What the client's socket can do.
    pub ready: Ready,
    phase: Phase,
    /// Read from the client and not used yet.
    early: Vec<u8>,
    /// For the client.
    output: Pending,
    started: Instant,
    /// The last time that octets moved.
    moved: Instant,
    user: Box<str>,
    carried: (u64, u64),
}

#[derive(Debug)]
enum Phase {
    /// The AUTHORIZATION state.
    Login(Login),
    /// A question is with authd.
    Asking {
        login: Login,
        answer: Socket,
        ready: Ready,
        octets: Vec<u8>,
        registered: bool,
    },
    /// Logged in.
    Carrying(Relay),
    /// The output goes out, then the stream is ended.
    Ending,
    /// Ended; waits for the client to close, so that our last words are not lost with a reset.
    Lingering(usize),
    Gone,
}

/// What a turn came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Waits for an event or its deadline.
    Waits,
    /// There is more to do at once.
    Again,
    /// Over: to be dropped.
    Gone,
}

impl Connection {
    /// A new connection; says the greeting.
    ///
    /// # Errors
    /// The TLS library's.
    pub fn new(
        socket: Socket,
        name: Name,
        login: Login,
        tls: Option<&ServerTls>,
        now: Instant,
    ) -> io::Result<Self> {
        let mut stream = Stream::clear(socket);
        if let Some(tls) = tls {
            stream.start_server(tls)?;
        }
        let mut output = Pending::default();
        login.greet(output.tail());
        Ok(Self {
            stream,
            name,
            ready: Ready {
                read: true,
                write: true,
                ended: false,
            },
            phase: Phase::Login(login),
            early: Vec::new(),
            output,
            started: now,
            moved: now,
            user: Box::default(),
            carried: (0, 0),
        })
    }

    /// A connection that there is no room for: told so, if it is in clear, and ended.
    pub fn turn_away(mut socket: Socket) {
        use std::io::Write as _;
        // One try: somebody who floods us is not waited for.
        let _ = socket.write(b"-ERR [SYS/TEMP] too many connections\r\n");
    }

    /// The socket towards authd or the session, when it has not been registered yet.
    pub fn unregistered(&mut self) -> Option<&mut Socket> {
        match &mut self.phase {
            Phase::Asking {
                answer, registered, ..
            } if !*registered => {
                *registered = true;
                Some(answer)
            }
            _ => None,
        }
    }

    /// An event for the socket towards authd or the session.
    pub fn other_ready(&mut self, event: Ready) {
        let ready = match &mut self.phase {
            Phase::Asking { ready, .. } => ready,
            Phase::Carrying(relay) => &mut relay.ready,
            _ => return,
        };
        ready.add(event);
    }

    /// When the connection has waited for too long.
    pub fn deadline(&self, limits: &Pop3) -> Instant {
        match self.phase {
            Phase::Login(_) | Phase::Asking { .. } => self.started + limits.login_timeout,
            // The session process counts too, and ends first.
            Phase::Carrying(_) => self.moved + limits.idle_timeout + LINGER,
            Phase::Ending | Phase::Lingering(_) | Phase::Gone => self.moved + LINGER,
        }
    }

    /// The deadline has passed. RFC 1939, 3: closed without a word.
    pub fn timed_out(&mut self, events: &mut Reporter) {
        let reason = match self.phase {
            Phase::Login(_) | Phase::Asking { .. } => {
                self.name.event(Kind::Slow, events);
                "login-timeout"
            }
            Phase::Carrying(_) => "idle-timeout",
            _ => return,
        };
        self.report(reason);
    }

    /// Does what can be done without waiting.
    pub fn turn(&mut self, shared: &mut Shared<'_>) -> Turn {
        for _ in 0..ROUNDS {
            match self.step(shared) {
                Ok(true) => {}
                Ok(false) => {
                    // Reading may have made TLS records to send.
                    return match self.stream.flush() {
                        Ok(()) => Turn::Waits,
                        Err(_) => self.lost(shared.events),
                    };
                }
                Err(_) => return self.lost(shared.events),
            }
            if let Phase::Gone = self.phase {
                return Turn::Gone;
            }
        }
        Turn::Again
    }

    fn lost(&mut self, events: &mut Reporter) -> Turn {
        if self.stream.is_handshaking() {
            self.name.event(Kind::TlsFail, events);
            self.report("tls-failed");
        } else if !matches!(self.phase, Phase::Ending | Phase::Lingering(_)) {
            self.report("connection-lost");
        }
        Turn::Gone
    }

    /// One step; `true` when it changed something.
    fn step(&mut self, shared: &mut Shared<'_>) -> io::Result<bool> {
        if !matches!(self.phase, Phase::Carrying(_)) && !self.output.is_empty() {
            let stream = &mut self.stream;
            if !self.output.flush(|data| stream.write(data))? {
                return Ok(false);
            }
        }
        match std::mem::replace(&mut self.phase, Phase::Gone) {
            Phase::Login(login) => self.login(login, shared),
            Phase::Asking {
                login,
                answer,
                ready,
                octets,
                registered,
            } => self.asking(login, (answer, ready, registered), octets, shared),
            Phase::Carrying(mut relay) => {
                let round = relay.round(
                    &mut self.stream,
                    &mut self.ready,
                    &mut self.output,
                    shared.scratch,
                );
                self.carried = relay.carried;
                match round {
                    Round::Moved => self.moved = shared.now,
                    Round::Blocked => {}
                    Round::Over => {
                        if self.carried.1 == 0 {
                            // The session process never spoke: the PASS command has no answer.
                            self.output.push(Refusal::Temporary.reply());
                        }
                        self.end("session-over", shared.now);
                        return Ok(true);
                    }
                    Round::Lost => return Err(io::ErrorKind::ConnectionReset.into()),
                }
                self.phase = Phase::Carrying(relay);
                Ok(round == Round::Moved)
            }
            Phase::Ending => {
                self.stream.close();
                if self.stream.has_pending() {
                    self.phase = Phase::Ending;
                    return Ok(false);
                }
                // A client that has gone already needs no goodbye.
                let _ = self.stream.socket().shutdown_write();
                self.phase = Phase::Lingering(0);
                Ok(true)
            }
            Phase::Lingering(seen) => self.linger(seen, shared.scratch),
            Phase::Gone => Ok(true),
        }
    }

    fn login(&mut self, mut login: Login, shared: &mut Shared<'_>) -> io::Result<bool> {
        match login.want() {
            LoginWant::Input => {
                if self.early.is_empty() && !self.read_early(shared.scratch)? {
                    self.phase = Phase::Login(login);
                    return Ok(false);
                }
                if self.early.is_empty() {
                    self.report("client-gone");
                    return Ok(true);
                }
                let used = login.input(&self.early, self.output.tail());
                self.drop_early(used);
            }
            LoginWant::StartTls => match shared.tls {
                // The machine has seen to it that nothing was read beyond the command.
                Some(tls) => {
                    self.early = Vec::new();
                    self.stream.start_server(tls)?;
                    login.tls_started();
                }
                None => login.stop(),
            },
            LoginWant::Authenticate { user, password } => {
                let asked = ask::ask(shared.auth, user, password, self.name.ip(), &self.name.sid);
                match asked {
                    Ok(answer) => {
                        self.phase = Phase::Asking {
                            login,
                            answer,
                            ready: Ready {
                                read: true,
                                write: true,
                                ended: false,
                            },
                            octets: Vec::new(),
                            registered: false,
                        };
                        return Ok(true);
                    }
                    Err(refusal) => login.refused(refusal, self.output.tail()),
                }
            }
            LoginWant::Close(end) => {
                if let End::Errors | End::EndlessLine | End::EarlyOctets = end {
                    self.name.event(Kind::Syntax, shared.events);
                }
                self.end(end.word(), shared.now);
                return Ok(true);
            }
            // Only `asking` gets there, and it takes the next step by itself.
            LoginWant::HandOver => login.stop(),
        }
        self.phase = Phase::Login(login);
        Ok(true)
    }

    fn asking(
        &mut self,
        mut login: Login,
        (mut answer, mut ready, registered): (Socket, Ready, bool),
        mut octets: Vec<u8>,
        shared: &mut Shared<'_>,
    ) -> io::Result<bool> {
        let mut room = [0; auth::protocol::ANSWER_MAX];
        // Not before it is registered: an answer that comes in between would be no event.
        let read = if registered && ready.read {
            answer.read(&mut room)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        };
        let said = match read {
            Ok(0) => Said::No(Refusal::Temporary),
            Ok(count) => {
                octets.extend_from_slice(room.get(..count).unwrap_or_default());
                ask::read(&octets)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready.read &= !registered;
                self.phase = Phase::Asking {
                    login,
                    answer,
                    ready,
                    octets,
                    registered,
                };
                return Ok(false);
            }
            Err(_) => Said::No(Refusal::Temporary),
        };
        match said {
            Said::Nothing => {
                self.phase = Phase::Asking {
                    login,
                    answer,
                    ready,
                    octets,
                    registered,
                }
            }
            Said::No(refusal) => {
                login.refused(refusal, self.output.tail());
                self.moved = shared.now;
                self.name
                    .line(log::info("refused"))
                    .kv("reply", refusal.reply().trim_ascii_end())
                    .send();
                self.phase = Phase::Login(login);
            }
            Said::Yes(user, used) => {
                self.name
                    .line(log::info("login"))
                    .kv("user", &*user)
                    .opt("tls", self.stream.facts().map(|facts| facts.protocol))
                    .send();
                self.user = user;
                let mut relay = Relay::new(answer, ready, &self.early);
                let words = octets.get(used..).unwrap_or_default();
                relay.carried.1 = u64::try_from(words.len()).unwrap_or(u64::MAX);
                self.output.push(words);
                self.early = Vec::new();
                self.moved = shared.now;
                self.phase = Phase::Carrying(relay);
            }
        }
        Ok(true)
    }

    /// Reads into `early`; `false` when nothing is there. Empty and `true`: the client is done.
    fn read_early(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        if !self.ready.read {
            return Ok(false);
        }
        match self.stream.read(scratch) {
            Ok(count) => {
                let data = scratch.get_mut(..count).unwrap_or_default();
                self.early.extend_from_slice(data);
                auth::types::wipe(data);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready.read = false;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Forgets the front of `early`, which may have been a password.
    fn drop_early(&mut self, used: usize) {
        let rest = self
            .early
            .get(used..)
            .map(<[u8]>::to_vec)
            .unwrap_or_default();
        auth::types::wipe(&mut self.early);
        self.early = rest;
    }

    fn linger(&mut self, seen: usize, scratch: &mut [u8]) -> io::Result<bool> {
        match self.stream.socket_mut().read(scratch) {
            Ok(count) if count > 0 && seen + count <= LINGER_MAX => {
                self.phase = Phase::Lingering(seen + count);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.phase = Phase::Lingering(seen);
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    fn end(&mut self, reason: &str, now: Instant) {
        self.report(reason);
        self.moved = now;
        self.phase = Phase::Ending;
    }

    /// The one line about the connection's end.
    fn report(&self, reason: &str) {
        self.name
            .line(log::info("disconnect"))
            .opt("user", (!self.user.is_empty()).then_some(&*self.user))
            .kv("reason", reason)
            .val("in_bytes", self.carried.0)
            .val("out_bytes", self.carried.1)
            .val("duration_ms", self.started.elapsed().as_millis())
            .send();
    }
}
