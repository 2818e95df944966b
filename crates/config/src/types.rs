//! Values that are more than text: sizes, networks, host and port, domain names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// A number of octets, written `4096`, `"50M"` (1024 to a K, K M G T).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// The number of octets.
    pub fn octets(self) -> u64 {
        self.0
    }

    /// Reads `"50M"` or `"4096"`. `None`: not of this form, or beyond 64 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let split = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let shift = match unit {
            "" | "B" => 0,
            "K" | "k" | "KiB" => 10,
            "M" | "m" | "MiB" => 20,
            "G" | "g" | "GiB" => 30,
            "T" | "t" | "TiB" => 40,
            _ => return None,
        };
        digits
            .parse::<u64>()
            .ok()?
            .checked_mul(1 << shift)
            .map(Self)
    }
}

/// The shortest form that [`Size::parse`] reads back.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Reads `"90s"`, `"5m"`, `"1h30m"`, `"5d"` (units d h m s, largest first, each once).
/// `None`: not of this form, or beyond 64 bits of seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0u64;
    let mut below = u64::MAX;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, tail) = rest.split_at(split);
        let mut chars = tail.chars();
        let unit = match chars.next()? {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        if unit >= below {
            return None;
        }
        below = unit;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = chars.as_str();
    }
    (below != u64::MAX).then(|| Duration::from_secs(total))
}

/// The shortest form that [`parse_duration`] reads back; parts of a second are left out.
pub fn show_duration(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, name) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        let count = seconds / unit;
        seconds %= unit;
        if count != 0 {
            text.push_str(&count.to_string());
            text.push(name);
        }
    }
    text
}

/// A block of addresses: `192.0.2.0/24`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Makes a network; `None` when the prefix is longer than the address or when `base` has
    /// bits set behind it (a typing error more often than not).
    pub fn new(base: IpAddr, prefix: u8) -> Option<Self> {
        let fits = match base {
            IpAddr::V4(ip) => prefix <= 32 && u32::from(ip) & !mask_v4(prefix) == 0,
            IpAddr::V6(ip) => prefix <= 128 && u128::from(ip) & !mask_v6(prefix) == 0,
        };
        fits.then_some(Self { base, prefix })
    }

    /// Reads an address with or without `/prefix`.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, prefix) = match text.split_once('/') {
            Some((base, prefix)) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
                (base.parse::<IpAddr>().ok()?, prefix.parse().ok()?)
            }
            Some(_) => return None,
            None => {
                let base = text.parse::<IpAddr>().ok()?;
                (base, if base.is_ipv4() { 32 } else { 128 })
            }
        };
        Self::new(base, prefix)
    }

    /// Whether an address lies in it. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => {
                u32::from(ip) & mask_v4(self.prefix) == u32::from(base)
            }
            (IpAddr::V6(base), IpAddr::V6(ip)) => {
                u128::from(ip) & mask_v6(self.prefix) == u128::from(base)
            }
            _ => false,
        }
    }

    /// 127.0.0.0/8 and ::1.
    pub fn loopback() -> [Self; 2] {
        [
            Self {
                base: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
                prefix: 8,
            },
            Self {
                base: IpAddr::V6(Ipv6Addr::LOCALHOST),
                prefix: 128,
            },
        ]
    }

    /// Whether it holds all addresses of its family.
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0)
}

/// A host, by name or address, and a port: `relay.example.org:587`, `192.0.2.1:25`,
/// `[2001:db8::1]:25`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A domain name (lower case, A-labels) or an address.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
}

/// A host's name or address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Lower case, A-labels, no trailing dot.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl HostPort {
    /// Reads `host:port`; the port must be there.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let port = port.parse::<u16>().ok().filter(|&port| port != 0)?;
        let host = if let Some(inner) = host.strip_prefix('[') {
            Host::Address(IpAddr::V6(inner.strip_suffix(']')?.parse().ok()?))
        } else if let Ok(ip) = host.parse::<Ipv4Addr>() {
            Host::Address(IpAddr::V4(ip))
        } else {
            Host::Name(domain_name(host).ok()?)
        };
        Some(Self { host, port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
        }
    }
}

/// Longest domain name in octets, without the trailing dot (RFC 1035, 2.3.4: 255 on the wire).
pub const DOMAIN_MAX: usize = 253;

/// Checks a domain name and gives its one comparable form: lower case, A-labels (IDNA 2008
/// through UTS 46), without a trailing dot.
///
/// # Errors
/// A short text saying what is wrong with it.
pub fn domain_name(text: &str) -> Result<String, &'static str> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return Err("empty");
    }
    let name = if text.is_ascii() && !has_alabel(text) {
        text.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(text).map_err(|_| "not a valid internationalised name")?
    };
    if name.len() > DOMAIN_MAX {
        return Err("longer than 253 octets");
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err("an empty label");
        }
        if label.len() > 63 {
            return Err("a label longer than 63 octets");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label that begins or ends with a dash");
        }
        // An underscore is no host name character but exists in mail domains.
        if !label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        {
            return Err("a character that no domain name has");
        }
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err("a number at its end, like an address");
    }
    Ok(name)
}

/// Longest mailbox name, in octets.
pub const USER_NAME_MAX: usize = 128;

/// Whether a text can be the name of a mailbox: 1 to [`USER_NAME_MAX`] printable ASCII octets
/// without slash, colon and hash (it becomes a directory name and a field of a table), not
/// beginning with a dot or dash.
pub fn is_user_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= USER_NAME_MAX
        && !name.starts_with(['.', '-'])
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'#'))
}

fn has_alabel(text: &str) -> bool {
    text.split('.').any(|label| {
        label
            .get(..4)
            .is_some_and(|head| head.eq_ignore_ascii_case("xn--"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, octets) in [
            ("0", 0),
            ("4096", 4_096),
            ("50M", 50 << 20),
            ("1k", 1_024),
            ("2GiB", 2 << 30),
            ("16777215T", 16_777_215 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(Size::parse(text), Some(Size(octets)), "{text}");
        }
        for text in [
            "",
            "M",
            "-1",
            "1.5M",
            "1 M",
            "16777216T",
            "18446744073709551616",
            "1X",
            "1MB",
        ] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5_400),
            ("5d", 432_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "m",
            "5x",
            "30m1h",
            "5m5m",
            "-5m",
            "1.5h",
            "5 m",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn networks() {
        let net = Network::parse("192.0.2.0/24").unwrap();
        assert!(net.contains("192.0.2.255".parse().unwrap()));
        assert!(net.contains("::ffff:192.0.2.1".parse().unwrap()));
        assert!(!net.contains("192.0.3.0".parse().unwrap()));
        assert!(!net.contains("2001:db8::1".parse().unwrap()));
        let six = Network::parse("2001:db8::/32").unwrap();
        assert!(six.contains("2001:db8:ffff::1".parse().unwrap()));
        assert!(!six.contains("2001:db9::".parse().unwrap()));
        assert!(
            Network::parse("0.0.0.0/0")
                .unwrap()
                .contains("8.8.8.8".parse().unwrap())
        );
        assert!(Network::parse("0.0.0.0/0").unwrap().is_everything());
        let one = Network::parse("192.0.2.1").unwrap();
        assert!(one.contains("192.0.2.1".parse().unwrap()));
        assert!(!one.contains("192.0.2.0".parse().unwrap()));
        for bad in [
            "192.0.2.1/24",
            "192.0.2.0/33",
            "::/129",
            "::1/64",
            "x",
            "192.0.2.0/",
            "1.2.3.4/+8",
        ] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn host_and_port() {
        for (text, shown) in [
            ("Relay.Example.org:587", "relay.example.org:587"),
            ("192.0.2.1:25", "192.0.2.1:25"),
            ("[2001:db8::1]:25", "[2001:db8::1]:25"),
        ] {
            assert_eq!(HostPort::parse(text).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "x",
            "x:",
            "x:0",
            "x:65536",
            ":25",
            "2001:db8::1:25",
            "[::1:25",
            "x:+25",
        ] {
            assert_eq!(HostPort::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn domain_names() {
        for (text, name) in [
            ("Example.ORG", "example.org"),
            ("example.org.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("例え.jp", "xn--r8jz45g.jp"),
            ("localhost", "localhost"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(domain_name(text), Ok(name.to_owned()), "{text}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "-a.b",
            "a-.b",
            "a b",
            "192.0.2.1",
            "a/b",
            "a@b",
            "xn--a.b",
            "a\0b",
        ] {
            assert!(domain_name(bad).is_err(), "{bad}");
        }
        let label = "a".repeat(63);
        assert!(domain_name(&label).is_ok());
        assert!(domain_name(&"a".repeat(64)).is_err());
        let long = |n: usize| format!("{label}.{label}.{label}.{}", "b".repeat(n - 192));
        assert!(domain_name(&long(252)).is_ok());
        assert!(domain_name(&long(253)).is_ok());
        assert!(domain_name(&long(254)).is_err());
    }

    proptest! {
        #[test]
        fn sizes_and_durations_read_back(number: u64) {
            prop_assert_eq!(Size::parse(&Size(number).to_string()), Some(Size(number)));
            let duration = Duration::from_secs(number);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Some(duration));
        }

        #[test]
        fn names_have_one_form(text in "\\PC{0,40}") {
            if let Ok(name) = domain_name(&text) {
                prop_assert_eq!(domain_name(&name), Ok(name.clone()));
            }
            let _ = (HostPort::parse(&text), Network::parse(&text), parse_duration(&text));
        }
    }
}
