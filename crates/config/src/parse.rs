//! From the tree of values to [`Config`]: names, kinds, ranges and defaults of all settings,
//! and the combinations that cannot work.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::problem::{Problem, Problems};
use crate::read::{Reader, duration_expected};
use crate::settings::{
    Certificate, Config, Listen, Log, LogLevel, LogTarget, Paths, Pop3, Queue, Remote, RemoteTls,
    Roles, Smtp, Source, Tls, Users,
};
use crate::types::{HostPort, Network, Size, domain_name, is_user_name, parse_duration};
use crate::value::{Kind, Position, Table};
use crate::{BAN_KEYS, source};

/// Largest hikyaku.toml accepted, in octets: big tables are files of their own.
pub const FILE_MAX: u64 = 1 << 20;

/// Where the daemons' binaries are unless `paths.libexec` says otherwise; set when building.
pub const LIBEXEC: &str = match option_env!("HIKYAKU_LIBEXEC") {
    Some(path) => path,
    None => "/usr/local/libexec/hikyaku",
};

/// The configuration file used when none is named; set when building.
pub const FILE: &str = match option_env!("HIKYAKU_CONFIG_FILE") {
    Some(path) => path,
    None => "/etc/hikyaku/hikyaku.toml",
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The configuration of a host without the mail system.
const NO_MAIL: &str =
    "hostname = \"localhost.localdomain\"\ndomains = [\"localhost.localdomain\"]\n";

impl Config {
    /// Reads a file. Relative paths in it are taken from the file's directory.
    ///
    /// # Errors
    /// The file can't be read, is larger than [`FILE_MAX`] or not UTF-8; else everything
    /// [`Config::parse`] finds.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        use std::io::Read as _;
        let whole = |text: String| Problems::whole(file, text);
        let absolute = std::path::absolute(file).map_err(|e| whole(format!("bad path: {e}")))?;
        let mut octets = Vec::new();
        std::fs::File::open(&absolute)
            .and_then(|open| open.take(FILE_MAX + 1).read_to_end(&mut octets))
            .map_err(|error| whole(format!("cannot be read: {error}")))?;
        if octets.len() as u64 > FILE_MAX {
            return Err(whole(format!("larger than {}", Size(FILE_MAX))));
        }
        let text = String::from_utf8(octets).map_err(|_| whole("not UTF-8".to_owned()))?;
        Self::parse(&text, &absolute)
    }

    /// As [`Config::load`]; but where [`FILE`](crate::FILE) itself is meant and is not there, the
    /// defaults. For banwatch, which also serves hosts whose mail is another program's: it
    /// uses neither of the two settings that have no default.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_for_bans(file: &Path) -> Result<Self, Problems> {
        let nothing = matches!(file.try_exists(), Ok(false));
        if nothing && file == Path::new(crate::FILE) {
            return Self::parse(NO_MAIL, file);
        }
        Self::load(file)
    }

    /// Reads text; `file` names it in errors and gives the directory that relative paths start
    /// from. No file is touched.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the lines.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Problems> {
        parse(text, file).map(|(config, _)| config)
    }
}

/// The settings and the full names of all keys that were asked for.
pub(crate) fn parse(text: &str, file: &Path) -> Result<(Config, Vec<String>), Problems> {
    let (tree, syntax) = source::parse(text);
    let problems = RefCell::default();
    let mut keys = Vec::new();
    let config = whole(&tree, file, &problems, &mut keys);
    let mut list: Vec<Problem> = problems.into_inner();
    if !syntax.is_empty() {
        // What a broken line seemed to say is not worth a second message, and a setting that
        // seems to be missing may stand in it.
        let broken = |line| {
            syntax
                .iter()
                .any(|p| p.at.is_some_and(|at| at.line == line))
        };
        list.retain(|p| p.at.is_some_and(|at| !broken(at.line)));
        list.extend(syntax);
    }
    if list.is_empty() {
        return Ok((config, keys));
    }
    list.sort_by_key(|problem| problem.at);
    Err(Problems {
        file: file.to_owned(),
        list,
    })
}

fn whole(
    tree: &Table,
    file: &Path,
    problems: &RefCell<Vec<Problem>>,
    keys: &mut Vec<String>,
) -> Config {
    let top = Reader::new("", tree, Position::START, problems);
    let base = file.parent().unwrap_or(Path::new("/"));

    let hostname = host_name(&top);
    let domains = domains(&top);
    let postmaster = top.text("postmaster", "the name of a mailbox", |text| {
        is_user_name(text).then(|| text.to_ascii_lowercase())
    });
    let root = path(&top, "root", base);

    let roles = roles(top.table("roles"), keys);
    let paths = paths(top.table("paths"), base, root.as_deref(), keys);
    let tls = tls(top.table("tls"), base, keys);
    let listen = listen(top.table("listen"), &tls, root.is_some(), keys);
    let smtp = smtp(top.table("smtp"), keys);
    let queue = queue(top.table("queue"), keys);
    let remote = remote(top.table("remote"), keys);
    let users = users(top.table("users"), base, root.as_deref(), &paths, keys);
    let pop3 = pop3(top.table("pop3"), keys);
    let log = log(top.table("log"), root.is_some(), keys);
    let ban = ban(&top);
    keys.extend(top.finish());

    Config {
        file: file.to_owned(),
        hostname,
        domains,
        postmaster,
        root,
        roles,
        paths,
        listen,
        tls,
        smtp,
        queue,
        remote,
        users,
        pop3,
        log,
        ban,
    }
}

fn host_name(top: &Reader<'_>) -> String {
    const EXPECTED: &str = "this host's full name, like \"mail.example.org\"";
    if !top.has("hostname") {
        top.missing("hostname", EXPECTED);
    }
    top.text("hostname", EXPECTED, |text| domain_name(text).ok())
        .unwrap_or_default()
}

fn domains(top: &Reader<'_>) -> Vec<String> {
    const EXPECTED: &str = "a domain name, like \"example.org\"";
    if !top.has("domains") {
        top.missing(
            "domains",
            "a list of the domains whose mail is delivered here",
        );
    }
    let found = top.texts("domains", EXPECTED, |text| domain_name(text).ok());
    if found.as_ref().is_some_and(Vec::is_empty) {
        top.wrong(
            "domains",
            "found an empty list, expected at least one domain",
        );
    }
    let mut domains = Vec::new();
    for (at, domain) in found.unwrap_or_default() {
        if domains.contains(&domain) {
            top.problem(at, format!("domains: {domain} stands here twice"));
        } else {
            domains.push(domain);
        }
    }
    domains
}

fn roles(table: Reader<'_>, keys: &mut Vec<String>) -> Roles {
    let seen = RefCell::new(HashMap::new());
    let role = |key: &'static str, default: &str| {
        let name = table
            .text(key, "a user name other than root", |text| {
                (is_user_name(text) && text != "root").then(|| text.to_owned())
            })
            .unwrap_or_else(|| default.to_owned());
        // Two programs with one uid can signal and trace each other.
        if let Some(other) = seen.borrow_mut().insert(name.clone(), key) {
            table.wrong(
                key,
                format!("{name} is also the user of {other}, expected one of its own"),
            );
        }
        name
    };
    let roles = Roles {
        smtp: role("smtp", "hk-smtp"),
        queue: role("queue", "hk-queue"),
        remote: role("remote", "hk-remote"),
        pop3: role("pop3", "hk-pop3"),
        ban: role("ban", "hk-ban"),
    };
    keys.extend(table.finish());
    roles
}

fn path(table: &Reader<'_>, key: &'static str, base: &Path) -> Option<PathBuf> {
    table.text(key, "a path", |text| {
        // Through its components, which takes out `.`; `..` may lead through a link and stays.
        (!text.is_empty() && !text.contains('\0')).then(|| base.join(text).components().collect())
    })
}

fn paths(table: Reader<'_>, base: &Path, root: Option<&Path>, keys: &mut Vec<String>) -> Paths {
    let place = |key, under_root: &str, system: &Path| {
        path(&table, key, base)
            .unwrap_or_else(|| root.map_or(system.to_owned(), |root| root.join(under_root)))
    };
    let paths = Paths {
        etc: place("etc", "etc", base),
        run: place("run", "run", Path::new("/run/hikyaku")),
        queue: place("queue", "queue", Path::new("/var/spool/hikyaku")),
        libexec: place("libexec", "libexec", Path::new(LIBEXEC)),
    };
    keys.extend(table.finish());
    paths
}

fn tls(table: Reader<'_>, base: &Path, keys: &mut Vec<String>) -> Tls {
    let mut certificates = Vec::new();
    for one in table.tables("certificate") {
        let chain = path(&one, "chain", base);
        let key = path(&one, "key", base);
        match chain {
            Some(chain) => certificates.push(Certificate {
                key: key.unwrap_or_else(|| chain.clone()),
                chain,
            }),
            None if !one.has("chain") => {
                one.wrong(
                    "chain",
                    "is missing, expected a PEM file with the certificate",
                );
            }
            None => {}
        }
        let known = one.finish();
        if keys.iter().all(|key| !known.contains(key)) {
            keys.extend(known);
        }
    }
    keys.extend(table.finish());
    Tls { certificates }
}

fn listen(table: Reader<'_>, tls: &Tls, single: bool, keys: &mut Vec<String>) -> Listen {
    let taken: RefCell<HashMap<SocketAddr, &str>> = RefCell::default();
    let list = |key: &'static str, port: u16, needs_tls: bool| {
        let expected = format!("an address and port, like \"0.0.0.0:{port}\" or \"[::]:{port}\"");
        let found = table.texts(key, &expected, |text| text.parse::<SocketAddr>().ok());
        let Some(found) = found else {
            let on = tls.is_on() || !(needs_tls || key == "pop3");
            return match (on && !table.has(key), single) {
                (false, _) => Vec::new(),
                (true, false) => vec![
                    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
                    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port),
                ],
                (true, true) => vec![SocketAddr::new(
                    IpAddr::V4(Ipv4Addr::LOCALHOST),
                    port + SINGLE_USER_PORTS,
                )],
            };
        };
        if needs_tls && !found.is_empty() && !tls.is_on() {
            table.wrong(
                key,
                "needs TLS, but no certificate is set; expected [[tls.certificate]]",
            );
        }
        for &(at, address) in &found {
            if address.port() == 0 {
                continue;
            }
            if let Some(other) = taken.borrow_mut().insert(address, key) {
                table.problem(
                    at,
                    format!("listen.{key}: {address} is also in listen.{other}"),
                );
            }
        }
        found.into_iter().map(|(_, address)| address).collect()
    };
    let listen = Listen {
        mx: list("mx", 25, false),
        submission: list("submission", 587, true),
        submissions: list("submissions", 465, true),
        pop3: list("pop3", 110, false),
        pop3s: list("pop3s", 995, true),
        local: table.flag("local", true),
    };
    keys.extend(table.finish());
    listen
}

/// Added to the well-known ports in the defaults of a single-user instance, which can't have
/// those: 10025, 10587, ...
pub const SINGLE_USER_PORTS: u16 = 10_000;

fn smtp(table: Reader<'_>, keys: &mut Vec<String>) -> Smtp {
    let relay_from = table.texts(
        "relay_from",
        "a network, like \"192.0.2.0/24\" (no bits set behind the prefix)",
        Network::parse,
    );
    let relay_from = match relay_from {
        None => Network::loopback().to_vec(),
        Some(list) => list
            .into_iter()
            .map(|(at, net)| {
                if net.is_everything() {
                    table.problem(
                        at,
                        format!(
                            "smtp.relay_from: {net} makes an open relay, expected a smaller network"
                        ),
                    );
                }
                net
            })
            .collect(),
    };
    let smtp = Smtp {
        max_message_size: table.size(
            "max_message_size",
            Size(65_536)..=Size(4 << 30),
            Size(50 << 20),
        ),
        max_recipients: table.number("max_recipients", 100..=50_000, 1_000),
        max_sessions: table.number("max_sessions", 1..=100_000, 1_000),
        max_sessions_per_address: table.number("max_sessions_per_address", 1..=100_000, 50),
        command_timeout: table.duration("command_timeout", SECOND..=HOUR, 5 * MINUTE),
        data_timeout: table.duration("data_timeout", SECOND..=HOUR, 3 * MINUTE),
        max_errors: table.number("max_errors", 1..=1_000, 10),
        relay_from,
    };
    keys.extend(table.finish());
    smtp
}

/// Waits between attempts unless `queue.retry` says otherwise: soon at first, because most
/// refusals are greylisting or a restart; RFC 5321, 4.5.4.1 asks for 30 minutes and more later.
pub const RETRY: [Duration; 6] = [
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(1_800),
    Duration::from_secs(3_600),
    Duration::from_secs(7_200),
    Duration::from_secs(14_400),
];

fn queue(table: Reader<'_>, keys: &mut Vec<String>) -> Queue {
    let waits = SECOND..=7 * DAY;
    let retry = table.texts("retry", &duration_expected(&waits), |text| {
        parse_duration(text).filter(|wait| waits.contains(wait))
    });
    if retry.as_ref().is_some_and(Vec::is_empty) {
        table.wrong("retry", "found an empty list, expected at least one time");
    }
    let retry: Vec<Duration> = match retry {
        Some(list) if !list.is_empty() => list.into_iter().map(|(_, wait)| wait).collect(),
        _ => RETRY.to_vec(),
    };
    let lifetime = table.duration("lifetime", SECOND..=60 * DAY, 5 * DAY);
    if retry.first().is_some_and(|first| *first > lifetime) {
        table.wrong(
            "lifetime",
            "is shorter than the first wait of queue.retry, expected more",
        );
    }
    let queue = Queue {
        retry,
        lifetime,
        local_concurrency: table.number("local_concurrency", 1..=1_000, 20),
        delivery_time: table.duration("delivery_time", SECOND..=DAY, 15 * MINUTE),
        answer_time: table.duration("answer_time", SECOND..=DAY, 2 * MINUTE),
    };
    keys.extend(table.finish());
    queue
}

fn remote(table: Reader<'_>, keys: &mut Vec<String>) -> Remote {
    let resolver = table
        .text(
            "resolver",
            "an address and port, like \"127.0.0.1:53\", or \"\"",
            |text| {
                if text.is_empty() {
                    return Some(None);
                }
                let address = text.parse::<SocketAddr>().ok();
                address.filter(|address| address.port() != 0).map(Some)
            },
        )
        .flatten();
    let relay_host = table
        .text(
            "relay_host",
            "a host and port, like \"relay.example.org:25\", or \"\"",
            |text| {
                if text.is_empty() {
                    return Some(None);
                }
                HostPort::parse(text).map(Some)
            },
        )
        .flatten();
    let mut source = Source::default();
    let found = table.texts("source", "an address of this host", |text| {
        text.parse::<IpAddr>()
            .ok()
            .filter(|ip| !ip.is_multicast() && !ip.is_unspecified())
    });
    for (at, address) in found.unwrap_or_default() {
        let twice = match address {
            IpAddr::V4(ip) => source.v4.replace(ip).is_some(),
            IpAddr::V6(ip) => source.v6.replace(ip).is_some(),
        };
        if twice {
            table.problem(
                at,
                format!("remote.source: {address} is a second address of its family, expected one"),
            );
        }
    }
    let own_addresses = table.texts("own_addresses", "an address of a host", |text| {
        text.parse::<IpAddr>()
            .ok()
            .filter(|ip| !ip.is_multicast() && !ip.is_unspecified())
    });
    let concurrency = table.number("concurrency", 1..=10_000, 100);
    let per_destination = table.number("per_destination", 1..=1_000, 20.min(concurrency));
    if per_destination > concurrency {
        table.wrong("per_destination", "is more than remote.concurrency");
    }
    let remote = Remote {
        // In range by the number's own bounds.
        port: u16::try_from(table.number("port", 1..=65_535, 25)).unwrap_or(25),
        resolver,
        relay_host,
        source,
        own_addresses: own_addresses
            .unwrap_or_default()
            .into_iter()
            .map(|(_, address)| address)
            .collect(),
        tls: table.choice(
            "tls",
            &[
                ("may", RemoteTls::May),
                ("none", RemoteTls::None),
                ("encrypt", RemoteTls::Encrypt),
            ],
            RemoteTls::May,
        ),
        concurrency,
        per_destination,
    };
    keys.extend(table.finish());
    remote
}

/// Uids for virtual users unless set: above what adduser and systemd hand out, below the ranges
/// of subordinate uids.
pub const VIRTUAL_UIDS: (u32, u32) = (70_000, 99_999);

fn users(
    table: Reader<'_>,
    base: &Path,
    root: Option<&Path>,
    paths: &Paths,
    keys: &mut Vec<String>,
) -> Users {
    let first_uid = table.number("first_uid", 1_000..=u32::MAX - 2, VIRTUAL_UIDS.0);
    let last_uid = table.number(
        "last_uid",
        1_000..=u32::MAX - 2,
        VIRTUAL_UIDS.1.max(first_uid),
    );
    if last_uid < first_uid {
        table.wrong(
            "last_uid",
            format!("found {last_uid}, expected at least users.first_uid, {first_uid}"),
        );
    }
    let maildir = table.text(
        "maildir",
        "a place in the home, like \"~/Maildir\"",
        |text| {
            let inner = Path::new(text.strip_prefix("~/")?);
            let plain = inner
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            (plain && !inner.as_os_str().is_empty() && !text.contains('\0'))
                .then(|| inner.to_owned())
        },
    );
    let users = Users {
        file: path(&table, "file", base).unwrap_or_else(|| paths.etc.join("users")),
        passwords: path(&table, "passwords", base).unwrap_or_else(|| paths.etc.join("passwords")),
        // A single-user instance can deliver to its own uid only.
        system: table.flag("system", root.is_none()),
        first_uid,
        last_uid,
        homes: path(&table, "homes", base).unwrap_or_else(|| match root {
            Some(root) => root.join("homes"),
            None => PathBuf::from("/var/lib/hikyaku/homes"),
        }),
        maildir: maildir.unwrap_or_else(|| PathBuf::from("Maildir")),
    };
    if users.file == users.passwords {
        table.wrong(
            "passwords",
            "is the same file as users.file, expected one that only root can read",
        );
    }
    keys.extend(table.finish());
    users
}

fn pop3(table: Reader<'_>, keys: &mut Vec<String>) -> Pop3 {
    let pop3 = Pop3 {
        max_sessions: table.number("max_sessions", 1..=100_000, 1_000),
        max_sessions_per_address: table.number("max_sessions_per_address", 1..=100_000, 50),
        max_sessions_per_user: table.number("max_sessions_per_user", 1..=1_000, 10),
        login_timeout: table.duration("login_timeout", SECOND..=HOUR, MINUTE),
        idle_timeout: table.duration("idle_timeout", SECOND..=DAY, 10 * MINUTE),
        clear_on_loopback: table.flag("clear_on_loopback", false),
    };
    keys.extend(table.finish());
    pop3
}

fn log(table: Reader<'_>, single: bool, keys: &mut Vec<String>) -> Log {
    let log = Log {
        target: table.choice(
            "target",
            &[("syslog", LogTarget::Syslog), ("stderr", LogTarget::Stderr)],
            if single {
                LogTarget::Stderr
            } else {
                LogTarget::Syslog
            },
        ),
        level: table.choice(
            "level",
            &[
                ("error", LogLevel::Error),
                ("warning", LogLevel::Warning),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
            ],
            LogLevel::Info,
        ),
    };
    keys.extend(table.finish());
    log
}

fn ban(top: &Reader<'_>) -> Table {
    let table = top.value("ban", "a table: [ban]", |kind| match kind {
        Kind::Table(table) => Some(table.clone()),
        _ => None,
    });
    let table = table.unwrap_or_default();
    for entry in &table.entries {
        if !BAN_KEYS.contains(&entry.key.as_str()) {
            top.problem(entry.at, format!("unknown setting ban.{}", entry.key));
        }
    }
    table
}
