//! What a filter remembers of sessions that span several lines (`<F-MLFID>`).

use std::collections::{HashMap, VecDeque};

/// Sessions remembered by one filter; the oldest are forgotten first.
pub const SESSIONS_MAX: usize = 1024;
/// How long a session is remembered after its first line, in seconds.
pub const SESSION_TIME: i64 = 300;
/// Lines kept with a failure, for people to read. All are counted.
pub const LINES_KEPT: usize = 10;
/// Octets kept of a line or of a group's value. (An address, a host name or an identity is
/// never shortened: what is too long for one is none.)
pub const VALUE_MAX: usize = 512;
/// User names kept with a session.
pub const USERS_MAX: usize = 16;

/// The first [`VALUE_MAX`] octets, or a few less so that no character is cut.
#[must_use]
pub fn shortened(text: &str) -> &str {
    let mut end = text.len().min(VALUE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// Index of a group's name: the constants below, or a filter's own from [`OWN`] on.
pub type Name = u16;
/// `ip4`
pub const IP4: Name = 0;
/// `ip6`
pub const IP6: Name = 1;
/// `dns`
pub const DNS: Name = 2;
/// `fid`
pub const FID: Name = 3;
/// `cidr`
pub const CIDR: Name = 4;
/// `mlfid`
pub const MLFID: Name = 5;
/// `nofail`
pub const NOFAIL: Name = 6;
/// `mlfforget`
pub const MLFFORGET: Name = 7;
/// `mlfgained`
pub const MLFGAINED: Name = 8;
/// `user`
pub const USER: Name = 9;
/// `content`
pub const CONTENT: Name = 10;
/// First of a filter's own names.
pub const OWN: Name = 11;

/// The names up to [`OWN`].
pub const KNOWN: [&str; OWN as usize] = [
    "ip4",
    "ip6",
    "dns",
    "fid",
    "cidr",
    "mlfid",
    "nofail",
    "mlfforget",
    "mlfgained",
    "user",
    "content",
];

/// What is known about a failure, or about a session that may become one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Values of groups.
    pub values: Vec<(Name, String)>,
    /// Distinct user names of the session.
    pub users: Vec<String>,
    /// Matched lines that count.
    pub attempts: u32,
    /// Matched lines that only prepare a failure.
    pub prepared: u32,
    /// The last of them.
    pub lines: Vec<String>,
    /// A failure was seen but not whose it was.
    pub pending: bool,
}

impl Facts {
    /// Value of a group; an empty one is a value too.
    #[must_use]
    pub fn get(&self, name: Name) -> Option<&str> {
        self.values
            .iter()
            .find(|v| v.0 == name)
            .map(|v| v.1.as_str())
    }

    /// Whether a group has a value that is not empty.
    #[must_use]
    pub fn has(&self, name: Name) -> bool {
        self.get(name).is_some_and(|v| !v.is_empty())
    }

    /// Sets a group.
    pub fn set(&mut self, name: Name, value: String) {
        match self.values.iter_mut().find(|v| v.0 == name) {
            Some(v) => v.1 = value,
            None => self.values.push((name, value)),
        }
    }

    /// Removes a group; tells whether it was there and not empty.
    pub fn take(&mut self, name: Name) -> bool {
        match self.values.iter().position(|v| v.0 == name) {
            Some(i) => !self.values.swap_remove(i).1.is_empty(),
            None => false,
        }
    }

    /// Keeps a line for people to read.
    pub fn keep_line(&mut self, line: &str) {
        if self.lines.len() >= LINES_KEPT {
            self.lines.remove(0);
        }
        self.lines.push(shortened(line).to_owned());
    }

    /// Whether a line names another address than the session it seems to belong to. Then a
    /// process id was used again and nothing of the old session counts for the new one: not its
    /// users, not its failures, and least of all its address where the families differ.
    fn is_of_another(&self, line: &Facts) -> bool {
        match (self.address(), line.address()) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        }
    }

    fn address(&self) -> Option<&str> {
        self.get(IP4).or(self.get(IP6))
    }

    fn add_user(&mut self, user: Option<&str>) {
        if let Some(u) = user.filter(|u| !u.is_empty()) {
            if self.users.len() < USERS_MAX && !self.users.iter().any(|x| x == u) {
                self.users.push(u.to_owned());
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Session {
    facts: Facts,
    until: i64,
    serial: u64,
}

/// The sessions of one filter.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    by_id: HashMap<String, Session>,
    order: VecDeque<(u64, String)>,
    serial: u64,
}

impl Sessions {
    /// Number of sessions remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_id.clear();
        self.order.clear();
    }

    fn remember(&mut self, id: &str, facts: Facts, now: i64) {
        while self.by_id.len() >= SESSIONS_MAX || self.order.len() >= SESSIONS_MAX * 2 {
            let Some((serial, old)) = self.order.pop_front() else {
                break;
            };
            if self.by_id.get(&old).is_some_and(|s| s.serial == serial) {
                self.by_id.remove(&old);
            }
        }
        self.serial += 1;
        let serial = self.serial;
        self.order.push_back((serial, id.to_owned()));
        self.by_id.insert(
            id.to_owned(),
            Session {
                facts,
                until: now + SESSION_TIME,
                serial,
            },
        );
    }

    /// Joins what a line says with what its session has said before.
    ///
    /// `count` lines were matched, `text` is the last. The result is a failure unless it still
    /// has [`NOFAIL`]; when it says nothing about whose it is, [`Sessions::pending`] notes that.
    pub fn join(&mut self, id: &str, mut line: Facts, count: u32, text: &str, now: i64) -> Facts {
        let gained = line.has(MLFGAINED);
        let mut quiet = gained || line.has(NOFAIL);
        if gained && !line.has(NOFAIL) {
            let why = line.get(MLFGAINED).unwrap_or("").to_owned();
            line.set(NOFAIL, why);
        }
        let mut gained = gained;
        let forget = line.take(MLFFORGET);
        let known = self
            .by_id
            .get(id)
            .is_some_and(|s| s.until > now && !s.facts.is_of_another(&line));
        let user = line.get(USER).map(str::to_owned);
        let mut facts;
        if known {
            let Some(s) = self.by_id.get_mut(id) else {
                return line;
            };
            facts = std::mem::take(&mut s.facts);
            facts.add_user(user.as_deref());
            let was_quiet = facts.take(NOFAIL) | facts.take(MLFGAINED);
            if gained {
                facts.pending = false;
            }
            if !was_quiet && !facts.pending {
                facts.attempts = 0;
                facts.lines.clear();
            }
            // a line that names an address or a host speaks of that one only
            if [IP4, IP6, DNS].iter().any(|n| line.get(*n).is_some()) {
                for n in [IP4, IP6, DNS, CIDR] {
                    facts.take(n);
                }
            }
            for (n, v) in line.values {
                facts.set(n, v);
            }
        } else {
            facts = line;
            if !forget {
                facts.add_user(user.as_deref());
            }
        }
        let pending = std::mem::take(&mut facts.pending);
        if pending || facts.users.len() > 1 {
            facts.take(NOFAIL);
            facts.take(MLFGAINED);
            quiet = false;
            gained = false;
        }
        if !quiet {
            facts.attempts += std::mem::take(&mut facts.prepared);
            if !gained {
                facts.attempts += count;
                facts.keep_line(text);
            }
        } else if !forget {
            facts.prepared += count;
            facts.keep_line(text);
        }
        if forget {
            self.by_id.remove(id);
        } else if known {
            if let Some(s) = self.by_id.get_mut(id) {
                s.facts = facts.clone();
            }
        } else {
            self.remember(id, facts.clone(), now);
        }
        facts
    }

    /// Notes that a session has failed before it was known whose it is.
    pub fn pending(&mut self, id: &str) {
        if let Some(s) = self.by_id.get_mut(id) {
            s.facts.pending = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(list: &[(Name, &str)]) -> Facts {
        Facts {
            values: list.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(),
            ..Facts::default()
        }
    }

    /// All orders of families under one process id: the line's own address, always.
    #[test]
    fn a_used_again_process_id_bans_nobody_else() {
        for (first, second) in [(IP4, IP4), (IP4, IP6), (IP6, IP4), (IP6, IP6), (IP4, DNS)] {
            let mut s = Sessions::default();
            s.join("mx sshd[7]", facts(&[(first, "one")]), 1, "a", 100);
            let f = s.join("mx sshd[7]", facts(&[(second, "two")]), 1, "b", 101);
            let addresses: Vec<_> = f
                .values
                .iter()
                .filter(|v| v.0 <= DNS)
                .map(|v| (v.0, v.1.as_str()))
                .collect();
            assert_eq!(addresses, [(second, "two")]);
        }
    }

    /// Who logs in well under the process id of an attacker is not charged with anything.
    #[test]
    fn a_used_again_process_id_taints_nobody() {
        let mut s = Sessions::default();
        s.join("x", facts(&[(IP4, "1.2.3.4"), (USER, "root")]), 1, "a", 1);
        let well = facts(&[(MLFGAINED, "Accepted"), (IP4, "1.2.3.5"), (USER, "anna")]);
        assert!(s.join("x", well, 1, "b", 2).has(NOFAIL));
    }

    #[test]
    fn the_address_comes_later() {
        let mut s = Sessions::default();
        let f = s.join("x", facts(&[(USER, "u")]), 1, "a", 100);
        assert!(f.get(IP4).is_none());
        s.pending("x");
        let f = s.join(
            "x",
            facts(&[(NOFAIL, "closed"), (IP4, "1.2.3.4")]),
            1,
            "b",
            101,
        );
        assert!(!f.has(NOFAIL));
        assert_eq!((f.get(IP4), f.attempts), (Some("1.2.3.4"), 2));
    }

    #[test]
    fn preparing_lines_count_when_it_fails() {
        let mut s = Sessions::default();
        let f = s.join(
            "x",
            facts(&[(NOFAIL, "key"), (IP4, "1.2.3.4"), (USER, "u")]),
            1,
            "a",
            1,
        );
        assert!(f.has(NOFAIL));
        let f = s.join("x", facts(&[(IP4, "1.2.3.4"), (USER, "u")]), 1, "b", 2);
        assert_eq!((f.has(NOFAIL), f.attempts), (false, 2));
    }

    #[test]
    fn gained_access_forgives_unless_users_differ() {
        let accepted = |u: &str| facts(&[(MLFGAINED, "Accepted"), (IP4, "1.2.3.4"), (USER, u)]);
        let tried = |u: &str| facts(&[(NOFAIL, "key"), (IP4, "1.2.3.4"), (USER, u)]);
        let mut s = Sessions::default();
        s.join("x", tried("a"), 1, "a", 1);
        assert!(s.join("x", accepted("a"), 1, "b", 2).has(NOFAIL));
        let mut s = Sessions::default();
        s.join("x", tried("a"), 1, "a", 1);
        assert!(!s.join("x", accepted("b"), 1, "b", 2).has(NOFAIL));
    }

    #[test]
    fn memory_is_bounded() {
        for (n, want) in [(511, 511), (512, 512), (513, 512)] {
            assert_eq!(shortened(&"x".repeat(n)).len(), want);
        }
        assert_eq!(shortened(&format!("x{}", "é".repeat(300))).len(), 511);
        let mut s = Sessions::default();
        let mut f = Facts::default();
        for n in 0..USERS_MAX + 1 {
            let long = format!("{n} {}", "x".repeat(60_000));
            f = s.join("x", facts(&[(USER, shortened(&long))]), 1, &long, 1);
        }
        for _ in 0..LINES_KEPT + 1 {
            f.keep_line(&"x".repeat(60_000));
        }
        assert_eq!((f.users.len(), f.lines.len()), (USERS_MAX, LINES_KEPT));
        assert!(f.lines.iter().chain(&f.users).all(|t| t.len() <= VALUE_MAX));
    }

    #[test]
    fn forgotten_by_word_by_time_and_by_number() {
        let mut s = Sessions::default();
        s.join("x", facts(&[(IP4, "1.2.3.4")]), 1, "a", 1);
        s.join(
            "x",
            facts(&[(MLFFORGET, "closed"), (NOFAIL, "closed")]),
            1,
            "b",
            2,
        );
        assert!(s.is_empty());
        s.join("x", facts(&[(IP4, "1.2.3.4")]), 1, "a", 1);
        for (now, known) in [(SESSION_TIME, true), (SESSION_TIME + 1, false)] {
            let f = s.clone().join("x", facts(&[(USER, "u")]), 1, "b", now);
            assert_eq!(f.get(IP4).is_some(), known, "{now}");
        }
        for n in 0..SESSIONS_MAX * 3 {
            s.join(&n.to_string(), facts(&[(IP4, "1.2.3.4")]), 1, "a", 1);
        }
        assert_eq!(s.len(), SESSIONS_MAX);
        for n in 0..SESSIONS_MAX * 3 {
            let id = n.to_string();
            s.join(&id, facts(&[(IP4, "1.2.3.4")]), 1, "a", 1);
            s.join(&id, facts(&[(MLFFORGET, "x")]), 1, "a", 1);
        }
        assert!(s.order.len() <= SESSIONS_MAX * 2 + 1);
    }
}
