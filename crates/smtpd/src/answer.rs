//! What is said before there is a session.

/// Too many sessions, in all or of one address.
pub const TOO_MANY: &[u8] = b"421 4.7.0 Too many connections, try again\r\n";
