//! Where a transaction goes.

use std::net::IpAddr;

use dns::{Name, Target, literal};
use queue::wire::remote::NextHop;

/// A next hop as queue-manager names it, owned. Equal hops share kept connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hop {
    /// The mail hosts of a domain, or the address literal in brackets.
    Mx(Box<str>),
    /// One host and port.
    Host(Box<str>, u16),
}

impl Hop {
    /// From the packet, or `relay` in place of MX hosts.
    pub fn new(next_hop: NextHop<'_>, relay: Option<&Self>) -> Self {
        match (next_hop, relay) {
            (NextHop::Mx(_), Some(relay)) => relay.clone(),
            (NextHop::Mx(domain), None) => Self::Mx(domain.to_ascii_lowercase().into()),
            (NextHop::Host(name, port), _) => Self::Host(name.to_ascii_lowercase().into(), port),
        }
    }

    /// What to look up and which port to connect to; `None` when the name can't be one.
    pub fn target(&self, mx_port: u16) -> Option<(Target, u16)> {
        match self {
            Self::Mx(domain) => {
                let target = match literal(domain) {
                    Some(address) => Target::Address(address),
                    None => Target::Domain(Name::parse(domain).ok()?),
                };
                Some((target, mx_port))
            }
            Self::Host(name, port) => {
                let address = name.parse::<IpAddr>().ok().or_else(|| literal(name));
                let target = match address {
                    Some(address) => Target::Address(address),
                    None => Target::Host(Name::parse(name).ok()?),
                };
                Some((target, *port))
            }
        }
    }

    /// For log lines.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Mx(name) | Self::Host(name, _) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let name = |text: &str| Name::parse(text).unwrap();
        let address = |text: &str| Target::Address(text.parse().unwrap());
        for (hop, expected) in [
            (
                NextHop::Mx("Example.ORG"),
                Some((Target::Domain(name("example.org")), 25)),
            ),
            (NextHop::Mx("[192.0.2.1]"), Some((address("192.0.2.1"), 25))),
            (
                NextHop::Mx("[IPv6:2001:db8::1]"),
                Some((address("2001:db8::1"), 25)),
            ),
            (
                NextHop::Mx("192.0.2.1"),
                Some((Target::Domain(name("192.0.2.1")), 25)),
            ),
            (NextHop::Mx("a..b"), None),
            (
                NextHop::Mx("[nonsense]"),
                Some((Target::Domain(name("[nonsense]")), 25)),
            ),
            (
                NextHop::Host("relay.example", 587),
                Some((Target::Host(name("relay.example")), 587)),
            ),
            (
                NextHop::Host("192.0.2.1", 2525),
                Some((address("192.0.2.1"), 2525)),
            ),
            (
                NextHop::Host("2001:db8::1", 2525),
                Some((address("2001:db8::1"), 2525)),
            ),
        ] {
            assert_eq!(Hop::new(hop, None).target(25), expected, "{hop:?}");
        }
    }

    #[test]
    fn a_relay_takes_what_would_go_by_mx() {
        let relay = Hop::Host("relay.example".into(), 25);
        assert_eq!(Hop::new(NextHop::Mx("example.org"), Some(&relay)), relay);
        let named = Hop::new(NextHop::Host("other.example", 26), Some(&relay));
        assert_eq!(named, Hop::Host("other.example".into(), 26));
    }
}
