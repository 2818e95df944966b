//! One connection: the session core with its socket, its queue file and its question to authd.

mod deeds;

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use daemon::dir::Dir;
use daemon::log;
use daemon::net::Socket;
use daemon::packet::Packets;
use daemon::tls::{Stream, TlsFacts};
use daemon::wake::Pool;
use events::{Kind, Reporter};
use mio::{Interest, Registry, Token};
use queue::Incoming;
use smtp::server::{AuthOutcome, Context, Event, Output, Role, Session, Wait};

use crate::house::{House, role_name};
use crate::login::Question;
use crate::policy::PeerPolicy;
use crate::report::Name;
use crate::spool::{self, Done, Ids, Job, Room, Ticket, Trigger};

/// Octets read at once; one buffer serves all connections.
pub const READ_MAX: usize = 64 * 1024;

/// How long authd may take. It delays wrong passwords by itself, for less than this.
const AUTH_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a peer that is being sent away may take to read our last words.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections share and change.
pub struct Shop {
    /// What never changes.
    pub house: Rc<House>,
    /// Where sockets are registered.
    pub registry: Registry,
    /// The queue's door.
    pub incoming: Incoming<Dir>,
    /// Names of new messages.
    pub ids: Ids,
    /// How much room there is behind it.
    pub room: Room,
    /// Threads that wait for the disk.
    pub commits: Pool<Job, Done>,
    /// Commits under way.
    pub in_flight: usize,
    /// Who is told of new messages.
    pub trigger: Trigger,
    /// Who knows passwords.
    pub authd: Option<Packets>,
    /// Who is told of misbehaviour.
    pub events: Reporter,
    /// Where input is read into.
    pub scratch: Vec<u8>,
    /// What the core says.
    pub out: Output,
    /// The time of this turn of the loop.
    pub now: Instant,
}

/// Why a TLS handshake is going on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shake {
    /// The door begins with TLS.
    First,
    /// STARTTLS.
    Upgrade,
}

/// See the module's page.
pub struct Conn {
    /// Who it is.
    pub name: Name,
    ticket: Ticket,
    token: Token,
    stream: Stream<Socket>,
    session: Session,
    tls: Option<TlsFacts>,
    /// Received and not used.
    held: Vec<u8>,
    /// The held octets have to be shown to the session again.
    look: bool,
    /// The socket may have more.
    readable: bool,
    /// The peer has ended its direction: a short read is no sign of an empty socket.
    half_closed: bool,
    /// Said and not yet written.
    unsent: Vec<u8>,
    /// TLS begins as soon as everything is written.
    upgrade: bool,
    shake: Option<Shake>,
    spool: Option<deeds::Spool>,
    question: Option<Question>,
    closing: bool,
    /// Something has moved since the timer was set.
    progress: bool,
    waited: Wait,
    since: Instant,
    messages: u32,
    refused: u16,
}

impl Conn {
    /// Greets a peer, or begins TLS where the door begins with it.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        name: Name,
        mut socket: Socket,
        ticket: Ticket,
        token: Token,
        shop: &mut Shop,
    ) -> io::Result<Self> {
        let first = name.role == Role::Submissions;
        // Only TLS makes small writes behind each other that would wait for an answer.
        if first {
            socket.send_at_once();
        }
        shop.registry
            .register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut stream = Stream::clear(socket);
        if first {
            let tls = shop.house.tls.as_ref().ok_or(io::ErrorKind::Unsupported)?;
            stream.start_server(tls)?;
        }
        let mut conn = Self {
            name,
            ticket,
            token,
            stream,
            session: Session::new(first),
            tls: None,
            held: Vec::new(),
            look: false,
            readable: first,
            half_closed: false,
            unsent: Vec::new(),
            upgrade: false,
            shake: first.then_some(Shake::First),
            spool: None,
            question: None,
            closing: false,
            progress: true,
            waited: Wait::Handshake,
            since: shop.now,
            messages: 0,
            refused: 0,
        };
        conn.name.connected(&mut shop.events);
        if !first {
            conn.with_context(shop, |session, cx, out| session.start(cx, out));
        }
        Ok(conn)
    }

    /// The socket has something, or takes something.
    pub const fn woken(&mut self, readable: bool, half_closed: bool) {
        self.readable |= readable;
        self.half_closed |= half_closed;
    }

    /// Goes on as far as it can. False: the connection is over.
    pub fn turn(&mut self, shop: &mut Shop) -> bool {
        loop {
            match self.send(shop) {
                Ok(true) => {}
                Ok(false) => return true,
                Err(_) => return false,
            }
            if self.closing {
                self.stream.close();
                return false;
            }
            if std::mem::take(&mut self.upgrade) && !self.begin_tls(shop) {
                return false;
            }
            match self.session.wait() {
                Wait::Host => return true,
                Wait::Over => {
                    self.closing = true;
                    continue;
                }
                Wait::Command | Wait::Data | Wait::Handshake => {}
            }
            if !self.look && !self.readable {
                return true;
            }
            if !self.take_input(shop) {
                return false;
            }
        }
    }

    /// How long to wait from now on; `None`: the timer that runs is still right.
    pub fn timer(&mut self, shop: &Shop) -> Option<Timer> {
        let wait = if self.shake.is_some() {
            Wait::Handshake
        } else {
            self.session.wait()
        };
        if !std::mem::take(&mut self.progress) && wait == self.waited {
            return None;
        }
        self.waited = wait;
        let time = match &self.question {
            _ if self.closing => Some(LAST_WORDS_TIMEOUT),
            Some(_) => Some(AUTH_TIMEOUT),
            None => shop.house.timeout(wait),
        };
        Some(time.map_or(Timer::Off, Timer::In))
    }

    /// The timer has fired. False: the connection is over.
    pub fn timeout(&mut self, shop: &mut Shop) -> bool {
        self.progress = true;
        if self.question.take().is_some() {
            self.tell(Event::Auth(AuthOutcome::Unavailable), shop);
            return self.turn(shop);
        }
        if self.shake.is_some() {
            self.name.event(Kind::Slow, 1, &mut shop.events);
            return false;
        }
        // Whoever does not read our words gets no more of them.
        if self.closing || !self.unsent.is_empty() {
            return false;
        }
        self.tell(Event::Timeout, shop);
        self.turn(shop)
    }

    /// The program is to end.
    pub fn shutdown(&mut self, shop: &mut Shop) -> bool {
        if self.shake.is_some() {
            return false;
        }
        self.tell(Event::Shutdown, shop);
        self.turn(shop)
    }

    /// authd has said something.
    pub fn answered(&mut self, shop: &mut Shop) -> bool {
        if let Some(outcome) = self.question.as_mut().and_then(Question::read) {
            self.question = None;
            if let AuthOutcome::Granted(user) = &outcome {
                self.name
                    .line(log::info("auth"))
                    .kv("user", user.as_bytes())
                    .send();
            }
            self.progress = true;
            self.tell(Event::Auth(outcome), shop);
        }
        self.turn(shop)
    }

    /// The disk has said something.
    pub fn committed(&mut self, done: &Done, shop: &mut Shop) -> bool {
        self.progress = true;
        match &done.result {
            Ok(()) => {
                self.messages = self.messages.saturating_add(1);
                self.tell(Event::Committed(done.id.as_str()), shop);
            }
            Err(error) => self.tell(Event::CommitFailed(spool::blame(error)), shop),
        }
        self.turn(shop)
    }

    /// Which connection this is.
    pub const fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Drops what was begun. A session that did nothing but hand in mail has its lines already;
    /// the log hears of the end of any other.
    pub fn end(mut self, shop: &mut Shop) {
        self.abandon(shop);
        let plain = self.messages > 0 && self.refused == 0;
        self.name
            .line(if plain {
                log::debug("disconnect")
            } else {
                log::info("disconnect")
            })
            .kv("role", role_name(self.name.role))
            .val("messages", self.messages)
            .val("refused", self.refused)
            .val(
                "duration_ms",
                shop.now.saturating_duration_since(self.since).as_millis(),
            )
            .send();
    }

    fn with_context<T>(
        &mut self,
        shop: &mut Shop,
        f: impl FnOnce(&mut Session, &Context<'_>, &mut Output) -> T,
    ) -> T {
        let policy = PeerPolicy {
            house: &shop.house,
            role: self.name.role,
            peer: self.name.peer,
        };
        let cx = Context {
            settings: shop.house.settings(self.name.role),
            policy: &policy,
        };
        f(&mut self.session, &cx, &mut shop.out)
    }

    fn tell(&mut self, event: Event<'_>, shop: &mut Shop) {
        self.with_context(shop, |session, cx, out| session.on(cx, event, out));
        self.perform(&[], shop);
        self.look = !self.held.is_empty();
    }

    /// Writes what is to be said. True: all of it is written.
    fn send(&mut self, shop: &mut Shop) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let sent = write_some(&mut self.stream, &self.unsent)?;
            self.progress |= sent > 0;
            if sent < self.unsent.len() {
                self.unsent.drain(..sent);
                self.unsent.append(&mut shop.out.bytes);
                return Ok(false);
            }
            // Most connections never need it again.
            self.unsent = Vec::new();
        }
        if !shop.out.bytes.is_empty() {
            let sent = write_some(&mut self.stream, &shop.out.bytes);
            let rest = shop
                .out
                .bytes
                .get(sent.as_ref().map_or(0, |n| *n)..)
                .unwrap_or(&[]);
            self.unsent.extend_from_slice(rest);
            shop.out.bytes.clear();
            sent?;
        }
        if self.unsent.is_empty() && self.stream.has_pending() {
            self.stream.flush()?;
        }
        Ok(self.unsent.is_empty() && !self.stream.has_pending())
    }

    fn begin_tls(&mut self, shop: &Shop) -> bool {
        self.held = Vec::new();
        self.stream.socket().send_at_once();
        self.shake = Some(Shake::Upgrade);
        self.readable = true;
        match shop
            .house
            .tls
            .as_ref()
            .map(|tls| self.stream.start_server(tls))
        {
            Some(Ok(())) => true,
            Some(Err(error)) => {
                self.name
                    .line(log::warning("tls-failed"))
                    .val("error", error)
                    .send();
                false
            }
            None => false,
        }
    }

    /// Reads and shows it to the session. False: the connection is over.
    fn take_input(&mut self, shop: &mut Shop) -> bool {
        let mut buffer = std::mem::take(&mut shop.scratch);
        buffer.resize(READ_MAX, 0);
        let alive = self.take_into(&mut buffer, shop);
        shop.scratch = buffer;
        alive
    }

    fn take_into(&mut self, buffer: &mut [u8], shop: &mut Shop) -> bool {
        let Some((head, room)) = buffer.split_at_mut_checked(self.held.len()) else {
            return false;
        };
        head.copy_from_slice(&self.held);
        let mut total = self.held.len();
        let mut ended = false;
        if !std::mem::take(&mut self.look) {
            let size = room.len();
            match self.stream.read(room) {
                Ok(0) => ended = true,
                Ok(n) => {
                    total += n;
                    // The next octets bring a new event: no need to read until nothing is there.
                    if n < size && !self.stream.is_tls() && !self.half_closed {
                        self.readable = false;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) => {
                    if self.shake.is_some() {
                        self.name
                            .line(log::info("tls-failed"))
                            .val("error", error)
                            .send();
                        self.name.event(Kind::TlsFail, 1, &mut shop.events);
                    }
                    ended = true;
                }
            }
            if self.shake.is_some() && !ended && !self.stream.is_handshaking() {
                self.tls_is_on(shop);
            }
        }
        if self.shake.is_some() {
            return !ended;
        }
        let mut pos = 0;
        while pos < total && !self.closing {
            let input = buffer.get(pos..total).unwrap_or(&[]);
            let used = self.with_context(shop, |session, cx, out| session.input(cx, input, out));
            self.perform(input, shop);
            pos += used;
            self.progress |= used > 0;
            if used == 0 {
                break;
            }
        }
        self.held.clear();
        match buffer.get(pos..total) {
            Some(rest) if !rest.is_empty() && !self.closing => self.held.extend_from_slice(rest),
            _ => self.held = Vec::new(),
        }
        if ended {
            // The last replies, if the peer has only ended its direction.
            let _ = self.send(shop);
            self.tell(Event::Closed, shop);
            return false;
        }
        true
    }

    fn tls_is_on(&mut self, shop: &mut Shop) {
        self.tls = self.stream.facts();
        self.progress = true;
        match self.shake.take() {
            Some(Shake::First) => {
                self.with_context(shop, |session, cx, out| session.start(cx, out))
            }
            Some(Shake::Upgrade) => self.with_context(shop, |session, cx, out| {
                session.on(cx, Event::TlsStarted, out)
            }),
            None => {}
        }
        self.perform(&[], shop);
    }
}

/// What to do with a connection's timer.
pub enum Timer {
    /// Fire after this time.
    In(Duration),
    /// Do not fire.
    Off,
}

/// How much of `data` the stream takes now.
fn write_some(stream: &mut Stream<Socket>, data: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while let Some(rest) = data.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => sent += n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(e) => return Err(e),
        }
    }
    Ok(sent)
}
