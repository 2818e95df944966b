//! Message identifiers, writing side (RFC 5322 3.6.4).

use std::fmt;

use crate::address::{Domain, is_dot_atom};

/// Longest message id accepted, in octets with its angle brackets.
pub const MESSAGE_ID_MAX: usize = 900;

/// A message id with its angle brackets, free of spaces and control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(String);

/// The text is no message id: brackets or halves missing, too long, or a space or control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessageId;

impl fmt::Display for BadMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message id is <left@right> without spaces, at most 900 octets")
    }
}

impl std::error::Error for BadMessageId {}

impl MessageId {
    /// Makes `<left@host>` from a part that the caller knows to be unique and its host name.
    ///
    /// # Errors
    /// [`BadMessageId`] when `left` is no dot-atom (RFC 5322 3.2.3) or the whole is too long.
    pub fn new(left: &str, host: &Domain) -> Result<MessageId, BadMessageId> {
        if !is_dot_atom(left) {
            return Err(BadMessageId);
        }
        MessageId::from_text(&format!("<{left}@{}>", host.to_ascii()))
    }

    /// Takes an id as another program wrote it, brackets included, and changes nothing.
    ///
    /// # Errors
    /// [`BadMessageId`]. Only what could break a header is refused: many programs write ids that
    /// are no `msg-id` of the grammar, and a reference has to repeat them octet for octet.
    pub fn from_text(text: &str) -> Result<MessageId, BadMessageId> {
        let inner = text
            .strip_prefix('<')
            .and_then(|t| t.strip_suffix('>'))
            .ok_or(BadMessageId)?;
        let fine = !inner.is_empty()
            && text.len() <= MESSAGE_ID_MAX
            && inner
                .chars()
                .all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '<' | '>'));
        if fine {
            Ok(MessageId(text.to_owned()))
        } else {
            Err(BadMessageId)
        }
    }

    /// The id with its angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_and_taken() {
        let host = Domain::new("mx.example.org").unwrap();
        assert_eq!(
            MessageId::new("0abc.1", &host).unwrap().as_str(),
            "<0abc.1@mx.example.org>"
        );
        for bad in ["", "a b", "a..b", "a>b", "a\r\nb"] {
            assert_eq!(MessageId::new(bad, &host), Err(BadMessageId));
        }
        assert!(MessageId::from_text("<strange$id[1]>").is_ok());
        for bad in ["x@y", "<>", "<a b@c>", "<a@b\r\n>", "<a<b>"] {
            assert_eq!(MessageId::from_text(bad), Err(BadMessageId));
        }
        let sized = |n: usize| MessageId::from_text(&format!("<{}>", "x".repeat(n - 2)));
        assert!(sized(MESSAGE_ID_MAX - 1).is_ok() && sized(MESSAGE_ID_MAX).is_ok());
        assert_eq!(sized(MESSAGE_ID_MAX + 1), Err(BadMessageId));
    }
}
