//! From here on a process can do its job and nothing else.
//!
//! In this order: what it holds is open by now → limits → new root directory → the user, for
//! good → not dumpable, no new privileges → Landlock → seccomp. Without root, user and root
//! directory stay; the rest is done all the same.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr,
};
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::calls::{self, Calls};
use crate::process::{self, Identity};
use crate::{Fatal, log};

/// Proof that confinement has been carried out. It can't be made in any other way, so a function
/// that asks for it can't be called before.
#[derive(Debug)]
pub struct Confined(());

/// Where `/` is afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Root {
    Keep,
    At(PathBuf),
}

/// What a process keeps. Everything else is given up by [`Confinement::enter`].
#[derive(Debug, Clone)]
pub struct Confinement {
    identity: Option<Identity>,
    user: Option<String>,
    groups: Vec<u32>,
    root: Root,
    readable: Vec<PathBuf>,
    writable: Vec<PathBuf>,
    filesystem: bool,
    network: bool,
    calls: Vec<Calls>,
    open_files: u64,
    file_size: Option<u64>,
    core: bool,
    parent: Option<u32>,
}

/// Descriptors that a process may have open at once, unless it says otherwise.
pub const OPEN_FILES: u64 = 1024;

impl Default for Confinement {
    fn default() -> Self {
        Confinement::new()
    }
}

impl Confinement {
    /// Keeps the base calls, no file, no network, no other user.
    pub fn new() -> Confinement {
        Confinement {
            identity: None,
            user: None,
            groups: Vec::new(),
            root: Root::Keep,
            readable: Vec::new(),
            writable: Vec::new(),
            filesystem: false,
            network: false,
            calls: vec![calls::BASE],
            open_files: OPEN_FILES,
            file_size: None,
            core: false,
            parent: None,
        }
    }

    /// What most daemons want: as root this role's user and the empty root directory `RUN/empty`.
    pub fn for_role(config: &config::Config, user: &str) -> Confinement {
        Confinement::new()
            .user(user)
            .root(config.paths.run.join("empty"))
    }

    /// As root: becomes this system user (looked up before the root directory changes).
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// As root: stays a member of this group, if there is one, for files that only its members
    /// may read.
    pub fn member_of(mut self, group: &str) -> Self {
        self.groups.extend(process::group(group));
        self
    }

    /// As root: becomes this user and group.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// As root: `/` becomes this directory, which should be empty and owned by root.
    pub fn root(mut self, path: impl Into<PathBuf>) -> Self {
        self.root = Root::At(path.into());
        self
    }

    /// Files below this directory may be opened for reading (Landlock, where the kernel has it).
    pub fn readable(mut self, path: impl Into<PathBuf>) -> Self {
        self.readable.push(path.into());
        self
    }

    /// Files below this directory may be read, made, changed and removed.
    pub fn writable(mut self, path: impl Into<PathBuf>) -> Self {
        self.writable.push(path.into());
        self
    }

    /// The whole filesystem stays as the user's permissions have it (no Landlock on files).
    pub fn whole_filesystem(mut self) -> Self {
        self.filesystem = true;
        self
    }

    /// TCP connections may be made; without this Landlock refuses connect and bind.
    pub fn network(mut self) -> Self {
        self.network = true;
        self
    }

    /// Adds a set of system calls.
    pub fn calls(mut self, set: Calls) -> Self {
        self.calls.push(set);
        self
    }

    /// How many descriptors may be open at once (RLIMIT_NOFILE). The hard limit is kept when it is lower.
    pub fn open_files(mut self, count: u64) -> Self {
        self.open_files = count;
        self
    }

    /// Longest file that may be written, in octets (RLIMIT_FSIZE).
    pub fn file_size(mut self, octets: u64) -> Self {
        self.file_size = Some(octets);
        self
    }

    /// Ends (SIGTERM) with the process that started us, which must still be this one.
    pub fn parent(mut self, pid: u32) -> Self {
        self.parent = Some(pid);
        self
    }

    /// Carries it out.
    ///
    /// # Errors
    /// `Setup` when the user or the directory does not exist, or the list can't be made;
    /// `Temporary` when the kernel refuses a step. The process must not go on then.
    pub fn enter(self) -> Result<Confined, Fatal> {
        let root = process::is_root();
        let identity = match (&self.user, self.identity) {
            (Some(name), _) if root => Some(process::user(name).map_err(|e| {
                Fatal::setup(format!("{e}; share/hikyaku/make-users makes the users"))
            })?),
            (_, Some(identity)) if root => Some(identity),
            _ => None,
        };
        // libc reads the zone's file on first use: before its path is hidden.
        crate::clock::local_offset(crate::clock::unix_seconds());
        self.limits()?;
        // Landlock needs the paths as they are now, and must be applied after the change of root.
        let rules = self.landlock_paths();
        if let (true, Root::At(path)) = (root, &self.root) {
            change_root(path)?;
        }
        if let Some(identity) = identity {
            identity
                .assume_with(&self.groups)
                .map_err(|e| Fatal::io("becoming the user", e))?;
        }
        give_up_privileges().map_err(|e| Fatal::io("no_new_privs", e))?;
        if let Some(parent) = self.parent {
            // A change of user forgets this, so it comes after.
            follow(parent).map_err(|e| Fatal::io("parent", e))?;
        }
        self.landlock(rules)?;
        self.seccomp()?;
        Ok(Confined(()))
    }

    fn limits(&self) -> Result<(), Fatal> {
        let hard = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(self.open_files, |(_, hard)| hard);
        let files = self.open_files.min(hard);
        if files < self.open_files {
            log::warning("limit")
                .kv("what", "open files")
                .val("wanted", self.open_files)
                .val("got", files)
                .send();
        }
        let set = |what, n| setrlimit(what, n, n).map_err(|e| Fatal::io("setrlimit", e));
        set(Resource::RLIMIT_NOFILE, files)?;
        if !self.core {
            set(Resource::RLIMIT_CORE, 0)?;
        }
        if let Some(octets) = self.file_size {
            set(Resource::RLIMIT_FSIZE, octets)?;
        }
        Ok(())
    }

    fn landlock_paths(&self) -> Vec<(PathFd, bool)> {
        let open = |list: &[PathBuf], write| {
            list.iter()
                .filter_map(move |p| PathFd::new(p).ok().map(|fd| (fd, write)))
                .collect::<Vec<_>>()
        };
        let mut all = open(&self.readable, false);
        all.extend(open(&self.writable, true));
        all
    }

    /// Landlock in best-effort mode: on a kernel without it the other walls stand alone.
    fn landlock(&self, paths: Vec<(PathFd, bool)>) -> Result<(), Fatal> {
        let abi = ABI::V5;
        let fail = |e: &dyn std::fmt::Display| Fatal::io("landlock", e);
        let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
        let mut any = false;
        if !self.filesystem {
            ruleset = ruleset
                .handle_access(AccessFs::from_all(abi))
                .map_err(|e| fail(&e))?;
            any = true;
        }
        if !self.network {
            ruleset = ruleset
                .handle_access(AccessNet::from_all(abi))
                .map_err(|e| fail(&e))?;
            any = true;
        }
        if !any {
            return Ok(());
        }
        let mut created = ruleset.create().map_err(|e| fail(&e))?;
        if !self.filesystem {
            for (fd, write) in paths {
                let access = if write {
                    AccessFs::from_all(abi)
                        & !AccessFs::Execute
                        & !AccessFs::MakeBlock
                        & !AccessFs::MakeChar
                } else {
                    AccessFs::ReadFile | AccessFs::ReadDir
                };
                created = created
                    .add_rule(PathBeneath::new(fd, access))
                    .map_err(|e| fail(&e))?;
            }
        }
        created.restrict_self().map_err(|e| fail(&e))?;
        Ok(())
    }

    fn seccomp(&self) -> Result<(), Fatal> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        for set in &self.calls {
            for &call in *set {
                rules.insert(
                    call,
                    argument_rules(call).map_err(|e| Fatal::setup(format!("seccomp: {e}")))?,
                );
            }
        }
        let errno = |n: i32| SeccompAction::Errno(n.unsigned_abs());
        // A filter can't see clone3's flags. Told that the kernel has no clone3, libc uses clone,
        // whose flags can be seen. Of two filters the stricter answer counts, and where both
        // refuse, the younger one's error; so clone3 is allowed in the list that follows.
        let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        apply(clone3.clone(), SeccompAction::Allow, errno(libc::ENOSYS))?;
        rules.extend(clone3);
        apply(rules, errno(libc::EPERM), SeccompAction::Allow)
    }
}

/// Installs one filter.
fn apply(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> Result<(), Fatal> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(|_| Fatal::setup("seccomp: unknown processor"))?;
    let program: BpfProgram = SeccompFilter::new(rules, otherwise, on_match, arch)
        .and_then(TryInto::try_into)
        .map_err(|e| Fatal::setup(format!("seccomp: {e}")))?;
    seccompiler::apply_filter(&program).map_err(|e| Fatal::io("seccomp", e))
}

/// Calls that are allowed only with certain arguments.
fn argument_rules(call: i64) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let equals = |argument, value: i32| {
        SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Eq,
            u64::try_from(value).unwrap_or(0),
        )
        .and_then(|c| SeccompRule::new(vec![c]))
    };
    let masked = |argument, mask: i32, value: i32| {
        let mask = u64::try_from(mask).unwrap_or(0);
        SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(mask),
            u64::try_from(value).unwrap_or(0),
        )
        .and_then(|c| SeccompRule::new(vec![c]))
    };
    Ok(match call {
        // Only Internet sockets can be made, only Unix pairs.
        libc::SYS_socket => vec![equals(0, libc::AF_INET)?, equals(0, libc::AF_INET6)?],
        libc::SYS_socketpair => vec![equals(0, libc::AF_UNIX)?],
        // A process may name its threads, and nothing else.
        libc::SYS_prctl => vec![equals(0, libc::PR_SET_NAME)?],
        // Threads, not processes; clone3 is answered by the second filter.
        libc::SYS_clone => vec![masked(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?],
        // No page is ever both new and executable.
        libc::SYS_mprotect => vec![masked(2, libc::PROT_EXEC, 0)?],
        libc::SYS_mmap => vec![masked(2, libc::PROT_EXEC, 0)?],
        _ => Vec::new(),
    })
}

/// Enters an empty root directory.
fn change_root(path: &Path) -> Result<(), Fatal> {
    nix::unistd::chroot(path).map_err(|e| Fatal::io(format!("chroot {}", path.display()), e))?;
    nix::unistd::chdir("/").map_err(|e| Fatal::io("chdir /", e))
}

/// No set-id program can be gained any more, and nobody of the same user can look into us.
fn give_up_privileges() -> io::Result<()> {
    // SAFETY: prctl with these operations reads its integer arguments only.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Asks the kernel for SIGTERM when the parent dies; fails when it has died already.
fn follow(parent: u32) -> io::Result<()> {
    // SAFETY: prctl with this operation reads its integer arguments only; getppid has none.
    let (done, now) = unsafe {
        (
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0),
            libc::getppid(),
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    if u32::try_from(now) != Ok(parent) {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "mail-start has gone",
        ));
    }
    Ok(())
}
