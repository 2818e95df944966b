//! Connections without work, kept a moment for the next message to the same place.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::hop::Hop;
use crate::settings::IDLE_MAX;

/// The kept connections, oldest first. At most [`IDLE_MAX`], so that a look through all of them
/// is cheaper than an index would be.
#[derive(Debug, Default)]
pub struct Pool {
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    token: usize,
    hop: Hop,
    peer: SocketAddr,
}

impl Pool {
    /// Keeps a connection; gives the one that has to go for it, when there are too many.
    pub fn keep(&mut self, token: usize, hop: Hop, peer: SocketAddr) -> Option<usize> {
        self.kept.push_back(Kept { token, hop, peer });
        if self.kept.len() > IDLE_MAX {
            return self.kept.pop_front().map(|kept| kept.token);
        }
        None
    }

    /// The connection to this next hop that was used last.
    pub fn take_for_hop(&mut self, hop: &Hop) -> Option<usize> {
        self.take(|kept| kept.hop == *hop)
    }

    /// The connection to this address that was used last.
    pub fn take_for_peer(&mut self, peer: SocketAddr) -> Option<usize> {
        self.take(|kept| kept.peer == peer)
    }

    /// Forgets a connection that has ended; without effect for one that is not kept.
    pub fn forget(&mut self, token: usize) {
        self.take(|kept| kept.token == token);
    }

    fn take(&mut self, fits: impl Fn(&Kept) -> bool) -> Option<usize> {
        let at = self.kept.iter().rposition(fits)?;
        self.kept.remove(at).map(|kept| kept.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(name: &str) -> Hop {
        Hop::Mx(name.into())
    }

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 25))
    }

    #[test]
    fn the_one_used_last_comes_first_and_only_once() {
        let mut pool = Pool::default();
        pool.keep(1, hop("a"), peer(1));
        pool.keep(2, hop("a"), peer(2));
        pool.keep(3, hop("b"), peer(1));
        assert_eq!(pool.take_for_hop(&hop("a")), Some(2));
        assert_eq!(pool.take_for_peer(peer(1)), Some(3));
        assert_eq!(pool.take_for_hop(&hop("b")), None);
        pool.forget(1);
        assert_eq!(pool.take_for_hop(&hop("a")), None);
    }

    #[test]
    fn bounded() {
        let mut pool = Pool::default();
        for token in 0..IDLE_MAX {
            assert_eq!(pool.keep(token, hop("a"), peer(1)), None);
        }
        assert_eq!(pool.keep(IDLE_MAX, hop("a"), peer(1)), Some(0));
        assert_eq!(pool.keep(IDLE_MAX + 1, hop("a"), peer(1)), Some(1));
        assert_eq!(pool.kept.len(), IDLE_MAX);
    }
}
