//! An address or a network, in the one form in which all parts of banwatch speak of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network with its prefix length; an address is a network of 32 or 128 bits. The bits behind
/// the prefix are always zero, and IPv4-mapped IPv6 is always IPv4, so equal networks are equal
/// values. 18 octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    v4: bool,
    length: u8,
    octets: [u8; 16],
}

/// The text is no network: an address, or an address, `/` and a prefix length that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPrefix;

impl fmt::Display for NoPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an address or a network such as 192.0.2.0/24")
    }
}

impl std::error::Error for NoPrefix {}

impl Prefix {
    /// The network of this length around an address; `None` when the length is more than the
    /// address has.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        let mut octets = [0; 16];
        let (v4, most) = match address {
            IpAddr::V4(a) => {
                let [o1, o2, o3, o4] = a.octets();
                octets[0] = o1;
                octets[1] = o2;
                octets[2] = o3;
                octets[3] = o4;
                (true, 32)
            }
            IpAddr::V6(a) => match (a.to_ipv4_mapped(), length.checked_sub(96)) {
                (Some(v4), Some(length)) => return Prefix::new(IpAddr::V4(v4), length),
                _ => {
                    octets = a.octets();
                    (false, 128)
                }
            },
        };
        if length > most {
            return None;
        }
        mask(&mut octets, length);
        Some(Prefix { v4, length, octets })
    }

    /// One address.
    #[must_use]
    pub fn host(address: IpAddr) -> Prefix {
        let address = address.to_canonical();
        let length = if address.is_ipv4() { 32 } else { 128 };
        Prefix::new(address, length).unwrap_or(Prefix {
            v4: true,
            length: 32,
            octets: [0; 16],
        })
    }

    /// The network of `length` bits that this one lies in; itself when it is that wide already.
    #[must_use]
    pub fn widen(self, length: u8) -> Prefix {
        let length = length.min(self.length);
        let mut octets = self.octets;
        mask(&mut octets, length);
        Prefix {
            length,
            octets,
            ..self
        }
    }

    /// The first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        if self.v4 {
            let [a, b, c, d, ..] = self.octets;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.octets))
        }
    }

    /// Bits that count.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether it is IPv4.
    #[must_use]
    pub fn is_v4(self) -> bool {
        self.v4
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(self) -> bool {
        self.length == if self.v4 { 32 } else { 128 }
    }

    /// The address as it stands in a packet: 4 or 16 octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        self.octets
            .get(..if self.v4 { 4 } else { 16 })
            .unwrap_or(&[])
    }

    /// Whether every address of `other` is in here.
    #[must_use]
    pub fn covers(self, other: Prefix) -> bool {
        self.v4 == other.v4 && self.length <= other.length && other.widen(self.length) == self
    }

    /// Whether any address is in both.
    #[must_use]
    pub fn overlaps(self, other: Prefix) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// A number for counting distinct ones, under a key so that nobody can choose addresses that
    /// look alike.
    #[must_use]
    pub fn spread(&self, key: u64) -> u64 {
        let mut h = key ^ u64::from(self.length);
        for half in self.octets.chunks_exact(8) {
            let n = half.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
            h = (h ^ n).wrapping_mul(0xd6e8_feb8_6659_fd93);
            h ^= h >> 32;
        }
        h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
        h ^ h >> 32
    }

    /// 18 octets: family (4 or 6), length, 16 octets of address.
    #[must_use]
    pub fn encode(self) -> [u8; 18] {
        let mut out = [0; 18];
        out[0] = if self.v4 { 4 } else { 6 };
        out[1] = self.length;
        out[2..].copy_from_slice(&self.octets);
        out
    }

    /// Reads what [`Prefix::encode`] makes, and nothing else.
    #[must_use]
    pub fn decode(octets: &[u8; 18]) -> Option<Prefix> {
        let [family, length, address @ ..] = octets;
        let (v4, most) = match family {
            4 => (true, 32),
            6 => (false, 128),
            _ => return None,
        };
        let mut masked = *address;
        if *length > most {
            return None;
        }
        mask(&mut masked, *length);
        let mapped = !v4 && *length >= 96 && Ipv6Addr::from(*address).to_ipv4_mapped().is_some();
        (masked == *address && !mapped).then_some(Prefix {
            v4,
            length: *length,
            octets: *address,
        })
    }
}

/// Clears the bits behind the first `length`.
fn mask(octets: &mut [u8; 16], length: u8) {
    for (i, o) in octets.iter_mut().enumerate() {
        let bits = usize::from(length).saturating_sub(8 * i).min(8);
        *o &= (0xff00u16 >> bits) as u8;
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            write!(f, "{}", self.address())
        } else {
            write!(f, "{}/{}", self.address(), self.length)
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Prefix {
    type Err = NoPrefix;

    fn from_str(text: &str) -> Result<Prefix, NoPrefix> {
        match text.split_once('/') {
            None => Ok(Prefix::host(text.parse().map_err(|_| NoPrefix)?)),
            Some((address, length)) => {
                let plain = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
                let length = length.parse().ok().filter(|_| plain).ok_or(NoPrefix)?;
                Prefix::new(address.parse().map_err(|_| NoPrefix)?, length).ok_or(NoPrefix)
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_prefix() -> impl Strategy<Value = Prefix> {
        prop_oneof![
            (any::<[u8; 4]>(), 0u8..=32).prop_map(|(a, n)| Prefix::new(a.into(), n).unwrap()),
            (any::<[u8; 16]>(), 0u8..=128)
                .prop_filter_map("mapped", |(a, n)| Prefix::new(a.into(), n)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn forms_agree(p in any_prefix(), n: u8, garbage: [u8; 18]) {
            prop_assert_eq!(Prefix::decode(&p.encode()), Some(p));
            prop_assert_eq!(p.to_string().parse(), Ok(p));
            let wide = p.widen(n);
            prop_assert!(wide.covers(p) && wide.overlaps(p) && p.overlaps(wide));
            if let Some(p) = Prefix::decode(&garbage) {
                prop_assert_eq!(p.encode(), garbage);
            }
        }
    }

    #[test]
    fn texts() {
        let p = |t: &str| t.parse::<Prefix>();
        assert_eq!(p("192.0.2.77/24").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(p("2001:db8::1/64").unwrap().to_string(), "2001:db8::/64");
        assert_eq!(p("::ffff:192.0.2.1").unwrap().to_string(), "192.0.2.1");
        assert_eq!(
            p("::ffff:192.0.2.1/120").unwrap().to_string(),
            "192.0.2.0/24"
        );
        for bad in [
            "",
            "x",
            "1.2.3",
            "1.2.3.4/33",
            "::/129",
            "1.2.3.4/",
            "1.2.3.4/+4",
            "1.2.3.4/256",
        ] {
            assert!(p(bad).is_err(), "{bad}");
        }
        for (n, ok) in [(31, true), (32, true), (33, false)] {
            assert_eq!(Prefix::new([1, 2, 3, 4].into(), n).is_some(), ok);
        }
        let (a, b) = (p("10.0.0.0/8").unwrap(), p("10.1.0.0/16").unwrap());
        assert!(a.covers(b) && !b.covers(a) && a.overlaps(b) && b.overlaps(a));
        assert!(!a.overlaps(p("11.0.0.0/8").unwrap()) && !a.covers(p("::/0").unwrap()));
    }
}
