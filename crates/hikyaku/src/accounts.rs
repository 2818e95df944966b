//! The users table and the password file, changed by one command at a time.

use std::fs::{File, remove_file};
use std::io::ErrorKind;
use std::path::Path;

use auth::file;
use auth::hash::{Hash, SALT_LEN};
use auth::{Password, types::wipe};
use config::Config;
use routing::{load, users};

use crate::context::Failure;

/// Both files, locked against other commands.
pub struct Accounts {
    _lock: File,
    /// The text of the users table.
    pub users: String,
    /// The text of the password file.
    pub passwords: String,
}

impl Accounts {
    /// Locks and reads.
    pub fn open(config: &Config) -> Result<Self, Failure> {
        let etc = &config.paths.etc;
        let fail = |error: &std::io::Error| Failure::io(etc.display(), error);
        let lock = File::open(etc).map_err(|error| fail(&error))?;
        if !daemon::file::try_lock(&lock).map_err(|error| fail(&error))? {
            return Err(Failure::Temporary(
                "another `hikyaku user` is at work".to_owned(),
            ));
        }
        // With the lock held, these can only be left over from one that died.
        for path in [&config.users.file, &config.users.passwords] {
            let mut name = path.as_os_str().to_owned();
            name.push(".new");
            match remove_file(&name) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(Failure::io(Path::new(&name).display(), &error));
                }
                _ => {}
            }
        }
        let passwords = &config.users.passwords;
        Ok(Self {
            _lock: lock,
            users: load::read(&config.users.file)?,
            passwords: file::read(passwords)
                .map_err(|error| Failure::io(passwords.display(), &error))?,
        })
    }

    /// Replaces the users table.
    pub fn write_users(&mut self, text: String, config: &Config) -> Result<(), Failure> {
        // What we wrote we can read: a table that is refused would stop the house.
        users::parse(&text, config)?;
        let path = &config.users.file;
        file::replace(path, &text, 0o644).map_err(|error| Failure::io(path.display(), &error))?;
        self.users = text;
        Ok(())
    }

    /// Sets or, with `None`, removes a user's password.
    pub fn write_password(
        &mut self,
        name: &str,
        password: Option<&Password>,
        config: &Config,
    ) -> Result<(), Failure> {
        let hash = password.map(new_hash).transpose()?;
        let text = file::with_line(&self.passwords, name, hash.as_ref());
        let path = &config.users.passwords;
        file::replace(path, &text, 0o600).map_err(|error| Failure::io(path.display(), &error))?;
        self.passwords = text;
        Ok(())
    }
}

fn new_hash(password: &Password) -> Result<Hash, Failure> {
    let mut salt = [0; SALT_LEN];
    daemon::clock::random(&mut salt);
    let hash = Hash::make(password, &salt);
    wipe(&mut salt);
    hash.map_err(|error| Failure::permanent(error.to_string()))
}
