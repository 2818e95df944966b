//! `jail.conf` and what belongs to it: which filters read which logs, and what is done.

use std::collections::BTreeMap;
use std::path::Path;

use super::arith::{FORMULA_DEFAULT, Formula, seconds};
use super::definition::{ACTION_OPTIONS, FILTER_OPTIONS, FilterConf, combine, combine_but};
use super::failregex::UseDns;
use super::ignore::IgnoreList;
use super::ini::Section;
use super::jail::{Growth, Rules};
use super::options::{extract, split, words};
use super::store::{ConfError, Loader, Store};
use crate::source::encoding::Encoding;

/// Most jails of one configuration.
pub const JAILS_MAX: usize = 1000;

/// Options of a jail that mean something to us, besides those of its filter.
const JAIL_OPTIONS: [&str; 22] = [
    "enabled",
    "backend",
    "maxretry",
    "maxmatches",
    "findtime",
    "bantime",
    "bantime.increment",
    "bantime.factor",
    "bantime.formula",
    "bantime.multipliers",
    "bantime.maxtime",
    "bantime.rndtime",
    "bantime.overalljails",
    "ignorecommand",
    "ignoreself",
    "ignoreip",
    "ignorecache",
    "filter",
    "logtimezone",
    "logencoding",
    "logpath",
    "action",
];

/// Options that only actions read; they are no variables of filters.
const MORE_OPTIONS: [&str; 4] = ["port", "protocol", "chain", "banaction"];

/// What a filter or an action may refer to of its jail.
fn variables(options: &Section) -> Section {
    let known = |k: &str| JAIL_OPTIONS.contains(&k) || FILTER_OPTIONS.contains(&k);
    options
        .iter()
        .filter(|(k, _)| known(k))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// A log of a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPath {
    /// A path in which `*`, `?` and `[…]` stand for names.
    pub glob: String,
    /// Begin at the end of the file.
    pub tail: bool,
}

/// Whether we do an action ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Native {
    /// An action on the jail's ports.
    Ports,
    /// An action on all ports.
    AllPorts,
}

/// What a jail does when it bans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Name of the file in `action.d`.
    pub name: String,
    /// Tells actions of one jail apart: `actname` or else the name.
    pub label: String,
    /// Options the jail gives in brackets.
    pub options: Section,
    /// `nftables*`, `iptables*`, `ipset*` and their like: done without running anything.
    pub native: Option<Native>,
}

impl Action {
    fn new(name: String, mut options: Section) -> Action {
        let label = options.remove("actname").unwrap_or_else(|| name.clone());
        let family = ["nftables", "iptables", "firewallcmd"]
            .iter()
            .any(|f| name.starts_with(f));
        let all = name.contains("allports") || options.get("type").is_some_and(|t| t == "allports");
        let native = family.then_some(if all { Native::AllPorts } else { Native::Ports });
        Action {
            name,
            label,
            options,
            native,
        }
    }

    /// Reads the action's commands with everything put in but what belongs to one ban (`<ip>`,
    /// `<time>`, `<failures>`, `<matches>` …). `family` is `inet4` or `inet6`.
    ///
    /// # Errors
    /// [`ConfError`] of the files and of the options.
    pub fn commands(
        &self,
        loader: &mut Loader<'_>,
        dir: &Path,
        jail: &JailConf,
        family: &str,
    ) -> Result<Section, ConfError> {
        if self.name.ends_with(".py") {
            let why = "actions written in Python are not run".to_owned();
            return Err(ConfError::Value(self.name.clone(), why));
        }
        let store = loader.load(&dir.join("action.d").join(&self.name))?;
        let mut own = self.options.clone();
        own.entry("name".to_owned())
            .or_insert_with(|| jail.name.clone());
        own.insert("actname".to_owned(), self.label.clone());
        let vars = variables(&jail.options);
        let family = Some(family);
        let all = combine_but(&store, &ACTION_OPTIONS, &vars, &own, family, false, &LATER)?;
        Ok(all
            .into_iter()
            .filter(|(k, _)| ACTION_OPTIONS.contains(&k.as_str()))
            .collect())
    }

    /// Whether the action's files say something else for IPv4 than for IPv6
    /// (`[Init?family=inet6]`).
    ///
    /// # Errors
    /// [`ConfError`] of the files.
    pub fn has_families(&self, loader: &mut Loader<'_>, dir: &Path) -> Result<bool, ConfError> {
        let store = loader.load(&dir.join("action.d").join(&self.name))?;
        let two = |s: Option<&Section>| s.is_some_and(|s| s.keys().any(|k| k.contains("?family=")));
        Ok(two(store.section("Init")) || two(store.section("Definition")))
    }
}

/// `<name>` of these belongs to one ban even where the jail has an option of that name.
const LATER: [&str; 5] = [
    "matches",
    "ipmatches",
    "ipjailmatches",
    "timeout",
    "bantime",
];

/// How answers of `ignorecommand` are remembered (`ignorecache`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreCache {
    /// What an answer is for: a text with tags such as `<ip>`.
    pub key: String,
    /// Answers kept, 1 to [`IGNORE_CACHE_MAX`]; default 100.
    pub count: usize,
    /// Seconds for which an answer is kept; default 300.
    pub seconds: i64,
}

/// Most answers of `ignorecommand` kept for one jail.
pub const IGNORE_CACHE_MAX: usize = 10_000;

impl IgnoreCache {
    /// Reads `key="<ip>", max-count=100, max-time=5m`.
    fn parse(text: &str) -> Result<IgnoreCache, ConfError> {
        let wrong = |why: &str| value("ignorecache", why);
        let (_, o) = extract(&format!("ignorecache[{text}]"))?;
        let key = o.get("key").filter(|k| !k.is_empty());
        let count = match o.get("max-count") {
            None => 100,
            Some(t) => t
                .parse()
                .ok()
                .filter(|n| (1..=IGNORE_CACHE_MAX).contains(n))
                .ok_or_else(|| wrong("max-count must be 1 to 10000"))?,
        };
        let time = match o.get("max-time") {
            None => 300.0,
            Some(t) => seconds(t).map_err(|e| value("ignorecache", e))?,
        };
        Ok(IgnoreCache {
            key: key.ok_or_else(|| wrong("no key"))?.clone(),
            count,
            seconds: time.clamp(0.0, 31_536_000.0) as i64,
        })
    }
}

/// A jail that is switched on.
#[derive(Clone, Debug, PartialEq)]
pub struct JailConf {
    /// Name of its section.
    pub name: String,
    /// Its filter's name and patterns.
    pub filter_name: String,
    /// Its filter.
    pub filter: FilterConf,
    /// When and how long.
    pub rules: Rules,
    /// `ignoreself`: the host's own addresses are never banned.
    pub ignoreself: bool,
    /// `ignorecommand`: run with the address, exit code 0 means never.
    pub ignorecommand: Option<String>,
    /// `ignorecache`.
    pub ignorecache: Option<IgnoreCache>,
    /// `usedns`.
    pub usedns: UseDns,
    /// `backend`, as written.
    pub backend: String,
    /// Logs; empty for the journal.
    pub logs: Vec<LogPath>,
    /// `logencoding`; `auto` is what the locale of the program says.
    pub logencoding: Encoding,
    /// `logtimezone`.
    pub logtimezone: Option<String>,
    /// Ports, names or numbers or ranges.
    pub ports: Vec<String>,
    /// Protocols.
    pub protocols: Vec<String>,
    /// Lines kept with a failure.
    pub maxmatches: u32,
    /// What is done.
    pub actions: Vec<Action>,
    /// All options after substitution.
    pub options: Section,
}

impl JailConf {
    /// Whether it reads the systemd journal.
    #[must_use]
    pub fn reads_journal(&self) -> bool {
        self.backend.starts_with("systemd")
    }
}

fn boolean(text: &str) -> bool {
    ["1", "on", "true", "yes"]
        .iter()
        .any(|t| text.eq_ignore_ascii_case(t))
}

fn value(option: &str, why: impl std::fmt::Display) -> ConfError {
    ConfError::Value(option.to_owned(), why.to_string())
}

/// A jail that is switched on, by name, or why it can't be used.
pub type NamedJail = (String, Result<JailConf, ConfError>);

/// Options of a jail by name.
struct Given<'a>(&'a Section);

impl Given<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    fn number(&self, name: &str, default: u32) -> Result<u32, ConfError> {
        match self.text(name) {
            None => Ok(default),
            Some(t) => t
                .parse()
                .map_err(|_| value(name, format!("{t} is no number"))),
        }
    }

    fn time(&self, name: &str) -> Result<Option<f64>, ConfError> {
        self.text(name)
            .map(|t| seconds(t).map_err(|e| value(name, e)))
            .transpose()
    }
}

fn growth(g: &Given<'_>) -> Result<Option<Growth>, ConfError> {
    if !g.text("bantime.increment").is_some_and(boolean) {
        return Ok(None);
    }
    let formula = |name: &str, text: &str| Formula::parse(text).map_err(|e| value(name, e));
    let factor = match g.text("bantime.factor") {
        None => 1.0,
        Some(t) => formula("bantime.factor", t)?.value(0.0, 0, 1.0),
    };
    if !factor.is_finite() {
        return Err(value("bantime.factor", "not finite"));
    }
    let multipliers = g.text("bantime.multipliers").unwrap_or("");
    let multipliers: Result<Vec<f64>, _> = multipliers
        .split_whitespace()
        .map(|m| m.parse::<u32>().map(f64::from))
        .collect();
    Ok(Some(Growth {
        factor,
        multipliers: multipliers.map_err(|_| value("bantime.multipliers", "not numbers"))?,
        formula: formula(
            "bantime.formula",
            g.text("bantime.formula").unwrap_or(FORMULA_DEFAULT),
        )?,
        maxtime: g.time("bantime.maxtime")?,
        rndtime: g.time("bantime.rndtime")?,
        overalljails: g.text("bantime.overalljails").is_some_and(boolean),
    }))
}

fn rules(g: &Given<'_>) -> Result<Rules, ConfError> {
    let maxretry = g.number("maxretry", 5)?;
    if maxretry == 0 {
        return Err(value("maxretry", "must be at least 1"));
    }
    let findtime = g.time("findtime")?.unwrap_or(600.0);
    if findtime <= 0.0 {
        return Err(value("findtime", "must be more than nothing"));
    }
    Ok(Rules {
        maxretry,
        findtime,
        bantime: g.time("bantime")?.unwrap_or(600.0),
        growth: growth(g)?,
        ignore: IgnoreList::parse(g.text("ignoreip").unwrap_or(""))
            .map_err(|e| value("ignoreip", e))?,
    })
}

/// Reads a whole configuration directory (`jail.conf`, `jail.d`, `filter.d` below `dir`).
///
/// # Errors
/// [`ConfError`] when `jail.conf` itself can't be read. What is wrong with a single jail that is
/// switched on comes back in its place, with the jail's name.
pub fn read_jails(loader: &mut Loader<'_>, dir: &Path) -> Result<Vec<NamedJail>, ConfError> {
    let mut store = loader.load(&dir.join("jail"))?;
    store.set_default("fail2ban_confpath", &dir.display().to_string());
    store.set_default("fail2ban_version", "1.1.0");
    let names: Vec<String> = store
        .section_names()
        .filter(|n| *n != "INCLUDES" && *n != "Definition")
        .map(str::to_owned)
        .collect();
    if names.len() > JAILS_MAX {
        return Err(value("jail.conf", "too many jails"));
    }
    let mut out = Vec::new();
    for name in names {
        match enabled(&store, &name) {
            Ok(false) => {}
            Ok(true) => {
                let conf = read_jail(loader, dir, &mut store, &name);
                out.push((name, conf));
            }
            Err(e) => out.push((name, Err(e))),
        }
    }
    Ok(out)
}

fn enabled(store: &Store, name: &str) -> Result<bool, ConfError> {
    Ok(store
        .get(name, "enabled", &Section::new())?
        .is_some_and(|v| boolean(&v)))
}

fn collect(store: &Store, name: &str, wanted: &[&str]) -> Result<Section, ConfError> {
    let mut out = Section::new();
    for option in wanted {
        if let Some(v) = store.get(name, option, &Section::new())? {
            out.insert((*option).to_owned(), v);
        }
    }
    Ok(out)
}

fn read_jail(
    loader: &mut Loader<'_>,
    dir: &Path,
    store: &mut Store,
    name: &str,
) -> Result<JailConf, ConfError> {
    let first = collect(store, name, &["enabled", "backend", "filter"])?;
    let (filter_name, mut own) = extract(first.get("filter").map_or("", String::as_str))?;
    let backend = first
        .get("backend")
        .cloned()
        .unwrap_or_else(|| "auto".to_owned());
    let mut filter_store = None;
    if !filter_name.is_empty() {
        let s = loader.load(&dir.join("filter.d").join(&filter_name))?;
        let chosen = s
            .section("Definition")
            .is_some_and(|d| d.contains_key("logtype"));
        if !chosen && own.get("logtype").is_none_or(String::is_empty) {
            let kind = if backend.starts_with("systemd") {
                "journal"
            } else {
                "file"
            };
            own.insert("logtype".to_owned(), kind.to_owned());
        }
        let known = combine(&s, &FILTER_OPTIONS, &first, &own, None, true)?;
        store.merge_section(
            name,
            known.into_iter().map(|(k, v)| {
                (
                    if k.starts_with("known/") {
                        k
                    } else {
                        format!("known/{k}")
                    },
                    v,
                )
            }),
        );
        filter_store = Some(s);
    }
    let wanted: Vec<&str> = [&JAIL_OPTIONS[..], &MORE_OPTIONS, &FILTER_OPTIONS].concat();
    let mut options = collect(store, name, &wanted)?;
    if let Some(section) = store.section(name) {
        let more: Vec<String> = section
            .keys()
            .filter(|k| !k.starts_with("known/"))
            .cloned()
            .collect();
        for k in more {
            if options.contains_key(&k) {
                continue;
            }
            if let Some(v) = store.get(name, &k, &Section::new())? {
                options.insert(k, v);
            }
        }
    }
    let filter = match &filter_store {
        None => FilterConf::from_options(&options)?,
        Some(s) => {
            let mut all = combine(s, &FILTER_OPTIONS, &variables(&options), &own, None, false)?;
            // what the jail itself says of the filter
            for o in FILTER_OPTIONS {
                if let (Some(v), false) = (options.get(o), all.contains_key(o)) {
                    all.insert(o.to_owned(), v.clone());
                }
            }
            FilterConf::from_options(&all)?
        }
    };
    let g = Given(&options);
    let usedns = g
        .text("usedns")
        .or(filter.usedns.as_deref())
        .unwrap_or("warn");
    let usedns = UseDns::parse(usedns).ok_or_else(|| value("usedns", "yes, warn, no or raw"))?;
    let mut actions = Vec::new();
    for a in split(g.text("action").unwrap_or("")) {
        let (action, own) = extract(&a)?;
        let mut new = Action::new(action, own);
        // One action may stand in a jail several times, under different names.
        if let Some(n) = new.options.get("name").filter(|n| *n != name) {
            if new.label == new.name {
                new.label = match n.strip_prefix(name) {
                    Some(rest) => format!("{}{rest}", new.name),
                    None => format!("{}-{n}", new.name),
                };
            }
        }
        actions.push(new);
    }
    let journal = backend.starts_with("systemd");
    let logs = g.text("logpath").filter(|_| !journal).unwrap_or("");
    let logs = logs
        .split('\n')
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(|l| match l.rsplit_once(' ') {
            Some((glob, how)) => LogPath {
                glob: glob.trim().to_owned(),
                tail: how == "tail",
            },
            None => LogPath {
                glob: l.to_owned(),
                tail: false,
            },
        });
    let list = |name: &str| g.text(name).map(|t| words(t).map(str::to_owned).collect());
    let logencoding = match g.text("logencoding") {
        None => Encoding::default(),
        Some(e) if e.eq_ignore_ascii_case("auto") => {
            Encoding::of_locale(|name| std::env::var(name).ok())
        }
        Some(e) => {
            Encoding::of(e).ok_or_else(|| value("logencoding", format!("{e} is not known")))?
        }
    };
    Ok(JailConf {
        name: name.to_owned(),
        filter_name,
        filter,
        rules: rules(&g)?,
        ignoreself: g.text("ignoreself").is_none_or(boolean),
        ignorecommand: g.text("ignorecommand").map(str::to_owned),
        ignorecache: g.text("ignorecache").map(IgnoreCache::parse).transpose()?,
        usedns,
        logs: logs.collect(),
        logencoding,
        logtimezone: g.text("logtimezone").map(str::to_owned),
        ports: list("port").unwrap_or_default(),
        protocols: list("protocol").unwrap_or_else(|| vec!["tcp".to_owned()]),
        maxmatches: g.number("maxmatches", 5)?,
        actions,
        backend,
        options,
    })
}

/// Counts by name, for reports: how many jails use which action.
#[must_use]
pub fn actions_in_use(jails: &[JailConf]) -> BTreeMap<&str, usize> {
    let mut out = BTreeMap::new();
    for a in jails.iter().flat_map(|j| &j.actions) {
        *out.entry(a.name.as_str()).or_insert(0) += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const JAIL: &str = "[INCLUDES]\nbefore = paths.conf\n[DEFAULT]\nbantime = 10m\nfindtime = 10m\nmaxretry = 5\nmode = normal\nenabled = false\nfilter = %(__name__)s[mode=%(mode)s]\nprotocol = tcp\nport = 0:65535\nbackend = auto\nbanaction = iptables-multiport\nbanaction_allports = iptables-allports\naction_ = %(banaction)s[port=\"%(port)s\", protocol=\"%(protocol)s\"]\naction_mw = %(action_)s\n  mail-whois[dest=\"%(destemail)s\"]\ndestemail = root\naction = %(action_)s\n[one]\nport = ssh,2222\nlogpath = %(log_one)s\n  /var/log/*.x tail\n[two]\nlogpath = /two\n[three]\nenabled = true\nfilter = none\n";
    const LOCAL: &str = "[DEFAULT]\nignoreip = 127.0.0.1/8 ::1\nbantime.increment = true\nbantime.maxtime = 1w\n[one]\nenabled = true\nmaxretry = 3\nmode = hard\nbantime = 1h\naction = %(action_mw)s\nfailregex = %(known/failregex)s\n  ^own <HOST>$\n[two]\nenabled = yes\nfilter = one\nbackend = systemd\nbanaction = %(banaction_allports)s\n";
    const ONE: &str = "[DEFAULT]\nlogtype = file\n[Definition]\nfailregex = ^<kind-<logtype>> <HOST> <mdre-<mode>>$\nkind-file = F\nkind-journal = J\nmdre-normal = n\nmdre-hard = h\nmode = normal\nignoreregex =\n";
    const IPT: &str = "[Definition]\nactionban = <iptables> -I f2b-<name> -s <ip> -p <protocol> --dport <port>\n[Init]\niptables = iptables -w\nprotocol = udp\n[Init?family=inet6]\niptables = ip6tables -w\n";

    fn files(more: &[(&str, &str)]) -> BTreeMap<PathBuf, String> {
        [
            ("/e/jail.conf", JAIL),
            ("/e/jail.local", LOCAL),
            ("/e/paths.conf", "[DEFAULT]\nlog_one = /var/log/one\n"),
            ("/e/filter.d/one.conf", ONE),
            ("/e/action.d/iptables-multiport.conf", IPT),
        ]
        .iter()
        .chain(more)
        .map(|(p, t)| (PathBuf::from(p), (*t).to_owned()))
        .collect()
    }

    fn jail(name: &str, more: &[(&str, &str)]) -> Result<JailConf, ConfError> {
        let f = files(more);
        let all = read_jails(&mut Loader::new(&f), Path::new("/e")).unwrap();
        all.into_iter().find(|j| j.0 == name).unwrap().1
    }

    #[test]
    fn jails_as_shipped() {
        let j = jail("one", &[]).unwrap();
        assert_eq!(j.filter.failregex, ["^F <HOST> h$", "^own <HOST>$"]);
        assert_eq!(
            (j.rules.maxretry, j.rules.bantime, j.rules.findtime),
            (3, 3600.0, 600.0)
        );
        let g = j.rules.growth.as_ref().unwrap();
        assert_eq!((g.maxtime, g.factor), (Some(604_800.0), 1.0));
        assert_eq!(j.ports, ["ssh", "2222"]);
        assert_eq!(
            j.logs,
            [
                LogPath {
                    glob: "/var/log/one".to_owned(),
                    tail: false
                },
                LogPath {
                    glob: "/var/log/*.x".to_owned(),
                    tail: true
                },
            ]
        );
        assert_eq!(j.actions.len(), 2);
        assert_eq!(j.actions[0].native, Some(Native::Ports));
        assert_eq!(j.actions[0].options["port"], "ssh,2222");
        assert_eq!(
            (j.actions[1].name.as_str(), j.actions[1].native),
            ("mail-whois", None)
        );
        let j = jail("two", &[]).unwrap();
        assert!(j.reads_journal() && j.logs.is_empty());
        assert_eq!(j.filter.failregex, ["^J <HOST> n$"]);
        assert_eq!(j.actions[0].native, Some(Native::AllPorts));
        assert!(jail("three", &[]).is_err());
    }

    #[test]
    fn commands_of_actions() {
        let f = files(&[]);
        let mut loader = Loader::new(&f);
        let j = jail("one", &[]).unwrap();
        let c = |l: &mut Loader<'_>, family| {
            j.actions[0]
                .commands(l, Path::new("/e"), &j, family)
                .unwrap()["actionban"]
                .clone()
        };
        let rest = "-I f2b-one -s <ip> -p tcp --dport ssh,2222";
        assert_eq!(c(&mut loader, "inet4"), format!("iptables -w {rest}"));
        assert_eq!(c(&mut loader, "inet6"), format!("ip6tables -w {rest}"));
    }

    #[test]
    fn what_belongs_to_one_ban_stays() {
        let own = "[Definition]\nactionban = x <bantime> <matches> <name> <actname> <known/y> <F-USER> <y>\ny = 1\n[Init]\ny = 2\n";
        let more = [
            ("/e/action.d/own.conf", own),
            ("/e/action.d/own.local", "[Init]\ny = %(known/y)s3\n"),
            (
                "/e/jail.d/x.local",
                "[one]\naction = own\n  own[name=two, bantime=7]\nignorecache = key=\"<F-USER>@<ip>\", max-count=2, max-time=1m\n",
            ),
        ];
        let j = jail("one", &more).unwrap();
        let f = files(&more);
        let mut l = Loader::new(&f);
        let c = |l: &mut Loader<'_>, n: usize| {
            let a = &j.actions[n];
            a.commands(l, Path::new("/e"), &j, "inet4").unwrap()["actionban"].clone()
        };
        assert_eq!(c(&mut l, 0), "x <bantime> <matches> one own 23 <F-USER> 23");
        assert_eq!(c(&mut l, 1), "x 7 <matches> two own-two 23 <F-USER> 23");
        let cache = j.ignorecache.unwrap();
        assert_eq!(
            (cache.key.as_str(), cache.count, cache.seconds),
            ("<F-USER>@<ip>", 2, 60)
        );
        let two = |name: &str, l: &mut Loader<'_>| {
            Action::new(name.to_owned(), Section::new())
                .has_families(l, Path::new("/e"))
                .unwrap()
        };
        assert!(two("iptables-multiport", &mut l) && !two("own", &mut l));
    }

    #[test]
    fn wrong_values_are_named() {
        for (option, text) in [
            ("ignorecache", "max-count=3"),
            ("ignorecache", "key=x, max-count=0"),
            ("ignorecache", "key=x, max-count=10001"),
            ("ignorecache", "key=x, max-time=q"),
            ("maxretry", "0"),
            ("maxretry", "x"),
            ("findtime", "0"),
            ("bantime", "10q"),
            ("bantime.formula", "ban.Time * os.system('x')"),
            ("bantime.multipliers", "1 x"),
            ("ignoreip", "1.2.3.4/40"),
            ("usedns", "maybe"),
            ("maxlines", "0"),
            ("logencoding", "utf-16"),
            ("action", "a[b"),
        ] {
            let local = format!("[one]\nenabled = true\n{option} = {text}\n");
            assert!(
                jail("one", &[("/e/jail.d/x.local", &local)]).is_err(),
                "{option} = {text}"
            );
        }
    }
}
