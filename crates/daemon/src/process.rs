//! Starting, forking, becoming somebody, reaping.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, geteuid, setgroups, setresgid, setresuid};

/// User and group that a process becomes for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Real, effective and saved user id.
    pub uid: u32,
    /// Real, effective and saved group id; the only group.
    pub gid: u32,
}

/// A system user that was looked up by name.
///
/// # Errors
/// `NotFound` when there is none, with the name in the text.
pub fn user(name: &str) -> io::Result<Identity> {
    match nix::unistd::User::from_name(name)? {
        Some(u) => Ok(Identity {
            uid: u.uid.as_raw(),
            gid: u.gid.as_raw(),
        }),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("no user {name}"),
        )),
    }
}

/// The number of a group, if there is such a group.
pub fn group(name: &str) -> Option<u32> {
    let found = nix::unistd::Group::from_name(name).ok().flatten()?;
    Some(found.gid.as_raw())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Sets the permission bits that new files of this process never get (umask(2)).
pub fn umask(bits: u32) {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(bits));
}

/// The effective user id of this process.
pub fn own_uid() -> u32 {
    geteuid().as_raw()
}

impl Identity {
    /// The identity that this process has now.
    pub fn own() -> Identity {
        Identity {
            uid: geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        }
    }

    /// Becomes this user, and proves that there is no way back.
    ///
    /// # Errors
    /// The system's; `PermissionDenied` when root could be had again.
    pub fn assume(self) -> io::Result<()> {
        self.assume_with(&[])
    }

    /// As [`Identity::assume`], as a member of these groups too.
    ///
    /// # Errors
    /// As [`Identity::assume`].
    pub fn assume_with(self, groups: &[u32]) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let all: Vec<Gid> = std::iter::once(gid)
            .chain(groups.iter().map(|&g| Gid::from_raw(g)))
            .collect();
        setgroups(&all)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        let root = Uid::from_raw(0);
        if self.uid != 0
            && (setresuid(root, root, root).is_ok() || nix::unistd::setuid(root).is_ok())
        {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "root could be regained",
            ));
        }
        Ok(())
    }
}

/// A program to be started with given descriptors.
#[derive(Debug)]
pub struct Spawn<'a> {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    names: Vec<String>,
    descriptors: Vec<BorrowedFd<'a>>,
    identity: Option<Identity>,
    stdout: Option<BorrowedFd<'a>>,
    stderr: Option<BorrowedFd<'a>>,
}

impl<'a> Spawn<'a> {
    /// A program with an empty environment and no descriptors but standard error.
    pub fn new(program: impl Into<PathBuf>) -> Spawn<'a> {
        Spawn {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            names: Vec::new(),
            descriptors: Vec::new(),
            identity: None,
            stdout: None,
            stderr: None,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds any number of arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Adds a variable.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives a descriptor under a name (`LISTEN_FDNAMES`); the child finds it from 3 upwards.
    pub fn give(mut self, name: &str, descriptor: BorrowedFd<'a>) -> Self {
        self.names.push(name.to_owned());
        self.descriptors.push(descriptor);
        self
    }

    /// Starts the program as this user; only root can.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Where standard output goes; default: nowhere.
    pub fn stdout(mut self, descriptor: BorrowedFd<'a>) -> Self {
        self.stdout = Some(descriptor);
        self
    }

    /// Where standard error goes; default: where ours goes.
    pub fn stderr(mut self, descriptor: BorrowedFd<'a>) -> Self {
        self.stderr = Some(descriptor);
        self
    }

    /// Starts it. The child has an unblocked signal mask, `/` as its directory, null devices for
    /// input and output, and a session of its own, so that no terminal's signal reaches it.
    ///
    /// A program that can't be executed is a child that ends with exit code 111.
    ///
    /// # Errors
    /// The system's: no more processes or descriptors, a zero octet in an argument.
    pub fn start(mut self) -> io::Result<u32> {
        if !self.descriptors.is_empty() {
            let (count, names) = (self.descriptors.len().to_string(), self.names.join(":"));
            self = self.env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names);
        }
        let program = CString::new(self.program.as_os_str().as_bytes())?;
        let mut arguments = vec![program.clone()];
        for a in &self.arguments {
            arguments.push(CString::new(a.as_bytes())?);
        }
        let mut environment = Vec::new();
        for (k, v) in &self.environment {
            environment.push(CString::new([k.as_bytes(), b"=", v.as_bytes()].concat())?);
        }
        let null = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        // 0, 1, 2, then what is given, from 3 upwards.
        let mut given: Vec<RawFd> = vec![null.as_raw_fd()];
        given.push(self.stdout.map_or(null.as_raw_fd(), |fd| fd.as_raw_fd()));
        given.push(self.stderr.map_or(2, |fd| fd.as_raw_fd()));
        given.extend(self.descriptors.iter().map(AsRawFd::as_raw_fd));
        let mut copies = vec![-1; given.len()];
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter()
                .map(|s| s.as_ptr())
                .chain([std::ptr::null()])
                .collect()
        };
        let (argv, envp) = (pointers(&arguments), pointers(&environment));
        // SAFETY: until execve the child calls only functions that are safe after a fork of a
        // threaded process: everything that allocates was made above.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(u32::try_from(child.as_raw()).unwrap_or(0)),
            ForkResult::Child => {
                let ready = || -> io::Result<()> {
                    nix::unistd::setsid()?;
                    nix::sys::signal::SigSet::empty().thread_set_mask()?;
                    nix::unistd::chdir("/")?;
                    place(&given, &mut copies)?;
                    if let Some(identity) = self.identity {
                        identity.assume()?;
                    }
                    Ok(())
                };
                if { ready }().is_ok() {
                    // SAFETY: both arrays end with a null pointer and point to live C strings.
                    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
                }
                // SAFETY: ends the child without running the parent's exit handlers.
                unsafe { libc::_exit(i32::from(crate::EXIT_TEMPORARY)) }
            }
        }
    }
}

/// Puts the given descriptors at 0, 1, 2, … whatever their numbers are now.
///
/// All are copied above every target first, so that no source is overwritten before its turn.
fn place(given: &[RawFd], copies: &mut [RawFd]) -> io::Result<()> {
    let beyond = RawFd::try_from(given.len()).unwrap_or(RawFd::MAX);
    for (&fd, copy) in given.iter().zip(copies.iter_mut()) {
        // SAFETY: plain descriptor duplication; no memory is touched.
        *copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, beyond) };
        if *copy < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    for (target, &copy) in (0..).zip(copies.iter()) {
        // SAFETY: as above; dup2 leaves close-on-exec off, which is what hands the descriptor on.
        if unsafe { libc::dup2(copy, target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // Descriptors that somebody left open across our own exec go no further.
    // SAFETY: numbers above the targets belong to nobody in this child, which is about to exec.
    unsafe { libc::close_range(beyond.unsigned_abs(), u32::MAX, 0) };
    Ok(())
}

/// Forks a worker that runs `work` and ends with its result as exit code; returns the child's process id.
///
/// Only for single-threaded parents: the child goes on with everything the parent had, locks
/// included.
///
/// # Errors
/// The system's; `Unsupported` when this process has more than one thread.
pub fn fork_worker(work: impl FnOnce() -> u8) -> io::Result<u32> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "fork with threads",
        ));
    }
    // SAFETY: the process has one thread, so the child's copy of it is whole.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(u32::try_from(child.as_raw()).unwrap_or(0)),
        ForkResult::Child => {
            crate::log::forked();
            let code = crate::guard(work).unwrap_or(crate::EXIT_TEMPORARY);
            // SAFETY: ends the child without running the exit handlers, which are the parent's.
            unsafe { libc::_exit(i32::from(code)) }
        }
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit code.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

/// Takes one ended child, without waiting; call it until `None` after [`crate::signals::Notice::Child`].
pub fn reap() -> Option<(u32, End)> {
    loop {
        let (pid, end) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => {
                (pid, End::Code(u8::try_from(code & 0xff).unwrap_or(0)))
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Signal(signal as i32)),
            Ok(WaitStatus::StillAlive) => return None,
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return None,
        };
        return Some((u32::try_from(pid.as_raw()).unwrap_or(0), end));
    }
}

/// Asks a child to stop (SIGTERM), or to drain and go (SIGHUP), or ends it (SIGKILL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// SIGTERM.
    Stop,
    /// SIGHUP.
    Reload,
    /// SIGKILL.
    Kill,
}

/// Sends an order to a process that we started, or whose pid file we trust.
///
/// # Errors
/// The system's; `NotFound`-like when it is gone.
pub fn order(pid: u32, order: Order) -> io::Result<()> {
    let pid = checked(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill(pid, order.signal())?)
}

/// Sends an order to a child of [`Spawn::start`], which leads a group of its own, and to all that
/// it has started and that stayed in the group.
///
/// # Errors
/// As [`order`].
pub fn order_group(pid: u32, order: Order) -> io::Result<()> {
    // Group 1 would be everybody (kill(2) with -1).
    let pid = checked(pid).filter(|p| p.as_raw() > 1);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(nix::sys::signal::killpg(pid, order.signal())?)
}

/// A number that means one process and never a group.
fn checked(pid: u32) -> Option<Pid> {
    i32::try_from(pid)
        .ok()
        .filter(|&p| p > 0)
        .map(Pid::from_raw)
}

impl Order {
    fn signal(self) -> Signal {
        match self {
            Order::Stop => Signal::SIGTERM,
            Order::Reload => Signal::SIGHUP,
            Order::Kill => Signal::SIGKILL,
        }
    }
}
