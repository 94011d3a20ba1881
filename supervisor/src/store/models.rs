//! Compiled models, named by what they were compiled from. Each tenant has its own: what one
//! tenant's compiler was led to make is never loaded by another.
//!
//! A file is the compiled model, its source, a description, and where the description begins. The
//! compiled model's checksum is looked at when the file is first used: the engine believes every
//! byte of it.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use simward_protocol::compile::Compile;

use super::source::{self, Kept, Outline, Packed};
use super::sync::Unsynced;
use super::{Config, Error, files};
use crate::tenants::Tenant;

const WHAT: &str = "the compiled model";

/// The last bytes of a file, after the length of its description.
const MAGIC: &[u8; 8] = b"SIMWMDL1";

/// The longest description: a hundred warnings of the compiler.
const ABOUT_BYTES_MAX: u64 = 4 << 20;

/// What a compiled model is known by: the hash of its source and of what compiled it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The key of what comes of a source.
    pub fn of(source: &Compile) -> Self {
        let mut hash = Sha256::new();
        // Lengths between the parts, so that no two sources look alike.
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(concat!("simward ", env!("CARGO_PKG_VERSION"), " MuJoCo 3.17.0").as_bytes());
        part(source.entry.as_bytes());
        part(source.model_xml.as_bytes());
        for asset in &source.assets {
            part(asset.path.as_bytes());
            part(&asset.content);
        }
        Self(hex(&hash.finalize()))
    }

    /// A key as it stands in a record, if it can be one: it becomes a file's name.
    pub fn parse(text: &str) -> Option<Self> {
        let is_key = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_key.then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// What is known of a compiled model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Its size.
    pub bytes: u64,
    /// Its checksum.
    pub crc32: u32,
    /// How many values the integration state of its data has.
    pub state_values: u64,
    /// What the compiler warned of.
    pub warnings: Vec<String>,
    /// Its source; absent from what an earlier version kept.
    #[serde(default)]
    pub source: Option<Kept>,
}

impl About {
    /// What it takes, with its source.
    fn whole_bytes(&self) -> u64 {
        self.source.map_or(0, |source| source.bytes).saturating_add(self.bytes)
    }
}

/// A compiled model that is kept at least as long as somebody holds this.
#[derive(Debug)]
pub struct Model {
    /// What it is known by.
    pub key: Key,
    /// What is known of it.
    pub about: About,
    content: Content,
    /// Whether this daemon has compared it with its checksum, or written it.
    is_sound: AtomicBool,
}

#[derive(Debug)]
enum Content {
    Disk(PathBuf),
    /// The compiled model, and its source, which no worker is ever given.
    Memory(Arc<OwnedFd>, File),
}

impl Model {
    /// The file that begins with the compiled model. Waits for the disk.
    pub fn file(&self) -> Result<Arc<OwnedFd>, Error> {
        match &self.content {
            Content::Memory(file, _) => Ok(Arc::clone(file)),
            Content::Disk(path) => {
                let mut file = open(path)?;
                if !self.is_sound.load(Ordering::Relaxed) {
                    self.check(&mut file)?;
                    self.is_sound.store(true, Ordering::Relaxed);
                }
                Ok(Arc::new(file.into()))
            }
        }
    }

    /// The source without its files' contents. Waits for the disk.
    pub fn outline(&self) -> Result<Outline, Error> {
        self.with_source(source::outline)
    }

    /// The source. Waits for the disk.
    pub fn source(&self) -> Result<Compile, Error> {
        self.with_source(source::whole)
    }

    fn with_source<T>(
        &self,
        read: impl FnOnce(&File, u64, &Kept) -> io::Result<T>,
    ) -> Result<T, Error> {
        let why = "an earlier version of the server loaded the model".to_owned();
        let kept = self.about.source.as_ref().ok_or(Error::NoSource { why })?;
        let read = match &self.content {
            Content::Memory(_, file) => read(file, 0, kept),
            Content::Disk(path) => read(&open(path)?, self.about.bytes, kept),
        };
        read.map_err(|error| Error::NoSource { why: error.to_string() })
    }

    /// Whether its file has not been removed.
    fn is_there(model: &Arc<Self>) -> bool {
        match &model.content {
            Content::Disk(path) => path.exists(),
            Content::Memory(..) => true,
        }
    }

    fn check(&self, file: &mut File) -> Result<(), Error> {
        let sum = checksum(file, self.about.bytes).map_err(Error::of(WHAT))?;
        if sum == self.about.crc32 { Ok(()) } else { Err(damaged(&"its checksum is wrong")) }
    }
}

/// What a tenant has had of its compiled models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct CacheUse {
    /// Models that were there, compiled, when they were asked for, since the server's start.
    pub hits: u64,
    /// Models that had to be compiled.
    pub misses: u64,
    /// Compiled models that are kept.
    pub models: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Bytes that they may take.
    pub bytes_max: u64,
}

/// Of how many tenants hits and misses are counted.
const COUNTED_MAX: usize = 10_000;

/// How many bytes of compiled models stay in memory beyond their last use, where there is no
/// folder.
const RECENT_BYTES_MAX: u64 = 256 << 20;

/// The compiled models of all tenants.
#[derive(Debug)]
pub struct Models {
    folder: Option<PathBuf>,
    config: Config,
    /// Those that somebody holds.
    live: Mutex<HashMap<(String, Key), Weak<Model>>>,
    /// Hits and misses.
    counts: Mutex<HashMap<Tenant, (u64, u64)>>,
    /// All of them together.
    counts_of_all: (AtomicU64, AtomicU64),
    /// Those in memory that were used last, the last one at the end. They are large: what makes room is
    /// gone at once, which caches that many threads share do not promise.
    recent: Mutex<Vec<Arc<Model>>>,
    unsynced: Arc<Unsynced>,
}

impl Models {
    pub(super) fn new(folder: Option<PathBuf>, unsynced: Arc<Unsynced>, config: Config) -> Self {
        let tenants = folder.iter().flat_map(std::fs::read_dir).flatten().flatten();
        tenants.for_each(|tenant| files::sweep(&tenant.path()));
        let (live, counts, recent) = (Mutex::default(), Mutex::default(), Mutex::default());
        let counts_of_all = Default::default();
        Self { folder, config, live, counts, counts_of_all, recent, unsynced }
    }

    /// Counts that a model was there, or was not.
    pub fn count(&self, tenant: &Tenant, is_hit: bool) {
        let (hits, misses) = &self.counts_of_all;
        (if is_hit { hits } else { misses }).fetch_add(1, Ordering::Relaxed);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if !counts.contains_key(tenant) && COUNTED_MAX <= counts.len() {
            return;
        }
        let (hits, misses) = counts.entry(tenant.clone()).or_default();
        *(if is_hit { hits } else { misses }) += 1;
    }

    /// Models of all tenants that were there, compiled, when they were asked for, and that were not.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        let (hits, misses) = &self.counts_of_all;
        (hits.load(Ordering::Relaxed), misses.load(Ordering::Relaxed))
    }

    /// What a tenant has had of its compiled models. Waits for the disk.
    pub fn usage(&self, tenant: &Tenant) -> CacheUse {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (hits, misses) = counts.get(tenant).copied().unwrap_or_default();
        drop(counts);
        let name = folder_of(tenant);
        if let Some(folder) = &self.folder {
            let there = stored(&folder.join(name));
            let bytes = there.iter().map(|(_, data)| data.len()).sum();
            let bytes_max = self.config.models_per_tenant_bytes_max;
            return CacheUse { hits, misses, models: there.len() as u64, bytes, bytes_max };
        }
        let live = self.lock();
        let own = live.iter().filter(|((of, _), _)| *of == name);
        let own: Vec<_> = own.filter_map(|(_, model)| model.upgrade()).collect();
        let bytes = own.iter().map(|model| model.about.whole_bytes()).sum();
        let (models, bytes_max) = (own.len() as u64, RECENT_BYTES_MAX);
        CacheUse { hits, misses, models, bytes, bytes_max }
    }

    /// Keeps a model in memory a while beyond its last use.
    fn keep_recent(&self, model: &Arc<Model>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|other| !Arc::ptr_eq(other, model));
        recent.push(Arc::clone(model));
        let mut sum: u64 = recent.iter().map(|model| model.about.whole_bytes()).sum();
        while RECENT_BYTES_MAX < sum {
            sum -= recent.remove(0).about.whole_bytes();
        }
    }

    /// Finds a compiled model. Waits for the disk.
    pub fn get(&self, tenant: &Tenant, key: &Key) -> Option<Arc<Model>> {
        let name = (folder_of(tenant), key.clone());
        let live = self.lock().get(&name).and_then(Weak::upgrade);
        if let Some(model) = live {
            if self.folder.is_none() {
                self.keep_recent(&model);
            }
            return Some(model);
        }
        let path = self.path(&name)?;
        let mut file = File::open(&path).ok()?;
        match about(&mut file) {
            Ok(about) => {
                // The least recently used one goes first when space is short.
                file.set_modified(SystemTime::now()).ok();
                // It may have made room for another one meanwhile.
                Some(self.remember(name, about, Content::Disk(path), false)).filter(Model::is_there)
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled model cannot be read");
                let damaged = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof];
                if damaged.contains(&error.kind()) {
                    std::fs::remove_file(path).ok();
                }
                None
            }
        }
    }

    /// Keeps a compiled model, which the file begins with, and its source. Waits for the disk.
    pub(super) fn put(
        &self,
        tenant: &Tenant,
        (key, source): (&Key, &Compile),
        file: &Arc<OwnedFd>,
        (bytes, state_values, warnings): (u64, u64, Vec<String>),
    ) -> Result<Arc<Model>, Error> {
        let name = (folder_of(tenant), key.clone());
        let packed = Packed::new(source).map_err(Error::of(WHAT))?;
        let source = Some(packed.kept);
        let copy = file.try_clone().map(File::from);
        let mut from = copy.map_err(Error::of(WHAT))?;
        let Some(path) = self.path(&name) else {
            let about = About { bytes, crc32: 0, state_values, warnings, source };
            let beside = in_memory(&packed).map_err(Error::of(WHAT))?;
            let content = Content::Memory(Arc::clone(file), beside);
            let model = self.remember(name, about, content, true);
            self.keep_recent(&model);
            return Ok(model);
        };
        self.make_room(&name.0, bytes.saturating_add(packed.kept.bytes))?;
        let crc32 = checksum(&mut from, bytes).map_err(Error::of(WHAT))?;
        let about = About { bytes, crc32, state_values, warnings, source };
        let written = from
            .seek(SeekFrom::Start(0))
            .and_then(|_| files::private_folder(path.parent().unwrap_or(&path)))
            .and_then(|()| files::replace(&path, |to| write(&mut from, &packed, to, &about)));
        self.unsynced.add(written.map_err(Error::of(WHAT))?);
        Ok(self.remember(name, about, Content::Disk(path), true))
    }

    fn remember(
        &self,
        name: (String, Key),
        about: About,
        content: Content,
        is_sound: bool,
    ) -> Arc<Model> {
        let mut live = self.lock();
        live.retain(|_, model| model.strong_count() != 0);
        // Somebody else may have been quicker.
        if let Some(model) = live.get(&name).and_then(Weak::upgrade) {
            return model;
        }
        let is_sound = AtomicBool::new(is_sound);
        let model = Arc::new(Model { key: name.1.clone(), about, content, is_sound });
        live.insert(name, Arc::downgrade(&model));
        model
    }

    /// Removes what nobody uses, the longest unused first, until there is room.
    fn make_room(&self, tenant: &str, bytes: u64) -> Result<(), Error> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let own = self.config.models_per_tenant_bytes_max;
        let mut there = stored(&folder.join(tenant));
        self.shrink(&mut there, bytes, own, "store.models_per_tenant_bytes_max")?;
        let mut all = stored_below(folder);
        self.shrink(&mut all, bytes, self.config.models_bytes_max, "store.models_bytes_max")
    }

    /// Removes every model that nobody uses; tells whether there was one.
    pub(super) fn drop_unused(&self) -> bool {
        let mut dropped = false;
        for (path, _) in self.folder.iter().flat_map(|folder| stored_below(folder)) {
            dropped |= self.remove_unless_live(&path);
        }
        dropped
    }

    fn shrink(
        &self,
        there: &mut [(PathBuf, Metadata)],
        bytes: u64,
        max: u64,
        key: &'static str,
    ) -> Result<(), Error> {
        let mut sum = bytes + there.iter().map(|(_, data)| data.len()).sum::<u64>();
        there.sort_by_key(|(_, data)| data.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        for (path, data) in there {
            if sum <= max {
                break;
            }
            if self.remove_unless_live(path) {
                sum -= data.len();
            }
        }
        if sum <= max { Ok(()) } else { Err(Error::ModelsFull { max, key }) }
    }

    /// Removes a model that nobody holds; nobody can take hold of it meanwhile.
    fn remove_unless_live(&self, path: &Path) -> bool {
        let live = self.lock();
        let mut held = live.values().filter_map(Weak::upgrade);
        let is_live = held.any(|model| matches!(&model.content, Content::Disk(of) if of == path));
        !is_live && std::fs::remove_file(path).is_ok()
    }

    fn path(&self, (tenant, key): &(String, Key)) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(tenant).join(&key.0))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Key), Weak<Model>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenant's folder. Its name says nothing, and can hold no path.
fn folder_of(tenant: &Tenant) -> String {
    let hash = Sha256::digest(tenant.to_string().as_bytes());
    hex(&hash[..16])
}

fn stored_below(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let tenants = std::fs::read_dir(folder).into_iter().flatten().flatten();
    tenants.flat_map(|tenant| stored(&tenant.path())).collect()
}

fn stored(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let finished = entries.filter(|entry| !files::is_unfinished(&entry.path()));
    finished.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?))).collect()
}

fn write(from: &mut File, source: &Packed<'_>, to: &mut File, about: &About) -> io::Result<()> {
    let copied = io::copy(&mut from.take(about.bytes), to)?;
    if copied != about.bytes {
        return Err(io::Error::other("the compiled model is shorter than it is said to be"));
    }
    source.write(to)?;
    let text = serde_json::to_vec(about)?;
    to.write_all(&text)?;
    to.write_all(&(text.len() as u64).to_le_bytes())?;
    to.write_all(MAGIC)
}

/// Reads a file's description, whatever the file is, and leaves the compiled model alone.
pub fn about(file: &mut (impl io::Read + io::Seek)) -> io::Result<About> {
    let whole = file.seek(SeekFrom::End(0))?;
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it does not end as it should");
    let tail = 16_u64;
    file.seek(SeekFrom::Start(whole.checked_sub(tail).ok_or_else(wrong)?))?;
    let mut end = [0; 16];
    file.read_exact(&mut end)?;
    let (length, magic) = end.split_at(8);
    let length = u64::from_le_bytes(length.try_into().map_err(|_short| wrong())?);
    let begin = whole.checked_sub(tail + length.min(ABOUT_BYTES_MAX)).ok_or_else(wrong)?;
    if magic != MAGIC || ABOUT_BYTES_MAX < length {
        return Err(wrong());
    }
    file.seek(SeekFrom::Start(begin))?;
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    let about: About = serde_json::from_slice(&text)?;
    if about.whole_bytes() == begin { Ok(about) } else { Err(wrong()) }
}

fn checksum(file: &mut File, bytes: u64) -> io::Result<u32> {
    file.seek(SeekFrom::Start(0))?;
    let mut sum = crc32fast::Hasher::new();
    let mut chunk = vec![0; 256 << 10];
    let mut from = file.take(bytes);
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            return Ok(sum.finalize());
        }
        sum.update(&chunk[..count]);
    }
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(&error),
        _ => Error::of(WHAT)(error),
    })
}

fn in_memory(source: &Packed<'_>) -> io::Result<File> {
    let mut file = File::from(memfd_create("simward-source", MemfdFlags::CLOEXEC)?);
    source.write(&mut file)?;
    Ok(file)
}

fn damaged(problem: &dyn fmt::Display) -> Error {
    Error::Damaged { what: WHAT.to_owned(), problem: problem.to_string() }
}
