//! How much of everything, by the kernel's own limits.

use std::io;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, setrlimit};

/// What a mode may use.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Address space, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processor time, in seconds.
    pub cpu_secs: Option<u64>,
    /// Open descriptors.
    pub descriptors: u64,
    /// The longest file that can be written, in bytes. A memory file is one.
    pub file_bytes: u64,
}

impl Profile {
    /// For simulations: no files, and descriptors for a handful of clients of the port.
    pub const SIMULATE: Self =
        Self { memory_bytes: None, cpu_secs: None, descriptors: 256, file_bytes: 0 };

    /// For compiling a model: one memory file.
    pub const COMPILE: Self =
        Self { memory_bytes: None, cpu_secs: None, descriptors: 32, file_bytes: 2 << 30 };

    /// With what the arguments say: `--memory-bytes N` and `--cpu-secs N`.
    pub(crate) fn with(mut self, mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        while let Some(name) = args.next() {
            let value = args.next().with_context(|| format!("`{name}` needs a value"))?;
            let value = value.parse().with_context(|| format!("`{name}` needs a whole number"))?;
            match name.as_str() {
                "--memory-bytes" => self.memory_bytes = Some(value),
                "--cpu-secs" => self.cpu_secs = Some(value),
                _ => anyhow::bail!("unknown argument `{name}`"),
            }
        }
        Ok(self)
    }
}

#[expect(unsafe_code, reason = "no safe function closes a range of descriptors")]
pub(super) fn close_descriptors(_: &Profile) -> io::Result<bool> {
    // SAFETY: nothing in this process has opened a descriptor yet; those of the standard library
    // are the first three.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } {
        0 => Ok(true),
        // Kernels before 5.9.
        _ => Ok(false),
    }
}

pub(super) fn no_core_dump(_: &Profile) -> io::Result<bool> {
    limit(Resource::Core, 0)
}

pub(super) fn memory(profile: &Profile) -> io::Result<bool> {
    profile.memory_bytes.map_or(Ok(false), |bytes| limit(Resource::As, bytes))
}

pub(super) fn cpu(profile: &Profile) -> io::Result<bool> {
    profile.cpu_secs.map_or(Ok(false), |secs| limit(Resource::Cpu, secs))
}

pub(super) fn descriptors(profile: &Profile) -> io::Result<bool> {
    limit(Resource::Nofile, profile.descriptors)
}

pub(super) fn file_size(profile: &Profile) -> io::Result<bool> {
    limit(Resource::Fsize, profile.file_bytes)
}

fn limit(resource: Resource, value: u64) -> io::Result<bool> {
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?;
    Ok(true)
}
