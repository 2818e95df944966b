//! The stub resolver core: what to ask, which answer to believe, what to remember.
//!
//! Nothing in here opens a socket, reads a clock or draws a random number, except [`blocking`],
//! a small driver for command line tools. A daemon drives the [`Resolver`] like this:
//!
//! 1. [`Resolver::query`] with a [`Question`] gives an [`Answer`] at once (from the cache) or a
//!    [`Key`] under which the answer will come. Equal questions in flight share one key.
//! 2. [`Resolver::poll`] until it gives `None`: every [`Command`] is either something to send
//!    (one fresh socket per [`Transmit`], connected to the server, so that the kernel chooses a
//!    random source port and checks the source address), a socket to close, or an answer.
//! 3. What comes back goes in by [`Resolver::on_datagram`], [`Resolver::on_stream`] or
//!    [`Resolver::on_failed`]; when [`Resolver::next_timeout`] has come, [`Resolver::on_timeout`].
//!
//! Above it, [`Plan`] is the order in which the mail hosts of a domain are tried (RFC 5321,
//! section 5.1; null MX of RFC 7505).
//!
//! Search domains are never applied: a name is always taken as complete.
//! Design: `docs/dns.md`.

#![forbid(unsafe_code)]

mod answer;
pub mod blocking;
mod cache;
mod hosts;
mod name;
mod plan;
mod query;
mod record;
mod resolver;
mod response;
mod servers;

pub use answer::{Answer, Outcome, Trouble};
pub use cache::{
    CACHE_BYTES_MAX, CACHE_ENTRIES_MAX, Cache, FAILURE_TTL, NEGATIVE_TTL_MAX, POSITIVE_TTL_MAX,
};
pub use hosts::{HOSTS_MAX, Host, Hosts, Ourselves, RouteError, mail_hosts};
pub use name::{LABEL_MAX, NAME_MAX, Name, NameError};
pub use plan::{ADDRESSES_PER_HOST_MAX, Candidate, Next, Plan, Target, literal};
pub use query::{Ask, EDNS_PAYLOAD, encode};
pub use record::{Kind, Mx, Question, Records, Tlsa};
pub use resolver::{
    CNAME_MAX, Command, IN_FLIGHT_MAX, Key, LOOKUP_DEADLINE, Lookup, Resolver, Transmit,
    TransmitId, Transport,
};
pub use response::{Ignored, RECORDS_MAX, Reading, read};
pub use servers::{SERVERS_MAX, Settings, SettingsError};
