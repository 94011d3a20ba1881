//! Ways to files.

use std::ffi::c_long;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::symlink;
use std::sync::OnceLock;

use crate::call::{at, call, check, get, text};
use crate::{Attempt, Outside, PROFILE};

/// A `file_handle` with room for what file systems put there.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; 128],
}

const NO_HANDLE: Handle = Handle { bytes: 128, kind: 0, data: [0; 128] };

/// A handle of the state file, from before the jail.
static HANDLE: OnceLock<Handle> = OnceLock::new();

/// Does what has to be done while files can still be reached.
pub(crate) fn prepare(outside: &Outside) {
    if let Ok(handle) = name_by_handle(outside) {
        HANDLE.set(handle).ok();
    }
}

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("read a file", |_| fs::read("/etc/passwd").map(drop)),
    ("read the passwords", |_| fs::read("/etc/shadow").map(drop)),
    ("list the system's libraries", |_| fs::read_dir("/usr/lib").map(drop)),
    ("list the root folder", |_| fs::read_dir("/").map(drop)),
    ("list root's folder", |_| fs::read_dir("/root").map(drop)),
    ("list the users' folders", |_| fs::read_dir("/home").map(drop)),
    ("stat a file", |_| fs::metadata("/etc/passwd").map(drop)),
    ("read the supervisor's state", |outside| fs::read(outside.folder.join("state")).map(drop)),
    ("write the supervisor's state", |outside| {
        let mut file = OpenOptions::new().append(true).open(outside.folder.join("state"))?;
        file.write_all(b"x")
    }),
    ("empty the supervisor's state", |outside| {
        let path = text(outside.folder.join("emptied"));
        call(libc::SYS_truncate, [path.as_ptr() as c_long, 0])
    }),
    ("list the supervisor's folder", |outside| fs::read_dir(&outside.folder).map(drop)),
    ("make a file", |outside| File::create(outside.folder.join("made")).map(drop)),
    ("make a file without a name", |outside| {
        let path = text(&outside.folder);
        let flags = c_long::from(libc::O_TMPFILE | libc::O_RDWR);
        call(libc::SYS_openat, [libc::AT_FDCWD.into(), path.as_ptr() as c_long, flags, 0o600])
    }),
    ("make a folder", |outside| fs::create_dir(outside.folder.join("folder"))),
    ("make a link", |outside| symlink("/etc/shadow", outside.folder.join("link"))),
    ("make a second name", |outside| {
        fs::hard_link(outside.folder.join("state"), outside.folder.join("second"))
    }),
    ("rename a file", |outside| {
        fs::rename(outside.folder.join("renamed"), outside.folder.join("new"))
    }),
    ("remove a file", |outside| fs::remove_file(outside.folder.join("removed"))),
    ("change who may read a file", |outside| {
        let path = text(outside.folder.join("own"));
        call(libc::SYS_fchmodat, [libc::AT_FDCWD.into(), path.as_ptr() as c_long, 0o777])
    }),
    ("make a pipe with a name", |outside| make_node(outside, "pipe", libc::S_IFIFO, 0)),
    ("make a device", |outside| {
        make_node(outside, "device", libc::S_IFCHR, libc::makedev(1, 5).cast_signed())
    }),
    ("look at another process's memory", |outside| {
        File::open(format!("/proc/{}/mem", outside.victim)).map(drop)
    }),
    ("look at another process's environment", |outside| {
        fs::read(format!("/proc/{}/environ", outside.victim)).map(drop)
    }),
    ("look at another process's command line", |outside| {
        fs::read(format!("/proc/{}/cmdline", outside.victim)).map(drop)
    }),
    ("look at another process's files", |outside| {
        fs::read_dir(format!("/proc/{}/fd", outside.victim)).map(drop)
    }),
    ("look around in another process's root", |outside| {
        fs::read_dir(format!("/proc/{}/root/", outside.victim)).map(drop)
    }),
    ("look at its own memory map", |_| fs::read("/proc/self/maps").map(drop)),
    ("write its own memory", |_| OpenOptions::new().write(true).open("/proc/self/mem").map(drop)),
    ("name a file by a handle", |outside| name_by_handle(outside).map(drop)),
    ("open a file by a handle", |_| {
        let handle = HANDLE.get().unwrap_or(&NO_HANDLE);
        call(libc::SYS_open_by_handle_at, [libc::AT_FDCWD.into(), at(handle), 0])
    }),
    ("watch files", |_| call(libc::SYS_inotify_init1, [0])),
    ("watch the whole file system", |_| call(libc::SYS_fanotify_init, [0, 0])),
    ("make a file in memory", |_| {
        let name = text("escapee");
        call(libc::SYS_memfd_create, [name.as_ptr() as c_long, 0])
    }),
    ("write without end to an open file", |_| {
        let limit = PROFILE.get().unwrap().file_bytes;
        get(libc::SYS_lseek, [2, limit.try_into().unwrap(), libc::SEEK_SET.into()])?;
        call(libc::SYS_write, [2, at("x"), 1])
    }),
    ("mount", |_| {
        let (kind, place) = (text("tmpfs"), text("/mnt"));
        let (kind, place) = (kind.as_ptr() as c_long, place.as_ptr() as c_long);
        call(libc::SYS_mount, [kind, place, kind, 0])
    }),
    ("mount by descriptor", |_| {
        let kind = text("tmpfs");
        call(libc::SYS_fsopen, [kind.as_ptr() as c_long, 0])
    }),
    ("change its root", |_| {
        let path = text("/");
        call(libc::SYS_chroot, [path.as_ptr() as c_long])
    }),
    ("pivot its root", |_| {
        let path = text(".");
        call(libc::SYS_pivot_root, [path.as_ptr() as c_long, path.as_ptr() as c_long])
    }),
];

fn make_node(outside: &Outside, name: &str, kind: u32, device: c_long) -> io::Result<()> {
    let path = text(outside.folder.join(name));
    let mode = c_long::from(kind | 0o600);
    call(libc::SYS_mknodat, [libc::AT_FDCWD.into(), path.as_ptr() as c_long, mode, device])
}

fn name_by_handle(outside: &Outside) -> io::Result<Handle> {
    let path = text(outside.folder.join("state"));
    let (mut handle, mut mount) = (NO_HANDLE, 0_i32);
    // SAFETY: the handle has room for as many bytes as it says, and both can be written.
    check(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            path.as_ptr(),
            &raw mut handle,
            &raw mut mount,
            0,
        )
    })?;
    Ok(handle)
}
