//! Bans that last longer than ipset can count: the kernel is told of them again and again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ipset::TIME_MAX;
use super::wire::Entry;
use crate::prefix::Prefix;

/// How often the kernel is told anew. Far below [`TIME_MAX`].
pub const AGAIN: Duration = Duration::from_secs(86_400);

/// Their ends.
#[derive(Clone, Debug)]
pub struct Long {
    ends: BTreeMap<(u8, Prefix), Instant>,
    told: Instant,
}

impl Long {
    /// None yet.
    #[must_use]
    pub fn new(now: Instant) -> Long {
        Long {
            ends: BTreeMap::new(),
            told: now,
        }
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.ends.clear();
    }

    /// The kernel is being told of these bans; those that are too long for it are remembered.
    pub fn note(&mut self, now: Instant, entries: &[Entry]) {
        for e in entries {
            if e.seconds > TIME_MAX && e.seconds != Entry::FOR_EVER {
                let end = now + Duration::from_secs(e.seconds.into());
                self.ends.insert((e.scope, e.prefix), end);
            } else {
                self.lifted(e);
            }
        }
    }

    /// A ban is over before its time, or has another one.
    pub fn lifted(&mut self, e: &Entry) {
        if !self.ends.is_empty() {
            self.ends.remove(&(e.scope, e.prefix));
        }
    }

    /// What the kernel is to be told anew; nothing while the last time is less than [`AGAIN`] ago.
    pub fn due(&mut self, now: Instant) -> Vec<Entry> {
        if now.duration_since(self.told) < AGAIN {
            return Vec::new();
        }
        self.told = now;
        let left = |end: &Instant| end.saturating_duration_since(now).as_secs();
        self.ends.retain(|_, end| left(end) > 0);
        self.ends
            .iter()
            .map(|((scope, prefix), end)| Entry {
                scope: *scope,
                prefix: *prefix,
                seconds: u32::try_from(left(end)).unwrap_or(Entry::FOR_EVER - 1),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_again_each_day_until_they_end() {
        let entry = |last: u8, seconds| Entry {
            scope: 0,
            prefix: Prefix::host([192, 0, 2, last].into()),
            seconds,
        };
        let began = Instant::now();
        let day = |n: u32| began + AGAIN * n;
        let mut long = Long::new(began);
        long.note(
            began,
            &[
                entry(1, TIME_MAX),
                entry(2, TIME_MAX + 1),
                entry(3, 30 * 86_400),
                entry(4, Entry::FOR_EVER),
                entry(5, 40 * 86_400),
                entry(6, 40 * 86_400),
            ],
        );
        long.lifted(&entry(5, 1));
        long.note(began, &[entry(6, 60)]);
        assert!(long.due(day(1) - Duration::from_secs(1)).is_empty());
        assert_eq!(
            long.due(day(1)),
            [entry(2, TIME_MAX + 1 - 86_400), entry(3, 29 * 86_400)]
        );
        assert!(long.due(day(1)).is_empty(), "told just now");
        assert_eq!(long.due(day(29)), [entry(3, 86_400)]);
        assert!(long.due(day(30)).is_empty(), "over");
        long.note(day(30), &[entry(3, 30 * 86_400)]);
        long.clear();
        assert!(long.due(day(31)).is_empty());
    }
}
