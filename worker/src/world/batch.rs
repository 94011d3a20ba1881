//! Many simulations of one model on several processors: MuJoCo's own batch, which the bindings lack.
//!
//! Each simulation is a row of integration state. A call loads the row, computes and saves it
//! back, so that results are those of a loop over single simulations, to the last bit and on any
//! number of processors. An error of the engine fails its own simulation and no other.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;

use mujoco_rs::mujoco_c::{mjModel, mjWarningStat};
use mujoco_rs::wrappers::mj_model::MjModel;

/// `mjBatch`, which is the engine's own.
#[derive(Debug)]
#[repr(C)]
struct Opaque {
    _private: [u8; 0],
}

/// `mjBatchConfig`.
#[repr(C)]
struct Config {
    nthread: c_int,
    /// `mjtBool`, which is one byte.
    persistent: bool,
}

// `mjbatch.h` of MuJoCo 3.17.0.
#[expect(unsafe_code, reason = "functions of the engine that the bindings lack")]
unsafe extern "C" {
    fn mjb_makeBatch(
        m: *const mjModel,
        nsim: c_int,
        config: *const Config,
        error: *mut c_char,
        error_sz: c_int,
    ) -> *mut Opaque;
    fn mjb_deleteBatch(b: *mut Opaque);
    fn mjb_nstate(b: *const Opaque) -> c_int;
    fn mjb_state(b: *mut Opaque) -> *mut f64;
    fn mjb_warning(b: *mut Opaque) -> *mut mjWarningStat;
    fn mjb_step(b: *mut Opaque, ids: *const c_int, nid: c_int, nstep: c_int, stage: c_int)
    -> c_int;
    fn mjb_forward(b: *mut Opaque, ids: *const c_int, nid: c_int, stage: c_int) -> c_int;
    fn mjb_status(b: *const Opaque) -> *const c_int;
    fn mjb_error(b: *const Opaque, sim: c_int) -> *const c_char;
    fn mjb_output(
        b: *mut Opaque,
        name: *const c_char,
        size: *mut c_int,
        elemsize: *mut c_int,
    ) -> *mut c_void;
    fn mjb_nthread(b: *const Opaque) -> c_int;
    fn mjb_expand(
        b: *mut Opaque,
        name: *const c_char,
        size: *mut c_int,
        elemsize: *mut c_int,
    ) -> *mut c_void;
    fn mjb_setConst(b: *mut Opaque, ids: *const c_int, nid: c_int) -> c_int;
}

/// How many kinds of warnings the engine counts (`mjNWARNING`).
const WARNINGS: usize = simward_protocol::checkpoint::WARNINGS;

/// The engine computes nothing after the last step, or everything (`mjSTAGE_NONE`, `mjSTAGE_ACC`).
const STAGE_NONE: c_int = 0;
const STAGE_ALL: c_int = 3;

/// A batch of simulations, which has the model as it was when it was made.
#[derive(Debug)]
pub struct Batch {
    ours: NonNull<Opaque>,
    sims: usize,
    width: usize,
}

/// A field of the data that is copied out after every call.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    values: NonNull<f64>,
    pub(crate) width: usize,
}

#[expect(unsafe_code, reason = "calls functions of the engine that the bindings lack")]
impl Batch {
    /// A batch of `sims` simulations, all in that state.
    pub fn new(model: &MjModel, sims: usize, threads: u32, state: &[f64]) -> Result<Self, String> {
        let nsim = c_int::try_from(sims).map_err(|error| error.to_string())?;
        let nthread = c_int::try_from(threads.max(1)).map_err(|error| error.to_string())?;
        let config = Config { nthread, persistent: false };
        let mut error: [c_char; 1000] = [0; 1000];
        // SAFETY: the engine copies the model, which is whole; the configuration is laid out as in the header, and the error
        // has the length that is told.
        let batch = unsafe {
            mjb_makeBatch(model.ffi(), nsim, &raw const config, error.as_mut_ptr(), 1000)
        };
        let Some(batch) = NonNull::new(batch) else {
            error[999] = 0;
            // SAFETY: it ends with a zero, at the latest the one just set.
            let text = unsafe { CStr::from_ptr(error.as_ptr()) };
            return Err(text.to_string_lossy().into_owned());
        };
        // SAFETY: the batch was just made.
        let width = usize::try_from(unsafe { mjb_nstate(batch.as_ptr()) }).unwrap_or(0);
        let mut made = Self { ours: batch, sims, width };
        if state.len() != width {
            return Err("the state has another length in a batch".to_owned());
        }
        made.states_mut().chunks_exact_mut(width).for_each(|row| row.copy_from_slice(state));
        Ok(made)
    }

    /// On how many threads it computes.
    pub(crate) fn threads(&self) -> u32 {
        // SAFETY: the batch lives as long as `self`.
        u32::try_from(unsafe { mjb_nthread(self.ours.as_ptr()) }).unwrap_or(1)
    }

    /// The states, one row for each simulation.
    pub(crate) fn states(&self) -> &[f64] {
        // SAFETY: the engine's array has that many values, lives as long as the batch, and is
        // written only in calls that borrow `self` alone.
        unsafe { std::slice::from_raw_parts(mjb_state(self.ours.as_ptr()), self.sims * self.width) }
    }

    /// The states, to be changed between calls.
    pub(crate) fn states_mut(&mut self) -> &mut [f64] {
        let length = self.sims * self.width;
        // SAFETY: as for `states`, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(mjb_state(self.ours.as_ptr()), length) }
    }

    /// How many values a row has.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Advances the given simulations.
    pub fn step(&mut self, ids: &[c_int], steps: u64) {
        let (nid, nstep) = (count(ids.len()), c_int::try_from(steps).unwrap_or(c_int::MAX));
        self.check_ids(ids);
        // SAFETY: the ids are of this batch.
        unsafe { mjb_step(self.ours.as_ptr(), ids.as_ptr(), nid, nstep, STAGE_NONE) };
    }

    /// Derives everything of the given simulations' states, which it may change in what is not
    /// physics: callers that go on put them back.
    pub(crate) fn forward(&mut self, ids: &[c_int]) {
        self.check_ids(ids);
        let nid = count(ids.len());
        // SAFETY: the ids are of this batch.
        unsafe { mjb_forward(self.ours.as_ptr(), ids.as_ptr(), nid, STAGE_ALL) };
    }

    /// Why a simulation failed in the last call that it was part of.
    pub(crate) fn error(&self, sim: usize) -> Option<String> {
        assert!(sim < self.sims, "a simulation of this batch");
        // SAFETY: the engine has a status for each simulation, and `sim` is one; a text that it
        // gives ends with a zero and stays until the next call, which needs `self` alone.
        unsafe {
            if *mjb_status(self.ours.as_ptr()).add(sim) == 0 {
                return None;
            }
            let text = CStr::from_ptr(mjb_error(self.ours.as_ptr(), count(sim)));
            Some(text.to_string_lossy().into_owned())
        }
    }

    /// How often the engine warned in a simulation, by kind.
    pub(crate) fn warnings(&self, sim: usize) -> [u64; WARNINGS] {
        assert!(sim < self.sims, "a simulation of this batch");
        // SAFETY: the engine has that many counters for each simulation, and `sim` is one.
        let row = unsafe {
            std::slice::from_raw_parts(
                mjb_warning(self.ours.as_ptr()).add(sim * WARNINGS),
                WARNINGS,
            )
        };
        std::array::from_fn(|kind| u64::try_from(row[kind].number).unwrap_or(0))
    }

    /// Copies a field of numbers out after every call from now on.
    pub(crate) fn output(&mut self, name: &str) -> Option<Output> {
        let name = CString::new(name).ok()?;
        let (mut size, mut bytes) = (0, 0);
        // SAFETY: the name ends with a zero, and both numbers are ours.
        let values =
            unsafe { mjb_output(self.ours.as_ptr(), name.as_ptr(), &raw mut size, &raw mut bytes) };
        if usize::try_from(bytes) != Ok(size_of::<f64>()) {
            return None;
        }
        let values = NonNull::new(values.cast())?;
        Some(Output { values, width: usize::try_from(size).ok()? })
    }

    /// Gives every simulation its own values of a field of the model: all of them, one row for each
    /// simulation, and how many values a row has.
    pub(crate) fn expand(&mut self, name: &str) -> Option<(&mut [f64], usize)> {
        let name = CString::new(name).ok()?;
        let (mut size, mut bytes) = (0, 0);
        // SAFETY: the name ends with a zero, and both numbers are ours.
        let values =
            unsafe { mjb_expand(self.ours.as_ptr(), name.as_ptr(), &raw mut size, &raw mut bytes) };
        let width = usize::try_from(size).ok().filter(|width| *width != 0)?;
        if usize::try_from(bytes) != Ok(size_of::<f64>()) {
            return None;
        }
        let values = NonNull::new(values.cast::<f64>())?;
        // SAFETY: the engine's storage has a row of that width for each simulation, lives as long as
        // the batch, and `self` is borrowed alone.
        let all = unsafe { std::slice::from_raw_parts_mut(values.as_ptr(), self.sims * width) };
        Some((all, width))
    }

    /// Derives, in each of the given simulations' models, the constants that follow from others.
    pub(crate) fn derive_constants(&mut self, ids: &[c_int]) {
        self.check_ids(ids);
        // SAFETY: the ids are of this batch.
        unsafe { mjb_setConst(self.ours.as_ptr(), ids.as_ptr(), count(ids.len())) };
    }

    /// What a field held after the last call.
    pub(crate) fn read(&self, output: Output, sim: usize) -> &[f64] {
        assert!(sim < self.sims, "a simulation of this batch");
        // SAFETY: the engine's storage has a row of that width for each simulation and lives as
        // long as the batch; it is written only in calls that borrow `self` alone.
        unsafe {
            std::slice::from_raw_parts(output.values.as_ptr().add(sim * output.width), output.width)
        }
    }

    fn check_ids(&self, ids: &[c_int]) {
        let is_ours = |id: &c_int| usize::try_from(*id).is_ok_and(|id| id < self.sims);
        assert!(ids.iter().all(is_ours), "simulations of this batch");
    }
}

impl Drop for Batch {
    #[expect(unsafe_code, reason = "calls a function of the engine that the bindings lack")]
    fn drop(&mut self) {
        // SAFETY: it was made by the engine, and is freed once.
        unsafe { mjb_deleteBatch(self.ours.as_ptr()) };
    }
}

fn count(number: usize) -> c_int {
    c_int::try_from(number).unwrap_or(c_int::MAX)
}
