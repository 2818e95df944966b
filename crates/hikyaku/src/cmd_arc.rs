//! `hikyaku arc`: chains of seals.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use sender_auth::arc::{
    ChainStatus, ChainVerdict, SealError, SealPreparation, Sealable, Validation,
};
use sender_auth::authres::{AuthResults, arc_result, dkim_results};
use sender_auth::dkim::{SigningIdentity, Verification, Verified};
use sender_auth::pass::Pass;

use crate::cmd_dkim::current_keys;
use crate::context::{Context, Failure};
use crate::dkim_keys::{Dir, read_key};
use crate::lookups::{Dns, Resolver};
use crate::wire::{Source, whole};

/// Options of `hikyaku arc`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Check the chain of a message. First word: pass, fail, none or temperror.
    Verify(Verify),
    /// Check chain and signatures of a message and add a set that says so.
    Seal(Seal),
}

#[derive(clap::Args)]
struct Verify {
    #[command(flatten)]
    dns: Dns,
    /// Judge dates as if it were this second since 1970.
    #[arg(long, value_name = "SECONDS")]
    now: Option<i64>,
    #[command(flatten)]
    source: Source,
}

#[derive(clap::Args)]
struct Seal {
    /// The sealing domain.
    #[arg(long)]
    domain: String,
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    dns: Dns,
    /// Seal with this key file instead of the domain's current key.
    #[arg(long, value_name = "FILE", requires = "selector")]
    key: Option<PathBuf>,
    /// The selector of the key file.
    #[arg(long, requires = "key")]
    selector: Option<String>,
    /// The name under which results are recorded; else the domain.
    #[arg(long, value_name = "NAME")]
    authserv_id: Option<String>,
    /// Results found elsewhere, as in an Authentication-Results field: "spf=pass …".
    #[arg(long, value_name = "TEXT")]
    results: Option<String>,
    /// The message as it came in, if this host has changed it since.
    #[arg(long, value_name = "FILE")]
    received: Option<PathBuf>,
    /// Print the new fields alone.
    #[arg(long)]
    fields: bool,
    #[command(flatten)]
    source: Source,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Verify(args) => verify(args, context),
        What::Seal(args) => seal(args, context),
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn verify(args: &Verify, context: &mut Context) -> Result<ExitCode, Failure> {
    let mut resolver = args.dns.resolver()?;
    let mut check = Pass::new(Validation::with_oldest_pass());
    args.source.for_each(|block| check.feed(block))?;
    check.end(args.now.unwrap_or_else(now));
    let found = resolver.run(&mut check).ok_or_else(unfinished)?;
    let word = match found.status {
        ChainStatus::TempError => "temperror",
        other => other.as_str(),
    };
    write!(context.out, "{word} sets {}", found.domains.len())?;
    match found.status {
        ChainStatus::Fail(problem) => writeln!(context.out, ": {problem}")?,
        ChainStatus::TempError => writeln!(context.out, ": no answer to a key query")?,
        _ => writeln!(context.out)?,
    }
    for (number, domain) in (1..).zip(&found.domains) {
        writeln!(context.out, "  {number} {domain}")?;
    }
    match found.oldest_pass {
        Some(0) => writeln!(context.out, "  not changed since set 1")?,
        Some(oldest) => writeln!(context.out, "  not changed since set {oldest}")?,
        None => {}
    }
    Ok(resolver.exit(found.status == ChainStatus::TempError))
}

fn unfinished() -> Failure {
    Failure::permanent("the message did not end")
}

fn seal(args: &Seal, context: &mut Context) -> Result<ExitCode, Failure> {
    let mut keys = match (&args.key, &args.selector) {
        (Some(path), Some(selector)) => vec![(read_key(path)?, selector.clone())],
        _ => current_keys(&args.dir.domain(&args.domain, context)?)?,
    };
    // RSA before Ed25519, as not every validator of chains knows the latter.
    keys.sort_by_key(|(key, _)| key.algorithm().key_type() != "rsa");
    let (key, selector) = keys.first().ok_or_else(unfinished)?;
    let identity = SigningIdentity::new(key, &args.domain, selector)
        .map_err(|error| Failure::permanent(error.to_string()))?;
    let mut resolver = args.dns.resolver()?;
    let (message, ends) = args.source.whole()?;
    let (dkim, sealable) = prepare(args, &message, &mut resolver)?;
    let authserv_id = args.authserv_id.as_ref().unwrap_or(&args.domain);
    let mut results = vec![arc_result(&sealable.chain)];
    results.extend(dkim_results(&dkim));
    if let Some(text) = &args.results {
        let read = AuthResults::parse(format!("x; {text}").as_bytes())
            .map_err(|error| Failure::permanent(format!("--results: {error}")))?;
        results.extend(read.results);
    }
    let results = AuthResults {
        authserv_id: authserv_id.clone(),
        results,
    };
    let fields = sealable
        .seal(&identity, &results, now())
        .map_err(|error| match error {
            SealError::Unknown | SealError::NoRandomness => {
                Failure::Temporary(format!("not sealed: {error}"))
            }
            _ => Failure::permanent(format!("not sealed: {error}")),
        })?;
    context.out.write_all(&ends.restore(&fields))?;
    if !args.fields {
        context.out.write_all(&ends.restore(&message))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the signatures and the chain were when the message came in, and the message as it is
/// to be sealed.
fn prepare(
    args: &Seal,
    message: &[u8],
    resolver: &mut Resolver,
) -> Result<(Verified, Sealable), Failure> {
    let Some(received) = &args.received else {
        let both = (Verification::default(), SealPreparation::new());
        return checked(both, message, resolver);
    };
    let (received, _) = whole(Some(received))?;
    let both = (Verification::default(), Validation::new());
    let (dkim, chain): (Verified, ChainVerdict) = checked(both, &received, resolver)?;
    let sealable = checked(SealPreparation::changed_since(chain), message, resolver)?;
    Ok((dkim, sealable))
}

fn checked<M: sender_auth::pass::Mechanism>(
    mechanism: M,
    message: &[u8],
    resolver: &mut Resolver,
) -> Result<M::Verdict, Failure> {
    let mut pass = Pass::new(mechanism);
    pass.feed(message);
    pass.end(now());
    resolver.run(&mut pass).ok_or_else(unfinished)
}
