//! The directories that the programs need, with the owners and modes of docs/architecture.md.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use config::Config;
use daemon::process::{self, Identity};
use daemon::{Fatal, file};

use crate::failed;

/// Everything that can be known to be wrong before anything is bound or started: the tables, and
/// the programs themselves.
pub fn check(config: &Config) -> Result<(), Fatal> {
    routing::Table::load(config).map_err(|e| Fatal::setup(e.to_string()))?;
    for name in [
        "smtpd",
        "queue-manager",
        "remote-send",
        "local-deliver",
        "authd",
        "pop3d",
    ] {
        let path = config.paths.program(name);
        if !path.is_file() {
            return Err(Fatal::setup(format!(
                "{}: no such program; expected it in paths.libexec",
                path.display()
            )));
        }
    }
    Ok(())
}

/// Who owns what: as root each role its own, otherwise the caller everything.
struct Owners {
    smtp: Identity,
    queue: Identity,
    root: bool,
}

/// Makes the directories, mends their owners and modes, and takes the pid file.
///
/// The pid file is locked as long as this process lives: a second mail-start is refused.
pub fn furnish(config: &Config) -> Result<File, Fatal> {
    let root = process::is_root();
    let role = |name: &str| {
        process::user(name)
            .map_err(|e| Fatal::setup(format!("{e}; see the users in man 8 mail-start")))
    };
    let owners = if root {
        // Looked up for the error message now rather than from a child later.
        role(&config.roles.remote)?;
        role(&config.roles.pop3)?;
        if config.paths.program("banwatch").is_file() {
            role(&config.roles.ban)?;
        }
        Owners {
            smtp: role(&config.roles.smtp)?,
            queue: role(&config.roles.queue)?,
            root,
        }
    } else {
        Owners {
            smtp: Identity::own(),
            queue: Identity::own(),
            root,
        }
    };
    let run = &config.paths.run;
    directory(run, None, 0o755)?;
    let lock = pid_file(&config.paths.pid_file())?;
    directory(&run.join("empty"), None, 0o555)?;
    let queue = &config.paths.queue;
    let private = |o: Identity| owners.root.then_some((o.uid, o.gid));
    directory(
        queue,
        private(owners.queue),
        if root { 0o711 } else { 0o700 },
    )?;
    let incoming = owners.root.then_some((owners.smtp.uid, owners.queue.gid));
    directory(
        &queue.join("incoming"),
        incoming,
        if root { 0o2370 } else { 0o700 },
    )?;
    for name in ["deferred", "hold", "corrupt"] {
        directory(&queue.join(name), private(owners.queue), 0o700)?;
    }
    Ok(lock)
}

/// A directory with this owner (where we may choose) and exactly this mode.
fn directory(path: &Path, owner: Option<(u32, u32)>, mode: u32) -> Result<(), Fatal> {
    let name = path.display();
    match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => {}
        Ok(_) => return Err(Fatal::setup(format!("{name}: expected a directory"))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path).map_err(failed(name))?
        }
        Err(e) => return Err(Fatal::io(name, e)),
    }
    let name = path.display();
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid)).map_err(failed(&name))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed(&name))
}

/// Writes our process id; the lock on the file says that we live.
fn pid_file(path: &Path) -> Result<File, Fatal> {
    let name = path.display();
    let mut open = File::options();
    let mut pid = open
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
        .map_err(failed(&name))?;
    if !file::try_lock(&pid).map_err(failed(&name))? {
        return Err(Fatal::Temporary(format!(
            "{name}: another mail-start is running"
        )));
    }
    pid.set_len(0)
        .and_then(|()| writeln!(pid, "{}", std::process::id()))
        .map_err(failed(&name))?;
    Ok(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_and_directories_are_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let first = pid_file(&path).unwrap();
        assert!(
            pid_file(&path)
                .unwrap_err()
                .to_string()
                .contains("another mail-start")
        );
        drop(first);
        pid_file(&path).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", std::process::id())
        );

        let sub = dir.path().join("a/b");
        directory(&sub, None, 0o711).unwrap();
        directory(&sub, None, 0o700).unwrap();
        assert_eq!(
            fs::metadata(&sub).unwrap().permissions().mode() & 0o7777,
            0o700
        );
        assert!(
            directory(&path, None, 0o700)
                .unwrap_err()
                .to_string()
                .contains("expected a directory")
        );
    }
}
