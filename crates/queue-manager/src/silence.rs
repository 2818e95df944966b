//! When a program that owes us an answer has been silent for too long.
//!
//! Pure. Time is counted in steps, each begun when the one before was seen to end: while this
//! process could not run (a stopped machine, a frozen group) at most one step passes, so that
//! nobody is taken for dead because we were asleep.

use std::time::{Duration, Instant};

/// Steps of the whole time.
const STEPS: u32 = 8;

/// After so many steps a sign of life is asked for.
const ASK_AT: u32 = STEPS / 2;

/// What has to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Wait,
    /// Ask whether it lives.
    Ask,
    /// It has been silent for the whole time. The count begins again.
    Silent,
}

/// The count for one program.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    step: Duration,
    steps: u32,
    /// When the step under way ends; `None`: no answer is owed.
    ends: Option<Instant>,
}

impl Silence {
    /// A program that may be silent for so long while it owes an answer.
    pub fn new(longest: Duration) -> Self {
        Self {
            step: longest / STEPS,
            steps: 0,
            ends: None,
        }
    }

    /// It was asked something.
    pub fn asked(&mut self, now: Instant) {
        self.ends.get_or_insert(now + self.step);
    }

    /// It has said something; `owes`: not everything yet.
    pub fn heard(&mut self, now: Instant, owes: bool) {
        self.steps = 0;
        self.ends = owes.then(|| now + self.step);
    }

    /// When to look next.
    pub fn next(&self) -> Option<Instant> {
        self.ends
    }

    /// Looks.
    pub fn look(&mut self, now: Instant) -> Verdict {
        if self.ends.is_none_or(|ends| ends > now) {
            return Verdict::Wait;
        }
        self.ends = Some(now + self.step);
        self.steps += 1;
        match self.steps {
            ASK_AT => Verdict::Ask,
            STEPS => {
                self.steps = 0;
                Verdict::Silent
            }
            _ => Verdict::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(10);

    /// What each of the next `count` steps brings.
    fn steps(silence: &mut Silence, now: &mut Instant, count: u32) -> Vec<Verdict> {
        (0..count)
            .map(|_| {
                *now += STEP;
                silence.look(*now)
            })
            .collect()
    }

    #[test]
    fn asked_half_way_and_silent_at_the_end() {
        use Verdict::{Ask, Silent, Wait};
        let mut now = Instant::now();
        let mut silence = Silence::new(8 * STEP);
        assert_eq!(silence.next(), None);
        assert_eq!(steps(&mut silence, &mut now, 20), [Wait; 20]);
        silence.asked(now);
        assert_eq!(silence.next(), Some(now + STEP));
        assert_eq!(silence.look(now + STEP - Duration::from_nanos(1)), Wait);
        let once = [Wait, Wait, Wait, Ask, Wait, Wait, Wait, Silent];
        assert_eq!(steps(&mut silence, &mut now, 8), once);
        // Whoever replaces it may be silent, too.
        assert_eq!(steps(&mut silence, &mut now, 8), once);
        // More questions do not prolong it; an answer does.
        steps(&mut silence, &mut now, 7);
        silence.asked(now);
        silence.heard(now, true);
        assert_eq!(steps(&mut silence, &mut now, 8), once);
        silence.heard(now, false);
        assert_eq!(silence.next(), None);
    }

    #[test]
    fn time_that_we_slept_through_is_one_step() {
        let mut now = Instant::now();
        let mut silence = Silence::new(8 * STEP);
        silence.asked(now);
        now += 1_000 * STEP;
        assert_eq!(silence.look(now), Verdict::Wait);
        assert_eq!(silence.look(now), Verdict::Wait);
        assert_eq!(silence.next(), Some(now + STEP));
    }
}
