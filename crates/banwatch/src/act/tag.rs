//! The tags of an action's commands whose values belong to one ban: `<ip>`, `<matches>` …

/// A tag whose value is known only when a command is run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// `<ip>`: the address or network; for a failure known by an identity only, that.
    Ip,
    /// `<family>`: `inet4` or `inet6`.
    Family,
    /// `<ip-rev>`: the address backwards, with a dot behind it, as DNS lists want it.
    IpRev,
    /// `<ip-host>`: the name that the address has in DNS, or nothing.
    IpHost,
    /// `<fid>`: the identity (`<F-ID>`), else as `<ip>`.
    Fid,
    /// `<failures>`: how many led to the ban.
    Failures,
    /// `<ipfailures>`: how many of all jails are remembered.
    IpFailures,
    /// `<ipjailfailures>`: how many of this jail are remembered.
    IpJailFailures,
    /// `<time>`: when it was banned, seconds since 1970.
    Time,
    /// `<bantime>`: for how many seconds, -1 for ever.
    BanTime,
    /// `<bancount>`: for the how manyth time.
    BanCount,
    /// `<restored>`: 1 for a ban of before a restart, else 0.
    Restored,
    /// `<matches>`: the lines that led to it.
    Matches,
    /// `<ipmatches>`: the lines of all jails.
    IpMatches,
    /// `<ipjailmatches>`: the lines of this jail, those of earlier bans too.
    IpJailMatches,
    /// `<jail.banned>`
    JailBanned,
    /// `<jail.banned_total>`
    JailBannedTotal,
    /// `<jail.found>`
    JailFound,
    /// `<jail.found_total>`
    JailFoundTotal,
    /// `<F-NAME>`: what a group of the filter matched, by its name in lower case.
    Group(String),
}

const NAMES: [(&str, Tag); 19] = [
    ("ip", Tag::Ip),
    ("family", Tag::Family),
    ("ip-rev", Tag::IpRev),
    ("ip-host", Tag::IpHost),
    ("fid", Tag::Fid),
    ("failures", Tag::Failures),
    ("ipfailures", Tag::IpFailures),
    ("ipjailfailures", Tag::IpJailFailures),
    ("time", Tag::Time),
    ("bantime", Tag::BanTime),
    ("bancount", Tag::BanCount),
    ("restored", Tag::Restored),
    ("matches", Tag::Matches),
    ("ipmatches", Tag::IpMatches),
    ("ipjailmatches", Tag::IpJailMatches),
    ("jail.banned", Tag::JailBanned),
    ("jail.banned_total", Tag::JailBannedTotal),
    ("jail.found", Tag::JailFound),
    ("jail.found_total", Tag::JailFoundTotal),
];

/// Longest name of a group, in octets.
pub const GROUP_MAX: usize = 64;

impl Tag {
    /// The tag of this name, without its angle brackets.
    #[must_use]
    pub fn parse(name: &str) -> Option<Tag> {
        if let Some((_, tag)) = NAMES.iter().find(|(n, _)| *n == name) {
            return Some(tag.clone());
        }
        let group = name.strip_prefix("F-")?;
        let fits = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        let good = !group.is_empty() && group.len() <= GROUP_MAX && group.bytes().all(fits);
        good.then(|| {
            Tag::Group(crate::f2b::failregex::option_name(
                &group.to_ascii_lowercase(),
            ))
        })
    }

    /// The name as written in a command.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Tag::Group(g) => format!("F-{}", g.to_ascii_uppercase()),
            other => NAMES
                .iter()
                .find(|(_, t)| t == other)
                .map_or(String::new(), |(n, _)| (*n).to_owned()),
        }
    }

    /// The environment variable that carries the value: letters, digits and `_` only. The names
    /// are those that fail2ban uses for values that have to be quoted.
    #[must_use]
    pub fn variable(&self) -> String {
        let name = match self {
            Tag::Group(g) => format!("f2bV_F_{g}"),
            other => format!("f2bV_{}", other.name()),
        };
        name.chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect()
    }

    /// Whether a stranger can choose the value freely. All others are addresses and numbers
    /// (`<ip>` may be an identity: whoever needs it to be plain looks at the value).
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(
            self,
            Tag::Fid
                | Tag::IpHost
                | Tag::Matches
                | Tag::IpMatches
                | Tag::IpJailMatches
                | Tag::Group(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variables() {
        for (name, tag) in &NAMES {
            assert_eq!(Tag::parse(name).as_ref(), Some(tag));
            assert_eq!(tag.name(), *name);
        }
        let user = Tag::parse("F-USER").unwrap();
        assert_eq!(
            (user.variable().as_str(), user.is_text()),
            ("f2bV_F_user", true)
        );
        assert_eq!(user.name(), "F-USER");
        assert_eq!(Tag::parse("F-ID"), Some(Tag::Group("fid".to_owned())));
        assert_eq!(Tag::IpRev.variable(), "f2bV_ip_rev");
        assert_eq!(Tag::JailBannedTotal.variable(), "f2bV_jail_banned_total");
        for none in ["F-", "F-user", "IP", "", "F-A B", "port"] {
            assert_eq!(Tag::parse(none), None, "{none}");
        }
        for (n, good) in [
            (GROUP_MAX - 1, true),
            (GROUP_MAX, true),
            (GROUP_MAX + 1, false),
        ] {
            assert_eq!(Tag::parse(&format!("F-{}", "A".repeat(n))).is_some(), good);
        }
    }
}
