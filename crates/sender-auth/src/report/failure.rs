//! Failure reports: the fields of a `message/feedback-report` part (RFC 5965, RFC 6591).

use std::fmt;
use std::net::IpAddr;

/// Most fields that are read; more are ignored.
pub const FIELDS_MAX: usize = 256;

/// Longest value in octets; the rest is cut off.
const VALUE_MAX: usize = 4_096;

/// Why a part is no failure report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureReportError {
    /// No Feedback-Type.
    NoType,
    /// A report about something else, such as `abuse`.
    OtherType(String),
}

impl fmt::Display for FailureReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoType => f.write_str("no Feedback-Type field"),
            Self::OtherType(kind) => write!(f, "a report about {kind:?}, not auth-failure"),
        }
    }
}

/// A failure report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailureReport {
    /// `Auth-Failure`: adsp, bodyhash, revoked, signature, spf, dmarc; several are joined by `,`.
    pub failure: String,
    /// `Source-IP`.
    pub source: Option<IpAddr>,
    /// `Reported-Domain`.
    pub domain: String,
    /// `Original-Mail-From`.
    pub mail_from: String,
    /// `Arrival-Date` (or `Received-Date`) as it is written.
    pub arrival: String,
    /// `Delivery-Result`: delivered, spam, policy, reject, other.
    pub delivery: String,
    /// `Identity-Alignment`: dkim, spf, none.
    pub alignment: String,
    /// `Incidents`; 1 if not given.
    pub incidents: u64,
    /// All fields as they stand, names in lower case.
    pub fields: Vec<(String, String)>,
}

impl FailureReport {
    /// Reads the body of the part, transfer encoding undone, lines ended by CR LF or LF.
    ///
    /// # Errors
    /// See [`FailureReportError`].
    pub fn parse(part: &[u8]) -> Result<Self, FailureReportError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in part.split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = line.get(..line.len().min(VALUE_MAX)).unwrap_or_default();
            let text = String::from_utf8_lossy(line);
            if text.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut()
                    && value.len() + text.len() <= VALUE_MAX
                {
                    value.push(' ');
                    value.push_str(text.trim());
                }
            } else if let Some((name, value)) = text.split_once(':') {
                if fields.len() == FIELDS_MAX {
                    break;
                }
                fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            } else if text.is_empty() && !fields.is_empty() {
                // Blocks of fields are separated so in other reports; here nothing follows.
                break;
            }
        }
        let get = |wanted: &str| {
            let mut found = fields.iter().filter(|(name, _)| name == wanted);
            found.next().map(|(_, value)| value.clone())
        };
        match get("feedback-type") {
            None => return Err(FailureReportError::NoType),
            Some(kind) if !kind.eq_ignore_ascii_case("auth-failure") => {
                return Err(FailureReportError::OtherType(kind));
            }
            Some(_) => {}
        }
        let text = |wanted: &str| get(wanted).unwrap_or_default();
        Ok(Self {
            failure: text("auth-failure"),
            source: get("source-ip").and_then(|ip| ip.trim_matches(['[', ']']).parse().ok()),
            domain: text("reported-domain"),
            mail_from: text("original-mail-from"),
            arrival: get("arrival-date").unwrap_or_else(|| text("received-date")),
            delivery: text("delivery-result"),
            alignment: text("identity-alignment"),
            incidents: get("incidents").and_then(|n| n.parse().ok()).unwrap_or(1),
            fields,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: &str = "Feedback-Type: auth-failure\r\nVersion: 1\r\nUser-Agent: X/1\r\n\
        Original-Mail-From: <joe@a.example>\r\nSource-IP: 192.0.2.1\r\nAuth-Failure: dmarc\r\n\
        Reported-Domain: a.example\r\nDelivery-Result:\r\n reject\r\nIdentity-Alignment: none\r\n";

    #[test]
    fn reads() {
        let report = FailureReport::parse(PART.as_bytes()).unwrap();
        assert_eq!(report.failure, "dmarc");
        assert_eq!(report.source, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(report.delivery.trim(), "reject");
        assert_eq!((report.incidents, report.fields.len()), (1, 9));
        let other = PART.replace("auth-failure", "abuse");
        let error = FailureReportError::OtherType("abuse".to_owned());
        assert_eq!(FailureReport::parse(other.as_bytes()), Err(error));
        assert_eq!(
            FailureReport::parse(b"\xff: x"),
            Err(FailureReportError::NoType)
        );
    }

    #[test]
    fn field_limit() {
        for (count, expected) in [
            (FIELDS_MAX - 1, FIELDS_MAX - 1),
            (FIELDS_MAX, FIELDS_MAX),
            (FIELDS_MAX + 1, FIELDS_MAX),
        ] {
            let text = format!(
                "feedback-type: auth-failure\n{}",
                "a: b\n".repeat(count - 1)
            );
            let report = FailureReport::parse(text.as_bytes()).unwrap();
            assert_eq!(report.fields.len(), expected);
        }
    }
}
