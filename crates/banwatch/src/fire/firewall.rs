//! Our table in the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use daemon::netlink::{Family, Netlink};

use super::netlink::{Body, messages};
use super::nft::{
    Batch, DYNAMIC_SIZE, Limits, SetId, Told, ask_all, ask_element, ask_elements, ask_table,
    elements_in, told,
};
use super::wire::Entry;

/// Room for one transaction in the socket, in octets: 100,000 bans take 4 MB.
const SEND_BUFFER: usize = 64 << 20;

/// Longest answer, in octets: an error has the message that it is about behind it.
pub(super) const ANSWER_MAX: usize = 128 * 1024;

const EEXIST: u32 = 17;
const ENOENT: u32 = 2;

/// Why the kernel did not do it.
#[derive(Debug)]
pub enum Trouble {
    /// It refused: errno.
    Refused(u32),
    /// The socket failed.
    Socket(io::Error),
}

impl Trouble {
    /// The errno, or EIO.
    #[must_use]
    pub fn errno(&self) -> u32 {
        match self {
            Trouble::Refused(n) => *n,
            Trouble::Socket(e) => e.raw_os_error().map_or(5, i32::unsigned_abs),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Refused(n) => write!(f, "{}", io::Error::from_raw_os_error(n.cast_signed())),
            Trouble::Socket(e) => write!(f, "{e}"),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(e: io::Error) -> Trouble {
        Trouble::Socket(e)
    }
}

/// The table, as far as we have made it.
#[derive(Debug)]
pub struct Firewall {
    socket: Netlink,
    sequence: u32,
    sets: BTreeSet<SetId>,
    ports: BTreeMap<u8, Vec<u16>>,
    limits: Option<Limits>,
    buffer: Vec<u8>,
}

impl Firewall {
    /// A socket, and nothing done yet.
    ///
    /// # Errors
    /// The system's.
    pub fn open(limits: Option<Limits>) -> io::Result<Firewall> {
        Ok(Firewall {
            socket: Netlink::open(Family::Netfilter, SEND_BUFFER)?,
            sequence: 1,
            sets: BTreeSet::new(),
            ports: BTreeMap::new(),
            limits,
            buffer: vec![0; ANSWER_MAX],
        })
    }

    /// The socket's port: what carries it in a notification was done by us.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    fn next(&mut self) -> u32 {
        // A batch has fewer messages than this.
        self.sequence = self.sequence.wrapping_add(1 << 20);
        self.sequence
    }

    fn run(&mut self, batch: Batch) -> Result<(), Trouble> {
        if batch.is_empty() {
            return Ok(());
        }
        let (octets, _) = batch.finish();
        self.socket.send(&octets)?;
        // The kernel has acted: all answers wait already.
        let (mut first, mut acknowledged) = (0, false);
        loop {
            let n = match self.socket.recv(&mut self.buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            };
            for m in messages(self.buffer.get(..n).unwrap_or(&[])) {
                if let Body::Result(code) = m.body {
                    acknowledged |= code == 0;
                    if code != 0 && first == 0 {
                        first = code.unsigned_abs();
                    }
                }
            }
        }
        match (first, acknowledged) {
            (0, true) => Ok(()),
            (0, false) => Err(Trouble::Refused(5)),
            (errno, _) => Err(Trouble::Refused(errno)),
        }
    }

    /// Whether the kernel lets us, and whether the table is there.
    ///
    /// # Errors
    /// EPERM without the right to.
    pub fn exists(&mut self) -> Result<bool, Trouble> {
        let n = self.next();
        self.is_there(&ask_table(n))
    }

    /// Whether a ban is in the table.
    ///
    /// # Errors
    /// The kernel's.
    pub fn has(&mut self, entry: &Entry) -> Result<bool, Trouble> {
        let n = self.next();
        self.is_there(&ask_element(n, entry))
    }

    fn is_there(&mut self, question: &[u8]) -> Result<bool, Trouble> {
        self.socket.send(question)?;
        let (mut found, mut errno) = (false, 0);
        while let Ok(n) = self.socket.recv(&mut self.buffer) {
            for m in messages(self.buffer.get(..n).unwrap_or(&[])) {
                match m.body {
                    Body::Result(code) if code != 0 => errno = code.unsigned_abs(),
                    Body::Other(..) => found = true,
                    _ => {}
                }
            }
        }
        match errno {
            0 => Ok(found),
            ENOENT => Ok(false),
            n => Err(Trouble::Refused(n)),
        }
    }

    /// The TCP ports of a scope, known from the next rebuild or first ban of the scope on.
    pub fn ports(&mut self, scope: u8, ports: Vec<u16>) {
        self.ports.insert(scope, ports);
    }

    /// Makes the table anew with exactly these bans, in one transaction: there is no moment
    /// without a firewall.
    ///
    /// # Errors
    /// The kernel's; nothing has changed then.
    pub fn rebuild(&mut self, mut entries: Vec<Entry>) -> Result<(), Trouble> {
        arrange(&mut entries);
        let mut batch = Batch::new(self.next());
        // Made, so that it can be removed whether or not it was there.
        batch.new_table();
        batch.delete_table();
        batch.new_table();
        batch.chains();
        for (scope, ports) in &self.ports {
            batch.scope_ports(*scope, ports);
        }
        if let Some(limits) = &self.limits {
            batch.limits(limits);
        }
        let mut sets: BTreeSet<SetId> = entries.iter().map(SetId::of).collect();
        sets.extend(usual_sets());
        sets.retain(|s| s.scope == 0 || self.ports.contains_key(&s.scope));
        entries.retain(|e| sets.contains(&SetId::of(e)));
        for set in &sets {
            batch.ban_set(*set);
        }
        batch.add(&entries, false);
        self.run(batch)?;
        self.sets = sets;
        Ok(())
    }

    /// Bans these.
    ///
    /// # Errors
    /// The kernel's. Those that could be banned are, when some could not.
    pub fn add(&mut self, mut entries: Vec<Entry>) -> Result<(), Trouble> {
        arrange(&mut entries);
        let mut batch = Batch::new(self.next());
        let mut fresh = BTreeSet::new();
        for e in &entries {
            let set = SetId::of(e);
            if !self.sets.contains(&set) && fresh.insert(set) {
                if set.scope != 0 && !self.sets.iter().any(|s| s.scope == set.scope) {
                    let ports = self.ports.get(&set.scope).ok_or(Trouble::Refused(22))?;
                    batch.scope_ports(set.scope, ports);
                }
                batch.ban_set(set);
            }
        }
        batch.add(&entries, true);
        match self.run(batch) {
            Ok(()) => {
                self.sets.extend(fresh);
                Ok(())
            }
            Err(Trouble::Refused(EEXIST)) => self.replace(entries),
            Err(e) => Err(e),
        }
    }

    /// Some of these stand already, and get their new time: in one transaction each is made sure
    /// to be there, removed and made anew. A transaction that fails costs the kernel milliseconds,
    /// so one for each ban is the last resort.
    fn replace(&mut self, entries: Vec<Entry>) -> Result<(), Trouble> {
        let sets: BTreeSet<SetId> = entries.iter().map(SetId::of).collect();
        if sets.is_subset(&self.sets) {
            let mut batch = Batch::new(self.next());
            batch.add(&entries, false);
            batch.delete(&entries);
            batch.add(&entries, true);
            match self.run(batch) {
                // One has run out in the midst of it.
                Err(Trouble::Refused(EEXIST | ENOENT)) => {}
                other => return other,
            }
        }
        self.replace_each(entries)
    }

    fn replace_each(&mut self, entries: Vec<Entry>) -> Result<(), Trouble> {
        let mut result = Ok(());
        for e in entries {
            for try_ in 0..3 {
                let mut batch = Batch::new(self.next());
                if !self.sets.contains(&SetId::of(&e)) {
                    batch.ban_set(SetId::of(&e));
                }
                if try_ % 2 == 1 {
                    batch.delete(&[e]);
                }
                batch.add(&[e], true);
                match self.run(batch) {
                    Ok(()) => {
                        self.sets.insert(SetId::of(&e));
                        break;
                    }
                    // It has run out between the two.
                    Err(Trouble::Refused(EEXIST | ENOENT)) if try_ < 2 => {}
                    Err(error) => {
                        result = Err(error);
                        break;
                    }
                }
            }
        }
        result
    }

    /// Lifts bans; one that is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&mut self, mut entries: Vec<Entry>) -> Result<(), Trouble> {
        arrange(&mut entries);
        entries.retain(|e| self.sets.contains(&SetId::of(e)));
        let mut batch = Batch::new(self.next());
        batch.delete(&entries);
        match self.run(batch) {
            Err(Trouble::Refused(ENOENT)) => {}
            other => return other,
        }
        for e in entries {
            let mut batch = Batch::new(self.next());
            batch.delete(&[e]);
            match self.run(batch) {
                Ok(()) | Err(Trouble::Refused(ENOENT)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Every ban in the table.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(&mut self) -> Result<Vec<Entry>, Trouble> {
        let mut all = Vec::new();
        for set in self.sets.clone() {
            let n = self.next();
            self.socket.send(&ask_elements(n, set))?;
            'dump: loop {
                let n = match self.socket.recv(&mut self.buffer) {
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.into()),
                };
                for m in messages(self.buffer.get(..n).unwrap_or(&[])) {
                    match m.body {
                        Body::Done => break 'dump,
                        Body::Result(0) => {}
                        Body::Result(code) => return Err(Trouble::Refused(code.unsigned_abs())),
                        Body::Other(..) => {
                            if let Told::Elements(e) = told(&m.body) {
                                all.extend(e);
                            }
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    /// How many of the sets in which the kernel counts by itself are full: from then on it does
    /// not limit anybody new.
    ///
    /// # Errors
    /// The kernel's.
    pub fn full(&mut self) -> Result<u32, Trouble> {
        let mut full = 0;
        let names: Vec<&str> = self.limits.iter().flat_map(Limits::names).collect();
        for name in names {
            if self.count(name)? >= DYNAMIC_SIZE as usize {
                full += 1;
            }
        }
        Ok(full)
    }

    /// How many elements a set of this name has; 0 when it is not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn count(&mut self, name: &str) -> Result<usize, Trouble> {
        let n = self.next();
        self.socket.send(&ask_all(n, name))?;
        let (mut count, mut errno) = (0, 0);
        loop {
            let n = match self.socket.recv(&mut self.buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            };
            for m in messages(self.buffer.get(..n).unwrap_or(&[])) {
                match m.body {
                    Body::Result(code) => errno = code.unsigned_abs(),
                    _ => count += elements_in(&m.body),
                }
            }
        }
        match errno {
            0 => Ok(count),
            ENOENT => Ok(0),
            n => Err(Trouble::Refused(n)),
        }
    }

    /// Removes the table.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&mut self) -> Result<(), Trouble> {
        let mut batch = Batch::new(self.next());
        batch.new_table();
        batch.delete_table();
        self.run(batch)?;
        self.sets.clear();
        Ok(())
    }
}

/// Sorts by set; of several bans of one network the longest stays.
pub(super) fn arrange(entries: &mut Vec<Entry>) {
    entries.sort_by_key(|e| (SetId::of(e), e.prefix, std::cmp::Reverse(e.seconds)));
    entries.dedup_by_key(|e| (e.scope, e.prefix));
}

/// The sets that our own rules use: there from the start, so that the first ban is no slower.
fn usual_sets() -> impl Iterator<Item = SetId> {
    [
        (true, 32),
        (true, 24),
        (false, 128),
        (false, 64),
        (false, 56),
        (false, 48),
    ]
    .into_iter()
    .map(|(v4, length)| SetId {
        scope: 0,
        v4,
        length,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_the_longer_stays() {
        let e = |p: &str, seconds| Entry {
            scope: 0,
            prefix: p.parse().unwrap(),
            seconds,
        };
        let mut all = vec![
            e("10.0.0.2", 5),
            e("2001:db8::/64", 1),
            e("10.0.0.1", 5),
            e("10.0.0.2", 9),
        ];
        arrange(&mut all);
        assert_eq!(
            all,
            [e("2001:db8::/64", 1), e("10.0.0.1", 5), e("10.0.0.2", 9)]
        );
    }
}
