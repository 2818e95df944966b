//! Where lines come from.
//!
//! * [`cutter`]: octets to lines, pure; [`glob`]: names of logs, pure;
//! * [`follow`]: log files through their rotations;
//! * [`journal`]: the systemd journal's export stream, pure.

pub mod cutter;
pub mod follow;
pub mod glob;
pub mod journal;
