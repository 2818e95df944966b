//! What is in a Maildir: order, unique-ids, sizes; reading and removing single messages.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;

use crate::maildir::Maildir;
use crate::name::{self, Parts};
use crate::trouble::Trouble;
use crate::wire::WireCount;

/// Most messages of one listing; what comes after them in order shows up when earlier ones
/// are gone. Bounds the memory of a session to about 300 MiB in the worst case, 100 octets a
/// message in the usual one.
pub const MESSAGES_MAX: usize = 1_000_000;

/// Longest unique-id that is a part of the file's name, in octets (RFC 1939, 7).
const UID_MAX: usize = 70;

/// Which of the two directories a message is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `new/`: no mail reader has seen it.
    New,
    /// `cur/`.
    Cur,
}

/// The messages of a Maildir as they stood at one moment.
///
/// Ordered by arrival as far as the names tell it, then by name: the order of two messages
/// never changes. Listing reads directories only, and files only where the name has no
/// believable `,W=`.
#[derive(Debug)]
pub struct Listing {
    /// All file names, one after the other.
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// Unique-ids that are not a part of the name.
    hashed: Vec<String>,
    truncated: bool,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    arrival: u64,
    /// Octets on the wire.
    size: u64,
    /// Where the name begins in `names`.
    start: usize,
    /// Lengths of the whole name, and of its parts.
    length: u16,
    base: u16,
    unique: u16,
    place: Place,
    uid: UidIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UidIn {
    /// The unique part of the name.
    Name,
    /// This one of `hashed`.
    Hash(u32),
}

impl Listing {
    /// Reads `new/` and `cur/`.
    ///
    /// Files that come, go or are renamed meanwhile are seen once or not at all, never twice.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn read(maildir: &Maildir) -> Result<Self, Trouble> {
        let mut listing = Self {
            names: Vec::new(),
            entries: Vec::new(),
            hashed: Vec::new(),
            truncated: false,
        };
        // `new` first: see `deliver`.
        for (dir, place) in [(&maildir.new, Place::New), (&maildir.cur, Place::Cur)] {
            dir.each(|name| listing.add(name.as_bytes(), place))?;
        }
        listing.sort();
        listing.assign_uids();
        listing.measure(maildir);
        Ok(listing)
    }

    /// How many messages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there were more than [`MESSAGES_MAX`].
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Octets on the wire (line ends as CRLF); 0 for an index that isn't there.
    #[must_use]
    pub fn size(&self, index: usize) -> u64 {
        self.entries.get(index).map_or(0, |entry| entry.size)
    }

    /// The unique-id: 1 to 70 octets from 0x21 to 0x7E, different for each message, the same
    /// in every session, whatever flags a mail reader sets. Empty for an index that isn't
    /// there.
    #[must_use]
    pub fn uid(&self, index: usize) -> &str {
        let Some(entry) = self.entries.get(index) else {
            return "";
        };
        match entry.uid {
            UidIn::Name => std::str::from_utf8(self.unique(entry)).unwrap_or_default(),
            UidIn::Hash(at) => usize::try_from(at)
                .ok()
                .and_then(|at| self.hashed.get(at))
                .map_or("", String::as_str),
        }
    }

    /// The file's name as it was when the listing was made.
    #[must_use]
    pub fn name(&self, index: usize) -> &OsStr {
        OsStr::from_bytes(
            self.entries
                .get(index)
                .map_or(&[][..], |entry| self.whole(entry)),
        )
    }

    /// Opens a message for reading, wherever it has moved meanwhile.
    ///
    /// # Errors
    /// `NotFound` when it is gone or the index isn't there; `InvalidInput` when it is no
    /// regular file.
    pub fn open(&self, maildir: &Maildir, index: usize) -> io::Result<File> {
        let entry = self.entries.get(index).ok_or(io::ErrorKind::NotFound)?;
        let name = OsStr::from_bytes(self.whole(entry));
        let file = match directory(maildir, entry.place).open_read(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (place, name) = self.find(maildir, entry)?.ok_or(io::ErrorKind::NotFound)?;
                directory(maildir, place).open_read(OsStr::from_bytes(&name))?
            }
            other => other?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(file)
    }

    /// Removes a message, wherever it has moved meanwhile. One that is gone already counts as
    /// removed.
    ///
    /// # Errors
    /// The system's: the message is still there.
    pub fn remove(&self, maildir: &Maildir, index: usize) -> io::Result<()> {
        let entry = self.entries.get(index).ok_or(io::ErrorKind::NotFound)?;
        let (mut place, mut name) = (entry.place, self.whole(entry).to_vec());
        // A mail reader that renames it again and again does not keep us here for ever.
        for _ in 0..4 {
            match directory(maildir, place).unlink(OsStr::from_bytes(&name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other,
            }
            match self.find(maildir, entry)? {
                Some(now) => (place, name) = now,
                None => return Ok(()),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    fn add(&mut self, name: &[u8], place: Place) {
        // Maildir readers skip dot files; no filesystem of ours has names longer than 255.
        let (Ok(length), false) = (u16::try_from(name.len()), name.first() == Some(&b'.')) else {
            return;
        };
        if self.entries.len() >= MESSAGES_MAX {
            self.truncated = true;
            return;
        }
        let parts = Parts::read(name);
        let [base, unique] =
            [parts.base, parts.unique].map(|part| u16::try_from(part.len()).unwrap_or(length));
        self.entries.push(Entry {
            arrival: name::arrival(parts.unique),
            size: parts.wire.unwrap_or(UNKNOWN),
            start: self.names.len(),
            length,
            base,
            unique,
            place,
            uid: UidIn::Name,
        });
        self.names.extend_from_slice(name);
    }

    fn sort(&mut self) {
        let Self { names, entries, .. } = self;
        // Sorting by the whole name behind the unique part puts the two sightings of a moved
        // file side by side.
        entries.sort_unstable_by(|a, b| {
            a.arrival
                .cmp(&b.arrival)
                .then_with(|| slice(names, a, a.unique).cmp(slice(names, b, b.unique)))
                .then_with(|| slice(names, a, a.base).cmp(slice(names, b, b.base)))
                .then_with(|| (a.place == Place::New).cmp(&(b.place == Place::New)))
                .then_with(|| slice(names, a, a.length).cmp(slice(names, b, b.length)))
        });
        // The same base twice is one message that was renamed while the directories were
        // read; the sighting in cur/ is the later one and sorts first.
        entries.dedup_by(|later, first| {
            slice(names, later, later.base) == slice(names, first, first.base)
        });
    }

    fn assign_uids(&mut self) {
        let Self {
            names,
            entries,
            hashed,
            ..
        } = self;
        let mut before: Option<usize> = None;
        for at in 0..entries.len() {
            let Some(entry) = entries.get(at).copied() else {
                break;
            };
            let unique = slice(names, &entry, entry.unique);
            // Two messages of one unique part: neither may have it, or it would go over to
            // the other when one is deleted.
            let twin =
                |other: Option<&Entry>| other.is_some_and(|o| slice(names, o, o.unique) == unique);
            let shared = twin(before.and_then(|b| entries.get(b))) || twin(entries.get(at + 1));
            before = Some(at);
            if !shared && is_uid(unique) {
                continue;
            }
            let text = hash(slice(names, &entry, entry.base));
            let number = u32::try_from(hashed.len()).unwrap_or(u32::MAX);
            hashed.push(text);
            if let Some(entry) = entries.get_mut(at) {
                entry.uid = UidIn::Hash(number);
            }
        }
    }

    /// Finds the sizes that the names don't tell; what can't be read is left out.
    fn measure(&mut self, maildir: &Maildir) {
        if self.entries.iter().all(|entry| entry.size != UNKNOWN) {
            return;
        }
        let mut buffer = vec![0; 64 * 1_024];
        let mut sizes = Vec::with_capacity(self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            let known = (entry.size != UNKNOWN).then_some(entry.size);
            sizes.push(known.or_else(|| count(self.open(maildir, at).ok()?, &mut buffer).ok()));
        }
        let mut sizes = sizes.into_iter();
        self.entries
            .retain_mut(|entry| match sizes.next().flatten() {
                Some(size) => {
                    entry.size = size;
                    true
                }
                None => false,
            });
    }

    /// Looks a message up by its base, which no reader changes.
    fn find(&self, maildir: &Maildir, entry: &Entry) -> io::Result<Option<(Place, Vec<u8>)>> {
        let base = slice(&self.names, entry, entry.base);
        for place in [Place::New, Place::Cur] {
            let mut found = None;
            directory(maildir, place).each(|name| {
                let name = name.as_bytes();
                if name.starts_with(base) && Parts::read(name).base == base {
                    found = Some(name.to_vec());
                }
            })?;
            if let Some(name) = found {
                return Ok(Some((place, name)));
            }
        }
        Ok(None)
    }

    fn whole(&self, entry: &Entry) -> &[u8] {
        slice(&self.names, entry, entry.length)
    }

    fn unique(&self, entry: &Entry) -> &[u8] {
        slice(&self.names, entry, entry.unique)
    }
}

/// A size that is still to be found. No file is that large.
const UNKNOWN: u64 = u64::MAX;

fn slice<'a>(names: &'a [u8], entry: &Entry, length: u16) -> &'a [u8] {
    names
        .get(entry.start..entry.start + usize::from(length))
        .unwrap_or_default()
}

fn directory(maildir: &Maildir, place: Place) -> &daemon::dir::Dir {
    match place {
        Place::New => &maildir.new,
        Place::Cur => &maildir.cur,
    }
}

fn is_uid(text: &[u8]) -> bool {
    (1..=UID_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic)
}

/// A unique-id for a name that can't be one: `h` and 32 hexadecimal digits of its 128-bit
/// FNV-1a hash. The names are made by the mailbox's owner or his own programs, so nobody gains
/// by a collision.
fn hash(name: &[u8]) -> String {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let basis: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let hash = name
        .iter()
        .fold(basis, |hash, &b| (hash ^ u128::from(b)).wrapping_mul(PRIME));
    format!("h{hash:032x}")
}

fn count(mut file: File, buffer: &mut [u8]) -> io::Result<u64> {
    let mut count = WireCount::default();
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok(count.wire()),
            Ok(got) => count.push(buffer.get(..got).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
