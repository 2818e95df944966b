//! What smtpd and pop3d say to authd, and what it answers.
//!
//! A request is one packet on the SOCK_SEQPACKET socket `auth-smtp` or `auth-pop3`, with
//! exactly one descriptor attached; the answer comes on that descriptor.
//!
//! ```text
//! request  = version service mechanism family address
//!            sid-length sid  login-length login  password-length password
//! version  = %x01
//! service  = "s" / "p"                ; smtp, pop3
//! mechanism = "P"                     ; PLAIN
//! family   = %x00 / %x04 / %x06       ; local socket, 4 or 16 octets of address follow
//! sid-length = 1 octet, login-length, password-length = 2 octets, big end first
//! answer   = ("+" SP user / "-" SP word / "!" SP word) LF
//! ```
//!
//! `+` the user is who he says; `-` he isn't; `!` nobody can say now. For pop3 the session
//! process speaks on the same descriptor right after the LF of a `+`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::types::{LOGIN_MAX, Login, PASSWORD_MAX, Password};

/// Version octet at the head of each request.
const VERSION: u8 = 1;

/// Longest session id in a request, in octets.
pub const SID_MAX: usize = 32;

/// Largest request packet, in octets: a receive buffer of this size never cuts one.
pub const REQUEST_MAX: usize = 4 + 16 + 1 + SID_MAX + 2 + LOGIN_MAX + 2 + PASSWORD_MAX;

/// Longest user name in an answer, in octets.
pub const USER_MAX: usize = 128;

/// Longest answer line, in octets, the LF included.
pub const ANSWER_MAX: usize = 3 + USER_MAX;

/// What the user wants to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Submission of mail; authd only answers.
    Smtp,
    /// Retrieval; with a `+` authd also starts the session process.
    Pop3,
}

impl Service {
    /// The name used in logs and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Pop3 => "pop3",
        }
    }
}

/// How the user proves who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// Login name and password in clear (inside TLS): SASL PLAIN (RFC 4616), POP3 USER/PASS.
    Plain,
}

/// One question to authd.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for; each channel permits one service.
    pub service: Service,
    /// How.
    pub mechanism: Mechanism,
    /// The client's address; `None` on a local socket. IPv4-mapped addresses become IPv4.
    pub client: Option<IpAddr>,
    /// The asking daemon's session id, so that the log lines of both join; may be empty.
    pub sid: Sid,
    /// Who the client says he is.
    pub login: Login,
    /// His proof.
    pub password: Password,
}

/// A session id: 0 to [`SID_MAX`] octets of `A-Z a-z 0-9 . - _`, the first no dash, because it becomes
/// an argument of the session process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sid(Box<str>);

impl Sid {
    /// Checks a session id.
    ///
    /// # Errors
    /// [`Wrong::Sid`] when it is too long, holds another character or begins with a dash.
    pub fn new(text: &str) -> Result<Self, Wrong> {
        let fit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if text.len() > SID_MAX || text.starts_with('-') || !text.bytes().all(fit) {
            return Err(Wrong::Sid);
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a packet was not understood. The sender is one of our own daemons, so each of these is
/// a sign of a defect or of a daemon that was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Ends early, or goes on after the end.
    Length,
    /// Unknown version octet.
    Version,
    /// Unknown service octet.
    Service,
    /// Unknown mechanism octet.
    Mechanism,
    /// Unknown address family octet.
    Family,
    /// Bad session id.
    Sid,
    /// Bad login name.
    Login,
    /// Bad password.
    Password,
    /// An answer that is none: unknown sign, bad user name or word, or a line too long.
    Answer,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "wrong length",
            Self::Version => "unknown version",
            Self::Service => "unknown service",
            Self::Mechanism => "unknown mechanism",
            Self::Family => "unknown address family",
            Self::Sid => "bad session id",
            Self::Login => "bad login name",
            Self::Password => "bad password",
            Self::Answer => "bad answer",
        })
    }
}

impl std::error::Error for Wrong {}

impl Request {
    /// The packet. The caller [wipes](crate::types::wipe) it after sending: it holds the
    /// password.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(REQUEST_MAX);
        out.push(VERSION);
        out.push(match self.service {
            Service::Smtp => b's',
            Service::Pop3 => b'p',
        });
        out.push(match self.mechanism {
            Mechanism::Plain => b'P',
        });
        match self.client.map(|ip| ip.to_canonical()) {
            None => out.push(0),
            Some(IpAddr::V4(ip)) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            Some(IpAddr::V6(ip)) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        // The three types are bounded far below the width of their length fields.
        out.push(self.sid.as_str().len() as u8);
        out.extend_from_slice(self.sid.as_str().as_bytes());
        for field in [self.login.as_str().as_bytes(), self.password.expose()] {
            out.extend_from_slice(&(field.len() as u16).to_be_bytes());
            out.extend_from_slice(field);
        }
        out
    }

    /// Reads one packet; each field is checked again.
    ///
    /// # Errors
    /// The first thing that is wrong, see [`Wrong`].
    pub fn decode(packet: &[u8]) -> Result<Self, Wrong> {
        let mut rest = packet;
        if octet(&mut rest)? != VERSION {
            return Err(Wrong::Version);
        }
        let service = match octet(&mut rest)? {
            b's' => Service::Smtp,
            b'p' => Service::Pop3,
            _ => return Err(Wrong::Service),
        };
        let mechanism = match octet(&mut rest)? {
            b'P' => Mechanism::Plain,
            _ => return Err(Wrong::Mechanism),
        };
        let client = match octet(&mut rest)? {
            0 => None,
            4 => Some(IpAddr::V4(Ipv4Addr::from(array::<4>(&mut rest)?))),
            6 => Some(IpAddr::V6(Ipv6Addr::from(array::<16>(&mut rest)?)).to_canonical()),
            _ => return Err(Wrong::Family),
        };
        let sid_length = usize::from(octet(&mut rest)?);
        let sid = std::str::from_utf8(take(&mut rest, sid_length)?).map_err(|_| Wrong::Sid)?;
        let sid = Sid::new(sid)?;
        let login = Login::new(sized(&mut rest)?).map_err(|_| Wrong::Login)?;
        let password = Password::new(sized(&mut rest)?).map_err(|_| Wrong::Password)?;
        if !rest.is_empty() {
            return Err(Wrong::Length);
        }
        Ok(Self {
            service,
            mechanism,
            client,
            sid,
            login,
            password,
        })
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Wrong> {
    let (head, tail) = rest.split_at_checked(count).ok_or(Wrong::Length)?;
    *rest = tail;
    Ok(head)
}

fn octet(rest: &mut &[u8]) -> Result<u8, Wrong> {
    array::<1>(rest).map(|[octet]| octet)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Wrong> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Wrong::Length)?;
    *rest = tail;
    Ok(*head)
}

fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Wrong> {
    let length = u16::from_be_bytes(array::<2>(rest)?);
    take(rest, usize::from(length))
}

/// What authd says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The login is this user (the name in the users table, not what was typed).
    User(Box<str>),
    /// Refused for good: answer 535 5.7.8 or `-ERR [AUTH]`.
    No(Refusal),
    /// Nobody can say now: answer 454 4.7.0 or `-ERR [SYS/TEMP]`.
    NotNow(Trouble),
}

/// Why not. The client is told the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown user, wrong password or a locked account.
    Credentials,
}

/// Why not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Too many checks wait.
    Busy,
    /// Too many sessions, in all or of this user (`-ERR [IN-USE]` fits).
    Sessions,
    /// The password data cannot be read or the session process cannot be started.
    Failure,
}

/// What a reader of a stream knows after some octets of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The line is not complete; read more.
    Incomplete,
    /// The answer and how many octets it took; what follows belongs to the session process.
    Complete(Answer, usize),
}

impl Answer {
    /// The line, LF included, at most [`ANSWER_MAX`] octets.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::User(name) => format!("+ {name}\n"),
            Self::No(Refusal::Credentials) => "- credentials\n".to_owned(),
            Self::NotNow(Trouble::Busy) => "! busy\n".to_owned(),
            Self::NotNow(Trouble::Sessions) => "! sessions\n".to_owned(),
            Self::NotNow(Trouble::Failure) => "! failure\n".to_owned(),
        }
        .into_bytes()
    }

    /// Reads an answer from the octets received so far. A word of a newer authd counts as the
    /// plainest of its kind, so that a mixed pair during an upgrade still works.
    ///
    /// # Errors
    /// [`Wrong::Answer`]: close the descriptor and answer the client as for
    /// [`Trouble::Failure`].
    pub fn decode(octets: &[u8]) -> Result<Reading, Wrong> {
        let seen = octets.get(..ANSWER_MAX).unwrap_or(octets);
        let Some(end) = seen.iter().position(|&b| b == b'\n') else {
            return if seen.len() == ANSWER_MAX {
                Err(Wrong::Answer)
            } else {
                Ok(Reading::Incomplete)
            };
        };
        let line = seen.get(..end).unwrap_or_default();
        let (sign, text) = line.split_at_checked(2).ok_or(Wrong::Answer)?;
        let text = std::str::from_utf8(text).map_err(|_| Wrong::Answer)?;
        let answer = match sign {
            b"+ " if is_user(text) => Self::User(text.into()),
            b"- " if is_word(text) => Self::No(Refusal::Credentials),
            b"! " if is_word(text) => Self::NotNow(match text {
                "busy" => Trouble::Busy,
                "sessions" => Trouble::Sessions,
                _ => Trouble::Failure,
            }),
            _ => return Err(Wrong::Answer),
        };
        Ok(Reading::Complete(answer, end + 1))
    }
}

/// A mailbox name: 1 to [`USER_MAX`] printable ASCII octets, no space, slash, colon or
/// hash, not starting with a dot or dash (the same rule as in the users table).
pub fn is_user(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= USER_MAX
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'#'))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(client: Option<IpAddr>, sid: &str, login: &str, password: &[u8]) -> Request {
        Request {
            service: Service::Pop3,
            mechanism: Mechanism::Plain,
            client,
            sid: Sid::new(sid).unwrap(),
            login: Login::new(login.as_bytes()).unwrap(),
            password: Password::new(password).unwrap(),
        }
    }

    fn same(a: &Request, b: &Request) -> bool {
        a.service == b.service
            && a.mechanism == b.mechanism
            && a.client == b.client
            && a.sid == b.sid
            && a.login == b.login
            && a.password.expose() == b.password.expose()
    }

    #[test]
    fn the_octets_are_as_written_above() {
        let one = request(Some("192.0.2.7".parse().unwrap()), "k3", "al", b"pw");
        assert_eq!(
            one.encode(),
            b"\x01pP\x04\xc0\x00\x02\x07\x02k3\x00\x02al\x00\x02pw"
        );
        let local = request(None, "", "al", b"pw");
        assert_eq!(local.encode(), b"\x01pP\x00\x00\x00\x02al\x00\x02pw");
    }

    #[test]
    fn every_cut_is_refused() {
        let whole = request(Some("2001:db8::1".parse().unwrap()), "s", "bob", b"secret").encode();
        for end in 0..whole.len() {
            assert_eq!(
                Request::decode(&whole[..end]).unwrap_err(),
                Wrong::Length,
                "{end}"
            );
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(Request::decode(&longer).unwrap_err(), Wrong::Length);
    }

    #[test]
    fn wrong_fields_are_named() {
        let good = request(None, "s", "bob", b"x").encode();
        for (at, octet, error) in [
            (0, 2, Wrong::Version),
            (1, b'x', Wrong::Service),
            (2, b'X', Wrong::Mechanism),
            (3, 5, Wrong::Family),
            (5, b' ', Wrong::Sid),
            (8, b'\n', Wrong::Login),
            (13, 0, Wrong::Password),
        ] {
            let mut bad = good.clone();
            bad[at] = octet;
            assert_eq!(Request::decode(&bad).unwrap_err(), error, "octet {at}");
        }
    }

    #[test]
    fn the_largest_request_fits() {
        let big = request(
            Some("2001:db8::1".parse().unwrap()),
            &"s".repeat(SID_MAX),
            &"l".repeat(LOGIN_MAX),
            &[b'p'; PASSWORD_MAX],
        );
        assert_eq!(big.encode().len(), REQUEST_MAX);
        assert!(same(&big, &Request::decode(&big.encode()).unwrap()));
        assert!(Sid::new(&"s".repeat(SID_MAX + 1)).is_err());
        assert!(Sid::new("--config").is_err() && Sid::new("a-b").is_ok());
    }

    #[test]
    fn mapped_addresses_become_v4() {
        let mapped = request(Some("::ffff:192.0.2.1".parse().unwrap()), "", "a", b"b");
        let back = Request::decode(&mapped.encode()).unwrap();
        assert_eq!(back.client, Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn debug_hides_the_password() {
        let text = format!("{:?}", request(None, "", "bob", b"hunter2"));
        assert!(
            !text.contains("hunter2") && text.contains("<redacted>"),
            "{text}"
        );
    }

    #[test]
    fn answers_round_trip_at_every_cut() {
        for answer in [
            Answer::User("bob".into()),
            Answer::User("u".repeat(USER_MAX).into()),
            Answer::No(Refusal::Credentials),
            Answer::NotNow(Trouble::Busy),
            Answer::NotNow(Trouble::Sessions),
            Answer::NotNow(Trouble::Failure),
        ] {
            let line = answer.encode();
            assert!(line.len() <= ANSWER_MAX);
            for end in 0..line.len() {
                assert_eq!(Answer::decode(&line[..end]), Ok(Reading::Incomplete));
            }
            let mut more = line.clone();
            more.extend_from_slice(b"+OK ready\r\n");
            assert_eq!(
                Answer::decode(&more),
                Ok(Reading::Complete(answer, line.len()))
            );
        }
    }

    #[test]
    fn bad_answers() {
        for bad in [
            &b"\n"[..],
            b"+\n",
            b"+ \n",
            b"+ a b\n",
            b"+ ../x\n",
            b"+ .x\n",
            b"? x\n",
            b"- Some Text\n",
            b"+ a\0\n",
            b"+ \xff\n",
        ] {
            assert_eq!(Answer::decode(bad), Err(Wrong::Answer), "{bad:?}");
        }
        let long = [b"+ ".as_slice(), &[b'u'; USER_MAX + 1], b"\n"].concat();
        assert_eq!(Answer::decode(&long), Err(Wrong::Answer));
        assert_eq!(
            Answer::decode(b"! newword\n"),
            Ok(Reading::Complete(Answer::NotNow(Trouble::Failure), 10))
        );
    }

    proptest! {
        #[test]
        fn decode_of_encode(
            four in any::<Option<[u8; 4]>>(),
            sid in "([a-zA-Z0-9._][a-zA-Z0-9._-]{0,31})?",
            login in "[!-~]{1,320}",
            password in proptest::collection::vec(1u8.., 1..200),
            smtp in any::<bool>(),
        ) {
            let mut one = request(four.map(IpAddr::from), &sid, &login, &password);
            if smtp { one.service = Service::Smtp; }
            let back = Request::decode(&one.encode()).unwrap();
            prop_assert!(same(&one, &back));
        }

        #[test]
        fn any_octets_are_survived(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(request) = Request::decode(&packet) {
                let again = Request::decode(&request.encode()).unwrap();
                prop_assert!(same(&request, &again));
            }
            let _ = Answer::decode(&packet);
        }
    }
}
