//! Which name servers are asked, and how patiently.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use resolv_conf::ScopedIp;

/// Most servers asked; further `nameserver` lines are left out. (The C library stops at 3.)
pub const SERVERS_MAX: usize = 8;

/// Longest wait for one answer that a setting may ask for (as the C library limits it).
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Most rounds over the servers that a setting may ask for (as the C library limits it).
const ATTEMPTS_MAX: u32 = 5;

/// How long a server that did not answer stands behind the others.
const DOWN_TIME: Duration = Duration::from_secs(10);

/// Where and how to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The servers in order of preference, 1 to [`SERVERS_MAX`].
    pub servers: Vec<SocketAddr>,
    /// Wait for one answer; 1 to 30 s.
    pub timeout: Duration,
    /// Rounds over all servers; 1 to 5.
    pub attempts: u32,
    /// Begin each lookup with the next server instead of always the first.
    pub rotate: bool,
    /// Believe the AD bit of every server, not only of one on loopback.
    pub trust_ad: bool,
}

/// Why a text gives no usable settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsError {
    /// Not `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.
    Address(String),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => {
                write!(
                    f,
                    "expected a name server as ADDRESS or ADDRESS:PORT, found {text:?}"
                )
            }
        }
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// The given servers with the defaults: 5 s, 2 rounds, no rotation, AD from loopback only.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        let mut settings = Self {
            servers,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            trust_ad: false,
        };
        settings.clamp();
        settings
    }

    /// What a `resolv.conf` says: `nameserver`, `options timeout: attempts: rotate trust-ad`.
    ///
    /// Lines that can't be read are passed over, as the C library does, and given back for the
    /// log. Without a usable `nameserver`, 127.0.0.1 and ::1 are asked. `search`, `domain` and
    /// `ndots` have no meaning here. A scoped address needs its scope in numbers.
    pub fn from_resolv_conf(text: &[u8]) -> (Self, Vec<String>) {
        let (config, errors) = resolv_conf::Config::parse_with_errors(text);
        let mut remarks: Vec<String> = errors.iter().take(16).map(ToString::to_string).collect();
        let mut servers = Vec::new();
        for server in &config.nameservers {
            match server {
                ScopedIp::V4(v4) => servers.push(SocketAddr::new(IpAddr::V4(*v4), 53)),
                ScopedIp::V6(v6, None) => servers.push(SocketAddr::new(IpAddr::V6(*v6), 53)),
                ScopedIp::V6(v6, Some(scope)) => match scope.parse() {
                    Ok(scope) => servers.push(SocketAddrV6::new(*v6, 53, 0, scope).into()),
                    Err(_) => remarks.push(format!("scope {scope:?} of {v6} is not a number")),
                },
            }
        }
        if servers.is_empty() {
            servers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53));
            servers.push(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 53));
        }
        let mut settings = Self {
            servers,
            timeout: Duration::from_secs(u64::from(config.timeout)),
            attempts: config.attempts,
            rotate: config.rotate,
            trust_ad: config.trust_ad,
        };
        settings.clamp();
        (settings, remarks)
    }

    /// One server from a setting: `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`; the port is 53
    /// when it is left out.
    ///
    /// # Errors
    /// [`SettingsError::Address`] for anything else; a name is not accepted.
    pub fn from_server(text: &str) -> Result<Self, SettingsError> {
        let server = text
            .parse::<SocketAddr>()
            .or_else(|_| {
                text.parse::<IpAddr>()
                    .map(|address| SocketAddr::new(address, 53))
            })
            .map_err(|_| SettingsError::Address(text.to_owned()))?;
        Ok(Self::new(vec![server]))
    }

    fn clamp(&mut self) {
        self.servers.truncate(SERVERS_MAX);
        self.timeout = self.timeout.clamp(Duration::from_secs(1), TIMEOUT_MAX);
        self.attempts = self.attempts.clamp(1, ATTEMPTS_MAX);
    }
}

/// The servers with what is known of them.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) settings: Settings,
    down_until: Vec<Option<Instant>>,
    turn: usize,
}

impl Servers {
    pub(crate) fn new(mut settings: Settings) -> Self {
        settings.clamp();
        let down_until = vec![None; settings.servers.len()];
        Self {
            settings,
            down_until,
            turn: 0,
        }
    }

    /// The order for one lookup, as indices: by preference (or rotated), those that lately did
    /// not answer behind the others.
    pub(crate) fn order(&mut self, now: Instant) -> Vec<usize> {
        let count = self.settings.servers.len();
        let start = if self.settings.rotate && count > 0 {
            self.turn % count
        } else {
            0
        };
        self.turn = self.turn.wrapping_add(1);
        let mut order: Vec<usize> = (0..count).map(|index| (start + index) % count).collect();
        order.sort_by_key(|&index| self.is_down(index, now));
        order
    }

    fn is_down(&self, index: usize, now: Instant) -> bool {
        self.down_until
            .get(index)
            .copied()
            .flatten()
            .is_some_and(|until| until > now)
    }

    pub(crate) fn address(&self, index: usize) -> Option<SocketAddr> {
        self.settings.servers.get(index).copied()
    }

    /// Whether the AD bit of this server counts.
    pub(crate) fn trusted(&self, index: usize) -> bool {
        self.settings.trust_ad
            || self
                .address(index)
                .is_some_and(|server| server.ip().is_loopback())
    }

    pub(crate) fn answered(&mut self, index: usize) {
        if let Some(down) = self.down_until.get_mut(index) {
            *down = None;
        }
    }

    pub(crate) fn silent(&mut self, index: usize, now: Instant) {
        if let Some(down) = self.down_until.get_mut(index) {
            *down = now.checked_add(DOWN_TIME);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_options() {
        let (settings, remarks) = Settings::from_resolv_conf(
            b"# comment\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver fe80::1%3\n\
              search corp.example\noptions rotate timeout:3 attempts:4 trust-ad edns0\n",
        );
        assert_eq!(remarks, Vec::<String>::new());
        assert_eq!(settings.servers[0], "192.0.2.1:53".parse().unwrap());
        assert_eq!(settings.servers[1], "[2001:db8::1]:53".parse().unwrap());
        assert!(matches!(settings.servers[2], SocketAddr::V6(v6) if v6.scope_id() == 3));
        assert_eq!(settings.timeout, Duration::from_secs(3));
        assert_eq!(settings.attempts, 4);
        assert!(settings.rotate && settings.trust_ad);
    }

    #[test]
    fn an_empty_or_broken_file_asks_loopback() {
        let (settings, _) = Settings::from_resolv_conf(b"");
        assert_eq!(settings.servers.len(), 2);
        assert!(
            settings
                .servers
                .iter()
                .all(|server| server.ip().is_loopback())
        );
        let (settings, remarks) =
            Settings::from_resolv_conf(b"nameserver not-an-address\nnameserver 192.0.2.9\n");
        assert_eq!(settings.servers, vec!["192.0.2.9:53".parse().unwrap()]);
        assert_eq!(remarks.len(), 1);
    }

    #[test]
    fn options_are_held_within_their_limits() {
        for (text, seconds, attempts) in [
            ("timeout:29 attempts:4", 29, 4),
            ("timeout:30 attempts:5", 30, 5),
            ("timeout:31 attempts:6", 30, 5),
            ("timeout:0 attempts:0", 1, 1),
        ] {
            let (settings, _) = Settings::from_resolv_conf(format!("options {text}\n").as_bytes());
            assert_eq!(
                (settings.timeout.as_secs(), settings.attempts),
                (seconds, attempts),
                "{text}"
            );
        }
        for count in [SERVERS_MAX - 1, SERVERS_MAX, SERVERS_MAX + 1] {
            let text = "nameserver 192.0.2.1\n".repeat(count);
            let (settings, _) = Settings::from_resolv_conf(text.as_bytes());
            assert_eq!(settings.servers.len(), count.min(SERVERS_MAX));
        }
    }

    #[test]
    fn one_server_from_a_setting() {
        for (text, expected) in [
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("127.0.0.1", "127.0.0.1:53"),
            ("::1", "[::1]:53"),
            ("[::1]:54", "[::1]:54"),
        ] {
            assert_eq!(
                Settings::from_server(text).unwrap().servers,
                vec![expected.parse::<SocketAddr>().unwrap()]
            );
        }
        assert!(Settings::from_server("ns.example").is_err());
        assert!(Settings::from_server("").is_err());
    }

    #[test]
    fn order_turns_and_puts_the_silent_last() {
        let now = Instant::now();
        let list = ["192.0.2.1:53", "192.0.2.2:53", "192.0.2.3:53"];
        let mut settings = Settings::new(list.iter().map(|text| text.parse().unwrap()).collect());
        let mut servers = Servers::new(settings.clone());
        assert_eq!(servers.order(now), [0, 1, 2]);
        assert_eq!(servers.order(now), [0, 1, 2]);
        servers.silent(0, now);
        assert_eq!(servers.order(now), [1, 2, 0]);
        assert_eq!(servers.order(now + DOWN_TIME), [0, 1, 2]);
        servers.silent(0, now);
        servers.answered(0);
        assert_eq!(servers.order(now), [0, 1, 2]);
        settings.rotate = true;
        let mut servers = Servers::new(settings);
        assert_eq!(servers.order(now), [0, 1, 2]);
        assert_eq!(servers.order(now), [1, 2, 0]);
        assert_eq!(servers.order(now), [2, 0, 1]);
    }
}
