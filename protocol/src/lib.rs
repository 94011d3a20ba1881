//! The contract between the supervisor and a worker.
//!
//! Everything that crosses the process boundary is defined here, and nothing else is: this crate
//! performs no I/O beyond reading and writing frames, knows nothing of MCP, and does not link
//! MuJoCo.
//!
//! Reading order: [`call`] (what can be asked), [`model`], [`simulation`], [`state`], [`session`]
//! and [`compile`] (the values that travel), [`fault`] (how a worker says no), [`wire`] (how a
//! frame is laid out), [`checkpoint`] (how a state is kept), [`recording`] (what is recorded, and how it is kept),
//! [`handshake`] (how two builds agree that they may talk), [`ending`] (how a worker exits), [`real`] (numbers
//! that survive JSON).

#![forbid(unsafe_code)]

pub mod call;
pub mod checkpoint;
pub mod compile;
pub mod ending;
pub mod fault;
pub mod handshake;
pub mod model;
pub mod real;
pub mod recording;
pub mod session;
pub mod simulation;
pub mod state;
pub mod wire;
