//! The calls that a pendulum has no answer to.
//!
//! A fake worker is there to try the supervisor's dealings with workers, not with simulations.

use simward_protocol::call::{Call, Serve};
use simward_protocol::fault::Fault;
use simward_protocol::{model, recording};

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
    recording::PlanRecording,
    recording::StartRecording,
    recording::AttachRecording,
    recording::StopRecording,
}
