//! The record types mail needs, as plain data.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::Name;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// IPv4 addresses (RFC 1035).
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Mail hosts (RFC 1035, RFC 7505).
    Mx,
    /// Texts: SPF, DKIM keys, policies (RFC 1035).
    Txt,
    /// Names of an address (RFC 1035).
    Ptr,
    /// Certificate associations for DANE (RFC 6698).
    Tlsa,
}

impl Kind {
    /// The mnemonic, as logs and command line tools show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Mx => "MX",
            Self::Txt => "TXT",
            Self::Ptr => "PTR",
            Self::Tlsa => "TLSA",
        }
    }
}

/// One question: class IN, one name, one type. The key of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// The complete name; search lists are never applied.
    pub name: Name,
    /// The type.
    pub kind: Kind,
}

impl Question {
    /// A question of `kind` about `name`.
    pub const fn new(name: Name, kind: Kind) -> Self {
        Self { name, kind }
    }
}

/// One MX record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// The host; `None` for the root, which is the null MX of RFC 7505 when it stands alone.
    pub exchange: Option<Name>,
}

/// One TLSA record, the numbers as on the wire (RFC 6698, 2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// Certificate usage: 2 (trust anchor) and 3 (end entity) count for mail (RFC 7672, 3.1).
    pub usage: u8,
    /// Selector: 0 whole certificate, 1 public key.
    pub selector: u8,
    /// Matching type: 0 in full, 1 SHA-256, 2 SHA-512.
    pub matching: u8,
    /// The association data.
    pub data: Vec<u8>,
}

/// The records of one answer: all of the type that was asked for, in the order of the message,
/// never empty inside an [`Outcome::Records`](crate::Outcome::Records).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// IPv4 addresses.
    A(Vec<Ipv4Addr>),
    /// IPv6 addresses.
    Aaaa(Vec<Ipv6Addr>),
    /// Mail hosts.
    Mx(Vec<Mx>),
    /// Texts; the character strings of one record are joined without anything between them
    /// (RFC 7208, 3.3; RFC 6376, 3.6.2.2). Any octet can occur.
    Txt(Vec<Vec<u8>>),
    /// Names.
    Ptr(Vec<Name>),
    /// Certificate associations.
    Tlsa(Vec<Tlsa>),
}

impl Records {
    pub(crate) const fn none(kind: Kind) -> Self {
        match kind {
            Kind::A => Self::A(Vec::new()),
            Kind::Aaaa => Self::Aaaa(Vec::new()),
            Kind::Mx => Self::Mx(Vec::new()),
            Kind::Txt => Self::Txt(Vec::new()),
            Kind::Ptr => Self::Ptr(Vec::new()),
            Kind::Tlsa => Self::Tlsa(Vec::new()),
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        match self {
            Self::A(list) => list.len(),
            Self::Aaaa(list) => list.len(),
            Self::Mx(list) => list.len(),
            Self::Txt(list) => list.len(),
            Self::Ptr(list) => list.len(),
            Self::Tlsa(list) => list.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many octets of memory the records hold; the measure of the cache's bound.
    pub fn weight(&self) -> usize {
        match self {
            Self::A(list) => list.len() * 4,
            Self::Aaaa(list) => list.len() * 16,
            Self::Mx(list) => list
                .iter()
                .map(|mx| 24 + mx.exchange.as_ref().map_or(0, |name| name.as_str().len()))
                .sum(),
            Self::Txt(list) => list.iter().map(|text| 24 + text.len()).sum(),
            Self::Ptr(list) => list.iter().map(|name| 16 + name.as_str().len()).sum(),
            Self::Tlsa(list) => list.iter().map(|tlsa| 32 + tlsa.data.len()).sum(),
        }
    }
}
