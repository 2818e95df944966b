//! What goes into the scheduler and what comes out of it.

use std::sync::Arc;

use queue::format::state::{Retry, State};
use queue::reply::Status;
use queue::store::Deferral;
use queue::wire::Content;
use queue::wire::remote::Scope;
use queue::{Envelope, Place, QueueId};

use super::backoff::Schedule;
use super::lane::{Hop, LaneKey};

/// The two clocks. The first orders and delays, the second stands in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic milliseconds since some beginning.
    pub mono_ms: u64,
    /// Seconds since 1970 by the wall clock.
    pub unix: i64,
}

/// What a delivery is tried through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Into a mailbox, by the name of its user.
    Local(Arc<str>),
    /// To another host.
    Remote(Arc<Hop>),
    /// Nowhere: no such user, no such domain.
    Nowhere(Status, &'static str),
}

/// Decides where an address goes.
pub trait Resolve {
    /// Never asks anybody: decides from tables in memory.
    fn resolve(&self, address: &str) -> Route;
}

/// Settings of the scheduler.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Waits between attempts, and the lifetime.
    pub schedule: Schedule,
    /// Local deliveries at once.
    pub local: usize,
    /// Local deliveries at once to one user.
    pub local_per_user: usize,
    /// How long a local delivery may take, in milliseconds.
    pub local_answer_ms: u64,
    /// Remote transactions at once.
    pub remote: usize,
    /// Remote transactions at once to one destination, at most.
    pub remote_per_destination: usize,
}

/// Why a message could not be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// It is gone, or has been moved to `corrupt/`: forget it.
    Gone,
    /// The disk or a limit of the system: try again later.
    Trouble,
}

/// One outcome of one or more recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of them.
    pub status: Status,
    /// What a failure was about.
    pub scope: Scope,
    /// The other host, empty for a local delivery.
    pub host: String,
    /// Its words, or ours.
    pub text: String,
    /// Which recipients; all of the job when empty.
    pub recipients: Vec<u32>,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message is in the queue: announced, or found by a scan (`repeat`).
    Found {
        /// Its id.
        id: QueueId,
        /// Where it lies.
        place: Place,
        /// When it is due by the wall clock, 0: now.
        due: i64,
        /// It may have been delivered before, and its content has to be checked.
        repeat: bool,
    },
    /// Answer to [`Action::Load`].
    Loaded {
        /// Its id.
        id: QueueId,
        /// Its envelope.
        envelope: Box<Envelope>,
        /// Its recipients' states.
        states: Vec<State>,
        /// Its attempts.
        retry: Retry,
        /// Where its content lies.
        content: Content,
    },
    /// The other answer to [`Action::Load`].
    NotLoaded(QueueId, LoadError),
    /// Answer to [`Action::Local`] and [`Action::Remote`], for some or all of its recipients.
    Answered(u64, Answer),
    /// A delivery will never be answered: whoever had it is gone.
    Void(u64),
    /// A delivery will never be answered: whoever has it lives, but does not answer anything.
    Overdue(u64),
    /// Answer to [`Action::Save`]: whether it has worked.
    Saved(QueueId, bool),
    /// Answer to [`Action::Report`]: the report's own id once it is in the queue.
    Reported(QueueId, Option<QueueId>),
    /// The other answer to [`Action::Report`]: there is no address that it could be sent to.
    Unreportable(QueueId),
    /// Answer to [`Action::Remove`]: whether it has worked.
    Removed(QueueId, bool),
    /// Time has passed.
    Tick,
}

/// A recipient that will never get the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its place in the envelope.
    pub index: u32,
    /// Why.
    pub status: Status,
    /// Who said so, empty for ourselves.
    pub host: String,
    /// In which words.
    pub text: String,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Read the envelope; `check` the content's checksum too.
    Load {
        /// Which message.
        id: QueueId,
        /// Where it lies.
        place: Place,
        /// Check the content.
        check: bool,
    },
    /// Give one recipient to the worker of this user.
    Local {
        /// The delivery's number.
        number: u64,
        /// The message, held by [`Sched::message`](super::Sched::message).
        id: QueueId,
        /// The mailbox's user.
        user: Arc<str>,
        /// The recipient.
        index: u32,
        /// It may have been delivered before.
        repeat: bool,
    },
    /// Give some recipients to remote-send.
    Remote {
        /// The transaction's number.
        number: u64,
        /// The message, held by [`Sched::message`](super::Sched::message).
        id: QueueId,
        /// Where to.
        hop: Arc<Hop>,
        /// The recipients, at most [`RECIPIENTS_MAX`](queue::wire::RECIPIENTS_MAX).
        indices: Vec<u32>,
    },
    /// Write states at once, without waiting for the disk: a kill must not repeat them.
    Mark {
        /// Which message.
        id: QueueId,
        /// Where it lies.
        place: Place,
        /// The new states.
        marks: Vec<(u32, State)>,
    },
    /// Write what the attempt has brought and move the message to `deferred/`.
    Save {
        /// Which message.
        id: QueueId,
        /// Where it lies.
        place: Place,
        /// What to write.
        deferral: Deferral,
    },
    /// Put a report about these failures into the queue, durably.
    Report {
        /// The message, held by [`Sched::message`](super::Sched::message).
        id: QueueId,
        /// Where it lies.
        place: Place,
        /// Who gets it.
        to: Addressee,
        /// What it says.
        failures: Vec<Failure>,
    },
    /// Remove the file.
    Remove {
        /// Which message.
        id: QueueId,
        /// Where it lies.
        place: Place,
    },
    /// This delivery has had its time without an answer and is deferred: whoever has it is of no
    /// more use.
    Abandon(u64),
    /// The message is out of memory and stays where it is.
    PutOff(QueueId),
    /// Something for the log.
    Note(Note),
}

/// Who gets a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// The sender of the message.
    Sender,
    /// The postmaster: the message is a report itself, and its addressee can't be reached.
    Postmaster,
}

/// Something for the log.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Some recipients of a message have an outcome.
    Outcome {
        /// The message.
        id: QueueId,
        /// The recipients.
        indices: Vec<u32>,
        /// The outcome.
        status: Status,
        /// Who answered.
        host: String,
        /// In which words.
        text: String,
    },
    /// A message that waits for its next attempt.
    Deferred {
        /// The message.
        id: QueueId,
        /// Attempts so far.
        attempts: u32,
        /// Milliseconds until the next.
        wait_ms: u64,
    },
    /// Nobody is told of these failures: there is no sender, or he did not want to be.
    Dropped {
        /// The message.
        id: QueueId,
        /// The recipients.
        indices: Vec<u32>,
    },
    /// A destination failed as a whole; its mail waits.
    Backoff {
        /// The destination.
        lane: LaneKey,
        /// For how long, in milliseconds.
        wait_ms: u64,
    },
}
