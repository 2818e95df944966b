//! The root parent: one question in, one socket or a refusal out.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use daemon::packet::Packets;
use daemon::process::{self, End};
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

/// All that the parent holds; a worker leaves it first of all.
struct Parent {
    poll: Poll,
    signals: Signals,
    channel: Packets,
    users: Users,
    /// User of each worker, by process id.
    workers: HashMap<u32, Box<str>>,
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
            match now.poll.poll(&mut events, None) {
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
            now.workers.insert(pid, user.into());
            now.say(FromParent::Worker { user }, Some(socket.into()))
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
                Ok(ToParent::Hello) => self.greeted = true,
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
        if self.pauses.contains_key(user) {
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
            let Some(user) = self.workers.remove(&pid) else {
                continue;
            };
            if end != End::Code(0) {
                log::error("worker-failed")
                    .kv("user", &*user)
                    .val("pid", pid)
                    .kv("end", format!("{end:?}"))
                    .send();
                self.pauses.insert(user, Instant::now() + PAUSE);
            }
        }
    }
}
