//! How two builds agree that they may talk.

use serde::{Deserialize, Serialize};

/// Raised by any change to this crate that an older peer would misread.
pub const VERSION: u32 = 6;

/// The first frame a worker sends. Its layout never changes: it is what lets two builds that do
/// not understand each other find out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The worker's [`VERSION`].
    pub version: u32,
    /// The physics engine and its version, such as `MuJoCo 3.17.0`.
    pub engine: String,
    /// The isolation layers in force, outermost first.
    pub layers: Vec<String>,
}
