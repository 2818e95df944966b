//! One connection to a host: socket, TLS, the dialogue's core, and the message being sent.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use daemon::net::Socket;
use daemon::tls::{ClientTls, Stream, TlsFacts};
use mio::event::Source as _;
use mio::{Interest, Registry, Token};
use smtp::client::{Action, Client, Outcome, Output, Settings, TlsUse, Transaction, Wait};

use crate::body::Body;
use crate::hop::Hop;
use crate::settings::{CONNECT_TIME, IDLE_TIME};

/// Output buffers above this are given back when the connection becomes idle, in octets.
const KEPT_BUFFER_MAX: usize = 4 * 1024;

/// Working space that all connections of the loop share.
#[derive(Debug)]
pub struct Space {
    /// For what comes.
    pub input: Vec<u8>,
    /// For blocks of content.
    pub block: Vec<u8>,
}

/// What the loop has to know of.
#[derive(Debug)]
pub enum Event {
    /// What became of the recipient with this place in the job.
    Outcome(usize, Outcome),
    /// Ready for the next transaction.
    Idle,
    /// TLS failed and is not required.
    ReconnectClear,
    /// The connection is over; drop it.
    Closed,
}

/// What a deadline was set for; a change of it sets the deadline anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Armed {
    Nothing,
    Connect,
    Idle,
    Wait(Wait),
}

/// A connection. Its methods put into `events` what the loop has to know of, in order; nothing
/// follows [`Event::Closed`].
#[derive(Debug)]
pub struct Connection {
    stream: Stream<Socket>,
    client: Client,
    out: Output,
    /// How much of `out.bytes` has been written.
    sent: usize,
    /// The message of the transaction, not asked for yet.
    ready_body: Option<Body>,
    /// The message being sent.
    body: Option<Body>,
    /// Places in the job, by place in the transaction.
    places: Vec<usize>,
    connected: bool,
    handshaking: bool,
    over: bool,
    armed: Armed,
    tls: TlsUse,
    client_tls: ClientTls,
    /// The host's name for TLS, or its address.
    name: Box<str>,
    /// `name[address]`.
    pub host: Box<str>,
    /// Where it is connected to.
    pub peer: SocketAddr,
    /// The next hop it was made for.
    pub hop: Hop,
    /// The job whose transaction is under way.
    pub job: Option<u64>,
    /// Transactions begun.
    pub messages: u32,
    /// What TLS agreed on.
    pub facts: Option<TlsFacts>,
    /// The success of the transaction under way has been logged.
    pub sent_logged: bool,
    greeted: bool,
}

/// What a new connection needs to know.
#[derive(Debug)]
pub struct Opening<'a> {
    /// Where to.
    pub peer: SocketAddr,
    /// From which address.
    pub source: Option<IpAddr>,
    /// The host's name, if it has one.
    pub name: Option<&'a str>,
    /// For reuse.
    pub hop: Hop,
    /// Our name.
    pub hello: &'a str,
    /// Encryption.
    pub tls: TlsUse,
    /// The library's side of it.
    pub client_tls: &'a ClientTls,
}

impl Connection {
    /// Begins to connect.
    ///
    /// # Errors
    /// The system's, when it refuses at once.
    pub fn open(opening: Opening<'_>, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = Socket::connect_from(opening.peer, opening.source)?;
        // Once, for both directions: edges tell what changes.
        socket.register(registry, token, Interest::READABLE | Interest::WRITABLE)?;
        let address = opening.peer.ip();
        Ok(Self {
            stream: Stream::clear(socket),
            client: Client::new(Settings {
                hello: opening.hello.into(),
                tls: opening.tls,
            }),
            out: Output::default(),
            sent: 0,
            ready_body: None,
            body: None,
            places: Vec::new(),
            connected: false,
            handshaking: false,
            over: false,
            armed: Armed::Nothing,
            tls: opening.tls,
            client_tls: opening.client_tls.clone(),
            name: opening
                .name
                .map_or_else(|| address.to_string(), str::to_owned)
                .into(),
            host: crate::answers::peer(opening.name, address),
            peer: opening.peer,
            hop: opening.hop,
            job: None,
            messages: 0,
            facts: None,
            sent_logged: false,
            greeted: false,
        })
    }

    /// Begins a transaction, now or when the connection is ready.
    pub fn begin(
        &mut self,
        job: u64,
        transaction: Transaction,
        places: Vec<usize>,
        body: Body,
        space: &mut Space,
        events: &mut Vec<Event>,
    ) {
        self.job = Some(job);
        self.places = places;
        self.ready_body = Some(body);
        self.messages += 1;
        self.sent_logged = false;
        if self.client.begin(transaction, &mut self.out).is_err() {
            // Can't happen: only idle and fresh connections are given work.
            self.over(events);
            return;
        }
        if self.connected {
            self.pump(space, events);
        }
    }

    /// Whether the host has said anything.
    pub const fn was_greeted(&self) -> bool {
        self.greeted
    }

    /// Whether a message's content is on its way or its acceptance is being waited for.
    pub fn is_sending(&self) -> bool {
        matches!(self.client.wait(), Some(Wait::DataBlock | Wait::DataEnd))
    }

    /// Whether all of a message has been sent and the host has to say what becomes of it.
    pub fn awaits_verdict(&self) -> bool {
        matches!(self.client.wait(), Some(Wait::DataEnd))
    }

    /// Whether the connection stands.
    pub const fn is_connected(&self) -> bool {
        self.connected
    }

    /// After the first event: whether the connection stands.
    ///
    /// # Errors
    /// Why it does not. `NotConnected`: still under way.
    pub fn connecting(&mut self) -> io::Result<()> {
        self.stream.socket().connected()?;
        self.stream.socket().send_at_once();
        self.connected = true;
        Ok(())
    }

    /// Something came, or the end; `ended` when the event said that the peer sends no more.
    pub fn readable(&mut self, ended: bool, space: &mut Space, events: &mut Vec<Event>) {
        while !self.over {
            let result = self.stream.read(&mut space.input);
            self.shaken(space, events);
            match result {
                Ok(0) => {
                    let why = if self.handshaking {
                        "closed during the handshake"
                    } else {
                        ""
                    };
                    self.broken(why, events);
                }
                Ok(count) => {
                    self.greeted = true;
                    let input = std::mem::take(&mut space.input);
                    self.client
                        .input(input.get(..count).unwrap_or_default(), &mut self.out);
                    // A whole line is progress; single octets are not, so that nobody holds a
                    // connection by trickling.
                    if input
                        .get(..count)
                        .is_some_and(|input| input.contains(&b'\n'))
                    {
                        self.armed = Armed::Nothing;
                    }
                    let whole = count < input.len();
                    space.input = input;
                    self.pump(space, events);
                    // A short read of a bare socket has emptied it: the next octet makes an edge.
                    if whole && !ended && !self.stream.is_tls() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.broken(&error.to_string(), events),
            }
        }
    }

    /// The socket takes octets again.
    pub fn writable(&mut self, space: &mut Space, events: &mut Vec<Event>) {
        if self.over {
            return;
        }
        if let Err(error) = self.stream.flush() {
            return self.broken(&error.to_string(), events);
        }
        self.pump(space, events);
    }

    /// The deadline has passed.
    pub fn timed_out(&mut self, space: &mut Space, events: &mut Vec<Event>) {
        self.armed = Armed::Nothing;
        if self.handshaking {
            return self.broken("timed out", events);
        }
        self.client.timeout(&mut self.out);
        self.pump(space, events);
    }

    /// Says QUIT on an idle connection.
    pub fn quit(&mut self, space: &mut Space, events: &mut Vec<Event>) {
        self.client.quit(&mut self.out);
        self.pump(space, events);
    }

    /// The time until the deadline when it has to be set anew.
    pub fn deadline(&mut self) -> Option<Duration> {
        let (armed, time) = if !self.connected {
            (Armed::Connect, CONNECT_TIME)
        } else {
            match self.client.wait() {
                None => (Armed::Idle, IDLE_TIME),
                Some(wait) => (Armed::Wait(wait), wait.duration()),
            }
        };
        if armed == self.armed {
            return None;
        }
        self.armed = armed;
        Some(time)
    }

    /// The handshake may just have ended.
    fn shaken(&mut self, space: &mut Space, events: &mut Vec<Event>) {
        if self.handshaking && !self.stream.is_handshaking() {
            self.handshaking = false;
            self.facts = self.stream.facts();
            self.client.tls_started(&mut self.out);
            self.pump(space, events);
        }
    }

    /// The connection is of no more use to the dialogue.
    fn broken(&mut self, why: &str, events: &mut Vec<Event>) {
        self.out.bytes.clear();
        self.sent = 0;
        self.body = None;
        if self.handshaking {
            self.handshaking = false;
            self.client.tls_failed(why, &mut self.out);
        } else {
            self.client.closed(why, &mut self.out);
        }
        self.actions(events);
        self.over(events);
    }

    /// Writes what is to be written and does what is to be done until one of both has to wait.
    fn pump(&mut self, space: &mut Space, events: &mut Vec<Event>) {
        while !self.over {
            let flushed = match self.write() {
                Ok(flushed) => flushed,
                Err(error) => return self.broken(&error.to_string(), events),
            };
            if self.actions(events) {
                continue;
            }
            if !flushed {
                return;
            }
            match &mut self.body {
                None => return,
                Some(body) if body.is_finished() => {
                    self.body = None;
                    self.client.body_sent(&mut self.out);
                    return;
                }
                Some(body) => {
                    if let Err(error) = body.next(&mut space.block, &mut self.out.bytes) {
                        daemon::log::error("queue-file")
                            .kv("host", &*self.host)
                            .val("error", error)
                            .send();
                        self.out.bytes.clear();
                        self.body = None;
                        self.client.body_failed(&mut self.out);
                    }
                }
            }
        }
    }

    /// Writes; `false` when octets are left for the next writable event.
    fn write(&mut self) -> io::Result<bool> {
        while let Some(rest) = self
            .out
            .bytes
            .get(self.sent..)
            .filter(|rest| !rest.is_empty())
        {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.sent += count;
                    if self.body.is_some() {
                        // Octets of the content taken are progress (RFC 5321, 4.5.3.2.5).
                        self.armed = Armed::Nothing;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.out.bytes.clear();
        self.sent = 0;
        Ok(true)
    }

    /// Carries out what the core asked for; whether there was anything.
    fn actions(&mut self, events: &mut Vec<Event>) -> bool {
        if self.out.actions.is_empty() {
            return false;
        }
        for action in std::mem::take(&mut self.out.actions) {
            if self.over {
                break;
            }
            match action {
                Action::Outcome(outcome) => {
                    if let Some(&place) = self.places.get(outcome.recipient) {
                        events.push(Event::Outcome(place, outcome));
                    }
                }
                Action::SendBody => self.body = self.ready_body.take(),
                Action::StartTls => self.start_tls(),
                Action::Idle => {
                    self.ready_body = None;
                    self.body = None;
                    if self.out.bytes.capacity() > KEPT_BUFFER_MAX && self.out.bytes.is_empty() {
                        self.out.bytes = Vec::new();
                    }
                    events.push(Event::Idle);
                }
                Action::ReconnectClear => {
                    events.push(Event::ReconnectClear);
                    self.over(events);
                }
                Action::Close => self.over(events),
            }
        }
        true
    }

    fn start_tls(&mut self) {
        self.handshaking = true;
        let mut result = self.stream.start_client(&self.client_tls, &self.name);
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::InvalidInput) {
            // A host whose name can't stand in a certificate is asked by its address.
            let address = self.peer.ip().to_string();
            result = self.stream.start_client(&self.client_tls, &address);
        }
        if let Err(error) = result {
            self.handshaking = false;
            self.client.tls_failed(&error.to_string(), &mut self.out);
        }
    }

    fn over(&mut self, events: &mut Vec<Event>) {
        if !self.over {
            self.over = true;
            // What fits goes out; nothing more is waited for.
            let _ = self.write();
            self.stream.close();
            let _ = self.stream.socket_mut().flush();
            events.push(Event::Closed);
        }
    }

    /// How encryption is used, for log lines.
    pub fn tls_words(&self) -> &'static str {
        match (&self.facts, self.tls) {
            (Some(facts), _) => facts.protocol,
            (None, TlsUse::Never) => "off",
            (None, _) => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{CONNECT_TIME, IDLE_TIME};
    use mio::{Events, Poll};
    use queue::wire::Content;
    use smtp::client::Stage;
    use smtp::types::{BodyKind, Mailbox, ReversePath};
    use testkit::{PATIENCE, Peer};

    struct Bench {
        poll: Poll,
        space: Space,
        connection: Connection,
        events: Vec<Event>,
    }

    impl Bench {
        fn new(peer: SocketAddr, tls: TlsUse) -> Self {
            let poll = Poll::new().unwrap();
            let opening = Opening {
                peer,
                source: None,
                name: Some("mx.example"),
                hop: Hop::Mx("d.example".into()),
                hello: "me.example",
                tls,
                client_tls: &ClientTls::opportunistic().unwrap(),
            };
            let mut connection = Connection::open(opening, poll.registry(), Token(0)).unwrap();
            assert_eq!(connection.deadline(), Some(CONNECT_TIME));
            let mut space = Space {
                input: vec![0; 1_024],
                block: vec![0; 1_024],
            };
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"x\r\n").unwrap();
            let content = Content {
                offset: 0,
                length: 3,
            };
            let transaction = Transaction {
                from: ReversePath::Null,
                to: vec![Mailbox::parse("a@d.example").unwrap()],
                size: 3,
                body: BodyKind::SevenBit,
            };
            let mut events = Vec::new();
            let body = Body::new(std::rc::Rc::new(file), content);
            connection.begin(1, transaction, vec![0], body, &mut space, &mut events);
            assert!(events.is_empty());
            Self {
                poll,
                space,
                connection,
                events,
            }
        }

        /// Takes events until the connection is in the wanted state.
        fn until(&mut self, ready: impl Fn(&Self) -> bool) {
            let mut events = Events::with_capacity(8);
            while !ready(self) {
                self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
                assert!(!events.is_empty(), "{:?}", self.connection);
                for event in &events {
                    if !self.connection.is_connected() {
                        self.connection.connecting().unwrap();
                    }
                    let (space, list) = (&mut self.space, &mut self.events);
                    if event.is_writable() {
                        self.connection.writable(space, list);
                    }
                    if event.is_readable() {
                        self.connection
                            .readable(event.is_read_closed(), space, list);
                    }
                }
            }
        }

        fn waits_for(&mut self, wait: Wait) {
            self.until(|bench| bench.connection.client.wait() == Some(wait));
        }

        fn time_out(mut self) -> Vec<Event> {
            self.connection.timed_out(&mut self.space, &mut self.events);
            self.events
        }
    }

    fn deferred(events: &[Event], stage: Stage, words: &str) {
        let [Event::Outcome(0, outcome), Event::Closed] = events else {
            panic!("{events:?}");
        };
        assert_eq!(outcome.stage, stage);
        assert!(outcome.words.contains(words), "{}", outcome.words);
    }

    #[test]
    fn silence_at_each_step_ends_by_its_own_deadline() {
        let steps = [
            ("", Wait::Greeting, Stage::Greeting, 300),
            ("-> 220 hi\n<~ EHLO\n", Wait::Hello, Stage::Hello, 300),
            ("-> 250 hi\n<~ MAIL\n", Wait::Mail, Stage::Mail, 300),
            ("-> 250 ok\n<~ RCPT\n", Wait::Rcpt, Stage::Rcpt, 300),
            ("-> 250 ok\n<~ DATA\n", Wait::DataStart, Stage::Data, 120),
            ("-> 354 go\n<data\n", Wait::DataEnd, Stage::End, 600),
        ];
        let mut script = String::new();
        for (step, wait, stage, seconds) in steps {
            script.push_str(step);
            let peer = Peer::serve(&[&format!("{script}hold for-ever")]);
            let mut bench = Bench::new(peer.address, TlsUse::Never);
            bench.until(|bench| bench.connection.is_connected());
            bench.waits_for(wait);
            let deadline = bench.connection.deadline();
            assert_eq!(deadline, Some(Duration::from_secs(seconds)), "{wait:?}");
            assert_eq!(bench.connection.deadline(), None, "set once");
            deferred(&bench.time_out(), stage, "timed out");
        }
    }

    #[test]
    fn a_silent_handshake_is_a_failed_one() {
        let script =
            "-> 220 hi\n<~ EHLO\n-> 250-hi\n-> 250 STARTTLS\n<- STARTTLS\n-> 220 go\nhold for-ever";
        for (tls, again) in [(TlsUse::May, true), (TlsUse::Must, false)] {
            let peer = Peer::serve(&[script]);
            let mut bench = Bench::new(peer.address, tls);
            bench.waits_for(Wait::Handshake);
            assert_eq!(bench.connection.deadline(), Some(Duration::from_secs(60)));
            let events = bench.time_out();
            if again {
                assert!(
                    matches!(events[..], [Event::ReconnectClear, Event::Closed]),
                    "{events:?}"
                );
            } else {
                deferred(&events, Stage::Tls, "TLS handshake failed: timed out");
            }
        }
    }

    #[test]
    fn octets_without_a_line_do_not_move_the_deadline() {
        let peer = Peer::serve(&[
            "hold some\n->> 22\nhold more\n->> 0 hi\\r\\n\n<~ EHLO\n->> 250-a\\r\\n\nhold for-ever",
        ]);
        let mut bench = Bench::new(peer.address, TlsUse::Never);
        bench.until(|bench| bench.connection.is_connected());
        assert!(bench.connection.deadline().is_some(), "for the greeting");
        peer.release("some");
        bench.until(|bench| bench.connection.was_greeted());
        assert_eq!(bench.connection.deadline(), None);
        peer.release("more");
        bench.waits_for(Wait::Hello);
        assert!(bench.connection.deadline().is_some(), "for EHLO");
        bench.until(|bench| bench.connection.armed == Armed::Nothing);
        assert!(
            bench.connection.deadline().is_some(),
            "a line of the reply has come"
        );
    }

    #[test]
    fn an_idle_connection_says_quit_when_its_time_is_over() {
        let peer = Peer::serve(&[
            "-> 220 hi\n<~ EHLO\n-> 250 hi\n<~ MAIL\n-> 250 ok\n<~ RCPT\n-> 250 ok\n<~ DATA\n-> 354 go\n<data\n-> 250 ok\n<- QUIT\n-> 221 bye\neof",
        ]);
        let mut bench = Bench::new(peer.address, TlsUse::Never);
        bench.until(|bench| matches!(bench.events.last(), Some(Event::Idle)));
        assert_eq!(bench.connection.deadline(), Some(IDLE_TIME));
        let mut events = Vec::new();
        bench.connection.timed_out(&mut bench.space, &mut events);
        assert!(events.is_empty());
        assert_eq!(bench.connection.deadline(), Some(Duration::from_secs(5)));
        bench.until(|bench| matches!(bench.events.last(), Some(Event::Closed)));
        drop(bench);
        peer.finished(1);
    }
}
