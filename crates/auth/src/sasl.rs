//! SASL mechanisms as pure functions over decoded messages.

use std::fmt;

use crate::types::{LOGIN_MAX, Login, PASSWORD_MAX, Password, Unfit};

/// Longest PLAIN message that can be right, in octets: two names, a password, two NULs. Its
/// base64 form is a third longer.
pub const PLAIN_MAX: usize = LOGIN_MAX + 1 + LOGIN_MAX + 1 + PASSWORD_MAX;

/// What a PLAIN message says.
#[derive(Clone, Debug)]
pub struct Plain {
    /// The authentication identity.
    pub login: Login,
    /// The password.
    pub password: Password,
}

/// Why a PLAIN message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainError {
    /// Not two NULs, or too long as a whole: answer 501 5.5.2 (RFC 4954, 4).
    Form,
    /// He wants to act as somebody else, which nobody may: answer 535 5.7.8.
    Proxy,
    /// The name cannot be one: answer as for a wrong password.
    Login(Unfit),
    /// The password cannot be one: answer as for a wrong password.
    Password(Unfit),
}

impl fmt::Display for PlainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("malformed PLAIN message"),
            Self::Proxy => f.write_str("authorization as another user"),
            Self::Login(unfit) => write!(f, "login name: {unfit}"),
            Self::Password(unfit) => write!(f, "password: {unfit}"),
        }
    }
}

impl std::error::Error for PlainError {}

/// Reads a PLAIN message, base64 already removed.
///
/// ```text
/// message = [authzid] UTF8NUL authcid UTF8NUL passwd        ; RFC 4616, 2
/// ```
///
/// The authorization identity has to be empty or the same as the authentication identity.
///
/// # Errors
/// See [`PlainError`].
pub fn plain(message: &[u8]) -> Result<Plain, PlainError> {
    if message.len() > PLAIN_MAX {
        return Err(PlainError::Form);
    }
    let mut parts = message.split(|&b| b == 0);
    let (Some(authzid), Some(authcid), Some(passwd), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(PlainError::Form);
    };
    if !authzid.is_empty() && authzid != authcid {
        return Err(PlainError::Proxy);
    }
    Ok(Plain {
        login: Login::new(authcid).map_err(PlainError::Login)?,
        password: Password::new(passwd).map_err(PlainError::Password)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages() {
        let good = plain(b"\0tim\0tanstaaftanstaaf").unwrap();
        assert_eq!(good.login.as_str(), "tim");
        assert_eq!(good.password.expose(), b"tanstaaftanstaaf");
        assert_eq!(plain(b"tim\0tim\0x").unwrap().login.as_str(), "tim");
        for (message, error) in [
            (&b""[..], PlainError::Form),
            (b"tim", PlainError::Form),
            (b"tim\0x", PlainError::Form),
            (b"\0tim\0x\0", PlainError::Form),
            (b"\0tim\0x\0y", PlainError::Form),
            (b"Ursel\0Kurt\0xipj3plmq", PlainError::Proxy),
            (b"\0\0x", PlainError::Login(Unfit::Empty)),
            (b"\0t m\0x", PlainError::Login(Unfit::Forbidden)),
            (b"\0\xff\0x", PlainError::Login(Unfit::NotText)),
            (b"\0tim\0", PlainError::Password(Unfit::Empty)),
        ] {
            assert_eq!(plain(message).unwrap_err(), error, "{message:?}");
        }
    }

    #[test]
    fn lengths() {
        let of = |password: usize, authzid: bool| {
            let name = vec![b'n'; LOGIN_MAX];
            let first = if authzid { &name[..] } else { b"" };
            plain(&[first, b"\0", &name, b"\0", &vec![b'p'; password]].concat()).err()
        };
        assert_eq!(of(PASSWORD_MAX - 1, true), None);
        assert_eq!(of(PASSWORD_MAX, true), None);
        assert_eq!(of(PASSWORD_MAX + 1, true), Some(PlainError::Form));
        assert_eq!(
            of(PASSWORD_MAX + 1, false),
            Some(PlainError::Password(Unfit::TooLong))
        );
    }

    proptest! {
        #[test]
        fn any_octets_are_survived(message in proptest::collection::vec(0u8..4, 0..12)) {
            let _ = plain(&message);
        }

        #[test]
        fn what_was_sent_is_read(login in "[!-~]{1,30}", password in proptest::collection::vec(1u8.., 1..40)) {
            let message = [b"\0", login.as_bytes(), b"\0", &password].concat();
            let read = plain(&message).unwrap();
            prop_assert_eq!(read.login.as_str(), login);
            prop_assert_eq!(read.password.expose(), &password[..]);
        }
    }
}
