//! Asking authd.

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;

use auth::protocol::{ANSWER_MAX, Reading, Sid};
use auth::sasl::{PlainError, plain};
use auth::{Answer, Mechanism, Request, Service};
use daemon::net::{Peer, Socket, stream_pair};
use daemon::packet::Packets;
use smtp::server::AuthOutcome;

/// A question under way: authd answers on this socket.
#[derive(Debug)]
pub struct Question {
    /// Our end, for the loop.
    pub socket: Socket,
    answer: Vec<u8>,
}

/// What asking led to.
pub enum Asked {
    /// The answer will come.
    Waiting(Question),
    /// It is known without asking.
    Known(AuthOutcome),
}

/// Asks whether the SASL PLAIN message `response` is true.
///
/// # Errors
/// The system's: authd is not there, or its socket is full.
pub fn ask(authd: &Packets, response: &[u8], peer: Peer, sid: &str) -> io::Result<Asked> {
    let plain = match plain(response) {
        Ok(plain) => plain,
        Err(PlainError::Form) => return Ok(Asked::Known(AuthOutcome::Malformed)),
        Err(PlainError::Proxy | PlainError::Login(_) | PlainError::Password(_)) => {
            return Ok(Asked::Known(AuthOutcome::Denied));
        }
    };
    let request = Request {
        service: Service::Smtp,
        mechanism: Mechanism::Plain,
        client: address(peer),
        sid: Sid::new(sid).unwrap_or_default(),
        login: plain.login,
        password: plain.password,
    };
    let (socket, theirs) = stream_pair()?;
    let mut packet = request.encode();
    let sent = authd.send(&packet, Some(theirs.as_fd()));
    auth::types::wipe(&mut packet);
    sent.map(|()| {
        Asked::Waiting(Question {
            socket,
            answer: Vec::new(),
        })
    })
}

impl Question {
    /// Reads what authd has said so far; `None` when more is to come.
    pub fn read(&mut self) -> Option<AuthOutcome> {
        let mut buffer = [0; ANSWER_MAX];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Some(AuthOutcome::Unavailable),
                Ok(n) => self
                    .answer
                    .extend_from_slice(buffer.get(..n).unwrap_or(&[])),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => return Some(AuthOutcome::Unavailable),
            }
            match Answer::decode(&self.answer) {
                Ok(Reading::Incomplete) => {}
                Ok(Reading::Complete(Answer::User(user), _)) => {
                    return Some(AuthOutcome::Granted(user));
                }
                Ok(Reading::Complete(Answer::No(_), _)) => return Some(AuthOutcome::Denied),
                Ok(Reading::Complete(Answer::NotNow(_), _)) | Err(_) => {
                    return Some(AuthOutcome::Unavailable);
                }
            }
        }
    }
}

fn address(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Tcp(address) => Some(address.ip()),
        Peer::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn peer() -> Peer {
        Peer::Tcp("192.0.2.1:1".parse().unwrap())
    }

    #[test]
    fn a_question_and_its_answers() {
        let (ours, authd) = Packets::pair().unwrap();
        for (said, want) in [
            (&b"+ user\n"[..], AuthOutcome::Granted("user".into())),
            (b"- credentials\n", AuthOutcome::Denied),
            (b"! busy\n", AuthOutcome::Unavailable),
            (b"", AuthOutcome::Unavailable),
            (b"nonsense\n", AuthOutcome::Unavailable),
        ] {
            let Asked::Waiting(mut question) = ask(&ours, b"\0user\0secret", peer(), "s1").unwrap()
            else {
                panic!("not asked");
            };
            assert_eq!(question.read(), None);
            let mut buffer = vec![0; auth::protocol::REQUEST_MAX];
            let packet = authd.recv(&mut buffer).unwrap();
            let request = Request::decode(&buffer[..packet.length]).unwrap();
            assert_eq!(
                (request.login.as_str(), request.sid.as_str()),
                ("user", "s1")
            );
            let mut reply = std::os::unix::net::UnixStream::from(packet.descriptor.unwrap());
            let (head, tail) = said.split_at(said.len() / 2);
            reply.write_all(head).unwrap();
            assert_eq!(question.read(), None);
            reply.write_all(tail).unwrap();
            drop(reply);
            assert_eq!(question.read(), Some(want));
        }
    }

    #[test]
    fn what_need_not_be_asked() {
        let (ours, authd) = Packets::pair().unwrap();
        for (response, want) in [
            (&b"user"[..], AuthOutcome::Malformed),
            (b"other\0user\0x", AuthOutcome::Denied),
            (b"\0user\0", AuthOutcome::Denied),
            (b"\0\0x", AuthOutcome::Denied),
        ] {
            match ask(&ours, response, peer(), "s").unwrap() {
                Asked::Known(outcome) => assert_eq!(outcome, want),
                Asked::Waiting(_) => panic!("asked"),
            }
        }
        drop(authd);
        assert!(ask(&ours, b"\0u\0p", peer(), "s").is_err());
    }
}
