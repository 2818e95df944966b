//! ipset's messages: sets of networks with times, sets of ports; for kernels without nftables.
//!
//! One `hash:net` set for each scope and family takes every prefix length. A scope with ports of
//! its own has a `bitmap:port` set besides. The rules that look into them are put in place by
//! [`super::iptables`]; they find a set by its place in the kernel, so that sets can be exchanged
//! whole under them.

use super::netlink::{ACK, Body, DUMP, Writer, attribute, attributes};
use super::wire::Entry;
use crate::prefix::Prefix;

/// Scopes with ports of their own. A ban of a scope beyond them is for all traffic.
pub const SCOPES: u8 = 15;
/// Longest time that the kernel takes, in seconds (about 25 days).
pub const TIME_MAX: u32 = 2_147_483;
/// Networks that a set takes.
const NETWORKS_MAX: u32 = 1_048_576;
/// Most octets of elements in one message; an attribute's length has 16 bits.
const ELEMENTS_MAX: usize = 48_000;
/// ipset's protocol, in the oldest form that every kernel since 2.6.39 takes.
const PROTOCOL: u8 = 6;
const SUBSYSTEM: u16 = 6;

const CREATE: u16 = 2;
const DESTROY: u16 = 3;
const SWAP: u16 = 6;
const LIST: u16 = 7;
const ADD: u16 = 9;
const DELETE: u16 = 10;
const TEST: u16 = 11;

/// Attribute flag: the value has its big end first.
const BIG: u16 = 0x4000;
/// Flag of a list: no members.
const HEADER_ONLY: u32 = 4;
/// The number by which the kernel says that an element is not there, or there already.
pub const NOT_THERE: u32 = 4_103;

/// A set of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Set {
    /// Banned networks of a scope and a family.
    Networks {
        /// The scope, at most [`SCOPES`].
        scope: u8,
        /// IPv4, else IPv6.
        v4: bool,
    },
    /// The TCP ports of a scope.
    Ports(u8),
    /// The TCP ports that the kernel's own limits hold for.
    Limited,
    /// Always empty; the rule that leads to our chain asks whether a packet is not in it. When
    /// nobody refers to it any more, that rule is gone.
    Jump {
        /// IPv4, else IPv6.
        v4: bool,
    },
}

fn family(v4: bool) -> u8 {
    if v4 { 4 } else { 6 }
}

impl Set {
    /// Where a ban belongs.
    #[must_use]
    pub fn of(entry: &Entry) -> Set {
        Set::Networks {
            scope: if entry.scope > SCOPES { 0 } else { entry.scope },
            v4: entry.prefix.is_v4(),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Set> {
        let both = |f: fn(bool) -> Set| [f(true), f(false)];
        let networks =
            (0..=SCOPES).flat_map(|scope| [true, false].map(|v4| Set::Networks { scope, v4 }));
        networks
            .chain((1..=SCOPES).map(Set::Ports))
            .chain([Set::Limited])
            .chain(both(|v4| Set::Jump { v4 }))
    }

    /// Its name: at most 31 octets with what [`Messages`] puts behind it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Set::Networks { scope: 0, v4 } => format!("hikyaku-ban-v{}", family(v4)),
            Set::Networks { scope, v4 } => format!("hikyaku-ban-v{}-{scope}", family(v4)),
            Set::Ports(scope) => format!("hikyaku-ban-p{scope}"),
            Set::Limited => "hikyaku-ban-limited".to_owned(),
            Set::Jump { v4 } => format!("hikyaku-ban-on{}", family(v4)),
        }
    }
}

/// A network that no packet can come from, in each set of scope 0: when it is missing, somebody
/// has emptied the set.
#[must_use]
pub fn sentinel(v4: bool) -> Entry {
    let address: std::net::IpAddr = if v4 {
        [0, 255, 255, 255].into()
    } else {
        // 100::/64 is thrown away wherever it comes from (RFC 6666).
        [0x0100, 0, 0, 0, 0, 0, 0, 0xffff].into()
    };
    Entry {
        scope: 0,
        prefix: Prefix::host(address),
        seconds: Entry::FOR_EVER,
    }
}

/// Requests, one behind the other. Each is carried out by itself.
#[derive(Debug)]
pub struct Messages {
    w: Writer,
    any: bool,
}

impl Messages {
    /// None yet; they are numbered from `first`.
    #[must_use]
    pub fn new(first: u32) -> Messages {
        Messages {
            w: Writer::new(first),
            any: false,
        }
    }

    /// Nothing was put in yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// The octets; the last request is acknowledged, the others only when they fail.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.w.flag(ACK);
        self.w.finish()
    }

    fn message(&mut self, command: u16, flags: u16, name: &str) -> &mut Writer {
        self.any = true;
        self.w.begin(SUBSYSTEM << 8 | command, flags, &[2, 0, 0, 0]);
        self.w.put(1, &[PROTOCOL]);
        self.w.text(2, name);
        &mut self.w
    }

    /// Makes a set; no error when it is there and of the same kind. `fresh` makes one beside it,
    /// to be filled and exchanged with it, with room for so many networks before it must grow.
    pub fn create(&mut self, set: Set, fresh: Option<usize>) {
        let name = match fresh {
            Some(_) => fresh_name(set),
            None => set.name(),
        };
        let w = self.message(CREATE, 0, &name);
        match set {
            Set::Networks { v4, .. } | Set::Jump { v4 } => {
                w.text(3, "hash:net");
                w.put(4, &[0]);
                w.put(5, &[if v4 { 2 } else { 10 }]);
                let places = fresh
                    .and_then(|n| u32::try_from(n.next_power_of_two()).ok())
                    .unwrap_or(0)
                    .clamp(64, NETWORKS_MAX);
                w.nest(7, |w| {
                    w.number(18 | BIG, places);
                    w.number(19 | BIG, NETWORKS_MAX);
                    // Elements may have a time; without one they have no end.
                    w.number(6 | BIG, 0);
                });
            }
            Set::Ports(_) | Set::Limited => {
                w.text(3, "bitmap:port");
                w.put(4, &[0]);
                w.put(5, &[0]);
                w.nest(7, |w| {
                    w.put(4 | BIG, &0u16.to_be_bytes());
                    w.put(5 | BIG, &u16::MAX.to_be_bytes());
                });
            }
        }
    }

    /// Exchanges a set with the one beside it.
    pub fn swap(&mut self, set: Set) {
        let w = self.message(SWAP, 0, &set.name());
        w.text(3, &fresh_name(set));
    }

    /// Removes the one beside a set.
    pub fn destroy_fresh(&mut self, set: Set) {
        self.message(DESTROY, 0, &fresh_name(set));
    }

    /// Adds bans of one set to it, or to the one beside it; those that are there get a new time.
    pub fn add(&mut self, set: Set, fresh: bool, entries: &[Entry]) {
        self.elements(ADD, set, fresh, entries);
    }

    /// Removes bans of one set; one that is not there is no error.
    pub fn delete(&mut self, set: Set, entries: &[Entry]) {
        self.elements(DELETE, set, false, entries);
    }

    fn elements(&mut self, command: u16, set: Set, fresh: bool, entries: &[Entry]) {
        let name = if fresh { fresh_name(set) } else { set.name() };
        // Per element: three headers, an address, a length of 8 and a time of 8.
        for part in entries.chunks(ELEMENTS_MAX / 44) {
            let w = self.message(command, 0, &name);
            // Wanted with a list; an error is told with the line's number.
            w.number(9 | BIG, 0);
            w.nest(8, |w| {
                for e in part {
                    element(w, e, command == ADD);
                }
            });
        }
    }

    /// Adds ports to a set of them, or to the one beside it.
    pub fn ports(&mut self, set: Set, fresh: bool, ports: &[u16]) {
        let name = if fresh { fresh_name(set) } else { set.name() };
        for part in ports.chunks(ELEMENTS_MAX / 12) {
            let w = self.message(ADD, 0, &name);
            w.number(9 | BIG, 0);
            w.nest(8, |w| {
                for port in part {
                    w.nest(7, |w| w.put(4 | BIG, &port.to_be_bytes()));
                }
            });
        }
    }
}

fn fresh_name(set: Set) -> String {
    set.name() + "-new"
}

fn element(w: &mut Writer, e: &Entry, timed: bool) {
    w.nest(7, |w| {
        w.nest(1, |w| {
            w.put(
                if e.prefix.is_v4() { 1 } else { 2 } | BIG,
                e.prefix.octets(),
            );
        });
        w.put(3, &[e.prefix.length()]);
        if timed {
            w.number(6 | BIG, time(e.seconds));
        }
    });
}

/// The time of an element: 0 for no end.
fn time(seconds: u32) -> u32 {
    if seconds == Entry::FOR_EVER {
        0
    } else {
        seconds.min(TIME_MAX)
    }
}

/// A question whether a ban is in its set: acknowledged, or [`NOT_THERE`]. An address is also in
/// it when a wider network is.
#[must_use]
pub fn ask_element(sequence: u32, entry: &Entry) -> Vec<u8> {
    let mut m = Messages::new(sequence);
    let w = m.message(TEST, ACK, &Set::of(entry).name());
    element(w, entry, false);
    m.w.finish()
}

/// A question for a set's members, or only for what it is.
#[must_use]
pub fn ask_set(sequence: u32, set: Set, members: bool) -> Vec<u8> {
    let mut m = Messages::new(sequence);
    let w = m.message(LIST, DUMP, &set.name());
    if !members {
        w.number(6 | BIG, HEADER_ONLY);
    }
    m.w.finish()
}

/// A part of the answer to [`ask_set`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How many rules refer to the set, when this part says so.
    pub references: Option<u32>,
    /// Bans in it.
    pub entries: Vec<Entry>,
}

/// Reads a part of an answer about a set of this scope.
#[must_use]
pub fn told(body: &Body<'_>, scope: u8) -> Option<Told> {
    let Body::Other(kind, octets) = body else {
        return None;
    };
    if *kind != SUBSYSTEM << 8 | LIST {
        return None;
    }
    let attrs = octets.get(4..)?;
    let number = |v: &[u8]| v.try_into().ok().map(u32::from_be_bytes);
    let references = attribute(attrs, 7)
        .and_then(|data| attribute(data, 25))
        .and_then(number);
    let mut entries = Vec::new();
    for (_, element) in attributes(attribute(attrs, 8).unwrap_or(&[])) {
        let Some(ip) = attribute(element, 1) else {
            continue;
        };
        let v4 = attribute(ip, 1)
            .and_then(|a| <[u8; 4]>::try_from(a).ok())
            .map(std::net::IpAddr::from);
        let v6 = attribute(ip, 2)
            .and_then(|a| <[u8; 16]>::try_from(a).ok())
            .map(std::net::IpAddr::from);
        let Some(address) = v4.or(v6) else { continue };
        let length = match attribute(element, 3) {
            Some([n]) => *n,
            _ => Prefix::host(address).length(),
        };
        let seconds = match attribute(element, 6).and_then(number) {
            Some(0) | None => Entry::FOR_EVER,
            Some(n) => n,
        };
        if let Some(prefix) = Prefix::new(address, length) {
            entries.push(Entry {
                scope,
                prefix,
                seconds,
            });
        }
    }
    Some(Told {
        references,
        entries,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::netlink::messages;
    use super::*;
    use crate::prefix::tests::any_prefix;

    #[test]
    fn names_differ_and_are_short_enough() {
        let mut all: Vec<String> = Set::all().flat_map(|s| [s.name(), fresh_name(s)]).collect();
        let count = all.len();
        assert!(all.iter().all(|n| n.len() <= 31));
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn scopes_beyond_the_last_are_for_all_traffic() {
        for (scope, is) in [(SCOPES - 1, SCOPES - 1), (SCOPES, SCOPES), (SCOPES + 1, 0)] {
            let e = Entry {
                scope,
                ..sentinel(true)
            };
            assert_eq!(
                Set::of(&e),
                Set::Networks {
                    scope: is,
                    v4: true
                }
            );
        }
    }

    #[test]
    fn times_end_at_what_the_kernel_takes() {
        for (seconds, is) in [
            (1, 1),
            (TIME_MAX - 1, TIME_MAX - 1),
            (TIME_MAX, TIME_MAX),
            (TIME_MAX + 1, TIME_MAX),
            (Entry::FOR_EVER, 0),
        ] {
            assert_eq!(time(seconds), is);
        }
    }

    #[test]
    fn many_are_cut_into_messages_of_bounded_length() {
        let all: Vec<Entry> = (0..5_000u32)
            .map(|n| Entry {
                scope: 0,
                prefix: Prefix::host(n.to_be_bytes().into()),
                seconds: 60,
            })
            .collect();
        let mut m = Messages::new(1);
        m.add(Set::of(&all[0]), false, &all);
        let octets = m.finish();
        let lengths: Vec<usize> = messages(&octets)
            .map(|m| match m.body {
                Body::Other(_, b) => b.len(),
                _ => 0,
            })
            .collect();
        assert!(
            lengths.len() > 3 && lengths.iter().all(|n| *n < 65_000),
            "{lengths:?}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        /// What is asked for has the form in which members are told.
        #[test]
        fn elements_are_read_as_written(all in prop::collection::vec((any_prefix(), 1u32..TIME_MAX), 1..20)) {
            let entries: Vec<Entry> = all
                .into_iter()
                .map(|(prefix, seconds)| Entry { scope: 3, prefix, seconds })
                .collect();
            let mut m = Messages::new(1);
            m.add(Set::Networks { scope: 3, v4: true }, false, &entries);
            let mut octets = m.finish();
            octets[4] = LIST as u8;
            let all: Vec<Told> = messages(&octets).filter_map(|m| told(&m.body, 3)).collect();
            prop_assert_eq!(&all[0].entries, &entries);
            for n in 0..octets.len() {
                for m in messages(&octets[..n]) {
                    let _ = told(&m.body, 0);
                }
            }
        }
    }
}
