//! RFC 5322 3.3 dates.
//!
//! [`Date`] is an instant with the zone of whoever wrote it. Writing is exact; reading is in
//! [`parse`] and lenient.

mod civil;
mod parse;

pub use civil::{Civil, days_in_month};
pub use parse::{BadDate, DATE_TEXT_MAX, DateDefects, parse};

use std::fmt;

/// An instant and the offset in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Date {
    seconds: i64,
    offset: i16,
}

/// First and last instant that a header field can show (years 0000 to 9999), in seconds since 1970.
const RANGE: (i64, i64) = (-62_167_219_200 + 86_400 * 2, 253_402_300_799 - 86_400 * 2);

/// Largest offset from UTC, in minutes either way.
pub const OFFSET_MAX: i16 = 23 * 60 + 59;

/// Octets of a written date: `Sun, 22 Nov 2026 07:12:30 +0000`.
pub const DATE_LEN: usize = 31;

impl Date {
    /// `seconds` since 1970 UTC, shown `offset` minutes east of Greenwich.
    ///
    /// Values outside the years 0000 to 9999 or beyond [`OFFSET_MAX`] are moved to the nearest
    /// that can be written: a wild clock must not make a message unwritable.
    pub fn new(seconds: i64, offset: i16) -> Date {
        Date {
            seconds: seconds.clamp(RANGE.0, RANGE.1),
            offset: offset.clamp(-OFFSET_MAX, OFFSET_MAX),
        }
    }

    /// The instant shown in UTC.
    pub fn utc(seconds: i64) -> Date {
        Date::new(seconds, 0)
    }

    /// Seconds since 1970 UTC.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Minutes east of Greenwich.
    pub fn offset(self) -> i16 {
        self.offset
    }

    /// The wall-clock view in the date's own zone.
    pub fn civil(self) -> Civil {
        Civil::from_seconds(self.seconds + i64::from(self.offset) * 60)
    }

    /// The RFC 5322 form, always [`DATE_LEN`] octets of ASCII.
    pub fn to_bytes(self) -> [u8; DATE_LEN] {
        let mut out = *b"Sun, 00 Jan 0000 00:00:00 +0000";
        let c = self.civil();
        put(
            &mut out,
            0,
            WEEKDAYS
                .get(usize::from(c.weekday))
                .copied()
                .unwrap_or(b"Sun"),
        );
        put(&mut out, 5, &two(c.day));
        put(
            &mut out,
            8,
            MONTHS
                .get(usize::from(c.month).wrapping_sub(1))
                .copied()
                .unwrap_or(b"Jan"),
        );
        let year = u16::try_from(c.year).unwrap_or(0);
        put(&mut out, 12, &two((year / 100) as u8));
        put(&mut out, 14, &two((year % 100) as u8));
        put(&mut out, 17, &two(c.hour));
        put(&mut out, 20, &two(c.minute));
        put(&mut out, 23, &two(c.second));
        let minutes = self.offset.unsigned_abs();
        put(&mut out, 26, if self.offset < 0 { b"-" } else { b"+" });
        put(&mut out, 27, &two((minutes / 60) as u8));
        put(&mut out, 29, &two((minutes % 60) as u8));
        out
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        f.write_str(std::str::from_utf8(&bytes).unwrap_or_default())
    }
}

pub(crate) const WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
pub(crate) const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

fn two(n: u8) -> [u8; 2] {
    [b'0' + n / 10 % 10, b'0' + n % 10]
}

fn put(out: &mut [u8; DATE_LEN], at: usize, text: &[u8]) {
    for (to, from) in out.iter_mut().skip(at).zip(text) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, offset, text) in [
            (0, 0, "Thu, 01 Jan 1970 00:00:00 +0000"),
            (1_795_331_550, 540, "Sun, 22 Nov 2026 16:12:30 +0900"),
            (951_782_400, 0, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (951_782_400, -210, "Mon, 28 Feb 2000 20:30:00 -0330"),
            (-1, 0, "Wed, 31 Dec 1969 23:59:59 +0000"),
            (4_107_542_400, 0, "Mon, 01 Mar 2100 00:00:00 +0000"),
        ] {
            assert_eq!(Date::new(seconds, offset).to_string(), text);
        }
    }

    #[test]
    fn wild_clocks_still_write_31_octets() {
        for seconds in [i64::MIN, i64::MAX, RANGE.0, RANGE.1] {
            for offset in [i16::MIN, 0, i16::MAX] {
                let text = Date::new(seconds, offset).to_string();
                assert_eq!(text.len(), DATE_LEN);
                assert!(
                    text.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
                    "{text}"
                );
            }
        }
    }
}
