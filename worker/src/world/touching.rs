//! What overlaps, of what some joints move.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use mujoco_rs::wrappers::mj_model::MjtObjBase;
use simward_protocol::motion::{COLLISIONS_MAX, Collision};
use simward_protocol::real::Real;

use super::names;
use super::places::index;
use super::scratch::Scratch;

/// Overlaps that are less deep are the softness of contacts, in metres.
const DEPTH_MIN: f64 = 1e-4;

/// The most pairs that are told apart; there are hardly ever that many, and others are not counted.
const PAIRS_MAX: usize = 10_000;

/// Pairs of geoms that overlap: when that began, and how deep they were in each other at most.
#[derive(Debug)]
pub(crate) struct Touching {
    moved: Vec<bool>,
    pairs: BTreeMap<(usize, usize), (Option<f64>, f64)>,
}

impl Touching {
    /// Looks at the bodies that are `moved`.
    pub(crate) fn new(moved: Vec<bool>) -> Self {
        Self { moved, pairs: BTreeMap::new() }
    }

    /// Looks at the data's contacts, which must be of their positions.
    pub(crate) fn look(&mut self, data: &Scratch<'_>, secs: Option<f64>) {
        let bodies = data.model().geom_bodyid();
        for contact in data.contact().iter().filter(|contact| contact.dist < -DEPTH_MIN) {
            let [Ok(one), Ok(other)] = contact.geom.map(usize::try_from) else { continue };
            let is_moved = |geom: usize| self.moved[index(bodies[geom])];
            if !is_moved(one) && !is_moved(other) {
                continue;
            }
            let is_full = self.pairs.len() == PAIRS_MAX;
            match self.pairs.entry((one, other)) {
                Entry::Vacant(_) if is_full => (),
                entry => {
                    let (_, depth) = entry.or_insert((secs, 0.0));
                    *depth = depth.max(-contact.dist);
                }
            }
        }
    }

    /// The deepest pairs by name, and how many are left out.
    pub(crate) fn told(self, data: &Scratch<'_>) -> (Vec<Collision>, u32) {
        let model = data.model();
        let mut pairs: Vec<_> = self.pairs.into_iter().collect();
        pairs.sort_by(|(_, (_, left)), (_, (_, right))| right.total_cmp(left));
        let cut = u32::try_from(pairs.len().saturating_sub(COLLISIONS_MAX)).unwrap_or(u32::MAX);
        let geom = |geom| names::of(model, MjtObjBase::mjOBJ_GEOM, geom);
        let body = |geom: usize| {
            names::of(model, MjtObjBase::mjOBJ_BODY, index(model.geom_bodyid()[geom]))
        };
        let told = pairs.into_iter().take(COLLISIONS_MAX);
        let told = told.map(|((one, other), (since, depth))| Collision {
            geoms: (geom(one), geom(other)),
            bodies: (body(one), body(other)),
            depth_m: Real(depth),
            since_secs: since.map(Real),
        });
        (told.collect(), cut)
    }
}
