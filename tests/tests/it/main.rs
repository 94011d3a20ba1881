//! Tests that run real processes. One executable, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
#![expect(clippy::disallowed_methods, reason = "tests start processes and wait for them")]
#![expect(clippy::float_cmp, reason = "what is to be the same to the last bit is compared so")]
#![expect(clippy::needless_pass_by_value, reason = "arguments are written in place")]

mod actuation;
mod alerting;
mod alerts;
mod analysis;
mod auth;
mod browser;
mod cleaning;
mod cli;
mod clients;
mod conditions;
mod conformance;
mod confirm;
mod containment;
mod corpus;
mod diagnosis;
mod durability;
mod editing;
mod endpoint;
mod exposition;
mod habits;
mod hostile;
mod http;
mod isolation;
mod lifetimes;
mod limiting;
mod limits;
mod measuring;
mod menagerie;
mod metrics;
mod modify;
mod monitoring;
mod motion;
mod oauth;
mod observation;
mod official;
mod package;
mod parallel;
mod pictures;
mod pool;
mod profiling;
mod quotas;
mod recordings;
mod recovery;
mod reference;
mod rogues;
mod scenes;
mod service;
mod simulation;
mod snapshots;
mod sources;
mod spans;
mod stdio;
mod surface;
mod targets;
mod tidy;
mod tls;
mod top;
mod tutorial;
mod undone;
mod uploads;
mod usage;
mod viewer;
