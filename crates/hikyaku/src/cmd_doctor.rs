//! `hikyaku doctor`: is a domain set up so that mail through this host is believed?

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use daemon::EXIT_TEMPORARY;

use crate::context::{Context, Failure, printable};
use crate::dkim_keys::Dir;
use crate::doctor::{Doctor, Word};
use crate::https::Https;
use crate::lookups::Dns;
use crate::own_dns::OwnDns;

/// Options of `hikyaku doctor`.
#[derive(clap::Args)]
pub struct Args {
    domain: String,
    #[command(flatten)]
    dir: Dir,
    #[command(flatten)]
    dns: Dns,
    #[command(flatten)]
    https: Https,
    /// A public address of this host; else those that the DNS has for its name.
    #[arg(long, value_name = "ADDRESS")]
    ip: Vec<IpAddr>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let own = OwnDns::read(&args.domain, &args.dir, context)?;
    let mut doctor = Doctor::new(own, args.dns.resolver()?, &args.https);
    doctor.check(&args.ip)?;
    let (bad, unknown) = (doctor.count(Word::Bad), doctor.count(Word::Unknown));
    let word = match (bad, unknown) {
        (0, 0) => "ok",
        (0, _) => "unknown",
        _ => "bad",
    };
    writeln!(
        context.out,
        "{word} {}: checks {}, bad {bad}, notes {}, unknown {unknown}",
        doctor.own.domain,
        doctor.findings.len(),
        doctor.count(Word::Note)
    )?;
    for one in &doctor.findings {
        let (word, found) = (one.word.as_str(), printable(&one.found));
        writeln!(context.out, "  {word} {}: {found}", one.subject)?;
        let lines = one.mend.iter().flat_map(|mend| mend.lines());
        for (number, line) in lines.enumerate() {
            let label = if number == 0 { "mend:" } else { "     " };
            writeln!(context.out, "    {label} {}", printable(line))?;
        }
    }
    Ok(match (bad, unknown) {
        (0, 1..) => ExitCode::from(EXIT_TEMPORARY),
        _ => ExitCode::SUCCESS,
    })
}
