//! The packets between queue-manager and the programs that deliver.
//!
//! [`local`]: towards local-deliver's parent and its workers; [`remote`]: towards remote-send.
//! Each packet is one datagram of a `SOCK_SEQPACKET` pair. The first octet names its kind;
//! numbers are little-endian and of fixed width; a string is its length as `u16`, then that
//! many octets of UTF-8. Strings never hold control characters. Octets after the last field
//! make a packet wrong, as does anything over a limit: both sides check, since neither trusts
//! the other.
//!
//! # A program that is started again
//!
//! mail-start keeps the pairs, so a restarted delivering program finds requests in its socket
//! that its predecessor never read, and queue-manager waits for answers to those that the
//! predecessor took with it. [`HELLO`] puts both right: local-deliver's parent and remote-send
//! each **send a hello as their first packet, then read and throw away everything (closing
//! descriptors that come along) until a hello comes back**. On receipt queue-manager takes all
//! requests without an answer as never made and answers with a hello; what follows it is new.
//!
//! A restarted queue-manager throws away what it finds in its own sockets and says hello, too: to
//! remote-send this means that what the predecessor asked for is void.

pub mod local;
pub mod remote;

use std::fmt;

use crate::id::{ID_LEN, QueueId};
use crate::reply::{self, Class, Status};

/// Largest packet in octets; receive into a buffer of this size.
pub const PACKET_MAX: usize = 65_536;

/// Longest address in octets, without angle brackets.
///
/// RFC 5321, 4.5.3.1 asks for 64 + 1 + 255; a local part may be longer than it asks.
pub const ADDRESS_MAX: usize = 512;

/// Longest host or domain name in octets (RFC 1035, 2.3.4), address literals included.
pub const HOST_MAX: usize = 255;

/// Longest name of a mailbox user in octets.
pub const USER_MAX: usize = 255;

/// Most recipients of one remote transaction.
pub const RECIPIENTS_MAX: usize = 100;

/// The whole of a hello packet, in both directions; see the module's page.
pub const HELLO: &[u8] = b"H";

/// The whole of a packet by which queue-manager asks remote-send whether it lives, and of the
/// answer. The loop answers at once, however long its dialogues take.
pub const PING: &[u8] = b"P";

/// Where the content lies in the queue file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// Octets before it.
    pub offset: u64,
    /// Its length in octets, every line ending in CRLF: also the value of SIZE.
    pub length: u64,
}

/// Why a packet cannot be read or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// It ends inside a field.
    Short,
    /// Octets follow the last field.
    Trailing,
    /// No packet of this kind is expected here.
    Kind(u8),
    /// This field is over its limit.
    TooLong(&'static str),
    /// This field holds what it may not: a control character, no UTF-8, an unknown value.
    Bad(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("packet ends inside a field"),
            Self::Trailing => f.write_str("packet goes on after its last field"),
            Self::Kind(octet) => write!(f, "unexpected kind of packet {octet:#04x}"),
            Self::TooLong(field) => write!(f, "{field} is over its limit"),
            Self::Bad(field) => write!(f, "{field} holds a value that it may not"),
        }
    }
}

impl std::error::Error for WireError {}

/// Reads the fields of one packet in order.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Starts after the kind octet, which it returns.
    fn open(packet: &'a [u8]) -> Result<(u8, Self), WireError> {
        let (&kind, rest) = packet.split_first().ok_or(WireError::Short)?;
        Ok((kind, Self { rest }))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.take::<1>().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self, field: &'static str, max: usize) -> Result<&'a str, WireError> {
        let length = usize::from(self.u16()?);
        if length > max {
            return Err(WireError::TooLong(field));
        }
        let (head, rest) = self.rest.split_at_checked(length).ok_or(WireError::Short)?;
        let text = std::str::from_utf8(head).map_err(|_| WireError::Bad(field))?;
        self.rest = rest;
        checked(field, max, text)
    }

    fn id(&mut self) -> Result<QueueId, WireError> {
        let text = self.take::<ID_LEN>()?;
        QueueId::from_bytes(&text).map_err(|_| WireError::Bad("queue id"))
    }

    fn status(&mut self) -> Result<Status, WireError> {
        let class = Class::from_digit(self.u8()?).ok_or(WireError::Bad("class"))?;
        Status::new(class, self.u16()?, self.u16()?).map_err(|_| WireError::Bad("status"))
    }

    fn content(&mut self) -> Result<Content, WireError> {
        let content = Content {
            offset: self.u64()?,
            length: self.u64()?,
        };
        content_checked(content)
    }

    fn end(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing)
        }
    }
}

fn checked<'a>(field: &'static str, max: usize, text: &'a str) -> Result<&'a str, WireError> {
    if text.len() > max {
        return Err(WireError::TooLong(field));
    }
    if text.chars().any(char::is_control) {
        return Err(WireError::Bad(field));
    }
    Ok(text)
}

fn content_checked(content: Content) -> Result<Content, WireError> {
    // Offsets are handed to pread, which takes signed ones.
    match content.offset.checked_add(content.length) {
        Some(end) if i64::try_from(end).is_ok() => Ok(content),
        _ => Err(WireError::Bad("content")),
    }
}

/// Appends the fields of one packet.
struct Packet<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Packet<'a> {
    /// Empties `out` and writes the kind.
    fn open(kind: u8, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.push(kind);
        Self { out }
    }

    fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn text(&mut self, field: &'static str, max: usize, text: &str) -> Result<(), WireError> {
        checked(field, max, text)?;
        self.u16(u16::try_from(text.len()).map_err(|_| WireError::TooLong(field))?);
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn id(&mut self, id: &QueueId) {
        self.out.extend_from_slice(id.as_bytes());
    }

    fn status(&mut self, status: Status) {
        self.u8(status.class().digit());
        self.u16(status.subject());
        self.u16(status.detail());
    }

    fn content(&mut self, content: Content) -> Result<(), WireError> {
        let content = content_checked(content)?;
        self.u64(content.offset);
        self.u64(content.length);
        Ok(())
    }
}

/// Limit of the words in an answer; [`reply::clean`] makes foreign words fit.
const TEXT_MAX: usize = reply::TEXT_MAX;
