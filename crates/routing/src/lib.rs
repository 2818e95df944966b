//! From an address to where it goes.
//!
//! One [`Table`] is built from the configuration, the users table and the system's accounts;
//! smtpd, queue-manager, local-deliver and authd hold the same one and so never disagree.
//!
//! * [`table`]: the questions: whose mailbox is this address, whose is this login;
//! * [`users`]: the users table, hikyaku-users(5);
//! * [`passwd`]: accounts of the system;
//! * [`load`]: the only module that reads files.
//!
//! Design: `docs/routing.md`.
#![forbid(unsafe_code)]

mod fold;
pub mod load;
pub mod passwd;
pub mod table;
pub mod users;

pub use table::{Mailbox, Table, Verdict};
