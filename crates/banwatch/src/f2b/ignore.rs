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
    /// Addresses of the names, by the name's place.
    found: Vec<(usize, Prefix)>,
}

/// What a word of the list is.
enum Word {
    Net(Prefix),
    Name(String),
}

fn word_of(word: &str) -> Result<Word, String> {
    if let Some(n) = parse_net(word) {
        return Ok(Word::Net(n));
    }
    let name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let number = word.chars().all(|c| c.is_ascii_digit() || c == '.');
    if !word.chars().all(name) || number {
        return Err(format!("{word} is neither an address nor a name"));
    }
    Ok(Word::Name(word.to_owned()))
}

impl IgnoreList {
    /// Reads the option: nets and host names, separated by spaces or commas.
    ///
    /// # Errors
    /// The first word that is neither a net nor a host name, or what is beyond [`ENTRIES_MAX`].
    pub fn parse(text: &str) -> Result<IgnoreList, String> {
        let mut list = IgnoreList::default();
        for word in super::options::words(text) {
            list.add_word(word)?;
        }
        Ok(list)
    }

    /// Adds a net or a host name.
    ///
    /// # Errors
    /// As [`IgnoreList::parse`].
    pub fn add_word(&mut self, word: &str) -> Result<(), String> {
        if self.nets.len() + self.names.len() >= ENTRIES_MAX {
            return Err("too many entries".to_owned());
        }
        match word_of(word)? {
            Word::Net(n) => self.nets.push(n),
            Word::Name(n) => self.names.push(n),
        }
        Ok(())
    }

    /// Takes a net or a host name off the list; whether it was there.
    pub fn remove_word(&mut self, word: &str) -> bool {
        let before = self.nets.len() + self.names.len();
        match word_of(word) {
            Ok(Word::Net(net)) => self.nets.retain(|n| *n != net),
            Ok(Word::Name(name)) => {
                if let Some(at) = self.names.iter().position(|n| *n == name) {
                    self.names.remove(at);
                    self.found.retain(|(n, _)| *n != at);
                    for (n, _) in &mut self.found {
                        *n -= usize::from(*n > at);
                    }
                }
            }
            Err(_) => {}
        }
        before != self.nets.len() + self.names.len()
    }

    /// The addresses of a name on the list, in place of those known before.
    pub fn set_found(&mut self, name: &str, addresses: &[IpAddr]) {
        let Some(at) = self.names.iter().position(|n| n == name) else {
            return;
        };
        self.found.retain(|(n, _)| *n != at);
        let all = addresses.iter().map(|ip| (at, Prefix::host(*ip)));
        self.found.extend(all);
    }

    /// The words of the list, as far as they are nets or names.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let nets = self.nets.iter().map(Prefix::to_string);
        nets.chain(self.names.iter().cloned()).collect()
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
        let found = self.found.iter().map(|(_, n)| n);
        self.nets.iter().chain(found).any(|n| n.overlaps(net))
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
    fn names_and_changes() {
        let mut l = IgnoreList::parse("a.example b.example 192.0.2.0/24").unwrap();
        let net = |t: &str| parse_net(t).unwrap();
        let (a, b) = ([198, 51, 100, 1].into(), [198, 51, 100, 2].into());
        l.set_found("a.example", &[a]);
        l.set_found("b.example", &[b]);
        l.set_found("c.example", &[[198, 51, 100, 3].into()]);
        assert!(l.covers(net("198.51.100.1")) && l.covers(net("198.51.100.2")));
        assert!(!l.covers(net("198.51.100.3")));
        assert!(l.remove_word("a.example") && !l.remove_word("a.example"));
        assert!(!l.covers(net("198.51.100.1")) && l.covers(net("198.51.100.2")));
        l.set_found("b.example", &[a]);
        assert!(l.covers(net("198.51.100.1")) && !l.covers(net("198.51.100.2")));
        assert!(l.add_word("203.0.113.7").is_ok() && l.add_word("x;y").is_err());
        assert_eq!(l.words(), ["192.0.2.0/24", "203.0.113.7", "b.example"]);
        assert!(l.remove_word("192.0.2.0/24") && !l.covers(net("192.0.2.1")));
        for (n, good) in [
            (ENTRIES_MAX - 1, true),
            (ENTRIES_MAX, true),
            (ENTRIES_MAX + 1, false),
        ] {
            assert_eq!(IgnoreList::parse(&"a ".repeat(n)).is_ok(), good);
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
