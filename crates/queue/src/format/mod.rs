//! The octets of a queue file, format version 1. Pure: slices in, values out.
//!
//! ```text
//! 0        header, 128 octets: written last; the retry block at 64 is rewritten in place
//! 128      one state octet per recipient, rewritten in place
//! 128 + n  envelope records
//! ...      content: our trace header, then the message as received
//! ...      outcome log: appended when a recipient is deferred
//! ```
//!
//! The header's checksum covers octets 0 to 59 and the envelope records, the content has its own;
//! what is rewritten in place is in neither. `man/hikyaku-queue.5` has every octet.

pub mod envelope;
pub mod header;
pub mod outcome;
pub mod state;

use std::fmt;

/// Why octets are not a queue file of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// No header: the file was begun and never sealed (zeros or nothing stand in its place).
    Unsealed,
    /// Not our magic number.
    Foreign,
    /// A later version, or a record that a reader must know and this one does not.
    Future,
    /// A checksum does not match, or the file is shorter than its header says.
    Torn,
    /// Checksums match but a value is outside what the format allows.
    Bad(&'static str),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsealed => f.write_str("unsealed"),
            Self::Foreign => f.write_str("not a queue file"),
            Self::Future => f.write_str("made by a later version"),
            Self::Torn => f.write_str("checksum or length is wrong"),
            Self::Bad(what) => write!(f, "bad {what}"),
        }
    }
}

impl std::error::Error for FormatError {}
