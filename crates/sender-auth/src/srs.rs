//! The Sender Rewriting Scheme: a forwarded message gets a sender of our own domain, so that
//! SPF holds behind us, and what bounces comes back through us to the first sender.
//!
//! The form is that of Mail::SRS and libsrs2, so that a host that changes to this one keeps
//! its secrets and takes back the bounces of what went out before:
//!
//! ```text
//! SRS0=hash=stamp=domain=local@us                  first forwarder
//! SRS1=hash=first==hash=stamp=domain=local@us      every later one: straight back to the first
//! ```
//!
//! The hash is the start of HMAC-SHA-1 over the lower-case parts in base64, compared without
//! regard to letter case, as hosts on the way may change it. The stamp is the day in base 32,
//! which comes round after 1,024 days.

use crate::crypto::hmac_sha1;
use crate::name::ascii_name;
use crate::secrets::Secrets;
use data_encoding::BASE64;
use std::fmt;
use subtle::ConstantTimeEq;

/// Longest address that is made, in octets (RFC 5321, 4.5.3.1.3, without the angle brackets).
///
/// The local part may come out longer than the 64 octets of 4.5.3.1.1: a long sender can't be
/// shortened and still be found again, and in practice hosts take it.
pub const ADDRESS_MAX: usize = 254;

/// Characters of the hash that are written.
pub const HASH_LEN: usize = 4;

/// Shortest hash that is accepted; with four characters a guess is right once in 1.3 million
/// (36^4, as letter case doesn't count).
pub const HASH_MIN: usize = 4;

/// Days for which bounces are taken back.
pub const LIFETIME_DAYS: u16 = 21;

/// Days after which the stamp comes round.
const STAMP_DAYS: u16 = 1_024;

/// Days that another forwarder's clock, sharing our secret, may be ahead.
const AHEAD_DAYS: u16 = 1;

const SECONDS_PER_DAY: i64 = 86_400;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// An address in two parts: the local part without quotes and escapes, and the domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// May hold any character; whoever writes it down quotes it where needed.
    pub local: String,
    /// The domain.
    pub domain: String,
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Why an address was not rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrsError {
    /// The local part is empty, or the domain is none.
    Address,
    /// The result would be longer than [`ADDRESS_MAX`].
    TooLong,
    /// Not an SRS address.
    NotSrs,
    /// It begins like one and does not go on like one.
    Malformed,
    /// Not made with one of our secrets.
    BadHash,
    /// Older than the lifetime.
    Expired,
}

impl fmt::Display for SrsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "not an address",
            Self::TooLong => "the rewritten address would be too long",
            Self::NotSrs => "not an SRS address",
            Self::Malformed => "malformed SRS address",
            Self::BadHash => "SRS address was not made here",
            Self::Expired => "SRS address has expired",
        })
    }
}

impl std::error::Error for SrsError {}

/// One forwarder.
#[derive(Debug, Clone)]
pub struct Srs {
    domain: String,
    secrets: Secrets,
    /// Days for which bounces are taken back, at most 1,000.
    lifetime_days: u16,
}

impl Srs {
    /// A forwarder that writes addresses of `domain`.
    ///
    /// # Errors
    /// [`SrsError::Address`] when that is no domain.
    pub fn new(domain: &str, secrets: Secrets) -> Result<Self, SrsError> {
        Ok(Self {
            domain: ascii_name(domain.as_bytes()).ok_or(SrsError::Address)?,
            secrets,
            lifetime_days: LIFETIME_DAYS,
        })
    }

    /// Sets for how many days bounces are taken back: 1 to 1,000.
    #[must_use]
    pub fn with_lifetime(mut self, days: u16) -> Self {
        self.lifetime_days = days.clamp(1, 1_000);
        self
    }

    /// The sender under which a message from this one is forwarded. A sender of our own domain
    /// stays as it is. The null sender has no address and must not be given here.
    ///
    /// `now` is the time in seconds since 1970 UTC.
    ///
    /// # Errors
    /// [`SrsError::Address`], [`SrsError::TooLong`].
    pub fn forward(&self, local: &str, domain: &str, now: i64) -> Result<Parts, SrsError> {
        let good = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        if !good(local) || !good(domain) || domain.contains(['=', '@']) {
            return Err(SrsError::Address);
        }
        if domain.eq_ignore_ascii_case(&self.domain) {
            return Ok(Parts {
                local: local.to_owned(),
                domain: domain.to_owned(),
            });
        }
        let first = after_tag(local, "SRS0").filter(|rest| split_first(rest).is_some());
        let local = if let Some(rest) = first {
            self.second(domain, rest)
        } else if let Some((_, first, rest)) = after_tag(local, "SRS1").and_then(split_second) {
            self.second(first, rest)
        } else {
            let stamp = stamp(now);
            let hash = hash(self.secrets.newest(), &[&stamp, domain, local]);
            format!("SRS0={hash}={stamp}={domain}={local}")
        };
        if local.len() + 1 + self.domain.len() > ADDRESS_MAX {
            return Err(SrsError::TooLong);
        }
        Ok(Parts {
            local,
            domain: self.domain.clone(),
        })
    }

    /// `rest` begins with the separator after the first forwarder's tag.
    fn second(&self, first: &str, rest: &str) -> String {
        let hash = hash(self.secrets.newest(), &[first, rest]);
        format!("SRS1={hash}={first}={rest}")
    }

    /// Where a bounce to this local part of our domain belongs: the first sender, or for
    /// `SRS1` the first forwarder.
    ///
    /// `now` is the time in seconds since 1970 UTC.
    ///
    /// # Errors
    /// All but [`SrsError::TooLong`]. [`SrsError::NotSrs`] means that the address is none of
    /// this module's business; the others that nothing must be sent on.
    pub fn reverse(&self, local: &str, now: i64) -> Result<Parts, SrsError> {
        if local.len() > ADDRESS_MAX {
            return Err(SrsError::Malformed);
        }
        if let Some(rest) = after_tag(local, "SRS0") {
            let (given, stamp, domain, sender) = split_first(rest).ok_or(SrsError::Malformed)?;
            self.check(given, &[stamp, domain, sender])?;
            self.check_age(stamp, now)?;
            return Ok(Parts {
                local: sender.to_owned(),
                domain: domain.to_owned(),
            });
        }
        let rest = after_tag(local, "SRS1").ok_or(SrsError::NotSrs)?;
        let (given, first, rest) = split_second(rest).ok_or(SrsError::Malformed)?;
        self.check(given, &[first, rest])?;
        Ok(Parts {
            local: format!("SRS0{rest}"),
            domain: first.to_owned(),
        })
    }

    fn check(&self, given: &str, parts: &[&str]) -> Result<(), SrsError> {
        if given.len() < HASH_MIN {
            return Err(SrsError::BadHash);
        }
        let given = given.to_ascii_lowercase();
        let good = self.secrets.all().any(|secret| {
            let whole = whole_hash(secret, parts).to_ascii_lowercase();
            whole
                .get(..given.len())
                .is_some_and(|wanted| bool::from(wanted.as_bytes().ct_eq(given.as_bytes())))
        });
        if good { Ok(()) } else { Err(SrsError::BadHash) }
    }

    fn check_age(&self, stamp: &str, now: i64) -> Result<(), SrsError> {
        let made = days_of(stamp).ok_or(SrsError::Malformed)?;
        let age = (today(now) + STAMP_DAYS - made) % STAMP_DAYS;
        if age <= self.lifetime_days || age >= STAMP_DAYS - AHEAD_DAYS {
            Ok(())
        } else {
            Err(SrsError::Expired)
        }
    }
}

/// What follows the tag, from its separator on. Separators are `=`, `+` and `-`.
fn after_tag<'a>(local: &'a str, tag: &str) -> Option<&'a str> {
    let (head, rest) = local.split_at_checked(tag.len())?;
    (head.eq_ignore_ascii_case(tag) && rest.starts_with(['=', '+', '-'])).then_some(rest)
}

/// `=hash=stamp=domain=local`.
fn split_first(rest: &str) -> Option<(&str, &str, &str, &str)> {
    let mut parts = rest.get(1..)?.splitn(4, '=');
    let found = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (!found.2.is_empty() && !found.3.is_empty()).then_some(found)
}

/// `=hash=first=rest`, where the rest begins with a separator of its own.
fn split_second(rest: &str) -> Option<(&str, &str, &str)> {
    let mut parts = rest.get(1..)?.splitn(3, '=');
    let found = (parts.next()?, parts.next()?, parts.next()?);
    let inner = found.2.starts_with(['=', '+', '-']);
    (!found.1.is_empty() && inner && found.2.len() > 1).then_some(found)
}

fn whole_hash(secret: &[u8], parts: &[&str]) -> String {
    let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
    let octets: Vec<&[u8]> = lower.iter().map(String::as_bytes).collect();
    BASE64.encode(hmac_sha1(secret, &octets).as_ref())
}

fn hash(secret: &[u8], parts: &[&str]) -> String {
    let mut hash = whole_hash(secret, parts);
    hash.truncate(HASH_LEN);
    hash
}

/// The day as two characters.
fn stamp(now: i64) -> String {
    let day = usize::from(today(now));
    [day >> 5, day & 31]
        .into_iter()
        .filter_map(|digit| BASE32.get(digit).map(|b| char::from(*b)))
        .collect()
}

fn days_of(stamp: &str) -> Option<u16> {
    let [high, low] = stamp.as_bytes() else {
        return None;
    };
    let digit = |b: &u8| {
        let at = BASE32
            .iter()
            .position(|known| *known == b.to_ascii_uppercase())?;
        u16::try_from(at).ok()
    };
    Some(digit(high)? * 32 + digit(low)?)
}

/// The day modulo 1,024.
fn today(now: i64) -> u16 {
    let day = now
        .div_euclid(SECONDS_PER_DAY)
        .rem_euclid(i64::from(STAMP_DAYS));
    u16::try_from(day).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_767_225_600;
    const DAY: i64 = SECONDS_PER_DAY;

    fn srs(domain: &str, secrets: &[&str]) -> Srs {
        let secrets = secrets.iter().map(|s| s.as_bytes().to_vec()).collect();
        Srs::new(domain, Secrets::new(secrets).unwrap()).unwrap()
    }

    fn here() -> Srs {
        srs("us.example", &["0123456789abcdef"])
    }

    #[test]
    fn three_hops_and_back() {
        let (a, b, c) = (
            here(),
            srs("two.example", &["second secret 16"]),
            srs("three.example", &["third secret, 16"]),
        );
        let one = a.forward("Joe=x", "Sender.example", NOW).unwrap();
        assert!(one.local.starts_with("SRS0="), "{one}");
        assert!(one.local.ends_with("=Sender.example=Joe=x"), "{one}");
        let two = b.forward(&one.local, &one.domain, NOW).unwrap();
        assert!(two.local.starts_with("SRS1="), "{two}");
        let three = c.forward(&two.local, &two.domain, NOW).unwrap();
        // However many hops: the third goes straight back to the first.
        assert_eq!(three.local.matches("example").count(), 2);
        let back = c.reverse(&three.local, NOW).unwrap();
        assert_eq!(back, one);
        assert_eq!(b.reverse(&two.local, NOW).unwrap(), one);
        let first = a.reverse(&back.local, NOW).unwrap();
        assert_eq!(first.to_string(), "Joe=x@Sender.example");
    }

    #[test]
    fn letter_case_may_change_on_the_way() {
        let srs = here();
        let one = srs.forward("joe", "sender.example", NOW).unwrap();
        for local in [one.local.to_lowercase(), one.local.to_uppercase()] {
            let back = srs.reverse(&local, NOW).unwrap();
            assert_eq!(back.to_string().to_lowercase(), "joe@sender.example");
        }
    }

    #[test]
    fn secrets_rotate() {
        let old = here();
        let one = old.forward("joe", "sender.example", NOW).unwrap();
        let new = srs("us.example", &["fedcba9876543210", "0123456789abcdef"]);
        assert!(new.reverse(&one.local, NOW).is_ok());
        let later = new.forward("joe", "sender.example", NOW).unwrap();
        assert_ne!(later, one);
        assert_eq!(old.reverse(&later.local, NOW), Err(SrsError::BadHash));
    }

    #[test]
    fn lifetime() {
        let srs = here();
        let one = srs.forward("joe", "sender.example", NOW).unwrap().local;
        let days = i64::from(LIFETIME_DAYS);
        for (day, good) in [
            (-2, false),
            (-1, true),
            (0, true),
            (days - 1, true),
            (days, true),
            (days + 1, false),
            (1_022, false),
        ] {
            let found = srs.reverse(&one, NOW + day * DAY);
            assert_eq!(found.is_ok(), good, "day {day}");
        }
        // The stamp comes round.
        for start in 0..1_030 {
            let then = NOW + start * DAY;
            let one = srs.forward("joe", "sender.example", then).unwrap().local;
            assert!(srs.reverse(&one, then + days * DAY).is_ok());
            assert_eq!(
                srs.reverse(&one, then + (days + 1) * DAY),
                Err(SrsError::Expired)
            );
        }
    }

    #[test]
    fn refuses() {
        let srs = here();
        let one = srs.forward("joe", "sender.example", NOW).unwrap().local;
        assert_eq!(srs.reverse("joe", NOW), Err(SrsError::NotSrs));
        assert_eq!(srs.reverse("SRS0", NOW), Err(SrsError::NotSrs));
        assert_eq!(srs.reverse("SRS0=", NOW), Err(SrsError::Malformed));
        assert_eq!(srs.reverse("SRS0=a=b=c", NOW), Err(SrsError::Malformed));
        assert_eq!(srs.reverse("SRS0=a=b==c", NOW), Err(SrsError::Malformed));
        assert_eq!(srs.reverse("SRS1=a=b=c", NOW), Err(SrsError::Malformed));
        assert_eq!(srs.reverse("SRS1=a=b==c", NOW), Err(SrsError::BadHash));
        assert_eq!(
            srs.reverse(&one.replace("joe", "jim"), NOW),
            Err(SrsError::BadHash)
        );
        // Shortening the hash makes it no easier to guess.
        let (_, rest) = one[5..].split_once('=').unwrap();
        for short in 0..HASH_MIN {
            let local = format!("SRS0={}={rest}", &one[5..5 + short]);
            assert_eq!(srs.reverse(&local, NOW), Err(SrsError::BadHash));
        }
        for (local, domain) in [("", "a.example"), ("a", ""), ("a", "b=c"), ("a\r\n", "b")] {
            assert_eq!(srs.forward(local, domain, NOW), Err(SrsError::Address));
        }
        let own = srs.forward("joe", "US.example", NOW).unwrap();
        assert_eq!(own.to_string(), "joe@US.example");
    }

    #[test]
    fn length_limit() {
        let srs = here();
        // SRS0=HHHH=TT=d.example=...@us.example
        let rest = "SRS0=HHHH=TT=d.example=@us.example".len();
        for (length, good) in [
            (ADDRESS_MAX - 1, true),
            (ADDRESS_MAX, true),
            (ADDRESS_MAX + 1, false),
        ] {
            let local = "x".repeat(length - rest);
            let found = srs.forward(&local, "d.example", NOW);
            assert_eq!(found.is_ok(), good);
            if let Ok(found) = found {
                assert_eq!(found.to_string().len(), length);
                assert_eq!(srs.reverse(&found.local, NOW).unwrap().local, local);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn round_trip(local in "[^\\p{Cc}]{1,40}", domain in "[a-z]{1,10}\\.[a-z]{2,5}", time in 0i64..4_000_000_000) {
            let srs = here();
            prop_assume!(domain != "us.example");
            if let Ok(found) = srs.forward(&local, &domain, time)
                && after_tag(&local, "SRS0").is_none()
                && after_tag(&local, "SRS1").is_none()
            {
                let back = srs.reverse(&found.local, time).unwrap();
                prop_assert_eq!(back, Parts { local, domain });
            }
        }

        #[test]
        fn survives_anything(local in any::<String>()) {
            let _ = here().reverse(&local, NOW);
            let _ = here().reverse(&format!("SRS0={local}"), NOW);
            let _ = here().reverse(&format!("SRS1={local}"), NOW);
            let _ = here().forward(&local, "d.example", NOW);
        }
    }
}
