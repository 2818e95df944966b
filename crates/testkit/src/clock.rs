//! Time that passes when the test says so.

use std::time::{Duration, Instant};

/// A clock that stands still until it is moved.
///
/// It starts at the real present, so that [`Instant`]s of it can be given to everything that takes
/// the time as an argument; it never reads the real clock again.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    now: Instant,
    start: Instant,
    /// Seconds since 1970 at the start.
    wall: i64,
}

impl Clock {
    /// A clock whose calendar shows `wall`, in seconds since 1970 UTC.
    pub fn at(wall: i64) -> Self {
        let now = Instant::now();
        Self {
            now,
            start: now,
            wall,
        }
    }

    /// A clock at an arbitrary date in 2026.
    pub fn new() -> Self {
        Self::at(1_780_000_000)
    }

    /// The present on the monotonic clock.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The present in seconds since 1970 UTC.
    pub fn wall(&self) -> i64 {
        let passed = self.now.duration_since(self.start).as_secs();
        self.wall + i64::try_from(passed).unwrap_or(i64::MAX)
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) -> Instant {
        self.now += by;
        self.now
    }

    /// Sets the calendar, forwards or backwards, without touching the monotonic clock.
    pub fn jump(&mut self, by_seconds: i64) {
        self.wall += by_seconds;
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_when_told() {
        let mut clock = Clock::at(1_000);
        let before = clock.now();
        assert_eq!(
            clock.advance(Duration::from_secs(5)) - before,
            Duration::from_secs(5)
        );
        assert_eq!(clock.wall(), 1_005);
        clock.jump(-100);
        assert_eq!(
            (clock.wall(), clock.now() - before),
            (905, Duration::from_secs(5))
        );
    }
}
