//! Looking at what a simulation does.

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::observe::{
    BodyStates, Contacts, Energy, Forces, GetBodies, GetContacts, GetEnergy, GetForces, GetSensors,
    ITEMS_MAX, SensorData,
};
use simward_protocol::real::Real;

use crate::world::World;
use crate::world::names::{self, Kind};
use crate::world::observe::{self, Split};
use crate::world::places::{chosen, cut};

impl Serve<GetBodies> for World {
    fn serve(&mut self, slot: u32, call: GetBodies) -> Result<BodyStates, Fault> {
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        let model = simulation.data.model();
        let (bodies, items_cut) =
            chosen(model, Kind::Body, &call.bodies, call.items_max.min(ITEMS_MAX))?;
        let data = simulation.derived()?;
        let bodies = bodies.into_iter().map(|body| observe::body(&data, body)).collect();
        Ok(BodyStates { model_id, time_secs: Real(data.time()), bodies, items_cut })
    }
}

impl Serve<GetSensors> for World {
    fn serve(&mut self, slot: u32, call: GetSensors) -> Result<SensorData, Fault> {
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        let model = simulation.data.model();
        let (sensors, items_cut) =
            chosen(model, Kind::Sensor, &call.sensors, call.items_max.min(ITEMS_MAX))?;
        let data = simulation.derived()?;
        let sensors = sensors.into_iter().map(|sensor| observe::sensor(&data, sensor)).collect();
        Ok(SensorData { model_id, time_secs: Real(data.time()), sensors, items_cut })
    }
}

impl Serve<GetContacts> for World {
    fn serve(&mut self, slot: u32, call: GetContacts) -> Result<Contacts, Fault> {
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        let model = simulation.data.model();
        let body = call.body.as_deref().map(|name| names::find(model, Kind::Body, name));
        let body = body.transpose()?;
        let data = simulation.derived()?;
        let mut found: Vec<usize> = (0..data.contact().len()).collect();
        if let Some(body) = body {
            found.retain(|number| observe::is_of(model, &data.contact()[*number], body));
        }
        let depths = found.iter().map(|number| -data.contact()[*number].dist);
        let depth_max_m = Real(depths.fold(0.0, f64::max));
        let items_max = call.items_max.min(ITEMS_MAX) as usize;
        let items_cut = cut(found.len(), items_max);
        found.truncate(items_max);
        let contacts = found.into_iter().map(|number| observe::contact(&data, number)).collect();
        let time_secs = Real(data.time());
        Ok(Contacts { model_id, time_secs, contacts, depth_max_m, items_cut })
    }
}

impl Serve<GetEnergy> for World {
    fn serve(&mut self, slot: u32, GetEnergy { model_id }: GetEnergy) -> Result<Energy, Fault> {
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let mut data = simulation.derived()?;
        let (kinetic, potential) = observe::energy(&mut data);
        Ok(Energy {
            model_id,
            time_secs: Real(data.time()),
            kinetic_j: Real(kinetic),
            potential_j: Real(potential),
            total_j: Real(kinetic + potential),
        })
    }
}

impl Serve<GetForces> for World {
    fn serve(&mut self, slot: u32, call: GetForces) -> Result<Forces, Fault> {
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        let model = simulation.data.model();
        let (joints, items_cut) =
            chosen(model, Kind::Joint, &call.joints, call.items_max.min(ITEMS_MAX))?;
        let mut data = simulation.derived()?;
        let split = Split::of(&mut data);
        let joints = joints.into_iter().map(|joint| split.joint(model, joint)).collect();
        Ok(Forces { model_id, time_secs: Real(data.time()), joints, items_cut })
    }
}
