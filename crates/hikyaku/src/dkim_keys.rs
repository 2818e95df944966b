//! The directory of DKIM keys: for each domain a directory with `ring`, which says what each
//! key does (hikyaku-dkim(5)), and one `SELECTOR.pem` per key.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sender_auth::crypto::SigningKey;
use sender_auth::dkim::rotation::KeyRing;
use sender_auth::name::ascii_name;

use crate::context::{Context, Failure};

/// Largest key or ring file, in octets.
const FILE_MAX: u64 = 65_536;

/// Which directory.
#[derive(clap::Args, Clone)]
pub struct Dir {
    /// The directory of keys; else the directory dkim beside the configuration.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Dir {
    /// The keys of a domain.
    pub fn domain(&self, domain: &str, context: &Context) -> Result<DomainKeys, Failure> {
        let domain = ascii_name(domain.as_bytes())
            .ok_or_else(|| Failure::permanent(format!("{domain:?} is no domain name")))?;
        let base = match &self.dir {
            Some(dir) => dir.clone(),
            None => context.config()?.paths.etc.join("dkim"),
        };
        Ok(DomainKeys {
            path: base.join(&domain),
            domain,
        })
    }
}

/// The keys of one domain on the disk.
pub struct DomainKeys {
    /// In ASCII form.
    pub domain: String,
    path: PathBuf,
}

impl DomainKeys {
    /// Reads the ring; an empty one if there is none yet.
    pub fn ring(&self) -> Result<KeyRing, Failure> {
        let path = self.path.join("ring");
        let text = match read(&path) {
            Ok(octets) => String::from_utf8_lossy(&octets).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Failure::io(path.display(), &error)),
        };
        KeyRing::parse(&text)
            .map_err(|error| Failure::permanent(format!("{}: {error}", path.display())))
    }

    /// Replaces the ring at once.
    pub fn write_ring(&self, ring: &KeyRing) -> Result<(), Failure> {
        let path = self.path.join("ring");
        auth::file::replace(&path, &ring.to_text(), 0o600)
            .map_err(|error| Failure::io(path.display(), &error))
    }

    /// Reads a key.
    pub fn key(&self, selector: &str) -> Result<SigningKey, Failure> {
        read_key(&self.key_path(selector))
    }

    /// The file of a key.
    pub fn key_path(&self, selector: &str) -> PathBuf {
        self.path.join(format!("{selector}.pem"))
    }

    /// Writes a new key; durable on return. Never replaces one.
    pub fn write_key(&self, selector: &str, pem: &[u8]) -> Result<(), Failure> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.path);
        made.map_err(|error| Failure::io(self.path.display(), &error))?;
        let path = self.key_path(selector);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(pem)?;
                file.sync_all()
            })
            .map_err(|error| Failure::io(path.display(), &error))
    }
}

/// Reads a private key from a PEM file.
pub fn read_key(path: &Path) -> Result<SigningKey, Failure> {
    let pem = read(path).map_err(|error| Failure::io(path.display(), &error))?;
    SigningKey::from_pem(&pem)
        .map_err(|error| Failure::permanent(format!("{}: {error}", path.display())))
}

/// Reads a small file.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    std::fs::File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_end(&mut octets)?;
    if octets.len() as u64 > FILE_MAX {
        return Err(std::io::Error::new(
            ErrorKind::InvalidData,
            "larger than 64 KiB",
        ));
    }
    Ok(octets)
}
