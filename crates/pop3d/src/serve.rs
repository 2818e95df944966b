//! The loop: all connections, before and after login.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use config::Config;
use daemon::net::{Listener, Peer, Socket};
use daemon::packet::Packets;
use daemon::signals::{Notice, Signals};
use daemon::timers::Timers;
use daemon::tls::ServerTls;
use daemon::{Confined, Fatal, log};
use events::{Kind, Reporter};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use pop3::{Login, LoginOptions, Tls};

use crate::Role;
use crate::connection::{Connection, Ready, Shared, Turn};
use crate::report::Name;

const SIGNALS: Token = Token(0);
const AUTH: Token = Token(1);
/// The first listener; then one token each.
const LISTENERS: usize = 2;
/// The first connection; two tokens each, the client's and the session's.
const CONNECTIONS: usize = LISTENERS + daemon::start::GIVEN_MAX;

/// Octets read or carried at once. One buffer for all connections.
const SCRATCH: usize = 64 * 1_024;

/// Pause before the listeners are asked again when descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Connections accepted in a row before the others get their turn.
const ACCEPT_BATCH: usize = 64;

/// How many descriptors the limits on sessions mean: two for each, and what we hold anyway.
pub fn open_files(config: &Config) -> u64 {
    2 * u64::from(config.pop3.max_sessions) + 64
}

/// The programs that are talked to.
pub struct Peers {
    /// authd.
    pub auth: Packets,
    /// banwatch.
    pub events: Reporter,
}

/// Everything that pop3d before login holds.
pub struct Server {
    poll: Poll,
    config: Config,
    peers: Peers,
    tls: Option<ServerTls>,
    signals: Signals,
    listeners: Vec<(Listener, Role)>,
    /// Listeners that may have more connections for us.
    waiting: Vec<usize>,
    paused_until: Option<Instant>,
    /// The last accept failed: said once, not with every try.
    accept_fails: bool,
    connections: Vec<Option<Connection>>,
    /// Places in `connections` that are free.
    free: Vec<usize>,
    live: usize,
    per_address: HashMap<IpAddr, u32>,
    timers: Timers<usize>,
    scratch: Vec<u8>,
    /// No new connections; ends with the last one.
    draining: bool,
}

impl Server {
    /// A server without listeners.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        _: &Confined,
        config: Config,
        mut peers: Peers,
        tls: Option<ServerTls>,
        signals: Signals,
    ) -> Result<Self, Fatal> {
        let poll = Poll::new()?;
        signals.register(poll.registry(), SIGNALS)?;
        poll.registry()
            .register(&mut peers.auth, AUTH, Interest::READABLE)?;
        Ok(Self {
            poll,
            config,
            peers,
            tls,
            signals,
            listeners: Vec::new(),
            waiting: Vec::new(),
            paused_until: None,
            accept_fails: false,
            connections: Vec::new(),
            free: Vec::new(),
            live: 0,
            per_address: HashMap::new(),
            timers: Timers::new(),
            scratch: vec![0; SCRATCH],
            draining: false,
        })
    }

    /// Serves these listeners.
    ///
    /// # Errors
    /// The system's.
    pub fn listen(&mut self, listeners: Vec<Listener>) -> Result<(), Fatal> {
        for mut listener in listeners {
            let Some(role) = Role::of(listener.role()) else {
                continue;
            };
            let token = Token(LISTENERS + self.listeners.len());
            self.poll
                .registry()
                .register(&mut listener, token, Interest::READABLE)?;
            self.waiting.push(self.listeners.len());
            self.listeners.push((listener, role));
        }
        Ok(())
    }

    /// Serves one connection and ends with it (inetd).
    ///
    /// # Errors
    /// The system's.
    pub fn take(&mut self, (socket, peer): (Socket, Peer), role: Role) -> Result<(), Fatal> {
        self.draining = true;
        self.adopt(socket, peer, role, Instant::now())?;
        Ok(())
    }

    /// Serves until told to stop, or, when told to make way for a successor, until the last
    /// connection has ended.
    ///
    /// # Errors
    /// `Temporary` when the loop itself fails.
    pub fn run(mut self) -> Result<(), Fatal> {
        let mut events = Events::with_capacity(256);
        let mut again: Vec<usize> = (0..self.connections.len()).collect();
        loop {
            if self.draining && self.live == 0 {
                return Ok(());
            }
            let now = Instant::now();
            let timeout = match again.is_empty()
                && (self.waiting.is_empty() || self.paused_until.is_some())
            {
                true => self.timeout(now),
                false => Some(Duration::ZERO),
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
            let now = Instant::now();
            let mut due = std::mem::take(&mut again);
            for event in &events {
                match event.token() {
                    SIGNALS => {
                        if self.signalled() {
                            return Ok(());
                        }
                    }
                    AUTH => {
                        if self.auth_is_gone() {
                            return Ok(());
                        }
                    }
                    Token(at) if at < CONNECTIONS => self.waiting.push(at - LISTENERS),
                    Token(at) => due.extend(self.note(at - CONNECTIONS, event)),
                }
            }
            due.sort_unstable();
            due.dedup();
            for at in due {
                if self.turn(at, now) {
                    again.push(at);
                }
            }
            while let Some(at) = self.timers.expired(now) {
                if let Some(connection) = self.connections.get_mut(at).and_then(Option::as_mut) {
                    connection.timed_out(&mut self.peers.events);
                    self.remove(at);
                }
            }
            self.accept(now, &mut again);
        }
    }

    fn timeout(&mut self, now: Instant) -> Option<Duration> {
        let pause = self
            .paused_until
            .map(|until| until.saturating_duration_since(now));
        match (self.timers.timeout(now), pause) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// `true`: to be ended at once.
    fn signalled(&mut self) -> bool {
        while let Some(notice) = self.signals.take() {
            match notice {
                Notice::Stop => return true,
                Notice::Reload => {
                    log::info("drain").val("connections", self.live).send();
                    self.draining = true;
                    self.listeners.clear();
                    self.waiting.clear();
                }
                Notice::Child => {}
            }
        }
        false
    }

    /// authd says nothing on the common socket; its end means that the house is being shut.
    fn auth_is_gone(&self) -> bool {
        loop {
            match self.peers.auth.recv(&mut [0; 16]) {
                Ok(packet) if packet.length == 0 => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::InvalidData
                    );
                }
            }
        }
    }

    /// Notes what an event says; the connection that it is for.
    fn note(&mut self, token: usize, event: &Event) -> Option<usize> {
        let at = token / 2;
        let connection = self.connections.get_mut(at)?.as_mut()?;
        let ready = Ready {
            read: event.is_readable(),
            write: event.is_writable(),
            ended: event.is_read_closed() || event.is_error(),
        };
        if token.is_multiple_of(2) {
            connection.ready.add(ready);
        } else {
            connection.other_ready(ready);
        }
        Some(at)
    }

    /// Gives a connection its turn; `true` when it wants another one at once.
    fn turn(&mut self, at: usize, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(at).and_then(Option::as_mut) else {
            return false;
        };
        let mut shared = Shared {
            auth: &self.peers.auth,
            events: &mut self.peers.events,
            tls: self.tls.as_ref(),
            scratch: &mut self.scratch,
            now,
        };
        // A panic ends this connection and no other.
        let turn = daemon::guard(|| connection.turn(&mut shared)).unwrap_or(Turn::Gone);
        if turn == Turn::Gone {
            self.remove(at);
            return false;
        }
        self.timers.set(at, connection.deadline(&self.config.pop3));
        let token = Token(CONNECTIONS + 2 * at + 1);
        if let Some(socket) = connection.unregistered() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = self.poll.registry().register(socket, token, interest) {
                log::error("register").val("error", error).send();
                self.remove(at);
                return false;
            }
            return true;
        }
        turn == Turn::Again
    }

    fn remove(&mut self, at: usize) {
        self.timers.cancel(at);
        let Some(connection) = self.connections.get_mut(at).and_then(Option::take) else {
            return;
        };
        self.free.push(at);
        self.live -= 1;
        if let Some(ip) = connection.name.ip()
            && let Some(count) = self.per_address.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&ip);
            }
        }
    }

    /// Takes new connections from the listeners that have some.
    fn accept(&mut self, now: Instant, again: &mut Vec<usize>) {
        if self.paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.paused_until = None;
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.sort_unstable();
        waiting.dedup();
        for index in waiting {
            for count in 0.. {
                if count == ACCEPT_BATCH {
                    self.waiting.push(index);
                    break;
                }
                let Some((listener, role)) = self.listeners.get(index) else {
                    break;
                };
                let role = *role;
                match listener.accept() {
                    Ok((socket, peer)) => {
                        self.accept_fails = false;
                        match self.adopt(socket, peer, role, now) {
                            Ok(Some(at)) => again.push(at),
                            Ok(None) => {}
                            Err(error) => log::error("connection").val("error", error).send(),
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Gone before it was taken.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        if !std::mem::replace(&mut self.accept_fails, true) {
                            log::error("accept").val("error", error).send();
                        }
                        self.paused_until = Some(now + ACCEPT_PAUSE);
                        self.waiting.push(index);
                        break;
                    }
                }
            }
        }
    }

    /// Takes a connection in, or turns it away; its place.
    fn adopt(
        &mut self,
        mut socket: Socket,
        peer: Peer,
        role: Role,
        now: Instant,
    ) -> io::Result<Option<usize>> {
        let limits = &self.config.pop3;
        let name = Name::new(
            match peer {
                Peer::Tcp(address) => Some(address),
                Peer::Unix(_) => None,
            },
            daemon::clock::random_u64(),
        );
        let ip = name.ip();
        name.event(Kind::Connect, &mut self.peers.events);
        let of_peer = ip
            .and_then(|ip| self.per_address.get(&ip))
            .copied()
            .unwrap_or(0);
        let full = self.live >= usize::try_from(limits.max_sessions).unwrap_or(usize::MAX);
        if full || of_peer >= limits.max_sessions_per_address {
            name.line(log::warning("turned-away"))
                .kv(
                    "limit",
                    if full {
                        "max_sessions"
                    } else {
                        "max_sessions_per_address"
                    },
                )
                .send();
            if role == Role::Pop3 {
                Connection::turn_away(socket);
            }
            return Ok(None);
        }
        socket.send_at_once();
        let at = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let token = Token(CONNECTIONS + 2 * at);
        let made = self
            .poll
            .registry()
            .register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)
            .and_then(|()| {
                let tls = if role == Role::Pop3s {
                    self.tls.as_ref()
                } else {
                    None
                };
                let login = Login::new(LoginOptions {
                    tls: match (role, &self.tls) {
                        (Role::Pop3s, _) => Tls::On,
                        (Role::Pop3, Some(_)) => Tls::Offered,
                        (Role::Pop3, None) => Tls::Unavailable,
                    },
                    clear_passwords: limits.clear_on_loopback
                        && ip.is_some_and(|ip| ip.is_loopback()),
                });
                Connection::new(socket, name, login, tls, now)
            });
        let connection = match made {
            Ok(connection) => connection,
            Err(error) => {
                self.free.push(at);
                return Err(error);
            }
        };
        if let Some(place) = self.connections.get_mut(at) {
            *place = Some(connection);
        }
        self.live += 1;
        if let Some(ip) = ip {
            *self.per_address.entry(ip).or_default() += 1;
        }
        Ok(Some(at))
    }
}
