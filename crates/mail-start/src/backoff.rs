//! When a program that ended is started again. Pure: time comes in.

use std::time::{Duration, Instant};

/// Wait before the first restart.
pub const FIRST: Duration = Duration::from_millis(100);

/// Longest wait before a restart.
pub const LONGEST: Duration = Duration::from_secs(30);

/// A program that ran this long begins again with the shortest wait.
pub const STEADY: Duration = Duration::from_secs(60);

/// How often a program has failed lately.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    next: Option<Duration>,
}

impl Backoff {
    /// The wait before the next start of a program that was started at `started` and ended at `now`.
    pub fn after(&mut self, started: Instant, now: Instant) -> Duration {
        if now.saturating_duration_since(started) >= STEADY {
            self.next = None;
        }
        let wait = self.next.unwrap_or(FIRST);
        self.next = Some((wait * 2).min(LONGEST));
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_heal() {
        let t = Instant::now();
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..11).map(|_| backoff.after(t, t).as_millis()).collect();
        assert_eq!(
            waits,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000
            ]
        );
        assert_eq!(
            backoff.after(t, t + STEADY - Duration::from_nanos(1)),
            LONGEST
        );
        assert_eq!(backoff.after(t, t + STEADY), FIRST);
        assert_eq!(backoff.after(t, t), FIRST * 2);
    }
}
