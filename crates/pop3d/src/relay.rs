//! After login: octets between the client and the session process, both ways, with
//! back-pressure.

use std::io::{self, Read as _, Write as _};

use daemon::net::Socket;
use daemon::tls::Stream;

use crate::connection::Ready;
use crate::pending::Pending;

/// The way to and from a session process.
///
/// At most one read of each direction is held; while it waits, nothing more is read there. So a
/// client that does not read stops the session process, and a session that is busy stops the
/// client.
#[derive(Debug)]
pub struct Relay {
    /// Our end of the stream to the session process.
    pub session: Socket,
    /// What that socket can do, as far as events told.
    pub ready: Ready,
    /// For the session.
    forth: Pending,
    /// The client has ended its direction, and the session knows.
    client_done: bool,
    /// The session has ended.
    session_done: bool,
    /// Octets from the client, and from the session.
    pub carried: (u64, u64),
}

/// What one round came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Round {
    /// Octets moved; there may be more.
    Moved,
    /// Everything waits for some socket.
    Blocked,
    /// The session has ended and all it said is with the client.
    Over,
    /// A connection is lost.
    Lost,
}

impl Relay {
    /// A relay; `early` are octets of the client that came before the login was through.
    pub fn new(session: Socket, ready: Ready, early: &[u8]) -> Self {
        let mut forth = Pending::default();
        forth.push(early);
        let carried = (u64::try_from(early.len()).unwrap_or(u64::MAX), 0);
        Self {
            session,
            ready,
            forth,
            client_done: false,
            session_done: false,
            carried,
        }
    }

    /// Moves what can be moved once in each direction. `back` is what waits for the client.
    pub fn round(
        &mut self,
        client: &mut Stream<Socket>,
        client_ready: &mut Ready,
        back: &mut Pending,
        scratch: &mut [u8],
    ) -> Round {
        let before = self.carried;
        let waited = (back.is_empty(), self.forth.is_empty());
        let done = self
            .towards_client(client, client_ready, back, scratch)
            .and_then(|()| self.towards_session(client, client_ready, scratch));
        if done.is_err() {
            return Round::Lost;
        }
        if self.session_done && back.is_empty() {
            return Round::Over;
        }
        match before != self.carried || waited != (back.is_empty(), self.forth.is_empty()) {
            true => Round::Moved,
            false => Round::Blocked,
        }
    }

    fn towards_client(
        &mut self,
        client: &mut Stream<Socket>,
        client_ready: &mut Ready,
        back: &mut Pending,
        scratch: &mut [u8],
    ) -> io::Result<()> {
        if !back.is_empty() && !back.flush(|data| client.write(data))? {
            client_ready.write = false;
            return Ok(());
        }
        if self.session_done || !self.ready.read {
            return Ok(());
        }
        let count = match self.session.read(scratch) {
            Ok(0) => {
                self.session_done = true;
                return Ok(());
            }
            Ok(count) => {
                if count < scratch.len() {
                    self.ready.read_short();
                }
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.ready.read = false;
                return Ok(());
            }
            // The session process was killed: its end is closed, like any other end.
            Err(_) => {
                self.session_done = true;
                return Ok(());
            }
        };
        self.carried.1 = self
            .carried
            .1
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let data = scratch.get(..count).unwrap_or_default();
        let taken = match client.write(data) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        back.push(data.get(taken..).unwrap_or_default());
        Ok(())
    }

    fn towards_session(
        &mut self,
        client: &mut Stream<Socket>,
        client_ready: &mut Ready,
        scratch: &mut [u8],
    ) -> io::Result<()> {
        if !self.give_session()? || self.client_done || !client_ready.read {
            return Ok(());
        }
        let count = match client.read(scratch) {
            Ok(count) => {
                // TLS may hold more than it gave.
                if count < scratch.len() && !client.is_tls() {
                    client_ready.read_short();
                }
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                client_ready.read = false;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if count == 0 {
            // The client said that it is done (close_notify, or the end of its stream). What the
            // session still has to say goes out; then it ends by itself.
            self.client_done = true;
            return match self.session.shutdown_write() {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                _ => Ok(()),
            };
        }
        self.carried.0 = self
            .carried
            .0
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        self.forth.push(scratch.get(..count).unwrap_or_default());
        self.give_session().map(drop)
    }

    /// `true`: nothing waits for the session.
    fn give_session(&mut self) -> io::Result<bool> {
        if self.forth.is_empty() {
            return Ok(true);
        }
        let Self { session, forth, .. } = self;
        match forth.flush(|data| session.write(data)) {
            // It ended without reading the rest; its last words may still be on their way.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                *forth = Pending::default();
                self.client_done = true;
                Ok(true)
            }
            other => other,
        }
    }
}
