//! The outcome log at the end of a queue file: why recipients wait.
//!
//! Each record is its length (`u32`), the CRC-32 of what follows, then the body. Records are
//! appended in one write per attempt; reading stops at the first that is short or wrong, so a
//! torn end costs explanations, never mail.

use crate::reply::{self, Class, Status, TEXT_MAX};
use crate::wire::remote::PEER_MAX;

use super::header::RECIPIENTS_MAX;

/// The log of one message grows no further than this many octets.
pub const LOG_MAX: u64 = 1024 * 1024;

/// Why some recipients were deferred at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Seconds since 1970.
    pub time: i64,
    /// What was answered.
    pub status: Status,
    /// Who answered, empty when nobody did.
    pub host: String,
    /// In which words.
    pub text: String,
    /// For whom, as places in the envelope.
    pub recipients: Vec<u32>,
}

const HEAD: usize = 8;
const FIXED: usize = 8 + 5 + 2 + 2 + 2;
const BODY_MAX: usize = FIXED + PEER_MAX + TEXT_MAX + 4 * RECIPIENTS_MAX;

impl Outcome {
    /// Appends the record. Texts are cleaned, and recipients over the format's limit left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        out.extend_from_slice(&self.time.to_le_bytes());
        out.push(self.status.class().digit());
        out.extend_from_slice(&self.status.subject().to_le_bytes());
        out.extend_from_slice(&self.status.detail().to_le_bytes());
        let mut host = reply::clean(self.host.as_bytes());
        let mut end = host.len().min(PEER_MAX);
        while !host.is_char_boundary(end) {
            end -= 1;
        }
        host.truncate(end);
        for text in [host, reply::clean(self.text.as_bytes())] {
            // Both are below TEXT_MAX.
            out.extend_from_slice(&(text.len() as u16).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        let count = self.recipients.len().min(RECIPIENTS_MAX);
        out.extend_from_slice(&(count as u16).to_le_bytes());
        for index in self.recipients.iter().take(count) {
            out.extend_from_slice(&index.to_le_bytes());
        }
        let body = out.len() - start - HEAD;
        let crc = crc32fast::hash(out.get(start + HEAD..).unwrap_or_default());
        if let Some(head) = out.get_mut(start..start + HEAD) {
            head[..4].copy_from_slice(&(body as u32).to_le_bytes());
            head[4..].copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Reads the first record of `log`; gives it and the octets it took.
    ///
    /// `None` at the end and at anything that is no whole, right record.
    #[must_use]
    pub fn decode(log: &[u8]) -> Option<(Self, usize)> {
        let (head, rest) = log.split_first_chunk::<HEAD>()?;
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let crc = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if length > BODY_MAX {
            return None;
        }
        let body = rest.get(..length)?;
        if crc32fast::hash(body) != crc {
            return None;
        }
        let (time, rest) = body.split_first_chunk::<8>()?;
        let (class, rest) = rest.split_first_chunk::<1>()?;
        let (subject, rest) = rest.split_first_chunk::<2>()?;
        let (detail, rest) = rest.split_first_chunk::<2>()?;
        let class = Class::from_digit(class[0])?;
        let status = Status::new(
            class,
            u16::from_le_bytes(*subject),
            u16::from_le_bytes(*detail),
        )
        .ok()?;
        let (host, rest) = text(rest)?;
        let (words, rest) = text(rest)?;
        let (count, rest) = rest.split_first_chunk::<2>()?;
        let (places, odd) = rest.as_chunks::<4>();
        if usize::from(u16::from_le_bytes(*count)) != places.len() || !odd.is_empty() {
            return None;
        }
        let recipients = places
            .iter()
            .map(|place| u32::from_le_bytes(*place))
            .collect();
        let outcome = Self {
            time: i64::from_le_bytes(*time),
            status,
            host,
            text: words,
            recipients,
        };
        Some((outcome, HEAD + length))
    }

    /// All records of a log up to the first that is not right, oldest first, and the octets
    /// they take.
    #[must_use]
    pub fn decode_all(log: &[u8]) -> (Vec<Self>, usize) {
        let (mut all, mut at) = (Vec::new(), 0);
        while let Some((outcome, length)) = log.get(at..).and_then(Self::decode) {
            all.push(outcome);
            at += length;
        }
        (all, at)
    }
}

fn text(rest: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let text = std::str::from_utf8(text).ok()?;
    reply::is_clean(text).then(|| (text.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(text: &str) -> Outcome {
        Outcome {
            time: 1_700_000_000,
            status: Status::DEFERRED,
            host: "mx.example.org[192.0.2.1]".into(),
            text: text.into(),
            recipients: vec![0, 5],
        }
    }

    #[test]
    fn a_torn_end_keeps_what_is_before() {
        let mut log = Vec::new();
        outcome("first").encode(&mut log);
        let first = log.len();
        outcome("second").encode(&mut log);
        for end in 0..log.len() {
            let (all, used) = Outcome::decode_all(&log[..end]);
            assert_eq!(all.len(), usize::from(end >= first), "{end}");
            assert_eq!(used, if end >= first { first } else { 0 });
        }
        let (all, used) = Outcome::decode_all(&log);
        assert_eq!(
            (all, used),
            (vec![outcome("first"), outcome("second")], log.len())
        );
        for at in first..log.len() {
            let mut torn = log.clone();
            torn[at] ^= 0x40;
            assert_eq!(Outcome::decode_all(&torn).0.len(), 1, "{at}");
        }
        log.extend_from_slice(&[0; 100]);
        assert_eq!(Outcome::decode_all(&log).0.len(), 2);
    }

    #[test]
    fn long_texts_are_cut() {
        let mut log = Vec::new();
        let long = Outcome {
            host: "é".repeat(400),
            text: "t".repeat(TEXT_MAX + 1),
            ..outcome("")
        };
        long.encode(&mut log);
        let (read, _) = Outcome::decode(&log).unwrap();
        assert_eq!(read.text.len(), TEXT_MAX);
        assert!(read.host.len() <= PEER_MAX && long.host.starts_with(&read.host));
    }

    proptest! {
        #[test]
        fn any_octets(log in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Outcome::decode_all(&log);
        }
    }
}
