//! Names of header fields.

use std::fmt;

/// Longest field name, in octets: with its colon it leaves room on a line of 78.
pub const NAME_MAX: usize = 76;

/// A header field's name: printable ASCII without colon and space (RFC 5322 2.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldName<'a>(&'a str);

/// The text is no field name: empty, longer than [`NAME_MAX`], or holding a forbidden octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header field's name is 1 to 76 printable ASCII characters without colon")
    }
}

impl std::error::Error for BadName {}

macro_rules! names {
    ($($constant:ident = $text:literal),* $(,)?) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $constant: FieldName<'static> = FieldName($text);
        )*
        #[cfg(test)]
        const ALL: &'static [&'static str] = &[$($text),*];
    };
}

impl<'a> FieldName<'a> {
    names! {
        RETURN_PATH = "Return-Path", RECEIVED = "Received", DATE = "Date", FROM = "From",
        SENDER = "Sender", REPLY_TO = "Reply-To", TO = "To", CC = "Cc", BCC = "Bcc",
        SUBJECT = "Subject", MESSAGE_ID = "Message-ID", IN_REPLY_TO = "In-Reply-To",
        REFERENCES = "References", MIME_VERSION = "MIME-Version", CONTENT_TYPE = "Content-Type",
        CONTENT_TRANSFER_ENCODING = "Content-Transfer-Encoding",
        CONTENT_DISPOSITION = "Content-Disposition", CONTENT_DESCRIPTION = "Content-Description",
        CONTENT_ID = "Content-ID", AUTO_SUBMITTED = "Auto-Submitted", PRECEDENCE = "Precedence",
        DELIVERED_TO = "Delivered-To", RESENT_DATE = "Resent-Date", RESENT_FROM = "Resent-From",
        RESENT_TO = "Resent-To", RESENT_MESSAGE_ID = "Resent-Message-ID", LIST_ID = "List-Id",
        LIST_POST = "List-Post", LIST_HELP = "List-Help", LIST_UNSUBSCRIBE = "List-Unsubscribe",
        LIST_UNSUBSCRIBE_POST = "List-Unsubscribe-Post", LIST_SUBSCRIBE = "List-Subscribe",
        LIST_OWNER = "List-Owner", LIST_ARCHIVE = "List-Archive",
        AUTHENTICATION_RESULTS = "Authentication-Results",
    }

    /// Checks a name.
    ///
    /// # Errors
    /// [`BadName`].
    pub const fn new(text: &'a str) -> Result<FieldName<'a>, BadName> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > NAME_MAX {
            return Err(BadName);
        }
        let mut rest = bytes;
        while let [first, tail @ ..] = rest {
            if !first.is_ascii_graphic() || *first == b':' {
                return Err(BadName);
            }
            rest = tail;
        }
        Ok(FieldName(text))
    }

    /// The name without colon.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for FieldName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks() {
        for name in FieldName::ALL {
            assert!(FieldName::new(name).is_ok(), "{name}");
        }
        for bad in ["", "a b", "a:", "a\r\n", "é", "a\0"] {
            assert_eq!(FieldName::new(bad), Err(BadName));
        }
        assert!(FieldName::new(&"x".repeat(NAME_MAX - 1)).is_ok());
        assert!(FieldName::new(&"x".repeat(NAME_MAX)).is_ok());
        assert_eq!(FieldName::new(&"x".repeat(NAME_MAX + 1)), Err(BadName));
    }
}
