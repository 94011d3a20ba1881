//! Ways to more rights, to the machine's settings, to code of its own, and into the kernel.

use std::ffi::c_long;
use std::io;
use std::os::fd::AsFd as _;

use crate::Attempt;
use crate::call::{at, call, check, into, text};

/// More than a jail allows.
const DESCRIPTORS: usize = 300;

pub(crate) const RIGHTS: &[Attempt] = &[
    ("become root", |_| call(libc::SYS_setuid, [0])),
    ("join root's group", |_| call(libc::SYS_setgroups, [1, at(&[0_u32])])),
    ("take capabilities", |_| {
        let header = [0x2008_0522_u32, 0];
        // All, as effective, permitted and inheritable.
        call(libc::SYS_capset, [at(&header), at(&[u32::MAX, u32::MAX, 0, 0x1ff, 0x1ff, 0_u32])])
    }),
    ("make a user namespace", |_| call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into()])),
    ("make a mount namespace", |_| call(libc::SYS_unshare, [libc::CLONE_NEWNS.into()])),
    ("make a network namespace", |_| call(libc::SYS_unshare, [libc::CLONE_NEWNET.into()])),
    ("raise a limit", |_| {
        let limits = [1_u64 << 19, 1 << 19];
        call(libc::SYS_prlimit64, [0, 7, at(&limits), 0])
    }),
    ("open descriptors without end", |_| {
        let mut kept = Vec::new();
        while kept.len() < DESCRIPTORS {
            match io::stdin().as_fd().try_clone_to_owned() {
                Ok(descriptor) => kept.push(descriptor),
                // The limit says no, as it should.
                Err(_) => return Err(io::Error::from_raw_os_error(libc::EPERM)),
            }
        }
        Ok(())
    }),
    ("dump core", |_| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is writable.
        check(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) }.into())?;
        if limit.rlim_max <= 1 { Err(io::Error::from_raw_os_error(libc::EPERM)) } else { Ok(()) }
    }),
    ("become dumpable", |_| call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0])),
    ("outlive its parent", |_| call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG.into(), 0, 0, 0, 0])),
    ("take more priority", |_| call(libc::SYS_setpriority, [0, 0, -10])),
    ("run before all others", |_| call(libc::SYS_sched_setscheduler, [0, 1, at(&1_i32)])),
    ("lock memory", |_| call(libc::SYS_mlockall, [2])),
    ("learn who it is", |_| call(libc::SYS_getuid, [])),
    ("use a keyring", |_| call(libc::SYS_keyctl, [0, -3, 1])),
    ("add a key", |_| {
        let (kind, name) = (text("user"), text("escapee"));
        let (kind, name) = (kind.as_ptr() as c_long, name.as_ptr() as c_long);
        call(libc::SYS_add_key, [kind, name, at("x"), 1, -1])
    }),
];

pub(crate) const ATTEMPTS: &[Attempt] = &[
    ("set up io_uring", |_| call(libc::SYS_io_uring_setup, [4, into(&mut [0_u8; 256])])),
    ("load a bpf program", |_| {
        // BPF_MAP_CREATE of a small array.
        call(libc::SYS_bpf, [0, at(&[2_u32, 4, 4, 1, 0, 0, 0, 0]), 32])
    }),
    ("handle page faults", |_| call(libc::SYS_userfaultfd, [0])),
    ("count events", |_| {
        // A clock in software, of this process.
        let mut attributes = [0_u32; 32];
        (attributes[0], attributes[1]) = (1, 128);
        call(libc::SYS_perf_event_open, [at(&attributes), 0, -1, -1, 0])
    }),
    ("read the kernel's log", |_| call(libc::SYS_syslog, [10, 0, 0])),
    ("load a module", |_| {
        let none = text("");
        call(libc::SYS_init_module, [at(&[0_u8; 8]), 0, none.as_ptr() as c_long])
    }),
    ("load another kernel", |_| call(libc::SYS_kexec_load, [0, 0, 0, 1 << 30])),
    ("restart the machine", |_| call(libc::SYS_reboot, [0, 0, 0, 0])),
    ("set the clock", |_| call(libc::SYS_settimeofday, [0, 0])),
    ("name the host", |_| {
        let name = text("escapee");
        call(libc::SYS_sethostname, [name.as_ptr() as c_long, 7])
    }),
    ("swap to a file", |outside| {
        let path = text(outside.folder.join("state"));
        call(libc::SYS_swapon, [path.as_ptr() as c_long, 0])
    }),
    ("set quotas", |outside| {
        // Q_GETQUOTA of user 0, which concerns root only.
        let path = text(outside.folder.join("state"));
        let command = (0x0080_0007_u32 << 8).into();
        call(libc::SYS_quotactl, [command, path.as_ptr() as c_long, 0, into(&mut [0_u64; 16])])
    }),
    ("account for processes", |_| call(libc::SYS_acct, [0])),
    ("write through a pipe's pages", |_| {
        let part = [at("x"), 1];
        // Standard input is no pipe, which the kernel says to those only who may ask.
        call(libc::SYS_vmsplice, [0, at(&part), 1, 0])
    }),
    ("make a pipe", |_| call(libc::SYS_pipe2, [into(&mut [0_i32; 2]), 0])),
    ("install a filter", |_| {
        // SECCOMP_GET_ACTION_AVAIL, of allowing.
        call(libc::SYS_seccomp, [2, 0, at(&0x7fff_0000_u32)])
    }),
    ("make a ruleset", |_| call(libc::SYS_landlock_create_ruleset, [0, 0, 1])),
    #[cfg(target_arch = "x86_64")]
    ("use input and output ports", |_| call(libc::SYS_ioperm, [0x80, 1, 1])),
    #[cfg(target_arch = "x86_64")]
    ("make a segment", |_| call(libc::SYS_modify_ldt, [0, into(&mut [0_u64; 8]), 64])),
];

pub(crate) const CODE: &[Attempt] = &[
    ("map executable memory", |_| map(libc::PROT_READ | libc::PROT_EXEC).map(drop)),
    ("map writable and executable memory", |_| {
        map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map(drop)
    }),
    ("make written memory executable", |_| {
        let memory = map(libc::PROT_READ | libc::PROT_WRITE)?;
        let executable = c_long::from(libc::PROT_READ | libc::PROT_EXEC);
        call(libc::SYS_mprotect, [memory, 4096, executable])
    }),
    ("make written memory executable by a key", |_| {
        let memory = map(libc::PROT_READ | libc::PROT_WRITE)?;
        let executable = c_long::from(libc::PROT_READ | libc::PROT_EXEC);
        call(libc::SYS_pkey_mprotect, [memory, 4096, executable, -1])
    }),
    ("make all readable memory executable", |_| {
        // READ_IMPLIES_EXEC, of which memory mapped later has no need here: it is taken back.
        call(libc::SYS_personality, [0x0040_0000]).and_then(|()| call(libc::SYS_personality, [0]))
    }),
];

fn map(protection: i32) -> io::Result<c_long> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping that nobody uses.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(mapped as c_long) }
}
