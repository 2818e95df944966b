//! What the check finds out.

use std::fmt;

use super::record::{DmarcRecord, Policy};

/// The result (RFC 7489, 11.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DmarcResult {
    /// The author's domain publishes nothing, or there is no such domain.
    None,
    /// SPF or DKIM proved a domain that belongs to the author's.
    Pass,
    /// Neither did.
    Fail,
    /// Not known now.
    TempError,
    /// The policy or the author can't be read.
    PermError,
}

impl DmarcResult {
    /// The word of RFC 7489.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for DmarcResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the domain's policy comes to for this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The policy asks for this.
    Asked(Policy),
    /// It asks for the first; `pct` spares this message, which gets the second.
    Sampled(Policy, Policy),
    /// It asks for the first; the domain is only testing (`t=y`), so the second applies.
    Testing(Policy, Policy),
}

impl Disposition {
    /// What is to be done.
    pub const fn policy(self) -> Policy {
        match self {
            Self::Asked(policy) | Self::Sampled(_, policy) | Self::Testing(_, policy) => policy,
        }
    }
}

/// Why the author has no domain to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorProblem {
    /// No From field.
    NoFrom,
    /// Several From fields: which one does the reader see?
    SeveralFrom,
    /// No address in it.
    NoAddress,
    /// Addresses of several domains.
    SeveralDomains,
    /// The domain is none.
    BadDomain,
}

impl fmt::Display for AuthorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoFrom => "no From field",
            Self::SeveralFrom => "several From fields",
            Self::NoAddress => "no address in From",
            Self::SeveralDomains => "From has authors of several domains",
            Self::BadDomain => "the author's domain is none",
        })
    }
}

/// The policy that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name whose record it is, without `_dmarc.`.
    pub domain: String,
    /// The record.
    pub record: DmarcRecord,
}

/// What the check found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcVerdict {
    /// The result.
    pub result: DmarcResult,
    /// The author's domain.
    pub author: String,
    /// Its organizational domain.
    pub organizational: String,
    /// The policy, if there is one.
    pub found: Option<Found>,
    /// The domain that SPF proved, if it belongs to the author's.
    pub spf_aligned: Option<String>,
    /// The domains of DKIM signatures that are valid and belong to the author's.
    pub dkim_aligned: Vec<String>,
    /// What is to be done; `none` unless the result is fail.
    pub disposition: Disposition,
    /// The author's domain does not exist.
    pub missing: bool,
    /// Why it is not better: words for a log line.
    pub reason: Option<String>,
}
