//! The format of the state file.
//!
//! ```text
//! file    = "hkban 1\n" *record
//! record  = crc32(of what follows) 4, length of the payload 2, payload
//! payload = "B" prefix 18, since 8, until 8, count 2, jail 2, enforced 1   a ban
//!         | "U" prefix 18                                                  lifted, forgotten
//!         | "N" number 2, name                                             a jail's name
//!         | "G" prefix 18, second 8, account 8                             a good login
//!         | "P" device 8, inode 8, offset 8, path                          read so far
//! ```
//!
//! Numbers are big end first. Later records hold instead of earlier ones about the same thing. A
//! reader passes over octets that are no whole, true record and goes on behind them, so a torn
//! end or a damaged place costs only what was written there.

use crate::own::book::Ban;
use crate::own::judge::Good;
use crate::prefix::Prefix;

/// The first octets.
pub const MAGIC: &[u8; 8] = b"hkban 1\n";
/// Longest payload that is written or believed, in octets.
pub const PAYLOAD_MAX: usize = 1_100;
/// Longest name or path that is kept, in octets.
pub const NAME_MAX: usize = 1_024;
const HEAD: usize = 6;

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A ban; its end may have passed.
    Ban(Prefix, Ban),
    /// A ban that was lifted.
    Lift(Prefix),
    /// The name behind a jail's number.
    Name(u16, String),
    /// A good login from a customer's network.
    Good(Prefix, Good),
    /// How far a log was read.
    Position {
        /// Its path.
        path: String,
        /// Which file it was then: device and inode.
        file: (u64, u64),
        /// Octets read.
        offset: u64,
    },
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(NAME_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or("")
}

impl Record {
    /// Appends the record to `out`. Names and paths beyond [`NAME_MAX`] are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend([0; HEAD]);
        match self {
            Record::Ban(prefix, ban) => {
                out.push(b'B');
                out.extend(prefix.encode());
                out.extend(ban.since.to_be_bytes());
                out.extend(ban.until.to_be_bytes());
                out.extend(ban.count.to_be_bytes());
                out.extend(ban.jail.to_be_bytes());
                out.push(u8::from(ban.enforced));
            }
            Record::Lift(prefix) => {
                out.push(b'U');
                out.extend(prefix.encode());
            }
            Record::Name(number, name) => {
                out.push(b'N');
                out.extend(number.to_be_bytes());
                out.extend(cut(name).as_bytes());
            }
            Record::Good(prefix, good) => {
                out.push(b'G');
                out.extend(prefix.encode());
                out.extend(good.last.to_be_bytes());
                out.extend(good.account.to_be_bytes());
            }
            Record::Position { path, file, offset } => {
                out.push(b'P');
                for n in [file.0, file.1, *offset] {
                    out.extend(n.to_be_bytes());
                }
                out.extend(cut(path).as_bytes());
            }
        }
        let length = u16::try_from(out.len() - at - HEAD).unwrap_or(0);
        let Some(body) = out.get_mut(at + 4..) else {
            return;
        };
        if let Some(field) = body.get_mut(..2) {
            field.copy_from_slice(&length.to_be_bytes());
        }
        let sum = crc32fast::hash(body);
        if let Some(field) = out.get_mut(at..at + 4) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
    }

    fn decode(payload: &[u8]) -> Option<Record> {
        let (kind, rest) = payload.split_first()?;
        let mut at = rest;
        let record = match kind {
            b'B' => {
                let prefix = Prefix::decode(take(&mut at)?)?;
                let since = i64::from_be_bytes(*take(&mut at)?);
                let until = i64::from_be_bytes(*take(&mut at)?);
                let count = u16::from_be_bytes(*take(&mut at)?);
                let jail = u16::from_be_bytes(*take(&mut at)?);
                let [flag] = *take(&mut at)?;
                if flag > 1 {
                    return None;
                }
                let ban = Ban {
                    since,
                    until,
                    count,
                    jail,
                    enforced: flag == 1,
                    stands: true,
                };
                Record::Ban(prefix, ban)
            }
            b'U' => Record::Lift(Prefix::decode(take(&mut at)?)?),
            b'N' => {
                let number = u16::from_be_bytes(*take(&mut at)?);
                let name = std::str::from_utf8(std::mem::take(&mut at)).ok()?;
                Record::Name(number, name.to_owned())
            }
            b'G' => {
                let prefix = Prefix::decode(take(&mut at)?)?;
                let last = i64::from_be_bytes(*take(&mut at)?);
                let account = u64::from_be_bytes(*take(&mut at)?);
                Record::Good(prefix, Good { last, account })
            }
            b'P' => {
                let mut number = || take(&mut at).map(|n| u64::from_be_bytes(*n));
                let (device, inode, offset) = (number()?, number()?, number()?);
                let path = std::str::from_utf8(std::mem::take(&mut at))
                    .ok()?
                    .to_owned();
                Record::Position {
                    path,
                    file: (device, inode),
                    offset,
                }
            }
            _ => return None,
        };
        at.is_empty().then_some(record)
    }
}

fn take<'a, const N: usize>(at: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = at.split_first_chunk::<N>()?;
    *at = tail;
    Some(head)
}

/// The records in a file's octets; gives how many octets were no record (0 for a sound file).
pub fn read(octets: &[u8], each: &mut dyn FnMut(Record)) -> usize {
    read_some(octets.strip_prefix(MAGIC).unwrap_or(octets), true, each).1
}

/// The records in a piece of a file; gives how many octets were used, and how many of them were
/// no record. Unless it is the last piece, what could be a record that is not whole is left over.
pub fn read_some(octets: &[u8], last: bool, each: &mut dyn FnMut(Record)) -> (usize, usize) {
    let mut rest = octets;
    let mut lost = 0;
    while !rest.is_empty() && (last || rest.len() >= HEAD + PAYLOAD_MAX) {
        match first(rest) {
            Some((record, length)) => {
                each(record);
                rest = rest.get(length..).unwrap_or(&[]);
            }
            None => {
                lost += 1;
                rest = rest.get(1..).unwrap_or(&[]);
            }
        }
    }
    (octets.len() - rest.len(), lost)
}

/// The record at the beginning, and its length.
fn first(octets: &[u8]) -> Option<(Record, usize)> {
    let sum = u32::from_be_bytes(octets.get(..4)?.try_into().ok()?);
    let length = usize::from(u16::from_be_bytes(octets.get(4..6)?.try_into().ok()?));
    if length == 0 || length > PAYLOAD_MAX {
        return None;
    }
    let body = octets.get(4..HEAD + length)?;
    // Most garbage is refused by its kind before anything is summed up.
    if !matches!(body.get(2), Some(b'B' | b'U' | b'N' | b'G' | b'P')) {
        return None;
    }
    if crc32fast::hash(body) != sum {
        return None;
    }
    Some((Record::decode(body.get(2..)?)?, HEAD + length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prefix::tests::any_prefix;

    fn any_record() -> impl Strategy<Value = Record> {
        prop_oneof![
            (any_prefix(), any::<(i64, i64, u16, u16, bool)>()).prop_map(
                |(p, (since, until, count, jail, enforced))| Record::Ban(
                    p,
                    Ban {
                        since,
                        until,
                        count,
                        jail,
                        enforced,
                        stands: true
                    }
                )
            ),
            any_prefix().prop_map(Record::Lift),
            (any::<u16>(), ".{0,40}").prop_map(|(n, t)| Record::Name(n, t)),
            (any_prefix(), any::<i64>(), any::<u64>())
                .prop_map(|(p, last, account)| Record::Good(p, Good { last, account })),
            (".{0,40}", any::<(u64, u64)>(), any::<u64>())
                .prop_map(|(path, file, offset)| Record::Position { path, file, offset }),
        ]
    }

    fn all(octets: &[u8]) -> (Vec<Record>, usize) {
        let mut found = Vec::new();
        let lost = read(octets, &mut |r| found.push(r));
        (found, lost)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn written_is_read_and_a_cut_costs_the_last_only(records in prop::collection::vec(any_record(), 1..8)) {
            let mut octets = MAGIC.to_vec();
            let mut ends = vec![octets.len()];
            for r in &records {
                r.encode(&mut octets);
                ends.push(octets.len());
            }
            prop_assert_eq!(all(&octets), (records.clone(), 0));
            for n in MAGIC.len()..octets.len() {
                let whole = ends.iter().filter(|e| **e <= n).count() - 1;
                let (found, lost) = all(&octets[..n]);
                prop_assert_eq!(&found[..], &records[..whole]);
                prop_assert_eq!(lost, n - ends[whole]);
            }
        }

        #[test]
        fn damage_costs_what_it_hit(records in prop::collection::vec(any_record(), 3..8), at: prop::sample::Index, bit in 0u8..8) {
            let mut octets = MAGIC.to_vec();
            for r in &records {
                r.encode(&mut octets);
            }
            let at = MAGIC.len() + at.index(octets.len() - MAGIC.len());
            octets[at] ^= 1 << bit;
            let (found, lost) = all(&octets);
            prop_assert!(lost > 0 && found.len() + 1 >= records.len());
            prop_assert!(found.iter().all(|r| records.contains(r)));
        }

        #[test]
        fn garbage_ends(octets in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(all(&octets).1 <= octets.len());
        }
    }

    #[test]
    fn names_are_cut_at_the_limit() {
        for (n, kept) in [
            (NAME_MAX - 1, NAME_MAX - 1),
            (NAME_MAX, NAME_MAX),
            (NAME_MAX + 1, NAME_MAX),
        ] {
            let mut octets = Vec::new();
            Record::Name(1, "x".repeat(n)).encode(&mut octets);
            assert_eq!(all(&octets).0, [Record::Name(1, "x".repeat(kept))]);
        }
    }
}
