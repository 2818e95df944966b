//! Packets between queue-manager and local-deliver, its parent and its workers.

use super::{ADDRESS_MAX, Content, Fields, HELLO, Packet, TEXT_MAX, USER_MAX, WireError};
use crate::id::QueueId;
use crate::reply::{Class, Status};

const WORKER: u8 = b'W';
const REFUSED: u8 = b'E';
const DELIVERY: u8 = b'D';
const KILL: u8 = b'K';

/// What queue-manager says to local-deliver's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToParent<'a> {
    /// The answer to the parent's hello: what follows is meant for this parent.
    Hello,
    /// A worker for this mailbox user, please.
    Worker {
        /// The user's name as in the users table.
        user: &'a str,
    },
    /// This worker does not answer: kill it. No answer.
    Kill {
        /// The number that came with the worker.
        worker: u32,
    },
}

/// What local-deliver's parent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromParent<'a> {
    /// The parent has just started; requests made before are void.
    Hello,
    /// The packet carries one descriptor, the socket towards a worker that is this user.
    Worker {
        /// The user asked for.
        user: &'a str,
        /// The worker's number, for [`ToParent::Kill`].
        worker: u32,
    },
    /// No worker: never (class 5, there is no such user any more) or not now (class 4).
    Refused {
        /// The user asked for.
        user: &'a str,
        /// Deferred or failed, never delivered.
        status: Status,
        /// Why, for the log and the bounce.
        text: &'a str,
    },
}

/// One delivery, from queue-manager to a worker; the queue file comes along, read-only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// Chosen by queue-manager; the answer repeats it.
    pub number: u64,
    /// The message may have been delivered before (it was found by a scan, or a worker
    /// went away in the middle): look for its name in `new/` and `cur/` first.
    pub repeat: bool,
    /// Sync the directory of the new file before answering, even where the queue lies on the
    /// same filesystem. The worker does so by itself when the filesystems differ.
    pub sync_directory: bool,
    /// The message.
    pub id: QueueId,
    /// The recipient's place in the envelope; part of the Maildir file's name.
    pub index: u32,
    /// Where the content lies in the queue file.
    pub content: Content,
    /// Return path, empty for the null one.
    pub reverse_path: &'a str,
    /// The address as it was given in RCPT.
    pub recipient: &'a str,
}

/// A worker's answer to one [`Delivery`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// The delivery's number.
    pub number: u64,
    /// What became of it.
    pub status: Status,
    /// Why; for the log, and for the bounce when it failed.
    pub text: &'a str,
}

const REPEAT: u8 = 1;
const SYNC_DIRECTORY: u8 = 2;

impl<'a> ToParent<'a> {
    /// Writes the packet, replacing what `out` held.
    ///
    /// # Errors
    /// A user name that is empty, over [`USER_MAX`] or has control characters.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match self {
            Self::Hello => hello(out),
            Self::Worker { user } => put_user(&mut Packet::open(WORKER, out), user)?,
            Self::Kill { worker } => Packet::open(KILL, out).u32(*worker),
        }
        Ok(())
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Anything that [`ToParent::encode`] could not have written.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        if packet == HELLO {
            return Ok(Self::Hello);
        }
        let (kind, mut fields) = Fields::open(packet)?;
        let request = match kind {
            WORKER => Self::Worker {
                user: user(&mut fields)?,
            },
            KILL => Self::Kill {
                worker: fields.u32()?,
            },
            other => return Err(WireError::Kind(other)),
        };
        fields.end()?;
        Ok(request)
    }
}

impl<'a> FromParent<'a> {
    /// Writes the packet, replacing what `out` held.
    ///
    /// # Errors
    /// A field over its limit or with control characters; a refusal of class 2.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        match *self {
            Self::Hello => hello(out),
            Self::Worker { user, worker } => {
                let mut packet = Packet::open(WORKER, out);
                put_user(&mut packet, user)?;
                packet.u32(worker);
            }
            Self::Refused { user, status, text } => {
                refusal(status)?;
                let mut packet = Packet::open(REFUSED, out);
                put_user(&mut packet, user)?;
                packet.status(status);
                packet.text("text", TEXT_MAX, text)?;
            }
        }
        Ok(())
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Anything that [`FromParent::encode`] could not have written.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        if packet == HELLO {
            return Ok(Self::Hello);
        }
        let (kind, mut fields) = Fields::open(packet)?;
        let answer = match kind {
            WORKER => Self::Worker {
                user: user(&mut fields)?,
                worker: fields.u32()?,
            },
            REFUSED => Self::Refused {
                user: user(&mut fields)?,
                status: refusal(fields.status()?)?,
                text: fields.text("text", TEXT_MAX)?,
            },
            other => return Err(WireError::Kind(other)),
        };
        fields.end()?;
        Ok(answer)
    }
}

impl<'a> Delivery<'a> {
    /// Writes the packet, replacing what `out` held.
    ///
    /// # Errors
    /// An address over its limit or with control characters, an empty recipient.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut packet = Packet::open(DELIVERY, out);
        packet.u64(self.number);
        packet.u8((u8::from(self.repeat) * REPEAT) | (u8::from(self.sync_directory) * SYNC_DIRECTORY));
        packet.id(&self.id);
        packet.u32(self.index);
        packet.content(self.content)?;
        packet.text("reverse path", ADDRESS_MAX, self.reverse_path)?;
        packet.text(
            "recipient",
            ADDRESS_MAX,
            not_empty("recipient", self.recipient)?,
        )
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Anything that [`Delivery::encode`] could not have written, unknown flags included.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        let (kind, mut fields) = Fields::open(packet)?;
        if kind != DELIVERY {
            return Err(WireError::Kind(kind));
        }
        let number = fields.u64()?;
        let flags = fields.u8()?;
        if flags & !(REPEAT | SYNC_DIRECTORY) != 0 {
            return Err(WireError::Bad("flags"));
        }
        let delivery = Self {
            number,
            repeat: flags & REPEAT != 0,
            sync_directory: flags & SYNC_DIRECTORY != 0,
            id: fields.id()?,
            index: fields.u32()?,
            content: fields.content()?,
            reverse_path: fields.text("reverse path", ADDRESS_MAX)?,
            recipient: not_empty("recipient", fields.text("recipient", ADDRESS_MAX)?)?,
        };
        fields.end()?;
        Ok(delivery)
    }
}

impl<'a> Outcome<'a> {
    /// Writes the packet, replacing what `out` held.
    ///
    /// # Errors
    /// A text over its limit or with control characters.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), WireError> {
        let mut packet = Packet::open(DELIVERY, out);
        packet.u64(self.number);
        packet.status(self.status);
        packet.text("text", TEXT_MAX, self.text)
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// Anything that [`Outcome::encode`] could not have written.
    pub fn decode(packet: &'a [u8]) -> Result<Self, WireError> {
        let (kind, mut fields) = Fields::open(packet)?;
        if kind != DELIVERY {
            return Err(WireError::Kind(kind));
        }
        let outcome = Self {
            number: fields.u64()?,
            status: fields.status()?,
            text: fields.text("text", TEXT_MAX)?,
        };
        fields.end()?;
        Ok(outcome)
    }
}

fn hello(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(HELLO);
}

fn put_user(packet: &mut Packet<'_>, user: &str) -> Result<(), WireError> {
    packet.text("user", USER_MAX, not_empty("user", user)?)
}

fn user<'a>(fields: &mut Fields<'a>) -> Result<&'a str, WireError> {
    not_empty("user", fields.text("user", USER_MAX)?)
}

fn not_empty<'a>(field: &'static str, text: &'a str) -> Result<&'a str, WireError> {
    if text.is_empty() {
        Err(WireError::Bad(field))
    } else {
        Ok(text)
    }
}

fn refusal(status: Status) -> Result<Status, WireError> {
    if status.class() == Class::Delivered {
        Err(WireError::Bad("class"))
    } else {
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::PACKET_MAX;
    use proptest::prelude::*;

    fn delivery() -> Delivery<'static> {
        Delivery {
            number: 7,
            repeat: true,
            sync_directory: false,
            id: QueueId::new(1_700_000_000_000, 5),
            index: 3,
            content: Content {
                offset: 256,
                length: 4096,
            },
            reverse_path: "a@example.org",
            recipient: "b@example.net",
        }
    }

    /// Every prefix is short or wrong, every longer packet is wrong; nothing panics.
    fn cut<T: std::fmt::Debug>(packet: &[u8], decode: impl Fn(&[u8]) -> Result<T, WireError>) {
        for end in 0..packet.len() {
            assert!(decode(&packet[..end]).is_err(), "cut at {end}");
        }
        let mut longer = packet.to_vec();
        longer.push(0);
        assert!(decode(&longer).is_err());
    }

    #[test]
    fn limits() {
        let mut out = Vec::new();
        for (length, good) in [
            (ADDRESS_MAX - 1, true),
            (ADDRESS_MAX, true),
            (ADDRESS_MAX + 1, false),
        ] {
            let long = "x".repeat(length);
            let d = Delivery {
                recipient: &long,
                reverse_path: &long,
                ..delivery()
            };
            assert_eq!(d.encode(&mut out).is_ok(), good);
            assert!(out.len() <= PACKET_MAX);
            if good {
                assert_eq!(Delivery::decode(&out), Ok(d));
            }
        }
        for (length, good) in [
            (0, false),
            (1, true),
            (USER_MAX, true),
            (USER_MAX + 1, false),
        ] {
            let long = "u".repeat(length);
            assert_eq!(
                ToParent::Worker { user: &long }.encode(&mut out).is_ok(),
                good
            );
        }
        for (length, good) in [
            (TEXT_MAX - 1, true),
            (TEXT_MAX, true),
            (TEXT_MAX + 1, false),
        ] {
            let long = "t".repeat(length);
            let o = Outcome {
                number: 1,
                status: Status::DELIVERED,
                text: &long,
            };
            assert_eq!(o.encode(&mut out).is_ok(), good);
        }
        // The decoder holds the limit by itself.
        let mut packet = vec![WORKER];
        packet.extend_from_slice(&256u16.to_le_bytes());
        packet.extend_from_slice(&[b'u'; 256]);
        assert_eq!(ToParent::decode(&packet), Err(WireError::TooLong("user")));
    }

    #[test]
    fn what_may_not_be_said() {
        let mut out = Vec::new();
        let d = Delivery {
            recipient: "",
            ..delivery()
        };
        assert_eq!(d.encode(&mut out), Err(WireError::Bad("recipient")));
        let d = Delivery {
            recipient: "a\nb",
            ..delivery()
        };
        assert_eq!(d.encode(&mut out), Err(WireError::Bad("recipient")));
        let d = Delivery {
            content: Content {
                offset: u64::MAX,
                length: 1,
            },
            ..delivery()
        };
        assert_eq!(d.encode(&mut out), Err(WireError::Bad("content")));
        let r = FromParent::Refused {
            user: "u",
            status: Status::DELIVERED,
            text: "",
        };
        assert_eq!(r.encode(&mut out), Err(WireError::Bad("class")));
        delivery().encode(&mut out).unwrap();
        out[9] = 4;
        assert_eq!(Delivery::decode(&out), Err(WireError::Bad("flags")));
        assert_eq!(Delivery::decode(b"X"), Err(WireError::Kind(b'X')));
        assert_eq!(ToParent::decode(b"D"), Err(WireError::Kind(b'D')));
        assert_eq!(ToParent::decode(HELLO), Ok(ToParent::Hello));
        assert_eq!(FromParent::decode(b"H!"), Err(WireError::Kind(b'H')));
    }

    fn words(max: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(
            any::<char>().prop_filter("clean", |c| !c.is_control()),
            0..max / 4,
        )
        .prop_map(|chars| chars.into_iter().collect())
    }

    fn status() -> impl Strategy<Value = Status> {
        (0..3usize, 0..1000u16, 0..1000u16).prop_map(|(class, subject, detail)| {
            let class = [Class::Delivered, Class::Deferred, Class::Failed][class];
            Status::new(class, subject, detail).unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn delivery_round_trip(
            number: u64, repeat: bool, sync_directory: bool, millis: u64, random: u64, index: u32,
            offset in 0..1u64 << 62, length in 0..1u64 << 62,
            reverse_path in words(ADDRESS_MAX), recipient in words(ADDRESS_MAX),
        ) {
            let recipient = format!("r{recipient}");
            let content = Content { offset, length };
            let id = QueueId::new(millis, random);
            let d = Delivery {
                number, repeat, sync_directory, id, index, content,
                reverse_path: &reverse_path, recipient: &recipient,
            };
            let mut out = Vec::new();
            d.encode(&mut out).unwrap();
            prop_assert_eq!(Delivery::decode(&out), Ok(d));
            cut(&out, |p| Delivery::decode(p).map(|_| ()));
        }

        #[test]
        fn answers_round_trip(number: u64, status in status(), text in words(TEXT_MAX), user in words(USER_MAX), worker: u32) {
            let mut out = Vec::new();
            let o = Outcome { number, status, text: &text };
            o.encode(&mut out).unwrap();
            prop_assert_eq!(Outcome::decode(&out), Ok(o));
            cut(&out, |p| Outcome::decode(p).map(|_| ()));
            let user = format!("u{user}");
            if status.class() != Class::Delivered {
                let r = FromParent::Refused { user: &user, status, text: &text };
                r.encode(&mut out).unwrap();
                prop_assert_eq!(FromParent::decode(&out), Ok(r));
                cut(&out, |p| FromParent::decode(p).map(|_| ()));
            }
            let w = ToParent::Worker { user: &user };
            w.encode(&mut out).unwrap();
            prop_assert_eq!(ToParent::decode(&out), Ok(w));
            let w = FromParent::Worker { user: &user, worker };
            w.encode(&mut out).unwrap();
            prop_assert_eq!(FromParent::decode(&out), Ok(w));
            cut(&out, |p| FromParent::decode(p).map(|_| ()));
            let k = ToParent::Kill { worker };
            k.encode(&mut out).unwrap();
            prop_assert_eq!(ToParent::decode(&out), Ok(k));
            cut(&out, |p| ToParent::decode(p).map(|_| ()));
        }

        #[test]
        fn any_octets(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            if let Ok(x) = Delivery::decode(&bytes) { x.encode(&mut out).unwrap(); prop_assert_eq!(&out, &bytes); }
            if let Ok(x) = Outcome::decode(&bytes) { x.encode(&mut out).unwrap(); prop_assert_eq!(&out, &bytes); }
            if let Ok(x) = ToParent::decode(&bytes) { x.encode(&mut out).unwrap(); prop_assert_eq!(&out, &bytes); }
            if let Ok(x) = FromParent::decode(&bytes) { x.encode(&mut out).unwrap(); prop_assert_eq!(&out, &bytes); }
        }
    }
}
