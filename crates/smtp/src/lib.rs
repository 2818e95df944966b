//! SMTP server and client cores: bytes and events in, bytes and actions out.
//!
//! Nothing here opens a socket or a file, reads a clock, starts a thread or draws a random
//! number; a shell (smtpd, remote-send, sendmail) does that and tells the core.
//!
//! * [`types`]: values that cannot be wrong: domains, mailboxes, paths, status codes.
//! * [`codec`]: bytes to values and back: the one line reader, the one dot decoder, commands,
//!   replies, xtext.
//! * [`server`]: the receiving session, an enum of states.
//! * [`client`]: the sending session, used for other hosts and for the local socket.
//!
//! The page that explains the choices is docs/smtp.md.
#![forbid(unsafe_code)]

pub mod client;
pub mod codec;
pub mod exercise;
pub mod server;
pub mod types;
