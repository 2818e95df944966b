//! The one door to cryptography: keys, signatures and hashes, all done by aws-lc-rs.
//!
//! RSA is read in every form in which keys are met (PKCS#1, PKCS#8, SubjectPublicKeyInfo) and
//! verified from 1024 to 8192 bits; it signs from 2048. Ed25519 keys are made here, RSA keys
//! are not (`openssl genpkey -algorithm RSA` does).

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use aws_lc_rs::{digest, hmac};
use data_encoding::BASE64;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;

/// Smallest RSA key that is verified at all, in bits (RFC 8301, 3.2: verifiers must not accept
/// less).
pub const RSA_VERIFY_MIN_BITS: usize = 1024;

/// Largest RSA key that is verified, in bits. A check costs at most about 0.5 ms at this size.
pub const RSA_VERIFY_MAX_BITS: usize = 8192;

/// Smallest RSA key that signs, in bits (RFC 8301, 3.2 recommends it).
pub const RSA_SIGN_MIN_BITS: usize = 2048;

/// Octets of an Ed25519 public key, and of the seed of a private one.
pub const ED25519_KEY_LEN: usize = 32;

/// Kinds of keys that sign mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `rsa-sha256` (RFC 6376, 3.3.1).
    RsaSha256,
    /// `ed25519-sha256` (RFC 8463).
    Ed25519Sha256,
}

impl Algorithm {
    /// The word of an `a=` tag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// The word of a key record's `k=` tag.
    pub fn key_type(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa",
            Self::Ed25519Sha256 => "ed25519",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a public key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyError {
    /// Not a key of its kind.
    Malformed,
    /// RSA below [`RSA_VERIFY_MIN_BITS`]; the bits found.
    TooSmall(usize),
    /// RSA above [`RSA_VERIFY_MAX_BITS`]; the bits found.
    TooLarge(usize),
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// An RSA key.
    Rsa {
        /// RSAPublicKey of RFC 8017 (A.1.1) in DER.
        pkcs1: Vec<u8>,
        /// Length of the modulus.
        bits: usize,
    },
    /// An Ed25519 key, the 32 octets of RFC 8032.
    Ed25519([u8; ED25519_KEY_LEN]),
}

impl PublicKey {
    /// Reads RSAPublicKey or SubjectPublicKeyInfo: RFC 6376 (3.6.1) asks for the first, what
    /// is published, and printed in its own appendix, is the second.
    ///
    /// # Errors
    /// See [`PublicKeyError`].
    pub fn rsa(der: &[u8]) -> Result<Self, PublicKeyError> {
        let pkcs1 = rsa_inside(der).unwrap_or(der);
        let bits = rsa_bits(pkcs1).ok_or(PublicKeyError::Malformed)?;
        if bits < RSA_VERIFY_MIN_BITS {
            return Err(PublicKeyError::TooSmall(bits));
        }
        if bits > RSA_VERIFY_MAX_BITS {
            return Err(PublicKeyError::TooLarge(bits));
        }
        Ok(Self::Rsa {
            pkcs1: pkcs1.to_vec(),
            bits,
        })
    }

    /// Reads the bare 32 octets (RFC 8463, 4.2).
    ///
    /// # Errors
    /// [`PublicKeyError::Malformed`] for any other length.
    pub fn ed25519(octets: &[u8]) -> Result<Self, PublicKeyError> {
        let key = octets.try_into().map_err(|_| PublicKeyError::Malformed)?;
        Ok(Self::Ed25519(key))
    }

    /// What it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::RsaSha256,
            Self::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// Strength as people name it: bits of the modulus, or 256.
    pub fn bits(&self) -> usize {
        match self {
            Self::Rsa { bits, .. } => *bits,
            Self::Ed25519(_) => 256,
        }
    }

    /// Whether the signature is that of the data. Ed25519 signs the SHA-256 of the data
    /// (RFC 8463, 3).
    pub fn verifies(&self, data: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { pkcs1, .. } => {
                UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, pkcs1)
                    .verify(data, signature)
                    .is_ok()
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key)
                .verify(&sha256(data), signature)
                .is_ok(),
        }
    }

    /// The octets of a key record's `p=` tag: SubjectPublicKeyInfo for RSA, the bare key for
    /// Ed25519.
    pub fn to_record_octets(&self) -> Vec<u8> {
        match self {
            Self::Rsa { pkcs1, .. } => {
                let mut bits = vec![0];
                bits.extend_from_slice(pkcs1);
                let mut inner = RSA_ALGORITHM.to_vec();
                inner.extend(der_element(DER_BIT_STRING, &bits));
                der_element(DER_SEQUENCE, &inner)
            }
            Self::Ed25519(key) => key.to_vec(),
        }
    }
}

/// Why a private key can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKeyError {
    /// No private key in the file, or PEM that is broken.
    NotPem,
    /// A key, but neither RSA nor Ed25519, or its parts contradict each other.
    Unusable,
    /// RSA below [`RSA_SIGN_MIN_BITS`].
    TooSmall,
}

impl fmt::Display for SigningKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPem => "no private key in PEM form found",
            Self::Unusable => "not a usable RSA or Ed25519 private key",
            Self::TooSmall => "RSA key with fewer than 2048 bits",
        })
    }
}

impl std::error::Error for SigningKeyError {}

/// A key that signs. Its secret part is never shown.
pub struct SigningKey(Inner);

enum Inner {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, <redacted>)", self.algorithm())
    }
}

impl SigningKey {
    /// Reads the first private key of a PEM file: `PRIVATE KEY` (PKCS#8) with RSA or Ed25519,
    /// or `RSA PRIVATE KEY` (PKCS#1).
    ///
    /// # Errors
    /// See [`SigningKeyError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, SigningKeyError> {
        match PrivateKeyDer::from_pem_slice(pem).map_err(|_| SigningKeyError::NotPem)? {
            PrivateKeyDer::Pkcs8(der) => Self::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => {
                RsaKeyPair::from_der(der.secret_pkcs1_der()).map_or_else(rsa_error, Self::from_rsa)
            }
            _ => Err(SigningKeyError::Unusable),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(Inner::Ed25519(pair)));
        }
        RsaKeyPair::from_pkcs8(der).map_or_else(rsa_error, Self::from_rsa)
    }

    fn from_rsa(pair: RsaKeyPair) -> Result<Self, SigningKeyError> {
        Ok(Self(Inner::Rsa(Box::new(pair))))
    }

    /// Takes the 32 octets from which an Ed25519 key is derived (RFC 8032, 5.1.5).
    ///
    /// # Errors
    /// [`SigningKeyError::Unusable`] for any other length.
    pub fn from_ed25519_seed(seed: &[u8]) -> Result<Self, SigningKeyError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(|pair| Self(Inner::Ed25519(pair)))
            .map_err(|_| SigningKeyError::Unusable)
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Inner::Rsa(_) => Algorithm::RsaSha256,
            Inner::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        match &self.0 {
            Inner::Rsa(pair) => PublicKey::Rsa {
                pkcs1: pair.public_key().as_ref().to_vec(),
                bits: pair.public_modulus_len() * 8,
            },
            Inner::Ed25519(pair) => {
                let mut key = [0; ED25519_KEY_LEN];
                // Both have 32 octets.
                for (to, from) in key.iter_mut().zip(pair.public_key().as_ref()) {
                    *to = *from;
                }
                PublicKey::Ed25519(key)
            }
        }
    }

    /// Signs. RSA signatures of one text are always the same (PKCS#1 v1.5); the randomness
    /// that it takes only blinds the computation.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        match &self.0 {
            Inner::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    data,
                    &mut signature,
                )
                .map_err(|_| NoRandomness)?;
                Ok(signature)
            }
            Inner::Ed25519(pair) => Ok(pair.sign(&sha256(data)).as_ref().to_vec()),
        }
    }
}

fn rsa_error(error: KeyRejected) -> Result<SigningKey, SigningKeyError> {
    // The library tells its reasons only as text.
    Err(if error.to_string() == "TooSmall" {
        SigningKeyError::TooSmall
    } else {
        SigningKeyError::Unusable
    })
}

/// The system's source of randomness failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system gave no random octets")
    }
}

impl std::error::Error for NoRandomness {}

/// Makes an Ed25519 key and gives it as PEM (PKCS#8 version 1, which OpenSSL reads too).
///
/// # Errors
/// When the system gives no randomness.
pub fn new_ed25519_pem() -> Result<String, NoRandomness> {
    let mut seed = [0; ED25519_KEY_LEN];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| NoRandomness)?;
    Ok(ed25519_pem(&seed))
}

fn ed25519_pem(seed: &[u8; ED25519_KEY_LEN]) -> String {
    // RFC 8410, 7: version 0, id-Ed25519, an OCTET STRING inside an OCTET STRING.
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend_from_slice(seed);
    // 48 octets are 64 characters: one line.
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        BASE64.encode(&der)
    )
}

/// Octets of a SHA-256 hash.
pub(crate) const SHA256_LEN: usize = 32;

/// SHA-256 of an octet string.
pub(crate) fn sha256(data: &[u8]) -> [u8; SHA256_LEN] {
    fixed(&digest::digest(&digest::SHA256, data))
}

/// SHA-512 of an octet string.
pub(crate) fn sha512(data: &[u8]) -> [u8; 64] {
    fixed(&digest::digest(&digest::SHA512, data))
}

/// A SHA-256 that is given its text in pieces. A copy goes on from where it was taken.
#[derive(Clone)]
pub(crate) struct Sha256(digest::Context);

impl Sha256 {
    /// Of no octets yet.
    pub(crate) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Takes the next piece.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The hash of all pieces.
    pub(crate) fn finish(self) -> [u8; SHA256_LEN] {
        fixed(&self.0.finish())
    }
}

/// A hash as an array of its length.
fn fixed<const N: usize>(hash: &digest::Digest) -> [u8; N] {
    let mut out = [0; N];
    // Both have N octets.
    for (to, from) in out.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    out
}

/// HMAC-SHA-1, the keyed hash that SRS and BATV were defined with. A keyed hash needs no
/// collision resistance, so that SHA-1 still serves here.
pub(crate) fn hmac_sha1(secret: &[u8], parts: &[&[u8]]) -> hmac::Tag {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

const DER_INTEGER: u8 = 0x02;
const DER_BIT_STRING: u8 = 0x03;
const DER_SEQUENCE: u8 = 0x30;

/// AlgorithmIdentifier of rsaEncryption with its NULL (RFC 3279, 2.3.1).
const RSA_ALGORITHM: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// The RSAPublicKey inside a SubjectPublicKeyInfo.
fn rsa_inside(der: &[u8]) -> Option<&[u8]> {
    let (outer, _) = der_read(der, DER_SEQUENCE)?;
    let bits = outer.strip_prefix(RSA_ALGORITHM)?;
    let (content, _) = der_read(bits, DER_BIT_STRING)?;
    content.strip_prefix(&[0])
}

/// Bits of the modulus of an RSAPublicKey.
fn rsa_bits(pkcs1: &[u8]) -> Option<usize> {
    let (fields, rest) = der_read(pkcs1, DER_SEQUENCE)?;
    let (modulus, exponent) = der_read(fields, DER_INTEGER)?;
    der_read(exponent, DER_INTEGER)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let top = modulus.first().filter(|_| rest.is_empty())?;
    Some(modulus.len() * 8 - top.leading_zeros() as usize)
}

/// Content of the element of this tag at the start of `input`, and what follows it. Lengths
/// up to 65,535 in their shortest form, as DER wants.
fn der_read(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = input.strip_prefix(&[tag])?;
    let (length, rest) = match rest {
        [short @ 0..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [0x81, long @ 0x80..=0xff, rest @ ..] => (usize::from(*long), rest),
        [0x82, high @ 1..=0xff, low, rest @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// One DER element. The content is a key of at most [`RSA_VERIFY_MAX_BITS`], so that two
/// octets of length suffice.
fn der_element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let [high, low] = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    match (high, low) {
        (0, 0..=0x7f) => out.push(low),
        (0, _) => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const RSA_2048_PEM: &[u8] = include_bytes!("../tests/keys/rsa-2048.pem");
    const RSA_2048_PKCS1_PEM: &[u8] = include_bytes!("../tests/keys/rsa-2048-pkcs1.pem");
    const RSA_1024_PEM: &[u8] = include_bytes!("../tests/keys/rsa-1024.pem");
    const ED25519_PEM: &[u8] = include_bytes!("../tests/keys/ed25519.pem");

    #[test]
    fn rsa_in_both_private_forms() {
        let pkcs8 = SigningKey::from_pem(RSA_2048_PEM).unwrap();
        let pkcs1 = SigningKey::from_pem(RSA_2048_PKCS1_PEM).unwrap();
        assert_eq!(pkcs8.public(), pkcs1.public());
        assert_eq!(pkcs8.public().bits(), 2048);
        let signature = pkcs8.sign(b"text").unwrap();
        assert!(pkcs1.public().verifies(b"text", &signature));
        assert!(!pkcs1.public().verifies(b"texT", &signature));
    }

    #[test]
    fn public_key_in_both_forms() {
        let public = SigningKey::from_pem(RSA_2048_PEM).unwrap().public();
        let spki = public.to_record_octets();
        assert_eq!(PublicKey::rsa(&spki).unwrap(), public);
        let PublicKey::Rsa { pkcs1, .. } = &public else {
            panic!("not RSA");
        };
        assert_eq!(PublicKey::rsa(pkcs1).unwrap(), public);
        for cut in 0..spki.len() {
            assert!(PublicKey::rsa(&spki[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn ed25519_round_trip() {
        let made = SigningKey::from_pem(new_ed25519_pem().unwrap().as_bytes()).unwrap();
        let signature = made.sign(b"text").unwrap();
        assert!(made.public().verifies(b"text", &signature));
        assert!(!made.public().verifies(b"text ", &signature));
        // Made by OpenSSL.
        let read = SigningKey::from_pem(ED25519_PEM).unwrap();
        assert_eq!(read.algorithm(), Algorithm::Ed25519Sha256);
        assert!(!read.public().verifies(b"text", &signature));
        assert_eq!(
            format!("{read:?}"),
            "SigningKey(ed25519-sha256, <redacted>)"
        );
    }

    #[test]
    fn refuses_private_keys() {
        let error = |pem: &[u8]| SigningKey::from_pem(pem).map(|_| ()).unwrap_err();
        assert_eq!(error(b""), SigningKeyError::NotPem);
        assert_eq!(
            error(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            SigningKeyError::Unusable
        );
        assert_eq!(error(RSA_1024_PEM), SigningKeyError::TooSmall);
        assert!(SigningKey::from_ed25519_seed(&[0; 31]).is_err());
        assert!(SigningKey::from_ed25519_seed(&[0; 32]).is_ok());
        assert!(SigningKey::from_ed25519_seed(&[0; 33]).is_err());
    }

    /// An RSAPublicKey of this many bits that no private key belongs to.
    fn rsa_of(bits: usize) -> Vec<u8> {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] >>= modulus.len() * 8 - bits;
        if modulus[0] >= 0x80 {
            modulus.insert(0, 0);
        }
        let mut fields = der_element(DER_INTEGER, &modulus);
        fields.extend(der_element(DER_INTEGER, &[1, 0, 1]));
        der_element(DER_SEQUENCE, &fields)
    }

    #[test]
    fn rsa_sizes() {
        for (bits, expected) in [
            (512, Err(PublicKeyError::TooSmall(512))),
            (1023, Err(PublicKeyError::TooSmall(1023))),
            (1024, Ok(1024)),
            (1025, Ok(1025)),
            (8191, Ok(8191)),
            (8192, Ok(8192)),
            (8193, Err(PublicKeyError::TooLarge(8193))),
        ] {
            let found = PublicKey::rsa(&rsa_of(bits)).map(|key| key.bits());
            assert_eq!(found, expected);
        }
    }
}
