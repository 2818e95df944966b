//! The settings as the programs see them: every field checked, every default filled in.
//!
//! Each default stands in `man/hikyaku.toml.5` and in `etc/hikyaku.toml` too; a test compares.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::types::{HostPort, Network, Size};
use crate::value::Table;

/// Everything hikyaku.toml says.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file this was read from, absolute when [`Config::load`](crate::Config::load) was used.
    pub file: PathBuf,
    /// This host's own name: lower case, A-labels. Stands in greetings, Received fields and
    /// Maildir file names.
    pub hostname: String,
    /// Domains whose mail is delivered here: lower case, A-labels, in the file's order, no
    /// duplicates, at least one.
    pub domains: Vec<String>,
    /// Mailbox that gets the mail for `postmaster` in every domain and for root; lower case. When
    /// it is not set, routing takes the user `postmaster` where there is one.
    pub postmaster: Option<String>,
    /// The directory of a single-user instance; all paths then default to places under it.
    pub root: Option<PathBuf>,
    /// User names of the unprivileged programs (group names are the same).
    pub roles: Roles,
    /// Directories.
    pub paths: Paths,
    /// What is listened on.
    pub listen: Listen,
    /// Certificates.
    pub tls: Tls,
    /// smtpd.
    pub smtp: Smtp,
    /// queue-manager.
    pub queue: Queue,
    /// remote-send.
    pub remote: Remote,
    /// Mailboxes.
    pub users: Users,
    /// pop3d and its sessions.
    pub pop3: Pop3,
    /// Logging.
    pub log: Log,
    /// The table `[ban]` as written, with positions: banwatch checks it. Only the keys of
    /// [`BAN_KEYS`](crate::BAN_KEYS) are in it.
    pub ban: Table,
}

/// User names of the unprivileged programs, used only when started as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// smtpd.
    pub smtp: String,
    /// queue-manager; owner of the queue directory.
    pub queue: String,
    /// remote-send.
    pub remote: String,
    /// pop3d before login.
    pub pop3: String,
    /// banwatch's watching half.
    pub ban: String,
}

/// Directories, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Tables and password file; by default the directory of hikyaku.toml.
    pub etc: PathBuf,
    /// Sockets and the pid file.
    pub run: PathBuf,
    /// The queue.
    pub queue: PathBuf,
    /// The daemons' binaries.
    pub libexec: PathBuf,
}

impl Paths {
    /// The socket of local submission, served by smtpd in the role `local`.
    pub fn submit_socket(&self) -> PathBuf {
        self.run.join("submit")
    }

    /// The datagram socket that daemons report events to.
    pub fn events_socket(&self) -> PathBuf {
        self.run.join("events")
    }

    /// mail-start's process id as decimal text with a newline.
    pub fn pid_file(&self) -> PathBuf {
        self.run.join("mail-start.pid")
    }

    /// The binary of a daemon.
    pub fn program(&self, name: &str) -> PathBuf {
        self.libexec.join(name)
    }
}

/// Addresses to listen on; an empty list switches a role off. IPv6 listeners are IPv6 only,
/// so that both families can be listed. Port 0 lets the kernel choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// SMTP from other hosts.
    pub mx: Vec<SocketAddr>,
    /// Submission with STARTTLS (RFC 6409). Needs a certificate.
    pub submission: Vec<SocketAddr>,
    /// Submission with TLS from the first octet (RFC 8314). Needs a certificate.
    pub submissions: Vec<SocketAddr>,
    /// POP3 with STLS (RFC 2595).
    pub pop3: Vec<SocketAddr>,
    /// POP3 with TLS from the first octet. Needs a certificate.
    pub pop3s: Vec<SocketAddr>,
    /// Whether the Unix socket of local submission exists.
    pub local: bool,
}

/// Certificates, chosen by the name the client asks for; the first one is also for clients
/// that ask for none or for an unknown one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// In the file's order; empty: no TLS is offered.
    pub certificates: Vec<Certificate>,
}

impl Tls {
    /// Whether TLS can be offered at all.
    pub fn is_on(&self) -> bool {
        !self.certificates.is_empty()
    }
}

/// One certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file: the certificate, then its intermediates.
    pub chain: PathBuf,
    /// PEM file with the private key; may be the same file.
    pub key: PathBuf,
}

/// Limits and rules of smtpd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    /// Largest message, counted as received: announced by SIZE, enforced while streaming.
    pub max_message_size: Size,
    /// Most recipients of one message; RFC 5321, 4.5.3.1.8 wants at least 100.
    pub max_recipients: u32,
    /// Most sessions at once, all roles together.
    pub max_sessions: u32,
    /// Most sessions at once of one client address.
    pub max_sessions_per_address: u32,
    /// Wait for a command line (RFC 5321, 4.5.3.2.7 says 5 minutes).
    pub command_timeout: Duration,
    /// Wait for a block of a message (RFC 5321, 4.5.3.2.5 says 3 minutes).
    pub data_timeout: Duration,
    /// Errors a client may make before the connection is closed with 421.
    pub max_errors: u32,
    /// Clients that may send to any domain without a login.
    pub relay_from: Vec<Network>,
}

impl Smtp {
    /// Whether a client's address may relay without a login.
    pub fn may_relay(&self, client: std::net::IpAddr) -> bool {
        self.relay_from.iter().any(|net| net.contains(client))
    }
}

/// The queue's schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Waits between attempts; the last one repeats. Never empty, each at least a second.
    pub retry: Vec<Duration>,
    /// Age at which a message that cannot be delivered is returned.
    pub lifetime: Duration,
    /// Most local deliveries at once.
    pub local_concurrency: u32,
    /// Longest time that one local delivery may take; then its worker is killed.
    pub delivery_time: Duration,
    /// Longest time that remote-send or local-deliver may leave a question unanswered; then it
    /// is replaced.
    pub answer_time: Duration,
}

/// How mail leaves for other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Port of other hosts' SMTP servers: 25 but for tests.
    pub port: u16,
    /// DNS server to ask instead of those in /etc/resolv.conf.
    pub resolver: Option<SocketAddr>,
    /// Host that takes all outgoing mail, instead of the domains' MX hosts.
    pub relay_host: Option<HostPort>,
    /// Source addresses for outgoing connections.
    pub source: Source,
    /// Addresses at which others reach this host and which no interface of it has: those of a
    /// router that translates.
    pub own_addresses: Vec<IpAddr>,
    /// Whether connections are encrypted.
    pub tls: RemoteTls,
    /// Most transactions at once, all destinations together.
    pub concurrency: u32,
    /// Most transactions at once to one destination.
    pub per_destination: u32,
}

/// Source address per family; `None` leaves the choice to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// For IPv4 destinations.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6 destinations.
    pub v6: Option<Ipv6Addr>,
}

/// Encryption towards other hosts, when their domain publishes no stricter rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteTls {
    /// When the other side offers it; unverified (RFC 7435).
    May,
    /// Never.
    None,
    /// Always; mail waits and in the end returns when the other side can't. Unverified.
    Encrypt,
}

/// Where mailboxes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users {
    /// The users table, see hikyaku-users(5).
    pub file: PathBuf,
    /// The password file; only authd reads it.
    pub passwords: PathBuf,
    /// Whether accounts of the system with a uid from 1000 to 60000 have a mailbox.
    pub system: bool,
    /// First uid given to virtual users.
    pub first_uid: u32,
    /// Last uid given to virtual users; at least `first_uid`.
    pub last_uid: u32,
    /// Directory in which virtual users' homes are made.
    pub homes: PathBuf,
    /// Where in a home the Maildir is: a relative path without `..`. Written `~/Maildir`.
    pub maildir: PathBuf,
}

impl Users {
    /// The Maildir of a user whose entry names no other place.
    pub fn maildir_of(&self, home: &Path) -> PathBuf {
        home.join(&self.maildir)
    }
}

/// Limits of pop3d and of its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pop3 {
    /// Most connections at once, logged in or not.
    pub max_sessions: u32,
    /// Most connections at once of one client address.
    pub max_sessions_per_address: u32,
    /// Most logged-in sessions at once of one user.
    pub max_sessions_per_user: u32,
    /// Time in which a client must have logged in.
    pub login_timeout: Duration,
    /// Wait for a command after login; RFC 1939, 3 wants at least 10 minutes.
    pub idle_timeout: Duration,
    /// Whether a password in clear is accepted from a loopback address.
    pub clear_on_loopback: bool,
}

/// Logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Where lines go.
    pub target: LogTarget,
    /// The least important level that is written.
    pub level: LogLevel,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The local syslog socket, facility mail.
    Syslog,
    /// Standard error, for a supervisor that keeps it.
    Stderr,
}

/// How much is logged, from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something that the admin has to mend.
    Error,
    /// Something that works again later without him, if he is lucky.
    Warning,
    /// One line for each thing done.
    Info,
    /// Dialogues without message content and without passwords.
    Debug,
}
