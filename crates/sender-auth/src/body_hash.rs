//! SHA-256 of a body for any number of signatures in one pass.
//!
//! Signatures that agree on the canonical form share one stream, whatever their `l=` says: a
//! hash over the first n octets is the running hash, copied when n is reached. So 1,000
//! signatures cost two streams at most.

use crate::body_canon::{BodyCanon, Sink};
use crate::canon::Canon;
use crate::crypto::{SHA256_LEN, Sha256};

/// Length of a SHA-256 hash in octets.
pub const HASH_LEN: usize = SHA256_LEN;

/// What one signature asked for; redeemed with [`BodyResults::get`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    stream: Which,
    /// Octets of the canonical body; `None`: all of it.
    limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Simple,
    Relaxed,
}

/// The streams of one message. Ask with [`BodyHashes::want`] before the first block.
#[derive(Debug, Default)]
pub struct BodyHashes {
    simple: Option<Box<Stream>>,
    relaxed: Option<Box<Stream>>,
}

/// The hashes of a body that is over.
#[derive(Debug, Default)]
pub struct BodyResults {
    simple: Option<Finished>,
    relaxed: Option<Finished>,
}

/// One body hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHash {
    /// SHA-256 of the canonical body, or of its first octets.
    pub hash: [u8; HASH_LEN],
    /// Octets of the canonical body that the hash doesn't cover.
    pub uncovered: u64,
}

impl BodyHashes {
    /// Registers a hash over the canonical body, or its first `limit` octets. Too late once the
    /// first block was fed: such a limit is never reached.
    pub fn want(&mut self, canon: Canon, limit: Option<u64>) -> Ticket {
        let (slot, stream) = match canon {
            Canon::Simple => (&mut self.simple, Which::Simple),
            Canon::Relaxed => (&mut self.relaxed, Which::Relaxed),
        };
        let hasher = slot.get_or_insert_with(|| Box::new(Stream::new(canon)));
        if let Some(limit) = limit {
            hasher.hash.mark(limit);
        }
        Ticket { stream, limit }
    }

    /// Takes the next octets of the body, in blocks of any size.
    pub fn feed(&mut self, block: &[u8]) {
        for stream in [&mut self.simple, &mut self.relaxed].into_iter().flatten() {
            stream.canon.feed(block, &mut stream.hash);
        }
    }

    /// The body is over.
    pub fn finish(self) -> BodyResults {
        BodyResults {
            simple: self.simple.map(|stream| stream.finish()),
            relaxed: self.relaxed.map(|stream| stream.finish()),
        }
    }
}

impl BodyResults {
    /// The hash of a ticket; `None` when the body is shorter than its limit.
    pub fn get(&self, ticket: Ticket) -> Option<BodyHash> {
        let finished = match ticket.stream {
            Which::Simple => self.simple.as_ref(),
            Which::Relaxed => self.relaxed.as_ref(),
        }?;
        match ticket.limit {
            None => Some(BodyHash {
                hash: finished.hash,
                uncovered: 0,
            }),
            Some(limit) => {
                let found = finished.marks.binary_search_by_key(&limit, |mark| mark.at);
                let mark = finished.marks.get(found.ok()?)?;
                Some(BodyHash {
                    hash: mark.hash?,
                    uncovered: finished.length - limit,
                })
            }
        }
    }
}

#[derive(Debug)]
struct Stream {
    canon: BodyCanon,
    hash: Hash,
}

#[derive(Debug)]
struct Finished {
    hash: [u8; HASH_LEN],
    length: u64,
    marks: Vec<Mark>,
}

/// A length at which somebody wants the hash so far.
#[derive(Debug)]
struct Mark {
    at: u64,
    hash: Option<[u8; HASH_LEN]>,
}

impl Stream {
    fn new(canon: Canon) -> Self {
        Self {
            canon: BodyCanon::new(canon),
            hash: Hash {
                context: Sha256::new(),
                small: Vec::new(),
                length: 0,
                marks: Vec::new(),
                reached: 0,
            },
        }
    }

    fn finish(mut self) -> Finished {
        self.canon.finish(&mut self.hash);
        self.hash.flush();
        self.hash.reach_empty();
        Finished {
            hash: self.hash.context.finish(),
            length: self.hash.length,
            marks: self.hash.marks,
        }
    }
}

/// Slices shorter than this are gathered first, as a call of the hash has its price.
const DIRECT_MIN: usize = 256;

/// Octets gathered at most.
const SMALL_MAX: usize = 4_096;

struct Hash {
    context: Sha256,
    small: Vec<u8>,
    /// Octets given to `context`.
    length: u64,
    /// Sorted, each length once.
    marks: Vec<Mark>,
    /// Marks that have their hash already.
    reached: usize,
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hash")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Sink for Hash {
    fn put(&mut self, bytes: &[u8]) {
        if bytes.len() >= DIRECT_MIN {
            self.flush();
            self.update(bytes);
            return;
        }
        if self.small.len() + bytes.len() > SMALL_MAX {
            self.flush();
        }
        self.small.extend_from_slice(bytes);
    }
}

impl Hash {
    fn mark(&mut self, at: u64) {
        if self.length > 0 || !self.small.is_empty() {
            return;
        }
        if let Err(place) = self.marks.binary_search_by_key(&at, |mark| mark.at) {
            self.marks.insert(place, Mark { at, hash: None });
        }
    }

    fn flush(&mut self) {
        let mut small = std::mem::take(&mut self.small);
        self.update(&small);
        small.clear();
        self.small = small;
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while let Some(mark) = self.marks.get_mut(self.reached) {
            let missing = mark.at - self.length;
            let Some((now, later)) = usize::try_from(missing)
                .ok()
                .and_then(|missing| bytes.split_at_checked(missing))
            else {
                break;
            };
            self.context.update(now);
            self.length = mark.at;
            mark.hash = Some(self.context.clone().finish());
            self.reached += 1;
            bytes = later;
        }
        self.context.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// Serves a mark at the very end, or at 0 of an empty body.
    fn reach_empty(&mut self) {
        self.update(&[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256;

    #[test]
    fn every_limit_of_one_pass() {
        let canonical = b"Hello  there\r\n\r\nlast\r\n";
        let body = b"Hello  there\r\n\r\nlast\r\n\r\n\r\n";
        for cut in 0..body.len() {
            let mut hashes = BodyHashes::default();
            let all = hashes.want(Canon::Simple, None);
            let tickets: Vec<_> = (0..=canonical.len() as u64 + 1)
                .rev()
                .map(|limit| (limit, hashes.want(Canon::Simple, Some(limit))))
                .collect();
            hashes.feed(&body[..cut]);
            hashes.feed(&body[cut..]);
            let results = hashes.finish();
            assert_eq!(results.get(all).unwrap().hash[..], sha256(canonical));
            for (limit, ticket) in tickets {
                let found = results.get(ticket);
                match canonical.get(..limit as usize) {
                    Some(first) => {
                        let found = found.unwrap();
                        assert_eq!(found.hash[..], sha256(first), "limit {limit}");
                        assert_eq!(found.uncovered, canonical.len() as u64 - limit);
                    }
                    None => assert_eq!(found, None),
                }
            }
        }
    }

    #[test]
    fn both_forms_of_a_long_body() {
        let line = b"word  word\tword \r\n".repeat(5_000);
        let mut hashes = BodyHashes::default();
        let simple = hashes.want(Canon::Simple, None);
        let relaxed = hashes.want(Canon::Relaxed, None);
        let part = hashes.want(Canon::Relaxed, Some(40_000));
        for block in line.chunks(777) {
            hashes.feed(block);
        }
        let results = hashes.finish();
        let short = b"word word word\r\n".repeat(5_000);
        assert_eq!(results.get(simple).unwrap().hash[..], sha256(&line));
        assert_eq!(results.get(relaxed).unwrap().hash[..], sha256(&short));
        assert_eq!(
            results.get(part).unwrap().hash[..],
            sha256(&short[..40_000])
        );
        assert_eq!(results.get(part).unwrap().uncovered, 40_000);
    }

    #[test]
    fn empty_bodies() {
        let mut hashes = BodyHashes::default();
        let simple = hashes.want(Canon::Simple, None);
        let relaxed = hashes.want(Canon::Relaxed, None);
        let none = hashes.want(Canon::Relaxed, Some(0));
        let results = hashes.finish();
        assert_eq!(results.get(simple).unwrap().hash[..], sha256(b"\r\n"));
        assert_eq!(results.get(relaxed).unwrap().hash[..], sha256(b""));
        assert_eq!(results.get(none).unwrap().hash[..], sha256(b""));
    }
}
