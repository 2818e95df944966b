//! The whole system, started from the real programs in a directory of its own.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Authority, PATIENCE};

/// The user that a house runs as when the test is run by root: the house of these tests is the
/// single-user one. (`make check-root` starts the other kind, see [`Plan::as_root`].)
const NOBODY: u32 = 65_534;

/// What to build a house from.
#[derive(Debug, Clone)]
pub struct Plan {
    hostname: String,
    domains: Vec<String>,
    users: Vec<(String, String)>,
    directory: Option<PathBuf>,
    more: String,
    listen: [(&'static str, String); 5],
    as_root: bool,
    programs: Option<PathBuf>,
}

impl Plan {
    /// A house with this host name, which serves the domain of the same name, on free ports of 127.0.0.1.
    pub fn new(hostname: &str) -> Plan {
        let free = || "127.0.0.1:0".to_owned();
        Plan {
            hostname: hostname.to_owned(),
            domains: vec![hostname.to_owned()],
            users: Vec::new(),
            directory: None,
            more: String::new(),
            listen: [
                ("mx", free()),
                ("submission", free()),
                ("submissions", free()),
                ("pop3", free()),
                ("pop3s", free()),
            ],
            as_root: false,
            programs: None,
        }
    }

    /// The domains served, instead of the host name.
    pub fn domains(mut self, domains: &[&str]) -> Plan {
        self.domains = domains.iter().map(|&d| d.to_owned()).collect();
        self
    }

    /// One more mailbox.
    pub fn user(mut self, name: &str, password: &str) -> Plan {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Where it lives, instead of a temporary directory that goes with it. What is there is kept.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Plan {
        self.directory = Some(path.into());
        self
    }

    /// More configuration, as whole tables (`[queue]` …), TOML.
    pub fn config(mut self, toml: &str) -> Plan {
        self.more.push_str(toml);
        self.more.push('\n');
        self
    }

    /// Where a role listens, instead of a free port.
    ///
    /// # Panics
    /// When there is no such role.
    pub fn listen(mut self, role: &str, address: &str) -> Plan {
        let entry = self
            .listen
            .iter_mut()
            .find(|(r, _)| *r == role)
            .expect("a role");
        address.clone_into(&mut entry.1);
        self
    }

    /// Started as root, with a user for each program: they must exist.
    pub fn as_root(mut self) -> Plan {
        self.as_root = true;
        self
    }

    /// The directory of the programs, instead of the one that the test itself is in.
    pub fn programs(mut self, path: impl Into<PathBuf>) -> Plan {
        self.programs = Some(path.into());
        self
    }
}

/// What the house has logged so far.
#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    changed: Condvar,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, (Vec<String>, bool)> {
        self.lines.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A running house. Dropping it stops it.
pub struct House {
    plan: Plan,
    directory: PathBuf,
    temporary: Option<tempfile::TempDir>,
    programs: PathBuf,
    child: Child,
    log: Arc<Log>,
    authority: Authority,
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "House({})", self.directory.display())
    }
}

impl House {
    /// Builds and starts it, and waits until every program serves.
    ///
    /// # Panics
    /// When it can't be built or does not stand in time, with its log.
    pub fn start(plan: Plan) -> House {
        House::try_start(plan).unwrap_or_else(|log| panic!("the house does not stand\n{log}"))
    }

    /// As [`House::start`].
    ///
    /// # Errors
    /// The log, when the programs do not come to serve.
    ///
    /// # Panics
    /// When its directory can't be made.
    pub fn try_start(plan: Plan) -> Result<House, String> {
        let temporary = plan.directory.is_none().then(|| {
            tempfile::Builder::new()
                .prefix("hikyaku-house.")
                .tempdir()
                .expect("a directory")
        });
        let directory = match (&plan.directory, &temporary) {
            (Some(path), _) => path.clone(),
            (None, Some(dir)) => dir.path().to_owned(),
            (None, None) => unreachable!("one of both"),
        };
        fs::create_dir_all(directory.join("tls")).expect("a directory");
        let programs = reachable(
            plan.programs.clone().unwrap_or_else(own_directory),
            plan.as_root,
        );
        let authority = Authority::new();
        let (chain, key) = authority.write(
            &directory.join("tls"),
            &[&plan.hostname, "localhost", "127.0.0.1"],
        );
        // For clients that check: the certificate to trust.
        fs::write(directory.join("tls/authority.pem"), authority.pem())
            .expect("the authority's file");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("its mode");
        let quoted: Vec<String> = plan.domains.iter().map(|d| format!("{d:?}")).collect();
        let listen: String = plan
            .listen
            .iter()
            .map(|(role, a)| {
                if a.is_empty() {
                    format!("{role} = []\n")
                } else {
                    format!("{role} = [{a:?}]\n")
                }
            })
            .collect();
        let config = format!(
            "hostname = {:?}\ndomains = [{}]\nroot = {:?}\n\n[paths]\netc = {:?}\nlibexec = {:?}\n\n[listen]\n{listen}\n\
             [[tls.certificate]]\nchain = {:?}\nkey = {:?}\n\n[log]\ntarget = \"stderr\"\nlevel = \"debug\"\n\n{}",
            plan.hostname,
            quoted.join(", "),
            path(&directory),
            path(&directory),
            path(&programs),
            path(&chain),
            path(&key),
            plan.more,
        );
        fs::write(directory.join("hikyaku.toml"), config).expect("its configuration");
        let own = |p: &Path| {
            if !plan.as_root && nix::unistd::geteuid().is_root() {
                chown(p, Some(NOBODY), Some(NOBODY)).expect("its owner");
            }
        };
        for p in [
            &directory,
            &directory.join("tls"),
            &chain,
            &key,
            &directory.join("hikyaku.toml"),
        ] {
            own(p);
        }
        let mut house = House {
            child: Command::new("/bin/true").spawn().expect("a process"),
            plan,
            directory,
            temporary,
            programs,
            log: Arc::default(),
            authority,
        };
        let _ = house.child.wait();
        let users = house.plan.users.clone();
        let known = house.run("hikyaku", &["user", "list"], b"");
        let known = String::from_utf8_lossy(&known.stdout).into_owned();
        for (name, password) in users {
            if known
                .lines()
                .any(|l| l.split_whitespace().next() == Some(&name))
            {
                continue;
            }
            let out = house.run(
                "hikyaku",
                &["user", "add", &name, "--password-stdin"],
                format!("{password}\n").as_bytes(),
            );
            if !out.status.success() {
                return Err(format!(
                    "hikyaku user add {name}: {}",
                    String::from_utf8_lossy(&out.stderr)
                ));
            }
        }
        house.open();
        let start = Instant::now();
        match house.look(0, |line| {
            line.contains(" ready") && line.starts_with("mail-start")
        }) {
            Some(_) => Ok(house),
            None => Err(format!("after {:?}\n{}", start.elapsed(), house.log())),
        }
    }

    /// Starts mail-start and follows its log.
    fn open(&mut self) {
        let mut command = self.command("mail-start");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        self.child = command.spawn().expect("mail-start");
        let stderr = self.child.stderr.take().expect("its log");
        let log = Arc::new(Log::default());
        self.log = Arc::clone(&log);
        let mut copy = fs::File::create(self.directory.join("log")).ok();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if let Some(copy) = &mut copy {
                    let _ = writeln!(copy, "{line}");
                }
                log.lock().0.push(line);
                log.changed.notify_all();
            }
            log.lock().1 = true;
            log.changed.notify_all();
        });
    }

    /// A program of the house, with its configuration, as the house's user.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/");
        command.env("HIKYAKU_CONFIG", self.directory.join("hikyaku.toml"));
        if program != "sendmail" {
            command
                .arg("--config")
                .arg(self.directory.join("hikyaku.toml"));
        }
        self.belong(&mut command);
        command
    }

    /// Has a command run as the house's user.
    pub fn belong(&self, command: &mut Command) {
        if !self.plan.as_root && nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
    }

    /// Runs a program of the house to its end, with `input` on its standard input.
    ///
    /// # Panics
    /// When it can't be started.
    pub fn run(&self, program: &str, arguments: &[impl AsRef<OsStr>], input: &[u8]) -> Output {
        let mut command = self.command(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_owned();
        let writer = std::thread::spawn(move || {
            // A program that does not read its input has its reason; the exit code tells.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("its end");
        writer.join().expect("the writer");
        output
    }

    /// Where a role is served.
    ///
    /// # Panics
    /// When it is not.
    pub fn address(&self, role: &str) -> SocketAddr {
        let head = format!("listen role={role} address=");
        let lines = self.log.lock();
        let found = lines
            .0
            .iter()
            .find_map(|l| l.split_once(&head).map(|(_, a)| a.trim().parse()));
        found
            .unwrap_or_else(|| panic!("{role} is not served"))
            .expect("an address")
    }

    /// The user's Maildir.
    pub fn maildir(&self, user: &str) -> PathBuf {
        self.home(user).join("Maildir")
    }

    /// The user's home directory.
    pub fn home(&self, user: &str) -> PathBuf {
        self.directory.join("homes").join(user)
    }

    /// The texts of the messages in a user's Maildir, new and seen.
    pub fn mail(&self, user: &str) -> Vec<String> {
        let mut all = Vec::new();
        for sub in ["new", "cur"] {
            let Ok(dir) = fs::read_dir(self.maildir(user).join(sub)) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = dir.flatten().map(|e| e.path()).collect();
            paths.sort();
            // One that was moved between the listing and the reading is in the other list.
            all.extend(
                paths
                    .iter()
                    .filter_map(|p| fs::read(p).ok())
                    .map(|t| String::from_utf8_lossy(&t).into_owned()),
            );
        }
        all
    }

    /// How many lines have been logged: a mark for [`House::wait`].
    pub fn mark(&self) -> usize {
        self.log.lock().0.len()
    }

    /// Waits for a log line after `mark` that holds all of these, and gives it.
    ///
    /// # Panics
    /// When it does not come in time, with the log since the mark.
    pub fn wait(&self, mark: usize, parts: &[&str]) -> String {
        self.look(mark, |line| parts.iter().all(|p| line.contains(p)))
            .unwrap_or_else(|| panic!("no line with {parts:?}\n{}", self.log_since(mark)))
    }

    fn look(&self, mark: usize, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let (mut lines, mut at) = (self.log.lock(), mark);
        loop {
            while let Some(line) = lines.0.get(at) {
                if wanted(line) {
                    return Some(line.clone());
                }
                at += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.1 {
                return None;
            }
            lines = self
                .log
                .changed
                .wait_timeout(lines, left)
                .unwrap_or_else(|e| e.into_inner())
                .0;
        }
    }

    /// Waits until something that follows from the house's work is so; looked at again after each log
    /// line, and now and then without one.
    ///
    /// # Panics
    /// When it is not so in time, with the log.
    pub fn until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lock();
        loop {
            let seen = lines.0.len();
            drop(lines);
            if so() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not in time: {what}\n{}",
                self.log()
            );
            lines = self.log.lock();
            if lines.0.len() == seen {
                lines = self
                    .log
                    .changed
                    .wait_timeout(lines, Duration::from_millis(20))
                    .unwrap_or_else(|e| e.into_inner())
                    .0;
            }
        }
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log_since(0)
    }

    /// Everything logged since a mark.
    pub fn log_since(&self, mark: usize) -> String {
        self.log
            .lock()
            .0
            .iter()
            .skip(mark)
            .map(|l| format!("{l}\n"))
            .collect()
    }

    /// The process id of the program's youngest process.
    ///
    /// # Panics
    /// When it was never started.
    pub fn pid(&self, program: &str) -> u32 {
        let head = format!("started program={program} child=");
        let lines = self.log.lock();
        let last = lines
            .0
            .iter()
            .rev()
            .find_map(|l| l.split_once(&head).map(|(_, p)| p.trim().parse()));
        last.unwrap_or_else(|| panic!("{program} was not started"))
            .expect("a number")
    }

    /// The process id of mail-start.
    pub fn main_pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends a program with SIGKILL.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn kill(&self, program: &str) {
        kill(pid(self.pid(program)), Signal::SIGKILL).expect("a living program");
    }

    /// Stops a process of the house for good (SIGSTOP): it lives and does nothing.
    ///
    /// # Panics
    /// When it is gone already.
    pub fn freeze(&self, process: u32) {
        kill(pid(process), Signal::SIGSTOP).expect("a living process");
    }

    /// Has the house read its configuration again (SIGHUP).
    ///
    /// # Panics
    /// When it is gone.
    pub fn reload(&self) {
        kill(pid(self.child.id()), Signal::SIGHUP).expect("a living house");
    }

    /// Writes more tables into the configuration file, in place of those given in the plan.
    ///
    /// # Panics
    /// When the file can't be written.
    pub fn reconfigure(&mut self, toml: &str) {
        let file = self.directory.join("hikyaku.toml");
        let old = fs::read_to_string(&file).expect("the configuration");
        let base = old
            .strip_suffix(&self.plan.more)
            .expect("what the plan wrote")
            .to_owned();
        self.plan.more = toml.to_owned();
        fs::write(&file, base + toml).expect("the configuration");
    }

    /// Who has signed the house's certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The directory that everything lies in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The names of the files in the queue that stand for messages.
    pub fn queued(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, all: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    walk(&entry.path(), all);
                } else if entry.file_name().len() == 20 {
                    all.push(entry.path());
                }
            }
        }
        let mut all = Vec::new();
        walk(&self.directory.join("queue"), &mut all);
        walk(&self.directory.join("spool"), &mut all);
        all
    }

    /// Stops it in the orderly way (SIGTERM) and gives its exit status. It can be started again.
    ///
    /// # Panics
    /// When it does not stop in time.
    pub fn stop(&mut self) -> ExitStatus {
        let _ = kill(pid(self.child.id()), Signal::SIGTERM);
        self.ended()
    }

    /// Ends mail-start with SIGKILL; the kernel tells its programs to go.
    ///
    /// # Panics
    /// When a process of the house outlives it.
    pub fn crash(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.ended()
    }

    /// Waits for the end of the log: every process of the house holds it open.
    fn ended(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("its end");
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lock();
        while !lines.1 {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "a process of the house still runs");
            lines = self
                .log
                .changed
                .wait_timeout(lines, left)
                .unwrap_or_else(|e| e.into_inner())
                .0;
        }
        status
    }

    /// Starts it again in the same directory, after [`House::stop`] or [`House::crash`].
    ///
    /// # Panics
    /// When it does not stand in time.
    pub fn start_again(&mut self) {
        self.open();
        let ready = self.look(0, |line| {
            line.contains(" ready") && line.starts_with("mail-start")
        });
        assert!(
            ready.is_some(),
            "the house does not stand again\n{}",
            self.log()
        );
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(pid(self.child.id()), Signal::SIGTERM);
            let deadline = Instant::now() + PATIENCE;
            while matches!(self.child.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if std::thread::panicking() {
            eprintln!("--- log of {}\n{}", self.plan.hostname, self.log());
        }
        drop(self.temporary.take());
    }
}

fn pid(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a process id"))
}

fn path(p: &Path) -> &str {
    p.to_str().expect("a path in UTF-8")
}

/// The directory of the programs: the test's own, or the one above for tests in `deps/`.
fn own_directory() -> PathBuf {
    let own = std::env::current_exe().expect("our own path");
    let mut dir = own.parent().expect("a directory");
    if dir.ends_with("deps") {
        dir = dir.parent().expect("a directory");
    }
    dir.to_owned()
}

/// The programs where the house's user can reach them: a copy, once, when a directory above them
/// is closed to others.
fn reachable(programs: PathBuf, as_root: bool) -> PathBuf {
    if !nix::unistd::geteuid().is_root()
        || (programs
            .ancestors()
            .all(|d| fs::metadata(d).is_ok_and(|m| m.permissions().mode() & 0o001 != 0)))
    {
        return programs;
    }
    let _ = as_root;
    static COPY: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut copy = COPY.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(copy) = &*copy {
        return copy.clone();
    }
    let to = std::env::temp_dir().join(format!("hikyaku-programs.{}", std::process::id()));
    fs::create_dir_all(&to).expect("a directory");
    for name in [
        "smtpd",
        "queue-manager",
        "remote-send",
        "local-deliver",
        "authd",
        "pop3d",
        "mail-start",
        "hikyaku",
        "sendmail",
        "banwatch",
    ] {
        let from = programs.join(name);
        if from.exists() && fs::hard_link(&from, to.join(name)).is_err() {
            fs::copy(&from, to.join(name)).expect("a copy of a program");
        }
    }
    *copy = Some(to.clone());
    to
}
