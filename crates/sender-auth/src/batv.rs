//! Bounce Address Tag Validation: the envelope sender of our own mail carries a tag, and a
//! bounce to an address without a good tag answers nothing that we sent.
//!
//! The form is `prvs=KDDDSSSSSS=local@domain` of draft-levine-smtp-batv (its simple private
//! signature): K the number of the key, DDD the last digits of the day on which it expires,
//! SSSSSS three octets of HMAC-SHA-1 in hexadecimal. Only the host that made a tag reads it.

use crate::crypto::hmac_sha1;
use crate::secrets::{Secrets, SecretsError};
use data_encoding::HEXLOWER;
use std::fmt;
use subtle::ConstantTimeEq;

/// Days for which bounces are taken.
pub const LIFETIME_DAYS: i64 = 7;

/// Days after which the tag's day comes round.
const ROUND: i64 = 1_000;

const SECONDS_PER_DAY: i64 = 86_400;

const TAG: &str = "prvs=";

/// Length of `KDDDSSSSSS`.
const VALUE_LEN: usize = 10;

/// Why an address is not one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatvError {
    /// No tag.
    NotTagged,
    /// The tag has not the right form.
    Malformed,
    /// The tag was not made here, or for another address.
    BadHash,
    /// The tag has expired.
    Expired,
}

impl fmt::Display for BatvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTagged => "address has no tag",
            Self::Malformed => "tag is malformed",
            Self::BadHash => "tag was not made here",
            Self::Expired => "tag has expired",
        })
    }
}

impl std::error::Error for BatvError {}

/// Makes and checks tags.
#[derive(Debug, Clone)]
pub struct Batv {
    secrets: Secrets,
    /// Number of the newest secret, 0 to 9; the one before it has the number before it.
    newest: u8,
}

impl Batv {
    /// `newest` is the number of the first secret, counted on with each change and taken
    /// modulo 10; the further secrets have the numbers before it.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn new(secrets: Vec<Vec<u8>>, newest: u8) -> Result<Self, SecretsError> {
        Ok(Self {
            secrets: Secrets::new(secrets)?,
            newest: newest % 10,
        })
    }

    /// The local part with its tag. `now` is the time in seconds since 1970 UTC.
    pub fn tag(&self, local: &str, domain: &str, now: i64) -> String {
        let expires = (today(now) + LIFETIME_DAYS) % ROUND;
        let head = format!("{}{expires:03}", self.newest);
        let hash = hash(self.secrets.newest(), &head, local, domain);
        format!("{TAG}{head}{hash}={local}")
    }

    /// The local part without its tag. `now` is the time in seconds since 1970 UTC.
    ///
    /// # Errors
    /// See [`BatvError`].
    pub fn check<'a>(&self, local: &'a str, domain: &str, now: i64) -> Result<&'a str, BatvError> {
        let (_, rest) = local
            .split_at_checked(TAG.len())
            .filter(|(tag, _)| tag.eq_ignore_ascii_case(TAG))
            .ok_or(BatvError::NotTagged)?;
        let (value, core) = rest.split_once('=').ok_or(BatvError::Malformed)?;
        let (head, given) = value
            .split_at_checked(VALUE_LEN - 6)
            .filter(|(head, given)| {
                head.bytes().all(|b| b.is_ascii_digit())
                    && given.len() == 6
                    && given.bytes().all(|b| b.is_ascii_hexdigit())
            })
            .ok_or(BatvError::Malformed)?;
        if core.is_empty() {
            return Err(BatvError::Malformed);
        }
        let number = head.bytes().next().map_or(0, |b| b - b'0');
        let back = usize::from((10 + self.newest - number) % 10);
        let secret = self.secrets.all().nth(back).ok_or(BatvError::BadHash)?;
        let wanted = hash(secret, head, core, domain);
        if !bool::from(
            wanted
                .as_bytes()
                .ct_eq(given.to_ascii_lowercase().as_bytes()),
        ) {
            return Err(BatvError::BadHash);
        }
        let expires: i64 = head.get(1..).and_then(|d| d.parse().ok()).unwrap_or(0);
        let left = (expires - today(now)).rem_euclid(ROUND);
        if left <= LIFETIME_DAYS {
            Ok(core)
        } else {
            Err(BatvError::Expired)
        }
    }
}

/// Three octets over the head of the tag and the address in lower case, as hosts on the way may
/// change its letters.
fn hash(secret: &[u8], head: &str, local: &str, domain: &str) -> String {
    let address = format!("{local}@{domain}").to_ascii_lowercase();
    let hash = hmac_sha1(secret, &[head.as_bytes(), address.as_bytes()]);
    HEXLOWER.encode(hash.as_ref().get(..3).unwrap_or_default())
}

/// Days since 1970 modulo 1,000.
fn today(now: i64) -> i64 {
    now.div_euclid(SECONDS_PER_DAY).rem_euclid(ROUND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_767_225_600;

    fn batv(secrets: &[&str], newest: u8) -> Batv {
        let secrets = secrets.iter().map(|s| s.as_bytes().to_vec()).collect();
        Batv::new(secrets, newest).unwrap()
    }

    #[test]
    fn tags_and_checks() {
        let batv = batv(&["0123456789abcdef"], 3);
        let tagged = batv.tag("joe=x", "us.example", NOW);
        assert!(tagged.starts_with("prvs=3") && tagged.ends_with("=joe=x"));
        assert_eq!(tagged.len(), "prvs=KDDDSSSSSS=joe=x".len());
        assert_eq!(batv.check(&tagged, "US.example", NOW), Ok("joe=x"));
        assert_eq!(
            batv.check(&tagged.to_uppercase(), "us.example", NOW),
            Ok("JOE=X")
        );
        for (local, error) in [
            ("joe", BatvError::NotTagged),
            ("prvs=", BatvError::Malformed),
            ("prvs=3123abcdef", BatvError::Malformed),
            ("prvs=3123abcdef=", BatvError::Malformed),
            ("prvs=x123abcdef=joe", BatvError::Malformed),
            ("prvs=3123abcde=joe", BatvError::Malformed),
            ("prvs=3123abcdefa=joe", BatvError::Malformed),
            ("prvs=3123\u{e4}bcde=joe", BatvError::Malformed),
            (&tagged.replace("joe", "jim"), BatvError::BadHash),
            (&tagged.replace("prvs=3", "prvs=4"), BatvError::BadHash),
        ] {
            assert_eq!(batv.check(local, "us.example", NOW), Err(error), "{local}");
        }
        assert_eq!(
            batv.check(&tagged, "other.example", NOW),
            Err(BatvError::BadHash)
        );
    }

    #[test]
    fn lifetime_over_the_turn_of_the_count() {
        let batv = batv(&["0123456789abcdef"], 0);
        for start in 0..1_010 {
            let made = NOW + start * SECONDS_PER_DAY;
            let tagged = batv.tag("joe", "us.example", made);
            let at = |day: i64| batv.check(&tagged, "us.example", made + day * SECONDS_PER_DAY);
            // A tag from tomorrow is nobody's.
            assert_eq!(at(-1), Err(BatvError::Expired));
            assert!(at(0).is_ok());
            assert!(at(LIFETIME_DAYS - 1).is_ok());
            assert!(at(LIFETIME_DAYS).is_ok());
            assert_eq!(at(LIFETIME_DAYS + 1), Err(BatvError::Expired));
        }
    }

    #[test]
    fn keys_rotate() {
        let old = batv(&["0123456789abcdef"], 9);
        let tagged = old.tag("joe", "us.example", NOW);
        let new = batv(&["fedcba9876543210", "0123456789abcdef"], 10);
        assert_eq!(new.check(&tagged, "us.example", NOW), Ok("joe"));
        let later = new.tag("joe", "us.example", NOW);
        assert!(later.starts_with("prvs=0"));
        assert_eq!(
            old.check(&later, "us.example", NOW),
            Err(BatvError::BadHash)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn survives_anything(local in any::<String>()) {
            let batv = batv(&["0123456789abcdef"], 0);
            let _ = batv.check(&local, "us.example", NOW);
            let _ = batv.check(&format!("prvs={local}"), "us.example", NOW);
            let tagged = batv.tag(&local, "us.example", NOW);
            if !local.is_empty() {
                prop_assert_eq!(batv.check(&tagged, "us.example", NOW), Ok(local.as_str()));
            }
        }
    }
}
