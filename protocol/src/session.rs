//! What a worker knows of the sessions that it serves.
//!
//! A worker of its own serves one session; a shared one serves several sessions of one tenant,
//! each in a slot whose models the others do not see.

use serde::{Deserialize, Serialize};

/// Gives a session a slot. A file for its [`meter`](crate::meter) travels with the call, and after it
/// a listening socket may: the session's port.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The session's handle, for the port's health page.
    pub session_id: String,
    /// What a client of the port must present.
    pub token: String,
    /// What it may use, until [`ToWorker::Allow`](crate::wire::ToWorker::Allow) says otherwise.
    pub terms: Terms,
}

/// What a session may use of its worker, which sees to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// How many models it may hold at a time.
    pub models_max: u32,
    /// How many steps it may take in a second, all its models together.
    pub step_rate: Option<f64>,
    /// How much processor time its simulations may use over elapsed time, where nobody else sees to
    /// it.
    pub cpu_ratio: Option<f64>,
}

impl std::fmt::Debug for OpenSession {
    /// Leaves the token out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSession").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

/// The answer to [`OpenSession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// Whether the worker answers on a port.
    pub listening: bool,
}

/// Opens the session's port, whose listening socket travels with the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {}

/// Frees a slot and everything in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseSession {}

/// The answer to [`CloseSession`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClosed {
    /// Models that were freed.
    pub models_freed: u32,
}

/// How a worker fares. Travels with every answer and every pong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vitals {
    /// Grows with every piece of work that the simulation thread finishes: a step, a call. The
    /// only proof of life that counts, because a stuck loop cannot fake it.
    pub progress: u64,
    /// Simulation steps since the start.
    pub steps_total: u64,
    /// Nanoseconds that the simulation thread has spent on calls and background steps.
    pub busy_nanos: u64,
    /// Whether the simulation thread has something to do, so that progress is due.
    pub busy: bool,
    /// Whether a background simulation is under way, though it may be waiting for its pace.
    pub running: bool,
    /// The step that the call in flight has reached, of as many as it asked for.
    pub call_steps: (u64, u64),
}
