//! A worker over a real socket and a real Maildir, without becoming anybody.

use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use queue::id::QueueId;
use queue::wire::Content;

use super::*;

struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn maildir(&self) -> PathBuf {
        self.dir.path().join("Maildir")
    }

    fn new_mail(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.maildir().join("new"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

const CONTENT: &[u8] = b"Subject: x\r\n\r\nbody\r\n";

fn queue_file() -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"envelope").unwrap();
    file.write_all(CONTENT).unwrap();
    file
}

fn delivery(number: u64) -> Delivery<'static> {
    Delivery {
        number,
        repeat: false,
        sync_directory: false,
        id: QueueId::new(1_700_000_000_000 + number, number),
        index: 0,
        content: Content {
            offset: 8,
            length: CONTENT.len() as u64,
        },
        reverse_path: "a@example.org",
        recipient: "b@example.net",
    }
}

/// Hands deliveries to a worker in a thread; its answers as (number, status, text).
fn run(
    path: &Path,
    deliveries: &[(Delivery<'_>, Option<&File>)],
) -> (Vec<(u64, String, String)>, io::Result<()>) {
    let (ours, theirs) = Packets::pair().unwrap();
    theirs.set_nonblocking(false).unwrap();
    ours.set_nonblocking(false).unwrap();
    let path = path.to_owned();
    let worker = std::thread::spawn(move || Worker::new(&path, "h.example.net").run(&theirs));
    let mut answers = Vec::new();
    let (mut packet, mut buffer) = (Vec::new(), vec![0; PACKET_MAX]);
    for (delivery, file) in deliveries {
        delivery.encode(&mut packet).unwrap();
        ours.send(&packet, file.map(|file| file.as_fd())).unwrap();
        let got = ours.recv(&mut buffer).unwrap();
        if got.length == 0 {
            break;
        }
        let outcome = Outcome::decode(&buffer[..got.length]).unwrap();
        answers.push((
            outcome.number,
            outcome.status.to_string(),
            outcome.text.to_owned(),
        ));
    }
    drop(ours);
    (answers, worker.join().unwrap())
}

#[test]
fn several_messages_one_worker() {
    let house = House::new();
    let file = queue_file();
    let (answers, end) = run(
        &house.maildir(),
        &[(delivery(1), Some(&file)), (delivery(2), Some(&file))],
    );
    end.unwrap();
    assert_eq!(
        answers
            .iter()
            .map(|a| (a.0, a.1.as_str()))
            .collect::<Vec<_>>(),
        [(1, "2.0.0"), (2, "2.0.0")]
    );
    let names = house.new_mail();
    assert_eq!(names.len(), 2);
    let id = delivery(1).id;
    assert!(
        names[0].starts_with(&format!("{}.0.h.example.net,S=", id.as_str())),
        "{names:?}"
    );
    let text = fs::read_to_string(house.maildir().join("new").join(&names[0])).unwrap();
    assert_eq!(
        text,
        "Return-Path: <a@example.org>\nDelivered-To: b@example.net\nSubject: x\n\nbody\n"
    );
}

#[test]
fn a_repeat_is_answered_without_a_second_copy() {
    let house = House::new();
    let file = queue_file();
    let again = Delivery {
        repeat: true,
        ..delivery(1)
    };
    let (answers, _) = run(
        &house.maildir(),
        &[(delivery(1), Some(&file)), (again, Some(&file))],
    );
    assert_eq!(
        answers[1],
        (1, "2.0.0".into(), "was in the Maildir already".into())
    );
    assert_eq!(house.new_mail().len(), 1);
}

#[test]
fn trouble_is_an_answer_and_the_next_message_is_tried_anew() {
    let house = House::new();
    let file = queue_file();
    Maildir::open_or_create(&house.maildir()).unwrap();
    fs::remove_dir(house.maildir().join("tmp")).unwrap();
    fs::write(house.maildir().join("tmp"), "in the way").unwrap();
    let short = Delivery {
        content: Content {
            offset: 8,
            length: 1_000,
        },
        ..delivery(1)
    };
    let (answers, end) = run(&house.maildir(), &[(delivery(1), Some(&file))]);
    end.unwrap();
    assert_eq!(answers[0].1, "4.3.5");
    fs::remove_file(house.maildir().join("tmp")).unwrap();
    let (answers, _) = run(
        &house.maildir(),
        &[(short, Some(&file)), (delivery(2), Some(&file))],
    );
    assert_eq!(
        answers.iter().map(|a| a.1.as_str()).collect::<Vec<_>>(),
        ["4.3.0", "2.0.0"]
    );
    assert_eq!(house.new_mail().len(), 1);
}

#[test]
fn a_maildir_that_was_replaced_is_found_again() {
    let house = House::new();
    let file = queue_file();
    let (ours, theirs) = Packets::pair().unwrap();
    theirs.set_nonblocking(false).unwrap();
    ours.set_nonblocking(false).unwrap();
    let path = house.maildir();
    let worker = std::thread::spawn(move || Worker::new(&path, "h").run(&theirs));
    let (mut packet, mut buffer) = (Vec::new(), vec![0; PACKET_MAX]);
    for number in 1..3 {
        delivery(number).encode(&mut packet).unwrap();
        ours.send(&packet, Some(file.as_fd())).unwrap();
        assert!(ours.recv(&mut buffer).unwrap().length > 0);
        assert_eq!(house.new_mail().len(), 1, "message {number}");
        fs::rename(
            house.maildir(),
            house.dir.path().join(format!("old{number}")),
        )
        .unwrap();
    }
    drop(ours);
    worker.join().unwrap().unwrap();
}

#[test]
fn a_packet_without_its_file_ends_the_worker() {
    let house = House::new();
    let (answers, end) = run(&house.maildir(), &[(delivery(1), None)]);
    assert!(answers.is_empty());
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
}
