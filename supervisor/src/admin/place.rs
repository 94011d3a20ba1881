//! Where a daemon's sockets are.
//!
//! A daemon that serves HTTP has its state folder to itself. Daemons on standard input come and
//! go, several at a time, so each has a socket named by its process id beside it.

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};

/// A daemon's place in the state folder.
#[derive(Debug)]
pub struct Place {
    socket: PathBuf,
    /// Held for as long as the daemon lives.
    _lock: Option<File>,
}

const SOCKET: &str = "admin.sock";
const STDIO_FOLDER: &str = "stdio";

/// The longest path of a socket on Linux, without the NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Place {
    /// Takes the state folder for a daemon that serves HTTP. There can be one.
    pub fn take(state_dir: &Path) -> anyhow::Result<Self> {
        private_folder(state_dir)?;
        let path = state_dir.join("lock");
        let lock = File::create(&path)
            .with_context(|| format!("could not write to the state folder {}", path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another daemon uses the state folder {}: stop it, or choose another folder with \
                 --state-dir",
                state_dir.display()
            );
        }
        let socket = socket_path(state_dir.join(SOCKET))?;
        // Left by a daemon that was killed: the lock says that nobody has it.
        std::fs::remove_file(&socket).ok();
        Ok(Self { socket, _lock: Some(lock) })
    }

    /// Takes a place for a daemon on standard input.
    pub fn join(state_dir: &Path) -> anyhow::Result<Self> {
        let folder = state_dir.join(STDIO_FOLDER);
        private_folder(state_dir)?;
        private_folder(&folder)?;
        for (pid, socket) in stdio_sockets(state_dir) {
            if !is_alive(pid) {
                std::fs::remove_file(socket).ok();
            }
        }
        let socket = socket_path(folder.join(format!("{}.sock", std::process::id())))?;
        std::fs::remove_file(&socket).ok();
        Ok(Self { socket, _lock: None })
    }

    /// The administration socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// The socket of the daemon that uses a state folder: of the one that serves HTTP, or of the only
/// one on standard input.
pub fn find(state_dir: &Path) -> anyhow::Result<PathBuf> {
    let socket = state_dir.join(SOCKET);
    if socket.exists() {
        return Ok(socket);
    }
    let mut living: Vec<_> =
        stdio_sockets(state_dir).into_iter().filter(|(pid, _)| is_alive(*pid)).collect();
    match (living.pop(), living.is_empty()) {
        (Some((_, socket)), true) => Ok(socket),
        (Some(_), false) => bail!(
            "several daemons run on standard input; choose one with --socket out of {}",
            state_dir.join(STDIO_FOLDER).display()
        ),
        (None, _) => bail!(
            "no daemon uses the state folder {}: is `simward serve` running, with the same \
             --state-dir?",
            state_dir.display()
        ),
    }
}

/// The state folder where none is configured.
pub fn default_state_dir() -> PathBuf {
    let of =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // The service manager's choice, then the user's, then the usual one.
    of("STATE_DIRECTORY")
        .or_else(|| of("XDG_STATE_HOME").map(|folder| folder.join("simward")))
        .or_else(|| of("HOME").map(|home| home.join(".local/state/simward")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/simward"))
}

fn private_folder(path: &Path) -> anyhow::Result<()> {
    let create = || {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // It may have been there before, and open to others.
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
    };
    create().with_context(|| {
        format!("the state folder {} cannot be used: choose one with --state-dir", path.display())
    })
}

fn socket_path(path: PathBuf) -> anyhow::Result<PathBuf> {
    let length = path.as_os_str().len();
    if SOCKET_PATH_BYTES_MAX < length {
        bail!(
            "the path {} is too long for a socket ({length} bytes, at most \
             {SOCKET_PATH_BYTES_MAX}): choose a shorter --state-dir",
            path.display()
        );
    }
    Ok(path)
}

fn stdio_sockets(state_dir: &Path) -> Vec<(i32, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(state_dir.join(STDIO_FOLDER)) else { return Vec::new() };
    let socket = |entry: std::fs::DirEntry| {
        let path = entry.path();
        let pid = path.file_stem()?.to_str()?.parse().ok()?;
        Some((pid, path))
    };
    entries.flatten().filter_map(socket).collect()
}

fn is_alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid)
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}
