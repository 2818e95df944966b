//! hikyaku.toml: one typed structure, read strictly.
//!
//! [`Config`] holds every setting with its default filled in. Reading refuses unknown keys,
//! wrong types and combinations that cannot work, and reports all errors at once, each with
//! file, line and column, what was found and what was expected.
//!
//! * [`settings`]: the structure the programs use;
//! * [`types`]: sizes, durations, networks, names;
//! * [`value`]: a file as a tree of values with positions;
//! * [`read`]: typed reading of that tree, also for tables that another crate owns;
//! * [`problem`]: what is wrong with a file.
//!
//! [`Config::load`] reads one file; everything else is pure. Design: `docs/config.md`; every
//! key: `man/hikyaku.toml.5`.
#![forbid(unsafe_code)]

mod parse;
pub mod problem;
pub mod read;
pub mod settings;
mod source;
#[cfg(test)]
mod tests;
pub mod types;
pub mod value;

pub use parse::{FILE, FILE_MAX, LIBEXEC, RETRY, SINGLE_USER_PORTS, VIRTUAL_UIDS};
pub use problem::{Problem, Problems};
pub use settings::Config;

/// Keys permitted in the table `[ban]`. Their values are checked by banwatch, which knows them.
pub const BAN_KEYS: &[&str] = &[
    "enabled",
    "observe",
    "observe_rules",
    "ignore",
    "loopback",
    "first",
    "factor",
    "longest",
    "good_days",
    "fail2ban",
    "action_user",
    "admin_ports",
    "new_per_minute",
    "at_once",
    "backend",
    "limited_ports",
    "state",
];
