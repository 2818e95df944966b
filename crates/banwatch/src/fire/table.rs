//! The firewall that this kernel has: nftables, or ipset with iptables.

use daemon::log;

use super::firewall::{Firewall, Trouble};
use super::nft::Limits;
use super::sets::Sets;
use super::wire::Entry;

/// Which firewall is to be used: `ban.backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// nftables, or ipset where the kernel has none.
    #[default]
    Auto,
    /// nftables or nothing.
    Nftables,
    /// ipset and iptables.
    Ipset,
}

impl Backend {
    /// By its name in the configuration.
    #[must_use]
    pub fn parse(name: &str) -> Option<Backend> {
        match name {
            "auto" => Some(Backend::Auto),
            "nftables" => Some(Backend::Nftables),
            "ipset" => Some(Backend::Ipset),
            _ => None,
        }
    }
}

/// The firewall in use.
#[derive(Debug)]
pub enum Table {
    /// A table of ours in nftables.
    Nftables(Firewall),
    /// Sets of ours, and rules of iptables.
    Ipset(Sets),
}

const EPERM: u32 = 1;

impl Table {
    /// Opens the firewall. Comes before confinement: with ipset it starts programs.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn open(backend: Backend, limits: Option<Limits>) -> Result<Table, String> {
        if backend == Backend::Ipset {
            return Sets::open(limits.as_ref()).map(Table::Ipset);
        }
        let mut nft = Firewall::open(limits.clone()).map_err(|e| format!("netlink: {e}"))?;
        let why = match nft.exists() {
            Ok(_) => return Ok(Table::Nftables(nft)),
            Err(e) => e,
        };
        if backend == Backend::Nftables || why.errno() == EPERM {
            return Err(format!("nftables: {why}"));
        }
        drop(nft);
        log::info("firewall")
            .kv("state", "no nftables here: ipset is used")
            .val("error", &why)
            .send();
        Sets::open(limits.as_ref())
            .map(Table::Ipset)
            .map_err(|e| format!("nftables: {why}; {e}"))
    }

    /// The TCP ports of a scope, known from the next rebuild on.
    pub fn ports(&mut self, scope: u8, ports: Vec<u16>) {
        match self {
            Table::Nftables(f) => f.ports(scope, ports),
            Table::Ipset(s) => s.ports(scope, ports),
        }
    }

    /// Has exactly these bans in force, with no moment in between without any.
    ///
    /// # Errors
    /// The kernel's.
    pub fn rebuild(&mut self, entries: Vec<Entry>) -> Result<(), Trouble> {
        match self {
            Table::Nftables(f) => f.rebuild(entries),
            Table::Ipset(s) => s.rebuild(entries),
        }
    }

    /// Bans these.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&mut self, entries: Vec<Entry>) -> Result<(), Trouble> {
        match self {
            Table::Nftables(f) => f.add(entries),
            Table::Ipset(s) => s.add(entries),
        }
    }

    /// Lifts bans; one that is not there is no error.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete(&mut self, entries: Vec<Entry>) -> Result<(), Trouble> {
        match self {
            Table::Nftables(f) => f.delete(entries),
            Table::Ipset(s) => s.delete(entries),
        }
    }

    /// Every ban in force.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(&mut self) -> Result<Vec<Entry>, Trouble> {
        match self {
            Table::Nftables(f) => f.list(),
            Table::Ipset(s) => s.list(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Backend::parse("auto"), Some(Backend::default()));
        assert_eq!(Backend::parse("ipset"), Some(Backend::Ipset));
        assert_eq!(Backend::parse("nftables"), Some(Backend::Nftables));
        assert_eq!(Backend::parse("iptables"), None);
    }
}
