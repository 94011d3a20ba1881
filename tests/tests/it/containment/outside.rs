//! What is outside of an escapee's jail, and letting it try to get there.

use std::fs::{self, File, Permissions};
use std::io::Read as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

/// What an escapee found.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) is_root: bool,
    /// Whether it was felt outside: the folder, the port and the other process.
    pub(super) is_felt: bool,
    pub(super) layers: Vec<String>,
    pub(super) outcomes: Vec<Outcome>,
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) name: String,
    said: String,
}

impl Tried {
    pub(super) fn claims(&self, layer: &str) -> bool {
        self.layers.iter().any(|claimed| claimed == layer)
    }

    /// Those of the named attempts that were not refused.
    pub(super) fn open_of(&self, names: &[&str]) -> Vec<&Outcome> {
        let find = |name: &&str| {
            let found = self.outcomes.iter().find(|each| each.name == *name);
            found.unwrap_or_else(|| panic!("`{name}` was not tried"))
        };
        names.iter().map(find).filter(|each| !each.is_refused()).collect()
    }
}

impl Outcome {
    pub(super) fn is_refused(&self) -> bool {
        self.said.starts_with("refused: ")
    }

    pub(super) fn is_escaped(&self) -> bool {
        self.said == "ESCAPED"
    }
}

/// As whom the tests can try: as themselves, and as nobody if they are root.
pub(super) fn users() -> Vec<Option<u32>> {
    if nix::unistd::geteuid().is_root() { vec![None, Some(65_534)] } else { vec![None] }
}

/// Lets the escapee try everything, as root or as an ordinary user.
pub(super) fn attempts(profile: &str, user: Option<u32>, args: &[&str]) -> Tried {
    let mut outside = Outside::new(user);
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_escapee"));
    command
        .args(["try", profile, &outside.describe().to_string()])
        .args(args)
        .stdin(OwnedFd::from(port))
        .stderr(File::create(outside.folder.path().join("said")).unwrap())
        .current_dir("/");
    let output = as_user(&mut command, user).output().unwrap();
    let mut said = Vec::new();
    let file = File::open(outside.folder.path().join("said")).unwrap();
    file.take(4096).read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{profile} {args:?}: {}: {said}", output.status);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut outcomes = Vec::new();
    for each in found["groups"].as_object().unwrap().values() {
        outcomes.extend(each.as_object().unwrap().iter().map(|(name, said)| Outcome {
            name: name.clone(),
            said: said.as_str().unwrap().to_owned(),
        }));
    }
    let layers = found["layers"].as_array().unwrap();
    Tried {
        is_felt: outside.is_felt(),
        is_root: user.is_none() && nix::unistd::geteuid().is_root(),
        layers: layers.iter().map(|layer| layer.as_str().unwrap().to_owned()).collect(),
        outcomes,
    }
}

/// The files in the supervisor's folder, and what is in them.
const FILES: &[&str] = &["state", "emptied", "renamed", "removed", "own", "program"];
const CONTENT: &str = "this is no program";

/// What an escapee wants to reach. All of it is open to everybody but for the jail.
struct Outside {
    folder: TempDir,
    sleeper: Child,
    tcp: TcpListener,
    _sockets: (UnixListener, UnixListener, UnixDatagram),
    abstract_name: String,
    segment: i32,
    queue: String,
}

impl Outside {
    fn new(user: Option<u32>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("simward-test-{}-{count}", std::process::id());
        let folder = TempDir::new().unwrap();
        open_to_all(folder.path(), 0o777);
        for name in FILES {
            let path = folder.path().join(name);
            fs::write(&path, CONTENT).unwrap();
            open_to_all(&path, if *name == "program" { 0o755 } else { 0o666 });
        }
        std::os::unix::fs::chown(folder.path().join("own"), user, user).unwrap();
        let stream = UnixListener::bind(folder.path().join("socket")).unwrap();
        let datagrams = UnixDatagram::bind(folder.path().join("datagrams")).unwrap();
        open_to_all(&folder.path().join("socket"), 0o777);
        open_to_all(&folder.path().join("datagrams"), 0o777);
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60").stdin(Stdio::null()).stdout(Stdio::null());
        Self {
            sleeper: as_user(&mut sleeper, user).spawn().unwrap(),
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            _sockets: (stream, UnixListener::bind_addr(&address).unwrap(), datagrams),
            segment: shared_segment(),
            queue: message_queue(&name),
            abstract_name: name,
            folder,
        }
    }

    fn is_felt(&mut self) -> bool {
        let mut inside: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        inside.sort();
        let mut known: Vec<_> = FILES.iter().chain(&["socket", "datagrams", "said"]).collect();
        known.sort();
        let is_whole = |name| fs::read_to_string(self.folder.path().join(name)).unwrap() == CONTENT;
        self.tcp.set_nonblocking(true).unwrap();
        !(inside.iter().eq(known)
            && FILES.iter().all(is_whole)
            && self.tcp.accept().is_err()
            && self.sleeper.try_wait().unwrap().is_none())
    }

    fn describe(&self) -> Value {
        json!({
            "victim": self.sleeper.id(),
            "parent": std::process::id(),
            "port": self.tcp.local_addr().unwrap().port(),
            "folder": self.folder.path(),
            "abstract_name": self.abstract_name,
            "segment": self.segment,
            "queue": self.queue,
        })
    }
}

impl Drop for Outside {
    #[expect(unsafe_code, reason = "no safe function removes what System V and POSIX share")]
    fn drop(&mut self) {
        self.sleeper.kill().ok();
        self.sleeper.wait().ok();
        let name = std::ffi::CString::new(format!("/{}", self.queue)).unwrap();
        // SAFETY: nothing is written, and the name ends with a zero byte.
        unsafe {
            libc::shmctl(self.segment, libc::IPC_RMID, std::ptr::null_mut());
            libc::mq_unlink(name.as_ptr());
        }
    }
}

fn open_to_all(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[expect(unsafe_code, reason = "no safe function makes a segment")]
fn shared_segment() -> i32 {
    // SAFETY: takes numbers only.
    let segment = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o666) };
    assert!(0 <= segment, "{}", std::io::Error::last_os_error());
    segment
}

/// Makes a queue; the kernel knows it by this name, the C library with a slash before it.
#[expect(unsafe_code, reason = "no safe function makes a queue")]
fn message_queue(name: &str) -> String {
    let path = std::ffi::CString::new(format!("/{name}")).unwrap();
    let flags = libc::O_CREAT | libc::O_RDWR;
    let attributes = std::ptr::null_mut::<libc::mq_attr>();
    // SAFETY: the name ends with a zero byte, and no attributes are given.
    let queue = unsafe { libc::mq_open(path.as_ptr(), flags, 0o666, attributes) };
    assert!(0 <= queue, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is this function's own.
    assert_eq!(unsafe { libc::fchmod(queue, 0o666) + libc::close(queue) }, 0);
    name.to_owned()
}

fn as_user(command: &mut Command, user: Option<u32>) -> &mut Command {
    match user {
        Some(user) => command.uid(user).gid(user),
        None => command,
    }
}
