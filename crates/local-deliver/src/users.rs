//! Whom mail may be delivered to: the parent's own table.

use std::time::SystemTime;

use config::Config;
use daemon::Fatal;
use routing::{Mailbox, Table, load};

/// The users table together with what it was read from.
#[derive(Debug)]
pub struct Users {
    config: Config,
    table: Table,
    read_at: [Option<SystemTime>; 2],
}

impl Users {
    /// Reads the table.
    ///
    /// # Errors
    /// `Setup` with every bad line.
    pub fn load(config: Config) -> Result<Self, Fatal> {
        let read_at = stamps(&config);
        let table = Table::load(&config).map_err(|problems| Fatal::setup(problems.to_string()))?;
        Ok(Self {
            config,
            table,
            read_at,
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The mailbox of this user, if mail may be delivered to it: never one of root.
    ///
    /// A user who isn't there may have been added a moment ago, and queue-manager may have its
    /// new table already: before he is said not to exist, a table that has changed is read
    /// again. A table that has become wrong leaves the old one in force.
    pub fn find(&mut self, name: &str) -> Option<Mailbox> {
        if self.table.mailbox(name).is_none() && stamps(&self.config) != self.read_at {
            self.read_at = stamps(&self.config);
            match Table::load(&self.config) {
                Ok(table) => self.table = table,
                Err(problems) => daemon::log::error("table")
                    .kv("error", problems.to_string())
                    .send(),
            }
        }
        // The table holds no uid 0; that nothing is ever delivered as root is checked twice.
        self.table
            .mailbox(name)
            .filter(|mailbox| mailbox.uid != 0 && mailbox.gid != 0)
            .cloned()
    }
}

/// When the files behind the table were last changed.
fn stamps(config: &Config) -> [Option<SystemTime>; 2] {
    [
        config.users.file.as_path(),
        std::path::Path::new(load::PASSWD),
    ]
    .map(|file| {
        std::fs::metadata(file)
            .and_then(|status| status.modified())
            .ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_user_added_later_is_found_and_a_broken_table_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hikyaku.toml");
        fs::write(
            &file,
            "hostname = \"h.example.org\"\ndomains = [\"example.org\"]\n[users]\nsystem = false\n",
        )
        .unwrap();
        let table = dir.path().join("users");
        let write = |text: &str, age: u64| {
            fs::write(&table, text).unwrap();
            // Two writes within one tick of the filesystem's clock are one to us, too.
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age);
            fs::File::options()
                .write(true)
                .open(&table)
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        write("al:70000:70000::\n", 1);
        let mut users = Users::load(Config::load(&file).unwrap()).unwrap();
        assert_eq!(users.find("al").unwrap().uid, 70_000);
        assert!(users.find("bo").is_none());
        write("al:70000:70000::\nbo:70001:70001::\n", 2);
        assert_eq!(users.find("bo").unwrap().uid, 70_001);
        write("nonsense\n", 3);
        assert!(users.find("cy").is_none());
        assert!(users.find("al").is_some());
    }

    #[test]
    fn root_is_nobody_here() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hikyaku.toml");
        fs::write(
            &file,
            "hostname = \"h.example.org\"\ndomains = [\"example.org\"]\n",
        )
        .unwrap();
        let mut users = Users::load(Config::load(&file).unwrap()).unwrap();
        assert!(users.find("root").is_none());
        fs::write(dir.path().join("users"), "r:0:0::\n").unwrap();
        assert!(Users::load(Config::load(&file).unwrap()).is_err());
    }
}
