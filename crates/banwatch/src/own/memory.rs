//! A table of at most so many keys that forgets the least important ones.

use std::collections::HashMap;
use std::hash::Hash;

/// What can be weighed against its like.
pub trait Weighed {
    /// How much it matters at `now` (seconds); what weighs least is forgotten first.
    fn weight(&self, now: i64) -> f32;
}

/// A map that never holds more than `most` keys. When it is full, the lightest sixteenth goes at
/// once, so that the cost of an insertion stays constant on average.
#[derive(Clone, Debug)]
pub struct Memory<K, V> {
    map: HashMap<K, V>,
    most: usize,
    forgotten: u64,
}

impl<K: Copy + Eq + Hash, V: Weighed> Memory<K, V> {
    /// An empty one for at most `most` keys (at least 16).
    #[must_use]
    pub fn new(most: usize) -> Memory<K, V> {
        Memory {
            map: HashMap::new(),
            most: most.max(16),
            forgotten: 0,
        }
    }

    /// The value of a key, if it is there.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    /// As [`Memory::get`], to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    /// The value of a key, made if it is not there.
    pub fn entry(&mut self, now: i64, key: K, make: impl FnOnce() -> V) -> &mut V {
        if self.map.len() >= self.most && !self.map.contains_key(&key) {
            self.forget(now);
        }
        self.map.entry(key).or_insert_with(make)
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.map.remove(key)
    }

    /// Keeps only what `f` says.
    pub fn retain(&mut self, mut f: impl FnMut(&K, &V) -> bool) {
        self.map.retain(|k, v| f(k, v));
    }

    /// Keys in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Keys that had to go for want of room, ever.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// All of it, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.map.iter()
    }

    fn forget(&mut self, now: i64) {
        let mut weights: Vec<f32> = self.map.values().map(|v| v.weight(now)).collect();
        let going = (self.most / 16).max(1);
        let at = going.min(weights.len()).saturating_sub(1);
        let (_, limit, _) = weights.select_nth_unstable_by(at, f32::total_cmp);
        let limit = *limit;
        // All that are lighter than the limit go, and of its equals as many as are still wanted.
        let lighter = weights.iter().filter(|w| **w < limit).count();
        let mut equals = going.saturating_sub(lighter);
        let before = self.map.len();
        self.map.retain(|_, v| {
            let weight = v.weight(now);
            let goes = weight < limit || (weight == limit && equals > 0);
            equals -= usize::from(goes && weight == limit);
            !goes
        });
        self.forgotten += (before - self.map.len()) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weighed for f32 {
        fn weight(&self, _: i64) -> f32 {
            *self
        }
    }

    #[test]
    fn the_lightest_go_first_and_the_bound_holds() {
        let mut m = Memory::new(32);
        for i in 0..32u32 {
            let weight = match i {
                3 => 5.0,
                5 | 9 => 0.5,
                _ => 2.0,
            };
            m.entry(0, i, || weight);
            assert_eq!(m.len() as u32, i + 1);
        }
        assert_eq!(m.forgotten(), 0);
        m.entry(0, 3, || 0.0);
        assert_eq!(
            (m.len(), m.forgotten()),
            (32, 0),
            "a known key needs no room"
        );
        m.entry(0, 32, || 2.0);
        assert_eq!((m.len(), m.forgotten()), (31, 2));
        assert!(m.get(&5).is_none() && m.get(&9).is_none() && m.get(&3).is_some());
        for i in 100..1000 {
            m.entry(0, i, || 1.0);
            assert!(m.len() <= 32);
        }
        assert!(m.get(&3).is_some(), "what weighs more stays");
    }
}
