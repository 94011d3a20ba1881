//! What the bindings have no safe function for.

#![expect(unsafe_code, reason = "calls a C library")]

use mujoco_rs::mujoco_c::{mj_mulM, mjd_transitionFD};

use super::scratch::Scratch;

/// The mass matrix times a vector of nv values. The data must be derived: the mass matrix is the
/// one that was derived last.
pub(crate) fn mass_times(data: &Scratch<'_>, vector: &[f64]) -> Vec<f64> {
    let mut result = vec![0.0; data.qvel().len()];
    assert_eq!(vector.len(), result.len(), "a vector of joint space has nv values");
    // SAFETY: model and data belong together, since the data were made for the model that they
    // hold. The function reads nv values and writes nv values: `qvel` has nv values, `result` is
    // as long, and `vector` was just compared. They do not overlap.
    unsafe {
        mj_mulM(data.model().ffi(), data.ffi(), result.as_mut_ptr(), vector.as_ptr());
    }
    result
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
