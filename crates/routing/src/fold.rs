//! Lower case without an allocation.

use config::types::{DOMAIN_MAX, USER_NAME_MAX};

/// Room for the longest key that can be in a table: a mailbox name, or a domain name and a
/// mailbox name with the `@` between.
const ROOM: usize = USER_NAME_MAX + 1 + DOMAIN_MAX;

/// Text put together from pieces, each turned to ASCII lower case.
pub(crate) struct Folded {
    octets: [u8; ROOM],
    length: usize,
}

impl Folded {
    /// `None`: longer than any key, so no table holds it.
    pub(crate) fn new(pieces: &[&str]) -> Option<Self> {
        let mut folded = Self {
            octets: [0; ROOM],
            length: 0,
        };
        for piece in pieces {
            let end = folded.length + piece.len();
            let place = folded.octets.get_mut(folded.length..end)?;
            place.copy_from_slice(piece.as_bytes());
            place.make_ascii_lowercase();
            folded.length = end;
        }
        Some(folded)
    }

    pub(crate) fn as_str(&self) -> &str {
        // Whole pieces of UTF-8 with ASCII letters changed are UTF-8.
        std::str::from_utf8(self.octets.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }
}
