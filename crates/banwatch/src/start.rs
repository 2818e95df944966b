//! What each half takes in hand before it is confined.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use banwatch::act::names::{HOSTS_FILE, Hosts};
use banwatch::act::plan::JailPlan;
use banwatch::act::serve::{self, Act};
use banwatch::date::Zone;
use banwatch::f2b::failregex::UseDns;
use banwatch::f2b::report::Report;
use banwatch::f2b::store::{Disk, Loader};
use banwatch::fire::addresses;
use banwatch::fire::serve::{Fire, idle};
use banwatch::own::judge::Judge;
use banwatch::own::never::Never;
use banwatch::source::follow::{Logs, Positions, places};
use banwatch::source::{journal, relay};
use banwatch::state::file::StateFile;
use banwatch::state::record::Record;
use banwatch::watch::desk::Desk;
use banwatch::watch::jails::{Jails, services};
use banwatch::watch::serve::{Held, JOURNAL_POSITION, Journal, run};
use banwatch::watch::settings::Settings;
use banwatch::watch::walls::{confinement, looking_up};
use config::Config;
use daemon::capabilities::{Capability, keep_all, keep_only};
use daemon::dir::Dir;
use daemon::net::{Listener, bind_unix};
use daemon::packet::Packets;
use daemon::process::{self, Spawn};
use daemon::signals::Signals;
use daemon::{Confinement, Fatal, Start, clock, log, memory};

/// The half that may change the firewall.
pub fn fire(mut start: Start) -> Result<(), Fatal> {
    let config = start.config_for_bans()?;
    let settings = Settings::read(&config)?;
    let watch = start.packets("fire")?;
    let signals = Signals::new()?;
    let never = Never::new(&settings.ignore, settings.loopback);
    let spare = watch.try_clone()?;
    let fire = Fire::new(
        watch,
        never,
        settings.admin_ports,
        settings.limits,
        settings.backend,
    );
    // Root's other powers go first; what is held by now is all that there will be. A container may
    // have withheld even this one.
    let kept: &[Capability] = match &fire {
        Ok(_) => &[Capability::NET_ADMIN],
        Err(_) => &[],
    };
    keep_only(kept).map_err(|e| Fatal::io("giving up capabilities", e))?;
    let memory = memory::Start::look();
    let (confined, ready) = start.confine(Confinement::new())?;
    memory.let_go();
    match fire {
        Ok(fire) => fire.run(&confined, signals, ready),
        Err(why) => {
            log::warning("firewall").val("error", why).send();
            idle(&confined, &spare, signals, ready)
        }
    }
}

/// The one that runs actions and looks up names. It reads the same configuration as watch; over the
/// pair it is told of bans, never of commands.
pub fn act(mut start: Start) -> Result<(), Fatal> {
    let tree = start.option("--fail2ban")?.map(PathBuf::from);
    let observe = start.flag("--observe");
    let config = start.config_for_bans()?;
    let settings = Settings::read(&config)?;
    let watch = start.packets("act")?;
    start.no_more_arguments()?;
    let signals = Signals::new()?;
    let plans = match tree.as_deref().or(settings.fail2ban.as_deref()) {
        Some(tree) => plans(tree, &config, observe || settings.observe)?,
        None => Vec::new(),
    };
    let dns = match config.remote.resolver {
        Some(server) => dns::Settings::new(vec![server]),
        None => {
            dns::Settings::from_resolv_conf(&std::fs::read("/etc/resolv.conf").unwrap_or_default())
                .0
        }
    };
    let hosts = Hosts::parse(&std::fs::read(HOSTS_FILE).unwrap_or_default());
    let runs = !plans.is_empty();
    let act = Act {
        watch,
        plans,
        hosts,
        dns,
    };
    if !runs {
        // Only names are looked up: no user's rights, no file, no program.
        let memory = memory::Start::look();
        let (_, ready) = start.confine(looking_up(&config))?;
        memory.let_go();
        return serve::run(act, signals, ready);
    }
    if process::is_root() && settings.action_user != "root" {
        process::user(&settings.action_user)
            .map_err(|e| Fatal::setup(format!("ban.action_user: {e}")))?
            .assume()
            .map_err(|e| Fatal::io("becoming the user", e))?;
    }
    // As authd: what it starts would inherit a list of system calls.
    keep_all().map_err(|e| Fatal::io("no_new_privs", e))?;
    process::umask(0o022);
    memory::Start::look().let_go();
    serve::run(act, signals, start.supervise())
}

/// What there is to run; watch says what can't be.
fn plans(tree: &Path, config: &Config, observe: bool) -> Result<Vec<JailPlan>, Fatal> {
    let mut loader = Loader::new(&Disk);
    let report = Report::read(&mut loader, tree, config.hostname.as_str())
        .map_err(|e| Fatal::setup(format!("{}: {e}", tree.display())))?;
    let plans = report.jails.into_iter().map(|(_, mut plan)| {
        if observe {
            plan.actions.clear();
        }
        plan
    });
    Ok(plans.filter(JailPlan::runs).collect())
}

/// The half that decides.
pub fn watch(mut start: Start) -> Result<(), Fatal> {
    // The one that runs actions is given it too, and starts elsewhere.
    let tree = start.option("--fail2ban")?.map(std::path::absolute);
    let tree = tree.transpose()?;
    let observe = start.flag("--observe");
    let config = start.config_for_bans()?;
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
        None if alone && process::is_root() && !settings.observe && !settings.no_firewall => {
            Some(own_fire(&config)?)
        }
        None => None,
    };
    let fire = fire.filter(|_| !settings.observe && !settings.no_firewall);
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
        .map(|tree| load(tree, &config, settings.observe, &mut jails, &mut desk));
    let (log_places, from_journal, wants_act) = loaded.transpose()?.unwrap_or_default();
    let mut act_is_ours = false;
    let act = match start.descriptor("act") {
        Some(fd) => Some(Packets::from_fd(fd)?),
        None if alone && wants_act => {
            act_is_ours = true;
            Some(own_act(&config, &settings)?)
        }
        None => None,
    };
    if act.is_none() && wants_act {
        log::warning("act")
            .kv(
                "state",
                "not there: actions are not run, names are not looked up",
            )
            .send();
    }
    let (state, positions) = open_state(&config, &settings, &mut desk)?;
    let logs = match log_places.is_empty() {
        true => None,
        false => {
            let kept = positions.clone();
            Some(Logs::new(log_places, kept).map_err(|e| Fatal::io("inotify", e))?)
        }
    };
    let journal = match from_journal.is_empty() {
        true => None,
        false => Some(journal(
            &mut start,
            &config,
            &from_journal,
            &mut jails,
            &positions,
        )?),
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
        act,
        act_is_ours,
        state,
        control,
        zone: zone_in_mind(),
        memory: memory::Start::look(),
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

/// Without mail-start we start the one that runs actions, too.
fn own_act(config: &Config, settings: &Settings) -> Result<Packets, Fatal> {
    let (ours, theirs) = Packets::pair()?;
    let mut spawn = Spawn::new(std::env::current_exe()?)
        .arg("--config")
        .arg(&config.file)
        .arg("--act")
        .env(daemon::start::PARENT, std::process::id().to_string())
        .give("act", theirs.as_fd());
    if settings.observe {
        spawn = spawn.arg("--observe");
    }
    if let Some(tree) = &settings.fail2ban {
        spawn = spawn.arg("--fail2ban").arg(tree);
    }
    spawn
        .start()
        .map_err(|e| Fatal::io("starting the one for actions", e))?;
    Ok(ours)
}

/// Places of logs, jails that read the journal, and whether act is needed.
type Loaded = (Vec<banwatch::source::follow::Place>, Vec<usize>, bool);

/// Reads fail2ban's tree: its jails, and where their lines come from.
fn load(
    tree: &Path,
    config: &Config,
    observe: bool,
    jails: &mut Jails,
    desk: &mut Desk,
) -> Result<Loaded, Fatal> {
    let mut loader = Loader::new(&Disk);
    let report = Report::read(&mut loader, tree, config.hostname.as_str())
        .map_err(|e| Fatal::setup(format!("{}: {e}", tree.display())))?;
    for r in &report.remarks {
        let line = match r.grave {
            true => log::error("jail"),
            false => log::warning("jail"),
        };
        line.kv("jail", &r.jail)
            .kv("what", &r.what)
            .kv("why", &r.why)
            .send();
    }
    let mut wants_act = false;
    let services = services(&std::fs::read_to_string("/etc/services").unwrap_or_default());
    let (mut found, mut from_journal) = (Vec::new(), Vec::new());
    for (conf, mut plan) in report.jails {
        if observe {
            plan.actions.clear();
        }
        let names = matches!(conf.usedns, UseDns::Yes | UseDns::Warn);
        wants_act |= plan.runs() || names || !conf.rules.ignore.names().is_empty();
        let name = conf.name.clone();
        let (reads_journal, logs) = (conf.reads_journal(), conf.logs.clone());
        let at = jails.add(conf, &plan, &services, desk);
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
    Ok((found, from_journal, wants_act))
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

/// How much of the journal is read when nothing is known of it, in seconds.
const JOURNAL_FIRST_LOOK: i64 = 600;

/// The one that runs `journalctl`: it may start programs, and has no other right than to read the
/// journal.
pub fn relay(mut start: Start) -> Result<(), Fatal> {
    let since = start.option("--since")?;
    let since = since.and_then(|s| s.to_str()?.parse().ok()).unwrap_or(0);
    let config = start.config_for_bans()?;
    let given = |fd: Option<OwnedFd>| fd.ok_or_else(|| Fatal::setup("started by banwatch only"));
    let out = given(start.descriptor("journal"))?;
    let alive = given(start.descriptor("alive"))?;
    start.no_more_arguments()?;
    if process::is_root() {
        let groups: Vec<u32> = ["systemd-journal", "adm"]
            .iter()
            .filter_map(|g| process::group(g))
            .collect();
        process::user(&config.roles.ban)
            .and_then(|user| user.assume_with(&groups))
            .map_err(|e| Fatal::io("becoming the user", e))?;
    }
    keep_all().map_err(|e| Fatal::io("no_new_privs", e))?;
    drop(start.supervise());
    relay::run("journalctl", since, File::from(out), File::from(alive))
        .map_err(|e| Fatal::io("journal", e))
}

/// The journal's stream: given under the name `journal`, or from a relay of our own. It goes on
/// where it was left, or a while ago.
fn journal(
    start: &mut Start,
    config: &Config,
    from_journal: &[usize],
    jails: &mut Jails,
    positions: &Positions,
) -> Result<Journal, Fatal> {
    let ago = clock::unix_seconds() - JOURNAL_FIRST_LOOK;
    let last = positions.get(JOURNAL_POSITION).map_or_else(
        || u64::try_from(ago).unwrap_or(0).saturating_mul(1_000_000),
        |at| at.1,
    );
    let (pipe, alive): (OwnedFd, Option<OwnedFd>) = match start.descriptor("journal") {
        Some(fd) => (fd, None),
        None => {
            let (read, write) = std::io::pipe()?;
            let (end, alive) = std::io::pipe()?;
            let path = std::env::var_os("PATH");
            Spawn::new(std::env::current_exe()?)
                .arg("--config")
                .arg(&config.file)
                .arg("--journal")
                .arg("--since")
                .arg(last.to_string())
                .env("PATH", path.unwrap_or_else(|| "/usr/bin:/bin".into()))
                .give("journal", write.as_fd())
                .give("alive", end.as_fd())
                .start()
                .map_err(|e| Fatal::io("starting the journal's reader", e))?;
            (read.into(), Some(alive.into()))
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
    Ok(Journal {
        pipe: File::from(pipe),
        alive,
        reader,
        jails: of,
        last,
        saved: 0,
    })
}
