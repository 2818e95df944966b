//! The table `[ban]` of hikyaku.toml.

use std::path::PathBuf;

use config::Config;
use config::value::{Kind, Table, Value};
use daemon::Fatal;

use crate::fire::nft::Limits;
use crate::fire::table::Backend;
use crate::own::book::Growth;
use crate::own::judge::Reason;
use crate::prefix::Prefix;

/// What the table says, every default filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether banwatch runs at all.
    pub enabled: bool,
    /// Decide and tell, but leave the firewall alone.
    pub observe: bool,
    /// Rules of ours that only observe, by name.
    pub observe_rules: Vec<String>,
    /// Never banned.
    pub ignore: Vec<Prefix>,
    /// Loopback addresses may be banned too: for tests.
    pub loopback: bool,
    /// How long bans of our own rules are.
    pub growth: Growth,
    /// For how many days a good login helps.
    pub good_days: u32,
    /// fail2ban's configuration directory, if its jails are to be kept.
    pub fail2ban: Option<PathBuf>,
    /// Who runs the actions of those jails that have others than the firewall's.
    pub action_user: String,
    /// Ports of remote login: established sessions there are never cut off.
    pub admin_ports: Vec<u16>,
    /// Limits that the kernel keeps.
    pub limits: Option<Limits>,
    /// The firewall that is used.
    pub backend: Backend,
    /// `ban.backend = "none"`: the firewall is left alone, and actions are run all the same.
    pub no_firewall: bool,
    /// The directory of the state file.
    pub state: PathBuf,
}

/// Ports that the kernel's limits hold for, unless others are named.
pub const LIMITED_PORTS: [u16; 7] = [25, 465, 587, 110, 143, 993, 995];

impl Settings {
    /// Reads the table; what is wrong is named with its place.
    ///
    /// # Errors
    /// `Setup`, a line for each mistake.
    pub fn read(config: &Config) -> Result<Settings, Fatal> {
        let mut r = Reader {
            table: &config.ban,
            file: config.file.display().to_string(),
            wrong: Vec::new(),
        };
        let growth = Growth {
            first: r.time("first", Growth::default().first),
            factor: r.number("factor", 1..=100, Growth::default().factor),
            most: r.time("longest", Growth::default().most),
        };
        let new_per_minute = r.number("new_per_minute", 0..=1_000_000, 0);
        let at_once = r.number("at_once", 0..=1_000_000, 0);
        let limited = r.ports("limited_ports", &LIMITED_PORTS);
        let state = r.path("state").unwrap_or_else(|| match &config.root {
            Some(root) => root.join("ban"),
            None => PathBuf::from("/var/lib/hikyaku/ban"),
        });
        let backend = r.backend("backend");
        let settings = Settings {
            enabled: r.flag("enabled", true),
            observe: r.flag("observe", false),
            observe_rules: r.rules("observe_rules"),
            ignore: r.networks("ignore"),
            loopback: r.flag("loopback", false),
            growth,
            good_days: r.number("good_days", 0..=365, 7),
            fail2ban: r.path("fail2ban"),
            action_user: r.name("action_user", "root"),
            admin_ports: r.ports("admin_ports", &[22]),
            backend: backend.unwrap_or_default(),
            no_firewall: backend.is_none(),
            limits: (new_per_minute | at_once > 0).then_some(Limits {
                ports: limited,
                new_per_minute,
                at_once,
            }),
            state,
        };
        match r.wrong.is_empty() {
            true => Ok(settings),
            false => Err(Fatal::setup(r.wrong.join("\n"))),
        }
    }
}

struct Reader<'a> {
    table: &'a Table,
    file: String,
    wrong: Vec<String>,
}

impl Reader<'_> {
    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.table.get(key)?;
        let found = read(value);
        if found.is_none() {
            let (file, at, is) = (&self.file, value.at, value.kind.describe());
            self.wrong.push(format!(
                "{file}:{at}: ban.{key} is {is}, expected {expected}"
            ));
        }
        found
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        let read = |v: &Value| match v.kind {
            Kind::Flag(f) => Some(f),
            _ => None,
        };
        self.take(key, "true or false", read).unwrap_or(default)
    }

    fn number(&mut self, key: &str, range: std::ops::RangeInclusive<u32>, default: u32) -> u32 {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let read = |v: &Value| match v.kind {
            Kind::Number(n) => u32::try_from(n).ok().filter(|n| range.contains(n)),
            _ => None,
        };
        self.take(key, &expected, read).unwrap_or(default)
    }

    /// Which firewall; `None` for none at all.
    fn backend(&mut self, key: &str) -> Option<Backend> {
        let read = |v: &Value| match &v.kind {
            Kind::Text(t) if t == "none" => Some(None),
            Kind::Text(t) => Backend::parse(t).map(Some),
            _ => None,
        };
        self.take(key, "\"auto\", \"nftables\", \"ipset\" or \"none\"", read)
            .unwrap_or(Some(Backend::default()))
    }

    /// Seconds, from a text such as `10m`.
    fn time(&mut self, key: &str, default: u32) -> u32 {
        let read = |v: &Value| match &v.kind {
            Kind::Text(t) => seconds(t),
            _ => None,
        };
        self.take(key, "a time such as \"10m\", at most \"365d\"", read)
            .unwrap_or(default)
    }

    fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.take(key, "an absolute path", |v| match &v.kind {
            Kind::Text(t) if t.starts_with('/') => Some(PathBuf::from(t)),
            _ => None,
        })
    }

    /// A user's name.
    fn name(&mut self, key: &str, default: &str) -> String {
        let fits = |t: &str| {
            !t.is_empty() && t.len() <= 32 && t.bytes().all(|b| b.is_ascii_graphic() && b != b':')
        };
        let read = |v: &Value| match &v.kind {
            Kind::Text(t) if fits(t) => Some(t.clone()),
            _ => None,
        };
        self.take(key, "the name of a user", read)
            .unwrap_or_else(|| default.to_owned())
    }

    fn networks(&mut self, key: &str) -> Vec<Prefix> {
        let read = |v: &Value| match &v.kind {
            Kind::List(all) => all
                .iter()
                .map(|v| match &v.kind {
                    Kind::Text(t) => t.parse().ok(),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        self.take(key, "a list of addresses and networks", read)
            .unwrap_or_default()
    }

    fn rules(&mut self, key: &str) -> Vec<String> {
        let known = |t: &str| Reason::ALL.iter().any(|r| r.as_str() == t);
        let read = |v: &Value| match &v.kind {
            Kind::List(all) => all
                .iter()
                .map(|v| match &v.kind {
                    Kind::Text(t) if known(t) => Some(t.clone()),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        let names: Vec<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
        let expected = format!("a list of {}", names.join(", "));
        self.take(key, &expected, read).unwrap_or_default()
    }

    fn ports(&mut self, key: &str, default: &[u16]) -> Vec<u16> {
        let read = |v: &Value| match &v.kind {
            Kind::List(all) if all.len() <= crate::fire::wire::PORTS_MAX => all
                .iter()
                .map(|v| match v.kind {
                    Kind::Number(n) => u16::try_from(n).ok().filter(|n| *n > 0),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        self.take(key, "a list of at most 64 port numbers", read)
            .unwrap_or_else(|| default.to_vec())
    }
}

fn seconds(text: &str) -> Option<u32> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let times = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number
        .parse::<u32>()
        .ok()?
        .checked_mul(times)
        .filter(|n| (1..=365 * 86_400).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ban: &str) -> Result<Settings, String> {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("hikyaku.toml");
        std::fs::write(
            &file,
            format!("hostname = \"a.example\"\ndomains = [\"a.example\"]\n[ban]\n{ban}"),
        )
        .unwrap();
        let config = Config::load(&file).map_err(|e| e.to_string())?;
        Settings::read(&config).map_err(|e| e.to_string())
    }

    #[test]
    fn the_sample_says_the_defaults() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../etc/hikyaku.toml");
        let sample = std::fs::read_to_string(path).unwrap();
        let (_, table) = sample.split_once("\n[ban]\n").unwrap();
        // With every commented setting switched on.
        let open: String = table
            .lines()
            .filter_map(|l| l.strip_prefix('#').filter(|r| !r.starts_with(' ')))
            .map(|l| format!("{l}\n"))
            .collect();
        let (said, plain) = (read(&open).unwrap(), read("").unwrap());
        assert_eq!(
            (said.enabled, said.observe, said.growth),
            (plain.enabled, plain.observe, plain.growth)
        );
        // These two have no default: they are examples.
        assert!(!said.ignore.is_empty() && said.fail2ban.is_some());
    }

    #[test]
    fn defaults_and_values() {
        let s = read("").unwrap();
        assert!(
            s.enabled && !s.observe && !s.loopback && s.limits.is_none() && s.ignore.is_empty()
        );
        assert_eq!(
            (s.growth, s.good_days, s.admin_ports),
            (Growth::default(), 7, vec![22])
        );
        assert!(read("backend = \"none\"\n").unwrap().no_firewall);
        let s = read("backend = \"ipset\"\n").unwrap();
        assert!(!s.no_firewall && s.backend == Backend::Ipset);
        assert_eq!(
            read("action_user = \"nobody\"\n").unwrap().action_user,
            "nobody"
        );
        assert!(read("action_user = \"a:b\"\nbackend = \"x\"\n").is_err());
        let s = read(
            "observe = true\nignore = [\"10.0.0.0/8\", \"2001:db8::1\"]\nfirst = \"1h\"\nfactor = 2\nat_once = 20\nadmin_ports = [2222]\n",
        )
        .unwrap();
        assert!(
            s.observe && s.ignore.len() == 2 && s.growth.first == 3_600 && s.growth.factor == 2
        );
        assert_eq!(s.limits.unwrap().ports, LIMITED_PORTS);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let wrong =
            read("observe = 1\nignore = [\"x\"]\nfirst = \"0s\"\nfactor = 101\n").unwrap_err();
        for part in [
            ":4:11: ban.observe",
            ":5:10: ban.ignore",
            ":6:9: ban.first",
            ":7:10: ban.factor",
        ] {
            assert!(wrong.contains(part), "{wrong}");
        }
        for (text, n) in [
            ("1s", Some(1)),
            ("365d", Some(31_536_000)),
            ("366d", None),
            ("0s", None),
            ("5", None),
            ("5x", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), n, "{text}");
        }
    }
}
