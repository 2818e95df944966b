//! The name of a message: 20 characters that sort by time and are unique without a clock.

use std::fmt;
use std::str::FromStr;

/// Length of a queue id in octets, all of them ASCII.
pub const ID_LEN: usize = 20;

/// Bits of milliseconds in an id; enough until the year 10889.
pub const MILLIS_BITS: u32 = 48;

/// Bits of randomness in an id.
pub const RANDOM_BITS: u32 = 50;

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`; its order is the order of ASCII.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A queue id: 10 characters of milliseconds since 1970, then 10 of randomness.
///
/// Ordering by bytes is ordering by time of arrival (as the clock said). Uniqueness rests on
/// the random half and on `O_EXCL`, never on the clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId([u8; ID_LEN]);

/// The text is not a queue id: wrong length, a character outside the alphabet, or a time of
/// more than 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a queue id (20 characters of 0-9 a-z without i l o u)")
    }
}

impl std::error::Error for NotAnId {}

impl QueueId {
    /// Builds an id from milliseconds since 1970 and random bits.
    ///
    /// Only the low 48 bits of `millis` and the low 50 bits of `random` are used.
    #[must_use]
    pub fn new(millis: u64, random: u64) -> Self {
        let mut text = [b'0'; ID_LEN];
        let (time, chance) = text.split_at_mut(ID_LEN / 2);
        write_base32(time, millis & ((1 << MILLIS_BITS) - 1));
        write_base32(chance, random & ((1 << RANDOM_BITS) - 1));
        Self(text)
    }

    /// Reads an id; strict, so that one message has exactly one spelling of its name.
    ///
    /// # Errors
    /// [`NotAnId`] for anything that [`QueueId::new`] could not have made.
    pub fn from_bytes(text: &[u8]) -> Result<Self, NotAnId> {
        let text: [u8; ID_LEN] = text.try_into().map_err(|_| NotAnId)?;
        let (time, chance) = text.split_at(ID_LEN / 2);
        let millis = read_base32(time).ok_or(NotAnId)?;
        read_base32(chance).ok_or(NotAnId)?;
        if millis >> MILLIS_BITS != 0 {
            return Err(NotAnId);
        }
        Ok(Self(text))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only alphabet characters are ever stored, so the fallback is never taken.
        std::str::from_utf8(&self.0).unwrap_or("")
    }

    /// The id as its 20 octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; ID_LEN] {
        &self.0
    }

    /// Milliseconds since 1970 at which the id was made, by that moment's clock.
    #[must_use]
    pub fn millis(&self) -> u64 {
        read_base32(&self.0[..ID_LEN / 2]).unwrap_or(0)
    }

    /// The random half.
    #[must_use]
    pub fn random(&self) -> u64 {
        read_base32(&self.0[ID_LEN / 2..]).unwrap_or(0)
    }

    /// The two characters that name the message's directory below `deferred/`.
    ///
    /// Taken from the random half, so that the 1,024 directories fill evenly.
    #[must_use]
    pub fn shard(&self) -> &str {
        self.as_str().get(ID_LEN - 2..).unwrap_or("00")
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for QueueId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Self::from_bytes(text.as_bytes())
    }
}

fn write_base32(out: &mut [u8], mut value: u64) {
    for place in out.iter_mut().rev() {
        // The mask keeps the index below the alphabet's 32 entries.
        *place = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
}

fn read_base32(text: &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for &octet in text {
        value = (value << 5) | u64::from(digit(octet)?);
    }
    Some(value)
}

fn digit(octet: u8) -> Option<u8> {
    // Letters skipped so far are taken off: i, l, o, u.
    Some(match octet {
        b'0'..=b'9' => octet - b'0',
        b'a'..=b'h' => octet - b'a' + 10,
        b'j' | b'k' => octet - b'j' + 18,
        b'm' | b'n' => octet - b'm' + 20,
        b'p'..=b't' => octet - b'p' + 22,
        b'v'..=b'z' => octet - b'v' + 27,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_follow_the_alphabet() {
        for octet in 0..=255u8 {
            let want = ALPHABET.iter().position(|&c| c == octet);
            assert_eq!(digit(octet).map(usize::from), want, "{octet}");
        }
    }

    #[test]
    fn known_spellings() {
        assert_eq!(QueueId::new(0, 0).as_str(), "00000000000000000000");
        assert_eq!(
            QueueId::new(u64::MAX, u64::MAX).as_str(),
            "7zzzzzzzzzzzzzzzzzzz"
        );
        assert_eq!(QueueId::new(32, 33).as_str(), "00000000100000000011");
        assert_eq!(QueueId::new(0, 33).shard(), "11");
    }

    #[test]
    fn refuses_other_spellings() {
        for wrong in [
            "",
            "0000000000000000000",
            "000000000000000000000",
            "0000000000000000000A",
            "0000000000000000000i",
            "0000000000000000000l",
            "0000000000000000000o",
            "0000000000000000000u",
            "8000000000000000000 ",
            "80000000000000000000",
            "0000000000/000000000",
            "..000000000000000000",
        ] {
            assert_eq!(wrong.parse::<QueueId>(), Err(NotAnId), "{wrong}");
        }
        assert!("7zzzzzzzzzzzzzzzzzzz".parse::<QueueId>().is_ok());
    }

    proptest! {
        #[test]
        fn text_round_trip(millis in 0u64..1 << MILLIS_BITS, random in 0u64..1 << RANDOM_BITS) {
            let id = QueueId::new(millis, random);
            prop_assert_eq!(id.as_str().parse::<QueueId>(), Ok(id));
            prop_assert_eq!((id.millis(), id.random()), (millis, random));
        }

        #[test]
        fn sorts_by_time(a in 0u64..1 << MILLIS_BITS, b in 0u64..1 << MILLIS_BITS, r: u64, s: u64) {
            prop_assume!(a != b);
            prop_assert_eq!(QueueId::new(a, r) < QueueId::new(b, s), a < b);
        }
    }
}
