//! Answers from octets: is this the answer to what was asked, and what does it say?
//!
//! [`read`] is a pure function of the question, the id and the octets; it is what the fuzz target
//! `dns_response` runs.

use std::collections::{HashMap, HashSet};

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name as WireName, RData, Record};

use crate::query::wire_kind;
use crate::resolver::CNAME_MAX;
use crate::{Mx, Name, Question, Records, Tlsa};

/// How many records of the wanted type are taken from one answer; more are left out. A TCP answer
/// holds at most 65,535 octets, so that this bounds memory, not meaning: no honest mail domain
/// comes near.
pub const RECORDS_MAX: usize = 256;

/// Longest time to live believed, in seconds; values with the top bit set count as 0
/// (RFC 2181, 8).
const TTL_BITS: u32 = 0x7fff_ffff;

/// What an answer to our question says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Records of the type, at the end of the chain of aliases.
    Records {
        /// The records, at least one.
        records: Records,
        /// The name they stand at.
        canonical: Name,
        /// Seconds for which they may be kept: the least of the chain.
        ttl: u32,
        /// The AD bit as the server set it; whether to believe it is the resolver's business.
        ad: bool,
    },
    /// The name exists without such records.
    NoData {
        /// The name at the end of the chain.
        canonical: Name,
        /// Seconds for which this may be kept (RFC 2308, 5); `None` without an SOA record.
        ttl: Option<u32>,
        /// The AD bit.
        ad: bool,
    },
    /// The name does not exist.
    NxDomain {
        /// The name at the end of the chain.
        canonical: Name,
        /// As for [`Reading::NoData`].
        ttl: Option<u32>,
        /// The AD bit.
        ad: bool,
    },
    /// The answer ends at an alias whose target has to be asked for.
    Alias {
        /// The name to ask next.
        target: Name,
        /// How many aliases led here.
        steps: usize,
        /// Seconds, the least of the chain.
        ttl: u32,
        /// The AD bit.
        ad: bool,
    },
    /// The answer did not fit; ask again by TCP.
    Truncated,
    /// The server does not understand EDNS (FORMERR, NOTIMP, BADVERS).
    NoEdns,
    /// The server can't or won't: SERVFAIL, REFUSED and other codes.
    ServerFailure,
    /// More than [`CNAME_MAX`] aliases in one answer, or a ring.
    CnameChain,
    /// It carries our id and can't be read, or names what no host can be called.
    Garbage,
}

/// Why octets are not an answer to this question at all; they are dropped and waiting goes on,
/// so that a forged datagram can't end a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// Shorter than a header.
    Short,
    /// Another id.
    WrongId,
    /// A query, or another operation.
    NotAnAnswer,
    /// Another question, or none where one is needed.
    WrongQuestion,
}

/// Reads `bytes` as the answer to `question` asked under `id`.
///
/// Linear in the length of the input, apart from compressed names, whose expansion the decoder
/// bounds at 255 octets each.
///
/// # Errors
/// [`Ignored`] when the octets don't belong to the question; keep waiting.
pub fn read(question: &Question, id: u16, bytes: &[u8]) -> Result<Reading, Ignored> {
    let (Some(&high), Some(&low), Some(&flags)) = (bytes.first(), bytes.get(1), bytes.get(2))
    else {
        return Err(Ignored::Short);
    };
    if bytes.len() < 12 {
        return Err(Ignored::Short);
    }
    if u16::from_be_bytes([high, low]) != id {
        return Err(Ignored::WrongId);
    }
    if flags & 0x80 == 0 || flags & 0x78 != 0 {
        return Err(Ignored::NotAnAnswer);
    }
    let Ok(message) = Message::from_vec(bytes) else {
        // A truncated answer may be cut anywhere, even inside a record.
        return Ok(if flags & 0x02 != 0 {
            Reading::Truncated
        } else {
            Reading::Garbage
        });
    };
    if message.metadata.message_type != MessageType::Response
        || message.metadata.op_code != OpCode::Query
    {
        return Err(Ignored::NotAnAnswer);
    }
    let code = message.metadata.response_code;
    match message.queries.as_slice() {
        [asked] if same_question(question, asked) => {}
        // Some servers leave the question out of an error; the id has to do there.
        [] if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) => {}
        _ => return Err(Ignored::WrongQuestion),
    }
    if message.metadata.truncation {
        return Ok(Reading::Truncated);
    }
    Ok(match code {
        ResponseCode::NoError | ResponseCode::NXDomain => follow(question, &message),
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS => Reading::NoEdns,
        _ => Reading::ServerFailure,
    })
}

fn same_question(question: &Question, asked: &hickory_proto::op::Query) -> bool {
    asked.query_type == wire_kind(question.kind)
        && asked.query_class == DNSClass::IN
        && from_wire(&asked.name).is_some_and(|name| name == question.name)
}

fn from_wire(name: &WireName) -> Option<Name> {
    Name::from_labels(name.iter()).ok()
}

fn clean_ttl(ttl: u32) -> u32 {
    if ttl > TTL_BITS { 0 } else { ttl }
}

/// Walks the aliases of a NOERROR or NXDOMAIN answer and collects what stands at their end.
fn follow(question: &Question, message: &Message) -> Reading {
    let ad = message.metadata.authentic_data;
    let in_class = || {
        message
            .answers
            .iter()
            .filter(|record| record.dns_class == DNSClass::IN)
    };
    let mut aliases: HashMap<Name, (&WireName, u32)> = HashMap::new();
    for record in in_class() {
        if let RData::CNAME(target) = &record.data
            && let Some(owner) = from_wire(&record.name)
        {
            // Two aliases at one name are forbidden (RFC 2181, 10.1); the first is taken.
            aliases
                .entry(owner)
                .or_insert((&target.0, clean_ttl(record.ttl)));
        }
    }
    let mut canonical = question.name.clone();
    let mut ttl = TTL_BITS;
    let mut steps = 0;
    // Removing what was used makes a ring end by itself, at a name already seen.
    let mut seen = HashSet::new();
    while let Some((target, alias_ttl)) = aliases.remove(&canonical) {
        steps += 1;
        if steps > CNAME_MAX {
            return Reading::CnameChain;
        }
        let Some(target) = from_wire(target) else {
            return Reading::Garbage;
        };
        seen.insert(std::mem::replace(&mut canonical, target));
        ttl = ttl.min(alias_ttl);
    }
    if seen.contains(&canonical) {
        return Reading::CnameChain;
    }
    let mut records = Records::none(question.kind);
    let mut unusable = false;
    for record in in_class() {
        if records.len() >= RECORDS_MAX {
            break;
        }
        if record.record_type() != wire_kind(question.kind)
            || from_wire(&record.name).as_ref() != Some(&canonical)
        {
            continue;
        }
        if take(&mut records, &record.data) {
            ttl = ttl.min(clean_ttl(record.ttl));
        } else {
            unusable = true;
        }
    }
    if !records.is_empty() {
        return Reading::Records {
            records,
            canonical,
            ttl,
            ad,
        };
    }
    if unusable {
        return Reading::Garbage;
    }
    let negative_ttl = negative_ttl(&message.authorities).map(|soa| soa.min(ttl));
    if message.metadata.response_code == ResponseCode::NXDomain {
        return Reading::NxDomain {
            canonical,
            ttl: negative_ttl,
            ad,
        };
    }
    if steps > 0 && negative_ttl.is_none() {
        return Reading::Alias {
            target: canonical,
            steps,
            ttl,
            ad,
        };
    }
    Reading::NoData {
        canonical,
        ttl: negative_ttl,
        ad,
    }
}

/// The time a negative answer may be kept: the lesser of the SOA's own time to live and its
/// last field (RFC 2308, 5).
fn negative_ttl(authorities: &[Record]) -> Option<u32> {
    authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(clean_ttl(record.ttl).min(clean_ttl(soa.minimum))),
        _ => None,
    })
}

/// Adds one record; false when it holds a name that no host can have.
fn take(records: &mut Records, data: &RData) -> bool {
    match (records, data) {
        (Records::A(list), RData::A(address)) => list.push(address.0),
        (Records::Aaaa(list), RData::AAAA(address)) => list.push(address.0),
        (Records::Mx(list), RData::MX(mx)) => {
            let exchange = if mx.exchange.is_root() {
                None
            } else {
                match from_wire(&mx.exchange) {
                    Some(name) => Some(name),
                    None => return false,
                }
            };
            list.push(Mx {
                preference: mx.preference,
                exchange,
            });
        }
        (Records::Txt(list), RData::TXT(txt)) => list.push(txt.txt_data.concat()),
        (Records::Ptr(list), RData::PTR(name)) => match from_wire(&name.0) {
            Some(name) => list.push(name),
            None => return false,
        },
        (Records::Tlsa(list), RData::TLSA(tlsa)) => list.push(Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        }),
        // RDATA of length 0 or of another type under this type number.
        _ => return false,
    }
    true
}
