//! Building of messages: header fields, multiparts, delivery reports.
//!
//! The output of everything here consists of lines that end in CRLF and holds no other CR or LF.
//! Foreign text goes in as `&str` and can't leave its field: the only ways to write into a header
//! are [`Fields`] and [`Field`], which replace control characters and fold by themselves.
//!
//! Lines aim at [`LINE_SOFT`] octets and never exceed [`LINE_HARD`] (RFC 5322 2.1.1).

mod body;
mod crlf;
mod dsn;
mod field;
mod fields;
mod message_id;
mod multipart;
mod name;
mod received;
mod status;
mod words;

pub use body::{Body, TransferEncoding};
pub use crlf::Crlf;
pub use dsn::{Report, ReportRecipient, Returned};
pub use field::{Field, TOKEN_MAX};
pub use fields::Fields;
pub use message_id::{BadMessageId, MESSAGE_ID_MAX, MessageId};
pub use multipart::{BOUNDARY_MAX, BadBoundary, Boundary, Multipart};
pub use name::{BadName, FieldName, NAME_MAX};
pub use received::{Received, TlsUsed, With, return_path};
pub use status::{Action, BadStatus, Status};

/// Length that a folded line aims at, in octets without CRLF (RFC 5322 2.1.1).
pub const LINE_SOFT: usize = 78;
/// Length that no line exceeds, in octets without CRLF (RFC 5322 2.1.1).
pub const LINE_HARD: usize = 998;

/// What stands in a header for a character that may not: control characters and line breaks.
pub(crate) const REPLACEMENT: char = '?';

/// The character itself if it can stand in a header, a space for tab, else [`REPLACEMENT`].
pub(crate) fn clean(c: char) -> char {
    match c {
        '\t' => ' ',
        // U+2028 and U+2029 break lines in some readers.
        c if c.is_control() || c == '\u{2028}' || c == '\u{2029}' => REPLACEMENT,
        c => c,
    }
}
