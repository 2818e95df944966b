//! The root parent: one question in, one socket or a refusal out.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use daemon::packet::Packets;
use daemon::process::{self, End, Order};
use daemon::signals::{Notice, Signals};
use daemon::start::Ready;
use daemon::{Fatal, log};
use mio::{Events, Interest, Poll, Token};
use queue::reply::{Class, Status};
use queue::wire::local::{FromParent, ToParent};
use queue::wire::{HELLO, PACKET_MAX};
use routing::Mailbox;

use crate::users::Users;
use crate::worker;

/// Most workers at once. Each has about 200 KiB of its own while it waits.
pub const WORKERS_MAX: usize = 1_000;

/// A user whose worker ended with an error gets no new one for so long.
pub const PAUSE: Duration = Duration::from_secs(10);

const CHANNEL: Token = Token(0);
const SIGNALS: Token = Token(1);

/// One worker.
struct Hired {
    user: Box<str>,
    /// When it is killed unless it has ended: queue-manager has let it go.
    end_by: Option<Instant>,
    /// It was killed. It may take a while to end: a signal waits for the disk.
    killed: bool,
}

/// All that the parent holds; a worker leaves it first of all.
struct Parent {
    poll: Poll,
    signals: Signals,
    channel: Packets,
    users: Users,
    /// The workers, by process id.
    workers: HashMap<u32, Hired>,
    /// Users whose worker failed, and until when they wait.
    pauses: HashMap<Box<str>, Instant>,
    /// Answers that the socket did not take yet; no question is read meanwhile.
    answers: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    /// queue-manager has answered our hello: questions are meant for us.
    greeted: bool,
}

/// Answers questions until queue-manager closes its end or a signal comes. Workers then go on
/// until queue-manager closes theirs.
///
/// # Errors
/// `Temporary` when the loop itself fails.
pub fn run(channel: Packets, users: Users, ready: Ready) -> Result<(), Fatal> {
    let poll = Poll::new()?;
    let signals = Signals::new()?;
    signals.register(poll.registry(), SIGNALS)?;
    let mut channel = channel;
    poll.registry().register(
        &mut channel,
        CHANNEL,
        Interest::READABLE | Interest::WRITABLE,
    )?;
    let mut parent = Some(Parent {
        poll,
        signals,
        channel,
        users,
        workers: HashMap::new(),
        pauses: HashMap::new(),
        answers: VecDeque::from([(HELLO.to_vec(), None)]),
        greeted: false,
    });
    ready.tell();
    let mut events = Events::with_capacity(8);
    let mut buffer = vec![0; PACKET_MAX];
    while let Some(now) = &mut parent {
        while let Some(notice) = now.signals.take() {
            match notice {
                Notice::Stop | Notice::Reload => return Ok(()),
                Notice::Child => now.reap(),
            }
        }
        loop {
            match parent.as_mut().map(|now| now.next(&mut buffer)) {
                Some(Ok(Next::Question(user))) => answer(&mut parent, &user)?,
                Some(Ok(Next::Nothing)) | None => break,
                Some(Ok(Next::Closed)) => return Ok(()),
                Some(Err(error)) => return Err(Fatal::io("deliver socket", error)),
            }
        }
        if let Some(now) = &mut parent {
            let timeout = now.farewell(Instant::now());
            match now.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
    }
    Ok(())
}

enum Next {
    Question(String),
    Nothing,
    Closed,
}

type Refusal = (Class, u16, u16, &'static str);

/// Forks the worker, or says why not.
fn answer(parent: &mut Option<Parent>, user: &str) -> Result<(), Fatal> {
    let result = match parent.as_mut().map(|now| now.permit(user)) {
        Some(Ok((mailbox, host))) => hire(parent, &mailbox, &host),
        Some(Err(refusal)) => Err(refusal),
        None => return Ok(()),
    };
    let Some(now) = parent else { return Ok(()) };
    match result {
        Ok((pid, socket)) => {
            let hired = Hired {
                user: user.into(),
                end_by: None,
                killed: false,
            };
            now.workers.insert(pid, hired);
            now.say(
                FromParent::Worker { user, worker: pid },
                Some(socket.into()),
            )
        }
        Err((class, subject, detail, text)) => {
            let status = Status::new(class, subject, detail).unwrap_or(Status::SYSTEM_DEFERRED);
            now.say(FromParent::Refused { user, status, text }, None)
        }
    }
}

/// The fork; gives the worker's process id and the socket towards it. In the worker, all that
/// the parent holds is closed first.
fn hire(
    parent: &mut Option<Parent>,
    mailbox: &Mailbox,
    host: &str,
) -> Result<(u32, Packets), Refusal> {
    let forked = Packets::pair().and_then(|(ours, theirs)| {
        let (mut ours, mut theirs) = (Some(ours), Some(theirs));
        let pid = process::fork_worker(|| {
            drop(ours.take());
            if let Some(parent) = parent.take() {
                parent.leave();
            }
            theirs.take().map_or(daemon::EXIT_TEMPORARY, |socket| {
                worker::main(socket, mailbox, host)
            })
        })?;
        ours.map(|ours| (pid, ours))
            .ok_or_else(|| io::ErrorKind::Other.into())
    });
    forked.map_err(|error| {
        log::warning("no-worker")
            .kv("user", &*mailbox.name)
            .val("error", &error)
            .send();
        (Class::Deferred, 3, 2, "no process for the delivery")
    })
}

impl Parent {
    /// In the worker: closes every descriptor of the parent's.
    ///
    /// The table (which everybody may read) is left alone, not freed: that would write to every
    /// page of it, and the kernel would copy each of them for the worker.
    fn leave(self) {
        drop((self.poll, self.signals, self.channel, self.answers));
        Box::leak(Box::new((self.users, self.workers, self.pauses)));
    }

    /// Sends what waits, then takes one question.
    fn next(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        while let Some((packet, descriptor)) = self.answers.front() {
            match self
                .channel
                .send(packet, descriptor.as_ref().map(AsFd::as_fd))
            {
                Ok(()) => drop(self.answers.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Next::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Next::Closed),
                Err(error) => return Err(error),
            }
        }
        loop {
            let packet = match self.channel.recv(buffer) {
                Ok(packet) if packet.length == 0 => return Ok(Next::Closed),
                Ok(packet) => buffer.get(..packet.length).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Next::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                Err(error) => return Err(error),
            };
            match ToParent::decode(packet) {
                Ok(ToParent::Hello) => {
                    self.greeted = true;
                    // Whoever had the workers is gone; they see that when they have done what
                    // they had to do, and end.
                    let end_by = Instant::now() + self.users.config().queue.delivery_time;
                    for worker in self.workers.values_mut() {
                        worker.end_by.get_or_insert(end_by);
                    }
                }
                Ok(ToParent::Kill { worker }) => self.kill(worker),
                Ok(ToParent::Worker { user }) if self.greeted => {
                    return Ok(Next::Question(user.to_owned()));
                }
                // Asked of our predecessor; queue-manager will ask again.
                Ok(ToParent::Worker { .. }) => {}
                Err(error) => log::error("packet").val("error", error).send(),
            }
        }
    }

    /// Whether this user may have a worker now: his mailbox, and this host's name.
    fn permit(&mut self, user: &str) -> Result<(Mailbox, String), Refusal> {
        let now = Instant::now();
        self.pauses.retain(|_, until| *until > now);
        // While a killed worker has not ended, another one would meet with what holds it; and the
        // same message must not be delivered by two.
        let killed = |worker: &Hired| worker.killed && *worker.user == *user;
        if self.pauses.contains_key(user) || self.workers.values().any(killed) {
            return Err((
                Class::Deferred,
                3,
                0,
                "delivery for this user fails at present",
            ));
        }
        if self.workers.len() >= WORKERS_MAX {
            return Err((Class::Deferred, 3, 2, "too many deliveries at once"));
        }
        let mailbox = self
            .users
            .find(user)
            .ok_or((Class::Failed, 1, 1, "no such user"))?;
        Ok((mailbox, self.users.config().hostname.clone()))
    }

    /// Kills one of our own workers, and nobody else.
    fn kill(&mut self, pid: u32) {
        let Some(worker) = self.workers.get_mut(&pid).filter(|worker| !worker.killed) else {
            return;
        };
        worker.killed = true;
        // Not reaped yet, so the number is still its own.
        let done = process::order(pid, Order::Kill);
        log::error("worker-killed")
            .kv("user", &*worker.user)
            .val("pid", pid)
            .opt("error", done.err().map(|error| error.to_string()))
            .send();
    }

    /// Kills workers that should have ended by now; gives the time until the next.
    fn farewell(&mut self, now: Instant) -> Option<Duration> {
        let mut over = Vec::new();
        let mut next: Option<Instant> = None;
        for (&pid, worker) in &self.workers {
            match worker.end_by.filter(|_| !worker.killed) {
                Some(at) if at <= now => over.push(pid),
                Some(at) => next = Some(next.map_or(at, |other| other.min(at))),
                None => {}
            }
        }
        for pid in over {
            self.kill(pid);
        }
        next.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1))
    }

    fn say(&mut self, answer: FromParent<'_>, descriptor: Option<OwnedFd>) -> Result<(), Fatal> {
        let mut packet = Vec::new();
        answer
            .encode(&mut packet)
            .map_err(|error| Fatal::io("answer", error))?;
        self.answers.push_back((packet, descriptor));
        Ok(())
    }

    fn reap(&mut self) {
        while let Some((pid, end)) = process::reap() {
            let Some(Hired { user, killed, .. }) = self.workers.remove(&pid) else {
                continue;
            };
            if end != End::Code(0) {
                log::error("worker-failed")
                    .kv("user", &*user)
                    .opt("killed", killed.then_some("by us"))
                    .val("pid", pid)
                    .kv("end", format!("{end:?}"))
                    .send();
                self.pauses.insert(user, Instant::now() + PAUSE);
            }
        }
    }
}
