//! Admins at work: connections to the ports of remote login that have stood longer than anybody
//! may take to log in.
//!
//! sshd closes a connection that has not logged in after LoginGraceTime (120 s), so one that
//! stands longer belongs to somebody who has. No log line is believed for this.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How long a connection must have stood, in seconds.
pub const STANDING: i64 = 150;
/// Connections followed at once; more are not looked at.
pub const FOLLOWED_MAX: usize = 1_000;

/// The other ends of established connections to these local ports, from the text of
/// `/proc/net/tcp` or `/proc/net/tcp6`.
pub fn established<'a>(
    text: &'a [u8],
    ports: &'a [u16],
) -> impl Iterator<Item = (IpAddr, u16)> + 'a {
    text.split(|b| *b == b'\n').filter_map(move |line| {
        let line = std::str::from_utf8(line).ok()?;
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        if state != "01" {
            return None;
        }
        let (_, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        ports.contains(&port).then_some(())?;
        let (address, port) = remote.split_once(':')?;
        Some((address_of(address)?, u16::from_str_radix(port, 16).ok()?))
    })
}

/// Groups of four octets in the host's order, in hexadecimal.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |n: usize| {
        let part = hex.get(8 * n..8 * n + 8)?;
        u32::from_str_radix(part, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut octets = [0; 16];
            for (n, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(n)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

/// Which connections have stood since when.
#[derive(Clone, Debug, Default)]
pub struct Sessions(HashMap<(IpAddr, u16), i64>);

impl Sessions {
    /// Takes what is established at `now` (seconds, monotonic) and gives the admins' addresses.
    pub fn seen(&mut self, now: i64, present: impl Iterator<Item = (IpAddr, u16)>) -> Vec<IpAddr> {
        let mut fresh = HashMap::new();
        for key in present.take(FOLLOWED_MAX) {
            fresh.insert(key, self.0.get(&key).copied().unwrap_or(now));
        }
        self.0 = fresh;
        let mut all: Vec<IpAddr> = self
            .0
            .iter()
            .filter(|(_, since)| now - **since >= STANDING)
            .map(|((a, _), _)| *a)
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue\n\
   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000\n\
   1: 0A0200C0:0016 056433C6:D431 01 00000000:00000000 00:00000000\n\
   2: 0A0200C0:0019 066433C6:D431 01 00000000:00000000 00:00000000\n\
   3: 0A0200C0:0016 076433C6:D431 06 00000000:00000000 00:00000000\n\
   4: 0000000000000000FFFF00000A0200C0:0016 0000000000000000FFFF0000086433C6:0001 01 0\n\
   5: B80D0120000000000000000001000000:0016 B80D0120000000000000000002000000:0002 01 0\n";

    #[test]
    fn established_ones_of_the_port() {
        let all: Vec<String> = established(TEXT, &[22])
            .map(|(a, p)| format!("{a} {p}"))
            .collect();
        assert_eq!(
            all,
            ["198.51.100.5 54321", "198.51.100.8 1", "2001:db8::2 2"]
        );
        for n in 0..TEXT.len() {
            let _ = established(&TEXT[..n], &[22]).count();
        }
    }

    #[test]
    fn only_those_that_stand_long_enough() {
        let a = (IpAddr::from([198, 51, 100, 5]), 1);
        let b = (IpAddr::from([198, 51, 100, 5]), 2);
        let mut s = Sessions::default();
        assert!(s.seen(0, [a].into_iter()).is_empty());
        assert!(s.seen(STANDING - 1, [a].into_iter()).is_empty());
        assert_eq!(s.seen(STANDING, [a, b].into_iter()), [a.0]);
        assert!(
            s.seen(STANDING + 30, [b].into_iter()).is_empty(),
            "another connection"
        );
        assert!(s.seen(STANDING + 60, [a].into_iter()).is_empty());
    }
}
