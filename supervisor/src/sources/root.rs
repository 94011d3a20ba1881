//! A folder below which files are opened, and nowhere else.
//!
//! The kernel resolves every path beneath the folder's descriptor (`openat2`): `..` and symbolic
//! links that lead out of it, absolute ones, and the magic links of `/proc` are refused, whatever
//! somebody renames meanwhile. Only regular files are opened: a FIFO would make us wait for ever,
//! and opening a device can do things.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2};
use rustix::io::Errno;

use super::Error;

/// A root's descriptor.
#[derive(Debug)]
pub(super) struct Root {
    folder: OwnedFd,
}

/// What a file looked like when it was read. Another one of the same stamp has the same content, if
/// nobody works at deceiving us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: i64,
    modified: (i64, i64),
    /// Of this nobody but the kernel decides.
    pub(super) changed: (i64, i64),
}

/// How often a path is resolved again because somebody renamed a folder of it meanwhile.
const RACES_MAX: u32 = 8;

impl Root {
    /// Opens a root. The operator's word is trusted, symbolic links included.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, folder, flags, Mode::empty()).map_err(io)?;
        Ok(Self { folder })
    }

    /// Looks whether there is a regular file, without opening it.
    pub(super) fn look(&self, path: &str) -> Result<Option<Stamp>, Error> {
        let Some(place) = self.resolve(path, OFlags::PATH)? else { return Ok(None) };
        regular(path, &fstat(&place).map_err(io)?).map(Some)
    }

    /// Reads a regular file of at most so many bytes.
    pub(super) fn read(
        &self,
        path: &str,
        bytes_max: u64,
    ) -> Result<Option<(Vec<u8>, Stamp)>, Error> {
        let Some(seen) = self.look(path)? else { return Ok(None) };
        if bytes_max < u64::try_from(seen.bytes).unwrap_or(0) {
            return Err(too_large(bytes_max));
        }
        // Were it a FIFO by now, this would not wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Some(file) = self.resolve(path, flags)? else { return Ok(None) };
        let stamp = regular(path, &fstat(&file).map_err(io)?)?;
        let mut content = Vec::new();
        let mut file = File::from(file).take(bytes_max + 1);
        file.read_to_end(&mut content).map_err(Error::Io)?;
        if bytes_max < content.len() as u64 {
            return Err(too_large(bytes_max));
        }
        Ok(Some((content, stamp)))
    }

    /// A folder below this one, as a root of its own.
    pub(super) fn below(&self, path: &str) -> Result<Option<Self>, Error> {
        let folder = self.resolve(path, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(folder.map(|folder| Self { folder }))
    }

    /// What the folder holds, as far as names are text and there are no more than so many.
    pub(super) fn names(&self, names_max: usize) -> Result<Vec<String>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.folder, ".", flags, Mode::empty()).map_err(io)?;
        let entries = rustix::fs::Dir::new(folder).map_err(io)?;
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        let names = names.filter(|name| !name.starts_with('.'));
        let mut names: Vec<_> = names.take(names_max).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Opens what is at a path beneath the root, if anything is.
    fn resolve(&self, path: &str, flags: OFlags) -> Result<Option<OwnedFd>, Error> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let wrong = |problem| Err(Error::Path { path: path.to_owned(), problem });
        for _ in 0..RACES_MAX {
            match openat2(&self.folder, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
                Ok(file) => return Ok(Some(file)),
                Err(Errno::AGAIN) => (),
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(Errno::XDEV) => return wrong("leads out of the server's root"),
                Err(Errno::LOOP) => return wrong("leads through links that are not followed"),
                Err(Errno::ACCESS | Errno::PERM) => return wrong("may not be read by the server"),
                Err(Errno::NAMETOOLONG | Errno::INVAL) => return wrong("cannot be one"),
                Err(Errno::NOSYS) => return Err(Error::Kernel),
                Err(error) => return Err(io(error)),
            }
        }
        Err(io(Errno::AGAIN))
    }
}

fn regular(path: &str, stat: &Stat) -> Result<Stamp, Error> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::Path { path: path.to_owned(), problem: "is no regular file" });
    }
    let nanos = |nanos| i64::try_from(nanos).unwrap_or(0);
    Ok(Stamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        bytes: stat.st_size,
        modified: (stat.st_mtime, nanos(stat.st_mtime_nsec)),
        changed: (stat.st_ctime, nanos(stat.st_ctime_nsec)),
    })
}

fn too_large(max: u64) -> Error {
    Error::TooMuch { what: "bytes of a model's files (models.bytes_max)", max }
}

fn io(error: Errno) -> Error {
    Error::Io(error.into())
}
