//! What there is to run: the commands of all jails, read once from the configuration.

use std::path::Path;

use super::render::Command;
use super::values::Family;
use crate::f2b::arith::seconds;
use crate::f2b::ini::Section;
use crate::f2b::jail_conf::{Action, JailConf};
use crate::f2b::store::{ConfError, Loader};

/// How long a command may take when its action says nothing, in seconds.
pub const TIMEOUT: u32 = 60;
/// Longest `timeout` that is believed, in seconds.
pub const TIMEOUT_MAX: u32 = 3_600;

/// A command of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `actionstart`
    Start,
    /// `actionstop`
    Stop,
    /// `actionflush`
    Flush,
    /// `actioncheck`
    Check,
    /// `actionrepair`
    Repair,
    /// `actionban`
    Ban,
    /// `actionprolong`
    Prolong,
    /// `actionreban`
    Reban,
    /// `actionunban`
    Unban,
}

impl Verb {
    /// All of them, in the order of their numbers.
    pub const ALL: [Verb; 9] = [
        Verb::Start,
        Verb::Stop,
        Verb::Flush,
        Verb::Check,
        Verb::Repair,
        Verb::Ban,
        Verb::Prolong,
        Verb::Reban,
        Verb::Unban,
    ];

    /// The option that holds it.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            Verb::Start => "actionstart",
            Verb::Stop => "actionstop",
            Verb::Flush => "actionflush",
            Verb::Check => "actioncheck",
            Verb::Repair => "actionrepair",
            Verb::Ban => "actionban",
            Verb::Prolong => "actionprolong",
            Verb::Reban => "actionreban",
            Verb::Unban => "actionunban",
        }
    }
}

/// The host's names, for `<fq-hostname>` and `<sh-hostname>`.
#[derive(Clone, Debug)]
pub struct Host(pub String);

impl Host {
    /// What stands for every ban alike.
    fn fill(&self, text: &str) -> String {
        let short = self.0.split('.').next().unwrap_or("");
        text.replace("<fq-hostname>", &self.0)
            .replace("<sh-hostname>", short)
            .replace("<br>", "\n")
            .replace("<sp>", " ")
    }
}

/// An action of a jail.
#[derive(Clone, Debug)]
pub struct ActionPlan {
    /// What tells it from the jail's other actions.
    pub label: String,
    /// `actionstart` runs before the first ban of a family, not at the jail's start.
    pub on_demand: bool,
    /// Bans of before a restart are not told to it.
    pub norestored: bool,
    /// What is broken is mended for an unban too.
    pub repair_on_unban: bool,
    /// Seconds for one command.
    pub timeout: u32,
    /// The commands by family, then by [`Verb`].
    commands: [Vec<Option<Command>>; 2],
}

impl ActionPlan {
    /// A command; `None` when there is nothing to run.
    #[must_use]
    pub fn command(&self, verb: Verb, family: Family) -> Option<&Command> {
        self.commands
            .get(family as usize)?
            .get(verb as usize)?
            .as_ref()
    }

    /// Whether the command is the same for both families, so that one run serves both.
    #[must_use]
    pub fn alike(&self, verb: Verb) -> bool {
        self.command(verb, Family::Inet4) == self.command(verb, Family::Inet6)
    }

    /// Reads an action.
    ///
    /// # Errors
    /// What is wrong, in words: the files', the options', and a command that can't be run safely.
    pub fn read(
        loader: &mut Loader<'_>,
        dir: &Path,
        jail: &JailConf,
        action: &Action,
        host: &Host,
    ) -> Result<ActionPlan, String> {
        let words = |e: ConfError| e.to_string();
        let mut read = |family: Family| action.commands(loader, dir, jail, family.as_str());
        let options = [
            read(Family::Inet4).map_err(words)?,
            read(Family::Inet6).map_err(words)?,
        ];
        let mut commands = [Vec::new(), Vec::new()];
        for (of, out) in options.iter().zip(&mut commands) {
            for verb in Verb::ALL {
                out.push(command(of, verb.option(), host)?);
            }
        }
        let [first, _] = &options;
        let flag = |name: &str| first.get(name).map(|v| boolean(v));
        let timeout = match first.get("timeout").filter(|t| !t.is_empty()) {
            None => f64::from(TIMEOUT),
            Some(t) => seconds(t).map_err(|e| format!("timeout: {e}"))?,
        };
        if !(1.0..=f64::from(TIMEOUT_MAX)).contains(&timeout) {
            return Err(format!("timeout: not 1 to {TIMEOUT_MAX} seconds"));
        }
        let families = action.has_families(loader, dir).map_err(words)?;
        Ok(ActionPlan {
            label: action.label.clone(),
            on_demand: flag("actionstart_on_demand").unwrap_or(families),
            norestored: flag("norestored").unwrap_or(false),
            repair_on_unban: flag("actionrepair_on_unban").unwrap_or(false),
            timeout: timeout as u32,
            commands,
        })
    }
}

fn boolean(text: &str) -> bool {
    ["1", "on", "true", "yes"]
        .iter()
        .any(|t| text.eq_ignore_ascii_case(t))
}

fn command(options: &Section, name: &str, host: &Host) -> Result<Option<Command>, String> {
    let Some(text) = options.get(name) else {
        return Ok(None);
    };
    let command = Command::new(&host.fill(text)).map_err(|e| format!("{name}: {e}"))?;
    Ok((!command.is_empty()).then_some(command))
}

/// What is to be run for a jail.
#[derive(Clone, Debug, Default)]
pub struct JailPlan {
    /// Its name.
    pub name: String,
    /// Its actions, in order. Those of the firewall are not among them.
    pub actions: Vec<ActionPlan>,
    /// `ignorecommand`.
    pub ignore: Option<Command>,
}

/// What of a jail can't be run: `action NAME` or `ignorecommand`, and why.
pub type Refused = (String, String);

impl JailPlan {
    /// Reads what belongs to a jail. What can't be run comes back beside it; the rest is run.
    pub fn read(
        loader: &mut Loader<'_>,
        dir: &Path,
        jail: &JailConf,
        host: &Host,
    ) -> (JailPlan, Vec<Refused>) {
        let mut plan = JailPlan {
            name: jail.name.clone(),
            ..JailPlan::default()
        };
        let mut refused = Vec::new();
        for a in jail.actions.iter().filter(|a| a.native.is_none()) {
            match ActionPlan::read(loader, dir, jail, a, host) {
                Ok(action) => plan.actions.push(action),
                Err(why) => refused.push((format!("action {}", a.name), why)),
            }
        }
        if let Some(text) = &jail.ignorecommand {
            match Command::new(&host.fill(text)) {
                Ok(c) if !c.is_empty() => plan.ignore = Some(c),
                Ok(_) => {}
                Err(e) => refused.push(("ignorecommand".to_owned(), e.to_string())),
            }
        }
        (plan, refused)
    }

    /// Whether there is anything to run.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.actions.is_empty() || self.ignore.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::f2b::jail_conf::read_jails;
    use crate::f2b::store::Disk;

    fn read(action: &str, jail: &str) -> (JailPlan, Vec<Refused>) {
        let jail = format!("[j]\nenabled = true\nlogpath = /l\nfailregex = ^<HOST>$\n{jail}");
        let files: BTreeMap<PathBuf, String> = [
            (PathBuf::from("/e/jail.conf"), jail),
            (PathBuf::from("/e/action.d/own.conf"), action.to_owned()),
        ]
        .into();
        let mut loader = Loader::new(&files);
        let all = read_jails(&mut loader, Path::new("/e")).unwrap();
        let conf = all[0].1.as_ref().unwrap();
        JailPlan::read(
            &mut loader,
            Path::new("/e"),
            conf,
            &Host("mx.a.example".into()),
        )
    }

    #[test]
    fn an_action_of_the_site() {
        let (plan, refused) = read(
            "[Definition]\nactionban = tell '<fq-hostname>' <sh-hostname> <tool> '<ip>'\nactionunban =\nnorestored = 1\n[Init]\ntimeout = 2m\ntool = t4\n[Init?family=inet6]\ntool = t6\n",
            "action = own[x=1]\n  nftables[type=allports]\nignorecommand = /bin/ask <ip>\n",
        );
        assert_eq!(refused, []);
        let [a] = plan.actions.as_slice() else {
            panic!("{plan:?}")
        };
        assert!(a.norestored && a.on_demand && plan.ignore.is_some() && plan.runs());
        assert_eq!((a.timeout, a.label.as_str()), (120, "own"));
        let text = |f| {
            let c = a.command(Verb::Ban, f).unwrap();
            c.text(&mut |_| String::new())
        };
        let ip = "''\"${f2bV_ip}\"''";
        assert_eq!(
            text(Family::Inet4),
            format!("tell 'mx.a.example' mx t4 {ip}")
        );
        assert_eq!(
            text(Family::Inet6),
            format!("tell 'mx.a.example' mx t6 {ip}")
        );
        assert!(!a.alike(Verb::Ban) && a.alike(Verb::Unban));
        assert!(a.command(Verb::Unban, Family::Inet4).is_none());
    }

    #[test]
    fn what_can_not_be_run_is_named() {
        for (action, jail, what, why) in [
            (
                "[Definition]\nactionban = eval <matches>\n",
                "action = own",
                "action own",
                "eval",
            ),
            (
                "[Definition]\nactionban = x\ntimeout = 0\n",
                "action = own",
                "action own",
                "timeout",
            ),
            (
                "[Definition]\nactionban = x\n[Init]\ntimeout = 3601\n",
                "action = own",
                "action own",
                "timeout",
            ),
            ("", "action = none", "action none", "none.conf"),
            ("", "action = smtp.py[x=1]", "action smtp.py", "Python"),
            (
                "",
                "action = nftables\nignorecommand = sh -c '<F-USER>'",
                "ignorecommand",
                "F-USER",
            ),
        ] {
            let (plan, refused) = read(action, jail);
            let [(named, said)] = refused.as_slice() else {
                panic!("{action}: {refused:?}")
            };
            assert!(named == what && said.contains(why), "{named}: {said}");
            assert!(!plan.runs());
        }
    }

    /// Every action file of a distribution (`BANWATCH_ACTIONS=DIR`, an `action.d`) is taken over
    /// or refused by name, and a value that is hostile to shells does nothing in any of its
    /// commands. They are run in a directory of their own: each absolute path is moved there, the
    /// usual small tools are found, and whatever else they call (mail, curl, whois …) is a program
    /// that writes down what it was given.
    #[test]
    fn actions_of_a_distribution() {
        let Some(dir) = std::env::var_os("BANWATCH_ACTIONS").map(PathBuf::from) else {
            return;
        };
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().display().to_string();
        let made = tmp.path().join("made");
        let hostile = format!(
            "x'; touch {made}; \"$(touch {made})\" `touch {made}`\n;touch {made} #\\",
            made = made.display()
        );
        for d in [
            "bin",
            "f2b",
            "var/run/fail2ban",
            "run",
            "etc/nginx",
            "etc/symbiosis/firewall/blacklist.d",
            "usr",
            "sbin",
        ] {
            std::fs::create_dir_all(tmp.path().join(d)).unwrap();
        }
        let bin = tmp.path().join("bin");
        for tool in [
            "cat", "sed", "awk", "grep", "fgrep", "wc", "tr", "cut", "head", "tail", "date", "rm",
            "touch", "perl", "uname", "truncate", "sh", "iconv", "file",
        ] {
            for place in ["/usr/bin", "/bin"] {
                let real = Path::new(place).join(tool);
                if real.exists() && !bin.join(tool).exists() {
                    std::os::unix::fs::symlink(real, bin.join(tool)).unwrap();
                }
            }
        }
        let stub = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$0\" \"$@\" >> {root}/given\ncase $0 in *dig) echo abuse@a.example;; esac\nexec cat >> {root}/given\n"
        );
        std::fs::write(bin.join("stub"), stub).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(bin.join("stub"), std::fs::Permissions::from_mode(0o755)).unwrap();
        for tool in [
            "mail",
            "sendmail",
            "curl",
            "whois",
            "dig",
            "apprise",
            "geoiplookup",
            "ipset",
            "ip",
            "apf",
            "ufw",
            "nsupdate",
            "wget",
            "shorewall",
            "shorewallinet4",
            "shorewallinet6",
            "ss",
            "conntrack",
            "nft",
            "iptables",
            "ip6tables",
            "firewall-cmd",
            "pfctl",
            "ipfw",
            "jq",
            "nginx",
        ] {
            std::os::unix::fs::symlink("stub", bin.join(tool)).unwrap();
        }
        let mut names: Vec<PathBuf> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        names.sort();
        let (mut taken, mut run) = (0, 0);
        for path in &names {
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                continue;
            };
            let name = name.strip_suffix(".conf").unwrap_or(name);
            let jail = format!(
                "[j]\nenabled = true\nlogpath = /l\nfailregex = ^<HOST>$\naction = {name}[port=22, protocol=tcp, logpath=/l, dest=root]\n"
            );
            std::fs::write(tmp.path().join("f2b/jail.conf"), jail).unwrap();
            let mut loader = Loader::new(&Disk);
            let all = read_jails(&mut loader, &tmp.path().join("f2b")).unwrap();
            let conf = all[0].1.as_ref().unwrap();
            let host = Host("mx.a.example".into());
            let action = &conf.actions[0];
            let parent = dir.parent().unwrap();
            let plan = match ActionPlan::read(&mut loader, parent, conf, action, &host) {
                Err(why) => {
                    eprintln!("{name}: {why}");
                    continue;
                }
                Ok(plan) => plan,
            };
            taken += 1;
            for (family, verb) in Family::ALL.iter().flat_map(|f| Verb::ALL.map(|v| (*f, v))) {
                let Some(c) = plan.command(verb, family) else {
                    continue;
                };
                let mut text = c.text(&mut |_| "203.0.113.9".to_owned());
                let said = std::process::Command::new("/bin/sh")
                    .args(["-n", "-c", &text])
                    .output()
                    .unwrap();
                assert!(said.status.success(), "{name} {verb:?}: {said:?}\n{text}");
                for place in ["/usr/sbin/", "/usr/bin/", "/usr/libexec/", "/sbin/"] {
                    text = text.replace(place, "");
                }
                for place in ["/etc/", "/var/", "/run/"] {
                    text = text.replace(place, &format!("{root}{place}"));
                }
                let mut sh = std::process::Command::new("/bin/sh");
                sh.args(["-c", &text]).current_dir(tmp.path());
                sh.env_clear().env("PATH", &bin);
                for t in c.tags() {
                    let plain = c.plain().contains(t) || !t.is_text();
                    let value = if plain { "203.0.113.9" } else { &hostile };
                    sh.env(t.variable(), value);
                }
                sh.stdin(std::process::Stdio::null());
                let _ = sh.output().unwrap();
                // And the addresses and numbers too, as if they were a stranger's.
                if c.plain().is_empty() {
                    for t in c.tags() {
                        sh.env(t.variable(), &hostile);
                    }
                    let _ = sh.output().unwrap();
                }
                run += 1;
                assert!(!made.exists(), "{name} {verb:?} ran a value:\n{text}");
            }
        }
        let given = std::fs::read(tmp.path().join("given")).unwrap_or_default();
        eprintln!(
            "{} files, {taken} taken over, {run} commands run, {} octets given to programs",
            names.len(),
            given.len()
        );
        // The hostile text did arrive where it was meant to, as text.
        assert!(String::from_utf8_lossy(&given).contains("\"$(touch "));
    }
}
