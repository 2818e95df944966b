//! Dates of other programs (RFC 5322 3.3, 4.3; RFC 850 and asctime forms; ISO 8601).
//!
//! ```text
//! date-time = [ day-name "," ] day month year hour ":" minute [ ":" second ] zone
//! ```
//!
//! The pieces are recognised by what they are, so order and separators hardly matter; whether
//! they make a day that exists is checked strictly. What had to be forgiven is told.

use std::fmt;

use super::{Civil, Date, MONTHS, OFFSET_MAX, WEEKDAYS, days_in_month};

/// Longest text read as a date, in octets; comments count.
pub const DATE_TEXT_MAX: usize = 256;

/// Why a text is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadDate {
    /// There is nothing.
    Empty,
    /// Longer than [`DATE_TEXT_MAX`].
    TooLong,
    /// No day of the month.
    NoDay,
    /// No month.
    NoMonth,
    /// No year.
    NoYear,
    /// No time of day.
    NoTime,
    /// The month has no such day.
    DayOutOfRange,
    /// Hour above 23, minute above 59 or second above 60.
    TimeOutOfRange,
    /// A year before 1900 or after 9999.
    YearOutOfRange,
    /// A piece that has no place in a date.
    Garbage,
}

impl fmt::Display for BadDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadDate::Empty => "the date is empty",
            BadDate::TooLong => "the date is too long",
            BadDate::NoDay => "the date has no day",
            BadDate::NoMonth => "the date has no month",
            BadDate::NoYear => "the date has no year",
            BadDate::NoTime => "the date has no time",
            BadDate::DayOutOfRange => "the month has no such day",
            BadDate::TimeOutOfRange => "there is no such time of day",
            BadDate::YearOutOfRange => "the year is before 1900 or after 9999",
            BadDate::Garbage => "something in the date has no meaning",
        })
    }
}

impl std::error::Error for BadDate {}

/// What was wrong with a date that could be read all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DateDefects {
    /// The weekday is not that of the day.
    pub wrong_weekday: bool,
    /// A year of two or three digits (RFC 5322 4.3).
    pub short_year: bool,
    /// A zone by name (RFC 5322 4.3).
    pub named_zone: bool,
    /// A zone that means nothing; UTC is assumed.
    pub unknown_zone: bool,
    /// No zone; UTC is assumed.
    pub no_zone: bool,
    /// Second 60, read as 59.
    pub leap_second: bool,
    /// Pieces in another order or form than RFC 5322's.
    pub odd_form: bool,
}

impl DateDefects {
    /// Whether nothing was wrong.
    pub fn is_empty(self) -> bool {
        self == DateDefects::default()
    }
}

#[derive(Default)]
struct Pieces {
    weekday: Option<u8>,
    day: Option<u8>,
    month: Option<u8>,
    year: Option<(i64, usize)>,
    time: Option<(u8, u8, u8)>,
    zone: Option<i16>,
    afternoon: Option<bool>,
    defects: DateDefects,
}

/// Reads a date.
///
/// # Errors
/// See [`BadDate`]. Never panics, looks at each octet a bounded number of times.
pub fn parse(text: &[u8]) -> Result<(Date, DateDefects), BadDate> {
    if text.len() > DATE_TEXT_MAX {
        return Err(BadDate::TooLong);
    }
    let mut pieces = Pieces::default();
    let mut any = false;
    let mut depth = 0usize;
    let mut start = None;
    for (at, octet) in text.iter().chain(b" ").enumerate() {
        let separator =
            octet.is_ascii_whitespace() || matches!(octet, b',' | b'(' | b')') || depth > 0;
        if separator {
            if let Some(start) = start.take() {
                any = true;
                pieces.word(text.get(start..at).unwrap_or_default())?;
            }
        } else if start.is_none() {
            start = Some(at);
        }
        match octet {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if any {
        pieces.finish()
    } else {
        Err(BadDate::Empty)
    }
}

impl Pieces {
    fn word(&mut self, word: &[u8]) -> Result<(), BadDate> {
        if let Some(place) = name(word, &MONTHS).filter(|_| self.month.is_none()) {
            self.defects.odd_form |= self.day.is_none() || word.len() != 3;
            self.month = Some(place + 1);
            return Ok(());
        }
        if let Some(place) = name(word, &WEEKDAYS).filter(|_| self.weekday.is_none()) {
            self.weekday = Some(place);
            return Ok(());
        }
        let mut word = word;
        if let Some((utc, offset)) = word.split_at_checked(3)
            && (utc.eq_ignore_ascii_case(b"GMT") || utc.eq_ignore_ascii_case(b"UTC"))
            && matches!(offset.first(), Some(b'+' | b'-'))
        {
            self.defects.odd_form = true;
            word = offset;
        }
        let first = word.first().copied().unwrap_or_default();
        if matches!(first, b'+' | b'-') {
            return self.numeric_zone(word);
        }
        if word.contains(&b':') {
            return self.clock(word);
        }
        if first.is_ascii_digit() {
            return self.number(word);
        }
        self.letters(word)
    }

    fn number(&mut self, word: &[u8]) -> Result<(), BadDate> {
        if word.contains(&b'-') || word.contains(&b'/') {
            return self.joined(word);
        }
        let value = decimal(word).ok_or(BadDate::Garbage)?;
        if self.day.is_none() && word.len() <= 2 {
            self.day = Some(value as u8);
        } else if self.year.is_none() {
            self.defects.odd_form |= self.time.is_some() || self.month.is_none();
            self.year = Some((i64::from(value), word.len()));
        } else {
            return Err(BadDate::Garbage);
        }
        Ok(())
    }

    /// `22-Nov-2026`, `2026-11-22`.
    fn joined(&mut self, word: &[u8]) -> Result<(), BadDate> {
        self.defects.odd_form = true;
        let mut parts = word.split(|b| matches!(b, b'-' | b'/'));
        let (Some(a), Some(b), Some(c), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadDate::Garbage);
        };
        if self.day.is_some() || self.month.is_some() || self.year.is_some() {
            return Err(BadDate::Garbage);
        }
        let (year, month, day) = if a.len() == 4 { (a, b, c) } else { (c, b, a) };
        self.year = Some((i64::from(decimal(year).ok_or(BadDate::NoYear)?), year.len()));
        self.day = Some(
            decimal(day)
                .and_then(|d| u8::try_from(d).ok())
                .ok_or(BadDate::NoDay)?,
        );
        self.month = match name(month, &MONTHS) {
            Some(place) => Some(place + 1),
            // Numbers are only unambiguous with the year in front.
            None if a.len() == 4 => decimal(month)
                .and_then(|m| u8::try_from(m).ok())
                .filter(|m| (1..=12).contains(m)),
            None => None,
        };
        if self.month.is_none() {
            Err(BadDate::NoMonth)
        } else {
            Ok(())
        }
    }

    /// `07:12`, `07:12:30`, with a fraction, or with an ISO date before and a zone after it.
    fn clock(&mut self, word: &[u8]) -> Result<(), BadDate> {
        let mut word = word;
        if let Some(at) = word.iter().position(|b| matches!(b, b'T' | b't')) {
            let (date, time) = word.split_at(at);
            self.joined(date)?;
            word = time.get(1..).unwrap_or_default();
        }
        if let Some(at) = word
            .iter()
            .position(|b| matches!(b, b'+' | b'-' | b'Z' | b'z'))
        {
            let (time, zone) = word.split_at(at);
            word = time;
            if zone.eq_ignore_ascii_case(b"z") {
                self.zone = Some(0);
            } else {
                self.numeric_zone(zone)?;
            }
            self.defects.odd_form = true;
        }
        if let Some(at) = word.iter().position(|b| *b == b'.') {
            self.defects.odd_form = true;
            word = word.get(..at).unwrap_or_default();
        }
        let mut parts = word.split(|b| *b == b':');
        let mut next = || match parts.next() {
            Some(part) if part.len() <= 2 => decimal(part)
                .map(|n| n as u8)
                .ok_or(BadDate::TimeOutOfRange),
            Some(_) => Err(BadDate::TimeOutOfRange),
            None => Ok(0),
        };
        let time = (next()?, next()?, next()?);
        if parts.next().is_some() || self.time.replace(time).is_some() {
            return Err(BadDate::Garbage);
        }
        Ok(())
    }

    fn numeric_zone(&mut self, word: &[u8]) -> Result<(), BadDate> {
        let (sign, digits) = word.split_first().ok_or(BadDate::Garbage)?;
        if self.zone.is_some() {
            return Ok(());
        }
        match decimal(digits) {
            Some(n)
                if digits.len() == 4
                    && n % 100 < 60
                    && (n / 100 * 60 + n % 100) <= OFFSET_MAX as u32 =>
            {
                let minutes = (n / 100 * 60 + n % 100) as i16;
                self.zone = Some(if *sign == b'-' { -minutes } else { minutes });
            }
            _ => self.defects.unknown_zone = true,
        }
        Ok(())
    }

    fn letters(&mut self, word: &[u8]) -> Result<(), BadDate> {
        if !word.iter().all(|b| {
            b.is_ascii_alphabetic() || matches!(b, b'+' | b'-' | b'/' | b'_' | b'.' | b'"')
        }) {
            return Err(BadDate::Garbage);
        }
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("am") || is("pm") {
            self.defects.odd_form = true;
            self.afternoon = Some(is("pm"));
            return Ok(());
        }
        // A name after an offset repeats it in words.
        if self.zone.is_some() || self.time.is_none() {
            self.defects.odd_form = true;
            return Ok(());
        }
        let hours = if is("UT") || is("GMT") || is("UTC") || is("Z") {
            Some(0)
        } else if is("EDT") {
            Some(-4)
        } else if is("EST") || is("CDT") {
            Some(-5)
        } else if is("CST") || is("MDT") {
            Some(-6)
        } else if is("MST") || is("PDT") {
            Some(-7)
        } else if is("PST") {
            Some(-8)
        } else if is("JST") {
            Some(9)
        } else {
            None
        };
        match hours {
            Some(hours) => {
                self.zone = Some(hours * 60);
                self.defects.named_zone = true;
            }
            // Military letters were used in both senses: they mean "unknown" (RFC 5322 4.3).
            None => self.defects.unknown_zone = true,
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Date, DateDefects), BadDate> {
        let day = self.day.ok_or(BadDate::NoDay)?;
        let month = self.month.ok_or(BadDate::NoMonth)?;
        let (year, digits) = self.year.ok_or(BadDate::NoYear)?;
        let (mut hour, minute, second) = self.time.ok_or(BadDate::NoTime)?;
        let year = match digits {
            1 | 2 => year + if year < 50 { 2000 } else { 1900 },
            3 => year + 1900,
            _ => year,
        };
        self.defects.short_year = digits < 4;
        if !(1900..=9999).contains(&year) {
            return Err(BadDate::YearOutOfRange);
        }
        if day == 0 || day > days_in_month(year, month) {
            return Err(BadDate::DayOutOfRange);
        }
        if let Some(afternoon) = self.afternoon {
            if hour == 0 || hour > 12 {
                return Err(BadDate::TimeOutOfRange);
            }
            hour = hour % 12 + if afternoon { 12 } else { 0 };
        }
        if hour > 23 || minute > 59 || second > 60 {
            return Err(BadDate::TimeOutOfRange);
        }
        self.defects.leap_second = second == 60;
        self.defects.no_zone = self.zone.is_none() && !self.defects.unknown_zone;
        let civil = Civil {
            year,
            month,
            day,
            hour,
            minute,
            second: second.min(59),
            weekday: 0,
        };
        let local = civil.to_seconds();
        let real = Civil::from_seconds(local).weekday;
        self.defects.wrong_weekday = self.weekday.is_some_and(|said| said != real);
        let offset = self.zone.unwrap_or(0);
        Ok((
            Date::new(local - i64::from(offset) * 60, offset),
            self.defects,
        ))
    }
}

/// Place of a name by its first three letters; the rest has to be letters or one dot.
fn name(word: &[u8], names: &[&[u8; 3]]) -> Option<u8> {
    let head = word.get(..3)?;
    let tail = word.get(3..).unwrap_or_default();
    let tail = tail.strip_suffix(b".").unwrap_or(tail);
    if !tail.iter().all(u8::is_ascii_alphabetic) || tail.len() > 6 {
        return None;
    }
    let place = names
        .iter()
        .position(|name| head.eq_ignore_ascii_case(*name))?;
    u8::try_from(place).ok()
}

fn decimal(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 6 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |n, digit| n * 10 + u32::from(digit - b'0')),
    )
}

#[cfg(test)]
mod tests;
