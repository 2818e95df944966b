//! The two things a client sends: a login name and a password.

use std::fmt;

/// Longest login name accepted, in octets.
///
/// A local part has at most 64 octets and a domain 255 (RFC 5321, 4.5.3.1), with the `@`
/// between them.
pub const LOGIN_MAX: usize = 320;

/// Longest password accepted, in octets.
///
/// Hashing time grows with the length, so the bound is also one on work an outsider can order.
pub const PASSWORD_MAX: usize = 4_096;

/// Why a login name or password was refused before anybody looked it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// No octets at all.
    Empty,
    /// Longer than [`LOGIN_MAX`] or [`PASSWORD_MAX`].
    TooLong,
    /// A NUL in a password; a control character, space or DEL in a login name.
    Forbidden,
    /// A login name that is not UTF-8.
    NotText,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty",
            Self::TooLong => "too long",
            Self::Forbidden => "forbidden character",
            Self::NotText => "not UTF-8",
        })
    }
}

impl std::error::Error for Unfit {}

/// A login name as the client sent it: 1 to [`LOGIN_MAX`] octets of UTF-8 without spaces and
/// control characters. It says nothing about whether such a user exists.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Login(Box<str>);

impl Login {
    /// Checks a login name.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub fn new(octets: &[u8]) -> Result<Self, Unfit> {
        if octets.is_empty() {
            return Err(Unfit::Empty);
        }
        if octets.len() > LOGIN_MAX {
            return Err(Unfit::TooLong);
        }
        let text = std::str::from_utf8(octets).map_err(|_| Unfit::NotText)?;
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Unfit::Forbidden);
        }
        Ok(Self(text.into()))
    }

    /// The name as it was sent, not folded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A password in clear: 1 to [`PASSWORD_MAX`] octets without NUL.
///
/// Prints as `<redacted>` and is overwritten when dropped. It can't be compared: only
/// [`crate::hash`] looks inside.
pub struct Password(Box<[u8]>);

impl Password {
    /// Checks and copies a password.
    ///
    /// # Errors
    /// [`Unfit::Empty`], [`Unfit::TooLong`], or [`Unfit::Forbidden`] for a NUL: crypt(3)
    /// would stop at it and accept any ending.
    pub fn new(octets: &[u8]) -> Result<Self, Unfit> {
        if octets.is_empty() {
            return Err(Unfit::Empty);
        }
        if octets.len() > PASSWORD_MAX {
            return Err(Unfit::TooLong);
        }
        if octets.contains(&0) {
            return Err(Unfit::Forbidden);
        }
        Ok(Self(octets.into()))
    }

    /// The octets, for hashing and for the packet to authd.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Clone for Password {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites a buffer that held a secret.
///
/// Best effort without `unsafe`: `black_box` keeps the compiler from dropping the stores, but
/// copies that a reallocation left behind are out of reach. Give such buffers their full
/// capacity at once.
pub fn wipe(secret: &mut [u8]) {
    secret.fill(0);
    std::hint::black_box(secret);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_limits() {
        assert_eq!(Login::new(b"").unwrap_err(), Unfit::Empty);
        assert!(Login::new(&vec![b'a'; LOGIN_MAX - 1]).is_ok());
        assert!(Login::new(&vec![b'a'; LOGIN_MAX]).is_ok());
        assert_eq!(
            Login::new(&vec![b'a'; LOGIN_MAX + 1]).unwrap_err(),
            Unfit::TooLong
        );
    }

    #[test]
    fn login_content() {
        for bad in [
            &b"a b"[..],
            b"a\nb",
            b"a\0",
            b"a\x7f",
            "a\u{a0}b".as_bytes(),
        ] {
            assert_eq!(Login::new(bad).unwrap_err(), Unfit::Forbidden, "{bad:?}");
        }
        assert_eq!(Login::new(b"a\xff").unwrap_err(), Unfit::NotText);
        assert_eq!(
            Login::new("jürgen@例え.jp".as_bytes()).unwrap().as_str(),
            "jürgen@例え.jp"
        );
    }

    #[test]
    fn password_limits() {
        assert_eq!(Password::new(b"").unwrap_err(), Unfit::Empty);
        assert!(Password::new(&vec![b'p'; PASSWORD_MAX - 1]).is_ok());
        assert!(Password::new(&vec![b'p'; PASSWORD_MAX]).is_ok());
        assert_eq!(
            Password::new(&vec![b'p'; PASSWORD_MAX + 1]).unwrap_err(),
            Unfit::TooLong
        );
        assert_eq!(Password::new(b"a\0b").unwrap_err(), Unfit::Forbidden);
        assert!(Password::new(b" \xff\n").is_ok());
    }

    #[test]
    fn a_password_does_not_print() {
        let password = Password::new(b"hunter2").unwrap();
        assert_eq!(format!("{password:?}"), "<redacted>");
        assert_eq!(format!("{:?}", Some(password.clone())), "Some(<redacted>)");
    }
}
