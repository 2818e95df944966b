//! Packets to fire that wait for room in the socket.

use std::collections::VecDeque;
use std::io;

use daemon::packet::Packets;

use crate::fire::wire::{ENTRIES_MAX, Entry, Request};

/// Packets that may wait: a restore of a million bans and some more.
const WAITING_MAX: usize = 1_000;

/// The way to fire.
#[derive(Debug)]
pub struct Outbox {
    packets: Packets,
    waiting: VecDeque<Vec<u8>>,
    number: u32,
    /// Packets that found no room here: fire has not read for a long time.
    pub lost: u64,
}

impl Outbox {
    /// Sends to this socket.
    #[must_use]
    pub fn new(packets: Packets) -> Outbox {
        Outbox {
            packets,
            waiting: VecDeque::new(),
            number: 0,
            lost: 0,
        }
    }

    /// The socket.
    #[must_use]
    pub fn packets(&self) -> &Packets {
        &self.packets
    }

    /// Asks, and gives the number that the answer will carry.
    pub fn ask(&mut self, request: &Request) -> u32 {
        self.number = self.number.wrapping_add(1).max(1);
        self.say(request)
    }

    fn say(&mut self, request: &Request) -> u32 {
        let octets = request.encode(self.number);
        if self.waiting.is_empty() && self.packets.send(&octets, None).is_ok() {
            return self.number;
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(octets);
        } else {
            self.lost += 1;
        }
        self.number
    }

    /// Bans, in as many packets as it takes.
    pub fn add(&mut self, entries: &[Entry]) {
        for part in entries.chunks(ENTRIES_MAX) {
            self.ask(&Request::Add(part.to_vec()));
        }
    }

    /// Lifts bans.
    pub fn delete(&mut self, entries: &[Entry]) {
        for part in entries.chunks(ENTRIES_MAX) {
            self.ask(&Request::Delete(part.to_vec()));
        }
    }

    /// Forgets what waits: a restore follows, which has it all.
    pub fn forget(&mut self) {
        self.waiting.clear();
    }

    /// Has the table made anew with exactly these; gives the number of the answer.
    pub fn restore(&mut self, entries: &[Entry]) -> u32 {
        self.number = self.number.wrapping_add(1).max(1);
        for part in entries.chunks(ENTRIES_MAX) {
            self.say(&Request::Stage(part.to_vec()));
        }
        self.say(&Request::Commit(
            u32::try_from(entries.len()).unwrap_or(u32::MAX),
        ))
    }

    /// Whether something waits for room.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// There may be room now.
    ///
    /// # Errors
    /// The system's, when fire is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(octets) = self.waiting.front() {
            match self.packets.send(octets, None) {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
