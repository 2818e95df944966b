//! Five days in a moment: a virtual clock, a disk in memory, seeded failures everywhere.
//!
//! The same seed gives the same run. After each run: every recipient of every message ended
//! exactly once, nothing is left, nothing was delivered twice without a crash or a deliverer
//! that went away in between. `HIKYAKU_SEEDS` asks for more seeds per scenario than the few that
//! every run of the tests takes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;

use queue::format::envelope::Arrival;
use queue::wire::Content;
use queue::{Envelope, Recipient, Role};

use super::*;

const START: i64 = 1_700_000_000;
const LOCAL_ANSWER_MS: u64 = 900_000;

struct Addresses;

impl Resolve for Addresses {
    fn resolve(&self, address: &str) -> Route {
        match address.split_once('@') {
            Some((_, "here")) if address.starts_with("nobody") => {
                Route::Nowhere(Status::NO_SUCH_MAILBOX, "no such user")
            }
            Some((user, "here")) => Route::Local(Arc::from(user)),
            Some((_, domain)) => Route::Remote(Arc::new(Hop::Mx(domain.into()))),
            None => Route::Nowhere(Status::FAILED, "bad address"),
        }
    }
}

/// How often, in percent, something goes wrong.
#[derive(Clone, Copy, Default)]
struct Trouble {
    disk: u64,
    defer: u64,
    fail: u64,
    void: u64,
    /// Deliveries that are never answered, or hours too late.
    hang: u64,
    /// One crash per so many events; 0: none.
    crash: u64,
}

#[derive(Clone)]
struct OnDisk {
    place: Place,
    envelope: Envelope,
    states: Vec<State>,
    retry: Retry,
}

#[derive(Default, Debug, Clone, PartialEq)]
struct Fate {
    delivered: u32,
    reported: u32,
    dropped: u32,
    /// It was under way when a process went away.
    disturbed: bool,
    local: bool,
}

struct World {
    now_ms: u64,
    random: Random,
    trouble: Trouble,
    disk: BTreeMap<QueueId, OnDisk>,
    /// Messages removed, with what they were: for the last count.
    gone: Vec<(QueueId, OnDisk)>,
    fates: HashMap<(QueueId, u32), Fate>,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    payload: HashMap<u64, Event>,
    serial: u64,
    running: HashMap<u64, (QueueId, Vec<u32>)>,
    lanes: HashMap<u64, LaneKey>,
    dead: Vec<String>,
    notes: usize,
    seed: u64,
}

fn limits() -> Limits {
    Limits {
        schedule: Schedule::new(
            &[60, 300, 900, 3_600, 10_800].map(Duration::from_secs),
            Duration::from_secs(432_000),
        ),
        local: 20,
        local_per_user: 2,
        local_answer_ms: LOCAL_ANSWER_MS,
        remote: 30,
        remote_per_destination: 5,
    }
}

impl World {
    fn new(seed: u64, trouble: Trouble) -> Self {
        Self {
            now_ms: 0,
            random: Random::new(seed),
            trouble,
            disk: BTreeMap::new(),
            gone: Vec::new(),
            fates: HashMap::new(),
            events: BinaryHeap::new(),
            payload: HashMap::new(),
            serial: 0,
            running: HashMap::new(),
            lanes: HashMap::new(),
            dead: vec!["dead1".into(), "dead2".into()],
            notes: 0,
            seed,
        }
    }

    fn now(&self) -> Now {
        Now {
            mono_ms: self.now_ms,
            unix: START + (self.now_ms / 1_000) as i64,
        }
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.random.next() % 100 < percent
    }

    fn after(&mut self, delay_ms: u64, event: Event) {
        self.serial += 1;
        self.events
            .push(Reverse((self.now_ms + delay_ms, self.serial)));
        self.payload.insert(self.serial, event);
    }

    /// Puts a message on the disk and announces it.
    fn submit(&mut self, delay_ms: u64, envelope: Envelope) -> QueueId {
        self.serial += 1;
        let id = QueueId::new(self.serial, self.random.next());
        let states = vec![State::Waiting; envelope.recipients.len()];
        self.disk.insert(
            id,
            OnDisk {
                place: Place::Incoming,
                envelope,
                states,
                retry: Retry::default(),
            },
        );
        self.after(
            delay_ms,
            Event::Found {
                id,
                place: Place::Incoming,
                due: 0,
                repeat: false,
            },
        );
        id
    }

    fn letter(&mut self) {
        let senders = ["s@here", "s@elsewhere", "", "s@dead1", "nobody@here"];
        let from = senders[(self.random.next() % senders.len() as u64) as usize];
        let count = 1 + self.random.next() % 6;
        let recipients = (0..count)
            .map(|n| {
                let who = self.random.next() % 9;
                let to = match who {
                    0..=2 => format!("user{who}@here"),
                    3 => format!("nobody{n}@here"),
                    4..=6 => format!("r{n}@domain{}", who % 3),
                    7 => format!("r{n}@dead1"),
                    _ => format!("r{n}@dead2"),
                };
                Recipient::new(to)
            })
            .collect();
        let delay = self.random.next() % 3_600_000;
        let arrival = Arrival {
            time: START + (delay / 1_000) as i64,
            ..Arrival::default()
        };
        let envelope = Envelope {
            reverse_path: from.into(),
            recipients,
            arrival,
            ..Envelope::default()
        };
        self.submit(delay, envelope);
    }

    fn fate(&mut self, id: QueueId, index: u32) -> &mut Fate {
        self.fates.entry((id, index)).or_default()
    }

    fn perform(&mut self, sched: &Sched<Addresses>, action: Action) {
        let broken = self.trouble.disk > 0 && {
            let percent = self.trouble.disk;
            self.chance(percent)
        };
        match action {
            Action::Load {
                id,
                place,
                check: _,
            } => {
                let event = match self.disk.get(&id) {
                    _ if broken => Event::NotLoaded(id, LoadError::Trouble),
                    Some(file) if file.place == place => Event::Loaded {
                        id,
                        envelope: Box::new(file.envelope.clone()),
                        states: file.states.clone(),
                        retry: file.retry,
                        content: Content {
                            offset: 0,
                            length: 0,
                        },
                    },
                    _ => Event::NotLoaded(id, LoadError::Gone),
                };
                self.after(0, event);
            }
            Action::Local {
                number,
                id,
                user,
                index,
                repeat,
            } => {
                assert_eq!(
                    sched.message(id).unwrap().address(index).split('@').next(),
                    Some(&*user)
                );
                self.lane(number, LaneKey::Local(user), 2);
                self.running.insert(number, (id, vec![index]));
                self.fate(id, index).local = true;
                let delay = 1 + self.random.next() % 50;
                if self.chance(self.trouble.void) {
                    if self.random.next().is_multiple_of(2) {
                        self.deliver(id, index, repeat);
                    }
                    self.fate(id, index).disturbed = true;
                    self.after(delay, Event::Void(number));
                    return;
                }
                let status = self.status();
                if status == Status::DELIVERED {
                    self.deliver(id, index, repeat);
                }
                let delay = delay + self.hang(id, index);
                let answer = Answer {
                    status,
                    scope: Scope::Recipient,
                    host: String::new(),
                    text: "t".into(),
                    recipients: vec![],
                };
                self.after(delay, Event::Answered(number, answer));
            }
            Action::Remote {
                number,
                id,
                hop,
                indices,
            } => {
                let Hop::Mx(domain) = &*hop else { panic!() };
                self.lane(number, LaneKey::Remote(Arc::clone(&hop)), 5);
                assert!(!indices.is_empty() && indices.len() <= RECIPIENTS_MAX);
                self.running.insert(number, (id, indices.clone()));
                let delay = 10 + self.random.next() % 2_000;
                if self.dead.contains(domain) {
                    let answer = Answer {
                        status: Status::DEFERRED,
                        scope: Scope::Destination,
                        host: String::new(),
                        text: "refused".into(),
                        recipients: vec![],
                    };
                    self.after(delay, Event::Answered(number, answer));
                    return;
                }
                if self.chance(self.trouble.void) {
                    for &index in &indices {
                        self.fate(id, index).disturbed = true;
                    }
                    self.after(delay, Event::Void(number));
                    return;
                }
                let delay = delay + self.hang(id, indices[0]);
                for index in indices {
                    if delay > REMOTE_ANSWER_MAX_MS {
                        self.fate(id, index).disturbed = true;
                    }
                    let status = self.status();
                    if status == Status::DELIVERED {
                        self.deliver(id, index, false);
                    }
                    let answer = Answer {
                        status,
                        scope: Scope::Recipient,
                        host: "h".into(),
                        text: "t".into(),
                        recipients: vec![index],
                    };
                    self.after(delay, Event::Answered(number, answer));
                }
            }
            Action::Mark { id, place, marks } => {
                let file = self.disk.get_mut(&id).unwrap();
                assert_eq!(file.place, place);
                for (index, state) in marks {
                    file.states[index as usize] = state;
                }
            }
            Action::Save {
                id,
                place,
                deferral,
            } => {
                if !broken {
                    let file = self.disk.get_mut(&id).unwrap();
                    assert_eq!(file.place, place);
                    file.place = Place::Deferred;
                    file.retry = deferral.retry;
                    for (index, state) in deferral.marks {
                        file.states[index as usize] = state;
                    }
                }
                self.after(1, Event::Saved(id, !broken));
            }
            Action::Report {
                id,
                place: _,
                to,
                failures,
            } => {
                let mut stored = None;
                if !broken {
                    let envelope = &sched.message(id).unwrap().envelope;
                    let address = match to {
                        Addressee::Sender => envelope.reverse_path.clone(),
                        Addressee::Postmaster => "postmaster@here".into(),
                    };
                    assert!(!address.is_empty());
                    let role = if to == Addressee::Sender {
                        Role::Report
                    } else {
                        Role::Mx
                    };
                    for failure in &failures {
                        self.fate(id, failure.index).reported += 1;
                    }
                    let arrival = Arrival {
                        time: self.now().unix,
                        role,
                        ..Arrival::default()
                    };
                    let report = Envelope {
                        recipients: vec![Recipient::new(address)],
                        arrival,
                        ..Envelope::default()
                    };
                    stored = Some(self.submit(0, report));
                }
                self.after(1, Event::Reported(id, stored));
            }
            Action::Remove { id, place } => {
                if !broken {
                    let file = self.disk.remove(&id).unwrap();
                    assert_eq!(file.place, place);
                    self.gone.push((id, file));
                }
                self.after(0, Event::Removed(id, !broken));
            }
            Action::Note(Note::Dropped { id, indices }) => {
                for index in indices {
                    self.fate(id, index).dropped += 1;
                }
            }
            Action::Abandon(number) => {
                self.lanes.remove(&number);
                self.running.remove(&number);
            }
            Action::PutOff(_) => {}
            Action::Note(_) => self.notes += 1,
        }
    }

    /// How much later than usual a deliverer answers, in milliseconds: mostly not at all.
    fn hang(&mut self, id: QueueId, index: u32) -> u64 {
        if !self.chance(self.trouble.hang) {
            return 0;
        }
        self.fate(id, index).disturbed = true;
        REMOTE_ANSWER_MAX_MS + self.random.next() % 1_000
    }

    fn status(&mut self) -> Status {
        if self.chance(self.trouble.defer) {
            Status::DEFERRED
        } else if self.chance(self.trouble.fail) {
            Status::FAILED
        } else {
            Status::DELIVERED
        }
    }

    /// A mailbox that is asked to look finds its own copy.
    fn deliver(&mut self, id: QueueId, index: u32, repeat: bool) {
        let fate = self.fate(id, index);
        if !(repeat && fate.local && fate.delivered > 0) {
            fate.delivered += 1;
        }
    }

    fn lane(&mut self, number: u64, key: LaneKey, most: usize) {
        let running = self.lanes.values().filter(|other| **other == key).count() + 1;
        assert!(running <= most, "{key:?}: {running} at once");
        self.lanes.insert(number, key);
    }

    fn scan(&mut self) -> Vec<Event> {
        let found = |(id, file): (&QueueId, &OnDisk)| Event::Found {
            id: *id,
            place: file.place,
            due: file.retry.due,
            repeat: true,
        };
        self.disk.iter().map(found).collect()
    }

    /// Runs until nothing is left; gives the number of events.
    fn run(&mut self, days_max: u64) -> u64 {
        let mut sched = Sched::new(limits(), Addresses, self.seed);
        let mut steps = 0;
        loop {
            let event_at = self.events.peek().map(|Reverse((at, _))| *at);
            let tick_at = sched.next_tick();
            let Some(at) = [event_at, tick_at].into_iter().flatten().min() else {
                break;
            };
            self.now_ms = self.now_ms.max(at);
            assert!(
                self.now_ms < days_max * 86_400_000,
                "still at it: {:?} {:?}",
                sched.depth(),
                self.disk.len()
            );
            let event = if event_at == Some(at) {
                let Some(Reverse((_, serial))) = self.events.pop() else {
                    break;
                };
                self.payload.remove(&serial).unwrap()
            } else {
                Event::Tick
            };
            match &event {
                Event::Answered(number, answer) => {
                    if let Some((_, left)) = self.running.get_mut(number) {
                        left.retain(|index| {
                            !answer.recipients.is_empty() && !answer.recipients.contains(index)
                        });
                        if left.is_empty() {
                            self.lanes.remove(number);
                            self.running.remove(number);
                        }
                    }
                }
                Event::Void(number) => {
                    self.lanes.remove(number);
                    self.running.remove(number);
                }
                _ => {}
            }
            sched.on(self.now(), event);
            while let Some(action) = sched.action() {
                self.perform(&sched, action);
            }
            steps += 1;
            if self.trouble.crash > 0 && self.random.next().is_multiple_of(self.trouble.crash) {
                // All that was under way and all answers are gone; the disk stays. Announcements
                // of messages not yet submitted stay too: they are the future.
                let running: Vec<_> = self.running.drain().collect();
                for (_, (id, indices)) in running {
                    for index in indices {
                        self.fate(id, index).disturbed = true;
                    }
                }
                for ((id, index), fate) in &mut self.fates {
                    // Delivered, but perhaps not yet marked.
                    let file = self.disk.get(id);
                    fate.disturbed |=
                        file.is_some_and(|file| file.states[*index as usize] == State::Waiting);
                }
                self.lanes.clear();
                self.payload
                    .retain(|_, event| matches!(event, Event::Found { .. }));
                let payload = &self.payload;
                self.events
                    .retain(|Reverse((_, serial))| payload.contains_key(serial));
                self.seed = self.random.next();
                sched = Sched::new(limits(), Addresses, self.seed);
                for event in self.scan() {
                    sched.on(self.now(), event);
                    while let Some(action) = sched.action() {
                        self.perform(&sched, action);
                    }
                }
            }
        }
        assert_eq!(sched.depth(), (0, 0, 0));
        assert_eq!(sched.running(), 0);
        steps
    }

    fn check(&self) {
        assert!(self.disk.is_empty(), "left: {:?}", self.disk.keys());
        for (id, file) in &self.gone {
            for index in 0..file.envelope.recipients.len() as u32 {
                let fate = self.fates.get(&(*id, index)).cloned().unwrap_or_default();
                let ends = fate.delivered + fate.reported + fate.dropped;
                assert!(ends >= 1, "{id} {index}: lost, {fate:?}");
                if !fate.disturbed {
                    assert_eq!(ends, 1, "{id} {index}: {fate:?}");
                }
                if fate.local {
                    assert!(fate.delivered <= 1, "{id} {index}: {fate:?}");
                }
            }
        }
    }
}

fn simulate(seed: u64, letters: usize, trouble: Trouble) -> u64 {
    let mut world = World::new(seed, trouble);
    for _ in 0..letters {
        world.letter();
    }
    // Lifetime, then the bounces' own lifetimes.
    let steps = world.run(30);
    world.check();
    steps
}

/// Seeds of one scenario, from `first` on.
fn seeds(first: u64) -> std::ops::Range<u64> {
    let count = std::env::var("HIKYAKU_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(6);
    first..first + count
}

#[test]
fn all_is_well() {
    let steps = simulate(1, 200, Trouble::default());
    assert!(steps > 1_000);
}

#[test]
fn deferrals_and_failures() {
    for seed in seeds(0) {
        simulate(
            seed,
            60,
            Trouble {
                defer: 40,
                fail: 10,
                ..Trouble::default()
            },
        );
    }
}

#[test]
fn broken_disk_and_deliverers_that_go_away() {
    for seed in seeds(1_000_000) {
        simulate(
            seed,
            60,
            Trouble {
                disk: 15,
                defer: 20,
                fail: 5,
                void: 10,
                hang: 0,
                crash: 0,
            },
        );
    }
}

#[test]
fn deliverers_that_hang() {
    for seed in seeds(3_000_000) {
        simulate(
            seed,
            60,
            Trouble {
                defer: 20,
                fail: 5,
                hang: 15,
                ..Trouble::default()
            },
        );
    }
}

#[test]
fn crashes() {
    for seed in seeds(2_000_000) {
        simulate(
            seed,
            40,
            Trouble {
                disk: 5,
                defer: 20,
                fail: 5,
                void: 5,
                hang: 3,
                crash: 150,
            },
        );
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let trouble = Trouble {
        disk: 5,
        defer: 20,
        fail: 5,
        void: 5,
        hang: 3,
        crash: 0,
    };
    assert_eq!(simulate(7, 50, trouble), simulate(7, 50, trouble));
}
