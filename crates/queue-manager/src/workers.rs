//! Workers of local-deliver: one socket each, at most one delivery under way on each.
//!
//! A worker is asked of the parent when a user has more deliveries than workers, used for as
//! long as there is mail for its user, and closed when it has had nothing to do for a while.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::log;
use daemon::packet::Packets;
use mio::{Interest, Registry, Token};
use queue::reply::Status;
use queue::wire::local::{Delivery, FromParent, Outcome, ToParent};
use queue::wire::remote::Scope;
use queue::{Place, QueueId};

use crate::disk::Disk;
use crate::sched::{Active, Answer, Event};
use crate::silence::{Silence, Verdict};

/// An idle worker is closed after this long.
pub const IDLE: Duration = Duration::from_secs(10);

/// Idle workers kept at most; beyond, the one that has been idle longest is closed.
pub const IDLE_MAX: usize = 128;

/// The scheduler's request for one delivery.
#[derive(Clone, Debug)]
pub struct Request {
    /// The delivery's number.
    pub number: u64,
    /// The message.
    pub id: QueueId,
    /// Where it lies.
    pub place: Place,
    /// The recipient.
    pub index: u32,
    /// It may have been delivered before.
    pub repeat: bool,
}

struct Worker {
    user: Arc<str>,
    /// Its number at the parent.
    number: u32,
    socket: Packets,
    /// The delivery under way.
    job: Option<u64>,
    idle_since: Instant,
}

#[derive(Default)]
struct User {
    idle: Vec<usize>,
    requests: VecDeque<Request>,
    /// Workers asked for and not yet given.
    asked: usize,
}

/// All workers and the socket of their parent.
pub struct Workers {
    parent: Packets,
    base: usize,
    workers: HashMap<usize, Worker>,
    next_slot: usize,
    users: HashMap<Arc<str>, User>,
    /// Packets that the parent's socket had no room for.
    unsent: VecDeque<Vec<u8>>,
    /// Workers asked for and not yet given, of all users.
    asked: usize,
    silence: Silence,
    idle: usize,
    /// When an idle worker may have been so for long enough.
    next_look: Option<Instant>,
    packet: Vec<u8>,
}

/// Answer for a delivery that cannot be made now, for a reason on our side.
fn not_now(text: &str) -> Answer {
    Answer {
        status: Status::SYSTEM_DEFERRED,
        scope: Scope::Recipient,
        host: String::new(),
        text: text.to_owned(),
        recipients: Vec::new(),
    }
}

impl Workers {
    /// Takes the parent's socket and registers it as `token`; workers get tokens from `base` up.
    /// The parent may be silent for `answer_time` while it owes an answer.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        mut parent: Packets,
        registry: &Registry,
        (token, base): (Token, usize),
        answer_time: Duration,
    ) -> io::Result<Self> {
        let greeting = VecDeque::from([queue::wire::HELLO.to_vec()]);
        drop_answers(&parent);
        registry.register(&mut parent, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            parent,
            base,
            workers: HashMap::new(),
            next_slot: 0,
            users: HashMap::new(),
            unsent: greeting,
            asked: 0,
            silence: Silence::new(answer_time),
            idle: 0,
            next_look: None,
            packet: Vec::new(),
        })
    }

    /// Delivers one recipient, now or as soon as there is a worker.
    pub fn deliver(
        &mut self,
        disk: &mut Disk,
        message: &Active,
        user: &Arc<str>,
        request: Request,
        events: &mut Vec<Event>,
    ) {
        while let Some(slot) = self.users.get_mut(user).and_then(|user| user.idle.pop()) {
            self.idle -= 1;
            match self.give(disk, message, slot, &request) {
                Ok(()) => return,
                Err(Given::WorkerGone) => {
                    self.workers.remove(&slot);
                }
                Err(Given::Refused(text)) => {
                    self.rest(slot);
                    events.push(Event::Answered(request.number, not_now(&text)));
                    return;
                }
            }
        }
        let entry = self.users.entry(Arc::clone(user)).or_default();
        entry.requests.push_back(request);
        self.ask(user);
    }

    /// Asks the parent for as many workers as there are requests without one.
    fn ask(&mut self, user: &Arc<str>) {
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        while entry.asked < entry.requests.len() {
            entry.asked += 1;
            self.asked += 1;
            self.silence.asked(Instant::now());
            let mut packet = Vec::new();
            let wanted = ToParent::Worker { user };
            if wanted.encode(&mut packet).is_ok() {
                self.unsent.push_back(packet);
            }
        }
        self.flush();
    }

    /// Sends what the parent's socket takes.
    pub fn flush(&mut self) {
        while let Some(packet) = self.unsent.front() {
            match self.parent.send(packet, None) {
                Ok(()) => {
                    self.unsent.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // The parent is being replaced; its successor says hello.
                    log::warning("local-deliver").val("error", error).send();
                    return;
                }
            }
        }
    }

    /// Reads what the parent has answered. `false`: its end is closed, the house is being shut.
    pub fn on_parent(
        &mut self,
        registry: &Registry,
        buffer: &mut [u8],
        ready: &mut Vec<usize>,
        events: &mut Vec<Event>,
    ) -> bool {
        loop {
            let packet = match self.parent.recv(buffer) {
                Ok(packet) if packet.length == 0 => return false,
                Ok(packet) => packet,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => {
                    log::error("local-deliver").val("error", &error).send();
                    if error.kind() == io::ErrorKind::InvalidData {
                        continue;
                    }
                    return true;
                }
            };
            let octets = buffer.get(..packet.length).unwrap_or_default();
            match FromParent::decode(octets) {
                Ok(FromParent::Hello) => self.hello(),
                Ok(FromParent::Worker { user, worker }) => {
                    let user: Arc<str> = Arc::from(user);
                    match packet.descriptor {
                        Some(socket) => {
                            self.new_worker(registry, user, (worker, socket), ready, events);
                        }
                        None => self.refused(&user, &not_now("no worker came"), events),
                    }
                }
                Ok(FromParent::Refused { user, status, text }) => {
                    let answer = Answer {
                        status,
                        ..not_now(text)
                    };
                    self.refused(&Arc::from(user), &answer, events);
                }
                Err(error) => log::error("local-deliver").val("error", error).send(),
            }
            self.silence.heard(Instant::now(), self.asked > 0);
        }
    }

    /// Looks whether the parent still answers. `false`: it has to be replaced.
    pub fn parent_answers(&mut self, now: Instant) -> bool {
        self.silence.look(now) != Verdict::Silent
    }

    /// When [`Workers::parent_answers`] is of use next.
    pub fn next_doubt(&self) -> Option<Instant> {
        self.silence.next()
    }

    /// A delivery has had its time: its worker is given up and the parent told to kill it. Where
    /// it found no worker yet, it is forgotten. `false`: it is not here.
    pub fn abandon(&mut self, number: u64) -> bool {
        let has_it = |(_, worker): &(&usize, &Worker)| worker.job == Some(number);
        if let Some((&slot, worker)) = self.workers.iter().find(has_it) {
            log::error("worker")
                .kv("user", &*worker.user)
                .kv("error", "did not answer in time, is killed")
                .send();
            let mut packet = Vec::new();
            let kill = ToParent::Kill {
                worker: worker.number,
            };
            if kill.encode(&mut packet).is_ok() {
                self.unsent.push_back(packet);
            }
            // Sends the packet, too.
            self.gone(slot, None, &mut Vec::new());
            return true;
        }
        let mut user = None;
        for (name, entry) in &mut self.users {
            let before = entry.requests.len();
            entry.requests.retain(|request| request.number != number);
            if entry.requests.len() < before {
                user = Some(Arc::clone(name));
            }
        }
        user.is_some_and(|user| {
            self.forget(&user);
            true
        })
    }

    /// The parent is new: what was asked of its predecessor is asked again. Workers live on.
    fn hello(&mut self) {
        log::info("hello").kv("program", "local-deliver").send();
        self.unsent.clear();
        self.asked = 0;
        self.unsent.push_back(queue::wire::HELLO.to_vec());
        let users: Vec<Arc<str>> = self.users.keys().cloned().collect();
        for user in users {
            if let Some(entry) = self.users.get_mut(&user) {
                entry.asked = 0;
            }
            self.ask(&user);
        }
        self.flush();
    }

    fn new_worker(
        &mut self,
        registry: &Registry,
        user: Arc<str>,
        (number, socket): (u32, OwnedFd),
        ready: &mut Vec<usize>,
        events: &mut Vec<Event>,
    ) {
        self.users.entry(Arc::clone(&user)).or_default();
        self.answered(&user);
        let slot = self.next_slot;
        // Tokens are not used twice soon: a late event of an old worker must not meet a new one.
        self.next_slot = (self.next_slot + 1) % (usize::MAX / 2);
        let registered = Packets::from_fd(socket).and_then(|mut socket| {
            registry.register(&mut socket, Token(self.base + slot), Interest::READABLE)?;
            Ok(socket)
        });
        match registered {
            Ok(socket) => {
                self.workers.insert(
                    slot,
                    Worker {
                        user,
                        number,
                        socket,
                        job: None,
                        idle_since: Instant::now(),
                    },
                );
                ready.push(slot);
            }
            Err(error) => {
                log::error("worker")
                    .kv("user", &*user)
                    .val("error", error)
                    .send();
                self.refused(&user, &not_now("no worker"), events);
            }
        }
    }

    /// One of the user's questions has its answer.
    fn answered(&mut self, user: &Arc<str>) {
        if let Some(entry) = self.users.get_mut(user)
            && entry.asked > 0
        {
            entry.asked -= 1;
            self.asked -= 1;
        }
    }

    fn refused(&mut self, user: &Arc<str>, answer: &Answer, events: &mut Vec<Event>) {
        self.answered(user);
        let Some(entry) = self.users.get_mut(user) else {
            return;
        };
        if let Some(request) = entry.requests.pop_front() {
            events.push(Event::Answered(request.number, answer.clone()));
        }
        self.forget(user);
    }

    /// Gives a worker that has nothing to do its user's next request, or lets it rest.
    pub fn next_job<'m>(
        &mut self,
        disk: &mut Disk,
        slot: usize,
        message: impl Fn(QueueId) -> Option<&'m Active>,
        events: &mut Vec<Event>,
    ) {
        let Some(user) = self
            .workers
            .get(&slot)
            .map(|worker| Arc::clone(&worker.user))
        else {
            return;
        };
        while let Some(request) = self
            .users
            .get_mut(&user)
            .and_then(|entry| entry.requests.pop_front())
        {
            let Some(message) = message(request.id) else {
                continue;
            };
            match self.give(disk, message, slot, &request) {
                Ok(()) => return,
                Err(Given::Refused(text)) => {
                    events.push(Event::Answered(request.number, not_now(&text)))
                }
                Err(Given::WorkerGone) => {
                    self.workers.remove(&slot);
                    if let Some(entry) = self.users.get_mut(&user) {
                        entry.requests.push_front(request);
                    }
                    self.ask(&user);
                    return;
                }
            }
        }
        self.rest(slot);
    }

    fn rest(&mut self, slot: usize) {
        let Some(worker) = self.workers.get_mut(&slot) else {
            return;
        };
        worker.job = None;
        worker.idle_since = Instant::now();
        self.next_look.get_or_insert(worker.idle_since + IDLE);
        self.users
            .entry(Arc::clone(&worker.user))
            .or_default()
            .idle
            .push(slot);
        self.idle += 1;
        if self.idle > IDLE_MAX {
            self.close_oldest();
        }
    }

    fn give(
        &mut self,
        disk: &mut Disk,
        message: &Active,
        slot: usize,
        request: &Request,
    ) -> Result<(), Given> {
        let Some(worker) = self.workers.get_mut(&slot) else {
            return Err(Given::WorkerGone);
        };
        let delivery = Delivery {
            number: request.number,
            repeat: request.repeat,
            sync_directory: false,
            id: request.id,
            index: request.index,
            content: message.content,
            reverse_path: &message.envelope.reverse_path,
            recipient: message.address(request.index),
        };
        let packet = &mut self.packet;
        delivery
            .encode(packet)
            .map_err(|error| Given::Refused(error.to_string()))?;
        let socket = &worker.socket;
        match disk.with_file(request.id, request.place, |file| {
            socket.send(packet, Some(file.as_fd()))
        }) {
            Ok(Ok(())) => {
                worker.job = Some(request.number);
                Ok(())
            }
            // Its idle time was over in the same moment.
            Ok(Err(_)) => Err(Given::WorkerGone),
            Err(error) => Err(Given::Refused(format!("message cannot be opened: {error}"))),
        }
    }

    /// Reads what a worker has answered; puts it on `ready` when it can do more.
    ///
    /// One answer is all that can come. Should the worker have closed behind it, the next
    /// delivery finds out; asking now would cost each message a call.
    pub fn on_worker(
        &mut self,
        slot: usize,
        buffer: &mut [u8],
        ready: &mut Vec<usize>,
        events: &mut Vec<Event>,
    ) {
        let Some(worker) = self.workers.get_mut(&slot) else {
            return;
        };
        let answer = match worker.socket.recv(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Ok(packet) if packet.length > 0 => Some(Outcome::decode(
                buffer.get(..packet.length).unwrap_or_default(),
            )),
            _ => None,
        };
        let expected = worker.job.take();
        match answer {
            Some(Ok(answer)) if expected == Some(answer.number) => {
                let outcome = Answer {
                    status: answer.status,
                    ..not_now(answer.text)
                };
                events.push(Event::Answered(answer.number, outcome));
                ready.push(slot);
            }
            // Closed, or it says what it was not asked: either way it is of no more use.
            other => {
                if other.is_some() {
                    log::error("worker")
                        .kv("user", &*worker.user)
                        .kv("error", "unexpected answer")
                        .send();
                }
                self.gone(slot, expected, events);
            }
        }
    }

    fn gone(&mut self, slot: usize, job: Option<u64>, events: &mut Vec<Event>) {
        let Some(worker) = self.workers.remove(&slot) else {
            return;
        };
        if let Some(entry) = self.users.get_mut(&worker.user) {
            let before = entry.idle.len();
            entry.idle.retain(|other| *other != slot);
            self.idle -= before - entry.idle.len();
        }
        if let Some(number) = job {
            log::warning("worker")
                .kv("user", &*worker.user)
                .kv("error", "went away during a delivery")
                .send();
            events.push(Event::Void(number));
        }
        self.ask(&worker.user);
        self.forget(&worker.user);
    }

    /// Closes workers that have been idle long enough; gives the next moment to look.
    pub fn close_idle(&mut self, now: Instant) -> Option<Instant> {
        if self.next_look.is_none_or(|at| at > now) {
            return self.next_look;
        }
        let mut next = None;
        let mut over = Vec::new();
        for (&slot, worker) in &self.workers {
            if worker.job.is_none() {
                let until = worker.idle_since + IDLE;
                if until <= now {
                    over.push(slot);
                } else {
                    next = Some(next.map_or(until, |other: Instant| other.min(until)));
                }
            }
        }
        for slot in over {
            self.gone(slot, None, &mut Vec::new());
        }
        self.next_look = next;
        next
    }

    fn close_oldest(&mut self) {
        let idle = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.job.is_none());
        if let Some(slot) = idle
            .min_by_key(|(_, worker)| worker.idle_since)
            .map(|(slot, _)| *slot)
        {
            self.gone(slot, None, &mut Vec::new());
        }
    }

    /// Forgets a user without workers and requests.
    fn forget(&mut self, user: &Arc<str>) {
        let empty =
            |user: &User| user.idle.is_empty() && user.requests.is_empty() && user.asked == 0;
        if self.users.get(user).is_some_and(empty) {
            self.users.remove(user);
        }
    }
}

/// Reads and forgets what was meant for our predecessor, descriptors included.
pub fn drop_answers(socket: &Packets) {
    let mut buffer = vec![0; queue::wire::PACKET_MAX];
    loop {
        match socket.recv(&mut buffer) {
            Ok(packet) if packet.length > 0 => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            // Nothing left; what else it may be the loop finds out.
            _ => return,
        }
    }
}

/// Why a worker did not get a request.
enum Given {
    WorkerGone,
    Refused(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_closed(socket: &Packets) -> bool {
        socket
            .recv(&mut [0; 8])
            .is_ok_and(|packet| packet.length == 0)
    }

    #[test]
    fn idle_workers_are_limited_in_number_and_time() {
        let poll = mio::Poll::new().unwrap();
        let (parent, _kept) = Packets::pair().unwrap();
        let time = Duration::from_secs(120);
        let mut workers = Workers::new(parent, poll.registry(), (Token(0), 1), time).unwrap();
        let (mut ready, mut events) = (Vec::new(), Vec::new());
        let mut ends = Vec::new();
        for n in 0..=IDLE_MAX {
            let (ours, theirs) = Packets::pair().unwrap();
            ends.push(theirs);
            let user = Arc::from(format!("user{n}"));
            let worker = (n as u32, ours.into());
            workers.new_worker(poll.registry(), user, worker, &mut ready, &mut events);
            workers.rest(ready.pop().unwrap());
            let closed = ends.iter().filter(|end| is_closed(end)).count();
            assert_eq!(closed, usize::from(n == IDLE_MAX), "with {} workers", n + 1);
        }
        assert!(
            is_closed(&ends[0]),
            "the one that has been idle longest goes first"
        );
        let now = Instant::now();
        assert!(workers.close_idle(now).is_some());
        assert_eq!(workers.workers.len(), IDLE_MAX);
        assert_eq!(workers.close_idle(now + IDLE), None);
        assert!(ends.iter().all(is_closed));
        assert!(workers.users.is_empty() && workers.idle == 0 && events.is_empty());
    }
}
