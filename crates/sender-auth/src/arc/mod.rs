//! ARC (RFC 8617): what each host on the way found out, sealed by it, so that a message that
//! a list has changed can still be believed.

pub mod seal;
pub mod set;
pub mod validate;

pub use seal::{SealError, SealPreparation, Sealable};
pub use validate::{ChainProblem, ChainStatus, ChainVerdict, Validation};
