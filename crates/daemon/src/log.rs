//! One line per event: `program[pid]: event key=value …`, to syslog or standard error.
//!
//! Values are escaped so that no peer's text can forge a line or a pair: octets outside
//! printable ASCII, the backslash and the double quote become `\xHH`; a value with a space, an
//! equals sign or nothing in it stands in double quotes. Values are cut at [`VALUE_MAX`] octets.
//!
//! Logging never blocks the mail: a line that the log can't take is counted, and the count is
//! logged when it works again. A log socket that went away (the log daemon was restarted) is
//! opened again by its path, or, where a new root directory hides the path, asked for over the
//! descriptor named `log`, on which mail-start hands out a connected one.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::packet::Packets;

/// Longest value in a line, in octets before escaping.
pub const VALUE_MAX: usize = 512;

/// Longest line, in octets; the rest is left out. Below what syslog daemons take.
pub const LINE_MAX: usize = 2_000;

/// How grave a line is. The numbers are syslog's severities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// The program is wrong or can't go on.
    Error = 3,
    /// The admin should know: something here works worse than it should.
    Warning = 4,
    /// What happened to mail and sessions.
    Info = 6,
    /// For whoever looks into one case.
    Debug = 7,
}

/// LOG_MAIL of syslog(3), shifted.
const FACILITY_MAIL: u8 = 2 << 3;

enum Target {
    Stderr,
    Syslog {
        path: PathBuf,
        socket: Option<UnixDatagram>,
        channel: Option<Packets>,
        dropped: u64,
    },
}

struct Log {
    program: &'static str,
    pid: u32,
    target: Target,
    stderr: Stderr,
}

static LOG: Mutex<Option<Log>> = Mutex::new(None);
static MOST: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Starts logging to standard error under this program name.
pub fn open(program: &'static str) {
    let log = Log {
        program,
        pid: std::process::id(),
        target: Target::Stderr,
        stderr: Stderr::look(),
    };
    *lock() = Some(log);
}

/// What standard error is; looked at before confinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stderr {
    /// Somebody sits there.
    Terminal,
    /// Maybe the client's connection, which inetd gives as standard error too.
    Socket,
    Other,
}

impl Stderr {
    fn look() -> Self {
        use std::io::IsTerminal as _;
        let stderr = std::io::stderr();
        if stderr.is_terminal() {
            return Self::Terminal;
        }
        match nix::sys::socket::getsockopt(&stderr, nix::sys::socket::sockopt::SockType) {
            Ok(_) => Self::Socket,
            Err(_) => Self::Other,
        }
    }
}

/// Why a program ends: written as an error, and to standard error besides where somebody reads it
/// or where syslog did not take it.
pub(crate) fn fatal(text: &str) {
    error("fatal").kv("error", text).send();
    if let Some(log) = lock().as_ref() {
        let untold = match &log.target {
            Target::Syslog { dropped, .. } => match log.stderr {
                Stderr::Terminal => true,
                Stderr::Other => *dropped > 0,
                Stderr::Socket => false,
            },
            Target::Stderr => false,
        };
        if untold {
            let _ = writeln!(std::io::stderr(), "{}: {text}", log.program);
        }
    }
}

/// Sends lines to the syslog socket at `path` from now on.
///
/// `channel` is where a new connected socket can be asked for once the path can't be reached.
pub fn to_syslog(path: impl Into<PathBuf>, channel: Option<Packets>) {
    if let Some(log) = lock().as_mut() {
        let path = path.into();
        let socket = connect(&path);
        log.target = Target::Syslog {
            path,
            socket,
            channel,
            dropped: 0,
        };
    }
}

/// Least grave level that is written. Default [`Level::Info`].
pub fn set_level(level: Level) {
    MOST.store(level as u8, Ordering::Relaxed);
}

/// In a forked child: the process id of the lines to come.
pub fn forked() {
    if let Some(log) = lock().as_mut() {
        log.pid = std::process::id();
    }
}

/// A connected, non-blocking socket to the syslog daemon.
pub(crate) fn connect(path: &std::path::Path) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(path).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

fn lock() -> std::sync::MutexGuard<'static, Option<Log>> {
    LOG.lock().unwrap_or_else(|e| e.into_inner())
}

/// A line at level error.
pub fn error(event: &str) -> Line {
    Line::new(Level::Error, event)
}
/// A line at level warning.
pub fn warning(event: &str) -> Line {
    Line::new(Level::Warning, event)
}
/// A line at level info.
pub fn info(event: &str) -> Line {
    Line::new(Level::Info, event)
}
/// A line at level debug.
pub fn debug(event: &str) -> Line {
    Line::new(Level::Debug, event)
}

/// A line being made. Nothing is written before [`Line::send`].
#[must_use = "a line is written by send()"]
#[derive(Debug)]
pub struct Line {
    level: Level,
    /// Empty when the level is not written.
    text: String,
}

impl Line {
    fn new(level: Level, event: &str) -> Line {
        let mut text = String::new();
        if level as u8 <= MOST.load(Ordering::Relaxed) {
            text.reserve(256);
            text.push_str(event);
        }
        Line { level, text }
    }

    /// Adds a pair whose value may come from anywhere.
    pub fn kv(mut self, key: &str, value: impl AsRef<[u8]>) -> Line {
        if !self.text.is_empty() && self.text.len() < LINE_MAX {
            self.text.push(' ');
            self.text.push_str(key);
            self.text.push('=');
            escape(&mut self.text, value.as_ref());
        }
        self
    }

    /// Adds a pair if there is a value.
    pub fn opt(self, key: &str, value: Option<impl AsRef<[u8]>>) -> Line {
        match value {
            Some(value) => self.kv(key, value),
            None => self,
        }
    }

    /// Adds a pair whose value prints itself (numbers, addresses). It is escaped too.
    pub fn val(self, key: &str, value: impl Display) -> Line {
        if self.text.is_empty() {
            return self;
        }
        let mut printed = String::new();
        let _ = write!(printed, "{value}");
        self.kv(key, printed)
    }

    /// Writes the line.
    pub fn send(mut self) {
        if self.text.is_empty() {
            return;
        }
        cut(&mut self.text, LINE_MAX);
        let mut log = lock();
        match log.as_mut() {
            Some(log) => log.write(self.level, &self.text),
            // A library used without `open`, as in a test: standard error, no name.
            None => eprintln!("{}", self.text),
        }
    }
}

impl Log {
    fn write(&mut self, level: Level, text: &str) {
        match &mut self.target {
            Target::Stderr => {
                let line = format!("{}[{}]: {}\n", self.program, self.pid, text);
                // Nobody is left to tell when standard error is closed.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
            Target::Syslog {
                path,
                socket,
                channel,
                dropped,
            } => {
                let head = format!(
                    "<{}>{}[{}]: ",
                    FACILITY_MAIL | level as u8,
                    self.program,
                    self.pid
                );
                if *dropped > 0 {
                    let note = format!("{head}log-gap lines={dropped}");
                    if give(path, socket, channel.as_ref(), note.as_bytes()) {
                        *dropped = 0;
                    }
                }
                let line = head + text;
                if !give(path, socket, channel.as_ref(), line.as_bytes()) {
                    *dropped += 1;
                }
            }
        }
    }
}

/// Sends one datagram, opening the socket again when its peer went away.
fn give(
    path: &std::path::Path,
    socket: &mut Option<UnixDatagram>,
    channel: Option<&Packets>,
    line: &[u8],
) -> bool {
    if let Some(s) = socket {
        match s.send(line) {
            Ok(_) => return true,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(_) => *socket = None,
        }
    }
    *socket = connect(path).or_else(|| channel.and_then(ask));
    socket.as_ref().is_some_and(|s| s.send(line).is_ok())
}

/// Takes a connected socket that mail-start has sent, and asks for the next one.
///
/// The answer comes later: until then lines are counted as dropped.
fn ask(channel: &Packets) -> Option<UnixDatagram> {
    let mut octet = [0; 8];
    if let Ok(packet) = channel.recv(&mut octet) {
        if let Some(fd) = packet.descriptor {
            return Some(UnixDatagram::from(fd));
        }
    }
    let _ = channel.send(b"L", None);
    None
}

/// mail-start's side of the channel: answers each waiting request with a connected socket.
pub fn serve_channel(channel: &Packets, path: &std::path::Path) {
    use std::os::fd::AsFd;
    let mut octet = [0; 8];
    while let Ok(packet) = channel.recv(&mut octet) {
        if packet.length == 0 {
            return;
        }
        if let Some(socket) = connect(path) {
            let _ = channel.send(b"L", Some(socket.as_fd()));
        }
    }
}

fn cut(text: &mut String, max: usize) {
    if text.len() > max {
        // Everything in a line is ASCII by now, except an event name of our own.
        let mut end = max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

fn escape(out: &mut String, value: &[u8]) {
    let (value, more) = if value.len() > VALUE_MAX {
        (&value[..VALUE_MAX], true)
    } else {
        (value, false)
    };
    let quoted = value.is_empty() || value.iter().any(|b| matches!(b, b' ' | b'='));
    if quoted {
        out.push('"');
    }
    for &b in value {
        match b {
            b'\\' | b'"' => {
                let _ = write!(out, "\\x{b:02x}");
            }
            0x20..=0x7e => out.push(char::from(b)),
            _ => {
                let _ = write!(out, "\\x{b:02x}");
            }
        }
    }
    if more {
        out.push_str("...");
    }
    if quoted {
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn esc(v: &[u8]) -> String {
        let mut s = String::new();
        escape(&mut s, v);
        s
    }

    #[test]
    fn values_cannot_forge_lines_or_pairs() {
        assert_eq!(esc(b"a@b"), "a@b");
        assert_eq!(esc(b""), "\"\"");
        assert_eq!(esc(b"x\nforged: y"), "\"x\\x0aforged: y\"");
        assert_eq!(esc(b"a user=root"), "\"a user=root\"");
        assert_eq!(esc(b"q\"\\\xff"), "q\\x22\\x5c\\xff");
        for (n, more) in [
            (VALUE_MAX - 1, false),
            (VALUE_MAX, false),
            (VALUE_MAX + 1, true),
        ] {
            assert_eq!(esc(&vec![b'a'; n]).ends_with("..."), more);
        }
    }

    #[test]
    fn the_socket_is_opened_again_and_the_gap_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log {
            program: "t",
            pid: 1,
            stderr: Stderr::Other,
            target: Target::Syslog {
                path: path.clone(),
                socket: connect(&path),
                channel: None,
                dropped: 0,
            },
        };
        log.write(Level::Info, "lost");
        let first = UnixDatagram::bind(&path).unwrap();
        let mut buffer = [0; 100];
        let mut take = |s: &UnixDatagram| {
            let n = s.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..n].to_vec()).unwrap()
        };
        log.write(Level::Warning, "seen a=1");
        assert_eq!(take(&first), "<20>t[1]: log-gap lines=1");
        assert_eq!(take(&first), "<20>t[1]: seen a=1");
        drop(first);
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        log.write(Level::Info, "again");
        assert_eq!(take(&second), "<22>t[1]: again");
    }

    #[test]
    fn a_hidden_path_is_reached_through_the_channel() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let (ours, theirs) = Packets::pair().unwrap();
        let mut log = Log {
            program: "t",
            pid: 1,
            stderr: Stderr::Other,
            target: Target::Syslog {
                path: dir.path().join("hidden"),
                socket: None,
                channel: Some(ours),
                dropped: 0,
            },
        };
        log.write(Level::Info, "one");
        serve_channel(&theirs, &path);
        log.write(Level::Info, "two");
        let mut buffer = [0; 100];
        let n = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"<22>t[1]: log-gap lines=1");
        let n = daemon.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"<22>t[1]: two");
    }

    #[test]
    fn lines_are_bounded() {
        let line = (0..100).fold(info("e"), |l, _| l.kv("k", [b'v'; 100]));
        assert!(line.text.len() < LINE_MAX + 200);
    }
}
