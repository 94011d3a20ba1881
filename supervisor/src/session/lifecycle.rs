//! The life of a session: what may happen when, and what follows.
//!
//! ```text
//! starting ──worker ready──▶ ready ──worker lost──▶ waiting ──back-off over──▶ starting
//!    │                        │ │ lost too often
//!    │ start failed ─▶ waiting│ └────────▶ parked ──revive──▶ starting
//!    │ too often, unrestorable┼──────────▶ parked
//!    │ no room                ▼ sleep
//!    │                      dozing ──gone──▶ asleep ──wake──▶ starting
//!    └───────────────────────────────────────▲
//! every state but closed ──close──▶ closing ──worker gone──▶ closed
//! ```
//!
//! The table is pure; the `keeper` waits for the events and does what follows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Its worker is being started.
    #[default]
    Starting,
    /// Takes calls.
    Ready,
    /// Its worker was lost, or did not start; the next one starts when the back-off is over.
    Waiting,
    /// Nobody uses it, and its worker is being let go.
    Dozing,
    /// It has no worker, because nobody uses it; its checkpoints are kept, and a call wakes it.
    Asleep,
    /// Too many workers were lost, or its models cannot be brought back: it gets no other by
    /// itself.
    Parked,
    /// It is wanted no more, and its worker is being stopped.
    Closing(Closed),
    /// Gone.
    Closed(Closed),
}

/// Why a session was closed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// Its owner closed it.
    ByOwner,
    /// An operator ended its process.
    Terminated,
    /// Nobody used it for too long.
    Idle,
    /// It lived as long as a session may.
    Aged,
    /// It belonged to a connection that ended, and nobody had named it by its handle.
    ConnectionEnded,
    /// It did not come to be.
    NeverStarted,
    /// The daemon stops.
    Shutdown,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its worker takes calls.
    WorkerReady,
    /// Its worker could not be started.
    StartFailed,
    /// Its worker ended, and another one may be started.
    WorkerLost,
    /// Its worker ended, and that was one too many.
    TooManyLosses,
    /// It is time for another worker.
    BackOffOver,
    /// Its worker is taken away, because nobody uses it.
    Sleep,
    /// Somebody calls it.
    Wake,
    /// There was no room for a worker.
    NoRoom,
    /// A worker started, and could not be brought to where the last one was.
    Unrestorable,
    /// Somebody gives it another chance.
    Revive,
    /// It is wanted no more.
    Close(Closed),
    /// Nothing of it is left.
    Gone,
}

/// Decides what follows from an event.
pub fn next(state: State, event: Event) -> State {
    match (state, event) {
        (State::Closed(_), _) => state,
        (State::Closing(why), Event::Gone) => State::Closed(why),
        (State::Closing(_), _) => state,
        (_, Event::Close(why)) => State::Closing(why),

        (State::Starting, Event::WorkerReady) => State::Ready,
        (State::Starting, Event::StartFailed) => State::Waiting,
        (State::Starting | State::Ready, Event::WorkerLost) => State::Waiting,
        (State::Starting | State::Ready, Event::TooManyLosses) => State::Parked,
        (State::Waiting, Event::BackOffOver) => State::Starting,

        (State::Ready, Event::Sleep) => State::Dozing,
        (State::Dozing, Event::Gone) => State::Asleep,
        (State::Starting, Event::NoRoom) => State::Asleep,
        (State::Asleep, Event::Wake) => State::Starting,

        (State::Starting, Event::Unrestorable) => State::Parked,
        (State::Parked, Event::Revive) => State::Starting,

        // What comes late changes nothing.
        (State::Starting, Event::BackOffOver | Event::Gone) => state,
        (State::Starting, Event::Sleep | Event::Wake | Event::Revive) => state,
        (State::Ready, Event::WorkerReady | Event::StartFailed) => state,
        (State::Ready, Event::BackOffOver | Event::Gone) => state,
        (State::Ready, Event::Wake | Event::NoRoom | Event::Unrestorable | Event::Revive) => state,
        (State::Waiting | State::Dozing | State::Asleep | State::Parked, _) => state,
    }
}

impl State {
    /// Whether it will be another one soon.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Starting | Self::Waiting | Self::Dozing | Self::Closing(_))
    }

    /// The state's name, as clients see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Waiting => "restarting",
            Self::Dozing => "hibernating",
            Self::Asleep => "hibernated",
            Self::Parked => "parked",
            Self::Closing(_) => "closing",
            Self::Closed(_) => "closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    const STATES: [State; 8] = [
        State::Starting,
        State::Ready,
        State::Waiting,
        State::Dozing,
        State::Asleep,
        State::Parked,
        State::Closing(Closed::Idle),
        State::Closed(Closed::Idle),
    ];
    const EVENTS: [Event; 12] = [
        Event::WorkerReady,
        Event::StartFailed,
        Event::WorkerLost,
        Event::TooManyLosses,
        Event::BackOffOver,
        Event::Sleep,
        Event::Wake,
        Event::NoRoom,
        Event::Unrestorable,
        Event::Revive,
        Event::Close(Closed::ByOwner),
        Event::Gone,
    ];

    /// The policy, as a reviewer wants to see it change.
    #[test]
    fn every_cell_of_the_table() {
        let mut table = String::new();
        for state in STATES {
            for event in EVENTS {
                let (from, event_name) = (format!("{state:?}"), format!("{event:?}"));
                writeln!(table, "{from:<13} {event_name:<14} {:?}", next(state, event)).unwrap();
            }
        }
        insta::assert_snapshot!(table);
    }

    proptest! {
        #[test]
        fn a_close_always_ends_it_and_for_the_first_reason(
            events in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..20)
        ) {
            let before = events.into_iter().fold(State::Starting, next);
            let closed = next(next(before, Event::Close(Closed::Aged)), Event::Gone);
            prop_assert!(matches!(closed, State::Closed(Closed::Aged | Closed::ByOwner)));
        }
    }
}
