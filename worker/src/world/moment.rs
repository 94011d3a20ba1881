//! A model at a moment, for those who look at it.
//!
//! After the kind: `u32` edition, `u32` flags ([`RUNS`]), `u32` zero, `f64` time in seconds, `u64`
//! steps so far; then `f32` each, in MuJoCo's order: three for every body's position, four for its
//! orientation, the positions of the joints, the controls, and the forces of the actuators. Those
//! are of the last step; all others are of the moment itself.

use super::simulation::Simulation;
use crate::endpoint::MOMENT;

/// It runs in the background.
const RUNS: u32 = 1;

/// The most bodies that are shown.
pub(crate) const BODIES_MAX: usize = 20_000;

/// The most joint positions, controls and forces that are shown, of each kind.
const READOUTS_MAX: usize = 100_000;

impl Simulation {
    /// The model as it is now. The simulation's future stays as it was, to the last bit.
    pub(crate) fn moment(&mut self, runs: bool) -> Vec<u8> {
        self.place_bodies();
        let data = &self.data;
        let readouts = [data.qpos(), data.ctrl(), data.actuator_force()];
        let [positions, controls, forces] = readouts.map(|values| cut(values, READOUTS_MAX));
        let bodies = data.xpos().len().min(BODIES_MAX);
        let floats = 7 * bodies + positions.len() + controls.len() + forces.len();
        let mut bytes = Vec::with_capacity(32 + 4 * floats);
        let flags = if runs { RUNS } else { 0 };
        for word in [MOMENT, self.edition(), flags, 0] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&self.time_secs().to_le_bytes());
        bytes.extend_from_slice(&self.counts().steps_total.to_le_bytes());
        put(&mut bytes, data.xpos()[..bodies].as_flattened());
        put(&mut bytes, data.xquat()[..bodies].as_flattened());
        put(&mut bytes, positions);
        put(&mut bytes, controls);
        put(&mut bytes, forces);
        bytes
    }

    /// Derives the bodies' poses of the positions as they are now. A step derives them itself
    /// before it uses them; the positions are put back in case deriving has touched them.
    fn place_bodies(&mut self) {
        let positions = self.data.qpos().to_vec();
        self.data.kinematics();
        self.data.qpos_mut().copy_from_slice(&positions);
    }
}

fn cut(values: &[f64], max: usize) -> &[f64] {
    values.get(..max).unwrap_or(values)
}

#[expect(clippy::cast_possible_truncation, reason = "pictures need no more")]
fn put(bytes: &mut Vec<u8>, values: &[f64]) {
    bytes.extend(values.iter().flat_map(|value| (*value as f32).to_le_bytes()));
}
