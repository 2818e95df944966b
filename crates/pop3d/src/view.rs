//! A Maildir's listing as the session core wants to see it.

use mailbox::Listing;
use pop3::{Messages, Uid};

/// The listing made at login; it stays as it is for the whole session.
#[derive(Debug)]
pub struct View<'a>(pub &'a Listing);

impl Messages for View<'_> {
    fn count(&self) -> u32 {
        // A listing has at most `mailbox::MESSAGES_MAX` messages.
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn size(&self, index: u32) -> u64 {
        usize::try_from(index).map_or(0, |at| self.0.size(at))
    }

    fn uid(&self, index: u32) -> Uid<'_> {
        let uid = usize::try_from(index).map_or("", |at| self.0.uid(at));
        Uid::new(uid).unwrap_or(Uid::UNKNOWN)
    }
}
