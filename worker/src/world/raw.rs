//! What the bindings have no safe function for.

#![expect(unsafe_code, reason = "calls a C library")]

use mujoco_rs::mujoco_c::{mj_mulM, mjd_transitionFD};
use mujoco_rs::wrappers::mj_data::MjData;
use mujoco_rs::wrappers::mj_model::traits::ModelType;

use super::scratch::Scratch;

/// Derives of positions where everything is and the mass matrix. The next step derives both anew.
pub(crate) fn inertia<M: ModelType>(data: &mut MjData<M>) {
    data.kinematics();
    data.com_pos();
    data.tendon_comp();
    data.make_m();
}

/// The mass matrix times a vector of nv values. The mass matrix is the one that was derived last.
pub(crate) fn mass_times<M: ModelType>(data: &MjData<M>, vector: &[f64]) -> Vec<f64> {
    let mut result = vec![0.0; data.qvel().len()];
    mass_times_into(data, vector, &mut result);
    result
}

/// The same, into `result`.
pub(crate) fn mass_times_into<M: ModelType>(data: &MjData<M>, vector: &[f64], result: &mut [f64]) {
    let nv = data.qvel().len();
    assert_eq!((vector.len(), result.len()), (nv, nv), "a vector of joint space has nv values");
    // SAFETY: model and data belong together, since the data were made for the model that they
    // hold. The function reads nv values and writes nv values: `qvel` has nv values, and both
    // vectors were just compared with it. They do not overlap, for one of them is borrowed alone.
    unsafe {
        mj_mulM(data.model().ffi(), data.ffi(), result.as_mut_ptr(), vector.as_ptr());
    }
}

/// The matrices of the linear model of one step, by rows: A has `2 nv + na` rows and columns, B
/// as many rows, and nu columns.
///
/// Only for a model that [`unsuited_to_differences`](super::linearize::unsuited_to_differences)
/// says nothing of: the engine ends the process at others.
pub(crate) fn transition(data: &mut Scratch<'_>, eps: f64, centered: bool) -> (Vec<f64>, Vec<f64>) {
    let states = 2 * data.qvel().len() + data.act().len();
    let mut a = vec![0.0; states * states];
    let mut b = vec![0.0; states * data.ctrl().len()];
    let model = std::ptr::from_ref(data.model().ffi());
    // SAFETY: model and data belong together, since the data were made for the model that they
    // hold; the model outlives the call, and nothing else reads or writes the data meanwhile,
    // because they are borrowed mutably. `a` and `b` have the sizes that the function's
    // documentation asks for (an empty one is a dangling pointer that nothing is written to);
    // the two other matrices may be null.
    unsafe {
        let (c, d) = (std::ptr::null_mut(), std::ptr::null_mut());
        mjd_transitionFD(
            model,
            data.ffi_mut(),
            eps,
            centered,
            a.as_mut_ptr(),
            b.as_mut_ptr(),
            c,
            d,
        );
    }
    (a, b)
}
