//! A pattern of a filter, and what its groups say about a failure.

use std::net::IpAddr;

use super::failregex::option_name;
use super::session::{
    CIDR, CONTENT, DNS, FID, Facts, IP4, IP6, KNOWN, MLFID, Name, USER, shortened,
};
use crate::pattern::{Machine, Outcome, Pattern};
use crate::scan::Hits;

/// What a group is for.
#[derive(Debug)]
pub(super) enum Role {
    Value(Name),
    /// Another spelling of a name: taken when that has no value.
    Alternative(Name),
    /// A further part of a name's value.
    Part(Name),
    Skip,
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) pattern: Pattern,
    pub(super) groups: Vec<(usize, Role)>,
    /// Lines without these bits need not be tried; empty when nothing is known.
    pub(super) mask: Hits,
    /// Group of the user's name, where the pattern has it before an address.
    user: Option<usize>,
    /// Groups of addresses and host names.
    addresses: Vec<usize>,
}

/// Whom a line is about, after a second look.
pub(super) enum Reading {
    AsMatched,
    Other(Facts),
    /// Two addresses come into question.
    Doubtful,
}

/// The address that begins at `at`, if one does.
fn address_at(text: &str, at: usize) -> Option<&str> {
    let rest = text.get(at..)?;
    let end = rest
        .find(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'))
        .unwrap_or(rest.len());
    let word = rest.get(..end)?.trim_end_matches(['.', ':']);
    word.parse::<IpAddr>().is_ok().then_some(word)
}

/// How often an address in a line is taken for a part of a user's name.
const READINGS_MAX: usize = 8;
/// Octets in front of an address that tell its place in the line.
const LEAD: usize = 4;

impl Rule {
    pub(super) fn possible(&self, hits: &Hits) -> bool {
        self.mask.is_empty() || self.mask.iter().zip(hits).any(|(a, b)| a & b != 0)
    }

    /// Where a user name stands before the address, the name may have been made to look like the
    /// rest of the line (`root from 203.0.113.1 port 22 ssh2: x`). What the daemon itself wrote
    /// comes last. So when what stands in front of the address occurs again behind it, the
    /// pattern is tried with the earlier address made unreadable: if it fits, the later address
    /// counts; if it does not and an address does stand there, nobody is charged.
    pub(super) fn last_reading(&self, text: &str, m: &mut Machine) -> Reading {
        let span_of = |m: &Machine| self.addresses.iter().find_map(|g| m.span(*g));
        let (Some(user), Some(mut span)) = (self.user.and_then(|u| m.span(u)), span_of(m)) else {
            return Reading::AsMatched;
        };
        if user.1 > span.0 {
            return Reading::AsMatched;
        }
        let mut best = Reading::AsMatched;
        let mut masked = String::new();
        for _ in 0..READINGS_MAX {
            let before = text
                .as_bytes()
                .get(span.0.saturating_sub(LEAD)..span.0)
                .unwrap_or(&[]);
            let behind = text.as_bytes().get(span.1..).unwrap_or(&[]);
            let mut again = memchr::memmem::find_iter(behind, before).peekable();
            if before.is_empty() || again.peek().is_none() {
                return best;
            }
            if masked.is_empty() {
                masked.push_str(text);
            }
            masked.replace_range(span.0..span.1, &"\u{1}".repeat(span.1 - span.0));
            let later = match self.pattern.search(&masked, m) {
                Outcome::Match => span_of(m).filter(|s| s.0 >= span.1),
                _ => None,
            };
            let Some(later) = later else {
                let here = text.get(span.0..span.1);
                let doubtful = again
                    .filter_map(|i| address_at(text, span.1 + i + before.len()))
                    .any(|a| Some(a) != here);
                return if doubtful { Reading::Doubtful } else { best };
            };
            span = later;
            best = Reading::Other(facts_of(self, &masked, m));
        }
        Reading::Doubtful
    }

    pub(super) fn possible_in(&self, text: &str) -> bool {
        let need = self.pattern.required();
        need.is_empty()
            || need
                .iter()
                .any(|n| memchr::memmem::find(text.as_bytes(), n).is_some())
    }
}

/// Names of groups that are a filter's own.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<String>);

impl Names {
    /// The name behind a number.
    pub(super) fn get(&self, n: Name) -> &str {
        match KNOWN.get(n as usize) {
            Some(k) => k,
            None => self
                .0
                .get(n as usize - KNOWN.len())
                .map_or("", String::as_str),
        }
    }

    pub(super) fn intern(&mut self, name: &str) -> Name {
        if let Some(i) = KNOWN.iter().position(|k| *k == name) {
            return i as Name;
        }
        let i = self.0.iter().position(|k| k == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        (i + KNOWN.len()) as Name
    }
}

/// `alt_user_2`: the name without the number behind it.
fn stem(name: &str) -> String {
    let bare = match name.rsplit_once('_') {
        Some((head, n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => head,
        _ => name,
    };
    option_name(bare)
}

pub(super) fn rule(pattern: Pattern, names: &mut Names) -> Rule {
    let mut groups = Vec::new();
    for (i, n) in pattern.names().iter().enumerate() {
        let Some(n) = n else { continue };
        let role = if n.starts_with("skiplines") {
            Role::Skip
        } else if let Some(n) = n.strip_prefix("alt_") {
            Role::Alternative(names.intern(&stem(n)))
        } else if let Some(n) = n.strip_prefix("tuple_") {
            Role::Part(names.intern(&stem(n)))
        } else {
            Role::Value(names.intern(n))
        };
        groups.push((i, role));
    }
    let addresses: Vec<usize> = groups
        .iter()
        .filter(|g| matches!(g.1, Role::Value(IP4 | IP6 | DNS)))
        .map(|g| g.0)
        .collect();
    let user = groups
        .iter()
        .find(|g| matches!(g.1, Role::Value(USER)))
        .map(|g| g.0);
    let user = user.filter(|u| addresses.first().is_some_and(|a| a > u));
    Rule {
        pattern,
        groups,
        mask: Hits::new(),
        user,
        addresses,
    }
}

/// Separates the parts of a compound identity.
const PART: char = '\u{1f}';

/// What is kept of a value: of one that tells who or which session, all.
fn kept(n: Name, v: &str) -> String {
    let whole = [IP4, IP6, DNS, FID, MLFID].contains(&n);
    if whole { v } else { shortened(v) }.to_owned()
}

pub(super) fn facts_of(rule: &Rule, text: &str, m: &Machine) -> Facts {
    let mut f = Facts::default();
    for (g, role) in &rule.groups {
        if let (Role::Value(n), Some(v)) = (role, m.text(*g, text)) {
            f.set(*n, kept(*n, v));
        }
    }
    for (g, role) in &rule.groups {
        let Some(v) = m.text(*g, text) else { continue };
        match role {
            Role::Alternative(n) if !v.is_empty() && !f.has(*n) => f.set(*n, kept(*n, v)),
            Role::Part(n) => {
                let whole = format!("{}{PART}{v}", f.get(*n).unwrap_or(""));
                f.set(*n, whole);
            }
            _ => {}
        }
    }
    f
}

/// Groups of the prefix, all but the content.
pub(super) fn facts_span(rule: &Rule, text: &str, m: &Machine) -> Facts {
    let mut f = facts_of(rule, text, m);
    f.take(CONTENT);
    f
}

/// Lays the groups of a rule over those of the prefix. One that took no part hides nothing; an
/// address of the rule's own hides every address of the prefix, of whatever family.
pub(super) fn under(prefix: Option<Facts>, own: Facts) -> Facts {
    let Some(mut f) = prefix else { return own };
    if IDENTITIES.iter().any(|n| own.has(*n)) {
        for n in IDENTITIES {
            f.take(n);
        }
    }
    for (n, v) in own.values {
        f.set(n, v);
    }
    f
}

/// Names that say who is meant, and how wide.
const IDENTITIES: [Name; 5] = [IP4, IP6, DNS, FID, CIDR];
