//! The host's own addresses, as rtnetlink tells them.

use std::io;
use std::net::IpAddr;

use daemon::netlink::{Family, Netlink};

use super::netlink::{Body, DUMP, Writer, attributes, messages};

const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
/// IFA_ADDRESS and IFA_LOCAL; on a point-to-point link the first is the other end's.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;

/// The addresses in a datagram, and whether the list ends with it.
#[must_use]
pub fn addresses(octets: &[u8]) -> (Vec<IpAddr>, bool) {
    let mut all = Vec::new();
    for m in messages(octets) {
        match m.body {
            Body::Done | Body::Result(_) => return (all, true),
            Body::Other(NEW_ADDRESS, body) => {
                let Some(attrs) = body.get(8..) else { continue };
                let find = |kind| {
                    attributes(attrs)
                        .find(|(k, _)| *k == kind)
                        .and_then(|(_, v)| match v.len() {
                            4 => <[u8; 4]>::try_from(v).ok().map(IpAddr::from),
                            16 => <[u8; 16]>::try_from(v).ok().map(IpAddr::from),
                            _ => None,
                        })
                };
                all.extend(find(LOCAL).or_else(|| find(ADDRESS)));
            }
            Body::Other(..) => {}
        }
    }
    (all, false)
}

/// Asks the kernel.
///
/// # Errors
/// The system's.
pub fn ask(route: &Netlink) -> io::Result<Vec<IpAddr>> {
    let mut w = Writer::new(1);
    w.begin(GET_ADDRESS, DUMP, &[0; 8]);
    route.send(&w.finish())?;
    let mut buffer = vec![0; 64 * 1024];
    let mut all = Vec::new();
    loop {
        // A dump's parts are made when the one before is taken: there is always one waiting.
        let n = route.recv(&mut buffer)?;
        let (some, done) = addresses(buffer.get(..n).unwrap_or(&[]));
        all.extend(some);
        if done {
            return Ok(all);
        }
    }
}

/// Opens a socket for [`ask`].
///
/// # Errors
/// The system's.
pub fn open() -> io::Result<Netlink> {
    Netlink::open(Family::Route, 4_096)
}

#[cfg(test)]
mod tests {
    #[test]
    fn loopback_is_among_them() {
        let all = super::ask(&super::open().unwrap()).unwrap();
        assert!(all.iter().all(|a| !a.is_multicast()));
        // A namespace without any address is possible but not where tests run.
        assert!(all.iter().any(std::net::IpAddr::is_loopback), "{all:?}");
    }
}
