//! The real program on a real queue directory; the test plays smtpd, local-deliver and
//! remote-send.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod house;

use std::os::unix::fs::FileExt;

use daemon::start::{REPLACE_DELIVER, REPLACE_REMOTE};
use house::{House, Work, envelope};
use queue::format::state::State;
use queue::reply::{Class, Status};
use queue::wire::remote::{Answer, NextHop, Scope};
use queue::{Place, Role};

const TEXT: &[u8] = b"Message-ID: <one@example.org>\r\nSubject: x\r\n\r\nhello\r\n";

fn code(class: Class) -> Status {
    Status::new(class, 1, 2).unwrap()
}

#[test]
fn a_local_delivery_ends_with_an_empty_queue() {
    let mut house = House::start();
    let id = house.submit(envelope("al@there.example", &["bo@here.example"]), TEXT);
    let work = house.next_delivery();
    assert_eq!((work.id, work.index, work.repeat), (id, 0, false));
    assert_eq!(
        (work.user.as_str(), work.recipient.as_str()),
        ("bo", "bo@here.example")
    );
    assert_eq!(work.reverse_path, "al@there.example");
    let mut got = vec![0; work.content.length as usize];
    work.file
        .read_exact_at(&mut got, work.content.offset)
        .unwrap();
    assert_eq!(got, TEXT);
    assert!(
        work.file.write_at(b"x", 0).is_err(),
        "the descriptor must be read-only"
    );
    house.answer(&work, Status::DELIVERED);
    house.wait("removed", id.as_str());
    assert!(house.files().is_empty(), "{:?}", house.files());
}

#[test]
fn a_worker_is_used_again() {
    let mut house = House::start();
    for _ in 0..5 {
        let id = house.submit(envelope("", &["bo@here.example"]), TEXT);
        let work = house.next_delivery();
        house.answer(&work, Status::DELIVERED);
        house.wait("removed", id.as_str());
    }
    assert_eq!(house.workers_made(), 1);
}

#[test]
fn recipients_of_one_destination_share_transactions() {
    let mut house = House::start();
    let all: Vec<String> = (0..150).map(|n| format!("r{n}@far.example")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let id = house.submit(envelope("al@here.example", &all), TEXT);
    let mut sizes = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..2 {
        house.next_transaction(|transaction, _| {
            assert_eq!(transaction.next_hop, NextHop::Mx("far.example"));
            sizes.push(transaction.recipients.len());
            let indices: Vec<u32> = transaction.recipients.iter().map(|r| r.index).collect();
            seen.extend(indices.iter().copied());
            vec![Answer {
                number: transaction.number,
                status: Status::DELIVERED,
                scope: Scope::Recipient,
                host: "mx.far.example[192.0.2.1]",
                text: "250 ok",
                recipients: indices,
            }]
        });
    }
    sizes.sort_unstable();
    seen.sort_unstable();
    assert_eq!(sizes, [50, 100]);
    assert_eq!(seen, (0..150).collect::<Vec<u32>>());
    house.wait("removed", id.as_str());
}

#[test]
fn what_is_deferred_is_written_down_and_found_again() {
    let mut house = House::start();
    let id = house.submit(
        envelope("al@here.example", &["a@far.example", "b@far.example"]),
        TEXT,
    );
    house.next_transaction(|transaction, _| {
        let one = |index, class| Answer {
            number: transaction.number,
            status: code(class),
            scope: Scope::Recipient,
            host: "mx.far.example[192.0.2.1]",
            text: "said so",
            recipients: vec![index],
        };
        vec![one(1, Class::Delivered), one(0, Class::Deferred)]
    });
    house.wait("deferred", id.as_str());
    house.kill();
    let store = house.store();
    let message = store.read(id, Place::Deferred).unwrap();
    assert_eq!(message.states, [State::Waiting, State::Delivered]);
    assert_eq!(message.retry.attempts, 1);
    assert_eq!(store.outcomes(&message).unwrap()[0].text, "said so");
    // Make it due, as time would.
    let deferral = queue::store::Deferral {
        retry: queue::format::state::Retry {
            due: 1,
            ..message.retry
        },
        ..Default::default()
    };
    store.defer(id, Place::Deferred, &deferral).unwrap();
    drop(store);
    house.again();
    house.next_transaction(|transaction, _| {
        assert_eq!(
            transaction
                .recipients
                .iter()
                .map(|r| r.index)
                .collect::<Vec<_>>(),
            [0]
        );
        vec![Answer {
            number: transaction.number,
            status: Status::DELIVERED,
            scope: Scope::Recipient,
            host: "h",
            text: "",
            recipients: vec![0],
        }]
    });
    house.wait("removed", id.as_str());
    assert!(house.files().is_empty());
}

#[test]
fn after_a_kill_a_delivery_is_repeated_with_a_warning() {
    let mut house = House::start();
    let id = house.submit(envelope("al@here.example", &["bo@here.example"]), TEXT);
    let first = house.next_delivery();
    assert!(!first.repeat);
    house.kill();
    house.again();
    let second = house.next_delivery();
    assert_eq!((second.id, second.repeat), (id, true));
    house.answer(&second, Status::DELIVERED);
    house.wait("removed", id.as_str());
}

#[test]
fn a_worker_that_dies_is_replaced() {
    let mut house = House::start();
    let id = house.submit(envelope("al@here.example", &["bo@here.example"]), TEXT);
    let first = house.next_delivery();
    house.drop_worker(&first);
    let second = house.next_delivery();
    assert_eq!((second.id, second.repeat), (id, true));
    house.answer(&second, Status::DELIVERED);
    house.wait("removed", id.as_str());
}

#[test]
fn the_sender_is_told() {
    let mut house = House::start();
    let id = house.submit(
        envelope(
            "al@here.example",
            &["nobody@here.example", "bo@here.example"],
        ),
        TEXT,
    );
    // bo's copy and al's report, in any order.
    let mut report = None;
    let mut done = 0;
    while done < 2 {
        let work = house.next_delivery();
        if work.user == "al" {
            assert_eq!(
                (work.reverse_path.as_str(), work.recipient.as_str()),
                ("", "al@here.example")
            );
            let mut got = vec![0; work.content.length as usize];
            work.file
                .read_exact_at(&mut got, work.content.offset)
                .unwrap();
            report = Some(String::from_utf8(got).unwrap());
        } else {
            assert_eq!(work.id, id);
        }
        house.answer(&work, Status::DELIVERED);
        done += 1;
    }
    let report = report.unwrap();
    assert!(
        report.contains("Final-Recipient: rfc822; nobody@here.example"),
        "{report}"
    );
    assert!(report.contains("Status: 5.1.1"));
    assert!(report.contains("Subject: x\r\n\r\nhello"));
    house.wait("removed", id.as_str());
    house.until_empty();
}

#[test]
fn a_report_that_fails_goes_to_the_postmaster_once() {
    let mut house = House::start();
    let id = house.submit(
        envelope("ghost@here.example", &["nobody@here.example"]),
        TEXT,
    );
    let work = house.next_delivery();
    assert_eq!(work.user, "postmaster");
    // He cannot take it either: that is the end of it.
    house.answer(&work, code(Class::Failed));
    house.wait("dropped", work.id.as_str());
    house.wait("removed", id.as_str());
    house.until_empty();
}

#[test]
fn mail_without_a_sender_is_not_reported() {
    let mut house = House::start();
    let id = house.submit(envelope("", &["nobody@here.example"]), TEXT);
    house.wait("dropped", id.as_str());
    house.wait("removed", id.as_str());
    house.until_empty();
}

#[test]
fn a_new_local_deliver_is_asked_again() {
    let mut house = House::start();
    let id = house.submit(envelope("", &["bo@here.example"]), TEXT);
    house.swallow_worker_request();
    house.deliver_says_hello();
    let work = house.next_delivery();
    assert_eq!(work.id, id);
    house.answer(&work, Status::DELIVERED);
    house.wait("removed", id.as_str());
}

#[test]
fn a_refused_user_is_an_outcome() {
    let mut house = House::start();
    let id = house.submit(envelope("", &["bo@here.example"]), TEXT);
    house.refuse_worker(code(Class::Failed));
    house.wait("failed", id.as_str());
    house.wait("dropped", id.as_str());
    house.wait("removed", id.as_str());
    let id = house.submit(envelope("", &["bo@here.example"]), TEXT);
    house.refuse_worker(code(Class::Deferred));
    house.wait("deferred", id.as_str());
}

#[test]
fn answers_to_a_predecessor_are_not_taken() {
    let mut house = House::start();
    let id = house.submit(envelope("", &["a@far.example"]), TEXT);
    let mut old = 0;
    house.next_transaction(|transaction, _| {
        old = transaction.number;
        Vec::new()
    });
    house.kill();
    house.answer_transaction(old);
    house.again();
    house.next_transaction(|transaction, _| {
        assert_eq!(transaction.id, id);
        assert_ne!(transaction.number, old);
        Vec::new()
    });
}

#[test]
fn a_new_remote_send_is_asked_again() {
    let mut house = House::start();
    let id = house.submit(envelope("", &["a@far.example"]), TEXT);
    house.next_transaction(|_, _| Vec::new());
    house.remote_says_hello();
    house.next_transaction(|transaction, _| {
        assert_eq!(transaction.id, id);
        vec![Answer {
            number: transaction.number,
            status: Status::DELIVERED,
            scope: Scope::Recipient,
            host: "h",
            text: "",
            recipients: vec![0],
        }]
    });
    house.wait("removed", id.as_str());
}

#[test]
fn strange_files_are_put_aside_and_unfinished_ones_removed() {
    let mut house = House::prepare();
    let strange = queue::QueueId::new(1, 1);
    let unfinished = queue::QueueId::new(1, 2);
    house.put_file(strange, b"not ours at all, but longer than a header............................................................................................................");
    house.put_file(unfinished, &[0; 4_096]);
    let torn = house.write(
        envelope("al@here.example", &["bo@here.example"]),
        &[b'x'; 9_000],
    );
    house.flip(torn, 8_000);
    house.again();
    house.wait("corrupt", strange.as_str());
    house.wait("corrupt", torn.as_str());
    house.wait("unfinished", unfinished.as_str());
    let mut files = house.files();
    files.sort();
    let mut want = [format!("corrupt/{strange}"), format!("corrupt/{torn}")];
    want.sort();
    assert_eq!(files, want);
}

#[test]
fn what_smtpd_gives_up_is_removed_only_if_unfinished() {
    let mut house = House::start();
    let unfinished = queue::QueueId::new(1, 2);
    house.put_file(unfinished, &[0; 300]);
    house.announce(&format!("-{unfinished}"));
    house.wait("unfinished", unfinished.as_str());
    let whole = house.write(envelope("", &["bo@here.example"]), TEXT);
    house.announce(&format!("-{whole}"));
    let work: Work = house.next_delivery();
    assert_eq!((work.id, work.repeat), (whole, true));
    house.answer(&work, Status::DELIVERED);
    house.wait("removed", whole.as_str());
}

#[test]
fn lost_announcements_are_made_good_by_a_scan() {
    let mut house = House::start();
    let silent = house.write(envelope("", &["bo@here.example"]), TEXT);
    house.announce("nonsense");
    house.announce("*");
    let work = house.next_delivery();
    assert_eq!(work.id, silent);
    house.answer(&work, Status::DELIVERED);
    house.wait("removed", silent.as_str());
}

#[test]
fn a_burst_is_found_and_delivered_whole() {
    let mut house = House::prepare();
    let users = ["al@here.example", "bo@here.example"];
    let mut left: std::collections::HashSet<_> = (0..200)
        .map(|n| house.write(envelope("", &users[n % 2..=n % 2]), TEXT))
        .collect();
    house.again();
    while !left.is_empty() {
        let work = house.next_delivery();
        assert!(work.repeat && left.remove(&work.id));
        house.answer(&work, Status::DELIVERED);
    }
    house.until_empty();
    assert!(house.workers_made() <= 16, "eight for each user");
}

#[test]
fn only_one_at_a_time() {
    let house = House::start();
    let error = house.second();
    assert!(error.contains("another queue-manager"), "{error}");
}

#[test]
fn it_stops_when_asked_and_when_the_house_is_shut() {
    let mut house = House::start();
    house.terminate();
    house.wait_end();
    let mut house = House::start();
    house.shut();
    house.wait_end();
}

#[test]
fn roles_reach_the_file() {
    let mut house = House::prepare();
    let mut with = envelope("al@here.example", &["bo@here.example"]);
    with.arrival.role = Role::Submission;
    with.arrival.login = Some("al".into());
    let id = house.write(with.clone(), TEXT);
    let store = house.store();
    assert_eq!(store.read(id, Place::Incoming).unwrap().envelope, with);
}

#[test]
fn a_worker_that_does_not_answer_is_killed_and_its_message_waits() {
    let mut house = House::start_with("[queue]\ndelivery_time = \"1s\"\n");
    let id = house.submit(envelope("", &["bo@here.example"]), TEXT);
    let work = house.next_delivery();
    assert_eq!(house.killed_worker(), 1);
    house.wait("not-now", "did not answer");
    house.wait("worker", "is killed");
    house.drop_worker(&work);
    let other = house.submit(envelope("", &["bo@here.example"]), TEXT);
    let work = house.next_delivery();
    assert_eq!(work.id, other);
    house.answer(&work, Status::DELIVERED);
    house.wait("removed", other.as_str());
    house.terminate();
    house.wait_end();
    let message = house.store().read(id, Place::Deferred).unwrap();
    assert_eq!(message.states, [State::Waiting]);
    assert_eq!(message.retry.attempts, 1);
}

#[test]
fn a_silent_parent_is_replaced_and_its_successor_asked() {
    let mut house = House::start_with("[queue]\nanswer_time = \"1s\"\n");
    let id = house.submit(envelope("", &["bo@here.example"]), TEXT);
    house.swallow_worker_request();
    assert_eq!(house.to_replace(), REPLACE_DELIVER);
    house.wait("no-answer", "program=local-deliver");
    house.deliver_says_hello();
    let work = house.next_delivery();
    assert_eq!(
        (work.id, work.repeat),
        (id, false),
        "it was never handed out"
    );
    house.answer(&work, Status::DELIVERED);
    house.wait("removed", id.as_str());
}

#[test]
fn a_slow_remote_send_is_left_alone_and_a_silent_one_replaced() {
    let mut house = House::start_with("[queue]\nanswer_time = \"1s\"\n");
    let id = house.submit(
        envelope("al@here.example", &["r@far.example", "s@far.example"]),
        TEXT,
    );
    house.next_transaction(|_, _| Vec::new());
    for _ in 0..3 {
        house.asked_for_life();
        house.remote_lives();
    }
    house.asked_for_life();
    assert_eq!(house.to_replace(), REPLACE_REMOTE);
    house.wait("no-answer", "program=remote-send");
    house.wait("not-now", "did not answer");
    house.remote_says_hello();
    house.terminate();
    house.wait_end();
    assert!(
        house
            .files()
            .iter()
            .any(|path| path.starts_with("deferred") && path.ends_with(id.as_str()))
    );
}

/// Half answered by a process that died: the other half is not forgotten.
#[test]
fn the_rest_of_a_half_answered_transaction_is_asked_again() {
    let mut house = House::start_with("[queue]\nretry = [\"1s\"]\n");
    let id = house.submit(
        envelope("al@here.example", &["r@far.example", "s@far.example"]),
        TEXT,
    );
    house.next_transaction(|transaction, _| {
        vec![Answer {
            number: transaction.number,
            status: Status::DELIVERED,
            scope: Scope::Recipient,
            host: "h",
            text: "",
            recipients: vec![0],
        }]
    });
    house.wait("delivered", "r@far.example");
    house.remote_says_hello();
    let mut number = 0;
    house.next_transaction(|transaction, _| {
        let left: Vec<u32> = transaction.recipients.iter().map(|r| r.index).collect();
        assert_eq!(left, [1]);
        number = transaction.number;
        Vec::new()
    });
    house.answer_transaction_for(number, 1);
    house.wait("removed", id.as_str());
}
