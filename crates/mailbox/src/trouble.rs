//! What can go wrong with a mailbox, and how RFC 3463 says it.

use std::fmt;
use std::io;

/// Why a message was not delivered, or a mailbox not opened.
///
/// All of these are temporary (class 4) but one: the queue keeps the message, and its lifetime
/// bounds the tries. Nothing that a full disk, a wrong mode or a broken home causes is the
/// sender's fault, so it isn't bounced at once.
#[derive(Debug)]
pub enum Trouble {
    /// No space or no inodes on the filesystem.
    Full,
    /// The owner's disk quota is used up.
    Quota,
    /// The file would be larger than the filesystem or the process limit allows. Class 5:
    /// trying again can't help.
    TooLarge,
    /// A mode or owner in the way, or a filesystem mounted read-only.
    Denied(io::Error),
    /// Something that is no directory stands at `tmp`, `new` or `cur`, a symbolic link for
    /// example, or a directory is missing.
    Shape(io::Error),
    /// The queue's file ends before the envelope says so, or can't be read.
    Source(io::Error),
    /// Anything else that the system said.
    Io(io::Error),
}

impl Trouble {
    /// Sorts an error of the system.
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::StorageFull => Self::Full,
            Kind::QuotaExceeded => Self::Quota,
            Kind::FileTooLarge => Self::TooLarge,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::Denied(error),
            Kind::NotADirectory | Kind::IsADirectory | Kind::NotFound => Self::Shape(error),
            // ErrorKind::FilesystemLoop (ELOOP) has no stable name.
            _ if error.raw_os_error() == Some(ELOOP) => Self::Shape(error),
            _ => Self::Io(error),
        }
    }

    /// Class, subject and detail of the enhanced status code (RFC 3463).
    #[must_use]
    pub fn code(&self) -> (u8, u16, u16) {
        match self {
            Self::Full => (4, 3, 1),
            Self::Quota => (4, 2, 2),
            Self::TooLarge => (5, 3, 4),
            Self::Denied(_) | Self::Shape(_) => (4, 3, 5),
            Self::Source(_) | Self::Io(_) => (4, 3, 0),
        }
    }

    /// What a sender may be told: no path, nothing of this host.
    #[must_use]
    pub fn text(&self) -> &'static str {
        match self {
            Self::Full => "mail storage is full",
            Self::Quota => "mailbox is over its quota",
            Self::TooLarge => "message too large for this mailbox",
            Self::Denied(_) => "mailbox can't be written",
            Self::Shape(_) => "mailbox is not set up as it should be",
            Self::Source(_) => "queued message can't be read",
            Self::Io(_) => "input/output error",
        }
    }

    /// What the system said, for the log.
    #[must_use]
    pub fn detail(&self) -> Option<&io::Error> {
        match self {
            Self::Full | Self::Quota | Self::TooLarge => None,
            Self::Denied(error) | Self::Shape(error) | Self::Source(error) | Self::Io(error) => {
                Some(error)
            }
        }
    }
}

/// Number of "too many symbolic links" on Linux, mips and alpha apart, where it only changes
/// 4.3.5 into 4.3.0.
const ELOOP: i32 = 40;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::from_io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        // ENOSPC, EDQUOT, EFBIG, EACCES, EPERM, EROFS, ENOENT, ENOTDIR, EISDIR, ELOOP, EIO, EMFILE
        for (number, code) in [
            (28, (4, 3, 1)),
            (122, (4, 2, 2)),
            (27, (5, 3, 4)),
            (13, (4, 3, 5)),
            (1, (4, 3, 5)),
            (30, (4, 3, 5)),
            (2, (4, 3, 5)),
            (20, (4, 3, 5)),
            (21, (4, 3, 5)),
            (40, (4, 3, 5)),
            (5, (4, 3, 0)),
            (24, (4, 3, 0)),
        ] {
            let trouble = Trouble::from_io(io::Error::from_raw_os_error(number));
            assert_eq!(trouble.code(), code, "errno {number}");
        }
    }
}
