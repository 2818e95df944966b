//! Deadlines of many sessions in one loop.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// One deadline per key.
///
/// Moving a deadline later, which every line of a session does, only writes the map: the heap is
/// corrected when the old entry comes up.
#[derive(Debug)]
pub struct Timers<K> {
    due: HashMap<K, Entry>,
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    /// The earliest heap entry of this key; entries at other times are dead.
    queued: Instant,
}

impl<K: Copy + Eq + Hash + Ord> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            due: HashMap::new(),
            heap: BinaryHeap::new(),
        }
    }
}

impl<K: Copy + Eq + Hash + Ord> Timers<K> {
    /// No deadlines yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        match self.due.get_mut(&key) {
            Some(entry) if entry.queued <= at => entry.at = at,
            Some(entry) => {
                *entry = Entry { at, queued: at };
                self.heap.push(Reverse((at, key)));
            }
            None => {
                self.due.insert(key, Entry { at, queued: at });
                self.heap.push(Reverse((at, key)));
            }
        }
    }

    /// Forgets the deadline of `key`.
    pub fn cancel(&mut self, key: K) {
        self.due.remove(&key);
        // Without this a busy daemon whose sessions end early would keep dead entries until they are due.
        if self.heap.len() > 64 && self.heap.len() > 4 * self.due.len() {
            let due = &self.due;
            self.heap
                .retain(|Reverse((at, key))| due.get(key).is_some_and(|e| e.queued == *at));
        }
    }

    /// How long a poll may wait: `None` when there is no deadline.
    pub fn timeout(&mut self, now: Instant) -> Option<Duration> {
        self.settle();
        self.heap
            .peek()
            .map(|Reverse((at, _))| at.saturating_duration_since(now))
    }

    /// Takes one key whose deadline has passed.
    pub fn expired(&mut self, now: Instant) -> Option<K> {
        self.settle();
        let Reverse((at, key)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        self.due.remove(&key);
        Some(key)
    }

    /// How many deadlines are set.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Whether no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Brings the top of the heap in line with the map.
    fn settle(&mut self) {
        while let Some(Reverse((at, key))) = self.heap.peek().copied() {
            match self.due.get_mut(&key) {
                Some(entry) if entry.queued == at && entry.at == at => return,
                Some(entry) if entry.queued == at => {
                    entry.queued = entry.at;
                    let at = entry.at;
                    self.heap.pop();
                    self.heap.push(Reverse((at, key)));
                }
                _ => {
                    self.heap.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_move_both_ways() {
        let t0 = Instant::now();
        let s = |n| t0 + Duration::from_secs(n);
        let mut timers = Timers::new();
        timers.set(1, s(10));
        timers.set(2, s(20));
        timers.set(1, s(30)); // later
        timers.set(2, s(5)); // earlier
        assert_eq!(timers.timeout(t0), Some(Duration::from_secs(5)));
        assert_eq!(timers.expired(s(4)), None);
        assert_eq!(timers.expired(s(20)), Some(2));
        assert_eq!(timers.expired(s(20)), None);
        assert_eq!(timers.timeout(s(20)), Some(Duration::from_secs(10)));
        assert_eq!(timers.expired(s(30)), Some(1));
        assert_eq!(timers.timeout(t0), None);
        assert!(timers.is_empty());
    }

    #[test]
    fn cancelled_deadlines_neither_fire_nor_pile_up() {
        let t0 = Instant::now();
        let mut timers = Timers::new();
        for k in 0..1000 {
            timers.set(k, t0 + Duration::from_secs(1));
            timers.cancel(k);
        }
        assert!(timers.heap.len() <= 65, "{}", timers.heap.len());
        assert_eq!(timers.expired(t0 + Duration::from_secs(2)), None);
        timers.set(7, t0 + Duration::from_secs(1));
        timers.cancel(7);
        timers.set(7, t0 + Duration::from_secs(3));
        assert_eq!(timers.expired(t0 + Duration::from_secs(2)), None);
        assert_eq!(timers.expired(t0 + Duration::from_secs(3)), Some(7));
    }
}
