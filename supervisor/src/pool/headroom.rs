//! How much room the machine has for more work.
//!
//! Three levels, and a distance between getting worse and getting better again, so that a machine
//! at a threshold does not change its mind with every look. Looking is the [`sampler`]'s business;
//! what follows from a level is the caller's.
//!
//! ```text
//! available   0 %      7 %   10 %     15 %   18 %      100 %
//!             |  Full   | stays |  Tight | stays |  Plenty  |
//! ```

pub mod sampler;

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the levels begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Memory is tight when less than this part of it is available.
    pub memory_tight_ratio: f64,
    /// Memory is full when less than this part of it is available.
    pub memory_full_ratio: f64,
    /// How much more must be available until the level is better again.
    pub memory_recovery_ratio: f64,
    /// The processors are full when tasks have waited for them in this part of the time; 0 means
    /// that they never are.
    pub cpu_full_ratio: f64,
    /// How much less must have been waited until they are not full any more.
    pub cpu_recovery_ratio: f64,
    /// How much a new look at the processors counts, against all looks before; 1 forgets those.
    pub cpu_look_weight: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_tight_ratio: 0.15,
            memory_full_ratio: 0.07,
            memory_recovery_ratio: 0.03,
            // Simulations like to use all processors, and mostly that is what they are for. 0.95
            // is a good value for those who want it.
            cpu_full_ratio: 0.0,
            cpu_recovery_ratio: 0.1,
            cpu_look_weight: 0.3,
        }
    }
}

/// How much room there is. More is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For more.
    #[default]
    Plenty,
    /// For what is going on: what nobody uses should be put aside.
    Tight,
    /// None: new work is refused.
    Full,
}

/// One look at the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Memory that can be had without swapping, in bytes.
    pub memory_available_bytes: u64,
    /// All the memory that there is for us, in bytes.
    pub memory_total_bytes: u64,
    /// In which part of the last ten seconds some task waited for a processor; absent where the
    /// kernel does not tell.
    pub cpu_pressure_ratio: Option<f64>,
}

impl Sample {
    /// The part of the memory that is available.
    pub fn memory_available_ratio(&self) -> f64 {
        ratio(self.memory_available_bytes, self.memory_total_bytes)
    }
}

/// What the last look has led to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct State {
    /// By memory.
    pub memory: Level,
    /// By processors: plenty or full.
    pub cpu: Level,
    /// The part of the memory that was available.
    pub memory_available_ratio: f64,
    /// The part of the time in which some task waited for a processor, smoothed.
    pub cpu_pressure_ratio: Option<f64>,
}

impl State {
    /// The worse of the two.
    pub fn level(&self) -> Level {
        self.memory.max(self.cpu)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.memory_available_ratio;
        write!(f, "{percent:.1} % of its memory are available")?;
        if let Some(ratio) = self.cpu_pressure_ratio {
            write!(f, ", and its processors are waited for {:.0} % of the time", 100.0 * ratio)?;
        }
        Ok(())
    }
}

/// Decides on the level, look by look.
#[derive(Clone, Debug)]
pub struct Headroom {
    config: Config,
    state: State,
}

impl Headroom {
    /// Before the first look there is plenty.
    pub fn new(config: Config) -> Self {
        let (memory, cpu) = (Level::Plenty, Level::Plenty);
        let state = State { memory, cpu, memory_available_ratio: 1.0, cpu_pressure_ratio: None };
        Self { config, state }
    }

    /// What the last look has led to.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes a look into account.
    pub fn look(&mut self, now: Sample) -> Level {
        let available = now.memory_available_ratio();
        let pressure = self.smoothed(now.cpu_pressure_ratio);
        self.state = State {
            memory: self.memory(available),
            cpu: self.cpu(pressure),
            memory_available_ratio: available,
            cpu_pressure_ratio: pressure,
        };
        self.state.level()
    }

    fn memory(&self, available: f64) -> Level {
        let Config { memory_tight_ratio, memory_full_ratio, memory_recovery_ratio, .. } =
            self.config;
        let is = |level, threshold: f64| {
            let stays = if level <= self.state.memory { memory_recovery_ratio } else { 0.0 };
            available < threshold + stays
        };
        if is(Level::Full, memory_full_ratio) {
            Level::Full
        } else if is(Level::Tight, memory_tight_ratio) {
            Level::Tight
        } else {
            Level::Plenty
        }
    }

    fn cpu(&self, pressure: Option<f64>) -> Level {
        let Config { cpu_full_ratio, cpu_recovery_ratio, .. } = self.config;
        let stays = if self.state.cpu == Level::Full { cpu_recovery_ratio } else { 0.0 };
        match pressure {
            Some(pressure) if 0.0 < cpu_full_ratio && cpu_full_ratio - stays < pressure => {
                Level::Full
            }
            _ => Level::Plenty,
        }
    }

    fn smoothed(&self, pressure: Option<f64>) -> Option<f64> {
        let now = pressure.filter(|pressure| pressure.is_finite())?;
        let before = self.state.cpu_pressure_ratio.unwrap_or(now);
        Some(before + self.config.cpu_look_weight.clamp(0.0, 1.0) * (now - before))
    }
}

/// A part of a whole; all of it, if there is no whole.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
