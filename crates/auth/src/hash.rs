//! Password hashes in the forms of crypt(5): checks `$5$`, `$6$` and `$y$`, makes `$y$`.

use std::fmt;

use sha_crypt::ShaCrypt;
use yescrypt::{PasswordHasher as _, PasswordVerifier as _, Yescrypt};

use crate::types::Password;

/// Longest hash accepted, in octets.
pub const HASH_MAX: usize = 256;

/// Salt of a new hash, in octets.
pub const SALT_LEN: usize = 16;

/// A hash of a known form. Prints as its scheme only.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    scheme: Scheme,
    text: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    ShaCrypt,
    Yescrypt,
}

/// What a field of the password file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A hash to check against.
    Hash(Hash),
    /// `*` or `!` at the front: no password fits.
    Locked,
}

/// Why a field is none. Neither text shows the field: it could be a password in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHash {
    /// Nothing: crypt(5) would let everybody in.
    Empty,
    /// A scheme that is not checked here; the one known by name, where there is one.
    Scheme(&'static str),
    /// Longer than [`HASH_MAX`], or not made of fields and parameters as its scheme wants.
    Form,
}

impl fmt::Display for BadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const EXPECTED: &str = "expected $y$, $6$, $5$, or * for a locked account";
        match self {
            Self::Empty => write!(f, "empty password hash, {EXPECTED}"),
            Self::Scheme(name) => {
                write!(f, "password hash of unsupported scheme {name}, {EXPECTED}")
            }
            Self::Form => write!(f, "damaged password hash, {EXPECTED}"),
        }
    }
}

impl std::error::Error for BadHash {}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({:?})", self.scheme)
    }
}

impl Field {
    /// Reads a field.
    ///
    /// # Errors
    /// See [`BadHash`].
    pub fn parse(text: &str) -> Result<Self, BadHash> {
        if text.is_empty() {
            return Err(BadHash::Empty);
        }
        if text.starts_with(['*', '!']) {
            return Ok(Self::Locked);
        }
        Hash::parse(text).map(Self::Hash)
    }
}

impl Hash {
    /// Reads a hash.
    ///
    /// # Errors
    /// See [`BadHash`].
    pub fn parse(text: &str) -> Result<Self, BadHash> {
        let scheme = match text.split('$').nth(1) {
            Some("5" | "6") => Scheme::ShaCrypt,
            Some("y") => Scheme::Yescrypt,
            other => return Err(BadHash::Scheme(scheme_name(other))),
        };
        let octet_fits = |b: u8| b.is_ascii_alphanumeric() || b"./$=,".contains(&b);
        let fields = text.split('$').count();
        let fits = text.len() <= HASH_MAX
            && text.starts_with('$')
            && text.bytes().all(octet_fits)
            && match scheme {
                // $6$salt$hash or $6$rounds=5000$salt$hash
                Scheme::ShaCrypt => {
                    let length = if text.starts_with("$5$") { 43 } else { 86 };
                    matches!(fields, 4 | 5) && last_field(text).len() == length
                }
                // $y$parameters$salt$hash
                Scheme::Yescrypt => fields == 5 && last_field(text).len() == 43,
            };
        if !fits {
            return Err(BadHash::Form);
        }
        Ok(Self {
            scheme,
            text: text.into(),
        })
    }

    /// Whether the password fits. Takes milliseconds of processor time, for `$y$` some 25 and 16 MiB:
    /// never call it in an event loop. The comparison at its end takes the same time wherever
    /// the difference is.
    ///
    /// # Errors
    /// [`BadHash::Form`]: parameters that the scheme refuses.
    pub fn verify(&self, password: &Password) -> Result<bool, BadHash> {
        use yescrypt::password_hash::Error;
        let result = match self.scheme {
            Scheme::ShaCrypt => ShaCrypt::default().verify_password(password.expose(), &*self.text),
            Scheme::Yescrypt => Yescrypt::default().verify_password(password.expose(), &*self.text),
        };
        match result {
            Ok(()) => Ok(true),
            Err(Error::PasswordInvalid) => Ok(false),
            Err(_) => Err(BadHash::Form),
        }
    }

    /// Makes a `$y$` hash with the parameters that Debian, Fedora and Arch use (`j9T`: 16 MiB).
    /// `salt` must be random and used once.
    ///
    /// # Errors
    /// [`BadHash::Form`], which these parameters never cause.
    pub fn make(password: &Password, salt: &[u8; SALT_LEN]) -> Result<Self, BadHash> {
        let hash = Yescrypt::default()
            .hash_password_with_salt(password.expose(), salt)
            .map_err(|_| BadHash::Form)?;
        Self::parse(hash.as_str())
    }

    /// The text for the password file.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn last_field(text: &str) -> &str {
    text.rsplit('$').next().unwrap_or_default()
}

fn scheme_name(id: Option<&str>) -> &'static str {
    match id {
        Some("1") => "$1$ (MD5)",
        Some("2" | "2a" | "2b" | "2x" | "2y") => "$2$ (bcrypt)",
        Some("3") => "$3$ (NT)",
        Some("7") => "$7$ (scrypt)",
        Some("gy") => "$gy$ (gost-yescrypt)",
        Some("md5" | "sha1") => "$sha1$ or $md5$ (old BSD and Sun)",
        Some("argon2i" | "argon2d" | "argon2id") => "$argon2$",
        Some(_) => "of another name",
        None => "DES, or no hash at all",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by crypt(3) of libxcrypt from the password `hello world`.
    const KNOWN: [&str; 4] = [
        "$5$saltsalt$iCSto/1y3LK1GxFWJB6bg2L4y8RyFskzzyTdhOwyBe3",
        "$6$saltsalt$QTxtZHhDasfdQccjU6pne9Cgluf7B8Bly.Re0Rl4FET20RuNBAR2/L6Sg1AQyXUrp1lQc/2QhityVbnc2s1bQ0",
        "$6$rounds=1000$saltsalt$sb1Cc8Sh2PKE5Jl7mY0M6h7RDINfcV01ZVmsdx3psQ.or46.M/2pT/riBlRYE/HQCUhH2vGcRxW9RT7yGlyoD0",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$C.4T5lhw2sdV0lkUUiAfSGXFcI5AR.MGUMw8/tS/0o2",
    ];

    fn password(text: &str) -> Password {
        Password::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn hashes_of_the_system_fit() {
        for text in KNOWN {
            let hash = Hash::parse(text).unwrap();
            assert_eq!(hash.verify(&password("hello world")), Ok(true), "{text}");
            assert_eq!(hash.verify(&password("hello worlD")), Ok(false), "{text}");
            assert_eq!(hash.as_str(), text);
            assert!(!format!("{hash:?}").contains("salt"));
        }
        let cheap = "$y$j75$F5Jx5fExrKuPp53xLKQ..1$K4m2GvJ2yWsz7rmwvXBdKzthuAGX7pRfO2uOTlTbFOB";
        assert_eq!(
            Hash::parse(cheap).unwrap().verify(&password("päss")),
            Ok(true)
        );
    }

    #[test]
    fn a_changed_hash_does_not_fit() {
        for text in &KNOWN[..3] {
            let changed = text.replace("saltsalt", "saltsalu");
            let hash = Hash::parse(&changed).unwrap();
            assert_eq!(hash.verify(&password("hello world")), Ok(false));
        }
    }

    #[test]
    fn new_hashes() {
        let hash = Hash::make(&password("pass"), &[7; SALT_LEN]).unwrap();
        assert!(hash.as_str().starts_with("$y$j9T$"), "{}", hash.as_str());
        assert_eq!(hash.verify(&password("pass")), Ok(true));
        assert_eq!(hash.verify(&password("Pass")), Ok(false));
        let other = Hash::make(&password("pass"), &[8; SALT_LEN]).unwrap();
        assert_ne!(hash.as_str(), other.as_str());
    }

    #[test]
    fn fields() {
        for locked in ["*", "!", "!!", "*0", "!$6$saltsalt$x"] {
            assert_eq!(Field::parse(locked), Ok(Field::Locked), "{locked}");
        }
        assert!(matches!(Field::parse(KNOWN[0]), Ok(Field::Hash(_))));
        for (text, error) in [
            ("", BadHash::Empty),
            ("hunter2", BadHash::Scheme("DES, or no hash at all")),
            ("$1$salt$xxxx", BadHash::Scheme("$1$ (MD5)")),
            ("$2b$12$xxxx", BadHash::Scheme("$2$ (bcrypt)")),
            ("$argon2id$v=19$x", BadHash::Scheme("$argon2$")),
            ("$zz$x", BadHash::Scheme("of another name")),
            ("$6$", BadHash::Form),
            ("$6$salt", BadHash::Form),
            ("$6$salt$short", BadHash::Form),
            (
                "x$6$saltsalt$iCSto/1y3LK1GxFWJB6bg2L4y8RyFskzzyTdhOwyBe3",
                BadHash::Form,
            ),
            (
                "$5$salt:salt$iCSto/1y3LK1GxFWJB6bg2L4y8RyFskzzyTdhOwyBe3",
                BadHash::Form,
            ),
            ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$short", BadHash::Form),
        ] {
            assert_eq!(Field::parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let long = format!("$6${}${}", "s".repeat(HASH_MAX - 90), "h".repeat(86));
        assert_eq!(long.len(), HASH_MAX);
        assert!(Hash::parse(&long).is_ok());
        assert!(Hash::parse(&long[1..]).is_err());
        assert_eq!(
            Hash::parse(&long.replacen("s", "ss", 1)),
            Err(BadHash::Form)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_hashes_never_fit(which in 0usize..3, at in 0usize..120, octet in "[ -~]") {
            let mut text = KNOWN[which].to_owned();
            let at = at % text.len();
            text.replace_range(at..=at, &octet);
            // More rounds than a test has time for.
            prop_assume!(!text.contains("rounds=") || text.contains("rounds=1000$"));
            if text != KNOWN[which] {
                if let Ok(hash) = Hash::parse(&text) {
                    prop_assert_ne!(hash.verify(&password("hello world")), Ok(true));
                }
            }
        }
    }
}
