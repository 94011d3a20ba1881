//! Calls of which some arguments are left.
//!
//! The kernel shows a filter the numbers in the arguments, not what a pointer points to.

use std::collections::BTreeMap;
use std::path::Path;

use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::jail::Profile;

/// What an argument must be: its number, and some of its bits.
#[derive(Clone, Copy)]
struct Must {
    argument: u8,
    mask: u64,
    value: u64,
}

/// Ways to make a call that are left, of which one must fit; in each, every condition.
type Ways<'a> = &'a [&'a [Must]];

/// Sending at once, and without a signal if nobody listens. Not urgent data, which has a history
/// of defects, and not with connecting.
const SEND: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

/// Urgent data neither.
const RECEIVE: i32 = libc::MSG_CMSG_CLOEXEC
    | libc::MSG_DONTWAIT
    | libc::MSG_PEEK
    | libc::MSG_TRUNC
    | libc::MSG_WAITALL;

const NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// Making or emptying a file, or a nameless one.
const MAKING: i32 = libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// Requests to graphics cards: their type stands in the second byte.
const GRAPHICS: Must = Must { argument: 1, mask: 0xff00, value: (b'd' as u64) << 8 };

const BLOCKING: Must = Must { argument: 1, mask: 0xffff_ffff, value: libc::FIONBIO };

const LEFT: &[(i64, Ways<'_>)] = &[
    // Threads, and no processes.
    (libc::SYS_clone, &[&[has(0, libc::CLONE_THREAD), lacks(0, NAMESPACES)]]),
    // The name of a thread.
    (libc::SYS_prctl, &[&[is(0, libc::PR_SET_NAME)]]),
    (libc::SYS_sendto, &[&[lacks(3, !SEND), is_null(4)]]),
    (libc::SYS_sendmsg, &[&[lacks(2, !SEND)]]),
    (libc::SYS_recvfrom, &[&[lacks(3, !RECEIVE)]]),
    (libc::SYS_recvmsg, &[&[lacks(2, !RECEIVE)]]),
    // How long to wait, and not to collect small packets.
    (
        libc::SYS_setsockopt,
        &[
            &[is(1, libc::SOL_SOCKET), is(2, libc::SO_RCVTIMEO)],
            &[is(1, libc::SOL_SOCKET), is(2, libc::SO_SNDTIMEO)],
            &[is(1, libc::IPPROTO_TCP), is(2, libc::TCP_NODELAY)],
        ],
    ),
    (libc::SYS_getsockopt, &[&[is(1, libc::SOL_SOCKET)]]),
    // Not making a descriptor send signals, to whomever.
    (
        libc::SYS_fcntl,
        &[
            &[is(1, libc::F_DUPFD)],
            &[is(1, libc::F_DUPFD_CLOEXEC)],
            &[is(1, libc::F_GETFD)],
            &[is(1, libc::F_SETFD)],
            &[is(1, libc::F_GETFL)],
            &[is(1, libc::F_SETFL), lacks(2, libc::O_ASYNC)],
            &[is(1, libc::F_GET_SEALS)],
            &[is(1, libc::F_ADD_SEALS)],
        ],
    ),
];

/// The rules for calls that are left in part.
pub(super) fn rules(profile: &Profile) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules = BTreeMap::new();
    let mut leave = |call: i64, ways: Ways<'_>| {
        let ways = ways.iter().map(|way| {
            let conditions = way.iter().copied().map(condition).collect::<Result<_, _>>()?;
            SeccompRule::new(conditions)
        });
        rules.insert(call, ways.collect::<Result<_, _>>()?);
        Ok::<_, BackendError>(())
    };
    for (call, ways) in LEFT {
        leave(*call, ways)?;
    }
    // A signal to itself only: `abort` sends one to its own thread.
    leave(libc::SYS_tgkill, &[&[is(0, std::process::id().cast_signed())]])?;
    let has_devices = profile.devices.iter().any(|device| Path::new(device).exists());
    let requests: Ways<'_> = if has_devices { &[&[BLOCKING], &[GRAPHICS]] } else { &[&[BLOCKING]] };
    leave(libc::SYS_ioctl, requests)?;
    if !profile.readable.is_empty() {
        let writing = if has_devices { 0 } else { libc::O_ACCMODE };
        leave(libc::SYS_openat, &[&[lacks(2, writing | MAKING)]])?;
        // Its own limits, to be read.
        leave(libc::SYS_prlimit64, &[&[is(0, 0), is_null(2)]])?;
    }
    let memory: Ways<'_> =
        if profile.executable_memory { &[] } else { &[&[lacks(2, libc::PROT_EXEC)]] };
    leave(libc::SYS_mmap, memory)?;
    leave(libc::SYS_mprotect, memory)?;
    Ok(rules)
}

fn condition(Must { argument, mask, value }: Must) -> Result<SeccompCondition, BackendError> {
    let width =
        if u32::try_from(mask).is_ok() { SeccompCmpArgLen::Dword } else { SeccompCmpArgLen::Qword };
    SeccompCondition::new(argument, width, SeccompCmpOp::MaskedEq(mask), value)
}

const fn is(argument: u8, value: i32) -> Must {
    Must { argument, mask: 0xffff_ffff, value: value.cast_unsigned() as u64 }
}

const fn has(argument: u8, bits: i32) -> Must {
    Must { argument, mask: bits.cast_unsigned() as u64, value: bits.cast_unsigned() as u64 }
}

const fn lacks(argument: u8, bits: i32) -> Must {
    Must { argument, mask: bits.cast_unsigned() as u64, value: 0 }
}

const fn is_null(argument: u8) -> Must {
    Must { argument, mask: u64::MAX, value: 0 }
}
