//! Guessing at one account from many places, and one password at many accounts.

use super::memory::{Memory, Weighed};
use super::score::Distinct;

/// Window in which places and accounts are counted, in seconds.
pub const WINDOW: i64 = 3_600;
/// Different places (/24, /64) that fail at one account within [`WINDOW`] before it counts as
/// attacked.
pub const PLACES: f32 = 10.0;
/// Different accounts at which one password fails within [`WINDOW`] before the password counts
/// as sprayed.
pub const SPRAYED: f32 = 8.0;
/// Accounts and passwords remembered, each.
pub const ACCOUNTS_MAX: usize = 100_000;

/// Something with a window of its own in which different others are counted.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    began: i64,
    others: Distinct,
    alarmed: bool,
}

impl Weighed for Window {
    fn weight(&self, now: i64) -> f32 {
        if now - self.began > WINDOW {
            0.0
        } else {
            self.others.count()
        }
    }
}

/// Windows by number.
#[derive(Clone, Debug)]
pub struct Windows {
    all: Memory<u64, Window>,
    limit: f32,
}

/// What one more failure told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    /// As usual.
    Quiet,
    /// The limit has just been passed, with about so many.
    Alarm(u32),
    /// It was passed before, in this window.
    Lasting,
}

impl Windows {
    /// Windows that alarm at about `limit` different others.
    #[must_use]
    pub fn new(limit: f32) -> Windows {
        Windows {
            all: Memory::new(ACCOUNTS_MAX),
            limit,
        }
    }

    /// One more failure of `key` in which `other` (a well-mixed number) took part.
    pub fn failed(&mut self, now: i64, key: u64, other: u64) -> Seen {
        let fresh = Window {
            began: now,
            others: Distinct::default(),
            alarmed: false,
        };
        let w = self.all.entry(now, key, || fresh);
        if !(0..=WINDOW).contains(&(now - w.began)) {
            // An attack that goes on is told once an hour.
            *w = fresh;
        }
        w.others.add(other);
        let count = w.others.count();
        match (count >= self.limit, w.alarmed) {
            (true, true) => Seen::Lasting,
            (true, false) => {
                w.alarmed = true;
                Seen::Alarm(count as u32)
            }
            _ => Seen::Quiet,
        }
    }

    /// Whether `key` is beyond the limit now.
    #[must_use]
    pub fn is_hot(&self, now: i64, key: u64) -> bool {
        self.all
            .get(&key)
            .is_some_and(|w| now - w.began <= WINDOW && w.others.count() >= self.limit)
    }

    /// Keys in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_places_alarm_once_and_cool_down() {
        let mut w = Windows::new(PLACES);
        let mut alarms = 0;
        for i in 0..200u64 {
            let other = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
            if matches!(w.failed(1_000 + i as i64, 7, other), Seen::Alarm(_)) {
                alarms += 1;
            }
            assert_eq!(
                w.failed(1_000, 8, 3),
                Seen::Quiet,
                "one place for ever is no alarm"
            );
        }
        assert_eq!(alarms, 1);
        assert!(w.is_hot(1_200, 7) && !w.is_hot(1_200, 8));
        assert!(!w.is_hot(1_000 + WINDOW + 1, 7));
    }
}
