//! fail2ban's configuration and filters, taken as they are.

pub mod definition;
pub mod failregex;
pub mod filter;
pub mod ini;
pub mod options;
pub mod session;
pub mod store;
pub mod tags;
pub mod watch;
