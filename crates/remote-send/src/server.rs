//! The loop: packets in, lookups, connections, answers out.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use daemon::packet::Packets;
use daemon::signals::{Notice, Signals};
use daemon::timers::Timers;
use daemon::{Confined, Fatal, log};
use dns::{Answer, Candidate, Key, Lookup, Next, Plan, Question};
use mio::event::Source as _;
use mio::{Events, Interest, Poll, Token};
use queue::Class;
use queue::wire::PACKET_MAX;
use queue::wire::remote::{Scope, ToRemote};
use smtp::client::TlsUse;
use smtp::codec::BLOCK;

use crate::answers::Answers;
use crate::body::Body;
use crate::connection::{Connection, Event, Opening, Space};
use crate::job::{Job, own, unroutable};
use crate::lookup::Lookups;
use crate::pool::Pool;
use crate::settings::{
    CONNECTS_MAX, IDLE_MAX, MESSAGES_PER_CONNECTION, SESSIONS_MAX, STOP_TIME, Settings,
};

const PACKETS: Token = Token(0);
const SIGNALS: Token = Token(1);

/// The first token of a connection; all of them are even, those of lookups odd. A number is never
/// used again, so that a late event can't reach another connection.
const FIRST_TOKEN: usize = 16;

/// Octets read at once.
const INPUT: usize = 16 * 1024;

/// Events taken at once.
const EVENTS: usize = 256;

/// Descriptors beside those of transactions: lookups, standard streams, the loop's own.
const OPEN_FILES_MORE: u64 = 512;

/// What the program is doing as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Our hello is out; everything is thrown away until the other one comes.
    Greeting,
    /// Serving.
    Serving,
    /// Nothing new is taken; ends when what is under way has ended.
    Draining,
    /// Told to stop: what has not begun to be sent is dropped, the rest has until then.
    Stopping(Instant),
}

/// The whole state.
#[derive(Debug)]
pub struct Server {
    poll: Poll,
    settings: Settings,
    packets: Packets,
    /// The packets' writability is being waited for.
    answers_wait: bool,
    signals: Signals,
    lookups: Lookups,
    /// Who waits for a lookup.
    waiting: HashMap<Key, Vec<(u64, Question)>>,
    jobs: HashMap<u64, Job>,
    next_job: u64,
    /// Jobs that can go on.
    runnable: VecDeque<u64>,
    connections: HashMap<usize, Box<Connection>>,
    next_token: usize,
    pool: Pool,
    timers: Timers<usize>,
    answers: Answers,
    phase: Phase,
    /// Reading packets stopped at the bound on jobs.
    paused: bool,
    space: Space,
    packet: Vec<u8>,
}

impl Server {
    /// Everything that needs to be open before confinement.
    pub fn new(settings: Settings, mut packets: Packets, signals: Signals) -> Result<Self, Fatal> {
        let poll = Poll::new()?;
        packets.register(poll.registry(), PACKETS, Interest::READABLE)?;
        signals.register(poll.registry(), SIGNALS)?;
        Ok(Self {
            lookups: Lookups::new(settings.dns.clone()),
            poll,
            settings,
            packets,
            answers_wait: false,
            signals,
            waiting: HashMap::new(),
            jobs: HashMap::new(),
            next_job: 0,
            runnable: VecDeque::new(),
            connections: HashMap::new(),
            next_token: FIRST_TOKEN,
            pool: Pool::default(),
            timers: Timers::new(),
            answers: Answers::default(),
            phase: Phase::Greeting,
            paused: false,
            space: Space {
                input: vec![0; INPUT],
                block: vec![0; BLOCK],
            },
            packet: vec![0; PACKET_MAX],
        })
    }

    /// How many descriptors the bounds of this program come to: a queue file, a connection and a
    /// lookup for each transaction, and the kept connections.
    pub fn open_files(&self) -> u64 {
        3 * self.settings.jobs_max as u64 + IDLE_MAX as u64 + OPEN_FILES_MORE
    }

    /// Serves until told to stop or until queue-manager's end is closed.
    pub fn serve(&mut self, _: &Confined) -> Result<(), Fatal> {
        self.answers.hello();
        let mut events = Events::with_capacity(EVENTS);
        // What came before we were there makes no event of its own on some kernels.
        let mut open = self.read_packets()?;
        while open && !self.is_done() {
            self.turn()?;
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    PACKETS => open &= self.read_packets()?,
                    SIGNALS => self.signalled(now),
                    Token(token) if Lookups::owns(token) => self.lookups.ready(token, now),
                    Token(token) => self.connection_event(token, event, now),
                }
            }
            self.timeouts(now);
        }
        self.answers.flush(&self.packets).ok();
        Ok(())
    }

    fn is_done(&self) -> bool {
        match self.phase {
            Phase::Greeting | Phase::Serving => false,
            Phase::Draining => self.jobs.is_empty() && self.answers.is_empty(),
            Phase::Stopping(end) => self.jobs.is_empty() || Instant::now() >= end,
        }
    }

    fn timeout(&mut self) -> Option<std::time::Duration> {
        let now = Instant::now();
        let lookups = self
            .lookups
            .next_timeout()
            .map(|at| at.saturating_duration_since(now));
        let stop = match self.phase {
            Phase::Stopping(end) => Some(end.saturating_duration_since(now)),
            _ => None,
        };
        let least = [self.timers.timeout(now), lookups, stop]
            .into_iter()
            .flatten()
            .min();
        // The poll rounds down to milliseconds; without this it would come back too early and
        // turn in vain.
        least.map(|time| time + std::time::Duration::from_millis(1))
    }

    /// Everything that can be done without waiting.
    fn turn(&mut self) -> Result<(), Fatal> {
        let now = Instant::now();
        loop {
            while let Some(job) = self.runnable.pop_front() {
                self.run(job, now);
            }
            for (key, answer) in self.lookups.turn(self.poll.registry(), now) {
                self.looked_up(key, &answer);
            }
            if self.runnable.is_empty() {
                if !self.resume()? {
                    break;
                }
            }
        }
        let waits = self.answers.flush(&self.packets)?;
        if waits != self.answers_wait {
            self.answers_wait = waits;
            let interest = if waits {
                Interest::READABLE | Interest::WRITABLE
            } else {
                Interest::READABLE
            };
            self.packets
                .reregister(self.poll.registry(), PACKETS, interest)?;
        }
        Ok(())
    }

    /// Reads packets again after the bound on jobs had stopped it; whether there is new work.
    fn resume(&mut self) -> Result<bool, Fatal> {
        if !self.paused || self.jobs.len() >= self.settings.jobs_max {
            return Ok(false);
        }
        self.paused = false;
        self.read_packets()?;
        Ok(!self.runnable.is_empty())
    }

    fn signalled(&mut self, now: Instant) {
        while let Some(notice) = self.signals.take() {
            match notice {
                Notice::Stop => self.stop(now),
                Notice::Reload => {
                    if self.phase != Phase::Draining {
                        log::info("drain")
                            .val("transactions", self.jobs.len())
                            .send();
                    }
                    self.phase = Phase::Draining;
                }
                Notice::Child => {}
            }
        }
    }

    /// Drops what has not begun to be sent: queue-manager keeps it.
    fn stop(&mut self, now: Instant) {
        self.phase = Phase::Stopping(now + STOP_TIME);
        let sending: Vec<u64> = self
            .connections
            .values()
            .filter(|connection| connection.is_sending())
            .filter_map(|connection| connection.job)
            .collect();
        let before = self.jobs.len();
        self.jobs.retain(|job, _| sending.contains(job));
        self.connections
            .retain(|_, connection| connection.is_sending());
        log::info("stop")
            .val("dropped", before - self.jobs.len())
            .val("sending", self.jobs.len())
            .send();
    }

    /// Takes packets until there are none; `false` when queue-manager's end is closed.
    fn read_packets(&mut self) -> Result<bool, Fatal> {
        let now = Instant::now();
        loop {
            match self.phase {
                Phase::Greeting => {}
                Phase::Serving if self.jobs.len() >= self.settings.jobs_max => {
                    self.paused = true;
                    return Ok(true);
                }
                Phase::Serving => {}
                Phase::Draining | Phase::Stopping(_) => return Ok(true),
            }
            let packet = match self.packets.recv(&mut self.packet) {
                Ok(packet) if packet.length == 0 => return Ok(false),
                Ok(packet) => packet,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    log::error("packet").val("error", error).send();
                    continue;
                }
                Err(error) => return Err(Fatal::io("remote", error)),
            };
            let bytes = self.packet.get(..packet.length).unwrap_or_default();
            match ToRemote::decode(bytes) {
                Ok(ToRemote::Hello) if self.phase == Phase::Greeting => self.phase = Phase::Serving,
                Ok(ToRemote::Hello) => {
                    // A new queue-manager: what the old one asked for is void.
                    self.void();
                }
                Ok(_) if self.phase == Phase::Greeting => {}
                Ok(ToRemote::Transaction(transaction)) => {
                    let Some(file) = packet.descriptor else {
                        let verdict = own(
                            Class::Deferred,
                            3,
                            0,
                            Scope::Message,
                            "no queue file came with it",
                        );
                        for recipient in &transaction.recipients {
                            self.answers
                                .add(transaction.number, recipient.index, &verdict);
                        }
                        continue;
                    };
                    let relay = self.settings.relay.as_ref();
                    let job = Job::new(
                        &transaction,
                        File::from(file),
                        relay,
                        now,
                        &mut self.answers,
                    );
                    if job.is_over() {
                        continue;
                    }
                    self.next_job += 1;
                    self.jobs.insert(self.next_job, job);
                    self.runnable.push_back(self.next_job);
                }
                Err(error) => log::error("packet").val("error", error).send(),
            }
        }
    }

    /// Forgets all jobs but those whose content is on its way, which nobody can call back.
    fn void(&mut self) {
        let sending: Vec<u64> = self
            .connections
            .values()
            .filter(|connection| connection.is_sending())
            .filter_map(|connection| connection.job)
            .collect();
        self.connections
            .retain(|_, connection| connection.job.is_none() || connection.is_sending());
        self.jobs.retain(|job, _| sending.contains(job));
    }

    /// Brings a job on its way: by a kept connection, or by the next address of its plan.
    fn run(&mut self, key: u64, now: Instant) {
        let Some(mut job) = self.jobs.remove(&key) else {
            return;
        };
        if job.is_over() || matches!(self.phase, Phase::Stopping(_)) {
            return;
        }
        if job.plan.is_none() {
            // Only while no host has given an answer: otherwise it would be asked again at once.
            if job.tried.is_empty()
                && let Some(token) = self.pool.take_for_hop(&job.hop)
            {
                return self.reuse(token, key, job, now);
            }
            let Some((target, port)) = job.hop.target(self.settings.port) else {
                let verdict = own(
                    Class::Failed,
                    1,
                    2,
                    Scope::Destination,
                    "domain is no name that can be looked up",
                );
                return job.give_up(&verdict, &mut self.answers);
            };
            job.plan = Some(Plan::new(target, &self.settings.own));
            job.port = port;
        }
        loop {
            if let Some(candidate) = job.again.take() {
                match self.try_candidate(candidate, key, job, now) {
                    Ok(()) => return,
                    Err(back) => job = *back,
                }
                continue;
            }
            let Some(plan) = &mut job.plan else {
                return;
            };
            if job.connects >= CONNECTS_MAX || job.tried.len() >= SESSIONS_MAX {
                let verdict = own(
                    Class::Deferred,
                    4,
                    1,
                    Scope::Destination,
                    "no host could be reached",
                );
                self.log_end(&job, "tried-enough");
                return job.give_up(&verdict, &mut self.answers);
            }
            match plan.next_step() {
                Next::Try(candidate)
                    if job
                        .tried
                        .contains(&SocketAddr::new(candidate.address, job.port)) => {}
                Next::Try(candidate) => match self.try_candidate(candidate, key, job, now) {
                    Ok(()) => return,
                    Err(back) => job = *back,
                },
                Next::Wait => {
                    if !self.ask(key, &mut job, now) {
                        self.jobs.insert(key, job);
                        return;
                    }
                }
                Next::Done(error) => {
                    let verdict = match error {
                        Some(error) => {
                            self.log_end(&job, error.as_str());
                            unroutable(error, &job.hop)
                        }
                        None => own(
                            Class::Deferred,
                            4,
                            1,
                            Scope::Destination,
                            "no host could be reached",
                        ),
                    };
                    return job.give_up(&verdict, &mut self.answers);
                }
            }
        }
    }

    fn log_end(&self, job: &Job, why: &str) {
        log::info("unreachable")
            .kv("id", job.id.as_str())
            .kv("hop", job.hop.as_str())
            .kv("error", why)
            .send();
    }

    /// Asks what the plan wants to know; whether an answer came at once.
    fn ask(&mut self, key: u64, job: &mut Job, now: Instant) -> bool {
        let Some(plan) = &mut job.plan else {
            return false;
        };
        let mut progress = false;
        for question in plan.questions().to_vec() {
            match self.lookups.query(&question, now) {
                Lookup::Ready(answer) => {
                    plan.answered(&question, &answer, &mut daemon::clock::random_u64);
                    progress = true;
                }
                Lookup::Pending(lookup) if job.asked.contains(&lookup) => {}
                Lookup::Pending(lookup) => {
                    job.asked.push(lookup);
                    self.waiting
                        .entry(lookup)
                        .or_default()
                        .push((key, question));
                }
            }
        }
        progress
    }

    fn looked_up(&mut self, lookup: Key, answer: &Arc<Answer>) {
        for (key, question) in self.waiting.remove(&lookup).unwrap_or_default() {
            let Some(job) = self.jobs.get_mut(&key) else {
                continue;
            };
            job.asked.retain(|asked| *asked != lookup);
            if let Some(plan) = &mut job.plan {
                plan.answered(&question, answer, &mut daemon::clock::random_u64);
                if !self.runnable.contains(&key) {
                    self.runnable.push_back(key);
                }
            }
        }
    }

    /// Gives the job a connection that is kept.
    fn reuse(&mut self, token: usize, key: u64, job: Job, now: Instant) {
        let Some(mut connection) = self.connections.remove(&token) else {
            // Can't happen: a connection that ends is forgotten by the pool.
            self.jobs.insert(key, job);
            self.runnable.push_back(key);
            return;
        };
        let (transaction, places) = job.transaction();
        let body = Body::new(std::rc::Rc::clone(&job.file), job.content);
        self.jobs.insert(key, job);
        let space = &mut self.space;
        let done = daemon::guard(move || {
            let mut events = Vec::new();
            connection.begin(key, transaction, places, body, space, &mut events);
            (connection, events)
        });
        self.settle(token, Some(key), done, now);
    }

    /// Connects to an address, or gives the job back when the system refuses at once.
    fn try_candidate(
        &mut self,
        candidate: Candidate,
        key: u64,
        mut job: Job,
        now: Instant,
    ) -> Result<(), Box<Job>> {
        let peer = SocketAddr::new(candidate.address, job.port);
        if !job.clear
            && let Some(token) = self.pool.take_for_peer(peer)
        {
            job.current = Some(candidate);
            self.reuse(token, key, job, now);
            return Ok(());
        }
        job.connects += 1;
        let token = self.next_token;
        self.next_token += 2;
        let name = candidate.host.as_ref().map(dns::Name::as_str);
        let opening = Opening {
            peer,
            source: self.settings.source_for(peer),
            name,
            hop: job.hop.clone(),
            hello: &self.settings.hello,
            tls: if job.clear {
                TlsUse::Never
            } else {
                self.settings.tls
            },
            client_tls: &self.settings.client_tls,
        };
        let opened = Connection::open(opening, self.poll.registry(), Token(token));
        job.clear = false;
        match opened {
            Ok(connection) => {
                job.current = Some(candidate);
                self.connections.insert(token, Box::new(connection));
                self.reuse(token, key, job, now);
                Ok(())
            }
            Err(error) => {
                let host = crate::answers::peer(name, peer.ip());
                self.refused(&mut job, &host, &error.to_string());
                Err(Box::new(job))
            }
        }
    }

    fn refused(&self, job: &mut Job, host: &str, why: &str) {
        log::info("connect")
            .kv("id", job.id.as_str())
            .kv("host", host)
            .kv("error", why)
            .send();
        job.trouble(&own(
            Class::Deferred,
            4,
            1,
            Scope::Destination,
            &format!("connecting to {host}: {why}"),
        ));
    }

    fn connection_event(&mut self, token: usize, event: &mio::event::Event, now: Instant) {
        let Some(mut connection) = self.connections.remove(&token) else {
            return;
        };
        let job = connection.job;
        if !connection.is_connected() {
            match connection.connecting() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                    self.connections.insert(token, connection);
                    return;
                }
                Err(error) => return self.not_connected(token, &connection, &error.to_string()),
            }
        }
        let space = &mut self.space;
        let done = daemon::guard(move || {
            let mut events = Vec::new();
            if event.is_writable() {
                connection.writable(space, &mut events);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                connection.readable(
                    event.is_read_closed() || event.is_error(),
                    space,
                    &mut events,
                );
            }
            (connection, events)
        });
        self.settle(token, job, done, now);
    }

    /// A connection never stood: its job goes on to the next address.
    fn not_connected(&mut self, token: usize, connection: &Connection, why: &str) {
        self.timers.cancel(token);
        let Some(key) = connection.job else {
            return;
        };
        if let Some(mut job) = self.jobs.remove(&key) {
            self.refused(&mut job, &connection.host, why);
            self.jobs.insert(key, job);
            self.runnable.push_back(key);
        }
    }

    fn timeouts(&mut self, now: Instant) {
        self.lookups.timeout(now);
        while let Some(token) = self.timers.expired(now) {
            let Some(mut connection) = self.connections.remove(&token) else {
                continue;
            };
            let job = connection.job;
            if !connection.is_connected() {
                self.not_connected(token, &connection, "timed out");
                continue;
            }
            self.pool.forget(token);
            let space = &mut self.space;
            let done = daemon::guard(move || {
                let mut events = Vec::new();
                connection.timed_out(space, &mut events);
                (connection, events)
            });
            self.settle(token, job, done, now);
        }
    }

    /// After work on a connection: what it said of its job, and where it goes now.
    fn settle(
        &mut self,
        token: usize,
        job: Option<u64>,
        done: Option<(Box<Connection>, Vec<Event>)>,
        now: Instant,
    ) {
        let Some((mut connection, events)) = done else {
            // Its share of work panicked and is logged; the connection is gone, the job remains.
            self.timers.cancel(token);
            self.pool.forget(token);
            if let Some(job) = job.and_then(|job| self.jobs.get_mut(&job)) {
                let verdict = own(
                    Class::Deferred,
                    3,
                    0,
                    Scope::Message,
                    "this host has made a mistake",
                );
                job.give_up(&verdict, &mut self.answers);
            }
            self.jobs.retain(|_, job| !job.is_over());
            return;
        };
        let mut over = false;
        for event in events {
            match event {
                Event::Outcome(place, outcome) => {
                    if let Some(job) = connection.job.and_then(|job| self.jobs.get_mut(&job)) {
                        log_outcome(job, &mut connection, &outcome, now);
                        job.outcome(place, &outcome, &connection.host, &mut self.answers);
                    }
                }
                Event::Idle => {
                    self.release(&mut connection, false);
                    if connection.messages >= MESSAGES_PER_CONNECTION
                        || self.phase != Phase::Serving
                    {
                        self.quit(&mut connection, &mut over);
                    } else if let Some(old) =
                        self.pool
                            .keep(token, connection.hop.clone(), connection.peer)
                        && let Some(mut old_connection) = self.connections.remove(&old)
                    {
                        self.quit(&mut old_connection, &mut true);
                        self.timers.cancel(old);
                    }
                }
                Event::ReconnectClear => {
                    log::warning("tls-failed")
                        .kv("host", &*connection.host)
                        .send();
                    if let Some(job) = connection.job.and_then(|job| self.jobs.get_mut(&job)) {
                        job.again = job.current.take();
                        job.clear = true;
                    }
                }
                Event::Closed => over = true,
            }
        }
        if over {
            self.timers.cancel(token);
            self.pool.forget(token);
            self.release(&mut connection, true);
            return;
        }
        if let Some(time) = connection.deadline() {
            self.timers.set(token, now + time);
        }
        self.connections.insert(token, connection);
    }

    /// A connection has done with its job: which is over, or goes on elsewhere.
    fn release(&mut self, connection: &mut Connection, ended: bool) {
        let Some(key) = connection.job.take() else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&key) else {
            return;
        };
        if job.is_over() {
            self.jobs.remove(&key);
            return;
        }
        if connection.messages > 1 && ended {
            // A kept connection that had ended meanwhile says nothing about the host: the same
            // address is tried afresh.
            if job.again.is_none() {
                job.again = job.current.take();
            }
        } else if connection.was_greeted() && job.again.is_none() {
            job.tried.push(connection.peer);
        }
        self.runnable.push_back(key);
    }

    fn quit(&mut self, connection: &mut Connection, over: &mut bool) {
        let mut events = Vec::new();
        connection.quit(&mut self.space, &mut events);
        *over |= events.iter().any(|event| matches!(event, Event::Closed));
    }
}

/// One line for what a host said to a transaction as a whole, one for each recipient that it did
/// not take. queue-manager logs what becomes of each recipient.
fn log_outcome(
    job: &Job,
    connection: &mut Connection,
    outcome: &smtp::client::Outcome,
    now: Instant,
) {
    let event = match outcome.class {
        smtp::types::StatusClass::Success => {
            if std::mem::replace(&mut connection.sent_logged, true) {
                return;
            }
            "sent"
        }
        smtp::types::StatusClass::Transient => "deferred",
        smtp::types::StatusClass::Permanent => "refused",
    };
    let cipher = connection.facts.as_ref().map(|facts| facts.cipher.as_str());
    log::info(event)
        .kv("id", job.id.as_str())
        .kv("host", &*connection.host)
        .kv("tls", connection.tls_words())
        .opt("cipher", cipher)
        .val("message", connection.messages)
        .val(
            "delay_ms",
            now.saturating_duration_since(job.since).as_millis(),
        )
        .kv("reply", &*outcome.words)
        .send();
}
