//! Who sends as us, over any number of reports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::aggregate::AggregateReport;
use crate::dmarc::Policy;

/// Most sources that are told apart; the messages of more are counted together.
pub const SOURCES_MAX: usize = 100_000;

/// What came from one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Source {
    /// All messages.
    pub messages: u64,
    /// Those for which DMARC passed.
    pub passed: u64,
    /// Those for which DKIM was valid and aligned.
    pub dkim: u64,
    /// Those for which SPF was.
    pub spf: u64,
    /// Those that were put aside.
    pub quarantined: u64,
    /// Those that were refused.
    pub rejected: u64,
}

impl Source {
    fn add(&mut self, other: &Self) {
        let sum = |a: &mut u64, b: u64| *a = a.saturating_add(b);
        sum(&mut self.messages, other.messages);
        sum(&mut self.passed, other.passed);
        sum(&mut self.dkim, other.dkim);
        sum(&mut self.spf, other.spf);
        sum(&mut self.quarantined, other.quarantined);
        sum(&mut self.rejected, other.rejected);
    }
}

/// The sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Reports that were added.
    pub reports: usize,
    /// Reports that had been added before (same reporter and id) and were not counted again.
    pub repeated: usize,
    /// Rows that could not be read.
    pub left_out: usize,
    /// First and last second that the reports are about; `None` without reports.
    pub period: Option<(i64, i64)>,
    /// All messages.
    pub total: Source,
    /// By domain of the author.
    pub authors: BTreeMap<String, Source>,
    /// By reporter.
    pub reporters: BTreeMap<String, Source>,
    sources: BTreeMap<IpAddr, Source>,
    /// From more than [`SOURCES_MAX`] sources.
    pub others: Source,
    seen: BTreeSet<(String, String)>,
}

impl Summary {
    /// Adds a report, unless it was added before; whether it was new.
    pub fn add(&mut self, report: &AggregateReport) -> bool {
        let key = (report.reporter.clone(), report.id.clone());
        if !report.id.is_empty() && !self.seen.insert(key) {
            self.repeated += 1;
            return false;
        }
        self.reports += 1;
        self.left_out += report.left_out;
        self.period = Some(match self.period {
            None => (report.begin, report.end),
            Some((begin, end)) => (begin.min(report.begin), end.max(report.end)),
        });
        for row in &report.rows {
            let when = |yes: bool| if yes { row.count } else { 0 };
            let one = Source {
                messages: row.count,
                passed: when(row.passed()),
                dkim: when(row.dkim_aligned),
                spf: when(row.spf_aligned),
                quarantined: when(row.disposition == Policy::Quarantine),
                rejected: when(row.disposition == Policy::Reject),
            };
            self.total.add(&one);
            self.reporters
                .entry(report.reporter.clone())
                .or_default()
                .add(&one);
            let full = self.sources.len() >= SOURCES_MAX;
            if full && !self.sources.contains_key(&row.source) {
                self.others.add(&one);
            } else {
                self.sources.entry(row.source).or_default().add(&one);
            }
            let author = row.header_from.to_ascii_lowercase();
            if self.authors.len() < SOURCES_MAX || self.authors.contains_key(&author) {
                self.authors.entry(author).or_default().add(&one);
            }
        }
        true
    }

    /// The sources, those with most messages first.
    pub fn sources(&self) -> Vec<(IpAddr, Source)> {
        let mut found: Vec<(IpAddr, Source)> = self.sources.iter().map(|(a, b)| (*a, *b)).collect();
        found.sort_by(|a, b| b.1.messages.cmp(&a.1.messages).then(a.0.cmp(&b.0)));
        found
    }
}
