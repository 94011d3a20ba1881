//! What a new session is to be: what its owner asks, within what there may be.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Config, Error};
use crate::handle;
use crate::limits::Limits;
use crate::session::{Allowed, Birth, Isolation, MayUse, Plan};
use crate::store::Record;
use crate::tenants::Tenant;

/// What a client asks of a new session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// What the owner calls it.
    pub name: Option<String>,
    /// Whether it has its worker to itself.
    pub isolation: Isolation,
    /// How long it may be unused.
    pub idle_timeout_secs: Option<f64>,
    /// What it may use.
    pub limits: Limits,
    /// Whether it is its tenant's default session.
    pub is_default: bool,
}

/// The longest name of a session, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// How much longer than twice its budget a call may take: then its worker does not keep to it.
const CALL_GRACE: Duration = Duration::from_secs(2);

/// The least memory in which a worker starts.
const MEMORY_BYTES_MIN: u64 = 32 << 20;

/// Steps per second that can be asked for.
const STEP_RATE: RangeInclusive<f64> = 1.0..=1e9;

/// Shares of the processor that can be asked for.
const CPU_RATIO: RangeInclusive<f64> = 0.05..=1024.0;

/// The record of a session that a client asks for.
pub(super) fn record(tenant: &Tenant, request: Request, config: &Config) -> Result<Record, Error> {
    let Request { name, isolation, idle_timeout_secs, limits, is_default } = request;
    if let Some(name) = &name {
        check_name(name)?;
    }
    let max = config.idle_timeout_max_secs;
    if let Some(secs) = idle_timeout_secs {
        check("idle_timeout_secs", secs, 1.0..=max)?;
    }
    check_limits(&limits, isolation, config)?;
    Ok(Record {
        id: handle::new("sim_"),
        tenant: tenant.to_string(),
        name,
        shared: isolation == Isolation::Shared,
        token: handle::new(""),
        limits,
        idle_timeout_secs: idle_timeout_secs.unwrap_or(config.idle_timeout_secs),
        max_age_secs: config.max_age_secs,
        created_millis: now_millis(),
        is_default,
        models: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        next_checkpoint: 0,
        recordings: BTreeMap::new(),
    })
}

/// The record of a copy, which holds nothing yet: another session with the same limits.
pub(super) fn copy_of(record: Record, name: Option<String>) -> Record {
    Record {
        id: handle::new("sim_"),
        token: handle::new(""),
        name: name.or(record.name),
        // A copy that shares would wait for its original.
        shared: false,
        created_millis: now_millis(),
        is_default: false,
        models: BTreeMap::new(),
        snapshots: BTreeMap::new(),
        next_checkpoint: 0,
        // What was recorded stays with the original.
        recordings: BTreeMap::new(),
        ..record
    }
}

fn now_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// What a record says that a session is.
pub(super) fn of_record(record: &Record, config: &Config) -> Plan {
    let secs = |secs: f64| Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX);
    let created = UNIX_EPOCH.checked_add(Duration::from_millis(record.created_millis));
    Plan {
        id: record.id.as_str().into(),
        tenant: Tenant::named(&record.tenant),
        name: record.name.clone(),
        isolation: if record.shared { Isolation::Shared } else { Isolation::Process },
        may_use: MayUse::new(allowed(&record.limits, config)),
        threads_max: Some(config.limits.threads).filter(|threads| *threads != 0),
        checkpoint_bytes_max: config.checkpoint_bytes_max,
        recordings: config.recordings.clone(),
        call_within: secs(config.call_budget_secs * 2.0) + CALL_GRACE,
        token: record.token.as_str().into(),
        idle_timeout: secs(record.idle_timeout_secs),
        max_age: secs(record.max_age_secs),
        birth: Birth::at(created.unwrap_or_else(SystemTime::now)),
    }
}

/// What is allowed of what an owner asks.
pub(super) fn allowed(asked: &Limits, config: &Config) -> Allowed {
    let models_max = asked.models.unwrap_or(config.models_max).min(config.models_max);
    Allowed { limits: config.limits.within(asked), models_max }
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let length = name.chars().count();
    if length == 0 || NAME_CHARS_MAX < length || name.chars().any(char::is_control) {
        let problem =
            format!("must have 1 to {NAME_CHARS_MAX} characters, none of them a control one");
        return Err(Error::Argument { field: "name", problem });
    }
    Ok(())
}

pub(super) fn check_limits(
    limits: &Limits,
    isolation: Isolation,
    config: &Config,
) -> Result<(), Error> {
    let Limits { memory_bytes, cpu_ratio, step_rate, models } = *limits;
    if isolation == Isolation::Shared && (memory_bytes.is_some() || cpu_ratio.is_some()) {
        let problem = "memory_bytes and cpu_ratio are limits of a process, which a shared session \
                       has not to itself: use isolation `process`";
        return Err(Error::Argument { field: "limits", problem: problem.to_owned() });
    }
    if let Some(bytes) = memory_bytes
        && bytes < MEMORY_BYTES_MIN
    {
        let problem = format!("must be at least {MEMORY_BYTES_MIN}, and is {bytes}");
        return Err(Error::Argument { field: "limits.memory_bytes", problem });
    }
    if let Some(ratio) = cpu_ratio {
        check("limits.cpu_ratio", ratio, CPU_RATIO)?;
    }
    if let Some(rate) = step_rate {
        check("limits.step_rate", rate, STEP_RATE)?;
    }
    if let Some(models) = models {
        check("limits.models", models.into(), 1.0..=config.models_max.into())?;
    }
    Ok(())
}

fn check(field: &'static str, value: f64, range: RangeInclusive<f64>) -> Result<(), Error> {
    if range.contains(&value) {
        return Ok(());
    }
    let (min, max) = range.into_inner();
    let problem = format!("must lie between {min} and {max}, and is {value}");
    Err(Error::Argument { field, problem })
}
