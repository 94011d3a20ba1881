//! What is measured of the sessions and of the machine under them.
//!
//! What is looked at closely is read when somebody asks. Beside that a sample of everything is taken
//! every second (`sampler`), which becomes series ([`series`]), of which the last hour is in memory
//! and the time before in a file ([`history`]), and which are read in one way ([`query`]). Others get
//! them, too: Prometheus when it asks ([`Exposition`]) or every minute ([`remote_write`]), and whoever
//! reads files ([`export`]).

pub mod export;
mod exposition;
pub mod history;
pub mod levels;
pub mod measured;
pub mod metric;
mod monitor;
mod processes;
pub mod query;
pub mod remote_write;
pub mod reports;
pub(crate) mod rhythm;
mod sampler;
pub mod series;
mod stats;
pub mod totals;
pub mod usage;

pub use self::exposition::Exposition;
pub use self::monitor::{Config, Monitor};
pub use self::processes::{ProcessReport, Processes, Watch};
pub use self::stats::PoolStats;
pub use self::usage::Use;
