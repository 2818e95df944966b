//! Where lines come from.
//!
//! * [`cutter`]: octets to lines, pure; [`encoding`]: octets to letters, pure;
//!   [`glob`]: names of logs, pure;
//! * [`follow`]: log files through their rotations; [`seek`]: directories made later;
//! * [`journal`]: the systemd journal's export stream, pure; [`relay`]: the process that runs
//!   `journalctl`.

pub mod cutter;
pub mod drill;
pub mod encoding;
pub mod follow;
pub mod glob;
pub mod journal;
pub mod relay;
pub mod seek;
