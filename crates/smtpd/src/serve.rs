//! The loop: accepts, wakes connections, keeps timers, brings answers back, ends in order.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use daemon::dir::Dir;
use daemon::net::{Listener, Peer, Socket};
use daemon::packet::Packets;
use daemon::signals::{Notice, Signals};
use daemon::start::Ready;
use daemon::timers::Timers;
use daemon::wake::Pool;
use daemon::{Confined, Fatal, Start, clock, guard, log};
use events::Reporter;
use mio::{Events, Interest, Poll, Token};
use queue::Incoming;
use smtp::server::{Output, Role};

use crate::answer;
use crate::conn::{Conn, Shop, Timer};
use crate::house::{Doors, House, role};
use crate::report::Name;
use crate::spool::{COMMIT_THREADS, Done, Ids, Room, Ticket, Trigger, commit};

const SIGNALS: Token = Token(0);
const COMMITS: Token = Token(1);
const TRIGGER: Token = Token(2);
const LISTENERS: usize = 16;
/// Connection `n` has the tokens `SESSIONS + 2n` (socket) and `+ 1` (authd's answer).
const SESSIONS: usize = 1 << 16;

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 256;

/// After this time without an open file to accept with, or with names of messages unsaid, the
/// loop tries again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a stop may take. Then what is not yet acknowledged is left; the client tries again.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Signals, and sockets to other programs of the house.
pub struct Channels {
    signals: Signals,
    trigger: Option<Packets>,
    authd: Option<Packets>,
    events: Option<Packets>,
}

impl Channels {
    /// Takes those that were given.
    ///
    /// # Errors
    /// The system's.
    pub fn take(start: &mut Start) -> Result<Self, Fatal> {
        let mut take = |name| start.descriptor(name).map(Packets::from_fd).transpose();
        Ok(Self {
            // Before any thread: they inherit which signals are blocked.
            signals: Signals::new()?,
            trigger: take("trigger")?,
            authd: take("auth-smtp")?,
            events: take("events")?,
        })
    }
}

/// Serves until told to end.
///
/// # Errors
/// The system's, when the loop itself can't go on.
pub fn serve(
    _: &Confined,
    house: House,
    doors: Doors,
    incoming: Incoming<Dir>,
    channels: Channels,
    ready: Ready,
) -> Result<(), Fatal> {
    let poll = Poll::new()?;
    let signals = channels.signals;
    signals.register(poll.registry(), SIGNALS)?;
    let threads = if matches!(doors, Doors::Connected(..)) {
        1
    } else {
        COMMIT_THREADS
    };
    let mut trigger = Trigger::new(channels.trigger);
    if let Some(socket) = trigger.socket() {
        // To see its end; it is never waited for.
        poll.registry()
            .register(socket, TRIGGER, Interest::READABLE)?;
    }
    let shop = Shop {
        house: Rc::new(house),
        registry: poll.registry().try_clone()?,
        incoming,
        ids: Ids::new(),
        room: Room::new(),
        commits: Pool::new(poll.registry(), COMMITS, threads, commit)?,
        in_flight: 0,
        trigger,
        authd: channels.authd,
        events: Reporter::new(channels.events),
        scratch: Vec::new(),
        out: Output::default(),
        now: Instant::now(),
    };
    let mut server = Server {
        poll,
        signals,
        shop,
        listeners: Vec::new(),
        slots: Vec::new(),
        free: Vec::new(),
        addresses: HashMap::new(),
        timers: Timers::new(),
        // So that session ids of two runs differ.
        serial: clock::unix_millis() << 8,
        starved: false,
        stop_at: None,
    };
    server.open(doors)?;
    ready.tell();
    server.run()
}

struct Server {
    poll: Poll,
    signals: Signals,
    shop: Shop,
    listeners: Vec<(Listener, Role)>,
    slots: Vec<Option<Box<Conn>>>,
    free: Vec<usize>,
    addresses: HashMap<IpAddr, u32>,
    timers: Timers<usize>,
    serial: u64,
    /// Connections could not be accepted for want of something.
    starved: bool,
    stop_at: Option<Instant>,
}

impl Server {
    fn open(&mut self, doors: Doors) -> Result<(), Fatal> {
        match doors {
            Doors::Connected(fd, name) => {
                let (socket, peer) = Socket::from_fd(fd)?;
                let role = match peer {
                    Peer::Unix(_) => Role::Local,
                    Peer::Tcp(_) => role(&name).unwrap_or(Role::Mx),
                };
                self.admit(socket, peer, role);
            }
            Doors::Listeners(listeners) => {
                for mut listener in listeners {
                    let Some(role) = role(listener.role()) else {
                        continue;
                    };
                    if role == Role::Submissions && self.shop.house.tls.is_none() {
                        return Err(Fatal::setup(
                            "a listener named submissions needs a certificate",
                        ));
                    }
                    let token = Token(LISTENERS + self.listeners.len());
                    self.poll
                        .registry()
                        .register(&mut listener, token, Interest::READABLE)?;
                    self.listeners.push((listener, role));
                }
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Fatal> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            if self.is_done() {
                return Ok(());
            }
            let mut timeout = self.timers.timeout(Instant::now());
            if self.starved || self.shop.trigger.is_behind() || self.stop_at.is_some() {
                timeout = Some(timeout.map_or(RETRY, |t| t.min(RETRY)));
            }
            match self.poll.poll(&mut events, timeout) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Fatal::io("epoll_wait", e)),
            }
            self.shop.now = Instant::now();
            for event in &events {
                match event.token() {
                    SIGNALS => self.signalled(),
                    COMMITS => self.collect(),
                    TRIGGER => self.house_is_shut(),
                    Token(n) if n < SESSIONS => self.accept(n - LISTENERS),
                    Token(n) => {
                        let slot = (n - SESSIONS) / 2;
                        if n % 2 == SESSIONS % 2 {
                            let (readable, ended) = (
                                event.is_readable(),
                                event.is_read_closed() || event.is_error(),
                            );
                            self.with(slot, |conn, shop| {
                                conn.woken(readable || ended, ended);
                                conn.turn(shop)
                            });
                        } else {
                            self.with(slot, Conn::answered);
                        }
                    }
                }
            }
            while let Some(slot) = self.timers.expired(self.shop.now) {
                self.with(slot, Conn::timeout);
            }
            self.shop.trigger.catch_up();
            if std::mem::take(&mut self.starved) {
                for n in 0..self.listeners.len() {
                    self.accept(n);
                }
            }
        }
    }

    /// Nothing is left to be done and nothing can come.
    fn is_done(&self) -> bool {
        let idle = self.live() == 0 && self.shop.in_flight == 0;
        let late = self.stop_at.is_some_and(|at| Instant::now() >= at);
        self.listeners.is_empty() && (idle || late)
    }

    fn live(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn signalled(&mut self) {
        while let Some(notice) = self.signals.take() {
            match notice {
                Notice::Stop => self.stop(),
                Notice::Reload => self.close_doors(),
                Notice::Child => {}
            }
        }
    }

    /// Takes no more connections; those that are there go on.
    fn close_doors(&mut self) {
        for (mut listener, _) in self.listeners.drain(..) {
            let _ = self.poll.registry().deregister(&mut listener);
        }
        self.starved = false;
    }

    /// Ends sessions as soon as they rest.
    fn stop(&mut self) {
        self.close_doors();
        self.stop_at.get_or_insert(self.shop.now + STOP_TIMEOUT);
        for slot in 0..self.slots.len() {
            self.with(slot, Conn::shutdown);
        }
    }

    /// The trigger's other end can be read only when it is closed.
    fn house_is_shut(&mut self) {
        let closed = match self.shop.trigger.socket() {
            Some(socket) => matches!(socket.recv(&mut [0; 1]), Ok(packet) if packet.length == 0),
            None => false,
        };
        if closed {
            log::info("house-shut").send();
            self.stop();
        }
    }

    /// Brings home what the threads have done.
    fn collect(&mut self) {
        while let Some(done) = self.shop.commits.take() {
            self.shop.in_flight = self.shop.in_flight.saturating_sub(1);
            // Before the client hears of it, and also when it has gone meanwhile.
            match &done.result {
                Ok(()) => self.shop.trigger.committed(done.id),
                Err(error) => {
                    log::warning("commit-failed")
                        .val("id", done.id)
                        .val("error", error)
                        .send();
                    self.shop.trigger.abandoned(done.id);
                }
            }
            self.bring(&done);
        }
    }

    fn bring(&mut self, done: &Done) {
        let Ticket { slot, serial } = done.ticket;
        let waits = self
            .slots
            .get(slot)
            .and_then(|s| s.as_ref())
            .is_some_and(|c| c.ticket().serial == serial);
        if waits {
            self.with(slot, |conn, shop| conn.committed(done, shop));
        }
    }

    /// Lets a connection go on; drops it when it is over or has panicked.
    fn with(&mut self, slot: usize, work: impl FnOnce(&mut Conn, &mut Shop) -> bool) {
        let Some(mut conn) = self.slots.get_mut(slot).and_then(Option::take) else {
            return;
        };
        let shop = &mut self.shop;
        let alive = guard(|| work(&mut conn, shop)).unwrap_or_else(|| {
            conn.name.line(log::error("session-panicked")).send();
            shop.out = Output::default();
            false
        });
        self.keep(slot, conn, alive);
    }

    fn keep(&mut self, slot: usize, mut conn: Box<Conn>, alive: bool) {
        if alive {
            match conn.timer(&self.shop) {
                Some(Timer::In(time)) => self.timers.set(slot, self.shop.now + time),
                Some(Timer::Off) => self.timers.cancel(slot),
                None => {}
            }
            if let Some(place) = self.slots.get_mut(slot) {
                *place = Some(conn);
            }
            return;
        }
        self.shop.out.bytes.clear();
        self.shop.out.actions.clear();
        self.timers.cancel(slot);
        if let Some(key) = address_key(conn.name.peer) {
            if let Some(count) = self.addresses.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.addresses.remove(&key);
                }
            }
        }
        let shop = &mut self.shop;
        let _ = guard(|| conn.end(shop));
        self.free.push(slot);
    }

    fn accept(&mut self, n: usize) {
        loop {
            let Some((listener, role)) = self.listeners.get(n) else {
                return;
            };
            let role = *role;
            match listener.accept() {
                Ok((socket, peer)) => self.admit(socket, peer, role),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    log::warning("accept")
                        .kv("role", listener.role())
                        .val("error", error)
                        .send();
                    self.starved = true;
                    return;
                }
            }
        }
    }

    fn admit(&mut self, mut socket: Socket, peer: Peer, role: Role) {
        self.serial += 1;
        let sid = format!("{:x}", self.serial);
        // The low half is what differs between sessions that live at one time.
        let name = Name {
            sid,
            number: self.serial as u32,
            peer,
            role,
        };
        let key = address_key(peer);
        let rule = if self.live() >= self.shop.house.max_sessions() {
            Some("sessions")
        } else if key.is_some_and(|key| {
            self.addresses
                .get(&key)
                .is_some_and(|n| *n >= self.shop.house.max_sessions_per_address())
        }) {
            Some("sessions-per-address")
        } else {
            None
        };
        if let Some(rule) = rule {
            name.line(log::info("refused"))
                .kv("rule", rule)
                .kv("reply", answer::TOO_MANY.trim_ascii_end())
                .send();
            if role != Role::Submissions {
                // One try: a fresh socket takes this much.
                let _ = socket.write(answer::TOO_MANY);
            }
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let ticket = Ticket {
            slot,
            serial: self.serial,
        };
        let token = Token(SESSIONS + 2 * slot);
        match Conn::new(name, socket, ticket, token, &mut self.shop) {
            Ok(conn) => {
                if let Some(key) = key {
                    *self.addresses.entry(key).or_insert(0) += 1;
                }
                if let Some(place) = self.slots.get_mut(slot) {
                    *place = Some(Box::new(conn));
                }
                self.with(slot, Conn::turn);
            }
            Err(error) => {
                log::warning("accept").val("error", error).send();
                self.shop.out = Output::default();
                self.free.push(slot);
            }
        }
    }
}

/// What sessions are counted by: an IPv4 address, or the /64 that one IPv6 host can use at will.
fn address_key(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Unix(_) => None,
        Peer::Tcp(address) => Some(match address.ip().to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_by_network() {
        let key = |text: &str| {
            address_key(Peer::Tcp(text.parse().unwrap()))
                .unwrap()
                .to_string()
        };
        assert_eq!(key("192.0.2.7:1"), "192.0.2.7");
        assert_eq!(key("[2001:db8:1:2:3:4:5:6]:1"), "2001:db8:1:2::");
    }
}
