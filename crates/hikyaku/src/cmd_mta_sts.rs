//! `hikyaku mta-sts`: what a domain promises about TLS towards its mail hosts.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use daemon::EXIT_TEMPORARY;
use sender_auth::lookup::{Answer, Question, Record};
use sender_auth::mta_sts::{StsPolicy, StsRecordError, policy_url, record_id, record_name};
use sender_auth::name::ascii_name;

use crate::context::{Context, Failure, printable};
use crate::dkim_keys::read;
use crate::https::{FetchError, Https};
use crate::lookups::{Dns, Resolver};

/// Options of `hikyaku mta-sts`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Look up the record of a domain, fetch its policy, hold it against its mail hosts. First
    /// word: ok, bad, none or temperror.
    Check(Check),
}

#[derive(clap::Args)]
struct Check {
    domain: String,
    #[command(flatten)]
    dns: Dns,
    #[command(flatten)]
    https: Https,
    /// Look at this policy instead of fetching one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ca", "connect_to"])]
    policy: Option<PathBuf>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let What::Check(args) = &args.what;
    let domain = domain(&args.domain)?;
    let mut resolver = args.dns.resolver()?;
    let answer = resolver.ask(&Question::Txt(record_name(&domain)));
    if answer == Answer::TempFail {
        writeln!(context.out, "temperror {domain}: no answer")?;
        return Ok(resolver.exit(true));
    }
    let out = &mut context.out;
    let id = match record_id(answer.texts()) {
        Ok(id) => id,
        Err(error) => {
            let word = match error {
                StsRecordError::None => "none",
                StsRecordError::Several | StsRecordError::Syntax => "bad",
            };
            writeln!(out, "{word} {domain}: {error}")?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let text = match &args.policy {
        Some(path) => read(path).map_err(|error| Failure::io(path.display(), &error))?,
        None => match args.https.fetch(&domain, &mut resolver)? {
            Ok(fetched) => fetched.text,
            Err(error) => {
                let (word, why, code) = match error {
                    FetchError::Unreachable(why) => {
                        ("temperror", why, ExitCode::from(EXIT_TEMPORARY))
                    }
                    FetchError::Refused(why) => ("bad", why, ExitCode::SUCCESS),
                };
                let url = policy_url(&domain);
                writeln!(out, "{word} {domain}: id {id}: {url}: {}", printable(&why))?;
                return Ok(code);
            }
        },
    };
    let policy = match StsPolicy::parse(&text) {
        Ok(policy) => policy,
        Err(error) => {
            writeln!(out, "bad {domain}: id {id}: {error}")?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let Some(hosts) = mail_hosts(&mut resolver, &domain) else {
        writeln!(out, "temperror {domain}: no answer for its mail hosts")?;
        return Ok(resolver.exit(true));
    };
    let all = hosts.iter().all(|host| policy.permits(host));
    let word = if all { "ok" } else { "bad" };
    writeln!(
        out,
        "{word} {domain}: id {id} mode {} max_age {}",
        policy.mode.as_str(),
        policy.max_age
    )?;
    for host in &hosts {
        let word = match policy.permits(host) {
            true => "permitted",
            false => "not permitted",
        };
        writeln!(out, "  {word} {}", printable(host))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a domain from the command line.
pub fn domain(text: &str) -> Result<String, Failure> {
    ascii_name(text.as_bytes())
        .ok_or_else(|| Failure::permanent(format!("{text:?} is no domain name")))
}

/// The mail hosts of a domain, the preferred first; the domain itself if it names none
/// (RFC 5321, 5.1). `None` without an answer.
pub fn mail_hosts(resolver: &mut Resolver, domain: &str) -> Option<Vec<String>> {
    let records = match resolver.ask(&Question::Mx(domain.to_owned())) {
        Answer::TempFail => return None,
        Answer::Records(records) => records,
        Answer::NoData | Answer::NxDomain => return Some(vec![domain.to_owned()]),
    };
    let mut hosts: Vec<(u16, String)> = records
        .into_iter()
        .filter_map(|record| match record {
            Record::Mx { preference, host } if !host.is_empty() => Some((preference, host)),
            _ => None,
        })
        .collect();
    hosts.sort();
    Some(hosts.into_iter().map(|(_, host)| host).collect())
}
