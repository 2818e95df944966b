//! fail2ban's jails at work: lines in, failures counted, bans asked for at the desk.

use std::collections::HashMap;

use daemon::log;

use super::acts::{Acts, Asked, IdBan, Learned};
use super::bench::{self, Bench, length};
use super::desk::Desk;
use super::kept::Kept;
use crate::act::plan::JailPlan;
use crate::act::values::{Values, Who};
use crate::act::wire::{Answer, Request};
use crate::date::Zone;
use crate::f2b::jail::{Jail, Rules, Subject};
use crate::f2b::jail_conf::{JailConf, Native};
use crate::f2b::session::OWN;
use crate::f2b::watch::Watch;
use crate::fire::wire::PORTS_MAX;
use crate::prefix::Prefix;
use crate::source::encoding::Encoding;

/// A jail and what it counts.
#[derive(Debug)]
pub struct Running {
    /// What its section says.
    pub conf: JailConf,
    /// Its number at the desk.
    pub asker: u16,
    pub(super) jail: Jail,
    /// Violations found.
    pub found: u64,
    /// Bans asked for.
    pub banned: u64,
    /// It has actions of its own.
    pub acts: bool,
    /// It has an `ignorecommand`.
    pub asks: bool,
    pub(super) kept: Kept,
}

impl Running {
    /// When and how long.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        self.jail.rules()
    }
}

/// All jails, and a reader for each log.
#[derive(Debug, Default)]
pub struct Jails {
    all: Vec<Running>,
    readers: Vec<Reader>,
    /// TCP ports by scope, from 1.
    ports: Vec<Vec<u16>>,
    /// What act is told and asked.
    pub acts: Acts,
}

#[derive(Debug)]
struct Reader {
    watch: Watch,
    /// The jail of each filter, by the filter's index, and the names of the filter's own groups
    /// where somebody wants to know them.
    jails: Vec<(usize, Vec<String>)>,
    /// Whom it was made for, and whether it looks for dates.
    made_for: (Vec<usize>, bool),
    /// The reader of those of them that read the log in another encoding.
    next: Option<usize>,
}

/// Port numbers by service name, from the text of /etc/services.
#[must_use]
pub fn services(text: &str) -> HashMap<String, u16> {
    let mut all = HashMap::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("");
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(port)) = (words.next(), words.next()) else {
            continue;
        };
        let Some(port) = port.strip_suffix("/tcp").and_then(|p| p.parse().ok()) else {
            continue;
        };
        for name in std::iter::once(name).chain(words) {
            all.entry(name.to_owned()).or_insert(port);
        }
    }
    all
}

/// The ports of a jail as numbers; `None` when it means all of them, or more than a set of ours
/// takes.
fn ports_of(words: &[String], services: &HashMap<String, u16>) -> Option<Vec<u16>> {
    let mut all = Vec::new();
    for word in words {
        let number = |t: &str| t.parse().ok().or_else(|| services.get(t).copied());
        match word.split_once([':', '-']) {
            Some((from, to)) if number(word).is_none() => {
                let (from, to) = (number(from)?, number(to)?);
                if usize::from(to.saturating_sub(from)) >= PORTS_MAX {
                    return None;
                }
                all.extend(from..=to);
            }
            _ => all.push(number(word)?),
        }
    }
    all.sort_unstable();
    all.dedup();
    (!all.is_empty() && all.len() <= PORTS_MAX).then_some(all)
}

impl Jails {
    /// Takes a jail, with what act runs for it, and enters it at the desk. Gives its index.
    pub fn add(
        &mut self,
        conf: JailConf,
        plan: &JailPlan,
        services: &HashMap<String, u16>,
        desk: &mut Desk,
    ) -> usize {
        let native = conf.actions.iter().find_map(|a| a.native);
        let scope = match native {
            Some(Native::Ports) => match ports_of(&conf.ports, services) {
                Some(ports) => self.scope(ports),
                None => 0,
            },
            _ => 0,
        };
        let wants = |v: &String| {
            ["1", "on", "true", "yes"]
                .iter()
                .any(|t| v.eq_ignore_ascii_case(t))
        };
        let observe = conf.options.get("observe").is_some_and(wants);
        let asker = desk.asker(&conf.name, scope, native.is_none() || observe);
        let jail = Jail::new(conf.rules.clone());
        let acts = !plan.actions.is_empty() && !observe;
        if acts {
            desk.acting(asker);
        }
        let asks = plan.ignore.is_some();
        self.all.push(Running {
            asker,
            jail,
            found: 0,
            banned: 0,
            acts,
            asks,
            kept: Kept::new(conf.maxmatches),
            conf,
        });
        self.all.len() - 1
    }

    fn scope(&mut self, ports: Vec<u16>) -> u8 {
        let at = self
            .ports
            .iter()
            .position(|p| *p == ports)
            .unwrap_or_else(|| {
                if self.ports.len() < 255 {
                    self.ports.push(ports);
                    self.ports.len() - 1
                } else {
                    usize::from(u8::MAX)
                }
            });
        // Beyond 255 different lists of ports a ban is for all of them.
        u8::try_from(at + 1).unwrap_or(0)
    }

    /// The ports of each scope, from scope 1.
    #[must_use]
    pub fn ports(&self) -> &[Vec<u16>] {
        &self.ports
    }

    /// The jails.
    #[must_use]
    pub fn all(&self) -> &[Running] {
        &self.all
    }

    /// A reader for a log and the jails that read it; all logs of the same jails share one, also
    /// the one that was turned and the one that follows it. A jail whose filter can't be taken
    /// over is named in the log and left out.
    pub fn reader(&mut self, jails: &[usize], dated: bool, zone: Zone, now: i64) -> usize {
        let made_for = (jails.to_vec(), dated);
        if let Some(at) = self.readers.iter().position(|r| r.made_for == made_for) {
            return at;
        }
        let mut left = jails.to_vec();
        let mut next = None;
        loop {
            // Those that read it in one encoding; what the journal gives out is UTF-8.
            let of = |at: usize| match self.all.get(at) {
                Some(j) if dated => j.conf.logencoding,
                _ => Encoding::default(),
            };
            let encoding = left.last().map_or_else(Encoding::default, |at| of(*at));
            let (same, others) = left.iter().partition(|at| of(**at) == encoding);
            left = others;
            let first = left.is_empty();
            let made_for = match first {
                true => made_for.clone(),
                false => (Vec::new(), dated),
            };
            let at = self.part(same, (encoding, dated), zone.clone(), now, made_for, next);
            if first {
                return at;
            }
            next = Some(at);
        }
    }

    fn part(
        &mut self,
        jails: Vec<usize>,
        (encoding, dated): (Encoding, bool),
        zone: Zone,
        now: i64,
        made_for: (Vec<usize>, bool),
        next: Option<usize>,
    ) -> usize {
        let mut reader = Reader {
            watch: Watch::new(zone, now),
            jails: Vec::new(),
            made_for,
            next,
        };
        reader.watch.set_encoding(encoding);
        for at in &jails {
            let Some(j) = self.all.get(*at) else { continue };
            let timezone = j.conf.logtimezone.as_deref();
            match reader
                .watch
                .add(&j.conf.filter, j.conf.usedns, timezone, dated)
            {
                Ok(n) => {
                    let names = match j.acts || j.asks {
                        true => reader.watch.filter(n).map(own_names).unwrap_or_default(),
                        false => Vec::new(),
                    };
                    reader.jails.push((*at, names));
                }
                Err(e) => {
                    log::error("filter")
                        .kv("jail", &j.conf.name)
                        .val("error", e)
                        .send();
                }
            }
        }
        self.readers.push(reader);
        self.readers.len() - 1
    }

    /// A line that `reader` has read; `time` when its source knows when it was written.
    pub fn line(
        &mut self,
        reader: usize,
        line: &[u8],
        now: f64,
        time: Option<f64>,
        chance: f64,
        desk: &mut Desk,
    ) {
        desk.counts.lines += 1;
        let mut at = Some(reader);
        while let Some(reader) = at {
            self.line_of(reader, line, now, time, chance, desk);
            at = self.readers.get(reader).and_then(|r| r.next);
        }
    }

    fn line_of(
        &mut self,
        reader: usize,
        line: &[u8],
        now: f64,
        time: Option<f64>,
        chance: f64,
        desk: &mut Desk,
    ) {
        let Some(reader) = self.readers.get_mut(reader) else {
            return;
        };
        let mut bench = Bench {
            all: &mut self.all,
            acts: &mut self.acts,
            desk,
            now,
            chance,
        };
        let of = &reader.jails;
        reader
            .watch
            .line(line, now as i64, time, &mut |filter, failure| {
                if let Some((at, names)) = of.get(filter) {
                    bench.found(*at, names, line, failure);
                }
            });
    }

    fn bench<'a>(&'a mut self, desk: &'a mut Desk, now: f64, chance: f64) -> Bench<'a> {
        Bench {
            all: &mut self.all,
            acts: &mut self.acts,
            desk,
            now,
            chance,
        }
    }

    /// What the desk has done becomes requests to act.
    pub fn carry(&mut self, desk: &mut Desk, now: f64) {
        if !desk.deeds.is_empty() {
            self.bench(desk, now, 0.0).carry();
        }
    }

    /// An answer of act's. [`Answer::Need`] is for the loop, which knows the way to it.
    pub fn answered(&mut self, answer: Answer, desk: &mut Desk, now: f64, chance: f64) {
        let second = now as i64;
        let all = &self.all;
        let cache = |at: usize| {
            let c = all.get(at)?.conf.ignorecache.as_ref()?;
            Some((c.count, c.seconds))
        };
        let learned = match answer {
            Answer::Need => return,
            Answer::Counts(counts) => {
                self.acts.counts = counts;
                return;
            }
            Answer::Addresses(number, found) => self.acts.addresses(second, number, found),
            Answer::Ignored(number, ignored) => self.acts.ignored(second, number, ignored, &cache),
        };
        match learned {
            None => {}
            Some(Learned::Addresses(name, found, failures)) => {
                self.bench(desk, now, chance)
                    .named(&name, &found, &failures);
            }
            Some(Learned::Ignore(at, name, found)) => {
                let j = self.all.get_mut(at);
                // A name server that is down must not take anybody off the list.
                if let Some(j) = j.filter(|_| !found.is_empty()) {
                    j.jail.rules_mut().ignore.set_found(&name, &found);
                }
            }
            Some(Learned::Ban(asked)) => self.ban(&[asked], desk, now),
        }
    }

    /// Makes bans that have waited for nobody.
    pub fn ban(&mut self, all: &[Asked], desk: &mut Desk, now: f64) {
        let mut bench = self.bench(desk, now, 0.0);
        for asked in all {
            bench.ban(asked);
        }
    }

    /// What time brings: bans that wait no longer, identities whose bans are over, names on lists.
    pub fn tick(&mut self, desk: &mut Desk, now: f64) {
        let second = now as i64;
        let overdue = self.acts.overdue(second);
        for asked in &overdue {
            log::warning("ignorecommand")
                .kv("who", super::acts::name_of(&asked.subject))
                .kv("state", "no answer in time: banned")
                .send();
        }
        self.ban(&overdue, desk, now);
        for (at, id) in self.acts.expired(second) {
            self.id_is_over(at, &id);
        }
        let names = self.all.iter().enumerate().flat_map(|(at, j)| {
            let names = j.jail.rules().ignore.names().iter();
            names.map(move |n| (at, n.as_str()))
        });
        self.acts.refresh(second, names);
    }

    fn id_is_over(&mut self, at: usize, id: &str) {
        let Some(j) = self.all.get_mut(at) else {
            return;
        };
        let subject = Subject::Id(id.into());
        bench::over(&subject, &j.conf.name);
        j.jail.forgive(&subject);
        if self.acts.there {
            let request = Request::Unban(j.conf.name.clone(), Who::Id(id.into()));
            self.acts.requests.push(request);
        }
    }

    /// The admin lifts the ban of an identity; how many there were.
    pub fn lift_id(&mut self, jail: Option<&str>, id: &str) -> usize {
        let at = jail.map(|name| self.all.iter().position(|j| j.conf.name == name));
        let lifted = match at {
            Some(None) => return 0,
            Some(at) => self.acts.lift_id(at, id),
            None => self.acts.lift_id(None, id),
        };
        for at in &lifted {
            self.id_is_over(*at, id);
        }
        lifted.len()
    }

    /// Lifts the bans of all identities; how many there were.
    pub fn lift_ids(&mut self) -> usize {
        let all: Vec<(usize, String)> = self
            .acts
            .ids()
            .map(|(at, id, _)| (at, id.to_owned()))
            .collect();
        for (at, id) in &all {
            self.acts.lift_id(Some(*at), id);
            self.id_is_over(*at, id);
        }
        all.len()
    }

    /// The admin lifted all bans.
    pub fn all_lifted(&mut self) {
        for j in &mut self.all {
            j.jail.forgive_all();
        }
    }

    /// The admin banned somebody in a jail's name.
    pub fn banned(&mut self, name: &str) {
        if let Some(j) = self.all.iter_mut().find(|j| j.conf.name == name) {
            j.banned += 1;
        }
    }

    /// The identities that are banned in a jail.
    pub fn ids_of(&self, name: &str) -> impl Iterator<Item = (&str, IdBan)> {
        let at = self.all.iter().position(|j| j.conf.name == name);
        self.acts
            .ids()
            .filter(move |(j, _, _)| Some(*j) == at)
            .map(|(_, id, ban)| (id, ban))
    }

    /// Everything that stands in jails with actions: the jail's index and who.
    #[must_use]
    pub fn standing(&self, desk: &Desk) -> Vec<(usize, Who)> {
        let acting = |asker: u16| self.all.iter().position(|j| j.acts && j.asker == asker);
        if !self.all.iter().any(|j| j.acts) {
            return Vec::new();
        }
        let nets = desk.book.iter().filter(|(_, b)| b.stands);
        let nets = nets.filter_map(|(p, b)| Some((acting(b.jail)?, Who::Net(p))));
        let ids = self.acts.ids();
        nets.chain(ids.map(|(at, id, _)| (at, Who::Id(id.into()))))
            .collect()
    }

    /// What act is told of one of these, if it still stands.
    #[must_use]
    pub fn stands(&self, desk: &Desk, at: usize, who: &Who) -> Option<Request> {
        let j = self.all.get(at)?;
        let (since, until, count) = match who {
            Who::Net(p) => {
                let ban = desk.book.get(*p, j.asker).filter(|b| b.stands)?;
                (ban.since, ban.until, u32::from(ban.count))
            }
            Who::Id(id) => {
                let ban = self.acts.id(at, id)?;
                (ban.since, ban.until, ban.count)
            }
        };
        let mut v = Values::of(who.clone(), since, length(since, until));
        v.count = count;
        v.restored = true;
        j.kept.fill(&mut v);
        v.bound();
        Some(Request::Stands(j.conf.name.clone(), Box::new(v)))
    }

    /// The admin lifted a ban.
    pub fn lifted(&mut self, prefix: Prefix) {
        let subject = Subject::Net(prefix);
        for j in &mut self.all {
            j.jail.forgive(&subject);
        }
    }

    /// A jail's numbers, to be changed by the admin until the next start.
    pub fn rules_mut(&mut self, name: &str) -> Option<&mut Rules> {
        let j = self.all.iter_mut().find(|j| j.conf.name == name)?;
        Some(j.jail.rules_mut())
    }

    /// Lines that were charged to nobody because two addresses came into question, and searches
    /// that were given up, since the start.
    #[must_use]
    pub fn doubts(&self) -> (u64, u64) {
        let filters = self
            .readers
            .iter()
            .flat_map(|r| (0..r.jails.len()).filter_map(|n| r.watch.filter(n)));
        filters.fold((0, 0), |(d, g), f| (d + f.doubtful(), g + f.gave_up()))
    }

    /// A jail by name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Running> {
        self.all.iter().find(|j| j.conf.name == name)
    }

    /// Subjects that have failed in a jail and are not banned.
    #[must_use]
    pub fn failing(&self, jail: &Running) -> usize {
        jail.jail.failing()
    }
}

/// The names of the groups that are a filter's own.
fn own_names(filter: &crate::f2b::filter::Filter) -> Vec<String> {
    (OWN..)
        .map(|n| filter.name(n).to_owned())
        .take_while(|n| !n.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_by_name_number_and_range() {
        let s = services("ssh 22/tcp\nsmtp\t25/tcp\tmail # x\ndomain 53/udp\nimap2 143/tcp imap\n");
        let p = |t: &str| ports_of(&t.split(',').map(str::to_owned).collect::<Vec<_>>(), &s);
        assert_eq!(p("ssh,smtp,2222"), Some(vec![22, 25, 2222]));
        assert_eq!(p("mail,imap"), Some(vec![25, 143]));
        assert_eq!(p("6000:6002"), Some(vec![6000, 6001, 6002]));
        assert_eq!(p("0:65535"), None);
        assert_eq!(p("1:64").map(|p| p.len()), Some(64));
        assert_eq!(p("1:65"), None);
        assert_eq!(p("unknown"), None);
    }
}
