//! Signals as readable events of the loop.

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What a daemon is told by signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// SIGTERM or SIGINT: finish what is under way and end.
    Stop,
    /// SIGHUP: read the configuration again (mail-start) or, for a replaced daemon, drain.
    Reload,
    /// SIGCHLD: a child has ended.
    Child,
}

/// The blocked signals of this process, read through a descriptor.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks SIGTERM, SIGINT, SIGHUP and SIGCHLD and reads them from now on.
    ///
    /// Call it before any thread is started, because the mask is inherited by threads.
    ///
    /// # Errors
    /// The system's, when no descriptor can be made.
    pub fn new() -> io::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGCHLD,
        ] {
            set.add(signal);
        }
        set.thread_block()?;
        Ok(Signals(SignalFd::with_flags(
            &set,
            SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
        )?))
    }

    /// Adds the signals to a loop.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(
            &mut SourceFd(&self.0.as_raw_fd()),
            token,
            Interest::READABLE,
        )
    }

    /// Takes one notice; call it until `None`.
    pub fn take(&mut self) -> Option<Notice> {
        loop {
            let info = self.0.read_signal().ok().flatten()?;
            let signal = i32::try_from(info.ssi_signo)
                .ok()
                .and_then(|n| Signal::try_from(n).ok());
            match signal {
                Some(Signal::SIGTERM | Signal::SIGINT) => return Some(Notice::Stop),
                Some(Signal::SIGHUP) => return Some(Notice::Reload),
                Some(Signal::SIGCHLD) => return Some(Notice::Child),
                _ => {}
            }
        }
    }
}

/// Unblocks all signals, for a forked worker that has no loop.
///
/// # Errors
/// The system's.
pub fn unblock_all() -> io::Result<()> {
    SigSet::all().thread_unblock()?;
    Ok(())
}
