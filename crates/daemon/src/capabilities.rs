//! What is left of root in a parent that has to stay root: the few capabilities that it names.
//!
//! For programs that start others as some user (authd). They can't have a seccomp list, because
//! what they start would inherit it.

use std::io;

use nix::sys::resource::{Resource, setrlimit};

use crate::process;

/// A capability's number in the kernel, see capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability(u32);

impl Capability {
    /// Signal processes of other users.
    pub const KILL: Capability = Capability(5);
    /// Change to any group.
    pub const SETGID: Capability = Capability(6);
    /// Change to any user.
    pub const SETUID: Capability = Capability(7);
    /// Change the network's configuration, the firewall's rules among it.
    pub const NET_ADMIN: Capability = Capability(12);
}

/// The newest layout of capset(2): two blocks of 32 capabilities.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Keeps what there is and gains no more: no program started from here gets another user's rights
/// by its file's mode, no memory image is written, nobody of the same user can look into this
/// process.
///
/// # Errors
/// The system's.
pub fn keep_all() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}

/// Gives up every capability but these, for good: no program started from here can gain one
/// back. Besides, no memory image is ever written, and nobody of the same user can look into
/// this process. Without root only the latter two are done.
///
/// # Errors
/// The system's.
pub fn keep_only(kept: &[Capability]) -> io::Result<()> {
    keep_all()?;
    if !process::is_root() {
        return Ok(());
    }
    let mut sets = [0u32; 2];
    for &Capability(number) in kept {
        if let Some(set) = sets.get_mut(number as usize / 32) {
            *set |= 1 << (number % 32);
        }
    }
    for number in 0..64u32 {
        if !kept.contains(&Capability(number)) {
            // Numbers that the kernel doesn't know are refused; so is everything where a container
            // withholds CAP_SETPCAP, and no_new_privs stands in for it then.
            // SAFETY: takes numbers only.
            let _ =
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        }
    }
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let data = sets.map(|set| Sets {
        effective: set,
        permitted: set,
        inheritable: 0,
    });
    // SAFETY: both point to live values in the layout of version 3, which has two blocks.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
