//! What a check finds out.

use std::fmt;

use super::record::RecordError;

/// The seven results (RFC 7208, 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpfResult {
    /// The domain publishes nothing, or there is no domain.
    None,
    /// The domain says nothing about this address.
    Neutral,
    /// It may send.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// Not known now.
    TempError,
    /// What is published can't be used.
    PermError,
}

impl SpfResult {
    /// The word of RFC 7208 and RFC 8601.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for SpfResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// What the client said in HELO or EHLO (RFC 7208, 2.3).
    Helo,
    /// The reverse-path (RFC 7208, 2.4).
    MailFrom,
}

/// Why there is no better result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpfProblem {
    /// The domain to check is none, or has only one label.
    NoDomain,
    /// This domain has several records.
    SeveralRecords(String),
    /// The record of this domain is void.
    Record(String, RecordError),
    /// `include` or `redirect` names this domain, which has no record.
    NoRecord(String),
    /// More than [`LOOKUPS_MAX`](super::LOOKUPS_MAX) terms that ask.
    TooManyLookups,
    /// More than [`VOIDS_MAX`](super::VOIDS_MAX) of them found nothing.
    TooManyVoids,
    /// This domain has more than [`MX_MAX`](super::MX_MAX) mail exchangers.
    TooManyMx(String),
    /// There was no answer about this name.
    NoAnswer(String),
}

impl fmt::Display for SpfProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDomain => f.write_str("no domain to check"),
            Self::SeveralRecords(domain) => write!(f, "{domain} has several SPF records"),
            Self::Record(domain, error) => write!(f, "record of {domain}: {error}"),
            Self::NoRecord(domain) => write!(f, "{domain} has no SPF record"),
            Self::TooManyLookups => f.write_str("more than 10 DNS lookups"),
            Self::TooManyVoids => f.write_str("more than 2 DNS lookups found nothing"),
            Self::TooManyMx(domain) => write!(f, "{domain} has more than 10 mail exchangers"),
            Self::NoAnswer(name) => write!(f, "no answer for {name}"),
        }
    }
}

/// What a check found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfVerdict {
    /// The result.
    pub result: SpfResult,
    /// Who was checked. A null reverse-path is checked as `postmaster@HELO` and still counts as
    /// [`Identity::MailFrom`].
    pub identity: Identity,
    /// The domain that was checked, in ASCII and lower case; empty without one.
    pub domain: String,
    /// The client.
    pub ip: std::net::IpAddr,
    /// The term that decided, as it is published; of an `include`, that term itself.
    pub mechanism: Option<String>,
    /// Why there is no better result.
    pub problem: Option<SpfProblem>,
    /// For a fail: the words that the domain wants said, visible ASCII and spaces alone.
    /// They are the domain's words, not ours: say whose they are (RFC 7208, 6.2).
    pub explanation: Option<String>,
    /// Terms that asked.
    pub lookups: u32,
    /// Those that found nothing.
    pub voids: u32,
}

impl SpfVerdict {
    /// Whether the domain is proven to have sent this, as DMARC asks.
    pub fn passing_domain(&self) -> Option<&str> {
        (self.result == SpfResult::Pass).then_some(self.domain.as_str())
    }
}
