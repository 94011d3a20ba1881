//! One model takes another one's place, with as much of its state as the two have in common.

use std::collections::BTreeMap;

use simward_protocol::checkpoint::Modified;
use simward_protocol::editing::{Carried, Replaced};

use super::fields::FIELDS;
use super::names::Kind;
use super::shared::{Shared, copy, copy_rows, only_in, pairs};
use super::simulation::Simulation;

impl Simulation {
    /// Takes over what it shares with the model before it: what has the same name has the same
    /// state, and what is new has its default.
    pub(crate) fn succeed(&mut self, old: &Self, model_id: &str) -> Replaced {
        self.counts = old.counts();
        let (modifications, modifications_reset) = self.take_modifications(old);
        let (from, to) = (&old.data, &mut self.data);
        let shared = Shared::of(from.model(), to.model());
        to.set_time(from.time());
        copy(&shared.qpos, from.qpos(), to.qpos_mut());
        copy(&shared.qvel, from.qvel(), to.qvel_mut());
        copy(&shared.qvel, from.qacc_warmstart(), to.qacc_warmstart_mut());
        copy(&shared.qvel, from.qfrc_applied(), to.qfrc_applied_mut());
        copy(&shared.ctrl, from.ctrl(), to.ctrl_mut());
        copy(&shared.act, from.act(), to.act_mut());
        copy_rows(&shared.mocap, from.mocap_pos(), to.mocap_pos_mut());
        copy_rows(&shared.mocap, from.mocap_quat(), to.mocap_quat_mut());
        copy_rows(&shared.bodies, from.xfrc_applied(), to.xfrc_applied_mut());
        let mut replaced = Replaced {
            model: self.summary(model_id),
            carried: Carried {
                joints: count(shared.joints),
                actuators: count(shared.actuators),
                mocap_bodies: count(shared.mocap.len()),
                modifications,
            },
            added: only_in(self.data.model(), old.data.model()),
            removed: only_in(old.data.model(), self.data.model()),
            modifications_reset,
            items_cut: 0,
        };
        let lists = [&mut replaced.added, &mut replaced.removed, &mut replaced.modifications_reset];
        for list in lists {
            replaced.items_cut += count(list.len().saturating_sub(Replaced::ITEMS_MAX));
            list.truncate(Replaced::ITEMS_MAX);
        }
        replaced
    }

    /// Changes the numbers that were changed before, where they belong to what is still there;
    /// tells how many, and which are as they were compiled.
    fn take_modifications(&mut self, old: &Self) -> (u32, Vec<String>) {
        let (mut wanted, mut reset) = (Vec::new(), Vec::new());
        let (before, now) = (old.data.model(), self.data.model());
        // Of all things of a kind at once: there may be many of both.
        let mut same: BTreeMap<Kind, BTreeMap<usize, usize>> = BTreeMap::new();
        for word in old.modified.words() {
            let Some(Modified { field: number, index, value }) = Modified::of_words(*word) else {
                continue;
            };
            let Some(field) = FIELDS.get(usize::from(number)) else { continue };
            let owner = field.owner(before, index as usize);
            let place = owner.and_then(|(object, which)| match (field.kind(), object) {
                (Some(kind), Some(object)) => {
                    let same = same
                        .entry(kind)
                        .or_insert_with(|| pairs(kind, before, now).into_iter().collect());
                    field.place_of(now, Some(*same.get(&object)?), which)
                }
                _ => field.place_of(now, None, which),
            });
            match place {
                Some(place) => wanted.push((usize::from(number), place, value)),
                None => reset.push(field.tell(before, owner.and_then(|(object, _)| object))),
            }
        }
        reset.dedup();
        let taken = count(wanted.len());
        match self.modify(&wanted) {
            Ok(()) => (taken, reset),
            Err(_too_many) => (0, vec!["all".to_owned()]),
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
