//! What can go wrong with a session's calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use simward_protocol::fault::Fault;
use simward_protocol::model::Restored;

use super::crew;
use crate::code::Code;
use crate::pool::ports;
use crate::store;
use crate::worker::{self, Ending};

/// A call that was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The worker said no.
    #[error(transparent)]
    Fault(Fault),
    /// The worker ended before it answered. What the call did is undone.
    #[error("the session's worker was lost: {ending}. This call was not carried out; {fate}")]
    WorkerLost {
        /// How it ended.
        ending: Ending,
        /// What became of the session.
        fate: Fate,
    },
    /// Too many workers ended in too short a time.
    #[error(
        "the session is parked because {losses} of its workers were lost; the last one: {ending}. \
         Its models are kept as they were last acknowledged"
    )]
    Parked {
        /// How many.
        losses: u64,
        /// How the last one ended.
        ending: Ending,
    },
    /// No worker can be started, or it cannot be brought to where the last one was.
    #[error("the session has no worker")]
    NoWorker(#[source] Arc<crew::Error>),
    /// No worker was ready in time.
    #[error("the session's new worker is not ready yet")]
    Restarting,
    /// The session has ended.
    #[error("session `{id}` does not exist, or has ended or expired")]
    Closed {
        /// The handle.
        id: String,
    },
    /// Too many calls wait already.
    #[error("{max} calls of the session wait already")]
    Busy {
        /// The limit.
        max: usize,
    },
    /// There are as many snapshots as there may be.
    #[error("the session keeps {max} snapshots already")]
    SnapshotsFull {
        /// The limit.
        max: usize,
    },
    /// The caller has no snapshot of that handle.
    #[error("snapshot `{0}` does not exist, or its session has ended")]
    SnapshotUnknown(String),
    /// The snapshot's compiled model is not there any more.
    #[error("the snapshot `{0}` cannot be used: its compiled model is lost")]
    SnapshotLost(String),
    /// The snapshot belongs to another compiled model.
    #[error("the snapshot is not one of the model `{model_id}`: it was taken of another model")]
    SnapshotOfAnother {
        /// The model that was to be brought to it.
        model_id: String,
    },
    /// The model was edited by another call meanwhile.
    #[error("the model `{model_id}` was changed by another call meanwhile")]
    ModelChanged {
        /// The model.
        model_id: String,
    },
    /// The worker answered another question.
    #[error("the worker answered another question")]
    WrongReply,
    /// What the call changed could not be kept, so it was not changed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What became of a session that lost its worker.
#[derive(Clone, Debug)]
pub enum Fate {
    /// A new worker has brought its models back.
    Restored(Arc<[Restored]>),
    /// It is still being brought back.
    Returning,
    /// It is kept, and gets no other worker by itself.
    Kept,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored(models) if models.is_empty() => {
                f.write_str("the session goes on with a new worker")
            }
            Self::Restored(models) => {
                f.write_str("the session goes on as it was before it:")?;
                for (index, Restored { model_id, time_secs, steps_total, .. }) in
                    models.iter().enumerate()
                {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma} `{model_id}` at {} s (step {steps_total})", time_secs.0)?;
                }
                Ok(())
            }
            Self::Returning => f.write_str("the session is being brought back"),
            Self::Kept => f.write_str("its models are kept as they were before it"),
        }
    }
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code(),
            Self::WorkerLost { .. } => "worker_lost",
            Self::Parked { .. } => "session_parked",
            Self::NoWorker(error) => error.code(),
            Self::Restarting => "worker_starting",
            Self::Closed { .. } => "session_unknown",
            Self::Busy { .. } => "busy",
            Self::SnapshotsFull { .. } => "limit_exceeded",
            Self::SnapshotUnknown(_) => "snapshot_unknown",
            Self::SnapshotLost(_) => "checkpoint_unusable",
            Self::SnapshotOfAnother { .. } => "snapshot_of_another_model",
            Self::ModelChanged { .. } => "model_changed",
            Self::WrongReply => "internal_error",
            Self::Store(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Fault(fault) => fault.hint()?,
            Self::WorkerLost { ending, .. } if ending.kind == worker::Kind::Spinning => {
                "one step may have taken longer than pool.hang_after_secs; load a smaller model"
            }
            Self::WorkerLost { ending, .. } if ending.kind == worker::Kind::Greedy => {
                "the call needs more than the session may use: make the model or the call smaller"
            }
            Self::WorkerLost { .. } => "make the call again if you still want it",
            Self::Parked { .. } => "revive_session gives it another worker; close_session ends it",
            Self::SnapshotsFull { .. } => "delete_snapshot frees one",
            Self::SnapshotUnknown(_) => "call get_snapshot to take one",
            Self::SnapshotLost(_) => "delete it, and take another one",
            Self::SnapshotOfAnother { .. } => {
                "load the same source in this session; a snapshot fits the model it was taken of"
            }
            Self::Closed { .. } => "call create_session to start a new one",
            Self::NoWorker(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::ModelChanged { .. } => "make the call again, on what the model is now",
            Self::Restarting | Self::Busy { .. } | Self::WrongReply => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Restarting => Some(Duration::from_millis(500)),
            Self::Busy { .. } => Some(Duration::from_millis(100)),
            Self::NoWorker(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenPortError {
    /// There is none.
    #[error(transparent)]
    Port(#[from] ports::Error),
    /// The worker could not be asked.
    #[error(transparent)]
    Call(#[from] Error),
}

impl Code for OpenPortError {
    fn code(&self) -> &'static str {
        match self {
            Self::Port(error) => error.code(),
            Self::Call(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Port(error) => error.hint(),
            Self::Call(error) => error.hint(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Port(error) => error.retry_after(),
            Self::Call(error) => error.retry_after(),
        }
    }
}

/// A session that cannot be put to sleep now.
#[derive(Debug, thiserror::Error)]
pub enum AwakeError {
    /// A call is under way.
    #[error("the session is in use")]
    InUse,
    /// A simulation runs in the background.
    #[error("a simulation of the session runs in the background")]
    Running,
    /// It has no worker that could be let go, and none that could be had.
    #[error("the session is {0}")]
    State(super::lifecycle::State),
}

impl Code for AwakeError {
    fn code(&self) -> &'static str {
        match self {
            Self::InUse => "busy",
            Self::Running => "simulation_running",
            Self::State(_) => "session_not_ready",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Running => Some("call pause_simulation first".to_owned()),
            Self::InUse | Self::State(_) => None,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::InUse => Some(Duration::from_millis(200)),
            Self::Running | Self::State(_) => None,
        }
    }
}
