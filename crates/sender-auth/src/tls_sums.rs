//! How TLS towards us went, over any number of reports.

use std::collections::{BTreeMap, BTreeSet};

use crate::tlsrpt::TlsReport;

/// Most policies, reporters and kinds of failure each that are told apart; those of more are
/// counted under an empty name.
pub const KINDS_MAX: usize = 10_000;

/// Longest name in a sum, in characters; more are cut.
pub const NAME_MAX: usize = 255;

/// Sessions of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sessions {
    /// With TLS as the policy wants it.
    pub good: u64,
    /// Without.
    pub failed: u64,
}

impl Sessions {
    fn add(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.failed = self.failed.saturating_add(other.failed);
    }

    /// Both together.
    pub const fn all(self) -> u64 {
        self.good.saturating_add(self.failed)
    }
}

/// The sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSums {
    /// Reports that were added.
    pub reports: usize,
    /// Reports that had been added before (same reporter and id) and were not counted again.
    pub repeated: usize,
    /// First and last day that the reports are about (`2026-01-31`), of those that say one.
    pub period: Option<(String, String)>,
    /// All sessions.
    pub total: Sessions,
    /// By domain and kind of policy (`sts`, `tlsa`, `no-policy-found`).
    pub policies: BTreeMap<(String, String), Sessions>,
    /// By reporter.
    pub reporters: BTreeMap<String, Sessions>,
    /// Failed sessions by what went wrong (RFC 8460, 4.3) and the host where it did, as far as the
    /// reports tell.
    pub failures: BTreeMap<(String, String), u64>,
    seen: BTreeSet<(String, String)>,
}

/// The value for a key; beyond the limit that of the empty key.
fn slot<K: Ord + Default, V: Default>(map: &mut BTreeMap<K, V>, key: K) -> &mut V {
    let room = map.len() < KINDS_MAX || map.contains_key(&key);
    map.entry(if room { key } else { K::default() })
        .or_default()
}

fn name(text: &str) -> String {
    text.trim().chars().take(NAME_MAX).collect()
}

/// Names of domains and words are compared without regard to case.
fn low(text: &str) -> String {
    name(text).to_ascii_lowercase()
}

/// The day of an RFC 3339 time.
fn day(text: &str) -> Option<String> {
    let day = text.get(..10)?;
    let good = day.bytes().enumerate().all(|(at, b)| match at {
        4 | 7 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    good.then(|| day.to_owned())
}

impl TlsSums {
    /// Adds a report, unless it was added before; whether it was new.
    pub fn add(&mut self, report: &TlsReport) -> bool {
        let reporter = name(report.organization_name.as_deref().unwrap_or_default());
        let key = (reporter.clone(), name(&report.report_id));
        if !report.report_id.is_empty() && !self.seen.insert(key) {
            self.repeated += 1;
            return false;
        }
        self.reports += 1;
        let range = &report.date_range;
        if let (Some(begin), Some(end)) = (day(&range.start_datetime), day(&range.end_datetime)) {
            self.period = Some(match self.period.take() {
                None => (begin, end),
                Some((first, last)) => (first.min(begin), last.max(end)),
            });
        }
        for one in &report.policies {
            let sessions = Sessions {
                good: one.summary.total_successful_session_count,
                failed: one.summary.total_failure_session_count,
            };
            self.total.add(sessions);
            slot(&mut self.reporters, reporter.clone()).add(sessions);
            let key = (low(&one.policy.policy_domain), low(&one.policy.policy_type));
            slot(&mut self.policies, key).add(sessions);
            for detail in &one.failure_details {
                let host = low(detail.receiving_mx_hostname.as_deref().unwrap_or_default());
                let count = slot(&mut self.failures, (low(&detail.result_type), host));
                *count = count.saturating_add(detail.failed_session_count);
            }
        }
        true
    }

    /// The failures, the most frequent first.
    pub fn failures(&self) -> Vec<(&str, &str, u64)> {
        let mut found: Vec<(&str, &str, u64)> = self
            .failures
            .iter()
            .map(|((kind, host), count)| (kind.as_str(), host.as_str(), *count))
            .collect();
        found.sort_by(|a, b| b.2.cmp(&a.2).then(a.cmp(b)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: &str, more: &str) -> TlsReport {
        let text = format!(
            r#"{{"organization-name":"Big","report-id":"{id}","date-range":{{"start-datetime":
            "2026-01-02T00:00:00Z","end-datetime":"2026-01-02T23:59:59Z"}},"policies":[{more}]}}"#
        );
        TlsReport::parse(text.as_bytes()).unwrap()
    }

    const ONE: &str = r#"{"policy":{"policy-type":"sts","policy-domain":"A.example"},"summary":{
        "total-successful-session-count":7,"total-failure-session-count":3},"failure-details":[
        {"result-type":"certificate-expired","receiving-mx-hostname":"MX.a.example","failed-session-count":2},
        {"result-type":"starttls-not-supported","failed-session-count":1}]}"#;

    #[test]
    fn sums() {
        let mut sums = TlsSums::default();
        assert!(sums.add(&report("1", ONE)));
        assert!(!sums.add(&report("1", ONE)));
        assert!(sums.add(&report("2", &format!("{ONE},{ONE}"))));
        // Without an id nothing is taken for a repetition; without days the period stays.
        let mut bare = report("", ONE);
        bare.date_range.start_datetime = "yesterday".to_owned();
        assert!(sums.add(&bare) && sums.add(&bare));
        assert_eq!((sums.reports, sums.repeated), (4, 1));
        assert_eq!(
            sums.total,
            Sessions {
                good: 35,
                failed: 15
            }
        );
        assert_eq!(sums.total.all(), 50);
        assert_eq!(
            sums.period,
            Some(("2026-01-02".to_owned(), "2026-01-02".to_owned()))
        );
        let key = ("a.example".to_owned(), "sts".to_owned());
        assert_eq!(sums.policies[&key], sums.total);
        assert_eq!(
            sums.failures(),
            [
                ("certificate-expired", "mx.a.example", 10),
                ("starttls-not-supported", "", 5)
            ]
        );
    }

    #[test]
    fn numbers_do_not_overflow() {
        let most = ONE
            .replace(":7", &format!(":{}", u64::MAX))
            .replace(":2}", &format!(":{}}}", u64::MAX));
        let mut sums = TlsSums::default();
        sums.add(&report("", &most));
        sums.add(&report("", &most));
        assert_eq!(sums.total.good, u64::MAX);
        assert_eq!(sums.total.all(), u64::MAX);
        assert_eq!(sums.failures()[0].2, u64::MAX);
    }

    #[test]
    fn kinds_are_bounded() {
        for (count, kinds) in [
            (KINDS_MAX - 1, KINDS_MAX - 1),
            (KINDS_MAX, KINDS_MAX),
            (KINDS_MAX + 2, KINDS_MAX + 1),
        ] {
            let mut sums = TlsSums::default();
            for number in 0..count {
                let mut one = report("", ONE);
                one.policies[0].policy.policy_domain = format!("{number}.example");
                sums.add(&one);
            }
            assert_eq!(sums.policies.len(), kinds);
            assert_eq!(sums.total.good, 7 * count as u64);
        }
        for (length, kept) in [
            (NAME_MAX - 1, NAME_MAX - 1),
            (NAME_MAX, NAME_MAX),
            (NAME_MAX + 1, NAME_MAX),
        ] {
            assert_eq!(name(&"x".repeat(length)).len(), kept);
        }
    }
}
