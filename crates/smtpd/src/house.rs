//! What holds for all sessions: settings by role, tables, certificates. Read once, never changed;
//! a reload is a new process.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use config::Config;
use daemon::Fatal;
use daemon::net::Listener;
use daemon::tls::ServerTls;
use routing::Table;
use smtp::server::{Role, Settings, Wait};

/// Where sessions come from.
#[derive(Debug)]
pub enum Doors {
    /// As a daemon.
    Listeners(Vec<Listener>),
    /// From inetd: one connection and the name of its role.
    Connected(OwnedFd, String),
}

/// Time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// See the module's page.
pub struct House {
    mx: Settings,
    submission: Settings,
    submissions: Settings,
    local: Settings,
    /// Our host name.
    pub hostname: String,
    /// Address that mail for `<postmaster>` goes to.
    pub postmaster: String,
    /// Who is here.
    pub table: Table,
    /// Certificates, if there are any.
    pub tls: Option<ServerTls>,
    smtp: config::settings::Smtp,
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("House")
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

impl House {
    /// Reads users and certificates.
    ///
    /// # Errors
    /// `Setup`, naming the file that is wrong.
    pub fn load(config: &Config) -> Result<Self, Fatal> {
        let table = Table::load(config).map_err(|e| Fatal::setup(e.to_string()))?;
        let tls = match config.tls.is_on() {
            false => None,
            true => {
                let pairs = config
                    .tls
                    .certificates
                    .iter()
                    .map(|c| (Path::new(&c.chain), Path::new(&c.key)));
                Some(ServerTls::load(pairs).map_err(|e| Fatal::setup(e.to_string()))?)
            }
        };
        let settings = |role| Settings {
            hostname: config.hostname.as_str().into(),
            role,
            tls: tls.is_some(),
            max_message_size: config.smtp.max_message_size.octets(),
            max_recipients: usize::try_from(config.smtp.max_recipients).unwrap_or(usize::MAX),
            max_errors: config.smtp.max_errors,
        };
        let domain = config.domains.first().unwrap_or(&config.hostname);
        Ok(Self {
            mx: settings(Role::Mx),
            submission: settings(Role::Submission),
            submissions: settings(Role::Submissions),
            local: settings(Role::Local),
            hostname: config.hostname.clone(),
            postmaster: format!("postmaster@{domain}"),
            table,
            tls,
            smtp: config.smtp.clone(),
        })
    }

    /// The settings of a role.
    pub const fn settings(&self, role: Role) -> &Settings {
        match role {
            Role::Mx => &self.mx,
            Role::Submission => &self.submission,
            Role::Submissions => &self.submissions,
            Role::Local => &self.local,
        }
    }

    /// Whether this address may send anywhere without a login.
    pub fn may_relay(&self, client: IpAddr) -> bool {
        self.smtp.may_relay(client)
    }

    /// Most sessions at once.
    pub fn max_sessions(&self) -> usize {
        usize::try_from(self.smtp.max_sessions).unwrap_or(usize::MAX)
    }

    /// Most sessions at once of one address.
    pub const fn max_sessions_per_address(&self) -> u32 {
        self.smtp.max_sessions_per_address
    }

    /// How long a session may wait for this; `None` without limit.
    pub const fn timeout(&self, wait: Wait) -> Option<Duration> {
        match wait {
            Wait::Command => Some(self.smtp.command_timeout),
            Wait::Data => Some(self.smtp.data_timeout),
            Wait::Handshake => Some(HANDSHAKE_TIMEOUT),
            Wait::Host | Wait::Over => None,
        }
    }
}

/// The role that a listener's name means.
pub fn role(name: &str) -> Option<Role> {
    match name {
        "mx" => Some(Role::Mx),
        "submission" => Some(Role::Submission),
        "submissions" => Some(Role::Submissions),
        "local" => Some(Role::Local),
        _ => None,
    }
}

/// The name of a role, for the log.
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Mx => "mx",
        Role::Submission => "submission",
        Role::Submissions => "submissions",
        Role::Local => "local",
    }
}
