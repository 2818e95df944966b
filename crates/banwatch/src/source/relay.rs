//! The journal's reader, a process of its own (`banwatch --journal`): it runs `journalctl`, hands
//! on whole entries, and starts it again when it ends, behind the last entry that was handed on.
//!
//! The process that decides can't do that: by then it can't start programs.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daemon::log;

use super::journal::{Entry, Reader};

/// Wait before the first new start; twice as long each time, up to [`WAIT_MAX`].
pub const WAIT_FIRST: Duration = Duration::from_secs(1);
/// Longest wait between two starts.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
const PIECE: usize = 64 * 1024;

/// Where the stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Microseconds since 1970 of the last entry that was handed on, or from which on they are.
    time: u64,
    cursor: Option<Vec<u8>>,
    /// Entries up to `time` were handed on already.
    passing: bool,
    /// Something came of the present run.
    moved: bool,
    wait: Duration,
}

impl Progress {
    /// Entries written after `since` (microseconds since 1970).
    #[must_use]
    pub fn new(since: u64) -> Progress {
        Progress {
            time: since,
            cursor: None,
            passing: true,
            moved: false,
            wait: WAIT_FIRST,
        }
    }

    /// The arguments for `journalctl`.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = ["--quiet", "--output=export", "--follow", "--no-tail"]
            .iter()
            .map(OsString::from)
            .collect();
        all.push(match &self.cursor {
            Some(c) => format!("--after-cursor={}", String::from_utf8_lossy(c)).into(),
            None => format!("--since=@{}", self.time / 1_000_000).into(),
        });
        all
    }

    /// An entry has come; whether it is to be handed on.
    pub fn entry(&mut self, entry: &Entry) -> bool {
        let time = entry.written();
        // What `--since` repeats, as it knows seconds only. Later, clocks may have been set back.
        if self.passing && time.is_some_and(|t| t <= self.time) {
            return false;
        }
        self.passing = false;
        self.moved = true;
        self.wait = WAIT_FIRST;
        self.time = time.unwrap_or(self.time);
        let cursor = entry.get("__CURSOR").map(<[u8]>::to_vec);
        self.cursor = cursor.filter(|c| c.iter().all(u8::is_ascii_graphic));
        true
    }

    /// `journalctl` has ended; how long to wait before it is started again. When nothing came of
    /// a run that began behind a cursor, its entry may be gone: the next begins by the time.
    pub fn ended(&mut self) -> Duration {
        if !std::mem::take(&mut self.moved) && self.cursor.take().is_some() {
            self.passing = true;
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(WAIT_MAX);
        wait
    }
}

/// Runs until `alive` has ended, which is when whoever holds its other end is gone.
///
/// # Errors
/// The system's, when nothing can be written to `out`.
pub fn run(program: &str, since: u64, mut out: File, mut alive: File) -> io::Result<()> {
    let running: Arc<Mutex<Option<Child>>> = Arc::default();
    let theirs = Arc::clone(&running);
    std::thread::Builder::new()
        .stack_size(64 * 1024)
        .spawn(move || {
            let _ = alive.read(&mut [0]);
            if let Some(child) = &mut *theirs.lock().unwrap_or_else(PoisonError::into_inner) {
                let _ = child.kill();
                let _ = child.wait();
            }
            std::process::exit(0);
        })?;
    let mut progress = Progress::new(since);
    let mut buffer = vec![0; PIECE];
    loop {
        let started = Command::new(program)
            .args(progress.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let why = match started {
            Err(e) => e.to_string(),
            Ok(mut child) => {
                let stream = child.stdout.take();
                *running.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
                if let Some(mut stream) = stream {
                    relay(&mut stream, &mut progress, &mut buffer, &mut out)?;
                }
                let mut child = running.lock().unwrap_or_else(PoisonError::into_inner);
                match child.take().map(|mut c| c.wait()) {
                    Some(Ok(status)) => status.to_string(),
                    Some(Err(e)) => e.to_string(),
                    None => return Ok(()),
                }
            }
        };
        let wait = progress.ended();
        log::warning("journal")
            .kv("reader", program)
            .kv("ended", &why)
            .val("again_in_s", wait.as_secs())
            .send();
        std::thread::sleep(wait);
    }
}

/// Hands on the whole entries of one run.
fn relay(
    stream: &mut impl Read,
    progress: &mut Progress,
    buffer: &mut [u8],
    out: &mut File,
) -> io::Result<()> {
    let mut reader = Reader::default();
    let mut text = Vec::new();
    loop {
        let n = match stream.read(buffer) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(n) => n,
        };
        reader.feed(buffer.get(..n).unwrap_or(&[]), &mut |entry| {
            if progress.entry(entry) {
                entry.encode(&mut text);
            }
        });
        out.write_all(&text)?;
        text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        let mut all = Vec::new();
        Reader::default().feed(text.as_bytes(), &mut |e| all.push(e.clone()));
        all.remove(0)
    }

    fn last(p: &Progress) -> String {
        p.arguments().pop().unwrap().into_string().unwrap()
    }

    #[test]
    fn it_goes_on_behind_the_last_entry() {
        let mut p = Progress::new(5_500_000);
        assert_eq!(last(&p), "--since=@5");
        let at = |us: u32, c: &str| entry(&format!("__CURSOR={c}\n__REALTIME_TIMESTAMP={us}\n\n"));
        assert!(!p.entry(&at(5_400_000, "a")) && !p.entry(&at(5_500_000, "b")));
        assert!(p.entry(&at(5_500_001, "c;d=1")));
        assert!(p.entry(&at(4_000_000, "e")), "the clock was set back");
        assert_eq!(p.ended(), WAIT_FIRST);
        assert_eq!(last(&p), "--after-cursor=e");
        // The cursor's entry is gone: by the time, without a cursor.
        assert_eq!(p.ended(), 2 * WAIT_FIRST);
        assert_eq!(last(&p), "--since=@4");
        assert!(!p.entry(&at(4_000_000, "e")));
        for _ in 0..10 {
            assert!(p.ended() <= WAIT_MAX);
        }
        assert_eq!(p.ended(), WAIT_MAX);
        assert!(p.entry(&at(4_000_001, "f")));
        assert_eq!(p.ended(), WAIT_FIRST, "what works is started again at once");
        // What can't be an argument is none.
        assert!(p.entry(&at(4_000_002, "f g")));
        p.ended();
        assert_eq!(last(&p), "--since=@4");
    }
}
