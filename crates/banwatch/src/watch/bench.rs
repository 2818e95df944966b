//! A violation before its jail: counted, and when it is one too many, a ban; with what has to be
//! asked first (host names, `ignorecommand`) and told afterwards (actions).

use std::collections::BTreeMap;
use std::net::IpAddr;

use daemon::log;

use super::acts::{Acts, Asked, IdBan, Violation, name_of, who_of};
use super::desk::{Deed, Desk, Happened};
use super::jails::Running;
use crate::act::tag::Tag;
use crate::act::values::{Values, Who};
use crate::act::wire::Request;
use crate::f2b::failregex::UseDns;
use crate::f2b::filter::{self, Failure};
use crate::f2b::jail::{Decision, History, Past, Subject};
use crate::f2b::session::{FID, KNOWN};
use crate::prefix::Prefix;

/// The jails at work at one moment.
pub struct Bench<'a> {
    /// The jails.
    pub all: &'a mut [Running],
    /// What act is told and asked.
    pub acts: &'a mut Acts,
    /// Where bans are made.
    pub desk: &'a mut Desk,
    /// Seconds since 1970.
    pub now: f64,
    /// A random number from 0 to 1.
    pub chance: f64,
}

impl Bench<'_> {
    fn second(&self) -> i64 {
        self.now as i64
    }

    /// A filter of jail `at` has found something. `names` are the filter's own groups.
    pub fn found(&mut self, at: usize, names: &[String], line: &[u8], failure: Failure) {
        let Some(j) = self.all.get(at) else { return };
        let when = failure.time.unwrap_or(self.now);
        let (acts, dns) = (j.acts, j.conf.usedns);
        let wants_more = acts || j.asks;
        let violation = || Violation {
            when,
            line: String::from_utf8_lossy(line).into_owned(),
            address: None,
            groups: match wants_more {
                true => groups(&failure, names),
                false => BTreeMap::new(),
            },
        };
        match &failure.who {
            filter::Who::Address { ip, prefix } => {
                let who = match prefix {
                    Some(n) => Prefix::new(*ip, *n).unwrap_or(Prefix::host(*ip)),
                    None => Prefix::host(*ip),
                };
                self.failed(at, Subject::Net(who), &violation());
            }
            filter::Who::Host(name) => match dns {
                UseDns::No => {}
                UseDns::Raw if acts => {
                    let subject = Subject::Id(name.as_str().into());
                    self.failed(at, subject, &violation());
                }
                UseDns::Raw => {}
                UseDns::Yes | UseDns::Warn => {
                    let second = self.second();
                    let known = self.acts.look_up(second, name, at, violation);
                    if let Some(all) = known {
                        let v = violation();
                        self.named(name, &all, &[(at, v)]);
                    }
                }
            },
            // What stands where an address should and is none is nobody. An identity that the
            // filter asks for can be banned by actions that know what to do with it.
            filter::Who::Id(id) => {
                if acts && failure.facts.has(FID) {
                    let mut v = violation();
                    v.address = address_of(&failure);
                    self.failed(at, Subject::Id(id.as_str().into()), &v);
                }
            }
        }
    }

    /// Failures of a host name, whose addresses are these.
    pub fn named(&mut self, name: &str, addresses: &[IpAddr], failures: &[(usize, Violation)]) {
        for (at, v) in failures {
            let warns = self
                .all
                .get(*at)
                .is_some_and(|j| j.conf.usedns == UseDns::Warn);
            if warns && !addresses.is_empty() {
                let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
                log::warning("name")
                    .kv("name", name)
                    .kv("addresses", texts.join(","))
                    .kv("state", "an address was found by its name")
                    .send();
            }
            for ip in addresses {
                self.failed(*at, Subject::Net(Prefix::host(*ip)), v);
            }
        }
    }

    /// Counts a violation.
    fn failed(&mut self, at: usize, subject: Subject, v: &Violation) {
        let second = self.second();
        let Some(j) = self.all.get_mut(at) else {
            return;
        };
        j.found += 1;
        let mut history = History::default();
        match &subject {
            Subject::Net(who) => {
                self.desk.line(second, *who, &v.line);
                // The book at the desk is the only memory of earlier bans.
                if let Some(past) = past(j, self.desk, *who) {
                    history.set(subject.clone(), past);
                }
            }
            Subject::Id(id) => {
                self.desk.counts.failures += 1;
                if let Some(ban) = self.acts.id(at, id) {
                    history.set(subject.clone(), past_of(ban));
                }
            }
        }
        if j.asks && self.acts.is_asked(at, &subject) {
            return;
        }
        if j.acts || j.asks {
            let who = who_of(&subject);
            j.kept.failed(&who, &v.line, v.address, v.groups.clone());
        }
        match j
            .jail
            .failure(&subject, v.when, self.now, self.chance, &mut history)
        {
            Decision::Ban { time, .. } => {
                let seconds = time.map(|t| (t.ceil() as i64).max(1));
                self.decided(at, subject, seconds);
            }
            Decision::Ignored | Decision::TooOld | Decision::Banned | Decision::Counted(_) => {}
        }
    }

    /// A ban is due; there may be somebody to ask first.
    fn decided(&mut self, at: usize, subject: Subject, seconds: Option<i64>) {
        let second = self.second();
        let Some(j) = self.all.get(at) else { return };
        if !j.asks {
            return self.ban(&Asked::new(at, subject, seconds, None));
        }
        let mut v = Values::of(who_of(&subject), second, seconds.unwrap_or(-1));
        self.fill(at, &mut v);
        let cache = j.conf.ignorecache.as_ref();
        let key = cache.map(|c| key_of(&c.key, &v));
        let name = j.conf.name.clone();
        let asked = Asked::new(at, subject, seconds, key);
        if let Some(asked) = self.acts.ask(second, asked, &name, v) {
            self.ban(&asked);
        }
    }

    /// Makes a ban about which everybody has been asked.
    pub fn ban(&mut self, asked: &Asked) {
        let second = self.second();
        let Some(j) = self.all.get_mut(asked.jail) else {
            return;
        };
        match &asked.subject {
            Subject::Net(who) => {
                let made = self.desk.ban(second, *who, asked.seconds, j.asker);
                j.banned += u64::from(made);
            }
            Subject::Id(id) => {
                if !self.acts.ban_id(second, asked.jail, id, asked.seconds) {
                    return;
                }
                j.banned += 1;
                log::info("ban")
                    .kv("id", &**id)
                    .kv("jail", &j.conf.name)
                    .kv("enforced", "by its actions")
                    .send();
                let name = j.conf.name.clone();
                let who = Who::Id(id.clone());
                let mut v = Values::of(who, second, asked.seconds.unwrap_or(-1));
                self.fill(asked.jail, &mut v);
                self.tell(asked.jail, Request::Ban(name, Box::new(v)));
            }
        }
    }

    /// Fills in what is known of who is banned.
    fn fill(&self, at: usize, v: &mut Values) {
        let Some(j) = self.all.get(at) else { return };
        j.kept.fill(v);
        if v.failures[0] == 0 {
            // By hand, or so long ago that it was forgotten.
            v.failures[0] = 1;
        }
        v.jail = [0, j.banned, j.jail.failing() as u64, j.found];
        let others = self.all.iter().enumerate().filter(|(n, _)| *n != at);
        let others: Vec<(String, u32)> = others.filter_map(|(_, o)| o.kept.of(&v.who)).collect();
        v.failures[1] = v.failures[2].saturating_add(others.iter().map(|o| o.1).sum());
        if !others.is_empty() {
            let lines = others.into_iter().map(|o| o.0);
            let all: Vec<String> = std::iter::once(v.lines[2].clone())
                .chain(lines)
                .filter(|l| !l.is_empty())
                .collect();
            v.lines[1] = all.join("\n");
        }
        v.bound();
    }

    fn tell(&mut self, at: usize, request: Request) {
        if let (Request::Ban(_, v), Some(j)) = (&request, self.all.get_mut(at)) {
            j.kept.banned(&v.who);
        }
        if self.acts.there {
            self.acts.requests.push(request);
        }
    }

    /// What the desk has done goes to act.
    pub fn carry(&mut self) {
        for deed in std::mem::take(&mut self.desk.deeds) {
            self.deed(deed);
        }
    }

    fn deed(&mut self, deed: Deed) {
        let found = self.all.iter().position(|j| j.asker == deed.asker);
        let Some(at) = found else { return };
        let Some(name) = self.all.get(at).map(|j| j.conf.name.clone()) else {
            return;
        };
        let who = Who::Net(deed.prefix);
        let request = match deed.what {
            Happened::Over => Request::Unban(name, who),
            Happened::Banned(ban) | Happened::Prolonged(ban) => {
                let mut v = Values::of(who, ban.since, length(ban.since, ban.until));
                v.count = u32::from(ban.count);
                self.fill(at, &mut v);
                let v = Box::new(v);
                match deed.what {
                    Happened::Prolonged(_) => Request::Prolong(name, v),
                    _ => Request::Ban(name, v),
                }
            }
        };
        self.tell(at, request);
    }
}

/// A ban's length, -1 for ever.
pub(super) fn length(since: i64, until: i64) -> i64 {
    match until {
        i64::MAX => -1,
        until => (until - since).max(1),
    }
}

/// A jail's earlier bans of a network.
fn past(j: &Running, desk: &Desk, who: Prefix) -> Option<Past> {
    let growth = j.jail.rules().growth.as_ref();
    let everywhere = growth.is_some_and(|g| g.overalljails);
    let earlier = desk.earlier(who, j.asker, everywhere)?;
    // Only this jail's own ban can stand in the way of another.
    Some(Past {
        count: earlier.own.map_or(0, |b| u32::from(b.count)),
        everywhere: earlier.all,
        since: earlier.own.map_or(f64::NEG_INFINITY, |b| b.since as f64),
        until: earlier.own.map_or(f64::NEG_INFINITY, |b| time(b.until)),
    })
}

fn past_of(ban: IdBan) -> Past {
    Past {
        count: ban.count,
        everywhere: ban.count,
        since: ban.since as f64,
        until: time(ban.until),
    }
}

fn time(second: i64) -> f64 {
    match second {
        i64::MAX => f64::INFINITY,
        t => t as f64,
    }
}

/// The key under which `ignorecache` keeps an answer: its tags filled in.
fn key_of(key: &str, v: &Values) -> String {
    let mut out = String::new();
    let mut rest = key;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        match after.split_once('>') {
            Some((name, tail)) if Tag::parse(name).is_some() => {
                out.push_str(&Tag::parse(name).map_or(String::new(), |t| v.get(&t)));
                rest = tail;
            }
            _ => {
                out.push('<');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// What the groups of a filter matched, by name.
fn groups(failure: &Failure, names: &[String]) -> BTreeMap<String, String> {
    let name = |n: u16| match KNOWN.get(usize::from(n)) {
        Some(known) => Some((*known).to_owned()),
        None => names.get(usize::from(n) - KNOWN.len()).cloned(),
    };
    let values = failure.facts.values.iter();
    values
        .filter_map(|(n, v)| name(*n).map(|n| (n, v.clone())))
        .filter(|(n, _)| n != "content")
        .collect()
}

/// The address in a line whose failure is known by something else.
fn address_of(failure: &Failure) -> Option<IpAddr> {
    use crate::f2b::session::{IP4, IP6};
    let text = failure.facts.get(IP4).or(failure.facts.get(IP6))?;
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// For the log: a ban of something without an address is over.
pub(super) fn over(subject: &Subject, jail: &str) {
    log::info("expired")
        .kv("id", name_of(subject))
        .kv("jail", jail)
        .send();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_cache() {
        let mut v = Values::of(Who::Net("192.0.2.1".parse().unwrap()), 0, 1);
        v.groups.insert("user".to_owned(), "<ip>".to_owned());
        for (key, want) in [
            ("<ip>", "192.0.2.1"),
            ("<F-USER>@<ip>", "<ip>@192.0.2.1"),
            ("<x> <", "<x> <"),
            ("", ""),
        ] {
            assert_eq!(key_of(key, &v), want);
        }
    }
}
