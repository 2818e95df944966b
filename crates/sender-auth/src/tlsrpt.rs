//! SMTP TLS reporting (RFC 8460): where a domain wants to hear how TLS towards it went, and the
//! reports themselves, made and read.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::report::UNPACKED_MAX;
use crate::tag_list::{TagList, trim};

/// Most places that reports go to; more are ignored.
pub const PLACES_MAX: usize = 10;

/// Most policies of a report, failures of a policy, lines and hosts of a policy that are read;
/// more are passed over.
pub const POLICIES_MAX: usize = 1_000;
/// See [`POLICIES_MAX`].
pub const FAILURES_MAX: usize = 1_000;
/// See [`POLICIES_MAX`].
pub const LINES_MAX: usize = 64;

/// The name whose text records say where reports go.
pub fn record_name(domain: &str) -> String {
    format!("_smtp._tls.{domain}")
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By mail to this address.
    Mail(String),
    /// By POST to this URL.
    Https(String),
}

/// Why there is nowhere to report to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsRptError {
    /// No record that begins with `v=TLSRPTv1`.
    None,
    /// Several: as if there were none (RFC 8460, 3).
    Several,
    /// Its form is wrong, or no place in it can be used.
    Syntax,
}

impl fmt::Display for TlsRptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no TLSRPT record",
            Self::Several => "several TLSRPT records",
            Self::Syntax => "the TLSRPT record can't be read",
        })
    }
}

/// The places of the only record among these texts (RFC 8460, 3).
///
/// # Errors
/// See [`TlsRptError`].
pub fn places<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Place>, TlsRptError> {
    let mut found = texts.into_iter().filter(|text| {
        text.strip_prefix(b"v=TLSRPTv1")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b';' | b' ' | b'\t')))
    });
    let text = found.next().ok_or(TlsRptError::None)?;
    if found.next().is_some() {
        return Err(TlsRptError::Several);
    }
    let list = TagList::parse(text).map_err(|_| TlsRptError::Syntax)?;
    let value = list.get("rua").ok_or(TlsRptError::Syntax)?;
    let places: Vec<Place> = value
        .split(|b| *b == b',')
        .filter_map(|item| place(trim(item)))
        .take(PLACES_MAX)
        .collect();
    match places.is_empty() {
        true => Err(TlsRptError::Syntax),
        false => Ok(places),
    }
}

fn place(text: &[u8]) -> Option<Place> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = text.split_once(':')?;
    if scheme.eq_ignore_ascii_case("mailto") {
        let (local, domain) = rest.rsplit_once('@')?;
        let good = !local.is_empty() && crate::name::ascii_name(domain.as_bytes()).is_some();
        return good.then(|| Place::Mail(rest.to_owned()));
    }
    let good = scheme.eq_ignore_ascii_case("https") && rest.len() > 2 && rest.starts_with("//");
    good.then(|| Place::Https(text.to_owned()))
}

/// A report (RFC 8460, 4.4). Times are RFC 3339 texts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TlsReport {
    /// Who reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_name: Option<String>,
    /// What the report is about.
    pub date_range: DateRange,
    /// How to reach the reporter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact_info: Option<String>,
    /// Unique for the reporter.
    pub report_id: String,
    /// One for each policy that was applied; of a report that is read at most [`POLICIES_MAX`].
    #[serde(deserialize_with = "at_most::<POLICIES_MAX, _, _>")]
    pub policies: Vec<PolicyResult>,
}

/// First and last moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct DateRange {
    /// `2026-01-01T00:00:00Z`.
    pub start_datetime: String,
    /// `2026-01-01T23:59:59Z`.
    pub end_datetime: String,
}

/// What happened under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PolicyResult {
    /// The policy.
    pub policy: AppliedPolicy,
    /// Sums.
    pub summary: TlsSummary,
    /// What went wrong; of a report that is read at most [`FAILURES_MAX`].
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "at_most::<FAILURES_MAX, _, _>"
    )]
    pub failure_details: Vec<FailureDetail>,
}

/// A policy as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AppliedPolicy {
    /// `tlsa`, `sts` or `no-policy-found`.
    pub policy_type: String,
    /// Its lines, or its records; of a report that is read at most [`LINES_MAX`].
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "at_most::<LINES_MAX, _, _>"
    )]
    pub policy_string: Vec<String>,
    /// The domain that mail was for.
    pub policy_domain: String,
    /// Its mail exchangers, as patterns.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "at_most::<LINES_MAX, _, _>"
    )]
    pub mx_host: Vec<String>,
}

/// Sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TlsSummary {
    /// With TLS as the policy wants it.
    pub total_successful_session_count: u64,
    /// Without.
    pub total_failure_session_count: u64,
}

/// Sessions that failed in one way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct FailureDetail {
    /// A word of RFC 8460, 4.3, such as `certificate-expired`.
    pub result_type: String,
    /// The sending address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sending_mta_ip: Option<String>,
    /// The host that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_mx_hostname: Option<String>,
    /// What it said in its greeting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_mx_helo: Option<String>,
    /// Its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiving_ip: Option<String>,
    /// How many.
    pub failed_session_count: u64,
    /// Where to read more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_information: Option<String>,
    /// A code for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason_code: Option<String>,
}

/// Reads a list and keeps its first items; `null` and a single string, which some senders write in
/// the place of a list (RFC 8460's own example for `mx-host`), are lists too.
struct AtMost<const MOST: usize, T>(PhantomData<T>);

impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for AtMost<MOST, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while items.len() < MOST {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(items),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(items)
    }

    fn visit_str<E: serde::de::Error>(self, one: &str) -> Result<Vec<T>, E> {
        T::deserialize(one.into_deserializer()).map(|item| vec![item])
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }
}

fn at_most<'de, const MOST: usize, T, D>(from: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    from.deserialize_any(AtMost::<MOST, T>(PhantomData))
}

/// Why a text is no report.
#[derive(Debug)]
pub enum TlsReportError {
    /// Longer than [`UNPACKED_MAX`].
    TooLong,
    /// Not JSON, or not of this form.
    Json(serde_json::Error),
}

impl fmt::Display for TlsReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the report is larger than 64 MiB"),
            Self::Json(error) => write!(f, "not a TLS report: {error}"),
        }
    }
}

impl TlsReport {
    /// Reads an unpacked report ([`crate::report::unpack`]).
    ///
    /// # Errors
    /// See [`TlsReportError`].
    pub fn parse(text: &[u8]) -> Result<Self, TlsReportError> {
        if text.len() > UNPACKED_MAX {
            return Err(TlsReportError::TooLong);
        }
        serde_json::from_slice(text).map_err(TlsReportError::Json)
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        // These types have neither maps with odd keys nor numbers that JSON lacks.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The name of the attachment (RFC 8460, 5.1), times in seconds since 1970 UTC.
    pub fn file_name(&self, sender: &str, domain: &str, begin: i64, end: i64) -> String {
        let id: String = self
            .report_id
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        format!("{sender}!{domain}!{begin}!{end}!{id}.json.gz")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records() {
        use TlsRptError as E;
        let read = |texts: &[&'static str]| places(texts.iter().map(|t| t.as_bytes()));
        assert_eq!(
            read(&[
                "x",
                "v=TLSRPTv1; rua=mailto:t@a.example,https://a.example/x, ftp://b"
            ])
            .unwrap(),
            [
                Place::Mail("t@a.example".to_owned()),
                Place::Https("https://a.example/x".to_owned())
            ]
        );
        for (texts, error) in [
            (&["v=TLSRPTv2; rua=mailto:a@b.c"][..], E::None),
            (
                &["v=TLSRPTv1;rua=mailto:a@b.c", "v=TLSRPTv1;rua=mailto:a@b.c"],
                E::Several,
            ),
            (&["v=TLSRPTv1"], E::Syntax),
            (&["v=TLSRPTv1; rua=mailto:a"], E::Syntax),
            (&["v=TLSRPTv1; rua=https:"], E::Syntax),
        ] {
            assert_eq!(read(texts), Err(error), "{texts:?}");
        }
        for (count, expected) in [
            (PLACES_MAX - 1, PLACES_MAX - 1),
            (PLACES_MAX, PLACES_MAX),
            (PLACES_MAX + 1, PLACES_MAX),
        ] {
            let text = format!("v=TLSRPTv1;rua={}", vec!["mailto:a@b.c"; count].join(","));
            assert_eq!(places([text.as_bytes()]).unwrap().len(), expected);
        }
    }

    const REPORT: &str = r#"{"organization-name":"A","date-range":{"start-datetime":
        "2026-01-01T00:00:00Z","end-datetime":"2026-01-01T23:59:59Z"},"contact-info":"t@a.example",
        "report-id":"1-2","policies":[{"policy":{"policy-type":"sts","policy-string":["version: STSv1"],
        "policy-domain":"b.example","mx-host":"*.mail.b.example"},"summary":{
        "total-successful-session-count":5326,"total-failure-session-count":3},"failure-details":[
        {"result-type":"certificate-expired","failed-session-count":3,"new":[1]}]}]}"#;

    #[test]
    fn reports() {
        let report = TlsReport::parse(REPORT.as_bytes()).unwrap();
        let policy = &report.policies[0];
        assert_eq!(policy.policy.mx_host, ["*.mail.b.example"]);
        assert_eq!(policy.summary.total_successful_session_count, 5326);
        assert_eq!(policy.failure_details[0].failed_session_count, 3);
        let again = report.to_json();
        assert!(
            again.contains("\"total-failure-session-count\": 3"),
            "{again}"
        );
        assert_eq!(TlsReport::parse(again.as_bytes()).unwrap(), report);
        assert_eq!(report.file_name("a", "b", 1, 2), "a!b!1!2!12.json.gz");
        for bad in [
            "",
            "[",
            "[1]",
            "{\"policies\":1}",
            "{\"policies\":[{\"summary\":{\"total-failure-session-count\":-1}}]}",
        ] {
            assert!(TlsReport::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(TlsReport::parse("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn lists_are_bounded() {
        let policies = |count: usize| format!("{{\"policies\":[{}]}}", vec!["{}"; count].join(","));
        let details = |count: usize| {
            let list = vec!["{}"; count].join(",");
            format!("{{\"policies\":[{{\"failure-details\":[{list}]}}]}}")
        };
        let lines = |count: usize| {
            let list = vec!["\"x\""; count].join(",");
            format!(
                "{{\"policies\":[{{\"policy\":{{\"mx-host\":[{list}],\"policy-string\":[{list}]}}}}]}}"
            )
        };
        for more in [-1_isize, 0, 1] {
            let (count, kept) = (
                (POLICIES_MAX as isize + more) as usize,
                (POLICIES_MAX as isize + more.min(0)) as usize,
            );
            let read = |text: String| TlsReport::parse(text.as_bytes()).unwrap();
            assert_eq!(read(policies(count)).policies.len(), kept);
            assert_eq!(read(details(count)).policies[0].failure_details.len(), kept);
            let (count, kept) = (
                (LINES_MAX as isize + more) as usize,
                (LINES_MAX as isize + more.min(0)) as usize,
            );
            let policy = &read(lines(count)).policies[0].policy;
            assert_eq!(
                (policy.mx_host.len(), policy.policy_string.len()),
                (kept, kept)
            );
        }
        let null = TlsReport::parse(br#"{"policies":[{"failure-details":null}]}"#).unwrap();
        assert!(null.policies[0].failure_details.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_report_survives(id in ".*", domain in ".*", count in any::<u64>(), ip in prop::option::of(".*")) {
            let mut report = TlsReport::parse(REPORT.as_bytes()).unwrap();
            report.report_id = id;
            report.policies[0].policy.policy_domain = domain;
            report.policies[0].failure_details[0].failed_session_count = count;
            report.policies[0].failure_details[0].receiving_ip = ip;
            prop_assert_eq!(TlsReport::parse(report.to_json().as_bytes()).unwrap(), report);
        }
    }
}
