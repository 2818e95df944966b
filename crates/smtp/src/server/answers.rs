//! Everything a session can say except the greeting, the EHLO reply and the queue id.
//!
//! Codes by RFC 5321, 4.2 and 4.3.2, RFC 3463, RFC 4954, 6, RFC 3207, 4. No text contains
//! anything the peer sent, nor anything about this host.

/// One reply line with its CR LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer(&'static str);

impl Answer {
    /// The reply code.
    #[must_use]
    pub fn code(self) -> u16 {
        self.0
            .get(..3)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0)
    }

    /// The line without its CR LF, for the log.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.0.trim_end()
    }

    pub(super) const fn bytes(self) -> &'static [u8] {
        self.0.as_bytes()
    }
}

macro_rules! answers {
    ($($name:ident = $text:literal;)*) => {
        $(pub(super) const $name: Answer = Answer(concat!($text, "\r\n"));)*
        #[cfg(test)]
        pub(super) const ALL: &[Answer] = &[$($name),*];
    };
}

answers! {
    HELP = "214 2.0.0 RFC 5321. Ask postmaster.";
    TLS_GO = "220 2.0.0 Ready to start TLS";
    BYE = "221 2.0.0 Bye";
    AUTH_DONE = "235 2.7.0 Authentication successful";
    OK = "250 2.0.0 Ok";
    SENDER_OK = "250 2.1.0 Sender ok";
    RECIPIENT_OK = "250 2.1.5 Recipient ok";
    VRFY = "252 2.5.0 Not verified here; mail will be tried";
    AUTH_GO = "334 ";
    DATA_GO = "354 End data with <CR><LF>.<CR><LF>";
    SHUTDOWN = "421 4.3.2 Service is being shut down, try again";
    TIMEOUT = "421 4.4.2 Too long without a word";
    TOO_MANY_ERRORS = "421 4.7.0 Too many errors";
    JUNK = "421 4.7.0 Too many commands without mail";
    AUTH_TOO_MANY = "421 4.7.0 Too many failed logins";
    BROKEN = "451 4.3.0 Local error, try again";
    TABLES_LATER = "451 4.3.0 Cannot check now, try again";
    FULL = "452 4.3.1 Not enough space, try again";
    TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients, send the rest separately";
    AUTH_LATER = "454 4.7.0 Cannot check the login now, try again";
    UNKNOWN = "500 5.5.1 Command unknown";
    SYNTAX = "500 5.5.2 Syntax error";
    LINE_END = "500 5.5.2 Lines end with CR LF";
    LONG_LINE = "500 5.5.2 Line too long";
    AUTH_LONG_LINE = "500 5.5.6 Line too long";
    ARGUMENTS = "501 5.5.4 Wrong arguments";
    HELLO_NAME = "501 5.5.4 Say your host name";
    BAD_SENDER = "501 5.1.7 Bad sender address";
    BAD_RECIPIENT = "501 5.1.3 Bad recipient address";
    BAD_PARAMETER = "501 5.5.4 Bad parameter value";
    BAD_BASE64 = "501 5.5.2 Cannot decode the response";
    AUTH_CANCELLED = "501 5.7.0 Authentication cancelled";
    NOT_OFFERED = "502 5.5.1 Command not offered";
    HELLO_FIRST = "503 5.5.1 Say EHLO first";
    NESTED_MAIL = "503 5.5.1 Sender already given";
    MAIL_FIRST = "503 5.5.1 Say MAIL first";
    TLS_TWICE = "503 5.5.1 TLS already in use";
    AUTH_TWICE = "503 5.5.1 Already authenticated";
    NOT_NOW = "503 5.5.1 Not in the middle of a message";
    MECHANISM = "504 5.5.4 Mechanism not offered";
    TLS_FIRST = "530 5.7.0 Say STARTTLS first";
    AUTH_FIRST = "530 5.7.0 Authentication required";
    AUTH_DENIED = "535 5.7.8 Authentication failed";
    AUTH_IN_CLEAR = "538 5.7.11 Encryption required for authentication";
    UNKNOWN_USER = "550 5.1.1 No such user here";
    RELAY_DENIED = "550 5.7.1 Relaying denied";
    SENDER_REFUSED = "550 5.7.1 Sender refused";
    BARE_LINE_END = "550 5.6.0 Message with CR or LF outside of CR LF";
    NUL = "550 5.6.0 Message with NUL";
    TOO_BIG = "552 5.3.4 Message too big";
    NON_ASCII_ADDRESS = "553 5.6.7 Address needs SMTPUTF8, which is not offered";
    NO_RECIPIENTS = "554 5.5.1 No valid recipients";
    LOOP = "554 5.4.6 Too many hops";
    EARLY_BYTES = "554 5.5.0 Bytes after STARTTLS";
    UNKNOWN_PARAMETER = "555 5.5.4 Parameter not offered";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ReplyParser;

    #[test]
    fn all_are_replies_with_fitting_enhanced_codes() {
        for answer in ALL {
            let mut bytes = answer.bytes();
            let reply = ReplyParser::new().next(&mut bytes).unwrap().unwrap();
            assert_eq!(reply.code().get(), answer.code());
            assert_eq!(
                reply.enhanced().is_some(),
                !matches!(answer.code(), 334 | 354),
                "{}",
                answer.text()
            );
            assert!(answer.bytes().len() <= 100 && bytes.is_empty());
        }
    }
}
