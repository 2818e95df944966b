//! One message that is being worked on.

use queue::format::outcome::Outcome;
use queue::format::state::{Retry, State};
use queue::wire::Content;
use queue::{Envelope, Place, Role};

use super::{ATTEMPTS_BEFORE_EXPIRY, Addressee, Answer, Failure, Now, Schedule};

/// What a recipient of a loaded message is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// To be routed.
    Waiting,
    /// In a lane.
    Queued,
    /// Being delivered.
    Running,
    /// Was tried, has to wait.
    Deferred,
    /// Was not tried, has to wait.
    PutOff,
    /// Given up; nobody has been told yet.
    Failed,
    /// Finished in this state; `true`: the file may say otherwise still.
    Done(State, bool),
}

/// What the message as a whole is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its recipients.
    Delivering,
    /// The report to be stored.
    Reporting,
    /// The file to be written; then for so many milliseconds.
    Saving(u64),
    /// The file to be removed.
    Removing,
}

/// A loaded message.
#[derive(Debug)]
pub struct Active {
    /// Where it lies.
    pub place: Place,
    /// Its envelope.
    pub envelope: Envelope,
    /// Where its content lies.
    pub content: Content,
    pub(super) repeat: bool,
    pub(super) retry: Retry,
    pub(super) stage: Stage,
    pub(super) parts: Vec<Part>,
    /// A delivery was tried since it was loaded: the attempt counts.
    pub(super) attempted: bool,
    /// Something was done that a crash must not undo.
    pub(super) durable: bool,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) failures: Vec<Failure>,
    /// Shortest time that something was put off for; 0: nothing was.
    pub(super) put_off_ms: u64,
    /// The full lane that it waits for.
    pub(super) parked: Option<usize>,
    under_way: usize,
    unfinished: usize,
}

impl Active {
    pub(super) fn new(
        place: Place,
        repeat: bool,
        envelope: Envelope,
        states: &[State],
        retry: Retry,
        content: Content,
    ) -> Self {
        let part = |state: &State| match state {
            State::Waiting => Part::Waiting,
            done => Part::Done(*done, false),
        };
        let parts: Vec<Part> = states.iter().map(part).collect();
        let unfinished = parts.iter().filter(|part| **part == Part::Waiting).count();
        Self {
            place,
            envelope,
            content,
            repeat,
            retry,
            stage: Stage::Delivering,
            parts,
            attempted: false,
            durable: false,
            outcomes: Vec::new(),
            failures: Vec::new(),
            put_off_ms: 0,
            parked: None,
            under_way: 0,
            unfinished,
        }
    }

    /// The address of a recipient; empty for one that does not exist.
    pub fn address(&self, index: u32) -> &str {
        self.envelope
            .recipients
            .get(index as usize)
            .map_or("", |recipient| &recipient.address)
    }

    pub(super) fn waiting(&self) -> Vec<u32> {
        let waits =
            |(index, part): (usize, &Part)| (*part == Part::Waiting).then_some(index as u32);
        self.parts.iter().enumerate().filter_map(waits).collect()
    }

    /// Recipients queued or running.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Recipients that are not done.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished
    }

    pub(super) fn set(&mut self, indices: &[u32], to: Part) {
        let counts = |part: Part| {
            let under_way = matches!(part, Part::Queued | Part::Running);
            (
                usize::from(under_way),
                usize::from(!matches!(part, Part::Done(..))),
            )
        };
        for &index in indices {
            if let Some(part) = self.parts.get_mut(index as usize) {
                let (before, after) = (counts(*part), counts(to));
                self.under_way = self.under_way + after.0 - before.0;
                self.unfinished = self.unfinished + after.1 - before.1;
                *part = to;
            }
        }
    }

    /// Finishes recipients and says what to write.
    pub(super) fn done(&mut self, indices: &[u32], state: State) -> Vec<(u32, State)> {
        self.set(indices, Part::Done(state, true));
        indices.iter().map(|&index| (index, state)).collect()
    }

    /// Lets recipients wait without an attempt. `last` says what is wrong with their destination.
    pub(super) fn put_off(&mut self, indices: &[u32], wait_ms: u64, last: Option<(&Answer, i64)>) {
        self.set(indices, Part::PutOff);
        if self.put_off_ms == 0 || wait_ms < self.put_off_ms {
            self.put_off_ms = wait_ms;
        }
        // Written down once per wait in `deferred/`, so that the file says why it lies there.
        if let Some((last, time)) = last {
            if self.place != Place::Deferred {
                self.outcomes.push(Outcome {
                    time,
                    status: last.status,
                    host: last.host.clone(),
                    text: last.text.clone(),
                    recipients: indices.to_vec(),
                });
            }
        }
    }

    /// Whether a wait without an attempt has to be written down: the first one because of a
    /// destination moves the message out of `incoming/`, where scans look.
    pub(super) fn needs_saving(&self) -> bool {
        !self.outcomes.is_empty() || self.durable
    }

    pub(super) fn unsaved_marks(&self) -> Vec<(u32, State)> {
        let unsaved = |(index, part): (usize, &Part)| match part {
            Part::Done(state, true) => Some((index as u32, *state)),
            _ => None,
        };
        self.parts.iter().enumerate().filter_map(unsaved).collect()
    }

    /// Whether it has lived as long as it may. A clock set back makes it young again, never old.
    pub(super) fn old(&self, now: Now, schedule: &Schedule) -> bool {
        now.unix.saturating_sub(self.envelope.arrival.time) >= schedule.lifetime_s()
    }

    /// Whether it is old and has been tried often enough.
    pub(super) fn expired(&self, now: Now, schedule: &Schedule) -> bool {
        self.old(now, schedule) && self.retry.attempts + 1 >= ATTEMPTS_BEFORE_EXPIRY
    }

    /// Who is told of which failures, and of which nobody is.
    pub(super) fn split_failures(&mut self) -> (Option<(Addressee, Vec<Failure>)>, Vec<Failure>) {
        let all = self.failures.clone();
        let to = match (
            self.envelope.reverse_path.is_empty(),
            self.envelope.arrival.role,
        ) {
            (false, _) => Addressee::Sender,
            (true, Role::Report) => Addressee::Postmaster,
            (true, _) => {
                self.failures.clear();
                return (None, all);
            }
        };
        let wanted = |failure: &Failure| {
            let recipient = self.envelope.recipients.get(failure.index as usize);
            recipient
                .and_then(|recipient| recipient.notify)
                .is_none_or(|notify| notify.failure)
        };
        let (told, silent): (Vec<_>, Vec<_>) = all.into_iter().partition(wanted);
        self.failures.clone_from(&told);
        ((!told.is_empty()).then_some((to, told)), silent)
    }
}
