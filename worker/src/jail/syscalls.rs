//! Which system calls are left, by seccomp.
//!
//! What a worker needs once it is started, and no more. Everything else is refused with an error
//! rather than by killing the process, because the C library asks for some things late and lives
//! without the answer: the number of processors, for one, which it would read from a file.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
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
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_lseek,
    // Memory, none of it executable: see `restricted`.
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

/// Leaves few system calls.
pub(super) fn few(_: &Profile) -> io::Result<bool> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(false) };
    // The C library tries `clone3` first and falls back if it does not exist.
    let denied = i32::cast_unsigned(libc::ENOSYS);
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    install(no_clone3, SeccompAction::Allow, SeccompAction::Errno(denied), arch)?;
    let mut allowed = restricted().map_err(io::Error::other)?;
    allowed.extend(ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new())));
    // Decided by the filter before, which a later one can only tighten.
    allowed.insert(libc::SYS_clone3, Vec::new());
    let refused = SeccompAction::Errno(i32::cast_unsigned(libc::EPERM));
    install(allowed, refused, SeccompAction::Allow, arch)?;
    Ok(true)
}

/// Calls that are allowed with some arguments only.
fn restricted() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let masked = |argument: u8, mask: i32, value: i32| {
        let mask = SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned()));
        let value = u64::from(value.cast_unsigned());
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, mask, value)?;
        Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(vec![condition])?])
    };
    let equal = |argument: u8, value: i32| {
        let value = u64::from(value.cast_unsigned());
        let condition =
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
        SeccompRule::new(vec![condition])
    };
    Ok(BTreeMap::from([
        // No memory that can be executed.
        (libc::SYS_mmap, masked(2, libc::PROT_EXEC, 0)?),
        (libc::SYS_mprotect, masked(2, libc::PROT_EXEC, 0)?),
        // Threads, and no processes.
        (libc::SYS_clone, masked(0, libc::CLONE_THREAD, libc::CLONE_THREAD)?),
        // The name of a thread.
        (libc::SYS_prctl, vec![equal(0, libc::PR_SET_NAME)?]),
        // A socket that blocks or not.
        (libc::SYS_ioctl, vec![equal(1, i32::try_from(libc::FIONBIO).unwrap_or(0))?]),
        // A signal to itself only: `abort` sends one to its own thread.
        (libc::SYS_tgkill, vec![equal(0, i32::try_from(std::process::id()).unwrap_or(0))?]),
    ]))
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
