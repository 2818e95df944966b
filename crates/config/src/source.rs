//! TOML text to the tree of [`crate::value`]: the only file that knows the TOML library.

use toml::de::{DeTable, DeValue};

use crate::problem::Problem;
use crate::value::{Entry, Kind, Position, Table, Value};

/// Reads a document. Syntax errors don't stop it: the tree holds what could be read.
pub(crate) fn parse(text: &str) -> (Table, Vec<Problem>) {
    let places = Places::new(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    let problems = errors
        .iter()
        .map(|error| Problem {
            at: Some(
                error
                    .span()
                    .map_or(Position::START, |span| places.of(span.start)),
            ),
            text: format!("not TOML: {}", error.message().replace('\n', "; ")),
        })
        .collect();
    (table(&places, document.get_ref()), problems)
}

fn table(places: &Places<'_>, table: &DeTable<'_>) -> Table {
    let entries = table
        .iter()
        .map(|(key, found)| Entry {
            key: key.get_ref().to_string(),
            at: places.of(key.span().start),
            value: Value {
                at: places.of(found.span().start),
                kind: kind(places, found.get_ref()),
            },
        })
        .collect();
    Table { entries }
}

fn kind(places: &Places<'_>, found: &DeValue<'_>) -> Kind {
    match found {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map_or(Kind::Foreign("a number beyond 64 bits"), Kind::Number),
        DeValue::Float(_) => Kind::Foreign("a number with a fraction"),
        DeValue::Boolean(flag) => Kind::Flag(*flag),
        DeValue::Datetime(_) => Kind::Foreign("a date or time"),
        DeValue::Array(list) => Kind::List(
            list.iter()
                .map(|item| Value {
                    at: places.of(item.span().start),
                    kind: kind(places, item.get_ref()),
                })
                .collect(),
        ),
        DeValue::Table(inner) => Kind::Table(table(places, inner)),
    }
}

/// Offsets to lines and columns.
struct Places<'a> {
    text: &'a str,
    /// Offset of the first octet of each line.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        let after = text
            .bytes()
            .enumerate()
            .filter(|&(_, b)| b == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            text,
            lines: std::iter::once(0).chain(after).collect(),
        }
    }

    fn of(&self, offset: usize) -> Position {
        let line = self.lines.partition_point(|&start| start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = self
            .text
            .get(start..offset)
            .map_or(0, |head| head.chars().count());
        Position {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters() {
        let (table, problems) = parse("a = 1\n[\"süd\"]\n'ü' = \"x\"\nb = [1,\n  2.5]\n");
        assert_eq!(problems, []);
        let Some(Kind::Table(south)) = table.get("süd").map(|value| &value.kind) else {
            panic!("no table");
        };
        let key = &south.entries[1];
        assert_eq!(
            (key.key.as_str(), key.at, key.value.at.column),
            ("ü", Position { line: 3, column: 1 }, 7)
        );
        let Kind::List(list) = &south.entries[0].value.kind else {
            panic!("no list")
        };
        assert_eq!(list[1].at, Position { line: 5, column: 3 });
        assert_eq!(list[1].kind, Kind::Foreign("a number with a fraction"));
    }

    #[test]
    fn several_syntax_errors_are_found() {
        let (_, problems) = parse("a = = 1\nb = 2\nc = \"x\nd = 3\na = 4\n");
        let lines: Vec<u32> = problems
            .iter()
            .filter_map(|p| p.at)
            .map(|at| at.line)
            .collect();
        assert!(lines.contains(&1) && lines.contains(&3), "{problems:?}");
    }
}
