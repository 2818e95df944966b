//! What a domain publishes at `_dmarc` (RFC 7489, 6.3; `np`, `psd`, `t` of its successor).

use std::fmt;

use crate::name::ascii_name;
use crate::tag_list::{TagList, trim};

/// Longest record in octets.
pub const RECORD_MAX: usize = 8_192;

/// Most mailboxes of `rua` or `ruf`; more are ignored.
pub const MAILBOXES_MAX: usize = 10;

/// What is to be done with mail that fails (RFC 7489, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Nothing.
    None,
    /// It is to be treated with suspicion.
    Quarantine,
    /// It is to be refused.
    Reject,
}

impl Policy {
    /// The word in records and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    /// Reads the word, in any case.
    pub fn parse(word: &[u8]) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| word.eq_ignore_ascii_case(policy.as_str().as_bytes()))
    }

    /// The next milder one, for mail that `pct` or `t=y` spares (RFC 7489, 6.6.4).
    pub const fn milder(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How near two domains have to be (RFC 7489, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alignment {
    /// One organizational domain.
    #[default]
    Relaxed,
    /// The same name.
    Strict,
}

impl Alignment {
    /// The letter in records and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relaxed => "r",
            Self::Strict => "s",
        }
    }
}

/// Where reports go (RFC 7489, 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportUri {
    /// The mailbox of a `mailto:` URI, percent-encoding undone.
    pub mailbox: String,
    /// Largest report in octets.
    pub size_max: Option<u64>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcRecord {
    /// `p`.
    pub policy: Policy,
    /// `sp`, for names below the one of the record.
    pub subdomain_policy: Option<Policy>,
    /// `np`, for those that don't exist.
    pub missing_policy: Option<Policy>,
    /// `pct`, 0 to 100: the share of failing mail the policy is for.
    pub percent: u8,
    /// `t=y`: the policy is being tried out.
    pub testing: bool,
    /// `psd`: whether others register names below this one.
    pub public_suffix: Option<bool>,
    /// `adkim`.
    pub dkim: Alignment,
    /// `aspf`.
    pub spf: Alignment,
    /// `rua`.
    pub aggregate: Vec<ReportUri>,
    /// `ruf`.
    pub failure: Vec<ReportUri>,
    /// `fo`: `0` all fail, `1` any fails, `d` DKIM fails, `s` SPF fails.
    pub failure_options: Vec<char>,
    /// `ri` in seconds.
    pub interval: u64,
}

/// Why a text is no usable record; the domain then counts as one without (RFC 7489, 6.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcRecordError {
    /// Longer than [`RECORD_MAX`].
    TooLong,
    /// Not a list of tags beginning with `v=DMARC1`.
    Syntax,
    /// No `p`, or a word nobody knows, and no `rua` either.
    Policy,
}

impl fmt::Display for DmarcRecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "record is too long",
            Self::Syntax => "not a list of tags",
            Self::Policy => "no valid p= tag",
        })
    }
}

/// Whether a text record is a DMARC record: its first tag is `v=DMARC1`.
pub fn is_dmarc(text: &[u8]) -> bool {
    let first = text.split(|b| *b == b';').next().unwrap_or_default();
    let mut parts = first.splitn(2, |b| *b == b'=').map(trim);
    parts.next() == Some(b"v") && parts.next() == Some(b"DMARC1")
}

impl DmarcRecord {
    /// A record that says nothing but this policy.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            subdomain_policy: None,
            missing_policy: None,
            percent: 100,
            testing: false,
            public_suffix: None,
            dkim: Alignment::Relaxed,
            spf: Alignment::Relaxed,
            aggregate: Vec::new(),
            failure: Vec::new(),
            failure_options: Vec::new(),
            interval: 86_400,
        }
    }

    /// Reads a text for which [`is_dmarc`] holds. Tags with mistakes are as if they were not
    /// there, apart from `p` (RFC 7489, 6.6.3); without a valid one a record with `rua` is `p=none`.
    ///
    /// # Errors
    /// See [`DmarcRecordError`].
    pub fn parse(text: &[u8]) -> Result<Self, DmarcRecordError> {
        if text.len() > RECORD_MAX {
            return Err(DmarcRecordError::TooLong);
        }
        if !is_dmarc(text) {
            return Err(DmarcRecordError::Syntax);
        }
        let list = TagList::parse(text).map_err(|_| DmarcRecordError::Syntax)?;
        let policy = |name: &str| list.get(name).map(Policy::parse);
        let aggregate = list.get("rua").map(uris).unwrap_or_default();
        // Both a missing and an unknown word: monitoring, if somebody listens.
        let with_mistake = [policy("p"), policy("sp")].contains(&Some(None));
        let own = match policy("p").flatten().filter(|_| !with_mistake) {
            Some(policy) => policy,
            None if !aggregate.is_empty() => Policy::None,
            None => return Err(DmarcRecordError::Policy),
        };
        let alignment = |name: &str| match list.get(name) {
            Some(b"s" | b"S") => Alignment::Strict,
            _ => Alignment::Relaxed,
        };
        let number = |name: &str| list.get(name).and_then(crate::tag_list::number);
        Ok(Self {
            policy: own,
            subdomain_policy: policy("sp").flatten().filter(|_| !with_mistake),
            missing_policy: policy("np").flatten(),
            percent: number("pct")
                .and_then(|n| u8::try_from(n).ok())
                .filter(|n| *n <= 100)
                .unwrap_or(100),
            testing: matches!(list.get("t"), Some(b"y" | b"Y")),
            public_suffix: match list.get("psd") {
                Some(b"y" | b"Y") => Some(true),
                Some(b"n" | b"N") => Some(false),
                _ => None,
            },
            dkim: alignment("adkim"),
            spf: alignment("aspf"),
            aggregate,
            failure: list.get("ruf").map(uris).unwrap_or_default(),
            failure_options: list.get("fo").map(options).unwrap_or_default(),
            interval: number("ri").unwrap_or(86_400),
        })
    }

    /// The policy for a domain: `below` if the record stands at a name above it, `missing` if it
    /// does not exist either.
    pub fn policy_for(&self, below: bool, missing: bool) -> Policy {
        let for_subdomains = self.subdomain_policy.unwrap_or(self.policy);
        match (below, missing) {
            (false, _) => self.policy,
            (true, false) => for_subdomains,
            (true, true) => self.missing_policy.unwrap_or(for_subdomains),
        }
    }
}

/// The name whose text records say whether a mailbox in another domain takes reports about a
/// policy (RFC 7489, 7.1). Not needed where both domains have one organizational domain.
/// `None` when the mailbox has no domain.
pub fn report_permission_name(policy_domain: &str, mailbox: &str) -> Option<String> {
    let (_, domain) = mailbox.rsplit_once('@')?;
    let domain = ascii_name(domain.as_bytes())?;
    Some(format!("{policy_domain}._report._dmarc.{domain}"))
}

/// Whether the texts at that name permit it: one of them is a DMARC record, whatever else it
/// says.
pub fn permits_reports<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> bool {
    texts.into_iter().any(is_dmarc)
}

fn options(value: &[u8]) -> Vec<char> {
    let mut found = Vec::new();
    for item in crate::tag_list::items(value) {
        if let [b @ (b'0' | b'1' | b'd' | b's' | b'D' | b'S')] = item {
            let letter = char::from(b.to_ascii_lowercase());
            if !found.contains(&letter) {
                found.push(letter);
            }
        }
    }
    found
}

fn uris(value: &[u8]) -> Vec<ReportUri> {
    value
        .split(|b| *b == b',')
        .filter_map(|item| uri(trim(item)))
        .take(MAILBOXES_MAX)
        .collect()
}

/// `mailto:mailbox[!size[k|m|g|t]]`.
fn uri(text: &[u8]) -> Option<ReportUri> {
    let text = std::str::from_utf8(text).ok()?;
    let scheme = text.get(..7)?;
    if !scheme.eq_ignore_ascii_case("mailto:") {
        return None;
    }
    let rest = text.get(7..)?;
    let (address, size_max) = match rest.split_once('!') {
        None => (rest, None),
        Some((address, size)) => (address, Some(octets(size)?)),
    };
    let address = address.split('?').next().unwrap_or_default();
    let mailbox = percent_decoded(address)?;
    let (local, domain) = mailbox.rsplit_once('@')?;
    let good = !local.is_empty()
        && !mailbox.chars().any(|c| c.is_control() || c.is_whitespace())
        && ascii_name(domain.as_bytes()).is_some();
    good.then_some(ReportUri { mailbox, size_max })
}

fn octets(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match size.get(digits.len()..)? {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    let number = crate::tag_list::number(digits.as_bytes())?;
    number.checked_mul(1 << shift)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((b, after)) = rest.split_first() {
        rest = after;
        if *b != b'%' {
            out.push(*b);
            continue;
        }
        let (pair, after) = rest.split_at_checked(2)?;
        let pair = std::str::from_utf8(pair).ok()?;
        if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        out.push(u8::from_str_radix(pair, 16).ok()?);
        rest = after;
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_everything() {
        let text =
            b"v=DMARC1; p=reject; sp=Quarantine; np=none; pct=25; adkim=s; aspf=r; t=y; psd=n; \
            rua=mailto:a@x.example!10m, mailto:b%2Bc@y.example,https://z.example/; \
            ruf=mailto:f@x.example; fo=1:d:x; ri=3600; unknown=1;";
        let record = DmarcRecord::parse(text).unwrap();
        assert_eq!(record.policy, Policy::Reject);
        assert_eq!(record.subdomain_policy, Some(Policy::Quarantine));
        assert_eq!(record.missing_policy, Some(Policy::None));
        assert_eq!((record.percent, record.testing), (25, true));
        assert_eq!(record.public_suffix, Some(false));
        assert_eq!(
            (record.dkim, record.spf),
            (Alignment::Strict, Alignment::Relaxed)
        );
        let mailboxes: Vec<_> = record
            .aggregate
            .iter()
            .map(|uri| (uri.mailbox.as_str(), uri.size_max))
            .collect();
        assert_eq!(
            mailboxes,
            [("a@x.example", Some(10 << 20)), ("b+c@y.example", None)]
        );
        assert_eq!(record.failure_options, ['1', 'd']);
        assert_eq!(record.interval, 3600);
    }

    #[test]
    fn mistakes() {
        use DmarcRecordError as E;
        for (text, expected) in [
            ("v=DMARC1", Err(E::Policy)),
            ("v=DMARC1; p=", Err(E::Policy)),
            ("v=DMARC1; p=refuse", Err(E::Policy)),
            ("v=DMARC1; p=reject; sp=refuse", Err(E::Policy)),
            (
                "v=DMARC1; p=refuse; rua=mailto:a@b.example",
                Ok(Policy::None),
            ),
            ("v=DMARC1; rua=mailto:a@b.example", Ok(Policy::None)),
            (
                "v=DMARC1; p=reject; sp=x; rua=mailto:a@b.example",
                Ok(Policy::None),
            ),
            ("v=DMARC1; rua=https://b.example", Err(E::Policy)),
            ("v=DMARC1; p=reject; p=none", Err(E::Syntax)),
            ("v=DMARC1; p=reject; pct=101; ri=x", Ok(Policy::Reject)),
            ("v = DMARC1 ;p = reject", Ok(Policy::Reject)),
            ("p=none; v=DMARC1", Err(E::Syntax)),
        ] {
            let found = DmarcRecord::parse(text.as_bytes());
            assert_eq!(found.map(|r| r.policy), expected, "{text}");
        }
        for text in ["", "v=dmarc1", "v=DMARC1x;", "DMARC1", "p=none"] {
            assert!(!is_dmarc(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn limits() {
        for (count, expected) in [
            (MAILBOXES_MAX - 1, MAILBOXES_MAX - 1),
            (MAILBOXES_MAX, MAILBOXES_MAX),
            (MAILBOXES_MAX + 1, MAILBOXES_MAX),
        ] {
            let text = format!(
                "v=DMARC1;p=none;rua={}",
                vec!["mailto:a@b.c"; count].join(",")
            );
            let record = DmarcRecord::parse(text.as_bytes()).unwrap();
            assert_eq!(record.aggregate.len(), expected);
        }
        for (length, good) in [
            (RECORD_MAX - 1, true),
            (RECORD_MAX, true),
            (RECORD_MAX + 1, false),
        ] {
            let text = format!("v=DMARC1;p=none;x={}", "y".repeat(length - 18));
            assert_eq!(text.len(), length);
            assert_eq!(DmarcRecord::parse(text.as_bytes()).is_ok(), good);
        }
        for (uri_text, good) in [
            ("mailto:a@b.c!1k", true),
            ("mailto:a@b.c!999999999999t", false),
            ("mailto:a@b.c!", false),
            ("mailto:a@b.c!1x", false),
            ("mailto:a%0ab@b.c", false),
            ("mailto:a%zz@b.c", false),
            ("mailto:@b.c", false),
            ("mailto:ab.c", false),
        ] {
            assert_eq!(uri(uri_text.as_bytes()).is_some(), good, "{uri_text}");
        }
    }

    #[test]
    fn reports_to_others() {
        let name = |mailbox| report_permission_name("a.example", mailbox);
        assert_eq!(
            name("x@R.Example").as_deref(),
            Some("a.example._report._dmarc.r.example")
        );
        assert_eq!((name("x"), name("x@")), (None, None));
        assert!(permits_reports([&b"x"[..], b"v=DMARC1;"]));
        assert!(!permits_reports([&b"x"[..]]));
        assert!(!permits_reports([]));
    }

    #[test]
    fn which_policy() {
        let record = DmarcRecord::parse(b"v=DMARC1;p=reject;sp=quarantine;np=none").unwrap();
        assert_eq!(record.policy_for(false, true), Policy::Reject);
        assert_eq!(record.policy_for(true, false), Policy::Quarantine);
        assert_eq!(record.policy_for(true, true), Policy::None);
        let plain = DmarcRecord::new(Policy::Reject);
        assert_eq!(plain.policy_for(true, true), Policy::Reject);
        assert_eq!(Policy::Reject.milder().milder(), Policy::None);
    }
}
