//! Which tools there are: an operator leaves out what nobody needs, and every client's model reads
//! less.

use serde::{Deserialize, Serialize};

/// Families of tools that are there, or not, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Toolset {
    /// Models, and their simulation.
    Simulation,
    /// Sources of models: given back, and changed.
    Editing,
    /// What can be learnt of a model and its state.
    Analysis,
    /// The processes behind all sessions.
    Pool,
    /// How fast it all is.
    Performance,
    /// Where the time goes.
    Profiling,
}

impl Toolset {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Simulation,
        Self::Editing,
        Self::Analysis,
        Self::Pool,
        Self::Performance,
        Self::Profiling,
    ];
}

/// What clients are offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The toolsets that are on. Tools of the server itself and of sessions always are.
    pub toolsets: Vec<Toolset>,
}

impl Default for Config {
    fn default() -> Self {
        Self { toolsets: Toolset::ALL.to_vec() }
    }
}
