//! Packets between queue-manager and remote-send.

use super::{
    ADDRESS_MAX, Content, Fields, HELLO, HOST_MAX, PING, Packet, RECIPIENTS_MAX, TEXT_MAX,
    WireError,
};
use crate::id::QueueId;
use crate::reply::{Class, Status};

const REQUEST: u8 = b'R';
const ANSWER: u8 = b'A';

/// What queue-manager says to remote-send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToRemote<'a> {
    /// The answer to remote-send's hello: what follows is meant for this process.
    Hello,
    /// Do you live?
    Ping,
    /// Carry this message; the packet brings the queue file as a read-only descriptor.
    Transaction(Transaction<'a>),
}

/// What remote-send says to queue-manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromRemote<'a> {
    /// remote-send has just started; transactions asked for before are void.
    Hello,
    /// The answer to [`ToRemote::Ping`].
    Alive,
    /// The outcome of some recipients.
    Answer(Answer<'a>),
}

/// One message to one next hop for up to [`RECIPIENTS_MAX`] recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction<'a> {
    /// Chosen by queue-manager; the answers repeat it.
    pub number: u64,
    /// The message.
    pub id: QueueId,
    /// Return path, empty for the null one.
    pub reverse_path: &'a str,
    /// BODY=8BITMIME was declared by the sender (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 was asked for by the sender (RFC 6531).
    pub utf8: bool,
    /// Where the content lies in the queue file.
    pub content: Content,
    /// Where it goes.
    pub next_hop: NextHop<'a>,
    /// 1 to [`RECIPIENTS_MAX`] recipients.
    pub recipients: Vec<Recipient<'a>>,
}

/// Where a transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHop<'a> {
    /// The mail exchangers of this domain, or the address literal as it stands in the address.
    Mx(&'a str),
    /// This host and port, whatever the recipients' domains say.
    Host(&'a str, u16),
}

/// One recipient of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// Its place in the envelope; answers name it by this.
    pub index: u32,
    /// The address to give in RCPT.
    pub address: &'a str,
}

/// What a failure was about; decides whether the whole destination has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This recipient only (also every success).
    Recipient,
    /// This message: refused at MAIL or after DATA.
    Message,
    /// The destination: no name, no connection, a bad greeting, a 421, TLS that failed.
    Destination,
}

/// The outcome of one or more recipients of a transaction.
///
/// A transaction is over when each of its recipients has been answered, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The transaction's number.
    pub number: u64,
    /// What became of them.
    pub status: Status,
    /// What the failure was about.
    pub scope: Scope,
    /// Name and address of the host that answered, `name[address]`; empty when none did.
    pub host: &'a str,
    /// Its words, cleaned by [`crate::reply::clean`], or ours when there was no answer.
    pub text: &'a str,
    /// Places in the envelope of the recipients meant, 1 to [`RECIPIENTS_MAX`].
    pub recipients: Vec<u32>,
}

/// Longest `name[address]` of an answer: a name, two brackets and an IPv6 address.
pub const PEER_MAX: usize = HOST_MAX + 2 + 45;

const EIGHT_BIT: u8 = 1;
const UTF8: u8 = 2;

impl<'a> ToRemote<'a> {
    /// Writes the packet, replacing what `out` held.
    ///
    /// # Errors
    /// A field over its limit, empty where it may not be, or with control characters.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::Hello => fixed(HELLO, out),
            Self::Ping => fixed(PING, out),
            Self::Transaction(transaction) => transaction.encode(out),
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Anything that [`ToRemote::encode`] could not have written.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        if packet == HELLO {
            return Ok(Self::Hello);
        }
        if packet == PING {
            return Ok(Self::Ping);
        }
        Transaction::decode(packet).map(Self::Transaction)
    }
}

impl<'a> FromRemote<'a> {
    /// Writes the packet, replacing what `out` held.
    ///
    /// # Errors
    /// A field over its limit, empty where it may not be, or with control characters.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::Hello => fixed(HELLO, out),
            Self::Alive => fixed(PING, out),
            Self::Answer(answer) => answer.encode(out),
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Anything that [`FromRemote::encode`] could not have written.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        if packet == HELLO {
            return Ok(Self::Hello);
        }
        if packet == PING {
            return Ok(Self::Alive);
        }
        Answer::decode(packet).map(Self::Answer)
    }
}

/// A packet that is always the same.
fn fixed(packet: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
    out.clear();
    out.extend_from_slice(packet);
    Ok(())
}

impl<'a> Transaction<'a> {
    /// Writes the packet, replacing what `out` held.
    ///
    /// # Errors
    /// A field over its limit, empty where it may not be, or with control characters.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let count = count(self.recipients.len())?;
        let mut packet = Packet::open(REQUEST, out);
        packet.u64(self.number);
        packet.id(&self.id);
        packet.u8((u8::from(self.eight_bit) * EIGHT_BIT) | (u8::from(self.utf8) * UTF8));
        packet.content(self.content)?;
        // Port 0 says "by MX": no host listens there.
        let (name, port) = match self.next_hop {
            NextHop::Mx(domain) => (domain, 0),
            NextHop::Host(_, 0) => return Err(WireError::Bad("port")),
            NextHop::Host(name, port) => (name, port),
        };
        packet.u16(port);
        packet.text("next hop", HOST_MAX, not_empty("next hop", name)?)?;
        packet.text("reverse path", ADDRESS_MAX, self.reverse_path)?;
        packet.u16(count);
        for recipient in &self.recipients {
            packet.u32(recipient.index);
            packet.text(
                "recipient",
                ADDRESS_MAX,
                not_empty("recipient", recipient.address)?,
            )?;
        }
        Ok(())
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Anything that [`Transaction::encode`] could not have written.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        let (kind, mut fields) = Fields::open(packet)?;
        if kind != REQUEST {
            return Err(WireError::Kind(kind));
        }
        let number = fields.u64()?;
        let id = fields.id()?;
        let flags = fields.u8()?;
        if flags & !(EIGHT_BIT | UTF8) != 0 {
            return Err(WireError::Bad("flags"));
        }
        let content = fields.content()?;
        let port = fields.u16()?;
        let name = not_empty("next hop", fields.text("next hop", HOST_MAX)?)?;
        let next_hop = if port == 0 {
            NextHop::Mx(name)
        } else {
            NextHop::Host(name, port)
        };
        let reverse_path = fields.text("reverse path", ADDRESS_MAX)?;
        let count = usize::from(fields.u16()?);
        self::count(count)?;
        let mut recipients = Vec::with_capacity(count);
        for _ in 0..count {
            let index = fields.u32()?;
            let address = not_empty("recipient", fields.text("recipient", ADDRESS_MAX)?)?;
            recipients.push(Recipient { index, address });
        }
        fields.end()?;
        let (eight_bit, utf8) = (flags & EIGHT_BIT != 0, flags & UTF8 != 0);
        Ok(Self {
            number,
            id,
            reverse_path,
            eight_bit,
            utf8,
            content,
            next_hop,
            recipients,
        })
    }
}

impl<'a> Answer<'a> {
    /// Writes the packet, replacing what `out` held.
    ///
    /// # Errors
    /// A field over its limit or with control characters, no recipients or too many.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let count = count(self.recipients.len())?;
        scope_checked(self.status, self.scope)?;
        let mut packet = Packet::open(ANSWER, out);
        packet.u64(self.number);
        packet.status(self.status);
        packet.u8(match self.scope {
            Scope::Recipient => 0,
            Scope::Message => 1,
            Scope::Destination => 2,
        });
        packet.text("host", PEER_MAX, self.host)?;
        packet.text("text", TEXT_MAX, self.text)?;
        packet.u16(count);
        for &index in &self.recipients {
            packet.u32(index);
        }
        Ok(())
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Anything that [`Answer::encode`] could not have written.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        let (kind, mut fields) = Fields::open(packet)?;
        if kind != ANSWER {
            return Err(WireError::Kind(kind));
        }
        let number = fields.u64()?;
        let status = fields.status()?;
        let scope = match fields.u8()? {
            0 => Scope::Recipient,
            1 => Scope::Message,
            2 => Scope::Destination,
            _ => return Err(WireError::Bad("scope")),
        };
        scope_checked(status, scope)?;
        let host = fields.text("host", PEER_MAX)?;
        let text = fields.text("text", TEXT_MAX)?;
        let count = usize::from(fields.u16()?);
        self::count(count)?;
        let mut recipients = Vec::with_capacity(count);
        for _ in 0..count {
            recipients.push(fields.u32()?);
        }
        fields.end()?;
        Ok(Self {
            number,
            status,
            scope,
            host,
            text,
            recipients,
        })
    }
}

fn count(recipients: usize) -> Result<u16, WireError> {
    match recipients {
        0 => Err(WireError::Bad("recipients")),
        1..=RECIPIENTS_MAX => {
            u16::try_from(recipients).map_err(|_| WireError::TooLong("recipients"))
        }
        _ => Err(WireError::TooLong("recipients")),
    }
}

fn scope_checked(status: Status, scope: Scope) -> Result<(), WireError> {
    if status.class() == Class::Delivered && scope != Scope::Recipient {
        return Err(WireError::Bad("scope"));
    }
    Ok(())
}

fn not_empty<'a>(field: &'static str, text: &'a str) -> Result<&'a str, WireError> {
    if text.is_empty() {
        Err(WireError::Bad(field))
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PACKET_MAX;
    use proptest::prelude::*;

    fn transaction<'a>(recipients: Vec<Recipient<'a>>) -> Transaction<'a> {
        Transaction {
            number: 9,
            id: QueueId::new(1, 2),
            reverse_path: "",
            eight_bit: true,
            utf8: false,
            content: Content {
                offset: 300,
                length: 20,
            },
            next_hop: NextHop::Mx("example.org"),
            recipients,
        }
    }

    fn answer() -> Answer<'static> {
        Answer {
            number: 9,
            status: Status::FAILED,
            scope: Scope::Message,
            host: "mx.example.org[192.0.2.1]",
            text: "no",
            recipients: vec![0, 4],
        }
    }

    #[test]
    fn limits() {
        let mut out = Vec::new();
        let address = "x".repeat(ADDRESS_MAX);
        for (count, good) in [
            (0, false),
            (1, true),
            (RECIPIENTS_MAX - 1, true),
            (RECIPIENTS_MAX, true),
            (RECIPIENTS_MAX + 1, false),
        ] {
            let recipients: Vec<_> = (0..count as u32)
                .map(|index| Recipient {
                    index,
                    address: &address,
                })
                .collect();
            let t = Transaction {
                reverse_path: &address,
                ..transaction(recipients)
            };
            assert_eq!(t.encode(&mut out).is_ok(), good, "{count}");
            assert!(out.len() <= PACKET_MAX);
            if good {
                assert_eq!(Transaction::decode(&out), Ok(t));
            }
            let a = Answer {
                recipients: (0..count as u32).collect(),
                ..answer()
            };
            assert_eq!(a.encode(&mut out).is_ok(), good, "{count}");
        }
        for (length, good) in [
            (0, false),
            (1, true),
            (HOST_MAX, true),
            (HOST_MAX + 1, false),
        ] {
            let name = "h".repeat(length);
            let one = vec![Recipient {
                index: 0,
                address: "a@b",
            }];
            let t = Transaction {
                next_hop: NextHop::Host(&name, 25),
                ..transaction(one)
            };
            assert_eq!(t.encode(&mut out).is_ok(), good, "{length}");
        }
        for (length, good) in [(PEER_MAX, true), (PEER_MAX + 1, false)] {
            let name = "h".repeat(length);
            assert_eq!(
                Answer {
                    host: &name,
                    ..answer()
                }
                .encode(&mut out)
                .is_ok(),
                good
            );
        }
    }

    #[test]
    fn what_may_not_be_said() {
        let mut out = Vec::new();
        let one = vec![Recipient {
            index: 0,
            address: "a@b",
        }];
        let t = Transaction {
            next_hop: NextHop::Host("h", 0),
            ..transaction(one)
        };
        assert_eq!(t.encode(&mut out), Err(WireError::Bad("port")));
        let a = Answer {
            status: Status::DELIVERED,
            ..answer()
        };
        assert_eq!(a.encode(&mut out), Err(WireError::Bad("scope")));
        assert_eq!(Transaction::decode(b"A"), Err(WireError::Kind(b'A')));
        assert_eq!(Answer::decode(b""), Err(WireError::Short));
        assert_eq!(ToRemote::decode(HELLO), Ok(ToRemote::Hello));
        assert_eq!(FromRemote::decode(HELLO), Ok(FromRemote::Hello));
        assert_eq!(ToRemote::decode(PING), Ok(ToRemote::Ping));
        assert_eq!(FromRemote::decode(PING), Ok(FromRemote::Alive));
        assert_eq!(ToRemote::decode(b"PP"), Err(WireError::Kind(b'P')));
    }

    fn words(min: usize, max: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(
            any::<char>().prop_filter("clean", |c| !c.is_control()),
            min..max / 4,
        )
        .prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn transaction_round_trip(
            number: u64, millis: u64, random: u64, eight_bit: bool, utf8: bool,
            offset in 0..1u64 << 62, length in 0..1u64 << 62, port: u16,
            name in words(1, HOST_MAX), reverse_path in words(0, ADDRESS_MAX),
            recipients in proptest::collection::vec((any::<u32>(), words(1, 60)), 1..8),
        ) {
            let next_hop = if port == 0 { NextHop::Mx(&name) } else { NextHop::Host(&name, port) };
            let recipients = recipients.iter().map(|(index, a)| Recipient { index: *index, address: a }).collect();
            let t = Transaction {
                number, id: QueueId::new(millis, random), reverse_path: &reverse_path, eight_bit, utf8,
                content: Content { offset, length }, next_hop, recipients,
            };
            let mut out = Vec::new();
            t.encode(&mut out).unwrap();
            for end in 0..out.len() {
                prop_assert!(Transaction::decode(&out[..end]).is_err());
            }
            prop_assert_eq!(ToRemote::decode(&out), Ok(ToRemote::Transaction(t)));
            out.push(0);
            prop_assert!(Transaction::decode(&out).is_err());
        }

        #[test]
        fn answer_round_trip(
            number: u64, subject in 0..1000u16, detail in 0..1000u16, scope in 0..3usize, permanent: bool,
            host in words(0, PEER_MAX), text in words(0, TEXT_MAX),
            recipients in proptest::collection::vec(any::<u32>(), 1..RECIPIENTS_MAX),
        ) {
            let class = if permanent { Class::Failed } else { Class::Deferred };
            let a = Answer {
                number, status: Status::new(class, subject, detail).unwrap(),
                scope: [Scope::Recipient, Scope::Message, Scope::Destination][scope],
                host: &host, text: &text, recipients,
            };
            let mut out = Vec::new();
            a.encode(&mut out).unwrap();
            for end in 0..out.len() {
                prop_assert!(Answer::decode(&out[..end]).is_err());
            }
            prop_assert_eq!(FromRemote::decode(&out), Ok(FromRemote::Answer(a)));
        }

        #[test]
        fn any_octets(kind in 0..5usize, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut packet = vec![[REQUEST, ANSWER, b'H', b'P', 0][kind]];
            packet.extend_from_slice(&bytes);
            let mut out = Vec::new();
            if let Ok(x) = ToRemote::decode(&packet) { x.encode(&mut out).unwrap(); prop_assert_eq!(&out, &packet); }
            if let Ok(x) = FromRemote::decode(&packet) { x.encode(&mut out).unwrap(); prop_assert_eq!(&out, &packet); }
        }
    }
}
