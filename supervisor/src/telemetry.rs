//! What is measured of the sessions and of the machine under them.
//!
//! Readings are taken when somebody asks: an idle daemon costs nothing.

mod processes;
mod stats;
pub mod usage;

pub use self::processes::{ProcessReport, Processes, Watch};
pub use self::stats::PoolStats;
pub use self::usage::Use;
