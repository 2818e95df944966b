//! Deliveries into real directories, and with every step failing.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::wire::WireCount;

struct Home {
    dir: tempfile::TempDir,
    maildir: Maildir,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let maildir = Maildir::open_or_create(&dir.path().join("Maildir")).unwrap();
    Home { dir, maildir }
}

impl Home {
    fn names(&self, part: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(part))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join("Maildir").join(part)
    }
}

fn queue_file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"head").unwrap();
    file.write_all(content).unwrap();
    file.write_all(b"tail").unwrap();
    file
}

fn letter<'a>(content: &'a File, length: usize) -> Letter<'a> {
    Letter {
        unique: "id.0.host",
        reverse_path: "a@example.org",
        recipient: "b@example.net",
        content,
        offset: 4,
        length: length as u64,
        repeat: false,
        sync_directory: true,
    }
}

#[test]
fn what_is_written() {
    let head = "Return-Path: <a@example.org>\nDelivered-To: b@example.net\n";
    for (received, stored) in [
        ("A: b\r\n\r\n.x\r\n", "A: b\n\n.x\n"),
        ("", ""),
        ("no end", "no end\n"),
        ("lone\rcr\r\n", "lone\rcr\n"),
        ("end\r", "end\r\n"),
    ] {
        let home = home();
        let file = queue_file(received.as_bytes());
        let got = Deliverer::new()
            .deliver(&home.maildir, &letter(&file, received.len()))
            .unwrap();
        let stored = format!("{head}{stored}");
        let mut count = WireCount::default();
        count.push(stored.as_bytes());
        let name = format!("id.0.host,S={},W={}", stored.len(), count.wire());
        assert_eq!(
            got,
            Delivered::Now {
                name: name.clone(),
                stored: stored.len() as u64
            }
        );
        assert_eq!(home.names("new"), std::slice::from_ref(&name));
        assert!(home.names("tmp").is_empty());
        assert_eq!(
            fs::read_to_string(home.path("new").join(name)).unwrap(),
            stored,
            "{received:?}"
        );
    }
}

#[test]
fn null_sender() {
    let home = home();
    let file = queue_file(b"");
    Deliverer::new()
        .deliver(
            &home.maildir,
            &Letter {
                reverse_path: "",
                ..letter(&file, 0)
            },
        )
        .unwrap();
    let name = &home.names("new")[0];
    assert!(
        fs::read_to_string(home.path("new").join(name))
            .unwrap()
            .starts_with("Return-Path: <>\n")
    );
}

#[test]
fn every_block_edge() {
    let mut deliverer = Deliverer::new();
    for length in [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 7] {
        // Lines of 13 octets put CR and LF on both sides of block edges.
        let mut received = "0123456789a\r\n".repeat(length / 13 + 1).into_bytes();
        received.truncate(length);
        let home = home();
        let file = queue_file(&received);
        let Delivered::Now { name, .. } = deliverer
            .deliver(&home.maildir, &letter(&file, length))
            .unwrap()
        else {
            panic!()
        };
        let stored = fs::read_to_string(home.path("new").join(&name)).unwrap();
        let body = stored.splitn(3, '\n').nth(2).unwrap();
        let mut expected = String::from_utf8(received).unwrap().replace("\r\n", "\n");
        if !expected.ends_with('\n') {
            expected.push('\n');
        }
        assert!(body == expected, "{length}");
        assert!(name.ends_with(&format!(
            ",S={},W={}",
            stored.len(),
            stored.len() + stored.matches('\n').count()
        )));
    }
}

#[test]
fn a_repeated_delivery_replaces_itself() {
    let home = home();
    let file = queue_file(b"x\r\n");
    let mut deliverer = Deliverer::new();
    deliverer.deliver(&home.maildir, &letter(&file, 3)).unwrap();
    deliverer.deliver(&home.maildir, &letter(&file, 3)).unwrap();
    assert_eq!(home.names("new").len(), 1);
}

#[test]
fn a_repeat_looks_first() {
    let file = queue_file(b"x\r\n");
    let repeat = Letter {
        repeat: true,
        ..letter(&file, 3)
    };
    let mut deliverer = Deliverer::new();
    // Not there: delivered.
    let home = home();
    assert!(matches!(
        deliverer.deliver(&home.maildir, &repeat),
        Ok(Delivered::Now { .. })
    ));
    // In new/: not again.
    assert_eq!(
        deliverer.deliver(&home.maildir, &repeat).unwrap(),
        Delivered::Before
    );
    // In cur/ with flags: not again.
    let name = home.names("new").remove(0);
    fs::rename(
        home.path("new").join(&name),
        home.path("cur").join(format!("{name}:2,RS")),
    )
    .unwrap();
    assert_eq!(
        deliverer.deliver(&home.maildir, &repeat).unwrap(),
        Delivered::Before
    );
    assert!(home.names("new").is_empty());
    // Another recipient of the same message is another file.
    let other = Letter {
        unique: "id.1.host",
        ..repeat
    };
    assert!(matches!(
        deliverer.deliver(&home.maildir, &other),
        Ok(Delivered::Now { .. })
    ));
}

#[test]
fn a_torn_attempt_in_tmp_is_replaced_and_a_link_there_not_followed() {
    let file = queue_file(b"x\r\n");
    let home = home();
    fs::write(home.path("tmp").join("id.0.host"), "half a messa").unwrap();
    Deliverer::new()
        .deliver(&home.maildir, &letter(&file, 3))
        .unwrap();
    assert!(home.names("tmp").is_empty());
    let victim = home.dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, home.path("tmp").join("id.0.host")).unwrap();
    Deliverer::new()
        .deliver(&home.maildir, &letter(&file, 3))
        .unwrap();
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

#[test]
fn a_short_queue_file_is_not_delivered() {
    let home = home();
    let file = queue_file(b"x\r\n");
    let trouble = Deliverer::new()
        .deliver(&home.maildir, &letter(&file, 8))
        .unwrap_err();
    assert!(matches!(trouble, Trouble::Source(_)), "{trouble:?}");
    assert!(home.names("new").is_empty() && home.names("tmp").is_empty());
}

/// A Maildir whose call number `fail_at` fails; with `dead`, all later ones too, as if the
/// process had been killed there.
struct Failing<'a> {
    maildir: &'a Maildir,
    calls: Cell<u32>,
    fail_at: u32,
    dead: bool,
    errno: i32,
    /// The failing call does its work and then says that it failed.
    after: bool,
}

impl Failing<'_> {
    fn step<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        if call == self.fail_at {
            if self.after {
                let _ = work();
            }
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        if self.dead && call > self.fail_at {
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        work()
    }
}

impl Steps for Failing<'_> {
    fn find(&self, unique: &str) -> io::Result<Option<Place>> {
        self.step(|| self.maildir.find(unique))
    }
    fn create(&self, unique: &str) -> io::Result<File> {
        self.step(|| self.maildir.create(unique))
    }
    fn write(&self, file: &mut File, data: &[u8]) -> io::Result<()> {
        self.step(|| {
            // The disk fills in the middle of a write.
            let half = data.len() / 2;
            let cut = if self.calls.get() == self.fail_at + 1 {
                half
            } else {
                data.len()
            };
            file.write_all(&data[..cut])
        })
    }
    fn sync_file(&self, file: &File) -> io::Result<()> {
        self.step(|| self.maildir.sync_file(file))
    }
    fn publish(&self, unique: &str, name: &str) -> io::Result<()> {
        self.step(|| self.maildir.publish(unique, name))
    }
    fn sync_directory(&self, place: Place) -> io::Result<()> {
        self.step(|| self.maildir.sync_directory(place))
    }
    fn discard(&self, unique: &str) -> io::Result<()> {
        self.step(|| self.maildir.discard(unique))
    }
}

/// Whatever call fails or is the last: never "delivered" without the file, afterwards exactly
/// one whole copy.
#[test]
fn every_step_fails_once() {
    let text = "0123456789a\r\n".repeat(2 * BLOCK / 13);
    let file = queue_file(text.as_bytes());
    let (errors, deaths) = (
        [28, 5],
        [(false, false), (true, false), (false, true), (true, true)],
    );
    let mut failed = 0;
    for fail_at in 0..9 {
        for errno in errors {
            for (dead, after) in deaths {
                let home = home();
                let failing = Failing {
                    maildir: &home.maildir,
                    calls: Cell::new(0),
                    fail_at,
                    dead,
                    errno,
                    after,
                };
                let first = Deliverer::new().through(&failing, &letter(&file, text.len()));
                let count = home.names("new").len();
                match &first {
                    Ok(_) => assert_eq!(count, 1),
                    Err(trouble) => {
                        failed += 1;
                        assert_eq!(
                            trouble.code(),
                            Trouble::from_io(io::Error::from_raw_os_error(errno)).code()
                        );
                        if !dead && !after {
                            assert!(home.names("tmp").is_empty(), "call {fail_at} left a file");
                        }
                    }
                }
                let repeat = Letter {
                    repeat: true,
                    ..letter(&file, text.len())
                };
                Deliverer::new().deliver(&home.maildir, &repeat).unwrap();
                let names = home.names("new");
                assert_eq!(names.len(), 1, "call {fail_at}");
                let size = fs::metadata(home.path("new").join(&names[0]))
                    .unwrap()
                    .len();
                assert!(names[0].contains(&format!(",S={size},")));
            }
        }
    }
    // create, two to three writes, sync, rename, sync of the directory: each of them failed.
    assert!(failed >= 6 * 2 * 4, "{failed}");
}
