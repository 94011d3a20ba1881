//! How each call is carried out, one module per family.

mod model;
mod recording;
mod run;
mod session;
mod state;
pub(crate) mod step;
