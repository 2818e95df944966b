//! The password file: a line `name:hash` for each user who may log in. Only authd reads it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions};
use std::hash::BuildHasher as _;
use std::io::{Error, ErrorKind, Read as _, Result as IoResult, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::hash::{BadHash, Field, HASH_MAX, Hash};
use crate::protocol::{USER_MAX, is_user};
use crate::types::Password;

/// Largest password file accepted, in octets.
pub const FILE_MAX: u64 = 64 << 20;

/// Longest line accepted, in octets.
pub const LINE_MAX: usize = USER_MAX + 1 + HASH_MAX;

/// What stands at the head of a password file that `hikyaku user` makes.
pub const HEADER: &str = "# name:hash, written by hikyaku(1)\n";

/// The passwords, as read.
pub struct Passwords {
    fields: HashMap<Box<str>, Field>,
    /// The hashes alone, for work on behalf of users that don't exist.
    hashes: Vec<Hash>,
    pick: RandomState,
}

/// A line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counts from 1.
    pub line: usize,
    /// What is wrong; holds nothing of the hash.
    pub text: String,
}

impl Passwords {
    /// Reads the file's text. Bad lines don't lock out the users of the good ones: they come
    /// back beside the result, and their users can't log in.
    pub fn parse(text: &str) -> (Self, Vec<BadLine>) {
        let mut fields = HashMap::new();
        let mut bad = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if is_blank(line) {
                continue;
            }
            let mut fail = |text: String| {
                bad.push(BadLine {
                    line: index + 1,
                    text,
                })
            };
            let Some((name, field)) = line.split_once(':').filter(|_| line.len() <= LINE_MAX)
            else {
                fail("expected name:hash".to_owned());
                continue;
            };
            if !is_user(name) {
                fail("the name is no mailbox name".to_owned());
                continue;
            }
            let field = match Field::parse(field) {
                Ok(field) => field,
                Err(error) => {
                    fail(format!("{name}: {error}"));
                    Field::Locked
                }
            };
            let name = name.to_ascii_lowercase();
            if fields.contains_key(name.as_str()) {
                fail(format!("{name} stands here twice; the first line counts"));
            } else {
                fields.insert(name.into_boxed_str(), field);
            }
        }
        let hashes = fields
            .values()
            .filter_map(|field| match field {
                Field::Hash(hash) => Some(hash.clone()),
                Field::Locked => None,
            })
            .collect();
        let passwords = Self {
            fields,
            hashes,
            pick: RandomState::new(),
        };
        (passwords, bad)
    }

    /// The work to do for a login: `user` is the mailbox's name, `None` when no mailbox has
    /// the name that was given; `typed` is that name.
    ///
    /// For users that don't exist, have no password or are locked, the check does the same
    /// work against a hash chosen by the name from among the real ones, and then says no, so
    /// that time does not tell who exists.
    pub fn check(&self, user: Option<&str>, typed: &str) -> Check {
        match user.and_then(|name| self.fields.get(name)) {
            Some(Field::Hash(hash)) => Check {
                hash: Some(hash.clone()),
                real: true,
            },
            Some(Field::Locked) | None => Check {
                hash: self.decoy(typed).cloned(),
                real: false,
            },
        }
    }

    fn decoy(&self, typed: &str) -> Option<&Hash> {
        let count = self.hashes.len() as u64;
        let index = self.pick.hash_one(typed).checked_rem(count)?;
        self.hashes.get(usize::try_from(index).ok()?)
    }

    /// Whether a user has a password that is not locked.
    pub fn has(&self, user: &str) -> bool {
        matches!(self.fields.get(user), Some(Field::Hash(_)))
    }

    /// Everybody who has a line, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(|name| &**name)
    }

    /// Number of lines that were understood.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether nobody has a password.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// A check to be done on another thread.
#[derive(Clone, Debug)]
pub struct Check {
    hash: Option<Hash>,
    real: bool,
}

impl Check {
    /// Hashes and compares; takes milliseconds.
    ///
    /// # Errors
    /// The user's hash has parameters that its scheme refuses.
    pub fn run(&self, password: &Password) -> Result<bool, BadHash> {
        // With no password in the whole file there is nobody to hide.
        let Some(hash) = &self.hash else {
            return Ok(false);
        };
        match hash.verify(password) {
            Ok(fits) => Ok(fits && self.real),
            Err(_) if !self.real => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The text with a user's line put in or replaced; everything else stays as it is. A `hash` of
/// `None` takes the line out.
pub fn with_line(text: &str, name: &str, hash: Option<&Hash>) -> String {
    let is_his = |line: &str| {
        !is_blank(line)
            && line
                .split(':')
                .next()
                .is_some_and(|found| found.eq_ignore_ascii_case(name))
    };
    let mut out = String::with_capacity(text.len() + LINE_MAX);
    if text.is_empty() {
        out.push_str(HEADER);
    }
    let mut new = hash.map(|hash| format!("{name}:{}\n", hash.as_str()));
    for line in text.lines() {
        if !is_his(line) {
            out.push_str(line);
            out.push('\n');
        } else if let Some(line) = new.take() {
            out.push_str(&line);
        }
    }
    if let Some(line) = new {
        out.push_str(&line);
    }
    out
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with('#')
}

/// Reads a password file; empty when it isn't there.
///
/// # Errors
/// As reading a file; `PermissionDenied` when others may read or write it, `InvalidData` when it
/// is larger than [`FILE_MAX`] or not UTF-8.
pub fn read(path: &Path) -> IoResult<String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    if file.metadata()?.mode() & 0o077 != 0 {
        let text = "group or others may read or write it; its mode must be 0600";
        return Err(Error::new(ErrorKind::PermissionDenied, text));
    }
    let mut octets = Vec::new();
    file.take(FILE_MAX + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > FILE_MAX {
        return Err(Error::new(ErrorKind::InvalidData, "larger than 64M"));
    }
    String::from_utf8(octets).map_err(|_| Error::new(ErrorKind::InvalidData, "not UTF-8"))
}

/// Replaces a file at once: readers see the old or the new content, a crash leaves one of
/// them whole. On return the new content survives power loss. A symbolic link is followed, so
/// that what it names is replaced.
///
/// # Errors
/// As writing a file. The old content then still stands, but for a failed last sync of the
/// directory, after which either may. `AlreadyExists`: another writer is at work, or died:
/// the text names the file to remove.
pub fn replace(path: &Path, content: &str, mode: u32) -> IoResult<()> {
    let path = &std::fs::canonicalize(path).or_else(|error| match error.kind() {
        ErrorKind::NotFound => std::path::absolute(path),
        _ => Err(error),
    })?;
    let directory = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = directory.join(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)
        .map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::new(
                error.kind(),
                format!(
                    "{} exists: another writer is at work, or it died and left this",
                    new.display()
                ),
            ),
            _ => error,
        })?;
    let result = file
        .set_permissions(std::fs::Permissions::from_mode(mode))
        .and_then(|()| file.write_all(content.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&new, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&new);
        return result;
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const SHA: &str = "$6$rounds=1000$saltsalt$sb1Cc8Sh2PKE5Jl7mY0M6h7RDINfcV01ZVmsdx3psQ.or46.M/2pT/riBlRYE/HQCUhH2vGcRxW9RT7yGlyoD0";

    fn hello() -> Password {
        Password::new(b"hello world").unwrap()
    }

    #[test]
    fn who_gets_in() {
        let text = format!("# x\n\nAl:{SHA}\nbo@example.org:{SHA}\nlo:!{SHA}\n");
        let (passwords, bad) = Passwords::parse(&text);
        assert_eq!((passwords.len(), bad), (3, vec![]));
        let run = |user: Option<&str>| passwords.check(user, "typed").run(&hello());
        assert_eq!(run(Some("al")), Ok(true));
        assert_eq!(run(Some("bo@example.org")), Ok(true));
        assert_eq!(run(Some("lo")), Ok(false));
        assert_eq!(run(Some("zz")), Ok(false));
        assert_eq!(run(None), Ok(false));
        let wrong = Password::new(b"x").unwrap();
        assert_eq!(passwords.check(Some("al"), "al").run(&wrong), Ok(false));
        assert!(passwords.has("al") && !passwords.has("lo") && !passwords.has("zz"));
    }

    #[test]
    fn unknown_users_cost_the_same_work() {
        let (passwords, _) = Passwords::parse(&format!("al:{SHA}\n"));
        let decoy = passwords.check(None, "nobody");
        assert_eq!(decoy.hash.as_ref().map(Hash::as_str), Some(SHA));
        assert!(!decoy.real);
        // The same name meets the same hash each time.
        let (many, _) = Passwords::parse(&format!("a:{SHA}\nb:{}\n", SHA.replace("saltsalt", "s")));
        let first = many.check(None, "x").hash;
        assert!((0..20).all(|_| many.check(None, "x").hash == first));
        let (none, _) = Passwords::parse("");
        assert!(none.is_empty());
        assert_eq!(none.check(None, "x").run(&hello()), Ok(false));
    }

    #[test]
    fn bad_lines_are_named() {
        let text = format!(
            "al\nbo:\n../x:{SHA}\ncy:hunter2\nal:{SHA}\nAL:{SHA}\nbo:{SHA}\n{}\n",
            "x:".repeat(LINE_MAX)
        );
        let (passwords, bad) = Passwords::parse(&text);
        let lines: Vec<usize> = bad.iter().map(|line| line.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 6, 7, 8]);
        assert!(bad.iter().all(|line| !line.text.contains("hunter2")));
        assert!(passwords.has("al"));
        // A damaged line locks its user, even when a good one follows.
        assert!(!passwords.has("bo") && !passwords.has("cy"));
    }

    #[test]
    fn editing_keeps_the_rest() {
        let hash = Hash::parse(SHA).unwrap();
        let one = with_line("", "al", Some(&hash));
        assert_eq!(one, format!("{HEADER}al:{SHA}\n"));
        let two = with_line("# c\nal:*\nbo:*", "AL", Some(&hash));
        assert_eq!(two, format!("# c\nAL:{SHA}\nbo:*\n"));
        assert_eq!(with_line("# c\nal:*\nbo:*\n", "al", None), "# c\nbo:*\n");
        assert_eq!(
            with_line("al:*\nal:*\n", "al", Some(&hash)),
            format!("al:{SHA}\n")
        );
    }

    #[test]
    fn files_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        assert_eq!(read(&path).unwrap(), "");
        replace(&path, "one\n", 0o600).unwrap();
        replace(&path, "two\n", 0o600).unwrap();
        assert_eq!(read(&path).unwrap(), "two\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // Somebody else's unfinished work stops us and is named.
        fs::write(dir.path().join("passwords.new"), "").unwrap();
        let error = replace(&path, "three\n", 0o600).unwrap_err();
        assert!(error.to_string().contains("passwords.new"), "{error}");
        assert_eq!(read(&path).unwrap(), "two\n");
        // A link stays a link.
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        fs::remove_file(dir.path().join("passwords.new")).unwrap();
        replace(&link, "four\n", 0o600).unwrap();
        assert_eq!(read(&path).unwrap(), "four\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_file_that_others_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        for (mode, fits) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
        ] {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), fits, "{mode:o}");
            fs::remove_file(&path).unwrap();
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(names in proptest::collection::btree_set("[a-z]{1,8}", 1..6), out in "[a-z]{1,8}") {
            let hash = Hash::parse(SHA).unwrap();
            let mut text = String::new();
            for name in &names {
                text = with_line(&text, name, Some(&hash));
            }
            text = with_line(&text, &out, None);
            let (passwords, bad) = Passwords::parse(&text);
            prop_assert!(bad.is_empty());
            for name in &names {
                prop_assert_eq!(passwords.has(name), *name != out);
            }
        }

        #[test]
        fn any_text_is_survived(text in "[a-c:$*!#/\n ]{0,60}") {
            let _ = Passwords::parse(&text);
        }
    }
}
