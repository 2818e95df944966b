//! Named sets of system calls. A daemon's seccomp list is the union of the sets it names; a call
//! outside it fails with EPERM, so that a library's unusual path ends in an error and not in a
//! killed process. `docs/privileges.md` says which daemon has which set, and why.

use libc::c_long;

/// One set.
pub type Calls = &'static [c_long];

/// What any of our programs needs to run at all: memory, clocks, its own threads' locks, the
/// loop, and reading and writing what it holds.
pub const BASE: Calls = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Taking connections from given listeners.
pub const ACCEPT: Calls = &[libc::SYS_accept4];

/// Threads of its own.
pub const THREADS: Calls = &[libc::SYS_clone, libc::SYS_prctl, libc::SYS_tgkill];

/// Pairs of Unix sockets (never any other socket).
pub const PAIR: Calls = &[libc::SYS_socketpair];

/// Connections to other hosts. Bound to IPv4 and IPv6 by an argument rule: see `confine`.
pub const CONNECT: Calls = &[libc::SYS_socket, libc::SYS_connect, libc::SYS_bind];

/// Creating a file in a directory that is held, and making it durable. Neither unlink nor rename.
pub const CREATE: Calls = &[
    libc::SYS_openat,
    libc::SYS_statx,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
];

/// Asking how much room a held filesystem has.
pub const FREE_SPACE: Calls = &[libc::SYS_fstatfs];

/// Opening, reading and listing files below what is held.
pub const READ_FILES: Calls = &[
    libc::SYS_openat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_fstatfs,
];

/// Keeping files: renaming, removing, making directories, copying inside the kernel.
pub const KEEP_FILES: Calls = &[
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fchmod,
    libc::SYS_utimensat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
];

/// Noticing changes below what is held.
pub const WATCH: Calls = &[
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
];
