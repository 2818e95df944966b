//! Everything a test of this project needs around the thing under test.
//!
//! * [`Dns`] and [`Zone`]: a name server on loopback that answers, lies, stalls or stays silent.
//! * [`Peer`] and [`Script`]: the other end of a line protocol, as a server or a client, in clear
//!   or under TLS, told by a small script; [`Sink`]: an SMTP server that takes all mail.
//! * [`Trickle`] and [`cuts`]: one octet at a time, and every place to cut an input.
//! * [`Clock`]: time that passes when the test says so.
//! * [`Authority`]: certificates. [`Ports`]: free ports, reserved for as long as they are held.

//!
//! Nothing in here sleeps to wait for something: every wait is for an event and has a deadline,
//! after which the test fails with what was seen so far.
//!
//! This crate is for tests only; it panics where a test has to fail. Design: `docs/testkit.md`.

#![forbid(unsafe_code)]
// A broken expectation of a test is a panic here, with the reason in its message.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod certificate;
mod clock;
mod dns;
mod house;
mod peer;
mod port;
mod script;
mod server;
mod sink;
mod stream;
mod trickle;
mod zone;

pub use certificate::Authority;
pub use clock::Clock;
pub use dns::{Asked, Dns};
pub use house::{House, Plan};
pub use peer::{Peer, Played, play};
pub use port::Ports;
pub use script::{Script, Step};
pub use sink::{Letter, Sink, SinkOptions};
pub use stream::Stream;
pub use trickle::{Trickle, TrickleProxy, cuts};
pub use zone::{Trick, Zone};

use std::time::Duration;

/// How long any wait of the test kit lasts before the test fails. Long, because a loaded machine
/// is no defect; nothing waits for it when things go right.
pub const PATIENCE: Duration = Duration::from_secs(30);
