//! A configuration file as a tree of values that know where they stand.
//!
//! This is all that the rest of the crate sees of TOML. The tree is kept for tables that
//! another crate checks (`[ban]`), with [`crate::read::Reader`] to read it by the same rules.

use std::fmt;

/// A place in a file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Position {
    /// The first character.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Where its first character stands.
    pub at: Position,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of values.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A string.
    Text(String),
    /// A whole number that fits 64 bits.
    Number(i64),
    /// `true` or `false`.
    Flag(bool),
    /// An array.
    List(Vec<Value>),
    /// A table.
    Table(Table),
    /// A kind that no setting has: a fraction, a date, a number beyond 64 bits. Holds its name
    /// for the error message.
    Foreign(&'static str),
}

impl Kind {
    /// What it is called in error messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Text(text) => format!("the text {}", shown(text)),
            Self::Number(number) => format!("the number {number}"),
            Self::Flag(flag) => format!("{flag}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
            Self::Foreign(name) => (*name).to_owned(),
        }
    }
}

/// Text quoted for an error message: control characters escaped, cut after 60 characters.
pub fn shown(text: &str) -> String {
    let mut out = String::from("\"");
    for (count, c) in text.chars().enumerate() {
        if count == 60 {
            out.push('…');
            break;
        }
        if c.is_control() || c == '"' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

/// A table: entries in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// No key twice.
    pub entries: Vec<Entry>,
}

impl Table {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Position,
    /// Its value.
    pub value: Value,
}
