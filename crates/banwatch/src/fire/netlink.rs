//! The octets of netlink messages: a header of 16 octets in the host's order, then attributes of
//! type, length and value, padded to 4.

/// Flag: this is a request.
pub const REQUEST: u16 = 1;
/// Flag: an answer is wanted also when all went well.
pub const ACK: u16 = 4;
/// Flag: all of it.
pub const DUMP: u16 = 0x300;
/// Flag of a "new" request: it must not exist.
pub const EXCL: u16 = 0x200;
/// Flag of a "new" request: make it.
pub const CREATE: u16 = 0x400;
/// Flag of a "new" request: behind those that are there.
pub const APPEND: u16 = 0x800;

/// Message type: an error, or with code 0 the acknowledgement.
const ERROR: u16 = 2;
/// Message type: the end of a dump.
const DONE: u16 = 3;
/// Attribute flag: holds attributes.
const NESTED: u16 = 0x8000;
/// Length of a message's header, in octets.
const HEADER: usize = 16;

/// Messages being written one behind the other.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// Where the present message begins.
    message: usize,
    sequence: u32,
}

impl Writer {
    /// An empty one; its messages are numbered from `first`.
    #[must_use]
    pub fn new(first: u32) -> Writer {
        Writer {
            out: Vec::new(),
            message: 0,
            sequence: first.wrapping_sub(1),
        }
    }

    /// Begins a message with the octets of its family header.
    pub fn begin(&mut self, kind: u16, flags: u16, head: &[u8]) {
        self.end();
        self.message = self.out.len();
        self.sequence = self.sequence.wrapping_add(1);
        self.out.extend(0u32.to_ne_bytes());
        self.out.extend(kind.to_ne_bytes());
        self.out.extend((flags | REQUEST).to_ne_bytes());
        self.out.extend(self.sequence.to_ne_bytes());
        self.out.extend(0u32.to_ne_bytes());
        self.out.extend(head);
        self.pad();
    }

    /// Adds flags to the present message.
    pub fn flag(&mut self, flags: u16) {
        let at = self.message + 6;
        if let Some(field) = self.out.get_mut(at..at + 2) {
            if let Ok(two) = <[u8; 2]>::try_from(&*field) {
                field.copy_from_slice(&(u16::from_ne_bytes(two) | flags).to_ne_bytes());
            }
        }
    }

    /// An attribute. Values beyond 65,531 octets can't be said and are left out.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let Ok(length) = u16::try_from(value.len() + 4) else {
            return;
        };
        self.out.extend(length.to_ne_bytes());
        self.out.extend(kind.to_ne_bytes());
        self.out.extend(value);
        self.pad();
    }

    /// A text attribute with the zero octet behind it.
    pub fn text(&mut self, kind: u16, value: &str) {
        let mut octets = Vec::with_capacity(value.len() + 1);
        octets.extend(value.as_bytes());
        octets.push(0);
        self.put(kind, &octets);
    }

    /// A number of 32 bits, big end first, as nftables has them.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Writer)) {
        let at = self.out.len();
        self.out.extend([0; 4]);
        inside(self);
        let length = u16::try_from(self.out.len() - at).unwrap_or(u16::MAX);
        if let Some(field) = self.out.get_mut(at..at + 4) {
            let [a, b] = length.to_ne_bytes();
            let [c, d] = (kind | NESTED).to_ne_bytes();
            field.copy_from_slice(&[a, b, c, d]);
        }
    }

    /// Octets in the present message.
    #[must_use]
    pub fn length(&self) -> usize {
        self.out.len() - self.message
    }

    /// The number of the present message.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// All of it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.end();
        self.out
    }

    fn pad(&mut self) {
        while !self.out.len().is_multiple_of(4) {
            self.out.push(0);
        }
    }

    fn end(&mut self) {
        let length = u32::try_from(self.out.len() - self.message).unwrap_or(0);
        if let Some(field) = self.out.get_mut(self.message..self.message + 4) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// How a request went: 0 for well, else an errno.
    Result(i32),
    /// A dump is over.
    Done,
    /// Anything else: its type, and what is behind the header.
    Other(u16, &'a [u8]),
}

/// A message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The number of the request that it answers.
    pub sequence: u32,
    /// The port that caused it.
    pub port: u32,
    /// What it says.
    pub body: Body<'a>,
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_ne_bytes)
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    octets
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_ne_bytes)
}

/// The messages of a datagram; ends at the first one that is not whole.
pub fn messages(mut octets: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(octets, 0)?).ok()?;
        let body = octets.get(HEADER..length)?;
        let (kind, sequence, port) = (u16_at(octets, 4)?, u32_at(octets, 8)?, u32_at(octets, 12)?);
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        let body = match kind {
            ERROR => Body::Result(u32_at(body, 0)?.cast_signed().wrapping_neg()),
            DONE => Body::Done,
            _ => Body::Other(kind, body),
        };
        Some(Message {
            sequence,
            port,
            body,
        })
    })
}

/// The attributes in octets: type without flags, value. Ends at the first that is not whole.
pub fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(octets, 0)?);
        let kind = u16_at(octets, 2)? & 0x3fff;
        let value = octets.get(4..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The first attribute of a type.
#[must_use]
pub fn attribute(octets: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(octets).find(|(k, _)| *k == kind).map(|(_, v)| v)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn written_is_read(values in prop::collection::vec((1u16..100, prop::collection::vec(any::<u8>(), 0..20)), 0..8)) {
            let mut w = Writer::new(7);
            w.begin(99, 0, &[1, 0, 0, 0]);
            for (k, v) in &values {
                w.put(*k, v);
            }
            w.begin(98, ACK, &[2, 0, 0, 0]);
            w.nest(5, |w| for (k, v) in &values { w.put(*k, v) });
            let octets = w.finish();
            let all: Vec<Message<'_>> = messages(&octets).collect();
            prop_assert_eq!(all.len(), 2);
            prop_assert_eq!((all[0].sequence, all[1].sequence), (7, 8));
            let Body::Other(99, body) = all[0].body else { panic!() };
            let want: Vec<(u16, &[u8])> = values.iter().map(|(k, v)| (*k, v.as_slice())).collect();
            prop_assert_eq!(attributes(&body[4..]).collect::<Vec<_>>(), want.clone());
            let Body::Other(98, body) = all[1].body else { panic!() };
            let inner = attribute(&body[4..], 5).unwrap();
            prop_assert_eq!(attributes(inner).collect::<Vec<_>>(), want);
            for n in 0..octets.len() {
                prop_assert!(messages(&octets[..n]).count() <= 1);
            }
        }

        #[test]
        fn garbage_ends(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            for m in messages(&octets) {
                if let Body::Other(_, b) = m.body {
                    prop_assert!(attributes(b).count() <= b.len() / 4 + 1);
                }
            }
        }
    }
}
