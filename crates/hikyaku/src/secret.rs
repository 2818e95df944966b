//! A password from the terminal or from standard input.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _, stdin};

use auth::Password;
use auth::types::{PASSWORD_MAX, wipe};
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};

use crate::context::Failure;

/// What Ctrl-C types.
const INTERRUPT: u8 = 3;

/// The first line of standard input.
pub fn from_stdin() -> Result<Password, Failure> {
    line(&mut stdin().lock())
}

/// Asks twice on the terminal, without echo.
pub fn from_terminal(name: &str) -> Result<Password, Failure> {
    let tty = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|_| {
            Failure::permanent(
                "there is no terminal to ask for the password; give --password-stdin",
            )
        })?;
    let mut quiet = Quiet::new(tty)?;
    let first = quiet.ask(&format!("Password for {name}: "))?;
    let second = quiet.ask("Once more: ")?;
    match first.expose() == second.expose() {
        true => Ok(first),
        false => Err(Failure::permanent(
            "the two are not the same; nothing was changed",
        )),
    }
}

/// A terminal that doesn't echo; as it was again when dropped.
struct Quiet {
    tty: File,
    before: Termios,
}

impl Quiet {
    fn new(tty: File) -> Result<Self, Failure> {
        let fail = |error: nix::Error| Failure::io("/dev/tty", &error.into());
        let before = tcgetattr(&tty).map_err(fail)?;
        let mut quiet = before.clone();
        // Ctrl-C ends the line instead of us, so that the echo comes back.
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ISIG);
        if let Some(key) = quiet
            .control_chars
            .get_mut(SpecialCharacterIndices::VEOL as usize)
        {
            *key = INTERRUPT;
        }
        tcsetattr(&tty, SetArg::TCSAFLUSH, &quiet).map_err(fail)?;
        Ok(Self { tty, before })
    }

    fn ask(&mut self, prompt: &str) -> Result<Password, Failure> {
        let fail = |error: std::io::Error| Failure::io("/dev/tty", &error);
        self.tty.write_all(prompt.as_bytes()).map_err(fail)?;
        let result = line(&mut self.tty);
        self.tty.write_all(b"\n").map_err(fail)?;
        result
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.tty, SetArg::TCSAFLUSH, &self.before);
    }
}

/// Reads octet by octet, so that nothing behind the line is taken.
fn line(input: &mut impl Read) -> Result<Password, Failure> {
    let mut octets = Vec::with_capacity(PASSWORD_MAX + 2);
    let mut octet = [0];
    let result = loop {
        match input.read(&mut octet) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => break Err(Failure::io("password", &error)),
            Ok(0) => break Ok(()),
            Ok(_) => match octet {
                [b'\n'] => break Ok(()),
                [INTERRUPT] => break Err(Failure::permanent("interrupted; nothing was changed")),
                _ if octets.len() > PASSWORD_MAX => break Ok(()),
                [octet] => octets.push(octet),
            },
        }
    };
    let text = octets.strip_suffix(b"\r").unwrap_or(&octets);
    let password =
        Password::new(text).map_err(|unfit| Failure::permanent(format!("password: {unfit}")));
    wipe(&mut octets);
    result.and(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line() {
        let read = |text: &[u8]| line(&mut &text[..]).map(|password| password.expose().to_vec());
        assert_eq!(read(b"secret\nmore\n").unwrap(), b"secret");
        assert_eq!(read(b"secret\r\n").unwrap(), b"secret");
        assert_eq!(read(b" s \xff").unwrap(), b" s \xff");
        for bad in [&b""[..], b"\n", b"a\0b\n", b"abc\x03"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read(&[b'p'; PASSWORD_MAX]).is_ok());
        assert!(read(&[b'p'; PASSWORD_MAX + 1]).is_err());
        assert!(read(&[b'p'; 3 * PASSWORD_MAX]).is_err());
    }
}
