//! Files that clients send ahead, for models whose files do not fit into a request.
//!
//! An upload has no name in any folder: it is a file that only this process can reach, and is gone
//! with it. It belongs to a tenant, and lasts for a while.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};
use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::handle;
use crate::tenants::Tenant;

/// How much may be sent ahead, and for how long it stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The longest file, in bytes.
    pub bytes_max: u64,
    /// All files of one tenant, in bytes.
    pub per_tenant_bytes_max: u64,
    /// All files, in bytes.
    pub all_bytes_max: u64,
    /// How many files one tenant may have.
    pub per_tenant_max: usize,
    /// How many there may be of all.
    pub all_max: usize,
    /// How long a file stays, in seconds.
    pub keep_secs: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bytes_max: 120 << 20,
            per_tenant_bytes_max: 512 << 20,
            all_bytes_max: 4 << 30,
            per_tenant_max: 256,
            all_max: 2048,
            keep_secs: 3600.0,
        }
    }
}

/// What every handle begins with. No base64 does.
pub const PREFIX: &str = "asset_";

/// A cheap handle to all uploads.
#[derive(Clone, Debug)]
pub struct Uploads {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    /// Where files lie; in memory without it.
    folder: Option<PathBuf>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    uploads: BTreeMap<String, Upload>,
    /// What is on its way to each tenant.
    arriving: BTreeMap<Tenant, OnTheirWay>,
}

/// Files that are on their way, and what they have taken so far.
#[derive(Clone, Copy, Debug, Default)]
struct OnTheirWay {
    files: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Upload {
    tenant: Tenant,
    file: Arc<File>,
    bytes: u64,
    at: Instant,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Uploaded {
    /// Its handle.
    pub asset: String,
    /// Its length.
    pub bytes: u64,
    /// How long it stays, in seconds.
    pub kept_secs: f64,
}

/// A file that is not taken, or is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is too long.
    #[error("a file may have {max} bytes (uploads.bytes_max)")]
    TooLong {
        /// The limit.
        max: u64,
    },
    /// There is no room for more.
    #[error("{what} may have {max} bytes ({key}) at a time")]
    Full {
        /// Whose.
        what: &'static str,
        /// The limit.
        max: u64,
        /// Its key.
        key: &'static str,
        /// When the oldest one is gone.
        retry_after: Duration,
    },
    /// There are too many.
    #[error("{what} may be {max} ({key}) at a time")]
    Many {
        /// Whose.
        what: &'static str,
        /// Its key.
        key: &'static str,
        /// The limit.
        max: usize,
        /// When the oldest one is gone.
        retry_after: Duration,
    },
    /// The caller has no such file. The same for what never was, is not kept any more, and is
    /// somebody else's.
    #[error("there is no uploaded file `{0}`, or it is not kept any more")]
    Unknown(String),
    /// There is nothing in it.
    #[error("an empty file is of no use")]
    Empty,
    /// Several are too long together.
    #[error("the files of one model may have {} bytes together", crate::sources::BYTES_MAX)]
    Together,
    /// The system does not take it, or does not give it back.
    #[error("the file could not be kept")]
    Io(#[from] io::Error),
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } | Self::Full { .. } | Self::Many { .. } | Self::Together => {
                "limit_exceeded"
            }
            Self::Empty => "invalid_argument",
            Self::Unknown(_) => "asset_unknown",
            Self::Io(_) => "store_unavailable",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some("upload it again, with POST /assets".to_owned()),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { retry_after, .. } | Self::Many { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

impl Uploads {
    /// No uploads yet; files will lie in `folder`, or in memory.
    pub fn new(config: Config, folder: Option<PathBuf>) -> Self {
        let inner = Inner { config, folder, table: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// How much may be sent ahead.
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// How many files a tenant has, those on their way included, and what they take, in bytes.
    pub fn used(&self, tenant: &Tenant) -> (usize, u64) {
        let table = self.table();
        let arriving = table.arriving(tenant);
        let bytes: u64 = table.of(tenant).map(|upload| upload.bytes).sum();
        (table.of(tenant).count() + arriving.files, bytes + arriving.bytes)
    }

    /// A file begins to arrive.
    pub fn begin(&self, tenant: &Tenant, announced: Option<u64>) -> Result<Arriving, Error> {
        let max = self.inner.config.bytes_max;
        if announced.is_some_and(|bytes| max < bytes) {
            return Err(Error::TooLong { max });
        }
        let mut table = self.table();
        let count = table.of(tenant).count() + table.arriving(tenant).files;
        let on_their_way: usize = table.arriving.values().map(|arriving| arriving.files).sum();
        let config = &self.inner.config;
        for (what, count, max, key, of) in [
            (
                "a tenant's files",
                count,
                config.per_tenant_max,
                "uploads.per_tenant_max",
                Some(tenant),
            ),
            (
                "all files",
                table.uploads.len() + on_their_way,
                config.all_max,
                "uploads.all_max",
                None,
            ),
        ] {
            if max <= count {
                let retry_after = table.oldest(of, self.keep());
                return Err(Error::Many { what, max, key, retry_after });
            }
        }
        let file = Arc::new(self.inner.make().map_err(io::Error::from)?);
        table.arriving.entry(tenant.clone()).or_default().files += 1;
        Ok(Arriving {
            uploads: self.clone(),
            tenant: tenant.clone(),
            file,
            bytes: 0,
            is_whole: false,
        })
    }

    /// A tenant's file, whole, if it is no longer than `bytes_left`, which it takes.
    pub fn read(
        &self,
        tenant: &Tenant,
        asset: &str,
        bytes_left: &mut u64,
    ) -> Result<Vec<u8>, Error> {
        let unknown = || Error::Unknown(asset.chars().take(80).collect());
        let (file, bytes) = {
            let table = self.table();
            let upload = table.uploads.get(asset).filter(|upload| upload.tenant == *tenant);
            let upload = upload.ok_or_else(unknown)?;
            (Arc::clone(&upload.file), upload.bytes)
        };
        *bytes_left = bytes_left.checked_sub(bytes).ok_or(Error::Together)?;
        let mut content = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    fn keep(&self) -> Duration {
        Duration::from_secs_f64(self.inner.config.keep_secs)
    }

    /// The table, without what is not kept any more.
    fn table(&self) -> MutexGuard<'_, Table> {
        let keep = self.keep();
        let mut table = self.inner.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.uploads.retain(|_, upload| upload.at.elapsed() < keep);
        table
    }
}

impl Inner {
    fn make(&self) -> rustix::io::Result<File> {
        if let Some(folder) = &self.folder {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            match open(folder, flags, Mode::RUSR | Mode::WUSR) {
                // Not every kind of file system has files without names.
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => (),
                made => return made.map(File::from),
            }
        }
        memfd_create("simward-asset", MemfdFlags::CLOEXEC).map(File::from)
    }
}

impl Table {
    fn of(&self, tenant: &Tenant) -> impl Iterator<Item = &Upload> {
        self.uploads.values().filter(move |upload| upload.tenant == *tenant)
    }

    fn arriving(&self, tenant: &Tenant) -> OnTheirWay {
        self.arriving.get(tenant).copied().unwrap_or_default()
    }

    /// One of a tenant's files is not on its way any more.
    fn arrived(&mut self, tenant: &Tenant, bytes: u64) {
        if let Some(arriving) = self.arriving.get_mut(tenant) {
            arriving.files = arriving.files.saturating_sub(1);
            arriving.bytes = arriving.bytes.saturating_sub(bytes);
            if arriving.files == 0 {
                self.arriving.remove(tenant);
            }
        }
    }

    /// When the oldest one is gone, of one tenant or of all.
    fn oldest(&self, tenant: Option<&Tenant>, keep: Duration) -> Duration {
        let counts = |upload: &&Upload| tenant.is_none_or(|tenant| upload.tenant == *tenant);
        let ages = self.uploads.values().filter(counts).map(|upload| upload.at.elapsed());
        keep.saturating_sub(ages.max().unwrap_or(keep)).max(Duration::from_secs(1))
    }
}

/// A file on its way. What has come of it is gone if it is dropped before it is whole.
#[derive(Debug)]
pub struct Arriving {
    uploads: Uploads,
    tenant: Tenant,
    file: Arc<File>,
    bytes: u64,
    is_whole: bool,
}

impl Arriving {
    /// More of it, if there is room.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        let config = &self.uploads.inner.config;
        let more = piece.len() as u64;
        if config.bytes_max < self.bytes + more {
            return Err(Error::TooLong { max: config.bytes_max });
        }
        let mut table = self.uploads.table();
        let arriving = table.arriving(&self.tenant).bytes;
        let own: u64 = table.of(&self.tenant).map(|upload| upload.bytes).sum::<u64>() + arriving;
        let all: u64 = table.uploads.values().map(|upload| upload.bytes).sum::<u64>()
            + table.arriving.values().map(|arriving| arriving.bytes).sum::<u64>();
        for (what, taken, max, key, tenant) in [
            (
                "a tenant's files",
                own,
                config.per_tenant_bytes_max,
                "uploads.per_tenant_bytes_max",
                Some(&self.tenant),
            ),
            ("all files", all, config.all_bytes_max, "uploads.all_bytes_max", None),
        ] {
            if max < taken + more {
                let retry_after = table.oldest(tenant, self.uploads.keep());
                return Err(Error::Full { what, max, key, retry_after });
            }
        }
        table.arriving.entry(self.tenant.clone()).or_default().bytes += more;
        drop(table);
        let begin = self.bytes;
        self.bytes += more;
        self.file.write_all_at(piece, begin)?;
        Ok(())
    }

    /// It is whole.
    pub fn finish(mut self) -> Result<Uploaded, Error> {
        // It would take a descriptor.
        if self.bytes == 0 {
            return Err(Error::Empty);
        }
        let asset = handle::new(PREFIX);
        let upload = Upload {
            tenant: self.tenant.clone(),
            file: Arc::clone(&self.file),
            bytes: self.bytes,
            at: Instant::now(),
        };
        let kept_secs = self.uploads.inner.config.keep_secs;
        let bytes = self.bytes;
        // At once, so that nobody sees it twice.
        let mut table = self.uploads.table();
        table.uploads.insert(asset.clone(), upload);
        table.arrived(&self.tenant, bytes);
        drop(table);
        self.is_whole = true;
        Ok(Uploaded { asset, bytes, kept_secs })
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.is_whole {
            self.uploads.table().arrived(&self.tenant, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(config: Config) -> Uploads {
        Uploads::new(config, None)
    }

    fn upload(uploads: &Uploads, tenant: &Tenant, content: &[u8]) -> Result<String, Error> {
        let mut arriving = uploads.begin(tenant, None)?;
        for piece in content.chunks(3) {
            arriving.write(piece)?;
        }
        Ok(arriving.finish()?.asset)
    }

    #[test]
    fn what_was_sent_is_read_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::new(Config::default(), Some(folder.path().to_owned()));
        let (one, other) = (Tenant::named("one"), Tenant::named("other"));
        let asset = upload(&uploads, &one, b"solid ball").unwrap();
        assert_eq!(uploads.read(&one, &asset, &mut 1000).unwrap(), b"solid ball");
        let refused = uploads.read(&other, &asset, &mut 1000).unwrap_err();
        assert_eq!(refused.code(), "asset_unknown");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
    }

    #[test]
    fn there_is_room_for_so_much_and_no_more() {
        let config = Config { bytes_max: 10, per_tenant_bytes_max: 15, ..Config::default() };
        let uploads = uploads(config);
        let (one, other) = (Tenant::named("one"), Tenant::named("other"));
        assert!(matches!(uploads.begin(&one, Some(11)), Err(Error::TooLong { max: 10 })));
        assert!(matches!(upload(&uploads, &one, &[0; 11]), Err(Error::TooLong { .. })));
        upload(&uploads, &one, &[0; 10]).unwrap();
        let refused = upload(&uploads, &one, &[0; 6]).unwrap_err();
        assert!(matches!(refused, Error::Full { .. }) && refused.retry_after().is_some());
        // What was refused halfway takes nothing.
        upload(&uploads, &one, &[0; 5]).unwrap();
        upload(&uploads, &other, &[0; 10]).unwrap();
    }

    #[test]
    fn there_are_so_many_files_of_all_and_none_is_empty() {
        let uploads = uploads(Config { all_max: 2, ..Config::default() });
        let of = |name: &str| Tenant::named(name);
        assert!(matches!(upload(&uploads, &of("one"), b""), Err(Error::Empty)));
        upload(&uploads, &of("one"), b"1").unwrap();
        let arriving = uploads.begin(&of("two"), None).unwrap();
        let refused = upload(&uploads, &of("three"), b"3").unwrap_err();
        assert!(refused.to_string().contains("uploads.all_max"), "{refused}");
        drop(arriving);
        upload(&uploads, &of("three"), b"3").unwrap();
    }

    #[test]
    fn what_is_kept_long_enough_makes_room() {
        let config = Config { per_tenant_max: 1, keep_secs: 0.0, ..Config::default() };
        let uploads = uploads(config);
        let tenant = Tenant::named("one");
        let asset = upload(&uploads, &tenant, b"old").unwrap();
        assert!(matches!(uploads.read(&tenant, &asset, &mut 1000), Err(Error::Unknown(_))));
        upload(&uploads, &tenant, b"new").unwrap();
        let full = Uploads::new(Config { per_tenant_max: 1, ..Config::default() }, None);
        let mut arriving = full.begin(&tenant, None).unwrap();
        assert!(matches!(full.begin(&tenant, None), Err(Error::Many { .. })));
        arriving.write(b"one").unwrap();
        arriving.finish().unwrap();
        assert!(matches!(full.begin(&tenant, None), Err(Error::Many { .. })));
    }
}
