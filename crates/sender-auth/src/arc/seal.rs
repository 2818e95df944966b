//! Adds a set to a chain (RFC 8617, 5.1).
//!
//! Two steps, as the results that a seal records are known only when the message has gone by:
//! [`SealPreparation`] goes over the message beside the other checks and gives a [`Sealable`];
//! that takes the results and makes the three fields.

use super::set::{ChainValidation, MESSAGE_SIGNATURE, SEAL, SETS_MAX, instances, sets};
use super::validate::{ChainStatus, ChainVerdict, Validation, push_field};
use crate::authres::AuthResults;
use crate::body_hash::{BodyHashes, HASH_LEN, Ticket};
use crate::canon::{self, Canon};
use crate::crypto::NoRandomness;
use crate::dkim::SigningIdentity;
use crate::dkim::sign::{SIGNED, write_names};
use crate::dkim::signed_names;
use crate::folded::Folded;
use crate::header_block::{HeaderBlock, HeaderTooLarge};
use crate::lookup::{Answer, Question};
use crate::pass::{Mechanism, Seen};
use data_encoding::BASE64;
use std::fmt;

/// Why no set was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// See [`HeaderTooLarge`].
    HeaderTooLarge,
    /// The header has a CR or LF outside a pair: no validator should accept the set.
    BareLineEnd,
    /// The first line begins with white space, so that it would become a part of the new field.
    BeginsWithSpace,
    /// No From field.
    NoFrom,
    /// The chain has [`SETS_MAX`] sets already.
    Full,
    /// The last set says `cv=fail`: the chain is over, nothing is added to it (RFC 8617, 5.1).
    Over,
    /// A key query had no answer, so that neither pass nor fail would be true.
    Unknown,
    /// See [`NoRandomness`].
    NoRandomness,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderTooLarge => "the header is too large",
            Self::BareLineEnd => "the header has a bare CR or LF",
            Self::BeginsWithSpace => "the first line begins with white space",
            Self::NoFrom => "the message has no From field",
            Self::Full => "the chain has 50 sets already",
            Self::Over => "the chain ended with cv=fail",
            Self::Unknown => "the chain could not be checked: no answer to a key query",
            Self::NoRandomness => "the system gave no random octets",
        })
    }
}

impl std::error::Error for SealError {}

impl From<NoRandomness> for SealError {
    fn from(_: NoRandomness) -> Self {
        Self::NoRandomness
    }
}

/// Validates the chain and hashes the body for a new message signature.
#[derive(Debug)]
pub struct SealPreparation {
    chain: Source,
    body: Option<Ticket>,
}

/// Where the word about the chain comes from.
#[derive(Debug)]
enum Source {
    /// This message.
    Validate(Validation),
    /// The message as it came in.
    Known(ChainVerdict),
}

impl SealPreparation {
    /// For a host that passes the message on as it came.
    pub fn new() -> Self {
        Self {
            chain: Source::Validate(Validation::new()),
            body: None,
        }
    }

    /// For a host that has changed the message, such as a list: the chain was validated before
    /// the change, which has broken the last message signature; the new one covers the
    /// message as it is now.
    pub fn changed_since(chain: ChainVerdict) -> Self {
        Self {
            chain: Source::Known(chain),
            body: None,
        }
    }
}

impl Default for SealPreparation {
    fn default() -> Self {
        Self::new()
    }
}

/// A message that can be sealed once its results are known.
#[derive(Debug, Clone)]
pub struct Sealable {
    /// What became of the chain that the message came with.
    pub chain: ChainVerdict,
    state: Result<Ready, SealError>,
}

#[derive(Debug, Clone)]
struct Ready {
    header: HeaderBlock,
    body_hash: [u8; HASH_LEN],
    instance: u32,
    validation: ChainValidation,
}

impl Mechanism for SealPreparation {
    type Verdict = Sealable;

    fn header(&mut self, header: &HeaderBlock, body: &mut BodyHashes) {
        if let Source::Validate(validation) = &mut self.chain {
            validation.header(header, body);
        }
        self.body = Some(body.want(Canon::Relaxed, None));
    }

    fn question(&mut self) -> Option<Question> {
        match &mut self.chain {
            Source::Validate(validation) => validation.question(),
            Source::Known(_) => None,
        }
    }

    fn answer(&mut self, question: &Question, answer: &Answer) {
        if let Source::Validate(validation) = &mut self.chain {
            validation.answer(question, answer);
        }
    }

    fn waiting(&self) -> bool {
        match &self.chain {
            Source::Validate(validation) => validation.waiting(),
            Source::Known(_) => false,
        }
    }

    fn verdict(&mut self, message: &Seen<'_>) -> Sealable {
        let chain = match &mut self.chain {
            Source::Validate(validation) => validation.verdict(message),
            Source::Known(chain) => chain.clone(),
        };
        let state = self.ready(message, &chain);
        Sealable { chain, state }
    }
}

impl SealPreparation {
    fn ready(&self, message: &Seen<'_>, chain: &ChainVerdict) -> Result<Ready, SealError> {
        let header = message
            .header
            .map_err(|HeaderTooLarge| SealError::HeaderTooLarge)?;
        if header.begins_with_space() {
            return Err(SealError::BeginsWithSpace);
        }
        if header.has_bare_line_end() {
            return Err(SealError::BareLineEnd);
        }
        if header.named(b"from").is_empty() {
            return Err(SealError::NoFrom);
        }
        let (before, validation) = match chain.status {
            ChainStatus::None => (0, ChainValidation::None),
            ChainStatus::Pass => (highest_instance(header), ChainValidation::Pass),
            ChainStatus::TempError => return Err(SealError::Unknown),
            ChainStatus::Fail(_) => {
                let highest = highest_instance(header);
                let says_fail = |(n, seal)| n == highest && seal == Some(ChainValidation::Fail);
                if instances(header).any(says_fail) {
                    return Err(SealError::Over);
                }
                (highest, ChainValidation::Fail)
            }
        };
        if before >= SETS_MAX {
            return Err(SealError::Full);
        }
        let hash = self
            .body
            .and_then(|ticket| message.body.get(ticket))
            .ok_or(SealError::HeaderTooLarge)?;
        Ok(Ready {
            header: header.clone(),
            body_hash: hash.hash,
            instance: before + 1,
            validation,
        })
    }
}

/// The highest number that a field bears. The new set gets the next one, whatever is missing
/// below it.
fn highest_instance(header: &HeaderBlock) -> u32 {
    instances(header)
        .map(|(number, _)| number)
        .max()
        .unwrap_or(0)
}

impl Sealable {
    /// Makes the set: ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results, each
    /// ended by CR LF, to be put on top of the message in this order.
    ///
    /// `now` is the time in seconds since 1970 UTC.
    ///
    /// # Errors
    /// See [`SealError`].
    pub fn seal(
        &self,
        identity: &SigningIdentity<'_>,
        results: &AuthResults,
        now: i64,
    ) -> Result<Vec<u8>, SealError> {
        let ready = self.state.as_ref().map_err(|error| *error)?;
        let now = u64::try_from(now).unwrap_or(0);
        let results = results.to_arc_field(ready.instance);
        let message = ready.message_signature(identity, now)?;
        let seal = ready.seal(identity, &results, &message, now)?;
        Ok(format!("{seal}{message}{results}").into_bytes())
    }
}

impl Ready {
    fn message_signature(
        &self,
        identity: &SigningIdentity<'_>,
        now: u64,
    ) -> Result<String, SealError> {
        let names = names(&self.header);
        let mut field = Folded::new(MESSAGE_SIGNATURE);
        field.word(&format!("i={};", self.instance));
        field.word(&format!("a={};", identity.key().algorithm()));
        field.word("c=relaxed/relaxed;");
        field.word(&format!("d={};", identity.domain()));
        field.word(&format!("s={};", identity.selector()));
        field.word(&format!("t={now};"));
        write_names(&mut field, &names);
        field.word(&format!("bh={};", BASE64.encode(&self.body_hash)));
        field.word("b=");
        let mut octets = Vec::new();
        signed_names(
            &self.header,
            names.iter().copied(),
            Canon::Relaxed,
            None,
            &mut octets,
        );
        finish(field, identity, octets)
    }

    fn seal(
        &self,
        identity: &SigningIdentity<'_>,
        results: &str,
        message: &str,
        now: u64,
    ) -> Result<String, SealError> {
        let mut field = Folded::new(SEAL);
        field.word(&format!("i={};", self.instance));
        field.word(&format!("a={};", identity.key().algorithm()));
        field.word(&format!("cv={};", self.validation.as_str()));
        field.word(&format!("d={};", identity.domain()));
        field.word(&format!("s={};", identity.selector()));
        field.word(&format!("t={now};"));
        field.word("b=");
        let mut octets = Vec::new();
        if self.validation != ChainValidation::Fail {
            // A broken chain is not signed again, only the set that says so (5.1.2).
            for set in sets(&self.header).unwrap_or_default() {
                for number in [set.results_field, set.message_field, set.seal_field] {
                    push_field(&self.header, number, &mut octets);
                }
            }
        }
        for own in [results, message] {
            let own = own.strip_suffix("\r\n").unwrap_or(own);
            canon::field(Canon::Relaxed, own.as_bytes(), None, &mut octets);
            octets.extend_from_slice(b"\r\n");
        }
        finish(field, identity, octets)
    }
}

/// Signs what was gathered and the field itself.
fn finish(
    mut field: Folded,
    identity: &SigningIdentity<'_>,
    mut octets: Vec<u8>,
) -> Result<String, SealError> {
    canon::field(Canon::Relaxed, field.as_str().as_bytes(), None, &mut octets);
    let signature = identity.key().sign(&octets)?;
    field.broken(&BASE64.encode(&signature));
    let mut text = field.finish();
    text.push_str("\r\n");
    Ok(text)
}

/// What a message signature covers: what a DKIM signature would, and the DKIM signatures
/// themselves (RFC 8617, 4.1.2). Nothing of the chain.
fn names(header: &HeaderBlock) -> Vec<&'static str> {
    let mut names = Vec::with_capacity(24);
    for name in SIGNED.iter().copied().chain(["DKIM-Signature"]) {
        let count = header.named(name.as_bytes()).len();
        names.extend(std::iter::repeat_n(name, count));
    }
    names
}
