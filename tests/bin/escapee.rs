//! Enters a worker's jail and tries to get out, one way after the other.
//!
//! `escapee simulate|compile|none VICTIM_PID TCP_PORT ABSTRACT_NAME` prints one JSON object: for
//! each attempt `refused: …` or `ESCAPED`. With `none` there is no jail, which shows that the
//! attempts are real.

#![expect(unsafe_code, reason = "the ways out are system calls, most without a safe interface")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::print_stdout, reason = "the test reads it there")]

use std::collections::BTreeMap;
use std::ffi::{CString, c_long};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixStream};

use simward_worker::jail::{self, Profile};

/// Who and what is outside.
struct Outside {
    victim: i32,
    port: u16,
    abstract_name: String,
}

/// A way out: its name, and the attempt. A number that is not negative, or `Ok`, means success.
type Attempt = (&'static str, fn(&Outside) -> io::Result<()>);

const ATTEMPTS: &[Attempt] = &[
    ("read a file", |_| std::fs::read("/etc/passwd").map(drop)),
    ("list a folder", |_| std::fs::read_dir("/").map(drop)),
    ("write a file", |_| std::fs::write("/tmp/simward-escape", "x")),
    ("look at another process's memory", |outside| {
        std::fs::File::open(format!("/proc/{}/mem", outside.victim)).map(drop)
    }),
    ("look at another process's environment", |outside| {
        std::fs::read(format!("/proc/{}/environ", outside.victim)).map(drop)
    }),
    ("look at its own memory map", |_| std::fs::read("/proc/self/maps").map(drop)),
    ("stat a file", |_| std::fs::metadata("/etc/passwd").map(drop)),
    ("connect by tcp", |outside| TcpStream::connect(("127.0.0.1", outside.port)).map(drop)),
    ("listen by tcp", |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    ("send by udp", |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("open a netlink socket", |_| call(libc::SYS_socket, [libc::AF_NETLINK.into(), 3, 0, 0])),
    ("open a raw packet socket", |_| call(libc::SYS_socket, [libc::AF_PACKET.into(), 3, 0, 0])),
    ("open a vsock socket", |_| call(libc::SYS_socket, [libc::AF_VSOCK.into(), 1, 0, 0])),
    ("connect to an abstract socket", |outside| {
        let name = SocketAddr::from_abstract_name(&outside.abstract_name)?;
        UnixStream::connect_addr(&name).map(drop)
    }),
    ("make a socket pair", |_| UnixStream::pair().map(drop)),
    ("send a signal to another process", |outside| {
        call(libc::SYS_kill, [outside.victim.into(), libc::SIGTERM.into(), 0, 0])
    }),
    ("send a signal to its parent", |_| {
        let parent = c_long::from(std::os::unix::process::parent_id().cast_signed());
        call(libc::SYS_kill, [parent, 0, 0, 0])
    }),
    ("trace another process", |outside| {
        // PTRACE_SEIZE, which does not stop the victim.
        call(libc::SYS_ptrace, [0x4206, outside.victim.into(), 0, 0])
    }),
    ("open another process", |outside| {
        call(libc::SYS_pidfd_open, [outside.victim.into(), 0, 0, 0])
    }),
    ("start a program", |_| {
        let path = CString::new("/nonexistent").unwrap();
        call(libc::SYS_execve, [path.as_ptr() as c_long, 0, 0, 0])
    }),
    ("fork", |_| fork()),
    ("mount", |_| {
        let (kind, place) = (CString::new("tmpfs").unwrap(), CString::new("/mnt").unwrap());
        let (kind, place) = (kind.as_ptr() as c_long, place.as_ptr() as c_long);
        call(libc::SYS_mount, [kind, place, kind, 0])
    }),
    ("change its root", |_| {
        let path = CString::new("/").unwrap();
        call(libc::SYS_chroot, [path.as_ptr() as c_long, 0, 0, 0])
    }),
    ("make a user namespace", |_| call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0])),
    ("make a mount namespace", |_| call(libc::SYS_unshare, [libc::CLONE_NEWNS.into(), 0, 0, 0])),
    ("become root", |_| call(libc::SYS_setuid, [0, 0, 0, 0])),
    ("use a keyring", |_| call(libc::SYS_keyctl, [0, -3, 1, 0])),
    ("set up io_uring", |_| {
        let parameters = [0_u8; 256];
        call(libc::SYS_io_uring_setup, [4, parameters.as_ptr() as c_long, 0, 0])
    }),
    ("load a bpf program", |_| call(libc::SYS_bpf, [0, 0, 0, 0])),
    ("handle page faults", |_| call(libc::SYS_userfaultfd, [1, 0, 0, 0])),
    ("map executable memory", |_| map(libc::PROT_READ | libc::PROT_EXEC)),
    ("map writable and executable memory", |_| {
        map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)
    }),
    ("dump core", |_| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is writable.
        check(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) }.into())?;
        if limit.rlim_max == 0 { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
    }),
    ("raise a limit", |_| {
        let limit = libc::rlimit { rlim_cur: 1 << 30, rlim_max: 1 << 30 };
        // SAFETY: the structure is readable.
        check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into())
    }),
    ("become dumpable", |_| call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0])),
    ("outlive its parent", |_| call(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG.into(), 0, 0, 0])),
    ("take more priority", |_| call(libc::SYS_setpriority, [0, 0, -10, 0])),
    ("set the clock", |_| call(libc::SYS_settimeofday, [0, 0, 0, 0])),
];

/// What may be tried without a jail.
const HARMLESS: &[&str] = &[
    "read a file",
    "list a folder",
    "connect by tcp",
    "listen by tcp",
    "connect to an abstract socket",
    "send a signal to another process",
    "fork",
    "map executable memory",
    "outlive its parent",
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let layers = match args[1].as_str() {
        "simulate" => jail::enter(&Profile::SIMULATE).unwrap(),
        "none" => Vec::new(),
        "compile" => {
            let profile = Profile { memory_bytes: Some(4 << 30), ..Profile::COMPILE };
            jail::enter(&profile).unwrap()
        }
        other => panic!("no profile {other}"),
    };
    let outside = Outside {
        victim: args[2].parse().unwrap(),
        port: args[3].parse().unwrap(),
        abstract_name: args[4].clone(),
    };
    let mut outcomes = BTreeMap::new();
    let in_jail = args[1] != "none";
    for (name, attempt) in ATTEMPTS {
        // Outside, the others would do what they try.
        if !in_jail && !HARMLESS.contains(name) {
            continue;
        }
        let outcome = match attempt(&outside) {
            Ok(()) => "ESCAPED".to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        outcomes.insert(*name, outcome);
    }
    println!("{}", serde_json::json!({ "layers": layers, "attempts": outcomes }));
}

fn call(number: c_long, [a, b, c, d]: [c_long; 4]) -> io::Result<()> {
    // SAFETY: the kernel checks every argument; what is a pointer points to memory that lives.
    check(unsafe { libc::syscall(number, a, b, c, d) })
}

fn check(result: c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn fork() -> io::Result<()> {
    // SAFETY: the child does nothing but exit.
    match unsafe { libc::fork() } {
        // SAFETY: `_exit` has no preconditions.
        0 => unsafe { libc::_exit(0) },
        pid => check(pid.into()),
    }
}

fn map(protection: i32) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping that nobody uses.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}
