//! The command line of sendmail, as thirty years of callers write it.
//!
//! Options may be joined (`-ti`), values may follow at once or as the next word (`-f a@b`,
//! `-fa@b`), options and recipients may be mixed, `--` ends the options.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::exit::{Exit, Failure};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `-bm`: read a message and send it.
    Deliver,
    /// `-bs`: speak SMTP on standard input and output.
    Dialogue,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// `-b`.
    pub mode: Mode,
    /// `-t`: recipients stand in the header (too).
    pub from_header: bool,
    /// `-i`, `-oi`: a line with a dot alone is text.
    pub ignore_dots: bool,
    /// `-f`, `-r`: the envelope sender.
    pub sender: Option<String>,
    /// `-F`: the name shown in From, where that is missing.
    pub full_name: Option<String>,
    /// `-C`, `--config`: hikyaku.toml.
    pub config: Option<PathBuf>,
    /// What is no option.
    pub recipients: Vec<String>,
}

/// Options with a value that other programs give and that change nothing here: body type (we are
/// always 8-bit clean), debugging, hop count, log label, delivery notifications, long options,
/// protocol, return, envelope id, log file, precedence.
const IGNORED_WITH_VALUE: &str = "BdhLNOpRVXA";
/// The same without a value: verbose, no aliases, initial submission, gateway, me too.
const IGNORED: &str = "vnUGm";

impl Arguments {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// Exit code 64 for what is not known or not supported.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut arguments = Self {
            mode: Mode::Deliver,
            from_header: false,
            ignore_dots: false,
            sender: None,
            full_name: None,
            config: None,
            recipients: Vec::new(),
        };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let text = text(word)?;
            if text == "--" {
                for word in words.by_ref() {
                    arguments.recipients.push(self::text(word)?);
                }
            } else if text == "--config" {
                arguments.config =
                    Some(words.next().ok_or_else(|| wants_value("--config"))?.into());
            } else if let Some(letters) = text.strip_prefix('-').filter(|l| !l.is_empty()) {
                arguments.options(letters, &mut words)?;
            } else {
                arguments.recipients.push(text);
            }
        }
        Ok(arguments)
    }

    fn options(
        &mut self,
        letters: &str,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), Failure> {
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            match letter {
                't' => self.from_header = true,
                'i' => self.ignore_dots = true,
                'f' | 'r' => {
                    return self
                        .value(letter, rest.as_str(), words)
                        .map(|v| self.sender = Some(v));
                }
                'F' => {
                    return self
                        .value(letter, rest.as_str(), words)
                        .map(|v| self.full_name = Some(v));
                }
                'C' => {
                    return self
                        .value(letter, rest.as_str(), words)
                        .map(|v| self.config = Some(v.into()));
                }
                'b' => {
                    self.mode = match rest.as_str() {
                        "m" => Mode::Deliver,
                        "s" => Mode::Dialogue,
                        "p" => {
                            return Err(not_here(
                                "-bp: the queue is shown by `hikyaku queue list`",
                            ));
                        }
                        "i" => return Err(not_here("-bi: tables need no rebuilding")),
                        other => return Err(not_here(&format!("-b{other}"))),
                    };
                    return Ok(());
                }
                // Old-style settings, all of one word. `-oi` is `-i`; the others set what does
                // not exist here (error mode, delivery mode ...).
                'o' => {
                    self.ignore_dots |= rest.as_str() == "i";
                    return Ok(());
                }
                // `-q`, `-q15m`: the queue runs by itself.
                'q' => return Ok(()),
                letter if IGNORED_WITH_VALUE.contains(letter) => {
                    return self.value(letter, rest.as_str(), words).map(|_| ());
                }
                letter if IGNORED.contains(letter) => {}
                other => {
                    return Err(Failure::new(
                        Exit::Usage,
                        format!("unknown option -{other}"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn value(
        &self,
        letter: char,
        rest: &str,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<String, Failure> {
        if rest.is_empty() {
            text(
                words
                    .next()
                    .ok_or_else(|| wants_value(&format!("-{letter}")))?,
            )
        } else {
            Ok(rest.to_owned())
        }
    }
}

fn text(word: OsString) -> Result<String, Failure> {
    word.into_string()
        .map_err(|_| Failure::new(Exit::Usage, "an argument is not UTF-8"))
}

fn wants_value(option: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{option} needs a value"))
}

fn not_here(what: &str) -> Failure {
    Failure::new(Exit::Usage, format!("not supported: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, Failure> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn as_programs_write_them() {
        let a = parse("-FCronDaemon -i -B8BITMIME -oem -f root al").unwrap();
        assert_eq!(
            (a.full_name.as_deref(), a.sender.as_deref()),
            (Some("CronDaemon"), Some("root"))
        );
        assert!(a.ignore_dots && !a.from_header);
        assert_eq!(a.recipients, ["al"]);
        let a = parse("-oi -t -odb -N failure,delay -R hdrs -V id -O DeliveryMode=b").unwrap();
        assert!(a.ignore_dots && a.from_header && a.recipients.is_empty());
        let a = parse("-ti -fa@b c@d -- -t").unwrap();
        assert_eq!(a.recipients, ["c@d", "-t"]);
        assert_eq!(a.sender.as_deref(), Some("a@b"));
        assert_eq!(parse("-bs").unwrap().mode, Mode::Dialogue);
        assert_eq!(parse("-bm -vn x").unwrap().mode, Mode::Deliver);
        assert_eq!(
            parse("-C /x/h.toml -r a").unwrap().config,
            Some("/x/h.toml".into())
        );
        assert_eq!(parse("- x").unwrap().recipients, ["-", "x"]);
        assert!(!parse("-oem x").unwrap().ignore_dots);
    }

    #[test]
    fn refused() {
        for line in [
            "-f",
            "-bp",
            "-bi",
            "-bd",
            "-bv",
            "-Z",
            "--config",
            "--version",
        ] {
            assert_eq!(parse(line).unwrap_err().exit, Exit::Usage, "{line}");
        }
    }
}
