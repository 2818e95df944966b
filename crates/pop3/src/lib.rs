//! POP3 server core: octets and events in, octets and wishes out (RFC 1939, 2449, 2595, 3206).
//!
//! Nothing here knows a socket, a file, a clock or a thread. Two machines share one line
//! reader and one command parser:
//!
//! * [`Login`] is the AUTHORIZATION state. It runs in the unprivileged process that faces the
//!   network, can start TLS and ask for one password check, and hands over every octet that
//!   it has not used.
//! * [`Session`] is the TRANSACTION state and the UPDATE state. It runs in the process of the
//!   mailbox's owner, over a list of messages ([`Messages`]) that stays as it was at login.
//!
//! Both are driven the same way: give them octets with `input`, send what they put into the
//! output buffer, then do what `want` says. `input` returns how many octets it used; the rest
//! is to be given again later (or, after a login, to the session process). A client that
//! sends faster than it reads therefore fills its own socket, not our memory.
//!
//! ```
//! use pop3::{Login, LoginWant, LoginOptions};
//!
//! let mut out = Vec::new();
//! let mut login = Login::new(LoginOptions { tls: pop3::Tls::On, clear_passwords: false });
//! login.greet(&mut out);
//! let bytes = b"USER anna\r\nPASS secret\r\nSTAT\r\n";
//! let used = login.input(bytes, &mut out);
//! assert_eq!(&bytes[used..], b"STAT\r\n");
//! assert!(matches!(login.want(), LoginWant::Authenticate { .. }));
//! ```
#![forbid(unsafe_code)]

pub mod codec;
pub mod limits;
#[doc(hidden)]
pub mod rehearse;
pub mod session;
pub mod types;

pub use codec::body::BodyEncoder;
pub use codec::command::{Command, CommandError};
pub use session::End;
pub use session::login::{Login, LoginOptions, LoginWant, Refusal, Tls};
pub use session::transaction::{Session, SessionWant, Tally};
pub use types::{Messages, Password, Uid, UserName};
