//! `hikyaku dkim`: signatures of messages, and the keys for them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use sender_auth::authres::{AuthResults, dkim_results};
use sender_auth::canon::Canon;
use sender_auth::crypto::{Algorithm, SigningKey, new_ed25519_pem};
use sender_auth::dkim::rotation::{KeyRing, Published, Stage};
use sender_auth::dkim::verify::{DkimResult, SignatureVerdict};
use sender_auth::dkim::{
    KeyRecord, Limits, Signer, Signing, SigningIdentity, SigningOptions, Verification, Verified,
    Verifier,
};
use sender_auth::lookup::{Answer, Question, drive};

use crate::context::{Context, Failure, printable};
use crate::dkim_keys::{Dir, DomainKeys, read_key};
use crate::lookups::Dns;
use crate::wire::Source;

/// Options of `hikyaku dkim`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Check the signatures of a message. First word: pass, fail, none, neutral, policy,
    /// permerror or temperror.
    Verify(Verify),
    /// Put a signature by each current key of a domain, or by one key file, on a message.
    Sign(Sign),
    /// Make keys, compare them with the DNS, let one follow another.
    Key {
        #[command(subcommand)]
        what: KeyWhat,
    },
}

#[derive(clap::Args)]
struct Verify {
    #[command(flatten)]
    dns: Dns,
    /// Print the Authentication-Results field of this host name as well.
    #[arg(long, value_name = "NAME")]
    authserv_id: Option<String>,
    /// Judge dates as if it were this second since 1970.
    #[arg(long, value_name = "SECONDS")]
    now: Option<i64>,
    #[command(flatten)]
    source: Source,
}

#[derive(clap::Args)]
struct Sign {
    /// The signing domain.
    #[arg(long)]
    domain: String,
    #[command(flatten)]
    dir: Dir,
    /// Sign with this key file instead of the domain's current keys.
    #[arg(long, value_name = "FILE", requires = "selector")]
    key: Option<PathBuf>,
    /// The selector of the key file.
    #[arg(long, requires = "key")]
    selector: Option<String>,
    /// Sign the very octets of header and body instead of their relaxed form.
    #[arg(long)]
    simple: bool,
    /// The form of the header and that of the body, as in a `c=` tag: relaxed/simple.
    #[arg(long, value_name = "FORMS", value_parser = canons, conflicts_with = "simple")]
    canon: Option<(Canon, Canon)>,
    /// Let the signature expire after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    lifetime: Option<u64>,
    /// Print the new fields alone.
    #[arg(long)]
    fields: bool,
    #[command(flatten)]
    source: Source,
}

#[derive(clap::Subcommand)]
enum KeyWhat {
    /// Prepare the next key of a domain and print the record to publish.
    New(KeyNew),
    /// Compare the keys of a domain with the DNS; first word: ok or the first trouble.
    Check(KeyCheck),
}

#[derive(clap::Args)]
struct KeyNew {
    domain: String,
    #[command(flatten)]
    dir: Dir,
    /// Its name in the DNS; else one made of the date.
    #[arg(long)]
    selector: Option<String>,
    /// Take this RSA or Ed25519 key (PEM) instead of making an Ed25519 key.
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
}

#[derive(clap::Args)]
struct KeyCheck {
    domain: String,
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    dns: Dns,
    /// Let each next key whose record is published sign from now on.
    #[arg(long)]
    switch: bool,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Verify(args) => verify(args, context),
        What::Sign(args) => sign(args, context),
        What::Key {
            what: KeyWhat::New(args),
        } => key_new(args, context),
        What::Key {
            what: KeyWhat::Check(args),
        } => key_check(args, context),
    }
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn verify(args: &Verify, context: &mut Context) -> Result<ExitCode, Failure> {
    let mut resolver = args.dns.resolver()?;
    let mut check = Verifier::new(Verification::new(Limits::default()));
    args.source.for_each(|block| check.feed(block))?;
    check.end(args.now.unwrap_or_else(now));
    let found = resolver.run(&mut check).unwrap_or_default();
    show(&found, context)?;
    if let Some(id) = &args.authserv_id {
        let field = AuthResults {
            authserv_id: id.clone(),
            results: dkim_results(&found),
        };
        write!(context.out, "{}", field.to_field().replace("\r\n", "\n"))?;
    }
    Ok(resolver.exit(found.result() == DkimResult::TempError))
}

fn show(found: &Verified, context: &mut Context) -> Result<(), Failure> {
    let good = found.passing_domains().count();
    let count = found.signatures.len() + found.skipped;
    let out = &mut context.out;
    write!(out, "{} signatures {count}, good {good}", found.result())?;
    match (found.header_too_large, found.skipped) {
        (true, _) => writeln!(out, "; the header is too large to be looked at")?,
        (false, 0) => writeln!(out)?,
        (false, skipped) => writeln!(out, ", not looked at {skipped}")?,
    }
    for signature in &found.signatures {
        writeln!(out, "  {}", line(signature))?;
    }
    Ok(())
}

fn line(verdict: &SignatureVerdict) -> String {
    let mut line = verdict.result().to_string();
    if let Some(signature) = &verdict.signature {
        line += &format!(
            " d={} s={} i={} a={}",
            signature.domain,
            signature.selector,
            printable(&signature.identity),
            signature.algorithm
        );
    }
    if let Some(bits) = verdict.key_bits {
        line += &format!(" key={bits}");
    }
    if verdict.testing {
        line += " testing";
    }
    if verdict.uncovered > 0 {
        line += &format!(" unsigned_octets={}", verdict.uncovered);
    }
    if let Err(problem) = verdict.outcome {
        line += &format!(": {problem}");
    }
    line
}

/// `HEADER/BODY`; one word alone is the header's, with a simple body (RFC 6376, 3.5).
fn canons(text: &str) -> Result<(Canon, Canon), String> {
    let (header, body) = text.split_once('/').unwrap_or((text, "simple"));
    let word = |word: &str| {
        Canon::parse(word.as_bytes()).ok_or_else(|| format!("{word:?}: neither simple nor relaxed"))
    };
    Ok((word(header)?, word(body)?))
}

fn sign(args: &Sign, context: &mut Context) -> Result<ExitCode, Failure> {
    let keys = signing_keys(args, context)?;
    let mut identities = Vec::new();
    for (key, selector) in &keys {
        let identity = SigningIdentity::new(key, &args.domain, selector)
            .map_err(|error| Failure::permanent(error.to_string()))?;
        identities.push(identity);
    }
    let (header_canon, body_canon) = match (args.canon, args.simple) {
        (Some(both), _) => both,
        (None, true) => (Canon::Simple, Canon::Simple),
        (None, false) => (Canon::Relaxed, Canon::Relaxed),
    };
    let options = SigningOptions {
        header_canon,
        body_canon,
        lifetime: args.lifetime,
        ..SigningOptions::default()
    };
    let (message, ends) = args.source.whole()?;
    let mut signer = Signer::new(Signing::new(&identities, &options));
    signer.feed(&message);
    signer.end(now());
    // A signer has no questions.
    let fields = drive(&mut signer, |_| Answer::TempFail)
        .ok_or_else(|| Failure::permanent("the message did not end"))?
        .map_err(|error| Failure::permanent(format!("not signed: {error}")))?;
    context.out.write_all(&ends.restore(&fields))?;
    if !args.fields {
        context.out.write_all(&ends.restore(&message))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys to sign with, and their selectors.
fn signing_keys(args: &Sign, context: &Context) -> Result<Vec<(SigningKey, String)>, Failure> {
    if let (Some(path), Some(selector)) = (&args.key, &args.selector) {
        return Ok(vec![(read_key(path)?, selector.clone())]);
    }
    current_keys(&args.dir.domain(&args.domain, context)?)
}

/// The current keys of a domain and their selectors, at least one.
pub fn current_keys(keys: &DomainKeys) -> Result<Vec<(SigningKey, String)>, Failure> {
    let mut found = Vec::new();
    for key in keys.ring()?.signing() {
        found.push((keys.key(&key.selector)?, key.selector.clone()));
    }
    if found.is_empty() {
        return Err(Failure::permanent(format!(
            "{0} has no current key; `hikyaku dkim key new {0}` prepares one, \
             `hikyaku dkim key check --switch {0}` lets it sign once it is published",
            keys.domain
        )));
    }
    Ok(found)
}

fn key_new(args: &KeyNew, context: &mut Context) -> Result<ExitCode, Failure> {
    let keys = args.dir.domain(&args.domain, context)?;
    let pem = match &args.import {
        Some(path) => {
            crate::dkim_keys::read(path).map_err(|error| Failure::io(path.display(), &error))?
        }
        None => new_ed25519_pem()
            .map_err(|error| Failure::Temporary(error.to_string()))?
            .into_bytes(),
    };
    let key = SigningKey::from_pem(&pem).map_err(|error| Failure::permanent(error.to_string()))?;
    let mut ring = keys.ring()?;
    let selector = match &args.selector {
        Some(selector) => selector.to_ascii_lowercase(),
        None => free_selector(&ring, key.algorithm()),
    };
    ring.prepare(&selector, key.algorithm(), now())
        .map_err(|error| Failure::permanent(error.to_string()))?;
    // First the key, then the ring that names it: a crash in between leaves a file too many.
    keys.write_key(&selector, &pem)?;
    keys.write_ring(&ring)?;
    let record = KeyRecord::new(key.public());
    let domain = &keys.domain;
    writeln!(
        context.out,
        "prepared: {} in {}; publish this record, then run `hikyaku dkim key check --switch {domain}`",
        key.algorithm(),
        keys.key_path(&selector).display()
    )?;
    writeln!(context.out, "{}", record.to_zone_line(&selector, domain))?;
    Ok(ExitCode::SUCCESS)
}

/// A selector of the date and the kind of key that was not used before.
fn free_selector(ring: &KeyRing, algorithm: Algorithm) -> String {
    let date = Timestamp::now().strftime("%Y%m%d").to_string();
    let kind = match algorithm {
        Algorithm::RsaSha256 => "r",
        Algorithm::Ed25519Sha256 => "e",
    };
    let taken = |name: &str| ring.keys().iter().any(|key| key.selector == name);
    let first = format!("hk{date}{kind}");
    // A ring has fewer keys than this tries names.
    (2..1_000)
        .map(|number| format!("{first}{number}"))
        .find(|name| taken(&first) && !taken(name))
        .unwrap_or(first)
}

fn key_check(args: &KeyCheck, context: &mut Context) -> Result<ExitCode, Failure> {
    let keys = args.dir.domain(&args.domain, context)?;
    let mut ring = keys.ring()?;
    let mut resolver = args.dns.resolver()?;
    let mut lines = Vec::new();
    let mut trouble: Option<Published> = None;
    let mut switched = false;
    for key in ring.keys().to_vec() {
        let public = keys.key(&key.selector)?.public();
        let name = format!("{}._domainkey.{}", key.selector, keys.domain);
        let found = Published::judge(&public, &resolver.ask(&Question::Txt(name)));
        let mut stage = key.stage.to_string();
        if args.switch && key.stage == Stage::Next && found == Published::Same {
            ring.switch(&key.selector, now())
                .map_err(|error| Failure::permanent(error.to_string()))?;
            switched = true;
            stage = "next -> current".to_owned();
        }
        // An old key may be taken out of the DNS; a next one is not missed by anybody yet.
        if found != Published::Same && key.stage == Stage::Current {
            trouble = trouble.or(Some(found));
        }
        let detail = match found {
            Published::Bad(problem) => format!(" ({problem})"),
            _ => String::new(),
        };
        let selector = &key.selector;
        let (word, algorithm) = (found.as_str(), key.algorithm);
        lines.push(format!("  {word} {selector} {algorithm} {stage}{detail}"));
        if found != Published::Same && key.stage != Stage::Old {
            let record = KeyRecord::new(public).to_zone_line(selector, &keys.domain);
            lines.push(format!("    publish: {record}"));
        }
    }
    if switched {
        keys.write_ring(&ring)?;
    }
    for old in ring.retired(now()) {
        lines.push(format!(
            "  {}: old for more than a week; its record and file can go",
            old.selector
        ));
    }
    let word = match trouble {
        Some(found) => found.as_str(),
        None if ring.signing().next().is_none() => "none",
        None => "ok",
    };
    let current = ring.signing().count();
    writeln!(
        context.out,
        "{word} {}: keys {}, signing {current}",
        keys.domain,
        ring.keys().len()
    )?;
    for line in lines {
        writeln!(context.out, "{line}")?;
    }
    Ok(resolver.exit(trouble == Some(Published::Unavailable)))
}
