//! What IMAP's FETCH shows of a message's structure, as wire text (RFC 3501 7.4.2, RFC 9051 7.5.2).
//!
//! Everything comes from one [`crate::scan::Structure`] and the message's octets. The texts are
//! complete and need no further quoting; they can hold literals, so they are octets, not lines.

mod body;
mod envelope;
mod string;

pub use body::{body, body_structure};
pub use envelope::{ADDRESS_FIELDS_MAX, envelope};
pub use string::nstring;
