//! What is remembered of one network: two decaying scores, and how many different addresses and
//! accounts it was about.

use super::memory::Weighed;

/// Half-life of the fast score, in seconds: bursts.
pub const FAST_HALF_LIFE: f32 = 600.0;
/// Half-life of the slow score, in seconds: low and slow. After seven days a twelfth is left.
pub const SLOW_HALF_LIFE: f32 = 2.0 * 86_400.0;
/// After so long without an offence, in seconds, the different addresses and accounts are
/// counted anew.
pub const DISTINCT_FOR: i64 = 86_400;

/// A set of up to about 200 different things that only knows its size. Things are thrown into 64
/// places; how many places are hit tells how many there were (linear counting).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distinct(u64);

impl Distinct {
    /// Adds a thing by a well-mixed number.
    pub fn add(&mut self, number: u64) {
        self.0 |= 1 << (number & 63);
    }

    /// About how many different ones there were; exact for one, low by some per cent later on.
    #[must_use]
    pub fn count(self) -> f32 {
        let empty = self.0.count_zeros().max(1) as f32;
        64.0 * (64.0 / empty).ln()
    }
}

/// Two scores that decay and two sets. 40 octets.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    fast: f32,
    slow: f32,
    /// Second of the last change.
    last: i64,
    /// Addresses (or, in wide IPv6 networks, /64) that offended.
    pub addresses: Distinct,
    /// Accounts that were tried in vain.
    pub accounts: Distinct,
    /// Recipients that exist.
    found: u16,
    /// Recipients that do not.
    unknown: u16,
}

impl Score {
    /// Nothing yet.
    #[must_use]
    pub fn new(now: i64) -> Score {
        Score {
            fast: 0.0,
            slow: 0.0,
            last: now,
            addresses: Distinct::default(),
            accounts: Distinct::default(),
            found: 0,
            unknown: 0,
        }
    }

    fn decay(&mut self, now: i64) {
        // A clock that was set back stops the decay until it has caught up, and nothing else.
        let passed = (now - self.last).max(0);
        if passed == 0 {
            return;
        }
        let seconds = passed as f32;
        self.fast *= (-seconds / FAST_HALF_LIFE).exp2();
        self.slow *= (-seconds / SLOW_HALF_LIFE).exp2();
        if passed > DISTINCT_FOR {
            self.addresses = Distinct::default();
            self.accounts = Distinct::default();
            self.found = 0;
            self.unknown = 0;
        }
        self.last = now;
    }

    /// One more offence; what it counts now and what it counts in the long run.
    pub fn add(&mut self, now: i64, fast: f32, slow: f32) {
        self.decay(now);
        self.fast += fast;
        self.slow += slow;
    }

    /// One more recipient.
    pub fn recipient(&mut self, now: i64, exists: bool) {
        self.decay(now);
        let n = if exists {
            &mut self.found
        } else {
            &mut self.unknown
        };
        *n = n.saturating_add(1);
        if self.found.max(self.unknown) >= 1_000 {
            self.found /= 2;
            self.unknown /= 2;
        }
    }

    /// The recipients that did not exist, and their share of all.
    #[must_use]
    pub fn unknown_share(&self) -> (u16, f32) {
        let all = f32::from(self.found) + f32::from(self.unknown);
        (self.unknown, f32::from(self.unknown) / all.max(1.0))
    }

    /// The present scores, fast and slow.
    #[must_use]
    pub fn at(&self, now: i64) -> (f32, f32) {
        let mut copy = *self;
        copy.decay(now);
        (copy.fast, copy.slow)
    }

    /// It was answered with a ban: what follows is counted anew, but half of the long memory
    /// stays.
    pub fn answered(&mut self) {
        self.fast = 0.0;
        self.slow /= 2.0;
        self.addresses = Distinct::default();
        self.accounts = Distinct::default();
        self.found = 0;
        self.unknown = 0;
    }
}

impl Weighed for Score {
    fn weight(&self, now: i64) -> f32 {
        let (fast, slow) = self.at(now);
        fast + slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_halve_in_their_time() {
        let mut s = Score::new(0);
        s.add(0, 8.0, 8.0);
        assert_eq!(s.at(600).0, 4.0);
        assert_eq!(s.at(2 * 86_400).1, 4.0);
        assert!(s.at(7 * 86_400).1 > 0.7);
        assert_eq!(s.at(-50), (8.0, 8.0), "a clock set back changes nothing");
        assert!(std::mem::size_of::<Score>() <= 40);
    }

    #[test]
    fn distinct_things_are_counted_well_enough() {
        for n in [1u64, 4, 8, 16, 40] {
            let mut d = Distinct::default();
            for i in 0..n {
                let p = crate::prefix::Prefix::host([10, 0, 1, i as u8].into());
                for _ in 0..3 {
                    d.add(p.spread(99));
                }
            }
            let c = d.count();
            assert!(c > n as f32 * 0.7 && c < n as f32 * 1.4, "{n} {c}");
        }
        assert_eq!(Distinct::default().count(), 0.0);
        assert!(Distinct(u64::MAX).count() < 300.0);
    }

    #[test]
    fn the_share_of_unknown_recipients() {
        let mut s = Score::new(0);
        for i in 0..5_000 {
            s.recipient(0, i % 20 == 0);
        }
        let (n, share) = s.unknown_share();
        assert!(n <= 1_000 && (share - 0.95).abs() < 0.02, "{n} {share}");
        s.recipient(DISTINCT_FOR + 1, false);
        assert_eq!(s.unknown_share(), (1, 1.0));
    }
}
