//! Every limit of the protocol core, in one place.

/// Longest command line, in octets, line end included (RFC 2449, 4).
///
/// A longer line is answered with `-ERR`, thrown away up to its end and counted as an error.
pub const LINE_MAX: usize = 255;

/// Most octets of one overlong line that are thrown away before the connection is closed.
pub const DISCARD_MAX: usize = 4_096;

/// Most errors a client may make in one session; with the next one the connection is closed.
pub const ERRORS_MAX: u32 = 10;

/// Most refused passwords on one connection; the connection is closed with the last of them.
pub const LOGIN_FAILURES_MAX: u32 = 3;

/// Longest unique-id, in octets (RFC 1939, 7: 1 to 70 octets from 0x21 to 0x7E).
pub const UID_MAX: usize = 70;

/// Fill of the output buffer, in octets, from which no further command is begun and no
/// further line of a listing is written before the buffer has been drained.
///
/// The buffer can grow past it by the reply to one command, by one listing line, or by one
/// encoded block of a message.
pub const OUTPUT_HIGH: usize = 32 * 1_024;

/// Block in which a message is best handed to [`crate::Session::block`], in octets.
pub const BLOCK: usize = 64 * 1_024;
