//! The wall clock and kernel randomness. Protocol cores never call these: their shells do, and
//! hand the values in with the event.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 UTC; 0 when the clock stands before it.
pub fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Seconds since 1970 UTC, negative before it.
pub fn unix_seconds() -> i64 {
    i64::try_from(unix_millis() / 1000).unwrap_or(i64::MAX)
}

/// Fills `buffer` with randomness of the kernel.
///
/// The kernel's generator blocks only before it has been seeded at boot; requests of up to 256
/// octets are then never cut short, longer ones are asked for in pieces.
pub fn random(buffer: &mut [u8]) {
    for piece in buffer.chunks_mut(256) {
        let mut done = 0;
        while done < piece.len() {
            let rest = &mut piece[done..];
            // SAFETY: the pointer and length describe `rest`, which is writable and lives through the call.
            let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(n) {
                Ok(n) => done += n,
                Err(_)
                    if std::io::Error::last_os_error().kind()
                        == std::io::ErrorKind::Interrupted => {}
                // Ids and secrets must not be guessable: without randomness there is no going on.
                Err(_) => std::process::abort(),
            }
        }
    }
}

/// Eight octets of kernel randomness as a number.
pub fn random_u64() -> u64 {
    let mut octets = [0; 8];
    random(&mut octets);
    u64::from_ne_bytes(octets)
}

/// The difference of local time to UTC at `unix_seconds`, in seconds east of Greenwich.
///
/// Reads the zone's file on the first call: call it once before confinement.
pub fn local_offset(unix_seconds: i64) -> i32 {
    // SAFETY: `tm` is plain data for which zeros are valid; both pointers outlive the call.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        let t: libc::time_t = unix_seconds;
        if libc::localtime_r(&t, &mut tm).is_null() {
            return 0;
        }
        i32::try_from(tm.tm_gmtoff).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_fills_every_length() {
        for length in [0, 1, 255, 256, 257, 1000] {
            let mut buffer = vec![0; length];
            random(&mut buffer);
            assert!(length < 32 || buffer.iter().any(|&b| b != 0));
        }
        assert_ne!(random_u64(), random_u64());
    }

    #[test]
    fn clocks_agree() {
        assert!(unix_seconds() > 1_600_000_000);
        assert!(local_offset(unix_seconds()).abs() <= 15 * 3600);
    }
}
