//! The mini name server: UDP and TCP on one loopback port, in threads of its own.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{Name, RecordType};

use crate::{PATIENCE, Trick, Zone};

/// One question that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The name in lower case without the trailing dot.
    pub name: String,
    /// The type's mnemonic.
    pub kind: String,
    /// By TCP.
    pub tcp: bool,
    /// With EDNS.
    pub edns: bool,
    /// With the DO bit.
    pub dnssec_ok: bool,
    /// The message id.
    pub id: u16,
    /// Where it came from.
    pub from: SocketAddr,
}

#[derive(Default)]
struct State {
    zone: Zone,
    asked: Vec<Asked>,
    released: Vec<String>,
    held: Vec<(String, SocketAddr, Vec<u8>)>,
    stopped: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    socket: UdpSocket,
}

/// A running name server; stops when dropped.
pub struct Dns {
    /// Where it listens, UDP and TCP.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in a test thread must not hide behind a second one here.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Dns {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn start(zone: Zone) -> Self {
        for _ in 0..64 {
            if let Ok(dns) = Self::start_at(
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
                zone.clone(),
            ) {
                return dns;
            }
        }
        panic!("no port is free for both UDP and TCP");
    }

    /// Starts on the given address; port 0 means any free one.
    ///
    /// # Errors
    /// What binding gave.
    pub fn start_at(address: SocketAddr, zone: Zone) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let socket = UdpSocket::bind(address)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                zone,
                ..State::default()
            }),
            changed: Condvar::new(),
            socket: socket.try_clone()?,
        });
        let for_udp = Arc::clone(&shared);
        let for_tcp = Arc::clone(&shared);
        let threads = vec![
            std::thread::spawn(move || serve_udp(&socket, &for_udp)),
            std::thread::spawn(move || serve_tcp(&listener, &for_tcp)),
        ];
        Ok(Self {
            address,
            shared,
            threads,
        })
    }

    /// Another table from now on.
    pub fn set(&self, zone: Zone) {
        locked(&self.shared.state).zone = zone;
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Asked> {
        locked(&self.shared.state).asked.clone()
    }

    /// How many questions for this name and type came so far.
    pub fn count(&self, name: &str, kind: &str) -> usize {
        locked(&self.shared.state)
            .asked
            .iter()
            .filter(|asked| asked.name == name && asked.kind == kind)
            .count()
    }

    /// Waits until `count` questions for this name and type have come.
    ///
    /// # Panics
    /// When [`PATIENCE`] ends first.
    pub fn wait_for(&self, name: &str, kind: &str, count: usize) {
        let end = Instant::now() + PATIENCE;
        let mut state = locked(&self.shared.state);
        loop {
            let seen = state
                .asked
                .iter()
                .filter(|asked| asked.name == name && asked.kind == kind)
                .count();
            if seen >= count {
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited for {count} questions {name} {kind}, saw {:?}",
                state.asked
            );
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }

    /// Lets the answers go that wait under [`Trick::Hold`] with this word, now and later.
    pub fn release(&self, word: &str) {
        let mut state = locked(&self.shared.state);
        state.released.push(word.to_owned());
        let held = std::mem::take(&mut state.held);
        for (waits_for, to, bytes) in held {
            if waits_for == word {
                let _ = self.shared.socket.send_to(&bytes, to);
            } else {
                state.held.push((waits_for, to, bytes));
            }
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        locked(&self.shared.state).stopped = true;
        self.shared.changed.notify_all();
        // Wakes the two threads out of their system calls.
        let _ = self.shared.socket.send_to(&[], self.address);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let mut buffer = [0; 4096];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if locked(&shared.state).stopped {
            return;
        }
        let Some(replies) = answer(
            buffer.get(..length).unwrap_or_default(),
            from,
            false,
            shared,
        ) else {
            continue;
        };
        for reply in replies.messages {
            match &replies.hold {
                Some(word) => {
                    let mut state = locked(&shared.state);
                    if state.released.contains(word) {
                        let _ = socket.send_to(&reply, from);
                    } else {
                        state.held.push((word.clone(), from, reply));
                    }
                }
                None => {
                    let _ = socket.send_to(&reply, from);
                }
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, from)) = listener.accept() else {
            continue;
        };
        if locked(&shared.state).stopped {
            return;
        }
        let shared = Arc::clone(shared);
        // Ends by itself: the other side closes, or patience does.
        std::thread::spawn(move || {
            let _ = serve_stream(stream, from, &shared);
        });
    }
}

fn serve_stream(mut stream: TcpStream, from: SocketAddr, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    loop {
        let mut prefix = [0; 2];
        stream.read_exact(&mut prefix)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(prefix))];
        stream.read_exact(&mut question)?;
        let Some(replies) = answer(&question, from, true, shared) else {
            return Ok(());
        };
        if let Some(word) = &replies.hold {
            let end = Instant::now() + PATIENCE;
            let mut state = locked(&shared.state);
            while !state.stopped && !state.released.contains(word) && Instant::now() < end {
                state = shared
                    .changed
                    .wait_timeout(state, PATIENCE)
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .0;
            }
        }
        for reply in replies.messages {
            let length = u16::try_from(reply.len()).unwrap_or(u16::MAX).to_be_bytes();
            stream.write_all(&[&length, reply.as_slice()].concat())?;
        }
    }
}

struct Replies {
    messages: Vec<Vec<u8>>,
    hold: Option<String>,
}

/// What goes back; `None` for nothing (and, on a stream, the end).
fn answer(bytes: &[u8], from: SocketAddr, tcp: bool, shared: &Shared) -> Option<Replies> {
    let question = Message::from_vec(bytes).ok()?;
    let query = question.queries.first()?.clone();
    let mut state = locked(&shared.state);
    let edns = question.edns.as_ref();
    state.asked.push(Asked {
        name: query
            .name
            .to_lowercase()
            .to_ascii()
            .trim_end_matches('.')
            .to_owned(),
        kind: query.query_type.to_string(),
        tcp,
        edns: edns.is_some(),
        dnssec_ok: edns.is_some_and(|edns| edns.flags().dnssec_ok),
        id: question.metadata.id,
        from,
    });
    let name = query.name.to_lowercase().to_ascii();
    let times = state
        .asked
        .iter()
        .filter(|asked| {
            asked.name == name.trim_end_matches('.') && asked.kind == query.query_type.to_string()
        })
        .count();
    shared.changed.notify_all();
    let tricks: Vec<Trick> = state
        .zone
        .tricks(&query.name, query.query_type)
        .cloned()
        .collect();
    let has = |trick: &Trick| tricks.contains(trick);
    if has(&Trick::Drop)
        || (has(&Trick::DropFirst) && times == 1)
        || (tcp && has(&Trick::TruncatedTcpClosed))
    {
        return None;
    }

    let mut reply = Message::new(
        question.metadata.id,
        MessageType::Response,
        question.metadata.op_code,
    );
    reply.metadata.recursion_desired = true;
    reply.metadata.recursion_available = true;
    reply.metadata.authentic_data = has(&Trick::Authentic);
    reply.add_query(query.clone());
    if let Some(edns) = edns {
        let mut back = hickory_proto::op::Edns::new();
        back.set_max_payload(1232)
            .set_dnssec_ok(edns.flags().dnssec_ok);
        reply.set_edns(back);
    }
    let code = if has(&Trick::ServFail) {
        Some(ResponseCode::ServFail)
    } else if has(&Trick::Refused) {
        Some(ResponseCode::Refused)
    } else if has(&Trick::NoEdns) && edns.is_some() {
        reply.edns = None;
        Some(ResponseCode::FormErr)
    } else {
        None
    };
    if let Some(code) = code {
        reply.metadata.response_code = code;
    } else {
        fill(
            &mut reply,
            &state.zone,
            &query.name,
            query.query_type,
            &tricks,
        );
    }
    drop(state);

    let truncated = has(&Trick::TruncatedAlways)
        || (!tcp && (has(&Trick::Truncated) || has(&Trick::TruncatedTcpClosed)));
    let limit = edns.map_or(512, |edns| usize::from(edns.max_payload().max(512)));
    let mut right = reply.to_vec().ok()?;
    if truncated || (!tcp && right.len() > limit) {
        reply.answers.clear();
        reply.authorities.clear();
        reply.metadata.truncation = true;
        right = reply.to_vec().ok()?;
    }
    let wrong_id = || {
        let mut wrong = right.clone();
        if let Some(octet) = wrong.get_mut(1) {
            *octet ^= 0x5a;
        }
        wrong
    };
    let wrong_question = || {
        let mut wrong = reply.clone();
        if let Some(query) = wrong.queries.first_mut() {
            query.name = Name::from_ascii("elsewhere.invalid").expect("a name");
        }
        wrong.to_vec().unwrap_or_default()
    };
    let mut messages = Vec::new();
    if has(&Trick::WrongId) || has(&Trick::WrongIdFirst) {
        messages.push(wrong_id());
    }
    if has(&Trick::WrongQuestion) || has(&Trick::WrongQuestionFirst) {
        messages.push(wrong_question());
    }
    if has(&Trick::Flood) && !tcp {
        messages.extend(std::iter::repeat_with(wrong_id).take(40));
    }
    if has(&Trick::Garbage) {
        right.truncate(12);
        right.extend_from_slice(&[0xff; 40]);
    }
    if !has(&Trick::WrongId) && !has(&Trick::WrongQuestion) {
        messages.push(right);
    }
    let hold = tricks.iter().find_map(|trick| match trick {
        Trick::Hold(word) => Some(word.clone()),
        _ => None,
    });
    Some(Replies { messages, hold })
}

fn fill(reply: &mut Message, zone: &Zone, name: &Name, kind: RecordType, tricks: &[Trick]) {
    let (records, exists) = zone.find(name, kind, tricks.contains(&Trick::AliasOnly));
    let complete = records
        .last()
        .is_some_and(|record| record.record_type() == kind);
    if tricks.contains(&Trick::NxDomain) {
        reply.metadata.response_code = ResponseCode::NXDomain;
    } else {
        if !exists {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        reply.add_answers(records);
    }
    if !complete && !tricks.contains(&Trick::NoSoa) && !tricks.contains(&Trick::AliasOnly) {
        reply.add_authority(Zone::soa());
    }
}
