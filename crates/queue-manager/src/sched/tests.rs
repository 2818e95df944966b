//! The scheduler, event by event.

use std::time::Duration;

use queue::format::envelope::{Arrival, Notify};
use queue::wire::Content;
use queue::{Envelope, Recipient, Role};

use super::*;

struct Addresses;

impl Resolve for Addresses {
    fn resolve(&self, address: &str) -> Route {
        match address.split_once('@') {
            Some(("nobody", "here")) => Route::Nowhere(Status::NO_SUCH_MAILBOX, "no such user"),
            Some((user, "here")) => Route::Local(Arc::from(user)),
            Some((_, domain)) => Route::Remote(Arc::new(Hop::Mx(domain.into()))),
            None => Route::Nowhere(Status::FAILED, "bad"),
        }
    }
}

const DAY_MS: u64 = 86_400_000;
const LOCAL_ANSWER_MS: u64 = 900_000;

fn limits() -> Limits {
    Limits {
        schedule: Schedule::new(
            &[60, 600].map(Duration::from_secs),
            Duration::from_secs(432_000),
        ),
        local: 4,
        local_per_user: 2,
        local_answer_ms: LOCAL_ANSWER_MS,
        remote: 6,
        remote_per_destination: 5,
    }
}

/// A scheduler with its clock, and a disk on which everything works.
struct Bench {
    sched: Sched<Addresses>,
    now: Now,
    serial: u64,
}

impl Bench {
    fn new() -> Self {
        Self {
            sched: Sched::new(limits(), Addresses, 5),
            now: Now {
                mono_ms: 1_000,
                unix: 1_700_000_000,
            },
            serial: 0,
        }
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.sched.on(self.now, event);
        std::iter::from_fn(|| self.sched.action()).collect()
    }

    fn later(&mut self, ms: u64) -> Vec<Action> {
        self.now.mono_ms += ms;
        self.now.unix += (ms / 1_000) as i64;
        self.on(Event::Tick)
    }

    fn letter(&self, from: &str, to: &[&str]) -> Envelope {
        Envelope {
            reverse_path: from.into(),
            recipients: to.iter().map(|address| Recipient::new(*address)).collect(),
            arrival: Arrival {
                time: self.now.unix,
                ..Arrival::default()
            },
            ..Envelope::default()
        }
    }

    fn load(&mut self, id: QueueId, envelope: Envelope, retry: Retry) -> Vec<Action> {
        let states = vec![State::Waiting; envelope.recipients.len()];
        let content = Content {
            offset: 200,
            length: 10,
        };
        self.on(Event::Loaded {
            id,
            envelope: Box::new(envelope),
            states,
            retry,
            content,
        })
    }

    /// Announces a message, loads it, and gives what follows.
    fn submit(&mut self, envelope: Envelope) -> (QueueId, Vec<Action>) {
        self.serial += 1;
        let id = QueueId::new(self.serial, 1);
        let actions = self.on(Event::Found {
            id,
            place: Place::Incoming,
            due: 0,
            repeat: false,
        });
        assert_eq!(
            actions,
            [Action::Load {
                id,
                place: Place::Incoming,
                check: false
            }]
        );
        (id, self.load(id, envelope, Retry::default()))
    }

    fn send(&mut self, from: &str, to: &[&str]) -> (QueueId, Vec<Action>) {
        let letter = self.letter(from, to);
        self.submit(letter)
    }

    fn answer(&mut self, number: u64, status: Status, scope: Scope) -> Vec<Action> {
        let answer = Answer {
            status,
            scope,
            host: "h".into(),
            text: "t".into(),
            recipients: vec![],
        };
        self.on(Event::Answered(number, answer))
    }
}

/// Numbers of the deliveries among actions.
fn numbers(actions: &[Action]) -> Vec<u64> {
    let number = |action: &Action| match action {
        Action::Local { number, .. } | Action::Remote { number, .. } => Some(*number),
        _ => None,
    };
    actions.iter().filter_map(number).collect()
}

fn without_notes(actions: Vec<Action>) -> Vec<Action> {
    actions
        .into_iter()
        .filter(|action| !matches!(action, Action::Note(_)))
        .collect()
}

fn saved(actions: &[Action]) -> Option<&Deferral> {
    actions.iter().find_map(|action| match action {
        Action::Save { deferral, .. } => Some(deferral),
        _ => None,
    })
}

#[test]
fn delivered_at_first_try_is_removed_and_nothing_else() {
    let mut bench = Bench::new();
    let (id, actions) = bench.send("a@far", &["bo@here"]);
    let [
        Action::Local {
            number,
            user,
            index: 0,
            repeat: false,
            ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(&**user, "bo");
    let actions = without_notes(bench.answer(*number, Status::DELIVERED, Scope::Recipient));
    assert_eq!(
        actions,
        [Action::Remove {
            id,
            place: Place::Incoming
        }]
    );
    assert_eq!(bench.on(Event::Removed(id, true)), []);
    assert_eq!(bench.sched.depth(), (0, 0, 0));
    assert!(!bench.sched.knows(id));
}

#[test]
fn an_announcement_twice_is_one_message() {
    let mut bench = Bench::new();
    let (id, _) = bench.send("a@far", &["bo@here"]);
    assert_eq!(
        bench.on(Event::Found {
            id,
            place: Place::Incoming,
            due: 0,
            repeat: true
        }),
        []
    );
}

#[test]
fn transactions_hold_a_hundred() {
    for (count, sizes) in [
        (1, vec![1]),
        (99, vec![99]),
        (100, vec![100]),
        (101, vec![100, 1]),
        (250, vec![100, 100, 50]),
    ] {
        let mut bench = Bench::new();
        let all: Vec<String> = (0..count).map(|n| format!("r{n}@far")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let (_, mut actions) = bench.send("a@here", &all);
        let mut got = Vec::new();
        while let Some(number) = numbers(&actions).first().copied() {
            got.extend(actions.iter().filter_map(|action| match action {
                Action::Remote { indices, .. } => Some(indices.len()),
                _ => None,
            }));
            // The window is two, so the third comes after an answer.
            let next = numbers(&actions).get(1).copied();
            actions = bench.answer(number, Status::DELIVERED, Scope::Recipient);
            if let Some(next) = next {
                actions.extend(bench.answer(next, Status::DELIVERED, Scope::Recipient));
            }
        }
        assert_eq!(got, sizes);
    }
}

#[test]
fn users_and_destinations_have_limits_of_their_own() {
    let mut bench = Bench::new();
    let mut running = Vec::new();
    for _ in 0..5 {
        running.extend(numbers(&bench.send("a@far", &["bo@here"]).1));
    }
    assert_eq!(running.len(), 2, "two for one user");
    for _ in 0..3 {
        running.extend(numbers(&bench.send("a@far", &["cy@here"]).1));
    }
    assert_eq!(running.len(), 4, "four local ones in all");
    assert_eq!(numbers(&bench.send("a@far", &["di@here"]).1).len(), 0);
    assert_eq!(
        numbers(&bench.send("a@far", &["r@far"]).1).len(),
        1,
        "remote ones are counted apart"
    );
    // One of bo's ends: somebody else may have the place first, but it is taken.
    assert_eq!(
        numbers(&bench.answer(running[0], Status::DELIVERED, Scope::Recipient)).len(),
        1
    );
}

#[test]
fn the_window_of_a_destination_grows_with_success_up_to_its_limit() {
    let mut bench = Bench::new();
    let mut running = VecDeque::new();
    for _ in 0..60 {
        running.extend(numbers(&bench.send("a@here", &["r@far"]).1));
    }
    assert_eq!(running.len(), 2);
    let mut most = 0;
    while let Some(number) = running.pop_front() {
        running.extend(numbers(&bench.answer(
            number,
            Status::DELIVERED,
            Scope::Recipient,
        )));
        most = most.max(running.len());
    }
    assert_eq!(most, 5);
}

#[test]
fn a_dead_destination_is_not_tried_for_each_message() {
    let mut bench = Bench::new();
    let mut running = Vec::new();
    for _ in 0..50 {
        running.extend(numbers(&bench.send("a@here", &["r@dead"]).1));
    }
    assert_eq!(running.len(), 2);
    let actions = bench.answer(running[0], Status::DEFERRED, Scope::Destination);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Note(Note::Backoff { .. })))
    );
    // All that waited is put away without a try, with the reason written down.
    let put_away = actions
        .iter()
        .filter(|action| matches!(action, Action::Save { .. }))
        .count();
    assert_eq!(put_away, 49);
    let tried = actions.iter().filter(
        |action| matches!(action, Action::Save { deferral, .. } if deferral.retry.attempts == 1),
    );
    assert_eq!(tried.count(), 1);
    assert!(actions.iter().all(
        |action| !matches!(action, Action::Save { deferral, .. } if deferral.outcomes.is_empty())
    ));
    // What comes meanwhile is not tried either; others go on.
    assert!(numbers(&bench.send("a@here", &["r@dead"]).1).is_empty());
    assert_eq!(numbers(&bench.send("a@here", &["r@alive"]).1).len(), 1);
    // The other one that was running fails too: that is no second failure of the destination.
    let actions = bench.answer(running[1], Status::DEFERRED, Scope::Destination);
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Note(Note::Backoff { .. })))
    );
}

#[test]
fn after_its_wait_a_destination_is_tried_with_one_message_first() {
    let mut bench = Bench::new();
    let (first, actions) = bench.send("a@here", &["r@dead"]);
    bench.answer(numbers(&actions)[0], Status::DEFERRED, Scope::Destination);
    bench.on(Event::Saved(first, true));
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let (id, _) = bench.send("a@here", &["r@dead"]);
        bench.on(Event::Saved(id, true));
        waiting.push(id);
    }
    let actions = bench.later(40_000);
    let loads: Vec<QueueId> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Load {
                id,
                place: Place::Deferred,
                ..
            } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(loads.len(), 3, "{actions:?}");
    let mut running = Vec::new();
    for id in loads {
        let letter = bench.letter("a@here", &["r@dead"]);
        running.extend(numbers(&bench.load(id, letter, Retry::default())));
    }
    assert_eq!(running.len(), 1);
    // It works: the others follow.
    assert_eq!(
        numbers(&bench.answer(running[0], Status::DELIVERED, Scope::Recipient)).len(),
        2
    );
}

#[test]
fn a_permanent_answer_about_a_destination_blocks_nothing() {
    let mut bench = Bench::new();
    let (id, actions) = bench.send("a@here", &["r@nx"]);
    let actions = bench.answer(numbers(&actions)[0], Status::FAILED, Scope::Destination);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Report { id: about, .. } if *about == id))
    );
    assert_eq!(numbers(&bench.send("a@here", &["r@nx"]).1).len(), 1);
}

#[test]
fn lanes_take_turns() {
    let mut bench = Bench::new();
    let mut running = VecDeque::new();
    for _ in 0..20 {
        running.extend(numbers(&bench.send("bulk@here", &["r@many"]).1));
    }
    for name in ["r@one", "r@two"] {
        running.extend(numbers(&bench.send("a@here", &[name]).1));
    }
    // Two of the many, and each single one at once.
    assert_eq!(running.len(), 4);
}

#[test]
fn deferral_writes_attempt_reason_and_due_time() {
    let mut bench = Bench::new();
    let (id, actions) = bench.send("a@here", &["r@far"]);
    let actions = bench.answer(numbers(&actions)[0], Status::DEFERRED, Scope::Recipient);
    let deferral = saved(&actions).unwrap();
    assert_eq!(deferral.retry.attempts, 1);
    assert_eq!(deferral.retry.last, bench.now.unix);
    let wait = deferral.retry.due - bench.now.unix;
    assert!((54..=66).contains(&wait), "{wait}");
    assert_eq!(deferral.outcomes[0].text, "t");
    assert!(
        !deferral.durable,
        "nothing was done that must not be forgotten"
    );
    bench.on(Event::Saved(id, true));
    assert_eq!(bench.later(53_000), []);
    let actions = bench.later(14_000);
    assert_eq!(
        actions,
        [Action::Load {
            id,
            place: Place::Deferred,
            check: true
        }]
    );
}

#[test]
fn a_relayed_recipient_beside_a_deferred_one_is_written_durably() {
    let mut bench = Bench::new();
    let (id, actions) = bench.send("a@here", &["r@one", "r@two"]);
    let both = numbers(&actions);
    let actions = without_notes(bench.answer(both[0], Status::DELIVERED, Scope::Recipient));
    assert_eq!(
        actions,
        [Action::Mark {
            id,
            place: Place::Incoming,
            marks: vec![(0, State::Delivered)]
        }]
    );
    let actions = bench.answer(both[1], Status::DEFERRED, Scope::Recipient);
    let deferral = saved(&actions).unwrap();
    assert!(deferral.durable);
    assert_eq!(deferral.marks, [(0, State::Delivered)]);
}

#[test]
fn a_message_dies_of_age_not_of_a_jumping_clock() {
    let mut bench = Bench::new();
    let letter = bench.letter("a@here", &["r@far"]);
    // The clock jumps ten days ahead before the first attempt.
    bench.now.unix += 864_000;
    let (_, actions) = bench.submit(letter.clone());
    let actions = bench.answer(numbers(&actions)[0], Status::DEFERRED, Scope::Recipient);
    assert!(saved(&actions).is_some());
    // With attempts enough it is old.
    let id = QueueId::new(99, 1);
    bench.on(Event::Found {
        id,
        place: Place::Deferred,
        due: 0,
        repeat: false,
    });
    let retry = Retry {
        attempts: ATTEMPTS_BEFORE_EXPIRY - 1,
        ..Retry::default()
    };
    let actions = bench.load(id, letter.clone(), retry);
    let actions = bench.answer(numbers(&actions)[0], Status::DEFERRED, Scope::Recipient);
    let report = actions.iter().find_map(|action| match action {
        Action::Report { failures, .. } => Some(failures),
        _ => None,
    });
    assert_eq!(report.unwrap()[0].status, Status::EXPIRED);
    // One attempt fewer: not yet.
    let id = QueueId::new(99, 2);
    bench.on(Event::Found {
        id,
        place: Place::Deferred,
        due: 0,
        repeat: false,
    });
    let retry = Retry {
        attempts: ATTEMPTS_BEFORE_EXPIRY - 2,
        ..Retry::default()
    };
    let actions = bench.load(id, letter, retry);
    assert!(
        saved(&bench.answer(numbers(&actions)[0], Status::DEFERRED, Scope::Recipient)).is_some()
    );
}

#[test]
fn a_due_time_in_a_far_future_is_not_believed() {
    let mut bench = Bench::new();
    let id = QueueId::new(1, 1);
    let due = bench.now.unix + 10_000_000;
    assert_eq!(
        bench.on(Event::Found {
            id,
            place: Place::Deferred,
            due,
            repeat: true
        }),
        []
    );
    // The longest wait of the schedule is ten minutes and a tenth.
    assert_eq!(
        bench.later(662_000),
        [Action::Load {
            id,
            place: Place::Deferred,
            check: true
        }]
    );
}

#[test]
fn the_report_is_stored_before_the_recipient_is_marked() {
    let mut bench = Bench::new();
    let (id, actions) = bench.send("a@here", &["nobody@here", "bo@here"]);
    let numbers = numbers(&actions);
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Report { .. })),
        "one report for all"
    );
    let actions = bench.answer(numbers[0], Status::DEFERRED, Scope::Recipient);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Report { .. }))
    );
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Mark { .. } | Action::Save { .. }))
    );
    let actions = without_notes(bench.on(Event::Reported(id, Some(QueueId::new(9, 9)))));
    let [Action::Mark { marks, .. }, Action::Save { deferral, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(marks, &[(0, State::Failed)]);
    assert!(deferral.durable && deferral.marks == [(0, State::Failed)]);
}

#[test]
fn a_report_that_cannot_be_stored_keeps_the_recipient() {
    let mut bench = Bench::new();
    let (id, actions) = bench.send("a@here", &["nobody@here"]);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Report { .. }))
    );
    let actions = without_notes(bench.on(Event::Reported(id, None)));
    assert!(
        !actions
            .iter()
            .any(|action| matches!(action, Action::Remove { .. })),
        "{actions:?}"
    );
    assert!(bench.sched.knows(id));
}

#[test]
fn who_is_told() {
    for (from, role, to) in [
        ("a@here", Role::Mx, Some(Addressee::Sender)),
        ("", Role::Report, Some(Addressee::Postmaster)),
        ("", Role::Mx, None),
        ("", Role::Submission, None),
    ] {
        let mut bench = Bench::new();
        let mut letter = bench.letter(from, &["nobody@here"]);
        letter.arrival.role = role;
        let (id, actions) = bench.submit(letter);
        let told = actions.iter().find_map(|action| match action {
            Action::Report { to, .. } => Some(*to),
            _ => None,
        });
        assert_eq!(told, to, "{from} {role:?}");
        let removed = actions.contains(&Action::Remove {
            id,
            place: Place::Incoming,
        });
        assert_eq!(removed, to.is_none());
    }
}

#[test]
fn notify_never_is_heard() {
    let mut bench = Bench::new();
    let mut letter = bench.letter("a@here", &["nobody@here", "nobody@here"]);
    letter.recipients[0].notify = Some(Notify {
        success: false,
        failure: false,
        delay: false,
    });
    let (_, actions) = bench.submit(letter);
    let told = actions.iter().find_map(|action| match action {
        Action::Report { failures, .. } => Some(
            failures
                .iter()
                .map(|failure| failure.index)
                .collect::<Vec<_>>(),
        ),
        _ => None,
    });
    assert_eq!(told, Some(vec![1]));
}

#[test]
fn a_message_that_kills_its_deliverer_is_slowed_down() {
    let mut bench = Bench::new();
    let (id, actions) = bench.send("a@here", &["bo@here"]);
    let actions = without_notes(bench.on(Event::Void(numbers(&actions)[0])));
    assert_eq!(actions, [Action::PutOff(id)]);
    let actions = bench.later(1_200);
    assert_eq!(
        actions,
        [Action::Load {
            id,
            place: Place::Incoming,
            check: true
        }]
    );
    let letter = bench.letter("a@here", &["bo@here"]);
    let actions = bench.load(id, letter, Retry::default());
    assert!(matches!(actions[..], [Action::Local { repeat: true, .. }]));
    let actions = bench.on(Event::Void(numbers(&actions)[0]));
    assert_eq!(saved(&actions).unwrap().retry.attempts, 1);
}

#[test]
fn late_and_foreign_answers_change_nothing() {
    let mut bench = Bench::new();
    let (_, actions) = bench.send("a@here", &["r@far", "s@far"]);
    let number = numbers(&actions)[0];
    assert_eq!(
        bench.answer(
            number.wrapping_add(1_000),
            Status::DELIVERED,
            Scope::Recipient
        ),
        []
    );
    let answer = |recipients| Answer {
        status: Status::DELIVERED,
        scope: Scope::Recipient,
        host: "h".into(),
        text: String::new(),
        recipients,
    };
    assert_eq!(
        without_notes(bench.on(Event::Answered(number, answer(vec![7])))),
        []
    );
    assert_eq!(bench.sched.running(), 1);
    bench.on(Event::Answered(number, answer(vec![1])));
    assert_eq!(bench.sched.running(), 1);
    let actions = bench.on(Event::Answered(number, answer(vec![0])));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Remove { .. }))
    );
    assert_eq!(bench.on(Event::Answered(number, answer(vec![0]))), []);
}

#[test]
fn memory_is_bounded_and_a_full_lane_leaves_room_for_others() {
    let mut bench = Bench::new();
    let mut loaded = 0;
    // One slow destination gets far more than fits.
    let mut put_off = 0;
    for _ in 0..3 * ACTIVE_MAX / LANE_SHARE {
        let (_, actions) = bench.send("a@here", &["r@slow"]);
        put_off += actions
            .iter()
            .filter(|action| matches!(action, Action::PutOff(_)))
            .count();
        loaded = loaded.max(bench.sched.depth().0);
    }
    assert!(loaded <= ACTIVE_MAX / LANE_SHARE + 3, "{loaded}");
    assert!(put_off > ACTIVE_MAX / LANE_SHARE);
    // Somebody else is delivered at once.
    assert_eq!(numbers(&bench.send("a@here", &["r@quick"]).1).len(), 1);
}

#[test]
fn parked_messages_come_back_when_there_is_room() {
    let mut bench = Bench::new();
    let count = 2 * ACTIVE_MAX / LANE_SHARE;
    let mut running = VecDeque::new();
    for _ in 0..count {
        running.extend(numbers(&bench.send("a@here", &["bo@here"]).1));
    }
    let mut delivered = 0;
    while let Some(number) = running.pop_front() {
        delivered += 1;
        let mut actions = VecDeque::from(bench.answer(number, Status::DELIVERED, Scope::Recipient));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Load { id, .. } => {
                    let letter = bench.letter("a@here", &["bo@here"]);
                    actions.extend(bench.load(id, letter, Retry::default()));
                }
                Action::Local { number, .. } => running.push_back(number),
                Action::Remove { id, .. } => actions.extend(bench.on(Event::Removed(id, true))),
                _ => {}
            }
        }
    }
    // Without the clock having moved.
    assert_eq!(delivered, count);
    assert_eq!(bench.sched.depth(), (0, 0, 0));
}

#[test]
fn a_removal_that_fails_is_written_down_and_tried_again() {
    let mut bench = Bench::new();
    let (id, actions) = bench.send("a@here", &["bo@here"]);
    bench.answer(numbers(&actions)[0], Status::DELIVERED, Scope::Recipient);
    let actions = bench.on(Event::Removed(id, false));
    assert_eq!(saved(&actions).unwrap().marks, [(0, State::Delivered)]);
    // That fails as well: the state is kept in memory.
    bench.on(Event::Saved(id, false));
    bench.later(DAY_MS);
    let letter = bench.letter("a@here", &["bo@here"]);
    let actions = bench.load(id, letter, Retry::default());
    assert_eq!(
        without_notes(actions),
        [Action::Remove {
            id,
            place: Place::Incoming
        }]
    );
}

#[test]
fn draining_starts_nothing() {
    let mut bench = Bench::new();
    bench.sched.drain();
    let id = QueueId::new(1, 1);
    assert_eq!(
        bench.on(Event::Found {
            id,
            place: Place::Incoming,
            due: 0,
            repeat: false
        }),
        []
    );
}

#[test]
fn a_delivery_that_is_not_answered_is_deferred_when_its_time_is_over() {
    for (to, time_ms) in [
        ("bo@here", LOCAL_ANSWER_MS),
        ("bo@far", REMOTE_ANSWER_MAX_MS),
    ] {
        let mut bench = Bench::new();
        let (id, actions) = bench.send("a@here", &[to]);
        let number = numbers(&actions)[0];
        let at = bench.now.mono_ms + time_ms;
        assert_eq!(bench.sched.next_tick(), Some(at));
        assert_eq!(bench.later(time_ms - 1), []);
        let actions = bench.later(1);
        assert!(actions.contains(&Action::Abandon(number)), "{actions:?}");
        let deferral = saved(&actions).unwrap();
        assert_eq!(deferral.retry.attempts, 1);
        assert_eq!(deferral.outcomes[0].status, Status::SYSTEM_DEFERRED);
        assert_eq!(deferral.outcomes[0].text, NO_ANSWER);
        assert_eq!((bench.sched.running(), bench.sched.next_tick()), (0, None));
        // What comes after all is too late.
        let late = bench.answer(number, Status::DELIVERED, Scope::Recipient);
        assert_eq!(late, []);
        // The next attempt looks for what the first one may have left.
        bench.on(Event::Saved(id, true));
        bench.later(70_000);
        let letter = bench.letter("a@here", &[to]);
        let retry = Retry {
            attempts: 1,
            ..Retry::default()
        };
        let actions = bench.load(id, letter, retry);
        assert!(
            matches!(
                actions[..],
                [Action::Local { repeat: true, .. } | Action::Remote { .. }]
            ),
            "{actions:?}"
        );
    }
}

#[test]
fn recipients_answered_in_time_are_not_asked_for_again() {
    let mut bench = Bench::new();
    let (_, actions) = bench.send("a@here", &["r@far", "s@far"]);
    let number = numbers(&actions)[0];
    let answer = Answer {
        status: Status::DELIVERED,
        scope: Scope::Recipient,
        host: "h".into(),
        text: String::new(),
        recipients: vec![1],
    };
    bench.on(Event::Answered(number, answer));
    // The shell has found out that nobody is there: no order to abandon anything follows.
    let actions = without_notes(bench.on(Event::Overdue(number)));
    let [Action::Save { deferral, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(deferral.outcomes[0].recipients, [0]);
    assert_eq!(deferral.marks, [(1, State::Delivered)]);
    assert_eq!(bench.on(Event::Overdue(number)), []);
}
