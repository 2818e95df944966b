//! What is rewritten in place: one octet per recipient, and the retry block of the header.

use super::FormatError;
use super::header::HEADER_LEN;

/// Where the states begin.
pub const STATES_OFFSET: u64 = HEADER_LEN as u64;

/// Where the retry block begins.
pub const RETRY_OFFSET: u64 = 64;

/// Octets of the retry block: it lies in one sector and is written at once.
pub const RETRY_LEN: usize = 32;

/// The state of one recipient. Letters, so that a hex dump can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// `W`: to be delivered.
    Waiting,
    /// `D`: in the mailbox, or taken over by another host.
    Delivered,
    /// `F`: given up; the report to the sender is in the queue, or there is nobody to tell.
    Failed,
    /// `X`: taken out by the admin.
    Removed,
}

impl State {
    /// The octet on disk.
    #[must_use]
    pub fn octet(self) -> u8 {
        match self {
            Self::Waiting => b'W',
            Self::Delivered => b'D',
            Self::Failed => b'F',
            Self::Removed => b'X',
        }
    }

    /// Reads the octet.
    ///
    /// # Errors
    /// [`FormatError::Bad`] for any other.
    pub fn from_octet(octet: u8) -> Result<Self, FormatError> {
        match octet {
            b'W' => Ok(Self::Waiting),
            b'D' => Ok(Self::Delivered),
            b'F' => Ok(Self::Failed),
            b'X' => Ok(Self::Removed),
            _ => Err(FormatError::Bad("recipient state")),
        }
    }
}

/// When and how often: known only to queue-manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Not before this time, seconds since 1970; 0: at once.
    pub due: i64,
    /// Time of the last attempt, seconds since 1970; 0: none yet.
    pub last: i64,
    /// Attempts that ended in a deferral.
    pub attempts: u32,
    /// The sender has been told that the message waits.
    pub warned: bool,
}

const WARNED: u32 = 1;

impl Retry {
    /// The 32 octets of the block.
    #[must_use]
    pub fn encode(&self) -> [u8; RETRY_LEN] {
        let mut out = [0; RETRY_LEN];
        out[0..8].copy_from_slice(&self.due.to_le_bytes());
        out[8..16].copy_from_slice(&self.last.to_le_bytes());
        out[16..20].copy_from_slice(&self.attempts.to_le_bytes());
        out[20..24].copy_from_slice(&(u32::from(self.warned) * WARNED).to_le_bytes());
        let crc = crc32fast::hash(&out[..28]);
        out[28..32].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the block out of a header.
    ///
    /// A block of zeros (a fresh message) or with a wrong checksum (a write that a crash tore)
    /// means: no attempt yet, due at once. The worst that follows is an early attempt.
    #[must_use]
    pub fn from_header(head: &[u8]) -> Self {
        let start = RETRY_OFFSET as usize;
        let Some(block) = head
            .get(start..)
            .and_then(|rest| rest.first_chunk::<RETRY_LEN>())
        else {
            return Self::default();
        };
        let field = |at: usize| {
            u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        let time = |at: usize| i64::from(field(at)) | (i64::from(field(at + 4)) << 32);
        if crc32fast::hash(&block[..28]) != field(28) {
            return Self::default();
        }
        Self {
            due: time(0),
            last: time(8),
            attempts: field(16),
            warned: field(20) & WARNED != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn states() {
        for octet in 0..=255 {
            if let Ok(state) = State::from_octet(octet) {
                assert_eq!(state.octet(), octet);
            }
        }
        // What an unwritten block of a disk holds is never a state.
        assert!(State::from_octet(0).is_err());
    }

    #[test]
    fn a_torn_block_reads_as_fresh() {
        let mut head = [0; HEADER_LEN];
        assert_eq!(Retry::from_header(&head), Retry::default());
        let retry = Retry {
            due: 5,
            last: 4,
            attempts: 3,
            warned: true,
        };
        head[64..96].copy_from_slice(&retry.encode());
        assert_eq!(Retry::from_header(&head), retry);
        for at in 64..96 {
            let mut torn = head;
            torn[at] ^= 1;
            assert_eq!(Retry::from_header(&torn), Retry::default());
        }
        assert_eq!(Retry::from_header(&head[..90]), Retry::default());
    }

    proptest! {
        #[test]
        fn round_trip(due: i64, last: i64, attempts: u32, warned: bool) {
            let retry = Retry { due, last, attempts, warned };
            let mut head = [0; HEADER_LEN];
            head[64..96].copy_from_slice(&retry.encode());
            prop_assert_eq!(Retry::from_header(&head), retry);
        }
    }
}
