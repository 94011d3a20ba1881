//! What is around a worker: an empty network, and an empty file system.

use std::env;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::os::unix::fs::chroot;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};

use super::Profile;

/// A network and an IPC world without anything in it. An ordinary user needs a user world around
/// them, which some systems forbid.
pub(super) fn own_network(_: &Profile) -> io::Result<bool> {
    let worlds = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    if unshare(worlds).is_ok() {
        return Ok(true);
    }
    Ok(unshare(CloneFlags::CLONE_NEWUSER | worlds).is_ok())
}

/// Not even its own machine is on the network, and nobody's shared memory is there.
pub(super) fn has_own_network(_: &Profile) -> bool {
    let reached = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("127.0.0.1:9"));
    let nowhere = reached.is_err_and(|error| {
        error.kind() == ErrorKind::NetworkUnreachable
            || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
    });
    nowhere && segments() == 0
}

/// How many shared memory segments of System V there are. None where the kernel has no such thing.
#[expect(unsafe_code, reason = "no safe function asks for System V shared memory")]
fn segments() -> i32 {
    /// Of `linux/shm.h`.
    const SHM_INFO: i32 = 14;
    // SAFETY: all zeroes is a value of this plain structure.
    let mut answer: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the answer, a `shm_info` of 48 bytes, is shorter than the structure.
    if unsafe { libc::shmctl(0, SHM_INFO, &raw mut answer) } < 0 {
        return 0;
    }
    // SAFETY: the answer begins with an `int`: the number of segments.
    unsafe { (&raw const answer).cast::<i32>().read() }
}

/// Folders of the kernel's own, in which nobody can make anything: one that has been empty for
/// decades, and one in which a process sees its own descriptors and nothing else.
const EMPTY: [&str; 2] = ["/proc/tty/ldisc", "/proc/self/fdinfo"];

/// A root folder in which nothing is and nothing can be made.
///
/// A mount namespace with an empty file system would do the same for many times the cost, and
/// takes a lock that all processes share. This way is sound because nothing that leads out is
/// left: descriptors of folders are closed, the current folder is inside, and changing the root
/// again needs a capability that is given up next.
pub(super) fn empty_root(profile: &Profile) -> io::Result<bool> {
    if !profile.readable.is_empty() {
        return Ok(false);
    }
    // An error means that there is no such folder, or no right to make it the root.
    let enter = |folder: &&str| env::set_current_dir(folder).and_then(|()| chroot(".")).is_ok();
    Ok(EMPTY.iter().any(enter))
}

/// What led here leads nowhere, from the root and from the current folder.
pub(super) fn has_empty_root(_: &Profile) -> bool {
    ["/proc", "/etc", "../proc", "../../etc"].iter().all(|path| !Path::new(path).exists())
}
