//! The time a log line was written, in any of the formats that logs have.
//!
//! A [`Detector`] belongs to one log. It tries fail2ban's formats, remembers which one fits, and
//! when a line begins with the same octets as the one before, has the answer already.

mod detector;
mod fields;
mod template;
mod zone;

pub use detector::{Dated, Detector, PATTERNS_MAX};
pub use template::BadDate;
pub use zone::{Civil, Zone, offset_minutes};
