//! Reading and setting the state.

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::real::Real;
use simward_protocol::simulation::{Applied, Reset};
use simward_protocol::state::{GetState, SetState, State, Values};

use crate::world::World;
use crate::world::names::{self, Kind};
use crate::world::simulation::{COORDINATE_MAX, Simulation};
use crate::world::values::{self, Placed, Target};

impl Serve<GetState> for World {
    fn serve(&mut self, slot: u32, call: GetState) -> Result<State, Fault> {
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        Ok(simulation.state(model_id, &call.include))
    }
}

impl Serve<Reset> for World {
    fn serve(&mut self, slot: u32, Reset { model_id, keyframe }: Reset) -> Result<Applied, Fault> {
        let (model_id, simulation) = self.still_model(slot, model_id.as_deref())?;
        let keyframe = match keyframe {
            None => None,
            Some(name) => Some(names::find(simulation.data.model(), Kind::Keyframe, &name)?),
        };
        simulation.reset(keyframe)?;
        let time_secs = Real(simulation.time_secs());
        Ok(Applied { model_id, time_secs, values_set: 0, clamped: Vec::new() })
    }
}

impl Serve<SetState> for World {
    fn serve(&mut self, slot: u32, call: SetState) -> Result<Applied, Fault> {
        let only_controls =
            matches!(call, SetState { time_secs: None, qpos: None, qvel: None, act: None, .. });
        // Controls may change under way; the state itself only where it stands still.
        let model_id = call.model_id.as_deref();
        let (model_id, simulation) = if only_controls {
            self.model(slot, model_id)
        } else {
            self.still_model(slot, model_id)
        }?;
        let plan = Plan::new(simulation, call)?;
        let (values_set, clamped) = plan.carry_out(simulation);
        let time_secs = Real(simulation.time_secs());
        Ok(Applied { model_id, time_secs, values_set, clamped })
    }
}

/// A change that was checked whole, so that it happens whole or not at all.
struct Plan {
    time_secs: Option<f64>,
    qpos: Placed,
    qvel: Placed,
    ctrl: Placed,
    act: Placed,
}

impl Plan {
    fn new(simulation: &Simulation, call: SetState) -> Result<Self, Fault> {
        let SetState { model_id: _, time_secs, qpos, qvel, ctrl, act, argument } = call;
        let model = simulation.data.model();
        let place = |target: Target, values: Option<Values>, max: f64| match values {
            None => Ok(Placed::new()),
            Some(values) => {
                let field = argument.as_deref().unwrap_or_else(|| target.field());
                values::place(model, target, field, values, max)
            }
        };
        if let Some(value) = time_secs
            && !value.is_finite()
        {
            return Err(Fault::NotFinite { field: "time_secs".into(), at: "it".into() });
        }
        Ok(Self {
            time_secs,
            qpos: place(Target::Qpos, qpos, COORDINATE_MAX)?,
            qvel: place(Target::Qvel, qvel, COORDINATE_MAX)?,
            ctrl: place(Target::Ctrl, ctrl, f64::MAX)?,
            act: place(Target::Act, act, f64::MAX)?,
        })
    }

    fn carry_out(self, simulation: &mut Simulation) -> (u64, Vec<String>) {
        let Self { time_secs, qpos, qvel, ctrl, act } = self;
        simulation.touch();
        let data = &mut simulation.data;
        if let Some(time_secs) = time_secs {
            data.set_time(time_secs);
        }
        let count = values::put(&qpos, data.qpos_mut())
            + values::put(&qvel, data.qvel_mut())
            + values::put(&ctrl, data.ctrl_mut())
            + values::put(&act, data.act_mut());
        let clamped =
            if ctrl.is_empty() { Vec::new() } else { values::clamped(data.model(), data.ctrl()) };
        (count, clamped)
    }
}
