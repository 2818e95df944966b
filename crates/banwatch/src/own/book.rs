//! Which bans stand, until when, and for the how manyth time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::prefix::Prefix;

/// Records held at once, standing bans and remembered ones together. Beyond this the remembered
/// ones go first; a new ban always finds a place.
pub const RECORDS_MAX: usize = 1_000_000;
/// How long a ban is remembered after its end, so that the next one is longer: this many times
/// its length, and at least [`REMEMBER_MIN`].
pub const REMEMBER_TIMES: u32 = 10;
/// Least time for which a ban is remembered after its end, in seconds.
pub const REMEMBER_MIN: u32 = 86_400;

/// How long bans are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// The first one, in seconds.
    pub first: u32,
    /// Each following one is so many times as long.
    pub factor: u32,
    /// The longest, in seconds.
    pub most: u32,
}

impl Default for Growth {
    fn default() -> Growth {
        Growth {
            first: 600,
            factor: 4,
            most: 7 * 86_400,
        }
    }
}

impl Growth {
    /// Length of the nth ban (from 1), in seconds.
    #[must_use]
    pub fn seconds(self, n: u16) -> i64 {
        let mut length = i64::from(self.first);
        for _ in 1..n.min(40) {
            length = length
                .saturating_mul(i64::from(self.factor.max(1)))
                .min(i64::from(self.most));
        }
        length.min(i64::from(self.most)).max(1)
    }
}

/// One ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Second of its beginning.
    pub since: i64,
    /// Second of its end; [`i64::MAX`] for one without end.
    pub until: i64,
    /// The how manyth.
    pub count: u16,
    /// Number of the jail that asked for it, in the shell's list of names.
    pub jail: u16,
    /// False for one that is only decided ("observe"), not enforced.
    pub enforced: bool,
    /// False for one that has ended and is only remembered.
    pub stands: bool,
}

/// A network and the scope of its ban (0: all traffic, else some ports): one may have several.
pub type Slot = (Prefix, u8);

/// A ban as it is kept: 16 octets. Times are seconds since 1970 up to 2106, the highest number
/// for no end.
#[derive(Clone, Copy, Debug)]
struct Kept {
    since: u32,
    until: u32,
    count: u16,
    jail: u16,
    enforced: bool,
    stands: bool,
}

impl From<Ban> for Kept {
    fn from(b: Ban) -> Kept {
        let second = |t: i64| {
            u32::try_from(t.max(0))
                .unwrap_or(u32::MAX - 1)
                .min(u32::MAX - 1)
        };
        Kept {
            since: second(b.since),
            until: if b.until == i64::MAX {
                u32::MAX
            } else {
                second(b.until)
            },
            count: b.count,
            jail: b.jail,
            enforced: b.enforced,
            stands: b.stands,
        }
    }
}

impl Kept {
    fn ban(self) -> Ban {
        Ban {
            since: i64::from(self.since),
            until: if self.until == u32::MAX {
                i64::MAX
            } else {
                i64::from(self.until)
            },
            count: self.count,
            jail: self.jail,
            enforced: self.enforced,
            stands: self.stands,
        }
    }
}

/// All bans.
#[derive(Clone, Debug, Default)]
pub struct Book {
    bans: HashMap<Slot, Kept>,
    /// Ends, and the end of remembering. Entries that no longer agree with `bans` are dead.
    ends: BinaryHeap<Reverse<(u32, Slot)>>,
    /// The highest scope seen.
    scopes: u8,
    standing: usize,
    total: u64,
}

/// What has become of a ban when its time came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose.
    pub slot: Slot,
    /// As it was.
    pub ban: Ban,
}

fn remembered_until(ban: &Kept) -> u32 {
    let length = ban.until.saturating_sub(ban.since);
    ban.until
        .saturating_add(length.saturating_mul(REMEMBER_TIMES).max(REMEMBER_MIN))
}

impl Book {
    /// The standing ban that meets an address or network: its own, or one of a wider network.
    #[must_use]
    pub fn standing(&self, prefix: Prefix) -> Option<(Slot, Ban)> {
        let most = prefix.length();
        // Few lengths are in use; each is one look-up.
        (0..=most).rev().find_map(|n| {
            let p = prefix.widen(n);
            (0..=self.scopes).find_map(|s| {
                self.bans
                    .get(&(p, s))
                    .filter(|b| b.stands)
                    .map(|b| ((p, s), b.ban()))
            })
        })
    }

    /// The record of exactly this network.
    #[must_use]
    pub fn get(&self, slot: Slot) -> Option<Ban> {
        self.bans.get(&slot).map(|b| b.ban())
    }

    /// How often this network was banned, as far as remembered.
    #[must_use]
    pub fn count(&self, slot: Slot) -> u16 {
        self.bans.get(&slot).map_or(0, |b| b.count)
    }

    /// Bans a network for so many seconds (`None`: without end). Gives the ban, or `None` when
    /// one at least as long stands already.
    pub fn ban(
        &mut self,
        now: i64,
        slot: Slot,
        seconds: Option<i64>,
        jail: u16,
        enforced: bool,
    ) -> Option<Ban> {
        let until = seconds.map_or(i64::MAX, |s| now.saturating_add(s));
        let old = self.get(slot);
        if old.is_some_and(|b| b.stands && b.until >= until && b.enforced >= enforced) {
            return None;
        }
        let count = old.map_or(0, |b| b.count).saturating_add(1);
        let ban = Ban {
            since: now,
            until,
            count,
            jail,
            enforced,
            stands: true,
        };
        self.restore(slot, ban);
        self.total += 1;
        Some(ban)
    }

    /// Puts a ban back as it was.
    pub fn restore(&mut self, slot: Slot, ban: Ban) {
        self.scopes = self.scopes.max(slot.1);
        if self.bans.len() >= RECORDS_MAX && !self.bans.contains_key(&slot) {
            self.bans.retain(|_, b| b.stands);
        }
        let kept = Kept::from(ban);
        let old = self.bans.insert(slot, kept);
        let stood = old.is_some_and(|b| b.stands);
        self.standing = self.standing + usize::from(ban.stands) - usize::from(stood);
        let due = if kept.stands {
            kept.until
        } else {
            remembered_until(&kept)
        };
        if due != u32::MAX {
            self.ends.push(Reverse((due, slot)));
        }
    }

    /// Lifts a ban; what was is remembered no longer.
    pub fn lift(&mut self, slot: Slot) -> Option<Ban> {
        let ban = self.bans.remove(&slot).filter(|b| b.stands)?;
        self.standing -= 1;
        Some(ban.ban())
    }

    /// When [`Book::expired`] should be called next.
    #[must_use]
    pub fn next_end(&self) -> Option<i64> {
        self.ends.peek().map(|Reverse((at, _))| i64::from(*at))
    }

    /// Takes one ban whose time is over by `now`.
    pub fn expired(&mut self, now: i64) -> Option<Ended> {
        while let Some(Reverse((at, slot))) = self.ends.peek().copied() {
            if i64::from(at) > now {
                return None;
            }
            self.ends.pop();
            let Some(ban) = self.bans.get_mut(&slot) else {
                continue;
            };
            if ban.stands && ban.until == at {
                let was = *ban;
                ban.stands = false;
                self.standing -= 1;
                let due = remembered_until(&was);
                self.ends.push(Reverse((due, slot)));
                return Some(Ended {
                    slot,
                    ban: was.ban(),
                });
            }
            if !ban.stands && i64::from(remembered_until(ban)) <= now {
                self.bans.remove(&slot);
            }
        }
        None
    }

    /// No ban is enforced any more.
    pub fn only_observe(&mut self) {
        for ban in self.bans.values_mut() {
            ban.enforced = false;
        }
    }

    /// Standing bans.
    #[must_use]
    pub fn standing_count(&self) -> usize {
        self.standing
    }

    /// Bans made since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Every record, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, Ban)> + '_ {
        self.bans.iter().map(|(p, b)| (*p, b.ban()))
    }

    /// Number of records, those that are only remembered included.
    #[must_use]
    pub fn records(&self) -> usize {
        self.bans.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(t: &str) -> Prefix {
        t.parse().unwrap()
    }

    #[test]
    fn longer_each_time_and_forgotten_in_the_end() {
        let g = Growth {
            first: 100,
            factor: 3,
            most: 1_000,
        };
        assert_eq!(
            [1, 2, 3, 4, 60].map(|n| g.seconds(n)),
            [100, 300, 900, 1_000, 1_000]
        );
        let mut b = Book::default();
        let a = (p("192.0.2.1"), 0);
        let first = b
            .ban(1_000, a, Some(g.seconds(b.count(a) + 1)), 0, true)
            .unwrap();
        assert_eq!((first.until, first.count), (1_100, 1));
        assert_eq!(
            b.ban(1_050, a, Some(50), 0, true),
            None,
            "it stands that long already"
        );
        assert_eq!(b.standing(p("192.0.2.1")).unwrap().0, a);
        assert_eq!(b.expired(1_099), None);
        assert_eq!(b.expired(1_100).unwrap().slot, a);
        assert_eq!(b.expired(1_100), None);
        assert_eq!((b.standing_count(), b.count(a)), (0, 1));
        let second = b
            .ban(1_200, a, Some(g.seconds(b.count(a) + 1)), 0, true)
            .unwrap();
        assert_eq!((second.until, second.count), (1_500, 2));
        assert!(b.expired(1_500).is_some());
        assert_eq!(b.expired(1_500 + i64::from(REMEMBER_MIN) - 1), None);
        assert_eq!(b.count(a), 2);
        assert_eq!(b.expired(1_500 + i64::from(REMEMBER_MIN)), None);
        assert_eq!((b.count(a), b.records(), b.next_end()), (0, 0, None));
    }

    #[test]
    fn wide_bans_meet_what_is_in_them_and_lifting_lifts() {
        let mut b = Book::default();
        b.ban(0, (p("2001:db8::/64"), 0), None, 0, true);
        assert!(b.standing(p("2001:db8::77")).is_some());
        assert!(b.standing(p("2001:db8:0:1::77")).is_none());
        assert_eq!(b.next_end(), None);
        assert!(
            b.lift((p("2001:db8::/64"), 0)).is_some() && b.lift((p("2001:db8::/64"), 0)).is_none()
        );
        assert_eq!(b.standing_count(), 0);
        // A longer ban over a shorter one: the end of the shorter one means nothing.
        b.ban(0, (p("10.0.0.1"), 0), Some(10), 0, true);
        b.ban(5, (p("10.0.0.1"), 0), Some(100), 0, true);
        assert_eq!(b.expired(50), None);
        assert_eq!(b.standing_count(), 1);
        assert_eq!(b.expired(105).unwrap().ban.count, 2);
    }
}
