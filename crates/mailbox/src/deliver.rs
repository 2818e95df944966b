//! One message into a Maildir, durably and at most once.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;

use crate::content::LineEnds;
use crate::list::Place;
use crate::maildir::Maildir;
use crate::name::{self, Parts};
use crate::trouble::Trouble;
use crate::wire::WireCount;

/// Octets read from the queue file at once.
const BLOCK: usize = 64 * 1_024;

/// A message to be delivered.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// The unique part of the file's name, see [`name::unique`].
    pub unique: &'a str,
    /// The envelope's sender without angle brackets, empty for the null one; no control
    /// characters.
    pub reverse_path: &'a str,
    /// The address it came for; no control characters.
    pub recipient: &'a str,
    /// The queue file.
    pub content: &'a File,
    /// Where in it the content begins.
    pub offset: u64,
    /// How long the content is, in octets, line ends being CRLF.
    pub length: u64,
    /// It may have been delivered before: look first.
    pub repeat: bool,
    /// Sync the directory too before saying "delivered". Needed when the queue lies on another
    /// filesystem: on the same one, the journal keeps the order of this rename and the later
    /// removal from the queue.
    pub sync_directory: bool,
}

/// A delivery that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The message is in `new/` now.
    Now {
        /// The file's name.
        name: String,
        /// Octets written.
        stored: u64,
    },
    /// It had been delivered before and is still there; nothing was written.
    Before,
}

/// Delivers one letter after the other, with the same two buffers.
#[derive(Debug, Default)]
pub struct Deliverer {
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Deliverer {
    /// Buffers are made with the first letter.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Delivers: `tmp/UNIQUE` is created, written and synced, then renamed to
    /// `new/UNIQUE,S=..,W=..`.
    ///
    /// When this returns `Ok`, the message survives a crash (see
    /// [`Letter::sync_directory`]). The name depends on the letter alone, so a delivery that is
    /// made again replaces the file of the first one in `new/`.
    ///
    /// # Errors
    /// Every call's error is believed. The message is not in `new/`, except when the very
    /// last step, the sync of the directory, failed: then it may be, and the next attempt
    /// must be a `repeat`.
    pub fn deliver(
        &mut self,
        maildir: &Maildir,
        letter: &Letter<'_>,
    ) -> Result<Delivered, Trouble> {
        self.through(maildir, letter)
    }

    fn through<S: Steps>(&mut self, steps: &S, letter: &Letter<'_>) -> Result<Delivered, Trouble> {
        if letter.repeat
            && let Some(place) = steps.find(letter.unique)?
        {
            if letter.sync_directory {
                steps.sync_directory(place)?;
            }
            return Ok(Delivered::Before);
        }
        let file = match steps.create(letter.unique) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left by an attempt that was killed: nobody else uses this name.
                steps.discard(letter.unique)?;
                steps.create(letter.unique)
            }
            other => other,
        }?;
        match self.fill(steps, file, letter) {
            Ok((name, stored)) => {
                if letter.sync_directory {
                    steps.sync_directory(Place::New)?;
                }
                Ok(Delivered::Now { name, stored })
            }
            Err(trouble) => {
                // What failed is the delivery; a file that stays in tmp/ hurts nobody.
                let _ = steps.discard(letter.unique);
                Err(trouble)
            }
        }
    }

    fn fill<S: Steps>(
        &mut self,
        steps: &S,
        mut file: File,
        letter: &Letter<'_>,
    ) -> Result<(String, u64), Trouble> {
        let mut ends = LineEnds::default();
        let mut count = WireCount::default();
        // A worker that sees small messages only stays small.
        let block = usize::try_from(letter.length).unwrap_or(BLOCK).min(BLOCK);
        if self.input.len() < block {
            self.input.resize(block, 0);
        }
        self.output.clear();
        // Writing to a Vec can't fail.
        let _ = write!(
            self.output,
            "Return-Path: <{}>\nDelivered-To: {}\n",
            letter.reverse_path, letter.recipient
        );
        let (mut offset, mut left) = (letter.offset, letter.length);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(block).min(block);
            let room = self.input.get_mut(..want).unwrap_or_default();
            let got = read_at(letter.content, room, offset).map_err(Trouble::Source)?;
            ends.push(room.get(..got).unwrap_or_default(), &mut self.output);
            offset = offset.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
            left = left.saturating_sub(u64::try_from(got).unwrap_or(u64::MAX));
            if left > 0 {
                count.push(&self.output);
                steps.write(&mut file, &self.output)?;
                self.output.clear();
            }
        }
        ends.finish(&mut self.output);
        count.push(&self.output);
        if !count.ends_line() {
            // On the wire a last line without an end gets one; here it gets it for good, so
            // that the sizes in the name mean the same to every program.
            self.output.push(b'\n');
            count.push(b"\n");
        }
        steps.write(&mut file, &self.output)?;
        steps.sync_file(&file)?;
        drop(file);
        let name = name::sized(letter.unique, count.stored(), count.wire());
        steps.publish(letter.unique, &name)?;
        Ok((name, count.stored()))
    }
}

fn read_at(file: &File, room: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(room, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The calls that a delivery makes on a Maildir, so that tests can fail each of them.
trait Steps {
    fn find(&self, unique: &str) -> io::Result<Option<Place>>;
    fn create(&self, unique: &str) -> io::Result<File>;
    fn write(&self, file: &mut File, data: &[u8]) -> io::Result<()>;
    fn sync_file(&self, file: &File) -> io::Result<()>;
    fn publish(&self, unique: &str, name: &str) -> io::Result<()>;
    fn sync_directory(&self, place: Place) -> io::Result<()>;
    fn discard(&self, unique: &str) -> io::Result<()>;
}

impl Steps for Maildir {
    fn find(&self, unique: &str) -> io::Result<Option<Place>> {
        // `new` first: a mail reader moves files from there to `cur`, so a file that is moved
        // in between is seen at least once.
        for (dir, place) in [(&self.new, Place::New), (&self.cur, Place::Cur)] {
            let mut found = false;
            dir.each(|name| found |= Parts::read(name.as_bytes()).unique == unique.as_bytes())?;
            if found {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn create(&self, unique: &str) -> io::Result<File> {
        self.tmp.create_new(unique, 0o600)
    }

    fn write(&self, file: &mut File, data: &[u8]) -> io::Result<()> {
        file.write_all(data)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn publish(&self, unique: &str, name: &str) -> io::Result<()> {
        self.tmp.rename(unique, &self.new, name)
    }

    fn sync_directory(&self, place: Place) -> io::Result<()> {
        match place {
            Place::New => self.new.sync(),
            Place::Cur => self.cur.sync(),
        }
    }

    fn discard(&self, unique: &str) -> io::Result<()> {
        self.tmp.unlink(unique)
    }
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
