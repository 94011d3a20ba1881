//! Who may watch a session on its port.

use serde::{Deserialize, Serialize};

/// Lets viewers in on the session's port that come with one of these tokens, and turns out those
/// that came with another one.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitViewers {
    /// For looking.
    pub look: Option<String>,
    /// For looking and steering.
    pub steer: Option<String>,
}

impl std::fmt::Debug for AdmitViewers {
    /// Leaves the tokens out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { look, steer } = self;
        let (look, steer) = (look.is_some(), steer.is_some());
        f.debug_struct("AdmitViewers").field("look", &look).field("steer", &steer).finish()
    }
}

/// The answer to [`AdmitViewers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewersAdmitted {
    /// Viewers that watched the session when it was asked.
    pub watching: u32,
    /// Whether the worker has the viewer's page, or only one that says how to get it.
    pub has_page: bool,
}
