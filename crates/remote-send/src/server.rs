//! The loop: packets in, lookups, connections, answers out.

mod route;
mod settle;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use daemon::packet::Packets;
use daemon::signals::{Notice, Signals};
use daemon::timers::Timers;
use daemon::{Confined, Fatal, log};
use dns::{Key, Question};
use mio::event::Source as _;
use mio::{Events, Interest, Poll, Token};
use queue::Class;
use queue::wire::PACKET_MAX;
use queue::wire::remote::{Scope, ToRemote};
use smtp::codec::BLOCK;

use crate::answers::Answers;
use crate::connection::{Connection, Space};
use crate::job::{Job, own};
use crate::lookup::Lookups;
use crate::pool::Pool;
use crate::settings::{IDLE_MAX, STOP_TIME, SWEEP_TIME, Settings, TRANSACTION_TIME};

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

/// After how long in the greeting a transaction is a reason to say hello again: the
/// queue-manager that had read the first one must have ended before it answered.
const HELLO_AGAIN: Duration = Duration::from_secs(1);

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
    /// When our hello was said last.
    hello_at: Instant,
    /// When transactions are looked through next for such that take too long.
    sweep_at: Instant,
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
            hello_at: Instant::now(),
            sweep_at: Instant::now() + SWEEP_TIME,
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
        while open {
            self.turn()?;
            if self.is_done() {
                break;
            }
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
            if self.sweep_at <= now {
                self.sweep_at = now + SWEEP_TIME;
                self.sweep(now, TRANSACTION_TIME);
            }
        }
        self.answers.flush(&self.packets).ok();
        Ok(())
    }

    fn is_done(&self) -> bool {
        match self.phase {
            Phase::Greeting | Phase::Serving => false,
            Phase::Draining => self.jobs.is_empty() && self.answers.is_empty(),
            Phase::Stopping(end) => {
                (self.jobs.is_empty() && self.answers.is_empty()) || Instant::now() >= end
            }
        }
    }

    fn timeout(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let lookups = self
            .lookups
            .next_timeout()
            .map(|at| at.saturating_duration_since(now));
        let stop = match self.phase {
            Phase::Stopping(end) => Some(end.saturating_duration_since(now)),
            _ => None,
        };
        let sweep = (!self.jobs.is_empty()).then(|| self.sweep_at.saturating_duration_since(now));
        let least = [self.timers.timeout(now), lookups, stop, sweep]
            .into_iter()
            .flatten()
            .min();
        // The poll rounds down to milliseconds; without this it would come back too early and
        // turn in vain.
        least.map(|time| time + Duration::from_millis(1))
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

    /// The jobs whose content is on its way, which nobody can call back.
    fn being_sent(&self) -> Vec<u64> {
        self.connections
            .values()
            .filter(|connection| connection.is_sending())
            .filter_map(|connection| connection.job)
            .collect()
    }

    /// Drops what has not begun to be sent: queue-manager keeps it.
    fn stop(&mut self, now: Instant) {
        self.phase = Phase::Stopping(now + STOP_TIME);
        let sending = self.being_sent();
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
                Ok(_) if self.phase == Phase::Greeting => {
                    if now.saturating_duration_since(self.hello_at) >= HELLO_AGAIN {
                        self.hello_at = now;
                        self.answers.hello();
                    }
                }
                Ok(ToRemote::Ping) => self.answers.alive(),
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

    /// Gives up transactions that have taken `longest`. One whose content has been sent gets its
    /// answer still, because the host may have taken it; that wait has an end of its own.
    fn sweep(&mut self, now: Instant, longest: Duration) {
        let over: Vec<u64> = self
            .jobs
            .iter()
            .filter(|(_, job)| now.saturating_duration_since(job.since) >= longest)
            .map(|(key, _)| *key)
            .filter(|key| {
                let mut connections = self.connections.values();
                let with = connections.find(|connection| connection.job == Some(*key));
                !with.is_some_and(|connection| connection.awaits_verdict())
            })
            .collect();
        for key in over {
            if let Some(mut job) = self.jobs.remove(&key) {
                self.log_end(&job, "took too long");
                let verdict = own(
                    Class::Deferred,
                    4,
                    7,
                    Scope::Message,
                    "the dialogue took too long",
                );
                job.give_up(&verdict, &mut self.answers);
            }
        }
        let jobs = &self.jobs;
        self.connections.retain(|token, connection| {
            let kept = connection.job.is_none_or(|key| jobs.contains_key(&key));
            if !kept {
                self.timers.cancel(*token);
            }
            kept
        });
    }

    /// Forgets all jobs but those whose content is on its way.
    fn void(&mut self) {
        let sending = self.being_sent();
        self.connections
            .retain(|_, connection| connection.job.is_none() || connection.is_sending());
        self.jobs.retain(|job, _| sending.contains(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queue::QueueId;
    use queue::wire::Content;
    use queue::wire::remote::{FromRemote, NextHop, Recipient, Transaction};
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    #[test]
    fn a_transaction_that_takes_too_long_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hikyaku.toml");
        let text = "hostname = \"me.example\"\ndomains = [\"me.example\"]\n[remote]\nresolver = \"127.0.0.1:53\"\n";
        std::fs::write(&file, text).unwrap();
        let settings = Settings::new(&config::Config::load(&file).unwrap()).unwrap();
        let (near, far) = Packets::pair().unwrap();
        let mut server = Server::new(settings, near, Signals::new().unwrap()).unwrap();
        server.phase = Phase::Serving;
        // It takes connections and never says anything.
        let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let transaction = Transaction {
            number: 7,
            id: QueueId::new(1, 1),
            reverse_path: "",
            eight_bit: false,
            utf8: false,
            content: Content {
                offset: 0,
                length: 3,
            },
            next_hop: NextHop::Host("127.0.0.1", host.local_addr().unwrap().port()),
            recipients: vec![Recipient {
                index: 4,
                address: "a@there.example",
            }],
        };
        let mut message = tempfile::tempfile().unwrap();
        message.write_all(b"x\r\n").unwrap();
        let mut packet = Vec::new();
        transaction.encode(&mut packet).unwrap();
        far.send(&packet, Some(message.as_fd())).unwrap();
        server.read_packets().unwrap();
        server.turn().unwrap();
        let hour = Duration::from_secs(3_600);
        let now = Instant::now() + hour;
        server.sweep(now, hour + Duration::from_secs(1));
        assert_eq!((server.jobs.len(), server.connections.len()), (1, 1));
        server.sweep(now, hour);
        assert_eq!((server.jobs.len(), server.connections.len()), (0, 0));
        server.turn().unwrap();
        let mut buffer = [0; 2_048];
        let length = far.recv(&mut buffer).unwrap().length;
        let Ok(FromRemote::Answer(answer)) = FromRemote::decode(&buffer[..length]) else {
            panic!("an answer");
        };
        assert_eq!(
            (answer.number, answer.status.to_string()),
            (7, "4.4.7".into())
        );
        assert_eq!(answer.recipients, [4]);
    }
}
