//! The state file in its directory: appended to, compacted, made durable by a thread so that no
//! ban waits for a disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use daemon::dir::Dir;
use daemon::log;

use super::record::{MAGIC, Record, read_some};

/// The file's name.
pub const NAME: &str = "bans";
/// The name while it is being made anew.
const FRESH: &str = "bans.new";
/// Longest file that is read at start, in octets: ten times what a million bans take compacted
/// would be foul play, and a start must not wait for it.
const READ_MAX: u64 = 512 << 20;
/// Octets that may be appended beyond twice the compacted length before it is compacted.
const SLACK: u64 = 4 << 20;

/// How much is read or written at once.
const PIECE: usize = 64 * 1024;

/// What the thread does.
#[derive(Debug)]
enum Job {
    Sync(File),
    /// The new file takes the place of the old one.
    Replace(File),
}

/// The open state file.
#[derive(Debug)]
pub struct StateFile {
    dir: Dir,
    file: File,
    /// Records not yet written.
    pending: Vec<u8>,
    length: u64,
    compacted: u64,
    dirty: bool,
    failed: bool,
    worker: Option<SyncSender<Job>>,
}

impl StateFile {
    /// Reads what is there, gives each record to `each`, and opens the file for appending. A file
    /// that can't be read as it should is no reason not to start: what is sound in it is used.
    ///
    /// # Errors
    /// The system's, when the directory can't be written to.
    pub fn open(dir: Dir, each: &mut dyn FnMut(Record)) -> io::Result<StateFile> {
        if let Ok(old) = dir.open_read(NAME) {
            match read_all(&mut old.take(READ_MAX), each) {
                Ok(0) => {}
                Ok(lost) => log::warning("state")
                    .kv("file", NAME)
                    .val("octets_lost", lost)
                    .send(),
                Err(e) => log::warning("state")
                    .kv("file", NAME)
                    .val("error", e)
                    .send(),
            }
        }
        // A new file is made at once; see `replace`.
        let file = fresh(&dir)?;
        Ok(StateFile {
            dir,
            file,
            pending: MAGIC.to_vec(),
            length: 0,
            compacted: 0,
            dirty: false,
            failed: false,
            worker: None,
        })
    }

    /// Starts the thread. Called after confinement, so that the thread is confined too.
    ///
    /// # Errors
    /// The system's.
    pub fn start(&mut self) -> io::Result<()> {
        let (give, take) = sync_channel(4);
        let dir = self.dir.try_clone()?;
        std::thread::Builder::new()
            .name("state".into())
            .stack_size(64 * 1024)
            .spawn(move || work(&dir, &take))?;
        self.worker = Some(give);
        Ok(())
    }

    /// Remembers a record; it is written at the next [`StateFile::flush`].
    pub fn put(&mut self, record: &Record) {
        record.encode(&mut self.pending);
        if self.pending.len() > PIECE {
            self.flush();
        }
    }

    /// Writes what waits: from here on a crash of this program loses nothing of it.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.file.write_all(&self.pending) {
            Ok(()) => {
                self.length += self.pending.len() as u64;
                self.dirty = true;
                self.failed = false;
            }
            // A full disk stops the remembering, never the banning. Said once.
            Err(e) if !self.failed => {
                log::error("state").kv("file", NAME).val("error", e).send();
                self.failed = true;
            }
            Err(_) => {}
        }
        self.pending.clear();
    }

    /// Once a second: has the thread make durable what was written.
    pub fn tick(&mut self) {
        self.flush();
        if self.dirty {
            if let Ok(file) = self.file.try_clone() {
                self.dirty = !self.give(Job::Sync(file));
            }
        }
    }

    /// Whether something was written that a crash of the host could still lose.
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        self.dirty || !self.pending.is_empty()
    }

    /// Whether there is so much old in it that it should be made anew.
    #[must_use]
    pub fn wants_compacting(&self) -> bool {
        self.length > 2 * self.compacted + SLACK
    }

    /// Begins a new file; the caller puts every record that still holds and calls
    /// [`StateFile::replace`].
    ///
    /// # Errors
    /// The system's; the old file goes on then.
    pub fn begin_compacting(&mut self) -> io::Result<()> {
        self.flush();
        self.file = fresh(&self.dir)?;
        self.length = 0;
        self.pending = MAGIC.to_vec();
        Ok(())
    }

    /// The new file is complete: the thread puts it in the old one's place when it is durable.
    pub fn replace(&mut self) {
        self.flush();
        self.compacted = self.length;
        self.dirty = false;
        if let Ok(file) = self.file.try_clone() {
            self.give(Job::Replace(file));
        }
    }

    fn give(&self, job: Job) -> bool {
        match &self.worker {
            Some(worker) => match worker.try_send(job) {
                Ok(()) => true,
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => {
                    if matches!(job, Job::Replace(_)) {
                        run(&self.dir, &job);
                        return true;
                    }
                    false
                }
            },
            None => {
                run(&self.dir, &job);
                true
            }
        }
    }
}

/// Reads a whole file piece by piece; gives how many octets were no record.
fn read_all(file: &mut dyn Read, each: &mut dyn FnMut(Record)) -> io::Result<usize> {
    let mut buffer = Vec::with_capacity(2 * PIECE);
    let (mut lost, mut ended, mut first) = (0, false, true);
    while !ended || !buffer.is_empty() {
        if !ended {
            let before = buffer.len();
            (&mut *file).take(PIECE as u64).read_to_end(&mut buffer)?;
            ended = buffer.len() == before;
        }
        if std::mem::take(&mut first) && buffer.starts_with(MAGIC) {
            buffer.drain(..MAGIC.len());
        }
        let (used, wrong) = read_some(&buffer, ended, each);
        buffer.drain(..used);
        lost += wrong;
    }
    Ok(lost)
}

fn fresh(dir: &Dir) -> io::Result<File> {
    match dir.unlink(FRESH) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    dir.create_new(FRESH, 0o600)
}

fn work(dir: &Dir, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        run(dir, &job);
    }
}

fn run(dir: &Dir, job: &Job) {
    let done = match job {
        Job::Sync(file) => file.sync_data(),
        Job::Replace(file) => file
            .sync_data()
            .and_then(|()| dir.rename(FRESH, dir, NAME))
            .and_then(|()| dir.sync()),
    };
    if let Err(e) = done {
        log::error("state").kv("file", NAME).val("error", e).send();
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::read;
    use super::*;
    use crate::own::book::Ban;

    fn ban(n: u8) -> Record {
        let ban = Ban {
            since: 1,
            until: 100,
            count: 1,
            jail: 0,
            enforced: true,
            stands: true,
        };
        Record::Ban(crate::prefix::Prefix::host([10, 0, 0, n].into()), ban)
    }

    fn load(path: &std::path::Path) -> (StateFile, Vec<Record>) {
        let mut all = Vec::new();
        let f = StateFile::open(Dir::open(path).unwrap(), &mut |r| all.push(r)).unwrap();
        (f, all)
    }

    #[test]
    fn what_was_put_is_there_after_any_end() {
        let tmp = tempfile::tempdir().unwrap();
        let (mut f, all) = load(tmp.path());
        assert!(all.is_empty());
        f.put(&ban(1));
        f.replace();
        f.put(&ban(2));
        f.flush();
        // A crash: nothing else is called.
        drop(f);
        let (mut f, all) = load(tmp.path());
        assert_eq!(all, [ban(1), ban(2)]);
        // A crash before the new file is complete: the old one is still there.
        f.put(&ban(3));
        f.flush();
        drop(f);
        let (mut f, all) = load(tmp.path());
        assert_eq!(all, [ban(1), ban(2)]);
        for r in &all {
            f.put(r);
        }
        f.replace();
        drop(f);
        // A torn end.
        let path = tmp.path().join(NAME);
        let mut octets = std::fs::read(&path).unwrap();
        octets.truncate(octets.len() - 3);
        std::fs::write(&path, &octets).unwrap();
        assert_eq!(load(tmp.path()).1, [ban(1)]);
        // No state file at all, but nonsense.
        std::fs::write(&path, b"nonsense").unwrap();
        assert!(load(tmp.path()).1.is_empty());
    }

    #[test]
    fn a_long_file_is_read_in_pieces() {
        let mut octets = MAGIC.to_vec();
        for n in 0..5_000u32 {
            ban((n % 250) as u8).encode(&mut octets);
            if n == 2_500 {
                octets.extend([0xff; 100]);
            }
        }
        let mut count = 0;
        let lost = read_all(&mut octets.as_slice(), &mut |_| count += 1).unwrap();
        assert_eq!((count, lost), (5_000, 100));
    }

    #[test]
    fn the_thread_does_it_too() {
        let tmp = tempfile::tempdir().unwrap();
        let (mut f, _) = load(tmp.path());
        f.start().unwrap();
        f.put(&ban(1));
        f.replace();
        f.put(&ban(2));
        f.tick();
        f.begin_compacting().unwrap();
        f.put(&ban(2));
        f.put(&ban(4));
        f.replace();
        drop(f);
        // The thread ends with its jobs; the second replacement is awaited by its effect.
        let mut all = Vec::new();
        for _ in 0..2_000 {
            all.clear();
            if let Ok(octets) = std::fs::read(tmp.path().join(NAME)) {
                read(&octets, &mut |r| all.push(r));
            }
            if all == [ban(2), ban(4)] {
                return;
            }
            std::thread::yield_now();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("{all:?}");
    }
}
