//! The machine that the numbers are of.

use std::{fmt, fs};

use serde_json::{Value, json};

/// The machine that the numbers are of.
#[derive(Debug)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    memory_kib: u64,
    load: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_kib: memory.trim_end_matches(" kB").parse().unwrap_or_default(),
            load: load(),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let Self { cores, processor, kernel, memory_kib, load } = self;
        json!({
            "cores": cores,
            "processor": processor,
            "kernel": kernel,
            "memory_kib": memory_kib,
            "load_before": load,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, processor, kernel, memory_kib, load } = self;
        let memory_gib = memory_kib / 1024 / 1024;
        write!(f, "{cores} cores of {processor}, {memory_gib} GiB, Linux {kernel}, load {load}")
    }
}

/// How busy the machine was in the last 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}
