//! What a program is given: arguments, descriptors, configuration; and how it says that it serves.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::net::Listener;
use crate::packet::Packets;
use crate::{Confined, Confinement, Fatal, dir::Dir, log};

/// Most descriptors that are taken over at start.
pub const GIVEN_MAX: usize = 256;

/// The variable in which mail-start names its process id: a program whose starter has died goes too.
pub const PARENT: &str = "HIKYAKU_PARENT";

/// What queue-manager says on the descriptor named `replace`: local-deliver's parent owes an
/// answer and does not give it. mail-start kills it, and starts another one as after every end.
pub const REPLACE_DELIVER: &[u8] = b"D";

/// The same of remote-send.
pub const REPLACE_REMOTE: &[u8] = b"R";

/// The channels that mail-start hands to programs which inetd has started.
pub const CHANNELS: [&str; 5] = ["trigger", "auth-smtp", "auth-pop3", "events", "log"];

/// The name of the socket in `RUN` on which it does.
pub const CHANNELS_SOCKET: &str = "channels";

/// Where the system's log daemon listens.
pub const SYSLOG_SOCKET: &str = "/dev/log";

/// The state of a program before it is confined.
#[derive(Debug)]
pub struct Start {
    program: &'static str,
    config_file: PathBuf,
    arguments: Vec<OsString>,
    given: Vec<(String, OwnedFd)>,
    /// Where mail-start hands out its channels; only for who was given nothing.
    channels: Option<PathBuf>,
    notify: Option<UnixDatagram>,
}

impl Start {
    /// Takes over arguments and descriptors of this process. Called once, by [`crate::main`].
    pub(crate) fn from_environment(program: &'static str) -> Result<Start, Fatal> {
        let mut start = Start {
            program,
            config_file: config::FILE.into(),
            arguments: Vec::new(),
            given: given_descriptors()?,
            channels: None,
            notify: notify_socket(),
        };
        let mut arguments = std::env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            if argument == "--config" {
                start.config_file = arguments
                    .next()
                    .ok_or_else(|| Fatal::setup("--config needs a file"))?
                    .into();
            } else if argument == "--version" {
                println!("{program} {}", env!("CARGO_PKG_VERSION"));
                std::process::exit(0);
            } else {
                start.arguments.push(argument);
            }
        }
        Ok(start)
    }

    /// The program's name in log lines.
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// Whether a flag such as `--session` was given; it is taken.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.arguments.len();
        self.arguments.retain(|a| a != name);
        before != self.arguments.len()
    }

    /// The value after an option such as `--role`; both are taken.
    ///
    /// # Errors
    /// `Setup` when the value is missing.
    pub fn option(&mut self, name: &str) -> Result<Option<OsString>, Fatal> {
        let Some(at) = self.arguments.iter().position(|a| a == name) else {
            return Ok(None);
        };
        self.arguments.remove(at);
        if at >= self.arguments.len() {
            return Err(Fatal::setup(format!("{name} needs a value")));
        }
        Ok(Some(self.arguments.remove(at)))
    }

    /// Refuses arguments that nobody has asked for.
    ///
    /// # Errors
    /// `Setup`, naming the first one.
    pub fn no_more_arguments(&self) -> Result<(), Fatal> {
        match self.arguments.first() {
            Some(a) => Err(Fatal::setup(format!(
                "unknown argument {}",
                a.to_string_lossy()
            ))),
            None => Ok(()),
        }
    }

    /// Where the configuration is.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Reads and checks the configuration, and begins to log where it says.
    ///
    /// # Errors
    /// `Setup` with all that is wrong, a line each: file, line, column, what was expected.
    pub fn config(&mut self) -> Result<config::Config, Fatal> {
        self.config_by(config::Config::load)
    }

    /// [`Start::config`] for banwatch: [`config::Config::load_for_bans`].
    ///
    /// # Errors
    /// As [`Start::config`].
    pub fn config_for_bans(&mut self) -> Result<config::Config, Fatal> {
        self.config_by(config::Config::load_for_bans)
    }

    fn config_by(
        &mut self,
        load: fn(&Path) -> Result<config::Config, config::Problems>,
    ) -> Result<config::Config, Fatal> {
        let config = load(&self.config_file).map_err(|e| Fatal::setup(e.to_string()))?;
        if self.given.is_empty() && self.has_inetd() {
            self.channels = Some(config.paths.run.join(CHANNELS_SOCKET));
        }
        self.log_as(&config)?;
        Ok(config)
    }

    /// Takes the descriptor with this name, if there is one.
    ///
    /// A program that inetd has started was given none: it asks mail-start, which must be running.
    pub fn descriptor(&mut self, name: &str) -> Option<OwnedFd> {
        if let Some(path) = self.channels.as_ref().filter(|_| CHANNELS.contains(&name)) {
            return crate::packet::ask(path, name).ok();
        }
        let at = self.given.iter().position(|(n, _)| n == name)?;
        Some(self.given.remove(at).1)
    }

    /// Takes the packet socket with this name.
    ///
    /// # Errors
    /// `Setup` when it was not given.
    pub fn packets(&mut self, name: &str) -> Result<Packets, Fatal> {
        let fd = self.descriptor(name).ok_or_else(|| {
            Fatal::setup(format!(
                "no descriptor named {name}: start me through mail-start"
            ))
        })?;
        Ok(Packets::from_fd(fd)?)
    }

    /// Takes the datagram socket with this name, connected and non-blocking, if there is one.
    pub fn datagrams(&mut self, name: &str) -> Option<UnixDatagram> {
        let socket = UnixDatagram::from(self.descriptor(name)?);
        socket.set_nonblocking(true).ok()?;
        Some(socket)
    }

    /// Takes the directory with this name, or opens it at `path`.
    ///
    /// # Errors
    /// `Temporary`, naming the path.
    pub fn directory(&mut self, name: &str, path: &Path) -> Result<Dir, Fatal> {
        match self.descriptor(name) {
            Some(fd) => Ok(Dir::from_fd(fd)),
            None => Dir::open(path).map_err(|e| Fatal::io(path.display(), e)),
        }
    }

    /// Takes all listeners whose name is one of these roles.
    ///
    /// # Errors
    /// `Setup` when one is not a listening socket that we understand.
    pub fn listeners(&mut self, roles: &[&str]) -> Result<Vec<Listener>, Fatal> {
        let mut listeners = Vec::new();
        for (name, fd) in std::mem::take(&mut self.given) {
            if roles.contains(&name.as_str()) {
                let listener = Listener::from_fd(&name, fd)
                    .map_err(|e| Fatal::setup(format!("{name}: {e}")))?;
                listeners.push(listener);
            } else {
                self.given.push((name, fd));
            }
        }
        Ok(listeners)
    }

    /// inetd's way: the connected socket on descriptor 0, when no descriptors were named.
    pub fn inetd(&mut self) -> Option<OwnedFd> {
        if !self.given.is_empty() {
            return None;
        }
        let stdin = std::io::stdin();
        self.has_inetd().then_some(())?;
        stdin.as_fd().try_clone_to_owned().ok()
    }

    /// Whether descriptor 0 is a socket.
    fn has_inetd(&self) -> bool {
        nix::sys::socket::getsockname::<nix::sys::socket::SockaddrStorage>(0).is_ok()
    }

    /// Gives up what the program does not keep. After this nothing is opened by path.
    ///
    /// The descriptor named `ready` and systemd's notification socket are kept for [`Ready`].
    ///
    /// # Errors
    /// As [`Confinement::enter`].
    pub fn confine(mut self, confinement: Confinement) -> Result<(Confined, Ready), Fatal> {
        self.no_more_arguments()?;
        let ready = self.take_ready();
        // Descriptors that nobody asked for are closed here, not carried along.
        for (name, _) in self.given.drain(..) {
            log::debug("closed").kv("descriptor", &name).send();
        }
        if !crate::process::is_root() {
            log::info("start")
                .kv("mode", "single-user")
                .kv("separation", "reduced: one uid for all")
                .send();
        }
        let confinement = match std::env::var(PARENT).ok().and_then(|p| p.parse().ok()) {
            Some(parent) => confinement.parent(parent),
            None => confinement,
        };
        Ok((confinement.enter()?, ready))
    }

    /// For mail-start, which is confined by what it does not do: the readiness alone.
    pub fn supervise(mut self) -> Ready {
        self.take_ready()
    }

    fn take_ready(&mut self) -> Ready {
        Ready {
            pipe: self.descriptor("ready").map(std::fs::File::from),
            notify: self.notify.take(),
        }
    }

    fn log_as(&mut self, config: &config::Config) -> Result<(), Fatal> {
        let channel = self.descriptor("log").map(Packets::from_fd).transpose()?;
        if config.log.target == config::settings::LogTarget::Syslog {
            log::to_syslog(SYSLOG_SOCKET, channel);
        }
        log::set_level(match config.log.level {
            config::settings::LogLevel::Error => log::Level::Error,
            config::settings::LogLevel::Warning => log::Level::Warning,
            config::settings::LogLevel::Info => log::Level::Info,
            config::settings::LogLevel::Debug => log::Level::Debug,
        });
        Ok(())
    }
}

/// Tells whoever started us that we serve: a newline on the descriptor named `ready`, and
/// `READY=1` to systemd.
#[derive(Debug)]
pub struct Ready {
    pipe: Option<std::fs::File>,
    notify: Option<UnixDatagram>,
}

impl Ready {
    /// Says it, once.
    pub fn tell(mut self) {
        // Whoever asked may have gone; that changes nothing for us.
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write_all(b"\n");
        }
        if let Some(notify) = &self.notify {
            let _ = notify.send(b"READY=1");
        }
    }
}

/// systemd's notification socket, connected while its path can be seen.
fn notify_socket() -> Option<UnixDatagram> {
    let path = std::env::var_os("NOTIFY_SOCKET")?;
    let socket = UnixDatagram::unbound().ok()?;
    match path.to_str().and_then(|p| p.strip_prefix('@')) {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).ok()?;
            socket.connect_addr(&address).ok()?;
        }
        None => socket.connect(&path).ok()?,
    }
    Some(socket)
}

/// `LISTEN_FDS`, `LISTEN_FDNAMES`, `LISTEN_PID`.
fn given_descriptors() -> Result<Vec<(String, OwnedFd)>, Fatal> {
    let Ok(count) = std::env::var("LISTEN_FDS") else {
        return Ok(Vec::new());
    };
    if let Ok(pid) = std::env::var("LISTEN_PID") {
        // Meant for another process that left its environment to us.
        if pid != std::process::id().to_string() {
            return Ok(Vec::new());
        }
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    parse_given(&count, &names).map(|list| {
        list.into_iter()
            .map(|(fd, name)| {
                // SAFETY: the starter has opened these numbers for us and nobody else in this process
                // knows of them: we are called once, before anything else is opened.
                let owned = unsafe { OwnedFd::from_raw_fd(fd) };
                (name, owned)
            })
            .filter(|(_, fd)| set_cloexec(fd))
            .collect()
    })
}

/// Also tells whether the number is open at all.
fn set_cloexec(fd: &OwnedFd) -> bool {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).is_ok()
}

/// The numbers and names; a descriptor without a name is called `unknown`, as systemd does.
fn parse_given(count: &str, names: &str) -> Result<Vec<(RawFd, String)>, Fatal> {
    let count = count
        .parse::<usize>()
        .ok()
        .filter(|&n| n <= GIVEN_MAX)
        .ok_or_else(|| {
            Fatal::setup(format!(
                "LISTEN_FDS={count}: expected a number up to {GIVEN_MAX}"
            ))
        })?;
    let mut names = names.split(':').filter(|n| !n.is_empty());
    Ok((3..)
        .take(count)
        .map(|fd| (fd, names.next().unwrap_or("unknown").to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_have_names() {
        let two = parse_given("2", "mx:local").unwrap();
        assert_eq!(two, [(3, "mx".to_owned()), (4, "local".to_owned())]);
        assert_eq!(parse_given("2", "mx").unwrap()[1].1, "unknown");
        assert!(parse_given("0", "").unwrap().is_empty());
        for (count, fits) in [
            (GIVEN_MAX - 1, true),
            (GIVEN_MAX, true),
            (GIVEN_MAX + 1, false),
        ] {
            assert_eq!(parse_given(&count.to_string(), "").is_ok(), fits, "{count}");
        }
        assert!(parse_given("-1", "").is_err());
        assert!(parse_given("x", "").is_err());
    }
}
