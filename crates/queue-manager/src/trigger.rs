//! What smtpd announces: one datagram a message.

use queue::QueueId;

/// Longest announcement: a sign and an id.
pub const TRIGGER_MAX: usize = 1 + queue::id::ID_LEN;

/// An announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// `+ID`: a committed message.
    New(QueueId),
    /// `-ID`: a file that was begun and given up.
    GivenUp(QueueId),
    /// `*`: announcements were lost, look for yourself.
    Scan,
}

impl Trigger {
    /// Reads a datagram; `None` for anything else.
    pub fn decode(datagram: &[u8]) -> Option<Self> {
        let id = |text| QueueId::from_bytes(text).ok();
        match datagram.split_first()? {
            (b'+', text) => id(text).map(Self::New),
            (b'-', text) => id(text).map(Self::GivenUp),
            (b'*', []) => Some(Self::Scan),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements() {
        let id = QueueId::new(5, 6);
        assert_eq!(
            Trigger::decode(format!("+{id}").as_bytes()),
            Some(Trigger::New(id))
        );
        assert_eq!(
            Trigger::decode(format!("-{id}").as_bytes()),
            Some(Trigger::GivenUp(id))
        );
        assert_eq!(Trigger::decode(b"*"), Some(Trigger::Scan));
        for wrong in [&b""[..], b"+", b"**", b"+../../etc/passwd0000", b"x"] {
            assert_eq!(Trigger::decode(wrong), None);
        }
        assert_eq!(Trigger::decode(format!("+{id}0").as_bytes()), None);
    }
}
