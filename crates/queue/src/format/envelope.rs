//! The envelope: who sent it, to whom, and how it came in.
//!
//! A row of records, each a tag, a length (`u16`, little-endian) and a value. A tag from 0x80
//! upwards may be skipped by a reader that does not know it; any other unknown tag makes the
//! file one of a later version. So a later feature adds a tag and says by its number whether an
//! older queue-manager may deliver the message without understanding it.

use std::net::IpAddr;

use super::FormatError;
use super::header::{ENVELOPE_MAX, RECIPIENTS_MAX};
use crate::wire::{ADDRESS_MAX, HOST_MAX};

/// Longest text of an arrival fact or DSN parameter, in octets.
pub const FACT_MAX: usize = 1_024;

mod tag {
    pub(super) const REVERSE_PATH: u8 = 0x01;
    pub(super) const RECIPIENT: u8 = 0x02;
    pub(super) const RET: u8 = 0x10;
    pub(super) const ENVID: u8 = 0x11;
    pub(super) const NOTIFY: u8 = 0x20;
    pub(super) const ORCPT: u8 = 0x21;
    pub(super) const ROLE: u8 = 0x80;
    pub(super) const CLIENT: u8 = 0x81;
    pub(super) const HELO: u8 = 0x82;
    pub(super) const PROTOCOL: u8 = 0x83;
    pub(super) const LOGIN: u8 = 0x84;
    pub(super) const UID: u8 = 0x85;
    pub(super) const SESSION: u8 = 0x86;
    pub(super) const PRIORITY: u8 = 0x87;
    /// From here upwards a tag may be skipped.
    pub(super) const OPTIONAL: u8 = 0x80;
}

/// The door a message came in by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Port 25.
    #[default]
    Mx,
    /// Ports 587 and 465.
    Submission,
    /// The Unix socket.
    Local,
    /// Written by queue-manager itself: a report.
    Report,
}

impl Role {
    /// The name used in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mx => "mx",
            Self::Submission => "submission",
            Self::Local => "local",
            Self::Report => "report",
        }
    }

    fn octet(self) -> u8 {
        match self {
            Self::Mx => 0,
            Self::Submission => 1,
            Self::Local => 2,
            Self::Report => 3,
        }
    }

    fn from_octet(octet: u8) -> Option<Self> {
        [Self::Mx, Self::Submission, Self::Local, Self::Report]
            .into_iter()
            .find(|role| role.octet() == octet)
    }
}

/// How a message came in. Empty text and `None` mean "not known" and take no room on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Seconds since 1970.
    pub time: i64,
    /// The door.
    pub role: Role,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// What the client called itself in HELO or EHLO.
    pub helo: String,
    /// The `with` of the Received field (RFC 3848), such as `ESMTPS`.
    pub protocol: String,
    /// The name that was proved with AUTH.
    pub login: Option<String>,
    /// The peer's uid on the Unix socket.
    pub uid: Option<u32>,
    /// The session in the log, `sid=`.
    pub session: String,
}

/// RET of RFC 3461, 4.3: how much of the message a report returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// The header only.
    Headers,
}

/// NOTIFY of RFC 3461, 4.1. No flag set means NEVER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Tell when delivered.
    pub success: bool,
    /// Tell when given up.
    pub failure: bool,
    /// Tell when it waits long.
    pub delay: bool,
}

/// One recipient of the envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// The address as given in RCPT, 1 to [`ADDRESS_MAX`] octets.
    pub address: String,
    /// When the sender wants a report; `None`: the default (failure, delay).
    pub notify: Option<Notify>,
    /// ORCPT of RFC 3461, 4.2, as received: type, semicolon, xtext.
    pub orcpt: Option<String>,
}

impl Recipient {
    /// A recipient without parameters.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            ..Self::default()
        }
    }
}

/// Everything about a message that is not its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Empty for the null reverse path.
    pub reverse_path: String,
    /// 1 to [`RECIPIENTS_MAX`]; a recipient's place in this list is its index everywhere.
    pub recipients: Vec<Recipient>,
    /// How it came in.
    pub arrival: Arrival,
    /// BODY=8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8.
    pub utf8: bool,
    /// RET, if given.
    pub ret: Option<Ret>,
    /// ENVID (RFC 3461, 4.4) as received, if given.
    pub envid: Option<String>,
    /// MT-PRIORITY (RFC 6710), -9 to 9; 0 is the default.
    pub priority: i8,
}

/// Why an envelope cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeError {
    /// This field is over its limit.
    TooLong(&'static str),
    /// No recipients, or more than [`RECIPIENTS_MAX`].
    Recipients,
    /// This field holds a control character, or is empty and may not be.
    Bad(&'static str),
}

impl std::fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(field) => write!(f, "{field} is over its limit"),
            Self::Recipients => f.write_str("no recipients or too many"),
            Self::Bad(field) => write!(f, "bad {field}"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

impl Envelope {
    /// Appends the records to `out`. The body flags, the arrival time and the number of
    /// recipients stand in the header instead.
    ///
    /// # Errors
    /// A field that the format does not allow.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EnvelopeError> {
        if !(1..=RECIPIENTS_MAX).contains(&self.recipients.len()) {
            return Err(EnvelopeError::Recipients);
        }
        let start = out.len();
        put_text(
            out,
            tag::REVERSE_PATH,
            "reverse path",
            ADDRESS_MAX,
            &self.reverse_path,
        )?;
        match self.ret {
            Some(Ret::Full) => put(out, tag::RET, &[0]),
            Some(Ret::Headers) => put(out, tag::RET, &[1]),
            None => {}
        }
        if let Some(envid) = &self.envid {
            put_text(out, tag::ENVID, "ENVID", FACT_MAX, envid)?;
        }
        let arrival = &self.arrival;
        put(out, tag::ROLE, &[arrival.role.octet()]);
        match arrival.client {
            Some(IpAddr::V4(address)) => put(out, tag::CLIENT, &address.octets()),
            Some(IpAddr::V6(address)) => put(out, tag::CLIENT, &address.octets()),
            None => {}
        }
        put_fact(out, tag::HELO, "HELO", HOST_MAX, &arrival.helo)?;
        put_fact(out, tag::PROTOCOL, "protocol", FACT_MAX, &arrival.protocol)?;
        put_fact(
            out,
            tag::LOGIN,
            "login",
            FACT_MAX,
            arrival.login.as_deref().unwrap_or(""),
        )?;
        if let Some(uid) = arrival.uid {
            put(out, tag::UID, &uid.to_le_bytes());
        }
        put_fact(out, tag::SESSION, "session", FACT_MAX, &arrival.session)?;
        if self.priority != 0 {
            if !(-9..=9).contains(&self.priority) {
                return Err(EnvelopeError::Bad("priority"));
            }
            put(out, tag::PRIORITY, &self.priority.to_le_bytes());
        }
        for recipient in &self.recipients {
            if recipient.address.is_empty() {
                return Err(EnvelopeError::Bad("recipient"));
            }
            put_text(
                out,
                tag::RECIPIENT,
                "recipient",
                ADDRESS_MAX,
                &recipient.address,
            )?;
            if let Some(notify) = recipient.notify {
                let octet = u8::from(notify.success)
                    | (u8::from(notify.failure) << 1)
                    | (u8::from(notify.delay) << 2);
                put(out, tag::NOTIFY, &[octet]);
            }
            if let Some(orcpt) = &recipient.orcpt {
                put_text(out, tag::ORCPT, "ORCPT", FACT_MAX, orcpt)?;
            }
        }
        if out.len() - start > ENVELOPE_MAX - self.recipients.len() {
            return Err(EnvelopeError::TooLong("envelope"));
        }
        Ok(())
    }

    /// Reads the records of a file whose checksum is right.
    ///
    /// `count` is the header's number of recipients. Time and body flags are left for the
    /// caller to fill in from the header.
    ///
    /// # Errors
    /// [`FormatError::Future`] for a tag that must be known, else [`FormatError::Bad`].
    pub fn decode(records: &[u8], count: u32) -> Result<Self, FormatError> {
        let mut envelope = Self {
            recipients: Vec::with_capacity((count as usize).min(RECIPIENTS_MAX)),
            ..Self::default()
        };
        let mut rest = records;
        let mut first = true;
        while let Some((head, after)) = rest.split_first_chunk::<3>() {
            let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
            let (value, after) = after
                .split_at_checked(length)
                .ok_or(FormatError::Bad("record length"))?;
            rest = after;
            if first != (head[0] == tag::REVERSE_PATH) {
                return Err(FormatError::Bad("order of records"));
            }
            first = false;
            envelope.take(head[0], value)?;
        }
        if !rest.is_empty() || first {
            return Err(FormatError::Bad("records"));
        }
        if envelope.recipients.len() != count as usize {
            return Err(FormatError::Bad("number of recipients"));
        }
        Ok(envelope)
    }

    fn take(&mut self, tag: u8, value: &[u8]) -> Result<(), FormatError> {
        let arrival = &mut self.arrival;
        match tag {
            tag::REVERSE_PATH => self.reverse_path = text(value, ADDRESS_MAX, "reverse path")?,
            tag::RECIPIENT => {
                if value.is_empty() || self.recipients.len() >= RECIPIENTS_MAX {
                    return Err(FormatError::Bad("recipient"));
                }
                self.recipients
                    .push(Recipient::new(text(value, ADDRESS_MAX, "recipient")?));
            }
            tag::RET => {
                self.ret = Some(match value {
                    [0] => Ret::Full,
                    [1] => Ret::Headers,
                    _ => return Err(FormatError::Bad("RET")),
                });
            }
            tag::ENVID => self.envid = Some(text(value, FACT_MAX, "ENVID")?),
            tag::NOTIFY => {
                let [octet @ 0..=7] = value else {
                    return Err(FormatError::Bad("NOTIFY"));
                };
                let notify = Notify {
                    success: octet & 1 != 0,
                    failure: octet & 2 != 0,
                    delay: octet & 4 != 0,
                };
                self.recipients
                    .last_mut()
                    .ok_or(FormatError::Bad("NOTIFY"))?
                    .notify = Some(notify);
            }
            tag::ORCPT => {
                let orcpt = text(value, FACT_MAX, "ORCPT")?;
                self.recipients
                    .last_mut()
                    .ok_or(FormatError::Bad("ORCPT"))?
                    .orcpt = Some(orcpt);
            }
            tag::ROLE => {
                let [octet] = value else {
                    return Err(FormatError::Bad("role"));
                };
                arrival.role = Role::from_octet(*octet).ok_or(FormatError::Bad("role"))?;
            }
            tag::CLIENT => {
                arrival.client = Some(
                    match (<[u8; 4]>::try_from(value), <[u8; 16]>::try_from(value)) {
                        (Ok(four), _) => IpAddr::from(four),
                        (_, Ok(sixteen)) => IpAddr::from(sixteen),
                        _ => return Err(FormatError::Bad("client address")),
                    },
                );
            }
            tag::HELO => arrival.helo = text(value, HOST_MAX, "HELO")?,
            tag::PROTOCOL => arrival.protocol = text(value, FACT_MAX, "protocol")?,
            tag::LOGIN => {
                // An empty name proves nothing.
                arrival.login =
                    Some(text(value, FACT_MAX, "login")?).filter(|name| !name.is_empty());
            }
            tag::UID => {
                let octets = <[u8; 4]>::try_from(value).map_err(|_| FormatError::Bad("uid"))?;
                arrival.uid = Some(u32::from_le_bytes(octets));
            }
            tag::SESSION => arrival.session = text(value, FACT_MAX, "session")?,
            tag::PRIORITY => {
                let [octet] = value else {
                    return Err(FormatError::Bad("priority"));
                };
                self.priority = i8::from_le_bytes([*octet]).clamp(-9, 9);
            }
            later if later >= tag::OPTIONAL => {}
            _ => return Err(FormatError::Future),
        }
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    // Every caller's value is below FACT_MAX or of fixed size.
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
}

fn put_fact(
    out: &mut Vec<u8>,
    tag: u8,
    field: &'static str,
    max: usize,
    text: &str,
) -> Result<(), EnvelopeError> {
    if text.is_empty() {
        Ok(())
    } else {
        put_text(out, tag, field, max, text)
    }
}

fn put_text(
    out: &mut Vec<u8>,
    tag: u8,
    field: &'static str,
    max: usize,
    text: &str,
) -> Result<(), EnvelopeError> {
    if text.len() > max {
        return Err(EnvelopeError::TooLong(field));
    }
    if text.chars().any(char::is_control) {
        return Err(EnvelopeError::Bad(field));
    }
    put(out, tag, text.as_bytes());
    Ok(())
}

fn text(value: &[u8], max: usize, field: &'static str) -> Result<String, FormatError> {
    match std::str::from_utf8(value) {
        Ok(text) if text.len() <= max && !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(FormatError::Bad(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn simple() -> Envelope {
        Envelope {
            reverse_path: "a@example.org".into(),
            recipients: vec![Recipient::new("b@example.net")],
            ..Envelope::default()
        }
    }

    fn encoded(envelope: &Envelope) -> Vec<u8> {
        let mut out = Vec::new();
        envelope.encode(&mut out).unwrap();
        out
    }

    #[test]
    fn later_records() {
        let mut records = encoded(&simple());
        put(&mut records, 0xf0, b"a later fact");
        assert_eq!(Envelope::decode(&records, 1), Ok(simple()));
        put(&mut records, 0x70, b"a later duty");
        assert_eq!(Envelope::decode(&records, 1), Err(FormatError::Future));
    }

    #[test]
    fn order_and_number() {
        let records = encoded(&simple());
        assert!(Envelope::decode(&records, 2).is_err());
        assert!(Envelope::decode(&records, 0).is_err());
        assert!(Envelope::decode(b"", 0).is_err());
        let mut twice = records.clone();
        put(&mut twice, tag::REVERSE_PATH, b"");
        assert!(Envelope::decode(&twice, 1).is_err());
        let mut early = Vec::new();
        put(&mut early, tag::REVERSE_PATH, b"");
        put(&mut early, tag::ORCPT, b"rfc822;x");
        assert!(Envelope::decode(&early, 0).is_err());
    }

    #[test]
    fn limits() {
        let mut out = Vec::new();
        for (length, good) in [
            (0, false),
            (1, true),
            (ADDRESS_MAX - 1, true),
            (ADDRESS_MAX, true),
            (ADDRESS_MAX + 1, false),
        ] {
            let e = Envelope {
                recipients: vec![Recipient::new("x".repeat(length))],
                ..simple()
            };
            assert_eq!(e.encode(&mut out).is_ok(), good, "{length}");
        }
        for (length, good) in [
            (0, true),
            (FACT_MAX - 1, true),
            (FACT_MAX, true),
            (FACT_MAX + 1, false),
        ] {
            let e = Envelope {
                envid: Some("x".repeat(length)),
                ..simple()
            };
            assert_eq!(e.encode(&mut out).is_ok(), good, "{length}");
        }
        for (count, good) in [
            (0, false),
            (1, true),
            (RECIPIENTS_MAX - 1, true),
            (RECIPIENTS_MAX, true),
            (RECIPIENTS_MAX + 1, false),
        ] {
            let e = Envelope {
                recipients: vec![Recipient::new("x"); count],
                ..simple()
            };
            assert_eq!(e.encode(&mut out).is_ok(), good, "{count}");
        }
        let whole = Envelope {
            recipients: vec![Recipient::new("x".repeat(ADDRESS_MAX)); RECIPIENTS_MAX],
            ..simple()
        };
        assert_eq!(
            whole.encode(&mut Vec::new()),
            Err(EnvelopeError::TooLong("envelope"))
        );
    }

    fn clean(max: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(
            any::<char>().prop_filter("clean", |c| !c.is_control()),
            1..max,
        )
        .prop_map(|chars| chars.into_iter().collect())
    }

    pub(crate) fn any_envelope() -> impl Strategy<Value = Envelope> {
        let recipient = (
            clean(40),
            proptest::option::of(0..8u8),
            proptest::option::of(clean(20)),
        )
            .prop_map(|(address, notify, orcpt)| Recipient {
                address,
                notify: notify.map(|n| Notify {
                    success: n & 1 != 0,
                    failure: n & 2 != 0,
                    delay: n & 4 != 0,
                }),
                orcpt,
            });
        let arrival = (
            0..4u8,
            proptest::option::of(any::<IpAddr>()),
            clean(20),
            proptest::option::of(clean(20)),
            proptest::option::of(any::<u32>()),
        )
            .prop_map(|(role, client, helo, login, uid)| Arrival {
                time: 0,
                role: Role::from_octet(role).unwrap(),
                client,
                helo,
                protocol: "ESMTPSA".into(),
                login,
                uid,
                session: "s1".into(),
            });
        (
            proptest::option::of(clean(40)),
            proptest::collection::vec(recipient, 1..6),
            arrival,
            proptest::option::of(any::<bool>()),
            proptest::option::of(clean(30)),
            -9..=9i8,
        )
            .prop_map(
                |(path, recipients, arrival, ret, envid, priority)| Envelope {
                    reverse_path: path.unwrap_or_default(),
                    recipients,
                    arrival,
                    eight_bit: false,
                    utf8: false,
                    ret: ret.map(|full| if full { Ret::Full } else { Ret::Headers }),
                    envid,
                    priority,
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn round_trip_and_every_cut(envelope in any_envelope()) {
            let records = encoded(&envelope);
            let count = envelope.recipients.len() as u32;
            prop_assert_eq!(Envelope::decode(&records, count), Ok(envelope));
            for end in 0..records.len() {
                // A cut may fall behind a whole record, but never gives the same recipients
                // and never panics.
                let _ = Envelope::decode(&records[..end], count);
            }
        }

        #[test]
        fn any_octets(records in proptest::collection::vec(any::<u8>(), 0..300), count in 0..5u32) {
            let mut all = vec![tag::REVERSE_PATH, 0, 0];
            all.extend_from_slice(&records);
            if let Ok(envelope) = Envelope::decode(&all, count) {
                if count > 0 {
                    let again = encoded(&envelope);
                    prop_assert_eq!(Envelope::decode(&again, count), Ok(envelope));
                }
            }
        }
    }
}
