//! The loop of watch.

mod errand;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use daemon::net::{Listener, Peer, Socket};
use daemon::packet::Packets;
use daemon::signals::{Notice, Signals};
use daemon::start::Ready;
use daemon::{Confined, Fatal, clock, log, memory};
use events::{EVENT_LENGTH, Event};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::control::{Command, LINE_MAX, answer};
use super::desk::Desk;
use super::errands::Errands;
use super::jails::Jails;
use super::outbox::Outbox;
use crate::act::values::Who;
use crate::date::Zone;
use crate::fire::wire::{Answer, Request};
use crate::source::follow::Logs;
use crate::source::journal;
use crate::state::file::StateFile;
use crate::state::record::Record;

const SIGNALS: Token = Token(0);
const EVENTS: Token = Token(1);
const FIRE: Token = Token(2);
const LOGS: Token = Token(3);
const JOURNAL: Token = Token(4);
const ACT: Token = Token(5);
/// The control socket's listeners, then its connections.
const LISTENERS: usize = 8;
const CLIENTS: usize = 16;
/// Connections to the control socket at once.
const CLIENTS_MAX: usize = 16;
/// Events taken in one turn, before anything else has its turn.
const EVENTS_TURN: usize = 1_000;
/// How long nothing is read at start because the firewall is not yet as it was.
const RESTORE_WAIT: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_secs(1);
const EPERM: u32 = 1;

/// Where entries of the journal come from.
#[derive(Debug)]
pub struct Journal {
    /// The pipe, non-blocking.
    pub pipe: File,
    /// While this is open the relay runs.
    pub alive: Option<OwnedFd>,
    /// The reader of the stream.
    pub reader: journal::Reader,
    /// For each jail that reads it: its reader in [`Jails`], its `journalmatch` lines.
    pub jails: Vec<(usize, Vec<String>)>,
    /// When the last entry was taken, in microseconds since 1970; older ones are not wanted.
    pub last: u64,
    /// What the state file has of it.
    pub saved: u64,
}

/// Under this name the state file keeps how far the journal was read: microseconds since 1970
/// where a log has an offset.
pub const JOURNAL_POSITION: &str = "journal:";

impl Journal {
    fn position(&mut self) -> Record {
        self.saved = self.last;
        Record::Position {
            path: JOURNAL_POSITION.to_owned(),
            file: (0, 0),
            offset: self.last,
        }
    }
}

/// Everything that watch holds when it is confined.
#[derive(Debug)]
pub struct Held {
    /// Decisions.
    pub desk: Desk,
    /// fail2ban's jails.
    pub jails: Jails,
    /// Their logs.
    pub logs: Option<Logs>,
    /// The journal.
    pub journal: Option<Journal>,
    /// The daemons' events.
    pub events: Option<Packets>,
    /// Users whose events are believed.
    pub trusted: Vec<u32>,
    /// The way to fire.
    pub fire: Option<Packets>,
    /// The way to act.
    pub act: Option<Packets>,
    /// We have started act ourselves, so its end is ours to wait for.
    pub act_is_ours: bool,
    /// The state file.
    pub state: Option<StateFile>,
    /// The control socket.
    pub control: Vec<Listener>,
    /// For dates in logs.
    pub zone: fn() -> Zone,
    /// What is let go when everything is read and compiled.
    pub memory: memory::Start,
}

struct Client {
    socket: Socket,
    question: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
}

/// Runs until told to stop or to make room for a successor.
///
/// # Errors
/// `Temporary`: the system's; the journal's end.
pub fn run(_: &Confined, held: Held, mut signals: Signals, ready: Ready) -> Result<(), Fatal> {
    let poll = Poll::new()?;
    let registry = poll.registry();
    signals.register(registry, SIGNALS)?;
    let listen = |fd: i32, token| registry.register(&mut SourceFd(&fd), token, Interest::READABLE);
    if let Some(e) = &held.events {
        listen(e.as_fd().as_raw_fd(), EVENTS)?;
    }
    if let Some(l) = &held.logs {
        listen(l.wait_on().as_raw_fd(), LOGS)?;
    }
    if let Some(j) = &held.journal {
        listen(j.pipe.as_raw_fd(), JOURNAL)?;
    }
    if let Some(f) = &held.fire {
        let fd = f.as_fd().as_raw_fd();
        registry.register(
            &mut SourceFd(&fd),
            FIRE,
            Interest::READABLE | Interest::WRITABLE,
        )?;
    }
    if let Some(a) = &held.act {
        let fd = a.as_fd().as_raw_fd();
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&fd), ACT, both)?;
    }
    let mut control = held.control;
    for (n, l) in control.iter_mut().enumerate().take(CLIENTS - LISTENERS) {
        registry.register(l, Token(LISTENERS + n), Interest::READABLE)?;
    }
    let mut watch = Watch {
        poll,
        desk: held.desk,
        jails: held.jails,
        logs: held.logs,
        journal: held.journal,
        events: held.events,
        trusted: held.trusted,
        fire: held.fire.map(Outbox::new),
        act: held.act.map(Errands::new),
        act_is_ours: held.act_is_ours,
        names_until: Instant::now(),
        standing: Vec::new(),
        restoring: None,
        state: held.state,
        control,
        clients: HashMap::new(),
        next_client: CLIENTS,
        zone: held.zone,
        saved_lost: 0,
    };
    watch.begin()?;
    held.memory.let_go();
    ready.tell();
    let mut events = Events::with_capacity(64);
    let (mut more, mut ticked, mut tidied) = (true, Instant::now(), Instant::now());
    loop {
        let timeout = if more && watch.may_read() {
            Duration::ZERO
        } else {
            watch.patience(ticked)
        };
        if let Err(e) = watch.poll.poll(&mut events, Some(timeout)) {
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(Fatal::io("poll", e));
            }
        }
        for event in &events {
            match event.token() {
                SIGNALS => {
                    while let Some(notice) = signals.take() {
                        if matches!(notice, Notice::Stop | Notice::Reload) {
                            return watch.end();
                        }
                    }
                }
                EVENTS => more = true,
                FIRE => watch.fire_speaks()?,
                ACT => watch.act_speaks()?,
                LOGS => {
                    watch.logs_changed();
                    more = true;
                }
                JOURNAL => more = true,
                Token(n) if n < CLIENTS => watch.accept(n - LISTENERS),
                Token(n) => {
                    if watch.client(n) {
                        return watch.end();
                    }
                }
            }
        }
        let now = clock::unix_seconds();
        watch.desk.expire(now);
        if watch
            .restoring
            .is_some_and(|(_, since)| since.elapsed() > RESTORE_WAIT)
        {
            log::warning("restore")
                .kv("state", "the firewall does not answer; going on")
                .send();
            watch.restoring = None;
        }
        let second = ticked.elapsed() >= TICK;
        if second {
            watch.look_for_logs(now);
        }
        if watch.may_read() {
            more = watch.take_events(now)?;
            more |= watch.read_logs();
            more |= watch.read_journal()?;
        }
        watch.carry_out();
        if second {
            ticked = Instant::now();
            watch.tick(now);
        }
        if tidied.elapsed() >= Duration::from_secs(3_600) {
            tidied = Instant::now();
            watch.desk.tidy(now);
            memory::trim();
        }
    }
}

struct Watch {
    poll: Poll,
    desk: Desk,
    jails: Jails,
    logs: Option<Logs>,
    journal: Option<Journal>,
    events: Option<Packets>,
    trusted: Vec<u32>,
    fire: Option<Outbox>,
    act: Option<Errands>,
    act_is_ours: bool,
    /// Until then nothing is read before the names of `ignoreip` are known.
    names_until: Instant,
    /// What stands and act is still to be told of.
    standing: Vec<(usize, Who)>,
    /// The number of the restore that is awaited, and since when.
    restoring: Option<(u32, Instant)>,
    state: Option<StateFile>,
    control: Vec<Listener>,
    clients: HashMap<usize, Client>,
    next_client: usize,
    zone: fn() -> Zone,
    saved_lost: u64,
}

impl Watch {
    fn begin(&mut self) -> Result<(), Fatal> {
        let now = clock::unix_seconds();
        if let Some(state) = &mut self.state {
            state.start().map_err(|e| Fatal::io("state thread", e))?;
            self.desk.snapshot(now, &mut |r| state.put(r));
            state.replace();
        }
        self.desk.records.clear();
        self.desk.deeds.clear();
        let number = clock::random_u64() as u32;
        self.jails.acts.begin(self.act.is_some(), number);
        self.restore(now);
        // An act that was here before us may not ask.
        self.tell_standing();
        // Who is never banned by name has to be known before the first line is read.
        self.jails.tick(&mut self.desk, fine_now());
        self.names_until = Instant::now() + RESTORE_WAIT;
        self.errands();
        let (jails, zone) = (&mut self.jails, self.zone);
        if let Some(logs) = &mut self.logs {
            logs.open_all(&mut |of| jails.reader(of, true, zone(), now));
        }
        log::info("serving")
            .val("bans", self.desk.book.standing_count())
            .val("jails", self.jails.all().len())
            .kv(
                "mode",
                if self.desk.observes() {
                    "observe: the firewall is left alone"
                } else {
                    "enforce"
                },
            )
            .send();
        Ok(())
    }

    /// Whether lines and events may be taken now: the firewall is as it was, and it is known who is
    /// never banned by name; or neither was to be had.
    fn may_read(&self) -> bool {
        let names = self.jails.acts.awaits_ignored() && Instant::now() < self.names_until;
        self.restoring.is_none() && !names
    }

    /// Has fire make the table as it should be.
    fn restore(&mut self, now: i64) {
        let entries = self.desk.enforced(now);
        if let Some(fire) = &mut self.fire {
            fire.forget();
            for (n, ports) in self.jails.ports().iter().enumerate() {
                let scope = u8::try_from(n + 1).unwrap_or(u8::MAX);
                fire.ask(&Request::Ports(scope, ports.clone()));
            }
            self.restoring = Some((fire.restore(&entries), Instant::now()));
        }
        self.desk.add.clear();
        self.desk.delete.clear();
    }

    fn patience(&self, ticked: Instant) -> Duration {
        let unsafe_yet = self.state.as_ref().is_some_and(StateFile::wants_sync);
        let unsaved = self.journal.as_ref().is_some_and(|j| j.last != j.saved);
        let reads = self.logs.is_some() || unsaved;
        let busy = unsafe_yet || self.state.is_some() && reads;
        let next = if busy || self.logs.as_ref().is_some_and(Logs::is_waiting) {
            TICK.saturating_sub(ticked.elapsed())
        } else {
            Duration::from_secs(60)
        };
        // The first expiry, in whole seconds of the wall clock.
        let now = clock::unix_seconds();
        let until = self
            .desk
            .book
            .next_end()
            .map_or(60, |at| (at - now).clamp(0, 60));
        let until =
            Duration::from_secs(u64::try_from(until).unwrap_or(0)).max(Duration::from_millis(50));
        // What waits for act's answer does not wait for ever.
        let asks = self.jails.acts.is_waiting() || self.jails.acts.has_ids();
        let next = if asks || !self.standing.is_empty() {
            next.min(TICK.saturating_sub(ticked.elapsed()))
        } else {
            next
        };
        next.min(until).min(if !self.may_read() {
            TICK
        } else {
            Duration::from_secs(60)
        })
    }

    /// Takes waiting events; `true` when there are more.
    fn take_events(&mut self, now: i64) -> Result<bool, Fatal> {
        let Some(packets) = &self.events else {
            return Ok(false);
        };
        let mut buffer = [0; EVENT_LENGTH + 1];
        for _ in 0..EVENTS_TURN {
            let (length, sender) = match packets.recv_from(&mut buffer) {
                // An end has no sender; an empty packet has one.
                Ok((0, None)) => {
                    // Everybody who could report is gone: the house is being shut.
                    self.events = None;
                    return Ok(false);
                }
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    self.desk.counts.refused += 1;
                    continue;
                }
                Err(e) => return Err(Fatal::io("events", e)),
            };
            let trusted = sender.is_some_and(|s| self.trusted.contains(&s.uid));
            match Event::decode(buffer.get(..length).unwrap_or(&[])) {
                Ok((event, dropped)) if trusted => {
                    self.desk.counts.dropped += u64::from(dropped);
                    if dropped > 0 {
                        log::warning("events").val("dropped", dropped).send();
                    }
                    self.desk.event(now, &event);
                }
                _ => self.desk.counts.refused += 1,
            }
        }
        Ok(true)
    }

    fn logs_changed(&mut self) {
        let (jails, zone) = (&mut self.jails, self.zone);
        let now = clock::unix_seconds();
        if let Some(logs) = &mut self.logs {
            logs.notified(&mut |of| jails.reader(of, true, zone(), now));
        }
    }

    /// Directories of logs that were made since the start.
    fn look_for_logs(&mut self, now: i64) {
        let (jails, zone) = (&mut self.jails, self.zone);
        if let Some(logs) = &mut self.logs {
            logs.seek(&mut |of| jails.reader(of, true, zone(), now));
        }
    }

    fn read_logs(&mut self) -> bool {
        let Some(logs) = &mut self.logs else {
            return false;
        };
        let (jails, desk) = (&mut self.jails, &mut self.desk);
        let (now, chance) = (fine_now(), chance());
        logs.read(&mut |reader, line| jails.line(reader, line, now, None, chance, desk))
    }

    /// Takes what the journal has said; `true` when there may be more.
    fn read_journal(&mut self) -> Result<bool, Fatal> {
        let Some(j) = &mut self.journal else {
            return Ok(false);
        };
        let mut buffer = [0; 64 * 1024];
        let n = match j.pipe.read(&mut buffer) {
            Ok(0) => return Err(Fatal::io("journal", "its reader has ended")),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(e) => return Err(Fatal::io("journal", e)),
        };
        let (now, chance) = (fine_now(), chance());
        let (jails, desk, of) = (&mut self.jails, &mut self.desk, &j.jails);
        let last = &mut j.last;
        j.reader.feed(buffer.get(..n).unwrap_or(&[]), &mut |entry| {
            let mut line = None;
            *last = entry.written().unwrap_or(*last);
            for (reader, matches) in of {
                if matches.is_empty() || matches.iter().any(|m| entry.fits(m)) {
                    let line = line.get_or_insert_with(|| entry.line());
                    jails.line(*reader, line, now, entry.time(), chance, desk);
                }
            }
        });
        Ok(true)
    }

    /// What the desk decided goes to fire and into the state file.
    fn carry_out(&mut self) {
        self.errands();
        let (add, delete) = (
            std::mem::take(&mut self.desk.add),
            std::mem::take(&mut self.desk.delete),
        );
        if let Some(fire) = &mut self.fire {
            if !delete.is_empty() {
                fire.delete(&delete);
            }
            if !add.is_empty() {
                fire.add(&add);
            }
        }
        for advice in self.desk.advice.drain(..) {
            if let Some(events) = &self.events {
                // Where nobody reads it, or not now, the alarm in the log stands alone.
                let _ = events.send(&advice.encode(), None);
            }
        }
        if let Some(state) = &mut self.state {
            if !self.desk.records.is_empty() {
                // Taken, so that what a flood of bans needed goes back.
                for r in std::mem::take(&mut self.desk.records) {
                    state.put(&r);
                }
                state.flush();
            }
        } else {
            self.desk.records.clear();
        }
    }

    fn tick(&mut self, now: i64) {
        self.jails.tick(&mut self.desk, fine_now());
        self.errands();
        if let Some(logs) = &self.logs {
            self.desk.counts.too_long = logs.too_long();
        }
        let Some(state) = &mut self.state else { return };
        if let Some(logs) = &mut self.logs {
            logs.tick(&mut |path, file, offset| {
                state.put(&Record::Position {
                    path: path.to_owned(),
                    file,
                    offset,
                });
            });
        }
        if let Some(j) = self.journal.as_mut().filter(|j| j.last != j.saved) {
            state.put(&j.position());
        }
        if state.wants_compacting() {
            match state.begin_compacting() {
                Ok(()) => {
                    self.desk.snapshot(now, &mut |r| state.put(r));
                    if let Some(j) = &mut self.journal {
                        state.put(&j.position());
                    }
                    if let Some(logs) = &mut self.logs {
                        logs.all_positions(&mut |path, file, offset| {
                            state.put(&Record::Position {
                                path: path.to_owned(),
                                file,
                                offset,
                            });
                        });
                    }
                    state.replace();
                }
                Err(e) => log::error("state").val("error", e).send(),
            }
        }
        state.tick();
        let lost = self.fire.as_ref().map_or(0, |f| f.lost);
        if lost > self.saved_lost {
            log::error("fire")
                .val("packets_lost", lost - self.saved_lost)
                .send();
            self.saved_lost = lost;
        }
    }

    fn end(&mut self) -> Result<(), Fatal> {
        self.carry_out();
        self.tick(clock::unix_seconds());
        // The thread may be busy; what was written is safe from our end, not from the host's.
        log::info("stopped")
            .val("bans", self.desk.book.standing_count())
            .send();
        if self.act_is_ours {
            self.wait_for_act();
        }
        Ok(())
    }

    /// Answers of fire.
    fn fire_speaks(&mut self) -> Result<(), Fatal> {
        let mut buffer = vec![0; daemon::packet::PACKET_MAX];
        loop {
            let Some(fire) = &mut self.fire else {
                return Ok(());
            };
            if fire.flush().is_err() {
                return self.fire_is_gone();
            }
            let n = match fire.packets().recv(&mut buffer) {
                Ok(p) if p.length == 0 => return self.fire_is_gone(),
                Ok(p) => p.length,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {
                    return self.fire_is_gone();
                }
                Err(e) => return Err(Fatal::io("fire", e)),
            };
            let Ok((number, said)) = Answer::decode(buffer.get(..n).unwrap_or(&[])) else {
                log::error("fire").kv("answer", "malformed").send();
                continue;
            };
            let awaited = self.restoring.is_some_and(|(n, _)| n == number);
            match said {
                Answer::Done(refused) => {
                    for e in refused {
                        self.desk.counts.never += 1;
                        self.desk.lift(clock::unix_seconds(), e.prefix, None);
                    }
                    if awaited {
                        self.restoring = None;
                        // All bans were copied for it.
                        memory::trim();
                    }
                }
                Answer::Failed(errno) => {
                    self.desk.counts.failed += 1;
                    if errno == EPERM {
                        log::warning("observe")
                            .kv(
                                "why",
                                "no right to change the firewall: bans are only decided",
                            )
                            .send();
                        self.desk.only_observe();
                        self.fire = None;
                        self.restoring = None;
                        return Ok(());
                    }
                    log::error("fire")
                        .val("error", io::Error::from_raw_os_error(errno.cast_signed()))
                        .send();
                    if awaited {
                        self.restoring = None;
                    }
                }
                Answer::Need => self.restore(clock::unix_seconds()),
                Answer::Listed(..) => {}
                Answer::Full(count) => {
                    self.desk.counts.full = u64::from(count);
                    if count > 0 {
                        log::warning("limits")
                            .val("full", count)
                            .kv("state", "the kernel limits nobody new in full sets")
                            .send();
                    }
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let Some(l) = self.control.get(listener) else {
                return;
            };
            let (mut socket, peer) = match l.accept() {
                Ok(got) => got,
                Err(_) => return,
            };
            let own = daemon::process::own_uid();
            let allowed = matches!(peer, Peer::Unix(who) if who.uid == 0 || who.uid == own);
            if !allowed || self.clients.len() >= CLIENTS_MAX {
                continue;
            }
            let token = self.next_client;
            self.next_client += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            if self
                .poll
                .registry()
                .register(&mut socket, Token(token), both)
                .is_ok()
            {
                let client = Client {
                    socket,
                    question: Vec::new(),
                    answer: Vec::new(),
                    sent: 0,
                };
                self.clients.insert(token, client);
            }
        }
    }

    /// A connection can be read or written; `true` when a reload was asked for.
    fn client(&mut self, token: usize) -> bool {
        let Some(mut c) = self.clients.remove(&token) else {
            return false;
        };
        let mut reload = false;
        let keep = loop {
            if c.answer.is_empty() {
                let mut buffer = [0; LINE_MAX];
                match c.socket.read(&mut buffer) {
                    Ok(0) => break false,
                    Ok(n) => c.question.extend(buffer.get(..n).unwrap_or(&[])),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break true,
                    Err(_) => break false,
                }
                let whole = c.question.iter().position(|b| *b == b'\n');
                if whole.is_none() && c.question.len() <= LINE_MAX {
                    continue;
                }
                let end = whole.unwrap_or(c.question.len());
                let text = match Command::parse(c.question.get(..end).unwrap_or(&[])) {
                    Ok(command) => {
                        reload |= command == Command::Reload;
                        let now = clock::unix_seconds();
                        answer(&command, now, &mut self.desk, &mut self.jails)
                    }
                    Err(why) => format!("- {why}\n"),
                };
                c.answer = text.into_bytes();
            }
            match c.socket.write(c.answer.get(c.sent..).unwrap_or(&[])) {
                Ok(n) => {
                    c.sent += n;
                    if c.sent >= c.answer.len() {
                        break false;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break true,
                Err(_) => break false,
            }
        };
        if keep {
            self.clients.insert(token, c);
        } else {
            let _ = self.poll.registry().deregister(&mut c.socket);
        }
        reload
    }
}

fn fine_now() -> f64 {
    clock::unix_millis() as f64 / 1_000.0
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    (clock::random_u64() >> 11) as f64 / (1u64 << 53) as f64
}
