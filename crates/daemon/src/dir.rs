//! A directory held by descriptor: every name is looked up in it and nowhere else.
//!
//! Names are single components; the last component is never followed when it is a symbolic link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// An open directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// What a name in a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Octets.
    pub size: u64,
    /// Last change of content, seconds since 1970.
    pub mtime: i64,
    /// Owner.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Permission bits, set-id and sticky included.
    pub mode: u32,
    /// Filesystem.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl From<FileStat> for Status {
    fn from(s: FileStat) -> Status {
        let kind = SFlag::from_bits_truncate(s.st_mode) & SFlag::S_IFMT;
        Status {
            is_file: kind == SFlag::S_IFREG,
            is_dir: kind == SFlag::S_IFDIR,
            size: u64::try_from(s.st_size).unwrap_or(0),
            mtime: s.st_mtime,
            uid: s.st_uid,
            gid: s.st_gid,
            mode: s.st_mode & 0o7777,
            device: s.st_dev,
            inode: s.st_ino,
        }
    }
}

const COMMON: OFlag = OFlag::O_CLOEXEC.union(OFlag::O_NOFOLLOW);

/// A name must be one component.
fn check(name: &OsStr) -> io::Result<&OsStr> {
    let b = name.as_bytes();
    if b.is_empty() || b == b"." || b == b".." || b.contains(&b'/') || b.contains(&0) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a file name",
        ));
    }
    Ok(name)
}

impl Dir {
    /// Opens a directory by path (symbolic links in it are followed: for paths of the admin).
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Dir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Dir(nix::fcntl::open(path.as_ref(), flags, Mode::empty())?))
    }

    /// Takes a descriptor that is known to be a directory.
    pub fn from_fd(fd: OwnedFd) -> Dir {
        Dir(fd)
    }

    /// Opens a directory in this one.
    ///
    /// # Errors
    /// The system's; `NotADirectory` (or `FilesystemLoop`) for a symbolic link.
    pub fn open_dir(&self, name: impl AsRef<OsStr>) -> io::Result<Dir> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | COMMON;
        Ok(Dir(openat(
            &self.0,
            check(name.as_ref())?,
            flags,
            Mode::empty(),
        )?))
    }

    /// Creates a file that must not exist, for reading and writing, with exactly these permission bits left by the umask.
    ///
    /// # Errors
    /// `AlreadyExists`, `StorageFull`, or whatever the system says.
    pub fn create_new(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | COMMON;
        Ok(File::from(openat(
            &self.0,
            check(name.as_ref())?,
            flags,
            Mode::from_bits_truncate(mode),
        )?))
    }

    /// Opens a file for reading. Never waits for a FIFO's other end.
    ///
    /// # Errors
    /// The system's; `FilesystemLoop` for a symbolic link.
    pub fn open_read(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | COMMON;
        Ok(File::from(openat(
            &self.0,
            check(name.as_ref())?,
            flags,
            Mode::empty(),
        )?))
    }

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// As [`Dir::open_read`].
    pub fn open_write(&self, name: impl AsRef<OsStr>) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | COMMON;
        Ok(File::from(openat(
            &self.0,
            check(name.as_ref())?,
            flags,
            Mode::empty(),
        )?))
    }

    /// Removes a file's name.
    ///
    /// # Errors
    /// The system's.
    pub fn unlink(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        Ok(unlinkat(
            &self.0,
            check(name.as_ref())?,
            UnlinkatFlags::NoRemoveDir,
        )?)
    }

    /// Moves a name to another directory of the same filesystem, replacing what is there.
    ///
    /// # Errors
    /// The system's.
    pub fn rename(
        &self,
        name: impl AsRef<OsStr>,
        to: &Dir,
        new_name: impl AsRef<OsStr>,
    ) -> io::Result<()> {
        Ok(nix::fcntl::renameat(
            &self.0,
            check(name.as_ref())?,
            &to.0,
            check(new_name.as_ref())?,
        )?)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// The system's, `AlreadyExists` among them.
    pub fn make_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> io::Result<()> {
        Ok(mkdirat(
            &self.0,
            check(name.as_ref())?,
            Mode::from_bits_truncate(mode),
        )?)
    }

    /// Waits until the directory's entries are on the disk.
    ///
    /// # Errors
    /// The system's; after one nothing is known about the entries.
    pub fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(&self.0)?)
    }

    /// What a name is, without following it.
    ///
    /// # Errors
    /// The system's.
    pub fn status(&self, name: impl AsRef<OsStr>) -> io::Result<Status> {
        Ok(fstatat(&self.0, check(name.as_ref())?, AtFlags::AT_SYMLINK_NOFOLLOW)?.into())
    }

    /// What the directory itself is.
    ///
    /// # Errors
    /// The system's.
    pub fn own_status(&self) -> io::Result<Status> {
        Ok(fstat(&self.0)?.into())
    }

    /// The names in the directory, in no order, `.` and `..` left out.
    ///
    /// # Errors
    /// The system's.
    pub fn names(&self) -> io::Result<Vec<std::ffi::OsString>> {
        let mut all = Vec::new();
        self.each(|name| all.push(name.to_owned()))?;
        Ok(all)
    }

    /// Calls `f` with each name, without holding them all.
    ///
    /// # Errors
    /// The system's.
    pub fn each(&self, mut f: impl FnMut(&OsStr)) -> io::Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        // A descriptor of its own, so that the reading position is ours alone.
        let mut dir = nix::dir::Dir::openat(&self.0, ".", flags, Mode::empty())?;
        for entry in dir.iter() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                f(name);
            }
        }
        Ok(())
    }

    /// A second descriptor of the same directory.
    ///
    /// # Errors
    /// The system's, when there are too many open files.
    pub fn try_clone(&self) -> io::Result<Dir> {
        self.0.try_clone().map(Dir)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn names_stay_inside() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        for bad in ["", ".", "..", "a/b", "/etc/passwd", "../x"] {
            assert_eq!(
                dir.open_read(bad).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{bad}"
            );
            assert_eq!(
                dir.create_new(bad, 0o600).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{bad}"
            );
        }
        std::os::unix::fs::symlink("/etc", tmp.path().join("link")).unwrap();
        assert!(dir.open_dir("link").is_err());
        assert!(dir.open_read("link").is_err());
        assert!(!dir.status("link").unwrap().is_file);
    }

    #[test]
    fn a_file_goes_in_moves_and_goes() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = Dir::open(tmp.path()).unwrap();
        dir.make_dir("sub", 0o700).unwrap();
        let sub = dir.open_dir("sub").unwrap();
        let mut f = dir.create_new("a", 0o600).unwrap();
        f.write_all(b"text").unwrap();
        assert_eq!(
            dir.create_new("a", 0o600).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        dir.rename("a", &sub, "b").unwrap();
        dir.sync().unwrap();
        assert_eq!(sub.status("b").unwrap().size, 4);
        assert_eq!(dir.names().unwrap(), ["sub"]);
        assert_eq!(sub.names().unwrap(), ["b"]);
        sub.unlink("b").unwrap();
        assert!(sub.names().unwrap().is_empty());
        assert!(dir.own_status().unwrap().is_dir);
    }
}
