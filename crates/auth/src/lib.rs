//! Who is asking, and is it true: names and secrets as types, the SASL exchange, password
//! hashes, the password file, and the packets that smtpd and pop3d exchange with authd.
//!
//! * [`types`]: [`Login`] and [`Password`], the two things a client sends;
//! * [`protocol`]: the request to authd and its answer, octet for octet;
//! * [`sasl`]: PLAIN (RFC 4616);
//! * [`hash`]: password hashes of crypt(5);
//! * [`file`](mod@file): the password file.
//!
//! Nothing here opens a socket, and only `file` touches the disk. Design: `docs/auth.md`.
#![forbid(unsafe_code)]

pub mod file;
pub mod hash;
pub mod protocol;
pub mod sasl;
pub mod types;

pub use protocol::{Answer, Mechanism, Request, Service};
pub use types::{Login, Password};
