//! banwatch: reads logs and events, decides who is banned.
//!
//! * [`pattern`]: Python's regular expressions with bounded work per line;
//! * [`date`]: the times in log lines;
//! * [`f2b`]: fail2ban's configuration, filters and jails.
#![forbid(unsafe_code)]

pub mod date;
pub mod f2b;
pub mod lines;
pub mod pattern;
pub mod scan;
