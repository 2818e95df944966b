//! `hikyaku check`: everything the daemons would refuse, without starting one.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use auth::file::{self, Passwords};
use banwatch::f2b::report::Report;
use banwatch::f2b::store::{Disk, Loader};
use banwatch::source::seek::places;
use banwatch::watch::settings::Settings;
use config::Config;
use daemon::tls::ServerTls;
use daemon::{EXIT_PERMANENT, clock, process};
use routing::Table;

use crate::context::{Context, Failure};

/// Options of `hikyaku check`.
#[derive(clap::Args)]
pub struct Args {
    /// Look at what banwatch needs and at nothing else.
    #[arg(long)]
    bans: bool,
    /// Look at the jails of this fail2ban configuration and at nothing else.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "bans")]
    fail2ban: Option<PathBuf>,
}

/// What was found.
#[derive(Default)]
struct Findings {
    /// The house would not start, or not as it should.
    errors: Vec<String>,
    /// It would, but somebody may wonder.
    warnings: Vec<String>,
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let mut found = Findings::default();
    if let Some(tree) = &args.fail2ban {
        let config = context.config_for_bans()?;
        let jails = jails(tree, &config, &mut found);
        return tell(&found, context, &format!("{}{jails}", tree.display()));
    }
    if args.bans {
        let config = context.config_for_bans()?;
        let jails = bans(&config, &mut found);
        let text = format!("{}{jails}", config.file.display());
        return tell(&found, context, &text);
    }
    let config = context.config()?;
    let mailboxes = match Table::load(&config) {
        Ok(table) => {
            mailboxes(&table, &config, &mut found);
            passwords(&table, &config, &mut found);
            table.mailboxes().len()
        }
        Err(problems) => {
            found
                .errors
                .extend(problems.to_string().lines().map(str::to_owned));
            0
        }
    };
    certificates(&config, &mut found);
    programs(&config, &mut found);
    roles(&config, &mut found);
    let jails = bans(&config, &mut found);
    let (domains, certificates) = (config.domains.len(), config.tls.certificates.len());
    let text = format!(
        "{}: domains {domains}, mailboxes {mailboxes}, certificates {certificates}{jails}",
        config.file.display()
    );
    tell(&found, context, &text)
}

/// Writes down what was found, and `text` when it is nothing that hinders.
fn tell(found: &Findings, context: &mut Context, text: &str) -> Result<ExitCode, Failure> {
    let mut errors = std::io::stderr().lock();
    for warning in &found.warnings {
        let _ = writeln!(errors, "warning: {warning}");
    }
    for error in &found.errors {
        let _ = writeln!(errors, "{error}");
    }
    if !found.errors.is_empty() {
        return Ok(ExitCode::from(EXIT_PERMANENT));
    }
    writeln!(context.out, "ok: {text}")?;
    Ok(ExitCode::SUCCESS)
}

fn mailboxes(table: &Table, config: &Config, found: &mut Findings) {
    match table.postmaster() {
        None => found.warnings.push(
            "no mailbox at all: mail for postmaster is refused, though RFC 5321 wants it taken"
                .to_owned(),
        ),
        Some(mailbox) if config.postmaster.is_none() && &*mailbox.name != "postmaster" => {
            found.warnings.push(format!(
                "mail for postmaster goes to {}; set `postmaster` to say so",
                mailbox.name
            ));
        }
        Some(_) => {}
    }
    // Without root everything has one uid anyway.
    if config.root.is_none() {
        let mut owners = HashMap::new();
        for mailbox in table.mailboxes() {
            if let Some(other) = owners.insert(mailbox.uid, &mailbox.name) {
                let (name, uid) = (&mailbox.name, mailbox.uid);
                let text = format!(
                    "{other} and {name} have one uid, {uid}: each can read the other's mail"
                );
                found.warnings.push(text);
            }
        }
    }
}

fn passwords(table: &Table, config: &Config, found: &mut Findings) {
    let path = config.users.passwords.display();
    match file::read(&config.users.passwords) {
        Err(error) => found.errors.push(format!("{path}: {error}")),
        Ok(text) => {
            let (passwords, bad) = Passwords::parse(&text);
            let bad = bad
                .iter()
                .map(|line| format!("{path}:{}: {}", line.line, line.text));
            found.errors.extend(bad);
            let homeless = passwords
                .names()
                .filter(|name| table.mailbox(name).is_none());
            let homeless =
                homeless.map(|name| format!("{path}: {name} has a password and no mailbox"));
            found.warnings.extend(homeless);
        }
    }
}

fn certificates(config: &Config, found: &mut Findings) {
    for one in &config.tls.certificates {
        let pair: (&Path, &Path) = (&one.chain, &one.key);
        if let Err(error) = ServerTls::load([pair]) {
            found.errors.push(error.to_string());
        }
    }
}

fn programs(config: &Config, found: &mut Findings) {
    for name in [
        "smtpd",
        "queue-manager",
        "remote-send",
        "local-deliver",
        "authd",
        "pop3d",
    ] {
        let path = config.paths.program(name);
        if !path.is_file() {
            found.errors.push(format!(
                "{}: no such program; paths.libexec names its directory",
                path.display()
            ));
        }
    }
}

/// The table `[ban]`, and what of fail2ban's configuration can't be taken over: banwatch says the
/// same at start. Gives what is to be said of the jails.
fn bans(config: &Config, found: &mut Findings) -> String {
    let settings = match Settings::read(config) {
        Ok(settings) => settings,
        Err(error) => {
            found
                .errors
                .extend(error.to_string().lines().map(str::to_owned));
            return String::new();
        }
    };
    if !settings.enabled {
        return String::new();
    }
    if config.root.is_none() && config.paths.program("banwatch").is_file() {
        if let Err(error) = process::user(&config.roles.ban) {
            found.errors.push(format!(
                "roles: {error}; share/hikyaku/make-users makes the users"
            ));
        }
    }
    match &settings.fail2ban {
        Some(tree) => jails(tree, config, found),
        None => String::new(),
    }
}

/// What of a fail2ban configuration can't be taken over, and how many jails there are.
fn jails(tree: &Path, config: &Config, found: &mut Findings) -> String {
    let mut loader = Loader::new(&Disk);
    let report = match Report::read(&mut loader, tree, config.hostname.as_str()) {
        Ok(report) => report,
        Err(error) => {
            found.errors.push(format!("{}: {error}", tree.display()));
            return String::new();
        }
    };
    let filters = report.filters(clock::unix_seconds());
    for remark in report.remarks.iter().chain(&filters) {
        found.warnings.push(format!("{}: {remark}", tree.display()));
    }
    for (jail, _) in report.jails.iter().filter(|(j, _)| !j.reads_journal()) {
        if !jail.logs.iter().any(|l| is_there(&l.glob)) {
            found.warnings.push(format!(
                "{}: jail {}: none of its logs is there",
                tree.display(),
                jail.name
            ));
        }
    }
    let grave = filters.iter().filter(|r| r.grave).count();
    format!(", jails {}", report.jails.len().saturating_sub(grave))
}

/// Whether a path with patterns means a file that is there now.
fn is_there(glob: &str) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    let now = places(glob, 0, false);
    now.iter().filter(|p| p.below.is_empty()).any(|p| {
        let names = std::fs::read_dir(&p.directory).into_iter().flatten();
        let fits = |name: &std::ffi::OsStr| {
            p.names == name || banwatch::source::glob::fits(p.names.as_bytes(), name.as_bytes())
        };
        names.flatten().any(|e| fits(&e.file_name()))
    })
}

fn roles(config: &Config, found: &mut Findings) {
    if config.root.is_some() {
        return;
    }
    let roles = &config.roles;
    for name in [&roles.smtp, &roles.queue, &roles.remote, &roles.pop3] {
        match process::user(name) {
            Err(error) => found.errors.push(format!(
                "roles: {error}; share/hikyaku/make-users makes the users"
            )),
            Ok(identity) if identity.uid == 0 => {
                found.errors.push(format!("roles: {name} is root"));
            }
            Ok(_) => {}
        }
    }
}
