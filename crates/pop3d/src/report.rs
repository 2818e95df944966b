//! What the log and banwatch are told of a connection.
//!
//! Wrong passwords are reported by authd, which knows more about them.

use std::net::{IpAddr, SocketAddr};

use daemon::log;
use events::{Event, Kind, Reporter, Service};

/// Who a connection is, in the log and in events.
#[derive(Debug)]
pub struct Name {
    /// The connection's id: `sid=`; 10 characters, 50 random bits.
    pub sid: String,
    /// Joins the connection's events.
    number: u32,
    /// The client; `None` on a Unix socket.
    peer: Option<SocketAddr>,
}

impl Name {
    /// A new name; `bits` are random.
    pub fn new(peer: Option<SocketAddr>, bits: u64) -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let letter = |place: u32| {
            let at = usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0);
            char::from(ALPHABET.get(at).copied().unwrap_or(b'0'))
        };
        // The low half of the bits.
        let number = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Self {
            sid: (0..10).map(letter).collect(),
            number,
            peer,
        }
    }

    /// The client's address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip())
    }

    /// Begins a line of this connection.
    pub fn line(&self, line: log::Line) -> log::Line {
        line.kv("sid", &self.sid)
            .opt("client", self.ip().map(|ip| ip.to_string()))
    }

    /// Tells banwatch; a Unix socket has no address to ban.
    pub fn event(&self, kind: Kind, events: &mut Reporter) {
        let Some(peer) = self.peer else { return };
        events.report(&Event {
            service: Service::Pop3,
            kind,
            address: peer.ip(),
            port: peer.port(),
            account: None,
            secret: None,
            session: self.number,
            count: 1,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Name::new(None, 0).sid, "0000000000");
        assert_eq!(Name::new(None, u64::MAX).sid, "zzzzzzzzzz");
        assert_eq!(Name::new(None, 1 | 31 << 45).sid, "100000000z");
    }
}
