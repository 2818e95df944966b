//! Our own rules for mail: events and the time in, verdicts out. No clock, file or socket.
//!
//! * [`never`]: who is never banned;
//! * [`score`]: what is remembered of a network, in few octets;
//! * [`memory`]: a bounded table that forgets the least important first;
//! * [`account`]: guessing at one account from many places;
//! * [`judge`]: the rules themselves;
//! * [`book`]: which bans stand, until when, and for the how manyth time.

pub mod account;
pub mod book;
pub mod judge;
pub mod memory;
pub mod never;
pub mod score;

#[cfg(test)]
mod rehearsals;
