//! Results as the checks of this crate give them.

use super::MethodResult;
use crate::arc::{ChainStatus, ChainVerdict};
use crate::dkim::Verified;
use crate::dkim::verify::{DkimResult, SignatureVerdict};
use crate::dmarc::DmarcVerdict;
use crate::spf::{Identity, SpfVerdict};

/// One result per signature (RFC 8601, 2.7.1; RFC 6008 for `header.b`), or `dkim=none`.
pub fn dkim_results(verified: &Verified) -> Vec<MethodResult> {
    if verified.header_too_large {
        let result = MethodResult::new("dkim", DkimResult::PermError.as_str());
        return vec![result.reason("header is too large")];
    }
    if verified.signatures.is_empty() {
        return vec![MethodResult::new("dkim", DkimResult::None.as_str())];
    }
    verified.signatures.iter().map(dkim_result).collect()
}

fn dkim_result(verdict: &SignatureVerdict) -> MethodResult {
    let mut result = MethodResult::new("dkim", verdict.result().as_str());
    let mut notes = Vec::new();
    if let Some(bits) = verdict.key_bits {
        notes.push(format!("{bits}-bit key"));
    }
    if verdict.testing {
        notes.push("key in testing mode".to_owned());
    }
    if verdict.uncovered > 0 {
        notes.push(format!("{} octets of body not signed", verdict.uncovered));
    }
    if !notes.is_empty() {
        result = result.comment(notes.join(", "));
    }
    if let Err(problem) = verdict.outcome {
        result = result.reason(problem);
    }
    match &verdict.signature {
        None => result,
        Some(signature) => result
            .property("header", "d", &signature.domain)
            .property("header", "i", &signature.identity)
            .property("header", "s", &signature.selector)
            .property("header", "a", signature.algorithm.as_str())
            .property("header", "b", &signature.signature_head),
    }
}

/// The result for a chain (RFC 8617, 10.2 and 7.2).
///
/// A chain that could not be checked for want of an answer is written as `fail`, as the
/// method knows no temporary error; the reason tells.
pub fn arc_result(verdict: &ChainVerdict) -> MethodResult {
    let mut result = MethodResult::new("arc", verdict.status.as_str());
    match verdict.status {
        ChainStatus::Fail(problem) => result = result.reason(problem),
        ChainStatus::TempError => result = result.reason("no answer to a key query"),
        ChainStatus::None | ChainStatus::Pass => {}
    }
    if let Some(instance) = verdict.oldest_pass {
        result = result.property("header", "oldest-pass", &instance.to_string());
    }
    result
}

/// The result of one SPF check (RFC 8601, 2.7.2).
pub fn spf_result(verdict: &SpfVerdict) -> MethodResult {
    let mut result = MethodResult::new("spf", verdict.result.as_str());
    if let Some(problem) = &verdict.problem {
        result = result.reason(problem);
    }
    if verdict.domain.is_empty() {
        return result;
    }
    let name = match verdict.identity {
        Identity::Helo => "helo",
        Identity::MailFrom => "mailfrom",
    };
    result.property("smtp", name, &verdict.domain)
}

/// The result for DMARC (RFC 7489, 11.1), with the policy and what was done with it.
pub fn dmarc_result(verdict: &DmarcVerdict) -> MethodResult {
    let mut result = MethodResult::new("dmarc", verdict.result.as_str());
    if let Some(found) = &verdict.found {
        result = result.comment(format!(
            "p={} dis={} at {}",
            found.record.policy,
            verdict.disposition.policy(),
            found.domain
        ));
    }
    if let Some(reason) = &verdict.reason {
        result = result.reason(reason);
    }
    result.property("header", "from", &verdict.author)
}
