//! How long a message waits between attempts, and for how long in all.

use std::time::Duration;

use super::random::Random;

/// The retry schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    waits: Vec<u64>,
    lifetime_s: i64,
}

impl Schedule {
    /// Takes the waits between attempts (the last one repeats) and the lifetime.
    pub fn new(waits: &[Duration], lifetime: Duration) -> Self {
        let millis = |wait: &Duration| {
            u64::try_from(wait.as_millis())
                .unwrap_or(u64::MAX / 4)
                .clamp(1_000, u64::MAX / 4)
        };
        let mut waits: Vec<u64> = waits.iter().map(millis).collect();
        if waits.is_empty() {
            waits.push(600_000);
        }
        Self {
            waits,
            lifetime_s: i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Milliseconds to wait after this many attempts, with jitter.
    pub(super) fn wait_ms(&self, attempts: u32, random: &mut Random) -> u64 {
        let place = (attempts.max(1) as usize - 1).min(self.waits.len() - 1);
        random.around(self.waits.get(place).copied().unwrap_or(600_000))
    }

    /// The wait before the second attempt, in milliseconds, without jitter.
    pub(super) fn first_ms(&self) -> u64 {
        self.waits.first().copied().unwrap_or(600_000)
    }

    /// The longest wait with its jitter, in seconds.
    pub(super) fn longest_s(&self) -> i64 {
        let longest = self.waits.iter().copied().max().unwrap_or(0);
        i64::try_from(longest / 1_000 + longest / 10_000 + 1).unwrap_or(i64::MAX)
    }

    /// Seconds that a message may live.
    pub(super) fn lifetime_s(&self) -> i64 {
        self.lifetime_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_then_stay() {
        let waits = [60, 300, 3_600].map(Duration::from_secs);
        let schedule = Schedule::new(&waits, Duration::from_secs(432_000));
        let mut random = Random::new(1);
        for (attempts, wait) in [
            (0, 60),
            (1, 60),
            (2, 300),
            (3, 3_600),
            (4, 3_600),
            (u32::MAX, 3_600),
        ] {
            for _ in 0..100 {
                let got = schedule.wait_ms(attempts, &mut random);
                assert!(
                    (wait * 900..=wait * 1_100).contains(&got),
                    "{attempts}: {got}"
                );
            }
        }
        assert_eq!(schedule.longest_s(), 3_961);
    }
}
