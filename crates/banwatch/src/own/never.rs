//! Who is never banned.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prefix::Prefix;

/// Networks that no ban may touch. A wider ban that would touch one is refused as a whole.
#[derive(Clone, Debug, Default)]
pub struct Never {
    listed: Vec<Prefix>,
    /// Replaced as a whole whenever they are looked up again.
    own: Vec<Prefix>,
    admins: Vec<Prefix>,
}

/// Why a network is never banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The admin's list, loopback, or an address that no client can have.
    Listed,
    /// An address of this host.
    Own,
    /// An established admin session comes from there.
    Admin,
}

impl Because {
    /// One word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Because::Listed => "listed",
            Because::Own => "own-address",
            Because::Admin => "admin-session",
        }
    }
}

impl Never {
    /// The admin's list. Loopback joins it unless `loopback_too` says that it may be banned. The
    /// unspecified address, multicast and IPv6 link-local addresses always do: the first two
    /// come from no client, and banning the last would cut neighbour discovery.
    #[must_use]
    pub fn new(listed: &[Prefix], loopback_too: bool) -> Never {
        let fixed: [(IpAddr, u8); 5] = [
            (Ipv4Addr::UNSPECIFIED.into(), 32),
            (Ipv4Addr::new(224, 0, 0, 0).into(), 4),
            (Ipv6Addr::UNSPECIFIED.into(), 128),
            (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0).into(), 8),
            (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(), 10),
        ];
        let loopback: [(IpAddr, u8); 2] = [
            (Ipv4Addr::new(127, 0, 0, 0).into(), 8),
            (Ipv6Addr::LOCALHOST.into(), 128),
        ];
        let mut all = listed.to_vec();
        all.extend(fixed.iter().filter_map(|(a, n)| Prefix::new(*a, *n)));
        if !loopback_too {
            all.extend(loopback.iter().filter_map(|(a, n)| Prefix::new(*a, *n)));
        }
        Never {
            listed: all,
            own: Vec::new(),
            admins: Vec::new(),
        }
    }

    /// The host's own addresses, as they are now. Loopback ones are left to [`Never::new`].
    pub fn set_own(&mut self, own: impl IntoIterator<Item = IpAddr>) {
        self.own = own
            .into_iter()
            .filter(|a| !a.is_loopback())
            .map(Prefix::host)
            .collect();
    }

    /// Where established admin sessions come from, as they are now.
    pub fn set_admins(&mut self, admins: impl IntoIterator<Item = IpAddr>) {
        self.admins = admins.into_iter().map(Prefix::host).collect();
    }

    /// Whether a ban of this network is out of the question, and why.
    #[must_use]
    pub fn forbids(&self, prefix: Prefix) -> Option<Because> {
        let hit = |list: &[Prefix]| list.iter().any(|n| n.overlaps(prefix));
        if hit(&self.listed) {
            Some(Because::Listed)
        } else if hit(&self.own) {
            Some(Because::Own)
        } else if hit(&self.admins) {
            Some(Because::Admin)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_bans_stop_at_them_too() {
        let p = |t: &str| t.parse::<Prefix>().unwrap();
        let mut never = Never::new(&[p("192.0.2.7"), p("2001:db8:1::/48")], false);
        assert_eq!(never.forbids(p("192.0.2.7")), Some(Because::Listed));
        assert_eq!(never.forbids(p("192.0.2.0/24")), Some(Because::Listed));
        assert_eq!(never.forbids(p("192.0.2.8")), None);
        assert_eq!(never.forbids(p("2001:db8:1:2::/64")), Some(Because::Listed));
        assert_eq!(never.forbids(p("2001:db8::/32")), Some(Because::Listed));
        assert_eq!(never.forbids(p("127.9.9.9")), Some(Because::Listed));
        assert_eq!(never.forbids(p("0.0.0.0/0")), Some(Because::Listed));
        assert_eq!(never.forbids(p("fe80::1")), Some(Because::Listed));
        never.set_own([[198, 51, 100, 1].into()]);
        never.set_admins([[203, 0, 113, 5].into()]);
        assert_eq!(never.forbids(p("198.51.100.0/24")), Some(Because::Own));
        assert_eq!(never.forbids(p("203.0.113.5")), Some(Because::Admin));
        never.set_admins([]);
        assert_eq!(never.forbids(p("203.0.113.5")), None);
        let never = Never::new(&[], true);
        assert_eq!(never.forbids(p("127.9.9.9")), None);
    }
}
