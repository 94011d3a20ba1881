//! Keyframes of a model whose sizes change: what belongs to a joint, an actuator or a mocap body
//! stays its own, and what is new has its default.

use mujoco_rs::wrappers::mj_auxiliary::MjVfs;
use mujoco_rs::wrappers::mj_editing::{MjSpec, SpecItem as _, SpecObject as _};
use mujoco_rs::wrappers::mj_model::{MjModel, MjtObjBase};
use simward_protocol::fault::Fault;

use super::build::invalid;
use crate::world::shared::{Shared, copy, copy_rows};

/// Keyframes that were taken out of a model.
pub(super) struct Keys {
    /// The model with its keyframes, as it was.
    model: MjModel,
}

impl Keys {
    /// Takes the keyframes out; nothing if there are none.
    #[expect(unsafe_code, reason = "the bindings leave it to us that nobody uses what is deleted")]
    pub(super) fn stash(spec: &mut MjSpec, vfs: &MjVfs) -> Result<Option<Self>, Fault> {
        if spec.key_iter().next().is_none() {
            return Ok(None);
        }
        let model = compile(spec, vfs)?;
        while let Some(key) = spec.key_iter_mut().next() {
            // SAFETY: it is deleted once, and no handle outlives the call.
            unsafe { key.delete() }.map_err(|error| invalid(error.to_string()))?;
        }
        Ok(Some(Self { model }))
    }

    /// Puts them back into what the model has become.
    pub(super) fn restore(self, spec: &mut MjSpec, vfs: &MjVfs) -> Result<(), Fault> {
        let new = compile(spec, vfs)?;
        let shared = Shared::of(&self.model, &new);
        for index in 0..self.model.key_time().len() {
            let key = Key::of(&self.model, index, &shared, &new);
            let name = self.model.id_to_name(MjtObjBase::mjOBJ_KEY, index).unwrap_or_default();
            let added = spec.add_key();
            if !name.is_empty() {
                added.set_name(name).map_err(|error| invalid(error.to_string()))?;
            }
            added.set_time(self.model.key_time()[index]);
            added.set_qpos(&key.qpos);
            added.set_qvel(&key.qvel);
            added.set_act(&key.act);
            added.set_ctrl(&key.ctrl);
            added.set_mpos(key.mocap_pos.as_flattened());
            added.set_mquat(key.mocap_quat.as_flattened());
        }
        Ok(())
    }
}

/// A keyframe of the sizes that the model has now.
struct Key {
    qpos: Vec<f64>,
    qvel: Vec<f64>,
    act: Vec<f64>,
    ctrl: Vec<f64>,
    mocap_pos: Vec<[f64; 3]>,
    mocap_quat: Vec<[f64; 4]>,
}

impl Key {
    fn of(old: &MjModel, index: usize, shared: &Shared, new: &MjModel) -> Self {
        let (before, now) = (old.ffi(), new.ffi());
        let mut key = Self {
            qpos: new.qpos0().to_vec(),
            qvel: vec![0.0; size(now.nv)],
            act: vec![0.0; size(now.na)],
            ctrl: vec![0.0; size(now.nu)],
            mocap_pos: vec![[0.0; 3]; size(now.nmocap)],
            mocap_quat: vec![[0.0; 4]; size(now.nmocap)],
        };
        for (body, mocap) in new.body_mocapid().iter().enumerate() {
            if let Ok(mocap) = usize::try_from(*mocap) {
                key.mocap_pos[mocap] = new.body_pos()[body];
                key.mocap_quat[mocap] = new.body_quat()[body];
            }
        }
        copy(&shared.qpos, row(old.key_qpos(), index, before.nq), &mut key.qpos);
        copy(&shared.qvel, row(old.key_qvel(), index, before.nv), &mut key.qvel);
        copy(&shared.act, row(old.key_act(), index, before.na), &mut key.act);
        copy(&shared.ctrl, row(old.key_ctrl(), index, before.nu), &mut key.ctrl);
        let (positions, _) = row(old.key_mpos(), index, 3 * before.nmocap).as_chunks();
        copy_rows(&shared.mocap, positions, &mut key.mocap_pos);
        let (quaternions, _) = row(old.key_mquat(), index, 4 * before.nmocap).as_chunks();
        copy_rows(&shared.mocap, quaternions, &mut key.mocap_quat);
        key
    }
}

/// One keyframe's values.
fn row(values: &[f64], index: usize, width: i64) -> &[f64] {
    &values[index * size(width)..(index + 1) * size(width)]
}

fn size(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

fn compile(spec: &mut MjSpec, vfs: &MjVfs) -> Result<MjModel, Fault> {
    spec.compile_with_vfs(vfs).map_err(|error| invalid(error.to_string()))
}
