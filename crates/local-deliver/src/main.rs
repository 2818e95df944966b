//! local-deliver: a small root parent that starts workers which deliver as the mailbox's owner.
//!
//! The parent ([`parent`]) knows one request, "a worker for this user", and looks the user up
//! in its own table. A worker ([`worker`]) is a forked copy that has become the user for good
//! before it reads anything; from then on queue-manager talks to it directly. Design:
//! `docs/local-deliver.md`.
#![forbid(unsafe_code)]

mod parent;
mod users;
mod worker;

use std::process::ExitCode;

use daemon::Fatal;
use daemon::capabilities::{Capability, keep_only};

fn main() -> ExitCode {
    daemon::main("local-deliver", |mut start| {
        let config = start.config()?; // everything is checked here
        let users = users::Users::load(config)?;
        let channel = start.packets("deliver")?; // the other end is queue-manager's
        start.no_more_arguments()?;
        // To become the user; and to kill who has become one and hangs.
        keep_only(&[Capability::SETUID, Capability::SETGID, Capability::KILL])
            .map_err(|error| Fatal::io("giving up capabilities", error))?;
        parent::run(channel, users, start.supervise())
    })
}
