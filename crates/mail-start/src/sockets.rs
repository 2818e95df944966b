//! Everything that the programs are given: listeners (bound here, or systemd's) and the pairs.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use config::Config;
use daemon::packet::{PacketListener, Packets};
use daemon::start::{CHANNELS_SOCKET, REPLACE_DELIVER, REPLACE_REMOTE};
use daemon::{Fatal, Start, log, net, process};

/// Roles whose sockets systemd may give us.
const ROLES: [&str; 7] = [
    "mx",
    "submission",
    "submissions",
    "local",
    "pop3",
    "pop3s",
    "ban",
];

/// The programs, in the order in which they are started: who is asked before who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// authd
    Authd,
    /// local-deliver
    LocalDeliver,
    /// remote-send
    RemoteSend,
    /// queue-manager
    QueueManager,
    /// smtpd
    Smtpd,
    /// pop3d
    Pop3d,
    /// banwatch: the half that may change the firewall
    BanFire,
    /// banwatch: the one that runs actions and looks up names
    BanAct,
    /// banwatch: the half that decides
    Banwatch,
}

impl Program {
    /// All of them, in starting order.
    pub const ALL: [Program; 9] = [
        Program::Authd,
        Program::LocalDeliver,
        Program::RemoteSend,
        Program::QueueManager,
        Program::Smtpd,
        Program::Pop3d,
        Program::BanFire,
        Program::BanAct,
        Program::Banwatch,
    ];

    /// The name of its file.
    pub fn file(self) -> &'static str {
        match self {
            Program::BanFire | Program::BanAct => "banwatch",
            other => other.name(),
        }
    }

    /// What stands on its command line besides the configuration.
    pub fn flag(self) -> Option<&'static str> {
        match self {
            Program::BanFire => Some("--fire"),
            Program::BanAct => Some("--act"),
            _ => None,
        }
    }

    /// The name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Program::Authd => "authd",
            Program::LocalDeliver => "local-deliver",
            Program::RemoteSend => "remote-send",
            Program::QueueManager => "queue-manager",
            Program::Smtpd => "smtpd",
            Program::Pop3d => "pop3d",
            Program::BanFire => "ban-fire",
            Program::BanAct => "ban-act",
            Program::Banwatch => "banwatch",
        }
    }

    /// Whether a new one takes the listeners over while the old one finishes its sessions. The
    /// others stop first: what is said to them meanwhile waits in their sockets.
    pub fn overlaps(self) -> bool {
        matches!(self, Program::Smtpd | Program::Pop3d)
    }

    fn roles(self) -> &'static [&'static str] {
        match self {
            Program::Smtpd => &["mx", "submission", "submissions", "local"],
            Program::Pop3d => &["pop3", "pop3s"],
            Program::Banwatch => &["ban"],
            _ => &[],
        }
    }
}

/// All descriptors of the house. They live as long as mail-start.
#[derive(Debug)]
pub struct Sockets {
    listeners: Vec<(&'static str, OwnedFd)>,
    trigger: (Packets, Packets),
    deliver: (Packets, Packets),
    remote: (Packets, Packets),
    /// queue-manager writes the first end, mail-start reads the second: deliverers that do not
    /// answer.
    replace: (Packets, Packets),
    auth_smtp: (Packets, Packets),
    auth_pop3: (Packets, Packets),
    /// What the daemons report: they write the first end, banwatch reads the second. `None`
    /// without banwatch.
    events: Option<(Packets, Packets)>,
    /// banwatch's two halves. `None` where nobody may change the firewall.
    fire: Option<(Packets, Packets)>,
    /// banwatch and the one that runs actions. `None` without a configuration of fail2ban's.
    act: Option<(Packets, Packets)>,
    channels: PacketListener,
}

impl Sockets {
    /// Takes systemd's listeners, binds those of the configuration for roles it gave none for, and
    /// makes the pairs.
    pub fn new(start: &mut Start, config: &Config) -> Result<Sockets, Fatal> {
        let mut listeners = Vec::new();
        for role in ROLES {
            while let Some(fd) = start.descriptor(role) {
                listeners.push((role, fd));
            }
        }
        let given: Vec<&str> = listeners.iter().map(|(role, _)| *role).collect();
        let l = &config.listen;
        let wanted: [(&str, &[SocketAddr]); 5] = [
            ("mx", &l.mx),
            ("submission", &l.submission),
            ("submissions", &l.submissions),
            ("pop3", &l.pop3),
            ("pop3s", &l.pop3s),
        ];
        for (role, addresses) in wanted {
            if given.contains(&role) {
                continue;
            }
            for &address in addresses {
                match net::bind_tcp(address) {
                    Ok(fd) => listeners.push((role, fd)),
                    // A host without IPv6: the default `[::]` is not a mistake of the admin.
                    Err(e) if no_such_family(address, &e) => {
                        log::warning("listen")
                            .kv("role", role)
                            .val("address", address)
                            .val("skipped", e)
                            .send();
                    }
                    Err(e) => return Err(Fatal::io(format!("listen.{role}: {address}"), e)),
                }
            }
        }
        if l.local && !given.contains(&"local") {
            let path = config.paths.submit_socket();
            let fd = net::bind_unix(&path, 0o666).map_err(|e| Fatal::io(path.display(), e))?;
            listeners.push(("local", fd));
        }
        let bans = bans(config);
        if bans && !given.contains(&"ban") {
            let path = config.paths.run.join("ban");
            let fd = net::bind_unix(&path, 0o600).map_err(|e| Fatal::io(path.display(), e))?;
            listeners.push(("ban", fd));
        }
        if !bans {
            listeners.retain(|(role, _)| *role != "ban");
        }
        for (role, fd) in &listeners {
            log::info("listen")
                .kv("role", role)
                .kv("address", address_of(fd))
                .send();
        }
        let path = config.paths.run.join(CHANNELS_SOCKET);
        let channels = PacketListener::bind(&path).map_err(|e| Fatal::io(path.display(), e))?;
        let pair = || Packets::pair().map_err(|e| Fatal::io("socketpair", e));
        let events = bans.then(pair).transpose()?;
        if let Some((_, reads)) = &events {
            // Before anybody can write: the kernel notes who does.
            reads
                .ask_credentials()
                .map_err(|e| Fatal::io("events", e))?;
        }
        let fire = (bans && process::is_root()).then(pair).transpose()?;
        let acts = bans && config.ban.get("fail2ban").is_some();
        let act = acts.then(pair).transpose()?;
        Ok(Sockets {
            events,
            fire,
            act,
            listeners,
            trigger: pair()?,
            deliver: pair()?,
            remote: pair()?,
            replace: pair()?,
            auth_smtp: pair()?,
            auth_pop3: pair()?,
            channels,
        })
    }

    /// What this program is given, by name.
    pub fn of(&self, program: Program) -> Vec<(&str, BorrowedFd<'_>)> {
        let mut given: Vec<(&str, BorrowedFd<'_>)> = self
            .listeners
            .iter()
            .filter(|(role, _)| program.roles().contains(role))
            .map(|(role, fd)| (*role, fd.as_fd()))
            .collect();
        match program {
            Program::Smtpd => {
                given.push(("trigger", self.trigger.0.as_fd()));
                given.push(("auth-smtp", self.auth_smtp.0.as_fd()));
            }
            Program::QueueManager => {
                given.push(("trigger", self.trigger.1.as_fd()));
                given.push(("deliver", self.deliver.0.as_fd()));
                given.push(("remote", self.remote.0.as_fd()));
                given.push(("replace", self.replace.0.as_fd()));
            }
            Program::LocalDeliver => given.push(("deliver", self.deliver.1.as_fd())),
            Program::RemoteSend => given.push(("remote", self.remote.1.as_fd())),
            Program::Authd => {
                given.push(("auth-smtp", self.auth_smtp.1.as_fd()));
                given.push(("auth-pop3", self.auth_pop3.1.as_fd()));
            }
            Program::Pop3d => given.push(("auth-pop3", self.auth_pop3.0.as_fd())),
            Program::BanFire | Program::BanAct | Program::Banwatch => {}
        }
        if let Some((writes, reads)) = &self.events {
            match program {
                Program::Smtpd | Program::Pop3d | Program::Authd => {
                    given.push(("events", writes.as_fd()));
                }
                Program::Banwatch => given.push(("events", reads.as_fd())),
                _ => {}
            }
        }
        if let Some((asks, acts)) = &self.fire {
            match program {
                Program::Banwatch => given.push(("fire", asks.as_fd())),
                Program::BanFire => given.push(("fire", acts.as_fd())),
                _ => {}
            }
        }
        if let Some((asks, acts)) = &self.act {
            match program {
                Program::Banwatch => given.push(("act", asks.as_fd())),
                Program::BanAct => given.push(("act", acts.as_fd())),
                _ => {}
            }
        }
        given
    }

    /// Where queue-manager says which program does not answer.
    pub fn replace(&self) -> &Packets {
        &self.replace.1
    }

    /// Which program does not answer, if queue-manager has just said so.
    pub fn silent(&self) -> Option<Program> {
        let mut octet = [0; 8];
        loop {
            let packet = self.replace.1.recv(&mut octet).ok()?;
            match octet.get(..packet.length)? {
                // Not an end: we hold the other one, too.
                [] => return None,
                REPLACE_DELIVER => return Some(Program::LocalDeliver),
                REPLACE_REMOTE => return Some(Program::RemoteSend),
                _ => log::warning("replace")
                    .kv("error", "unknown request")
                    .send(),
            }
        }
    }

    /// Where programs that inetd has started ask for their channels.
    pub fn channels(&self) -> &PacketListener {
        &self.channels
    }

    /// Gives a program that inetd has started what it asks for.
    pub fn hand_out(&self) {
        let find = |name: &str| match name {
            "trigger" => Some(self.trigger.0.as_fd()),
            "auth-smtp" => Some(self.auth_smtp.0.as_fd()),
            "auth-pop3" => Some(self.auth_pop3.0.as_fd()),
            "events" => self.events.as_ref().map(|(writes, _)| writes.as_fd()),
            _ => None,
        };
        loop {
            match self.channels.serve(find) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => log::warning("channels").val("error", e).send(),
            }
        }
    }

    /// Whether a program has anything to do: one that serves roles needs a listener.
    pub fn wanted(&self, program: Program) -> bool {
        if program == Program::BanFire {
            return self.fire.is_some();
        }
        if program == Program::BanAct {
            return self.act.is_some();
        }
        program.roles().is_empty()
            || self
                .listeners
                .iter()
                .any(|(role, _)| program.roles().contains(role))
    }
}

/// Whether there is a banwatch: it is installed, and the admin has not switched it off.
fn bans(config: &Config) -> bool {
    let off = config
        .ban
        .get("enabled")
        .is_some_and(|v| v.kind == config::value::Kind::Flag(false));
    !off && config.paths.program(Program::Banwatch.file()).is_file()
}

fn no_such_family(address: SocketAddr, error: &io::Error) -> bool {
    address.is_ipv6()
        && address.ip().is_unspecified()
        && matches!(error.raw_os_error(), Some(97 | 99)) // EAFNOSUPPORT, EADDRNOTAVAIL
}

/// The bound address as `ADDRESS:PORT`, or a path.
fn address_of(fd: &OwnedFd) -> String {
    let Ok(copy) = fd.try_clone() else {
        return "?".into();
    };
    match std::net::TcpListener::from(copy).local_addr() {
        Ok(address) => address.to_string(),
        Err(_) => fd
            .try_clone()
            .ok()
            .and_then(|fd| std::os::unix::net::UnixListener::from(fd).local_addr().ok())
            .and_then(|a| a.as_pathname().map(|p| p.display().to_string()))
            .unwrap_or_else(|| "?".into()),
    }
}
