//! `-bs`: SMTP on standard input and output, carried to smtpd and back.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::exit::{Exit, Failure};

/// Carries bytes both ways until smtpd closes.
///
/// # Errors
/// 75 when the socket breaks.
pub fn dialogue(socket: UnixStream) -> Result<(), Failure> {
    let fail =
        |e: io::Error| Failure::new(Exit::TempFail, format!("talking to the mail system: {e}"));
    let to = socket.try_clone().map_err(fail)?;
    // Ends with the process: a read of a terminal can't be called off.
    std::thread::spawn(move || {
        let _ = carry(io::stdin(), &to);
        let _ = to.shutdown(Shutdown::Write);
    });
    carry(&socket, io::stdout()).map_err(fail)
}

/// Each piece goes on at once: the other side waits for it.
fn carry(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                to.write_all(buffer.get(..n).unwrap_or(&[]))?;
                to.flush()?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
