//! Users and passwords, read again when their files change.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use auth::file::{self, Check, Passwords};
use config::Config;
use daemon::log;
use routing::{Mailbox, Table};

/// What was read, and the state of the files then.
pub struct Tables {
    users: Table,
    /// `None`: the file can't be read, so nobody can be told yes or no.
    passwords: Option<Passwords>,
    users_stamp: Vec<Stamp>,
    passwords_stamp: Stamp,
}

/// What changes when a file is replaced or written: device, inode, size, time of change.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Tables {
    /// Reads all of them.
    ///
    /// # Errors
    /// A users table that can't be read, with all its mistakes. A password file that can't be
    /// read is no reason not to start: it is logged, and nobody can log in.
    pub fn load(config: &Config) -> Result<Self, String> {
        let users_stamp = stamps(config);
        let users = Table::load(config).map_err(|problems| problems.to_string())?;
        let passwords_stamp = stamp(&config.users.passwords);
        let passwords = read_passwords(&config.users.passwords);
        Ok(Self {
            users,
            passwords,
            users_stamp,
            passwords_stamp,
        })
    }

    /// Reads again what has changed. Users that can't be read stay as they were.
    pub fn refresh(&mut self, config: &Config) {
        // Stamps are taken before reading: a change in between is seen the next time.
        let now = stamps(config);
        if now != self.users_stamp {
            self.users_stamp = now;
            match Table::load(config) {
                Ok(users) => {
                    log::info("read")
                        .val("mailboxes", users.mailboxes().len())
                        .send();
                    self.users = users;
                }
                Err(problems) => problems.to_string().lines().for_each(|problem| {
                    log::error("users")
                        .kv("error", problem)
                        .kv("kept", "the old table")
                        .send();
                }),
            }
        }
        let now = stamp(&config.users.passwords);
        if now != self.passwords_stamp {
            self.passwords_stamp = now;
            self.passwords = read_passwords(&config.users.passwords);
        }
    }

    /// The mailbox of a login name, if there is one, and the check that its password needs in
    /// either case. `None`: passwords can't be read now.
    pub fn check(&self, login: &str) -> Option<(Option<&Mailbox>, Check)> {
        let mailbox = self.users.login(login);
        let check = self
            .passwords
            .as_ref()?
            .check(mailbox.map(|found| &*found.name), login);
        Some((mailbox, check))
    }
}

fn read_passwords(path: &Path) -> Option<Passwords> {
    match file::read(path) {
        Ok(text) => {
            let (passwords, bad) = Passwords::parse(&text);
            for line in bad {
                let place = format!("{}:{}", path.display(), line.line);
                log::error("passwords")
                    .kv("line", place)
                    .kv("error", line.text)
                    .send();
            }
            log::info("read").val("passwords", passwords.len()).send();
            Some(passwords)
        }
        Err(error) => {
            let file = path.display().to_string();
            log::error("passwords")
                .kv("file", file)
                .val("error", error)
                .send();
            None
        }
    }
}

fn stamps(config: &Config) -> Vec<Stamp> {
    let mut files = vec![config.users.file.clone()];
    if config.users.system {
        files.push(PathBuf::from(routing::load::PASSWD));
    }
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.ctime(),
        meta.ctime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const HASH: &str = "$5$saltsalt$iCSto/1y3LK1GxFWJB6bg2L4y8RyFskzzyTdhOwyBe3";

    #[test]
    fn changes_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| {
            file::replace(&dir.path().join(name), &text, 0o600).unwrap();
        };
        let text = "hostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n[users]\nsystem = false\n";
        write("hikyaku.toml", text.to_owned());
        let config = Config::load(&dir.path().join("hikyaku.toml")).unwrap();
        let mut tables = Tables::load(&config).unwrap();
        let password = auth::Password::new(b"hello world").unwrap();
        let gets_in = |tables: &Tables, login: &str| {
            let (mailbox, check) = tables.check(login).unwrap();
            check.run(&password).unwrap() && mailbox.is_some()
        };
        assert!(!gets_in(&tables, "al"));

        write("users", "al:70000:70000::\n".to_owned());
        write("passwords", format!("al:{HASH}\nbo:{HASH}\n"));
        assert!(!gets_in(&tables, "al"));
        tables.refresh(&config);
        assert!(gets_in(&tables, "al"));
        assert!(gets_in(&tables, "al@example.org"));
        // A password without a mailbox opens nothing.
        assert!(!gets_in(&tables, "bo"));

        // A broken users table keeps the old one.
        write("users", "al:0:0::\n".to_owned());
        tables.refresh(&config);
        assert!(gets_in(&tables, "al"));

        write("passwords", "al:*\n".to_owned());
        tables.refresh(&config);
        assert!(!gets_in(&tables, "al"));

        // One that others can read is not used.
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join("passwords");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        tables.refresh(&config);
        assert!(tables.check("al").is_none());
    }
}
