//! Reading the files that a table is built from.

use std::io::{ErrorKind, Read as _};
use std::path::Path;

use config::{Config, Problems};

use crate::table::Table;
use crate::{passwd, users};

/// Largest users table or passwd file accepted, in octets.
pub const FILE_MAX: u64 = 64 << 20;

/// Where the system's accounts stand.
pub const PASSWD: &str = "/etc/passwd";

impl Table {
    /// Reads the users table and, with `users.system`, the system's accounts. A users table
    /// that does not exist is an empty one.
    ///
    /// # Errors
    /// A file that can't be read, all bad lines of the users table, or a setting `postmaster`
    /// that names no mailbox.
    pub fn load(config: &Config) -> Result<Self, Problems> {
        let text = read(&config.users.file)?;
        let mut mailboxes = users::parse(&text, config)?;
        if config.users.system {
            mailboxes.extend(passwd::mailboxes(&read(Path::new(PASSWD))?, config));
        }
        let table = Self::new(config, mailboxes);
        match &config.postmaster {
            Some(name) if table.mailbox(name).is_none() => Err(Problems::whole(
                &config.file,
                format!("postmaster: there is no mailbox {name}"),
            )),
            _ => Ok(table),
        }
    }
}

/// A whole file as text; empty when it isn't there.
///
/// # Errors
/// It can't be read, is larger than [`FILE_MAX`] or not UTF-8.
pub fn read(file: &Path) -> Result<String, Problems> {
    let fail = |text: String| Problems::whole(file, text);
    let open = match std::fs::File::open(file) {
        Ok(open) => open,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(fail(format!("cannot be read: {error}"))),
    };
    let mut octets = Vec::new();
    open.take(FILE_MAX + 1)
        .read_to_end(&mut octets)
        .map_err(|error| fail(format!("cannot be read: {error}")))?;
    if octets.len() as u64 > FILE_MAX {
        return Err(fail("larger than 64M".to_owned()));
    }
    String::from_utf8(octets).map_err(|_| fail("not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_become_a_table() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hikyaku.toml");
        let head = "hostname = \"mail.example.org\"\ndomains = [\"example.org\"]\n";
        let load = |more: &str| {
            fs::write(&file, format!("{head}{more}")).unwrap();
            Table::load(&Config::load(&file).unwrap())
        };
        // No users table: none but the system's, and here not even those.
        assert!(
            load("[users]\nsystem = false\n")
                .unwrap()
                .mailboxes()
                .is_empty()
        );
        assert!(load("").is_ok());
        fs::write(
            dir.path().join("users"),
            "al:70000:70000::\nbo:70001:70001::\n",
        )
        .unwrap();
        let table = load("postmaster = \"Bo\"\n").unwrap();
        assert_eq!(table.postmaster().map(|m| &*m.name), Some("bo"));
        let error = load("postmaster = \"cy\"\n").unwrap_err().to_string();
        assert!(
            error.ends_with("postmaster: there is no mailbox cy"),
            "{error}"
        );
        fs::write(dir.path().join("users"), "al:70000\n").unwrap();
        assert!(
            load("")
                .unwrap_err()
                .to_string()
                .contains("users:1:1: found 2 fields")
        );
    }
}
