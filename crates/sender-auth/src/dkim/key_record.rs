//! The public key of a selector as it stands in the DNS (RFC 6376, 3.6.1).

use crate::crypto::{Algorithm, PublicKey, PublicKeyError};
use crate::tag_list::{TagList, base64, items};
use data_encoding::BASE64;
use std::fmt;
use std::fmt::Write as _;

/// Longest record that is read, in octets. A key of 8192 bits takes 1,400.
pub const KEY_RECORD_MAX: usize = 8_192;

/// Longest character-string of a TXT record in octets (RFC 1035, 3.3).
pub const TXT_STRING_MAX: usize = 255;

/// Why a record gives no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    /// Longer than [`KEY_RECORD_MAX`].
    TooLong,
    /// No list of tags, or no `p=`.
    Syntax,
    /// `v=` is not `DKIM1`, or not the first tag.
    Version,
    /// `k=` names a kind that is not known here.
    UnknownType,
    /// `h=` doesn't permit SHA-256.
    HashNotAllowed,
    /// `s=` doesn't permit mail.
    NotForMail,
    /// `p=` is empty: the key was withdrawn.
    Revoked,
    /// `p=` is no base64 or no key of its kind.
    Malformed,
    /// RSA below 1024 bits (RFC 8301).
    TooSmall(usize),
    /// RSA above 8192 bits.
    TooLarge(usize),
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("key record too long"),
            Self::Syntax => f.write_str("key record is malformed"),
            Self::Version => f.write_str("key record has an unknown version"),
            Self::UnknownType => f.write_str("key record has an unknown key type"),
            Self::HashNotAllowed => f.write_str("key record does not permit sha256"),
            Self::NotForMail => f.write_str("key record does not permit email"),
            Self::Revoked => f.write_str("key was revoked"),
            Self::Malformed => f.write_str("public key is malformed"),
            Self::TooSmall(bits) => write!(f, "key of {bits} bits is too small"),
            Self::TooLarge(bits) => write!(f, "key of {bits} bits is too large"),
        }
    }
}

impl From<PublicKeyError> for KeyProblem {
    fn from(error: PublicKeyError) -> Self {
        match error {
            PublicKeyError::Malformed => Self::Malformed,
            PublicKeyError::TooSmall(bits) => Self::TooSmall(bits),
            PublicKeyError::TooLarge(bits) => Self::TooLarge(bits),
        }
    }
}

/// A record that gives a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub key: PublicKey,
    /// Flag `t=y`: the domain is trying DKIM out; its mail is treated like unsigned mail when
    /// it fails.
    pub testing: bool,
    /// Flag `t=s`: the domain of `i=` must be that of `d=`, not one below it.
    pub strict: bool,
}

impl KeyRecord {
    /// Reads the text of one TXT record.
    ///
    /// # Errors
    /// See [`KeyProblem`].
    pub fn parse(text: &[u8]) -> Result<Self, KeyProblem> {
        if text.len() > KEY_RECORD_MAX {
            return Err(KeyProblem::TooLong);
        }
        let list = TagList::parse(text).map_err(|_| KeyProblem::Syntax)?;
        if let Some(version) = list.get("v") {
            let first = list.tags().first().is_some_and(|tag| tag.name == "v");
            if !first || version != b"DKIM1" {
                return Err(KeyProblem::Version);
            }
        }
        let public = list.get("p").ok_or(KeyProblem::Syntax)?;
        if let Some(hashes) = list.get("h")
            && !items(hashes).any(|hash| hash.eq_ignore_ascii_case(b"sha256"))
        {
            return Err(KeyProblem::HashNotAllowed);
        }
        if let Some(services) = list.get("s")
            && !items(services).any(|s| s == b"*" || s.eq_ignore_ascii_case(b"email"))
        {
            return Err(KeyProblem::NotForMail);
        }
        let algorithm = match list.get("k") {
            None => Algorithm::RsaSha256,
            Some(k) if k.eq_ignore_ascii_case(b"rsa") => Algorithm::RsaSha256,
            Some(k) if k.eq_ignore_ascii_case(b"ed25519") => Algorithm::Ed25519Sha256,
            Some(_) => return Err(KeyProblem::UnknownType),
        };
        if public.is_empty() {
            return Err(KeyProblem::Revoked);
        }
        let public = base64(public).ok_or(KeyProblem::Malformed)?;
        let key = match algorithm {
            Algorithm::RsaSha256 => PublicKey::rsa(&public)?,
            Algorithm::Ed25519Sha256 => PublicKey::ed25519(&public)?,
        };
        let flag = |name: &[u8]| {
            list.get("t")
                .is_some_and(|flags| items(flags).any(|flag| flag.eq_ignore_ascii_case(name)))
        };
        Ok(Self {
            key,
            testing: flag(b"y"),
            strict: flag(b"s"),
        })
    }

    /// A record for a key of one's own: no flags.
    pub fn new(key: PublicKey) -> Self {
        Self {
            key,
            testing: false,
            strict: false,
        }
    }

    /// The text to publish.
    pub fn to_text(&self) -> String {
        let flags = match (self.testing, self.strict) {
            (false, false) => "",
            (true, false) => " t=y;",
            (false, true) => " t=s;",
            (true, true) => " t=y:s;",
        };
        format!(
            "v=DKIM1; k={};{flags} p={}",
            self.key.algorithm().key_type(),
            BASE64.encode(&self.key.to_record_octets())
        )
    }

    /// The record as a line of a zone file, its text cut into character-strings of at most
    /// [`TXT_STRING_MAX`] octets.
    pub fn to_zone_line(&self, selector: &str, domain: &str) -> String {
        let mut line = format!("{selector}._domainkey.{domain}. IN TXT (");
        let text = self.to_text();
        let mut rest = text.as_str();
        while !rest.is_empty() {
            // The text is ASCII, so that every octet is a place to cut at.
            let (piece, later) = rest.split_at(rest.len().min(TXT_STRING_MAX));
            let _ = write!(line, " \"{piece}\"");
            rest = later;
        }
        line.push_str(" )");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;
    use crate::crypto::tests::RSA_2048_PEM;

    fn ed25519() -> String {
        // RFC 8463, A.2.
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".to_owned()
    }

    #[test]
    fn reads_all_tags() {
        let text = format!(
            "v=DKIM1; h=sha1 : SHA256; k=ed25519; n=a note; s=x:email; t= y : s; z=?; p={}",
            ed25519()
        );
        let record = KeyRecord::parse(text.as_bytes()).unwrap();
        assert!(record.testing && record.strict);
        assert_eq!(record.key.algorithm(), Algorithm::Ed25519Sha256);
    }

    #[test]
    fn refuses() {
        let key = ed25519();
        for (text, problem) in [
            (String::new(), KeyProblem::Syntax),
            ("v=spf1 -all".to_owned(), KeyProblem::Version),
            ("k=rsa".to_owned(), KeyProblem::Syntax),
            (format!("v=DKIM2; p={key}"), KeyProblem::Version),
            (format!("k=ed25519; v=DKIM1; p={key}"), KeyProblem::Version),
            (format!("k=dsa; p={key}"), KeyProblem::UnknownType),
            (
                format!("k=ed25519; h=sha1; p={key}"),
                KeyProblem::HashNotAllowed,
            ),
            (
                format!("k=ed25519; s=tlsrpt; p={key}"),
                KeyProblem::NotForMail,
            ),
            ("k=ed25519; p=".to_owned(), KeyProblem::Revoked),
            ("k=ed25519; p=AAAA".to_owned(), KeyProblem::Malformed),
            ("k=ed25519; p=!".to_owned(), KeyProblem::Malformed),
            (format!("p={key}"), KeyProblem::Malformed),
        ] {
            assert_eq!(KeyRecord::parse(text.as_bytes()), Err(problem), "{text}");
        }
    }

    #[test]
    fn length_limit() {
        let record = format!("k=ed25519; p={}; n=", ed25519());
        for (length, good) in [
            (KEY_RECORD_MAX - 1, true),
            (KEY_RECORD_MAX, true),
            (KEY_RECORD_MAX + 1, false),
            (65_535, false),
        ] {
            let text = format!("{record}{}", "x".repeat(length - record.len()));
            let found = KeyRecord::parse(text.as_bytes());
            assert_eq!(found.is_ok(), good, "{length}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        let mut record = KeyRecord::new(SigningKey::from_pem(RSA_2048_PEM).unwrap().public());
        for (testing, strict) in [(false, false), (true, false), (false, true), (true, true)] {
            record.testing = testing;
            record.strict = strict;
            assert_eq!(
                KeyRecord::parse(record.to_text().as_bytes()).unwrap(),
                record
            );
        }
        let line = record.to_zone_line("s1", "example.org");
        assert!(line.starts_with("s1._domainkey.example.org. IN TXT ( \"v=DKIM1; k=rsa;"));
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        assert!(strings.iter().all(|s| s.len() <= TXT_STRING_MAX));
        assert_eq!(strings.concat(), record.to_text());
    }
}
