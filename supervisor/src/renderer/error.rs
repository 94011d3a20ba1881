//! Why there is no picture.

use std::path::PathBuf;
use std::time::Duration;

use simward_protocol::fault::Fault;

use crate::code::Code;
use crate::pool::process::Exit;
use crate::pool::turns;
use crate::store;

/// A picture that was not drawn. The session is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The renderer says no.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Too many processes are starting, or too many renderers draw.
    #[error(transparent)]
    Busy(#[from] turns::Error),
    /// Too many of the session's pictures wait.
    #[error("{max} pictures of this session wait already")]
    QueueFull {
        /// The limit.
        max: usize,
    },
    /// It took too long.
    #[error("the picture was not drawn within {} s (render.timeout_secs)", .after.as_secs_f64())]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// The renderer ran out of what it may use.
    #[error(
        "the renderer ran out of memory: it may use {} MiB of address space (render.memory_bytes)",
        .limit >> 20
    )]
    Memory {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The renderer ended.
    #[error("the renderer ended ({exit}){}", said(.last_words))]
    Crashed {
        /// The kernel's word.
        exit: Exit,
        /// What it said last.
        last_words: String,
    },
    /// The renderer talked nonsense.
    #[error("the renderer broke the protocol")]
    BrokeProtocol,
    /// It is not jailed as it must be.
    #[error("a renderer lacks isolation layers that pool.require_layers names: {}", .missing.join(", "))]
    Weak {
        /// What is not in force.
        missing: Vec<String>,
    },
    /// There is no such program.
    #[error("the renderer is not installed: there is no {}", .program.display())]
    NotInstalled {
        /// Where it should be.
        program: PathBuf,
    },
    /// The system gave no process or no memory file.
    #[error("no renderer could be started")]
    Start(#[source] std::io::Error),
    /// The model cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The session has ended.
    #[error("the session has ended")]
    Forgotten,
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code(),
            Self::Busy(error) => error.code(),
            Self::QueueFull { .. } => "busy",
            Self::Timeout { .. } => "render_timeout",
            Self::Memory { .. } => "render_out_of_memory",
            Self::Crashed { .. } => "render_crashed",
            Self::BrokeProtocol => "internal_error",
            Self::NotInstalled { .. } | Self::Weak { .. } => "graphics_unavailable",
            Self::Start(_) => "worker_start_failed",
            Self::Store(error) => error.code(),
            Self::Forgotten => "session_unknown",
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Fault(fault) => fault.hint()?,
            Self::Timeout { .. } => {
                "the session is as it was; ask for fewer frames or pixels, or for quality draft"
            }
            Self::Memory { .. } | Self::Crashed { .. } => {
                "the session is as it was, and the next picture gets another renderer"
            }
            Self::NotInstalled { .. } => {
                "build it with `cargo build --release -p simward-renderer`, or name it with \
                 render.program in the configuration"
            }
            Self::Store(error) => return error.hint(),
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy(error) => error.retry_after(),
            Self::QueueFull { .. } => Some(Duration::from_secs(1)),
            _ => None,
        }
    }
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; its last words: {words}") }
}
