//! What a lookup comes to.

use std::fmt;

use crate::{Name, Records};

/// The end of one lookup. Shared (`Arc`) between the cache and everybody who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was found.
    pub outcome: Outcome,
    /// The name the records stand at, after CNAMEs; the name of the question when there were none.
    pub canonical: Name,
    /// Whether the answer is proven by DNSSEC as far as we may know: the AD bit was set and came
    /// from a resolver that is trusted to set it (loopback, or `trust-ad` in resolv.conf), for
    /// every step of a CNAME chain. Never true for [`Outcome::Temporary`].
    pub authentic: bool,
}

/// The four ways a lookup ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// At least one record of the type.
    Records(Records),
    /// The name exists and has no record of this type (RFC 2308, 2.2).
    NoData,
    /// The name does not exist (RFC 2308, 2.1; also below a CNAME).
    NxDomain,
    /// Nothing is known now; ask again later, never fail for good because of it.
    Temporary(Trouble),
}

/// Why a lookup ended without knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// No server answered in time.
    Timeout,
    /// Every server that answered said SERVFAIL, REFUSED or something else that is no answer.
    ServerFailure,
    /// No server could be reached (refused, no route, TCP closed).
    Unreachable,
    /// More than [`CNAME_MAX`](crate::CNAME_MAX) aliases one after another, or a ring of them.
    CnameChain,
    /// Answers came that make no sense (undecodable, or names no host can have).
    Garbage,
    /// More than [`IN_FLIGHT_MAX`](crate::IN_FLIGHT_MAX) lookups are under way here.
    Overloaded,
}

impl Trouble {
    /// Words for a log line or a report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "no answer from the name servers",
            Self::ServerFailure => "name server failure",
            Self::Unreachable => "name servers can't be reached",
            Self::CnameChain => "chain of aliases is too long",
            Self::Garbage => "answer makes no sense",
            Self::Overloaded => "too many lookups under way",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Answer {
    pub(crate) const fn temporary(name: Name, why: Trouble) -> Self {
        Self {
            outcome: Outcome::Temporary(why),
            canonical: name,
            authentic: false,
        }
    }

    /// The records, when there are some.
    pub const fn records(&self) -> Option<&Records> {
        match &self.outcome {
            Outcome::Records(records) => Some(records),
            _ => None,
        }
    }
}
