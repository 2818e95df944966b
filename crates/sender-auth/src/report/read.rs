//! Reading aggregate reports, as leniently as their writers demand: unknown elements are passed
//! over, missing ones have defaults, rows without an address or a count are left out.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::aggregate::{AggregateReport, DkimAuth, PublishedPolicy, Reason, Row, SpfAuth};
use super::xml::{Event, Xml, XmlError};
use crate::dmarc::{Alignment, DmarcRecord, Policy};

/// Most rows of one report; more are counted as left out.
pub const ROWS_MAX: usize = 100_000;

/// Most results, reasons or errors in one place; more are ignored.
pub const LIST_MAX: usize = 64;

/// Longest text of one element in octets; the rest is cut off.
pub const TEXT_MAX: usize = 1_024;

/// Why a text is no report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportError {
    /// It can't be read as XML.
    Xml(XmlError),
    /// Its outermost element is not `feedback`.
    NotFeedback,
    /// It names no domain.
    NoDomain,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xml(error) => error.fmt(f),
            Self::NotFeedback => f.write_str("not an aggregate report"),
            Self::NoDomain => f.write_str("the report names no domain"),
        }
    }
}

impl From<XmlError> for ReportError {
    fn from(error: XmlError) -> Self {
        Self::Xml(error)
    }
}

/// What is being read.
struct Reading {
    report: AggregateReport,
    row: Row,
    has_source: bool,
    subdomain_policy: Option<Policy>,
}

impl AggregateReport {
    /// Reads the XML.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub fn parse(text: &[u8]) -> Result<Self, ReportError> {
        let text = String::from_utf8_lossy(text);
        let mut xml = Xml::new(&text, TEXT_MAX);
        let mut path: Vec<&str> = Vec::new();
        let mut reading = Reading::new();
        while let Some(event) = xml.next()? {
            match event {
                Event::Start(name) => {
                    if path.is_empty() && name != "feedback" {
                        return Err(ReportError::NotFeedback);
                    }
                    path.push(name);
                    reading.opened(path.get(1..).unwrap_or_default());
                }
                Event::End(_, text) => {
                    reading.closed(path.get(1..).unwrap_or_default(), text.trim());
                    path.pop();
                }
            }
        }
        let mut report = reading.report;
        report.policy.subdomain_policy = reading.subdomain_policy.unwrap_or(report.policy.policy);
        if report.policy.domain.is_empty() {
            return Err(ReportError::NoDomain);
        }
        Ok(report)
    }
}

fn empty_row() -> Row {
    Row {
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        count: 0,
        disposition: Policy::None,
        dkim_aligned: false,
        spf_aligned: false,
        reasons: Vec::new(),
        envelope_to: String::new(),
        envelope_from: String::new(),
        header_from: String::new(),
        dkim: Vec::new(),
        spf: Vec::new(),
    }
}

/// Adds an empty item, unless the list is full.
fn begin<T>(list: &mut Vec<T>, item: T) {
    if list.len() < LIST_MAX {
        list.push(item);
    }
}

impl Reading {
    fn new() -> Self {
        let policy = PublishedPolicy::new("", &DmarcRecord::new(Policy::None));
        Self {
            report: AggregateReport {
                reporter: String::new(),
                email: String::new(),
                contact: String::new(),
                id: String::new(),
                begin: 0,
                end: 0,
                errors: Vec::new(),
                policy,
                rows: Vec::new(),
                left_out: 0,
            },
            row: empty_row(),
            has_source: false,
            subdomain_policy: None,
        }
    }

    fn opened(&mut self, path: &[&str]) {
        let text = String::new;
        match path {
            ["record"] => {
                self.row = empty_row();
                self.has_source = false;
            }
            ["record", "row", "policy_evaluated", "reason"] => begin(
                &mut self.row.reasons,
                Reason {
                    kind: text(),
                    comment: text(),
                },
            ),
            ["record", "auth_results", "dkim"] => begin(
                &mut self.row.dkim,
                DkimAuth {
                    domain: text(),
                    selector: text(),
                    result: text(),
                },
            ),
            ["record", "auth_results", "spf"] => begin(
                &mut self.row.spf,
                SpfAuth {
                    domain: text(),
                    scope: text(),
                    result: text(),
                },
            ),
            _ => {}
        }
    }

    fn closed(&mut self, path: &[&str], text: &str) {
        match path {
            ["report_metadata", name @ ..] => self.metadata(name, text),
            ["policy_published", name] => self.policy(name, text),
            ["record"] => self.row_ended(),
            ["record", "row", name @ ..] => self.row_value(name, text),
            ["record", "identifiers", name] => {
                let place = match *name {
                    "envelope_to" => &mut self.row.envelope_to,
                    "envelope_from" => &mut self.row.envelope_from,
                    "header_from" => &mut self.row.header_from,
                    _ => return,
                };
                *place = text.to_owned();
            }
            ["record", "auth_results", "dkim", name] => {
                if let Some(last) = self.row.dkim.last_mut() {
                    match *name {
                        "domain" => last.domain = text.to_owned(),
                        "selector" => last.selector = text.to_owned(),
                        "result" => last.result = text.to_owned(),
                        _ => {}
                    }
                }
            }
            ["record", "auth_results", "spf", name] => {
                if let Some(last) = self.row.spf.last_mut() {
                    match *name {
                        "domain" => last.domain = text.to_owned(),
                        "scope" => last.scope = text.to_owned(),
                        "result" => last.result = text.to_owned(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn metadata(&mut self, path: &[&str], text: &str) {
        let report = &mut self.report;
        match path {
            ["org_name"] => report.reporter = text.to_owned(),
            ["email"] => report.email = text.to_owned(),
            ["extra_contact_info"] => report.contact = text.to_owned(),
            ["report_id"] => report.id = text.to_owned(),
            ["date_range", "begin"] => report.begin = text.parse().unwrap_or(0),
            ["date_range", "end"] => report.end = text.parse().unwrap_or(0),
            ["error"] => begin(&mut report.errors, text.to_owned()),
            _ => {}
        }
    }

    fn policy(&mut self, name: &str, text: &str) {
        let policy = &mut self.report.policy;
        let alignment = match text {
            "s" => Alignment::Strict,
            _ => Alignment::Relaxed,
        };
        match name {
            "domain" => policy.domain = text.to_ascii_lowercase(),
            "adkim" => policy.dkim = alignment,
            "aspf" => policy.spf = alignment,
            "p" => policy.policy = Policy::parse(text.as_bytes()).unwrap_or(Policy::None),
            "sp" => self.subdomain_policy = Policy::parse(text.as_bytes()),
            "pct" => policy.percent = text.parse().unwrap_or(100).min(100),
            "fo" => policy.failure_options = text.to_owned(),
            _ => {}
        }
    }

    fn row_value(&mut self, path: &[&str], text: &str) {
        let row = &mut self.row;
        match path {
            ["source_ip"] => {
                if let Ok(source) = text.parse() {
                    row.source = source;
                    self.has_source = true;
                }
            }
            ["count"] => row.count = text.parse().unwrap_or(0),
            ["policy_evaluated", "disposition"] => {
                row.disposition = Policy::parse(text.as_bytes()).unwrap_or(Policy::None);
            }
            ["policy_evaluated", "dkim"] => row.dkim_aligned = text.eq_ignore_ascii_case("pass"),
            ["policy_evaluated", "spf"] => row.spf_aligned = text.eq_ignore_ascii_case("pass"),
            ["policy_evaluated", "reason", name] => {
                if let Some(last) = row.reasons.last_mut() {
                    match *name {
                        "type" => last.kind = text.to_owned(),
                        "comment" => last.comment = text.to_owned(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn row_ended(&mut self) {
        let row = std::mem::replace(&mut self.row, empty_row());
        if !self.has_source || row.count == 0 || self.report.rows.len() == ROWS_MAX {
            self.report.left_out += 1;
        } else {
            self.report.rows.push(row);
        }
    }
}
