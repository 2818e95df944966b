//! What the daemons tell banwatch: one packet an event.
//!
//! No regular expression, no date, no text that a stranger wrote: kinds and numbers only, so an
//! event can't be forged through a log line and can't name a wrong address.
//!
//! * [`Event`] and its codec ([`Event::encode`], [`Event::decode`]) are pure.
//! * [`Reporter`] is the daemons' end: it never blocks, and counts what it had to drop; the
//!   count travels with the next event that gets through.
//!
//! The packets pass through the socket pair named `events`, whose ends mail-start holds, so that
//! reports wait in it while banwatch is replaced. Format: `man/hikyaku-events.5`.
#![forbid(unsafe_code)]

mod event;
mod report;

pub use event::{
    ADVICE_LENGTH, Account, Advice, DecodeError, EVENT_LENGTH, Event, Kind, Secret, Service,
};
pub use report::Reporter;
