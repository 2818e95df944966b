//! Our sets in the kernel, where nftables is missing: ipset, and rules of iptables that look into
//! them.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use daemon::log;
use daemon::netlink::{Family, Netlink};

use super::firewall::{ANSWER_MAX, Trouble, arrange};
use super::ipset::{Messages, NOT_THERE, SCOPES, Set, Told, ask_element, ask_set, sentinel, told};
use super::iptables;
use super::long::Long;
use super::netlink::{Body, messages};
use super::nft::Limits;
use super::wire::Entry;

/// Room for one restore in the socket, in octets.
const SEND_BUFFER: usize = 64 << 20;
const ENOENT: u32 = 2;

/// How the rules and sets stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As they should.
    Well,
    /// The sets were emptied: they have to be filled again.
    Emptied,
    /// Rules are gone, or a set: only a process that may start programs can put them back.
    Gone,
}

/// The sets, as far as we have made them.
#[derive(Debug)]
pub struct Sets {
    socket: Netlink,
    sequence: u32,
    buffer: Vec<u8>,
    /// The families that have rules: IPv4, IPv6.
    families: Vec<bool>,
    ports: BTreeMap<u8, Vec<u16>>,
    long: Long,
}

impl Sets {
    /// Makes the sets, empty unless they are there, and puts the rules in place. For this it
    /// starts programs, so it comes before confinement.
    ///
    /// # Errors
    /// What is missing. A host without IPv6 rules is a warning in the log.
    pub fn open(limits: Option<&Limits>) -> Result<Sets, String> {
        let mut sets = Sets {
            socket: Netlink::open(Family::Netfilter, SEND_BUFFER).map_err(|e| e.to_string())?,
            sequence: 1,
            buffer: vec![0; ANSWER_MAX],
            families: Vec::new(),
            ports: BTreeMap::new(),
            long: Long::new(Instant::now()),
        };
        let mut m = Messages::new(sets.next());
        for set in Set::all() {
            m.create(set, None);
        }
        for v4 in [true, false] {
            // They may be empty until the first restore; somebody else's doing they are not.
            m.add(Set::Networks { scope: 0, v4 }, false, &[sentinel(v4)]);
        }
        if let Some(limits) = limits {
            m.ports(Set::Limited, false, &limits.ports);
        }
        sets.run(m).map_err(|e| format!("ipset: {e}"))?;
        for v4 in [true, false] {
            match iptables::install(v4, limits) {
                Ok(()) => sets.families.push(v4),
                Err(e) if v4 => return Err(e),
                Err(e) => log::warning("firewall")
                    .kv("state", "IPv6 is not guarded")
                    .val("error", e)
                    .send(),
            }
        }
        Ok(sets)
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1 << 20);
        self.sequence
    }

    fn run(&mut self, m: Messages) -> Result<(), Trouble> {
        if m.is_empty() {
            return Ok(());
        }
        self.socket.send(&m.finish())?;
        let mut first = 0;
        let mut acknowledged = false;
        self.answers(&mut |body| {
            if let Body::Result(code) = body {
                acknowledged |= *code == 0;
                if *code != 0 && first == 0 {
                    first = code.unsigned_abs();
                }
            }
        })?;
        match (first, acknowledged) {
            (0, true) => Ok(()),
            (0, false) => Err(Trouble::Refused(5)),
            (errno, _) => Err(Trouble::Refused(errno)),
        }
    }

    /// All that waits; the kernel has acted when a message is sent.
    fn answers(&mut self, each: &mut dyn FnMut(&Body<'_>)) -> Result<(), Trouble> {
        loop {
            match self.socket.recv(&mut self.buffer) {
                Ok(n) => {
                    for m in messages(self.buffer.get(..n).unwrap_or(&[])) {
                        each(&m.body);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Whether a ban, or a wider one, is in its set.
    ///
    /// # Errors
    /// The kernel's.
    pub fn has(&mut self, entry: &Entry) -> Result<bool, Trouble> {
        let n = self.next();
        self.socket.send(&ask_element(n, entry))?;
        let mut code = 0;
        self.answers(&mut |body| {
            if let Body::Result(n) = body {
                code = n.unsigned_abs();
            }
        })?;
        match code {
            0 => Ok(true),
            NOT_THERE => Ok(false),
            n => Err(Trouble::Refused(n)),
        }
    }

    /// What the kernel tells of a set.
    fn ask(&mut self, set: Set, members: bool) -> Result<Told, Trouble> {
        let n = self.next();
        self.socket.send(&ask_set(n, set, members))?;
        let scope = match set {
            Set::Networks { scope, .. } => scope,
            _ => 0,
        };
        let (mut all, mut errno) = (Told::default(), 0);
        self.answers(&mut |body| match body {
            Body::Result(n) => errno = n.unsigned_abs(),
            _ => {
                if let Some(t) = told(body, scope) {
                    all.references = t.references.or(all.references);
                    all.entries.extend(t.entries);
                }
            }
        })?;
        match errno {
            0 => Ok(all),
            n => Err(Trouble::Refused(n)),
        }
    }

    /// Looks whether somebody else has removed rules or emptied sets. ipset has no notifications.
    ///
    /// # Errors
    /// The kernel's, but for a missing set.
    pub fn health(&mut self) -> Result<Health, Trouble> {
        for v4 in self.families.clone() {
            for set in [Set::Networks { scope: 0, v4 }, Set::Jump { v4 }] {
                match self.ask(set, false) {
                    Ok(Told {
                        references: Some(0),
                        ..
                    })
                    | Err(Trouble::Refused(ENOENT)) => return Ok(Health::Gone),
                    Ok(_) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        for v4 in [true, false] {
            if !self.has(&sentinel(v4))? {
                return Ok(Health::Emptied);
            }
        }
        Ok(Health::Well)
    }

    /// The TCP ports of a scope, known from the next rebuild on.
    pub fn ports(&mut self, scope: u8, ports: Vec<u16>) {
        if scope > SCOPES {
            log::warning("ports")
                .val("scope", scope)
                .kv(
                    "state",
                    "more jails with ports than rules: banned from all of them",
                )
                .send();
            return;
        }
        self.ports.insert(scope, ports);
    }

    /// Fills every set anew with exactly these bans. A set is filled beside the old one and
    /// exchanged with it, so none is ever empty that should not be.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rebuild(&mut self, mut entries: Vec<Entry>) -> Result<(), Trouble> {
        entries.extend([sentinel(true), sentinel(false)]);
        self.sort(&mut entries);
        self.long.clear();
        self.long.note(Instant::now(), &entries);
        // Of one that ended in the middle of this.
        let mut m = Messages::new(self.next());
        for set in Set::all() {
            m.destroy_fresh(set);
        }
        let _ = self.run(m);
        let mut m = Messages::new(self.next());
        let mut rest = entries.as_slice();
        for scope in 0..=SCOPES {
            if let Some(ports) = self.ports.get(&scope) {
                let set = Set::Ports(scope);
                m.create(set, Some(0));
                m.ports(set, true, ports);
                m.swap(set);
                m.destroy_fresh(set);
            }
            for v4 in [true, false] {
                let set = Set::Networks { scope, v4 };
                // Sorted as they are here.
                let count = rest.iter().take_while(|e| Set::of(e) == set).count();
                let (own, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                rest = others;
                m.create(set, Some(own.len()));
                m.add(set, true, own);
                m.swap(set);
                m.destroy_fresh(set);
            }
        }
        self.run(m)
    }

    /// Sorts by set and takes out all but the longest of several bans of one network.
    fn sort(&self, entries: &mut Vec<Entry>) {
        for e in entries.iter_mut().filter(|e| e.scope > SCOPES) {
            e.scope = 0;
        }
        arrange(entries);
        // By scope, IPv4 first: as `rebuild` goes through them.
        entries.sort_by_key(|e| (e.scope, !e.prefix.is_v4()));
    }

    /// Bans these; one that stands gets its new time.
    ///
    /// # Errors
    /// The kernel's. Those before the one that could not be banned are.
    pub fn add(&mut self, mut entries: Vec<Entry>) -> Result<(), Trouble> {
        self.sort(&mut entries);
        self.long.note(Instant::now(), &entries);
        let mut m = Messages::new(self.next());
        for same in entries.chunk_by(|a, b| Set::of(a) == Set::of(b)) {
            if let Some(first) = same.first() {
                m.add(Set::of(first), false, same);
            }
        }
        self.run(m)
    }

    /// Lifts bans; one that is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&mut self, mut entries: Vec<Entry>) -> Result<(), Trouble> {
        self.sort(&mut entries);
        let mut m = Messages::new(self.next());
        for same in entries.chunk_by(|a, b| Set::of(a) == Set::of(b)) {
            if let Some(first) = same.first() {
                m.delete(Set::of(first), same);
            }
        }
        for e in &entries {
            self.long.lifted(e);
        }
        self.run(m)
    }

    /// Tells the kernel once a day of those bans that are longer than it can count.
    ///
    /// # Errors
    /// The kernel's.
    pub fn prolong(&mut self) -> Result<(), Trouble> {
        let due = self.long.due(Instant::now());
        // Noted again with what is left of them.
        if due.is_empty() {
            Ok(())
        } else {
            self.add(due)
        }
    }

    /// Every ban in the sets.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(&mut self) -> Result<Vec<Entry>, Trouble> {
        let mut all = Vec::new();
        for scope in 0..=SCOPES {
            for v4 in [true, false] {
                all.extend(self.ask(Set::Networks { scope, v4 }, true)?.entries);
            }
        }
        all.retain(|e| ![sentinel(true), sentinel(false)].contains(e));
        Ok(all)
    }
}
