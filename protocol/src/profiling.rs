//! What a worker can tell of itself that nobody sees from outside: where the time of its steps
//! goes, and what its models take.

use serde::{Deserialize, Serialize};

use crate::real::Real;

/// Times the phases of the steps of a session's models with the engine's own timers. Steps come to
/// the same states, to the last bit; each takes a little longer while it is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimePhases {
    /// From now on, from zero.
    Begin,
    /// Goes on.
    Look,
    /// No longer.
    End,
}

/// The answer to [`TimePhases`]: what was timed so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseTimes {
    /// How long it has been timed, in seconds. Nothing if it was not: this worker was never asked
    /// to begin.
    pub timed_secs: Option<f64>,
    /// What time is told by.
    pub clock: Clock,
    /// The session's models.
    pub models: Vec<ModelPhases>,
}

/// What time is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Clock {
    /// The processor's counter, measured against the system's clock.
    Counter,
    /// The system's clock.
    System,
}

/// The phases of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelPhases {
    /// The model.
    pub model_id: String,
    /// Its phases, in the order of [`Phase::ALL`].
    pub phases: Vec<PhaseTime>,
}

/// What one phase took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// The phase.
    pub phase: Phase,
    /// How often it was gone through.
    pub count: u64,
    /// All together, in seconds.
    pub secs: Real,
}

/// A part of a step, as the engine times it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Phase {
    /// The whole step.
    Step,
    /// Accelerations out of positions, velocities and controls.
    Forward,
    /// Forces out of accelerations.
    Inverse,
    /// What follows of positions.
    Position,
    /// What follows of velocities.
    Velocity,
    /// Forces of actuators.
    Actuation,
    /// The solver of contacts and other constraints.
    Constraint,
    /// Integration to the next state, but for what RK4 evaluates meanwhile: that is `forward`'s.
    Advance,
    /// Where bodies are.
    Kinematics,
    /// The mass matrix.
    Inertia,
    /// Finding contacts.
    Collision,
    /// Making constraints of contacts, limits and friction.
    MakeConstraint,
    /// The constraints' inertia.
    ProjectConstraint,
    /// Pairs of shapes that may touch.
    CollisionBroad,
    /// Pairs that do.
    CollisionNarrow,
}

impl Phase {
    /// All, in the order of the engine's timers.
    pub const ALL: [Self; 15] = [
        Self::Step,
        Self::Forward,
        Self::Inverse,
        Self::Position,
        Self::Velocity,
        Self::Actuation,
        Self::Constraint,
        Self::Advance,
        Self::Kinematics,
        Self::Inertia,
        Self::Collision,
        Self::MakeConstraint,
        Self::ProjectConstraint,
        Self::CollisionBroad,
        Self::CollisionNarrow,
    ];

    /// The phase that it is a part of. A step does not go through [`Self::Inverse`].
    pub fn parent(self) -> Option<Self> {
        Some(match self {
            Self::Step | Self::Inverse => return None,
            Self::Forward | Self::Advance => Self::Step,
            Self::Position | Self::Velocity | Self::Actuation | Self::Constraint => Self::Forward,
            Self::Kinematics
            | Self::Inertia
            | Self::Collision
            | Self::MakeConstraint
            | Self::ProjectConstraint => Self::Position,
            Self::CollisionBroad | Self::CollisionNarrow => Self::Collision,
        })
    }
}

/// Tells what a session's models take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureMemory {}

/// The answer to [`MeasureMemory`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelMemories {
    /// The session's models.
    pub models: Vec<ModelMemory>,
    /// The worker's allocator.
    pub allocator: AllocatorMemory,
}

/// What the allocator of a process has.
#[expect(clippy::struct_field_names, reason = "sizes end so")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocatorMemory {
    /// What was asked for and not given back.
    pub allocated_bytes: u64,
    /// What it keeps to hand it out again.
    pub free_bytes: u64,
    /// All that it has of the system.
    pub mapped_bytes: u64,
}

/// What a model takes, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelMemory {
    /// The model.
    pub model_id: String,
    /// The model's own arrays.
    pub model_bytes: u64,
    /// The model when it is written to a file.
    pub saved_bytes: u64,
    /// The arrays of its state, and of what follows from it.
    pub data_bytes: u64,
    /// Address space for contacts, constraints and the engine's stack. Only what was used is memory.
    pub arena_bytes: u64,
    /// The most that contacts and constraints used of it.
    pub arena_used_max_bytes: u64,
    /// The most that the engine's stack used of it.
    pub stack_used_max_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_comes_after_the_one_that_it_is_a_part_of() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            let Some(parent) = phase.parent() else { continue };
            let place = Phase::ALL.iter().position(|other| *other == parent).unwrap();
            assert!(place < index, "{phase:?}");
        }
    }
}
