//! The fields of a chain, sorted into sets and checked for form (RFC 8617, 4 and 5.2).

use super::validate::ChainProblem;
use crate::authres::parse_instance;
use crate::crypto::Algorithm;
use crate::dkim::signature::{
    self, Kind, Signature, SignatureProblem, optional, required, signature_octets,
};
use crate::header_block::HeaderBlock;
use crate::tag_list::TagList;
use std::ops::Range;

/// Most sets of one chain (RFC 8617, 4.2.1).
pub const SETS_MAX: u32 = 50;

/// Names of the three fields of a set.
pub const SEAL: &str = "ARC-Seal";
/// See [`SEAL`].
pub const MESSAGE_SIGNATURE: &str = "ARC-Message-Signature";
/// See [`SEAL`].
pub const AUTHENTICATION_RESULTS: &str = "ARC-Authentication-Results";

/// Reads the number of a set, 1 to [`SETS_MAX`].
pub fn instance(digits: &[u8]) -> Option<u32> {
    let number = crate::tag_list::number(digits)?;
    u32::try_from(number)
        .ok()
        .filter(|n| (1..=SETS_MAX).contains(n))
}

/// What a seal says about the chain before it (RFC 8617, 4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainValidation {
    /// There was none.
    None,
    /// It was good.
    Pass,
    /// It was broken.
    Fail,
}

impl ChainValidation {
    /// The word of `cv=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }

    fn parse(word: &[u8]) -> Option<Self> {
        [Self::None, Self::Pass, Self::Fail]
            .into_iter()
            .find(|cv| word.eq_ignore_ascii_case(cv.as_str().as_bytes()))
    }
}

/// The tags of an ARC-Seal field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// `a=`.
    pub algorithm: Algorithm,
    /// `cv=`.
    pub validation: ChainValidation,
    /// `d=`, in ASCII form and lower case.
    pub domain: String,
    /// `s=`, in ASCII form and lower case.
    pub selector: String,
    /// `t=`, seconds since 1970.
    pub sealed_at: Option<u64>,
    /// `b=`.
    pub signature: Vec<u8>,
    /// The value of `b=` within the field's value.
    pub(crate) cut: Range<usize>,
}

impl Seal {
    /// Reads the value of an ARC-Seal field.
    ///
    /// # Errors
    /// See [`SignatureProblem`].
    pub fn parse(value: &[u8]) -> Result<Self, SignatureProblem> {
        let list = TagList::parse(value).map_err(|_| SignatureProblem::Syntax)?;
        Self::from_tags(&list)
    }

    fn from_tags(list: &TagList<'_>) -> Result<Self, SignatureProblem> {
        // What a seal signs is fixed; a list of fields in it is an attempt to change that.
        if list.get("h").is_some() {
            return Err(SignatureProblem::Value("h"));
        }
        let b = list.tag("b").ok_or(SignatureProblem::Missing("b"))?;
        Ok(Self {
            algorithm: signature::algorithm(required(list, "a")?)?,
            validation: ChainValidation::parse(required(list, "cv")?)
                .ok_or(SignatureProblem::Value("cv"))?,
            domain: signature::domain(list)?,
            selector: signature::selector(list)?,
            sealed_at: optional(list, "t")?,
            signature: signature_octets(b.value)?,
            cut: b.span.clone(),
        })
    }
}

/// One set: its fields by number in the header, and what its two signatures say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcSet {
    /// Number of the ARC-Authentication-Results field.
    pub results_field: usize,
    /// Number of the ARC-Message-Signature field.
    pub message_field: usize,
    /// Number of the ARC-Seal field.
    pub seal_field: usize,
    /// The message signature.
    pub message: Result<Signature, SignatureProblem>,
    /// The seal.
    pub seal: Seal,
}

/// The sets of a header in their order, the first one first. None: no chain.
///
/// # Errors
/// When they are no chain: see [`ChainProblem`].
pub fn sets(header: &HeaderBlock) -> Result<Vec<ArcSet>, ChainProblem> {
    let seals = header.named(SEAL.as_bytes());
    let messages = header.named(MESSAGE_SIGNATURE.as_bytes());
    let results = header.named(AUTHENTICATION_RESULTS.as_bytes());
    let count = seals.len();
    if count == 0 && messages.is_empty() && results.is_empty() {
        return Ok(Vec::new());
    }
    if count > SETS_MAX as usize {
        return Err(ChainProblem::TooManySets);
    }
    if messages.len() != count || results.len() != count {
        return Err(ChainProblem::Incomplete);
    }
    let mut slots: Vec<Slot> = vec![Slot::default(); count];
    for number in results {
        let value = value(header, *number);
        let instance = parse_instance(value).ok_or(ChainProblem::BadInstance)?;
        fill(&mut slots, instance, *number, |slot| &mut slot.results)?;
    }
    for number in messages {
        let instance = tag_instance(value(header, *number))?;
        fill(&mut slots, instance, *number, |slot| &mut slot.message)?;
    }
    for number in seals {
        let instance = tag_instance(value(header, *number))?;
        fill(&mut slots, instance, *number, |slot| &mut slot.seal)?;
    }
    (1..)
        .zip(slots)
        .map(|(n, slot)| set(header, n, slot))
        .collect()
}

/// The numbers of all fields that have one, and what a seal among them says.
pub(super) fn instances(
    header: &HeaderBlock,
) -> impl Iterator<Item = (u32, Option<ChainValidation>)> {
    let results = header.named(AUTHENTICATION_RESULTS.as_bytes()).iter();
    let results = results.filter_map(|n| Some((parse_instance(value(header, *n))?, None)));
    let messages = header.named(MESSAGE_SIGNATURE.as_bytes()).iter();
    let seals = header.named(SEAL.as_bytes()).iter();
    let tagged = messages.chain(seals).filter_map(|n| {
        let list = TagList::parse(value(header, *n)).ok()?;
        let number = instance(list.get("i")?)?;
        Some((number, list.get("cv").and_then(ChainValidation::parse)))
    });
    results.chain(tagged)
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    results: Option<usize>,
    message: Option<usize>,
    seal: Option<usize>,
}

/// Puts a field into the set of its number. As there are as many fields as sets, one that
/// comes twice or lies beyond the last means that another is missing.
fn fill(
    slots: &mut [Slot],
    instance: u32,
    field: u32,
    place: impl Fn(&mut Slot) -> &mut Option<usize>,
) -> Result<(), ChainProblem> {
    let slot = slots
        .get_mut(instance as usize - 1)
        .ok_or(ChainProblem::Incomplete)?;
    if place(slot).replace(field as usize).is_some() {
        return Err(ChainProblem::Duplicate(instance));
    }
    Ok(())
}

fn set(header: &HeaderBlock, instance: u32, slot: Slot) -> Result<ArcSet, ChainProblem> {
    let (Some(results_field), Some(message_field), Some(seal_field)) =
        (slot.results, slot.message, slot.seal)
    else {
        return Err(ChainProblem::Incomplete);
    };
    let field = |number: usize| header.field(number).map_or(&[][..], |f| f.value);
    let message = TagList::parse(field(message_field))
        .map_err(|_| SignatureProblem::Syntax)
        .and_then(|list| Signature::from_tags(&list, Kind::ArcMessage));
    let seal =
        Seal::parse(field(seal_field)).map_err(|p| ChainProblem::MalformedSeal(instance, p))?;
    Ok(ArcSet {
        results_field,
        message_field,
        seal_field,
        message,
        seal,
    })
}

fn value(header: &HeaderBlock, number: u32) -> &[u8] {
    header.field(number as usize).map_or(&[], |f| f.value)
}

fn tag_instance(value: &[u8]) -> Result<u32, ChainProblem> {
    TagList::parse(value)
        .ok()
        .and_then(|list| list.get("i").and_then(instance))
        .ok_or(ChainProblem::BadInstance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances() {
        for (text, number) in [
            ("0", None),
            ("1", Some(1)),
            ("49", Some(49)),
            ("50", Some(50)),
            ("51", None),
            ("", None),
            ("x", None),
            ("4294967297", None),
        ] {
            assert_eq!(instance(text.as_bytes()), number);
        }
    }

    #[test]
    fn seals() {
        let text = "i=1; a=rsa-sha256; cv=none; d=A.example; s=s; t=5; b=AAAA";
        let seal = Seal::parse(text.as_bytes()).unwrap();
        assert_eq!(seal.validation, ChainValidation::None);
        assert_eq!(seal.domain, "a.example");
        for (from, to, problem) in [
            ("cv=none", "cv=good", SignatureProblem::Value("cv")),
            ("cv=none; ", "", SignatureProblem::Missing("cv")),
            ("t=5", "h=from", SignatureProblem::Value("h")),
            ("b=AAAA", "b=", SignatureProblem::Value("b")),
            ("a=rsa-sha256", "a=rsa-sha1", SignatureProblem::Sha1),
        ] {
            let changed = text.replace(from, to);
            assert_eq!(Seal::parse(changed.as_bytes()), Err(problem), "{to}");
        }
    }
}
