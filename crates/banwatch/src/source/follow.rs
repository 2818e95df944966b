//! Log files, followed through their rotations.
//!
//! Directories are watched, not files: one inotify watch each, made before confinement, tells of
//! every file in it for ever. A file that was renamed is read on until it has been quiet for
//! [`QUIET`]. One that was emptied or written anew is read from its beginning: not its size
//! tells, which may have grown past the old one by then, but the octets in front of the place
//! where it was left. What its copy has beyond that place is read first, so that copying and
//! emptying loses no line that the copy has. Directories that are made later are found by
//! [`super::seek`].

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon::dir::Dir;
use daemon::log;
use inotify::{EventMask, Inotify, WatchMask};

use super::cutter::Cutter;
use super::glob;
use super::seek::Seek;
pub use super::seek::places;

/// How long a renamed file must have been quiet before it is let go.
pub const QUIET: Duration = Duration::from_secs(10);
/// How much of the end of a log is read when nothing is known of it, in octets.
pub const FIRST_LOOK: u64 = 4 << 20;
/// Octets read of one file before others have their turn.
const TURN: usize = 4 << 20;
/// Files followed at once.
pub const FILES_MAX: usize = 500;
const PIECE: usize = 128 * 1024;
/// Octets in front of the place where a file was left, by which it is known again.
const TAIL: usize = 64;
/// Most that is read of the copy of a file that was emptied, in octets.
const COPY_MAX: u64 = 64 << 20;
/// Files looked at for such a copy.
const COPIES_MAX: usize = 64;
/// Compressed history is not read.
const PACKED: [&str; 4] = [".gz", ".xz", ".bz2", ".zst"];
/// How often directories that may be made later are looked for, in calls of [`Logs::seek`].
const SEEK_EVERY: u32 = 5;

/// A place to look for logs: a directory, a pattern for names in it, and who reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory; no pattern.
    pub directory: PathBuf,
    /// The pattern.
    pub names: OsString,
    /// The reader's number, whatever it means to the caller.
    pub jail: usize,
    /// A file that is seen for the first time is read from its end.
    pub tail: bool,
    /// Names of directories below, with patterns, that may be made later and are what is meant;
    /// empty for a directory that is there.
    pub below: Vec<OsString>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    dir: Dir,
    places: Vec<Place>,
    /// Made after the start: asked once a second, as no watch can be added by then.
    polled: bool,
}

#[derive(Debug)]
struct Followed {
    directory: usize,
    name: OsString,
    file: File,
    id: (u64, u64),
    offset: u64,
    cutter: Cutter,
    reader: usize,
    /// It has lost its name; let go when it was quiet since then.
    leaving: Option<Instant>,
    /// There was more than one turn's worth.
    more: bool,
    saved: u64,
    /// The last octets that were read.
    tail: Vec<u8>,
}

/// Where a log was left.
pub type Positions = HashMap<String, ((u64, u64), u64)>;

/// All log files.
#[derive(Debug)]
pub struct Logs {
    inotify: Inotify,
    directories: Vec<Watched>,
    by_watch: HashMap<inotify::WatchDescriptor, usize>,
    files: Vec<Followed>,
    positions: Positions,
    buffer: Vec<u8>,
    seeks: Vec<Seek>,
    /// Something was made where directories are looked for.
    seek_now: bool,
    seek_turn: u32,
    /// Lines that were too long, of files that are gone.
    too_long: u64,
}

/// Is told the path of a log, which file it is, and how many octets of it were read.
pub type TellPosition<'a> = &'a mut dyn FnMut(&str, (u64, u64), u64);

/// What a reader is made for: the jails of a file.
pub type MakeReader<'a> = &'a mut dyn FnMut(&[usize]) -> usize;

impl Logs {
    /// Watches the directories of these places and looks for the others while it runs.
    /// `positions`: where logs were left.
    ///
    /// # Errors
    /// The system's, when there is no inotify. A directory that can't be watched is named in the
    /// log and left out.
    pub fn new(places: Vec<Place>, positions: Positions) -> io::Result<Logs> {
        let (places, seeks): (Vec<Place>, _) = places.into_iter().partition(|p| p.below.is_empty());
        let inotify = Inotify::init()?;
        let mut logs = Logs {
            inotify,
            directories: Vec::new(),
            by_watch: HashMap::new(),
            files: Vec::new(),
            positions,
            buffer: vec![0; PIECE],
            seeks: seeks.into_iter().map(Seek).collect(),
            seek_now: false,
            seek_turn: 0,
            too_long: 0,
        };
        let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVE | WatchMask::DELETE;
        let bases = logs.seeks.iter().map(|s| (s.base().to_owned(), None));
        let places = places.into_iter().map(|p| (p.directory.clone(), Some(p)));
        for (path, place) in places.chain(bases.collect::<Vec<_>>()) {
            if let Some(known) = logs.directories.iter_mut().find(|w| w.path == path) {
                known.places.extend(place);
                continue;
            }
            let opened =
                Dir::open(&path).and_then(|d| Ok((logs.inotify.watches().add(&path, mask)?, d)));
            match opened {
                Ok((watch, dir)) => {
                    logs.by_watch.insert(watch, logs.directories.len());
                    logs.directories.push(Watched {
                        path,
                        dir,
                        places: place.into_iter().collect(),
                        polled: false,
                    });
                }
                Err(e) => {
                    log::error("logs")
                        .kv("directory", path.as_os_str().as_bytes())
                        .val("error", e)
                        .send();
                }
            }
        }
        Ok(logs)
    }

    /// Once a second: looks for directories that were made later, and into those that were.
    pub fn seek(&mut self, make: MakeReader<'_>) {
        self.seek_turn = self.seek_turn.wrapping_add(1);
        if std::mem::take(&mut self.seek_now) || self.seek_turn.is_multiple_of(SEEK_EVERY) {
            for n in 0..self.seeks.len() {
                let (Some(seek), known) = (self.seeks.get(n), &self.directories) else {
                    break;
                };
                let base = known.iter().find(|w| w.path == seek.base());
                let found = base.map_or_else(Vec::new, |w| seek.look(&w.dir));
                for (path, dir) in found {
                    self.found_late(n, path, dir);
                }
            }
        }
        for at in 0..self.directories.len() {
            let Some(w) = self.directories.get(at).filter(|w| w.polled) else {
                continue;
            };
            for name in w.dir.names().unwrap_or_default() {
                self.look(at, &name, make, false);
            }
            for f in self.files.iter_mut().filter(|f| f.directory == at) {
                f.more = true;
            }
        }
    }

    /// A directory that the n-th search has found.
    fn found_late(&mut self, n: usize, path: PathBuf, dir: Dir) {
        let Some(place) = self.seeks.get(n).map(|s| s.place(&path)) else {
            return;
        };
        let same = |a: &Dir, b: &Dir| match (a.own_status(), b.own_status()) {
            (Ok(a), Ok(b)) => (a.device, a.inode) == (b.device, b.inode),
            _ => false,
        };
        let room = self.directories.len() < FILES_MAX;
        match self.directories.iter_mut().find(|w| w.path == path) {
            Some(w) => {
                if !same(&w.dir, &dir) {
                    // Removed and made again.
                    w.dir = dir;
                    w.polled = true;
                }
                if !w.places.contains(&place) {
                    w.places.push(place);
                }
            }
            None if room => {
                log::info("logs")
                    .kv("directory", path.as_os_str().as_bytes())
                    .kv("state", "made since the start")
                    .send();
                self.directories.push(Watched {
                    path,
                    dir,
                    places: vec![place],
                    polled: true,
                });
            }
            None => {}
        }
    }

    /// The directories that are watched, for Landlock.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(|w| w.path.as_path())
    }

    /// Opens every log that is there.
    pub fn open_all(&mut self, make: MakeReader<'_>) {
        for at in 0..self.directories.len() {
            let names = self.directories.get(at).and_then(|w| w.dir.names().ok());
            for name in names.unwrap_or_default() {
                self.look(at, &name, make, true);
            }
        }
    }

    /// Files followed now.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let path = |f: &Followed| {
            self.directories
                .get(f.directory)
                .map(|w| w.path.join(&f.name))
        };
        self.files.iter().filter_map(path).collect()
    }

    /// The descriptor to wait on.
    #[must_use]
    pub fn wait_on(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Looks whether a name is a log, a new file under an old name, or an old file under a new
    /// one.
    fn look(&mut self, at: usize, name: &OsStr, make: MakeReader<'_>, first: bool) {
        let Some(watched) = self.directories.get(at) else {
            return;
        };
        let status = watched.dir.status(name).ok().filter(|s| s.is_file);
        let id = status.map(|s| (s.device, s.inode));
        for f in self
            .files
            .iter_mut()
            .filter(|f| f.directory == at && f.name == name)
        {
            if Some(f.id) != id && f.leaving.is_none() {
                f.leaving = Some(Instant::now());
            }
        }
        let Some(id) = id else { return };
        if self.files.iter().any(|f| f.id == id) {
            return;
        }
        if is_packed(name) {
            return;
        }
        let fitting: Vec<&Place> = watched
            .places
            .iter()
            .filter(|p| glob::fits(p.names.as_bytes(), name.as_bytes()))
            .collect();
        if fitting.is_empty() {
            return;
        }
        let path = watched.path.join(name);
        let shown = path.to_string_lossy().into_owned();
        let room = self.files.len() < FILES_MAX;
        let file = match watched.dir.open_read(name) {
            Ok(file) if room => file,
            Ok(_) => {
                log::error("log")
                    .kv("file", &shown)
                    .kv("error", "too many files")
                    .send();
                return;
            }
            Err(e) => {
                log::error("log").kv("file", &shown).val("error", e).send();
                return;
            }
        };
        let mut jails: Vec<usize> = fitting.iter().map(|p| p.jail).collect();
        jails.sort_unstable();
        jails.dedup();
        let tail = fitting.iter().all(|p| p.tail);
        let size = file.metadata().map_or(0, |m| m.len());
        let mut cutter = Cutter::default();
        let offset = match self.positions.get(&shown) {
            Some((known, offset)) if *known == id && *offset <= size => *offset,
            // Rotated while we were away: the new file is read whole.
            Some(_) => 0,
            None if !first => 0,
            None if tail => size,
            None => size.saturating_sub(FIRST_LOOK),
        };
        if offset > 0 && !self.positions.contains_key(&shown) && !tail {
            cutter.begin_inside();
        }
        log::info("log")
            .kv("file", &shown)
            .val("offset", offset)
            .send();
        let reader = make(&jails);
        self.files.push(Followed {
            directory: at,
            name: name.to_owned(),
            file,
            id,
            offset,
            cutter,
            reader,
            leaving: None,
            more: true,
            saved: u64::MAX,
            tail: Vec::new(),
        });
    }

    /// Takes what inotify tells; `true` when some of it was lost or there is something to read.
    pub fn notified(&mut self, make: MakeReader<'_>) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let mut told: Vec<(usize, OsString, bool)> = Vec::new();
            let mut lost = false;
            match self.inotify.read_events(&mut buffer) {
                Ok(events) => {
                    for e in events {
                        lost |= e.mask.contains(EventMask::Q_OVERFLOW);
                        let made = EventMask::CREATE | EventMask::MOVED_TO;
                        self.seek_now |=
                            e.mask.contains(EventMask::ISDIR) && e.mask.intersects(made);
                        let (Some(at), Some(name)) = (self.by_watch.get(&e.wd), e.name) else {
                            continue;
                        };
                        let changed = e.mask.contains(EventMask::MODIFY);
                        // Writers write often: each name once.
                        let same = |t: &&(usize, OsString, bool)| {
                            t.0 == *at && t.1 == name && t.2 == changed
                        };
                        if told.iter().rev().take(4).find(same).is_none() {
                            told.push((*at, name.to_owned(), changed));
                        }
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => {
                    log::error("inotify").val("error", e).send();
                    return;
                }
            }
            for (at, name, changed) in told {
                let mut known = false;
                for f in self.files.iter_mut().filter(|f| f.directory == at) {
                    if f.name == name || f.leaving.is_some() {
                        f.more = true;
                        known |= f.name == name && f.leaving.is_none();
                    }
                }
                if !(changed && known) {
                    self.look(at, &name, make, false);
                }
            }
            if lost {
                for f in &mut self.files {
                    f.more = true;
                }
                for at in 0..self.directories.len() {
                    let names = self.directories.get(at).and_then(|w| w.dir.names().ok());
                    for name in names.unwrap_or_default() {
                        self.look(at, &name, make, false);
                    }
                }
            }
        }
    }

    /// Reads what is there, at most a turn's worth of each file; `true` when there is more.
    pub fn read(&mut self, line: &mut dyn FnMut(usize, &[u8])) -> bool {
        let mut more = false;
        let followed: Vec<(u64, u64)> = self.files.iter().map(|f| f.id).collect();
        for f in self.files.iter_mut().filter(|f| f.more) {
            f.more = false;
            let mut done = 0;
            loop {
                if done >= TURN {
                    f.more = true;
                    break;
                }
                let known = f.tail.len();
                match f.file.read_at(&mut self.buffer, f.offset - known as u64) {
                    Ok(n) => {
                        let got = self.buffer.get(..n).unwrap_or(&[]);
                        let (head, piece) = got.split_at(known.min(n));
                        // Octets of no meaning are a hole: its writer goes on where it was.
                        let hole = || head.len() == known && head.iter().all(|b| *b == 0);
                        if head != f.tail && !hole() || shrunk(f, n) {
                            if let Some(w) = self.directories.get(f.directory) {
                                rest_of_copy(w, f, &followed, line);
                            }
                            f.offset = 0;
                            f.tail.clear();
                            f.cutter.reset();
                            continue;
                        }
                        if piece.is_empty() {
                            break;
                        }
                        f.offset += piece.len() as u64;
                        done += piece.len();
                        if f.leaving.is_some() {
                            f.leaving = Some(Instant::now());
                        }
                        f.tail.clear();
                        f.tail
                            .extend(got.get(n.saturating_sub(TAIL)..).unwrap_or(&[]));
                        let reader = f.reader;
                        f.cutter.feed(piece, &mut |l| line(reader, l));
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        log::error("log")
                            .kv("file", f.name.as_bytes())
                            .val("error", e)
                            .send();
                        break;
                    }
                }
            }
            more |= f.more;
        }
        more
    }

    /// Once a second: lets quiet old files go, and says where the others stand if that changed.
    pub fn tick(&mut self, position: TellPosition<'_>) {
        let gone = &mut self.too_long;
        self.files.retain(|f| {
            let stays = f.leaving.is_none_or(|since| since.elapsed() < QUIET);
            *gone += if stays { 0 } else { f.cutter.too_long() };
            stays
        });
        for f in self.files.iter_mut().filter(|f| f.leaving.is_none()) {
            // What is held back is read again after a restart.
            let at = f.offset.saturating_sub(f.cutter.held() as u64);
            if at != f.saved {
                f.saved = at;
                if let Some(w) = self.directories.get(f.directory) {
                    position(&w.path.join(&f.name).to_string_lossy(), f.id, at);
                }
            }
        }
    }

    /// Where every log stands, for a state file made anew.
    pub fn all_positions(&mut self, position: TellPosition<'_>) {
        for f in &mut self.files {
            f.saved = u64::MAX;
        }
        self.tick(position);
    }

    /// Lines that were passed over because of their length, since the start.
    #[must_use]
    pub fn too_long(&self) -> u64 {
        self.too_long + self.files.iter().map(|f| f.cutter.too_long()).sum::<u64>()
    }

    /// Whether something has to be done once a second though nothing is told: a renamed file is
    /// waited for, or a directory looked for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.seeks.is_empty() || self.files.iter().any(|f| f.leaving.is_some())
    }
}

fn is_packed(name: &OsStr) -> bool {
    let name = name.as_bytes();
    PACKED.iter().any(|p| name.ends_with(p.as_bytes()))
}

/// Whether a file whose last octets are not known (the place comes from the state) has become
/// shorter than that place; `n` is what was read there.
fn shrunk(f: &Followed, n: usize) -> bool {
    f.tail.is_empty()
        && n == 0
        && f.offset > 0
        && f.file.metadata().is_ok_and(|m| m.size() < f.offset)
}

/// A file was emptied: reads what its copy has beyond the place where it was left. The copy is
/// the file beside it whose name begins with its name and that has the same octets in front of
/// that place. One that is followed itself is left alone.
fn rest_of_copy(
    w: &Watched,
    f: &mut Followed,
    followed: &[(u64, u64)],
    line: &mut dyn FnMut(usize, &[u8]),
) {
    let start = f.offset - f.tail.len() as u64;
    let names = w.dir.names().unwrap_or_default();
    let beside = names
        .iter()
        .filter(|n| n.as_bytes().starts_with(f.name.as_bytes()) && **n != f.name && !is_packed(n));
    let mut newest: Option<(i64, File)> = None;
    for name in beside.take(COPIES_MAX) {
        let Ok(s) = w.dir.status(name) else { continue };
        if !s.is_file || s.size < f.offset || followed.contains(&(s.device, s.inode)) {
            continue;
        }
        let mut head = [0; TAIL];
        let head = head.get_mut(..f.tail.len()).unwrap_or(&mut []);
        let Ok(file) = w.dir.open_read(name) else {
            continue;
        };
        let same = !head.is_empty() && file.read_exact_at(head, start).is_ok() && head == f.tail;
        if same && newest.as_ref().is_none_or(|(t, _)| s.mtime > *t) {
            newest = Some((s.mtime, file));
        }
    }
    let Some((_, copy)) = newest else { return };
    let mut buffer = vec![0; PIECE];
    let (mut at, end) = (f.offset, f.offset + COPY_MAX);
    while at < end {
        match copy.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(n) => {
                at += n as u64;
                let reader = f.reader;
                f.cutter
                    .feed(buffer.get(..n).unwrap_or(&[]), &mut |l| line(reader, l));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
}

#[cfg(test)]
mod tests;
