//! How each call is carried out, one module per family.

mod actuation;
mod analysis;
mod diagnose;
mod model;
mod modify;
mod motion;
mod observe;
mod profiling;
mod recording;
mod rollout;
mod run;
mod session;
mod state;
pub(crate) mod step;
mod sweep;
mod viewer;
