//! SPF (RFC 7208): may this address send mail in the name of this domain?
//!
//! [`Spf`] is a [`Check`](crate::lookup::Check): it asks one question at a time, at most
//! [`QUESTIONS_MAX`] of them, and ends with an [`SpfVerdict`]. What a domain publishes is read
//! by [`Record::parse`]; the texts with macros in it by [`MacroString::parse`].

mod check;
mod macros;
mod record;
mod verdict;

pub use check::{QUESTIONS_MAX, Spf, SpfRequest};
pub use macros::{EXPANDED_MAX, MacroError, MacroString, Use, Values};
pub use record::{Cidr, Directive, Mechanism, Qualifier, RECORD_MAX, Record, RecordError, is_spf};
pub use verdict::{Identity, SpfProblem, SpfResult, SpfVerdict};

/// Most terms that cause DNS queries in one check (RFC 7208, 4.6.4).
pub const LOOKUPS_MAX: u32 = 10;

/// Most of those that find nothing (RFC 7208, 4.6.4).
pub const VOIDS_MAX: u32 = 2;

/// Most mail exchangers of one `mx` (RFC 7208, 4.6.4); more are an error.
pub const MX_MAX: usize = 10;

/// Names of an address that are looked at for `ptr` and `%{p}` (RFC 7208, 4.6.4 and 5.5); more
/// are ignored.
pub const PTR_MAX: usize = 10;
