//! Log files, followed through their rotations.
//!
//! Directories are watched, not files: one inotify watch each, made before confinement, tells of
//! every file in it for ever. A file that was renamed is read on until it has been quiet for
//! [`QUIET`]; one that became shorter is read from its beginning.

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

/// How long a renamed file must have been quiet before it is let go.
pub const QUIET: Duration = Duration::from_secs(10);
/// How much of the end of a log is read when nothing is known of it, in octets.
pub const FIRST_LOOK: u64 = 4 << 20;
/// Octets read of one file before others have their turn.
const TURN: usize = 4 << 20;
/// Files followed at once.
pub const FILES_MAX: usize = 500;
const PIECE: usize = 128 * 1024;

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
}

/// Finds the directories that a path with patterns means now. Directories made later are found
/// at the next start.
#[must_use]
pub fn places(path: &str, jail: usize, tail: bool) -> Vec<Place> {
    let path = Path::new(path);
    let (Some(parent), Some(names)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let mut found = vec![PathBuf::from("/")];
    for part in parent.iter().skip(1) {
        let mut next = Vec::new();
        for dir in found {
            if !glob::is_pattern(part.as_bytes()) {
                next.push(dir.join(part));
                continue;
            }
            let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            next.extend(
                entries
                    .filter(|e| glob::fits(part.as_bytes(), e.file_name().as_bytes()))
                    .map(|e| e.path()),
            );
        }
        next.truncate(FILES_MAX);
        found = next;
    }
    found
        .into_iter()
        .filter(|d| d.is_dir())
        .map(|directory| Place {
            directory,
            names: names.to_owned(),
            jail,
            tail,
        })
        .collect()
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    dir: Dir,
    places: Vec<Place>,
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
}

/// Is told the path of a log, which file it is, and how many octets of it were read.
pub type TellPosition<'a> = &'a mut dyn FnMut(&str, (u64, u64), u64);

/// What a reader is made for: the jails of a file.
pub type MakeReader<'a> = &'a mut dyn FnMut(&[usize]) -> usize;

impl Logs {
    /// Watches the directories of these places. `positions`: where logs were left.
    ///
    /// # Errors
    /// The system's, when there is no inotify. A directory that can't be watched is named in the
    /// log and left out.
    pub fn new(places: Vec<Place>, positions: Positions) -> io::Result<Logs> {
        let inotify = Inotify::init()?;
        let mut logs = Logs {
            inotify,
            directories: Vec::new(),
            by_watch: HashMap::new(),
            files: Vec::new(),
            positions,
            buffer: vec![0; PIECE],
        };
        let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVE | WatchMask::DELETE;
        for place in places {
            let known = logs
                .directories
                .iter_mut()
                .find(|w| w.path == place.directory);
            if let Some(known) = known {
                known.places.push(place);
                continue;
            }
            let opened = Dir::open(&place.directory)
                .and_then(|d| Ok((logs.inotify.watches().add(&place.directory, mask)?, d)));
            match opened {
                Ok((watch, dir)) => {
                    logs.by_watch.insert(watch, logs.directories.len());
                    let path = place.directory.clone();
                    logs.directories.push(Watched {
                        path,
                        dir,
                        places: vec![place],
                    });
                }
                Err(e) => {
                    log::error("logs")
                        .kv("directory", place.directory.as_os_str().as_bytes())
                        .val("error", e)
                        .send();
                }
            }
        }
        Ok(logs)
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
        let packed = [".gz", ".xz", ".bz2", ".zst"];
        if packed
            .iter()
            .any(|p| name.as_bytes().ends_with(p.as_bytes()))
        {
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
        for f in self.files.iter_mut().filter(|f| f.more) {
            f.more = false;
            let mut done = 0;
            loop {
                if done >= TURN {
                    f.more = true;
                    break;
                }
                match f.file.read_at(&mut self.buffer, f.offset) {
                    Ok(0) => {
                        // At its end, or beyond: it was cut to be written anew.
                        let size = f.file.metadata().map_or(f.offset, |m| m.size());
                        if size >= f.offset {
                            break;
                        }
                        f.offset = 0;
                        f.cutter.reset();
                    }
                    Ok(n) => {
                        f.offset += n as u64;
                        done += n;
                        if f.leaving.is_some() {
                            f.leaving = Some(Instant::now());
                        }
                        let (reader, piece) = (f.reader, self.buffer.get(..n).unwrap_or(&[]));
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
        self.files
            .retain(|f| f.leaving.is_none_or(|since| since.elapsed() < QUIET));
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

    /// Whether a renamed file still has to be waited for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.files.iter().any(|f| f.leaving.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Bench {
        tmp: tempfile::TempDir,
        logs: Logs,
        lines: Vec<String>,
    }

    impl Bench {
        fn new(names: &str, positions: Positions, before: &[(&str, &str)]) -> Bench {
            let tmp = tempfile::tempdir().unwrap();
            Bench::at(tmp, names, positions, before)
        }

        fn at(
            tmp: tempfile::TempDir,
            names: &str,
            positions: Positions,
            before: &[(&str, &str)],
        ) -> Bench {
            for (name, text) in before {
                std::fs::write(tmp.path().join(name), text).unwrap();
            }
            let path = tmp.path().join(names);
            let places = places(path.to_str().unwrap(), 0, false);
            assert_eq!(places.len(), 1);
            let mut logs = Logs::new(places, positions).unwrap();
            logs.open_all(&mut |_| 0);
            let mut b = Bench {
                tmp,
                logs,
                lines: Vec::new(),
            };
            b.turn();
            b
        }

        fn turn(&mut self) -> Vec<String> {
            self.logs.notified(&mut |_| 0);
            let lines = &mut self.lines;
            while self
                .logs
                .read(&mut |_, l| lines.push(String::from_utf8_lossy(l).into_owned()))
            {}
            std::mem::take(lines)
        }

        fn append(&self, name: &str, text: &str) {
            let path = self.tmp.path().join(name);
            let mut f = File::options()
                .append(true)
                .create(true)
                .open(path)
                .unwrap();
            f.write_all(text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn rotation_by_rename_loses_nothing() {
        let mut b = Bench::new("a.log", Positions::new(), &[("a.log", "")]);
        b.append("a.log", "1\n2\nha");
        assert_eq!(b.turn(), ["1", "2"]);
        let mut old = File::options()
            .append(true)
            .open(b.tmp.path().join("a.log"))
            .unwrap();
        std::fs::rename(b.tmp.path().join("a.log"), b.tmp.path().join("a.log.1")).unwrap();
        b.append("a.log", "new\n");
        // The daemon has not noticed yet and writes to the old file.
        old.write_all(b"lf\n").unwrap();
        let mut all = b.turn();
        all.sort();
        assert_eq!(all, ["half", "new"]);
        old.write_all(b"late\n").unwrap();
        assert_eq!(b.turn(), ["late"]);
        b.append("a.log", "more\n");
        assert_eq!(b.turn(), ["more"]);
        assert!(b.logs.is_waiting());
    }

    #[test]
    fn copytruncate_and_globs() {
        let mut b = Bench::new(
            "*.log",
            Positions::new(),
            &[("a.log", "x\n"), ("b.txt", "no\n"), ("old.log.gz", "no\n")],
        );
        b.append("a.log", "1\n");
        assert_eq!(b.turn(), ["1"]);
        std::fs::copy(b.tmp.path().join("a.log"), b.tmp.path().join("a.1")).unwrap();
        std::fs::write(b.tmp.path().join("a.log"), "").unwrap();
        b.turn();
        b.append("a.log", "after\n");
        assert_eq!(b.turn(), ["after"]);
        b.append("later.log", "from the start\n");
        b.append("b.txt", "no\n");
        assert_eq!(b.turn(), ["from the start"]);
        assert_eq!(b.logs.files().len(), 2);
    }

    #[test]
    fn positions_are_kept() {
        let mut b = Bench::new("a.log", Positions::new(), &[("a.log", "1\n2\nha")]);
        let mut positions = Positions::new();
        b.logs.tick(&mut |path, id, offset| {
            positions.insert(path.to_owned(), (id, offset));
        });
        assert_eq!(
            positions.values().next().unwrap().1,
            4,
            "a line that is not whole is read again"
        );
        let Bench { tmp, .. } = b;
        std::fs::OpenOptions::new()
            .append(true)
            .open(tmp.path().join("a.log"))
            .unwrap()
            .write_all(b"lf\n")
            .unwrap();
        let path = tmp.path().join("a.log");
        let places = places(path.to_str().unwrap(), 0, false);
        let mut logs = Logs::new(places, positions).unwrap();
        logs.open_all(&mut |_| 0);
        let mut lines = Vec::new();
        logs.read(&mut |_, l| lines.push(String::from_utf8_lossy(l).into_owned()));
        assert_eq!(lines, ["half"]);
    }

    #[test]
    fn many_lines_during_rotation() {
        let mut b = Bench::new("a.log", Positions::new(), &[("a.log", "")]);
        let mut want = 0;
        let mut got = 0;
        for round in 0..5 {
            let mut writer = File::options()
                .append(true)
                .open(b.tmp.path().join("a.log"))
                .unwrap();
            for i in 0..2_000 {
                writeln!(writer, "{round} {i}").unwrap();
                want += 1;
                if i == 1_000 {
                    std::fs::rename(
                        b.tmp.path().join("a.log"),
                        b.tmp.path().join(format!("a.log.{round}")),
                    )
                    .unwrap();
                    b.append("a.log", "");
                }
                if i % 333 == 0 {
                    got += b.turn().len();
                }
            }
            drop(writer);
            got += b.turn().len();
        }
        assert_eq!(got, want);
    }
}
