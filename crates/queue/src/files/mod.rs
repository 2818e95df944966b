//! The few file operations that the queue is built on, as traits.
//!
//! Everything that touches the disk goes through [`Folder`] and [`Octets`], so that the tests
//! can fail any one call, stop the world after any one call, and lose what was not synced.
//! [`daemon::dir::Dir`] and [`std::fs::File`] are the real ones.

#[cfg(any(test, feature = "memory"))]
pub mod memory;
mod real;

use std::io;

/// What is asked of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Size in octets.
    pub length: u64,
    /// Number of names; 0 once it has been unlinked.
    pub links: u64,
    /// It is a regular file, no FIFO, device or directory.
    pub regular: bool,
}

/// An open file, addressed by offset.
pub trait Octets: Send {
    /// Reads at most `buffer.len()` octets; 0 at the end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes some octets, at least one.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<usize>;

    /// Waits until the content and the size are on the disk.
    ///
    /// # Errors
    /// The system's; after one nothing is known about the content on the disk.
    fn sync(&self) -> io::Result<()>;

    /// Takes the exclusive lock without waiting; `false`: somebody else holds it.
    ///
    /// It ends with the descriptor, however the process ends.
    ///
    /// # Errors
    /// The system's.
    fn try_lock(&self) -> io::Result<bool>;

    /// Asks for size, number of names, type.
    ///
    /// # Errors
    /// The system's.
    fn facts(&self) -> io::Result<Facts>;
}

impl<F: Octets + Sync> Octets for &F {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(buffer, offset)
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<usize> {
        (**self).write_at(octets, offset)
    }

    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }

    fn try_lock(&self) -> io::Result<bool> {
        (**self).try_lock()
    }

    fn facts(&self) -> io::Result<Facts> {
        (**self).facts()
    }
}

/// An open directory. Names are single components and never followed as symbolic links.
pub trait Folder: Send + Sync + Sized + 'static {
    /// A file in it.
    type File: Octets + Sync + 'static;

    /// Creates a file that must not exist, open for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists`, `StorageFull`, or whatever the system says.
    fn create_new(&self, name: &str, mode: u32) -> io::Result<Self::File>;

    /// Opens for reading.
    ///
    /// # Errors
    /// The system's.
    fn open_read(&self, name: &str) -> io::Result<Self::File>;

    /// Opens for reading and writing.
    ///
    /// # Errors
    /// The system's.
    fn open_write(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a directory in this one.
    ///
    /// # Errors
    /// The system's.
    fn open_folder(&self, name: &str) -> io::Result<Self>;

    /// Makes a directory.
    ///
    /// # Errors
    /// The system's, `AlreadyExists` among them.
    fn make_folder(&self, name: &str, mode: u32) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// The system's.
    fn unlink(&self, name: &str) -> io::Result<()>;

    /// Moves a name to another directory, replacing what is there.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, name: &str, to: &Self, new_name: &str) -> io::Result<()>;

    /// Waits until the names are on the disk.
    ///
    /// # Errors
    /// The system's.
    fn sync(&self) -> io::Result<()>;

    /// Calls `each` with every name that is UTF-8, in no order. Names in other encodings are none of ours.
    ///
    /// # Errors
    /// The system's.
    fn names(&self, each: &mut dyn FnMut(&str)) -> io::Result<()>;
}

/// Writes all of `octets` at `offset`; interrupted and short writes are continued.
///
/// # Errors
/// The system's; `WriteZero` when nothing was written.
pub fn write_all_at(file: &impl Octets, mut octets: &[u8], mut offset: u64) -> io::Result<()> {
    while !octets.is_empty() {
        match file.write_at(octets, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                octets = octets.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads once; an interrupted read is made again.
///
/// # Errors
/// The system's.
pub fn read_some_at(file: &impl Octets, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Reads until `buffer` is full or the file ends; gives the number of octets read.
///
/// # Errors
/// The system's.
pub fn read_full_at(file: &impl Octets, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read_some_at(file, rest, offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}
