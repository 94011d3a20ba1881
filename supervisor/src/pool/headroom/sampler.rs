//! Looks at the machine's memory and processors.
//!
//! Where our own control group, or one around it, has a limit on memory, what is left of that
//! counts as the machine does: whichever leaves the smaller part.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::{Current as _, FromRead as _};

use super::{Sample, ratio};
use crate::pool::groups::{By, Groups};

/// Takes samples. It is made after [`Groups::find`], which may move this process.
#[derive(Clone, Debug)]
pub struct Sampler {
    /// Our own control groups that count memory.
    groups: Vec<PathBuf>,
    by: By,
    pressure: PathBuf,
}

/// Memory that can be had, and all that there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Memory {
    available: u64,
    total: u64,
}

impl Sampler {
    /// Finds out what there is to look at.
    pub fn open() -> Self {
        let (groups, by) = Groups::own_memory();
        Self { groups, by, pressure: "/proc/pressure/cpu".into() }
    }

    /// Takes a sample; absent where `/proc` does not tell. Costs less than half a
    /// millisecond.
    pub fn sample(&self) -> Option<Sample> {
        let machine = procfs::Meminfo::current().ok()?;
        let machine = Memory { available: machine.mem_available?, total: machine.mem_total };
        let groups = self.groups.iter().filter_map(|path| group_memory(path, self.by));
        let Memory { available, total } = groups.fold(machine, Memory::scarcer);
        Some(Sample {
            memory_available_bytes: available,
            memory_total_bytes: total,
            cpu_pressure_ratio: self.cpu_pressure_ratio(),
        })
    }

    fn cpu_pressure_ratio(&self) -> Option<f64> {
        let pressure = procfs::CpuPressure::from_file(&self.pressure).ok()?;
        Some(f64::from(pressure.some.avg10) / 100.0)
    }
}

impl Memory {
    fn scarcer(self, other: Self) -> Self {
        let ratio = |memory: &Self| ratio(memory.available, memory.total);
        if ratio(&other) < ratio(&self) { other } else { self }
    }
}

/// What a control group's limit leaves; absent if it has none.
fn group_memory(path: &Path, by: By) -> Option<Memory> {
    let (limit, used, idle) = match by {
        By::CgroupV1 => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        By::CgroupV2 => ("memory.max", "memory.current", "inactive_file"),
    };
    let number = |file: &str| fs::read_to_string(path.join(file)).ok()?.trim().parse::<u64>().ok();
    // Without a limit the second version says `max`, which is no number.
    let total = number(limit)?;
    // Copies of files that nobody has used lately are given up when memory is needed.
    let stat = fs::read_to_string(path.join("memory.stat")).unwrap_or_default();
    let idle = stat.lines().find_map(|line| line.strip_prefix(idle)?.trim().parse::<u64>().ok());
    let used = number(used)?.saturating_sub(idle.unwrap_or(0));
    Some(Memory { available: total.saturating_sub(used), total })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn this_machine_has_memory() {
        let sampler = Sampler::open();
        let sample = sampler.sample().unwrap();
        assert!(0 < sample.memory_available_bytes);
        assert!(sample.memory_available_bytes <= sample.memory_total_bytes);
        let tells = Path::new("/proc/pressure/cpu").exists();
        assert_eq!(sample.cpu_pressure_ratio.is_some(), tells);
        assert!(sample.cpu_pressure_ratio.is_none_or(|ratio| (0.0..=1.0).contains(&ratio)));
        let (start, count) = (Instant::now(), 100);
        for _ in 0..count {
            sampler.sample().unwrap();
        }
        println!("a sample costs {:?}", start.elapsed() / count);
    }

    #[test]
    fn a_limit_of_a_group_around_us_counts() {
        let tree = tempfile::tempdir().unwrap();
        let inner = tree.path().join("supervisor");
        fs::create_dir(&inner).unwrap();
        for (path, limit, used) in [(tree.path(), "1000000", "990000"), (&inner, "max", "5000")] {
            fs::write(path.join("memory.max"), format!("{limit}\n")).unwrap();
            fs::write(path.join("memory.current"), format!("{used}\n")).unwrap();
            fs::write(path.join("memory.stat"), "inactive_anon 7\ninactive_file 40000\n").unwrap();
        }
        let groups = vec![inner, tree.path().to_owned()];
        let pressure = tree.path().join("pressure");
        let sampler = Sampler { groups, by: By::CgroupV2, pressure: pressure.clone() };
        let sample = sampler.sample().unwrap();
        assert_eq!(sample.memory_total_bytes, 1_000_000);
        assert_eq!(sample.memory_available_bytes, 50_000);
        assert_eq!(sample.cpu_pressure_ratio, None);
        let tells = "some avg10=12.50 avg60=1.00 avg300=0.10 total=9\n\
                     full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        fs::write(pressure, tells).unwrap();
        assert_eq!(sampler.sample().unwrap().cpu_pressure_ratio, Some(0.125));
    }

    #[test]
    fn a_real_groups_limit_is_read() {
        let (groups, by) = Groups::own_memory();
        for path in groups {
            // Whatever the limit is, there is one number for it or there is none at all.
            let memory = group_memory(&path, by);
            assert!(memory.is_none_or(|memory| memory.available <= memory.total));
            assert!(by == By::CgroupV2 || memory.is_some(), "{}", path.display());
        }
    }
}
