//! `hikyaku srs`: senders of forwarded mail, there and back.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use sender_auth::secrets::{SECRETS_MAX, Secrets};
use sender_auth::srs::{Srs, SrsError};

use crate::context::{Context, Failure, printable};

/// Octets of a new secret, from which twice as many characters are made.
const SECRET_OCTETS: usize = 24;

/// Options of `hikyaku srs`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Show the sender under which mail from an address is forwarded. First word: forwarded,
    /// unchanged or refused.
    Forward(Address),
    /// Show where a bounce to an address of ours belongs. First word: reversed or refused.
    Reverse(Address),
    /// Put a new secret in front of the others, making the file if need be.
    NewSecret {
        #[command(flatten)]
        secrets: SecretsFile,
    },
}

#[derive(clap::Args)]
struct Address {
    /// LOCAL@DOMAIN
    address: String,
    /// The domain that forwards; else hostname of the configuration.
    #[arg(long)]
    domain: Option<String>,
    #[command(flatten)]
    secrets: SecretsFile,
    /// Judge ages as if it were this second since 1970.
    #[arg(long, value_name = "SECONDS")]
    now: Option<i64>,
}

#[derive(clap::Args)]
struct SecretsFile {
    /// Secrets, one a line, the newest first; else srs-secrets beside the configuration.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

impl SecretsFile {
    fn path(&self, context: &Context) -> Result<PathBuf, Failure> {
        match &self.secrets {
            Some(path) => Ok(path.clone()),
            None => Ok(context.config()?.paths.etc.join("srs-secrets")),
        }
    }

    fn text(&self, context: &Context) -> Result<(PathBuf, String), Failure> {
        let path = self.path(context)?;
        let text = auth::file::read(&path).map_err(|error| Failure::io(path.display(), &error))?;
        Ok((path, text))
    }
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Forward(args) => forward(args, context),
        What::Reverse(args) => reverse(args, context),
        What::NewSecret { secrets } => new_secret(secrets, context),
    }
}

impl Address {
    fn srs(&self, context: &Context) -> Result<Srs, Failure> {
        let (path, text) = self.secrets.text(context)?;
        let secrets = Secrets::parse(&text).map_err(|error| {
            let path = path.display();
            Failure::permanent(format!(
                "{path}: {error}; `hikyaku srs new-secret` makes one"
            ))
        })?;
        let domain = match &self.domain {
            Some(domain) => domain.clone(),
            None => context.config()?.hostname,
        };
        Srs::new(&domain, secrets).map_err(|error| Failure::permanent(format!("{domain}: {error}")))
    }

    fn parts(&self) -> Result<(&str, &str), Failure> {
        let bare = self.address.strip_prefix('<').unwrap_or(&self.address);
        let bare = bare.strip_suffix('>').unwrap_or(bare);
        bare.rsplit_once('@')
            .ok_or_else(|| Failure::permanent("an address is LOCAL@DOMAIN"))
    }

    fn now(&self) -> i64 {
        self.now.unwrap_or_else(|| Timestamp::now().as_second())
    }
}

fn forward(args: &Address, context: &mut Context) -> Result<ExitCode, Failure> {
    let srs = args.srs(context)?;
    let (local, domain) = args.parts()?;
    match srs.forward(local, domain, args.now()) {
        Ok(parts) if parts.domain == domain && parts.local == local => {
            writeln!(context.out, "unchanged {}", printable(&parts.to_string()))?;
        }
        Ok(parts) => writeln!(context.out, "forwarded {}", printable(&parts.to_string()))?,
        Err(error) => writeln!(context.out, "refused {error}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn reverse(args: &Address, context: &mut Context) -> Result<ExitCode, Failure> {
    let srs = args.srs(context)?;
    let (local, domain) = args.parts()?;
    let own = match &args.domain {
        Some(own) => own.clone(),
        None => context.config()?.hostname,
    };
    let found = if domain.eq_ignore_ascii_case(&own) {
        srs.reverse(local, args.now())
    } else {
        Err(SrsError::NotSrs)
    };
    match found {
        Ok(parts) => writeln!(context.out, "reversed {}", printable(&parts.to_string()))?,
        Err(error) => writeln!(context.out, "refused {error}")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn new_secret(file: &SecretsFile, context: &mut Context) -> Result<ExitCode, Failure> {
    let (path, text) = file.text(context)?;
    let mut octets = [0; SECRET_OCTETS];
    daemon::clock::random(&mut octets);
    let mut fresh = String::with_capacity(2 * SECRET_OCTETS);
    for octet in octets {
        fresh.push_str(&format!("{octet:02x}"));
    }
    let is_secret = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with('#');
    let kept: Vec<&str> = text.lines().filter(is_secret).collect();
    let kept = kept.get(..SECRETS_MAX - 1).unwrap_or(&kept);
    let mut new = format!("# SRS secrets, the newest first\n{fresh}\n");
    for line in kept {
        new.push_str(line);
        new.push('\n');
    }
    auth::file::replace(&path, &new, 0o600).map_err(|error| Failure::io(path.display(), &error))?;
    writeln!(
        context.out,
        "ok {}: secrets {}",
        path.display(),
        kept.len() + 1
    )?;
    Ok(ExitCode::SUCCESS)
}
