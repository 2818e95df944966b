//! When a violation becomes a ban, and for how long: fail2ban's rules as a pure state machine.
//!
//! Time and chance come in with each call; nothing here looks at a clock.

use std::collections::HashMap;

use super::arith::Formula;
use super::ignore::IgnoreList;
use crate::prefix::Prefix;

/// Subjects counted at once in one jail, and earlier bans remembered.
pub const TRACKED_MAX: usize = 1_000_000;
/// Longest ban that is not for ever, in seconds (ten years).
pub const BAN_MAX: f64 = 315_576_000.0;

/// Who is counted and banned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An address or a net.
    Net(Prefix),
    /// Something a filter names by `<F-ID>`.
    Id(Box<str>),
}

/// How bans grow (`bantime.increment`).
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// `bantime.factor`.
    pub factor: f64,
    /// `bantime.multipliers`; empty: the formula.
    pub multipliers: Vec<f64>,
    /// `bantime.formula`.
    pub formula: Formula,
    /// `bantime.maxtime`, seconds.
    pub maxtime: Option<f64>,
    /// `bantime.rndtime`: at most so many seconds are added.
    pub rndtime: Option<f64>,
    /// `bantime.overalljails`: earlier bans of every jail count.
    pub overalljails: bool,
}

impl Growth {
    /// Seconds of a ban after `count` earlier ones (at least one); `chance` from 0 to 1.
    #[must_use]
    pub fn time(&self, bantime: f64, count: u32, chance: f64) -> f64 {
        let grown = match (
            self.multipliers.get(count as usize),
            self.multipliers.last(),
        ) {
            (Some(m), _) | (None, Some(m)) => bantime * self.factor * m,
            (None, None) => self.formula.value(bantime, count, self.factor).max(bantime),
        };
        let grown = if grown.is_finite() { grown } else { BAN_MAX };
        let capped = self.maxtime.map_or(grown, |m| grown.min(m));
        let spread = self.rndtime.unwrap_or(0.0) * chance.clamp(0.0, 1.0);
        (capped + spread).clamp(0.0, BAN_MAX)
    }
}

/// A jail's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Failures that lead to a ban.
    pub maxretry: u32,
    /// Within so many seconds.
    pub findtime: f64,
    /// Length of a ban in seconds; negative: for ever.
    pub bantime: f64,
    /// `bantime.increment`.
    pub growth: Option<Growth>,
    /// Never banned.
    pub ignore: IgnoreList,
}

/// How far the date of a line may be from the present while a log is followed, in seconds.
pub const DRIFT_MAX: f64 = 60.0;

/// The time to count a violation at.
///
/// While a log is followed (`live`), a line has just been written, whatever it says: one without
/// a date, or with one more than [`DRIFT_MAX`] off (a wrong zone, a late writer), counts as of
/// now. When a log is read again after a start, a line counts at its own time, and one without a
/// date not at all.
#[must_use]
pub fn settle(time: Option<f64>, now: f64, live: bool) -> Option<f64> {
    match time {
        Some(t) if live && (t - now).abs() > DRIFT_MAX => Some(now),
        Some(t) => Some(t),
        None => live.then_some(now),
    }
}

/// What came of a violation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// The subject is on the never-ban list.
    Ignored,
    /// Older than `findtime`, or older than the subject's last ban.
    TooOld,
    /// Banned already.
    Banned,
    /// Counted: so many failures within `findtime`.
    Counted(u32),
    /// To be banned now.
    Ban {
        /// Seconds; none: for ever.
        time: Option<f64>,
        /// Which ban of this subject it is, from 1.
        count: u32,
    },
}

/// Failures of one subject.
#[derive(Clone, Copy, Debug)]
struct Tally {
    first: f64,
    last: f64,
    failures: u32,
}

/// Earlier bans of one subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// How many of this jail.
    pub count: u32,
    /// How many of all jails that count; with `overalljails` more than the above.
    pub everywhere: u32,
    /// When the last one began.
    pub since: f64,
    /// When it ends or ended; infinite: never.
    pub until: f64,
}

/// Earlier bans, of one jail or of all.
#[derive(Clone, Debug, Default)]
pub struct History {
    past: HashMap<Subject, Past>,
}

impl History {
    /// A subject's earlier bans.
    #[must_use]
    pub fn get(&self, subject: &Subject) -> Option<Past> {
        self.past.get(subject).copied()
    }

    /// Sets what is known of a subject (from the state file).
    pub fn set(&mut self, subject: Subject, past: Past) {
        if self.past.len() >= TRACKED_MAX && !self.past.contains_key(&subject) {
            thin(&mut self.past, TRACKED_MAX, |p| p.until);
        }
        self.past.insert(subject, past);
    }

    /// Ends a ban early; with `forget` its count is lost too.
    pub fn lift(&mut self, subject: &Subject, now: f64, forget: bool) -> bool {
        let Some(p) = self.past.get_mut(subject) else {
            return false;
        };
        let was = p.until > now;
        p.until = p.until.min(now);
        if forget {
            self.past.remove(subject);
        }
        was
    }

    /// Number of subjects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.past.len()
    }

    /// Whether nobody was ever banned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }
}

/// Makes room in a full map: the quarter with the lowest rank goes.
fn thin<V>(map: &mut HashMap<Subject, V>, max: usize, rank: impl Fn(&V) -> f64) -> usize {
    let before = map.len();
    if before < max {
        return 0;
    }
    let mut ranks: Vec<f64> = map.values().map(&rank).collect();
    let at = before / 4;
    let (_, pivot, _) = ranks.select_nth_unstable_by(at, f64::total_cmp);
    let pivot = *pivot;
    // equal ranks are kept to the number that is allowed
    let mut spare = before - at;
    map.retain(|_, v| {
        let keep = rank(v) >= pivot && spare > 0;
        spare -= usize::from(keep);
        keep
    });
    before - map.len()
}

/// A jail at work.
#[derive(Clone, Debug)]
pub struct Jail {
    rules: Rules,
    tallies: HashMap<Subject, Tally>,
    swept: f64,
    dropped: u64,
}

/// Seconds between sweeps of what is too old to count.
const SWEEP: f64 = 5.0;

impl Jail {
    /// A jail that has seen nothing.
    #[must_use]
    pub fn new(rules: Rules) -> Jail {
        Jail {
            rules,
            tallies: HashMap::new(),
            swept: f64::NEG_INFINITY,
            dropped: 0,
        }
    }

    /// Its rules.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Its rules, to be changed.
    pub fn rules_mut(&mut self) -> &mut Rules {
        &mut self.rules
    }

    /// Subjects that have failed and are not banned.
    #[must_use]
    pub fn failing(&self) -> usize {
        self.tallies.len()
    }

    /// Subjects forgotten for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Counts a violation of `subject` at `time` and decides. `history` holds the earlier bans
    /// (this jail's, or with `overalljails` everybody's); a ban decided here is entered there.
    /// `chance` is a random number from 0 to 1, used for `rndtime`.
    pub fn failure(
        &mut self,
        subject: &Subject,
        time: f64,
        now: f64,
        chance: f64,
        history: &mut History,
    ) -> Decision {
        if let Subject::Net(net) = subject {
            if self.rules.ignore.covers(*net) {
                return Decision::Ignored;
            }
        }
        let time = time.min(now);
        if time <= now - self.rules.findtime {
            return Decision::TooOld;
        }
        let past = history.get(subject);
        if past.is_some_and(|p| p.until > now) {
            return Decision::Banned;
        }
        self.sweep(now);
        let findtime = self.rules.findtime;
        let mut more = 1;
        if let (Some(_), Some(p)) = (&self.rules.growth, past) {
            if time <= p.since {
                return Decision::TooOld;
            }
            // whoever was banned before needs fewer failures the next time
            more = (1u32 << p.count.min(20)) / 2 + 1;
        }
        let more = more.clamp(1, self.rules.maxretry.max(1));
        let tally = self.tallies.entry(subject.clone()).or_insert(Tally {
            first: time,
            last: time,
            failures: 0,
        });
        if time > tally.last {
            if tally.last <= time - findtime {
                *tally = Tally {
                    first: time,
                    last: time,
                    failures: 0,
                };
            } else if tally.first < time - findtime {
                // the window moves on: assume that failures came evenly
                let rate = f64::from(tally.failures) / (time - tally.first);
                tally.failures = (rate * findtime).round_ties_even() as u32;
                tally.first = time - findtime;
            }
            tally.last = time;
        }
        tally.failures = tally.failures.saturating_add(more);
        let failures = tally.failures;
        if failures < self.rules.maxretry {
            return Decision::Counted(failures);
        }
        self.tallies.remove(subject);
        let count = past.map_or(0, |p| p.everywhere.max(p.count));
        let seconds = match &self.rules.growth {
            _ if self.rules.bantime < 0.0 => None,
            Some(g) if count > 0 => Some(g.time(self.rules.bantime, count, chance)),
            _ => Some(self.rules.bantime.min(BAN_MAX)),
        };
        let until = seconds.map_or(f64::INFINITY, |s| now + s);
        let count = count.saturating_add(1);
        history.set(
            subject.clone(),
            Past {
                count,
                everywhere: count,
                since: now,
                until,
            },
        );
        Decision::Ban {
            time: seconds,
            count,
        }
    }

    /// Forgets a subject's failures.
    pub fn forgive(&mut self, subject: &Subject) {
        self.tallies.remove(subject);
    }

    /// Forgets all failures.
    pub fn forgive_all(&mut self) {
        self.tallies.clear();
    }

    fn sweep(&mut self, now: f64) {
        if now - self.swept < SWEEP && self.tallies.len() < TRACKED_MAX {
            return;
        }
        let oldest = now - self.rules.findtime;
        // a sweep costs the size of the table: not more often than the table can fill again
        if now - self.swept >= SWEEP {
            self.swept = now;
            self.tallies.retain(|_, t| t.last > oldest);
        }
        let gone = thin(&mut self.tallies, TRACKED_MAX, |t| {
            t.last + f64::from(t.failures)
        });
        self.dropped += gone as u64;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::arith::FORMULA_DEFAULT;
    use super::*;

    fn rules() -> Rules {
        Rules {
            maxretry: 3,
            findtime: 600.0,
            bantime: 100.0,
            growth: None,
            ignore: IgnoreList::parse("127.0.0.0/8").unwrap(),
        }
    }

    fn growth() -> Growth {
        Growth {
            factor: 1.0,
            multipliers: vec![],
            formula: Formula::parse(FORMULA_DEFAULT).unwrap(),
            maxtime: None,
            rndtime: None,
            overalljails: false,
        }
    }

    fn net(text: &str) -> Subject {
        Subject::Net(super::super::ignore::parse_net(text).unwrap())
    }

    /// Failures at these times: what each decides.
    fn run(rules: Rules, times: &[f64]) -> Vec<Decision> {
        let (mut jail, mut history) = (Jail::new(rules), History::default());
        let s = net("192.0.2.1");
        times
            .iter()
            .map(|t| jail.failure(&s, *t, *t, 0.5, &mut history))
            .collect()
    }

    const BAN: Decision = Decision::Ban {
        time: Some(100.0),
        count: 1,
    };

    #[test]
    fn so_many_within_so_long() {
        use Decision::{Banned, Counted};
        assert_eq!(
            run(rules(), &[0.0, 1.0, 2.0]),
            [Counted(1), Counted(2), BAN]
        );
        assert_eq!(
            run(rules(), &[0.0, 1.0, 600.9]),
            [Counted(1), Counted(2), BAN]
        );
        assert_eq!(
            run(rules(), &[0.0, 1.0, 601.0]),
            [Counted(1), Counted(2), Counted(1)]
        );
        // evenly spread: two in 590 s are two in 600 s still
        assert_eq!(
            run(rules(), &[0.0, 590.0, 700.0]),
            [Counted(1), Counted(2), BAN]
        );
        // spread too thin to count
        assert_eq!(
            run(rules(), &[0.0, 599.0, 1198.0]),
            [Counted(1), Counted(2), Counted(2)]
        );
        assert_eq!(
            run(rules(), &[0.0, 1.0, 2.0, 50.0]),
            [Counted(1), Counted(2), BAN, Banned]
        );
        assert_eq!(
            run(rules(), &[0.0, 1.0, 2.0, 102.0]),
            [Counted(1), Counted(2), BAN, Counted(1)]
        );
    }

    #[test]
    fn ignored_old_and_for_ever() {
        let (mut jail, mut h) = (Jail::new(rules()), History::default());
        let own = net("127.0.0.1");
        assert_eq!(jail.failure(&own, 5.0, 5.0, 0.0, &mut h), Decision::Ignored);
        let s = net("192.0.2.1");
        assert_eq!(
            jail.failure(&s, 100.0, 700.0, 0.0, &mut h),
            Decision::TooOld
        );
        assert_eq!(
            jail.failure(&s, 100.1, 700.0, 0.0, &mut h),
            Decision::Counted(1)
        );
        // a date in the future is now
        assert_eq!(
            jail.failure(&s, 9000.0, 700.0, 0.0, &mut h),
            Decision::Counted(2)
        );
        jail.rules_mut().bantime = -1.0;
        let ban = jail.failure(&s, 700.0, 700.0, 0.0, &mut h);
        assert_eq!(
            ban,
            Decision::Ban {
                time: None,
                count: 1
            }
        );
        assert_eq!(jail.failure(&s, 1e12, 1e12, 0.0, &mut h), Decision::Banned);
        assert!(h.lift(&s, 800.0, false));
        assert_eq!(
            jail.failure(&s, 801.0, 801.0, 0.0, &mut h),
            Decision::Counted(1)
        );
    }

    #[test]
    fn longer_each_time() {
        for (g, want) in [
            (growth(), [100.0, 200.0, 400.0, 800.0]),
            (
                Growth {
                    factor: 3.0,
                    ..growth()
                },
                [100.0, 600.0, 1200.0, 2400.0],
            ),
            (
                Growth {
                    multipliers: vec![1.0, 5.0, 30.0],
                    ..growth()
                },
                [100.0, 500.0, 3000.0, 3000.0],
            ),
            (
                Growth {
                    maxtime: Some(300.0),
                    ..growth()
                },
                [100.0, 200.0, 300.0, 300.0],
            ),
            (
                Growth {
                    rndtime: Some(10.0),
                    ..growth()
                },
                [100.0, 205.0, 405.0, 805.0],
            ),
        ] {
            let mut jail = Jail::new(Rules {
                growth: Some(g),
                ..rules()
            });
            let (mut h, s, mut now) = (History::default(), net("2001:db8::1"), 0.0);
            for (n, want) in want.into_iter().enumerate() {
                let mut needed = 0;
                loop {
                    now += 1.0;
                    needed += 1;
                    if let Decision::Ban { time, count } = jail.failure(&s, now, now, 0.5, &mut h) {
                        assert_eq!((time, count), (Some(want), n as u32 + 1));
                        break;
                    }
                }
                // known ones are shut out sooner
                assert_eq!(needed, [3, 2, 1, 1][n]);
                now += want;
            }
        }
    }

    #[test]
    fn times_that_can_not_be() {
        for (time, live, want) in [
            (Some(940.0), true, Some(940.0)),
            (Some(939.9), true, Some(1000.0)),
            (Some(1060.0), true, Some(1060.0)),
            (Some(1060.1), true, Some(1000.0)),
            (Some(1.0), false, Some(1.0)),
            (None, true, Some(1000.0)),
            (None, false, None),
        ] {
            assert_eq!(settle(time, 1000.0, live), want, "{time:?} {live}");
        }
    }

    #[test]
    fn room_is_made() {
        let mut map: HashMap<Subject, f64> = (0..100u32)
            .map(|i| (net(&format!("10.0.0.{i}")), f64::from(i)))
            .collect();
        assert_eq!(thin(&mut map, 101, |v| *v), 0);
        assert_eq!(thin(&mut map, 100, |v| *v), 25);
        assert!(map.values().all(|v| *v >= 25.0));
        let mut map: HashMap<Subject, f64> = (0..100u32)
            .map(|i| (net(&format!("10.0.0.{i}")), 1.0))
            .collect();
        assert_eq!(thin(&mut map, 100, |v| *v), 25);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Never a ban before `maxretry` failures, never one of what is to be ignored.
        #[test]
        fn no_ban_too_early(times in prop::collection::vec(0.0f64..2000.0, 1..30), maxretry in 1u32..6) {
            let mut times = times;
            times.sort_by(f64::total_cmp);
            let mut jail = Jail::new(Rules { maxretry, ..rules() });
            let mut h = History::default();
            let s = net("192.0.2.1");
            for (n, t) in times.iter().enumerate() {
                let d = jail.failure(&s, *t, *t, 0.0, &mut h);
                if matches!(d, Decision::Ban { .. }) {
                    prop_assert!(n as u32 + 1 >= maxretry);
                }
                let own = jail.failure(&net("127.0.0.1"), *t, *t, 0.0, &mut h);
                prop_assert_eq!(own, Decision::Ignored);
            }
        }
    }
}
