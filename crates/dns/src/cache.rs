//! What was learned, for as long as it may be believed, within a bound.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Answer, Outcome, Question};

/// Most answers kept.
pub const CACHE_ENTRIES_MAX: usize = 8_192;

/// Most memory the kept answers may weigh, in octets, as [`Records::weight`](crate::Records::weight)
/// and the names count it.
pub const CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest time an answer with records is kept, whatever its TTL says.
pub const POSITIVE_TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Longest time "no such name" and "no such records" are kept (RFC 2308, 5 suggests one to three
/// hours).
pub const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(3600);

/// How long a failure to get an answer is remembered, so that a queue full of mail for one broken
/// domain asks once (RFC 9520, 3.2: at least one second, at most five minutes).
pub const FAILURE_TTL: Duration = Duration::from_secs(5);

/// Weight of an entry beside its records: keys, tree nodes, counters.
const ENTRY_WEIGHT: usize = 256;

/// Answers by question, each until its time; when full, the one that would end soonest makes
/// room. The clock comes in with each call and may stand still, but not run backwards.
#[derive(Debug)]
pub struct Cache {
    entries: HashMap<Question, Entry>,
    by_end: BTreeMap<(Instant, u64), Question>,
    bytes: usize,
    serial: u64,
    entries_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<Answer>,
    end: (Instant, u64),
    weight: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(CACHE_ENTRIES_MAX, CACHE_BYTES_MAX)
    }
}

impl Cache {
    /// An empty cache with bounds of its own; 0 entries switches it off.
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_end: BTreeMap::new(),
            bytes: 0,
            serial: 0,
            entries_max,
            bytes_max,
        }
    }

    /// The answer to `question`, when one is kept and still good at `now`.
    pub fn get(&mut self, question: &Question, now: Instant) -> Option<Arc<Answer>> {
        let entry = self.entries.get(question)?;
        if entry.end.0 <= now {
            self.remove(&question.clone());
            return None;
        }
        Some(Arc::clone(&entry.answer))
    }

    /// Keeps `answer` for `ttl`, cut to the limit of its kind; a `ttl` of zero keeps nothing.
    pub fn put(&mut self, question: &Question, answer: &Arc<Answer>, ttl: Duration, now: Instant) {
        self.remove(question);
        let ttl = ttl.min(match answer.outcome {
            Outcome::Records(_) => POSITIVE_TTL_MAX,
            Outcome::NoData | Outcome::NxDomain => NEGATIVE_TTL_MAX,
            Outcome::Temporary(_) => FAILURE_TTL,
        });
        let records = answer.records().map_or(0, crate::Records::weight);
        let names = 2 * question.name.as_str().len() + answer.canonical.as_str().len();
        let weight = ENTRY_WEIGHT + names + records;
        if ttl.is_zero() || self.entries_max == 0 || weight > self.bytes_max {
            return;
        }
        let Some(end) = now.checked_add(ttl) else {
            return;
        };
        while self.entries.len() >= self.entries_max || self.bytes + weight > self.bytes_max {
            let Some((_, oldest)) = self.by_end.pop_first() else {
                break;
            };
            self.remove(&oldest);
        }
        self.serial += 1;
        let end = (end, self.serial);
        self.by_end.insert(end, question.clone());
        self.bytes += weight;
        self.entries.insert(
            question.clone(),
            Entry {
                answer: Arc::clone(answer),
                end,
                weight,
            },
        );
    }

    fn remove(&mut self, question: &Question) {
        if let Some(entry) = self.entries.remove(question) {
            self.by_end.remove(&entry.end);
            self.bytes -= entry.weight;
        }
    }

    /// How many answers are kept, those past their time included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The weight of what is kept, in octets.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Name, Records};

    fn question(index: usize) -> Question {
        Question::new(Name::parse(&format!("h{index}.example")).unwrap(), Kind::A)
    }

    fn answer(outcome: Outcome) -> Arc<Answer> {
        Arc::new(Answer {
            outcome,
            canonical: Name::parse("c.example").unwrap(),
            authentic: false,
        })
    }

    fn found() -> Arc<Answer> {
        answer(Outcome::Records(Records::A(vec![
            "192.0.2.1".parse().unwrap(),
        ])))
    }

    #[test]
    fn good_until_its_time_and_not_at_it() {
        let now = Instant::now();
        let mut cache = Cache::default();
        cache.put(&question(1), &found(), Duration::from_secs(60), now);
        assert!(
            cache
                .get(&question(1), now + Duration::from_secs(59))
                .is_some()
        );
        assert!(
            cache
                .get(&question(1), now + Duration::from_secs(60))
                .is_none()
        );
        assert!(cache.is_empty());
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn each_kind_has_its_longest_time() {
        let now = Instant::now();
        let long = Duration::from_secs(1_000_000);
        for (outcome, max) in [
            (found().outcome.clone(), POSITIVE_TTL_MAX),
            (Outcome::NoData, NEGATIVE_TTL_MAX),
            (Outcome::NxDomain, NEGATIVE_TTL_MAX),
            (Outcome::Temporary(crate::Trouble::Timeout), FAILURE_TTL),
        ] {
            let mut cache = Cache::default();
            cache.put(&question(1), &answer(outcome), long, now);
            assert!(
                cache
                    .get(&question(1), now + max - Duration::from_secs(1))
                    .is_some()
            );
            assert!(cache.get(&question(1), now + max).is_none());
        }
    }

    #[test]
    fn time_to_live_zero_is_not_kept() {
        let now = Instant::now();
        let mut cache = Cache::default();
        cache.put(&question(1), &found(), Duration::ZERO, now);
        assert!(cache.get(&question(1), now).is_none());
    }

    #[test]
    fn bounded_by_number() {
        let now = Instant::now();
        for kept in [4, 5, 6] {
            let mut cache = Cache::new(5, CACHE_BYTES_MAX);
            for index in 0..kept {
                let ttl = Duration::from_secs(100 + index as u64);
                cache.put(&question(index), &found(), ttl, now);
            }
            assert_eq!(cache.len(), kept.min(5));
            assert_eq!(
                cache.get(&question(0), now).is_some(),
                kept <= 5,
                "the soonest to end goes"
            );
            assert!(cache.get(&question(kept - 1), now).is_some());
        }
    }

    #[test]
    fn bounded_by_weight() {
        let now = Instant::now();
        let mut cache = Cache::new(1_000, 2_000);
        for index in 0..100 {
            cache.put(&question(index), &found(), Duration::from_secs(60), now);
            assert!(cache.bytes() <= 2_000);
        }
        assert!(cache.len() > 3);
        let big = answer(Outcome::Records(Records::Txt(vec![vec![b'x'; 2_000]])));
        cache.put(&question(200), &big, Duration::from_secs(60), now);
        assert!(
            cache.get(&question(200), now).is_none(),
            "heavier than the whole cache"
        );
    }

    #[test]
    fn a_new_answer_replaces_the_old() {
        let now = Instant::now();
        let mut cache = Cache::default();
        cache.put(
            &question(1),
            &answer(Outcome::NoData),
            Duration::from_secs(60),
            now,
        );
        cache.put(&question(1), &found(), Duration::from_secs(60), now);
        assert_eq!(cache.len(), 1);
        assert!(cache.get(&question(1), now).unwrap().records().is_some());
    }
}
