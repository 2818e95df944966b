//! banwatch: reads logs and events, decides who is banned.
//!
//! * [`pattern`]: Python's regular expressions with bounded work per line;
//! * [`date`]: the times in log lines;
//! * [`f2b`]: fail2ban's configuration, filters and jails;
//! * [`own`]: our own rules for mail, from events;
//! * [`source`]: log files, the journal, the daemons' events;
//! * [`state`]: what survives a restart;
//! * [`watch`]: the daemon that decides, [`fire`]: the one that may change the firewall,
//!   [`act`]: the one that runs other actions and may ask the network.
#![forbid(unsafe_code)]

pub mod act;
pub mod date;
pub mod f2b;
pub mod fire;
pub mod lines;
pub mod own;
pub mod pattern;
pub mod prefix;
pub mod scan;
pub mod source;
pub mod state;
pub mod watch;
