//! fail2ban's configuration and filters, taken as they are.

pub mod arith;
pub mod definition;
pub mod drill;
pub mod failregex;
pub mod filter;
pub mod ignore;
pub mod ini;
pub mod jail;
pub mod jail_conf;
pub mod options;
pub mod report;
mod rule;
pub mod session;
pub mod store;
pub mod tags;
pub mod watch;
