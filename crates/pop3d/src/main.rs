//! pop3d: POP3 before login in one loop, after login as the mailbox's owner.
//!
//! One binary, two programs that share no process:
//!
//! * before login, unprivileged ([`serve`]): all connections in one loop, TLS, the AUTHORIZATION
//!   state ([`connection`]), one question to authd per password ([`ask`]); after it only
//!   octets are carried ([`relay`])
//! * `--session` ([`session`]): started by authd as the mailbox's owner for one login; speaks
//!   POP3 in clear over the socket that it was given
//!
//! Design: `docs/pop3d.md`.
#![forbid(unsafe_code)]

mod ask;
mod connection;
mod pending;
mod relay;
mod report;
mod serve;
mod session;
mod view;

use std::process::ExitCode;

use daemon::net::{Listener, Socket};
use daemon::packet::Packets;
use daemon::signals::Signals;
use daemon::tls::ServerTls;
use daemon::{Confinement, Fatal, calls};
use events::Reporter;
use serve::Peers;

fn main() -> ExitCode {
    daemon::main("pop3d", |mut start| {
        if start.flag("--session") {
            return session::run(start);
        }
        let config = start.config()?; // everything is checked here
        let auth = start.packets("auth-pop3")?;
        let events = start
            .descriptor("events")
            .map(Packets::from_fd)
            .transpose()?;
        let role = start.option("--role")?;
        let listeners = start.listeners(&["pop3", "pop3s"])?; // given: systemd or mail-start
        let single = match listeners.is_empty() {
            true => single(start.inetd(), role.as_deref())?, // or inetd: one connection
            false => None,
        };
        if listeners.is_empty() && single.is_none() {
            return Err(Fatal::setup(
                "no listener named pop3 or pop3s, and no connection on descriptor 0",
            ));
        }
        let tls = load_tls(&config, &listeners, single.as_ref())?;
        let signals = Signals::new()?;
        let confinement = Confinement::for_role(&config, &config.roles.pop3)
            .calls(calls::ACCEPT)
            .calls(calls::PAIR)
            .open_files(serve::open_files(&config));
        let (confined, ready) = start.confine(confinement)?; // user, root, Landlock, seccomp
        let mut server = serve::Server::new(
            &confined,
            config,
            Peers {
                auth,
                events: Reporter::new(events),
            },
            tls,
            signals,
        )?;
        match single {
            Some((socket, role)) => server.take(socket, role)?,
            None => server.listen(listeners)?,
        }
        ready.tell();
        server.run()
    })
}

/// Whether TLS begins with the first octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Port 110: STLS.
    Pop3,
    /// Port 995.
    Pop3s,
}

impl Role {
    fn of(name: &str) -> Option<Self> {
        match name {
            "pop3" => Some(Self::Pop3),
            "pop3s" => Some(Self::Pop3s),
            _ => None,
        }
    }
}

type Single = ((Socket, daemon::net::Peer), Role);

/// inetd's connection, with the role that `--role` says.
fn single(
    descriptor: Option<std::os::fd::OwnedFd>,
    role: Option<&std::ffi::OsStr>,
) -> Result<Option<Single>, Fatal> {
    let Some(descriptor) = descriptor else {
        return Ok(None);
    };
    let role = match role {
        None => Role::Pop3,
        Some(name) => name
            .to_str()
            .and_then(Role::of)
            .ok_or_else(|| Fatal::setup("--role: expected pop3 or pop3s"))?,
    };
    let socket = Socket::from_fd(descriptor).map_err(|error| Fatal::io("connection", error))?;
    Ok(Some((socket, role)))
}

/// The certificates, where there are any.
fn load_tls(
    config: &config::Config,
    listeners: &[Listener],
    single: Option<&Single>,
) -> Result<Option<ServerTls>, Fatal> {
    let pairs = config
        .tls
        .certificates
        .iter()
        .map(|pair| (pair.chain.as_path(), pair.key.as_path()));
    if config.tls.is_on() {
        return ServerTls::load(pairs)
            .map(Some)
            .map_err(|error| Fatal::setup(error.to_string()));
    }
    let needed = listeners.iter().any(|listener| listener.role() == "pop3s")
        || single.is_some_and(|(_, role)| *role == Role::Pop3s);
    match needed {
        true => Err(Fatal::setup(
            "pop3s needs a certificate: set [tls] in the configuration",
        )),
        false => Ok(None),
    }
}
