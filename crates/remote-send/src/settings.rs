//! What remote-send keeps of the configuration.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::settings::RemoteTls;
use daemon::Fatal;
use daemon::tls::ClientTls;
use dns::{Name, Ourselves};
use smtp::client::TlsUse;

use crate::hop::Hop;

/// How long a connection may take to stand.
///
/// RFC 5321 gives no time; half a minute is beyond any round trip and short enough to come to the
/// second mail host soon.
pub const CONNECT_TIME: Duration = Duration::from_secs(30);

/// How long a connection is kept for the next message to the same place.
pub const IDLE_TIME: Duration = Duration::from_secs(5);

/// Most connections kept without work; the oldest makes room.
pub const IDLE_MAX: usize = 200;

/// Most messages sent over one connection, so that a host with several addresses gets its load
/// spread again.
pub const MESSAGES_PER_CONNECTION: u32 = 200;

/// Most addresses that one transaction tries to connect to.
pub const CONNECTS_MAX: u32 = 8;

/// Most hosts that one transaction talks to, once they have answered the connection.
pub const SESSIONS_MAX: usize = 4;

/// How long one transaction may take, all of its hosts together.
///
/// Far beyond the times of RFC 5321, 4.5.3.2 for hosts that mean to take the message: this one ends
/// dialogues in which each reply comes just in time, and none will ever be the last.
pub const TRANSACTION_TIME: Duration = Duration::from_secs(6 * 3_600);

/// How often transactions are looked through for such ones.
pub const SWEEP_TIME: Duration = Duration::from_secs(600);

/// How long messages that are being sent may take when this program is told to stop.
pub const STOP_TIME: Duration = Duration::from_secs(5);

/// The resolver's file, read once before confinement; a reload starts a new process.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// All of it.
#[derive(Debug)]
pub struct Settings {
    /// Our name for EHLO.
    pub hello: Box<str>,
    /// Who we are, so that mail for ourselves is not sent to ourselves.
    pub own: Arc<Ourselves>,
    /// Port of mail hosts found by MX.
    pub port: u16,
    /// Where all mail goes, if not by MX.
    pub relay: Option<Hop>,
    /// Encryption.
    pub tls: TlsUse,
    /// The library's side of it.
    pub client_tls: ClientTls,
    /// Source address of connections, by family.
    pub source: config::settings::Source,
    /// Name servers.
    pub dns: dns::Settings,
    /// Most transactions at once.
    pub jobs_max: usize,
}

impl Settings {
    /// From the whole configuration.
    pub fn new(config: &config::Config) -> Result<Self, Fatal> {
        let remote = &config.remote;
        let relay = remote.relay_host.as_ref().map(|relay| {
            let name = match &relay.host {
                config::types::Host::Name(name) => name.clone(),
                config::types::Host::Address(address) => address.to_string(),
            };
            Hop::Host(name.into(), relay.port)
        });
        let dns = match remote.resolver {
            Some(server) => dns::Settings::new(vec![server]),
            None => resolv_conf()?,
        };
        let client_tls =
            ClientTls::opportunistic().map_err(|error| Fatal::setup(format!("TLS: {error}")))?;
        Ok(Self {
            hello: config.hostname.as_str().into(),
            own: Arc::new(ourselves(config, &interfaces())),
            port: remote.port,
            relay,
            tls: match remote.tls {
                RemoteTls::May => TlsUse::May,
                RemoteTls::None => TlsUse::Never,
                RemoteTls::Encrypt => TlsUse::Must,
            },
            client_tls,
            source: remote.source,
            dns,
            // queue-manager keeps to the setting itself; the second half is for what it asks for
            // while our answers are on their way.
            jobs_max: 2 * usize::try_from(remote.concurrency.max(1)).unwrap_or(1_000),
        })
    }

    /// The source address for a connection to `to`.
    pub fn source_for(&self, to: SocketAddr) -> Option<IpAddr> {
        match to {
            SocketAddr::V4(_) => self.source.v4.map(IpAddr::V4),
            SocketAddr::V6(_) => self.source.v6.map(IpAddr::V6),
        }
    }
}

/// This host as others see it: our name, unless it is no name that could stand in the DNS, and the
/// addresses where we take mail at the port that other hosts' mail goes to. `interfaces` are those
/// that stand for the addresses of a listener on all of them.
fn ourselves(config: &config::Config, interfaces: &[IpAddr]) -> Ourselves {
    let remote = &config.remote;
    let mut own = Ourselves {
        names: Name::parse(&config.hostname).into_iter().collect(),
        addresses: remote
            .own_addresses
            .iter()
            .map(IpAddr::to_canonical)
            .collect(),
        loopback: false,
    };
    for listener in &config.listen.mx {
        let ip = listener.ip();
        if listener.port() != remote.port {
            continue;
        }
        if ip.is_unspecified() {
            own.loopback = true;
            let same = |address: &&IpAddr| address.is_ipv4() == ip.is_ipv4();
            own.addresses.extend(interfaces.iter().filter(same));
        } else {
            own.addresses.push(ip.to_canonical());
        }
    }
    own
}

/// The addresses of this host. A change of them is seen by the next process (a reload).
fn interfaces() -> Vec<IpAddr> {
    daemon::net::own_addresses().unwrap_or_else(|error| {
        daemon::log::warning("interfaces")
            .val("error", error)
            .send();
        Vec::new()
    })
}

fn resolv_conf() -> Result<dns::Settings, Fatal> {
    let text = match std::fs::read(RESOLV_CONF) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Fatal::io(RESOLV_CONF, error)),
        Ok(text) => text,
    };
    let (settings, remarks) = dns::Settings::from_resolv_conf(&text);
    for remark in &remarks {
        daemon::log::warning("resolv-conf")
            .kv("remark", remark)
            .send();
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_mail_would_come_back() {
        let interfaces: Vec<IpAddr> = ["127.0.0.1", "192.0.2.1", "::1", "2001:db8::1"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let own = |listen: &str, remote: &str| {
            let text = format!(
                "hostname = \"me.example\"\ndomains = [\"me.example\"]\n[listen]\nmx = [{listen}]\n[remote]\n{remote}\n"
            );
            let file = std::path::Path::new("/etc/hikyaku/hikyaku.toml");
            ourselves(&config::Config::parse(&text, file).unwrap(), &interfaces)
        };
        let at = |own: &Ourselves, text: &str| own.is_at(text.parse().unwrap());
        // All interfaces of the family.
        let all = own("\"0.0.0.0:25\"", "");
        assert!(at(&all, "192.0.2.1") && at(&all, "127.9.9.9"));
        assert!(!at(&all, "2001:db8::1") && !at(&all, "192.0.2.2"));
        assert!(at(&own("\"[::]:25\"", ""), "2001:db8::1"));
        // One address: the others are somebody else's, loopback included.
        let one = own("\"192.0.2.1:25\"", "own_addresses = [\"203.0.113.5\"]");
        assert!(at(&one, "192.0.2.1") && at(&one, "203.0.113.5"));
        assert!(!at(&one, "127.0.0.1"));
        // Another port than that of the others: no connection of ours comes back.
        let other = own("\"0.0.0.0:2525\"", "");
        assert!(!at(&other, "192.0.2.1") && !at(&other, "127.0.0.1"));
        assert!(at(&own("\"0.0.0.0:2525\"", "port = 2525"), "192.0.2.1"));
    }
}
