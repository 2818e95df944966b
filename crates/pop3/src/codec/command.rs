//! One command line to one command.

use crate::types::{Password, UserName};

/// A command with its arguments checked. Whether it may be used now is the session's business.
///
/// ```text
/// command = keyword *( SP argument )      ; RFC 1939, 3: keyword of 3 or 4 letters, any case
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `CAPA` (RFC 2449, 5).
    Capa,
    /// `STLS` (RFC 2595, 4).
    Stls,
    /// `USER name`: everything behind the first space is the name.
    User(UserName),
    /// `PASS string`: everything behind the first space is the password, spaces included
    /// (RFC 1939, 7).
    Pass(Password),
    /// `STAT`.
    Stat,
    /// `LIST [msg]`.
    List(Option<MessageNumber>),
    /// `UIDL [msg]`.
    Uidl(Option<MessageNumber>),
    /// `RETR msg`.
    Retr(MessageNumber),
    /// `TOP msg n`: the header and `n` lines of the body.
    Top(MessageNumber, u64),
    /// `DELE msg`.
    Dele(MessageNumber),
    /// `RSET`.
    Rset,
    /// `NOOP`.
    Noop,
    /// `QUIT`.
    Quit,
}

/// A message number: 1 or more. That a message has it is checked by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageNumber(std::num::NonZeroU32);

impl MessageNumber {
    /// The number, from 1.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The place in the list, from 0.
    #[must_use]
    pub fn index(self) -> u32 {
        self.0.get() - 1
    }
}

/// Why a line is not a command. Neither variant carries the line: it is never echoed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandError {
    /// No such keyword.
    Unknown,
    /// The keyword is known, its arguments are missing, too many or malformed.
    Arguments,
}

impl Command {
    /// Reads one line as it comes from the line reader: no line end, no control octets.
    ///
    /// # Errors
    /// [`CommandError`] says whether the keyword or the arguments were wrong.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        use CommandError::{Arguments, Unknown};

        let (keyword, argument) = match memchr::memchr(b' ', line) {
            Some(at) => {
                let (keyword, rest) = line.split_at(at);
                (keyword, rest.get(1..))
            }
            None => (line, None),
        };
        let mut upper = [0u8; 4];
        let Some(upper) = upper.get_mut(..keyword.len()) else {
            return Err(Unknown);
        };
        upper.copy_from_slice(keyword);
        upper.make_ascii_uppercase();
        match &*upper {
            // The arguments of these two are taken as they are.
            b"USER" => argument
                .and_then(UserName::new)
                .map(Self::User)
                .ok_or(Arguments),
            b"PASS" => argument
                .and_then(Password::new)
                .map(Self::Pass)
                .ok_or(Arguments),
            b"CAPA" => none(argument, Self::Capa),
            b"STLS" => none(argument, Self::Stls),
            b"STAT" => none(argument, Self::Stat),
            b"RSET" => none(argument, Self::Rset),
            b"NOOP" => none(argument, Self::Noop),
            b"QUIT" => none(argument, Self::Quit),
            b"LIST" => optional(argument).map(Self::List),
            b"UIDL" => optional(argument).map(Self::Uidl),
            b"RETR" => one(argument).map(Self::Retr),
            b"DELE" => one(argument).map(Self::Dele),
            b"TOP" => {
                let mut words = words(argument);
                let (Some(number), Some(lines), None) = (words.next(), words.next(), words.next())
                else {
                    return Err(Arguments);
                };
                Ok(Self::Top(
                    message_number(number)?,
                    decimal(lines).ok_or(Arguments)?,
                ))
            }
            _ => Err(Unknown),
        }
    }

    /// The line that means this command, with its CRLF; for clients and tests.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = match self {
            Self::User(name) => format!("USER {}", name.as_str()),
            Self::Pass(password) => {
                let mut line = b"PASS ".to_vec();
                line.extend_from_slice(password.expose());
                line.extend_from_slice(b"\r\n");
                return line;
            }
            Self::Capa => "CAPA".into(),
            Self::Stls => "STLS".into(),
            Self::Stat => "STAT".into(),
            Self::Rset => "RSET".into(),
            Self::Noop => "NOOP".into(),
            Self::Quit => "QUIT".into(),
            Self::List(None) => "LIST".into(),
            Self::Uidl(None) => "UIDL".into(),
            Self::List(Some(number)) => format!("LIST {}", number.get()),
            Self::Uidl(Some(number)) => format!("UIDL {}", number.get()),
            Self::Retr(number) => format!("RETR {}", number.get()),
            Self::Dele(number) => format!("DELE {}", number.get()),
            Self::Top(number, lines) => format!("TOP {} {lines}", number.get()),
        };
        let mut line = text.into_bytes();
        line.extend_from_slice(b"\r\n");
        line
    }
}

/// Words of an argument string. Several spaces, and spaces at the end, are let through: old
/// clients send them.
fn words(argument: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    argument
        .unwrap_or_default()
        .split(|&b| b == b' ')
        .filter(|word| !word.is_empty())
}

fn none(argument: Option<&[u8]>, command: Command) -> Result<Command, CommandError> {
    if words(argument).next().is_some() {
        Err(CommandError::Arguments)
    } else {
        Ok(command)
    }
}

fn optional(argument: Option<&[u8]>) -> Result<Option<MessageNumber>, CommandError> {
    let mut words = words(argument);
    let number = words.next().map(message_number).transpose()?;
    if words.next().is_some() {
        Err(CommandError::Arguments)
    } else {
        Ok(number)
    }
}

fn one(argument: Option<&[u8]>) -> Result<MessageNumber, CommandError> {
    optional(argument)?.ok_or(CommandError::Arguments)
}

fn message_number(word: &[u8]) -> Result<MessageNumber, CommandError> {
    // A number too big for 32 bits is a well-formed number of no message.
    let value = decimal(word)
        .ok_or(CommandError::Arguments)?
        .min(u64::from(u32::MAX));
    u32::try_from(value)
        .ok()
        .and_then(std::num::NonZeroU32::new)
        .map(MessageNumber)
        .ok_or(CommandError::Arguments)
}

/// 1 to 20 digits; values past 2^64 count as 2^64-1.
fn decimal(word: &[u8]) -> Option<u64> {
    if !(1..=20).contains(&word.len()) || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(n: u32) -> MessageNumber {
        MessageNumber(std::num::NonZeroU32::new(n).unwrap())
    }

    #[test]
    fn table() {
        use CommandError::{Arguments, Unknown};
        let name = |text: &str| UserName::new(text.as_bytes()).unwrap();
        let pass = |text: &[u8]| Password::new(text).unwrap();
        let rows: Vec<(&[u8], Result<Command, CommandError>)> = vec![
            (b"STAT", Ok(Command::Stat)),
            (b"stat", Ok(Command::Stat)),
            (b"sTaT  ", Ok(Command::Stat)),
            (b"STAT 1", Err(Arguments)),
            (b"USER anna", Ok(Command::User(name("anna")))),
            (b"USER anna b", Ok(Command::User(name("anna b")))),
            (b"USER", Err(Arguments)),
            (b"USER ", Err(Arguments)),
            (b"USER \xff", Err(Arguments)),
            (
                b"PASS  two  spaces ",
                Ok(Command::Pass(pass(b" two  spaces "))),
            ),
            (b"PASS \xff\xfe", Ok(Command::Pass(pass(b"\xff\xfe")))),
            (b"PASS", Err(Arguments)),
            (b"LIST", Ok(Command::List(None))),
            (b"LIST ", Ok(Command::List(None))),
            (b"LIST 1", Ok(Command::List(Some(number(1))))),
            (b"LIST 0", Err(Arguments)),
            (b"LIST -1", Err(Arguments)),
            (b"LIST +1", Err(Arguments)),
            (b"LIST 1 2", Err(Arguments)),
            (b"LIST 01", Ok(Command::List(Some(number(1))))),
            (b"UIDL 7", Ok(Command::Uidl(Some(number(7))))),
            (
                b"RETR 99999999999999999999",
                Ok(Command::Retr(number(u32::MAX))),
            ),
            (b"RETR 999999999999999999999", Err(Arguments)),
            (b"RETR", Err(Arguments)),
            (b"RETR 1x", Err(Arguments)),
            (b"DELE 3", Ok(Command::Dele(number(3)))),
            (b"TOP 1 0", Ok(Command::Top(number(1), 0))),
            (b"TOP 1  10 ", Ok(Command::Top(number(1), 10))),
            (b"TOP 1", Err(Arguments)),
            (b"TOP 1 2 3", Err(Arguments)),
            (b"TOP 1 -1", Err(Arguments)),
            (b"", Err(Unknown)),
            (b" STAT", Err(Unknown)),
            (b"STATUS", Err(Unknown)),
            (b"STA", Err(Unknown)),
            (b"XYZZ", Err(Unknown)),
            (b"APOP a b", Err(Unknown)),
        ];
        for (line, expected) in rows {
            assert_eq!(
                Command::parse(line),
                expected,
                "{:?}",
                String::from_utf8_lossy(line)
            );
        }
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let num = || (1u32..).prop_map(number);
        prop_oneof![
            Just(Command::Capa),
            Just(Command::Stls),
            Just(Command::Stat),
            Just(Command::Rset),
            Just(Command::Noop),
            Just(Command::Quit),
            "[ -~]{1,100}".prop_map(|s| Command::User(UserName::new(s.as_bytes()).unwrap())),
            "[ -~]{1,100}".prop_map(|s| Command::Pass(Password::new(s.as_bytes()).unwrap())),
            proptest::option::of(num()).prop_map(Command::List),
            proptest::option::of(num()).prop_map(Command::Uidl),
            num().prop_map(Command::Retr),
            num().prop_map(Command::Dele),
            (num(), any::<u64>()).prop_map(|(n, lines)| Command::Top(n, lines)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn decode_of_encode(command in any_command()) {
            let line = command.encode();
            prop_assert_eq!(Command::parse(&line[..line.len() - 2]), Ok(command));
        }

        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..260)) {
            if let Ok(command) = Command::parse(&line) {
                let again = command.encode();
                prop_assert_eq!(Command::parse(&again[..again.len() - 2]), Ok(command));
            }
        }
    }
}
