//! Lanes: one per mailbox user and per destination, each with a window and, when the
//! destination as a whole is out of order, a time until which nothing is tried.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use queue::{Place, QueueId};

use super::random::Random;
use super::{Answer, Limits};

/// Transactions at once to a destination that nothing is known of.
const WINDOW_START: f32 = 2.0;

/// First wait after a destination failed, in milliseconds; doubles with each further failure.
/// Where the schedule begins with a shorter wait, that one.
const BACKOFF_FIRST_MS: u64 = 30_000;

/// Longest wait for a destination, in milliseconds.
const BACKOFF_MAX_MS: u64 = 1_800_000;

/// Messages taken back into memory at once when a lane has run empty.
const UNPARK_BATCH: usize = 100;

/// Lanes kept only for what they remember of their destination.
const IDLE_MAX: usize = 10_000;

/// A next hop, owned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    /// By the MX records of a domain.
    Mx(String),
    /// A fixed host and port.
    Host(String, u16),
}

/// What a lane leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LaneKey {
    /// The mailbox of a user.
    Local(Arc<str>),
    /// Another host.
    Remote(Arc<Hop>),
}

/// Some recipients of one message that go one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: QueueId,
    pub(super) lane: usize,
    pub(super) indices: Vec<u32>,
}

/// A message that waits outside memory for room in a lane: id, place, whether to look for copies.
pub(super) type Parked = (QueueId, Place, bool);

/// Why and for how long a destination is left alone.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Milliseconds from now.
    pub(super) wait_ms: u64,
    /// Failures in a row.
    pub(super) failures: u32,
    /// What the last one was.
    pub(super) last: Arc<Answer>,
}

#[derive(Debug)]
struct Lane {
    key: LaneKey,
    jobs: VecDeque<Job>,
    parked: VecDeque<Parked>,
    running: usize,
    /// How many may run at once; grows by one per window of successes, halves with a failure.
    window: f32,
    /// Failures of the destination since its last success.
    failures: u32,
    blocked_until: u64,
    last: Option<Arc<Answer>>,
    /// It is in the ring of lanes that may start something.
    ready: bool,
}

impl Lane {
    fn idle(&self) -> bool {
        self.jobs.is_empty() && self.parked.is_empty() && self.running == 0
    }
}

/// How many of a kind run, and how many may.
#[derive(Debug)]
struct Share {
    running: usize,
    most: usize,
}

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    by_key: HashMap<LaneKey, usize>,
    lanes: Vec<Option<Lane>>,
    free: Vec<usize>,
    /// Lanes with work, in turn; one ring per kind, so that one kind's limit is not the other's.
    local: VecDeque<usize>,
    remote: VecDeque<usize>,
    local_share: Share,
    remote_share: Share,
    per_user: f32,
    per_destination: f32,
    remembered: usize,
    /// The first wait for a destination that failed, in milliseconds.
    backoff_first_ms: u64,
    /// Messages whose lane has room again.
    unparked: Vec<Parked>,
}

impl Lanes {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            by_key: HashMap::new(),
            lanes: Vec::new(),
            free: Vec::new(),
            local: VecDeque::new(),
            remote: VecDeque::new(),
            local_share: Share {
                running: 0,
                most: limits.local.max(1),
            },
            remote_share: Share {
                running: 0,
                most: limits.remote.max(1),
            },
            per_user: limits.local_per_user.max(1) as f32,
            per_destination: limits.remote_per_destination.max(1) as f32,
            remembered: 0,
            backoff_first_ms: BACKOFF_FIRST_MS.min(limits.schedule.first_ms()),
            unparked: Vec::new(),
        }
    }

    fn lane(&mut self, lane: usize) -> Option<&mut Lane> {
        self.lanes.get_mut(lane).and_then(Option::as_mut)
    }

    /// The lane of this key, new if need be.
    pub(super) fn open(&mut self, key: LaneKey) -> usize {
        if let Some(&lane) = self.by_key.get(&key) {
            return lane;
        }
        let window = match &key {
            LaneKey::Local(_) => self.per_user,
            LaneKey::Remote(_) => self.per_destination.min(WINDOW_START),
        };
        let fresh = Lane {
            key: key.clone(),
            jobs: VecDeque::new(),
            parked: VecDeque::new(),
            running: 0,
            window,
            failures: 0,
            blocked_until: 0,
            last: None,
            ready: false,
        };
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(slot) = self.lanes.get_mut(place) {
                    *slot = Some(fresh);
                }
                place
            }
            None => {
                self.lanes.push(Some(fresh));
                self.lanes.len() - 1
            }
        };
        self.by_key.insert(key, place);
        place
    }

    pub(super) fn key(&self, lane: usize) -> LaneKey {
        let unknown = || LaneKey::Local(Arc::from(""));
        self.lanes
            .get(lane)
            .and_then(Option::as_ref)
            .map_or_else(unknown, |lane| lane.key.clone())
    }

    /// How long the destination has to be left alone still, and what was wrong with it.
    pub(super) fn blocked(&mut self, lane: usize, now_ms: u64) -> Option<Block> {
        let lane = self.lane(lane)?;
        let wait_ms = lane
            .blocked_until
            .checked_sub(now_ms)
            .filter(|wait| *wait > 0)?;
        Some(Block {
            wait_ms,
            failures: lane.failures,
            last: Arc::clone(lane.last.as_ref()?),
        })
    }

    /// Whether a lane has more jobs than are allowed now, or messages that came before.
    pub(super) fn is_full(&mut self, lane: usize, allowed: usize) -> bool {
        self.lane(lane)
            .is_some_and(|lane| !lane.jobs.is_empty() && lane.jobs.len() >= allowed)
    }

    /// Lets a message wait for room; `false`: there is room already.
    pub(super) fn park(&mut self, lane: usize, parked: Parked) -> bool {
        let Some(lane) = self.lane(lane).filter(|lane| !lane.jobs.is_empty()) else {
            return false;
        };
        lane.parked.push_back(parked);
        true
    }

    /// Messages that may come back into memory now.
    pub(super) fn unparked(&mut self) -> Vec<Parked> {
        std::mem::take(&mut self.unparked)
    }

    pub(super) fn push(&mut self, place: usize, job: Job) {
        if let Some(lane) = self.lane(place) {
            lane.jobs.push_back(job);
        }
        self.make_ready(place);
    }

    /// Takes everything that waits out of a lane.
    pub(super) fn clear(&mut self, place: usize) -> (VecDeque<Job>, VecDeque<Parked>) {
        let Some(lane) = self.lane(place) else {
            return Default::default();
        };
        (
            std::mem::take(&mut lane.jobs),
            std::mem::take(&mut lane.parked),
        )
    }

    /// Puts a lane that can start something at the end of its ring.
    fn make_ready(&mut self, place: usize) {
        let Some(lane) = self.lane(place) else { return };
        if lane.ready || lane.jobs.is_empty() || lane.running as f32 >= lane.window.floor().max(1.0)
        {
            return;
        }
        lane.ready = true;
        match lane.key {
            LaneKey::Local(_) => self.local.push_back(place),
            LaneKey::Remote(_) => self.remote.push_back(place),
        }
    }

    /// The next job to start: lanes take turns.
    pub(super) fn next(&mut self) -> Option<Job> {
        loop {
            let local = self.local_share.running < self.local_share.most;
            let remote = self.remote_share.running < self.remote_share.most;
            let place = if local && !self.local.is_empty() {
                self.local.pop_front()?
            } else if remote {
                self.remote.pop_front()?
            } else {
                return None;
            };
            let Some(lane) = self.lane(place) else {
                continue;
            };
            lane.ready = false;
            let Some(job) = lane.jobs.pop_front() else {
                self.retire(place);
                continue;
            };
            lane.running += 1;
            // One in, one out; an empty lane takes what is there in one go.
            let room = if lane.jobs.is_empty() {
                UNPARK_BATCH
            } else {
                1
            };
            let back: Vec<Parked> = lane.parked.drain(..room.min(lane.parked.len())).collect();
            match lane.key {
                LaneKey::Local(_) => self.local_share.running += 1,
                LaneKey::Remote(_) => self.remote_share.running += 1,
            }
            self.unparked.extend(back);
            self.make_ready(place);
            return Some(job);
        }
    }

    /// A job of this lane is over.
    pub(super) fn finished(&mut self, place: usize) {
        let Some(lane) = self.lane(place) else { return };
        lane.running = lane.running.saturating_sub(1);
        let share = match lane.key {
            LaneKey::Local(_) => &mut self.local_share,
            LaneKey::Remote(_) => &mut self.remote_share,
        };
        share.running = share.running.saturating_sub(1);
        self.make_ready(place);
        self.retire(place);
    }

    /// The destination did its part (whatever it said about the recipients).
    pub(super) fn worked(&mut self, place: usize) {
        let most = self.per_destination;
        let Some(lane) = self.lane(place) else { return };
        if matches!(lane.key, LaneKey::Remote(_)) {
            lane.window = (lane.window + 1.0 / lane.window).min(most);
        }
        let remembered = std::mem::take(&mut lane.failures) > 0;
        lane.blocked_until = 0;
        lane.last = None;
        self.remembered = self.remembered.saturating_sub(usize::from(remembered));
        self.make_ready(place);
        self.retire(place);
    }

    /// The destination as a whole failed. Gives its key and how long it is left alone, unless
    /// another transaction has found the same thing before.
    pub(super) fn failed(
        &mut self,
        place: usize,
        now_ms: u64,
        answer: &Answer,
        random: &mut Random,
    ) -> Option<(LaneKey, u64)> {
        let first_ms = self.backoff_first_ms;
        let lane = self.lane(place)?;
        if lane.blocked_until > now_ms {
            return None;
        }
        let shift = lane.failures.min(16);
        lane.failures = lane.failures.saturating_add(1);
        let wait = random.around((first_ms << shift).min(BACKOFF_MAX_MS));
        lane.blocked_until = now_ms + wait;
        // The first try afterwards is made alone.
        lane.window = 1.0;
        lane.last = Some(Arc::new(Answer {
            recipients: Vec::new(),
            ..answer.clone()
        }));
        let key = lane.key.clone();
        self.remembered += usize::from(shift == 0);
        Some((key, wait))
    }

    /// Keeps the memory for destinations that failed bounded.
    pub(super) fn forget(&mut self, now_ms: u64) {
        if self.remembered <= IDLE_MAX {
            return;
        }
        // Too many dead destinations to remember: those whose time is over go.
        let over: Vec<usize> = (0..self.lanes.len())
            .filter(|&place| {
                self.lane(place)
                    .is_some_and(|lane| lane.idle() && lane.blocked_until <= now_ms)
            })
            .collect();
        for place in over {
            if let Some(lane) = self.lane(place) {
                lane.failures = 0;
            }
            self.remembered = self.remembered.saturating_sub(1);
            self.retire(place);
        }
    }

    /// Forgets a lane that has nothing to do and nothing to remember.
    fn retire(&mut self, place: usize) {
        let Some(lane) = self.lane(place) else { return };
        if !lane.idle() || lane.ready || lane.failures > 0 {
            return;
        }
        let key = lane.key.clone();
        self.by_key.remove(&key);
        if let Some(slot) = self.lanes.get_mut(place) {
            *slot = None;
        }
        self.free.push(place);
    }
}
