//! The configuration: what each part may be told, in one file.
//!
//! Later wins: built-in defaults, the file, `--set` assignments, and those settings that have an
//! environment variable and a flag of their own, of which the flag wins. Every key has a default,
//! and an unknown key is refused.

mod keys;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    alerts, audit, auth, compiler, http, mcp, metrics, pool, profiles, renderer, runs, sessions,
    sources, spans, store, telemetry, uploads,
};

/// Everything that the daemon may be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the daemon keeps its sockets, and `simward serve` its sessions; empty means the user's state folder.
    pub state_dir: PathBuf,
    /// What is logged.
    pub log: Log,
    /// The MCP endpoint over HTTP.
    pub http: http::Config,
    /// Where metrics can be read, and where they are sent.
    pub metrics: metrics::Config,
    /// What is measured, and for how long it is kept.
    pub monitoring: telemetry::Config,
    /// What clients are offered.
    pub mcp: mcp::Config,
    /// How many sessions there may be, and for how long.
    pub sessions: sessions::Config,
    /// How many runs there may be, and for how long.
    pub runs: runs::Config,
    /// How many profiles there may be, and for how long.
    pub profiling: profiles::Config,
    /// How processes are started and watched.
    pub pool: pool::Config,
    /// What compiling a model may cost.
    pub compile: compiler::Config,
    /// What drawing pictures may cost.
    pub render: renderer::Config,
    /// Who may call over HTTP.
    pub auth: auth::Config,
    /// Who did what.
    pub audit: audit::Config,
    /// What is told of single calls.
    pub telemetry: spans::Config,
    /// Where models may lie in files.
    pub models: sources::Config,
    /// Files that are sent ahead of a model.
    pub uploads: uploads::Config,
    /// What is kept, and how.
    pub store: store::Config,
    /// Rules about what is measured.
    pub alerts: alerts::Config,
}

/// What is logged, to standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `human` or `json`.
    pub format: Format,
    /// Which events, in the form of `tracing` filters. What `rmcp::service` warns of is what
    /// clients do.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: Format::Human,
            filter: "warn,rmcp::service=off,simward_supervisor=info".to_owned(),
        }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the configuration {} could not be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It is no TOML.
    #[error("{origin} is not valid TOML")]
    Syntax {
        /// Where it comes from.
        origin: String,
        /// Why.
        #[source]
        error: toml::de::Error,
    },
    /// There is no such key.
    #[error("{origin} has the unknown key `{key}`{}", .nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?")))]
    UnknownKey {
        /// Where it comes from.
        origin: String,
        /// The key.
        key: String,
        /// The most similar key that there is.
        nearest: Option<String>,
    },
    /// A value does not fit.
    #[error("{origin} has a value that does not fit")]
    Value {
        /// Where it comes from.
        origin: String,
        /// Why.
        #[source]
        error: toml::de::Error,
    },
    /// Not `KEY=VALUE`.
    #[error("`{0}` is not of the form KEY=VALUE, such as pool.hang_after_secs=0.5")]
    Assignment(String),
    /// Values that do not fit together.
    #[error("`{key}` {problem}")]
    Unusable {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Config {
    /// Puts a configuration together: the defaults, then the file, then `KEY=VALUE` assignments.
    pub fn load(file: Option<&Path>, assignments: &[String]) -> Result<Self, Error> {
        let Some(path) = file else { return Self::parse("", "nothing", assignments) };
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|error| Error::Read { path: path.to_owned(), error })?;
        Self::parse(&text, &path.display().to_string(), assignments)
    }

    /// The same of a file's text. Errors name its `origin`.
    pub fn parse(text: &str, origin: &str, assignments: &[String]) -> Result<Self, Error> {
        let parsed = text.parse();
        let mut tree: toml::Table =
            parsed.map_err(|error| Error::Syntax { origin: origin.to_owned(), error })?;
        keys::check(&tree, origin)?;
        for assignment in assignments {
            let overlay = keys::assignment(assignment)?;
            keys::check(&overlay, assignment)?;
            keys::merge(&mut tree, overlay);
        }
        let config: Self = tree
            .try_into()
            .map_err(|error| Error::Value { origin: "the configuration".to_owned(), error })?;
        config.check()?;
        Ok(config)
    }

    /// The configuration as a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    #[expect(clippy::too_many_lines, reason = "a list of keys with their ranges")]
    fn check(&self) -> Result<(), Error> {
        let durations = [
            ("sessions.idle_timeout_secs", self.sessions.idle_timeout_secs),
            ("sessions.idle_timeout_max_secs", self.sessions.idle_timeout_max_secs),
            ("sessions.max_age_secs", self.sessions.max_age_secs),
            ("sessions.hibernate_after_secs", self.sessions.hibernate_after_secs),
            ("store.sync_secs", self.store.sync_secs),
            ("sessions.call_budget_secs", self.sessions.call_budget_secs),
            ("runs.keep_secs", self.runs.keep_secs),
            ("runs.budget_secs", self.runs.budget_secs),
            ("profiling.keep_secs", self.profiling.keep_secs),
            ("sessions.restart.window_secs", self.sessions.restart.window_secs),
            ("sessions.restart.back_off_first_secs", self.sessions.restart.back_off_first_secs),
            ("sessions.restart.back_off_max_secs", self.sessions.restart.back_off_max_secs),
            ("pool.spawn_wait_secs", self.pool.spawn_wait_secs),
            ("pool.ready_within_secs", self.pool.ready_within_secs),
            ("pool.stop_grace_secs", self.pool.stop_grace_secs),
            ("pool.hang_after_secs", self.pool.hang_after_secs),
            ("compile.timeout_secs", self.compile.timeout_secs),
            ("compile.wait_secs", self.compile.wait_secs),
            ("render.wait_secs", self.render.wait_secs),
            ("render.timeout_secs", self.render.timeout_secs),
            ("render.idle_timeout_secs", self.render.idle_timeout_secs),
            ("uploads.keep_secs", self.uploads.keep_secs),
            ("http.drain_secs", self.http.drain_secs),
            ("alerts.interval_secs", self.alerts.interval_secs),
            ("alerts.exec_timeout_secs", self.alerts.exec_timeout_secs),
            ("alerts.webhook.timeout_secs", self.alerts.webhook.timeout_secs),
            ("http.legacy_idle_secs", self.http.legacy_idle_secs),
            ("telemetry.otlp.timeout_secs", self.telemetry.otlp.timeout_secs),
            ("metrics.remote_write.timeout_secs", self.metrics.remote_write.timeout_secs),
        ];
        for (key, secs) in durations {
            if !(0.001..=DURATION_SECS_MAX).contains(&secs) {
                let problem = format!(
                    "must lie between 0.001 and {DURATION_SECS_MAX} seconds, and is {secs}"
                );
                return Err(Error::Unusable { key, problem });
            }
        }
        let (limits, together) = (&self.sessions.limits, &self.sessions.tenant_limits);
        for (key, value) in [
            ("sessions.limits.cpu_ratio", limits.cpu_ratio),
            ("sessions.limits.step_rate", limits.step_rate),
            ("sessions.tenant_limits.cpu_ratio", together.cpu_ratio),
            ("sessions.tenant_limits.step_rate", together.step_rate),
        ] {
            if !(0.0..=1e9).contains(&value) {
                let problem = format!("must lie between 0 (no limit) and 1e9, and is {value}");
                return Err(Error::Unusable { key, problem });
            }
        }
        let headroom = &self.pool.headroom;
        for (key, ratio) in [
            ("pool.headroom.memory_tight_ratio", headroom.memory_tight_ratio),
            ("pool.headroom.memory_full_ratio", headroom.memory_full_ratio),
            ("pool.headroom.memory_recovery_ratio", headroom.memory_recovery_ratio),
            ("pool.headroom.cpu_full_ratio", headroom.cpu_full_ratio),
            ("pool.headroom.cpu_recovery_ratio", headroom.cpu_recovery_ratio),
            ("pool.headroom.cpu_look_weight", headroom.cpu_look_weight),
        ] {
            if !(0.0..=1.0).contains(&ratio) {
                let problem = format!("must lie between 0 and 1, and is {ratio}");
                return Err(Error::Unusable { key, problem });
            }
        }
        self.check_models()?;
        let check = self.alerts.check();
        check.map_err(|(key, problem)| Error::Unusable { key, problem })?;
        self.check_bounds()?;
        self.check_monitoring()?;
        let unusable = |(key, problem)| Error::Unusable { key, problem };
        self.telemetry.check().map_err(unusable)?;
        self.metrics.check().map_err(unusable)?;
        let rest_secs = self.pool.ports.rest_secs;
        if !(0.0..=DURATION_SECS_MAX).contains(&rest_secs) {
            let problem = format!("must lie between 0 and {DURATION_SECS_MAX}, and is {rest_secs}");
            return Err(Error::Unusable { key: "pool.ports.rest_secs", problem });
        }
        Ok(())
    }
}

impl Config {
    /// Values that make no sense beside others, or with which nothing could be done.
    fn check_bounds(&self) -> Result<(), Error> {
        let calls_per_sec = self.http.quotas.calls_per_sec;
        if calls_per_sec != 0.0 && !(0.001..=1e6).contains(&calls_per_sec) {
            let problem =
                format!("must be 0 (no limit) or between 0.001 and 1e6, and is {calls_per_sec}");
            return Err(Error::Unusable { key: "http.quotas.calls_per_sec", problem });
        }
        let is_too_long = |calls_per_sec: f64, burst: u32| {
            calls_per_sec != 0.0 && REST_SECS_MAX < f64::from(burst) / calls_per_sec
        };
        if is_too_long(calls_per_sec, self.http.quotas.burst) {
            let problem = format!("takes more than {REST_SECS_MAX} s of rest at that rate");
            return Err(Error::Unusable { key: "http.quotas.burst", problem });
        }
        for http::OfTool { name, calls_per_sec, burst } in &self.http.quotas.tools {
            let problem = if mcp::scope_of_tool(name).is_none() {
                format!("names `{}`, which is no tool", name.chars().take(80).collect::<String>())
            } else if !(0.001..=1e6).contains(calls_per_sec) {
                format!("must have a rate between 0.001 and 1e6 for `{name}`, not {calls_per_sec}")
            } else if is_too_long(*calls_per_sec, *burst) {
                format!("has a burst for `{name}` that takes more than {REST_SECS_MAX} s of rest")
            } else {
                continue;
            };
            return Err(Error::Unusable { key: "http.quotas.tools", problem });
        }
        for (key, bytes, may_be_none) in [
            ("compile.memory_bytes", self.compile.memory_bytes, false),
            ("render.memory_bytes", self.render.memory_bytes, false),
            ("pool.worker_memory_bytes", self.pool.worker_memory_bytes, true),
            ("sessions.limits.memory_bytes", self.sessions.limits.memory_bytes, true),
            ("sessions.tenant_limits.memory_bytes", self.sessions.tenant_limits.memory_bytes, true),
        ] {
            if bytes < PROCESS_BYTES_MIN && !(may_be_none && bytes == 0) {
                let none = if may_be_none { " or 0 (no limit)" } else { "" };
                let problem =
                    format!("must be at least {PROCESS_BYTES_MIN} bytes{none}, and is {bytes}");
                return Err(Error::Unusable { key, problem });
            }
        }
        let headroom = &self.pool.headroom;
        let sessions = &self.sessions;
        for (key, value, max_key, max) in [
            (
                "sessions.idle_timeout_secs",
                sessions.idle_timeout_secs,
                "sessions.idle_timeout_max_secs",
                sessions.idle_timeout_max_secs,
            ),
            (
                "pool.headroom.memory_full_ratio",
                headroom.memory_full_ratio,
                "pool.headroom.memory_tight_ratio",
                headroom.memory_tight_ratio,
            ),
        ] {
            if max < value {
                let problem = format!("is {value}, more than `{max_key}`, which is {max}");
                return Err(Error::Unusable { key, problem });
            }
        }
        Ok(())
    }

    fn check_monitoring(&self) -> Result<(), Error> {
        let of = &self.monitoring;
        if !(1e-4..=1.0).contains(&of.cpu_ratio_max) {
            let problem = format!("must lie between 0.0001 and 1, and is {}", of.cpu_ratio_max);
            return Err(Error::Unusable { key: "monitoring.cpu_ratio_max", problem });
        }
        if !(1..=1_000_000).contains(&of.subjects_max) {
            let problem = format!("must lie between 1 and 1000000, and is {}", of.subjects_max);
            return Err(Error::Unusable { key: "monitoring.subjects_max", problem });
        }
        if of.history_bytes_max < HISTORY_BYTES_MIN {
            let problem = format!("must be at least {HISTORY_BYTES_MIN} bytes");
            return Err(Error::Unusable { key: "monitoring.history_bytes_max", problem });
        }
        Ok(())
    }

    fn check_models(&self) -> Result<(), Error> {
        let sources::Config { roots, menagerie_dir, bytes_max } = &self.models;
        let is_whole = |path: &PathBuf| path.as_os_str().is_empty() || path.is_absolute();
        for (key, paths) in [
            ("models.roots", roots.as_slice()),
            ("models.menagerie_dir", std::slice::from_ref(menagerie_dir)),
        ] {
            if let Some(path) = paths.iter().find(|path| !is_whole(path)) {
                let problem = format!("must be an absolute path, and is `{}`", path.display());
                return Err(Error::Unusable { key, problem });
            }
        }
        if !(1..=sources::BYTES_MAX).contains(bytes_max) {
            let problem = format!("must lie between 1 and {}", sources::BYTES_MAX);
            return Err(Error::Unusable { key: "models.bytes_max", problem });
        }
        Ok(())
    }
}

/// With less memory no process starts.
const PROCESS_BYTES_MIN: u64 = 32 << 20;

/// In less a history has no room for a day.
const HISTORY_BYTES_MIN: u64 = 1 << 20;

/// The longest rest after which a whole burst may come again: a year.
const REST_SECS_MAX: f64 = 31_536_000.0;

/// Ten years.
const DURATION_SECS_MAX: f64 = 315_360_000.0;

#[cfg(test)]
mod tests;
