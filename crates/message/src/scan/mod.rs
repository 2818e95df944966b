//! The scanner: where everything in a message is, in one pass and without copying.
//!
//! [`Fields`] walks over a header block, [`FieldStream`] over one that comes in blocks. [`Scanner`] finds the MIME structure of a whole message
//! or of a stream of blocks with the same result, and [`Audit`] looks for octets and line lengths
//! that transport forbids. Work is linear in the message, memory is bounded by [`PARTS_MAX`],
//! [`DEPTH_MAX`] and [`FIELD_KEEP_MAX`] whatever comes in.

mod audit;
mod boundaries;
mod field;
mod field_stream;
mod part;
mod scanner;
#[cfg(test)]
mod tests;

pub use audit::Audit;
pub use field::{Fields, NAME_MAX, RawField};
pub use field_stream::{FieldRange, FieldStream};
pub use part::{Defect, Defects, Kind, Part, Structure};
pub use scanner::Scanner;

/// Deepest nesting that is descended into, counting multiparts and embedded messages.
///
/// A container at this depth becomes a leaf with [`Defect::TooDeep`].
pub const DEPTH_MAX: usize = 50;

/// Most parts of one message; the last one keeps the rest, with [`Defect::TooManyParts`].
pub const PARTS_MAX: usize = 10_000;

/// Longest boundary that is recognised, in octets. RFC 2046 5.1.1 allows 70; some programs write more.
pub const BOUNDARY_MAX: usize = 200;

/// Longest delimiter line, in octets without its line end: two hyphens twice, a boundary, and
/// transport padding (RFC 2046 5.1.1). A longer line is content.
pub const DELIMITER_MAX: usize = BOUNDARY_MAX + 4 + 64;

/// How much of a Content-Type or Content-Transfer-Encoding field is kept for reading, in octets.
pub const FIELD_KEEP_MAX: usize = 16 * 1024;
