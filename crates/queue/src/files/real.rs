//! The real filesystem, through `daemon`'s directory descriptors.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use daemon::dir::Dir;

use super::{Facts, Folder, Octets};

impl Octets for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, octets, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync: content and size, which is all that reading it again needs.
        self.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match File::try_lock(self) {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn facts(&self) -> io::Result<Facts> {
        let metadata = self.metadata()?;
        Ok(Facts {
            length: metadata.len(),
            links: metadata.nlink(),
            regular: metadata.is_file(),
        })
    }
}

impl Folder for Dir {
    type File = File;

    fn create_new(&self, name: &str, mode: u32) -> io::Result<File> {
        Dir::create_new(self, name, mode)
    }

    fn open_read(&self, name: &str) -> io::Result<File> {
        Dir::open_read(self, name)
    }

    fn open_write(&self, name: &str) -> io::Result<File> {
        Dir::open_write(self, name)
    }

    fn open_folder(&self, name: &str) -> io::Result<Self> {
        Dir::open_dir(self, name)
    }

    fn make_folder(&self, name: &str, mode: u32) -> io::Result<()> {
        Dir::make_dir(self, name, mode)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        Dir::unlink(self, name)
    }

    fn rename(&self, name: &str, to: &Self, new_name: &str) -> io::Result<()> {
        Dir::rename(self, name, to, new_name)
    }

    fn sync(&self) -> io::Result<()> {
        Dir::sync(self)
    }

    fn names(&self, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        Dir::each(self, |name| {
            if let Some(name) = name.to_str() {
                each(name);
            }
        })
    }
}
