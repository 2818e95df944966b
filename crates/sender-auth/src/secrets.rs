//! Secrets of keyed hashes, the present one and those before it.

use std::fmt;

/// Shortest secret in octets.
pub const SECRET_MIN: usize = 16;

/// Most secrets that are tried; older ones no longer protect anything that is still valid.
pub const SECRETS_MAX: usize = 8;

/// Secrets, the newest first: the first one signs, each of them verifies. To change the secret
/// put a new one in front; take an old one away when all that it signed has expired.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets(Vec<Vec<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} of them, <redacted>)", self.0.len())
    }
}

/// Why secrets were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretsError {
    /// There is none.
    None,
    /// One is shorter than [`SECRET_MIN`] octets; its number, counted from 1.
    TooShort(usize),
    /// More than [`SECRETS_MAX`].
    TooMany,
}

impl fmt::Display for SecretsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no secret"),
            Self::TooShort(number) => {
                write!(f, "secret {number} is shorter than {SECRET_MIN} octets")
            }
            Self::TooMany => write!(f, "more than {SECRETS_MAX} secrets"),
        }
    }
}

impl std::error::Error for SecretsError {}

impl Secrets {
    /// Takes secrets, the newest first.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn new(secrets: Vec<Vec<u8>>) -> Result<Self, SecretsError> {
        if secrets.is_empty() {
            return Err(SecretsError::None);
        }
        if secrets.len() > SECRETS_MAX {
            return Err(SecretsError::TooMany);
        }
        match secrets.iter().position(|secret| secret.len() < SECRET_MIN) {
            Some(index) => Err(SecretsError::TooShort(index + 1)),
            None => Ok(Self(secrets)),
        }
    }

    /// Reads a file of secrets: one a line, the newest first; empty lines and lines that begin
    /// with `#` don't count.
    ///
    /// # Errors
    /// See [`SecretsError`].
    pub fn parse(text: &str) -> Result<Self, SecretsError> {
        let lines = text.lines().map(str::trim);
        let secrets = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self::new(secrets.map(|line| line.as_bytes().to_vec()).collect())
    }

    /// The one that signs.
    pub(crate) fn newest(&self) -> &[u8] {
        self.0.first().map_or(&[], Vec::as_slice)
    }

    /// All, the newest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let secret = |length: usize| vec![b'x'; length];
        assert_eq!(Secrets::new(vec![]), Err(SecretsError::None));
        assert_eq!(
            Secrets::new(vec![secret(SECRET_MIN), secret(SECRET_MIN - 1)]),
            Err(SecretsError::TooShort(2))
        );
        for (count, good) in [
            (SECRETS_MAX - 1, true),
            (SECRETS_MAX, true),
            (SECRETS_MAX + 1, false),
        ] {
            assert_eq!(
                Secrets::new(vec![secret(SECRET_MIN + 1); count]).is_ok(),
                good
            );
        }
    }

    #[test]
    fn reads_files_and_shows_nothing() {
        let text = "# srs\n\n  0123456789abcdef \nfedcba9876543210\n";
        let secrets = Secrets::parse(text).unwrap();
        assert_eq!(secrets.newest(), b"0123456789abcdef");
        assert_eq!(secrets.all().count(), 2);
        assert!(!format!("{secrets:?}").contains("0123"));
    }
}
