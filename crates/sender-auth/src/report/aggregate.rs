//! One aggregate report as data (RFC 7489, appendix C).

use std::collections::HashMap;
use std::net::IpAddr;

use crate::dkim::Verified;
use crate::dmarc::{Alignment, DmarcRecord, DmarcVerdict, Policy};
use crate::spf::{Identity, SpfVerdict};

/// Most kinds of messages of one report; a stranger can make as many as he likes.
pub const KINDS_MAX: usize = 10_000;

/// The policy as the reporter saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPolicy {
    /// Where the record stands.
    pub domain: String,
    /// `adkim`.
    pub dkim: Alignment,
    /// `aspf`.
    pub spf: Alignment,
    /// `p`.
    pub policy: Policy,
    /// `sp`; the same as `p` if the record has none.
    pub subdomain_policy: Policy,
    /// `pct`, 0 to 100.
    pub percent: u8,
    /// `fo` as it is written.
    pub failure_options: String,
}

impl PublishedPolicy {
    /// From the record at a domain.
    pub fn new(domain: &str, record: &DmarcRecord) -> Self {
        let options: Vec<String> = record.failure_options.iter().map(char::to_string).collect();
        Self {
            domain: domain.to_owned(),
            dkim: record.dkim,
            spf: record.spf,
            policy: record.policy,
            subdomain_policy: record.subdomain_policy.unwrap_or(record.policy),
            percent: record.percent,
            failure_options: match options.is_empty() {
                true => "0".to_owned(),
                false => options.join(":"),
            },
        }
    }
}

/// Why something else was done than the policy asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reason {
    /// `forwarded`, `sampled_out`, `trusted_forwarder`, `mailing_list`, `local_policy`, `other`.
    pub kind: String,
    /// For people; may be empty.
    pub comment: String,
}

/// What DKIM said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DkimAuth {
    /// `d=`.
    pub domain: String,
    /// `s=`; may be empty.
    pub selector: String,
    /// `none`, `pass`, `fail`, `policy`, `neutral`, `temperror`, `permerror`.
    pub result: String,
}

/// What SPF said.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpfAuth {
    /// The domain that was checked.
    pub domain: String,
    /// `helo` or `mfrom`; may be empty.
    pub scope: String,
    /// `none`, `neutral`, `pass`, `fail`, `softfail`, `temperror`, `permerror`.
    pub result: String,
}

/// Messages of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// Where they came from.
    pub source: IpAddr,
    /// How many.
    pub count: u64,
    /// What was done.
    pub disposition: Policy,
    /// DKIM proved a domain that belongs to the author's.
    pub dkim_aligned: bool,
    /// SPF did.
    pub spf_aligned: bool,
    /// Why not what the policy asks for.
    pub reasons: Vec<Reason>,
    /// Domain of the recipient; may be empty.
    pub envelope_to: String,
    /// Domain of the reverse-path; may be empty.
    pub envelope_from: String,
    /// The author's domain.
    pub header_from: String,
    /// One for each signature.
    pub dkim: Vec<DkimAuth>,
    /// One for each identity.
    pub spf: Vec<SpfAuth>,
}

impl Row {
    /// One message. `applied` is what was done with it in the end.
    pub fn new(
        verdict: &DmarcVerdict,
        spf: &SpfVerdict,
        dkim: &Verified,
        applied: Policy,
        reasons: Vec<Reason>,
    ) -> Self {
        let signatures = dkim.signatures.iter().filter_map(|one| {
            let signature = one.signature.as_ref()?;
            Some(DkimAuth {
                domain: signature.domain.clone(),
                selector: signature.selector.clone(),
                result: one.result().as_str().to_owned(),
            })
        });
        Self {
            source: spf.ip,
            count: 1,
            disposition: applied,
            dkim_aligned: !verdict.dkim_aligned.is_empty(),
            spf_aligned: verdict.spf_aligned.is_some(),
            reasons,
            envelope_to: String::new(),
            envelope_from: match spf.identity {
                Identity::MailFrom => spf.domain.clone(),
                Identity::Helo => String::new(),
            },
            header_from: verdict.author.clone(),
            dkim: signatures.collect(),
            spf: vec![SpfAuth {
                domain: spf.domain.clone(),
                scope: match spf.identity {
                    Identity::MailFrom => "mfrom".to_owned(),
                    Identity::Helo => "helo".to_owned(),
                },
                result: spf.result.as_str().to_owned(),
            }],
        }
    }

    /// DMARC passed.
    pub const fn passed(&self) -> bool {
        self.dkim_aligned || self.spf_aligned
    }
}

/// Messages counted until the next report is due.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    kinds: HashMap<Row, u64>,
    /// Messages that were not counted, as [`KINDS_MAX`] kinds were there.
    pub left_out: u64,
}

impl Tally {
    /// Counts messages; those of one kind make one row.
    pub fn add(&mut self, mut row: Row) {
        let count = std::mem::take(&mut row.count);
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&row) {
            self.left_out = self.left_out.saturating_add(count);
            return;
        }
        let sum = self.kinds.entry(row).or_default();
        *sum = sum.saturating_add(count);
    }

    /// The rows of the report, those with most messages first.
    pub fn into_rows(self) -> Vec<Row> {
        let mut rows: Vec<Row> = self
            .kinds
            .into_iter()
            .map(|(row, count)| Row { count, ..row })
            .collect();
        rows.sort_by(|a, b| {
            let by_names = || (a.source, &a.header_from, &a.envelope_from);
            let by_other_names = || (b.source, &b.header_from, &b.envelope_from);
            b.count
                .cmp(&a.count)
                .then_with(|| by_names().cmp(&by_other_names()))
        });
        rows
    }
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateReport {
    /// Who reports.
    pub reporter: String,
    /// Where they can be reached.
    pub email: String,
    /// Another way to reach them; may be empty.
    pub contact: String,
    /// Unique for the reporter.
    pub id: String,
    /// First second, since 1970 UTC.
    pub begin: i64,
    /// Last second.
    pub end: i64,
    /// What the reporter had trouble with.
    pub errors: Vec<String>,
    /// The policy.
    pub policy: PublishedPolicy,
    /// What came.
    pub rows: Vec<Row>,
    /// Rows that could not be read or were too many.
    pub left_out: usize,
}

impl AggregateReport {
    /// All messages.
    pub fn messages(&self) -> u64 {
        self.rows
            .iter()
            .fold(0, |sum, row| sum.saturating_add(row.count))
    }

    /// The name of the attachment (RFC 7489, 7.2.1.1).
    pub fn file_name(&self, receiver: &str) -> String {
        let id: String = self
            .id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        format!(
            "{receiver}!{}!{}!{}!{id}.xml.gz",
            self.policy.domain, self.begin, self.end
        )
    }

    /// The subject of the mail (RFC 7489, 7.2.1.1).
    pub fn subject(&self, receiver: &str) -> String {
        format!(
            "Report Domain: {} Submitter: {receiver} Report-ID: <{}>",
            self.policy.domain, self.id
        )
    }

    /// What the schema of RFC 7489, appendix C, finds wrong; empty for a report that may go out.
    pub fn problems(&self) -> Vec<String> {
        const KINDS: [&str; 6] = [
            "forwarded",
            "sampled_out",
            "trusted_forwarder",
            "mailing_list",
            "local_policy",
            "other",
        ];
        let mut found = Vec::new();
        let mut needs = |good: bool, what: &str| {
            if !good {
                found.push(what.to_owned());
            }
        };
        needs(!self.reporter.is_empty(), "org_name is empty");
        needs(!self.email.is_empty(), "email is empty");
        needs(!self.id.is_empty(), "report_id is empty");
        needs(
            self.begin >= 0 && self.begin <= self.end,
            "date_range is turned round",
        );
        needs(
            !self.policy.domain.is_empty(),
            "domain of the policy is empty",
        );
        needs(self.policy.percent <= 100, "pct is above 100");
        needs(!self.rows.is_empty(), "no record");
        for (number, row) in (1..).zip(&self.rows) {
            let mut needs =
                |good: bool, what: &str| needs(good, &format!("record {number}: {what}"));
            needs(row.count > 0, "count is 0");
            needs(!row.header_from.is_empty(), "header_from is empty");
            needs(!row.spf.is_empty(), "no spf result");
            let common = |result: &str| {
                matches!(
                    result,
                    "none" | "neutral" | "pass" | "fail" | "temperror" | "permerror"
                )
            };
            let spf = |one: &SpfAuth| common(&one.result) || one.result == "softfail";
            needs(row.spf.iter().all(spf), "unknown spf result");
            let scope = |one: &SpfAuth| matches!(one.scope.as_str(), "helo" | "mfrom");
            needs(row.spf.iter().all(scope), "unknown scope of spf");
            let dkim = |one: &DkimAuth| common(&one.result) || one.result == "policy";
            needs(row.dkim.iter().all(dkim), "unknown dkim result");
            let kinds = row
                .reasons
                .iter()
                .all(|reason| KINDS.contains(&reason.kind.as_str()));
            needs(kinds, "unknown reason");
        }
        found
    }
}
