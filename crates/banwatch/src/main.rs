//! banwatch: reads logs and events, decides who is banned; with `--fire`, changes the firewall.
//!
//! Two processes of one program. Design: docs/banwatch.md.
#![forbid(unsafe_code)]

mod start;

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::main("banwatch", |mut start| {
        if start.flag("--fire") {
            start::fire(start)
        } else {
            start::watch(start)
        }
    })
}
