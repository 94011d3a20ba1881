//! A hand that pulls at a body, as a spring with a damper.
//!
//! It acts only while steps are taken: what is kept of a simulation, and what a client reads of
//! the forces that it has applied, never has the hand in it.

use std::time::{Duration, Instant};

use mujoco_rs::wrappers::mj_model::MjtObjBase;

use super::simulation::{COORDINATE_MAX, Simulation};

/// How long a hand holds on without being heard of.
const HOLDS: Duration = Duration::from_millis(250);

/// The spring's stiffness, in N/m for each kilogram of what is pulled along.
const STIFFNESS: f64 = 100.0;

/// The hand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pull {
    body: usize,
    /// Where it holds the body, in the body's own frame.
    at: [f64; 3],
    /// Where it is, in the world's.
    to: [f64; 3],
    until: Instant,
}

impl Pull {
    /// A hand at a body; nothing if a number makes no sense.
    pub(crate) fn new(body: u32, at: [f64; 3], to: [f64; 3]) -> Option<Self> {
        let is_sound = |value: &f64| value.abs() < COORDINATE_MAX;
        let until = Instant::now() + HOLDS;
        let is_sound = at.iter().chain(&to).all(is_sound);
        let body = usize::try_from(body).ok().filter(|_| is_sound)?;
        Some(Self { body, at, to, until })
    }

    /// No hand: whatever pulled lets go.
    pub(crate) fn none() -> Self {
        Self { body: 0, at: [0.0; 3], to: [0.0; 3], until: Instant::now() }
    }

    /// Whether it lets go.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until < now
    }
}

impl Simulation {
    /// Adds the hand's force to what is applied to the body; returns what was applied before.
    pub(super) fn apply(&mut self, pull: &Pull) -> Option<(usize, [f64; 6])> {
        let Pull { body, at, to, .. } = *pull;
        let model = self.data.model();
        // The world does not move.
        if body == 0 || model.body_mass().len() <= body {
            return None;
        }
        let root = usize::try_from(model.body_rootid()[body]).ok()?;
        let mass = model.body_subtreemass().get(root).copied()?;
        let data = &self.data;
        let arm = rotated(data.xmat()[body], at);
        let point = sum(data.xpos()[body], arm);
        let from_center = sum(point, data.xipos()[body].map(|value| -value));
        let velocity = data.object_velocity(MjtObjBase::mjOBJ_BODY, body, false);
        let [turn_x, turn_y, turn_z, x, y, z] = velocity;
        let speed = sum([x, y, z], cross([turn_x, turn_y, turn_z], from_center));
        let (stiffness, damping) = (STIFFNESS * mass, 2.0 * STIFFNESS.sqrt() * mass);
        let force: [f64; 3] = std::array::from_fn(|axis| {
            stiffness * (to[axis] - point[axis]) - damping * speed[axis]
        });
        let torque = cross(from_center, force);
        if !force.iter().chain(&torque).all(|value| value.is_finite()) {
            return None;
        }
        let applied = &mut self.data.xfrc_applied_mut()[body];
        let before = *applied;
        for (value, more) in applied.iter_mut().zip(force.into_iter().chain(torque)) {
            *value += more;
        }
        Some((body, before))
    }

    /// Takes the hand's force away again.
    pub(super) fn let_go(&mut self, (body, before): (usize, [f64; 6])) {
        self.data.xfrc_applied_mut()[body] = before;
    }
}

fn sum(one: [f64; 3], other: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| one[axis] + other[axis])
}

fn cross(one: [f64; 3], other: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| {
        let (next, last) = ((axis + 1) % 3, (axis + 2) % 3);
        one[next] * other[last] - one[last] * other[next]
    })
}

/// Turned by a matrix, row by row.
fn rotated(matrix: [f64; 9], vector: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|row| (0..3).map(|axis| matrix[3 * row + axis] * vector[axis]).sum())
}
