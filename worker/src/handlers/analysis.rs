//! Analysing a model in its state.

use std::sync::Arc;

use simward_protocol::analysis::{
    CastRays, ComputeJacobian, Distance, Jacobian, Linearization, Linearize, MapScene,
    MeasureDistance, RayHits, SceneMap,
};
use simward_protocol::call::Serve;
use simward_protocol::fault::Fault;
use simward_protocol::observe::ITEMS_MAX;
use simward_protocol::real::{Real, Reals};

use crate::world::linearize::linearize;
use crate::world::names::{self, Kind};
use crate::world::observe::reals;
use crate::world::places::{Spot, columns, dof_name};
use crate::world::scratch::Scratch;
use crate::world::{World, geometry, linear, values};

impl Serve<ComputeJacobian> for World {
    fn serve(&mut self, slot: u32, call: ComputeJacobian) -> Result<Jacobian, Fault> {
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        let model = simulation.data.model();
        let spot = Spot::find(model, "place", &call.place)?;
        let dofs = simulation.data.qvel().len();
        if ComputeJacobian::DOFS_MAX < dofs {
            let (value, max) = (dofs as u64, ComputeJacobian::DOFS_MAX as u64);
            return Err(Fault::LimitExceeded { what: "degrees of freedom".into(), value, max });
        }
        jacobian(&simulation.derived()?, model_id, spot)
    }
}

fn jacobian(data: &Scratch<'_>, model_id: String, spot: Spot) -> Result<Jacobian, Fault> {
    let nv = data.qvel().len();
    let (moves, turns) = spot.jacobian(data);
    if !moves.iter().chain(&turns).all(|value| value.is_finite()) {
        return Err(Fault::NotFinite {
            field: "the Jacobian".into(),
            at: "one of its values".into(),
        });
    }
    let is_moved = |dof: &usize| {
        (0..3).any(|row| moves[row * nv + dof] != 0.0)
            || (0..3).any(|row| turns[row * nv + dof] != 0.0)
    };
    let dofs: Vec<usize> = (0..nv).filter(is_moved).collect();
    let (moves, turns) = (columns(&moves, nv, &dofs), columns(&turns, nv, &dofs));
    let rows = |matrix: &nalgebra::DMatrix<f64>| {
        matrix.row_iter().map(|row| Reals(row.iter().copied().collect())).collect::<Vec<_>>()
    };
    let both = linear::stacked(&moves, &turns);
    Ok(Jacobian {
        model_id,
        time_secs: Real(data.time()),
        position_m: reals(&spot.position(data)),
        dofs: dofs.iter().map(|dof| dof_name(data.model(), *dof)).collect(),
        dof_indices: dofs.iter().map(|dof| u32::try_from(*dof).unwrap_or(u32::MAX)).collect(),
        jacp: rows(&moves),
        jacr: rows(&turns),
        translation: linear::conditioning(moves),
        rotation: linear::conditioning(turns),
        both: linear::conditioning(both),
    })
}

impl Serve<Linearize> for World {
    fn serve(&mut self, slot: u32, call: Linearize) -> Result<Linearization, Fault> {
        let Linearize { model_id, eps, centered } = call;
        values::in_range("eps", eps, Linearize::EPS)?;
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        linearize(&mut simulation.copy()?, model_id, eps, centered)
    }
}

impl Serve<CastRays> for World {
    fn serve(&mut self, slot: u32, call: CastRays) -> Result<RayHits, Fault> {
        let CastRays { model_id, rays, exclude_body, include_static } = call;
        geometry::check_rays(&rays)?;
        let shared = Arc::clone(&self.shared);
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let model = simulation.data.model();
        let exclude = exclude_body.map(|name| names::find(model, Kind::Body, &name)).transpose()?;
        let mut data = simulation.derived()?;
        let mut hits = Vec::with_capacity(rays.len());
        for ray in &rays {
            if shared.pulse.current_is_cancelled() {
                return Err(Fault::Cancelled);
            }
            shared.pulse.rested();
            hits.push(geometry::cast(&mut data, ray, exclude, include_static));
        }
        Ok(RayHits { model_id, time_secs: Real(data.time()), hits })
    }
}

impl Serve<MeasureDistance> for World {
    fn serve(&mut self, slot: u32, call: MeasureDistance) -> Result<Distance, Fault> {
        let MeasureDistance { model_id, from, to, distance_max_m } = call;
        values::in_range("distance_max_m", distance_max_m, MeasureDistance::DISTANCE_MAX_M)?;
        let shared = Arc::clone(&self.shared);
        let (model_id, simulation) = self.model(slot, model_id.as_deref())?;
        let model = simulation.data.model();
        let from = geometry::geoms_of(model, "from", &from)?;
        let to = geometry::geoms_of(model, "to", &to)?;
        let mut data = simulation.derived()?;
        let (nearest, pairs_measured, pairs_unmeasured) =
            geometry::nearest(&mut data, &from, &to, distance_max_m, &shared.pulse)?;
        let time_secs = Real(data.time());
        Ok(Distance { model_id, time_secs, nearest, pairs_measured, pairs_unmeasured })
    }
}

impl Serve<MapScene> for World {
    fn serve(&mut self, slot: u32, mut call: MapScene) -> Result<SceneMap, Fault> {
        call.items_max = call.items_max.min(ITEMS_MAX);
        let (model_id, simulation) = self.model(slot, call.model_id.as_deref())?;
        let model = simulation.data.model();
        let root = call.root.as_deref().map(|name| names::find(model, Kind::Body, name));
        let root = root.transpose()?.unwrap_or(0);
        Ok(geometry::map(&simulation.derived()?, model_id, root, &call))
    }
}
