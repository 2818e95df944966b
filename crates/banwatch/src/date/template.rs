//! One way of writing a date: the expression that finds it and how it is read.

use std::sync::OnceLock;

use super::fields::{Field, expression, month, weekday};
use super::zone::{Civil, Zone, offset_minutes};
use crate::pattern::{Machine, Outcome, Pattern};

/// Why a `datepattern` is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDate {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for BadDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "datepattern {}: {}", self.pattern, self.why)
    }
}

impl std::error::Error for BadDate {}

#[derive(Clone, Debug)]
enum Reading {
    Fields,
    /// Seconds, or with `long` also milli- and microseconds, in this group.
    Epoch {
        group: usize,
        long: bool,
    },
    Tai,
}

/// How the expression is tied to what is around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// `{UNB}`: not at all.
    None,
    /// At word edges.
    Word,
    /// `{^LN-BEG}`: at the beginning of the line, after two signs at most.
    Line,
}

/// The expression, and which of its groups hold which fields.
type Compiled = (Pattern, Vec<(usize, Field)>);

/// A date format.
#[derive(Debug)]
pub(crate) struct Template {
    /// Tells formats apart.
    pub(crate) name: String,
    /// As written with `%`-fields; none for epoch and TAI64N.
    pub(crate) source: Option<String>,
    /// Tied to the beginning or the end of the line.
    pub(crate) tied: bool,
    /// Tied to the beginning.
    pub(crate) line_begin: bool,
    /// Preferred when formats compete.
    pub(crate) weight: f64,
    regex: String,
    compiled: OnceLock<Option<Compiled>>,
    reading: Reading,
}

/// Whether an expression has a group of its own that says which part is the date.
fn has_group(regex: &str) -> bool {
    let b = regex.as_bytes();
    (0..b.len()).any(|i| {
        b.get(i) == Some(&b'(')
            && b.get(i + 1) != Some(&b'?')
            && (i == 0 || b.get(i - 1) != Some(&b'\\'))
            && !(i >= 2 && b.get(i - 2..i) == Some(b"(?"))
    })
}

/// `^`, `(^`, `(?:^`, `**`, `(**` in front: the pattern ties itself.
fn own_begin(regex: &str) -> bool {
    let bare = regex.trim_start_matches('(');
    bare.starts_with('^')
        || bare.starts_with("**")
        || (bare.len() < regex.len() && bare.starts_with("?:^"))
}

/// `$`, `$)`, `\b`, `\s`, `**` at the end, not escaped.
fn own_end(regex: &str) -> bool {
    let free = |head: &str| !head.ends_with('\\');
    if let Some(h) = regex.trim_end_matches(')').strip_suffix("**") {
        return free(h);
    }
    ["$", "$)", "\\b", "\\s"]
        .iter()
        .any(|s| regex.strip_suffix(s).is_some_and(free))
}

fn without_stars(regex: &str) -> String {
    let mut out = regex.to_owned();
    if regex.trim_start_matches('(').starts_with("**") {
        out = out.replacen("**", "", 1);
    }
    if let Some(head) = out.trim_end_matches(')').strip_suffix("**") {
        if !head.ends_with('\\') {
            let at = head.len();
            out.replace_range(at..at + 2, "");
        }
    }
    out
}

/// Takes the tie out of a pattern that goes into another one.
pub(crate) fn untied(pattern: &str) -> &str {
    let p = pattern.strip_prefix("{UNB}").unwrap_or(pattern);
    let p = p.strip_prefix("{^LN-BEG}").unwrap_or(p);
    let p = p.strip_prefix(r"(?:^|\b|\W)").unwrap_or(p);
    p.strip_suffix(r"(?=\b|\W|$)").unwrap_or(p)
}

/// Cuts the first `(?flags)` out.
fn take_flags(regex: &str) -> (String, String) {
    let mut from = 0;
    while let Some(at) = regex
        .get(from..)
        .and_then(|r| r.find("(?"))
        .map(|i| i + from)
    {
        let rest = regex.get(at + 2..).unwrap_or("");
        let n = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        if n > 0 && rest.as_bytes().get(n) == Some(&b')') && !regex[..at].ends_with('\\') {
            let flags = regex.get(at..at + n + 3).unwrap_or("").to_owned();
            return (
                flags,
                format!("{}{}", &regex[..at], rest.get(n + 1..).unwrap_or("")),
            );
        }
        from = at + 2;
    }
    (String::new(), regex.to_owned())
}

impl Template {
    /// A pattern with `%`-fields; `year` is the present one.
    pub(crate) fn fields(source: &str, year: i64) -> Result<Template, BadDate> {
        let bad = |why: String| BadDate {
            pattern: source.to_owned(),
            why,
        };
        let (bound, body) = match source.strip_prefix("{UNB}") {
            Some(b) => (Bound::None, b),
            None => match source.strip_prefix("{^LN-BEG}") {
                Some(b) => (Bound::Line, b),
                None => (Bound::Word, source),
            },
        };
        let mut regex = String::new();
        let mut alpha = false;
        let mut rest = body;
        while let Some((before, after)) = rest.split_once('%') {
            regex.push_str(before);
            let Some((e, n)) = expression(after, year) else {
                let name: String = after.chars().take(1).collect();
                return Err(bad(format!("there is no field %{name}")));
            };
            alpha |= after.starts_with(['a', 'A', 'b', 'B', 'p', 'c']);
            regex.push_str(&e);
            rest = after.get(n..).unwrap_or("");
        }
        regex.push_str(rest);
        if alpha {
            regex.insert_str(0, "(?iu)");
        }
        let mut t = Template::build(source, &regex, bound, bound != Bound::None).map_err(bad)?;
        t.reading = Reading::Fields;
        t.source = Some(source.to_owned());
        Ok(t)
    }

    /// Seconds since 1970. With `pattern`, `{EPOCH}` in it stands for the number.
    pub(crate) fn epoch(
        name: &str,
        line_begin: bool,
        pattern: Option<&str>,
        long: bool,
    ) -> Result<Template, BadDate> {
        let bad = |why: String| BadDate {
            pattern: name.to_owned(),
            why,
        };
        let number = if long {
            r"\d{10,11}(?:\d{3}(?:\.\d{1,6}|\d{3})?)?"
        } else {
            r"\d{10,11}\b(?:\.\d{3,6})?"
        };
        let (regex, bound, group) = if let Some(p) = pattern {
            let tag = if long { "{LEPOCH}" } else { "{EPOCH}" };
            (
                format!("({})", p.replace(tag, &format!("({number})"))),
                Bound::Word,
                2,
            )
        } else if line_begin {
            (format!("({number})"), Bound::Line, 1)
        } else {
            // in front of the line, in brackets there, or in the records of auditd
            (
                format!(r"((?:^|(?<=^\[)|(?<=\baudit\()){number})"),
                Bound::None,
                1,
            )
        };
        let mut t = Template::build(name, &regex, bound, true).map_err(bad)?;
        t.reading = Reading::Epoch { group, long };
        Ok(t)
    }

    /// `@4000...`: TAI64N labels.
    pub(crate) fn tai(line_begin: bool) -> Result<Template, BadDate> {
        let bound = if line_begin { Bound::Line } else { Bound::None };
        let bad = |why| BadDate {
            pattern: "TAI64N".to_owned(),
            why,
        };
        let regex = "@[0-9a-f]{24}";
        let mut t = Template::build("TAI64N", regex, bound, true).map_err(bad)?;
        t.reading = Reading::Tai;
        Ok(t)
    }

    fn build(name: &str, regex: &str, begin: Bound, end: bool) -> Result<Template, String> {
        let (flags, mut regex) = take_flags(regex.trim());
        let bind_begin = begin != Bound::None && !own_begin(&regex);
        let bind_end = end && !own_end(&regex);
        if !has_group(&regex) {
            let head = if regex.starts_with('^') { 1 } else { 0 };
            let tail = if regex.ends_with('$') && regex.len() > head {
                1
            } else {
                0
            };
            let end = regex.len() - tail;
            regex = format!("{}({}){}", &regex[..head], &regex[head..end], &regex[end..]);
        }
        let mut name = name.to_owned();
        let mut line_begin = false;
        if bind_begin {
            if begin == Bound::Line {
                line_begin = true;
                regex.insert_str(0, r"^(?:\W{0,2})?");
                if !name.starts_with("{^LN-BEG}") {
                    name.insert_str(0, "{^LN-BEG}");
                }
            } else {
                regex.insert_str(0, r"(?=^|\b|\W)");
            }
        }
        if bind_end {
            regex.push_str(r"(?=\b|\W|$)");
        }
        let opens = |p: &str| regex.strip_prefix(p).is_some_and(|r| !r.starts_with('|'));
        line_begin |= regex.starts_with('^') || opens("(^") || opens("(?:^");
        let line_end = ["$", "$)"].iter().any(|s| {
            regex
                .strip_suffix(s)
                .is_some_and(|h| !h.ends_with('\\') && !h.ends_with('|'))
        });
        let regex = format!("{flags}{}", without_stars(&regex));
        Ok(Template {
            name,
            source: None,
            tied: line_begin || line_end,
            line_begin,
            weight: 1.0,
            regex,
            compiled: OnceLock::new(),
            reading: Reading::Tai,
        })
    }

    /// Compiles now what is otherwise compiled when first used.
    ///
    /// # Errors
    /// The expression is refused.
    pub(crate) fn check(&self) -> Result<(), BadDate> {
        match Pattern::new(&self.regex, false) {
            Ok(_) => Ok(()),
            Err(e) => Err(BadDate {
                pattern: self.name.clone(),
                why: e.to_string(),
            }),
        }
    }

    fn compiled(&self) -> Option<&Compiled> {
        self.compiled
            .get_or_init(|| {
                let p = Pattern::new(&self.regex, false).ok()?;
                let names = p.names().iter().enumerate();
                let fields = names
                    .filter_map(|(i, n)| Some((i, Field::by_name(n.as_deref()?)?)))
                    .collect();
                Some((p, fields))
            })
            .as_ref()
    }

    /// Looks for the date at or after octet `from`.
    pub(crate) fn search(&self, text: &str, from: usize, m: &mut Machine) -> bool {
        self.compiled()
            .is_some_and(|(p, _)| p.search_at(text, from, m) == Outcome::Match)
    }

    /// The time that the last match of [`Template::search`] in `text` stands for.
    ///
    /// `now` is the present second: a date without a year lies in the past year rather than in
    /// the future, a time without a date is yesterday's rather than in the future.
    pub(crate) fn read(
        &self,
        text: &str,
        m: &Machine,
        now: i64,
        default_offset: Option<i32>,
        zone: &mut Zone,
    ) -> Option<f64> {
        match &self.reading {
            Reading::Epoch { group, long } => {
                let v = m.text(*group, text)?;
                let n: f64 = v.parse().ok()?;
                Some(if *long && v.len() >= 16 && !v.contains('.') {
                    n / 1e6
                } else if *long && v.len() >= 13 {
                    n / 1e3
                } else {
                    n
                })
            }
            Reading::Tai => {
                let seconds = m.text(1, text)?.get(2..17)?;
                Some(i64::from_str_radix(seconds, 16).ok()? as f64)
            }
            Reading::Fields => {
                let (_, fields) = self.compiled()?;
                read_fields(fields, text, m, now, default_offset, zone).map(|s| s as f64)
            }
        }
    }
}

#[derive(Default)]
struct Given {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    weekday: Option<i64>,
    year_day: Option<i64>,
    week: Option<(i64, bool)>,
    offset: Option<i32>,
    hour: i64,
    minute: i64,
    second: i64,
    hour12: Option<i64>,
    pm: Option<bool>,
}

fn gather(fields: &[(usize, Field)], text: &str, m: &Machine) -> Option<Given> {
    let mut g = Given::default();
    for &(group, field) in fields {
        let Some(v) = m.text(group, text) else {
            continue;
        };
        let number = || v.trim_start().parse::<i64>().ok();
        match field {
            Field::Year => g.year = Some(number()?),
            Field::ShortYear => g.year = Some(number()? + 2000),
            Field::Month => g.month = Some(number()?),
            Field::MonthName => g.month = Some(month(v)?),
            Field::Day => g.day = Some(number()?),
            Field::Hour => g.hour = number()?,
            Field::Hour12 => g.hour12 = Some(number()?),
            Field::AmPm => g.pm = Some(v.eq_ignore_ascii_case("pm")),
            Field::Minute => g.minute = number()?,
            Field::Second => g.second = number()?,
            Field::Weekday => g.weekday = Some(weekday(v)?),
            Field::WeekdayNumber => g.weekday = Some((number()? + 6) % 7),
            Field::YearDay => g.year_day = Some(number()?),
            Field::WeekSunday => g.week = Some((number()?, false)),
            Field::WeekMonday => g.week = Some((number()?, true)),
            Field::Zone => g.offset = Some(offset_minutes(v)?),
        }
    }
    if let Some(h) = g.hour12 {
        g.hour = match (h, g.pm.unwrap_or(false)) {
            (12, false) => 0,
            (12, true) => 12,
            (h, pm) => h + if pm { 12 } else { 0 },
        };
    }
    Some(g)
}

const DAY: i64 = 86_400;

fn read_fields(
    fields: &[(usize, Field)],
    text: &str,
    m: &Machine,
    now: i64,
    default_offset: Option<i32>,
    zone: &mut Zone,
) -> Option<i64> {
    let mut g = gather(fields, text, m)?;
    let assume_year = g.year.is_none();
    let no_day = g.month.is_none() && g.day.is_none();
    let today = if assume_year || no_day {
        Some(zone.civil(now)?)
    } else {
        None
    };
    let year = g.year.or(today.map(|t| t.year))?;
    if g.month.is_none() || g.day.is_none() {
        if let (None, Some((week, monday)), Some(weekday)) = (g.year_day, g.week, g.weekday) {
            g.year_day = day_of_week(year, week, weekday, monday);
        }
        if let Some(n) = g.year_day {
            let first = Civil {
                year,
                month: 1,
                day: 1,
                hour: 0,
                minute: 0,
                second: 0,
            }
            .as_utc()?;
            let utc = Zone::posix("UTC0")?;
            let c = utc.civil(first + (n - 1) * DAY)?;
            (g.month, g.day) = (Some(c.month), Some(c.day));
        }
    }
    let assume_today = g.month.is_none() && g.day.is_none();
    if assume_today {
        let t = today?;
        (g.month, g.day) = (Some(t.month), Some(t.day));
    }
    let civil = Civil {
        year,
        month: g.month?,
        day: g.day?,
        hour: g.hour,
        minute: g.minute,
        second: g.second,
    };
    let offset = g.offset.or(default_offset);
    let mut at = |c: &Civil| match offset {
        Some(minutes) => c.as_utc().map(|s| s - i64::from(minutes) * 60),
        None => zone.seconds(c),
    };
    let mut seconds = match at(&civil) {
        Some(s) => s,
        // 29 February without a year, read in a year that has none: the last one that had
        None if assume_year => {
            return at(&Civil {
                year: year - 1,
                ..civil
            })
            .filter(|s| *s <= now);
        }
        None => return None,
    };
    if assume_today && seconds > now {
        seconds -= DAY;
    }
    if assume_year && seconds > now + DAY {
        seconds = at(&Civil {
            year: year - 1,
            ..civil
        })?;
    }
    Some(seconds)
}

/// Day of the year (from 1) of a weekday (Monday 0) in a numbered week.
fn day_of_week(year: i64, week: i64, weekday: i64, monday: bool) -> Option<i64> {
    let first = Civil {
        year,
        month: 1,
        day: 1,
        hour: 0,
        minute: 0,
        second: 0,
    }
    .as_utc()?;
    // 1 January 1970 was a Thursday
    let mut first_weekday = (first.div_euclid(DAY) + 3).rem_euclid(7);
    let mut weekday = weekday;
    if !monday {
        first_weekday = (first_weekday + 1) % 7;
        weekday = (weekday + 1) % 7;
    }
    let week_zero = (7 - first_weekday) % 7;
    Some(if week == 0 {
        1 + weekday - first_weekday
    } else {
        1 + week_zero + 7 * (week - 1) + weekday
    })
}
