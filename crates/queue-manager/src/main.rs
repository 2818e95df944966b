//! queue-manager: owns the queue, schedules deliveries, writes bounces.
//!
//! It holds the queue directory and three sockets: what smtpd announces, local-deliver,
//! remote-send. It opens no mailbox and no connection; a message leaves it as an open file.
//! Design: docs/queue-manager.md.
#![forbid(unsafe_code)]

mod caretaker;
mod disk;
mod lines;
mod remote;
mod report;
mod resolve;
mod sched;
mod shell;
mod silence;
mod trigger;
mod workers;

use std::process::ExitCode;

use daemon::packet::Packets;
use daemon::signals::Signals;
use daemon::{Confinement, Fatal, calls, process};

/// Descriptors that may be open: messages under way, workers, directories.
const OPEN_FILES: u64 = 4_096;

fn main() -> ExitCode {
    daemon::main("queue-manager", |mut start| {
        let config = start.config()?; // everything is checked here
        let table =
            routing::Table::load(&config).map_err(|error| Fatal::setup(error.to_string()))?;
        let tables = resolve::Tables::new(table, config.remote.relay_host.as_ref());
        let sockets = shell::Sockets {
            trigger: start.packets("trigger")?, // smtpd writes, we read
            deliver: start.packets("deliver")?, // local-deliver's parent
            remote: start.packets("remote")?,   // remote-send
            caretaker: caretaker::Caretaker::new(
                start
                    .descriptor("replace") // mail-start reads
                    .map(Packets::from_fd)
                    .transpose()?,
            ),
        };
        let signals = Signals::new()?; // before the threads, which inherit the mask
        let root = start.directory("queue", &config.paths.queue)?;
        let confinement = Confinement::new()
            .user(&config.roles.queue)
            .root(&config.paths.queue)
            .writable(&config.paths.queue)
            .open_files(OPEN_FILES)
            .calls(calls::CREATE)
            .calls(calls::READ_FILES)
            .calls(calls::KEEP_FILES)
            .calls(calls::THREADS);
        let own = !process::is_root();
        let (confined, ready) = start.confine(confinement)?; // uid, root, Landlock, seccomp
        let disk = disk::Disk::open(root, own, config.hostname.clone())?;
        shell::serve(&confined, &config, tables, (sockets, signals), disk, ready)
    })
}
