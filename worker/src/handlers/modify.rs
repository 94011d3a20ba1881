//! Changing a compiled model's numbers at run time.

use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::modify::{
    Change, Changed, ModelModified, ModifyModel, Randomize, ScaleRange,
};
use simward_protocol::real::{Real, Reals};

use crate::world::World;
use crate::world::fields::{FIELDS, Spot, check_value, spots};
use crate::world::modified::Wanted;
use crate::world::random::Random;
use crate::world::simulation::Simulation;

impl Serve<ModifyModel> for World {
    fn serve(&mut self, slot: u32, call: ModifyModel) -> Result<ModelModified, Fault> {
        let ModifyModel { model_id, reset, changes } = call;
        at_most_changes(changes.len())?;
        let (model_id, simulation) = self.still_model(slot, model_id.as_deref())?;
        let plan = Plan::new(simulation, reset, &changes)?;
        plan.carry_out(simulation, model_id)
    }
}

impl Serve<Randomize> for World {
    fn serve(&mut self, slot: u32, call: Randomize) -> Result<ModelModified, Fault> {
        let Randomize { model_id, ranges, seed } = call;
        at_most_changes(ranges.len())?;
        let (model_id, simulation) = self.still_model(slot, model_id.as_deref())?;
        let mut plan = Plan::new(simulation, true, &[])?;
        let mut random = Random::new(seed);
        for ScaleRange { field, name, component, scale: (low, high) } in ranges {
            if !(low <= high && low.is_finite() && high.is_finite()) {
                let problem =
                    format!("`scale` must be two factors, the smaller one first: {low}, {high}");
                return Err(Fault::Invalid { field, problem });
            }
            let scale = Some(1.0);
            let change = Change { field, name, component, value: None, scale };
            for spot in spots(simulation.data.model(), &change)? {
                let scale = Some(random.between(low, high));
                plan.add(simulation, &Change { scale, ..change.clone() }, spot)?;
            }
        }
        plan.carry_out(simulation, model_id)
    }
}

fn at_most_changes(count: usize) -> Result<(), Fault> {
    if count <= ModifyModel::CHANGES_MAX {
        return Ok(());
    }
    let what = "changes of one call".to_owned();
    let (value, max) = (count as u64, ModifyModel::CHANGES_MAX as u64);
    Err(Fault::LimitExceeded { what, value, max })
}

/// Changes that were checked whole, so that they happen whole or not at all.
struct Plan {
    spots: Vec<Spot>,
    wanted: Wanted,
}

impl Plan {
    fn new(simulation: &mut Simulation, reset: bool, changes: &[Change]) -> Result<Self, Fault> {
        let mut plan = Self { spots: Vec::new(), wanted: Vec::new() };
        if reset {
            plan.wanted = simulation.compiled_values();
        }
        for change in changes {
            for spot in spots(simulation.data.model(), change)? {
                plan.add(simulation, change, spot)?;
            }
        }
        Ok(plan)
    }

    fn add(
        &mut self,
        simulation: &mut Simulation,
        change: &Change,
        spot: Spot,
    ) -> Result<(), Fault> {
        let field = &FIELDS[spot.field];
        let invalid =
            |problem: &str| Fault::Invalid { field: field.name.into(), problem: problem.into() };
        let compiled: Vec<f64> = (spot.begin..spot.begin + spot.count)
            .map(|index| simulation.compiled_value(spot.field, index))
            .collect();
        let values: Vec<f64> = match (&change.value, change.scale) {
            (Some(values), None) if values.0.len() == spot.count => values.0.clone(),
            (Some(values), None) => {
                let (expected, got) = (spot.count as u64, values.0.len() as u64);
                return Err(Fault::WrongLength { field: field.name.into(), expected, got });
            }
            (None, Some(scale)) => compiled.iter().map(|value| value * scale).collect(),
            _ => return Err(invalid("give exactly one of `value` and `scale`")),
        };
        for ((index, value), compiled) in (spot.begin..).zip(values).zip(compiled) {
            // What stays as it was compiled, such as the mass of the world, is as good as that.
            if value.to_bits() != compiled.to_bits() {
                check_value(field, value)?;
            }
            self.wanted.push((spot.field, index, value));
        }
        self.spots.push(spot);
        Ok(())
    }

    fn carry_out(
        self,
        simulation: &mut Simulation,
        model_id: String,
    ) -> Result<ModelModified, Fault> {
        let before = self.read(simulation);
        simulation.modify(&self.wanted)?;
        let after = self.read(simulation);
        let items_cut = self.spots.len().saturating_sub(ModelModified::ITEMS_MAX);
        let listed = self.spots.into_iter().zip(before).zip(after);
        let changed = listed.take(ModelModified::ITEMS_MAX).map(|((spot, before), after)| {
            let field = FIELDS[spot.field].name.to_owned();
            Changed { field, name: spot.name, before, after }
        });
        Ok(ModelModified {
            model_id,
            time_secs: Real(simulation.time_secs()),
            changed: changed.collect(),
            items_cut: u32::try_from(items_cut).unwrap_or(u32::MAX),
            modified_total: simulation.modified_total(),
        })
    }

    fn read(&self, simulation: &mut Simulation) -> Vec<Reals> {
        let listed = self.spots.iter().take(ModelModified::ITEMS_MAX);
        listed.map(|spot| simulation.field_values(spot).into()).collect()
    }
}
