//! What a daemon holds: looked at before and after, to see whether anything stays behind.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, iter};

use procfs::process::Process;
use serde_json::json;
use simward_tests::daemon::children;

use crate::process;
use crate::server::Server;

/// How long what was given back may take to be gone: ports rest, and threads wait for more work.
const SETTLE: Duration = Duration::from_secs(40);

/// How often it is looked meanwhile.
const LOOK: Duration = Duration::from_millis(250);

/// What a daemon holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Census {
    pub(crate) descriptors: i64,
    pub(crate) threads: i64,
    /// Children, zombies included.
    pub(crate) processes: i64,
    pub(crate) zombies: i64,
    /// Those that rest included.
    pub(crate) ports: i64,
    pub(crate) sessions: i64,
    /// In the state folder.
    pub(crate) files: i64,
    pub(crate) rss_mb: f64,
}

impl Census {
    pub(crate) fn look(server: &Server) -> Self {
        let process = Process::new(server.pid()).unwrap();
        let children = children(server.pid());
        let is_zombie = |pid: &&i32| {
            let stat = Process::new(**pid).and_then(|process| process.stat());
            stat.is_ok_and(|stat| stat.state == 'Z')
        };
        let stats = server.client().tool("get_process_pool_stats", json!({})).unwrap();
        let number = |name: &str| stats[name].as_i64().unwrap();
        Self {
            descriptors: count(process.fd_count().unwrap()),
            threads: process.stat().unwrap().num_threads,
            processes: count(children.len()),
            zombies: count(children.iter().filter(is_zombie).count()),
            ports: number("ports_used") + number("ports_resting"),
            sessions: number("sessions"),
            files: count(files(server.state()).count()),
            rss_mb: process::memory(server.pid()).rss_mb,
        }
    }

    /// Waits until a daemon holds no more than it did, or for as long as that may take.
    pub(crate) fn settled(server: &Server, before: Option<Self>) -> Self {
        let begun = Instant::now();
        loop {
            let now = Self::look(server);
            if now.is_no_more_than(before) || SETTLE < begun.elapsed() {
                return now;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn is_no_more_than(self, before: Option<Self>) -> bool {
        let rested = self.processes == 0 && self.ports == 0 && self.sessions == 0;
        rested
            && before.is_none_or(|before| {
                self.descriptors <= before.descriptors
                    && self.threads <= before.threads
                    && self.files <= before.files
            })
    }
}

/// What a folder's files take on the disk, in bytes.
pub(crate) fn disk_bytes(folder: &Path) -> f64 {
    let blocks = files(folder).map(|(_, blocks)| blocks).sum::<u64>();
    f64::from(u32::try_from(blocks).unwrap()) * 512.0
}

/// Every file and folder below one, with its blocks on the disk; what vanishes meanwhile is left
/// out.
fn files(folder: &Path) -> impl Iterator<Item = (fs::DirEntry, u64)> {
    let mut folders = vec![folder.to_owned()];
    let mut entries = Vec::new();
    iter::from_fn(move || {
        loop {
            if let Some(entry) = entries.pop() {
                return Some(entry);
            }
            let found = fs::read_dir(folders.pop()?);
            for entry in found.into_iter().flatten().flatten() {
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    folders.push(entry.path());
                }
                entries.push((entry, metadata.blocks()));
            }
        }
    })
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap()
}
