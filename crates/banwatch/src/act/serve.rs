//! The loop of act: questions of watch, commands that run, names that are looked up.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::packet::{PACKET_MAX, Packets};
use daemon::process;
use daemon::signals::{Notice, Signals};
use daemon::start::Ready;
use daemon::wake::Pool;
use daemon::{Fatal, clock, log};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::child::Child;
use super::line::{Counts, Lines, Work};
use super::names::{Found, Hosts, Job, LOOKUPS_AT_ONCE, LOOKUPS_MAX, Wanted, look_up};
use super::plan::JailPlan;
use super::wire::{Answer, Request};

/// How long bans are lifted one by one at the end. What is left then stays.
pub const LIFT_TIME: Duration = Duration::from_secs(5);
/// How long the end may take in all; below the time after which mail-start kills.
pub const STOP_TIME: Duration = Duration::from_secs(8);
/// Answers that may wait for room.
const ANSWERS_MAX: usize = 2_000;
/// Questions taken in one turn.
const QUESTIONS_TURN: usize = 256;
/// Between two reports of the numbers.
const REPORT: Duration = Duration::from_secs(1);

const SIGNALS: Token = Token(0);
const WATCH: Token = Token(1);
const NAMES: Token = Token(2);
const CHILDREN: usize = 16;

/// What act holds when it begins.
#[derive(Debug)]
pub struct Act {
    /// The pair to watch.
    pub watch: Packets,
    /// What there is to run; empty when only names are looked up.
    pub plans: Vec<JailPlan>,
    /// Names of the host's own file.
    pub hosts: Hosts,
    /// Whom to ask about others.
    pub dns: dns::Settings,
}

struct Loop {
    poll: Poll,
    watch: Packets,
    lines: Lines,
    hosts: Arc<Hosts>,
    dns: dns::Settings,
    pool: Pool<Job, Found>,
    /// By slot.
    children: HashMap<usize, Child>,
    slot: usize,
    /// Commands that wait for the name of an address.
    nameless: HashMap<u64, Work>,
    answers: VecDeque<Vec<u8>>,
    told: Counts,
    told_at: Instant,
    ends: Option<Instant>,
    hurried: bool,
}

/// Runs until watch has gone or it is told to stop; then lifts what stands and stops the actions.
///
/// # Errors
/// `Temporary`: the system's.
pub fn run(act: Act, mut signals: Signals, ready: Ready) -> Result<(), Fatal> {
    let poll = Poll::new()?;
    signals.register(poll.registry(), SIGNALS)?;
    let fd = act.watch.as_fd().as_raw_fd();
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut SourceFd(&fd), WATCH, both)?;
    let pool = Pool::new(poll.registry(), NAMES, LOOKUPS_AT_ONCE, look_up)?;
    let mut all = Loop {
        poll,
        watch: act.watch,
        lines: Lines::new(act.plans, clock::unix_seconds()),
        hosts: Arc::new(act.hosts),
        dns: act.dns,
        pool,
        children: HashMap::new(),
        slot: 0,
        nameless: HashMap::new(),
        answers: VecDeque::new(),
        told: Counts::default(),
        told_at: Instant::now(),
        ends: None,
        hurried: false,
    };
    all.say(&Answer::Need);
    ready.tell();
    let mut events = Events::with_capacity(64);
    let mut buffer = vec![0; PACKET_MAX];
    let mut more = true;
    loop {
        let timeout = if more {
            Some(Duration::ZERO)
        } else {
            all.patience()
        };
        if let Err(e) = all.poll.poll(&mut events, timeout) {
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(Fatal::io("poll", e));
            }
        }
        for event in &events {
            match event.token() {
                SIGNALS => {
                    while let Some(notice) = signals.take() {
                        match notice {
                            Notice::Child => all.reap(),
                            Notice::Stop | Notice::Reload => all.stop(),
                        }
                    }
                }
                // What it says is read below.
                WATCH => {}
                NAMES => all.found(),
                Token(n) => {
                    if let Some(c) = all.children.get_mut(&(n - CHILDREN)) {
                        c.read();
                    }
                }
            }
        }
        more = all.questions(&mut buffer)?;
        all.tick();
        all.begin();
        all.report();
        if all.ends.is_some() && all.is_done() {
            return Ok(());
        }
    }
}

impl Loop {
    fn patience(&self) -> Option<Duration> {
        let children = self.children.values().filter_map(Child::due);
        let end = self.ends.map(|at| {
            if self.hurried {
                at + STOP_TIME
            } else {
                at + LIFT_TIME
            }
        });
        let report = (self.lines.counts != self.told).then(|| self.told_at + REPORT);
        let next = children.chain(end).chain(report).min();
        next.map(|at| at.saturating_duration_since(Instant::now()))
    }

    fn say(&mut self, answer: &Answer) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back(answer.encode());
        }
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(octets) = self.answers.front() {
            match self.watch.send(octets, None) {
                Ok(()) => {
                    self.answers.pop_front();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.answers.clear(),
            }
        }
    }

    /// Takes questions; `true` when there may be more.
    fn questions(&mut self, buffer: &mut [u8]) -> Result<bool, Fatal> {
        self.flush();
        if self.ends.is_some() {
            // What comes now is for the next one.
            return Ok(false);
        }
        for _ in 0..QUESTIONS_TURN {
            let n = match self.watch.recv(buffer) {
                Ok(p) if p.length == 0 => {
                    self.stop();
                    return Ok(false);
                }
                Ok(p) => p.length,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::InvalidData => continue,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {
                    self.stop();
                    return Ok(false);
                }
                Err(e) => return Err(Fatal::io("watch", e)),
            };
            match Request::decode(buffer.get(..n).unwrap_or(&[])) {
                Ok(Request::Resolve(number, name)) => self.resolve(number, name),
                Ok(request) => self.lines.request(request),
                Err(e) => log::error("refused").val("why", e).send(),
            }
        }
        Ok(true)
    }

    fn resolve(&mut self, number: u32, name: String) {
        if !self.give(Wanted::Addresses(number, name)) {
            self.say(&Answer::Addresses(number, Vec::new()));
        }
    }

    fn give(&mut self, wanted: Wanted) -> bool {
        if self.pool.waiting() >= LOOKUPS_MAX {
            return false;
        }
        let job = Job {
            wanted,
            hosts: Arc::clone(&self.hosts),
            settings: self.dns.clone(),
        };
        match self.pool.give(job) {
            Ok(()) => true,
            Err(e) => {
                log::error("names").val("error", e).send();
                false
            }
        }
    }

    fn found(&mut self) {
        while let Some(found) = self.pool.take() {
            match found {
                Found::Addresses(number, all) => self.say(&Answer::Addresses(number, all)),
                Found::Host(number, name) => {
                    if let Some(mut work) = self.nameless.remove(&number) {
                        name_it(&mut work, &name);
                        self.start(&work);
                    }
                }
            }
        }
    }

    /// Starts what may be started.
    fn begin(&mut self) {
        while let Some(mut work) = self.lines.next_work() {
            match work.host.clone() {
                None => self.start(&work),
                Some((_, ip)) => {
                    if self.give(Wanted::Host(work.number, ip)) {
                        self.nameless.insert(work.number, work);
                    } else {
                        name_it(&mut work, "");
                        self.start(&work);
                    }
                }
            }
        }
        for (number, ignored) in std::mem::take(&mut self.lines.answers) {
            self.say(&Answer::Ignored(number, ignored));
        }
    }

    fn start(&mut self, work: &Work) {
        let child = Child::start(work).and_then(|child| {
            let token = Token(CHILDREN + self.slot);
            let fd = child.output();
            let registry = self.poll.registry();
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
            Ok(child)
        });
        match child {
            Ok(child) => {
                self.children.insert(self.slot, child);
                self.slot += 1;
            }
            Err(e) => {
                log::error("action")
                    .kv("jail", &work.jail)
                    .kv("what", &work.what)
                    .val("error", e)
                    .send();
                self.lines.ended(work.number, None, false);
            }
        }
    }

    fn reap(&mut self) {
        while let Some((pid, end)) = process::reap() {
            let slot = self.children.iter().find(|(_, c)| c.pid == pid);
            let Some(slot) = slot.map(|(s, _)| *s) else {
                continue;
            };
            if let Some(child) = self.children.remove(&slot) {
                let _ = self
                    .poll
                    .registry()
                    .deregister(&mut SourceFd(&child.output()));
                let (number, code, late) = child.ended(end);
                self.lines.ended(number, code, late);
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        for c in self.children.values_mut() {
            c.tick(now);
        }
        let Some(since) = self.ends else { return };
        let took = now.saturating_duration_since(since);
        if took >= LIFT_TIME && !self.hurried {
            self.hurried = true;
            self.lines.hurry();
            // What hangs must not keep the actions from being stopped.
            for c in self.children.values_mut() {
                c.hurry(now);
            }
        }
        if took >= STOP_TIME {
            for c in self.children.values_mut() {
                c.kill();
            }
        }
    }

    fn report(&mut self) {
        let counts = self.lines.counts;
        if counts != self.told && self.told_at.elapsed() >= REPORT {
            self.told = counts;
            self.told_at = Instant::now();
            let all = [counts.run, counts.failed, counts.timeouts, counts.dropped];
            self.say(&Answer::Counts(all));
        }
    }

    fn stop(&mut self) {
        if self.ends.is_none() {
            self.ends = Some(Instant::now());
            self.lines.stop();
            for (number, _) in std::mem::take(&mut self.nameless) {
                self.lines.ended(number, None, false);
            }
        }
    }

    fn is_done(&self) -> bool {
        let over = self.ends.is_some_and(|at| at.elapsed() >= STOP_TIME);
        (self.lines.is_idle() && self.children.is_empty()) || over
    }
}

/// Puts a name into the environment of a command. What no host is called becomes `?`.
fn name_it(work: &mut Work, name: &str) {
    let Some((variable, _)) = &work.host else {
        return;
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let name: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '?' })
        .take(super::wire::NAME_MAX)
        .collect();
    for (n, value) in &mut work.variables {
        if n == variable {
            value.clone_from(&name);
        }
    }
}
