//! The mailbox on disk: Maildir delivery and reading.
//!
//! A Maildir is three directories, `tmp`, `new` and `cur`, one file a message. Files are held
//! as Unix programs expect them, with LF line ends; over POP3 they leave with CRLF, and the
//! sizes announced are the octets that are sent.
//!
//! * [`maildir`]: opening one, making one that is missing, noticing that it was replaced
//! * [`name`]: how files are called: `ID.RCPT.HOST,S=size,W=wire-size:2,flags`
//! * [`content`]: CRLF to LF while copying; [`wire`]: how long it will be on the wire
//! * [`deliver`]: one message in, durably, at most once
//! * [`list`]: what is there, in a stable order, with unique-ids and sizes
//! * [`trouble`]: what went wrong, as RFC 3463 says it
//!
//! Every access is relative to a directory descriptor and follows no symbolic link at `tmp`,
//! `new`, `cur` or below. All of it runs with the rights of the mailbox's owner. Design:
//! `docs/mailbox.md`.
#![forbid(unsafe_code)]

pub mod content;
pub mod deliver;
pub mod list;
pub mod maildir;
pub mod name;
pub mod trouble;
pub mod wire;

pub use deliver::{Delivered, Deliverer, Letter};
pub use list::{Listing, MESSAGES_MAX, Place};
pub use maildir::Maildir;
pub use trouble::Trouble;
pub use wire::WireCount;
