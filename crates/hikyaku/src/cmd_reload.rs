//! `hikyaku reload`: tells mail-start, which replaces the daemons.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::process::ExitCode;

use config::Config;
use daemon::process::{Order, order};

use crate::context::{Context, Failure};

/// Options of `hikyaku reload`.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let config = context.config()?;
    // A mistake is better seen here than in mail-start's log.
    routing::Table::load(&config)?;
    match reload(&config)? {
        true => {
            writeln!(context.out, "reload: told mail-start")?;
            Ok(ExitCode::SUCCESS)
        }
        false => Err(Failure::Temporary("mail-start is not running".to_owned())),
    }
}

/// Tells mail-start to reload; `false` when it isn't running.
pub fn reload(config: &Config) -> Result<bool, Failure> {
    let path = config.paths.pid_file();
    let fail = |error: &std::io::Error| Failure::io(path.display(), error);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(fail(&error)),
    };
    // mail-start keeps its pid file locked: a number that was left behind signals nobody.
    if daemon::file::try_lock(&file).map_err(|error| fail(&error))? {
        return Ok(false);
    }
    let mut text = String::new();
    (&mut file)
        .take(32)
        .read_to_string(&mut text)
        .map_err(|error| fail(&error))?;
    let Ok(pid) = text.trim_end().parse::<u32>() else {
        return Err(Failure::Temporary(format!(
            "{}: no process id in it",
            path.display()
        )));
    };
    order(pid, Order::Reload).map_err(|error| Failure::io("mail-start", &error))?;
    Ok(true)
}
