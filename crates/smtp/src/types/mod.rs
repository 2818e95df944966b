//! Values of RFC 5321 that only a checked constructor makes, and that are trusted afterwards.

mod domain;
mod mailbox;
mod path;
mod reply;
mod status;

pub use domain::{AddressError, DOMAIN_MAX, Domain, HELLO_MAX, Hello, Host, LABEL_MAX};
pub use mailbox::{LOCAL_PART_MAX, Mailbox};
pub use path::{ForwardPath, ReversePath};
pub use reply::{Reply, ReplyClass, ReplyCode};
pub use status::{EnhancedCode, StatusClass};

/// How the octets of a message are to be treated (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// `BODY=7BIT`, or nothing said.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`: octets above 127 may occur.
    EightBitMime,
}
