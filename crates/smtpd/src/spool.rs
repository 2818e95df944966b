//! smtpd's hand on the queue: new files, their commit on threads, the trigger.

use std::time::{Duration, Instant};

use config::Config;
use daemon::dir::Dir;
use daemon::packet::Packets;
use daemon::{Fatal, Start, clock, log, process};
use queue::{CommitError, Incoming, QueueId, Sealed};
use smtp::server::SpoolError;

/// Threads that wait for the disk. The filesystem's journal groups what they do at one time.
pub const COMMIT_THREADS: usize = 16;

/// Octets of a queue file that are not the message: header, envelope, our trace fields.
pub const OVERHEAD_MAX: u64 = 2 << 20;

/// Free octets below which no message is begun, whatever its size.
const FREE_MIN: u64 = 8 << 20;

/// How long an answer of the filesystem about its free space is believed.
const FREE_AGE: Duration = Duration::from_secs(1);

/// The directory that new messages are created in.
///
/// # Errors
/// `Temporary` when it can't be opened.
pub fn incoming(start: &mut Start, config: &Config) -> Result<Incoming<Dir>, Fatal> {
    let dir = start.directory("incoming", &config.paths.queue.join("incoming"))?;
    // The group is queue-manager's; we keep no right to open a file again.
    let mode = if process::is_root() { 0o060 } else { 0o600 };
    process::umask(0);
    Ok(Incoming::new(dir, mode))
}

/// Which connection waits for a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Its place.
    pub slot: usize,
    /// Its number: places are used again, numbers are not.
    pub serial: u64,
}

/// A message on its way to the disk.
pub struct Job {
    /// Who waits.
    pub ticket: Ticket,
    /// What.
    pub sealed: Sealed<Dir>,
}

/// What became of it.
pub struct Done {
    /// Who waits.
    pub ticket: Ticket,
    /// Which message.
    pub id: QueueId,
    /// Whether it survives power loss.
    pub result: Result<(), CommitError>,
}

/// The work of a thread.
pub fn commit(job: Job) -> Done {
    let Job { ticket, sealed } = job;
    let id = sealed.id();
    Done {
        ticket,
        id,
        result: sealed.commit().map(|_| ()),
    }
}

/// Octets of randomness asked of the kernel at once.
const RANDOM: usize = 256;

/// New queue ids, from randomness that the kernel is asked for once in a while. This process
/// never forks, so no two have the same stock.
pub struct Ids {
    stock: [u8; RANDOM],
    used: usize,
}

impl Ids {
    /// Asks for nothing yet.
    pub const fn new() -> Self {
        Self {
            stock: [0; RANDOM],
            used: RANDOM,
        }
    }

    /// A new queue id.
    pub fn next(&mut self) -> QueueId {
        QueueId::new(clock::unix_millis(), self.random())
    }

    fn random(&mut self) -> u64 {
        let rest = self.stock.get_mut(self.used..);
        let Some((next, _)) = rest.and_then(|rest| rest.split_first_chunk_mut::<8>()) else {
            clock::random(&mut self.stock);
            self.used = 0;
            return self.random();
        };
        self.used += next.len();
        // What is used is gone, so that nobody finds a later id's half in memory.
        u64::from_ne_bytes(std::mem::take(next))
    }
}

/// What the session is told of a failure; the log gets the cause.
pub fn blame(error: &CommitError) -> SpoolError {
    match error {
        CommitError::Full(_) => SpoolError::Full,
        CommitError::Failed(_) | CommitError::Unsure(_) => SpoolError::Broken,
    }
}

/// Remembers for a moment how much room there is, so that a full disk is noticed before the
/// data is sent and a busy server does not ask for each message.
#[derive(Debug)]
pub struct Room {
    asked: Option<Instant>,
    free: u64,
}

impl Room {
    /// Nothing known yet.
    pub const fn new() -> Self {
        Self {
            asked: None,
            free: 0,
        }
    }

    /// Whether a message of the announced size may be begun. When the filesystem does not say,
    /// the write will.
    pub fn fits(&mut self, dir: &Dir, size: u64, now: Instant) -> bool {
        if self
            .asked
            .is_none_or(|at| now.duration_since(at) > FREE_AGE)
        {
            self.free = match daemon::file::free_space(dir) {
                Ok((_, 0)) => 0,
                Ok((octets, _)) => octets,
                Err(_) => u64::MAX,
            };
            self.asked = Some(now);
        }
        self.free >= FREE_MIN.saturating_add(size)
    }
}

/// Tells queue-manager the names of new messages. Never waits: when the socket is full, names
/// are dropped, and as soon as there is room again queue-manager is told to look for itself.
#[derive(Debug)]
pub struct Trigger {
    packets: Option<Packets>,
    dropped: bool,
}

impl Trigger {
    /// Speaks into this socket; without one (inetd) queue-manager finds messages by its scans.
    pub const fn new(packets: Option<Packets>) -> Self {
        Self {
            packets,
            dropped: false,
        }
    }

    /// The socket, for the loop.
    pub const fn socket(&mut self) -> Option<&mut Packets> {
        self.packets.as_mut()
    }

    /// A message is durable.
    pub fn committed(&mut self, id: QueueId) {
        self.tell(b'+', id);
    }

    /// A file was begun and given up.
    pub fn abandoned(&mut self, id: QueueId) {
        self.tell(b'-', id);
    }

    fn tell(&mut self, sign: u8, id: QueueId) {
        let Some(packets) = &self.packets else { return };
        if self.dropped && packets.send(b"*", None).is_ok() {
            self.dropped = false;
        }
        let mut text = [sign; 1 + queue::id::ID_LEN];
        if let Some(rest) = text.get_mut(1..) {
            rest.copy_from_slice(id.as_bytes());
        }
        if let Err(error) = packets.send(&text, None) {
            if !self.dropped {
                log::warning("trigger-full")
                    .val("id", id)
                    .val("error", error)
                    .send();
            }
            self.dropped = true;
        }
    }

    /// Tries to say that names were dropped, if that is still to be said.
    pub fn catch_up(&mut self) {
        if self.dropped {
            if let Some(packets) = &self.packets {
                self.dropped = packets.send(b"*", None).is_err();
            }
        }
    }

    /// Whether something is still to be said.
    pub const fn is_behind(&self) -> bool {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_names_become_a_star() {
        let (ours, theirs) = Packets::pair().unwrap();
        let mut trigger = Trigger::new(Some(ours));
        let mut ids = Ids::new();
        let mut sent = 0;
        while !trigger.is_behind() {
            trigger.committed(ids.next());
            sent += 1;
            assert!(sent < 1_000_000);
        }
        trigger.abandoned(ids.next());
        let mut buffer = [0; 64];
        let mut seen = 0;
        while let Ok(packet) = theirs.recv(&mut buffer) {
            assert_eq!((packet.length, buffer[0]), (21, b'+'));
            seen += 1;
        }
        assert_eq!(seen, sent - 1);
        trigger.catch_up();
        assert!(!trigger.is_behind());
        assert_eq!(theirs.recv(&mut buffer).unwrap().length, 1);
        assert_eq!(buffer[0], b'*');
    }

    #[test]
    fn ids_differ_across_refills() {
        let mut ids = Ids::new();
        let count = 3 * RANDOM / 8 + 1;
        let all: std::collections::HashSet<u64> = (0..count).map(|_| ids.random()).collect();
        assert_eq!(all.len(), count);
        assert!(!all.contains(&0));
    }

    #[test]
    fn room_is_asked_once_in_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Dir::open(dir.path()).unwrap();
        let now = Instant::now();
        let mut room = Room::new();
        assert!(room.fits(&dir, 0, now));
        room.free = 0;
        assert!(!room.fits(&dir, 0, now + FREE_AGE));
        assert!(room.fits(&dir, 0, now + FREE_AGE * 2));
        assert!(!room.fits(&dir, u64::MAX, now + FREE_AGE * 2));
    }
}
