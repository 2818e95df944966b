//! The shell that all daemons share.
//!
//! A program's `main` reads like a table of contents: what it reads, what it is given, the line
//! after which there is no way back, and the loop that serves.
//!
//! ```no_run
//! use daemon::{Confinement, Fatal, Start};
//!
//! fn main() -> std::process::ExitCode {
//!     daemon::main("exampled", |mut start| {
//!         let config = start.config()?; // everything is checked here
//!         let listeners = start.listeners(&["mx"])?; // given: systemd, mail-start or inetd
//!         let (confined, ready) = start.confine(Confinement::for_role(&config, "hk-example"))?;
//!         ready.tell();
//!         serve(&confined, listeners) // cannot be called without `confined`
//!     })
//! }
//! # fn serve(_: &daemon::Confined, _: Vec<daemon::net::Listener>) -> Result<(), Fatal> { Ok(()) }
//! ```
//!
//! The modules, one concept each:
//!
//! * [`start`]: arguments, given descriptors (`LISTEN_FDS`, inetd), configuration, readiness
//! * [`confine`]: user, root directory, Landlock, seccomp, limits; [`Confined`] is the proof
//! * [`calls`]: the named sets of system calls that the seccomp lists are made of
//! * [`capabilities`]: what is left of root in a parent that starts programs as users
//! * [`log`]: one line per event, `key=value`, escaped, to syslog or standard error
//! * [`net`]: listeners and sockets as mio sources, peer credentials
//! * [`netlink`]: sockets to the kernel's tables
//! * [`tls`]: rustls on a non-blocking socket, certificates by SNI, opportunistic client
//! * [`packet`]: SOCK_SEQPACKET sockets that carry descriptors
//! * [`timers`], [`signals`], [`wake`]: what an event loop needs besides sockets
//! * [`dir`], [`file`]: paths relative to a directory descriptor, durable operations
//! * [`process`]: start, fork, become a user, reap
//! * [`memory`]: what a program keeps in memory once it serves
//! * [`timekeeping`]: how well the kernel says the clock is kept
//! * [`clock`]: the wall clock and kernel randomness, for the shells (cores are given both)
//!
//! This is the only crate with `unsafe`. Exit codes: 0 done, 100 permanent (setup), 111 temporary.
//!
//! Design: docs/daemon.md.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod calls;
pub mod capabilities;
pub mod clock;
pub mod confine;
pub mod dir;
pub mod file;
pub mod log;
pub mod memory;
pub mod net;
pub mod netlink;
pub mod packet;
pub mod process;
pub mod signals;
pub mod start;
pub mod timekeeping;
pub mod timers;
pub mod tls;
pub mod wake;

use std::fmt;
use std::process::ExitCode;

pub use confine::{Confined, Confinement};
pub use start::Start;

/// Exit code of a program whose setup is wrong: starting it again will not help.
pub const EXIT_PERMANENT: u8 = 100;
/// Exit code of a program that cannot go on now: its starter tries again later.
pub const EXIT_TEMPORARY: u8 = 111;

/// Why a program ends.
#[derive(Debug)]
pub enum Fatal {
    /// The setup is wrong (configuration, arguments, missing descriptors). Exit code 100.
    Setup(String),
    /// Something failed that may work later (memory, disk, a peer that is away). Exit code 111.
    Temporary(String),
}

impl Fatal {
    /// A setup error with this text.
    pub fn setup(text: impl Into<String>) -> Fatal {
        Fatal::Setup(text.into())
    }

    /// A temporary error: what was tried, and what the system said.
    pub fn io(what: impl fmt::Display, error: impl fmt::Display) -> Fatal {
        Fatal::Temporary(format!("{what}: {error}"))
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatal::Setup(text) | Fatal::Temporary(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Fatal {}

impl From<std::io::Error> for Fatal {
    fn from(error: std::io::Error) -> Fatal {
        Fatal::Temporary(error.to_string())
    }
}

/// Runs a program: reads arguments and given descriptors, calls `run`, turns its result into an
/// exit code and a log line.
///
/// `program` is the name that stands in log lines.
pub fn main(program: &'static str, run: impl FnOnce(Start) -> Result<(), Fatal>) -> ExitCode {
    log::open(program);
    std::panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map(|l| format!("{}:{}", l.file(), l.line()));
        let text = info
            .payload()
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| info.payload().downcast_ref::<String>().cloned())
            .unwrap_or_default();
        log::error("panic")
            .kv("place", place.as_deref().unwrap_or("-"))
            .kv("text", &text)
            .send();
    }));
    let result = Start::from_environment(program).and_then(run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            for line in fatal.to_string().lines() {
                log::fatal(line);
            }
            ExitCode::from(match fatal {
                Fatal::Setup(_) => EXIT_PERMANENT,
                Fatal::Temporary(_) => EXIT_TEMPORARY,
            })
        }
    }
}

/// Runs one session's share of work and survives its panic.
///
/// Returns `None` if it panicked: the caller drops that session (plain owned data) and keeps the
/// others. The panic has been logged by then.
pub fn guard<T>(work: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}
