//! What watch has to do with act: what it is told, what it is asked, and what waits for its
//! answers. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use daemon::log;

use crate::act::values::{Values, Who};
use crate::act::wire::Request;
use crate::f2b::jail::Subject;

/// How long a ban waits for what `ignorecommand` says, in seconds. Then it is made: a command
/// that hangs must not be an amnesty.
pub const IGNORE_WAIT: i64 = 10;
/// Bans that may wait for that at once. Beyond this they are made without asking.
pub const ASKED_MAX: usize = 1_000;
/// Names that may be looked up at once.
pub const NAMES_MAX: usize = 200;
/// Failures that may wait for one name.
pub const WAITING_MAX: usize = 20;
/// Names whose addresses are remembered.
pub const CACHE_MAX: usize = 1_000;
/// For how long, in seconds.
pub const CACHE_TIME: i64 = 300;
/// For how long it is remembered that a name has no address.
pub const CACHE_NONE_TIME: i64 = 60;
/// Between two look-ups of a host name in `ignoreip`, in seconds.
pub const REFRESH: i64 = 300;
/// Identities that are banned at once.
pub const IDS_MAX: usize = 10_000;

/// A violation, as far as it is needed once more later.
#[derive(Clone, Debug)]
pub struct Violation {
    /// When it happened.
    pub when: f64,
    /// The line.
    pub line: String,
    /// The address of a failure with an identity.
    pub address: Option<IpAddr>,
    /// What the filter's groups matched.
    pub groups: BTreeMap<String, String>,
}

/// A ban that waits for an answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The jail's number.
    pub jail: usize,
    /// Who.
    pub subject: Subject,
    /// For how long: none for ever.
    pub seconds: Option<i64>,
    /// Under which the answer is remembered.
    key: Option<String>,
    until: i64,
}

/// What a look-up is for.
#[derive(Debug)]
enum Purpose {
    Failures(Vec<(usize, Violation)>),
    Ignore(usize),
}

#[derive(Debug)]
struct Lookup {
    name: String,
    purpose: Purpose,
}

/// What an answer leads to.
#[derive(Debug)]
pub enum Learned {
    /// These failures are of these addresses.
    Addresses(String, Vec<IpAddr>, Vec<(usize, Violation)>),
    /// A name on a jail's `ignoreip` has these addresses.
    Ignore(usize, String, Vec<IpAddr>),
    /// This ban is to be made.
    Ban(Asked),
}

/// Something that has no address and is banned all the same: for custom actions only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdBan {
    /// Since.
    pub since: i64,
    /// Until; [`i64::MAX`] for ever.
    pub until: i64,
    /// For the how manyth time.
    pub count: u32,
}

/// Watch's side of it.
#[derive(Debug, Default)]
pub struct Acts {
    /// There is an act.
    pub there: bool,
    /// What it is to be told, in order.
    pub requests: Vec<Request>,
    number: u32,
    lookups: HashMap<u32, Lookup>,
    by_name: HashMap<String, u32>,
    cache: HashMap<String, (Vec<IpAddr>, i64)>,
    cached: VecDeque<String>,
    asked: HashMap<u32, Asked>,
    answers: HashMap<(usize, String), (bool, i64)>,
    answered: VecDeque<(usize, String)>,
    /// Identities that are banned, by jail.
    ids: HashMap<(usize, Box<str>), IdBan>,
    refreshed: Option<i64>,
    /// Numbers of act's: commands run, failed, killed, bans dropped.
    pub counts: [u64; 4],
    /// Failures whose name was not looked up because too many waited.
    pub unasked: u64,
}

impl Acts {
    /// Begins. `number` is drawn at random: answers to what an earlier watch has asked must fit
    /// nothing that this one asks.
    pub fn begin(&mut self, there: bool, number: u32) {
        self.there = there;
        self.number = number;
    }

    fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// The addresses of a name if they are known by now; else the failure waits for them.
    pub fn look_up(
        &mut self,
        now: i64,
        name: &str,
        jail: usize,
        violation: impl FnOnce() -> Violation,
    ) -> Option<Vec<IpAddr>> {
        if !self.there || name.len() > crate::act::wire::NAME_MAX {
            return Some(Vec::new());
        }
        if let Some((all, until)) = self.cache.get(name) {
            if *until > now {
                return Some(all.clone());
            }
        }
        let waiting = self.by_name.get(name).and_then(|n| self.lookups.get_mut(n));
        if let Some(Lookup {
            purpose: Purpose::Failures(all),
            ..
        }) = waiting
        {
            match all.len() < WAITING_MAX {
                true => all.push((jail, violation())),
                false => self.unasked += 1,
            }
            return None;
        }
        if self.lookups.len() >= NAMES_MAX {
            self.unasked += 1;
            return None;
        }
        let failures = Purpose::Failures(vec![(jail, violation())]);
        let number = self.resolve(name, failures);
        self.by_name.insert(name.to_owned(), number);
        None
    }

    fn resolve(&mut self, name: &str, purpose: Purpose) -> u32 {
        let number = self.next_number();
        let lookup = Lookup {
            name: name.to_owned(),
            purpose,
        };
        self.lookups.insert(number, lookup);
        self.requests
            .push(Request::Resolve(number, name.to_owned()));
        number
    }

    /// Names on the lists of those that are never banned are looked up now and then.
    pub fn refresh<'a>(&mut self, now: i64, names: impl Iterator<Item = (usize, &'a str)>) {
        if !self.there || self.refreshed.is_some_and(|at| now < at + REFRESH) {
            return;
        }
        self.refreshed = Some(now);
        for (jail, name) in names {
            self.resolve(name, Purpose::Ignore(jail));
        }
    }

    /// Whether addresses of names on such lists are still to come.
    #[must_use]
    pub fn awaits_ignored(&self) -> bool {
        let is = |l: &Lookup| matches!(l.purpose, Purpose::Ignore(_));
        self.lookups.values().any(is)
    }

    /// A name was added to such a list: it is looked up soon.
    pub fn names_changed(&mut self) {
        self.refreshed = None;
    }

    /// Addresses have come.
    pub fn addresses(&mut self, now: i64, number: u32, all: Vec<IpAddr>) -> Option<Learned> {
        let lookup = self.lookups.remove(&number)?;
        match lookup.purpose {
            Purpose::Ignore(jail) => Some(Learned::Ignore(jail, lookup.name, all)),
            Purpose::Failures(failures) => {
                self.by_name.remove(&lookup.name);
                let time = match all.is_empty() {
                    true => CACHE_NONE_TIME,
                    false => CACHE_TIME,
                };
                let kept = (all.clone(), now + time);
                if self.cache.insert(lookup.name.clone(), kept).is_none() {
                    self.cached.push_back(lookup.name.clone());
                }
                while self.cached.len() > CACHE_MAX {
                    if let Some(old) = self.cached.pop_front() {
                        self.cache.remove(&old);
                    }
                }
                Some(Learned::Addresses(lookup.name, all, failures))
            }
        }
    }

    /// Whether a ban of this one waits for an answer.
    #[must_use]
    pub fn is_asked(&self, jail: usize, subject: &Subject) -> bool {
        self.asked
            .values()
            .any(|a| a.jail == jail && a.subject == *subject)
    }

    /// Asks whether this one is never banned. Gives the ban back when it is to be made at once;
    /// nothing when it waits, or when the answer is known to be yes.
    pub fn ask(&mut self, now: i64, mut asked: Asked, jail: &str, v: Values) -> Option<Asked> {
        if let Some(key) = &asked.key {
            match self.answers.get(&(asked.jail, key.clone())) {
                Some((true, until)) if *until > now => return None,
                Some((false, until)) if *until > now => return Some(asked),
                _ => {}
            }
        }
        if !self.there || self.asked.len() >= ASKED_MAX {
            return Some(asked);
        }
        let number = self.next_number();
        asked.until = now + IGNORE_WAIT;
        self.asked.insert(number, asked);
        self.requests
            .push(Request::Ignore(number, jail.to_owned(), Box::new(v)));
        None
    }

    /// The answer; `cache` says how many answers of the jail are kept for how long.
    pub fn ignored(
        &mut self,
        now: i64,
        number: u32,
        ignored: bool,
        cache: &dyn Fn(usize) -> Option<(usize, i64)>,
    ) -> Option<Learned> {
        let asked = self.asked.remove(&number)?;
        if let (Some(key), Some((count, seconds))) = (&asked.key, cache(asked.jail)) {
            let at = (asked.jail, key.clone());
            if self
                .answers
                .insert(at.clone(), (ignored, now + seconds))
                .is_none()
            {
                self.answered.push_back(at);
            }
            while self.answered.iter().filter(|a| a.0 == asked.jail).count() > count {
                let Some(old) = self.answered.iter().position(|a| a.0 == asked.jail) else {
                    break;
                };
                if let Some(old) = self.answered.remove(old) {
                    self.answers.remove(&old);
                }
            }
        }
        if ignored {
            log::info("ignored")
                .kv("who", name_of(&asked.subject))
                .kv("by", "ignorecommand")
                .send();
            return None;
        }
        Some(Learned::Ban(asked))
    }

    /// Bans that have waited long enough.
    pub fn overdue(&mut self, now: i64) -> Vec<Asked> {
        let due: Vec<u32> = self
            .asked
            .iter()
            .filter(|(_, a)| a.until <= now)
            .map(|(n, _)| *n)
            .collect();
        due.iter().filter_map(|n| self.asked.remove(n)).collect()
    }

    /// Whether something waits for an answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Act has begun anew: names that its predecessor may have been asked for are asked for again.
    /// (Bans that wait for an answer wait no longer than they would have.)
    pub fn ask_again(&mut self) {
        let again = self.lookups.iter().map(|(n, l)| (*n, l.name.clone()));
        self.requests
            .extend(again.map(|(n, name)| Request::Resolve(n, name)));
        self.refreshed = None;
    }

    /// Act is gone: it will answer nothing. Bans that wait for it are to be made.
    pub fn forget(&mut self) -> Vec<Asked> {
        self.requests.clear();
        self.lookups.clear();
        self.by_name.clear();
        self.refreshed = None;
        std::mem::take(&mut self.asked).into_values().collect()
    }

    /// A ban of something without an address, if it stands.
    #[must_use]
    pub fn id(&self, jail: usize, id: &str) -> Option<IdBan> {
        self.ids.get(&(jail, id.into())).copied()
    }

    /// Bans something without an address; `false` when there are too many of them.
    pub fn ban_id(&mut self, now: i64, jail: usize, id: &str, seconds: Option<i64>) -> bool {
        if self.ids.len() >= IDS_MAX {
            return false;
        }
        let until = seconds.map_or(i64::MAX, |s| now.saturating_add(s));
        let ban = IdBan {
            since: now,
            until,
            count: 1,
        };
        self.ids.insert((jail, id.into()), ban);
        true
    }

    /// Lifts it; whether it stood.
    pub fn lift_id(&mut self, jail: Option<usize>, id: &str) -> Vec<usize> {
        let of: Vec<usize> = self
            .ids
            .keys()
            .filter(|(j, i)| **i == *id && jail.is_none_or(|only| only == *j))
            .map(|(j, _)| *j)
            .collect();
        for j in &of {
            self.ids.remove(&(*j, id.into()));
        }
        of
    }

    /// Those that are over.
    pub fn expired(&mut self, now: i64) -> Vec<(usize, Box<str>)> {
        let over: Vec<(usize, Box<str>)> = self
            .ids
            .iter()
            .filter(|(_, b)| b.until <= now)
            .map(|(k, _)| k.clone())
            .collect();
        for k in &over {
            self.ids.remove(k);
        }
        over
    }

    /// All that stand, by jail.
    pub fn ids(&self) -> impl Iterator<Item = (usize, &str, IdBan)> {
        self.ids.iter().map(|((j, id), b)| (*j, &**id, *b))
    }

    /// Whether any identity is banned: then there is something to do when time goes by.
    #[must_use]
    pub fn has_ids(&self) -> bool {
        !self.ids.is_empty()
    }
}

impl Asked {
    /// A ban that may have to wait. `key`: under which the jail remembers answers.
    #[must_use]
    pub fn new(jail: usize, subject: Subject, seconds: Option<i64>, key: Option<String>) -> Asked {
        Asked {
            jail,
            subject,
            seconds,
            key,
            until: 0,
        }
    }
}

/// Who it is, for the log.
#[must_use]
pub fn name_of(subject: &Subject) -> String {
    match subject {
        Subject::Net(p) => p.to_string(),
        Subject::Id(text) => text.to_string(),
    }
}

/// Who it is, for act.
#[must_use]
pub fn who_of(subject: &Subject) -> Who {
    match subject {
        Subject::Net(p) => Who::Net(*p),
        Subject::Id(text) => Who::Id(text.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation() -> Violation {
        Violation {
            when: 0.0,
            line: "x".to_owned(),
            address: None,
            groups: BTreeMap::new(),
        }
    }

    fn acts() -> Acts {
        Acts {
            there: true,
            ..Acts::default()
        }
    }

    fn values() -> Values {
        Values::of(Who::Net("192.0.2.1".parse().unwrap()), 0, 1)
    }

    fn ask(a: &mut Acts, now: i64, key: Option<&str>) -> Option<Asked> {
        let subject = Subject::Net("192.0.2.1".parse().unwrap());
        let asked = Asked::new(3, subject, Some(60), key.map(str::to_owned));
        a.ask(now, asked, "j", values())
    }

    #[test]
    fn names_are_looked_up_once() {
        let mut a = acts();
        for n in 0..WAITING_MAX + 1 {
            assert!(a.look_up(0, "a.example", n, violation).is_none());
        }
        assert_eq!((a.requests.len(), a.unasked), (1, 1));
        let ip: IpAddr = [192, 0, 2, 1].into();
        let Some(Learned::Addresses(_, all, waited)) = a.addresses(10, 1, vec![ip]) else {
            panic!()
        };
        assert_eq!((all, waited.len()), (vec![ip], WAITING_MAX));
        assert!(a.addresses(10, 1, vec![ip]).is_none());
        let known = |a: &mut Acts, now| a.look_up(now, "a.example", 1, violation);
        assert_eq!(known(&mut a, 10 + CACHE_TIME - 1), Some(vec![ip]));
        assert!(known(&mut a, 10 + CACHE_TIME).is_none());
        for n in 0..NAMES_MAX + 1 {
            a.look_up(1_000, &format!("n{n}.example"), 1, violation);
        }
        assert_eq!(a.lookups.len(), NAMES_MAX);
        let mut a = acts();
        for n in 0..CACHE_MAX as u32 + 1 {
            a.look_up(0, &format!("n{n}.example"), 1, violation);
            a.addresses(0, n + 1, vec![]);
        }
        assert_eq!((a.cache.len(), a.cached.len()), (CACHE_MAX, CACHE_MAX));
        // Nobody to ask: nothing is known.
        assert_eq!(Acts::default().look_up(0, "a", 1, violation), Some(vec![]));
    }

    #[test]
    fn a_ban_waits_for_an_answer_and_not_for_ever() {
        let mut a = acts();
        assert!(ask(&mut a, 100, None).is_none());
        assert!(a.is_asked(3, &Subject::Net("192.0.2.1".parse().unwrap())));
        assert!(a.overdue(100 + IGNORE_WAIT - 1).is_empty());
        assert_eq!(a.overdue(100 + IGNORE_WAIT).len(), 1);
        // Then it may still answer: nobody waits for it.
        assert!(a.ignored(200, 1, true, &|_| None).is_none());
        for n in 0..ASKED_MAX {
            assert!(ask(&mut a, 100, None).is_none(), "{n}");
        }
        assert!(ask(&mut a, 100, None).is_some());
        assert_eq!(a.forget().len(), ASKED_MAX);
        assert!(ask(&mut Acts::default(), 100, None).is_some());
    }

    #[test]
    fn answers_are_remembered_as_ignorecache_says() {
        let mut a = acts();
        let cache = |_: usize| Some((2, 60));
        assert!(ask(&mut a, 0, Some("x")).is_none());
        assert!(a.ignored(0, 1, true, &cache).is_none());
        // Known: ignored, and not asked again.
        let before = a.requests.len();
        assert!(ask(&mut a, 59, Some("x")).is_none());
        assert_eq!(a.requests.len(), before);
        assert!(ask(&mut a, 60, Some("x")).is_none());
        assert_eq!(a.requests.len(), before + 1);
        assert!(matches!(
            a.ignored(60, 2, false, &cache),
            Some(Learned::Ban(_))
        ));
        assert!(ask(&mut a, 61, Some("x")).is_some());
        for (n, key) in ["a", "b", "c"].iter().enumerate() {
            ask(&mut a, 61, Some(key));
            a.ignored(61, n as u32 + 3, false, &cache);
        }
        assert_eq!((a.answers.len(), a.answered.len()), (2, 2));
    }

    #[test]
    fn a_new_act_is_asked_again() {
        let mut a = acts();
        a.look_up(0, "a.example", 1, violation);
        let asked = std::mem::take(&mut a.requests);
        a.ask_again();
        assert_eq!(a.requests, asked);
        assert!(a.addresses(0, 1, vec![]).is_some() && a.addresses(0, 1, vec![]).is_none());
    }

    #[test]
    fn identities() {
        let mut a = acts();
        assert!(a.ban_id(0, 1, "alice", Some(60)) && a.ban_id(0, 2, "alice", None));
        assert_eq!(a.id(1, "alice").unwrap().until, 60);
        assert!(a.expired(59).is_empty());
        assert_eq!(a.expired(60), [(1, "alice".into())]);
        assert_eq!(a.lift_id(None, "alice"), [2]);
        for n in 0..IDS_MAX {
            assert!(a.ban_id(0, 1, &n.to_string(), None));
        }
        assert!(!a.ban_id(0, 1, "x", None));
    }
}
