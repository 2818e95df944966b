//! What a program keeps in memory once it serves.
//!
//! Much of a program is needed only until it is confined: reading the configuration, compiling
//! patterns, setting up the walls. [`frugal`] and [`trim`] are about the allocator, [`Start`] is
//! about the program's own code. None of it changes what a program does; where the system has no
//! such thing, nothing happens.

use std::fs::File;
use std::io::Read;

/// From this length on, in octets, an allocation has a mapping of its own, which goes back to the
/// system when it is freed.
const LARGE: libc::c_int = 128 * 1024;
/// Longest list of mappings that is looked at, in octets.
const LIST_MAX: u64 = 1 << 20;

/// Has the allocator keep little: one arena for all threads, and large pieces go back to the
/// system when they are freed. For programs with one busy thread; called first of all.
pub fn frugal() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes numbers only; it is called before any other thread is started.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        // Without this the limit grows with what is freed, and later pieces are never given back.
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Gives free memory back to the system. Costs about a millisecond for each ten megabytes in use.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no conditions; it takes the allocator's locks itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The parts of the program and its libraries that are in memory as they are on disk.
#[derive(Debug, Default)]
pub struct Start(Vec<(usize, usize)>);

impl Start {
    /// Looks them up; called while `/proc` is in reach. Where it is not, there is nothing to do.
    #[must_use]
    pub fn look() -> Start {
        let mut text = String::new();
        let read = File::open("/proc/self/smaps")
            .and_then(|file| file.take(LIST_MAX).read_to_string(&mut text));
        Start(read.map_or(Vec::new(), |_| unwritten(&text)))
    }

    /// Lets go of them: what is still needed comes back from the system's cache page by page, and
    /// what only the start needed does not. Gives free memory back, too.
    pub fn let_go(self) {
        trim();
        for (from, to) in self.0 {
            // SAFETY: a private mapping of a file that nobody can write through and in which no
            // page was ever written to (no relocations): its pages are read again when needed,
            // with the same content. The addresses are of this process and it was not unmapped:
            // nothing here unloads libraries. What fails changes nothing.
            unsafe {
                libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED);
            }
        }
    }
}

/// Mappings of files, not writable, of which no page was written to; from the text of
/// `/proc/self/smaps`.
fn unwritten(text: &str) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    let mut candidate = None;
    let (mut clean, mut untouched) = (false, false);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(range) = header(line) {
            (candidate, clean, untouched) = (range, false, false);
        }
        clean |= line.starts_with("Private_Dirty:") && line.ends_with(" 0 kB");
        untouched |= line.starts_with("Anonymous:") && line.ends_with(" 0 kB");
        if lines.peek().is_none_or(|next| header(next).is_some()) {
            all.extend(candidate.take().filter(|_| clean && untouched));
        }
    }
    all
}

/// The first line of a mapping: its addresses when it is one of a file, private and not writable.
fn header(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let (from, to) = range.split_once('-')?;
    let number = |t| usize::from_str_radix(t, 16).ok();
    let (from, to) = (number(from)?, number(to)?);
    let path = words.nth(3).unwrap_or("");
    let ours = matches!(rights, "r-xp" | "r--p") && path.starts_with('/') && from < to;
    Some(ours.then_some((from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
1000-2000 r--p 00000000 fe:00 10 /usr/libexec/x
Rss:                   4 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
VmFlags: rd mr mw me sd
2000-5000 r-xp 00001000 fe:00 10 /usr/libexec/x
Private_Dirty:         0 kB
Anonymous:             0 kB
5000-6000 r--p 00004000 fe:00 10 /usr/libexec/x
Private_Dirty:         4 kB
Anonymous:             4 kB
6000-7000 rw-p 00005000 fe:00 10 /usr/libexec/x
Private_Dirty:         0 kB
Anonymous:             0 kB
7000-8000 r--p 00000000 00:00 0
Private_Dirty:         0 kB
Anonymous:             0 kB
8000-9000 r-xp 00000000 00:00 0 [vdso]
Private_Dirty:         0 kB
Anonymous:             0 kB
9000-a000 r--s 00000000 fe:00 11 /a/shared
Private_Dirty:         0 kB
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_as_on_disk() {
        assert_eq!(unwritten(TEXT), [(0x1000, 0x2000), (0x2000, 0x5000)]);
        for n in 0..TEXT.len() {
            assert!(unwritten(&TEXT[..n]).len() <= 2);
        }
    }

    #[test]
    fn the_program_goes_on_without_it() {
        frugal();
        let start = Start::look();
        assert!(!start.0.is_empty());
        start.let_go();
        let text = format!("{:?}", vec![1, 2, 3]);
        assert_eq!(text, "[1, 2, 3]");
    }
}
