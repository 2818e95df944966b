//! Python's regular expressions, for patterns written for fail2ban and lines written by anybody.
//!
//! A pattern is compiled for a backtracking matcher of our own that makes Python's choices:
//! compiling takes microseconds, so a filter with thirty patterns costs nothing until a line
//! could match, and look-around, back-references and conditionals are there. Each search has a
//! step budget. When a line uses it up, a pattern that needs nothing special is asked again
//! through the `regex` crate, in linear time; for one that does, `regex` first says whether it
//! could match at all, and only then a larger budget is spent. What is still undecided then is
//! [`Outcome::GaveUp`], which callers count and report.

mod ast;
mod charset;
mod literal;
mod machine;
mod parse;
mod plain;
mod program;

use std::sync::OnceLock;

use ast::Node;
use machine::{Found, UNSET};
use program::Program;

pub use machine::Machine;

/// Longest pattern accepted, in octets, after all substitutions.
pub const PATTERN_MAX: usize = 32 * 1024;
/// Deepest nesting of groups.
pub const DEPTH_MAX: usize = 64;
/// Largest count in `{m,n}`.
pub const REPEAT_MAX: u32 = 1000;
/// Most instructions a pattern may compile to.
pub const PROGRAM_MAX: usize = 50_000;
/// Steps of the first try of a search.
pub const BUDGET_FIRST: u32 = 20_000;
/// Steps of the second try, for patterns that `regex` cannot decide.
pub const BUDGET_SECOND: u32 = 1_000_000;

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// Not Python's syntax; `at` is the octet offset.
    Syntax {
        /// Offset in octets.
        at: usize,
        /// In Python's words.
        what: &'static str,
    },
    /// Beyond [`PATTERN_MAX`], [`DEPTH_MAX`], [`REPEAT_MAX`] or [`PROGRAM_MAX`].
    TooLarge,
}

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PatternError::Syntax { at, what } => write!(f, "{what} at position {at}"),
            PatternError::TooLarge => f.write_str("pattern too large"),
        }
    }
}

impl std::error::Error for PatternError {}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The groups are in the [`Machine`].
    Match,
    /// Certainly none.
    NoMatch,
    /// The budget did not suffice to know.
    GaveUp,
}

/// A pattern in Python's syntax.
#[derive(Debug)]
pub struct Pattern {
    source: String,
    node: Node,
    names: Vec<Option<String>>,
    plain: bool,
    clause: OnceLock<Option<literal::Clause>>,
    program: OnceLock<Option<Program>>,
    fallback: OnceLock<Option<regex::Regex>>,
}

impl Pattern {
    /// Reads a pattern; with `multiline`, `^` and `$` also hold at newlines.
    ///
    /// # Errors
    /// [`PatternError`]: what Python refuses too, or beyond a limit.
    pub fn new(source: &str, multiline: bool) -> Result<Pattern, PatternError> {
        let parsed = parse::parse(source, multiline)?;
        if weight(&parsed.node) > PROGRAM_MAX as u64 {
            return Err(PatternError::TooLarge);
        }
        Ok(Pattern {
            source: source.to_owned(),
            plain: parsed.node.is_plain(),
            clause: OnceLock::new(),
            node: parsed.node,
            names: parsed.names,
            program: OnceLock::new(),
            fallback: OnceLock::new(),
        })
    }

    /// As given.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Names of the groups; index 0 is the whole match.
    #[must_use]
    pub fn names(&self) -> &[Option<String>] {
        &self.names
    }

    /// Index of a named group.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n.as_deref() == Some(name))
    }

    /// Texts of which one is in every line that can match; empty when nothing is known.
    #[must_use]
    pub fn required(&self) -> &[Vec<u8>] {
        self.clause
            .get_or_init(|| literal::required(&self.node))
            .as_deref()
            .unwrap_or(&[])
    }

    /// Whether the `regex` crate can decide this pattern exactly.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Finds the leftmost match as Python's `search` would.
    pub fn search(&self, text: &str, m: &mut Machine) -> Outcome {
        self.search_at(text, 0, m)
    }

    /// As [`Pattern::search`], for matches that begin at octet `from` or later; what stands
    /// before is still seen by `\b` and look-behind.
    pub fn search_at(&self, text: &str, from: usize, m: &mut Machine) -> Outcome {
        self.search_within(text, from, BUDGET_FIRST, BUDGET_SECOND, m)
    }

    fn search_within(
        &self,
        text: &str,
        from: usize,
        first: u32,
        second: u32,
        m: &mut Machine,
    ) -> Outcome {
        let program = self
            .program
            .get_or_init(|| program::compile(&self.node, self.names.len()).ok());
        let Some(program) = program else {
            return Outcome::GaveUp;
        };
        match m.search(program, text, from, first) {
            Found::Yes => return Outcome::Match,
            Found::No => return Outcome::NoMatch,
            Found::Exhausted => {}
        }
        m.seen = text.len();
        let Some(regex) = self.regex() else {
            return Outcome::GaveUp;
        };
        if self.plain {
            let Some(found) = regex.captures_at(text, from) else {
                return Outcome::NoMatch;
            };
            m.slots.clear();
            for g in 0..self.names.len() {
                let (a, b) = match found.get(g) {
                    Some(x) => (x.start() as u32, x.end() as u32),
                    None => (UNSET, UNSET),
                };
                m.slots.extend([a, b]);
            }
            return Outcome::Match;
        }
        if !regex.is_match_at(text, from) {
            return Outcome::NoMatch;
        }
        match m.search(program, text, from, second) {
            Found::Yes => Outcome::Match,
            Found::No => Outcome::NoMatch,
            Found::Exhausted => Outcome::GaveUp,
        }
    }

    fn regex(&self) -> Option<&regex::Regex> {
        self.fallback
            .get_or_init(|| {
                regex::RegexBuilder::new(&plain::translate(&self.node))
                    .size_limit(32 << 20)
                    .nest_limit(1000)
                    .build()
                    .ok()
            })
            .as_ref()
    }
}

impl Machine {
    /// Bounds of a group in the last match, in octets.
    #[must_use]
    pub fn span(&self, group: usize) -> Option<(usize, usize)> {
        let a = *self.slots.get(group * 2)?;
        let b = *self.slots.get(group * 2 + 1)?;
        (a != UNSET && b != UNSET).then_some((a as usize, b as usize))
    }

    /// Text of a group in the last match.
    #[must_use]
    pub fn text<'t>(&self, group: usize, text: &'t str) -> Option<&'t str> {
        let (a, b) = self.span(group)?;
        text.get(a..b)
    }

    /// First octet that the last search did not look at; an upper bound. A text that is the
    /// same up to here, inclusive, has the same outcome.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen
    }
}

/// Number of instructions, roughly and at most.
fn weight(node: &Node) -> u64 {
    match node {
        Node::Empty => 0,
        Node::Char(_) | Node::Set(_) | Node::Assert(_) | Node::BackRef { .. } => 1,
        Node::Concat(v) => v.iter().fold(0, |n, x| weight(x).saturating_add(n)),
        Node::Alt(v) => v
            .iter()
            .fold(0u64, |n, x| weight(x).saturating_add(2).saturating_add(n)),
        Node::Group { node, .. } | Node::Atomic(node) | Node::Look { node, .. } => {
            weight(node).saturating_add(2)
        }
        Node::Cond { yes, no, .. } => weight(yes).saturating_add(weight(no)).saturating_add(3),
        Node::Repeat { node, min, max, .. } => {
            if matches!(**node, Node::Set(_) | Node::Char(_)) {
                return 1;
            }
            let times = u64::from(max.unwrap_or(*min).max(1)) + 1;
            weight(node).saturating_add(3).saturating_mul(times)
        }
    }
}

#[cfg(test)]
mod tests;
