//! What remote-send keeps of the configuration.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::settings::RemoteTls;
use daemon::Fatal;
use daemon::tls::ClientTls;
use dns::Name;
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

/// How long messages that are being sent may take when this program is told to stop.
pub const STOP_TIME: Duration = Duration::from_secs(5);

/// The resolver's file, read once before confinement; a reload starts a new process.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// All of it.
#[derive(Debug)]
pub struct Settings {
    /// Our name for EHLO.
    pub hello: Box<str>,
    /// Our name, so that mail for ourselves is not sent to ourselves. None when it is no name
    /// that could stand in the DNS.
    pub own: Vec<Name>,
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
            own: Name::parse(&config.hostname).into_iter().collect(),
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
