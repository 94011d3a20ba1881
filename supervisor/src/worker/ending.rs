//! How a worker ended.

use std::fmt;

use serde::{Deserialize, Serialize};
use simward_protocol::ending;

use crate::pool::process::Exit;

/// How a worker ended: what we make of it, the kernel's word, and its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What kind of end it was.
    pub kind: Kind,
    /// The kernel's word.
    pub exit: Option<Exit>,
    /// Which limit it passed, if it was for that.
    pub limit: Option<String>,
    /// What it said or wrote last.
    pub last_words: Option<String>,
}

/// What kind of end it was.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// We asked it to end, and it did.
    Stopped,
    /// We were told to end it at once.
    Killed,
    /// It did not become ready in time.
    NeverReady,
    /// It speaks another version of the protocol.
    Mismatch,
    /// It sent what no worker sends, or hung up on us.
    BrokeProtocol,
    /// It was busy without making progress, using the processor.
    Spinning,
    /// It was busy without making progress, waiting for something.
    Stuck,
    /// A signal stopped it, and nothing let it go on.
    Suspended,
    /// A call took longer than it may, though there was progress.
    Overdue,
    /// It took more memory, or more threads, than it may.
    Greedy,
    /// The physics engine met an error from which it cannot return.
    EngineError,
    /// It has a defect.
    Defect,
    /// A signal ended it.
    Crashed,
    /// It exited of itself.
    Exited,
    /// We lost track of it.
    Lost,
}

impl Kind {
    /// The kind's name in snake case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::NeverReady => "never_ready",
            Self::Mismatch => "mismatch",
            Self::BrokeProtocol => "broke_protocol",
            Self::Spinning => "spinning",
            Self::Stuck => "stuck",
            Self::Suspended => "suspended",
            Self::Overdue => "overdue",
            Self::Greedy => "greedy",
            Self::EngineError => "engine_error",
            Self::Defect => "defect",
            Self::Crashed => "crashed",
            Self::Exited => "exited",
            Self::Lost => "lost",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Stopped => "it was stopped",
            Self::Killed => "it was killed on request",
            Self::NeverReady => "it did not become ready in time",
            Self::Mismatch => "it speaks another version of the protocol",
            Self::BrokeProtocol => "it broke the protocol",
            Self::Spinning => "it was busy without progress",
            Self::Stuck => "it was stuck without progress",
            Self::Suspended => "a signal stopped it and nothing let it go on",
            Self::Overdue => "a call took longer than it may",
            Self::Greedy => "it took more than it may",
            Self::EngineError => "the physics engine met a fatal error",
            Self::Defect => "it has a defect",
            Self::Crashed => "a signal ended it",
            Self::Exited => "it exited unasked",
            Self::Lost => "it was lost track of",
        }
    }
}

impl Ending {
    /// An ending without the kernel's word.
    pub fn of(kind: Kind) -> Self {
        Self { kind, exit: None, limit: None, last_words: None }
    }
}

/// What an unasked exit means.
pub(super) fn kind_of(exit: Exit) -> Kind {
    match exit {
        Exit::Code(ending::ENGINE_ERROR) => Kind::EngineError,
        Exit::Code(ending::PANIC) => Kind::Defect,
        Exit::Code(ending::BAD_FRAME) => Kind::BrokeProtocol,
        Exit::Code(_) => Kind::Exited,
        Exit::Signal(_) => Kind::Crashed,
    }
}

/// Whether last words say that memory ran out: how a C++ program, the engine and we say it.
pub(crate) fn is_of_memory(words: &str) -> bool {
    let signs = ["bad_alloc", "allocate memory", "out of memory", "memory allocation"];
    // The engine's own stack is part of the model: it is the model that makes it too small.
    signs.iter().any(|sign| words.contains(sign)) && !words.contains("stack overflow")
}

/// The limit that a worker met in its own address space, of so many bytes, by its last words.
pub(super) fn of_address_space(words: Option<&str>, bytes: u64) -> Option<String> {
    let met = bytes != 0 && words.is_some_and(is_of_memory);
    met.then(|| format!("its address space is limited to {} MiB", bytes >> 20))
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.sentence())?;
        if let Some(exit) = self.exit {
            write!(f, " ({exit})")?;
        }
        if let Some(limit) = &self.limit {
            write!(f, ": {limit}")?;
        }
        if let Some(words) = &self.last_words {
            write!(f, "; its last words: {words}")?;
        }
        Ok(())
    }
}
