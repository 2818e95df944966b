//! A filter at work: lines in, failures out.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::definition::FilterConf;
use super::failregex::{UseDns, compile, identifies};
use super::rule::{Names, Reading, Role, Rule, facts_of, facts_span, rule, under};
use super::session::{
    CIDR, CONTENT, DNS, FID, Facts, IP4, IP6, MLFID, NOFAIL, Name, Sessions, VALUE_MAX,
};
use crate::pattern::{Machine, Outcome, PatternError};
use crate::scan::Hits;

/// Why a filter can't be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterError {
    /// A pattern is refused.
    Pattern {
        /// `failregex`, `ignoreregex` or `prefregex`.
        option: &'static str,
        /// The pattern as written.
        regex: String,
        /// Why.
        error: PatternError,
    },
    /// A `failregex` says neither who is meant nor which session.
    NoIdentity(String),
    /// There is no `failregex`.
    Empty,
    /// `usedns` has an unknown value.
    UseDns(String),
}

impl std::fmt::Display for FilterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FilterError::Pattern {
                option,
                regex,
                error,
            } => {
                write!(f, "{option} can't be taken over: {error}: {regex}")
            }
            FilterError::NoIdentity(r) => write!(f, "failregex without <HOST> or another id: {r}"),
            FilterError::Empty => f.write_str("no failregex"),
            FilterError::UseDns(v) => write!(f, "usedns = {v} is not yes, warn, no or raw"),
        }
    }
}

impl std::error::Error for FilterError {}

/// Longest host name, in octets (RFC 1035, 2.3.4, as text).
pub const HOST_MAX: usize = 253;

/// Who failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// An address, or with `<CIDR>` a network.
    Address {
        /// The address; IPv4 in IPv6 is given as IPv4.
        ip: IpAddr,
        /// Prefix length, if the line gives one.
        prefix: Option<u8>,
    },
    /// A host name that has to be looked up.
    Host(String),
    /// Something of the filter's own (`<F-ID>`), or what stands where an address should and is
    /// none. It can be reported and counted but not given to a firewall.
    Id(String),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Address { ip, prefix: None } => write!(f, "{ip}"),
            Who::Address {
                ip,
                prefix: Some(p),
            } => write!(f, "{ip}/{p}"),
            Who::Host(s) | Who::Id(s) => f.write_str(s),
        }
    }
}

/// A violation.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Which `failregex`, from 0.
    pub regex: usize,
    /// Whose.
    pub who: Who,
    /// Seconds since 1970; none for a line without a date.
    pub time: Option<f64>,
    /// Lines behind it.
    pub attempts: u32,
    /// Users, lines, groups.
    pub facts: Facts,
}

/// A line with its date cut out.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// As it was written, without the newline.
    pub full: &'a str,
    /// Without the date, with one newline at the end.
    pub text: &'a str,
    /// When it was written.
    pub time: Option<f64>,
}

/// A filter with its patterns and what it remembers.
#[derive(Debug)]
pub struct Filter {
    prefix: Option<Rule>,
    fail: Vec<Rule>,
    ignore: Vec<Rule>,
    names: Names,
    lines_max: usize,
    /// Lines held back for patterns over several lines: text without date, and as written.
    held: VecDeque<(String, String)>,
    sessions: Sessions,
    /// Union over `fail`; empty when some pattern may match any line.
    any: Hits,
    /// Searches that used up their budget.
    gave_up: u64,
    doubtful: u64,
    charge_doubtful: bool,
    content: String,
}

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// [`FilterError`]: the first pattern that can't be taken over, by name.
    pub fn new(conf: &FilterConf, dns: UseDns) -> Result<Filter, FilterError> {
        let multiline = conf.maxlines > 1;
        let mut names = Names::default();
        let mut make = |option: &'static str, regex: &str, multi: bool| {
            compile(regex, dns, multi)
                .map(|p| rule(p, &mut names))
                .map_err(|error| FilterError::Pattern {
                    option,
                    regex: regex.to_owned(),
                    error,
                })
        };
        let prefix = conf
            .prefregex
            .as_deref()
            .map(|r| make("prefregex", r, false))
            .transpose()?;
        let mut fail = Vec::with_capacity(conf.failregex.len());
        for r in &conf.failregex {
            let rule = make("failregex", r, multiline)?;
            if !identifies(&rule.pattern)
                && !prefix.as_ref().is_some_and(|p| identifies(&p.pattern))
            {
                return Err(FilterError::NoIdentity(r.clone()));
            }
            fail.push(rule);
        }
        let mut ignore = Vec::with_capacity(conf.ignoreregex.len());
        for r in &conf.ignoreregex {
            ignore.push(make("ignoreregex", r, false)?);
        }
        if fail.is_empty() {
            return Err(FilterError::Empty);
        }
        Ok(Filter {
            prefix,
            fail,
            ignore,
            names,
            lines_max: conf.maxlines,
            held: VecDeque::new(),
            sessions: Sessions::default(),
            any: Hits::new(),
            gave_up: 0,
            doubtful: 0,
            charge_doubtful: false,
            content: String::new(),
        })
    }

    /// Texts whose presence [`Filter::process`] wants to be told; numbers come back through
    /// [`Filter::set_bits`].
    pub(crate) fn required(&self) -> impl Iterator<Item = &[u8]> {
        let prefix = self.prefix.iter().flat_map(|r| r.pattern.required());
        let fail = self.fail.iter().flat_map(|r| r.pattern.required());
        prefix.chain(fail).map(Vec::as_slice)
    }

    /// Tells the filter which bit stands for which text; `words` is the length of the hits.
    pub(crate) fn set_bits(&mut self, words: usize, bit: &dyn Fn(&[u8]) -> usize) {
        for rule in self.prefix.iter_mut().chain(&mut self.fail) {
            rule.mask.clear();
            let need = rule.pattern.required();
            if need.is_empty() {
                continue;
            }
            rule.mask.resize(words, 0);
            for n in need {
                let b = bit(n);
                if let Some(w) = rule.mask.get_mut(b / 64) {
                    *w |= 1 << (b % 64);
                }
            }
        }
        self.any.clear();
        if self.fail.iter().all(|r| !r.mask.is_empty()) {
            self.any.resize(words, 0);
            for r in &self.fail {
                for (a, b) in self.any.iter_mut().zip(&r.mask) {
                    *a |= b;
                }
            }
        }
    }

    /// Whether a line with these hits can be of interest.
    #[inline]
    #[must_use]
    pub fn wants(&self, hits: &Hits) -> bool {
        if self.lines_max > 1 {
            return true;
        }
        self.prefix.as_ref().is_none_or(|p| p.possible(hits))
            && (self.any.is_empty() || self.any.iter().zip(hits).any(|(a, b)| a & b != 0))
    }

    /// Makes every line be looked at in full.
    #[cfg(test)]
    pub(crate) fn want_all(&mut self) {
        self.any.clear();
        for r in self.prefix.iter_mut().chain(&mut self.fail) {
            r.mask.clear();
        }
    }

    /// Name of a group in [`Facts`].
    #[must_use]
    pub fn name(&self, n: Name) -> &str {
        self.names.get(n)
    }

    /// Number of `failregex`.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.fail.len()
    }

    /// Searches that were given up since the start: such a line was treated as no match.
    #[must_use]
    pub fn gave_up(&self) -> u64 {
        self.gave_up
    }

    /// Whether a doubtful line is charged to the first address in it, as fail2ban does, or to
    /// nobody, as is the default.
    pub fn set_charge_doubtful(&mut self, charge: bool) {
        self.charge_doubtful = charge;
    }

    /// Lines in which a user name looked like the rest of a line, so that two addresses came
    /// into question.
    #[must_use]
    pub fn doubtful(&self) -> u64 {
        self.doubtful
    }

    fn ignored(&mut self, text: &str, m: &mut Machine) -> bool {
        for r in &self.ignore {
            if r.possible_in(text) {
                match r.pattern.search(text, m) {
                    Outcome::Match => return true,
                    Outcome::GaveUp => self.gave_up += 1,
                    Outcome::NoMatch => {}
                }
            }
        }
        false
    }

    /// Looks at a line; `now` is the present second. At most one failure comes of a line.
    pub fn process(
        &mut self,
        line: &Line<'_>,
        hits: &Hits,
        now: i64,
        m: &mut Machine,
    ) -> Option<Failure> {
        if self.lines_max > 1 {
            return self.process_held(line, now, m);
        }
        let early = !self.ignore.is_empty() && self.ignore.len() + 2 < self.fail.len();
        if early && self.ignored(line.text, m) {
            return None;
        }
        let mut before = None;
        let mut content = std::mem::take(&mut self.content);
        let mut text = line.text;
        if let Some(p) = &self.prefix {
            match p.pattern.search(text, m) {
                Outcome::Match => {}
                other => {
                    self.gave_up += u64::from(other == Outcome::GaveUp);
                    self.content = content;
                    return None;
                }
            }
            let group = p
                .groups
                .iter()
                .find(|g| matches!(g.1, Role::Value(CONTENT)));
            if let Some(c) = group
                .and_then(|g| m.text(g.0, line.text))
                .filter(|c| !c.is_empty())
            {
                content.clear();
                content.push_str(c);
                content.push('\n');
                text = &content;
            }
            before = Some(facts_span(p, line.text, m));
        }
        let mut found = None;
        for i in 0..self.fail.len() {
            let Some(r) = self.fail.get(i) else { break };
            if !r.possible(hits) {
                continue;
            }
            match r.pattern.search(text, m) {
                Outcome::Match => {}
                other => {
                    self.gave_up += u64::from(other == Outcome::GaveUp);
                    continue;
                }
            }
            let mut facts = facts_of(r, text, m);
            match r.last_reading(text, m) {
                Reading::AsMatched => {}
                Reading::Other(f) => facts = f,
                Reading::Doubtful => {
                    self.doubtful += 1;
                    if !self.charge_doubtful {
                        continue;
                    }
                }
            }
            if self.ignored(text, m) {
                break;
            }
            let facts = under(before.take(), facts);
            found = self.conclude(i, facts, 1, line.full, line.time, now);
            break;
        }
        self.content = content;
        found
    }

    /// As [`Filter::process`] for patterns over several lines.
    fn process_held(&mut self, line: &Line<'_>, now: i64, m: &mut Machine) -> Option<Failure> {
        self.held
            .push_back((line.text.to_owned(), line.full.to_owned()));
        while self.held.len() > self.lines_max {
            self.held.pop_front();
        }
        let mut text: String = self.held.iter().map(|l| l.0.as_str()).collect();
        let early = !self.ignore.is_empty() && self.ignore.len() + 2 < self.fail.len();
        if early && self.ignored(&text, m) {
            return None;
        }
        let mut before = None;
        let mut replaced = false;
        if let Some(p) = &self.prefix {
            match p.pattern.search(&text, m) {
                Outcome::Match => {}
                other => {
                    self.gave_up += u64::from(other == Outcome::GaveUp);
                    return None;
                }
            }
            before = Some(facts_span(p, &text, m));
            let group = p
                .groups
                .iter()
                .find(|g| matches!(g.1, Role::Value(CONTENT)));
            let content = group
                .and_then(|g| m.text(g.0, &text))
                .filter(|c| !c.is_empty());
            if let Some(c) = content {
                text = format!("{c}\n");
                replaced = true;
            }
        }
        for i in 0..self.fail.len() {
            let Some(r) = self.fail.get(i) else { break };
            if !r.possible_in(&text) {
                continue;
            }
            match r.pattern.search(&text, m) {
                Outcome::Match => {}
                other => {
                    self.gave_up += u64::from(other == Outcome::GaveUp);
                    continue;
                }
            }
            let facts = facts_of(r, &text, m);
            let (a, b) = m.span(0).unwrap_or((0, 0));
            let skipped: Vec<String> = r
                .groups
                .iter()
                .filter(|g| matches!(g.1, Role::Skip))
                .filter_map(|g| m.text(g.0, &text))
                .flat_map(str::lines)
                .map(str::to_owned)
                .collect();
            let matched = self.split_held(&text, (a, b), &skipped, replaced);
            let matched_text: String = matched.iter().map(|l| l.0.as_str()).collect();
            if self.ignored(&matched_text, m) {
                break;
            }
            let facts = under(before.take(), facts);
            let last = matched.last().map_or(line.full, |l| l.1.as_str());
            let count = matched.len().max(1) as u32;
            return self.conclude(i, facts, count, last, line.time, now);
        }
        None
    }

    /// Takes the matched lines out of those held back.
    fn split_held(
        &mut self,
        text: &str,
        span: (usize, usize),
        skipped: &[String],
        replaced: bool,
    ) -> Vec<(String, String)> {
        if self.held.len() <= 1 || replaced {
            return self.held.drain(..).collect();
        }
        let count = |end: usize| {
            memchr::memchr_iter(b'\n', text.as_bytes().get(..end).unwrap_or(&[])).count()
        };
        let first_end = (span.0 + 1).min(text.len());
        let start = text
            .get(..first_end)
            .and_then(|t| t.rfind('\n'))
            .map_or(0, |i| i + 1);
        let from_last = span.1.saturating_sub(1);
        let end = text
            .get(from_last..)
            .and_then(|t| t.find('\n'))
            .map_or(text.len(), |i| from_last + i + 1);
        let (first, last) = (count(start), count(end));
        let mut matched = Vec::new();
        let mut kept = VecDeque::new();
        let mut skipped = skipped.iter().peekable();
        for (i, l) in std::mem::take(&mut self.held).into_iter().enumerate() {
            if i < first || i >= last {
                kept.push_back(l);
            } else if skipped
                .peek()
                .is_some_and(|s| s.as_str() == l.0.trim_end_matches('\n'))
            {
                skipped.next();
                kept.push_back(l);
            } else {
                matched.push(l);
            }
        }
        self.held = kept;
        matched
    }

    fn conclude(
        &mut self,
        regex: usize,
        mut facts: Facts,
        count: u32,
        text: &str,
        time: Option<f64>,
        now: i64,
    ) -> Option<Failure> {
        let too_long = |n: Name, max: usize| facts.get(n).is_some_and(|v| v.len() > max);
        if too_long(DNS, HOST_MAX) || too_long(FID, VALUE_MAX) || too_long(MLFID, VALUE_MAX) {
            return None;
        }
        let session = facts.get(MLFID).map(str::to_owned);
        match &session {
            Some(id) => {
                facts = self.sessions.join(id, facts, count, text, now);
            }
            None => {
                facts.attempts = count;
                facts.keep_line(text);
            }
        }
        if facts.has(NOFAIL) {
            return None;
        }
        let own = facts.get(FID);
        let address = facts.get(IP4).or(facts.get(IP6));
        let who = match (address, facts.get(DNS), own) {
            (Some(a), _, fid) => match (fid.filter(|f| *f != a), a.parse::<IpAddr>()) {
                (Some(f), _) => Who::Id(f.to_owned()),
                // 192.030.0.1, 300.1.1.1: looks like an address and is none
                (None, Err(_)) => Who::Id(a.to_owned()),
                (None, Ok(ip)) => {
                    let ip = ip.to_canonical();
                    let full = if ip.is_ipv4() { 32 } else { 128 };
                    let prefix = match facts.get(CIDR) {
                        Some(c) => Some(c.parse::<u8>().ok().filter(|p| (1..=full).contains(p))?),
                        None => None,
                    };
                    Who::Address {
                        ip,
                        prefix: prefix.filter(|p| *p != full),
                    }
                }
            },
            (None, Some(d), None) => Who::Host(d.to_owned()),
            (None, Some(d), Some(f)) if f == d => Who::Host(d.to_owned()),
            (None, _, Some(f)) => match f.parse::<IpAddr>() {
                Ok(ip) => Who::Address {
                    ip: ip.to_canonical(),
                    prefix: None,
                },
                Err(_) => Who::Id(f.to_owned()),
            },
            (None, None, None) => {
                if let Some(id) = &session {
                    self.sessions.pending(id);
                }
                return None;
            }
        };
        Some(Failure {
            regex,
            who,
            time,
            attempts: facts.attempts,
            facts,
        })
    }
}
