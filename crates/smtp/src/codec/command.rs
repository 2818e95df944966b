//! Commands of RFC 5321 and the extensions offered, read from one line without its CR LF.

use crate::types::{AddressError, BodyKind, ForwardPath, Hello, ReversePath};

use super::xtext;

/// Most digits of a SIZE value (RFC 1870, 3).
pub const SIZE_DIGITS_MAX: usize = 20;

/// Most parameters of one MAIL or RCPT command.
const PARAMETERS_MAX: usize = 20;

/// A command that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// EHLO or HELO.
    Hello(Hello),
    /// STARTTLS (RFC 3207).
    StartTls,
    /// AUTH (RFC 4954). The response is still in base64.
    Auth {
        /// As the client wrote it; compare without case.
        mechanism: &'a str,
        /// The response that came in the same line; `=` stands for an empty one.
        initial: Option<&'a str>,
    },
    /// MAIL FROM.
    Mail {
        /// The sender.
        from: ReversePath,
        /// What was said behind it.
        params: MailParams,
    },
    /// RCPT TO. Parameters of RCPT (RFC 3461) are not offered yet.
    Rcpt {
        /// The recipient.
        to: ForwardPath,
    },
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP; its argument means nothing.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
}

/// Parameters of MAIL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParams {
    /// `SIZE=n` in octets (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152).
    pub body: BodyKind,
    /// Whether `AUTH=` (RFC 4954, 5) was given. Its value is checked and not used: nobody is
    /// trusted to name another submitter.
    pub auth: bool,
}

/// Why a line is no command that can be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// No such command.
    Unknown,
    /// A command that exists somewhere and is not offered here.
    NotOffered,
    /// NUL, other control characters, or octets above 127 outside of an address.
    BadOctet,
    /// Arguments missing, or given where none belong.
    Arguments,
    /// The argument of EHLO or HELO.
    HelloName,
    /// The address of MAIL.
    Sender(AddressError),
    /// The address of RCPT.
    Recipient(AddressError),
    /// A parameter that was not offered.
    UnknownParameter,
    /// A parameter twice, or with a value that it cannot have.
    BadParameter,
}

impl<'a> Command<'a> {
    /// Reads a line.
    ///
    /// Blanks at the end are allowed (RFC 5321, 4.1.1). QUIRK: blanks between `FROM:` or `TO:`
    /// and the address are taken too, since many scripts write them and nothing else can be
    /// meant.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn parse(line: &'a [u8]) -> Result<Self, CommandError> {
        if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
            return Err(CommandError::BadOctet);
        }
        let line = std::str::from_utf8(line).map_err(|_| CommandError::BadOctet)?;
        let line = line.trim_end_matches([' ', '\t']);
        let (verb, rest) = match line.split_once([' ', '\t']) {
            Some((verb, rest)) => (verb, rest.trim_start_matches([' ', '\t'])),
            None => (line, ""),
        };
        let mut upper = [0; 8];
        let verb = match upper.get_mut(..verb.len()) {
            Some(slot) => {
                slot.copy_from_slice(verb.as_bytes());
                slot.make_ascii_uppercase();
                &*slot
            }
            None => return Err(CommandError::Unknown),
        };
        match verb {
            b"EHLO" | b"HELO" => Hello::parse(rest, verb == b"EHLO")
                .map(Self::Hello)
                .map_err(|_| CommandError::HelloName),
            b"MAIL" => mail(rest),
            b"RCPT" => rcpt(rest),
            b"DATA" => bare(rest, Self::Data),
            b"RSET" => bare(rest, Self::Rset),
            b"QUIT" => bare(rest, Self::Quit),
            b"STARTTLS" => bare(rest, Self::StartTls),
            b"NOOP" => Ok(Self::Noop),
            b"HELP" => Ok(Self::Help),
            b"VRFY" if rest.is_empty() => Err(CommandError::Arguments),
            b"EXPN" if rest.is_empty() => Err(CommandError::Arguments),
            b"VRFY" => Ok(Self::Vrfy),
            b"EXPN" => Ok(Self::Expn),
            b"AUTH" => auth(rest),
            b"TURN" | b"ATRN" | b"ETRN" | b"SEND" | b"SOML" | b"SAML" | b"BDAT" | b"BURL"
            | b"LHLO" => Err(CommandError::NotOffered),
            _ => Err(CommandError::Unknown),
        }
    }
}

fn bare<'a>(rest: &str, command: Command<'a>) -> Result<Command<'a>, CommandError> {
    if rest.is_empty() {
        Ok(command)
    } else {
        Err(CommandError::Arguments)
    }
}

fn auth(rest: &str) -> Result<Command<'_>, CommandError> {
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next().ok_or(CommandError::Arguments)?;
    let initial = words.next();
    if words.next().is_some() {
        return Err(CommandError::Arguments);
    }
    Ok(Command::Auth { mechanism, initial })
}

/// `"MAIL FROM:" Reverse-path [SP Mail-parameters]` (RFC 5321, 4.1.1.2).
fn mail(rest: &str) -> Result<Command<'_>, CommandError> {
    let rest = after_keyword(rest, "FROM:")?;
    let (from, rest) = ReversePath::take(rest).map_err(CommandError::Sender)?;
    let mut params = MailParams::default();
    let (mut size, mut body) = (false, false);
    for parameter in parameters(rest, CommandError::Sender(AddressError::Syntax))? {
        let (name, value) = split(parameter);
        if name.eq_ignore_ascii_case("SIZE") {
            once(&mut size)?;
            params.size = Some(read_size(value)?);
        } else if name.eq_ignore_ascii_case("BODY") {
            once(&mut body)?;
            params.body = match value {
                Some(v) if v.eq_ignore_ascii_case("7BIT") => BodyKind::SevenBit,
                Some(v) if v.eq_ignore_ascii_case("8BITMIME") => BodyKind::EightBitMime,
                _ => return Err(CommandError::BadParameter),
            };
        } else if name.eq_ignore_ascii_case("AUTH") {
            once(&mut params.auth)?;
            let value = value.ok_or(CommandError::BadParameter)?;
            let mut mailbox = Vec::with_capacity(value.len());
            xtext::decode(value.as_bytes(), &mut mailbox)
                .map_err(|_| CommandError::BadParameter)?;
        } else {
            return Err(CommandError::UnknownParameter);
        }
    }
    Ok(Command::Mail { from, params })
}

/// `"RCPT TO:" Forward-path [SP Rcpt-parameters]` (RFC 5321, 4.1.1.3).
fn rcpt(rest: &str) -> Result<Command<'_>, CommandError> {
    let rest = after_keyword(rest, "TO:")?;
    let (to, rest) = ForwardPath::take(rest).map_err(CommandError::Recipient)?;
    match parameters(rest, CommandError::Recipient(AddressError::Syntax))?.next() {
        None => Ok(Command::Rcpt { to }),
        Some(_) => Err(CommandError::UnknownParameter),
    }
}

fn after_keyword<'a>(rest: &'a str, keyword: &str) -> Result<&'a str, CommandError> {
    match rest.split_at_checked(keyword.len()) {
        Some((head, tail)) if head.eq_ignore_ascii_case(keyword) => {
            Ok(tail.trim_start_matches([' ', '\t']))
        }
        _ => Err(CommandError::Arguments),
    }
}

/// What follows the path: nothing, or a blank and words. `joined` is the error for text that
/// sticks to the path.
fn parameters(
    rest: &str,
    joined: CommandError,
) -> Result<impl Iterator<Item = &str>, CommandError> {
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(joined);
    }
    let words = rest.split_ascii_whitespace();
    if words.clone().nth(PARAMETERS_MAX).is_some() {
        return Err(CommandError::BadParameter);
    }
    Ok(words)
}

fn split(parameter: &str) -> (&str, Option<&str>) {
    match parameter.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (parameter, None),
    }
}

fn once(seen: &mut bool) -> Result<(), CommandError> {
    if std::mem::replace(seen, true) {
        Err(CommandError::BadParameter)
    } else {
        Ok(())
    }
}

/// `size-value ::= 1*20DIGIT`. What does not fit 64 bits is above every limit.
fn read_size(value: Option<&str>) -> Result<u64, CommandError> {
    let value = value.ok_or(CommandError::BadParameter)?;
    if value.is_empty()
        || value.len() > SIZE_DIGITS_MAX
        || !value.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(CommandError::BadParameter);
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ok(line: &str) -> Command<'_> {
        Command::parse(line.as_bytes()).unwrap_or_else(|e| panic!("{line}: {e:?}"))
    }

    fn err(line: &str) -> CommandError {
        Command::parse(line.as_bytes()).expect_err(line)
    }

    #[test]
    fn simple_ones() {
        assert_eq!(ok("data"), Command::Data);
        assert_eq!(ok("QuIt  "), Command::Quit);
        assert_eq!(ok("RSET\t"), Command::Rset);
        assert_eq!(ok("NOOP anything"), Command::Noop);
        assert_eq!(ok("HELP MAIL"), Command::Help);
        assert_eq!(ok("VRFY root"), Command::Vrfy);
        assert_eq!(ok("STARTTLS"), Command::StartTls);
        for line in [
            "DATA x",
            "QUIT now",
            "RSET x",
            "STARTTLS x",
            "VRFY",
            "EXPN",
            "AUTH",
            "AUTH a b c",
            "MAIL",
            "MAIL TO:<a@b>",
            "RCPT FROM:<a@b>",
        ] {
            assert_eq!(err(line), CommandError::Arguments, "{line}");
        }
        for line in ["", " ", "FOO", "MAILFROM:<a@b>", "QUITQUITQUIT"] {
            assert_eq!(err(line), CommandError::Unknown, "{line}");
        }
        assert_eq!(err("BDAT 5"), CommandError::NotOffered);
        assert_eq!(err("NOOP \0"), CommandError::BadOctet);
        assert_eq!(Command::parse(b"NOOP \xff"), Err(CommandError::BadOctet));
    }

    #[test]
    fn hello() {
        assert!(
            matches!(ok("EHLO a.example"), Command::Hello(h) if h.is_extended() && h.name() == "a.example")
        );
        assert!(matches!(ok("helo x"), Command::Hello(h) if !h.is_extended()));
        for line in ["EHLO", "HELO ", "EHLO a b", "EHLO (x"] {
            assert_eq!(err(line), CommandError::HelloName, "{line}");
        }
    }

    #[test]
    fn mail_parameters() {
        let params = |line| match ok(line) {
            Command::Mail { params, .. } => params,
            other => panic!("{other:?}"),
        };
        assert_eq!(params("MAIL FROM:<>"), MailParams::default());
        assert_eq!(params("mail from: <a@b> size=10").size, Some(10));
        assert_eq!(
            params("MAIL FROM:<a@b>  SIZE=99999999999999999999").size,
            Some(u64::MAX)
        );
        assert_eq!(
            params("MAIL FROM:<a@b> BODY=8bitmime AUTH=a+40b").body,
            BodyKind::EightBitMime
        );
        for line in [
            "SIZE",
            "SIZE=",
            "SIZE=-1",
            "SIZE=1x",
            "SIZE=1 SIZE=1",
            "SIZE=999999999999999999999",
            "BODY=BINARYMIME",
            "BODY",
            "AUTH",
            "AUTH=+4",
            "BODY=7BIT body=7BIT",
        ] {
            assert_eq!(
                err(&format!("MAIL FROM:<a@b> {line}")),
                CommandError::BadParameter,
                "{line}"
            );
        }
        assert_eq!(
            err("MAIL FROM:<a@b> RET=FULL"),
            CommandError::UnknownParameter
        );
        assert_eq!(
            err("MAIL FROM:<a@b>SIZE=1"),
            CommandError::Sender(AddressError::Syntax)
        );
        assert_eq!(
            err("MAIL FROM:a@b"),
            CommandError::Sender(AddressError::Syntax)
        );
        assert_eq!(
            err("MAIL FROM:<\u{e9}@b>"),
            CommandError::Sender(AddressError::NonAscii)
        );
    }

    #[test]
    fn parameter_limit() {
        let line = |n: usize| format!("MAIL FROM:<a@b>{}", " X=1".repeat(n));
        assert_eq!(
            err(&line(PARAMETERS_MAX - 1)),
            CommandError::UnknownParameter
        );
        assert_eq!(err(&line(PARAMETERS_MAX)), CommandError::UnknownParameter);
        assert_eq!(err(&line(PARAMETERS_MAX + 1)), CommandError::BadParameter);
    }

    #[test]
    fn rcpt_has_none() {
        assert!(matches!(ok("RCPT TO:<a@b>"), Command::Rcpt { to } if to.as_str() == "a@b"));
        assert!(matches!(ok("RCPT TO:<@x:a@b> "), Command::Rcpt { to } if to.as_str() == "a@b"));
        assert_eq!(
            err("RCPT TO:<a@b> NOTIFY=NEVER"),
            CommandError::UnknownParameter
        );
        assert_eq!(
            err("RCPT TO:<>"),
            CommandError::Recipient(AddressError::LocalPart)
        );
        assert_eq!(
            err("RCPT TO:<a@b.>"),
            CommandError::Recipient(AddressError::Domain)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn survives(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn survives_near_commands(line in "(MAIL FROM:|RCPT TO:|AUTH |EHLO )[<>@a-z\"\\\\ =\\[\\]:.,+]{0,40}") {
            let _ = Command::parse(line.as_bytes());
        }
    }
}
