//! remote-send: delivers to other hosts from one event loop.
//!
//! Runs as its own user in an empty root with nothing but Internet sockets. It is given open
//! queue files and recipients by queue-manager and answers what became of each recipient.
//! Design: docs/remote-send.md.
#![forbid(unsafe_code)]

mod answers;
mod body;
mod connection;
mod hop;
mod job;
mod lookup;
mod pool;
mod server;
mod settings;

use std::process::ExitCode;

use daemon::signals::Signals;
use daemon::{Confinement, calls};

use crate::server::Server;
use crate::settings::Settings;

fn main() -> ExitCode {
    daemon::main("remote-send", |mut start| {
        let config = start.config()?;
        let settings = Settings::new(&config)?;
        let packets = start.packets("remote")?;
        let signals = Signals::new()?;
        let mut server = Server::new(settings, packets, signals)?;
        let confinement = Confinement::for_role(&config, &config.roles.remote)
            .network()
            .calls(calls::CONNECT)
            .open_files(server.open_files());
        let (confined, ready) = start.confine(confinement)?;
        ready.tell();
        server.serve(&confined)
    })
}
