//! Which bans stand, until when, and for the how manyth time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};

use super::judge::Reason;
use crate::prefix::Prefix;

/// Records held at once, standing bans and remembered ones together. Beyond this the remembered
/// ones go, as soon as they are a sixteenth of it; a new ban always finds a place.
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

/// Whether bans by these two jails are counted together: our own rules are one jail in this.
#[must_use]
pub fn together(a: u16, b: u16) -> bool {
    account(a) == account(b)
}

/// Our own rules are entered first at the desk, so the first numbers are theirs.
fn account(jail: u16) -> u16 {
    if usize::from(jail) < Reason::ALL.len() {
        0
    } else {
        jail
    }
}

/// The number of no record.
const NONE: u32 = u32::MAX;
const ENFORCED: u8 = 1;
const STANDS: u8 = 2;
const USED: u8 = 4;

/// A ban as it is kept: 36 octets. Times are seconds since 1970 up to 2106, the highest number
/// for no end.
#[derive(Clone, Copy, Debug)]
struct Kept {
    prefix: Prefix,
    count: u16,
    jail: u16,
    flags: u8,
    since: u32,
    until: u32,
    /// The next record of the same network, or of the list of free places.
    next: u32,
}

fn second(t: i64) -> u32 {
    u32::try_from(t.max(0))
        .unwrap_or(u32::MAX - 1)
        .min(u32::MAX - 1)
}

impl Kept {
    fn new(prefix: Prefix, b: Ban) -> Kept {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        Kept {
            prefix,
            count: b.count,
            jail: b.jail,
            flags: flag(b.enforced, ENFORCED) | flag(b.stands, STANDS) | USED,
            since: second(b.since),
            until: if b.until == i64::MAX {
                u32::MAX
            } else {
                second(b.until)
            },
            next: NONE,
        }
    }

    fn ban(&self) -> Ban {
        Ban {
            since: i64::from(self.since),
            until: if self.until == u32::MAX {
                i64::MAX
            } else {
                i64::from(self.until)
            },
            count: self.count,
            jail: self.jail,
            enforced: self.flags & ENFORCED != 0,
            stands: self.stands(),
        }
    }

    fn stands(&self) -> bool {
        self.flags & STANDS != 0
    }

    fn used(&self) -> bool {
        self.flags & USED != 0
    }

    /// When something happens to it next: its end, or the end of remembering it. The highest
    /// number for never.
    fn due(&self) -> u32 {
        if self.stands() {
            return self.until;
        }
        let length = self.until.saturating_sub(self.since);
        self.until
            .saturating_add(length.saturating_mul(REMEMBER_TIMES).max(REMEMBER_MIN))
    }
}

/// All bans. Each jail has its own of a network; our own rules are one jail in this.
///
/// Records lie in one piece of memory. A table of their numbers finds the first of a network,
/// and each knows the next of the same network; a heap has their next dates. A ban touches 50 to
/// 55 octets, growing included.
#[derive(Clone, Debug)]
pub struct Book {
    records: Vec<Kept>,
    /// The first free place in `records`; [`NONE`] when there is none.
    free: u32,
    used: usize,
    /// Open addressing with linear probing: numbers of first records, [`NONE`] for empty. As
    /// long as a power of two; at most three quarters full.
    table: Vec<u32>,
    networks: usize,
    hasher: RandomState,
    /// Next dates. One that does not agree with its record is dead.
    dates: BinaryHeap<Reverse<(u32, u32)>>,
    standing: usize,
    total: u64,
    most: usize,
}

impl Default for Book {
    fn default() -> Book {
        Book::sized(RECORDS_MAX)
    }
}

impl Book {
    /// An empty one that lets go of what is only remembered when it has so many records.
    #[must_use]
    pub fn sized(most: usize) -> Book {
        Book {
            most,
            records: Vec::new(),
            free: NONE,
            used: 0,
            table: Vec::new(),
            networks: 0,
            hasher: RandomState::new(),
            dates: BinaryHeap::new(),
            standing: 0,
            total: 0,
        }
    }
}

/// What has become of a ban when its time came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose.
    pub prefix: Prefix,
    /// As it was.
    pub ban: Ban,
}

/// Where a network's first record is, or where it would be entered in the table.
enum Place {
    Found { at: usize, first: u32 },
    Empty(usize),
}

impl Book {
    fn record(&self, number: u32) -> Option<&Kept> {
        usize::try_from(number)
            .ok()
            .and_then(|n| self.records.get(n))
    }

    fn record_mut(&mut self, number: u32) -> Option<&mut Kept> {
        usize::try_from(number)
            .ok()
            .and_then(|n| self.records.get_mut(n))
    }

    /// The table's place where the search for a network begins.
    fn home(&self, prefix: Prefix) -> usize {
        // The low bits are all that counts.
        (self.hasher.hash_one(prefix) as usize) & self.table.len().wrapping_sub(1)
    }

    /// Looks a network up. The table must not be empty and has an empty place.
    fn place(&self, prefix: Prefix) -> Place {
        let mask = self.table.len().wrapping_sub(1);
        let mut at = self.home(prefix);
        loop {
            match self.table.get(at).copied() {
                None | Some(NONE) => return Place::Empty(at),
                Some(first) if self.record(first).is_some_and(|r| r.prefix == prefix) => {
                    return Place::Found { at, first };
                }
                Some(_) => at = (at + 1) & mask,
            }
        }
    }

    fn first(&self, prefix: Prefix) -> u32 {
        if self.table.is_empty() {
            return NONE;
        }
        match self.place(prefix) {
            Place::Found { first, .. } => first,
            Place::Empty(_) => NONE,
        }
    }

    /// The records of a network, from its first.
    fn chain(&self, prefix: Prefix) -> impl Iterator<Item = (u32, &Kept)> {
        let mut number = self.first(prefix);
        std::iter::from_fn(move || {
            let record = self.record(number)?;
            let at = std::mem::replace(&mut number, record.next);
            Some((at, record))
        })
    }

    fn number(&self, prefix: Prefix, jail: u16) -> Option<u32> {
        self.chain(prefix)
            .find(|(_, r)| together(r.jail, jail))
            .map(|(n, _)| n)
    }

    /// Makes room in the table for one more network.
    fn widen(&mut self) {
        if (self.networks + 1) * 4 <= self.table.len() * 3 {
            return;
        }
        let old = std::mem::take(&mut self.table);
        self.table = vec![NONE; (old.len() * 2).max(16)];
        for number in old.into_iter().filter(|n| *n != NONE) {
            let Some(prefix) = self.record(number).map(|r| r.prefix) else {
                continue;
            };
            if let Place::Empty(at) = self.place(prefix) {
                if let Some(place) = self.table.get_mut(at) {
                    *place = number;
                }
            }
        }
    }

    /// Takes a network's entry out of the table: what was pushed on by it moves up.
    fn close(&mut self, mut hole: usize) {
        let mask = self.table.len().wrapping_sub(1);
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let Some(number) = self.table.get(at).copied().filter(|n| *n != NONE) else {
                break;
            };
            let Some(home) = self.record(number).map(|r| self.home(r.prefix)) else {
                break;
            };
            // It may move when the hole lies between its home and its place.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                if let Some(place) = self.table.get_mut(hole) {
                    *place = number;
                }
                hole = at;
            }
        }
        if let Some(place) = self.table.get_mut(hole) {
            *place = NONE;
        }
        self.networks -= 1;
    }

    /// Enters a record that is not there yet.
    fn enter(&mut self, mut kept: Kept) -> u32 {
        self.widen();
        let place = self.place(kept.prefix);
        kept.next = match place {
            Place::Found { first, .. } => first,
            Place::Empty(_) => NONE,
        };
        let number = match self.record(self.free).map(|r| r.next) {
            Some(next) => {
                let number = std::mem::replace(&mut self.free, next);
                if let Some(record) = self.record_mut(number) {
                    *record = kept;
                }
                number
            }
            None => {
                self.records.push(kept);
                u32::try_from(self.records.len() - 1).unwrap_or(NONE)
            }
        };
        self.used += 1;
        let at = match place {
            Place::Found { at, .. } => at,
            Place::Empty(at) => {
                self.networks += 1;
                at
            }
        };
        if let Some(place) = self.table.get_mut(at) {
            *place = number;
        }
        number
    }

    /// Takes a record out.
    fn remove(&mut self, number: u32) {
        let Some((prefix, next)) = self.record(number).map(|r| (r.prefix, r.next)) else {
            return;
        };
        let before = self
            .chain(prefix)
            .find(|(_, r)| r.next == number)
            .map(|(n, _)| n);
        match before {
            Some(before) => {
                if let Some(record) = self.record_mut(before) {
                    record.next = next;
                }
            }
            None => match self.place(prefix) {
                Place::Found { at, .. } if next == NONE => self.close(at),
                Place::Found { at, .. } => {
                    if let Some(place) = self.table.get_mut(at) {
                        *place = next;
                    }
                }
                Place::Empty(_) => {}
            },
        }
        let free = self.free;
        if let Some(record) = self.record_mut(number) {
            let stood = record.stands();
            record.flags = 0;
            record.next = free;
            self.standing -= usize::from(stood);
            self.used -= 1;
            self.free = number;
        }
    }

    /// The standing ban that meets an address or network: its own, or one of a wider network.
    #[must_use]
    pub fn standing(&self, prefix: Prefix) -> Option<(Prefix, Ban)> {
        (0..=prefix.length()).rev().find_map(|n| {
            let p = prefix.widen(n);
            self.of(p).find(|b| b.stands).map(|b| (p, b))
        })
    }

    /// What there is of exactly this network: a ban for each jail, standing or remembered.
    pub fn of(&self, prefix: Prefix) -> impl Iterator<Item = Ban> {
        self.chain(prefix).map(|(_, r)| r.ban())
    }

    /// A jail's record of exactly this network.
    #[must_use]
    pub fn get(&self, prefix: Prefix, jail: u16) -> Option<Ban> {
        self.of(prefix).find(|b| together(b.jail, jail))
    }

    /// How often this jail banned this network, as far as remembered.
    #[must_use]
    pub fn count(&self, prefix: Prefix, jail: u16) -> u16 {
        self.get(prefix, jail).map_or(0, |b| b.count)
    }

    /// Bans a network for so many seconds (`None`: without end). Gives the ban, or `None` when
    /// one of the same jail stands already that is at least as long.
    pub fn ban(
        &mut self,
        now: i64,
        prefix: Prefix,
        seconds: Option<i64>,
        jail: u16,
        enforced: bool,
    ) -> Option<Ban> {
        let until = seconds.map_or(i64::MAX, |s| now.saturating_add(s));
        let old = self.get(prefix, jail);
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
        self.restore(prefix, ban);
        self.total += 1;
        Some(ban)
    }

    /// Puts a ban back as it was, in place of what there is of the same network and jail.
    pub fn restore(&mut self, prefix: Prefix, ban: Ban) {
        let kept = Kept::new(prefix, ban);
        let number = match self.number(prefix, ban.jail) {
            Some(number) => {
                if let Some(record) = self.record_mut(number) {
                    let (stood, next) = (record.stands(), record.next);
                    *record = Kept { next, ..kept };
                    self.standing -= usize::from(stood);
                }
                number
            }
            None => {
                self.thin();
                self.enter(kept)
            }
        };
        self.standing += usize::from(ban.stands);
        self.expect(number);
    }

    /// When the book is full, what is only remembered goes; not before it is worth looking at
    /// every record.
    fn thin(&mut self) {
        let remembered = self.used - self.standing;
        if self.used < self.most || remembered < self.most / 16 {
            return;
        }
        for n in 0..self.records.len() {
            let old = self.records.get(n).is_some_and(|r| r.used() && !r.stands());
            if let (true, Ok(number)) = (old, u32::try_from(n)) {
                self.remove(number);
            }
        }
    }

    /// Notes a record's next date.
    fn expect(&mut self, number: u32) {
        let due = self.record(number).map_or(u32::MAX, Kept::due);
        if due != u32::MAX {
            self.dates.push(Reverse((due, number)));
        }
    }

    /// Lifts a jail's ban; what was is remembered no longer. `None` when none stands.
    pub fn lift(&mut self, prefix: Prefix, jail: u16) -> Option<Ban> {
        let number = self.number(prefix, jail)?;
        let ban = self.record(number).map(Kept::ban).filter(|b| b.stands)?;
        self.remove(number);
        Some(ban)
    }

    /// Forgets all there is of exactly this network.
    pub fn forget(&mut self, prefix: Prefix) {
        loop {
            let first = self.first(prefix);
            if first == NONE {
                return;
            }
            self.remove(first);
        }
    }

    /// When [`Book::expired`] should be called next.
    #[must_use]
    pub fn next_end(&self) -> Option<i64> {
        self.dates.peek().map(|Reverse((at, _))| i64::from(*at))
    }

    /// Takes one ban whose time is over by `now`.
    pub fn expired(&mut self, now: i64) -> Option<Ended> {
        while let Some(Reverse((at, number))) = self.dates.peek().copied() {
            if i64::from(at) > now {
                return None;
            }
            self.dates.pop();
            let Some(record) = self.record_mut(number) else {
                continue;
            };
            if !record.used() || record.due() != at {
                continue;
            }
            if record.stands() {
                let (prefix, ban) = (record.prefix, record.ban());
                record.flags &= !STANDS;
                self.standing -= 1;
                self.expect(number);
                return Some(Ended { prefix, ban });
            }
            self.remove(number);
        }
        None
    }

    /// No ban is enforced any more.
    pub fn only_observe(&mut self) {
        for record in &mut self.records {
            record.flags &= !ENFORCED;
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

    /// Every record, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, Ban)> + '_ {
        self.records
            .iter()
            .filter(|r| r.used())
            .map(|r| (r.prefix, r.ban()))
    }

    /// Number of records, those that are only remembered included.
    #[must_use]
    pub fn records(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests;
