//! How each call is carried out, one module per family.

mod actuation;
mod model;
mod modify;
mod rollout;
mod analysis;
mod observe;
mod recording;
mod run;
mod session;
mod state;
pub(crate) mod step;
mod sweep;
mod viewer;
