//! What takes the memory.

use serde::{Deserialize, Serialize};
use simward_protocol::meter::Row;

use crate::pool::reading;
use crate::session::Session;

/// What a session's process and models take. A process may be several sessions'.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Memory {
    /// The session's handle.
    pub session_id: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whose it is.
    pub tenant: String,
    /// Its process; null while it has none.
    pub pid: Option<u32>,
    /// Resident memory, in which what processes share counts for each.
    pub resident_bytes: Option<u64>,
    /// Proportional memory, in which what processes share counts in part; looked at of few only.
    pub proportional_bytes: Option<u64>,
    /// Memory that is its own and of no file; looked at of few only.
    pub anonymous_bytes: Option<u64>,
    /// The most resident memory that it may have.
    pub max_bytes: Option<u64>,
    /// Its models.
    pub models: Vec<Model>,
}

/// What a model takes, as the engine counts it.
#[expect(clippy::struct_field_names, reason = "clients know them by these names")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Model {
    /// Its name in the session.
    pub model_id: String,
    /// The compiled model.
    pub model_bytes: u64,
    /// Its data, without the arena.
    pub data_bytes: u64,
    /// The arena, which is reserved and takes memory only where it was used.
    pub arena_bytes: u64,
    /// The most of the arena that was used.
    pub arena_used_max_bytes: u64,
}

impl Memory {
    /// Of a session. A close look takes up to a millisecond, and stops the process as long.
    pub fn of(session: &Session, closely: bool) -> Self {
        let plan = session.plan();
        let mut memory = Self {
            session_id: plan.id.to_string(),
            name: plan.name.clone(),
            tenant: plan.tenant.to_string(),
            ..Self::default()
        };
        let (worker, meter) = {
            let status = session.status();
            (status.worker.clone(), status.meter.clone())
        };
        let Some((worker, _)) = worker else { return memory };
        let facts = worker.facts();
        memory.pid = Some(facts.pid.unsigned_abs());
        memory.max_bytes = plan.limits().memory_bytes;
        memory.resident_bytes = reading::resident_bytes(facts.pid);
        if closely && let Some(parts) = reading::memory(facts.pid) {
            memory.resident_bytes = Some(parts.resident_bytes);
            memory.proportional_bytes = Some(parts.proportional_bytes);
            memory.anonymous_bytes = Some(parts.anonymous_bytes);
        }
        let Some(words) = meter.and_then(|meter| meter.words()) else { return memory };
        for model_id in session.holdings().model_ids() {
            let Some(row) = Row::find(&words, &model_id) else { continue };
            memory.models.push(Model {
                model_id,
                model_bytes: row.model_bytes,
                data_bytes: row.data_bytes,
                arena_bytes: row.arena_bytes,
                arena_used_max_bytes: row.arena_used_max_bytes,
            });
        }
        memory
    }
}
