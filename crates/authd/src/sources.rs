//! Where guesses come from: what is under way for each source, and how long its failures wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Most questions of one source at once, those whose answer is held back included.
pub const PER_SOURCE: u32 = 16;

/// Wait before the first failure is answered; doubles with each further one.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Longest wait.
pub const LONGEST_DELAY: Duration = Duration::from_secs(16);

/// Time without a failure after which a source is forgotten.
pub const FORGET: Duration = Duration::from_secs(600);

/// Most sources remembered; beyond that the forgettable go, then the one that failed first.
pub const SOURCES_MAX: usize = 10_000;

/// Who asks: an address, or for IPv6 its /64, since a host has all of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source of a client; everybody on a local socket is one.
    pub fn of(client: Option<IpAddr>) -> Self {
        Self(match client.map(|ip| ip.to_canonical()) {
            None => IpAddr::from([0; 4]),
            Some(IpAddr::V4(ip)) => IpAddr::V4(ip),
            Some(IpAddr::V6(ip)) => IpAddr::from((u128::from(ip) >> 64 << 64).to_be_bytes()),
        })
    }
}

#[derive(Default)]
struct Record {
    under_way: u32,
    failures: u32,
    last_failure: Option<Instant>,
}

/// What is known of all sources.
#[derive(Default)]
pub struct Sources(HashMap<Source, Record>);

impl Sources {
    /// A question comes in. `false`: this source has too many already.
    pub fn begin(&mut self, source: Source) -> bool {
        let record = self.0.entry(source).or_default();
        let room = record.under_way < PER_SOURCE;
        record.under_way += u32::from(room);
        room
    }

    /// A question has been answered.
    pub fn end(&mut self, source: Source) {
        if let Some(record) = self.0.get_mut(&source) {
            record.under_way = record.under_way.saturating_sub(1);
            if record.under_way == 0 && record.failures == 0 {
                self.0.remove(&source);
            }
        }
    }

    /// A check has failed: how long to hold back the answer.
    pub fn failed(&mut self, source: Source, now: Instant) -> Duration {
        if !self.0.contains_key(&source) {
            self.make_room(now);
        }
        let record = self.0.entry(source).or_default();
        let old = |at: Instant| now.saturating_duration_since(at) >= FORGET;
        if record.last_failure.is_some_and(old) {
            record.failures = 0;
        }
        let doublings = record.failures.min(8);
        record.failures = record.failures.saturating_add(1);
        record.last_failure = Some(now);
        (FIRST_DELAY * 2u32.pow(doublings)).min(LONGEST_DELAY)
    }

    fn make_room(&mut self, now: Instant) {
        if self.0.len() < SOURCES_MAX {
            return;
        }
        self.0.retain(|_, record| {
            let fresh = |at: Instant| now.saturating_duration_since(at) < FORGET;
            record.under_way > 0 || record.last_failure.is_some_and(fresh)
        });
        if self.0.len() >= SOURCES_MAX {
            let idle = self.0.iter().filter(|(_, record)| record.under_way == 0);
            let first = idle
                .min_by_key(|(_, record)| record.last_failure)
                .map(|(source, _)| *source);
            if let Some(source) = first {
                self.0.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(Some(text.parse().unwrap()))
    }

    #[test]
    fn a_v6_host_is_its_network() {
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:0:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
    }

    #[test]
    fn delays_grow_and_are_forgotten() {
        let (mut sources, now) = (Sources::default(), Instant::now());
        let one = source("192.0.2.1");
        let seconds: Vec<u64> = (0..7).map(|_| sources.failed(one, now).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(sources.failed(source("192.0.2.2"), now), FIRST_DELAY);
        let almost = now + FORGET - Duration::from_nanos(1);
        assert_eq!(sources.failed(one, almost), LONGEST_DELAY);
        assert_eq!(sources.failed(one, almost + FORGET), FIRST_DELAY);
    }

    #[test]
    fn one_source_has_so_many_at_once() {
        let mut sources = Sources::default();
        let one = source("192.0.2.1");
        assert!((0..PER_SOURCE).all(|_| sources.begin(one)));
        assert!(!sources.begin(one));
        assert!(sources.begin(source("192.0.2.2")));
        sources.end(one);
        assert!(sources.begin(one));
        assert!(!sources.begin(one));
        (0..PER_SOURCE).for_each(|_| sources.end(one));
        sources.end(source("192.0.2.2"));
        assert!(sources.0.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let (mut sources, now) = (Sources::default(), Instant::now());
        for n in 0..=SOURCES_MAX as u32 {
            sources.failed(
                Source(IpAddr::from(n.to_be_bytes())),
                now + Duration::from_nanos(n.into()),
            );
        }
        assert_eq!(sources.0.len(), SOURCES_MAX);
        // The first one had to go; the second one is still known.
        assert_eq!(
            sources
                .failed(Source(IpAddr::from([0, 0, 0, 1])), now)
                .as_secs(),
            2
        );
        assert_eq!(
            sources.failed(Source(IpAddr::from([0; 4])), now).as_secs(),
            1
        );
        let later = now + 2 * FORGET;
        sources.failed(source("192.0.2.1"), later);
        assert!(sources.0.len() <= 2);
    }
}
