//! What each half takes in hand before it is confined.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use banwatch::date::Zone;
use banwatch::f2b::jail_conf::read_jails;
use banwatch::f2b::store::{Disk, Loader};
use banwatch::fire::addresses;
use banwatch::fire::serve::{Fire, idle};
use banwatch::own::judge::Judge;
use banwatch::own::never::Never;
use banwatch::source::follow::{Logs, Positions, places};
use banwatch::source::journal;
use banwatch::state::file::StateFile;
use banwatch::state::record::Record;
use banwatch::watch::desk::Desk;
use banwatch::watch::jails::{Jails, services};
use banwatch::watch::serve::{Held, Journal, run};
use banwatch::watch::settings::Settings;
use banwatch::watch::walls::confinement;
use config::Config;
use daemon::capabilities::{Capability, keep_only};
use daemon::dir::Dir;
use daemon::net::{Listener, bind_unix};
use daemon::packet::Packets;
use daemon::process::{self, Spawn};
use daemon::signals::Signals;
use daemon::{Confinement, Fatal, Start, clock, log};

/// The half that may change the firewall.
pub fn fire(mut start: Start) -> Result<(), Fatal> {
    let config = start.config()?;
    let settings = Settings::read(&config)?;
    let watch = start.packets("fire")?;
    let signals = Signals::new()?;
    let never = Never::new(&settings.ignore, settings.loopback);
    let spare = watch.try_clone()?;
    let fire = Fire::new(watch, never, settings.admin_ports, settings.limits);
    // Root's other powers go first; what is held by now is all that there will be. A container may
    // have withheld even this one.
    let kept: &[Capability] = match &fire {
        Ok(_) => &[Capability::NET_ADMIN],
        Err(_) => &[],
    };
    keep_only(kept).map_err(|e| Fatal::io("giving up capabilities", e))?;
    let (confined, ready) = start.confine(Confinement::new())?;
    match fire {
        Ok(fire) => fire.run(&confined, signals, ready),
        Err(why) => {
            log::warning("firewall").val("error", why).send();
            idle(&confined, &spare, signals, ready)
        }
    }
}

/// The half that decides.
pub fn watch(mut start: Start) -> Result<(), Fatal> {
    let tree = start.option("--fail2ban")?.map(PathBuf::from);
    let observe = start.flag("--observe");
    let config = start.config()?;
    let mut settings = Settings::read(&config)?;
    settings.observe |= observe;
    if let Some(tree) = tree {
        settings.fail2ban = Some(tree);
    }
    let signals = Signals::new()?;
    let events = start
        .descriptor("events")
        .map(Packets::from_fd)
        .transpose()?;
    if let Some(events) = &events {
        events.ask_credentials()?;
    }
    let alone = events.is_none();
    let mut control = start.listeners(&["ban"])?;
    if control.is_empty() && alone {
        let path = config.paths.run.join("ban");
        std::fs::create_dir_all(&config.paths.run)?;
        std::fs::create_dir_all(config.paths.run.join("empty"))?;
        let fd = bind_unix(&path, 0o600).map_err(|e| Fatal::io(path.display(), e))?;
        control.push(Listener::from_fd("ban", fd)?);
    }
    let fire = match start.descriptor("fire") {
        Some(fd) => Some(Packets::from_fd(fd)?),
        None if alone && !settings.observe && process::is_root() => Some(own_fire(&config)?),
        None => None,
    };
    let fire = fire.filter(|_| !settings.observe);
    let mut never = Never::new(&settings.ignore, settings.loopback);
    match addresses::open().and_then(|route| addresses::ask(&route)) {
        Ok(own) => never.set_own(own),
        Err(e) => log::warning("own-addresses").val("error", e).send(),
    }
    let judge = Judge::new(settings.good_days, clock::random_u64());
    let mut desk = Desk::new(judge, never, settings.growth, fire.is_none());
    for rule in &settings.observe_rules {
        desk.observe_asker(rule);
    }
    let mut jails = Jails::default();
    let loaded = settings
        .fail2ban
        .as_deref()
        .map(|tree| load(tree, &mut jails, &mut desk));
    let (log_places, from_journal) = loaded.transpose()?.unwrap_or_default();
    let (state, positions) = open_state(&config, &settings, &mut desk)?;
    let logs = match log_places.is_empty() {
        true => None,
        false => Some(Logs::new(log_places, positions).map_err(|e| Fatal::io("inotify", e))?),
    };
    let journal = match from_journal.is_empty() {
        true => None,
        false => journal(&mut start, &from_journal, &mut jails)?,
    };
    let mut trusted = vec![process::own_uid()];
    if process::is_root() {
        let roles = [&config.roles.smtp, &config.roles.pop3];
        trusted.extend(
            roles
                .iter()
                .filter_map(|r| process::user(r).ok())
                .map(|i| i.uid),
        );
    }
    let directories = logs.iter().flat_map(Logs::directories);
    let confinement = confinement(&config, &settings.state, directories);
    // The zone's file is read now: later there is no path to it.
    let _ = Zone::system();
    let held = Held {
        desk,
        jails,
        logs,
        journal,
        events,
        trusted,
        fire,
        state,
        control,
        zone: zone_in_mind(),
    };
    let (confined, ready) = start.confine(confinement)?;
    run(&confined, held, signals, ready)
}

/// The system's zone, read once before its file is out of reach.
fn zone_in_mind() -> fn() -> Zone {
    static RULE: std::sync::OnceLock<Zone> = std::sync::OnceLock::new();
    RULE.get_or_init(Zone::system);
    || RULE.get().cloned().unwrap_or_else(Zone::system)
}

/// Without mail-start we start the other half ourselves.
fn own_fire(config: &Config) -> Result<Packets, Fatal> {
    let (ours, theirs) = Packets::pair()?;
    let program = std::env::current_exe()?;
    Spawn::new(program)
        .arg("--config")
        .arg(&config.file)
        .arg("--fire")
        .env(daemon::start::PARENT, std::process::id().to_string())
        .give("fire", theirs.as_fd())
        .start()
        .map_err(|e| Fatal::io("starting the other half", e))?;
    Ok(ours)
}

type Loaded = (Vec<banwatch::source::follow::Place>, Vec<usize>);

/// Reads fail2ban's tree: its jails, and where their lines come from.
fn load(tree: &Path, jails: &mut Jails, desk: &mut Desk) -> Result<Loaded, Fatal> {
    let fail = |e: &dyn std::fmt::Display| Fatal::setup(format!("{}: {e}", tree.display()));
    let mut loader = Loader::new(&Disk);
    let all = read_jails(&mut loader, tree).map_err(|e| fail(&e))?;
    let services = services(&std::fs::read_to_string("/etc/services").unwrap_or_default());
    let (mut found, mut from_journal) = (Vec::new(), Vec::new());
    for (name, conf) in all {
        let conf = match conf {
            Ok(conf) => conf,
            Err(e) => {
                log::error("jail").kv("jail", &name).val("error", e).send();
                continue;
            }
        };
        let (reads_journal, logs) = (conf.reads_journal(), conf.logs.clone());
        let at = jails.add(conf, &services, desk);
        if reads_journal {
            from_journal.push(at);
            continue;
        }
        let before = found.len();
        for l in &logs {
            found.extend(places(&l.glob, at, l.tail));
        }
        if found.len() == before {
            log::warning("jail")
                .kv("jail", &name)
                .kv("state", "none of its logs is there")
                .send();
        }
    }
    Ok((found, from_journal))
}

/// Opens the state file and takes over what it remembers. Without it there is only forgetting.
fn open_state(
    config: &Config,
    settings: &Settings,
    desk: &mut Desk,
) -> Result<(Option<StateFile>, Positions), Fatal> {
    let path = &settings.state;
    let mut positions = Positions::new();
    let opened = directory(path, &config.roles.ban).and_then(|dir| {
        let now = clock::unix_seconds();
        let mut names = HashMap::new();
        StateFile::open(dir, &mut |record| match record {
            Record::Position { path, file, offset } => {
                positions.insert(path, (file, offset));
            }
            other => desk.restore(now, other, &mut names),
        })
    });
    match opened {
        Ok(state) => Ok((Some(state), positions)),
        Err(e) => {
            log::error("state")
                .kv("directory", path.to_string_lossy().as_bytes())
                .val("error", e)
                .send();
            Ok((None, positions))
        }
    }
}

/// The state's directory, for its owner alone.
fn directory(path: &Path, role: &str) -> std::io::Result<Dir> {
    use std::os::unix::fs::{PermissionsExt, chown};
    std::fs::create_dir_all(path)?;
    if process::is_root() {
        let owner = process::user(role)?;
        chown(path, Some(owner.uid), Some(owner.gid))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    Dir::open(path)
}

/// The journal's stream: given under the name `journal`, or that of a `journalctl` of our own.
fn journal(
    start: &mut Start,
    from_journal: &[usize],
    jails: &mut Jails,
) -> Result<Option<Journal>, Fatal> {
    let pipe: OwnedFd = match start.descriptor("journal") {
        Some(fd) => fd,
        None => {
            let child = Command::new("journalctl")
                .args(["--quiet", "--output=export", "--follow", "--lines=0"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn();
            match child.map(|c| c.stdout) {
                Ok(Some(out)) => out.into(),
                Ok(None) => return Ok(None),
                Err(e) => {
                    log::error("journal").val("error", e).send();
                    return Ok(None);
                }
            }
        }
    };
    daemon::file::set_nonblocking(pipe.as_fd(), true)?;
    let now = clock::unix_seconds();
    let of = from_journal
        .iter()
        .filter_map(|at| {
            let matches = jails.all().get(*at)?.conf.filter.journalmatch.clone();
            Some((jails.reader(&[*at], false, Zone::system(), now), matches))
        })
        .collect();
    let reader = journal::Reader::default();
    Ok(Some(Journal {
        pipe: File::from(pipe),
        reader,
        jails: of,
    }))
}
