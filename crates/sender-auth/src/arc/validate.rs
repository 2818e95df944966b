//! Says whether a chain holds, and if not, where it breaks (RFC 8617, 5.2).

use super::set::{ArcSet, ChainValidation, sets};
use crate::body_hash::{BodyHashes, Ticket};
use crate::canon::{self, Canon};
use crate::dkim::key_lookup::{KeyFailure, KeyLookups, KeyNumber};
use crate::dkim::key_record::{KeyProblem, KeyRecord};
use crate::dkim::signature::{Signature, SignatureProblem};
use crate::dkim::verify::{Problem, check_body, check_dates, signed_octets};
use crate::header_block::{HeaderBlock, HeaderTooLarge};
use crate::lookup::{Answer, Question};
use crate::pass::{Mechanism, Seen};
use std::fmt;

/// How far a signature's time may lie in the future, in seconds.
const CLOCK_SKEW: u64 = 300;

/// Why a chain does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainProblem {
    /// The header is too large to be looked at.
    HeaderTooLarge,
    /// The header has a CR or LF outside a pair, at which some readers see another field begin.
    BareLineEnd,
    /// More than 50 sets.
    TooManySets,
    /// A field has no number from 1 to 50.
    BadInstance,
    /// A set lacks one of its three fields, or a set is missing in between.
    Incomplete,
    /// A set has one of its fields twice; its number.
    Duplicate(u32),
    /// The seal of this set can't be understood.
    MalformedSeal(u32, SignatureProblem),
    /// The first seal must say `cv=none`, all others `cv=pass`; this one doesn't.
    WrongValidation(u32),
    /// The last seal says itself that the chain was broken before it.
    SealedAsFailed(u32),
    /// The last message signature.
    Message(u32, Problem),
    /// A seal.
    Seal(u32, Problem),
}

impl fmt::Display for ChainProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeaderTooLarge => f.write_str("header is too large"),
            Self::BareLineEnd => f.write_str("header has a bare CR or LF"),
            Self::TooManySets => f.write_str("more than 50 sets"),
            Self::BadInstance => f.write_str("a field has no valid instance number"),
            Self::Incomplete => f.write_str("a set is incomplete or missing"),
            Self::Duplicate(i) => write!(f, "set {i} has a field twice"),
            Self::MalformedSeal(i, problem) => write!(f, "seal {i}: {problem}"),
            Self::WrongValidation(i) => write!(f, "seal {i} has the wrong cv="),
            Self::SealedAsFailed(i) => write!(f, "seal {i} says cv=fail"),
            Self::Message(i, problem) => write!(f, "message signature {i}: {problem}"),
            Self::Seal(i, problem) => write!(f, "seal {i}: {problem}"),
        }
    }
}

/// What is known about a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainStatus {
    /// There is none.
    None,
    /// All seals and the last message signature are good.
    Pass,
    /// It is broken.
    Fail(ChainProblem),
    /// An answer is missing.
    TempError,
}

impl ChainStatus {
    /// The word of an Authentication-Results field. It knows no temporary error.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail(_) | Self::TempError => "fail",
        }
    }
}

/// What became of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainVerdict {
    /// The verdict.
    pub status: ChainStatus,
    /// The sealing domains, the first one first; empty when the sets are no chain.
    pub domains: Vec<String>,
    /// The lowest set from which on every message signature is still good: since that host
    /// nobody changed the message; 0 if that holds for all of them (RFC 8617, 5.2, step 5).
    /// `None` without a good chain, or when it was not asked for.
    pub oldest_pass: Option<u32>,
}

/// Validates the chain of one message. Use inside a [`crate::pass::Pass`].
#[derive(Debug, Default)]
pub struct Validation {
    find_oldest_pass: bool,
    chain: Option<Chain>,
    problem: Option<ChainProblem>,
    keys: KeyLookups,
}

#[derive(Debug)]
struct Chain {
    sets: Vec<ArcSet>,
    seal_keys: Vec<KeyNumber>,
    /// For the sets whose message signature is looked at: key and body hash.
    messages: Vec<Option<(KeyNumber, Ticket)>>,
}

impl Validation {
    /// Checks what the RFC wants: every seal, and the last message signature.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks all message signatures as well, for [`ChainVerdict::oldest_pass`]. Costs a key
    /// per set more.
    pub fn with_oldest_pass() -> Self {
        Self {
            find_oldest_pass: true,
            ..Self::default()
        }
    }

    /// The form of the chain: what can be said without any key.
    fn read(&mut self, header: &HeaderBlock, body: &mut BodyHashes) -> Result<(), ChainProblem> {
        let sets = sets(header)?;
        let Some(last) = sets.last() else {
            return Ok(());
        };
        if header.has_bare_line_end() {
            return Err(ChainProblem::BareLineEnd);
        }
        let count = number(sets.len());
        if last.seal.validation == ChainValidation::Fail {
            return Err(ChainProblem::SealedAsFailed(count));
        }
        for (i, set) in (1..).zip(&sets) {
            let wanted = if i == 1 {
                ChainValidation::None
            } else {
                ChainValidation::Pass
            };
            if set.seal.validation != wanted {
                return Err(ChainProblem::WrongValidation(i));
            }
        }
        if let Err(problem) = last.message {
            return Err(ChainProblem::Message(count, Problem::Signature(problem)));
        }
        let seal_keys = sets
            .iter()
            .map(|set| self.keys.want(&set.seal.selector, &set.seal.domain))
            .collect();
        let messages = (1..)
            .zip(&sets)
            .map(|(i, set)| match &set.message {
                Ok(message) if i == count || self.find_oldest_pass => Some((
                    self.keys.want(&message.selector, &message.domain),
                    body.want(message.body_canon, message.body_length),
                )),
                _ => None,
            })
            .collect();
        self.chain = Some(Chain {
            sets,
            seal_keys,
            messages,
        });
        Ok(())
    }

    fn check(
        &self,
        chain: &Chain,
        header: &HeaderBlock,
        seen: &Seen<'_>,
    ) -> Result<(), ChainProblem> {
        let count = number(chain.sets.len());
        self.message(chain, count, header, seen)
            .map_err(|problem| ChainProblem::Message(count, problem))?;
        self.seals(chain, header)
    }

    /// The message signature of one set.
    fn message(
        &self,
        chain: &Chain,
        instance: u32,
        header: &HeaderBlock,
        seen: &Seen<'_>,
    ) -> Result<(), Problem> {
        let index = instance as usize - 1;
        let (Some(set), Some(Some((key, ticket)))) =
            (chain.sets.get(index), chain.messages.get(index))
        else {
            return Err(Problem::Signature(SignatureProblem::Syntax));
        };
        let signature = set.message.as_ref().map_err(|p| Problem::Signature(*p))?;
        check_dates(signature, seen.now, CLOCK_SKEW)?;
        let keys = self.keys(*key)?;
        check_body(signature, *ticket, seen.body)?;
        let mut octets = Vec::new();
        signed_octets(header, set.message_field, signature, &mut octets);
        verify_with_any(keys, signature, &octets)
    }

    /// All seals. Each signs the sets up to its own in their order, so that one growing text
    /// serves them all.
    fn seals(&self, chain: &Chain, header: &HeaderBlock) -> Result<(), ChainProblem> {
        let mut octets = Vec::new();
        for ((i, set), key) in (1..).zip(&chain.sets).zip(&chain.seal_keys) {
            let fail = |problem| ChainProblem::Seal(i, problem);
            for field in [set.results_field, set.message_field] {
                push_field(header, field, &mut octets);
            }
            let before = octets.len();
            push_own(header, set, &mut octets);
            let keys = self.keys(*key).map_err(fail)?;
            let good = keys.iter().any(|record| {
                record.key.algorithm() == set.seal.algorithm
                    && record.key.verifies(&octets, &set.seal.signature)
            });
            if !good {
                return Err(fail(Problem::Mismatch));
            }
            octets.truncate(before);
            push_field(header, set.seal_field, &mut octets);
        }
        Ok(())
    }

    fn keys(&self, number: KeyNumber) -> Result<&[KeyRecord], Problem> {
        self.keys.get(number).map_err(|failure| match failure {
            KeyFailure::Unavailable => Problem::KeyUnavailable,
            KeyFailure::NotFound => Problem::NoKey,
            KeyFailure::Bad(problem) => Problem::Key(problem),
        })
    }

    fn oldest_pass(&self, chain: &Chain, header: &HeaderBlock, seen: &Seen<'_>) -> Option<u32> {
        if !self.find_oldest_pass {
            return None;
        }
        let mut oldest = number(chain.sets.len());
        while oldest > 1 && self.message(chain, oldest - 1, header, seen).is_ok() {
            oldest -= 1;
        }
        Some(if oldest == 1 { 0 } else { oldest })
    }
}

fn verify_with_any(
    keys: &[KeyRecord],
    signature: &Signature,
    octets: &[u8],
) -> Result<(), Problem> {
    let mut outcome = Err(Problem::Key(KeyProblem::Malformed));
    for record in keys {
        outcome = if record.key.algorithm() != signature.algorithm {
            Err(Problem::KeyType)
        } else if record.key.verifies(octets, &signature.signature) {
            return Ok(());
        } else {
            Err(Problem::Mismatch)
        };
    }
    outcome
}

/// A whole field in relaxed form (seals know no other) with its CR LF.
pub(super) fn push_field(header: &HeaderBlock, number: usize, out: &mut Vec<u8>) {
    if let Some(field) = header.field(number) {
        canon::field(Canon::Relaxed, field.raw, None, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// A seal without its signature and without CR LF.
fn push_own(header: &HeaderBlock, set: &ArcSet, out: &mut Vec<u8>) {
    if let Some(field) = header.field(set.seal_field) {
        let before = field.raw.len() - field.value.len();
        let cut = (before + set.seal.cut.start, before + set.seal.cut.end);
        canon::field(Canon::Relaxed, field.raw, Some(cut), out);
    }
}

/// At most 50.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Mechanism for Validation {
    type Verdict = ChainVerdict;

    fn header(&mut self, header: &HeaderBlock, body: &mut BodyHashes) {
        self.problem = self.read(header, body).err();
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

    fn verdict(&mut self, message: &Seen<'_>) -> ChainVerdict {
        let plain = |status| ChainVerdict {
            status,
            domains: Vec::new(),
            oldest_pass: None,
        };
        let header = match message.header {
            Ok(header) => header,
            Err(HeaderTooLarge) => {
                return plain(ChainStatus::Fail(ChainProblem::HeaderTooLarge));
            }
        };
        if let Some(problem) = self.problem {
            return plain(ChainStatus::Fail(problem));
        }
        let Some(chain) = &self.chain else {
            return plain(ChainStatus::None);
        };
        let status = match self.check(chain, header, message) {
            Ok(()) => ChainStatus::Pass,
            Err(
                ChainProblem::Message(_, Problem::KeyUnavailable)
                | ChainProblem::Seal(_, Problem::KeyUnavailable),
            ) => ChainStatus::TempError,
            Err(problem) => ChainStatus::Fail(problem),
        };
        let oldest_pass = match status {
            ChainStatus::Pass => self.oldest_pass(chain, header, message),
            _ => None,
        };
        ChainVerdict {
            status,
            domains: chain.sets.iter().map(|s| s.seal.domain.clone()).collect(),
            oldest_pass,
        }
    }
}
