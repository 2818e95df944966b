//! Verifies the signatures of a message (RFC 6376, 6).
//!
//! The order of the checks is that of the costs: form of the signature, its dates, the key,
//! the body hash, and only then the one expensive step.

use super::key_lookup::{KeyFailure, KeyLookups, KeyNumber};
use super::key_record::{KeyProblem, KeyRecord};
use super::signature::{Signature, SignatureProblem};
use super::signed_fields;
use crate::body_hash::{BodyHashes, BodyResults, Ticket};
use crate::crypto::PublicKey;
use crate::header_block::{HeaderBlock, HeaderTooLarge};
use crate::lookup::{Answer, Question};
use crate::pass::{Mechanism, Pass, Seen};
use std::fmt;

/// Verifies one message: [`Pass::feed`], [`Pass::end`], then the verdict.
pub type Verifier = Pass<Verification>;

/// What a site accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Signatures that are verified; further ones are counted in [`Verified::skipped`]. They
    /// are taken from the top, where the latest stand.
    pub signatures: usize,
    /// Smallest RSA key in bits. Below 1024 no key is read at all.
    pub rsa_min_bits: usize,
    /// Whether `l=` may leave a part of the body unsigned. Such a signature lets anybody add
    /// to the message; [`SignatureVerdict::uncovered`] tells how much was added.
    pub partial_body: bool,
    /// How far a signature's time may lie in the future, in seconds.
    pub clock_skew: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            signatures: 16,
            rsa_min_bits: 1024,
            partial_body: true,
            clock_skew: 300,
        }
    }
}

/// The words of an Authentication-Results field for DKIM (RFC 8601, 2.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DkimResult {
    /// Not signed.
    None,
    /// A good signature.
    Pass,
    /// The message is not what was signed.
    Fail,
    /// A signature that this site doesn't accept.
    Policy,
    /// A signature that can't be understood.
    Neutral,
    /// Nothing to be said now.
    TempError,
    /// Nothing to be said, and waiting won't help.
    PermError,
}

impl DkimResult {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for DkimResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a signature is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The field itself.
    Signature(SignatureProblem),
    /// `x=` has passed.
    Expired,
    /// `t=` lies in the future.
    NotYetValid,
    /// A From field stands outside the signature, so that a reader may see another author
    /// than the one who was signed (RFC 6376, 8.15).
    UnsignedFrom,
    /// The header has a CR or LF outside a pair, at which some readers see another field begin.
    BareLineEnd,
    /// The DNS doesn't answer.
    KeyUnavailable,
    /// There is no key.
    NoKey,
    /// The key's record.
    Key(KeyProblem),
    /// The key is of another kind than the signature.
    KeyType,
    /// An RSA key below [`Limits::rsa_min_bits`]; its bits.
    WeakKey(usize),
    /// The key permits no identity below its domain.
    IdentityBelow,
    /// The body is shorter than `l=` says.
    BodyTooShort,
    /// The body was changed.
    BodyHash,
    /// `l=` leaves octets unsigned and [`Limits::partial_body`] forbids that; their number.
    PartialBody(u64),
    /// The signed fields were changed, or the signature is false.
    Mismatch,
}

impl Problem {
    /// Its word in an Authentication-Results field.
    pub fn result(self) -> DkimResult {
        match self {
            Self::Signature(SignatureProblem::Missing(_) | SignatureProblem::FromNotSigned) => {
                DkimResult::PermError
            }
            Self::Signature(SignatureProblem::Sha1) => DkimResult::Policy,
            Self::Signature(_) => DkimResult::Neutral,
            Self::KeyUnavailable => DkimResult::TempError,
            Self::NoKey | Self::Key(_) | Self::KeyType | Self::IdentityBelow => {
                DkimResult::PermError
            }
            Self::UnsignedFrom
            | Self::BareLineEnd
            | Self::WeakKey(_)
            | Self::PartialBody(_)
            | Self::NotYetValid => DkimResult::Policy,
            Self::Expired | Self::BodyTooShort | Self::BodyHash | Self::Mismatch => {
                DkimResult::Fail
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(problem) => problem.fmt(f),
            Self::Expired => f.write_str("signature has expired"),
            Self::NotYetValid => f.write_str("signature was made in the future"),
            Self::UnsignedFrom => f.write_str("a From field is not signed"),
            Self::BareLineEnd => f.write_str("header has a bare CR or LF"),
            Self::KeyUnavailable => f.write_str("no answer to the key query"),
            Self::NoKey => f.write_str("no key for signature"),
            Self::Key(problem) => problem.fmt(f),
            Self::KeyType => f.write_str("key is of another type than the signature"),
            Self::WeakKey(bits) => write!(f, "key of {bits} bits is not accepted"),
            Self::IdentityBelow => f.write_str("key does not permit identities below its domain"),
            Self::BodyTooShort => f.write_str("body is shorter than the signature says"),
            Self::BodyHash => f.write_str("body hash did not verify"),
            Self::PartialBody(octets) => write!(f, "{octets} octets of the body are not signed"),
            Self::Mismatch => f.write_str("signature did not verify"),
        }
    }
}

/// What became of one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureVerdict {
    /// The signature, if its field could be read.
    pub signature: Option<Signature>,
    /// Bits of the key that was used last.
    pub key_bits: Option<usize>,
    /// The key says that its domain is only trying DKIM out (`t=y`).
    pub testing: bool,
    /// Octets of the canonical body that `l=` leaves unsigned.
    pub uncovered: u64,
    /// Good, or why not.
    pub outcome: Result<(), Problem>,
}

impl SignatureVerdict {
    /// Its word in an Authentication-Results field.
    pub fn result(&self) -> DkimResult {
        match self.outcome {
            Ok(()) => DkimResult::Pass,
            Err(problem) => problem.result(),
        }
    }

    /// The signing domain in ASCII form, if the field could be read.
    pub fn domain(&self) -> Option<&str> {
        self.signature.as_ref().map(|s| s.domain.as_str())
    }
}

/// What became of all signatures of a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// One verdict per signature that was looked at, from the top.
    pub signatures: Vec<SignatureVerdict>,
    /// Signatures beyond [`Limits::signatures`].
    pub skipped: usize,
    /// The header was too large to be looked at.
    pub header_too_large: bool,
}

impl Verified {
    /// One word for the message: pass if any signature is good, otherwise that of the first
    /// signature, a temporary error before all others.
    pub fn result(&self) -> DkimResult {
        if self.header_too_large {
            return DkimResult::PermError;
        }
        let has = |wanted: DkimResult| self.signatures.iter().any(|s| s.result() == wanted);
        if has(DkimResult::Pass) {
            DkimResult::Pass
        } else if has(DkimResult::TempError) {
            DkimResult::TempError
        } else {
            self.signatures
                .first()
                .map_or(DkimResult::None, SignatureVerdict::result)
        }
    }

    /// The domains that have a good signature, as DMARC wants them. A domain that is only
    /// testing counts too: its good signature is as good as any.
    pub fn passing_domains(&self) -> impl Iterator<Item = &str> {
        self.signatures
            .iter()
            .filter(|s| s.outcome.is_ok())
            .filter_map(SignatureVerdict::domain)
    }
}

/// The mechanism inside a [`Verifier`].
#[derive(Debug, Default)]
pub struct Verification {
    limits: Limits,
    jobs: Vec<Job>,
    skipped: usize,
    keys: KeyLookups,
}

#[derive(Debug)]
struct Job {
    field: usize,
    state: Result<Ready, SignatureProblem>,
}

/// A signature that waits for its key and its body hash.
#[derive(Debug)]
struct Ready {
    signature: Signature,
    key: KeyNumber,
    ticket: Ticket,
}

impl Verification {
    /// Verifies what these limits let through.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }
}

impl Mechanism for Verification {
    type Verdict = Verified;

    fn header(&mut self, header: &HeaderBlock, body: &mut BodyHashes) {
        // Numbers come from the bottom up.
        let fields = header.named(b"dkim-signature");
        self.skipped = fields.len().saturating_sub(self.limits.signatures);
        for number in fields.iter().rev().take(self.limits.signatures) {
            let field = *number as usize;
            let value = header.field(field).map_or(&[][..], |f| f.value);
            let state = Signature::parse(value).map(|signature| Ready {
                key: self.keys.want(&signature.selector, &signature.domain),
                ticket: body.want(signature.body_canon, signature.body_length),
                signature,
            });
            self.jobs.push(Job { field, state });
        }
    }

    fn question(&mut self) -> Option<Question> {
        self.keys.question()
    }

    fn answer(&mut self, question: &Question, answer: &Answer) {
        self.keys.answer(question, answer);
    }

    fn waiting(&self) -> bool {
        self.keys.waiting()
    }

    fn verdict(&mut self, message: &Seen<'_>) -> Verified {
        let header = match message.header {
            Ok(header) => header,
            Err(HeaderTooLarge) => {
                return Verified {
                    header_too_large: true,
                    ..Verified::default()
                };
            }
        };
        let mut octets = Vec::new();
        let signatures = std::mem::take(&mut self.jobs)
            .into_iter()
            .map(|job| match job.state {
                Err(problem) => SignatureVerdict {
                    signature: None,
                    key_bits: None,
                    testing: false,
                    uncovered: 0,
                    outcome: Err(Problem::Signature(problem)),
                },
                Ok(ready) => self.one(header, message, job.field, ready, &mut octets),
            })
            .collect();
        Verified {
            signatures,
            skipped: self.skipped,
            header_too_large: false,
        }
    }
}

impl Verification {
    fn one(
        &self,
        header: &HeaderBlock,
        message: &Seen<'_>,
        field: usize,
        ready: Ready,
        octets: &mut Vec<u8>,
    ) -> SignatureVerdict {
        let mut verdict = SignatureVerdict {
            signature: None,
            key_bits: None,
            testing: false,
            uncovered: 0,
            outcome: Ok(()),
        };
        verdict.outcome = self.check(header, message, field, &ready, octets, &mut verdict);
        verdict.signature = Some(ready.signature);
        verdict
    }

    fn check(
        &self,
        header: &HeaderBlock,
        message: &Seen<'_>,
        field: usize,
        ready: &Ready,
        octets: &mut Vec<u8>,
        verdict: &mut SignatureVerdict,
    ) -> Result<(), Problem> {
        let signature = &ready.signature;
        check_dates(signature, message.now, self.limits.clock_skew)?;
        if header.has_bare_line_end() {
            return Err(Problem::BareLineEnd);
        }
        if !signed_fields::covers_all(header, signature.names(), "from") {
            return Err(Problem::UnsignedFrom);
        }
        let keys = self.keys.get(ready.key).map_err(|failure| match failure {
            KeyFailure::Unavailable => Problem::KeyUnavailable,
            KeyFailure::NotFound => Problem::NoKey,
            KeyFailure::Bad(problem) => Problem::Key(problem),
        })?;
        // One key as a rule; of several the one that verifies decides, or else the last.
        let mut outcome = Err(Problem::NoKey);
        let mut hashed = false;
        for key in keys {
            verdict.key_bits = Some(key.key.bits());
            verdict.testing = key.testing;
            outcome = self.usable(key, signature).and_then(|()| {
                verdict.uncovered = check_body(signature, ready.ticket, message.body)?;
                if verdict.uncovered > 0 && !self.limits.partial_body {
                    return Err(Problem::PartialBody(verdict.uncovered));
                }
                if !std::mem::replace(&mut hashed, true) {
                    octets.clear();
                    signed_octets(header, field, signature, octets);
                }
                if key.key.verifies(octets, &signature.signature) {
                    Ok(())
                } else {
                    Err(Problem::Mismatch)
                }
            });
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn usable(&self, key: &KeyRecord, signature: &Signature) -> Result<(), Problem> {
        if key.key.algorithm() != signature.algorithm {
            return Err(Problem::KeyType);
        }
        if let PublicKey::Rsa { bits, .. } = key.key
            && bits < self.limits.rsa_min_bits
        {
            return Err(Problem::WeakKey(bits));
        }
        if key.strict && signature.identity_domain != signature.domain {
            return Err(Problem::IdentityBelow);
        }
        Ok(())
    }
}

/// All octets that the signature signs.
pub(crate) fn signed_octets(
    header: &HeaderBlock,
    field: usize,
    signature: &Signature,
    out: &mut Vec<u8>,
) {
    let canon = signature.header_canon;
    signed_fields::named(header, signature.names(), canon, Some(field), out);
    signed_fields::own_field(header, field, &signature.cut, canon, out);
}

/// Octets of the body that are not covered, if the covered ones are as they were.
pub(crate) fn check_body(
    signature: &Signature,
    ticket: Ticket,
    body: &BodyResults,
) -> Result<u64, Problem> {
    let found = body.get(ticket).ok_or(Problem::BodyTooShort)?;
    if found.hash == signature.body_hash {
        Ok(found.uncovered)
    } else {
        Err(Problem::BodyHash)
    }
}

pub(crate) fn check_dates(signature: &Signature, now: i64, skew: u64) -> Result<(), Problem> {
    let now = u64::try_from(now).unwrap_or(0);
    if signature.expires_at.is_some_and(|expires| now > expires) {
        return Err(Problem::Expired);
    }
    if signature
        .signed_at
        .is_some_and(|signed| signed > now.saturating_add(skew))
    {
        return Err(Problem::NotYetValid);
    }
    Ok(())
}
