//! The compiler itself, through MuJoCo's C interface.
//!
//! The safe bindings keep at most 99 bytes of an error; a model's author needs all of it.

use std::ffi::{CStr, CString, c_char};
use std::ptr::NonNull;

use mujoco_rs::mujoco_c::{
    mj_deleteModel, mj_loadXML, mj_saveModel, mj_sizeModel, mj_stateSize, mjModel,
};
use mujoco_rs::wrappers::mj_auxiliary::MjVfs;
use simward_protocol::compile::Compile;
use simward_protocol::fault::{Fault, cut};

use crate::engine;
use crate::world::simulation::{INTEGRATION, check_timestep};

/// The longest error that the compiler can tell.
const ERROR_BYTES: usize = 4096;

/// A compiled model.
pub(super) struct Built {
    pub(super) compiled: Vec<u8>,
    /// How many values its integration state has.
    pub(super) state_values: u64,
    /// What the compiler warned of.
    pub(super) warnings: Vec<String>,
}

/// Compiles a model.
pub(super) fn build(call: &Compile) -> Result<Built, Fault> {
    build_in(&call.entry, &files_of(call)?)
}

/// Compiles the model of that name among files in memory.
pub(super) fn build_in(entry: &str, vfs: &MjVfs) -> Result<Built, Fault> {
    let (model, said) = load(entry, vfs)?;
    let mut warnings = engine::take_warnings();
    if !said.is_empty() && !warnings.contains(&said) {
        warnings.push(cut(said));
    }
    check_timestep(model.get().opt.timestep)?;
    check_names(&model)?;
    Ok(Built { compiled: model.bytes(), state_values: model.state_values(), warnings })
}

/// The files in memory: the model and its assets.
pub(super) fn files_of(call: &Compile) -> Result<MjVfs, Fault> {
    let assets = call.assets.iter().map(|asset| (asset.path.as_str(), asset.content.as_slice()));
    files(&call.entry, &call.model_xml, assets)
}

/// Files in memory: a model and its assets, by their paths.
pub(super) fn files<'a>(
    entry: &'a str,
    model_xml: &'a str,
    assets: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<MjVfs, Fault> {
    let mut vfs = MjVfs::new();
    for (path, content) in std::iter::once((entry, model_xml.as_bytes())).chain(assets) {
        vfs.add_from_buffer(path, content)
            .map_err(|error| invalid(format!("the asset `{path}` could not be taken: {error}")))?;
    }
    Ok(vfs)
}

/// What is wrong with a model that could not be read, in the compiler's own words and all of them.
pub(super) fn whole_error(entry: &str, vfs: &MjVfs, cut_short: &dyn std::fmt::Display) -> Fault {
    match load(entry, vfs) {
        Err(fault) => fault,
        Ok(_) => invalid(cut_short.to_string()),
    }
}

/// Compiles, and keeps what the compiler says: an error, or a warning beside the model.
#[expect(unsafe_code, reason = "the safe bindings cut errors")]
fn load(entry: &str, vfs: &MjVfs) -> Result<(Model, String), Fault> {
    let name = CString::new(entry).map_err(|error| invalid(error.to_string()))?;
    let mut said: [c_char; ERROR_BYTES] = [0; ERROR_BYTES];
    let size = i32::try_from(ERROR_BYTES).expect("a constant that fits");
    // SAFETY: the name ends with a NUL, the file system outlives the call, and the buffer is as
    // long as it is said to be.
    let model = unsafe { mj_loadXML(name.as_ptr(), vfs.ffi(), said.as_mut_ptr(), size) };
    // SAFETY: the buffer was zeroed, and the engine writes a NUL within its length.
    let said = unsafe { CStr::from_ptr(said.as_ptr()) }.to_string_lossy().trim_end().to_owned();
    match NonNull::new(model) {
        Some(model) => Ok((Model(model), said)),
        None => Err(invalid(said)),
    }
}

/// A compiled model in the engine's memory.
struct Model(NonNull<mjModel>);

impl Model {
    #[expect(unsafe_code, reason = "a pointer of the C interface")]
    fn get(&self) -> &mjModel {
        // SAFETY: the pointer came from `mj_loadXML`, and nobody else has it.
        unsafe { self.0.as_ref() }
    }

    #[expect(unsafe_code, reason = "the C interface")]
    fn bytes(&self) -> Vec<u8> {
        // SAFETY: the model is valid.
        let size = unsafe { mj_sizeModel(self.0.as_ptr()) };
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        // SAFETY: no file name means that the buffer is written, which is as long as it is said
        // to be.
        unsafe {
            mj_saveModel(self.0.as_ptr(), std::ptr::null(), bytes.as_mut_ptr().cast(), size);
        }
        bytes
    }

    #[expect(unsafe_code, reason = "the C interface")]
    fn state_values(&self) -> u64 {
        // SAFETY: the model is valid, and the specification has no unknown bit.
        let values = unsafe { mj_stateSize(self.0.as_ptr(), INTEGRATION.cast_signed()) };
        u64::try_from(values).unwrap_or(0)
    }

    /// All names of the model, one after the other.
    #[expect(unsafe_code, reason = "a pointer of the C interface")]
    fn names(&self) -> &[u8] {
        let model = self.get();
        let length = usize::try_from(model.nnames).unwrap_or(0);
        // SAFETY: the engine allocated that many characters, which live as long as the model.
        unsafe { std::slice::from_raw_parts(model.names.cast(), length) }
    }
}

impl Drop for Model {
    #[expect(unsafe_code, reason = "the C interface")]
    fn drop(&mut self) {
        // SAFETY: the model is valid, and nobody uses it any more.
        unsafe { mj_deleteModel(self.0.as_ptr()) };
    }
}

/// Names travel as text from here on.
fn check_names(model: &Model) -> Result<(), Fault> {
    for name in model.names().split(|byte| *byte == 0) {
        if let Err(error) = std::str::from_utf8(name) {
            let name = CString::new(name).unwrap_or_default();
            return Err(invalid(format!("the name {name:?} is not UTF-8: {error}")));
        }
    }
    Ok(())
}

pub(super) fn invalid(detail: String) -> Fault {
    Fault::ModelInvalid { detail: cut(detail) }
}
