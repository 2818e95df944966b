//! One event and its 48 octets.
//!
//! ```text
//! offset length
//!  0     1   version, 1
//!  1     1   service
//!  2     1   kind
//!  3     1   address family, 4 or 6
//!  4     4   events of this sender that were dropped before this one, big end first
//!  8    16   address; IPv4 in the first four octets, the rest zero
//! 24     8   account, 0 for none
//! 32     8   secret, 0 for none
//! 40     4   session: any number that joins the events of one session
//! 44     2   client port
//! 46     2   count: how many of this kind the session has had, this one included
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of an encoded event, in octets.
pub const EVENT_LENGTH: usize = 48;

const VERSION: u8 = 1;

/// Who saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// smtpd on port 25.
    Mx,
    /// smtpd for users: submission, submissions.
    Submission,
    /// pop3d.
    Pop3,
    /// imapd.
    Imap,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A wrong password or an unknown login.
    AuthFail,
    /// A good login.
    AuthOk,
    /// A stranger wanted to send to another host through us.
    RelayDenied,
    /// A recipient that does not exist.
    RcptUnknown,
    /// A recipient that does exist: the other half of the harvester's share.
    RcptOk,
    /// Octets before the greeting.
    EarlyTalk,
    /// A line that is no command, or too many errors.
    Syntax,
    /// A TLS handshake that failed.
    TlsFail,
    /// A client that took its whole time.
    Slow,
    /// A connection.
    Connect,
}

/// An account as a number: a hash of the folded login name. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(u64);

/// A tried password as a number: a hash under a key that only authd knows and that changes when
/// it starts. Tells a repeated mistake from guessing, and nothing else. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Secret(u64);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Account {
    /// The number of a login name; ASCII letters are folded.
    pub fn of(login: &str) -> Account {
        Account(hash(
            0xcbf2_9ce4_8422_2325,
            login.bytes().map(|b| b.to_ascii_lowercase()),
        ))
    }

    /// The number itself, for tables and logs.
    pub fn number(self) -> u64 {
        self.0
    }
}

impl Secret {
    /// The number of a password under a secret key of at least eight random octets.
    pub fn of(key: u64, password: &[u8]) -> Secret {
        // Two passes with the key at both ends: banwatch sees the number and must not find the
        // password of a second number from it.
        let first = hash(key, password.iter().copied());
        Secret(hash(
            first,
            key.to_be_bytes()
                .into_iter()
                .chain(password.iter().copied()),
        ))
    }

    /// The number itself, for tables.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// FNV-1a with a mixing end; 0 is kept free for "none".
fn hash(start: u64, octets: impl Iterator<Item = u8>) -> u64 {
    let mut h = start;
    for b in octets {
        h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    h ^= h >> 32;
    h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
    h ^= h >> 32;
    h.max(1)
}

/// One thing that happened on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Who saw it.
    pub service: Service,
    /// What it was.
    pub kind: Kind,
    /// The client's address; IPv4-mapped addresses are IPv4.
    pub address: IpAddr,
    /// The client's port.
    pub port: u16,
    /// The account that was tried or used.
    pub account: Option<Account>,
    /// The password that was tried.
    pub secret: Option<Secret>,
    /// Joins the events of one session.
    pub session: u32,
    /// How many of this kind the session has had, this one included; stops at 65,535.
    pub count: u16,
}

/// Why octets are no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// Not [`EVENT_LENGTH`] octets.
    Length,
    /// Another version of the format.
    Version(u8),
    /// A field with a value that has no meaning.
    Field(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Length => write!(f, "not {EVENT_LENGTH} octets"),
            DecodeError::Version(v) => write!(f, "version {v}, expected {VERSION}"),
            DecodeError::Field(name) => write!(f, "unknown {name}"),
        }
    }
}

impl std::error::Error for DecodeError {}

const SERVICES: [(Service, u8, &str); 4] = [
    (Service::Mx, 1, "mx"),
    (Service::Submission, 2, "submission"),
    (Service::Pop3, 3, "pop3"),
    (Service::Imap, 4, "imap"),
];

const KINDS: [(Kind, u8, &str); 10] = [
    (Kind::AuthFail, 1, "auth-fail"),
    (Kind::AuthOk, 2, "auth-ok"),
    (Kind::RelayDenied, 3, "relay-denied"),
    (Kind::RcptUnknown, 4, "rcpt-unknown"),
    (Kind::RcptOk, 5, "rcpt-ok"),
    (Kind::EarlyTalk, 6, "early-talk"),
    (Kind::Syntax, 7, "syntax"),
    (Kind::TlsFail, 8, "tls-fail"),
    (Kind::Slow, 9, "slow"),
    (Kind::Connect, 10, "connect"),
];

impl Service {
    /// The name used in logs and by `hikyaku ban why`.
    pub fn as_str(self) -> &'static str {
        SERVICES
            .iter()
            .find(|(s, ..)| *s == self)
            .map_or("?", |(_, _, name)| name)
    }

    fn code(self) -> u8 {
        SERVICES
            .iter()
            .find(|(s, ..)| *s == self)
            .map_or(0, |(_, code, _)| *code)
    }
}

impl Kind {
    /// The name used in logs and by `hikyaku ban why`.
    pub fn as_str(self) -> &'static str {
        KINDS
            .iter()
            .find(|(k, ..)| *k == self)
            .map_or("?", |(_, _, name)| name)
    }

    fn code(self) -> u8 {
        KINDS
            .iter()
            .find(|(k, ..)| *k == self)
            .map_or(0, |(_, code, _)| *code)
    }
}

impl Event {
    /// The octets of an event, and of how many before it were dropped.
    pub fn encode(&self, dropped: u32) -> [u8; EVENT_LENGTH] {
        let mut out = [0; EVENT_LENGTH];
        let (family, address) = match self.address.to_canonical() {
            IpAddr::V4(a) => {
                let mut sixteen = [0; 16];
                sixteen[..4].copy_from_slice(&a.octets());
                (4, sixteen)
            }
            IpAddr::V6(a) => (6, a.octets()),
        };
        out[..4].copy_from_slice(&[VERSION, self.service.code(), self.kind.code(), family]);
        out[4..8].copy_from_slice(&dropped.to_be_bytes());
        out[8..24].copy_from_slice(&address);
        out[24..32].copy_from_slice(&self.account.map_or(0, |a| a.0).to_be_bytes());
        out[32..40].copy_from_slice(&self.secret.map_or(0, |s| s.0).to_be_bytes());
        out[40..44].copy_from_slice(&self.session.to_be_bytes());
        out[44..46].copy_from_slice(&self.port.to_be_bytes());
        out[46..48].copy_from_slice(&self.count.to_be_bytes());
        out
    }

    /// Reads an event, and how many before it were dropped.
    ///
    /// # Errors
    /// When the octets are not exactly what [`Event::encode`] makes.
    pub fn decode(octets: &[u8]) -> Result<(Event, u32), DecodeError> {
        let octets: &[u8; EVENT_LENGTH] = octets.try_into().map_err(|_| DecodeError::Length)?;
        let [version, service, kind, family, rest @ ..] = octets;
        if *version != VERSION {
            return Err(DecodeError::Version(*version));
        }
        let service = SERVICES
            .iter()
            .find(|(_, c, _)| c == service)
            .ok_or(DecodeError::Field("service"))?
            .0;
        let kind = KINDS
            .iter()
            .find(|(_, c, _)| c == kind)
            .ok_or(DecodeError::Field("kind"))?
            .0;
        let mut at = rest.as_slice();
        let dropped = u32::from_be_bytes(take(&mut at)?);
        let address: [u8; 16] = take(&mut at)?;
        let address = match (family, address) {
            (4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => {
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            (6, octets) => {
                let v6 = Ipv6Addr::from(octets);
                // One address, one form: a mapped one would be counted apart from its IPv4.
                if v6.to_ipv4_mapped().is_some() {
                    return Err(DecodeError::Field("address"));
                }
                IpAddr::V6(v6)
            }
            _ => return Err(DecodeError::Field("address")),
        };
        let account = Some(u64::from_be_bytes(take(&mut at)?))
            .filter(|&n| n != 0)
            .map(Account);
        let secret = Some(u64::from_be_bytes(take(&mut at)?))
            .filter(|&n| n != 0)
            .map(Secret);
        let session = u32::from_be_bytes(take(&mut at)?);
        let port = u16::from_be_bytes(take(&mut at)?);
        let count = u16::from_be_bytes(take(&mut at)?);
        Ok((
            Event {
                service,
                kind,
                address,
                port,
                account,
                secret,
                session,
                count,
            },
            dropped,
        ))
    }
}

/// Length of an encoded piece of advice, in octets.
pub const ADVICE_LENGTH: usize = 13;

/// What banwatch tells authd: this account is being guessed at from many places. The answer is
/// slowness, never a lock: the owner must get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// Which account.
    pub account: Account,
    /// For how many seconds from now this holds.
    pub seconds: u32,
}

impl Advice {
    /// For an account's number, as [`Account::number`] gives it; `None` for 0.
    pub fn new(account: u64, seconds: u32) -> Option<Advice> {
        let account = Some(account).filter(|&n| n != 0).map(Account)?;
        Some(Advice { account, seconds })
    }

    /// Version, account, seconds, big end first.
    pub fn encode(self) -> [u8; ADVICE_LENGTH] {
        let mut out = [VERSION; ADVICE_LENGTH];
        out[1..9].copy_from_slice(&self.account.0.to_be_bytes());
        out[9..].copy_from_slice(&self.seconds.to_be_bytes());
        out
    }

    /// Reads what [`Advice::encode`] makes.
    ///
    /// # Errors
    /// For anything else.
    pub fn decode(octets: &[u8]) -> Result<Advice, DecodeError> {
        let mut at = octets;
        let [version] = take::<1>(&mut at)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let account = u64::from_be_bytes(take(&mut at)?);
        let seconds = u32::from_be_bytes(take(&mut at)?);
        if !at.is_empty() {
            return Err(DecodeError::Length);
        }
        Advice::new(account, seconds).ok_or(DecodeError::Field("account"))
    }
}

/// The next N octets.
fn take<const N: usize>(at: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (head, tail) = at.split_first_chunk::<N>().ok_or(DecodeError::Length)?;
    *at = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_event() -> impl Strategy<Value = Event> {
        let address = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from)
        ];
        (
            0..SERVICES.len(),
            0..KINDS.len(),
            address,
            any::<(u16, u64, u64, u32, u16)>(),
        )
            .prop_map(
                |(s, k, address, (port, account, secret, session, count))| Event {
                    service: SERVICES[s].0,
                    kind: KINDS[k].0,
                    address: address.to_canonical(),
                    port,
                    account: Some(Account(account)).filter(|a| a.0 != 0),
                    secret: Some(Secret(secret)).filter(|s| s.0 != 0),
                    session,
                    count,
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(event in any_event(), dropped: u32) {
            prop_assert_eq!(Event::decode(&event.encode(dropped)), Ok((event, dropped)));
        }

        #[test]
        fn advice_is_read_as_written(account in 1u64.., seconds: u32, octets in proptest::collection::vec(any::<u8>(), 0..20)) {
            let advice = Advice::new(account, seconds).unwrap();
            prop_assert_eq!(Advice::decode(&advice.encode()), Ok(advice));
            if let Ok(advice) = Advice::decode(&octets) {
                prop_assert_eq!(&advice.encode()[..], &octets[..]);
            }
        }

        #[test]
        fn octets_are_refused_or_read_back_equal(octets in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok((event, dropped)) = Event::decode(&octets) {
                prop_assert_eq!(&event.encode(dropped)[..], &octets[..]);
            }
        }

        #[test]
        fn one_wrong_field_is_named(event in any_event(), field in 0_usize..4, value: u8) {
            let mut octets = event.encode(0);
            octets[field] = value;
            match Event::decode(&octets) {
                Ok((read, _)) => prop_assert_eq!(&read.encode(0)[..], &octets[..]),
                Err(e) => prop_assert!(e != DecodeError::Length),
            }
        }
    }

    #[test]
    fn lengths_and_names() {
        let event = Event {
            service: Service::Pop3,
            kind: Kind::AuthFail,
            address: "192.0.2.1".parse().unwrap(),
            port: 1,
            account: Some(Account::of("Alice")),
            secret: Some(Secret::of(7, b"x")),
            session: 1,
            count: 1,
        };
        let octets = event.encode(0);
        for n in 0..EVENT_LENGTH {
            assert_eq!(Event::decode(&octets[..n]), Err(DecodeError::Length));
        }
        assert_eq!(
            Event::decode(&[octets.as_slice(), &[0]].concat()),
            Err(DecodeError::Length)
        );
        assert_eq!(
            (event.service.as_str(), event.kind.as_str()),
            ("pop3", "auth-fail")
        );
        assert_eq!(Account::of("Alice"), Account::of("aLICE"));
        assert_ne!(Secret::of(7, b"x"), Secret::of(8, b"x"));
        assert!(!format!("{event:?}").contains(&Secret::of(7, b"x").0.to_string()));
    }
}
