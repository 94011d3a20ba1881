//! What the program says over the socket that is its standard input: frames of
//! `simward_protocol::wire`. One that takes samples is told nothing but its arguments; that the other
//! end is closed for writing means that it shall come to an end, with what it has. One that names
//! stacks is told those, in one frame.

use serde::{Deserialize, Serialize};

use crate::permission::Missing;
use crate::profile::Profile;

/// Stacks that were taken of a process and are to be named: what `name` is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stacks {
    /// How long they were taken, in seconds.
    pub duration_secs: f64,
    /// Addresses that calls return to, the outermost first, and how many bytes are theirs.
    pub stacks: Vec<(Vec<u64>, u64)>,
}

/// The longest frame, either way.
pub const BYTES_MAX: usize = 16 << 20;

/// A piece of news.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// Samples are taken from now on.
    Begun,
    /// How far it is, about four times a second.
    Progress {
        /// Since the beginning, in milliseconds.
        elapsed_millis: u64,
        /// Samples so far.
        samples: u64,
    },
    /// All is over. The last frame.
    Finished(Box<Profile>),
    /// It cannot be done, because something is not allowed here. The last frame.
    NotPermitted(Missing),
    /// The process is not there, or not any more. The last frame.
    Gone,
    /// It cannot be done for another reason. The last frame.
    Failed(String),
}
