//! The loop: brings what happens to the scheduler and carries out what it wants.

use std::time::{Duration, Instant};

use config::Config;
use daemon::packet::Packets;
use daemon::signals::{Notice, Signals};
use daemon::start::Ready;
use daemon::{Confined, Fatal, clock, log};
use mio::{Events, Interest, Poll, Token};
use queue::Place;
use queue::wire::PACKET_MAX;

use crate::caretaker::{Caretaker, Deliverer};
use crate::disk::Disk;
use crate::lines;
use crate::remote::Remote;
use crate::resolve::Tables;
use crate::sched::{Action, Event, Limits, Now, Sched, Schedule};
use crate::trigger::{TRIGGER_MAX, Trigger};
use crate::workers::{Request, Workers};

const TRIGGER: Token = Token(0);
const DELIVER: Token = Token(1);
const REMOTE: Token = Token(2);
const SIGNALS: Token = Token(3);
const THREADS: Token = Token(4);
/// Workers get tokens from here.
const WORKERS: usize = 16;

/// Announcements taken before answers get their turn.
const TRIGGERS_AT_ONCE: usize = 256;

/// How often `incoming/` is looked through for messages that nobody announced: smtpd may have
/// died between its commit and the announcement.
const RESCAN: Duration = Duration::from_secs(300);

/// How soon it is looked through when announcements were lost. Under such load more are lost in
/// the meantime, and one look finds them all.
const RESCAN_SOON: Duration = Duration::from_millis(50);

/// How long deliveries under way may take to end when we are asked to stop.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Local deliveries at once to one user. A Maildir needs no lock, so each of them is another
/// sync under way in the same moment, which the filesystem's journal does together.
const LOCAL_PER_USER: usize = 8;

/// What queue-manager is given.
pub struct Sockets {
    /// smtpd's announcements.
    pub trigger: Packets,
    /// local-deliver's parent.
    pub deliver: Packets,
    /// remote-send.
    pub remote: Packets,
    /// mail-start, which replaces the deliverers.
    pub caretaker: Caretaker,
}

/// Serves until it is told to stop or the house is shut.
///
/// # Errors
/// The loop's own: no event queue, no listing of the queue at start.
pub fn serve(
    _: &Confined,
    config: &Config,
    tables: Tables,
    (sockets, signals): (Sockets, Signals),
    disk: Disk,
    ready: Ready,
) -> Result<(), Fatal> {
    let mut shell = Shell::new(config, tables, sockets, signals, disk)?;
    shell.greet();
    shell.scan_all()?;
    ready.tell();
    log::info("serving").val("messages", shell.depth()).send();
    shell.run()
}

struct Shell {
    poll: Poll,
    signals: Signals,
    trigger: Packets,
    /// The socket may hold more than was taken.
    trigger_more: bool,
    workers: Workers,
    remote: Remote,
    caretaker: Caretaker,
    disk: Disk,
    sched: Sched<Tables>,
    began: Instant,
    rescan_at: Instant,
    stop_by: Option<Instant>,
    buffer: Vec<u8>,
    /// What has happened and not been told to the scheduler yet.
    events: Vec<Event>,
    /// Workers that can take another delivery.
    free: Vec<usize>,
}

impl Shell {
    fn new(
        config: &Config,
        tables: Tables,
        sockets: Sockets,
        signals: Signals,
        mut disk: Disk,
    ) -> Result<Self, Fatal> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        signals.register(registry, SIGNALS)?;
        let mut trigger = sockets.trigger;
        registry.register(&mut trigger, TRIGGER, Interest::READABLE)?;
        let answer_time = config.queue.answer_time;
        let tokens = (DELIVER, WORKERS);
        let workers = Workers::new(sockets.deliver, registry, tokens, answer_time)?;
        let remote = Remote::new(sockets.remote, registry, REMOTE, answer_time)?;
        disk.register(registry, THREADS)?;
        let count = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        let limits = Limits {
            schedule: Schedule::new(&config.queue.retry, config.queue.lifetime),
            local: count(config.queue.local_concurrency),
            local_per_user: LOCAL_PER_USER,
            local_answer_ms: u64::try_from(config.queue.delivery_time.as_millis())
                .unwrap_or(u64::MAX),
            remote: count(config.remote.concurrency),
            remote_per_destination: count(config.remote.per_destination),
        };
        let now = Instant::now();
        Ok(Self {
            signals,
            trigger,
            trigger_more: true,
            workers,
            remote,
            caretaker: sockets.caretaker,
            disk,
            sched: Sched::new(limits, tables, clock::random_u64()),
            began: now,
            rescan_at: now + RESCAN,
            stop_by: None,
            buffer: vec![0; PACKET_MAX],
            events: Vec::new(),
            free: Vec::new(),
            poll,
        })
    }

    /// Says hello to both deliverers before anything is asked of them.
    fn greet(&mut self) {
        self.workers.flush();
        self.remote.flush(&mut self.disk, &mut self.events);
    }

    fn depth(&self) -> usize {
        let (active, fresh, waiting) = self.sched.depth();
        active + fresh + waiting
    }

    fn now(&self) -> Now {
        let mono_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now {
            mono_ms,
            unix: clock::unix_seconds(),
        }
    }

    /// Finds everything again after a start.
    fn scan_all(&mut self) -> Result<(), Fatal> {
        let mut deferred = Vec::new();
        self.disk
            .scan(Place::Deferred, &mut |id| deferred.push(id))
            .map_err(|error| Fatal::io("deferred", error))?;
        for id in deferred {
            let due = self.disk.due(id);
            self.tell(Event::Found {
                id,
                place: Place::Deferred,
                due: due.max(0),
                repeat: true,
            });
        }
        self.scan_incoming(true)
            .map_err(|error| Fatal::io("incoming", error))
    }

    /// `repeat`: what is found may have been worked on before. That is so at start only: later,
    /// a message that we do not know has never been handed out.
    fn scan_incoming(&mut self, repeat: bool) -> std::io::Result<()> {
        let mut new = Vec::new();
        let sched = &self.sched;
        self.disk.scan(Place::Incoming, &mut |id| {
            if !sched.knows(id) {
                new.push(id);
            }
        })?;
        for id in new {
            if self.disk.examine(id) {
                log::info("found").val("id", id).send();
                self.tell(Event::Found {
                    id,
                    place: Place::Incoming,
                    due: 0,
                    repeat,
                });
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Fatal> {
        let mut events = Events::with_capacity(256);
        loop {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    TRIGGER => self.trigger_more = true,
                    DELIVER => {
                        let registry = self.poll.registry();
                        if event.is_readable()
                            && !self.workers.on_parent(
                                registry,
                                &mut self.buffer,
                                &mut self.free,
                                &mut self.events,
                            )
                        {
                            return Ok(());
                        }
                        self.workers.flush();
                    }
                    REMOTE => {
                        if event.is_readable()
                            && !self.remote.on_readable(
                                &mut self.disk,
                                &mut self.buffer,
                                &mut self.events,
                            )
                        {
                            return Ok(());
                        }
                        self.remote.flush(&mut self.disk, &mut self.events);
                    }
                    SIGNALS => {
                        while let Some(notice) = self.signals.take() {
                            if matches!(notice, Notice::Stop | Notice::Reload)
                                && self.stop_by.is_none()
                            {
                                log::info("stopping")
                                    .val("running", self.sched.running())
                                    .send();
                                self.sched.drain();
                                self.stop_by = Some(Instant::now() + STOP_MAX);
                            }
                        }
                    }
                    THREADS => {}
                    Token(token) => {
                        let slot = token.wrapping_sub(WORKERS);
                        self.workers.on_worker(
                            slot,
                            &mut self.buffer,
                            &mut self.free,
                            &mut self.events,
                        );
                    }
                }
            }
            while let Some(event) = self.disk.take() {
                self.events.push(event);
            }
            self.doubt();
            self.settle();
            if !self.take_triggers() {
                return Ok(());
            }
            self.tell(Event::Tick);
            self.settle();
            if self
                .stop_by
                .is_some_and(|by| by <= Instant::now() || self.is_quiet())
            {
                log::info("stopped")
                    .val("running", self.sched.running())
                    .send();
                return Ok(());
            }
            if self.rescan_at <= Instant::now() {
                self.rescan();
            }
        }
    }

    /// Asks for another deliverer in place of one that does not answer.
    fn doubt(&mut self) {
        let now = Instant::now();
        if !self.workers.parent_answers(now) {
            self.caretaker.replace(Deliverer::Local);
        }
        if !self.remote.answers(now, &mut self.events) {
            self.caretaker.replace(Deliverer::Remote);
        }
    }

    /// Whether nothing is under way, neither deliveries nor writes.
    fn is_quiet(&self) -> bool {
        self.sched.running() == 0 && !self.disk.is_busy()
    }

    fn timeout(&mut self) -> Option<Duration> {
        if self.trigger_more {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let tick = self
            .sched
            .next_tick()
            .map(|at_ms| self.began + Duration::from_millis(at_ms));
        let idle = self.workers.close_idle(now);
        let next = [
            tick,
            idle,
            self.stop_by,
            Some(self.rescan_at),
            self.workers.next_doubt(),
            self.remote.next_doubt(),
        ]
        .into_iter()
        .flatten()
        .min();
        // A millisecond more, so that the moment has come when we look.
        next.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn rescan(&mut self) {
        self.rescan_at = Instant::now() + RESCAN;
        if let Err(error) = self.scan_incoming(false) {
            log::error("scan").val("error", error).send();
        }
        self.settle();
    }

    /// Reads announcements; `false`: smtpd's end is closed.
    fn take_triggers(&mut self) -> bool {
        if !self.trigger_more || self.stop_by.is_some() {
            self.trigger_more = false;
            return true;
        }
        let mut buffer = [0; TRIGGER_MAX + 1];
        for _ in 0..TRIGGERS_AT_ONCE {
            let length = match self.trigger.recv(&mut buffer) {
                Ok(packet) if packet.length == 0 => return false,
                Ok(packet) => packet.length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.trigger_more = false;
                    return true;
                }
                Err(error) => {
                    log::warning("trigger").val("error", error).send();
                    continue;
                }
            };
            match Trigger::decode(buffer.get(..length).unwrap_or_default()) {
                Some(Trigger::New(id)) => {
                    self.tell(Event::Found {
                        id,
                        place: Place::Incoming,
                        due: 0,
                        repeat: false,
                    });
                }
                // smtpd may not remove anything, and a message that is whole stays whatever it says.
                Some(Trigger::GivenUp(id)) => {
                    if !self.sched.knows(id) && self.disk.examine(id) {
                        log::warning("trigger")
                            .val("id", id)
                            .kv("error", "given up, yet whole")
                            .send();
                        self.tell(Event::Found {
                            id,
                            place: Place::Incoming,
                            due: 0,
                            repeat: true,
                        });
                    }
                }
                Some(Trigger::Scan) => {
                    self.rescan_at = self.rescan_at.min(Instant::now() + RESCAN_SOON)
                }
                None => log::warning("trigger")
                    .kv("error", "unknown announcement")
                    .send(),
            }
        }
        true
    }

    /// Tells the scheduler what has happened until nothing more follows from it.
    fn settle(&mut self) {
        loop {
            for slot in std::mem::take(&mut self.free) {
                let sched = &self.sched;
                self.workers.next_job(
                    &mut self.disk,
                    slot,
                    |id| sched.message(id),
                    &mut self.events,
                );
            }
            if self.events.is_empty() {
                return;
            }
            for event in std::mem::take(&mut self.events) {
                self.tell(event);
            }
        }
    }

    /// Tells the scheduler one thing and does what it wants then.
    fn tell(&mut self, event: Event) {
        let delivery = match &event {
            Event::Answered(number, _) | Event::Void(number) | Event::Overdue(number) => {
                Some(*number)
            }
            _ => None,
        };
        // A report is a message like any other from now on.
        if let Event::Reported(_, Some(id)) = event {
            self.events.push(Event::Found {
                id,
                place: Place::Incoming,
                due: 0,
                repeat: false,
            });
        }
        if let Event::Loaded {
            id,
            envelope,
            retry,
            content,
            ..
        } = &event
        {
            lines::active(*id, envelope, content.length, retry.attempts);
        }
        if let Event::Removed(id, true) = &event {
            lines::removed(*id);
        }
        let now = self.now();
        self.sched.on(now, event);
        if let Some(number) = delivery.filter(|number| !self.sched.is_running(*number)) {
            self.remote.over(number);
        }
        while let Some(action) = self.sched.action() {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Load { id, place, check } => {
                let event = self.disk.load(id, place, check);
                self.events.push(event);
            }
            Action::Local {
                number,
                id,
                user,
                index,
                repeat,
            } => {
                let Some(message) = self.sched.message(id) else {
                    return;
                };
                let request = Request {
                    number,
                    id,
                    place: message.place,
                    index,
                    repeat,
                };
                self.workers
                    .deliver(&mut self.disk, message, &user, request, &mut self.events);
            }
            Action::Remote {
                number,
                id,
                hop,
                indices,
            } => {
                let Some(message) = self.sched.message(id) else {
                    return;
                };
                self.remote.send(
                    &mut self.disk,
                    message,
                    number,
                    id,
                    &hop,
                    &indices,
                    &mut self.events,
                );
            }
            Action::Mark { id, place, marks } => self.disk.mark(id, place, &marks),
            Action::Save {
                id,
                place,
                deferral,
            } => {
                let event = self.disk.save(id, place, deferral);
                self.events.extend(event);
            }
            Action::Report {
                id,
                place,
                to,
                failures,
            } => {
                let Some(message) = self.sched.message(id) else {
                    return;
                };
                let event = self.disk.report(id, message, place, to, &failures);
                self.events.extend(event);
            }
            Action::Remove { id, place } => {
                let event = self.disk.remove(id, place);
                self.events.push(event);
            }
            Action::Abandon(number) => {
                if !self.workers.abandon(number) {
                    self.remote.abandon(number);
                }
            }
            Action::PutOff(id) => self.disk.close(id),
            Action::Note(note) => {
                let id = match &note {
                    crate::sched::Note::Outcome { id, .. }
                    | crate::sched::Note::Dropped { id, .. } => Some(*id),
                    _ => None,
                };
                lines::note(&note, id.and_then(|id| self.sched.message(id)));
            }
        }
    }
}
