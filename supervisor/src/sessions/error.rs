//! Why there is no session, or not that one.

use std::sync::Arc;
use std::time::Duration;

use crate::code::Code;
use crate::session::{self, LimitsError, StartError};
use crate::store;

/// No session, or not that one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has no session of that handle. The same for what never was, what is gone, and
    /// what is somebody else's.
    #[error("session `{0}` does not exist, or has ended or expired")]
    Unknown(String),
    /// It was kept, and cannot be read any more.
    #[error("session `{0}` is lost: what was kept of it on the disk is damaged")]
    Damaged(String),
    /// There are as many as there may be.
    #[error("there are {max} sessions already (sessions.max)")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The tenant has as many as it may have.
    #[error("you have {max} sessions already (sessions.per_tenant_max)")]
    TenantFull {
        /// The limit.
        max: usize,
    },
    /// An argument lies outside its range.
    #[error("`{field}` {problem}")]
    Argument {
        /// The argument.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// No worker.
    #[error("the session's worker could not be started")]
    Start(#[source] Arc<StartError>),
    /// The session that was to be copied could not be asked.
    #[error(transparent)]
    Source(#[from] session::Error),
    /// Its limits could not be changed.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The daemon stops.
    #[error("the daemon is stopping")]
    Stopping,
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "session_unknown",
            Self::Damaged(_) => "session_damaged",
            Self::Full { .. } => "sessions_exhausted",
            Self::TenantFull { .. } => "tenant_sessions_exhausted",
            Self::Argument { .. } => "invalid_argument",
            Self::Start(error) => error.code(),
            Self::Source(error) => error.code(),
            Self::Limits(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Stopping => "stopping",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Unknown(_) => "call create_session to start a new one, or list_sessions",
            Self::Damaged(_) => "call create_session to start a new one",
            Self::Full { .. } | Self::TenantFull { .. } => {
                "close_session frees one; list_sessions shows yours"
            }
            Self::Start(error) => return error.hint(),
            Self::Source(error) => return error.hint(),
            Self::Limits(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Argument { .. } | Self::Stopping => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Full { .. } => Some(Duration::from_secs(5)),
            Self::Start(error) => error.retry_after(),
            Self::Source(error) => error.retry_after(),
            Self::Limits(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}
