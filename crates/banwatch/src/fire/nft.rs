//! nftables messages: our table, its chains, sets, rules and elements.
//!
//! ```text
//! table inet hikyaku-ban {
//!   set v4_32 { type ipv4_addr; flags timeout; }       one hash set per prefix length
//!   set v6_64 { type ipv6_addr; flags timeout; }       (never an interval set: those take
//!   …                                                   seconds per element when large)
//!   chain banned {
//!     ip saddr @v4_32 counter drop
//!     ip6 saddr & ffff:ffff:ffff:ffff:: @v6_64 counter drop
//!     tcp dport @ports_1 ip saddr @v4_32_1 counter drop  a jail with ports of its own
//!   }
//!   chain input   { type filter hook input priority filter - 10;   jump banned }
//!   chain forward { type filter hook forward priority filter - 10; jump banned }
//! }
//! ```

use super::netlink::{ACK, APPEND, Body, CREATE, DUMP, EXCL, Writer, attribute, attributes};
use super::wire::Entry;
use crate::prefix::Prefix;

/// The table's name.
pub const TABLE: &str = "hikyaku-ban";
/// Most octets of elements in one message; an attribute's length has 16 bits.
const ELEMENTS_MAX: usize = 48_000;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DEL_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DEL_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DEL_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DEL_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const GET_ELEMENT: u16 = 13;
const DEL_ELEMENT: u16 = 14;
const INET: u8 = 1;

/// The register that all our expressions use.
const REGISTER: u32 = 1;
const SET_CONSTANT: u32 = 2;
const SET_TIMEOUT: u32 = 0x10;
const SET_EVALUATES: u32 = 0x20;
/// Places in a set of the kernel's own counting. A full one no longer limits whoever is not in
/// it, so it is large, and fullness is told.
pub const DYNAMIC_SIZE: u32 = 131_072;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const JUMP: u32 = (-3i32).cast_unsigned();

/// A set of bans: scope (0: all traffic, else the ports of that scope), family and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetId {
    /// The scope.
    pub scope: u8,
    /// IPv4, else IPv6.
    pub v4: bool,
    /// Prefix length.
    pub length: u8,
}

impl SetId {
    /// Where a ban belongs.
    #[must_use]
    pub fn of(entry: &Entry) -> SetId {
        SetId {
            scope: entry.scope,
            v4: entry.prefix.is_v4(),
            length: entry.prefix.length(),
        }
    }

    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> String {
        let family = if self.v4 { 4 } else { 6 };
        match self.scope {
            0 => format!("v{family}_{}", self.length),
            n => format!("v{family}_{}_{n}", self.length),
        }
    }

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<SetId> {
        let mut parts = name.split('_');
        let v4 = match parts.next()? {
            "v4" => true,
            "v6" => false,
            _ => return None,
        };
        let length: u8 = parts.next()?.parse().ok()?;
        let scope = parts.next().map_or(Some(0), |n| n.parse().ok())?;
        let id = SetId { scope, v4, length };
        (id.name() == name && length <= if v4 { 32 } else { 128 }).then_some(id)
    }

    fn width(self) -> u32 {
        if self.v4 { 4 } else { 16 }
    }
}

/// Limits that the kernel keeps by itself, per address (IPv6: per /64), for these TCP ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ports they hold for.
    pub ports: Vec<u16>,
    /// New connections a minute; 0 for no limit.
    pub new_per_minute: u32,
    /// Connections at once; 0 for no limit.
    pub at_once: u32,
}

impl Limits {
    /// New connections that may come at once before [`Limits::new_per_minute`] holds.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.new_per_minute.clamp(5, 100)
    }

    /// The sets in which the kernel counts.
    fn sets(&self) -> impl Iterator<Item = (bool, u32, bool)> {
        [(true, self.new_per_minute), (false, self.at_once)]
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .flat_map(|(rated, n)| [(rated, n, true), (rated, n, false)])
    }

    /// The names of the sets in which the kernel counts, each with [`DYNAMIC_SIZE`] places.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.sets().map(|(rated, _, v4)| counting(rated, v4))
    }
}

/// The name of a set in which the kernel counts.
fn counting(rated: bool, v4: bool) -> &'static str {
    match (rated, v4) {
        (true, true) => "rate_v4",
        (true, false) => "rate_v6",
        (false, true) => "count_v4",
        (false, false) => "count_v6",
    }
}

/// A transaction: all of it happens, or nothing.
#[derive(Debug)]
pub struct Batch {
    w: Writer,
    messages: u32,
}

fn head(family: u8, resource: u16) -> [u8; 4] {
    let [a, b] = resource.to_be_bytes();
    [family, 0, a, b]
}

fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}

impl Batch {
    /// An empty one; its messages are numbered from `first`.
    #[must_use]
    pub fn new(first: u32) -> Batch {
        let mut w = Writer::new(first);
        w.begin(BATCH_BEGIN, 0, &head(0, SUBSYSTEM));
        Batch { w, messages: 0 }
    }

    fn message(&mut self, message: u16, flags: u16) -> &mut Writer {
        self.messages += 1;
        self.w.begin(kind(message), flags, &head(INET, 0));
        &mut self.w
    }

    /// Nothing was put in yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The octets, and the number of the message whose acknowledgement ends the answers.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, u32) {
        self.w.flag(ACK);
        let last = self.w.sequence();
        self.w.begin(BATCH_END, 0, &head(0, SUBSYSTEM));
        (self.w.finish(), last)
    }

    /// The table; no error when it is there.
    pub fn new_table(&mut self) {
        self.message(NEW_TABLE, CREATE).text(1, TABLE);
    }

    /// Removes the table and all that is in it.
    pub fn delete_table(&mut self) {
        self.message(DEL_TABLE, 0).text(1, TABLE);
    }

    /// The chains: `banned`, and the two hooks that jump to it.
    pub fn chains(&mut self) {
        let w = self.message(NEW_CHAIN, CREATE);
        w.text(1, TABLE);
        w.text(3, "banned");
        for (name, hook) in [("input", 1), ("forward", 2)] {
            let w = self.message(NEW_CHAIN, CREATE);
            w.text(1, TABLE);
            w.text(3, name);
            w.nest(4, |w| {
                w.number(1, hook);
                w.number(2, (-10i32).cast_unsigned());
            });
            w.number(5, ACCEPT);
            w.text(7, "filter");
            self.rule(name, |w| verdict(w, JUMP, Some("banned")));
        }
    }

    /// A set for bans and the rule that looks into it.
    pub fn ban_set(&mut self, id: SetId) {
        let w = self.message(NEW_SET, CREATE);
        w.text(1, TABLE);
        w.text(2, &id.name());
        w.number(3, SET_TIMEOUT);
        w.number(4, if id.v4 { 7 } else { 8 });
        w.number(5, id.width());
        w.number(
            10,
            0x100 + u32::from(id.scope) * 512 + u32::from(id.v4) * 256 + u32::from(id.length),
        );
        self.rule("banned", |w| {
            if id.scope != 0 {
                tcp_ports(w, &ports_name(id.scope));
            }
            source(w, id.v4, id.length);
            lookup(w, &id.name());
            expression(w, "counter", |_| {});
            verdict(w, DROP, None);
        });
    }

    /// A set of TCP ports that never changes.
    fn ports(&mut self, name: &str, ports: &[u16]) {
        let w = self.message(NEW_SET, CREATE);
        w.text(1, TABLE);
        w.text(2, name);
        w.number(3, SET_CONSTANT);
        w.number(4, 13);
        w.number(5, 2);
        w.number(10, 0xf000 + u32::try_from(name.len()).unwrap_or(0));
        let w = self.message(NEW_ELEMENT, CREATE);
        w.text(1, TABLE);
        w.text(2, name);
        w.nest(3, |w| {
            for port in ports {
                w.nest(1, |w| w.nest(1, |w| w.put(1, &port.to_be_bytes())));
            }
        });
    }

    /// The ports of a scope. They must be said before the first ban of that scope.
    pub fn scope_ports(&mut self, scope: u8, ports: &[u16]) {
        self.ports(&ports_name(scope), ports);
    }

    /// The limits that the kernel keeps by itself.
    pub fn limits(&mut self, limits: &Limits) {
        if limits.ports.is_empty() || limits.new_per_minute | limits.at_once == 0 {
            return;
        }
        self.ports("limited_ports", &limits.ports);
        for (rated, limit, v4) in limits.sets() {
            let name = counting(rated, v4);
            let w = self.message(NEW_SET, CREATE);
            w.text(1, TABLE);
            w.text(2, name);
            w.number(3, SET_EVALUATES | if rated { SET_TIMEOUT } else { 0 });
            w.number(4, if v4 { 7 } else { 8 });
            w.number(5, if v4 { 4 } else { 16 });
            w.nest(9, |w| w.number(1, DYNAMIC_SIZE));
            w.number(10, 0xe000 + u32::from(v4) + u32::from(rated) * 2);
            if rated {
                w.put(11, &70_000u64.to_be_bytes());
            }
            self.rule("input", |w| {
                new_connection(w);
                tcp_ports(w, "limited_ports");
                source(w, v4, if v4 { 32 } else { 64 });
                expression(w, "dynset", |w| {
                    w.text(1, name);
                    w.number(3, u32::from(rated)); // 0 add, 1 update
                    w.number(4, REGISTER);
                    w.nest(7, |w| {
                        w.text(1, if rated { "limit" } else { "connlimit" });
                        w.nest(2, |w| {
                            if rated {
                                w.put(1, &u64::from(limit).to_be_bytes());
                                w.put(2, &60u64.to_be_bytes());
                                w.number(3, limits.burst());
                                w.number(4, 0);
                                w.number(5, 1); // over, not under
                            } else {
                                w.number(1, limit);
                                w.number(2, 1);
                            }
                        });
                    });
                });
                expression(w, "counter", |_| {});
                verdict(w, DROP, None);
            });
        }
    }

    fn rule(&mut self, chain: &str, expressions: impl FnOnce(&mut Writer)) {
        let w = self.message(NEW_RULE, CREATE | APPEND);
        w.text(1, TABLE);
        w.text(2, chain);
        w.nest(4, expressions);
    }

    /// Adds bans, which must be sorted by set. With `fresh`, one that is there is an error.
    pub fn add(&mut self, entries: &[Entry], fresh: bool) {
        let flags = CREATE | if fresh { EXCL } else { 0 };
        self.elements(NEW_ELEMENT, flags, entries, true);
    }

    /// Removes bans, which must be sorted by set. One that is not there is an error.
    pub fn delete(&mut self, entries: &[Entry]) {
        self.elements(DEL_ELEMENT, 0, entries, false);
    }

    fn elements(&mut self, message: u16, flags: u16, entries: &[Entry], timed: bool) {
        for same in entries.chunk_by(|a, b| SetId::of(a) == SetId::of(b)) {
            let Some(first) = same.first() else { continue };
            let id = SetId::of(first);
            // Per element: three headers of 4, the address, a timeout of 12.
            let room = ELEMENTS_MAX / (24 + id.width() as usize);
            for part in same.chunks(room) {
                let w = self.message(message, flags);
                w.text(1, TABLE);
                w.text(2, &id.name());
                w.nest(3, |w| {
                    for e in part {
                        w.nest(1, |w| {
                            w.nest(1, |w| w.put(1, e.prefix.octets()));
                            if timed && e.seconds != Entry::FOR_EVER {
                                let ms = u64::from(e.seconds) * 1_000;
                                w.put(4, &ms.to_be_bytes());
                            }
                        });
                    }
                });
            }
        }
    }
}

fn ports_name(scope: u8) -> String {
    format!("ports_{scope}")
}

fn expression(w: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    w.nest(1, |w| {
        w.text(1, name);
        w.nest(2, data);
    });
}

fn verdict(w: &mut Writer, code: u32, chain: Option<&str>) {
    expression(w, "immediate", |w| {
        w.number(1, 0);
        w.nest(2, |w| {
            w.nest(2, |w| {
                w.number(1, code);
                if let Some(chain) = chain {
                    w.text(2, chain);
                }
            });
        });
    });
}

fn equals(w: &mut Writer, value: &[u8]) {
    expression(w, "cmp", |w| {
        w.number(1, REGISTER);
        w.number(2, 0);
        w.nest(3, |w| w.put(1, value));
    });
}

fn lookup(w: &mut Writer, set: &str) {
    expression(w, "lookup", |w| {
        w.text(1, set);
        w.number(2, REGISTER);
    });
}

fn bitwise(w: &mut Writer, mask: &[u8]) {
    expression(w, "bitwise", |w| {
        w.number(1, REGISTER);
        w.number(2, REGISTER);
        w.number(3, u32::try_from(mask.len()).unwrap_or(0));
        w.nest(4, |w| w.put(1, mask));
        w.nest(5, |w| w.put(1, [0; 16].get(..mask.len()).unwrap_or(&[])));
    });
}

/// The source address's first `length` bits into the register, for packets of that family.
fn source(w: &mut Writer, v4: bool, length: u8) {
    expression(w, "meta", |w| {
        w.number(1, REGISTER);
        w.number(2, 15); // nfproto
    });
    equals(w, &[if v4 { 2 } else { 10 }]);
    let (offset, width) = if v4 { (12, 4) } else { (8, 16) };
    payload(w, 1, offset, width);
    if u32::from(length) < width * 8 {
        let ones = Prefix::new(
            if v4 {
                [255; 4].into()
            } else {
                [255; 16].into()
            },
            length,
        );
        if let Some(mask) = ones {
            bitwise(w, mask.octets());
        }
    }
}

fn payload(w: &mut Writer, base: u32, offset: u32, width: u32) {
    expression(w, "payload", |w| {
        w.number(1, REGISTER);
        w.number(2, base);
        w.number(3, offset);
        w.number(4, width);
    });
}

fn tcp_ports(w: &mut Writer, set: &str) {
    expression(w, "meta", |w| {
        w.number(1, REGISTER);
        w.number(2, 16); // l4proto
    });
    equals(w, &[6]);
    payload(w, 2, 2, 2);
    lookup(w, set);
}

fn new_connection(w: &mut Writer) {
    expression(w, "ct", |w| {
        w.number(1, REGISTER);
        w.number(2, 0); // state
    });
    bitwise(w, &8u32.to_ne_bytes()); // new
    expression(w, "cmp", |w| {
        w.number(1, REGISTER);
        w.number(2, 1); // not equal
        w.nest(3, |w| w.put(1, &[0; 4]));
    });
}

/// A question for the table: its answer is the table, or ENOENT.
#[must_use]
pub fn ask_table(sequence: u32) -> Vec<u8> {
    let mut w = Writer::new(sequence);
    w.begin(kind(GET_TABLE), ACK, &head(INET, 0));
    w.text(1, TABLE);
    w.finish()
}

/// A question for all elements of a set.
#[must_use]
pub fn ask_elements(sequence: u32, set: SetId) -> Vec<u8> {
    ask_all(sequence, &set.name())
}

/// A question for all elements of a set of this name.
#[must_use]
pub fn ask_all(sequence: u32, set: &str) -> Vec<u8> {
    let mut w = Writer::new(sequence);
    w.begin(kind(GET_ELEMENT), DUMP, &head(INET, 0));
    w.text(1, TABLE);
    w.text(2, set);
    w.finish()
}

/// How many elements a part of the answer to [`ask_all`] has.
#[must_use]
pub fn elements_in(body: &Body<'_>) -> usize {
    match body {
        Body::Other(k, octets) if *k == kind(NEW_ELEMENT) => octets
            .get(4..)
            .and_then(|attrs| attribute(attrs, 3))
            .map_or(0, |list| attributes(list).count()),
        _ => 0,
    }
}

/// A question for one ban: its answer has it, or is ENOENT.
#[must_use]
pub fn ask_element(sequence: u32, entry: &Entry) -> Vec<u8> {
    let mut w = Writer::new(sequence);
    w.begin(kind(GET_ELEMENT), ACK, &head(INET, 0));
    w.text(1, TABLE);
    w.text(2, &SetId::of(entry).name());
    w.nest(3, |w| {
        w.nest(1, |w| w.nest(1, |w| w.put(1, entry.prefix.octets())))
    });
    w.finish()
}

/// What an nftables message tells us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Bans of one set, in answer to [`ask_elements`].
    Elements(Vec<Entry>),
    /// Our table, or a part of it that is not an element, was removed.
    Damaged,
    /// Nothing that concerns us.
    Other,
}

/// Reads an nftables message or notification.
#[must_use]
pub fn told(body: &Body<'_>) -> Told {
    let Body::Other(kind, octets) = body else {
        return Told::Other;
    };
    if kind >> 8 != SUBSYSTEM {
        return Told::Other;
    }
    let Some(attrs) = octets.get(4..) else {
        return Told::Other;
    };
    let ours = attribute(attrs, 1).is_some_and(|n| n.strip_suffix(&[0]) == Some(TABLE.as_bytes()));
    if !ours || octets.first() != Some(&INET) {
        return Told::Other;
    }
    match kind & 0xff {
        DEL_TABLE | DEL_CHAIN | DEL_RULE | DEL_SET | DEL_ELEMENT => Told::Damaged,
        NEW_ELEMENT => elements(attrs).map_or(Told::Other, Told::Elements),
        _ => Told::Other,
    }
}

fn elements(attrs: &[u8]) -> Option<Vec<Entry>> {
    let name = std::str::from_utf8(attribute(attrs, 2)?.strip_suffix(&[0])?).ok()?;
    let id = SetId::parse(name)?;
    let mut all = Vec::new();
    for (_, element) in attributes(attribute(attrs, 3)?) {
        let Some(key) = attribute(element, 1).and_then(|k| attribute(k, 1)) else {
            continue;
        };
        let address = match <[u8; 4]>::try_from(key) {
            Ok(four) if id.v4 => four.into(),
            _ => match <[u8; 16]>::try_from(key) {
                Ok(sixteen) if !id.v4 => sixteen.into(),
                _ => continue,
            },
        };
        let ms = attribute(element, 5)
            .and_then(|v| v.try_into().ok())
            .map(u64::from_be_bytes);
        let seconds = ms.map_or(Entry::FOR_EVER, |ms| {
            u32::try_from(ms.div_ceil(1_000)).unwrap_or(Entry::FOR_EVER)
        });
        if let Some(prefix) = Prefix::new(address, id.length).filter(|p| p.length() == id.length) {
            all.push(Entry {
                scope: id.scope,
                prefix,
                seconds,
            });
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::super::netlink::messages;
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else() {
        for scope in [0, 1, 255] {
            for (v4, length) in [(true, 0), (true, 32), (false, 0), (false, 64), (false, 128)] {
                let id = SetId { scope, v4, length };
                assert_eq!(SetId::parse(&id.name()), Some(id));
            }
        }
        for bad in [
            "", "v4", "v4_33", "v6_129", "v4_032", "v5_1", "v4_1_0", "v4_1_256", "v4_1_1_1",
        ] {
            assert_eq!(SetId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn elements_are_read_as_written_in_messages_of_bounded_length() {
        let entries: Vec<Entry> = (0..10_000u32)
            .map(|n| Entry {
                scope: 0,
                prefix: Prefix::host(n.to_be_bytes().into()),
                seconds: if n == 7 { Entry::FOR_EVER } else { n },
            })
            .collect();
        let mut batch = Batch::new(1);
        batch.add(&entries, true);
        let (octets, last) = batch.finish();
        let mut found = Vec::new();
        for m in messages(&octets) {
            if let Told::Elements(e) = told(&m.body) {
                found.extend(e);
                assert!(m.sequence <= last);
            }
        }
        assert_eq!(found.len(), entries.len());
        // What is asked for has a timeout where what is answered has an expiration.
        assert!(
            found
                .iter()
                .zip(&entries)
                .all(|(a, b)| a.prefix == b.prefix)
        );
        let largest = messages(&octets)
            .filter_map(|m| match m.body {
                Body::Other(_, b) => Some(b.len()),
                _ => None,
            })
            .max();
        assert!(largest.is_some_and(|n| n < 65_536));
    }

    #[test]
    fn damage_is_noticed_only_when_it_is_ours() {
        let mut b = Batch::new(1);
        b.delete_table();
        let (octets, _) = b.finish();
        let all: Vec<Told> = messages(&octets).map(|m| told(&m.body)).collect();
        assert_eq!(all, [Told::Other, Told::Damaged, Told::Other]);
        let other: Vec<u8> = octets
            .windows(1)
            .map(|w| if w == b"h" { b'x' } else { w[0] })
            .collect();
        assert!(messages(&other).all(|m| told(&m.body) == Told::Other));
    }
}
