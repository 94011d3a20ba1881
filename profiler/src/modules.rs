//! Whose code is where in a process, and how its stacks are unwound.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use framehop::{ExplicitModuleSectionInfo, Module as UnwindModule, Unwinder as _};
use object::read::ReadCache;
use object::{Object as _, ObjectSection as _, ObjectSegment as _, SegmentFlags};
use procfs::process::{MMPermissions, MMapPath, MemoryMap, Process};
use rustix::fs::{FileType, Mode, OFlags, fstat, major, minor, open};

use crate::registers::Unwinder;

/// Files with code that are looked at in one process.
const MODULES_MAX: usize = 512;

/// The longest unwinding table of one file.
const TABLE_BYTES_MAX: u64 = 64 << 20;

/// The files whose code a process runs.
#[derive(Default)]
pub(crate) struct Modules {
    list: Vec<Module>,
    known: HashMap<(Origin, u64), usize>,
    unwinder: Unwinder,
}

/// A file with code.
#[derive(Debug)]
pub(crate) struct Module {
    /// The file itself; absent if what its path means now is another one.
    file: Option<File>,
    /// The last part of its path.
    pub(crate) name: String,
    /// Where it is in the process.
    range: Range<u64>,
    /// What is to be taken off an address, to have it as the file has it.
    bias: u64,
}

/// An address, as the file has it that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In that module, there.
    In(u32, u64),
    /// In none: code that was made in memory, or the kernel's own page.
    Nowhere(u64),
}

/// Which file it is: the device, and the number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Origin {
    device: (u32, u32),
    inode: u64,
}

impl Module {
    /// Where it can be read, while this is here: the same file, whatever its path means by now.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|file| own_path(file.as_fd()))
    }
}

impl Modules {
    pub(crate) fn unwinder(&self) -> &Unwinder {
        &self.unwinder
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Module> {
        self.list.get(number as usize)
    }

    pub(crate) fn place(&self, address: u64) -> Place {
        let found = self.list.iter().position(|module| module.range.contains(&address));
        let number = found.and_then(|found| u32::try_from(found).ok());
        match (number, found.map(|found| &self.list[found])) {
            (Some(number), Some(module)) => Place::In(number, address.wrapping_sub(module.bias)),
            _ => Place::Nowhere(address),
        }
    }

    /// Reads what a process has mapped, and takes up what is new.
    pub(crate) fn look(&mut self, process: &Process) -> io::Result<()> {
        let maps = process.maps().map_err(into_io)?;
        let has_code = |map: &&MemoryMap| map.perms.contains(MMPermissions::EXECUTE);
        for map in maps.iter().filter(has_code) {
            let MMapPath::Path(path) = &map.pathname else { continue };
            let origin = Origin::of(map);
            let key = (origin, map.address.0.wrapping_sub(map.offset));
            if let Some(number) = self.known.get(&key) {
                let range = &mut self.list[*number].range;
                range.end = range.end.max(map.address.1);
                continue;
            }
            if MODULES_MAX <= self.list.len() {
                return Ok(());
            }
            self.known.insert(key, self.list.len());
            let module = self.take_up(path, map, process);
            self.list.push(module);
        }
        Ok(())
    }

    fn take_up(&mut self, path: &Path, map: &MemoryMap, process: &Process) -> Module {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let range = map.address.0..map.address.1;
        // Without the file an address is told as far into what is mapped.
        let bias = map.address.0.wrapping_sub(map.offset);
        let without = Module { file: None, name: name.clone(), range: range.clone(), bias };
        let Some(file) = file_of(process, path, Origin::of(map)) else { return without };
        let cache = ReadCache::new(&file);
        let Ok(object) = object::File::parse(&cache) else { return without };
        let offset = map.offset;
        // What is mapped begins with a page, in which the segment before may end.
        let loaded = object.segments().find(|segment| {
            let (begin, size) = segment.file_range();
            let has_code = matches!(
                segment.flags(),
                SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0
            );
            has_code && offset < begin.saturating_add(size)
        });
        let Some(loaded) = loaded else { return without };
        let begin = loaded.file_range().0;
        let there = loaded.address().wrapping_add(offset).wrapping_sub(begin);
        let bias = range.start.wrapping_sub(there);
        let first = object.segments().next().map_or(0, |segment| segment.address());
        let base = first.wrapping_add(bias);
        let sections = sections(&object, first);
        self.unwinder.add_module(UnwindModule::new(name.clone(), range.clone(), base, sections));
        Module { file: Some(file), name, range, bias }
    }
}

/// The file behind a mapping, if it is still what its path means: where the process is, or here if
/// nobody may look there.
///
/// Whatever else a path means is not opened: opening a queue waits, and a device may do anything.
fn file_of(process: &Process, path: &Path, origin: Origin) -> Option<File> {
    let inside = path.strip_prefix("/").ok()?;
    let there = Path::new("/proc").join(process.pid.to_string()).join("root").join(inside);
    [there.as_path(), path].into_iter().find_map(|path| {
        let found = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let is_it = is_it(process, &found, origin);
        is_it.then(|| File::open(own_path(found.as_fd())).ok())?
    })
}

/// The path of a descriptor of ours.
fn own_path(file: BorrowedFd<'_>) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

impl Origin {
    fn of(map: &MemoryMap) -> Self {
        let part = |part: i32| u32::try_from(part).unwrap_or(u32::MAX);
        Self { device: (part(map.dev.0), part(map.dev.1)), inode: map.inode }
    }
}

/// Whether an open file is the one of a mapping.
fn is_it(process: &Process, file: &OwnedFd, origin: Origin) -> bool {
    let Ok(about) = fstat(file) else { return false };
    if !FileType::from_raw_mode(about.st_mode).is_file() || about.st_ino != origin.inode {
        return false;
    }
    if (major(about.st_dev), minor(about.st_dev)) == origin.device {
        return true;
    }
    // A file system with several trees, as btrfs, gives files other devices than mappings have,
    // which have the mount's. What an overlay is made of may be on any device.
    let Some(mount) = mount_of(file) else { return false };
    let own = Process::myself().and_then(|own| own.mountinfo());
    let mut mounts = [process.mountinfo(), own].into_iter().flatten().flat_map(|all| all.0);
    let (major, minor) = origin.device;
    let device = format!("{major}:{minor}");
    mounts.any(|it| it.mnt_id == mount && (it.majmin == device || it.fs_type == "overlay"))
}

/// The number of the mount that an open file is of.
fn mount_of(file: &OwnedFd) -> Option<i32> {
    let told = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let told = std::fs::read_to_string(told).ok()?;
    told.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

fn sections<'data>(
    object: &object::File<'data, &'data ReadCache<&File>>,
    base: u64,
) -> ExplicitModuleSectionInfo<Vec<u8>> {
    let range = |name: &str| {
        let section = object.section_by_name(name)?;
        Some(section.address()..section.address().checked_add(section.size())?)
    };
    let table = |name: &str| {
        let section = object.section_by_name(name)?;
        (section.size() <= TABLE_BYTES_MAX).then(|| section.data().ok().map(<[u8]>::to_vec))?
    };
    ExplicitModuleSectionInfo {
        base_svma: base,
        text_svma: range(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame: table(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame_hdr: table(".eh_frame_hdr"),
        ..Default::default()
    }
}

pub(crate) fn into_io(error: procfs::ProcError) -> io::Error {
    let kind = match error {
        procfs::ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied,
        procfs::ProcError::NotFound(_) => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
