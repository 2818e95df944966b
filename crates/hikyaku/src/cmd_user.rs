//! `hikyaku user`: users of the table and passwords of all.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use auth::file::Passwords;
use config::Config;
use daemon::process::{Identity, is_root};
use routing::{Mailbox, Table, users};
use serde_json::json;

use crate::accounts::Accounts;
use crate::cmd_reload::reload;
use crate::context::{Context, Failure};
use crate::{home, secret};

/// Options of `hikyaku user`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Make a mailbox and set its password.
    Add(Add),
    /// Take a mailbox out of the table and its password away; its mail stays on the disk.
    Del {
        /// Which.
        name: String,
    },
    /// Show all mailboxes.
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Set a password; also for accounts of the system.
    Passwd {
        /// Whose.
        name: String,
        #[command(flatten)]
        source: Source,
    },
}

#[derive(clap::Args)]
struct Add {
    /// `al`, for all our domains, or `al@example.org` for one of them.
    name: String,
    /// Owner of the mail; default: the next free one of users.first_uid to users.last_uid.
    #[arg(long)]
    uid: Option<u32>,
    /// Group of the mail; default: the number of the uid.
    #[arg(long)]
    gid: Option<u32>,
    /// Default: a directory of the name in users.homes.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Set no password: nobody can log in.
    #[arg(long, conflicts_with = "password_stdin")]
    no_password: bool,
    #[command(flatten)]
    source: Source,
}

#[derive(clap::Args)]
struct Source {
    /// Read the password from the first line of standard input instead of the terminal.
    #[arg(long)]
    password_stdin: bool,
}

impl Source {
    fn password(&self, name: &str) -> Result<auth::Password, Failure> {
        match self.password_stdin {
            true => secret::from_stdin(),
            false => secret::from_terminal(name),
        }
    }
}

pub fn run(args: &Args, context: &mut Context) -> Result<ExitCode, Failure> {
    let config = context.config()?;
    match &args.what {
        What::Add(wanted) => add(wanted, &config, context),
        What::Del { name } => del(name, &config, context),
        What::List { json } => list(*json, &config, context),
        What::Passwd { name, source } => passwd(name, source, &config, context),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn add(wanted: &Add, config: &Config, context: &mut Context) -> Result<(), Failure> {
    let name = users::user_name(&wanted.name, config)
        .map_err(|expected| Failure::permanent(format!("{}: expected {expected}", wanted.name)))?;
    // The password first: nobody waits for a lock while somebody thinks one up.
    let password = match wanted.no_password {
        true => None,
        false => Some(wanted.source.password(&name)?),
    };
    let mut accounts = Accounts::open(config)?;
    let table = Table::load(config)?;
    if table.mailbox(&name).is_some() {
        let text = format!("{name} exists already; `hikyaku user passwd {name}` sets a password");
        return Err(Failure::permanent(text));
    }
    let mailbox = new_mailbox(wanted, name, &table, config)?;
    home::make(&mailbox)?;
    // The table comes last: a user who is in it is whole.
    if password.is_some() {
        accounts.write_password(&mailbox.name, password.as_ref(), config)?;
    }
    let mut text = accounts.users.clone();
    if text.is_empty() {
        text.push_str(users::HEADER);
    } else if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&users::line(&mailbox, config));
    accounts.write_users(text, config)?;
    let Mailbox {
        name, uid, maildir, ..
    } = &mailbox;
    writeln!(
        context.out,
        "added {name}: uid {uid}, {}",
        maildir.display()
    )?;
    tell(config, context)
}

fn new_mailbox(
    wanted: &Add,
    name: Box<str>,
    table: &Table,
    config: &Config,
) -> Result<Mailbox, Failure> {
    let own = Identity::own();
    let uid = match wanted.uid {
        Some(uid) => uid,
        None if !is_root() => own.uid,
        None => free_uid(table, config)?,
    };
    let gid = wanted.gid.unwrap_or(if is_root() { uid } else { own.gid });
    let home = match &wanted.home {
        Some(home) => {
            std::path::absolute(home).map_err(|error| Failure::io(home.display(), &error))?
        }
        None => users::default_home(&name, config),
    };
    let mailbox = Mailbox {
        maildir: config.users.maildir_of(&home),
        name,
        uid,
        gid,
        home,
    };
    // The table's own rules, before anything is made: no root, no path that can't stand there.
    users::parse(&users::line(&mailbox, config), config)?;
    Ok(mailbox)
}

/// The next uid of the range that neither the table nor the system has.
fn free_uid(table: &Table, config: &Config) -> Result<u32, Failure> {
    let mut taken: HashSet<u32> = table
        .mailboxes()
        .iter()
        .map(|mailbox| mailbox.uid)
        .collect();
    let system = routing::load::read(routing::load::PASSWD.as_ref())?;
    taken.extend(
        system
            .lines()
            .filter_map(|line| line.split(':').nth(2)?.parse::<u32>().ok()),
    );
    let (first, last) = (config.users.first_uid, config.users.last_uid);
    // Above the highest that is in use, so that a removed user's files are nobody else's.
    let range = |uid: &&u32| (first..=last).contains(*uid);
    let next = taken
        .iter()
        .filter(range)
        .max()
        .map_or(first, |uid| uid + 1);
    (next..=last)
        .chain(first..next)
        .find(|uid| !taken.contains(uid))
        .ok_or_else(|| {
            Failure::permanent(format!(
                "no uid is free from users.first_uid, {first}, to users.last_uid, {last}"
            ))
        })
}

fn del(name: &str, config: &Config, context: &mut Context) -> Result<(), Failure> {
    let mut accounts = Accounts::open(config)?;
    let table = Table::load(config)?;
    let mailbox = table.mailbox(name);
    let name = mailbox.map_or(name, |mailbox| &mailbox.name);
    let in_table = users::without(&accounts.users, name);
    let (passwords, _) = Passwords::parse(&accounts.passwords);
    let has_password = passwords.names().any(|known| known == name);
    if in_table.is_none() && !has_password {
        return Err(Failure::permanent(match mailbox {
            Some(_) => format!("{name} is an account of the system, without a password here"),
            None => format!("{name}: no such user"),
        }));
    }
    // The table goes first: nobody logs in to half a user.
    let was_in_table = in_table.is_some();
    if let Some(text) = in_table {
        accounts.write_users(text, config)?;
    }
    if has_password {
        accounts.write_password(name, None, config)?;
    }
    match mailbox {
        Some(mailbox) => writeln!(
            context.out,
            "removed {name}; the mail stays in {}",
            mailbox.maildir.display()
        )?,
        None => writeln!(context.out, "removed the password of {name}")?,
    }
    if was_in_table {
        tell(config, context)
    } else {
        Ok(())
    }
}

fn passwd(
    name: &str,
    source: &Source,
    config: &Config,
    context: &mut Context,
) -> Result<(), Failure> {
    let table = Table::load(config)?;
    let Some(mailbox) = table.login(name) else {
        return Err(Failure::permanent(format!("{name}: no such user")));
    };
    let password = source.password(&mailbox.name)?;
    // authd sees the change by itself.
    Accounts::open(config)?.write_password(&mailbox.name, Some(&password), config)?;
    writeln!(context.out, "changed the password of {}", mailbox.name)?;
    Ok(())
}

fn list(as_json: bool, config: &Config, context: &mut Context) -> Result<(), Failure> {
    let table = Table::load(config)?;
    // Only root can read it; everybody else gets the list without.
    let passwords = auth::file::read(&config.users.passwords)
        .ok()
        .map(|text| Passwords::parse(&text).0);
    for mailbox in table.mailboxes() {
        let Mailbox {
            name,
            uid,
            gid,
            maildir,
            ..
        } = mailbox;
        let has = passwords.as_ref().map(|passwords| passwords.has(name));
        if as_json {
            let row = json!({
                "name": &**name, "uid": uid, "gid": gid,
                "maildir": maildir.to_string_lossy(), "password": has,
            });
            writeln!(context.out, "{row}")?;
        } else {
            let login = match has {
                Some(true) => "password",
                Some(false) => "no-login",
                None => "?",
            };
            writeln!(
                context.out,
                "{name:<24} {uid:>6} {login:<8} {}",
                maildir.display()
            )?;
        }
    }
    Ok(())
}

/// The daemons hold the table: they are replaced by ones that hold the new one.
fn tell(config: &Config, context: &mut Context) -> Result<(), Failure> {
    if reload(config)? {
        writeln!(context.out, "reload: told mail-start")?;
    }
    Ok(())
}
