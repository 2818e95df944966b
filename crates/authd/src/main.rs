//! authd: alone reads password data, answers yes or no and who, starts sessions.
//!
//! As root it keeps the capabilities to become another user, and no other. It believes
//! nothing that smtpd and pop3d say but login names and passwords, and those only in the form
//! that `auth::protocol` gives them. Design: docs/authd.md.
#![forbid(unsafe_code)]

mod channel;
mod report;
mod serve;
mod sessions;
mod sources;
mod tables;

use std::process::ExitCode;

use auth::Service;
use daemon::capabilities::{Capability, keep_only};
use daemon::signals::Signals;
use daemon::{Fatal, log, process};

use crate::channel::Channel;
use crate::tables::Tables;

fn main() -> ExitCode {
    daemon::main("authd", |mut start| {
        let config = start.config()?;
        // What each peer may ask for is decided by the socket it holds, not by what it says.
        let channels = [
            Channel::new(start.packets("auth-smtp")?, Service::Smtp),
            Channel::new(start.packets("auth-pop3")?, Service::Pop3),
        ];
        // Absent where banwatch is not part of the house.
        let events = start
            .descriptor("events")
            .map(daemon::packet::Packets::from_fd)
            .transpose()?;
        start.no_more_arguments()?;
        let tables = Tables::load(&config).map_err(Fatal::setup)?;
        let signals = Signals::new()?;
        keep_only(&[Capability::SETUID, Capability::SETGID])
            .map_err(|error| Fatal::io("giving up capabilities", error))?;
        if !process::is_root() {
            let separation = "reduced: one uid for all";
            log::info("start")
                .kv("mode", "single-user")
                .kv("separation", separation)
                .send();
        }
        let authd = serve::Authd::new(
            config,
            channels,
            tables,
            events::Reporter::new(events),
            signals,
        )?;
        start.supervise().tell();
        authd.run()
    })
}
