//! Where what is seen becomes a decision, and a decision becomes work for fire and the state
//! file. The time comes in with each call.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use daemon::log;
use events::{Advice, Event, Kind};

use crate::fire::wire::Entry;
use crate::own::book::{Ban, Book, Growth};
use crate::own::judge::{Judge, Reason, Verdict};
use crate::own::never::Never;
use crate::prefix::Prefix;
use crate::state::record::Record;

/// Things seen lately that are kept to tell why somebody was banned.
const SEEN_MAX: usize = 4_096;
/// Things told of one ban.
const WHY_MAX: usize = 10;
/// Bans whose reasons are kept.
const WHYS_MAX: usize = 4_000;
/// For how long authd is to be slow about an attacked account, in seconds. The alarm comes again
/// each hour that the attack goes on.
const ADVICE_FOR: u32 = 2 * 3_600;
/// Longest line that is kept, in octets.
const LINE_KEPT: usize = 300;

/// Something that was seen. Kept once, however many bans it led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// An event of a daemon of ours.
    Event(Arc<Event>),
    /// A line of a log, cut to 300 octets.
    Line(Arc<str>),
}

/// When what was seen of whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Second.
    pub at: i64,
    /// Whose doing.
    pub who: Prefix,
    /// What.
    pub what: What,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.what {
            What::Event(e) => {
                let (service, kind) = (e.service.as_str(), e.kind.as_str());
                write!(
                    f,
                    "{} {kind} {service} from {} port {}",
                    self.at, self.who, e.port
                )
            }
            What::Line(line) => write!(f, "{} {line}", self.at),
        }
    }
}

/// Numbers for status and metrics; all only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events taken.
    pub events: u64,
    /// Events that their senders had to drop.
    pub dropped: u64,
    /// Packets on the event socket that were no event or of a foreign sender.
    pub refused: u64,
    /// Lines read.
    pub lines: u64,
    /// Lines that were passed over because they are longer than is read.
    pub too_long: u64,
    /// Violations found in lines.
    pub failures: u64,
    /// Bans that the never-ban list stopped.
    pub never: u64,
    /// Alarms: accounts guessed at from many places, passwords sprayed.
    pub alarms: u64,
    /// Bans that fire could not carry out.
    pub failed: u64,
    /// Sets in which the kernel counts connections that are full now: a present state, not a sum.
    pub full: u64,
}

/// Who asks for bans: one of our rules, a jail, the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its name.
    pub name: String,
    /// The scope of its bans: 0 for all traffic.
    pub scope: u8,
    /// It only decides.
    pub observe: bool,
    /// It has actions of its own, which are run whether or not the firewall is changed.
    pub acts: bool,
}

/// What actions have to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed {
    /// Whose actions.
    pub asker: u16,
    /// Whom it is about.
    pub prefix: Prefix,
    /// What has happened.
    pub what: Happened,
}

/// What has happened to a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is new.
    Banned(Ban),
    /// It has become longer.
    Prolonged(Ban),
    /// It is over.
    Over,
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    judge: Judge,
    /// Standing and remembered bans.
    pub book: Book,
    /// Who is never banned.
    pub never: Never,
    askers: Vec<Asker>,
    growth: Growth,
    observe: bool,
    seen: VecDeque<Seen>,
    whys: HashMap<Prefix, Vec<Seen>>,
    why_order: VecDeque<Prefix>,
    /// Numbers.
    pub counts: Counts,
    /// Bans to carry out.
    pub add: Vec<Entry>,
    /// Bans to lift.
    pub delete: Vec<Entry>,
    /// What the state file is to remember.
    pub records: Vec<Record>,
    /// What authd is to be told.
    pub advice: Vec<Advice>,
    /// What actions are to be told.
    pub deeds: Vec<Deed>,
}

/// Earlier bans of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The jail's own: standing, or remembered.
    pub own: Option<Ban>,
    /// How many there were.
    pub all: u32,
}

/// The asker of the admin's own bans.
pub const ADMIN: &str = "admin";

impl Desk {
    /// An empty one. `observe`: nothing is carried out.
    #[must_use]
    pub fn new(judge: Judge, never: Never, growth: Growth, observe: bool) -> Desk {
        let mut desk = Desk {
            judge,
            book: Book::default(),
            never,
            askers: Vec::new(),
            growth,
            observe,
            seen: VecDeque::new(),
            whys: HashMap::new(),
            why_order: VecDeque::new(),
            counts: Counts::default(),
            add: Vec::new(),
            delete: Vec::new(),
            records: Vec::new(),
            advice: Vec::new(),
            deeds: Vec::new(),
        };
        for reason in Reason::ALL {
            desk.asker(reason.as_str(), 0, false);
        }
        desk.asker(ADMIN, 0, false);
        desk
    }

    /// The number of an asker, entered if it is new.
    pub fn asker(&mut self, name: &str, scope: u8, observe: bool) -> u16 {
        let at = self
            .askers
            .iter()
            .position(|a| a.name == name)
            .unwrap_or_else(|| {
                self.askers.push(Asker {
                    name: name.to_owned(),
                    scope,
                    observe,
                    acts: false,
                });
                self.askers.len() - 1
            });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// From now on this asker only decides.
    pub fn observe_asker(&mut self, name: &str) {
        for a in self.askers.iter_mut().filter(|a| a.name == name) {
            a.observe = true;
        }
    }

    /// This asker has actions of its own.
    pub fn acting(&mut self, asker: u16) {
        if let Some(a) = self.askers.get_mut(usize::from(asker)) {
            a.acts = true;
        }
    }

    /// An asker by number.
    #[must_use]
    pub fn asker_of(&self, number: u16) -> Option<&Asker> {
        self.askers.get(usize::from(number))
    }

    /// All askers, in order.
    #[must_use]
    pub fn askers(&self) -> &[Asker] {
        &self.askers
    }

    /// The number of an asker by name.
    #[must_use]
    pub fn find_asker(&self, name: &str) -> Option<u16> {
        self.askers
            .iter()
            .position(|a| a.name == name)
            .and_then(|n| u16::try_from(n).ok())
    }

    /// Whether nothing is carried out.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.observe
    }

    /// There is no right to change the firewall: from now on nothing is carried out.
    pub fn only_observe(&mut self) {
        self.observe = true;
        self.book.only_observe();
        self.add.clear();
        self.delete.clear();
    }

    /// What our own rules remember.
    #[must_use]
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Drops what no longer matters; once an hour or so.
    pub fn tidy(&mut self, now: i64) {
        self.judge.tidy(now);
    }

    /// Takes a record of the state file. `names` are the askers' names of that file by number;
    /// askers that are gone keep their name and lose their scope.
    pub fn restore(&mut self, now: i64, record: Record, names: &mut HashMap<u16, String>) {
        match record {
            Record::Name(number, name) => {
                names.insert(number, name);
            }
            Record::Ban(prefix, mut ban) => {
                let name = names.get(&ban.jail).map_or("unknown", String::as_str);
                ban.jail = self.asker(name, 0, false);
                let asker = self.askers.get(usize::from(ban.jail));
                ban.enforced = !self.observe && asker.is_none_or(|a| !a.observe);
                // The list may have grown since.
                if self.never.forbids(prefix).is_none() {
                    self.book.restore(prefix, ban);
                    while self.book.expired(now).is_some() {}
                }
            }
            Record::Lift(prefix) => self.book.forget(prefix),
            Record::Good(prefix, good) => {
                self.judge
                    .logged_in(good.last.min(now), prefix, good.account);
            }
            Record::Position { .. } => {}
        }
    }

    /// Every record that still holds, for a state file made anew.
    pub fn snapshot(&self, now: i64, each: &mut dyn FnMut(&Record)) {
        for (n, a) in self.askers.iter().enumerate() {
            each(&Record::Name(
                u16::try_from(n).unwrap_or(u16::MAX),
                a.name.clone(),
            ));
        }
        for (prefix, ban) in self.book.iter() {
            each(&Record::Ban(prefix, ban));
        }
        for (prefix, good) in self.judge.all_good(now) {
            each(&Record::Good(prefix, good));
        }
    }

    /// What is to stand in the firewall now.
    #[must_use]
    pub fn enforced(&self, now: i64) -> Vec<Entry> {
        self.book
            .iter()
            .filter(|(_, b)| b.stands && b.enforced && b.until > now)
            .map(|(prefix, b)| Entry {
                scope: self.scope_of(b.jail),
                prefix,
                seconds: left(&b, now),
            })
            .collect()
    }

    fn remember(&mut self, seen: Seen) {
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    /// An event of a daemon.
    pub fn event(&mut self, now: i64, event: &Event) {
        self.counts.events += 1;
        let host = Prefix::host(event.address);
        if !matches!(event.kind, Kind::Connect | Kind::AuthOk | Kind::RcptOk) {
            self.remember(Seen {
                at: now,
                who: host,
                what: What::Event(Arc::new(*event)),
            });
        }
        if event.kind == Kind::AuthOk {
            // Often enough to be remembered, seldom enough not to fill the file.
            let customer = if host.is_v4() { host } else { host.widen(64) };
            let last = self.judge.good(now, customer).map_or(0, |g| g.last);
            if now - last >= 3_600 {
                let good = crate::own::judge::Good {
                    last: now,
                    account: event.account.map_or(0, |a| a.number()),
                };
                self.records.push(Record::Good(customer, good));
            }
        }
        let mut verdicts = [None, None, None];
        let mut n = 0;
        self.judge.event(now, event, &self.never, &mut |v| {
            if let Some(place) = verdicts.get_mut(n) {
                *place = Some(v);
                n += 1;
            }
        });
        for verdict in verdicts.into_iter().flatten() {
            match verdict {
                Verdict::Ban { prefix, reason } => {
                    let asker = self.asker(reason.as_str(), 0, false);
                    let seconds = self
                        .growth
                        .seconds(self.book.count(prefix, asker).saturating_add(1));
                    self.ban(now, prefix, Some(seconds), asker);
                }
                Verdict::Attacked { account, places } => {
                    self.counts.alarms += 1;
                    self.advice.extend(Advice::new(account, ADVICE_FOR));
                    log::warning("account-attacked")
                        .kv("account", format!("{account:016x}"))
                        .val("networks", places)
                        .send();
                }
                Verdict::Sprayed { accounts } => {
                    self.counts.alarms += 1;
                    log::warning("password-sprayed")
                        .val("accounts", accounts)
                        .send();
                }
            }
        }
    }

    /// A violation that a line of a log told of.
    pub fn line(&mut self, now: i64, who: Prefix, line: &str) {
        self.counts.failures += 1;
        let mut end = line.len().min(LINE_KEPT);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let what = What::Line(line.get(..end).unwrap_or("").into());
        self.remember(Seen { at: now, who, what });
    }

    /// Bans a network; `false` when it may not be, or is already.
    pub fn ban(&mut self, now: i64, prefix: Prefix, seconds: Option<i64>, asker: u16) -> bool {
        if let Some(why) = self.never.forbids(prefix) {
            self.counts.never += 1;
            log::info("never")
                .val("prefix", prefix)
                .kv("why", why.as_str())
                .send();
            return false;
        }
        let Some(who) = self.askers.get(usize::from(asker)) else {
            return false;
        };
        let (name, scope, acts) = (who.name.clone(), who.scope, who.acts);
        let enforced = !self.observe && !who.observe;
        let stood = acts && self.book.get(prefix, asker).is_some_and(|b| b.stands);
        let Some(ban) = self.book.ban(now, prefix, seconds, asker, enforced) else {
            return false;
        };
        if enforced {
            // Another jail's ban of the same traffic may last longer.
            let seconds = self.lasting(now, prefix, scope).unwrap_or(left(&ban, now));
            self.add.push(Entry {
                scope,
                prefix,
                seconds,
            });
        }
        if acts {
            let what = match stood {
                true => Happened::Prolonged(ban),
                false => Happened::Banned(ban),
            };
            self.deeds.push(Deed {
                asker,
                prefix,
                what,
            });
        }
        self.records.push(Record::Ban(prefix, ban));
        log::info("ban")
            .val("prefix", prefix)
            .kv("jail", &name)
            .val("count", ban.count)
            .kv("seconds", seconds.map_or("-".to_owned(), |s| s.to_string()))
            .kv(
                "enforced",
                match (enforced, acts) {
                    (true, _) => "yes",
                    (false, true) => "by its actions",
                    (false, false) => "no: observing",
                },
            )
            .send();
        let mut why: Vec<Seen> = self
            .seen
            .iter()
            .rev()
            .filter(|s| prefix.covers(s.who))
            .take(WHY_MAX)
            .cloned()
            .collect();
        why.reverse();
        if self.whys.insert(prefix, why).is_none() {
            self.why_order.push_back(prefix);
        }
        if self.why_order.len() > WHYS_MAX {
            if let Some(oldest) = self.why_order.pop_front() {
                self.whys.remove(&oldest);
            }
        }
        true
    }

    /// The scope of an asker's bans.
    fn scope_of(&self, asker: u16) -> u8 {
        self.askers.get(usize::from(asker)).map_or(0, |a| a.scope)
    }

    /// For how many seconds the firewall is to shut this network out of a scope, by whichever
    /// jail; `None` when no ban of it is enforced.
    fn lasting(&self, now: i64, prefix: Prefix, scope: u8) -> Option<u32> {
        self.book
            .of(prefix)
            .filter(|b| b.stands && b.enforced && self.scope_of(b.jail) == scope)
            .map(|b| left(&b, now))
            .max()
    }

    /// A jail's earlier bans of this network: how many, when the last began, when it ends or
    /// ended. With `everywhere`, bans of other jails are added to the first number.
    #[must_use]
    pub fn earlier(&self, prefix: Prefix, asker: u16, everywhere: bool) -> Option<Earlier> {
        let own = self.book.get(prefix, asker);
        let count = own.map_or(0, |b| b.count);
        let all = if everywhere {
            let sum: u32 = self.book.of(prefix).map(|b| u32::from(b.count)).sum();
            sum
        } else {
            u32::from(count)
        };
        (all > 0).then_some(Earlier { own, all })
    }

    /// Lifts every ban of exactly this network, or those of one asker; how many there were.
    pub fn lift(&mut self, now: i64, prefix: Prefix, asker: Option<u16>) -> usize {
        let standing: Vec<Ban> = self
            .book
            .of(prefix)
            .filter(|b| b.stands && asker.is_none_or(|a| a == b.jail))
            .collect();
        for ban in &standing {
            self.book.lift(prefix, ban.jail);
            self.over(prefix, ban.jail);
        }
        let mut scopes: Vec<u8> = standing.iter().map(|b| self.scope_of(b.jail)).collect();
        scopes.sort_unstable();
        scopes.dedup();
        for scope in scopes {
            let entry = |seconds| Entry {
                scope,
                prefix,
                seconds,
            };
            // What another jail still wants stays, for as long as that one wants it.
            match self.lasting(now, prefix, scope) {
                Some(seconds) => self.add.push(entry(seconds)),
                None => self.delete.push(entry(1)),
            }
        }
        if !standing.is_empty() {
            self.records.push(Record::Lift(prefix));
            let left = self.book.of(prefix).map(|b| Record::Ban(prefix, b));
            self.records.extend(left);
            log::info("unban").val("prefix", prefix).send();
        }
        standing.len()
    }

    /// Lifts every ban, or all of one asker; how many there were.
    pub fn lift_all(&mut self, now: i64, asker: Option<u16>) -> usize {
        let mut all: Vec<Prefix> = self
            .book
            .iter()
            .filter(|(_, b)| b.stands && asker.is_none_or(|a| a == b.jail))
            .map(|(p, _)| p)
            .collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().map(|p| self.lift(now, p, asker)).sum()
    }

    fn over(&mut self, prefix: Prefix, asker: u16) {
        if self.askers.get(usize::from(asker)).is_some_and(|a| a.acts) {
            self.deeds.push(Deed {
                asker,
                prefix,
                what: Happened::Over,
            });
        }
    }

    /// Ends what is over. The kernel has taken it out of the table by itself.
    pub fn expire(&mut self, now: i64) {
        while let Some(ended) = self.book.expired(now) {
            log::info("expired")
                .val("prefix", ended.prefix)
                .val("count", ended.ban.count)
                .send();
            self.over(ended.prefix, ended.ban.jail);
        }
    }

    /// What led to the ban of this network.
    #[must_use]
    pub fn why(&self, prefix: Prefix) -> &[Seen] {
        self.whys.get(&prefix).map_or(&[], Vec::as_slice)
    }

    /// What was lately seen of an address or network, oldest first.
    #[must_use]
    pub fn lately(&self, prefix: Prefix) -> Vec<&Seen> {
        let mut all: Vec<&Seen> = self
            .seen
            .iter()
            .rev()
            .filter(|s| prefix.covers(s.who))
            .take(WHY_MAX)
            .collect();
        all.reverse();
        all
    }
}

/// Seconds that a ban has left, at least one.
fn left(ban: &Ban, now: i64) -> u32 {
    if ban.until == i64::MAX {
        return Entry::FOR_EVER;
    }
    u32::try_from((ban.until - now).max(1)).unwrap_or(Entry::FOR_EVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::record;

    fn desk() -> Desk {
        Desk::new(
            Judge::new(7, 1),
            Never::new(&[], false),
            Growth::default(),
            false,
        )
    }

    fn fail(desk: &mut Desk, now: i64, address: &str, n: u64) {
        let event = Event {
            service: events::Service::Pop3,
            kind: Kind::AuthFail,
            address: address.parse().unwrap(),
            port: 1,
            account: Some(events::Account::of("alice")),
            secret: Some(events::Secret::of(1, &n.to_be_bytes())),
            session: 1,
            count: 1,
        };
        desk.event(now, &event);
    }

    #[test]
    fn from_events_to_work_and_back_from_the_state_file() {
        let mut d = desk();
        for n in 0..5 {
            fail(&mut d, 1_000, "203.0.113.9", n);
        }
        let who: Prefix = "203.0.113.9".parse().unwrap();
        assert_eq!(
            d.add,
            [Entry {
                scope: 0,
                prefix: who,
                seconds: 600
            }]
        );
        assert_eq!(d.why(who).len(), 5);
        assert!(
            d.why(who)[0]
                .to_string()
                .contains("auth-fail pop3 from 203.0.113.9")
        );
        let mut octets = Vec::new();
        d.snapshot(1_000, &mut |r| r.encode(&mut octets));
        let mut again = desk();
        let mut names = HashMap::new();
        record::read(&octets, &mut |r| again.restore(1_100, r, &mut names));
        assert_eq!(
            again.enforced(1_100),
            [Entry {
                scope: 0,
                prefix: who,
                seconds: 500
            }]
        );
        again.expire(1_600);
        assert!(again.enforced(1_600).is_empty());
        // The second one is longer.
        for n in 10..15 {
            fail(&mut again, 1_700, "203.0.113.9", n);
        }
        assert_eq!(again.add[0].seconds, 2_400);
        assert_eq!(again.lift(1_701, who, None), 1);
        assert_eq!(again.lift(1_702, who, None), 0);
        assert_eq!(again.delete.len(), 1);
    }

    #[test]
    fn each_jail_bans_for_itself_and_the_firewall_keeps_the_longest() {
        let mut d = desk();
        let (a, b, c) = (
            d.asker("a", 0, false),
            d.asker("b", 0, false),
            d.asker("c", 3, false),
        );
        let who: Prefix = "203.0.113.9".parse().unwrap();
        let entry = |scope, seconds| Entry {
            scope,
            prefix: who,
            seconds,
        };
        assert!(d.ban(1_000, who, Some(600), a));
        assert!(d.ban(1_100, who, Some(100), b), "a's ban does not hide it");
        assert!(d.ban(1_100, who, Some(100), c));
        assert_eq!(
            std::mem::take(&mut d.add),
            [entry(0, 600), entry(0, 500), entry(3, 100)]
        );
        let counts = |d: &Desk, asker, all| d.earlier(who, asker, all).map(|e| e.all);
        assert_eq!(counts(&d, a, false), Some(1));
        assert_eq!(counts(&d, a, true), Some(3));
        let never = d.asker("never", 0, false);
        assert_eq!(counts(&d, never, false), None);
        assert_eq!(counts(&d, never, true), Some(3));
        // Of two jails with the same traffic the other one's ban stays, with its own time.
        d.records.clear();
        assert_eq!(d.lift(1_150, who, Some(a)), 1);
        assert_eq!(std::mem::take(&mut d.add), [entry(0, 50)]);
        assert!(d.delete.is_empty());
        assert_eq!(counts(&d, a, false), None, "what was lifted is forgotten");
        assert_eq!(d.lift(1_150, who, None), 2);
        assert_eq!(std::mem::take(&mut d.delete), [entry(0, 1), entry(3, 1)]);
        // The state file tells the same.
        let mut again = desk();
        let (mut octets, mut names) = (Vec::new(), HashMap::new());
        for (n, asker) in d.askers().iter().enumerate() {
            Record::Name(n as u16, asker.name.clone()).encode(&mut octets);
        }
        assert!(d.ban(1_200, who, Some(600), b));
        assert!(d.ban(1_200, who, Some(700), c));
        assert_eq!(d.lift(1_201, who, Some(c)), 1);
        for r in &d.records {
            r.encode(&mut octets);
        }
        record::read(&octets, &mut |r| again.restore(1_300, r, &mut names));
        assert_eq!(again.enforced(1_300), [entry(0, 500)]);
        assert_eq!(again.book.records(), 1);
    }

    #[test]
    fn observing_decides_and_does_nothing() {
        let mut d = Desk::new(
            Judge::new(7, 1),
            Never::new(&[], true),
            Growth::default(),
            true,
        );
        for n in 0..5 {
            fail(&mut d, 1_000, "127.0.0.9", n);
        }
        assert!(d.add.is_empty());
        assert_eq!(d.book.standing_count(), 1);
        let mut d = desk();
        for n in 0..50 {
            fail(&mut d, 1_000, "127.0.0.9", n);
        }
        assert_eq!(d.book.standing_count(), 0);
        let admin = d.find_asker(ADMIN).unwrap();
        assert!(!d.ban(1_000, "127.0.0.0/30".parse().unwrap(), None, admin));
        assert_eq!(d.counts.never, 1);
    }
}
