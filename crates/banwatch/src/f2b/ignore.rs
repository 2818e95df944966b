//! Addresses that are never banned.

use std::net::{IpAddr, Ipv4Addr};

use crate::prefix::Prefix;

/// Most entries of one list.
pub const ENTRIES_MAX: usize = 10_000;

/// Reads `192.0.2.1`, `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/32`; bits behind
/// the prefix may be set.
#[must_use]
pub fn parse_net(text: &str) -> Option<Prefix> {
    let Some((ip, length)) = text.split_once('/') else {
        return text.parse().ok().map(Prefix::host);
    };
    let ip: IpAddr = ip.parse().ok()?;
    if let Ok(m) = length.parse::<Ipv4Addr>() {
        let m = u32::from(m);
        let n = m.leading_ones();
        let whole = m.count_ones() == n && ip.is_ipv4();
        return if whole {
            Prefix::new(ip, n as u8)
        } else {
            None
        };
    }
    if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Prefix::new(ip, length.parse().ok()?)
}

/// `ignoreip`: nets, and names whose addresses somebody else has to find.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreList {
    nets: Vec<Prefix>,
    names: Vec<String>,
}

impl IgnoreList {
    /// Reads the option: nets and host names, separated by spaces or commas.
    ///
    /// # Errors
    /// The first word that is neither a net nor a host name, or what is beyond [`ENTRIES_MAX`].
    pub fn parse(text: &str) -> Result<IgnoreList, String> {
        let mut list = IgnoreList::default();
        for word in super::options::words(text) {
            if list.nets.len() + list.names.len() >= ENTRIES_MAX {
                return Err("too many entries".to_owned());
            }
            if let Some(n) = parse_net(word) {
                list.nets.push(n);
            } else {
                let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                let number = word.chars().all(|c| c.is_ascii_digit() || c == '.');
                if !word.chars().all(name) || number {
                    return Err(format!("{word} is neither an address nor a name"));
                }
                list.names.push(word.to_owned());
            }
        }
        Ok(list)
    }

    /// Host names in the list.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds a net: an address of a name, or one of the host's own.
    pub fn add(&mut self, net: Prefix) {
        if !self.nets.contains(&net) {
            self.nets.push(net);
        }
    }

    /// Whether banning `net` would shut out something that is listed.
    #[must_use]
    pub fn covers(&self, net: Prefix) -> bool {
        self.nets.iter().any(|n| n.overlaps(net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nets() {
        for (text, want) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.77/24", Some("192.0.2.0/24")),
            ("192.0.2.77/255.255.255.0", Some("192.0.2.0/24")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1/32", Some("2001:db8::/32")),
            ("0.0.0.0/0", Some("0.0.0.0/0")),
            ("192.0.2.1/32", Some("192.0.2.1")),
            ("192.0.2.1/33", None),
            ("2001:db8::/129", None),
            ("192.0.2.1/255.0.255.0", None),
            ("192.0.2.1/", None),
            ("192.0.2.1/+8", None),
            ("x", None),
        ] {
            assert_eq!(
                parse_net(text).map(|n| n.to_string()).as_deref(),
                want,
                "{text}"
            );
        }
    }

    #[test]
    fn lists() {
        let l = IgnoreList::parse("127.0.0.0/8, ::1 192.0.2.128/25 mx.example.org").unwrap();
        for (net, covered) in [
            ("127.1.2.3", true),
            ("::1", true),
            ("::2", false),
            ("192.0.2.127", false),
            ("192.0.2.128", true),
            // a net around an address that is listed
            ("192.0.2.0/24", true),
            ("::/0", true),
        ] {
            assert_eq!(l.covers(parse_net(net).unwrap()), covered, "{net}");
        }
        assert_eq!(l.names(), ["mx.example.org"]);
        assert!(IgnoreList::parse("1.2.3.256").is_err());
        assert!(IgnoreList::parse("a b;c").is_err());
    }
}
