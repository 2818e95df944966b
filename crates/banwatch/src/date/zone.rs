//! Local time and named offsets.

use jiff::civil;
use jiff::tz::TimeZone;

/// Minutes east of UTC of zone names as they stand in logs. A name several zones use has the
/// meaning fail2ban gives it.
const NAMED: [(&str, i32); 66] = [
    ("", 0),
    ("Z", 0),
    ("UTC", 0),
    ("GMT", 0),
    ("WET", 0),
    ("EGST", 0),
    ("WT", 0),
    ("CET", 60),
    ("WAT", 60),
    ("DFT", 60),
    ("WEST", 60),
    ("WEDT", 60),
    ("A", 60),
    ("CEST", 120),
    ("CEDT", 120),
    ("CAT", 120),
    ("EET", 120),
    ("SAST", 120),
    ("B", 120),
    ("EEST", 180),
    ("EEDT", 180),
    ("EAT", 180),
    ("MSK", 180),
    ("IDT", 180),
    ("C", 180),
    ("MSD", 240),
    ("GST", 240),
    ("AMT", 240),
    ("AZT", 240),
    ("TJT", 300),
    ("UZT", 300),
    ("YEKT", 300),
    ("MVT", 300),
    ("NOVT", 360),
    ("ICT", 420),
    ("WIB", 420),
    ("HKT", 480),
    ("SGT", 480),
    ("PHT", 480),
    ("AWST", 480),
    ("MYT", 480),
    ("IRKT", 480),
    ("JST", 540),
    ("KST", 540),
    ("ACST", 570),
    ("AEST", 600),
    ("ACDT", 630),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("AZOT", -60),
    ("BRST", -120),
    ("BRT", -180),
    ("ART", -180),
    ("ADT", -180),
    ("NDT", -150),
    ("NST", -210),
    ("AST", -240),
    ("EDT", -240),
    ("EST", -300),
    ("CDT", -300),
    ("CST", -360),
    ("MDT", -360),
    ("MST", -420),
    ("PDT", -420),
    ("PST", -480),
];

/// Minutes east of UTC for `UTC`, `+0200`, `-03:30`, `CET+0100`; none when not known.
#[must_use]
pub fn offset_minutes(text: &str) -> Option<i32> {
    let at = text.find(['+', '-']).unwrap_or(text.len());
    let (name, offset) = text.split_at(at);
    let base = NAMED.iter().find(|n| n.0 == name).map(|n| n.1);
    let base = match (base, name) {
        (Some(b), _) => b,
        (None, "AKDT") => -480,
        (None, "AKST") => -540,
        (None, "HST" | "HAST") => -600,
        (None, "HADT") => -540,
        _ => return None,
    };
    if offset.is_empty() {
        return Some(base);
    }
    let negative = offset.starts_with('-');
    let digits: String = offset.chars().skip(1).filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours: i32 = digits.get(..2)?.parse().ok()?;
    let minutes: i32 = if digits.len() == 4 {
        digits.get(2..)?.parse().ok()?
    } else {
        0
    };
    let value = hours * 60 + minutes;
    Some(base + if negative { -value } else { value })
}

/// A day and time of day as written, in whatever zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year, 1 to 9999.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: i64,
    /// Day of the month, from 1.
    pub day: i64,
    /// Hour, 0 to 23.
    pub hour: i64,
    /// Minute, 0 to 59.
    pub minute: i64,
    /// Second, 0 to 59.
    pub second: i64,
}

impl Civil {
    fn date(&self) -> Option<civil::Date> {
        civil::Date::new(
            i16::try_from(self.year).ok()?,
            i8::try_from(self.month).ok()?,
            i8::try_from(self.day).ok()?,
        )
        .ok()
    }

    fn datetime(&self) -> Option<civil::DateTime> {
        let small = |n: i64| i8::try_from(n).ok();
        let time = civil::Time::new(
            small(self.hour)?,
            small(self.minute)?,
            small(self.second)?,
            0,
        )
        .ok()?;
        Some(self.date()?.to_datetime(time))
    }

    /// Seconds since 1970 when read as UTC; none for a day that does not exist.
    #[must_use]
    pub fn as_utc(&self) -> Option<i64> {
        let at = self.datetime()?.to_zoned(TimeZone::UTC).ok()?;
        Some(at.timestamp().as_second())
    }
}

/// The zone of the host, with the last hour that was asked for.
#[derive(Clone, Debug)]
pub struct Zone {
    zone: TimeZone,
    /// (year, month, day, hour) and the second at which that hour begins, for hours in which
    /// the clock is not changed.
    hour: Option<([i64; 4], i64)>,
}

impl Zone {
    /// The zone of `TZ` or of `/etc/localtime`.
    #[must_use]
    pub fn system() -> Zone {
        Zone {
            zone: TimeZone::system(),
            hour: None,
        }
    }

    /// A zone by POSIX rule such as `CET-1CEST,M3.5.0,M10.5.0/3`; none if it is not one.
    #[must_use]
    pub fn posix(rule: &str) -> Option<Zone> {
        Some(Zone {
            zone: TimeZone::posix(rule).ok()?,
            hour: None,
        })
    }

    fn lookup(&self, c: &Civil) -> Option<i64> {
        let at = c.datetime()?.to_zoned(self.zone.clone()).ok()?;
        Some(at.timestamp().as_second())
    }

    /// Seconds since 1970 of a local time; none for a day that does not exist.
    pub fn seconds(&mut self, c: &Civil) -> Option<i64> {
        let key = [c.year, c.month, c.day, c.hour];
        let in_hour = (0..60).contains(&c.minute) && (0..60).contains(&c.second);
        if let Some((k, base)) = self.hour {
            if k == key && in_hour {
                return Some(base + c.minute * 60 + c.second);
            }
        }
        if in_hour {
            let begin = self.lookup(&Civil {
                minute: 0,
                second: 0,
                ..*c
            })?;
            let end = self.lookup(&Civil {
                minute: 59,
                second: 59,
                ..*c
            })?;
            if end - begin == 3599 {
                self.hour = Some((key, begin));
                return Some(begin + c.minute * 60 + c.second);
            }
        }
        self.lookup(c)
    }

    /// Local time at `now` (seconds since 1970).
    #[must_use]
    pub fn civil(&self, now: i64) -> Option<Civil> {
        let d = jiff::Timestamp::from_second(now)
            .ok()?
            .to_zoned(self.zone.clone())
            .datetime();
        Some(Civil {
            year: d.year().into(),
            month: d.month().into(),
            day: d.day().into(),
            hour: d.hour().into(),
            minute: d.minute().into(),
            second: d.second().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        for (text, want) in [
            ("Z", Some(0)),
            ("+0200", Some(120)),
            ("-03:30", Some(-210)),
            ("+01", Some(60)),
            ("CET", Some(60)),
            ("CET+0100", Some(120)),
            ("error", None),
            ("+1", None),
            ("+020", None),
        ] {
            assert_eq!(offset_minutes(text), want, "{text}");
        }
    }

    #[test]
    fn the_hour_cache_changes_nothing() {
        let rule = "CET-1CEST,M3.5.0,M10.5.0/3";
        let mut warm = Zone::posix(rule).unwrap();
        let c = |month, day, hour, minute| Civil {
            year: 2005,
            month,
            day,
            hour,
            minute,
            second: 7,
        };
        // around both changes of the clock, and plain days
        for (m, d) in [(3, 27), (10, 30), (8, 14), (12, 31)] {
            for h in 0..24 {
                for min in [0, 1, 30, 59] {
                    let mut cold = Zone::posix(rule).unwrap();
                    let x = c(m, d, h, min);
                    cold.hour = None;
                    assert_eq!(warm.seconds(&x), cold.lookup(&x), "{x:?}");
                }
            }
        }
        assert_eq!(warm.seconds(&c(8, 14, 12, 0)), Some(1_124_013_607));
        assert_eq!(warm.seconds(&c(2, 30, 1, 1)), None);
        assert_eq!(
            warm.seconds(&Civil {
                second: 60,
                ..c(2, 3, 1, 1)
            }),
            None
        );
    }
}
