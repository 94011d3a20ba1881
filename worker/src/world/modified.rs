//! What was changed of a compiled model, so that it can be kept, brought back and undone.

use std::collections::BTreeMap;

use mujoco_rs::mujoco_c::mj_setConst;
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::MjModel;
use simward_protocol::checkpoint::{MODIFIED_MAX, Modified};
use simward_protocol::fault::Fault;

use super::fields::FIELDS;
use super::simulation::INTEGRATION;

type Data = MjData<Box<MjModel>>;

/// The values that differ from what was compiled.
#[derive(Debug, Default)]
pub struct Modifications {
    /// As a checkpoint has them.
    words: Vec<[u64; 2]>,
    /// What was compiled, by field and index.
    compiled: BTreeMap<(usize, usize), f64>,
}

/// New values: field, index, value.
pub(crate) type Wanted = Vec<(usize, usize, f64)>;

impl Modifications {
    /// As a checkpoint has them.
    pub(crate) fn words(&self) -> &[[u64; 2]] {
        &self.words
    }

    /// What was compiled, where something else stands now.
    pub(crate) fn compiled(&self, field: usize, index: usize) -> Option<f64> {
        self.compiled.get(&(field, index)).copied()
    }

    /// Everything that was compiled and stands differently now.
    pub(crate) fn all_compiled(&self) -> Wanted {
        self.compiled.iter().map(|((field, index), value)| (*field, *index, *value)).collect()
    }

    /// Sets values that were checked; refuses if too many would differ from what was compiled.
    pub(crate) fn set(&mut self, data: &mut Data, wanted: &Wanted) -> Result<(), Fault> {
        // What is wanted last counts; what lies before it was never there.
        let current: BTreeMap<(usize, usize), f64> =
            wanted.iter().map(|(field, index, value)| ((*field, *index), *value)).collect();
        let mut compiled = self.compiled.clone();
        for ((field, index), value) in &current {
            let before = read(data, *field, *index);
            let original = *compiled.entry((*field, *index)).or_insert(before);
            if original.to_bits() == value.to_bits() {
                compiled.remove(&(*field, *index));
            }
        }
        if MODIFIED_MAX < compiled.len() {
            let what = "values of a model that differ from what was compiled".to_owned();
            let (value, max) = (compiled.len() as u64, MODIFIED_MAX as u64);
            return Err(Fault::LimitExceeded { what, value, max });
        }
        self.compiled = compiled;
        write(data, &current);
        let kept = |(field, index): &(usize, usize)| {
            let value = read(data, *field, *index);
            let (field, index) = (u16::try_from(*field).ok()?, u32::try_from(*index).ok()?);
            Some(Modified { field, index, value }.words())
        };
        self.words = self.compiled.keys().filter_map(kept).collect();
        Ok(())
    }

    /// Makes the model differ from what was compiled as the words say, and not otherwise.
    pub fn take_over(&mut self, data: &mut Data, words: &[[u64; 2]]) -> Result<(), &'static str> {
        let mut wanted = self.all_compiled();
        for word in words {
            let modified = Modified::of_words(*word).ok_or("it changes a field that is none")?;
            let (field, index) = (usize::from(modified.field), modified.index as usize);
            let count = FIELDS.get(field).map_or(0, |field| field.values(model(data)).len());
            if count <= index {
                return Err("it changes a field that the model has not");
            }
            wanted.push((field, index, modified.value));
        }
        self.set(data, &wanted).map_err(|_fault| "it changes too many fields")
    }
}

/// The model of the data, to change numbers in.
#[expect(unsafe_code, reason = "the bindings leave it to us what is changed")]
pub(super) fn model(data: &mut Data) -> &mut MjModel {
    // SAFETY: what the callers here change are numbers that the engine reads anew in each step, none
    // of them a size, an address or an index; the data stay compatible.
    unsafe { data.model_mut() }
}

fn read(data: &mut Data, field: usize, index: usize) -> f64 {
    FIELDS[field].values(model(data))[index]
}

fn write(data: &mut Data, values: &BTreeMap<(usize, usize), f64>) {
    for ((field, index), value) in values {
        FIELDS[*field].values(model(data))[*index] = *value;
    }
    if values.keys().any(|(field, _)| FIELDS[*field].derives) {
        derive_constants(data);
    }
}

/// Derives the constants that follow from masses and the like. The engine uses the data for that;
/// the state in them is put back.
#[expect(unsafe_code, reason = "the bindings have no such function")]
fn derive_constants(data: &mut Data) {
    let state = data.state(INTEGRATION);
    let model: *mut _ = std::ptr::from_ref(model(data).ffi()).cast_mut();
    // SAFETY: model and data belong to each other, and nobody else has a reference to either of
    // them during the call; the model was reached through `data`, which is borrowed alone.
    unsafe { mj_setConst(model, data.ffi_mut()) };
    // The lengths agree because the state came from the same data just now.
    data.set_state(&state, INTEGRATION).ok();
}
