//! The queue: one file per message, written once and for good.
//!
//! * [`id`]: the 20 characters that name a message in every program.
//! * [`reply`]: the outcome of one recipient: RFC 3463 status and the words that came with it.
//! * [`format`]: the octets of the file. [`files`]: the operations below, as traits.
//! * [`incoming`]: smtpd's half, which writes. [`store`]: queue-manager's, which reads and marks.
//! * [`view`]: the admin's half, which only looks.
//! * [`wire`]: the packets between queue-manager and the programs that deliver.
//!
//! Format of the file: `man/hikyaku-queue.5`. States and legal moves: `docs/queue.md`.
#![forbid(unsafe_code)]

pub mod files;
pub mod format;
pub mod id;
pub mod incoming;
pub mod rehearse;
pub mod reply;
pub mod store;
pub mod view;
pub mod wire;

#[cfg(test)]
mod tests;

pub use format::envelope;
pub use format::envelope::{Arrival, Envelope, Recipient, Role};
pub use id::QueueId;
pub use incoming::{CommitError, Incoming, Sealed, Writer};
pub use reply::{Class, Status};
pub use store::{Place, Store};
pub use view::View;
