//! Writing aggregate reports in the order of the schema of RFC 7489, appendix C.

use std::fmt::Write as _;

use super::aggregate::{AggregateReport, Row};
use super::xml::escape;

/// XML being written.
struct Writer {
    out: String,
    depth: usize,
}

impl Writer {
    fn open(&mut self, name: &str) {
        let _ = writeln!(self.out, "{:1$}<{name}>", "", self.depth * 2);
        self.depth += 1;
    }

    fn close(&mut self, name: &str) {
        self.depth -= 1;
        let _ = writeln!(self.out, "{:1$}</{name}>", "", self.depth * 2);
    }

    fn value(&mut self, name: &str, text: &str) {
        let _ = write!(self.out, "{:1$}<{name}>", "", self.depth * 2);
        escape(text, &mut self.out);
        let _ = writeln!(self.out, "</{name}>");
    }

    fn optional(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.value(name, text);
        }
    }
}

impl AggregateReport {
    /// The report as XML; see [`AggregateReport::problems`] for whether it may go out.
    pub fn to_xml(&self) -> String {
        let mut xml = Writer {
            out: String::with_capacity(1_024 + self.rows.len() * 1_024),
            depth: 0,
        };
        xml.out
            .push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        xml.open("feedback");
        xml.value("version", "1.0");
        xml.open("report_metadata");
        xml.value("org_name", &self.reporter);
        xml.value("email", &self.email);
        xml.optional("extra_contact_info", &self.contact);
        xml.value("report_id", &self.id);
        xml.open("date_range");
        xml.value("begin", &self.begin.to_string());
        xml.value("end", &self.end.to_string());
        xml.close("date_range");
        for error in &self.errors {
            xml.value("error", error);
        }
        xml.close("report_metadata");
        xml.open("policy_published");
        xml.value("domain", &self.policy.domain);
        xml.value("adkim", self.policy.dkim.as_str());
        xml.value("aspf", self.policy.spf.as_str());
        xml.value("p", self.policy.policy.as_str());
        xml.value("sp", self.policy.subdomain_policy.as_str());
        xml.value("pct", &self.policy.percent.to_string());
        xml.value("fo", &self.policy.failure_options);
        xml.close("policy_published");
        for row in &self.rows {
            record(row, &mut xml);
        }
        xml.close("feedback");
        xml.out
    }
}

fn record(row: &Row, xml: &mut Writer) {
    let word = |aligned: bool| if aligned { "pass" } else { "fail" };
    xml.open("record");
    xml.open("row");
    xml.value("source_ip", &row.source.to_string());
    xml.value("count", &row.count.to_string());
    xml.open("policy_evaluated");
    xml.value("disposition", row.disposition.as_str());
    xml.value("dkim", word(row.dkim_aligned));
    xml.value("spf", word(row.spf_aligned));
    for reason in &row.reasons {
        xml.open("reason");
        xml.value("type", &reason.kind);
        xml.optional("comment", &reason.comment);
        xml.close("reason");
    }
    xml.close("policy_evaluated");
    xml.close("row");
    xml.open("identifiers");
    xml.optional("envelope_to", &row.envelope_to);
    xml.value("envelope_from", &row.envelope_from);
    xml.value("header_from", &row.header_from);
    xml.close("identifiers");
    xml.open("auth_results");
    for dkim in &row.dkim {
        xml.open("dkim");
        xml.value("domain", &dkim.domain);
        xml.optional("selector", &dkim.selector);
        xml.value("result", &dkim.result);
        xml.close("dkim");
    }
    for spf in &row.spf {
        xml.open("spf");
        xml.value("domain", &spf.domain);
        xml.optional("scope", &spf.scope);
        xml.value("result", &spf.result);
        xml.close("spf");
    }
    xml.close("auth_results");
    xml.close("record");
}
