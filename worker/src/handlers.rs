//! How each call is carried out, one module per family.

mod analysis;
mod model;
mod observe;
mod run;
mod session;
mod state;
pub(crate) mod step;
