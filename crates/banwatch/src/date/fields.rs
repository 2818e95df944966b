//! `%`-fields of date patterns: how each is written and what it means.

/// What a named group of a date pattern holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    Hour,
    Hour12,
    AmPm,
    Minute,
    Second,
    Weekday,
    WeekdayNumber,
    YearDay,
    WeekSunday,
    WeekMonday,
    Zone,
}

impl Field {
    /// The field a group of this name holds.
    pub(crate) fn by_name(name: &str) -> Option<Field> {
        Some(match name {
            "Y" => Field::Year,
            "y" => Field::ShortYear,
            "m" => Field::Month,
            "b" | "B" => Field::MonthName,
            "d" => Field::Day,
            "H" => Field::Hour,
            "I" => Field::Hour12,
            "p" => Field::AmPm,
            "M" => Field::Minute,
            "S" => Field::Second,
            "a" | "A" => Field::Weekday,
            "w" => Field::WeekdayNumber,
            "j" => Field::YearDay,
            "U" => Field::WeekSunday,
            "W" => Field::WeekMonday,
            "z" | "Z" => Field::Zone,
            _ => return None,
        })
    }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

fn named(names: &[&str], text: &str) -> Option<i64> {
    let short = text.len() == 3;
    names
        .iter()
        .position(|n| {
            n.eq_ignore_ascii_case(text)
                || (short && n.get(..3).is_some_and(|s| s.eq_ignore_ascii_case(text)))
        })
        .map(|i| i as i64)
}

/// Number of a month (1 to 12) by its English name, full or of three letters.
pub(crate) fn month(text: &str) -> Option<i64> {
    named(&MONTHS, text).map(|m| m + 1)
}

/// Number of a weekday (Monday 0) by its English name.
pub(crate) fn weekday(text: &str) -> Option<i64> {
    named(&DAYS, text)
}

fn name_group(group: &str, names: &[&str], short: bool) -> String {
    let mut list: Vec<&str> = names
        .iter()
        .map(|n| if short { n.get(..3).unwrap_or(n) } else { n })
        .collect();
    list.sort_by_key(|n| std::cmp::Reverse(n.len()));
    format!("(?P<{group}>{})", list.join("|"))
}

/// The expression for the field at the start of `text` (behind the `%`), and how long its name is.
/// `year` is the present one: `%ExY` takes years from 2000 to the end of the decade that three
/// years from now lie in, so that other numbers are not taken for years.
pub(crate) fn expression(text: &str, year: i64) -> Option<(String, usize)> {
    const ZONE: &str = "[A-Z](?:[A-Z]{2,4})?";
    const OFFSET: &str = r"[+-][01]\d(?::?\d{2})?";
    if let Some(ext) = text.strip_prefix("Ex") {
        let e = match ext.chars().next()? {
            'Y' => {
                let last = ((year + 3).clamp(2000, 2099) - 2000) / 10;
                format!(r"(?P<Y>20[0-{last}]\d)")
            }
            'y' => r"(?P<y>\d{2})".to_owned(),
            'm' => "(?P<m>0[1-9]|1[0-2])".to_owned(),
            'd' => r"(?P<d>[12]\d|0[1-9]|3[01])".to_owned(),
            'H' => r"(?P<H>[01]\d|2[0-3])".to_owned(),
            'k' => r" ?(?P<H>[01]?\d|2[0-3])".to_owned(),
            'l' => r" ?(?P<I>1[0-2]|\d)".to_owned(),
            'M' => r"(?P<M>[0-5]\d)".to_owned(),
            'S' => r"(?P<S>[0-5]\d|6[01])".to_owned(),
            'Z' => format!("(?P<Z>{ZONE})"),
            'z' => format!("(?P<z>(?:{ZONE})?{OFFSET}|{ZONE})"),
            _ => return None,
        };
        return Some((e, 3));
    }
    let join = |pattern: &str| -> Option<String> {
        let mut out = String::new();
        for part in pattern.split_inclusive(|c: char| !c.is_alphabetic() && c != '%') {
            match part.strip_prefix('%') {
                Some(p) => {
                    let (e, n) = expression(p, year)?;
                    out.push_str(&e);
                    out.push_str(&p.get(n..)?.replace(' ', r"\s+"));
                }
                None => out.push_str(part),
            }
        }
        Some(out)
    };
    let e = match text.chars().next()? {
        '%' => "%".to_owned(),
        'a' => name_group("a", &DAYS, true),
        'A' => name_group("A", &DAYS, false),
        'b' => name_group("b", &MONTHS, true),
        'B' => name_group("B", &MONTHS, false),
        'd' => r"(?P<d>[12]\d|[0 ]?[1-9]|3[01])".to_owned(),
        'f' => "(?P<f>[0-9]{1,6})".to_owned(),
        'H' => r"(?P<H>[01]?\d|2[0-3])".to_owned(),
        'k' => r" ?(?P<H>[0-2]?\d)".to_owned(),
        'I' => "(?P<I>1[0-2]|0[1-9]|[1-9])".to_owned(),
        'l' => r" ?(?P<I>1?\d)".to_owned(),
        'j' => r"(?P<j>36[0-6]|3[0-5]\d|[12]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9])".to_owned(),
        'm' => "(?P<m>0?[1-9]|1[0-2])".to_owned(),
        'M' => r"(?P<M>[0-5]?\d)".to_owned(),
        'p' => "(?P<p>am|pm)".to_owned(),
        'S' => r"(?P<S>[0-5]?\d|6[01])".to_owned(),
        'U' => r"(?P<U>5[0-3]|[0-4]\d|\d)".to_owned(),
        'W' => r"(?P<W>5[0-3]|[0-4]\d|\d)".to_owned(),
        'w' => "(?P<w>[0-6])".to_owned(),
        'y' => r"(?P<y>\d\d)".to_owned(),
        'Y' => r"(?P<Y>\d{4})".to_owned(),
        'z' => format!("(?P<z>Z|UTC|GMT|{OFFSET})"),
        'Z' => "(?P<Z>Z|[A-Z]{3,5})".to_owned(),
        'c' => join("%a %b %d %H:%M:%S %Y")?,
        'x' => join("%m/%d/%y")?,
        'X' => join("%H:%M:%S")?,
        _ => return None,
    };
    Some((e, 1))
}
