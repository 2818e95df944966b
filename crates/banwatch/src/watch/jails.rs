//! fail2ban's jails at work: lines in, failures counted, bans asked for at the desk.

use std::collections::HashMap;

use daemon::log;

use super::desk::Desk;
use crate::date::Zone;
use crate::f2b::filter::Who;
use crate::f2b::jail::{Decision, History, Jail, Past, Subject};
use crate::f2b::jail_conf::{JailConf, Native};
use crate::f2b::watch::Watch;
use crate::fire::wire::PORTS_MAX;
use crate::prefix::Prefix;

/// A jail and what it counts.
#[derive(Debug)]
pub struct Running {
    /// What its section says.
    pub conf: JailConf,
    /// Its number at the desk.
    pub asker: u16,
    jail: Jail,
    /// Violations found.
    pub found: u64,
    /// Bans asked for.
    pub banned: u64,
}

/// All jails, and a reader for each log.
#[derive(Debug, Default)]
pub struct Jails {
    all: Vec<Running>,
    readers: Vec<Reader>,
    /// TCP ports by scope, from 1.
    ports: Vec<Vec<u16>>,
}

#[derive(Debug)]
struct Reader {
    watch: Watch,
    /// The jail of each filter, by the filter's index.
    jails: Vec<usize>,
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
    /// Takes a jail and enters it at the desk. Gives its index.
    pub fn add(
        &mut self,
        conf: JailConf,
        services: &HashMap<String, u16>,
        desk: &mut Desk,
    ) -> usize {
        let native = conf.actions.iter().find_map(|a| a.native);
        for a in conf.actions.iter().filter(|a| a.native.is_none()) {
            log::warning("action")
                .kv("jail", &conf.name)
                .kv("action", &a.name)
                .kv(
                    "state",
                    "not run: only the firewall's actions are taken over",
                )
                .send();
        }
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
        self.all.push(Running {
            conf,
            asker,
            jail,
            found: 0,
            banned: 0,
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

    /// A reader for one log and the jails that read it. A jail whose filter can't be taken over
    /// is named in the log and left out.
    pub fn reader(&mut self, jails: &[usize], dated: bool, zone: Zone, now: i64) -> usize {
        let mut reader = Reader {
            watch: Watch::new(zone, now),
            jails: Vec::new(),
        };
        for at in jails {
            let Some(j) = self.all.get(*at) else { continue };
            let timezone = j.conf.logtimezone.as_deref();
            match reader
                .watch
                .add(&j.conf.filter, j.conf.usedns, timezone, dated)
            {
                Ok(_) => reader.jails.push(*at),
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
        let (all, readers) = (&mut self.all, &mut self.readers);
        let Some(reader) = readers.get_mut(reader) else {
            return;
        };
        desk.counts.lines += 1;
        let second = now as i64;
        let of = &reader.jails;
        reader
            .watch
            .line(line, second, time, &mut |filter, failure| {
                let Some(j) = of.get(filter).and_then(|at| all.get_mut(*at)) else {
                    return;
                };
                // Names are not looked up: watch has no network.
                let Who::Address { ip, prefix } = failure.who else {
                    return;
                };
                let who = match prefix {
                    Some(n) => Prefix::new(ip, n).unwrap_or(Prefix::host(ip)),
                    None => Prefix::host(ip),
                };
                j.found += 1;
                desk.line(second, who, &String::from_utf8_lossy(line));
                let when = failure.time.unwrap_or(now);
                let subject = Subject::Net(who);
                // The book at the desk is the only memory of earlier bans.
                let mut history = History::default();
                let scope = desk.asker_of(j.asker).map_or(0, |a| a.scope);
                if let Some(b) = desk.book.get((who, scope)) {
                    let until = if b.until == i64::MAX {
                        f64::INFINITY
                    } else {
                        b.until as f64
                    };
                    let past = Past {
                        count: u32::from(b.count),
                        since: b.since as f64,
                        until,
                    };
                    history.set(subject.clone(), past);
                }
                match j.jail.failure(&subject, when, now, chance, &mut history) {
                    Decision::Ban { time, .. } => {
                        let seconds = time.map(|t| (t.ceil() as i64).max(1));
                        j.banned += u64::from(desk.ban(second, who, seconds, j.asker));
                    }
                    Decision::Ignored
                    | Decision::TooOld
                    | Decision::Banned
                    | Decision::Counted(_) => {}
                }
            });
    }

    /// The admin lifted a ban.
    pub fn lifted(&mut self, prefix: Prefix) {
        let subject = Subject::Net(prefix);
        for j in &mut self.all {
            j.jail.forgive(&subject);
        }
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
