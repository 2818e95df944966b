//! Typed reading of a table: each setting is asked for by name and kind; what was not asked
//! for is unknown. Nothing stops at the first mistake: a setting that is wrong is reported and
//! read as its default.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::problem::Problem;
use crate::types::{Size, parse_duration, show_duration};
use crate::value::{Kind, Position, Table, Value, shown};

/// Reads one table. Call [`Reader::finish`] at the end.
pub struct Reader<'a> {
    /// Dotted name of the table with a dot at its end; empty for the top.
    prefix: String,
    table: &'a Table,
    at: Position,
    asked: RefCell<Vec<&'a str>>,
    problems: &'a RefCell<Vec<Problem>>,
}

impl<'a> Reader<'a> {
    /// Starts with a table: `name` is its dotted name (empty for the file's top), `at` where it
    /// stands, `problems` collects.
    pub fn new(
        name: &str,
        table: &'a Table,
        at: Position,
        problems: &'a RefCell<Vec<Problem>>,
    ) -> Self {
        let prefix = if name.is_empty() {
            String::new()
        } else {
            format!("{name}.")
        };
        Self {
            prefix,
            table,
            at,
            asked: RefCell::default(),
            problems,
        }
    }

    /// Whether the file sets a key.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// Where a key's value stands, or the table when it isn't set.
    pub fn place(&self, key: &str) -> Position {
        self.table.get(key).map_or(self.at, |value| value.at)
    }

    /// Reports a problem at a place.
    pub fn problem(&self, at: Position, text: impl Into<String>) {
        self.problems.borrow_mut().push(Problem {
            at: Some(at),
            text: text.into(),
        });
    }

    /// Reports a problem with a key's value.
    pub fn wrong(&self, key: &str, text: impl std::fmt::Display) {
        self.problem(self.place(key), format!("{}{key}: {text}", self.prefix));
    }

    /// Reports that a key has to be there.
    pub fn missing(&self, key: &str, expected: &str) {
        self.problems.borrow_mut().push(Problem {
            at: None,
            text: format!("{}{key} is missing, expected {expected}", self.prefix),
        });
    }

    fn ask(&self, key: &'a str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    fn unexpected(&self, key: &str, value: &Value, expected: &str) {
        let found = value.kind.describe();
        self.problem(
            value.at,
            format!("{}{key}: found {found}, expected {expected}", self.prefix),
        );
    }

    /// Reads a value by a function of one's own; `expected` describes what that takes.
    /// `None`: not set, or wrong and reported.
    pub fn value<T>(
        &self,
        key: &'a str,
        expected: &str,
        read: impl FnOnce(&'a Kind) -> Option<T>,
    ) -> Option<T> {
        let value = self.ask(key)?;
        let result = read(&value.kind);
        if result.is_none() {
            self.unexpected(key, value, expected);
        }
        result
    }

    /// A text that `read` makes something of.
    pub fn text<T>(
        &self,
        key: &'a str,
        expected: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Option<T> {
        self.value(key, expected, |kind| match kind {
            Kind::Text(text) => read(text),
            _ => None,
        })
    }

    /// A whole number within a range.
    pub fn number(&self, key: &'a str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.value(key, &expected, |kind| match kind {
            Kind::Number(number) => u32::try_from(*number).ok().filter(|n| range.contains(n)),
            _ => None,
        })
        .unwrap_or(default)
    }

    /// A size within a range: a number of octets, or text like `"50M"`.
    pub fn size(&self, key: &'a str, range: RangeInclusive<Size>, default: Size) -> Size {
        let expected = format!("a size from \"{}\" to \"{}\"", range.start(), range.end());
        self.value(key, &expected, |kind| {
            match kind {
                Kind::Number(number) => u64::try_from(*number).ok().map(Size),
                Kind::Text(text) => Size::parse(text),
                _ => None,
            }
            .filter(|size| range.contains(size))
        })
        .unwrap_or(default)
    }

    /// A duration within a range, text like `"5m"`.
    pub fn duration(
        &self,
        key: &'a str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let expected = duration_expected(&range);
        self.text(key, &expected, |text| {
            parse_duration(text).filter(|d| range.contains(d))
        })
        .unwrap_or(default)
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &'a str, default: bool) -> bool {
        self.value(key, "true or false", |kind| match kind {
            Kind::Flag(flag) => Some(*flag),
            _ => None,
        })
        .unwrap_or(default)
    }

    /// One of several words.
    pub fn choice<T: Copy>(&self, key: &'a str, words: &[(&str, T)], default: T) -> T {
        let list: Vec<String> = words.iter().map(|(word, _)| shown(word)).collect();
        let expected = format!("one of {}", list.join(", "));
        self.text(key, &expected, |text| {
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|&(_, meaning)| meaning)
        })
        .unwrap_or(default)
    }

    /// A list of texts; each element that `read` refuses is reported with its own place.
    /// `None`: not set. Elements keep their places for checks that come later.
    pub fn texts<T>(
        &self,
        key: &'a str,
        expected: &str,
        mut read: impl FnMut(&'a str) -> Option<T>,
    ) -> Option<Vec<(Position, T)>> {
        let value = self.ask(key)?;
        let Kind::List(list) = &value.kind else {
            self.unexpected(key, value, &format!("a list, each element {expected}"));
            return None;
        };
        let mut out = Vec::with_capacity(list.len());
        for item in list {
            let result = match &item.kind {
                Kind::Text(text) => read(text),
                _ => None,
            };
            match result {
                Some(result) => out.push((item.at, result)),
                None => self.unexpected(key, item, expected),
            }
        }
        Some(out)
    }

    /// A table inside this one; an empty one when it isn't there.
    pub fn table(&self, key: &'a str) -> Reader<'a> {
        static EMPTY: Table = Table {
            entries: Vec::new(),
        };
        let name = format!("{}{key}", self.prefix);
        match self.ask(key) {
            None => Reader::new(&name, &EMPTY, self.at, self.problems),
            Some(Value {
                at,
                kind: Kind::Table(table),
            }) => Reader::new(&name, table, *at, self.problems),
            Some(value) => {
                self.unexpected(key, value, &format!("a table: [{name}]"));
                Reader::new(&name, &EMPTY, self.at, self.problems)
            }
        }
    }

    /// A list of tables, written `[[name]]`; a single `[name]` counts as a list of one.
    pub fn tables(&self, key: &'a str) -> Vec<Reader<'a>> {
        let name = format!("{}{key}", self.prefix);
        let one = |value: &'a Value| match &value.kind {
            Kind::Table(table) => Some(Reader::new(&name, table, value.at, self.problems)),
            _ => {
                self.unexpected(key, value, &format!("tables: [[{name}]]"));
                None
            }
        };
        match self.ask(key) {
            None => Vec::new(),
            Some(Value {
                kind: Kind::List(list),
                ..
            }) => list.iter().filter_map(one).collect(),
            Some(value) => one(value).into_iter().collect(),
        }
    }

    /// Reports every key that nobody asked for, with the nearest known one. Returns the full
    /// names of the known keys.
    pub fn finish(self) -> Vec<String> {
        let asked = self.asked.borrow();
        for entry in &self.table.entries {
            if asked.contains(&entry.key.as_str()) {
                continue;
            }
            let mut text = format!("unknown setting {}{}", self.prefix, entry.key);
            let nearest = asked
                .iter()
                .map(|known| (distance(&entry.key, known), *known))
                .min();
            match nearest {
                Some((far, known)) if far <= 1 + known.len() / 4 => {
                    text.push_str(&format!(", did you mean {known}?"));
                }
                _ => {
                    let mut known: Vec<&str> = asked.clone();
                    known.sort_unstable();
                    text.push_str(&format!(", expected one of: {}", known.join(", ")));
                }
            }
            self.problem(entry.at, text);
        }
        asked
            .iter()
            .map(|key| format!("{}{key}", self.prefix))
            .collect()
    }
}

/// The expectation text for a duration within a range.
pub(crate) fn duration_expected(range: &RangeInclusive<Duration>) -> String {
    format!(
        "a time from \"{}\" to \"{}\"",
        show_duration(*range.start()),
        show_duration(*range.end())
    )
}

/// How many letters have to be changed, added, left out or swapped with their neighbour.
/// Keys of more than 64 characters are far from everything.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(65).collect(), b.chars().collect());
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && b[j - 1] == *x {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, far) in [
            ("", "", 0),
            ("hostname", "hostnme", 1),
            ("domian", "domain", 1),
            ("abc", "", 3),
            ("tls", "log", 3),
        ] {
            assert_eq!(distance(a, b), far, "{a} {b}");
        }
    }
}
