//! `hikyaku dns`: the records that this host needs.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use jiff::Timestamp;
use sender_auth::dkim::rotation::Stage;
use sender_auth::mta_sts::{Mode, StsPolicy, policy_url};

use crate::context::{Context, Failure};
use crate::dkim_keys::Dir;
use crate::own_dns::OwnDns;

/// Seconds for which senders may keep the MTA-STS policy that is printed: a week.
const POLICY_AGE: u64 = 604_800;

/// Options of `hikyaku dns`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Print every record that this host needs for a domain, ready for its zone.
    Print(Print),
}

#[derive(clap::Args)]
struct Print {
    domain: String,
    #[command(flatten)]
    dir: Dir,
    /// A public address of this host; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let What::Print(args) = &args.what;
    let own = OwnDns::read(&args.domain, &args.dir, context)?;
    let known = match args.ip.is_empty() {
        true => own.addresses.clone(),
        false => args.ip.clone(),
    };
    let out = &mut context.out;
    writeln!(
        out,
        "; records of {} for mail through {}",
        own.domain, own.host
    )?;
    writeln!(out, "{}", own.mx())?;
    for line in own.addresses(&known) {
        writeln!(out, "{line}")?;
    }
    if own.relayed {
        writeln!(
            out,
            "; mail goes out through another host: add its include: or address here"
        )?;
    }
    writeln!(out, "{}", own.spf())?;
    if own.host != own.domain {
        writeln!(out, "{}", own.helo_spf())?;
    }
    if own.keys.is_empty() {
        let domain = &own.domain;
        writeln!(
            out,
            "; no DKIM key: `hikyaku dkim key new {domain}` makes one"
        )?;
    }
    for key in &own.keys {
        if key.stage == Stage::Next {
            let domain = &own.domain;
            writeln!(
                out,
                "; next key: `hikyaku dkim key check --switch {domain}` once it is published"
            )?;
        }
        writeln!(out, "{}", own.dkim(key))?;
    }
    writeln!(
        out,
        "; p=quarantine or p=reject when the reports show that all own mail passes"
    )?;
    writeln!(out, "{}", own.dmarc())?;
    writeln!(out, "{}", own.tlsrpt())?;
    let tlsa = own.tlsa();
    if tlsa.is_empty() {
        writeln!(
            out,
            "; no certificate is configured: no TLSA record, no MTA-STS"
        )?;
    } else {
        writeln!(
            out,
            "; only in a zone signed with DNSSEC; change it before the key of the certificate"
        )?;
        for line in tlsa {
            writeln!(out, "{line}")?;
        }
        let id = Timestamp::now().strftime("%Y%m%d%H%M%S").to_string();
        writeln!(
            out,
            "; only with the policy below at {}",
            policy_url(&own.domain)
        )?;
        writeln!(out, "{}", own.mta_sts(&id))?;
        let policy = StsPolicy {
            mode: Mode::Testing,
            max_age: POLICY_AGE,
            mx: vec![own.host.clone()],
        };
        for line in policy.to_text().lines() {
            writeln!(out, ";   {line}")?;
        }
    }
    writeln!(out, "; set by whoever gave you the addresses:")?;
    match known.is_empty() {
        true => writeln!(
            out,
            "; the reverse name of each public address: {}.",
            own.host
        )?,
        false => {
            for ip in known {
                writeln!(out, "{}", own.reverse(ip))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
