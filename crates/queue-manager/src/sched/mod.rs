//! The scheduler: what happens to which recipient when.
//!
//! Pure: events come in with the time they happened at, actions go out, randomness is seeded.
//! The shell carries the actions out and brings their results back as events; until then the
//! message concerned waits. See `docs/queue-manager.md`.

mod active;
mod backoff;
mod lane;
mod random;
mod running;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod types;
mod waiting;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use queue::format::outcome::Outcome;
use queue::format::state::{Retry, State};
use queue::reply::{Class, Status};
use queue::store::Deferral;
use queue::wire::RECIPIENTS_MAX;
use queue::wire::remote::Scope;
use queue::{Place, QueueId};

pub use active::Active;
pub use backoff::Schedule;
pub use lane::{Hop, LaneKey};
pub use types::{
    Action, Addressee, Answer, Event, Failure, Limits, LoadError, Note, Now, Resolve, Route,
};

use active::{Part, Stage};
use lane::{Job, Lanes};
use random::Random;
use running::Running;
use waiting::Waiting;

/// Most messages whose envelopes are held in memory. The others wait as an id each.
pub const ACTIVE_MAX: usize = 10_000;

/// A lane may hold as many jobs as one part in this many of the places for loaded messages that
/// are free. So one busy destination may use much of an idle memory, and a thousand slow ones
/// together never fill it: somebody else's message always finds room.
pub const LANE_SHARE: usize = 8;

/// How long a message that was tried is put off when another of its lanes is full, in
/// milliseconds.
pub const PUT_OFF_MS: u64 = 30_000;

/// How long until something is tried again that failed on our own disk, in milliseconds.
pub const TROUBLE_MS: u64 = 60_000;

/// A message is given up for its age only after this many attempts: a clock that jumps must not
/// return the whole queue.
pub const ATTEMPTS_BEFORE_EXPIRY: u32 = 3;

/// How long remote-send may have a transaction, in milliseconds. It gives each of them up by
/// itself after six hours, which is beyond all of SMTP's own times for a host that answers at all
/// (RFC 5321, 4.5.3.2): a transaction without an answer after these eight has been forgotten.
pub const REMOTE_ANSWER_MAX_MS: u64 = 8 * 3_600_000;

/// What is said of a delivery that was never answered.
const NO_ANSWER: &str = "delivery agent did not answer";

/// Where a known message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whereabouts {
    Fresh,
    Waiting,
    Loading(Place, bool),
    Active,
}

/// The scheduler's whole state.
#[derive(Debug)]
pub struct Sched<R> {
    limits: Limits,
    resolve: R,
    random: Random,
    known: HashMap<QueueId, Whereabouts>,
    /// Announced and not yet loaded, because enough others are.
    fresh: VecDeque<(QueueId, Place, bool)>,
    waiting: Waiting,
    loading: usize,
    active: HashMap<QueueId, Active>,
    lanes: Lanes,
    /// Deliveries under way.
    running: Running,
    next_number: u64,
    /// States that could not be written: entered again when the message is loaded next.
    unwritten: HashMap<QueueId, Vec<(u32, State)>>,
    draining: bool,
    out: VecDeque<Action>,
}

impl<R: Resolve> Sched<R> {
    /// An empty scheduler. `seed` is fresh randomness: numbers of deliveries start from it too,
    /// so that answers meant for a predecessor are not taken for ours.
    pub fn new(limits: Limits, resolve: R, seed: u64) -> Self {
        let lanes = Lanes::new(&limits);
        Self {
            limits,
            resolve,
            random: Random::new(seed),
            known: HashMap::new(),
            fresh: VecDeque::new(),
            waiting: Waiting::default(),
            loading: 0,
            active: HashMap::new(),
            lanes,
            running: Running::default(),
            next_number: seed >> 1,
            unwritten: HashMap::new(),
            draining: false,
            out: VecDeque::new(),
        }
    }

    /// A message that is loaded: valid for as long as an action about it is being carried out.
    pub fn message(&self, id: QueueId) -> Option<&Active> {
        self.active.get(&id)
    }

    /// The next thing to do.
    pub fn action(&mut self) -> Option<Action> {
        self.out.pop_front()
    }

    /// When the next [`Event::Tick`] is of use, in monotonic milliseconds.
    pub fn next_tick(&self) -> Option<u64> {
        [self.waiting.next_due(), self.running.next_overdue()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Deliveries under way.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether a delivery has not been answered for all of its recipients.
    pub fn is_running(&self, number: u64) -> bool {
        self.running.contains(number)
    }

    /// Messages known: (loaded, waiting for memory, waiting for time).
    pub fn depth(&self) -> (usize, usize, usize) {
        (self.active.len(), self.fresh.len(), self.waiting.len())
    }

    /// Whether a message is known already.
    pub fn knows(&self, id: QueueId) -> bool {
        self.known.contains_key(&id)
    }

    /// Starts nothing any more.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes note of something that has happened.
    pub fn on(&mut self, now: Now, event: Event) {
        match event {
            Event::Found {
                id,
                place,
                due,
                repeat,
            } => self.found(now, id, place, due, repeat),
            Event::Loaded {
                id,
                envelope,
                states,
                retry,
                content,
            } => {
                if let Some(Whereabouts::Loading(place, repeat)) = self.known.get(&id).copied() {
                    self.loading -= 1;
                    let active = Active::new(place, repeat, *envelope, &states, retry, content);
                    self.known.insert(id, Whereabouts::Active);
                    self.active.insert(id, active);
                    if let (Some(marks), Some(active)) =
                        (self.unwritten.remove(&id), self.active.get_mut(&id))
                    {
                        active.durable = true;
                        for (index, state) in marks {
                            active.done(&[index], state);
                        }
                    }
                    self.route(now, id);
                }
            }
            Event::NotLoaded(id, error) => self.not_loaded(now, id, error),
            Event::Answered(number, answer) => self.answered(now, number, &answer),
            Event::Void(number) => self.void(now, number),
            Event::Overdue(number) => {
                self.unanswered(now, number);
            }
            Event::Saved(id, worked) => self.saved(now, id, worked),
            Event::Reported(id, report) => self.reported(now, id, report.is_some()),
            Event::Unreportable(id) => self.reported(now, id, true),
            Event::Removed(id, worked) => self.removed(now, id, worked),
            Event::Tick => {}
        }
        self.advance(now);
    }

    fn found(&mut self, now: Now, id: QueueId, place: Place, due: i64, repeat: bool) {
        if self.known.contains_key(&id) {
            return;
        }
        // However the clock has jumped, nothing waits longer than the schedule ever lets it.
        let wait = due
            .saturating_sub(now.unix)
            .clamp(0, self.limits.schedule.longest_s());
        if due <= 0 || wait == 0 {
            self.known.insert(id, Whereabouts::Fresh);
            self.fresh.push_back((id, place, repeat));
        } else {
            self.wait(now, id, place, repeat, wait.unsigned_abs() * 1_000);
        }
    }

    fn wait(&mut self, now: Now, id: QueueId, place: Place, repeat: bool, wait_ms: u64) {
        self.known.insert(id, Whereabouts::Waiting);
        self.waiting.push(now.mono_ms + wait_ms, id, place, repeat);
    }

    fn not_loaded(&mut self, now: Now, id: QueueId, error: LoadError) {
        let Some(Whereabouts::Loading(place, repeat)) = self.known.get(&id).copied() else {
            return;
        };
        self.loading -= 1;
        match error {
            LoadError::Gone => {
                self.unwritten.remove(&id);
                self.known.remove(&id);
            }
            LoadError::Trouble => self.wait(now, id, place, repeat, TROUBLE_MS),
        }
    }

    /// Sends every recipient that waits to its lane, then sees whether anything is left to do.
    fn route(&mut self, now: Now, id: QueueId) {
        let Some(message) = self.active.get_mut(&id) else {
            return;
        };
        let mut remote: Vec<(Arc<Hop>, Vec<u32>)> = Vec::new();
        let mut by_hop: HashMap<Arc<Hop>, usize> = HashMap::new();
        let mut jobs = Vec::new();
        let mut notes = Vec::new();
        for index in message.waiting() {
            match self.resolve.resolve(message.address(index)) {
                Route::Local(user) => jobs.push((LaneKey::Local(user), vec![index])),
                Route::Remote(hop) => {
                    let at = *by_hop.entry(Arc::clone(&hop)).or_insert_with(|| {
                        remote.push((hop, Vec::new()));
                        remote.len() - 1
                    });
                    if let Some((_, indices)) = remote.get_mut(at) {
                        indices.push(index);
                    }
                }
                Route::Nowhere(status, text) => {
                    let answer = Answer {
                        status,
                        scope: Scope::Recipient,
                        host: String::new(),
                        text: text.into(),
                        recipients: vec![index],
                    };
                    notes.push(answer);
                }
            }
        }
        for (hop, indices) in remote {
            for chunk in indices.chunks(RECIPIENTS_MAX) {
                jobs.push((LaneKey::Remote(Arc::clone(&hop)), chunk.to_vec()));
            }
        }
        for (key, indices) in jobs {
            let lane = self.lanes.open(key);
            let allowed = (ACTIVE_MAX - self.active.len().min(ACTIVE_MAX)) / LANE_SHARE;
            let Some(message) = self.active.get_mut(&id) else {
                return;
            };
            if let Some(block) = self.lanes.blocked(lane, now.mono_ms) {
                // The destination is known to be out of order: no attempt is made or counted.
                if message.old(now, &self.limits.schedule)
                    && block.failures >= ATTEMPTS_BEFORE_EXPIRY
                {
                    notes.push(Answer {
                        status: Status::EXPIRED,
                        recipients: indices,
                        ..(*block.last).clone()
                    });
                } else {
                    message.put_off(&indices, block.wait_ms, Some((&block.last, now.unix)));
                }
            } else if self.lanes.is_full(lane, allowed) {
                message.put_off(&indices, PUT_OFF_MS, None);
                message.parked = Some(lane);
            } else {
                message.set(&indices, Part::Queued);
                self.lanes.push(lane, Job { id, lane, indices });
            }
        }
        for answer in notes {
            self.apply(now, id, &answer.recipients.clone(), &answer);
        }
        self.conclude(now, id);
    }

    fn answered(&mut self, now: Now, number: u64, answer: &Answer) {
        let Some(job) = self.running.get_mut(number) else {
            return;
        };
        let (id, lane) = (job.id, job.lane);
        let indices: Vec<u32> = if answer.recipients.is_empty() {
            std::mem::take(&mut job.indices)
        } else {
            // An answer about a recipient that was not asked about changes nothing.
            let (meant, left) = job
                .indices
                .iter()
                .partition(|index| answer.recipients.contains(index));
            job.indices = left;
            meant
        };
        let over = job.indices.is_empty();
        let out_of_order =
            answer.scope == Scope::Destination && answer.status.class() == Class::Deferred;
        if over && !out_of_order {
            self.lanes.worked(lane);
        }
        if over {
            self.running.remove(number);
        }
        if out_of_order {
            if let Some((key, wait_ms)) =
                self.lanes
                    .failed(lane, now.mono_ms, answer, &mut self.random)
            {
                self.out
                    .push_back(Action::Note(Note::Backoff { lane: key, wait_ms }));
                self.clear_lane(now, lane);
            }
        }
        if over {
            self.lanes.finished(lane);
        }
        if !indices.is_empty() {
            self.apply(now, id, &indices, answer);
        }
        self.conclude(now, id);
    }

    /// What waits for a destination that has just been found out of order is put off.
    fn clear_lane(&mut self, now: Now, lane: usize) {
        let Some(block) = self.lanes.blocked(lane, now.mono_ms) else {
            return;
        };
        let (jobs, parked) = self.lanes.clear(lane);
        for job in jobs {
            if let Some(message) = self.active.get_mut(&job.id) {
                message.put_off(&job.indices, block.wait_ms, Some((&block.last, now.unix)));
            }
            self.conclude(now, job.id);
        }
        for (id, place, repeat) in parked {
            self.wait(now, id, place, repeat, block.wait_ms);
        }
    }

    /// Enters an outcome into a message.
    fn apply(&mut self, now: Now, id: QueueId, indices: &[u32], answer: &Answer) {
        let Some(message) = self.active.get_mut(&id) else {
            return;
        };
        let mut status = answer.status;
        if status.class() == Class::Deferred && message.expired(now, &self.limits.schedule) {
            status = Status::EXPIRED;
        }
        self.out.push_back(Action::Note(Note::Outcome {
            id,
            indices: indices.to_vec(),
            status,
            host: answer.host.clone(),
            text: answer.text.clone(),
        }));
        message.attempted = true;
        match status.class() {
            Class::Delivered => {
                let marks = message.done(indices, State::Delivered);
                // Only where something is left to do would the file be read again.
                if message.unfinished() > 0 {
                    // A second local copy would replace the first; another host keeps both.
                    message.durable |= !answer.host.is_empty();
                    self.out.push_back(Action::Mark {
                        id,
                        place: message.place,
                        marks,
                    });
                }
            }
            Class::Deferred => {
                message.set(indices, Part::Deferred);
                message.outcomes.push(Outcome {
                    time: now.unix,
                    status,
                    host: answer.host.clone(),
                    text: answer.text.clone(),
                    recipients: indices.to_vec(),
                });
            }
            Class::Failed => {
                message.set(indices, Part::Failed);
                message
                    .failures
                    .extend(indices.iter().map(|&index| Failure {
                        index,
                        status,
                        host: answer.host.clone(),
                        text: answer.text.clone(),
                    }));
            }
        }
    }

    fn void(&mut self, now: Now, number: u64) {
        let Some(job) = self.running.remove(number) else {
            return;
        };
        self.lanes.finished(job.lane);
        let Some(message) = self.active.get_mut(&job.id) else {
            return;
        };
        if message.repeat || message.retry.attempts > 0 {
            // Not the first time: perhaps this message is what kills the deliverer.
            self.lost(now, &job, "the delivering process went away");
        } else {
            message.repeat = true;
            message.put_off(&job.indices, self.random.around(1_000), None);
        }
        self.conclude(now, job.id);
    }

    /// A delivery that nobody will answer any more counts as an attempt: perhaps this message is
    /// what made the deliverer hang. `false`: it is not under way.
    fn unanswered(&mut self, now: Now, number: u64) -> bool {
        let Some(job) = self.running.remove(number) else {
            return false;
        };
        self.lanes.finished(job.lane);
        self.lost(now, &job, NO_ANSWER);
        self.conclude(now, job.id);
        true
    }

    /// Defers what a deliverer has taken with it.
    fn lost(&mut self, now: Now, job: &Job, text: &str) {
        let lost = Answer {
            status: Status::SYSTEM_DEFERRED,
            scope: Scope::Recipient,
            host: String::new(),
            text: text.into(),
            recipients: Vec::new(),
        };
        self.apply(now, job.id, &job.indices, &lost);
    }

    /// When nothing of a message is under way: report, then remove, save or put off.
    fn conclude(&mut self, now: Now, id: QueueId) {
        let Some(message) = self.active.get_mut(&id) else {
            return;
        };
        if message.stage != Stage::Delivering || message.under_way() > 0 {
            return;
        }
        if !message.failures.is_empty() {
            let (told, silent) = message.split_failures();
            if !silent.is_empty() {
                let indices: Vec<u32> = silent.iter().map(|failure| failure.index).collect();
                message.done(&indices, State::Failed);
                self.out
                    .push_back(Action::Note(Note::Dropped { id, indices }));
            }
            if let Some((to, failures)) = told {
                message.stage = Stage::Reporting;
                self.out.push_back(Action::Report {
                    id,
                    place: message.place,
                    to,
                    failures,
                });
                return;
            }
        }
        if message.unfinished() == 0 {
            message.stage = Stage::Removing;
            self.out.push_back(Action::Remove {
                id,
                place: message.place,
            });
        } else if message.attempted {
            let attempts = message.retry.attempts.saturating_add(1);
            let wait_ms = self.limits.schedule.wait_ms(attempts, &mut self.random);
            // Recipients of a blocked destination may have to wait longer or less; the message
            // comes back for whoever is first, but not before its own schedule allows.
            self.save(now, id, attempts, wait_ms);
        } else if message.needs_saving() {
            let (attempts, wait_ms) = (message.retry.attempts, message.put_off_ms.max(1));
            self.save(now, id, attempts, wait_ms);
        } else {
            let (place, repeat, wait_ms) =
                (message.place, message.repeat, message.put_off_ms.max(1));
            let parked = message.parked;
            self.active.remove(&id);
            self.out.push_back(Action::PutOff(id));
            match parked {
                // It comes back as soon as there is room in the lane.
                Some(lane) if self.lanes.park(lane, (id, place, repeat)) => {
                    self.known.insert(id, Whereabouts::Waiting);
                }
                Some(_) => self.wait(now, id, place, repeat, 0),
                None => self.wait(now, id, place, repeat, wait_ms),
            }
        }
    }

    fn save(&mut self, now: Now, id: QueueId, attempts: u32, wait_ms: u64) {
        let Some(message) = self.active.get_mut(&id) else {
            return;
        };
        message.stage = Stage::Saving(wait_ms);
        let due = now
            .unix
            .saturating_add(i64::try_from(wait_ms / 1_000).unwrap_or(i64::MAX));
        let last = if message.attempted {
            now.unix
        } else {
            message.retry.last
        };
        message.retry = Retry {
            due,
            last,
            attempts,
            warned: message.retry.warned,
        };
        let deferral = Deferral {
            marks: message.unsaved_marks(),
            retry: message.retry,
            outcomes: std::mem::take(&mut message.outcomes),
            durable: message.durable,
        };
        self.out.push_back(Action::Save {
            id,
            place: message.place,
            deferral,
        });
    }

    fn saved(&mut self, now: Now, id: QueueId, worked: bool) {
        let Some(message) = self.active.get(&id) else {
            return;
        };
        let Stage::Saving(wait_ms) = message.stage else {
            return;
        };
        let place = if worked {
            let attempts = message.retry.attempts;
            self.out.push_back(Action::Note(Note::Deferred {
                id,
                attempts,
                wait_ms,
            }));
            Place::Deferred
        } else {
            let marks = message.unsaved_marks();
            if !marks.is_empty() {
                self.unwritten.insert(id, marks);
            }
            message.place
        };
        self.active.remove(&id);
        self.wait(now, id, place, true, wait_ms);
    }

    fn reported(&mut self, now: Now, id: QueueId, worked: bool) {
        let Some(message) = self.active.get_mut(&id) else {
            return;
        };
        if message.stage != Stage::Reporting {
            return;
        }
        message.stage = Stage::Delivering;
        let failed: Vec<u32> = message
            .failures
            .drain(..)
            .map(|failure| failure.index)
            .collect();
        if worked {
            let marks = message.done(&failed, State::Failed);
            if message.unfinished() > 0 {
                message.durable = true;
                self.out.push_back(Action::Mark {
                    id,
                    place: message.place,
                    marks,
                });
            }
        } else {
            // The sender must be told, so the recipients are tried again until he can be.
            message.put_off(&failed, TROUBLE_MS, None);
        }
        self.conclude(now, id);
    }

    fn removed(&mut self, now: Now, id: QueueId, worked: bool) {
        let Some(message) = self.active.get_mut(&id) else {
            return;
        };
        if message.stage != Stage::Removing {
            return;
        }
        if worked {
            self.active.remove(&id);
            self.known.remove(&id);
        } else {
            // It stays, so what was done must be written down.
            message.durable = true;
            let attempts = message.retry.attempts;
            self.save(now, id, attempts, TROUBLE_MS);
        }
    }

    /// Starts what can be started.
    fn advance(&mut self, now: Now) {
        while let Some(number) = self.running.pop_overdue(now.mono_ms) {
            if self.unanswered(now, number) {
                self.out.push_back(Action::Abandon(number));
            }
        }
        if self.draining {
            return;
        }
        while let Some((id, place, repeat)) = self.waiting.pop_due(now.mono_ms) {
            self.known.insert(id, Whereabouts::Fresh);
            self.fresh.push_back((id, place, repeat));
        }
        self.load();
        self.lanes.forget(now.mono_ms);
        while let Some(job) = self.lanes.next() {
            self.start(now, job);
        }
        let room = self.lanes.unparked();
        if !room.is_empty() {
            for (id, place, repeat) in room {
                self.known.insert(id, Whereabouts::Fresh);
                self.fresh.push_back((id, place, repeat));
            }
            self.load();
        }
    }

    fn load(&mut self) {
        while self.active.len() + self.loading < ACTIVE_MAX {
            let Some((id, place, check)) = self.fresh.pop_front() else {
                break;
            };
            self.loading += 1;
            self.known.insert(id, Whereabouts::Loading(place, check));
            self.out.push_back(Action::Load { id, place, check });
        }
    }

    fn start(&mut self, now: Now, job: Job) {
        let number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        let Some(message) = self.active.get_mut(&job.id) else {
            return;
        };
        message.set(&job.indices, Part::Running);
        let repeat = message.repeat || message.retry.attempts > 0;
        let (longest_ms, action) = match self.lanes.key(job.lane) {
            LaneKey::Local(user) => (
                self.limits.local_answer_ms,
                Action::Local {
                    number,
                    id: job.id,
                    user,
                    index: job.indices.first().copied().unwrap_or(0),
                    repeat,
                },
            ),
            LaneKey::Remote(hop) => (
                REMOTE_ANSWER_MAX_MS,
                Action::Remote {
                    number,
                    id: job.id,
                    hop,
                    indices: job.indices.clone(),
                },
            ),
        };
        let overdue = now.mono_ms.saturating_add(longest_ms);
        self.running.insert(number, job, overdue);
        self.out.push_back(action);
    }
}
