//! banwatch: reads logs and events, decides who is banned; with `--fire`, changes the firewall;
//! with `--act`, runs other actions and looks up names; with `--journal`, runs `journalctl`.
//!
//! Processes of one program. Design: docs/banwatch.md.
#![forbid(unsafe_code)]

mod start;

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::memory::frugal();
    daemon::main("banwatch", |mut start| {
        if start.flag("--fire") {
            start::fire(start)
        } else if start.flag("--journal") {
            start::relay(start)
        } else if start.flag("--act") {
            start::act(start)
        } else {
            start::watch(start)
        }
    })
}
