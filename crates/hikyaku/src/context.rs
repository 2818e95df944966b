//! What every subcommand has: the configuration's place, an output, a way to fail.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use config::{Config, Problems};

/// Why a subcommand ends early.
#[derive(Debug)]
pub enum Failure {
    /// It can't be done as asked: exit code 100.
    Permanent(String),
    /// It may work later: exit code 111.
    Temporary(String),
    /// Whoever read our output has seen enough: no message, exit code 0.
    Unread,
}

impl Failure {
    /// A permanent one.
    pub fn permanent(text: impl Into<String>) -> Self {
        Self::Permanent(text.into())
    }

    /// What was tried, and what the system said.
    pub fn io(what: impl Display, error: &io::Error) -> Self {
        let text = format!("{what}: {error}");
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::NotFound | ErrorKind::NotADirectory => {
                Self::Permanent(text)
            }
            _ => Self::Temporary(text),
        }
    }

    /// Says it on standard error, a line each.
    pub fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Permanent(text) => (text, daemon::EXIT_PERMANENT),
            Self::Temporary(text) => (text, daemon::EXIT_TEMPORARY),
            Self::Unread => return ExitCode::SUCCESS,
        };
        let mut out = io::stderr().lock();
        for line in text.lines() {
            let _ = writeln!(out, "hikyaku: {line}");
        }
        ExitCode::from(code)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Permanent(problems.to_string())
    }
}

/// Only our own output has bare errors; everything else says what was tried.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Temporary(format!("output: {error}")),
        }
    }
}

/// What every subcommand has.
pub struct Context {
    config_file: PathBuf,
    /// Standard output; flushed at the end.
    pub out: BufWriter<Stdout>,
}

impl Context {
    /// The file given, or the environment's, or the one built in.
    pub fn new(config_file: Option<PathBuf>) -> Self {
        let from_environment = || std::env::var_os("HIKYAKU_CONFIG").map(PathBuf::from);
        Self {
            config_file: config_file
                .or_else(from_environment)
                .unwrap_or_else(|| PathBuf::from(config::FILE)),
            out: BufWriter::new(io::stdout()),
        }
    }

    /// Reads the configuration.
    pub fn config(&self) -> Result<Config, Problems> {
        Config::load(&self.config_file)
    }

    /// The same for what concerns banwatch, which does without one.
    pub fn config_for_bans(&self) -> Result<Config, Problems> {
        Config::load_for_bans(&self.config_file)
    }
}

/// Whether a character changes nothing on a terminal but the place where it stands.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON in one line, which a terminal may show too: what [`printable`] escapes is escaped as JSON does it.
pub fn json_line(value: &serde_json::Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_plain(c) {
            true => out.push(c),
            false => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

/// Foreign text for a terminal: control characters and what turns lines around are escaped.
pub fn printable(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut out, c| {
            match is_plain(c) {
                true => out.push(c),
                false => out.extend(c.escape_unicode()),
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_safe() {
        assert_eq!(
            printable("a\x1b[2Jb\u{202e}ü\n"),
            "a\\u{1b}[2Jb\\u{202e}ü\\u{a}"
        );
        let value = serde_json::json!({"a\u{7f}": "\u{1b}\u{202e}ü\n\"" });
        let line = json_line(&value);
        assert_eq!(line, r#"{"a\u007f":"\u001b\u202eü\n\""}"#);
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap(),
            value
        );
    }
}
