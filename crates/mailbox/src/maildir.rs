//! A Maildir on disk, held by descriptors.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use daemon::dir::Dir;

use crate::trouble::Trouble;

/// An open Maildir.
///
/// Its own path may lead through symbolic links (admins move mail to other disks that way);
/// `tmp`, `new` and `cur` must be real directories in it.
#[derive(Debug)]
pub struct Maildir {
    path: PathBuf,
    /// The Maildir itself.
    pub(crate) root: Dir,
    pub(crate) tmp: Dir,
    pub(crate) new: Dir,
    pub(crate) cur: Dir,
    device: u64,
    new_inode: u64,
}

impl Maildir {
    /// Opens a Maildir that exists.
    ///
    /// # Errors
    /// [`Trouble::Shape`] when it or one of its three directories is missing or is something
    /// else; [`Trouble::Denied`] when it belongs to somebody else.
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        let root = Dir::open(path)?;
        let (tmp, new, cur) = (
            root.open_dir("tmp")?,
            root.open_dir("new")?,
            root.open_dir("cur")?,
        );
        let status = new.own_status()?;
        Ok(Self {
            path: path.to_owned(),
            root,
            tmp,
            new,
            cur,
            device: status.device,
            new_inode: status.inode,
        })
    }

    /// Opens a Maildir, making what is missing of it (mode 0700); the directory that it lies
    /// in must exist. What was made is on the disk when this returns.
    ///
    /// # Errors
    /// As [`Maildir::open`], and whatever making a directory can meet.
    pub fn open_or_create(path: &Path) -> Result<Self, Trouble> {
        match Self::open(path) {
            Err(Trouble::Shape(error)) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Trouble::Shape(io::Error::from(io::ErrorKind::InvalidInput)));
        };
        let parent = Dir::open(if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        })?;
        make(&parent, name.as_ref())?;
        let root = Dir::open(path)?;
        for part in ["tmp", "new", "cur"] {
            make(&root, part.as_ref())?;
        }
        root.sync()?;
        parent.sync()?;
        Self::open(path)
    }

    /// Whether the path still leads to the directories that are held: false after somebody
    /// removed or replaced the Maildir. One system call.
    #[must_use]
    pub fn is_current(&self) -> bool {
        std::fs::symlink_metadata(self.path.join("new"))
            .is_ok_and(|now| now.dev() == self.device && now.ino() == self.new_inode)
    }

    /// Number of the filesystem that it lies on, as in `st_dev`.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself, for confinement to it.
    #[must_use]
    pub fn root(&self) -> &Dir {
        &self.root
    }
}

fn make(parent: &Dir, name: &Path) -> io::Result<()> {
    match parent.make_dir(name, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn made_when_missing() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("Maildir");
        assert!(matches!(Maildir::open(&path), Err(Trouble::Shape(_))));
        Maildir::open_or_create(&path).unwrap();
        for part in ["", "tmp", "new", "cur"] {
            let status = fs::metadata(path.join(part)).unwrap();
            assert!(status.is_dir());
            assert_eq!(status.permissions().mode() & 0o7777, 0o700, "{part}");
        }
        fs::remove_dir(path.join("cur")).unwrap();
        Maildir::open_or_create(&path).unwrap();
        assert!(path.join("cur").is_dir());
        assert!(matches!(
            Maildir::open_or_create(&home.path().join("no/Maildir")),
            Err(Trouble::Shape(_))
        ));
    }

    #[test]
    fn strange_types_are_refused() {
        for part in ["tmp", "new", "cur"] {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("Maildir");
            Maildir::open_or_create(&path).unwrap();
            fs::rename(path.join(part), home.path().join("elsewhere")).unwrap();
            std::os::unix::fs::symlink("../elsewhere", path.join(part)).unwrap();
            assert!(
                matches!(Maildir::open_or_create(&path), Err(Trouble::Shape(_))),
                "{part} symlink"
            );
            fs::remove_file(path.join(part)).unwrap();
            fs::write(path.join(part), "a file").unwrap();
            assert!(
                matches!(Maildir::open_or_create(&path), Err(Trouble::Shape(_))),
                "{part} file"
            );
        }
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("Maildir"), "mbox").unwrap();
        assert!(matches!(
            Maildir::open_or_create(&home.path().join("Maildir")),
            Err(Trouble::Shape(_))
        ));
    }

    #[test]
    fn the_maildir_itself_may_be_a_link() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("real");
        Maildir::open_or_create(&real).unwrap();
        std::os::unix::fs::symlink(&real, home.path().join("Maildir")).unwrap();
        assert!(
            Maildir::open_or_create(&home.path().join("Maildir"))
                .unwrap()
                .is_current()
        );
    }

    #[test]
    fn replacement_is_noticed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("Maildir");
        let maildir = Maildir::open_or_create(&path).unwrap();
        assert!(maildir.is_current());
        fs::rename(&path, home.path().join("old")).unwrap();
        assert!(!maildir.is_current());
        Maildir::open_or_create(&path).unwrap();
        assert!(!maildir.is_current());
    }
}
