//! One question to authd.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;

use auth::protocol::{Answer, Mechanism, Reading, Request, Service, Sid, Trouble};
use auth::{Login, Password};
use daemon::net::{self, Socket};
use daemon::packet::Packets;
use pop3::{Refusal, UserName};

/// Sends the question. Gives our end of the stream on which the answer comes, and after it the
/// session.
///
/// # Errors
/// What the client is to be told: a name or password that authd would not take is a wrong one;
/// anything else is trouble here.
pub fn ask(
    auth: &Packets,
    user: &UserName,
    password: &pop3::Password,
    client: Option<IpAddr>,
    sid: &str,
) -> Result<Socket, Refusal> {
    let login = Login::new(user.as_str().as_bytes()).map_err(|_| Refusal::Credentials)?;
    let password = Password::new(password.expose()).map_err(|_| Refusal::Credentials)?;
    let sid = Sid::new(sid).unwrap_or_default();
    let request = Request {
        service: Service::Pop3,
        mechanism: Mechanism::Plain,
        client,
        sid,
        login,
        password,
    };
    send(auth, &request).map_err(|error| {
        daemon::log::error("authd").val("error", error).send();
        Refusal::Temporary
    })
}

fn send(auth: &Packets, request: &Request) -> io::Result<Socket> {
    let (ours, theirs) = net::stream_pair()?;
    let mut packet = request.encode();
    let sent = auth.send(&packet, Some(theirs.as_fd()));
    auth::types::wipe(&mut packet);
    sent.map(|()| ours)
}

/// What the octets that have come from authd mean.
pub enum Said {
    /// The answer is not complete.
    Nothing,
    /// Logged in as this user; the octets from this place on are the session's.
    Yes(Box<str>, usize),
    /// No session.
    No(Refusal),
}

/// Reads authd's answer.
pub fn read(octets: &[u8]) -> Said {
    match Answer::decode(octets) {
        Ok(Reading::Incomplete) => Said::Nothing,
        Ok(Reading::Complete(Answer::User(user), used)) => Said::Yes(user, used),
        Ok(Reading::Complete(Answer::No(_), _)) => Said::No(Refusal::Credentials),
        Ok(Reading::Complete(Answer::NotNow(Trouble::Sessions), _)) => Said::No(Refusal::InUse),
        Ok(Reading::Complete(Answer::NotNow(_), _)) | Err(_) => Said::No(Refusal::Temporary),
    }
}
