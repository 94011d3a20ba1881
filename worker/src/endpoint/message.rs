//! What travels between a viewer and its session, over the WebSocket.
//!
//! Numbers are little-endian. A binary message begins with its kind, a `u32`:
//!
//! - [`SHAPE`], a piece of the model's shape: `u32` edition, `u32` bytes of the whole, `u32` where
//!   this piece begins, and the piece. The whole is described in `world::shape`.
//! - [`MOMENT`], the model at a moment, described in `world::moment`.
//!
//! Texts are JSON. What the viewer says is an [`Ask`], what it hears a [`Tell`].

use serde::{Deserialize, Serialize};

/// A piece of a shape.
pub(crate) const SHAPE: u32 = 1;

/// A moment.
pub(crate) const MOMENT: u32 = 2;

/// What a viewer says.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// It has drawn a moment, and takes another one.
    More,
    /// To run the model in the background, in real time.
    Run,
    /// To end what runs in the background.
    Pause,
    /// To take steps.
    Step {
        /// How many.
        steps: u32,
    },
    /// To bring the model to its initial state.
    Reset,
    /// To pull at a body; it has to be said again and again.
    Pull {
        /// The body, by its number.
        body: u32,
        /// Where, in the body's own frame.
        at: [f64; 3],
        /// Where to, in the world's.
        to: [f64; 3],
    },
    /// To let go of it.
    LetGo,
}

impl Ask {
    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::More => "more",
            Self::Run => "run",
            Self::Pause => "pause",
            Self::Step { .. } => "step",
            Self::Reset => "reset",
            Self::Pull { .. } => "pull",
            Self::LetGo => "let_go",
        }
    }
}

/// What a viewer hears.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "tell", rename_all = "snake_case")]
pub(crate) enum Tell<'a> {
    /// Whom it has reached.
    Hello {
        session_id: &'a str,
        /// The models of the session.
        models: &'a [String],
        /// The one that is shown.
        model_id: &'a str,
        /// Whether it may do more than look.
        may_steer: bool,
    },
    /// What it asked for was done.
    Done { ask: &'a str },
    /// What it asked for was not done.
    Refused { ask: &'a str, why: &'a str },
}
