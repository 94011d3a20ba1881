//! What looks after a simulation step by step: it may steer before each of them, and end them after
//! each.

use simward_protocol::simulation::StoppedBy;

use super::condition::Watch;
use super::simulation::Simulation;
use crate::pulse::Pulse;

/// Looks after each step.
pub(crate) trait Attend {
    /// Before a step.
    fn before(&mut self, _simulation: &mut Simulation) {}

    /// After a step: why it was the last one, if it was.
    fn after(&mut self, simulation: &mut Simulation) -> Option<StoppedBy>;
}

impl Attend for Watch {
    fn after(&mut self, simulation: &mut Simulation) -> Option<StoppedBy> {
        self.is_met(simulation).then_some(StoppedBy::Condition)
    }
}

impl Simulation {
    /// Takes up to `steps` steps, with each of them looked after; tells how many, and why they ended
    /// if they did.
    pub(crate) fn advance_attended(
        &mut self,
        steps: u64,
        attendant: &mut dyn Attend,
        pulse: &Pulse,
        done_before: u64,
    ) -> (u64, Option<StoppedBy>) {
        for taken in 0..steps {
            attendant.before(self);
            if self.advance(1, pulse, done_before + taken) == 0 {
                return (taken, None);
            }
            if let Some(stopped_by) = attendant.after(self) {
                return (taken + 1, Some(stopped_by));
            }
        }
        (steps, None)
    }
}
