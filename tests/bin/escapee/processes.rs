//! Ways to processes: those that are there, and new ones.

use std::ffi::c_long;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, RwLock};
use std::{io, thread};

use crate::call::{at, call, check, get, into, or_absent, text};
use crate::{Attempt, Outside};

/// What processes ignore unless they say otherwise.
const HARMLESS: c_long = libc::SIGWINCH as c_long;

/// More than a jail allows.
const MANY: usize = 200;

pub(crate) const OTHERS: &[Attempt] = &[
    ("send a signal to another process", |outside| {
        call(libc::SYS_kill, [outside.victim.into(), HARMLESS])
    }),
    ("send a signal to its parent", |outside| {
        call(libc::SYS_kill, [outside.parent.into(), HARMLESS])
    }),
    ("send a signal to another thread", |outside| {
        call(libc::SYS_tgkill, [outside.victim.into(), outside.victim.into(), HARMLESS])
    }),
    ("open another process", |outside| open(outside).map(drop)),
    ("send a signal through a descriptor", |outside| {
        let process = open(outside)?;
        call(libc::SYS_pidfd_send_signal, [process, HARMLESS, 0, 0])
    }),
    ("take a descriptor of another process", |outside| {
        let process = open(outside)?;
        call(libc::SYS_pidfd_getfd, [process, 0, 0])
    }),
    ("trace another process", |outside| {
        // PTRACE_SEIZE, which does not stop the victim.
        call(libc::SYS_ptrace, [0x4206, outside.victim.into(), 0, 0])
    }),
    ("read another process's memory", |outside| copy(outside, libc::SYS_process_vm_readv)),
    ("write another process's memory", |outside| copy(outside, libc::SYS_process_vm_writev)),
    ("move another process's memory", |outside| {
        call(
            libc::SYS_move_pages,
            [outside.victim.into(), 1, at(&[8_usize]), 0, into(&mut [0_i32]), 0],
        )
    }),
    ("compare itself with another process", |outside| {
        call(libc::SYS_kcmp, [std::process::id().into(), outside.victim.into(), 1, 0, 0])
    }),
    ("read another process's limits", |outside| {
        call(libc::SYS_prlimit64, [outside.victim.into(), 7, 0, into(&mut [0_u64; 2])])
    }),
    ("set another process's limits", |outside| {
        let limits = [64_u64; 2];
        call(libc::SYS_prlimit64, [outside.victim.into(), 7, at(&limits), 0])
    }),
    ("move another process to a processor", |outside| {
        call(libc::SYS_sched_setaffinity, [outside.victim.into(), 8, at(&u64::MAX)])
    }),
    ("schedule another process", |outside| {
        call(libc::SYS_sched_setscheduler, [outside.victim.into(), 0, at(&0_i32)])
    }),
    ("slow another process down", |outside| {
        call(libc::SYS_setpriority, [0, outside.victim.into(), 5])
    }),
    ("slow another process's files down", |outside| {
        call(libc::SYS_ioprio_set, [1, outside.victim.into(), 3 << 13])
    }),
    ("enter another process's network", |outside| {
        let path = format!("/proc/{}/ns/net", outside.victim);
        call(libc::SYS_setns, [File::open(path)?.as_raw_fd().into(), 0])
    }),
    ("enter the first process's network", |_| {
        call(libc::SYS_setns, [File::open("/proc/1/ns/net")?.as_raw_fd().into(), 0])
    }),
    ("attach shared memory", |outside| {
        let attached = call(libc::SYS_shmat, [outside.segment.into(), 0, 0o10_000]);
        or_absent(attached, libc::EINVAL)
    }),
    ("open a message queue", |outside| {
        let name = text(&outside.queue);
        call(libc::SYS_mq_open, [name.as_ptr() as c_long, libc::O_RDWR.into(), 0, 0])
    }),
];

pub(crate) const NEW: &[Attempt] = &[
    ("fork", |_| {
        let child = fork(libc::SIGCHLD.into())?;
        end(&[child])
    }),
    ("fork and share its files", |_| {
        let flags = libc::CLONE_FS | libc::CLONE_FILES | libc::SIGCHLD;
        let child = fork(flags.into())?;
        end(&[child])
    }),
    ("fork without end", |_| many(|| fork(libc::SIGCHLD.into()))),
    ("fork without end by clone3", |_| {
        many(|| {
            let mut arguments = [0_u64; 8];
            arguments[4] = libc::SIGCHLD.try_into().unwrap();
            get(libc::SYS_clone3, [at(&arguments), 64]).map(child_waits)
        })
    }),
    ("start a thread in a namespace", |_| {
        // Threads are left; this would be one with mounts of its own.
        let flags = libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_NEWUTS;
        call(libc::SYS_clone, [flags.into(), 0, 0, 0, 0])
    }),
    ("start many threads", |_| {
        let gate = Arc::new(RwLock::new(()));
        let shut = gate.write().unwrap();
        let mut threads = Vec::new();
        let mut failed = Ok(());
        while threads.len() < MANY && failed.is_ok() {
            let gate = Arc::clone(&gate);
            let waits = move || drop(gate.read());
            match thread::Builder::new().stack_size(16 * 1024).spawn(waits) {
                Ok(thread) => threads.push(thread),
                Err(error) => failed = Err(error),
            }
        }
        drop(shut);
        for thread in threads {
            thread.join().unwrap();
        }
        failed
    }),
    ("start a program", |outside| {
        let path = text(outside.folder.join("program"));
        call(libc::SYS_execve, [path.as_ptr() as c_long, at(&[0_usize]), at(&[0_usize])])
    }),
    ("start a program from memory", |_| {
        let (name, empty) = (text("program"), text(""));
        let file = get(libc::SYS_memfd_create, [name.as_ptr() as c_long, 0])?;
        let (path, none) = (empty.as_ptr() as c_long, at(&[0_usize]));
        call(libc::SYS_execveat, [file, path, none, none, libc::AT_EMPTY_PATH.into()])
    }),
];

fn open(outside: &Outside) -> io::Result<c_long> {
    get(libc::SYS_pidfd_open, [outside.victim.into(), 0])
}

/// The address does not exist, which the kernel says to those only who may ask.
fn copy(outside: &Outside, direction: c_long) -> io::Result<()> {
    let mut here = [0_u8; 8];
    let (local, remote) = ([into(&mut here), 8], [8, 8]);
    call(direction, [outside.victim.into(), at(&local), 1, at(&remote), 1, 0])
}

fn many(mut start: impl FnMut() -> io::Result<i32>) -> io::Result<()> {
    let mut children = Vec::new();
    let mut failed = Ok(());
    while children.len() < MANY && failed.is_ok() {
        match start() {
            Ok(child) => children.push(child),
            Err(error) => failed = Err(error),
        }
    }
    end(&children)?;
    failed
}

fn fork(flags: c_long) -> io::Result<i32> {
    get(libc::SYS_clone, [flags, 0, 0, 0, 0]).map(child_waits)
}

/// The child does nothing until it is ended, or until it is forgotten.
fn child_waits(child: c_long) -> i32 {
    if child == 0 {
        // SAFETY: neither has preconditions, and the alarm ends the process if nothing else does.
        unsafe {
            libc::alarm(30);
            libc::pause();
            libc::_exit(0);
        }
    }
    i32::try_from(child).unwrap()
}

fn end(children: &[i32]) -> io::Result<()> {
    for child in children {
        // SAFETY: the process is a child that nobody has waited for.
        check(unsafe { libc::kill(*child, libc::SIGKILL) }.into())?;
    }
    for child in children {
        // SAFETY: as before, and nothing is written.
        check(unsafe { libc::waitpid(*child, std::ptr::null_mut(), 0) }.into())?;
    }
    Ok(())
}
