//! What watch keeps when it is confined, and act when it only looks up names.

use std::path::Path;

use config::Config;
use daemon::{Confinement, calls};

/// Groups that may read logs on the usual systems.
const LOG_GROUPS: [&str; 2] = ["adm", "systemd-journal"];

/// The user `roles.ban`, an empty root directory, the state's directory, and the directories of
/// logs for reading. No network, no other socket, no program.
#[must_use]
pub fn confinement<'a>(
    config: &Config,
    state: &Path,
    logs: impl IntoIterator<Item = &'a Path>,
) -> Confinement {
    let mut walls = Confinement::for_role(config, &config.roles.ban)
        .calls(calls::ACCEPT)
        .calls(calls::CREATE)
        .calls(calls::READ_FILES)
        .calls(calls::KEEP_FILES)
        .calls(calls::THREADS)
        .writable(state);
    let mut reads = false;
    for directory in logs {
        walls = walls.readable(directory);
        reads = true;
    }
    if reads {
        for group in LOG_GROUPS {
            walls = walls.member_of(group);
        }
    }
    walls
}

/// Act without anything to run: the user `roles.ban`, an empty root directory, connections of its
/// own and the threads that wait for them. No file, no program.
#[must_use]
pub fn looking_up(config: &Config) -> Confinement {
    Confinement::for_role(config, &config.roles.ban)
        .calls(calls::CONNECT)
        .calls(calls::THREADS)
        .network()
}
