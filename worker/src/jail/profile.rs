//! What each kind of process may have. The layers read it; it decides nothing.

use anyhow::Context as _;

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
    /// Threads, the first one included.
    pub threads: u64,
    /// Files and folders that may be read; those that do not exist are no error.
    pub readable: &'static [&'static str],
    /// Devices that may be used.
    pub devices: &'static [&'static str],
    /// Whether memory may be made executable, as compilers of shaders must.
    pub executable_memory: bool,
    /// Layers to leave out. For the tests that show the other layers by themselves.
    pub without: &'static [&'static str],
    /// The newest version of Landlock to use. For the tests that play an older kernel.
    pub landlock: i32,
}

impl Profile {
    /// For simulations: no files, and descriptors for a handful of clients of the port.
    pub const SIMULATE: Self = Self {
        memory_bytes: None,
        cpu_secs: None,
        descriptors: 256,
        file_bytes: 0,
        threads: 64,
        readable: &[],
        devices: &[],
        executable_memory: false,
        without: &[],
        landlock: i32::MAX,
    };

    /// For compiling a model: one memory file.
    pub const COMPILE: Self = Self { descriptors: 32, file_bytes: 2 << 30, ..Self::SIMULATE };

    /// For rendering with OpenGL: the system's libraries, which are loaded late, and code that a
    /// driver makes as it goes.
    pub const RENDER: Self = Self {
        readable: &[
            "/usr",
            "/lib",
            "/lib64",
            "/etc/ld.so.cache",
            // Which drivers there are.
            "/etc/glvnd",
            "/sys/dev/char",
            "/sys/devices",
        ],
        devices: &["/dev/dri"],
        executable_memory: true,
        // The picture.
        file_bytes: 64 << 20,
        ..Self::SIMULATE
    };

    /// With what the arguments say: `--memory-bytes N` and `--cpu-secs N`.
    #[doc(hidden)]
    pub fn with(mut self, mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
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
