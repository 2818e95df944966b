//! One of the two sockets that questions come from, and the descriptors answers go to.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use auth::protocol::{Answer, REQUEST_MAX, Request, Service, Wrong};
use auth::types::wipe;
use daemon::packet::Packets;
use nix::sys::socket::{MsgFlags, send};

/// A socket with the one service that may be asked for on it.
pub struct Channel {
    packets: Packets,
    permitted: Service,
}

/// What a receive gave.
pub enum Question {
    /// A permitted question and where its answer goes.
    Asked(Box<Request>, Reply),
    /// Something that our own daemons don't send, and where to say so.
    Refused(Refused, Option<Reply>),
    /// Nothing more for now.
    Empty,
    /// The peer's last end has closed: the house is being shut.
    Closed,
}

/// Why a packet was not taken for a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not in the protocol's form.
    Form(Wrong),
    /// A service that this socket may not ask for.
    Service(Service),
    /// No descriptor for the answer.
    NoReply,
    /// Too long, or with too many descriptors.
    Packet,
}

impl Channel {
    pub fn new(packets: Packets, permitted: Service) -> Self {
        Self { packets, permitted }
    }

    pub fn packets(&self) -> &Packets {
        &self.packets
    }

    /// The name of the socket in logs.
    pub fn name(&self) -> &'static str {
        match self.permitted {
            Service::Smtp => "auth-smtp",
            Service::Pop3 => "auth-pop3",
        }
    }

    /// Takes one packet; never waits.
    pub fn take(&self) -> io::Result<Question> {
        let mut buffer = [0; REQUEST_MAX];
        let packet = loop {
            match self.packets.recv(&mut buffer) {
                Ok(packet) => break packet,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Ok(Question::Empty),
                    io::ErrorKind::InvalidData => {
                        return Ok(Question::Refused(Refused::Packet, None));
                    }
                    _ => return Err(error),
                },
            }
        };
        if packet.length == 0 && packet.descriptor.is_none() {
            return Ok(Question::Closed);
        }
        let octets = buffer.get(..packet.length).unwrap_or_default();
        let request = Request::decode(octets);
        wipe(&mut buffer);
        let reply = packet.descriptor.map(Reply);
        Ok(match (request, reply) {
            (_, None) => Question::Refused(Refused::NoReply, None),
            (Err(wrong), reply) => Question::Refused(Refused::Form(wrong), reply),
            (Ok(request), reply) if request.service != self.permitted => {
                Question::Refused(Refused::Service(request.service), reply)
            }
            (Ok(request), Some(reply)) => Question::Asked(Box::new(request), reply),
        })
    }
}

/// The descriptor that an answer goes to. Dropping it unanswered tells the peer by its end.
pub struct Reply(OwnedFd);

impl Reply {
    /// Sends the answer. Never waits, whatever kind of descriptor the peer has sent.
    ///
    /// # Errors
    /// The peer is gone, its buffer is full, or this is no socket.
    pub fn send(&self, answer: &Answer) -> io::Result<()> {
        let line = answer.encode();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let sent = send(self.0.as_raw_fd(), &line, flags)?;
        match sent == line.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// The descriptor, for the session process.
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::protocol::{Mechanism, Refusal, Sid};
    use auth::{Login, Password};
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    fn request(service: Service) -> Request {
        Request {
            service,
            mechanism: Mechanism::Plain,
            client: None,
            sid: Sid::default(),
            login: Login::new(b"al").unwrap(),
            password: Password::new(b"pw").unwrap(),
        }
    }

    fn pair() -> (Packets, Channel) {
        let (theirs, ours) = Packets::pair().unwrap();
        (theirs, Channel::new(ours, Service::Smtp))
    }

    #[test]
    fn questions_and_what_is_none() {
        let (theirs, channel) = pair();
        assert!(matches!(channel.take().unwrap(), Question::Empty));
        let (mut mine, yours) = UnixStream::pair().unwrap();

        theirs
            .send(&request(Service::Smtp).encode(), Some(yours.as_fd()))
            .unwrap();
        let Question::Asked(asked, reply) = channel.take().unwrap() else {
            panic!()
        };
        assert_eq!(asked.login.as_str(), "al");
        reply.send(&Answer::No(Refusal::Credentials)).unwrap();
        let mut line = [0; 14];
        mine.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"- credentials\n");

        // smtpd, taken over, asks for somebody's mailbox.
        theirs
            .send(&request(Service::Pop3).encode(), Some(yours.as_fd()))
            .unwrap();
        let found = channel.take().unwrap();
        assert!(matches!(
            found,
            Question::Refused(Refused::Service(Service::Pop3), Some(_))
        ));

        theirs.send(&request(Service::Smtp).encode(), None).unwrap();
        assert!(matches!(
            channel.take().unwrap(),
            Question::Refused(Refused::NoReply, None)
        ));

        theirs.send(b"\x01sP", Some(yours.as_fd())).unwrap();
        let found = channel.take().unwrap();
        assert!(matches!(
            found,
            Question::Refused(Refused::Form(Wrong::Length), Some(_))
        ));

        theirs
            .send(&[0; REQUEST_MAX + 1], Some(yours.as_fd()))
            .unwrap();
        assert!(matches!(
            channel.take().unwrap(),
            Question::Refused(Refused::Packet, None)
        ));

        drop(theirs);
        assert!(matches!(channel.take().unwrap(), Question::Closed));
    }

    #[test]
    fn an_answer_never_waits() {
        let (_mine, yours) = UnixStream::pair().unwrap();
        let full = Reply(yours.into());
        let answer = Answer::User("al".into());
        // A peer that reads nothing: at some time the buffer is full, and that is an error.
        let error = std::iter::repeat_with(|| full.send(&answer))
            .find_map(Result::err)
            .unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        // A pipe or file in place of a socket.
        let (_reader, writer) = io::pipe().unwrap();
        assert!(Reply(writer.into()).send(&answer).is_err());
    }
}
