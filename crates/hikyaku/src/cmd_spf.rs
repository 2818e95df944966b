//! `hikyaku spf`: may this address send for this domain?

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use jiff::Timestamp;
use sender_auth::authres::{AuthResults, spf_result};
use sender_auth::spf::{Identity, Spf, SpfRequest, SpfResult, SpfVerdict};

use crate::context::{Context, Failure, printable};
use crate::lookups::{Dns, Resolver};

/// Options of `hikyaku spf`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    dns: Dns,
    /// Print the Authentication-Results field of this host name as well.
    #[arg(long, value_name = "NAME")]
    authserv_id: Option<String>,
}

/// Who sends.
#[derive(clap::Args)]
pub struct Client {
    /// The client's address.
    #[arg(long)]
    pub ip: IpAddr,
    /// What it says in HELO or EHLO.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub helo: String,
    /// The reverse-path; empty or <> for a bounce.
    #[arg(long, value_name = "ADDRESS")]
    pub mail_from: Option<String>,
}

impl Client {
    /// The request; `mail_from` if the options name no reverse-path.
    pub fn request(&self, mail_from: &str) -> SpfRequest {
        let mail_from = self.mail_from.as_deref().unwrap_or(mail_from).trim();
        let mail_from = mail_from.strip_prefix('<').unwrap_or(mail_from);
        SpfRequest {
            ip: self.ip,
            helo: self.helo.clone(),
            mail_from: mail_from.strip_suffix('>').unwrap_or(mail_from).to_owned(),
            receiver: "unknown".to_owned(),
            now: Timestamp::now().as_second(),
        }
    }
}

/// Runs a check to its end.
pub fn checked(mut check: Spf, resolver: &mut Resolver) -> Result<SpfVerdict, Failure> {
    resolver
        .run(&mut check)
        .ok_or_else(|| Failure::permanent("the check did not end"))
}

/// One line about a verdict.
pub fn line(found: &SpfVerdict) -> String {
    let identity = match found.identity {
        Identity::Helo => "helo",
        Identity::MailFrom => "mail-from",
    };
    let mut line = format!("{} {identity}", found.result);
    if !found.domain.is_empty() {
        line += &format!(" {}", printable(&found.domain));
    }
    line += &format!(" ip {} lookups {}", found.ip, found.lookups);
    if found.voids > 0 {
        line += &format!(" void {}", found.voids);
    }
    if let Some(mechanism) = &found.mechanism {
        line += &format!(" by {}", printable(mechanism));
    }
    if let Some(problem) = &found.problem {
        line += &format!(": {}", printable(&problem.to_string()));
    }
    line
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    if args.client.mail_from.is_none() && args.client.helo.is_empty() {
        return Err(Failure::permanent("give --mail-from, --helo or both"));
    }
    let mut resolver = args.dns.resolver()?;
    let request = args.client.request("");
    let mut found = Vec::new();
    if args.client.mail_from.is_some() {
        found.push(checked(Spf::mail_from(&request), &mut resolver)?);
    }
    // A bounce was checked under the name of HELO already.
    let bounce = args.client.mail_from.is_some() && request.mail_from.is_empty();
    if !request.helo.is_empty() && !bounce {
        found.push(checked(Spf::helo(&request), &mut resolver)?);
    }
    for (number, verdict) in found.iter().enumerate() {
        let indent = if number == 0 { "" } else { "  " };
        writeln!(context.out, "{indent}{}", line(verdict))?;
        if let Some(words) = &verdict.explanation {
            let domain = printable(&verdict.domain);
            writeln!(context.out, "  {domain} explains: {}", printable(words))?;
        }
    }
    if let Some(id) = &args.authserv_id {
        let field = AuthResults {
            authserv_id: id.clone(),
            results: found.iter().map(spf_result).collect(),
        };
        write!(context.out, "{}", field.to_field().replace("\r\n", "\n"))?;
    }
    let first = found.first().map(|verdict| verdict.result);
    Ok(resolver.exit(first == Some(SpfResult::TempError)))
}
