//! Finding out why a simulation is unstable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use simward_protocol::call::Serve;
use simward_protocol::diagnose::{Diagnose, Diagnosis};
use simward_protocol::fault::Fault;

use crate::world::World;
use crate::world::diagnose::diagnose;
use crate::world::outlook::Horizon;
use crate::world::values::in_range;

impl Serve<Diagnose> for World {
    fn serve(&mut self, slot: u32, call: Diagnose) -> Result<Diagnosis, Fault> {
        let Diagnose { model_id, duration_secs, budget_millis } = call;
        in_range("duration_secs", duration_secs, Diagnose::DURATION_SECS)?;
        let shared = Arc::clone(&self.shared);
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let until = Instant::now() + Duration::from_millis(budget_millis);
        let horizon = Horizon { secs: duration_secs, until, pulse: &shared.pulse };
        diagnose(simulation, model_id, horizon)
    }
}
