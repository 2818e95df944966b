//! DKIM (RFC 6376, 8301, 8463, 8616): signatures of messages by domains.

pub mod key_lookup;
pub mod key_record;
pub mod rotation;
pub mod sign;
pub mod signature;
mod signed_fields;
pub mod verify;

pub use key_record::KeyRecord;
pub use sign::{Signer, Signing, SigningIdentity, SigningOptions};
pub use signature::Signature;
pub(crate) use signed_fields::named as signed_names;
pub use verify::{Limits, Verification, Verified, Verifier};
