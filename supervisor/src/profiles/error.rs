//! What can go wrong with a profile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use simward_profiler::Missing;

use crate::code::Code;
use crate::pool::process::Exit;
use crate::pool::turns;
use crate::{session, worker};

/// A profile that there is not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has none of that handle. The same for what never was, what is not kept any more,
    /// and what is somebody else's.
    #[error("profile `{0}` does not exist, or is not kept any more")]
    Unknown(String),
    /// There are as many as there may be.
    #[error("{max} profiles are under way already (profiling.running_max)")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The tenant has as many as it may have.
    #[error("{max} of your profiles are under way already (profiling.running_per_tenant_max)")]
    TenantFull {
        /// The limit.
        max: usize,
    },
    /// The target has one already.
    #[error("it is being profiled already")]
    Running,
    /// It cannot be seen this way.
    #[error("only `cpu` profiles, and `memory` of the daemon, can be shown as `{view}`")]
    NotSeenSo {
        /// How it was to be seen.
        view: &'static str,
    },
    /// The daemon takes no steps.
    #[error("only a session has phases: the daemon takes no steps")]
    NoSteps,
    /// Something is not allowed here.
    #[error("the processor's time cannot be profiled here: {}", .0.problem())]
    NotPermitted(Missing),
    /// There is no program that could do it.
    #[error("the profiler is not installed: there is no {}", .program.display())]
    NotInstalled {
        /// Where it was looked for.
        program: PathBuf,
    },
    /// The process ended before anything was seen.
    #[error("the process ended, or the session left it, before anything was seen of it")]
    Gone,
    /// The profiler ended.
    #[error("the profiler ended ({exit}){}", said(.last_words))]
    Crashed {
        /// The kernel's word.
        exit: Exit,
        /// What it wrote last.
        last_words: String,
    },
    /// The profiler could not do it.
    #[error("the profiler failed: {0}")]
    Failed(String),
    /// It took too long.
    #[error("the profile was not there within {} s of its end", .after.as_secs_f64())]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The profiler talked nonsense.
    #[error("the profiler broke the protocol")]
    BrokeProtocol,
    /// It came to nothing before.
    #[error(transparent)]
    Before(Arc<Self>),
    /// It cannot be drawn.
    #[error("it could not be drawn: {0}")]
    Undrawable(String),
    /// It is longer than can be handed over.
    #[error("it is longer than {max} bytes, which is the most that is handed over at once")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// The system gave no process.
    #[error("no profiler could be started")]
    Start(#[source] std::io::Error),
    /// Too many processes are starting.
    #[error(transparent)]
    Busy(#[from] turns::Error),
    /// The session cannot be asked.
    #[error(transparent)]
    Session(#[from] session::Error),
}

impl From<worker::Error> for Error {
    fn from(error: worker::Error) -> Self {
        match error {
            worker::Error::Fault(fault) => session::Error::Fault(fault).into(),
            worker::Error::Busy { max } => session::Error::Busy { max }.into(),
            worker::Error::WrongReply => session::Error::WrongReply.into(),
            worker::Error::Ended(_) | worker::Error::Unasked(_) => Self::Gone,
        }
    }
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "profile_unknown",
            Self::Full { .. } => "profiles_exhausted",
            Self::TenantFull { .. } => "tenant_profiles_exhausted",
            Self::Running => "profile_running",
            Self::NotSeenSo { .. } | Self::NoSteps => "invalid_argument",
            Self::NotPermitted(_) => "profiling_not_permitted",
            Self::NotInstalled { .. } => "profiler_not_installed",
            Self::Gone => "worker_lost",
            Self::Crashed { .. } | Self::Failed(_) | Self::Timeout { .. } => "profile_failed",
            Self::Undrawable(_) => "profile_failed",
            Self::TooLong { .. } => "limit_exceeded",
            Self::Before(error) => error.code(),
            Self::BrokeProtocol => "internal_error",
            Self::Start(_) => "worker_start_failed",
            Self::Busy(error) => error.code(),
            Self::Session(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotPermitted(missing) => {
                return Some(format!("the operator can allow it: {}", missing.remedy()));
            }
            Self::Unknown(_) => "start_profiling begins one",
            Self::TenantFull { .. } | Self::Running => {
                "profiles end by themselves; get_profile_results tells how far one is"
            }
            Self::NotInstalled { .. } => "it comes with simward: simward-profiler",
            Self::TooLong { .. } => "profile for a shorter time, or at a lower frequency",
            Self::Before(error) => return error.hint(),
            Self::Busy(error) => return error.hint(),
            Self::Session(error) => return error.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { .. } => Some(Duration::from_secs(5)),
            Self::Busy(error) => error.retry_after(),
            Self::Session(error) => error.retry_after(),
            _ => None,
        }
    }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; its last words: {words}") }
}
