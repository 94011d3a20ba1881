//! How much of everything, by the kernel's own limits.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Profile;
use super::identity::has_own_user;

#[expect(unsafe_code, reason = "no safe function closes a range of descriptors")]
pub(super) fn close_descriptors(_: &Profile) -> io::Result<bool> {
    // SAFETY: nothing in this process has opened a descriptor yet; those of the standard library
    // are the first three.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } {
        0 => Ok(true),
        // Kernels before 5.9.
        _ => Ok(false),
    }
}

/// Whether those that the process may have by its limit are closed: the layers have opened none
/// that they kept.
#[expect(unsafe_code, reason = "asks about numbers that are descriptors or not")]
pub(super) fn are_closed(profile: &Profile) -> bool {
    let last = i32::try_from(profile.descriptors).unwrap_or(i32::MAX);
    let numbers = 3..last;
    // SAFETY: `poll` is asked which of the numbers are descriptors, and uses none of them.
    let borrowed = |number| unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    let mut asked: Vec<_> = numbers
        .map(|number| PollFd::from_borrowed_fd(borrowed(number), PollFlags::empty()))
        .collect();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok()
        && asked.iter().all(|answer| answer.revents().contains(PollFlags::NVAL))
}

/// Not even to a program: with a limit of zero the kernel still hands the memory to a handler, if
/// the administrator has set one up. One byte means that it hands it to nobody.
const CORE_BYTES: u64 = 1;

pub(super) fn no_core_dump(_: &Profile) -> io::Result<bool> {
    limit(Resource::Core, CORE_BYTES)
}

pub(super) fn dumps_no_core(_: &Profile) -> bool {
    is_limited(Resource::Core, CORE_BYTES)
}

pub(super) fn memory(profile: &Profile) -> io::Result<bool> {
    profile.memory_bytes.map_or(Ok(false), |bytes| limit(Resource::As, bytes))
}

pub(super) fn has_little_memory(profile: &Profile) -> bool {
    profile.memory_bytes.is_some_and(|bytes| is_limited(Resource::As, bytes))
}

pub(super) fn cpu(profile: &Profile) -> io::Result<bool> {
    profile.cpu_secs.map_or(Ok(false), |secs| limit(Resource::Cpu, secs))
}

pub(super) fn has_little_cpu(profile: &Profile) -> bool {
    profile.cpu_secs.is_some_and(|secs| is_limited(Resource::Cpu, secs))
}

pub(super) fn descriptors(profile: &Profile) -> io::Result<bool> {
    limit(Resource::Nofile, profile.descriptors)
}

pub(super) fn has_few_descriptors(profile: &Profile) -> bool {
    is_limited(Resource::Nofile, profile.descriptors)
}

pub(super) fn file_size(profile: &Profile) -> io::Result<bool> {
    limit(Resource::Fsize, profile.file_bytes)
}

pub(super) fn has_short_files(profile: &Profile) -> bool {
    is_limited(Resource::Fsize, profile.file_bytes)
}

/// The kernel counts the threads of a user, not those of a process: so only where the user is the
/// process's own.
pub(super) fn threads(profile: &Profile) -> io::Result<bool> {
    if has_own_user(profile) { limit(Resource::Nproc, profile.threads) } else { Ok(false) }
}

pub(super) fn has_few_threads(profile: &Profile) -> bool {
    has_own_user(profile) && is_limited(Resource::Nproc, profile.threads)
}

fn limit(resource: Resource, value: u64) -> io::Result<bool> {
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?;
    Ok(true)
}

fn is_limited(resource: Resource, value: u64) -> bool {
    getrlimit(resource) == Rlimit { current: Some(value), maximum: Some(value) }
}
