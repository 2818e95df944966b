//! The loop: questions in, checks to the threads, answers out, sessions started and reaped.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::{Duration, Instant};

use auth::file::Check;
use auth::protocol::{Answer, Refusal, Request, Service, Trouble};
use auth::{Password, hash::BadHash};
use config::Config;
use daemon::process::{self, End, Identity, Spawn};
use daemon::signals::{Notice, Signals};
use daemon::timers::Timers;
use daemon::wake::Pool;
use daemon::{Fatal, log};
use events::Reporter;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use routing::Mailbox;

use crate::channel::{Channel, Question, Reply};
use crate::report::{self, Facts};
use crate::sessions::Sessions;
use crate::sources::{Source, Sources};
use crate::tables::Tables;

/// Threads that hash. Each needs up to 16 MiB and a processor.
const THREADS_MAX: usize = 4;

/// Most checks that wait for a thread; beyond that the answer is `! busy`. With 25 ms a check and
/// two threads the last one waits for less than a second.
const CHECKS_MAX: usize = 64;

/// Most failures whose answer is held back; beyond that the oldest is answered at once. Each
/// keeps a descriptor open.
const HELD_MAX: usize = 512;

/// Least delay of a refusal at an account that is being guessed at from many places: the delays of
/// single clients don't add up there.
const ATTACKED_DELAY: Duration = Duration::from_secs(5);

/// Attacked accounts remembered; beyond that, further ones are not slowed down.
const ATTACKED_MAX: usize = 1_000;

const SIGNALS: Token = Token(2);
const CHECKED: Token = Token(3);

/// One question on its way.
struct Waiting {
    facts: Facts,
    source: Source,
    reply: Reply,
    /// Whose mailbox it is, as the table said when the question came.
    mailbox: Option<Mailbox>,
}

struct Job {
    number: u64,
    check: Check,
    password: Password,
}

/// `None`: the check panicked.
type Checked = (u64, Option<Result<bool, BadHash>>);

fn run_check(job: Job) -> Checked {
    (job.number, daemon::guard(|| job.check.run(&job.password)))
}

pub struct Authd {
    config: Config,
    channels: [Channel; 2],
    tables: Tables,
    events: Reporter,
    /// Accounts that banwatch says are attacked, and until when.
    attacked: HashMap<u64, Instant>,
    /// For the numbers by which banwatch knows passwords.
    key: u64,
    signals: Signals,
    poll: Poll,
    pool: Pool<Job, Checked>,
    sources: Sources,
    sessions: Sessions,
    /// Questions with a thread or waiting for one.
    checking: HashMap<u64, Waiting>,
    /// Failures whose answer is held back, by number: the smallest is the oldest.
    held: std::collections::BTreeMap<u64, Waiting>,
    due: Timers<u64>,
    next: u64,
    /// Set when the house is shut: nothing new is taken.
    leaving: bool,
}

impl Authd {
    pub fn new(
        config: Config,
        channels: [Channel; 2],
        tables: Tables,
        events: Reporter,
        signals: Signals,
    ) -> Result<Self, Fatal> {
        let poll = Poll::new()?;
        for (index, channel) in channels.iter().enumerate() {
            let fd = channel.packets().as_fd().as_raw_fd();
            poll.registry()
                .register(&mut SourceFd(&fd), Token(index), Interest::READABLE)?;
        }
        signals.register(poll.registry(), SIGNALS)?;
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS_MAX);
        let pool = Pool::new(poll.registry(), CHECKED, threads, run_check)?;
        Ok(Self {
            config,
            channels,
            tables,
            events,
            attacked: HashMap::new(),
            key: daemon::clock::random_u64(),
            signals,
            poll,
            pool,
            sources: Sources::default(),
            sessions: Sessions::default(),
            checking: HashMap::new(),
            held: std::collections::BTreeMap::new(),
            due: Timers::new(),
            next: 0,
            leaving: false,
        })
    }

    /// Serves until told to stop; then answers what is under way and ends. Sessions go on.
    pub fn run(mut self) -> Result<(), Fatal> {
        let mut events = Events::with_capacity(64);
        loop {
            if self.leaving && self.checking.is_empty() {
                for number in self.held.keys().copied().collect::<Vec<_>>() {
                    self.release(number);
                }
                return Ok(());
            }
            let timeout = self.due.timeout(Instant::now());
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    SIGNALS => self.signalled(),
                    CHECKED => self.checked(),
                    Token(index) => self.questions(index)?,
                }
            }
            while let Some(number) = self.due.expired(Instant::now()) {
                self.release(number);
            }
        }
    }

    /// Takes all questions of one channel.
    fn questions(&mut self, index: usize) -> Result<(), Fatal> {
        let mut fresh = true;
        while !self.leaving {
            let Some(channel) = self.channels.get(index) else {
                return Ok(());
            };
            let name = channel.name();
            match channel.take().map_err(|error| Fatal::io(name, error))? {
                Question::Empty => return Ok(()),
                Question::Closed => self.leaving = true,
                Question::Refused(why, reply) => {
                    log::error("refused")
                        .kv("channel", name)
                        .kv("why", format!("{why:?}"))
                        .send();
                    if let Some(reply) = reply {
                        let _ = reply.send(&Answer::NotNow(Trouble::Failure));
                    }
                }
                Question::Asked(request, reply) => {
                    if std::mem::take(&mut fresh) {
                        self.tables.refresh(&self.config);
                    }
                    self.question(*request, reply);
                }
            }
        }
        Ok(())
    }

    fn question(&mut self, request: Request, reply: Reply) {
        let facts = Facts::of(&request, self.key);
        let source = Source::of(request.client);
        if !self.sources.begin(source) {
            tell(&facts, &reply, &Answer::NotNow(Trouble::Busy));
            return;
        }
        let found = self.tables.check(request.login.as_str());
        let mailbox = found.as_ref().and_then(|(mailbox, _)| mailbox.cloned());
        let waiting = Waiting {
            facts,
            source,
            reply,
            mailbox,
        };
        let Some((_, check)) = found else {
            return self.finish(waiting, &Answer::NotNow(Trouble::Failure));
        };
        if self.checking.len() >= CHECKS_MAX {
            return self.finish(waiting, &Answer::NotNow(Trouble::Busy));
        }
        let number = self.next;
        self.next += 1;
        self.checking.insert(number, waiting);
        let job = Job {
            number,
            check,
            password: request.password,
        };
        if let Err(error) = self.pool.give(job) {
            log::error("threads").val("error", error).send();
            if let Some(waiting) = self.checking.remove(&number) {
                self.finish(waiting, &Answer::NotNow(Trouble::Failure));
            }
        }
    }

    /// Takes what the threads have found out.
    fn checked(&mut self) {
        while let Some((number, result)) = self.pool.take() {
            let Some(waiting) = self.checking.remove(&number) else {
                continue;
            };
            match result {
                Some(Ok(true)) => {
                    report::event(&waiting.facts, true, &mut self.events);
                    self.granted(waiting);
                }
                Some(Ok(false)) => {
                    report::event(&waiting.facts, false, &mut self.events);
                    self.denied(number, waiting);
                }
                Some(Err(error)) => {
                    let login = &*waiting.facts.login;
                    log::error("passwords")
                        .kv("login", login)
                        .val("error", error)
                        .send();
                    self.denied(number, waiting);
                }
                None => self.finish(waiting, &Answer::NotNow(Trouble::Failure)),
            }
        }
    }

    /// Holds a refusal back; others go on meanwhile.
    fn denied(&mut self, number: u64, waiting: Waiting) {
        let now = Instant::now();
        let mut delay = self.sources.failed(waiting.source, now);
        if self.is_attacked(&waiting.facts, now) {
            delay = delay.max(ATTACKED_DELAY);
        }
        self.held.insert(number, waiting);
        self.due.set(number, now + delay);
        if self.held.len() > HELD_MAX {
            if let Some((&oldest, _)) = self.held.first_key_value() {
                self.due.cancel(oldest);
                self.release(oldest);
            }
        }
    }

    /// Whether banwatch has said lately that this account is guessed at from many places. Its
    /// owner's good password is answered as fast as ever.
    fn is_attacked(&mut self, facts: &Facts, now: Instant) -> bool {
        while let Some(advice) = self.events.advice() {
            self.attacked.retain(|_, until| *until > now);
            if self.attacked.len() < ATTACKED_MAX {
                let until = now + Duration::from_secs(advice.seconds.into());
                log::warning("attacked")
                    .kv("account", format!("{:016x}", advice.account.number()))
                    .val("seconds", advice.seconds)
                    .send();
                self.attacked.insert(advice.account.number(), until);
            }
        }
        let account = events::Account::of(&facts.login).number();
        self.attacked
            .get(&account)
            .is_some_and(|until| *until > now)
    }

    fn release(&mut self, number: u64) {
        if let Some(waiting) = self.held.remove(&number) {
            self.finish(waiting, &Answer::No(Refusal::Credentials));
        }
    }

    fn granted(&mut self, waiting: Waiting) {
        let Some(mailbox) = waiting.mailbox.clone() else {
            return self.finish(waiting, &Answer::NotNow(Trouble::Failure));
        };
        let answer = Answer::User(mailbox.name.clone());
        match waiting.facts.service {
            Service::Smtp => self.finish(waiting, &answer),
            Service::Pop3 => {
                let limits = &self.config.pop3;
                let (in_all, per_user) = (limits.max_sessions, limits.max_sessions_per_user);
                if !self.sessions.has_room(&mailbox.name, in_all, per_user) {
                    return self.finish(waiting, &Answer::NotNow(Trouble::Sessions));
                }
                self.sources.end(waiting.source);
                // The answer goes first: the session speaks on the same descriptor.
                if tell(&waiting.facts, &waiting.reply, &answer) {
                    self.start_session(&mailbox, &waiting);
                }
            }
        }
    }

    /// Starts `pop3d --session` as the mailbox's owner. If that fails the peer sees the end of the
    /// stream.
    fn start_session(&mut self, mailbox: &Mailbox, waiting: &Waiting) {
        let mut spawn = Spawn::new(self.config.paths.program("pop3d"))
            .arg("--config")
            .arg(&self.config.file)
            .arg("--session")
            .arg("--maildir")
            .arg(&mailbox.maildir)
            .arg("--sid")
            .arg(&*waiting.facts.sid)
            .env("HIKYAKU_USER", &*mailbox.name)
            .give("session", waiting.reply.as_fd());
        if process::is_root() {
            let (uid, gid) = (mailbox.uid, mailbox.gid);
            // The table holds no such user; a session with root's rights is worth a second look.
            if uid == 0 || gid == 0 {
                return log::error("session")
                    .kv("user", &*mailbox.name)
                    .kv("error", "is root")
                    .send();
            }
            spawn = spawn.identity(Identity { uid, gid });
        }
        match spawn.start() {
            Ok(pid) => self.sessions.started(pid, &mailbox.name),
            Err(error) => {
                log::error("session")
                    .kv("user", &*mailbox.name)
                    .val("error", error)
                    .send();
            }
        }
    }

    /// Answers and forgets a question.
    fn finish(&mut self, waiting: Waiting, answer: &Answer) {
        self.sources.end(waiting.source);
        tell(&waiting.facts, &waiting.reply, answer);
    }

    fn signalled(&mut self) {
        while let Some(notice) = self.signals.take() {
            match notice {
                // To be replaced and to stop are the same: the successor reads everything anew.
                Notice::Stop | Notice::Reload => self.leaving = true,
                Notice::Child => self.reap(),
            }
        }
    }

    fn reap(&mut self) {
        while let Some((pid, end)) = process::reap() {
            let Some(user) = self.sessions.ended(pid) else {
                continue;
            };
            match end {
                End::Code(0) => log::debug("session-exit")
                    .kv("user", &*user)
                    .val("child", pid),
                End::Code(code) => log::warning("session-exit")
                    .kv("user", &*user)
                    .val("child", pid)
                    .val("code", code),
                End::Signal(signal) => log::error("session-exit")
                    .kv("user", &*user)
                    .val("child", pid)
                    .val("signal", signal),
            }
            .send();
        }
    }
}

/// Sends and reports an answer; `false` when the peer has gone.
fn tell(facts: &Facts, reply: &Reply, answer: &Answer) -> bool {
    let sent = reply.send(answer);
    report::answered(facts, answer);
    if let Err(error) = &sent {
        log::debug("reply")
            .kv("sid", &*facts.sid)
            .val("error", error)
            .send();
    }
    sent.is_ok()
}
