//! hikyaku: the admin's command. One file for each subcommand; here they are only told apart.
//!
//! Exit codes: 0 done, 100 permanent (usage, configuration, what was asked for can't be), 111
//! temporary (try again).
#![forbid(unsafe_code)]

mod accounts;
mod cmd_arc;
mod cmd_ban;
mod cmd_check;
mod cmd_dkim;
mod cmd_dmarc;
mod cmd_dmarc_report;
mod cmd_dns;
mod cmd_doctor;
mod cmd_message;
mod cmd_mta_sts;
mod cmd_queue;
mod cmd_reload;
mod cmd_spf;
mod cmd_srs;
mod cmd_tls_report;
mod cmd_user;
mod context;
mod dkim_keys;
mod doctor;
mod home;
mod https;
mod lookups;
mod own_dns;
mod secret;
mod wire;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::context::{Context, Failure};

/// The admin's command of the hikyaku mail system.
#[derive(Parser)]
#[command(name = "hikyaku", version, max_term_width = 100)]
struct Cli {
    /// The configuration; else the file in $HIKYAKU_CONFIG, else /etc/hikyaku/hikyaku.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read configuration, tables and certificates as the daemons do; report all mistakes.
    Check(cmd_check::Args),
    /// Add, remove and list users, set their passwords.
    User(cmd_user::Args),
    /// Look at the queue.
    Queue(cmd_queue::Args),
    /// Let the running daemons be replaced by ones with the present configuration.
    Reload(cmd_reload::Args),
    /// Look into a message.
    Message(cmd_message::Args),
    /// Look at bans, make and lift them.
    Ban(cmd_ban::Args),
    /// Verify and make DKIM signatures, look after their keys.
    Dkim(cmd_dkim::Args),
    /// Verify and make ARC seals.
    Arc(cmd_arc::Args),
    /// Check whether an address may send for a domain.
    Spf(cmd_spf::Args),
    /// Check a message against its author's policy, sum up reports.
    Dmarc(cmd_dmarc::Args),
    /// Check what a domain promises about TLS.
    MtaSts(cmd_mta_sts::Args),
    /// Sum up what others report about TLS towards our mail hosts.
    TlsReport(cmd_tls_report::Args),
    /// Print the DNS records that this host needs.
    Dns(cmd_dns::Args),
    /// Check everything that lets others believe mail from a domain through this host.
    Doctor(cmd_doctor::Args),
    /// Rewrite senders of forwarded mail, there and back.
    Srs(cmd_srs::Args),
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let mut context = Context::new(cli.config);
    let code = match cli.command {
        Command::Check(args) => cmd_check::run(&args, &mut context),
        Command::User(args) => cmd_user::run(&args, &mut context),
        Command::Queue(args) => cmd_queue::run(&args, &mut context),
        Command::Reload(args) => cmd_reload::run(&args, &mut context),
        Command::Message(args) => cmd_message::run(&args, &mut context),
        Command::Ban(args) => cmd_ban::run(&args, &mut context),
        Command::Dkim(args) => cmd_dkim::run(&args, &mut context),
        Command::Arc(args) => cmd_arc::run(&args, &mut context),
        Command::Spf(args) => cmd_spf::run(&args, &mut context),
        Command::Dmarc(args) => cmd_dmarc::run(&args, &mut context),
        Command::MtaSts(args) => cmd_mta_sts::run(&args, &mut context),
        Command::TlsReport(args) => cmd_tls_report::run(&args, &mut context),
        Command::Dns(args) => cmd_dns::run(&args, &mut context),
        Command::Doctor(args) => cmd_doctor::run(&args, &mut context),
        Command::Srs(args) => cmd_srs::run(&args, &mut context),
    }?;
    context.out.flush()?;
    Ok(code)
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let code = if error.use_stderr() {
                daemon::EXIT_PERMANENT
            } else {
                0
            };
            return ExitCode::from(code);
        }
    };
    run(cli).unwrap_or_else(|failure| failure.report())
}
