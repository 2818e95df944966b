//! remote-send's socket: transactions out, answers in.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use daemon::log;
use daemon::packet::Packets;
use mio::{Interest, Registry, Token};
use queue::wire::remote::{FromRemote, NextHop, Recipient, Scope, ToRemote, Transaction};
use queue::{Place, QueueId, Status};

use crate::disk::Disk;
use crate::sched::{Active, Answer, Event, Hop};
use crate::silence::{Silence, Verdict};

/// A transaction that the socket had no room for.
struct Unsent {
    number: u64,
    id: QueueId,
    place: Place,
    packet: Vec<u8>,
}

/// The socket and what is under way on it.
pub struct Remote {
    socket: Packets,
    unsent: VecDeque<Unsent>,
    sent: HashSet<u64>,
    /// A hello that the socket had no room for.
    hello: bool,
    silence: Silence,
}

fn failed(text: String) -> Answer {
    Answer {
        status: Status::SYSTEM_DEFERRED,
        scope: Scope::Recipient,
        host: String::new(),
        text,
        recipients: Vec::new(),
    }
}

impl Remote {
    /// Registers the socket. remote-send may be silent for `answer_time` while it owes an answer.
    ///
    /// # Errors
    /// The system's.
    pub fn new(
        mut socket: Packets,
        registry: &Registry,
        token: Token,
        answer_time: Duration,
    ) -> io::Result<Self> {
        crate::workers::drop_answers(&socket);
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            socket,
            unsent: VecDeque::new(),
            sent: HashSet::new(),
            hello: true,
            silence: Silence::new(answer_time),
        })
    }

    /// Asks for one transaction.
    #[expect(clippy::too_many_arguments, reason = "the parts of one action")]
    pub fn send(
        &mut self,
        disk: &mut Disk,
        message: &Active,
        number: u64,
        id: QueueId,
        hop: &Hop,
        indices: &[u32],
        events: &mut Vec<Event>,
    ) {
        let transaction = Transaction {
            number,
            id,
            reverse_path: &message.envelope.reverse_path,
            eight_bit: message.envelope.eight_bit,
            utf8: message.envelope.utf8,
            content: message.content,
            next_hop: match hop {
                Hop::Mx(domain) => NextHop::Mx(domain),
                Hop::Host(name, port) => NextHop::Host(name, *port),
            },
            recipients: indices
                .iter()
                .map(|&index| Recipient {
                    index,
                    address: message.address(index),
                })
                .collect(),
        };
        let mut packet = Vec::new();
        if let Err(error) = ToRemote::Transaction(transaction).encode(&mut packet) {
            events.push(Event::Answered(number, failed(error.to_string())));
            return;
        }
        self.unsent.push_back(Unsent {
            number,
            id,
            place: message.place,
            packet,
        });
        self.silence.asked(Instant::now());
        self.flush(disk, events);
    }

    /// Looks whether remote-send still answers, and asks it for a sign of life. `false`: it has to
    /// be replaced; what it has taken will not be answered.
    pub fn answers(&mut self, now: Instant, events: &mut Vec<Event>) -> bool {
        match self.silence.look(now) {
            Verdict::Wait => true,
            Verdict::Ask => {
                // A full socket is no better sign than no answer.
                let _ = self.socket.send(queue::wire::PING, None);
                true
            }
            Verdict::Silent => {
                events.extend(self.sent.drain().map(Event::Overdue));
                false
            }
        }
    }

    /// When [`Remote::answers`] is of use next.
    pub fn next_doubt(&self) -> Option<Instant> {
        self.silence.next()
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self, disk: &mut Disk, events: &mut Vec<Event>) {
        if self.hello {
            match self.socket.send(queue::wire::HELLO, None) {
                Ok(()) => self.hello = false,
                Err(_) => return,
            }
        }
        while let Some(next) = self.unsent.front() {
            let socket = &self.socket;
            match disk.with_file(next.id, next.place, |file| {
                socket.send(&next.packet, Some(file.as_fd()))
            }) {
                Ok(Ok(())) => {
                    self.sent.insert(next.number);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(Err(error)) => {
                    // It is being replaced; its successor says hello.
                    log::warning("remote-send").val("error", error).send();
                    return;
                }
                Err(error) => {
                    let text = format!("message cannot be opened: {error}");
                    events.push(Event::Answered(next.number, failed(text)));
                }
            }
            self.unsent.pop_front();
        }
    }

    /// Reads answers. `false`: its end is closed, the house is being shut.
    pub fn on_readable(
        &mut self,
        disk: &mut Disk,
        buffer: &mut [u8],
        events: &mut Vec<Event>,
    ) -> bool {
        loop {
            let length = match self.socket.recv(buffer) {
                Ok(packet) if packet.length == 0 => return false,
                Ok(packet) => packet.length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => {
                    log::error("remote-send").val("error", &error).send();
                    if error.kind() == io::ErrorKind::InvalidData {
                        continue;
                    }
                    return true;
                }
            };
            match FromRemote::decode(buffer.get(..length).unwrap_or_default()) {
                Ok(FromRemote::Hello) => {
                    log::info("hello").kv("program", "remote-send").send();
                    events.extend(self.sent.drain().map(Event::Void));
                    self.hello = true;
                    self.flush(disk, events);
                }
                Ok(FromRemote::Alive) => {}
                Ok(FromRemote::Answer(answer)) => events.push(Event::Answered(
                    answer.number,
                    Answer {
                        status: answer.status,
                        scope: answer.scope,
                        host: answer.host.to_owned(),
                        text: answer.text.to_owned(),
                        recipients: answer.recipients,
                    },
                )),
                Err(error) => log::error("remote-send").val("error", error).send(),
            }
            self.silence.heard(Instant::now(), self.owes());
        }
    }

    fn owes(&self) -> bool {
        !self.sent.is_empty() || !self.unsent.is_empty()
    }

    /// A transaction is over.
    pub fn over(&mut self, number: u64) {
        if self.sent.remove(&number) && !self.owes() {
            self.silence.heard(Instant::now(), false);
        }
    }

    /// A transaction has had its time without an answer.
    pub fn abandon(&mut self, number: u64) {
        log::error("remote-send")
            .val("transaction", number)
            .kv("error", "did not answer in time")
            .send();
        self.unsent.retain(|unsent| unsent.number != number);
        self.over(number);
    }
}
