//! What the kernel knows about how well its clock is kept.

use std::io;

/// How the kernel's clock is kept (adjtimex(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timekeeping {
    /// A time service has disciplined the clock and still does. `false` as well for a clock that is
    /// right for another reason, such as a virtual machine's whose host keeps it.
    pub synchronised: bool,
    /// Most microseconds by which the clock may be wrong, as the kernel counts. It grows while
    /// nobody disciplines the clock and stays at 16 seconds then.
    pub error_max_micros: u64,
}

/// Asks the kernel; changes nothing and needs no privilege.
///
/// # Errors
/// The system's: `EPERM` or `ENOSYS` where a sandbox forbids even to ask.
pub fn timekeeping() -> io::Result<Timekeeping> {
    // SAFETY: `timex` is plain data for which zeros are valid; with `modes` 0 the call only
    // writes to it, and the pointer is good for as long as the call lasts.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        let state = libc::adjtimex(&mut timex);
        (state, timex)
    };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Timekeeping {
        synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        error_max_micros: u64::try_from(timex.maxerror).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        match timekeeping() {
            // The kernel's own bound, after which it calls the clock not synchronised.
            Ok(found) => assert!(!found.synchronised || found.error_max_micros < 16_000_000),
            Err(error) => assert!(
                matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)),
                "{error}"
            ),
        }
    }
}
