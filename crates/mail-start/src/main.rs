//! mail-start: binds the listening sockets, makes the pairs between the programs, starts each
//! program under its user, replaces them on SIGHUP, restarts what ends, and stops all in bounded
//! time.
//!
//! It reads no foreign input: only the configuration, signals, and one-octet packets of its own
//! children. Design: docs/mail-start.md.
#![forbid(unsafe_code)]

mod backoff;
mod house;
mod run;
mod sockets;

use std::process::ExitCode;

use daemon::Fatal;

fn main() -> ExitCode {
    daemon::main("mail-start", |mut start| {
        let config = start.config()?;
        let libexec = start.option("--libexec")?;
        start.no_more_arguments()?;
        let config = match libexec {
            Some(dir) => with_libexec(config, dir.into()),
            None => config,
        };
        house::check(&config)?;
        let lock = house::furnish(&config)?;
        let sockets = sockets::Sockets::new(&mut start, &config)?;
        let ready = start.supervise();
        run::run(config, sockets, ready, lock)
    })
}

/// The directory of the programs, where it is not the installed one.
fn with_libexec(mut config: config::Config, dir: std::path::PathBuf) -> config::Config {
    config.paths.libexec = dir;
    config
}

/// A step of starting up that failed, with what it was about.
fn failed(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Fatal {
    move |error| Fatal::io(what, error)
}
