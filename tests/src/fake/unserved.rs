//! The calls that a pendulum has no answer to.
//!
//! A fake worker is there to try the supervisor's dealings with workers, not with simulations.

use simward_protocol::call::{Call, Serve};
use simward_protocol::fault::Fault;
use simward_protocol::{
    actuation, analysis, diagnose, editing, model, modify, motion, observe, profiling, recording,
    rollout, sweep, viewer,
};

use super::world::World;

macro_rules! unserved {
    ($($call:path),* $(,)?) => {
        $(
            impl Serve<$call> for World {
                fn serve(
                    &mut self,
                    _slot: u32,
                    _call: $call,
                ) -> Result<<$call as Call>::Reply, Fault> {
                    Err(Fault::NoModel)
                }
            }
        )*
    };
}

unserved! {
    model::AdoptState,
    modify::ModifyModel,
    editing::ReplaceModel,
    actuation::ReadJoints,
    actuation::ReadActuators,
    actuation::DescribeActuators,
    actuation::ApplyForce,
    rollout::Rollout,
    sweep::Sweep,
    modify::Randomize,
    viewer::AdmitViewers,
    observe::GetBodies,
    observe::GetSensors,
    observe::GetContacts,
    observe::GetEnergy,
    observe::GetForces,
    analysis::ComputeJacobian,
    analysis::Linearize,
    analysis::CastRays,
    analysis::MeasureDistance,
    analysis::MapScene,
    motion::SolveIk,
    motion::PlanTrajectory,
    motion::ExecuteTrajectory,
    diagnose::Diagnose,
    recording::PlanRecording,
    recording::StartRecording,
    recording::AttachRecording,
    recording::StopRecording,
    profiling::TimePhases,
    profiling::MeasureMemory,
}
