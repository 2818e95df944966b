//! Packets to act that wait for room in the socket.

use std::collections::VecDeque;
use std::io;

use daemon::packet::Packets;

use crate::act::wire::Request;

/// Octets that may wait. Beyond this requests are lost and counted, and act is told anew what
/// stands once there is room.
const OCTETS_MAX: usize = 4 << 20;

/// The way to act.
#[derive(Debug)]
pub struct Errands {
    packets: Packets,
    waiting: VecDeque<Vec<u8>>,
    octets: usize,
    /// Requests that found no room here since [`Errands::is_lossy`] was asked.
    lost: bool,
    /// Requests that found no room.
    pub lost_total: u64,
}

impl Errands {
    /// Sends to this socket.
    #[must_use]
    pub fn new(packets: Packets) -> Errands {
        Errands {
            packets,
            waiting: VecDeque::new(),
            octets: 0,
            lost: false,
            lost_total: 0,
        }
    }

    /// The socket.
    #[must_use]
    pub fn packets(&self) -> &Packets {
        &self.packets
    }

    /// Sends, or has it wait.
    pub fn say(&mut self, request: &Request) {
        let octets = request.encode();
        if self.waiting.is_empty() && self.packets.send(&octets, None).is_ok() {
            return;
        }
        if self.octets + octets.len() > OCTETS_MAX {
            self.lost = true;
            self.lost_total += 1;
            return;
        }
        self.octets += octets.len();
        self.waiting.push_back(octets);
    }

    /// Whether something waits for room.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether something was lost and there is room now: then everything is to be said again.
    pub fn is_lossy(&mut self) -> bool {
        self.waiting.is_empty() && std::mem::take(&mut self.lost)
    }

    /// There may be room now.
    ///
    /// # Errors
    /// The system's, when act is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(octets) = self.waiting.front() {
            match self.packets.send(octets, None) {
                Ok(()) => {
                    self.octets -= octets.len();
                    self.waiting.pop_front();
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
