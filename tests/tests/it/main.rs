//! Tests that run real processes. One executable, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::disallowed_methods, reason = "tests start processes and wait for them")]
#![expect(clippy::needless_pass_by_value, reason = "arguments are written in place")]

mod cli;
mod clients;
mod containment;
mod corpus;
mod durability;
mod endpoint;
mod hostile;
mod http;
mod isolation;
mod lifetimes;
mod limits;
mod menagerie;
mod pool;
mod recovery;
mod reference;
mod rogues;
mod scenes;
mod simulation;
mod sources;
mod stdio;
mod targets;
mod tidy;
mod undone;
