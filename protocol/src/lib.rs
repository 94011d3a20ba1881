//! The contract between the supervisor and a worker.
//!
//! Everything that crosses the process boundary is defined here, and nothing else is: this crate
//! performs no I/O beyond reading and writing frames, knows nothing of MCP, and does not link
//! MuJoCo.
//!
//! Reading order: [`call`] (what can be asked), the values that travel with each family of calls
//! ([`model`], [`modify`], [`editing`], [`simulation`], [`state`] and so on), [`session`], [`compile`], [`render`], [`fault`]
//! (how a worker says no), [`wire`] (how a frame is laid out), [`checkpoint`] (how a state is kept),
//! [`meter`] (what is counted of steps),
//! [`handshake`] (how two builds agree that they may talk), [`ending`] (how a worker exits),
//! [`real`] and [`named`] (numbers that survive JSON).

#![forbid(unsafe_code)]

pub mod actuation;
pub mod analysis;
pub mod call;
pub mod checkpoint;
pub mod compile;
pub mod condition;
pub mod diagnose;
pub mod editing;
pub mod ending;
pub mod fault;
pub mod handshake;
pub mod meter;
pub mod model;
pub mod modify;
pub mod motion;
pub mod named;
pub mod observe;
pub mod profiling;
pub mod real;
pub mod render;
pub mod rollout;
pub mod recording;
pub mod session;
pub mod simulation;
pub mod state;
pub mod sweep;
pub mod viewer;
pub mod wire;
