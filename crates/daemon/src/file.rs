//! Operations on open files that the standard library has no safe name for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Sets or clears O_NONBLOCK.
///
/// # Errors
/// The system's.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Copies `length` octets at `offset` of `from` to the present position of `to` inside the kernel.
///
/// Falls back to reading and writing in blocks where the filesystems can't do it. `from`'s
/// position is not used and not moved.
///
/// # Errors
/// The system's; `UnexpectedEof` when `from` ends early.
pub fn copy_range(from: &File, offset: u64, to: &mut File, length: u64) -> io::Result<()> {
    let mut at = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut left = length;
    while left > 0 {
        let step = usize::try_from(left.min(1 << 30)).unwrap_or(1 << 30);
        match nix::fcntl::copy_file_range(from.as_fd(), Some(&mut at), to.as_fd(), None, step) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => left -= n as u64,
            Err(nix::errno::Errno::EINTR) => {}
            Err(
                nix::errno::Errno::EXDEV
                | nix::errno::Errno::ENOSYS
                | nix::errno::Errno::EOPNOTSUPP
                | nix::errno::Errno::EINVAL
                | nix::errno::Errno::EPERM,
            ) => {
                return copy_blocks(from, u64::try_from(at).unwrap_or(0), to, left);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn copy_blocks(from: &File, mut at: u64, to: &mut File, mut left: u64) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    let mut block = vec![0; 64 * 1024];
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        let n = from.read_at(&mut block[..want], at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&block[..n])?;
        at += n as u64;
        left -= n as u64;
    }
    Ok(())
}

/// Takes an exclusive `flock` without waiting: `false` when somebody else holds it.
///
/// The lock belongs to the open file description and ends with its last descriptor, kill -9 included.
///
/// # Errors
/// The system's, except that the lock is taken.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(e)) => Err(e),
    }
}

/// Free octets and free inodes of the filesystem that holds `file`, for unprivileged writers.
///
/// # Errors
/// The system's.
pub fn free_space(fd: impl AsFd) -> io::Result<(u64, u64)> {
    let s = nix::sys::statvfs::fstatvfs(fd)?;
    // A filesystem without inode counts (btrfs) says 0 of 0.
    let inodes = if s.files() == 0 {
        u64::MAX
    } else {
        s.files_available()
    };
    Ok((
        s.blocks_available().saturating_mul(s.fragment_size()),
        inodes,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    #[test]
    fn a_range_is_copied_whole_or_refused() {
        let mut from = tempfile::tempfile().unwrap();
        let text: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        from.write_all(&text).unwrap();
        for (offset, length) in [(0, 200_000), (5, 100_000), (199_999, 1), (200_000, 0)] {
            for blocks in [false, true] {
                let mut to = tempfile::tempfile().unwrap();
                to.write_all(b"head").unwrap();
                let r = if blocks {
                    copy_blocks(&from, offset, &mut to, length)
                } else {
                    copy_range(&from, offset, &mut to, length)
                };
                r.unwrap();
                let mut got = Vec::new();
                to.rewind().unwrap();
                to.read_to_end(&mut got).unwrap();
                let (o, l) = (offset as usize, length as usize);
                assert_eq!(&got[4..], &text[o..o + l]);
            }
        }
        let mut to = tempfile::tempfile().unwrap();
        assert_eq!(
            copy_range(&from, 1, &mut to, 200_000).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_lock_is_seen_by_another_description() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let a = File::create(&path).unwrap();
        let b = File::open(&path).unwrap();
        assert!(try_lock(&a).unwrap());
        assert!(!try_lock(&b).unwrap());
        drop(a);
        assert!(try_lock(&b).unwrap());
    }
}
