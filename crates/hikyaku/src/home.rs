//! Home and Maildir of a new user, with the right owner.

use std::fs::DirBuilder;
use std::io::{Error, ErrorKind, Result as IoResult};
use std::os::unix::fs::{DirBuilderExt as _, lchown};
use std::path::Path;

use daemon::process::{Identity, fork_worker, is_root};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use routing::Mailbox;

use crate::context::Failure;

/// Makes what is missing of the home and the Maildir. As root the Maildir is made by a child
/// that has become the user: in a home that he can write to, nothing is done with root's rights.
pub fn make(mailbox: &Mailbox) -> Result<(), Failure> {
    let (home, maildir) = (&mailbox.home, &mailbox.maildir);
    if let Some(parent) = home.parent() {
        builder(0o711, true)
            .create(parent)
            .map_err(|error| Failure::io(parent.display(), &error))?;
    }
    let made = match builder(0o700, false).create(home) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Ok(()) if is_root() => lchown(home, Some(mailbox.uid), Some(mailbox.gid)),
        other => other,
    };
    made.map_err(|error| Failure::io(home.display(), &error))?;
    let result = match is_root() {
        false => make_maildir(maildir),
        true => as_user(mailbox, || make_maildir(maildir)),
    };
    result.map_err(|error| Failure::io(maildir.display(), &error))
}

fn make_maildir(maildir: &Path) -> IoResult<()> {
    builder(0o700, true).create(maildir)?;
    for name in ["tmp", "new", "cur"] {
        builder(0o700, true).create(maildir.join(name))?;
    }
    Ok(())
}

fn builder(mode: u32, parents: bool) -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(mode).recursive(parents);
    builder
}

/// Runs something as the mailbox's owner; its error comes back as the number of the system's.
fn as_user(mailbox: &Mailbox, work: impl FnOnce() -> IoResult<()>) -> IoResult<()> {
    let identity = Identity {
        uid: mailbox.uid,
        gid: mailbox.gid,
    };
    let pid = fork_worker(|| match identity.assume().and_then(|()| work()) {
        Ok(()) => 0,
        // Error numbers are below 256 on Linux; 0 would say that all is well.
        Err(error) => error
            .raw_os_error()
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(255),
    })?;
    let pid = i32::try_from(pid).map_err(Error::other)?;
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
            Ok(WaitStatus::Exited(_, code)) => return Err(Error::from_raw_os_error(code)),
            Ok(WaitStatus::Signaled(..)) => return Err(Error::other("the helper was killed")),
            Ok(_) => {}
        }
    }
}
