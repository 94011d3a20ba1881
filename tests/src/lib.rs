//! What the tests share: a daemon of their own, clients to talk to it, real models, and workers
//! that misbehave.

#![deny(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::disallowed_methods, reason = "tests start processes and wait for them")]
#![expect(clippy::needless_pass_by_value, reason = "arguments are written in place")]

pub mod authority;
pub mod browser;
pub mod client;
pub mod conformance;
pub mod daemon;
pub mod fake;
pub mod http;
pub mod models;
pub mod mp4;
pub mod targets;
pub mod tmux;
pub mod viewer;
pub mod wait;
