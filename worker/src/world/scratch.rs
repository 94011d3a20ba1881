//! A copy of a model's data, for looking ahead: whatever is done with it, the simulation itself
//! does not notice.

use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use simward_protocol::fault::{Fault, cut};

use super::simulation::Simulation;

/// A copy of a model's data. It lives as long as one call.
pub(crate) type Scratch<'m> = MjData<&'m MjModel>;

impl Simulation {
    /// A copy of the data.
    pub(crate) fn copy(&self) -> Result<Scratch<'_>, Fault> {
        let model = self.data.model();
        let bytes = self.data.ffi().nbuffer + self.data.ffi().narena;
        // The engine ends the process where it gets no memory: ask first.
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let no_memory = || Fault::Unsuitable {
            detail: format!("there is no memory for a copy of its data, which takes {bytes} bytes"),
        };
        Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_error| no_memory())?;
        let mut copy = MjData::try_new(model).map_err(|_error| no_memory())?;
        let copied = self.data.copy_to(&mut copy);
        copied.map_err(|error| Fault::Unsuitable { detail: cut(error.to_string()) })?;
        Ok(copy)
    }

    /// A copy of the data, in which everything that follows from the state is that of the state as
    /// it is now, not of the step before.
    pub(crate) fn derived(&self) -> Result<Scratch<'_>, Fault> {
        let mut copy = self.copy()?;
        copy.forward();
        Ok(copy)
    }
}
