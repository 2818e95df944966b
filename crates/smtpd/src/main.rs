//! smtpd: receives mail by SMTP and hands whole messages to the queue.
//!
//! Runs as its own uid in an empty root, in one event loop with a few threads that wait for the
//! disk. The protocol is crate `smtp`; here are sockets, clocks, files and tables.
//!
//! Design: docs/smtpd.md. Manual: smtpd(8).
#![forbid(unsafe_code)]

mod answer;
mod conn;
mod house;
mod login;
mod policy;
mod report;
mod serve;
mod spool;
mod trace;

use std::process::ExitCode;

use daemon::{Confinement, Fatal, Start, calls};

use house::{Doors, House};

/// Listeners by their names; each is a role.
const ROLES: [&str; 4] = ["mx", "submission", "submissions", "local"];

/// Descriptors beyond those of sessions: listeners, channels, log, files being committed.
const SPARE_FILES: u64 = 128;

fn main() -> ExitCode {
    daemon::main("smtpd", |mut start| {
        let role = start.option("--role")?;
        let config = start.config()?;
        let house = House::load(&config)?;
        let doors = doors(&mut start, role.as_deref())?;
        let incoming = spool::incoming(&mut start, &config)?;
        let channels = serve::Channels::take(&mut start)?;
        let (confined, ready) = start.confine(walls(&config))?;
        serve::serve(&confined, house, doors, incoming, channels, ready)
    })
}

/// The listeners that were given, or inetd's one connection.
fn doors(start: &mut Start, role: Option<&std::ffi::OsStr>) -> Result<Doors, Fatal> {
    let listeners = start.listeners(&ROLES)?;
    if !listeners.is_empty() {
        return Ok(Doors::Listeners(listeners));
    }
    let Some(socket) = start.inetd() else {
        return Err(Fatal::setup(
            "no listener named mx, submission, submissions or local, and no connection on descriptor 0",
        ));
    };
    let role = match role.map(|r| r.to_str()) {
        None => "mx",
        Some(Some(role)) if ROLES.contains(&role) => role,
        Some(_) => {
            return Err(Fatal::setup(
                "--role wants mx, submission, submissions or local",
            ));
        }
    };
    Ok(Doors::Connected(socket, role.to_owned()))
}

fn walls(config: &config::Config) -> Confinement {
    // A session holds its socket and, for a moment, authd's answer or a queue file.
    let sessions = u64::from(config.smtp.max_sessions);
    Confinement::for_role(config, &config.roles.smtp)
        .writable(config.paths.queue.join("incoming"))
        .file_size(
            config
                .smtp
                .max_message_size
                .octets()
                .saturating_add(spool::OVERHEAD_MAX),
        )
        .open_files(sessions * 2 + SPARE_FILES)
        .calls(calls::ACCEPT)
        .calls(calls::THREADS)
        .calls(calls::PAIR)
        .calls(calls::CREATE)
        .calls(calls::FREE_SPACE)
}
