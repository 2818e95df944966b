//! What survives a restart: bans, good logins, where each log was read to.
//!
//! * [`record`]: the format, pure;
//! * [`file`]: the file in its directory.

pub mod file;
pub mod record;
