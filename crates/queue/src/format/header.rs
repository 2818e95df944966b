//! The fixed-size head of a queue file.

use super::FormatError;

/// Octets before the states.
pub const HEADER_LEN: usize = 128;

/// First octets of every queue file.
pub const MAGIC: [u8; 4] = *b"HKYQ";

/// The version this module writes, and the only one it reads.
pub const VERSION: u16 = 1;

/// Octets of the header that the checksum covers, before the checksum itself.
const CHECKED_LEN: usize = 60;

/// Most recipients of one message.
pub const RECIPIENTS_MAX: usize = 32_768;

/// Largest envelope in octets, the states included.
pub const ENVELOPE_MAX: usize = 16 * 1024 * 1024;

/// Largest content in octets (1 TiB): keeps every offset far from overflow.
pub const CONTENT_MAX: u64 = 1 << 40;

/// The part of the header that never changes once written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// BODY=8BITMIME was declared (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 was asked for (RFC 6531).
    pub utf8: bool,
    /// Octets of states and envelope records together.
    pub envelope_len: u32,
    /// Number of recipients, hence of state octets.
    pub recipients: u32,
    /// Octets of content.
    pub content_len: u64,
    /// CRC-32 (IEEE) of the content.
    pub content_crc: u32,
    /// Arrival, seconds since 1970 by the clock of then.
    pub arrival: i64,
}

const EIGHT_BIT: u32 = 1;
const UTF8: u32 = 2;

impl Header {
    /// Where the content begins.
    #[must_use]
    pub fn content_offset(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.envelope_len)
    }

    /// Where the outcome log begins.
    #[must_use]
    pub fn log_offset(&self) -> u64 {
        self.content_offset() + self.content_len
    }

    /// The 128 octets of a fresh message: no attempt yet, due at once.
    ///
    /// `records` are the envelope records, which the checksum covers too.
    #[must_use]
    pub fn encode(&self, records: &[u8]) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let flags = (u32::from(self.eight_bit) * EIGHT_BIT) | (u32::from(self.utf8) * UTF8);
        let mut at = 0;
        let mut put = |field: &[u8]| {
            if let Some(place) = out.get_mut(at..at + field.len()) {
                place.copy_from_slice(field);
            }
            at += field.len();
        };
        put(&MAGIC);
        put(&VERSION.to_le_bytes());
        put(&(HEADER_LEN as u16).to_le_bytes());
        put(&flags.to_le_bytes());
        put(&self.envelope_len.to_le_bytes());
        put(&self.recipients.to_le_bytes());
        put(&self.content_crc.to_le_bytes());
        put(&self.content_len.to_le_bytes());
        put(&self.arrival.to_le_bytes());
        let crc = checksum(&out[..CHECKED_LEN], records);
        out[CHECKED_LEN..CHECKED_LEN + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the fields without the checksum, which needs the envelope ([`Header::verify`]).
    ///
    /// # Errors
    /// Everything but a checksum that does not match.
    pub fn decode(head: &[u8]) -> Result<Self, FormatError> {
        let Some(head) = head.first_chunk::<HEADER_LEN>() else {
            return Err(FormatError::Unsealed);
        };
        if head[..CHECKED_LEN].iter().all(|&octet| octet == 0) {
            return Err(FormatError::Unsealed);
        }
        if head[..4] != MAGIC {
            return Err(FormatError::Foreign);
        }
        if le16(head, 4) != VERSION || usize::from(le16(head, 6)) != HEADER_LEN {
            return Err(FormatError::Future);
        }
        let flags = le32(head, 8);
        if flags & !(EIGHT_BIT | UTF8) != 0 {
            return Err(FormatError::Future);
        }
        let header = Self {
            eight_bit: flags & EIGHT_BIT != 0,
            utf8: flags & UTF8 != 0,
            envelope_len: le32(head, 12),
            recipients: le32(head, 16),
            content_crc: le32(head, 20),
            content_len: le64(head, 24),
            arrival: i64::from_le_bytes(le64(head, 32).to_le_bytes()),
        };
        if !(1..=RECIPIENTS_MAX).contains(&(header.recipients as usize)) {
            return Err(FormatError::Bad("number of recipients"));
        }
        let envelope_len = header.envelope_len as usize;
        if envelope_len > ENVELOPE_MAX || envelope_len < header.recipients as usize {
            return Err(FormatError::Bad("envelope length"));
        }
        if header.content_len > CONTENT_MAX {
            return Err(FormatError::Bad("content length"));
        }
        if head[40..CHECKED_LEN].iter().any(|&octet| octet != 0) {
            return Err(FormatError::Future);
        }
        Ok(header)
    }

    /// Checks header and envelope records against the checksum in `head`.
    ///
    /// # Errors
    /// [`FormatError::Torn`].
    pub fn verify(head: &[u8], records: &[u8]) -> Result<(), FormatError> {
        let Some(head) = head.first_chunk::<HEADER_LEN>() else {
            return Err(FormatError::Unsealed);
        };
        if checksum(&head[..CHECKED_LEN], records) == le32(head, CHECKED_LEN) {
            Ok(())
        } else {
            Err(FormatError::Torn)
        }
    }
}

fn checksum(head: &[u8], records: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(records);
    crc.finalize()
}

/// The callers' offsets are constants inside the array.
fn le16(head: &[u8; HEADER_LEN], at: usize) -> u16 {
    u16::from_le_bytes([head[at], head[at + 1]])
}

fn le32(head: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}

fn le64(head: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from(le32(head, at)) | (u64::from(le32(head, at + 4)) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            eight_bit: true,
            utf8: false,
            envelope_len: 40,
            recipients: 2,
            content_len: 1000,
            content_crc: 0x1234_5678,
            arrival: 1_700_000_000,
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let records = b"some records";
        let good = header().encode(records);
        assert_eq!(Header::decode(&good), Ok(header()));
        assert_eq!(Header::verify(&good, records), Ok(()));
        for bit in 0..(CHECKED_LEN + 4) * 8 {
            let mut head = good;
            head[bit / 8] ^= 1 << (bit % 8);
            let read = Header::decode(&head).and_then(|_| Header::verify(&head, records));
            assert!(read.is_err(), "bit {bit}");
        }
        for bit in 0..records.len() * 8 {
            let mut other = *records;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::verify(&good, &other), Err(FormatError::Torn));
        }
        // The retry block is not covered.
        let mut head = good;
        head[64..].fill(0xff);
        assert_eq!(Header::verify(&head, records), Ok(()));
    }

    #[test]
    fn what_is_no_header() {
        assert_eq!(Header::decode(b""), Err(FormatError::Unsealed));
        assert_eq!(Header::decode(&[0; 127]), Err(FormatError::Unsealed));
        assert_eq!(Header::decode(&[0; 4096]), Err(FormatError::Unsealed));
        assert_eq!(Header::decode(&[b'x'; 128]), Err(FormatError::Foreign));
        let mut later = header().encode(b"");
        later[4] = 2;
        assert_eq!(Header::decode(&later), Err(FormatError::Future));
    }

    #[test]
    fn limits() {
        let read = |h: Header| Header::decode(&h.encode(b"")).is_ok();
        let room = ENVELOPE_MAX as u32;
        for (recipients, good) in [
            (0, false),
            (1, true),
            (RECIPIENTS_MAX as u32 - 1, true),
            (RECIPIENTS_MAX as u32, true),
            (RECIPIENTS_MAX as u32 + 1, false),
        ] {
            assert_eq!(
                read(Header {
                    recipients,
                    envelope_len: room,
                    ..header()
                }),
                good
            );
        }
        for (envelope_len, good) in [
            (1, false),
            (2, true),
            (room - 1, true),
            (room, true),
            (room + 1, false),
        ] {
            assert_eq!(
                read(Header {
                    envelope_len,
                    ..header()
                }),
                good
            );
        }
        for (content_len, good) in [(0, true), (CONTENT_MAX, true), (CONTENT_MAX + 1, false)] {
            assert_eq!(
                read(Header {
                    content_len,
                    ..header()
                }),
                good
            );
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            eight_bit: bool, utf8: bool, recipients in 1..1000u32, more in 0..100_000u32,
            content_len in 0..CONTENT_MAX, content_crc: u32, arrival: i64,
            records in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let header = Header {
                eight_bit, utf8, envelope_len: recipients + more, recipients, content_len, content_crc, arrival,
            };
            let octets = header.encode(&records);
            prop_assert_eq!(Header::decode(&octets), Ok(header));
            prop_assert_eq!(Header::verify(&octets, &records), Ok(()));
        }
    }
}
