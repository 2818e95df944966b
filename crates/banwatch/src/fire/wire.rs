//! What watch may ask of fire, and what fire answers: packets of at most 64 KiB over a pair.
//!
//! A packet is an operation (1 octet), a number that joins question and answer (4, big end
//! first), and what the operation has behind it. A ban is 23 octets: scope, network
//! ([`Prefix::encode`]), seconds (big end first).

use crate::prefix::Prefix;

/// Length of a ban in a packet, in octets.
const ENTRY: usize = 23;
/// Most bans in one packet: below 64 KiB.
pub const ENTRIES_MAX: usize = 2_800;
/// Most ports of a scope.
pub const PORTS_MAX: usize = 64;

/// A network that is banned, for how long, and for which traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// 0 for all traffic, else the ports that [`Request::Ports`] gave under this number.
    pub scope: u8,
    /// Who.
    pub prefix: Prefix,
    /// For how many seconds from now; [`Entry::FOR_EVER`] for no end. Never 0.
    pub seconds: u32,
}

impl Entry {
    /// No end.
    pub const FOR_EVER: u32 = u32::MAX;
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The TCP ports of a scope (1 to 255); said before its first ban.
    Ports(u8, Vec<u16>),
    /// Ban these.
    Add(Vec<Entry>),
    /// Lift these bans; one that is not there is no error.
    Delete(Vec<Entry>),
    /// Part of a restore; nothing happens before the [`Request::Commit`] of the same number.
    Stage(Vec<Entry>),
    /// Make the table anew with exactly what was staged under this number, in one transaction.
    /// Says how many bans that are: a part may have gone to a fire that has ended since.
    Commit(u32),
    /// What is in the table?
    List,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, but for these, which are on the never-ban list.
    Done(Vec<Entry>),
    /// The kernel refused it: its errno.
    Failed(u32),
    /// The table is not there (number 0: not an answer): please restore.
    Need,
    /// Part of the answer to [`Request::List`]; `true` for the last part.
    Listed(bool, Vec<Entry>),
    /// So many of the sets in which the kernel counts connections by itself are full (number 0:
    /// not an answer). Told when it changes.
    Full(u32),
}

/// The octets are not what watch or fire write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed packet")
    }
}

impl std::error::Error for Malformed {}

fn put_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    for e in entries.iter().take(ENTRIES_MAX) {
        out.push(e.scope);
        out.extend(e.prefix.encode());
        out.extend(e.seconds.to_be_bytes());
    }
}

fn entries(octets: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let (parts, rest) = octets.as_chunks::<ENTRY>();
    if !rest.is_empty() || parts.len() > ENTRIES_MAX {
        return Err(Malformed);
    }
    parts
        .iter()
        .map(|part| {
            let [scope, rest @ ..] = part;
            let (prefix, seconds) = rest.split_first_chunk::<18>().ok_or(Malformed)?;
            let seconds = u32::from_be_bytes(seconds.try_into().map_err(|_| Malformed)?);
            let prefix = Prefix::decode(prefix).ok_or(Malformed)?;
            if seconds == 0 {
                return Err(Malformed);
            }
            Ok(Entry {
                scope: *scope,
                prefix,
                seconds,
            })
        })
        .collect()
}

fn open(octets: &[u8]) -> Result<(u8, u32, &[u8]), Malformed> {
    let (head, rest) = octets.split_first_chunk::<5>().ok_or(Malformed)?;
    let [operation, number @ ..] = head;
    Ok((*operation, u32::from_be_bytes(*number), rest))
}

fn begin(operation: u8, number: u32, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + room);
    out.push(operation);
    out.extend(number.to_be_bytes());
    out
}

impl Request {
    /// The octets. Bans beyond [`ENTRIES_MAX`] and ports beyond [`PORTS_MAX`] are left out:
    /// callers cut them into packets.
    #[must_use]
    pub fn encode(&self, number: u32) -> Vec<u8> {
        match self {
            Request::Ports(scope, ports) => {
                let mut out = begin(b'P', number, 1 + 2 * ports.len());
                out.push(*scope);
                out.extend(ports.iter().take(PORTS_MAX).flat_map(|p| p.to_be_bytes()));
                out
            }
            Request::Add(e) | Request::Delete(e) | Request::Stage(e) => {
                let operation = match self {
                    Request::Add(_) => b'A',
                    Request::Delete(_) => b'D',
                    _ => b'S',
                };
                let mut out = begin(operation, number, e.len() * ENTRY);
                put_entries(&mut out, e);
                out
            }
            Request::Commit(count) => {
                let mut out = begin(b'C', number, 4);
                out.extend(count.to_be_bytes());
                out
            }
            Request::List => begin(b'L', number, 0),
        }
    }

    /// Reads a question and its number.
    ///
    /// # Errors
    /// [`Malformed`] for anything that [`Request::encode`] does not make.
    pub fn decode(octets: &[u8]) -> Result<(u32, Request), Malformed> {
        let (operation, number, rest) = open(octets)?;
        let request = match (operation, rest) {
            (b'P', [scope, ports @ ..]) if *scope != 0 => {
                let (pairs, odd) = ports.as_chunks::<2>();
                let ports: Vec<u16> = pairs.iter().map(|p| u16::from_be_bytes(*p)).collect();
                if !odd.is_empty() || ports.is_empty() || ports.len() > PORTS_MAX {
                    return Err(Malformed);
                }
                Request::Ports(*scope, ports)
            }
            (b'A', rest) => Request::Add(entries(rest)?),
            (b'D', rest) => Request::Delete(entries(rest)?),
            (b'S', rest) => Request::Stage(entries(rest)?),
            (b'C', count) => {
                Request::Commit(u32::from_be_bytes(count.try_into().map_err(|_| Malformed)?))
            }
            (b'L', []) => Request::List,
            _ => return Err(Malformed),
        };
        Ok((number, request))
    }
}

impl Answer {
    /// The octets.
    #[must_use]
    pub fn encode(&self, number: u32) -> Vec<u8> {
        match self {
            Answer::Done(refused) => {
                let mut out = begin(b'd', number, refused.len() * ENTRY);
                put_entries(&mut out, refused);
                out
            }
            Answer::Failed(errno) => {
                let mut out = begin(b'f', number, 4);
                out.extend(errno.to_be_bytes());
                out
            }
            Answer::Need => begin(b'n', number, 0),
            Answer::Full(count) => {
                let mut out = begin(b'o', number, 4);
                out.extend(count.to_be_bytes());
                out
            }
            Answer::Listed(last, e) => {
                let mut out = begin(if *last { b'l' } else { b'm' }, number, e.len() * ENTRY);
                put_entries(&mut out, e);
                out
            }
        }
    }

    /// Reads an answer and its number.
    ///
    /// # Errors
    /// [`Malformed`] for anything that [`Answer::encode`] does not make.
    pub fn decode(octets: &[u8]) -> Result<(u32, Answer), Malformed> {
        let (operation, number, rest) = open(octets)?;
        let answer = match operation {
            b'd' => Answer::Done(entries(rest)?),
            b'f' => Answer::Failed(u32::from_be_bytes(rest.try_into().map_err(|_| Malformed)?)),
            b'n' if rest.is_empty() => Answer::Need,
            b'o' => Answer::Full(u32::from_be_bytes(rest.try_into().map_err(|_| Malformed)?)),
            b'l' => Answer::Listed(true, entries(rest)?),
            b'm' => Answer::Listed(false, entries(rest)?),
            _ => return Err(Malformed),
        };
        Ok((number, answer))
    }
}

/// For fuzzing: reads octets both ways and checks that what was read is written back the same.
///
/// # Panics
/// When it is not.
pub fn exercise(octets: &[u8]) {
    if let Ok((n, r)) = Request::decode(octets) {
        assert!(r.encode(n) == octets, "request");
    }
    if let Ok((n, a)) = Answer::decode(octets) {
        assert!(a.encode(n) == octets, "answer");
    }
    for m in super::netlink::messages(octets) {
        let _ = super::nft::told(&m.body);
        let _ = super::nft::elements_in(&m.body);
        let _ = super::ipset::told(&m.body, 0);
    }
    let _ = super::addresses::addresses(octets);
    let _ = super::sessions::established(octets, &[22]).count();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prefix::tests::any_prefix;

    fn any_entry() -> impl Strategy<Value = Entry> {
        (any::<u8>(), any_prefix(), 1u32..).prop_map(|(scope, prefix, seconds)| Entry {
            scope,
            prefix,
            seconds,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn written_is_read(e in prop::collection::vec(any_entry(), 0..9), n: u32, scope in 1u8..,
                           ports in prop::collection::vec(any::<u16>(), 1..PORTS_MAX), errno: u32, last: bool) {
            for r in [Request::Add(e.clone()), Request::Delete(e.clone()), Request::Stage(e.clone()),
                      Request::Commit(errno), Request::List, Request::Ports(scope, ports)] {
                let octets = r.encode(n);
                prop_assert_eq!(Request::decode(&octets), Ok((n, r)));
            }
            for a in [Answer::Done(e.clone()), Answer::Failed(errno), Answer::Full(errno), Answer::Need, Answer::Listed(last, e)] {
                prop_assert_eq!(Answer::decode(&a.encode(n)), Ok((n, a)));
            }
        }

        #[test]
        fn octets_are_refused_or_read_back(mut octets in prop::collection::vec(any::<u8>(), 0..80), op in 0usize..10) {
            if let (Some(first), Some(op)) = (octets.first_mut(), b"PADSCLdflo".get(op)) {
                *first = *op;
            }
            exercise(&octets);
        }
    }

    #[test]
    fn limits() {
        let e = Entry {
            scope: 0,
            prefix: Prefix::host([1, 2, 3, 4].into()),
            seconds: 1,
        };
        for (n, ok) in [
            (ENTRIES_MAX - 1, true),
            (ENTRIES_MAX, true),
            (ENTRIES_MAX + 1, false),
        ] {
            let mut octets = begin(b'A', 1, 0);
            for _ in 0..n {
                put_entries(&mut octets, &[e]);
            }
            assert!(octets.len() < 65_536);
            assert_eq!(Request::decode(&octets).is_ok(), ok);
        }
        for (n, ok) in [
            (0, false),
            (1, true),
            (PORTS_MAX, true),
            (PORTS_MAX + 1, false),
        ] {
            let octets = [vec![b'P', 0, 0, 0, 1, 1], vec![0; 2 * n]].concat();
            assert_eq!(Request::decode(&octets).is_ok(), ok, "{n}");
        }
        let none = Entry { seconds: 0, ..e };
        assert!(Request::decode(&Request::Add(vec![none]).encode(1)).is_err());
    }
}
