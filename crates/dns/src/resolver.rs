//! The resolver: lookups under way, what to send, what came of it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cache::FAILURE_TTL;
use crate::servers::Servers;
use crate::{
    Answer, Ask, Cache, Name, Outcome, Question, Reading, Settings, Trouble, encode, read,
};

/// Most lookups under way; more are answered with [`Trouble::Overloaded`] at once.
pub const IN_FLIGHT_MAX: usize = 2_048;

/// Most aliases followed for one question, over all answers.
pub const CNAME_MAX: usize = 8;

/// Longest time one lookup takes in all, whatever the servers and settings.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(30);

/// How many datagrams that are not the answer one try bears before it goes on by TCP, where
/// nobody can forge from outside: a flood of guesses must not get its 65,536 tries.
const FORGERIES_MAX: u32 = 32;

/// Names one lookup under way; everybody who asks the same question meanwhile gets the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u64);

/// Names one message sent, and so the socket that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransmitId(u64);

/// How a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One datagram, from a socket of its own.
    Udp,
    /// A stream; two octets of length before each message (RFC 1035, 4.2.2), which the driver
    /// writes and takes off.
    Tcp,
}

/// A message to send from a fresh socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// To be given back with whatever arrives.
    pub id: TransmitId,
    /// Where to.
    pub server: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The octets, without the length of TCP.
    pub payload: Vec<u8>,
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Command {
    /// Open a socket, connect it to the server, send.
    Send(Transmit),
    /// Nothing is expected on this socket any more; close it.
    Close(TransmitId),
    /// The answer to everybody who waits for the key.
    Answered(Key, Arc<Answer>),
}

/// What [`Resolver::query`] gives.
#[derive(Debug)]
pub enum Lookup {
    /// Known already.
    Ready(Arc<Answer>),
    /// Will come as [`Command::Answered`].
    Pending(Key),
}

struct Try {
    id: TransmitId,
    server: usize,
    dns_id: u16,
    ask: Ask,
    transport: Transport,
    deadline: Instant,
    forgeries: u32,
}

struct Flight {
    /// What was asked for by the caller.
    question: Question,
    /// What is being asked now, after aliases.
    current: Question,
    steps: usize,
    ttl: u32,
    authentic: bool,
    deadline: Instant,
    order: Vec<usize>,
    /// Index into `order` repeated `attempts` times.
    position: usize,
    failed: HashSet<usize>,
    trouble: Trouble,
    /// All tries whose sockets are open; the last is the one being waited for.
    tries: Vec<Try>,
}

/// The stub resolver without sockets and clock. See the crate's page for how it is driven.
pub struct Resolver {
    servers: Servers,
    cache: Cache,
    random: Box<dyn FnMut() -> u64 + Send>,
    next_number: u64,
    flights: HashMap<Key, Flight>,
    by_question: HashMap<Question, Key>,
    by_transmit: HashMap<TransmitId, Key>,
    timers: BTreeSet<(Instant, TransmitId)>,
    commands: VecDeque<Command>,
    in_flight_max: usize,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("servers", &self.servers.settings.servers)
            .field("in_flight", &self.flights.len())
            .field("cached", &self.cache.len())
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver that asks as `settings` say; `random` gives unpredictable numbers (message ids).
    pub fn new(settings: Settings, random: Box<dyn FnMut() -> u64 + Send>) -> Self {
        Self::with_bounds(settings, random, Cache::default(), IN_FLIGHT_MAX)
    }

    /// The same with a cache and a bound on lookups under way of the caller's choice.
    pub fn with_bounds(
        settings: Settings,
        random: Box<dyn FnMut() -> u64 + Send>,
        cache: Cache,
        in_flight_max: usize,
    ) -> Self {
        Self {
            servers: Servers::new(settings),
            cache,
            random,
            next_number: 0,
            flights: HashMap::new(),
            by_question: HashMap::new(),
            by_transmit: HashMap::new(),
            timers: BTreeSet::new(),
            commands: VecDeque::new(),
            in_flight_max,
        }
    }

    /// Asks. An answer that is already known comes at once; otherwise drain [`Resolver::poll`].
    pub fn query(&mut self, question: &Question, now: Instant) -> Lookup {
        if let Some(answer) = self.cache.get(question, now) {
            return Lookup::Ready(answer);
        }
        if let Some(&key) = self.by_question.get(question) {
            return Lookup::Pending(key);
        }
        if self.flights.len() >= self.in_flight_max {
            let answer = Answer::temporary(question.name.clone(), Trouble::Overloaded);
            return Lookup::Ready(Arc::new(answer));
        }
        let key = Key(self.number());
        let order = self.servers.order(now);
        self.by_question.insert(question.clone(), key);
        self.flights.insert(
            key,
            Flight {
                question: question.clone(),
                current: question.clone(),
                steps: 0,
                ttl: u32::MAX,
                authentic: true,
                deadline: now.checked_add(LOOKUP_DEADLINE).unwrap_or(now),
                order,
                position: 0,
                failed: HashSet::new(),
                trouble: Trouble::Unreachable,
                tries: Vec::new(),
            },
        );
        self.advance(key, now);
        Lookup::Pending(key)
    }

    /// The next thing to do; `None` when everything is done for now.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When [`Resolver::on_timeout`] has to be called next; `None` while nothing is under way.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|&(when, _)| when)
    }

    /// A datagram came on the socket of `id` from `source`. One that is not the answer (wrong
    /// sender, id or question) is dropped and waiting goes on.
    pub fn on_datagram(&mut self, id: TransmitId, source: SocketAddr, bytes: &[u8], now: Instant) {
        self.on_message(id, Some(source), bytes, now);
    }

    /// A whole message came on the stream of `id`, its length already taken off.
    pub fn on_stream(&mut self, id: TransmitId, bytes: &[u8], now: Instant) {
        self.on_message(id, None, bytes, now);
    }

    /// The socket of `id` failed: couldn't be opened, connected or written, was refused, or a
    /// stream closed before a whole message.
    pub fn on_failed(&mut self, id: TransmitId, now: Instant) {
        let Some((key, index)) = self.find(id) else {
            return;
        };
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        let Some(tried) = flight.tries.get(index) else {
            return;
        };
        flight.trouble = Trouble::Unreachable;
        self.servers.silent(tried.server, now);
        self.give_up_try(key, index, now);
    }

    /// Time has passed: every try whose time is over gives way to the next one.
    pub fn on_timeout(&mut self, now: Instant) {
        while let Some(&(when, id)) = self.timers.first() {
            if when > now {
                break;
            }
            self.timers.pop_first();
            let Some((key, index)) = self.find(id) else {
                continue;
            };
            let Some(flight) = self.flights.get_mut(&key) else {
                continue;
            };
            if let Some(tried) = flight.tries.get(index) {
                self.servers.silent(tried.server, now);
            }
            // The socket stays open: a late answer is still an answer.
            if index + 1 == flight.tries.len() {
                flight.trouble = Trouble::Timeout;
                self.advance(key, now);
            }
        }
    }

    /// Whether anything that comes on the socket of `id` can still count.
    pub fn expects(&self, id: TransmitId) -> bool {
        self.by_transmit.contains_key(&id)
    }

    /// How many lookups are under way.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// What is remembered.
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn find(&self, id: TransmitId) -> Option<(Key, usize)> {
        let key = *self.by_transmit.get(&id)?;
        let flight = self.flights.get(&key)?;
        let index = flight.tries.iter().position(|tried| tried.id == id)?;
        Some((key, index))
    }

    fn on_message(
        &mut self,
        id: TransmitId,
        source: Option<SocketAddr>,
        bytes: &[u8],
        now: Instant,
    ) {
        let Some((key, index)) = self.find(id) else {
            return;
        };
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        let Some(tried) = flight.tries.get_mut(index) else {
            return;
        };
        let server = tried.server;
        let (ask, transport) = (tried.ask, tried.transport);
        let expected = self.servers.address(server);
        let reading = if source.is_some() && source != expected {
            None
        } else {
            read(&flight.current, tried.dns_id, bytes).ok()
        };
        let Some(reading) = reading else {
            tried.forgeries += 1;
            if transport == Transport::Tcp {
                // On a stream nothing but the answer may come.
                flight.trouble = Trouble::Garbage;
                self.give_up_try(key, index, now);
            } else if tried.forgeries == FORGERIES_MAX {
                self.send(key, server, ask, Transport::Tcp, now);
            }
            return;
        };
        self.servers.answered(server);
        let trusted = self.servers.trusted(server) && ask == Ask::Secure;
        match reading {
            Reading::Records {
                records,
                canonical,
                ttl,
                ad,
            } => {
                self.finish(
                    key,
                    Outcome::Records(records),
                    canonical,
                    Some(ttl),
                    ad && trusted,
                    now,
                );
            }
            Reading::NoData { canonical, ttl, ad } => {
                self.finish(key, Outcome::NoData, canonical, ttl, ad && trusted, now);
            }
            Reading::NxDomain { canonical, ttl, ad } => {
                self.finish(key, Outcome::NxDomain, canonical, ttl, ad && trusted, now);
            }
            Reading::Alias {
                target,
                steps,
                ttl,
                ad,
            } => {
                flight.steps += steps;
                flight.ttl = flight.ttl.min(ttl);
                flight.authentic &= ad && trusted;
                self.follow(key, target, now);
            }
            Reading::CnameChain => {
                self.finish_temporary(key, Trouble::CnameChain, now);
            }
            Reading::Truncated if transport == Transport::Udp => {
                self.replace_try(key, index, ask, Transport::Tcp, now);
            }
            Reading::NoEdns if ask != Ask::Bare => {
                self.replace_try(key, index, Ask::Bare, transport, now);
            }
            Reading::NoEdns | Reading::ServerFailure => {
                flight.trouble = Trouble::ServerFailure;
                self.give_up_try(key, index, now);
            }
            Reading::Truncated | Reading::Garbage => {
                flight.trouble = Trouble::Garbage;
                self.give_up_try(key, index, now);
            }
        }
    }

    /// Goes on at the target of an alias.
    fn follow(&mut self, key: Key, target: Name, now: Instant) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        if flight.steps > CNAME_MAX {
            self.finish_temporary(key, Trouble::CnameChain, now);
            return;
        }
        let closed = std::mem::take(&mut flight.tries);
        let next = Question::new(target, flight.question.kind);
        let known = self.cache.get(&next, now);
        flight.current = next;
        flight.failed.clear();
        flight.position = 0;
        for tried in closed {
            self.close(&tried);
        }
        match known {
            // How long the kept answer stays good is not known here: don't keep it a second time.
            Some(answer) => self.finish(
                key,
                answer.outcome.clone(),
                answer.canonical.clone(),
                None,
                answer.authentic,
                now,
            ),
            None => self.advance(key, now),
        }
    }

    /// The try at `index` came to nothing, and its server is not asked again for this question.
    fn give_up_try(&mut self, key: Key, index: usize, now: Instant) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        if index >= flight.tries.len() {
            return;
        }
        let waited_for = index + 1 == flight.tries.len();
        let tried = flight.tries.remove(index);
        flight.failed.insert(tried.server);
        self.close(&tried);
        if waited_for {
            self.advance(key, now);
        }
    }

    /// Asks the same server again in another way.
    fn replace_try(
        &mut self,
        key: Key,
        index: usize,
        ask: Ask,
        transport: Transport,
        now: Instant,
    ) {
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        if index >= flight.tries.len() {
            return;
        }
        let tried = flight.tries.remove(index);
        self.close(&tried);
        self.send(key, tried.server, ask, transport, now);
    }

    /// Asks the next server, or ends the lookup when there is none.
    fn advance(&mut self, key: Key, now: Instant) {
        let attempts = self.servers.settings.attempts as usize;
        let Some(flight) = self.flights.get_mut(&key) else {
            return;
        };
        let count = flight.order.len();
        let mut next = None;
        while now < flight.deadline && flight.position < count * attempts {
            let server = flight.order.get(flight.position % count).copied();
            flight.position += 1;
            if let Some(server) = server
                && !flight.failed.contains(&server)
            {
                next = Some(server);
                break;
            }
        }
        match next {
            Some(server) => {
                let ask = if self.servers.trusted(server) {
                    Ask::Secure
                } else {
                    Ask::Edns
                };
                self.send(key, server, ask, Transport::Udp, now);
            }
            None => {
                let trouble = flight.trouble;
                self.finish_temporary(key, trouble, now);
            }
        }
    }

    fn send(&mut self, key: Key, server: usize, ask: Ask, transport: Transport, now: Instant) {
        let id = TransmitId(self.number());
        let dns_id = (self.random)() as u16;
        let timeout = self.servers.settings.timeout;
        let (Some(address), Some(flight)) =
            (self.servers.address(server), self.flights.get_mut(&key))
        else {
            return;
        };
        let deadline = now.checked_add(timeout).unwrap_or(now).min(flight.deadline);
        let payload = encode(&flight.current, dns_id, ask);
        flight.tries.push(Try {
            id,
            server,
            dns_id,
            ask,
            transport,
            deadline,
            forgeries: 0,
        });
        self.by_transmit.insert(id, key);
        self.timers.insert((deadline, id));
        self.commands.push_back(Command::Send(Transmit {
            id,
            server: address,
            transport,
            payload,
        }));
    }

    fn close(&mut self, tried: &Try) {
        self.by_transmit.remove(&tried.id);
        self.timers.remove(&(tried.deadline, tried.id));
        self.commands.push_back(Command::Close(tried.id));
    }

    fn finish_temporary(&mut self, key: Key, trouble: Trouble, now: Instant) {
        let Some(flight) = self.flights.get(&key) else {
            return;
        };
        let name = flight.current.name.clone();
        self.finish(key, Outcome::Temporary(trouble), name, None, false, now);
    }

    /// Ends the lookup; `ttl` as for the cache, `None` when the answer may not be kept.
    fn finish(
        &mut self,
        key: Key,
        outcome: Outcome,
        canonical: Name,
        ttl: Option<u32>,
        authentic: bool,
        now: Instant,
    ) {
        let Some(flight) = self.flights.remove(&key) else {
            return;
        };
        self.by_question.remove(&flight.question);
        for tried in &flight.tries {
            self.close(tried);
        }
        let authentic = authentic && flight.authentic;
        let answer = Arc::new(Answer {
            outcome,
            canonical,
            authentic,
        });
        let failed = matches!(answer.outcome, Outcome::Temporary(_));
        if failed {
            self.cache.put(&flight.question, &answer, FAILURE_TTL, now);
        } else if let Some(ttl) = ttl {
            let ttl = Duration::from_secs(u64::from(ttl.min(flight.ttl)));
            self.cache.put(&flight.question, &answer, ttl, now);
        }
        self.commands.push_back(Command::Answered(key, answer));
    }
}
