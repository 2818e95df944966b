//! Who may send what to whom, out of the tables.

use daemon::net::Peer;
use routing::Verdict;
use smtp::server::{Facts, Policy, RecipientVerdict, Role, SenderVerdict};
use smtp::types::{ForwardPath, ReversePath};

use crate::house::House;

/// The tables as one peer sees them.
pub struct PeerPolicy<'a> {
    /// Tables and settings.
    pub house: &'a House,
    /// By which door it came.
    pub role: Role,
    /// Who it is.
    pub peer: Peer,
}

impl PeerPolicy<'_> {
    /// Whether this peer may send to other hosts: the local socket, a login, a listed network.
    /// Listed networks count at the door for other hosts only: the other doors want a login.
    fn may_relay(&self, facts: &Facts) -> bool {
        match (self.role, self.peer) {
            (Role::Local, _) => true,
            (_, _) if facts.login.is_some() => true,
            (Role::Mx, Peer::Tcp(address)) => self.house.may_relay(address.ip()),
            _ => false,
        }
    }
}

impl Policy for PeerPolicy<'_> {
    fn sender(&self, _facts: &Facts, _from: &ReversePath) -> SenderVerdict {
        SenderVerdict::Accept
    }

    fn recipient(&self, facts: &Facts, _from: &ReversePath, to: &ForwardPath) -> RecipientVerdict {
        let ForwardPath::Mailbox(mailbox) = to else {
            return match self.house.table.postmaster() {
                Some(_) => RecipientVerdict::Accept,
                None => RecipientVerdict::UnknownUser,
            };
        };
        match self.house.table.lookup(&mailbox.local(), mailbox.host()) {
            Verdict::Local(_) => RecipientVerdict::Accept,
            Verdict::UnknownUser => RecipientVerdict::UnknownUser,
            Verdict::Remote(_) if self.may_relay(facts) => RecipientVerdict::Accept,
            Verdict::Remote(_) | Verdict::BadDomain => RecipientVerdict::RelayDenied,
        }
    }
}
