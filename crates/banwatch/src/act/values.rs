//! What is known about one ban when an action is run for it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::tag::{GROUP_MAX, Tag};

/// Longest text of one value, in octets. The kernel takes 128 KiB.
pub const TEXT_MAX: usize = 8 * 1024;
/// Longest name of who is banned, in octets.
pub const WHO_MAX: usize = 512;
/// Groups of the filter that are passed on.
pub const GROUPS_MAX: usize = 32;

/// Who is banned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// An address or a network.
    Net(crate::prefix::Prefix),
    /// An identity of the filter's own (`<F-ID>`), or a host name that is not looked up.
    Id(Box<str>),
}

impl Who {
    /// `inet6`, or `inet4` for all else, as `[Init?family=…]` names it.
    #[must_use]
    pub fn family(&self) -> Family {
        match self {
            Who::Net(p) if !p.is_v4() => Family::Inet6,
            _ => Family::Inet4,
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Net(p) => p.fmt(f),
            Who::Id(text) => f.write_str(text),
        }
    }
}

/// Which of the two texts of a command is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, and identities.
    Inet4,
    /// IPv6.
    Inet6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::Inet4, Family::Inet6];

    /// As fail2ban's files write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Inet4 => "inet4",
            Family::Inet6 => "inet6",
        }
    }
}

/// The values of one ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Who is banned.
    pub who: Who,
    /// The address behind an identity, if the line has one.
    pub address: Option<IpAddr>,
    /// Second of the ban.
    pub time: i64,
    /// For how many seconds; negative for ever.
    pub bantime: i64,
    /// For the how manyth time.
    pub count: u32,
    /// It stood before a restart.
    pub restored: bool,
    /// Failures: that led to it; of all jails; of this jail.
    pub failures: [u32; 3],
    /// The jail's numbers: banned now, banned ever, failing now, found ever.
    pub jail: [u64; 4],
    /// Lines: that led to it; of all jails; of this jail.
    pub lines: [String; 3],
    /// What groups of the filter matched.
    pub groups: BTreeMap<String, String>,
}

impl Values {
    /// Those of a ban of which nothing more is known.
    #[must_use]
    pub fn of(who: Who, time: i64, bantime: i64) -> Values {
        Values {
            who,
            address: None,
            time,
            bantime,
            count: 1,
            restored: false,
            failures: [0; 3],
            jail: [0; 4],
            lines: Default::default(),
            groups: BTreeMap::new(),
        }
    }

    fn ip(&self) -> Option<IpAddr> {
        match (&self.who, self.address) {
            (_, Some(ip)) => Some(ip),
            (Who::Net(p), None) => Some(p.address()),
            (Who::Id(_), None) => None,
        }
    }

    /// The value of a tag, without octets that no environment can hold. `<ip-host>` is empty: it
    /// takes somebody who can ask.
    #[must_use]
    pub fn get(&self, tag: &Tag) -> String {
        let [failures, ip_failures, jail_failures] = self.failures;
        let [banned, banned_total, found, found_total] = self.jail;
        let [lines, ip_lines, jail_lines] = &self.lines;
        match tag {
            Tag::Ip => match (&self.who, self.address) {
                (Who::Id(_), Some(ip)) => ip.to_string(),
                (who, _) => clean(&who.to_string()),
            },
            Tag::Fid => clean(&self.who.to_string()),
            Tag::Family => match self.ip() {
                Some(IpAddr::V6(_)) => "inet6".to_owned(),
                _ => "inet4".to_owned(),
            },
            Tag::IpRev => self.ip().map_or(String::new(), reversed),
            Tag::IpHost => String::new(),
            Tag::Failures => failures.to_string(),
            Tag::IpFailures => ip_failures.max(failures).to_string(),
            Tag::IpJailFailures => jail_failures.max(failures).to_string(),
            Tag::Time => self.time.to_string(),
            Tag::BanTime => self.bantime.to_string(),
            Tag::BanCount => self.count.to_string(),
            Tag::Restored => u8::from(self.restored).to_string(),
            Tag::Matches => clean(lines),
            Tag::IpMatches => clean(if ip_lines.is_empty() { lines } else { ip_lines }),
            Tag::IpJailMatches => clean(if jail_lines.is_empty() {
                lines
            } else {
                jail_lines
            }),
            Tag::JailBanned => banned.to_string(),
            Tag::JailBannedTotal => banned_total.to_string(),
            Tag::JailFound => found.to_string(),
            Tag::JailFoundTotal => found_total.to_string(),
            Tag::Group(name) => self.groups.get(name).map_or(String::new(), |v| clean(v)),
        }
    }

    /// Cuts what is longer than a packet may have.
    pub fn bound(&mut self) {
        for l in &mut self.lines {
            cut(l, TEXT_MAX);
        }
        if let Who::Id(id) = &mut self.who {
            let mut text = id.to_string();
            cut(&mut text, WHO_MAX);
            *id = text.into();
        }
        self.groups.retain(|name, _| name.len() <= GROUP_MAX);
        while self.groups.len() > GROUPS_MAX {
            self.groups.pop_last();
        }
        for v in self.groups.values_mut() {
            cut(v, WHO_MAX);
        }
    }
}

/// Cuts a text between two characters.
pub fn cut(text: &mut String, max: usize) {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// Control characters other than newline and tab become `?`: they steer terminals and mail
/// programs, and an environment can't hold a zero octet.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '?',
            c => c,
        })
        .collect()
}

/// `1.0.0.127.` of 127.0.0.1; for IPv6 each of 32 hexadecimal digits.
fn reversed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.")
        }
        IpAddr::V6(v6) => {
            let digits = format!("{:032x}", u128::from(v6));
            digits.chars().rev().flat_map(|c| [c, '.']).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_tags() {
        let mut v = Values::of(Who::Net("192.0.2.9".parse().unwrap()), 1_000, 600);
        v.failures = [5, 0, 9];
        v.lines[0] = "a\0\u{1b}[1m\nb".to_owned();
        v.groups.insert("user".to_owned(), "x\r".to_owned());
        for (tag, want) in [
            ("ip", "192.0.2.9"),
            ("fid", "192.0.2.9"),
            ("family", "inet4"),
            ("ip-rev", "9.2.0.192."),
            ("ip-host", ""),
            ("failures", "5"),
            ("ipfailures", "5"),
            ("ipjailfailures", "9"),
            ("time", "1000"),
            ("bantime", "600"),
            ("bancount", "1"),
            ("restored", "0"),
            ("matches", "a??[1m\nb"),
            ("ipmatches", "a??[1m\nb"),
            ("F-USER", "x?"),
            ("F-OTHER", ""),
            ("jail.found_total", "0"),
        ] {
            assert_eq!(v.get(&Tag::parse(tag).unwrap()), want, "{tag}");
        }
        v.who = Who::Net("2001:db8::/64".parse().unwrap());
        assert_eq!(v.get(&Tag::Ip), "2001:db8::/64");
        assert_eq!(v.get(&Tag::Family), "inet6");
        assert!(v.get(&Tag::IpRev).starts_with("0.0.0."));
        assert!(v.get(&Tag::IpRev).ends_with("8.b.d.0.1.0.0.2."));
        v.who = Who::Id("alice".into());
        assert_eq!(
            (v.get(&Tag::Ip), v.get(&Tag::Fid)),
            ("alice".into(), "alice".into())
        );
        v.address = Some([192, 0, 2, 1].into());
        assert_eq!(v.get(&Tag::Ip), "192.0.2.1");
    }

    #[test]
    fn limits() {
        for n in [TEXT_MAX - 1, TEXT_MAX, TEXT_MAX + 1] {
            let mut v = Values::of(Who::Id("x".repeat(n).into()), 0, -1);
            v.lines[0] = "x".repeat(n);
            for i in 0..=GROUPS_MAX {
                v.groups.insert(format!("g{i:02}"), "x".repeat(n));
            }
            v.bound();
            assert_eq!(v.lines[0].len(), n.min(TEXT_MAX));
            assert_eq!(v.groups.len(), GROUPS_MAX);
            assert!(v.groups.values().all(|t| t.len() == WHO_MAX));
            assert_eq!(v.who.to_string().len(), WHO_MAX);
        }
    }
}
