//! Models that lie in files of this machine: below folders that the operator names, and nowhere
//! else.
//!
//! The supervisor opens the files, looks at which other files they name, and sends all of it to the
//! compile process, which itself opens none. So what is not below a root is not there, whatever a
//! model says: the kernel resolves every path beneath the root's descriptor.
//!
//! Everything here waits for files. Tasks call it through [`Sources::run`].

mod collect;
mod error;
pub mod menagerie;
mod remembered;
mod root;
mod scan;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::collect::Collected;
pub use self::error::Error;
use self::remembered::Remembered;
pub use self::remembered::Stamps;
use self::root::Root;
use crate::pool::turns::{Bounds, Names, Turn, Turns};
use crate::store::Key;
use crate::tenants::Tenant;

/// Where models may lie, and how large they may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folders below which `load_model` finds what `model_path` names. What is there, every client
    /// may load, and so look at.
    pub roots: Vec<PathBuf>,
    /// A folder with models in the layout of MuJoCo Menagerie; empty means none.
    pub menagerie_dir: PathBuf,
    /// What the files of one model may take together, in bytes.
    pub bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { roots: Vec::new(), menagerie_dir: PathBuf::new(), bytes_max: 120 << 20 }
    }
}

/// The most that a model's files may take, whatever the configuration says: they travel to the
/// compile process in one frame.
pub const BYTES_MAX: u64 = 120 << 20;

/// How many models' files are read at a time: each may take [`Config::bytes_max`] of memory.
const READERS_MAX: usize = 2;

/// How many may wait for that, and how many of one tenant's.
const WAITING_MAX: usize = 64;
const WAITING_PER_TENANT_MAX: usize = 16;

/// How long they may wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest path that is looked at, and the longest that is repeated.
const PATH_BYTES_MAX: usize = 4096;

/// A cheap handle to the models in files.
#[derive(Clone, Debug)]
pub struct Sources {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    turns: Turns,
    remembered: Remembered,
}

/// A model's main file, below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The root.
    pub root: PathBuf,
    /// The path below it.
    pub path: String,
    /// Whether it is only put over a floor, and has no scene of its own.
    pub on_floor: bool,
}

impl Sources {
    /// Sources with those roots.
    pub fn new(config: Config) -> Self {
        let bounds = Bounds {
            concurrent_max: READERS_MAX,
            waiting_max: WAITING_MAX,
            waiting_per_tenant_max: WAITING_PER_TENANT_MAX,
            patience: PATIENCE,
        };
        let names = Names {
            what: "models to be read",
            waiting_max: "64",
            waiting_per_tenant_max: "16",
            patience: "10 s",
        };
        let turns = Turns::new(bounds, names);
        Self { inner: Arc::new(Inner { config, turns, remembered: Remembered::default() }) }
    }

    /// Where models may lie.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Waits until a model may be read into memory.
    pub(crate) async fn turn(&self, tenant: &Tenant) -> Result<Turn, Error> {
        Ok(self.inner.turns.enter(tenant).await?)
    }

    /// Does something that waits for files, apart from the tasks.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let sources = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&sources)).await;
        done.unwrap_or_else(|panic| Err(Error::Io(std::io::Error::other(panic.to_string()))))
    }

    /// The model at a path: relative to one of the roots, or whole and below one of them.
    pub fn at(&self, path: &str) -> Result<Place, Error> {
        let roots = &self.inner.config.roots;
        if roots.is_empty() {
            return Err(Error::NoRoots);
        }
        if PATH_BYTES_MAX < path.len() {
            return Err(Error::Path { path: path.to_owned(), problem: "is too long" });
        }
        check_is_model(path)?;
        let below = below(path)?;
        if Path::new(path).is_absolute() {
            let mut beneath = roots.iter().filter_map(|root| {
                let rest = Path::new(path).strip_prefix(root).ok()?.to_str()?;
                Some(Place { root: root.clone(), path: rest.to_owned(), on_floor: false })
            });
            return beneath
                .next()
                .ok_or_else(|| Error::Path { path: path.to_owned(), problem: "is below no root" });
        }
        for root in roots {
            if Root::open(root)?.look(&below)?.is_some() {
                return Ok(Place { root: root.clone(), path: below, on_floor: false });
            }
        }
        Err(Error::Missing { path: path.to_owned() })
    }

    /// Reads a model and every file that it names.
    pub fn collect(&self, place: &Place) -> Result<Collected, Error> {
        let bytes_max = self.inner.config.bytes_max.min(BYTES_MAX);
        collect::collect(&Root::open(&place.root)?, place, bytes_max)
    }

    /// The key of what was compiled of a model before, if none of its files has changed since.
    pub fn key_of(&self, place: &Place) -> Result<Option<Key>, Error> {
        Ok(self.inner.remembered.key_of(&Root::open(&place.root)?, place))
    }

    /// Remembers the key of a model that was read.
    pub fn remember(&self, place: &Place, stamps: Stamps, key: Key) {
        self.inner.remembered.keep(place, stamps, key);
    }
}

/// What the engine reads as a model.
const ENDINGS: [&str; 3] = [".xml", ".mjcf", ".urdf"];

fn check_is_model(path: &str) -> Result<(), Error> {
    let lower = path.to_ascii_lowercase();
    if ENDINGS.iter().any(|ending| lower.ends_with(ending)) {
        return Ok(());
    }
    let problem = "does not end in `.xml`, `.mjcf` or `.urdf`";
    Err(Error::Path { path: path.to_owned(), problem })
}

/// A path without `.` and `//`; one with `..` or NUL is refused, before anybody resolves it.
fn below(path: &str) -> Result<String, Error> {
    let wrong = |problem| Error::Path { path: path.to_owned(), problem };
    if path.contains('\0') {
        return Err(wrong("contains a NUL character"));
    }
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => return Err(wrong("contains `..`")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => (),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests;
