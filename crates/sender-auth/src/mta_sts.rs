//! MTA-STS (RFC 8461): the record that says a policy exists, the policy, and which mail
//! exchangers it permits. Fetching the policy over HTTPS is the caller's.

use std::fmt;

use crate::name::ascii_name;
use crate::tag_list::TagList;

/// Largest policy in octets (RFC 8461, 3.3 suggests it).
pub const POLICY_MAX: usize = 65_536;

/// Longest life of a policy in seconds (RFC 8461, 3.2).
pub const AGE_MAX: u64 = 31_557_600;

/// Most `mx` patterns of one policy.
pub const PATTERNS_MAX: usize = 256;

/// Longest `id` (RFC 8461, 3.1).
pub const ID_MAX: usize = 32;

/// The name whose text records say whether there is a policy.
pub fn record_name(domain: &str) -> String {
    format!("_mta-sts.{domain}")
}

/// Where the policy is fetched; redirects are not followed (RFC 8461, 3.3).
pub fn policy_url(domain: &str) -> String {
    format!("https://mta-sts.{domain}/.well-known/mta-sts.txt")
}

/// What a domain publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StsRecordError {
    /// No record that begins with `v=STSv1`: there is no policy.
    None,
    /// Several: as if there were none.
    Several,
    /// Its form is wrong, or its `id` is not 1 to [`ID_MAX`] letters and digits.
    Syntax,
}

impl fmt::Display for StsRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "no MTA-STS record",
            Self::Several => "several MTA-STS records",
            Self::Syntax => "the MTA-STS record can't be read",
        })
    }
}

/// The `id` of the only record among these texts (RFC 8461, 3.1).
///
/// # Errors
/// See [`StsRecordError`].
pub fn record_id<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Result<String, StsRecordError> {
    let mut found = texts.into_iter().filter(|text| {
        text.strip_prefix(b"v=STSv1")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b';' | b' ' | b'\t')))
    });
    let text = found.next().ok_or(StsRecordError::None)?;
    if found.next().is_some() {
        return Err(StsRecordError::Several);
    }
    let list = TagList::parse(text).map_err(|_| StsRecordError::Syntax)?;
    let id = list.get("id").ok_or(StsRecordError::Syntax)?;
    let good = (1..=ID_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric);
    if !good {
        return Err(StsRecordError::Syntax);
    }
    Ok(String::from_utf8_lossy(id).into_owned())
}

/// What a sender does when a host does not fit (RFC 8461, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It doesn't deliver there.
    Enforce,
    /// It delivers and reports.
    Testing,
    /// There is no policy (any more).
    None,
}

impl Mode {
    /// The word in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        }
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsPolicy {
    /// What happens when a host does not fit.
    pub mode: Mode,
    /// Seconds for which it may be kept, at most [`AGE_MAX`].
    pub max_age: u64,
    /// Names in ASCII form and lower case; `*.` stands for exactly one label.
    pub mx: Vec<String>,
}

/// Why a text is no policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StsPolicyError {
    /// Longer than [`POLICY_MAX`].
    TooLong,
    /// No `version: STSv1`.
    Version,
    /// No `mode`, or an unknown one.
    Mode,
    /// No `max_age`, or none up to [`AGE_MAX`].
    MaxAge,
    /// No `mx`, one that is no name, or more than [`PATTERNS_MAX`].
    Mx,
    /// A line that is no field.
    Syntax,
}

impl fmt::Display for StsPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the policy is larger than 64 KiB",
            Self::Version => "no \"version: STSv1\"",
            Self::Mode => "no valid mode",
            Self::MaxAge => "no valid max_age",
            Self::Mx => "no valid mx",
            Self::Syntax => "a line is no field",
        })
    }
}

impl StsPolicy {
    /// Reads a policy (RFC 8461, 3.2). Of fields other than `mx` the first one counts.
    ///
    /// # Errors
    /// See [`StsPolicyError`].
    pub fn parse(text: &[u8]) -> Result<Self, StsPolicyError> {
        use StsPolicyError as E;
        if text.len() > POLICY_MAX {
            return Err(E::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| E::Syntax)?;
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut mx = Vec::new();
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.trim().is_empty() {
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(E::Syntax)?;
            let value = value.trim();
            match name.trim() {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if mx.len() == PATTERNS_MAX => return Err(E::Mx),
                "mx" => mx.push(pattern(value).ok_or(E::Mx)?),
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(E::Version);
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err(E::Mode),
        };
        let max_age = max_age
            .and_then(|age| crate::tag_list::number(age.as_bytes()))
            .filter(|age| *age <= AGE_MAX)
            .ok_or(E::MaxAge)?;
        if mx.is_empty() && mode != Mode::None {
            return Err(E::Mx);
        }
        Ok(Self { mode, max_age, mx })
    }

    /// The policy as the file that is published, lines ended by CR LF.
    pub fn to_text(&self) -> String {
        let mut text = format!("version: STSv1\r\nmode: {}\r\n", self.mode.as_str());
        for mx in &self.mx {
            text += &format!("mx: {mx}\r\n");
        }
        text + &format!("max_age: {}\r\n", self.max_age)
    }

    /// Whether it may still be used at a second, having been fetched at another.
    /// A clock that went back makes it void.
    pub fn is_fresh(&self, fetched: i64, now: i64) -> bool {
        u64::try_from(now.saturating_sub(fetched)).is_ok_and(|age| age < self.max_age)
    }

    /// Whether it permits a mail exchanger (RFC 8461, 4.1). The certificate has to be checked as
    /// well.
    pub fn permits(&self, host: &str) -> bool {
        let Some(host) = ascii_name(host.trim_end_matches('.').as_bytes()) else {
            return false;
        };
        self.mx
            .iter()
            .any(|pattern| match pattern.strip_prefix("*.") {
                None => *pattern == host,
                Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest == parent),
            })
    }
}

fn pattern(value: &str) -> Option<String> {
    match value.strip_prefix("*.") {
        None => ascii_name(value.as_bytes()),
        Some(parent) => Some(format!("*.{}", ascii_name(parent.as_bytes())?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        use StsRecordError as E;
        let id = |texts: &[&'static str]| record_id(texts.iter().map(|t| t.as_bytes()));
        assert_eq!(id(&["x", "v=STSv1; id=20260101T1;"]).unwrap(), "20260101T1");
        assert_eq!(id(&["v=STSv1;id=1; x=y"]).unwrap(), "1");
        for (texts, error) in [
            (&["x"][..], E::None),
            (&["v=STSv10; id=1"], E::None),
            (&["v=STSv1; id=1", "v=STSv1; id=1"], E::Several),
            (&["v=STSv1"], E::Syntax),
            (&["v=STSv1; id="], E::Syntax),
            (&["v=STSv1; id=a-b"], E::Syntax),
        ] {
            assert_eq!(id(texts), Err(error), "{texts:?}");
        }
        for (length, good) in [(ID_MAX - 1, true), (ID_MAX, true), (ID_MAX + 1, false)] {
            let text = format!("v=STSv1; id={}", "a".repeat(length));
            assert_eq!(record_id([text.as_bytes()]).is_ok(), good);
        }
    }

    const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.a.example\r\n\
        mx: *.b.Example\r\nmax_age: 604800\r\nmode: none\r\nnew: x\r\n";

    #[test]
    fn policies() {
        use StsPolicyError as E;
        let policy = StsPolicy::parse(POLICY.as_bytes()).unwrap();
        assert_eq!(policy.mode, Mode::Enforce);
        assert_eq!(
            StsPolicy::parse(policy.to_text().as_bytes()),
            Ok(policy.clone())
        );
        assert_eq!(
            StsPolicy::parse(POLICY.replace('\r', "").as_bytes()),
            Ok(policy.clone())
        );
        for (host, good) in [
            ("mail.a.example", true),
            ("MAIL.a.example.", true),
            ("x.mail.a.example", false),
            ("a.example", false),
            ("x.b.example", true),
            ("y.x.b.example", false),
            ("b.example", false),
            ("xb.example", false),
            ("", false),
        ] {
            assert_eq!(policy.permits(host), good, "{host}");
        }
        for (from, to, error) in [
            ("STSv1", "STSv2", E::Version),
            ("enforce", "Enforce", E::Mode),
            ("604800", "-1", E::MaxAge),
            ("604800", "31557601", E::MaxAge),
            ("mail.a.example", "*.*.example", E::Mx),
            ("mail.a.example", "mail..a", E::Mx),
            ("new: x", "new", E::Syntax),
        ] {
            let text = POLICY.replace(from, to);
            assert_eq!(StsPolicy::parse(text.as_bytes()), Err(error), "{to}");
        }
        assert!(StsPolicy::parse(b"version: STSv1\nmode: none\nmax_age: 31557600").is_ok());
        let no_mx = b"version: STSv1\nmode: testing\nmax_age: 1";
        assert_eq!(StsPolicy::parse(no_mx), Err(E::Mx));
    }

    #[test]
    fn limits() {
        for (length, good) in [
            (POLICY_MAX - 1, true),
            (POLICY_MAX, true),
            (POLICY_MAX + 1, false),
        ] {
            let text = format!(
                "{POLICY}{}",
                "x".repeat(length - POLICY.len() - 1).replacen('x', ":", 1)
            );
            let text = format!("{text}\n");
            assert_eq!(text.len(), length);
            assert_eq!(StsPolicy::parse(text.as_bytes()).is_ok(), good);
        }
        for (count, good) in [
            (PATTERNS_MAX - 1, true),
            (PATTERNS_MAX, true),
            (PATTERNS_MAX + 1, false),
        ] {
            let text = format!(
                "version: STSv1\nmode: testing\nmax_age: 1\n{}",
                "mx: a.b\n".repeat(count)
            );
            assert_eq!(StsPolicy::parse(text.as_bytes()).is_ok(), good);
        }
    }

    #[test]
    fn ages() {
        let policy = StsPolicy::parse(POLICY.as_bytes()).unwrap();
        for (fetched, now, fresh) in [
            (0, 0, true),
            (0, 604_799, true),
            (0, 604_800, false),
            (10, 9, false),
            (i64::MIN, i64::MAX, false),
        ] {
            assert_eq!(policy.is_fresh(fetched, now), fresh, "{fetched} {now}");
        }
    }
}
