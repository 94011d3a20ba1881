//! What is measured: the one list of which the sampler, the queries and the documentation are made.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose values a series has.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The machine, the daemon, and all sessions together.
    Fleet,
    /// All sessions of a tenant together.
    Tenant,
    /// All of a tenant's simulations of one model together.
    Model,
    /// A tool, whoever calls it.
    Tool,
    /// A session.
    Session,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fleet, Self::Tenant, Self::Model, Self::Tool, Self::Session];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fleet => "fleet",
            Self::Tenant => "tenant",
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Session => "session",
        }
    }

    /// The gauges that subjects of it have, in the order of their series.
    pub fn gauges(self) -> impl Iterator<Item = &'static Metric> {
        METRICS.iter().filter(move |metric| metric.is_gauge() && metric.scopes.contains(&self))
    }

    /// The histograms that they have.
    pub fn histograms(self) -> impl Iterator<Item = &'static Metric> {
        METRICS.iter().filter(move |metric| !metric.is_gauge() && metric.scopes.contains(&self))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    Count,
    /// A share, of which 1 is all; of processors, 1 is one core.
    Ratio,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Things in a second.
    PerSecond,
}

impl Unit {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Ratio => "ratio",
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
            Self::PerSecond => "per_second",
        }
    }
}

/// One thing that is measured.
#[derive(Debug)]
pub struct Metric {
    /// Which one.
    pub id: Id,
    /// What it is called.
    pub name: &'static str,
    /// What its values count.
    pub unit: Unit,
    /// Whose values there are.
    pub scopes: &'static [Scope],
    /// What it means.
    pub what: &'static str,
}

impl Metric {
    /// The metric of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    /// The one that is most like a name that there is not.
    pub fn nearest(name: &str) -> &'static str {
        let likeness = |metric: &&Self| strsim::jaro_winkler(metric.name, name);
        let nearest = METRICS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        nearest.map_or("", |metric| metric.name)
    }

    /// Whether it is one value a second, and no histogram of durations.
    pub fn is_gauge(&self) -> bool {
        self.id.is_gauge()
    }

    /// What Prometheus is told it is called, of subjects of a scope: with that in the name, unless
    /// there is no other.
    pub fn exposed(&self, scope: Scope) -> String {
        let name = in_base_units(self.name);
        if self.scopes == [Scope::Fleet] {
            format!("simward_{name}")
        } else {
            format!("simward_{scope}_{name}")
        }
    }
}

/// Endings of names, here and where Prometheus reads them: there units are written out.
const ENDINGS: [(&str, &str); 2] = [("_per_sec", "_per_second"), ("_secs", "_seconds")];

/// A name as Prometheus has it.
pub fn in_base_units(name: &str) -> String {
    let ending = |(ours, theirs): (&str, &str)| {
        name.strip_suffix(ours).map(|begin| format!("{begin}{theirs}"))
    };
    ENDINGS.into_iter().find_map(ending).unwrap_or_else(|| name.to_owned())
}

/// A name of Prometheus's as we have it.
pub fn from_base_units(name: &str) -> String {
    let ending = |(ours, theirs): (&str, &str)| {
        name.strip_suffix(theirs).map(|begin| format!("{begin}{ours}"))
    };
    ENDINGS.into_iter().find_map(ending).unwrap_or_else(|| name.to_owned())
}

macro_rules! metrics {
    ($($id:ident $name:literal $unit:ident [$($scope:ident)*] $what:literal;)*) => {
        /// A metric, by number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Id {
            $(#[doc = $what] $id,)*
        }

        /// Every metric.
        pub const METRICS: &[Metric] = &[$(Metric {
            id: Id::$id,
            name: $name,
            unit: Unit::$unit,
            scopes: &[$(Scope::$scope),*],
            what: $what,
        },)*];
    };
}

metrics! {
    HostCpu "host_cpu_ratio" Ratio [Fleet] "The machine's processors in use; 1 is all of them.";
    HostMemory "host_memory_ratio" Ratio [Fleet] "The machine's memory that cannot be had any more; 1 is all of it.";
    HostLoad "host_load" Count [Fleet] "Tasks that ran or wanted to, on average over the last minute.";
    Gpu "gpu_ratio" Ratio [Fleet] "Use of the graphics processors, on average; 1 is all of all. As all of the next two, where there is a driver by NVIDIA.";
    GpuMemory "gpu_memory_bytes" Bytes [Fleet] "Memory of the graphics processors that is in use.";
    GpuMemoryRatio "gpu_memory_ratio" Ratio [Fleet] "The same over all that they have.";
    SupervisorCpu "supervisor_cpu_ratio" Ratio [Fleet] "Processor use of the daemon itself.";
    SupervisorMemory "supervisor_resident_bytes" Bytes [Fleet] "Resident memory of the daemon itself.";
    SupervisorFds "supervisor_open_fds" Count [Fleet] "Descriptors that the daemon has open.";
    TelemetryCpu "telemetry_cpu_ratio" Ratio [Fleet] "Processor use of the measuring itself.";
    TelemetryInterval "telemetry_interval_secs" Seconds [Fleet] "The time between two samples; more than 1 if they would cost too much.";
    Workers "workers" Count [Fleet] "Worker processes.";
    PortsFree "ports_free" Count [Fleet] "Ports that could be leased.";
    StartsWaiting "starts_waiting" Count [Fleet] "Starts of processes that wait for their turn.";
    CallsInFlight "calls_in_flight" Count [Fleet] "Calls of tools that are being carried out.";
    Losses "losses_per_sec" PerSecond [Fleet] "Workers that sessions have lost.";
    Sessions "sessions" Count [Fleet Tenant Model] "Sessions, those that sleep included.";
    Awake "sessions_awake" Count [Fleet Tenant Model] "Sessions that have a worker.";
    Cpu "cpu_ratio" Ratio [Fleet Tenant Session] "Processor use of workers; 1 is one core.";
    Memory "resident_bytes" Bytes [Fleet Tenant Session] "Resident memory of workers; what they share counts for each.";
    MemoryOfLimit "memory_limit_ratio" Ratio [Session] "Resident memory of the worker over its limit.";
    Steps "steps_per_sec" PerSecond [Fleet Tenant Model Session] "Simulation steps.";
    RealTime "real_time_factor" Ratio [Fleet Tenant Model Session] "Simulated seconds in a second of the clock.";
    Busy "busy_ratio" Ratio [Session] "The share of time in which the worker was simulating or answering.";
    Contacts "contacts" Count [Session] "Contacts after the last step.";
    Constraints "constraints" Count [Session] "Rows of the constraint Jacobian after the last step.";
    Iterations "solver_iterations" Count [Session] "Iterations of the constraint solver in a step, on average.";
    Warnings "warnings_per_sec" PerSecond [Fleet Tenant Session] "Warnings of the engine.";
    Arena "arena_used_bytes" Bytes [Session] "The most that a model has used of its arena.";
    Idle "idle_secs" Seconds [Session] "How long nobody has used the session.";
    Age "age_secs" Seconds [Session] "How long ago the session was created.";
    Calls "calls_per_sec" PerSecond [Fleet Tenant Tool] "Calls of tools that ended.";
    Errors "errors_per_sec" PerSecond [Fleet Tenant Tool] "Calls of tools that were refused or failed.";
    BytesIn "request_bytes_per_sec" PerSecond [Fleet Tenant Tool] "Bytes of requests that called tools.";
    BytesOut "result_bytes_per_sec" PerSecond [Fleet Tenant Tool] "Bytes of what tools answered.";
    StepTime "step_secs" Seconds [Fleet Tenant Model Session] "How long a simulation step takes.";
    CallTime "call_secs" Seconds [Fleet Tenant Tool] "How long a call of a tool takes.";
}

impl Id {
    /// How many there are.
    pub const COUNT: usize = METRICS.len();

    /// Histograms stand last in the list.
    pub fn is_gauge(self) -> bool {
        self < Self::StepTime
    }

    /// What is known of it.
    pub fn metric(self) -> &'static Metric {
        &METRICS[self as usize]
    }
}

#[cfg(test)]
mod tests;
