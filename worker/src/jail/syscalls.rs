//! Which system calls are left, by seccomp.
//!
//! What a worker needs once it is started, and no more. Everything else is refused with an error
//! rather than by killing the process, because the C library asks for some things late and lives
//! without the answer: the number of processors, for one, which it would read from a file.
//!
//! A call that is left is not harmless with every argument. The session's port is a socket of the
//! host's network: with one flag, sending would connect it to somewhere else, where neither the
//! empty network nor Landlock look. A descriptor can be made to send signals. So the calls that
//! have such arguments are left without them: see `arguments`.

mod arguments;

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use super::Profile;

/// Calls that are allowed whatever their arguments.
const ALLOWED: &[i64] = &[
    // Talking: the socket to the supervisor, the session's port, the memory file, last words.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    // Memory, none of it executable: see `arguments`.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads, and waiting for them.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    // Signals to itself: how a C++ program aborts.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
];

/// Calls of x86 only, for which other machines have the ones above.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// Calls for finding and reading files, where there are any to read. Which, Landlock says.
const READING: &[i64] = &[
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    // What a driver of OpenGL wants to know of itself and the machine.
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Of x86 only, again.
#[cfg(target_arch = "x86_64")]
const READING_HERE: &[i64] =
    &[libc::SYS_stat, libc::SYS_lstat, libc::SYS_access, libc::SYS_readlink];
#[cfg(not(target_arch = "x86_64"))]
const READING_HERE: &[i64] = &[];

/// Leaves few system calls.
pub(super) fn few(profile: &Profile) -> io::Result<bool> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(false) };
    // The C library tries `clone3` first and falls back if it does not exist.
    let denied = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    install(no_clone3, SeccompAction::Allow, denied, arch)?;
    let mut allowed = arguments::rules(profile).map_err(io::Error::other)?;
    let mut allow = |calls: &[i64]| allowed.extend(calls.iter().map(|call| (*call, Vec::new())));
    allow(ALLOWED);
    allow(ALLOWED_HERE);
    if !profile.readable.is_empty() {
        allow(READING);
        allow(READING_HERE);
    }
    // Decided by the filter before, which a later one can only tighten.
    allow(&[libc::SYS_clone3]);
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    install(allowed, refused, SeccompAction::Allow, arch)?;
    Ok(true)
}

/// Calls that anybody may make are refused, also the one that would tell of the filter.
pub(super) fn are_few(_: &Profile) -> bool {
    let asked = rustix::thread::secure_computing_mode().map(drop);
    let connected = std::os::unix::net::UnixStream::pair().map(drop);
    asked == Err(rustix::io::Errno::PERM)
        && connected.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    mismatch: SeccompAction,
    matched: SeccompAction,
    arch: TargetArch,
) -> io::Result<()> {
    let filter = SeccompFilter::new(rules, mismatch, matched, arch).map_err(io::Error::other)?;
    let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)
}
