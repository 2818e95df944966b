//! Listings of real directories.

use std::fs;
use std::path::PathBuf;

use super::*;

struct Home {
    dir: tempfile::TempDir,
    maildir: Maildir,
}

fn home(files: &[(&str, &str)]) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let maildir = Maildir::open_or_create(&dir.path().join("Maildir")).unwrap();
    let home = Home { dir, maildir };
    for (path, content) in files {
        fs::write(home.path(path), content).unwrap();
    }
    home
}

impl Home {
    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("Maildir").join(path)
    }

    fn listing(&self) -> Listing {
        Listing::read(&self.maildir).unwrap()
    }

    /// Name, unique-id and size of each message.
    fn rows(&self) -> Vec<(String, String, u64)> {
        let listing = self.listing();
        (0..listing.len())
            .map(|at| {
                let name = listing.name(at).to_string_lossy().into_owned();
                (name, listing.uid(at).to_owned(), listing.size(at))
            })
            .collect()
    }
}

fn row(name: &str, uid: &str, size: u64) -> (String, String, u64) {
    (name.into(), uid.into(), size)
}

#[test]
fn order_uids_and_sizes() {
    let home = home(&[
        ("cur/1700000002.M1.h:2,S", "a\nb\n"),
        ("new/1700000001.M2.h", "a"),
        ("new/01jd0000000000000000.0.h,S=2,W=3", "a\n"),
        ("cur/zzz", ""),
        ("cur/.hidden", "x"),
    ]);
    assert_eq!(
        home.rows(),
        [
            row("zzz", "zzz", 0),
            row("1700000001.M2.h", "1700000001.M2.h", 3),
            row("1700000002.M1.h:2,S", "1700000002.M1.h", 6),
            row(
                "01jd0000000000000000.0.h,S=2,W=3",
                "01jd0000000000000000.0.h",
                3
            ),
        ]
    );
    assert!(!home.listing().is_truncated());
}

#[test]
fn uids_do_not_change_with_flags_or_place() {
    let home = home(&[("new/1.a.h,S=2,W=3", "a\n")]);
    let before = home.rows();
    fs::rename(
        home.path("new/1.a.h,S=2,W=3"),
        home.path("cur/1.a.h,S=2,W=3:2,FRS"),
    )
    .unwrap();
    assert_eq!(home.rows()[0].1, before[0].1);
}

#[test]
fn believed_sizes_are_not_measured_and_others_are() {
    let home = home(&[
        ("cur/a,S=4,W=5", "a\nb\n"),
        ("cur/b,S=4,W=99", "a\nb\n"),
        ("cur/c,S=4", "a\nb\n"),
    ]);
    let sizes: Vec<u64> = home.rows().into_iter().map(|row| row.2).collect();
    assert_eq!(sizes, [5, 6, 6]);
}

#[test]
fn odd_names_get_hashes() {
    let long = format!("cur/{}", "n".repeat(71));
    let fits = format!("cur/{}", "m".repeat(70));
    let home = home(&[
        ("cur/with space", ""),
        ("cur/jür", ""),
        (&long, ""),
        (&fits, ""),
        (":", ""),
    ]);
    fs::write(home.path("cur/:2,S"), "").unwrap();
    let rows = home.rows();
    assert_eq!(rows.len(), 5);
    for (name, uid, _) in &rows {
        assert!(is_uid(uid.as_bytes()), "{name}: {uid}");
        assert_eq!(uid.len() == 33, *name != "m".repeat(70), "{name}: {uid}");
    }
    // Published test vector of FNV-1a, 128 bits.
    assert_eq!(hash(b"a"), "hd228cb696f1a8caf78912b704e4a8964");
}

#[test]
fn twins_have_uids_of_their_own() {
    let home = home(&[
        ("cur/1.a,S=1,W=3", "a"),
        ("cur/1.a,S=2,W=3:2,S", "a\n"),
        ("new/1.a", "abc"),
    ]);
    let rows = home.rows();
    let mut uids: Vec<&String> = rows.iter().map(|row| &row.1).collect();
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), 3);
    assert!(uids.iter().all(|uid| uid.len() == 33));
}

#[test]
fn a_message_seen_twice_is_one() {
    let home = home(&[
        ("new/1.a", "a\n"),
        ("cur/1.a:2,S", "a\n"),
        ("cur/1.a:2,", "a\n"),
        ("cur/1.b", ""),
    ]);
    assert_eq!(home.rows(), [row("1.a:2,", "1.a", 3), row("1.b", "1.b", 0)]);
}

#[test]
fn messages_are_found_where_they_moved() {
    let home = home(&[("new/1.a", "text"), ("new/1.b", "x"), ("new/1.c", "x")]);
    let listing = home.listing();
    fs::rename(home.path("new/1.a"), home.path("cur/1.a:2,S")).unwrap();
    let mut text = String::new();
    listing
        .open(&home.maildir, 0)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "text");
    listing.remove(&home.maildir, 0).unwrap();
    assert!(!home.path("cur/1.a:2,S").exists());
    assert_eq!(
        listing.open(&home.maildir, 0).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    // Gone is gone.
    listing.remove(&home.maildir, 0).unwrap();
    // A name that only begins alike is not taken for it.
    fs::remove_file(home.path("new/1.b")).unwrap();
    fs::write(home.path("new/1.bb"), "").unwrap();
    listing.remove(&home.maildir, 1).unwrap();
    assert!(home.path("new/1.bb").exists() && home.path("new/1.c").exists());
    assert_eq!(
        listing.open(&home.maildir, 9).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
}

#[test]
fn strange_types_are_not_messages() {
    let home = home(&[("cur/1.a", "a\n")]);
    fs::create_dir(home.path("cur/1.dir")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", home.path("cur/1.link")).unwrap();
    fs::create_dir(home.path("cur/2.dir,W=5")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", home.path("cur/2.link,W=5")).unwrap();
    let listing = home.listing();
    // Those whose names give a size are listed, but can't be read.
    assert_eq!(listing.len(), 3);
    assert!(listing.open(&home.maildir, 0).is_ok());
    assert!(listing.open(&home.maildir, 1).is_err());
    assert!(listing.open(&home.maildir, 2).is_err());
}

#[test]
fn what_can_not_be_removed_is_told() {
    let home = home(&[]);
    fs::create_dir(home.path("cur/1.dir,W=5")).unwrap();
    assert!(home.listing().remove(&home.maildir, 0).is_err());
}
