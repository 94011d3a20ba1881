//! The life of a worker: what may happen when, and what follows.
//!
//! ```text
//! starting ──hello──▶ ready ──stop──▶ asked ──late──▶ told ──late──▶ ending ──exit──▶ ended
//!    │                  │               │               │               ▲
//!    └── late, kill ────┴─ hung, kill ──┴──── kill ─────┴───────────────┘
//!    └── exit ──────────┴────── exit ───┴──── exit ─────────────────────────────────▶ ended
//! ```
//!
//! The table is pure: it has no clock, no process and no socket. Whoever applies it waits for the
//! events and carries out the effects.

use std::fmt;

use super::ending::Kind;

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Started, and not yet ready.
    #[default]
    Starting,
    /// Takes calls.
    Ready,
    /// Asked to end, by closing its socket.
    Asked,
    /// Told to end, by a signal.
    Told,
    /// Killed, and not yet gone.
    Ending(Kind),
    /// Gone.
    Ended(Kind),
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It said hello in our version.
    Hello,
    /// It said hello in another version.
    OtherVersion,
    /// It sent what cannot be read, or what nobody asked for, or closed its socket.
    Nonsense,
    /// It is wanted no more.
    StopAsked,
    /// It must go at once.
    KillAsked,
    /// The time for the current state is over.
    Late,
    /// It is busy without progress, in this way.
    Hung(Kind),
    /// Its process is gone, unasked this would mean that kind.
    Exited(Kind),
}

/// What must be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Nothing,
    /// Close its socket.
    HangUp,
    /// Tell it by a signal.
    Terminate,
    /// Kill it.
    Kill,
}

/// Decides what follows from an event.
pub fn next(state: State, event: Event) -> (State, Effect) {
    use self::Effect::{HangUp, Kill, Nothing, Terminate};
    use self::State::{Asked, Ended, Ending, Ready, Starting, Told};
    match (state, event) {
        (Starting, Event::Hello) => (Ready, Nothing),
        (Starting, Event::OtherVersion) => (Ending(Kind::Mismatch), Kill),
        (Starting, Event::Nonsense) => (Ending(Kind::BrokeProtocol), Kill),
        (Starting, Event::StopAsked) => (Asked, HangUp),
        (Starting, Event::KillAsked) => (Ending(Kind::Killed), Kill),
        (Starting, Event::Late) => (Ending(Kind::NeverReady), Kill),
        (Starting, Event::Hung(kind)) => (Ending(kind), Kill),
        (Starting, Event::Exited(kind)) => (Ended(kind), Nothing),

        (Ready, Event::Hello) => (Ending(Kind::BrokeProtocol), Kill),
        (Ready, Event::OtherVersion) => (Ending(Kind::BrokeProtocol), Kill),
        (Ready, Event::Nonsense) => (Ending(Kind::BrokeProtocol), Kill),
        (Ready, Event::StopAsked) => (Asked, HangUp),
        (Ready, Event::KillAsked) => (Ending(Kind::Killed), Kill),
        // A ready worker has no time of its own; calls have, and their end is `Hung`.
        (Ready, Event::Late) => (Ready, Nothing),
        (Ready, Event::Hung(kind)) => (Ending(kind), Kill),
        (Ready, Event::Exited(kind)) => (Ended(kind), Nothing),

        // What a worker says on its way out no longer matters.
        (Asked | Told, Event::Hello | Event::OtherVersion | Event::Nonsense) => (state, Nothing),
        (Asked | Told, Event::StopAsked | Event::Hung(_)) => (state, Nothing),
        (Asked | Told, Event::KillAsked) => (Ending(Kind::Killed), Kill),
        (Asked, Event::Late) => (Told, Terminate),
        (Told, Event::Late) => (Ending(Kind::Stopped), Kill),
        (Asked | Told, Event::Exited(_)) => (Ended(Kind::Stopped), Nothing),

        // Killed once is enough; only the kernel's word is missing.
        (Ending(kind), Event::Exited(_)) => (Ended(kind), Nothing),
        (Ending(_), _) => (state, Nothing),

        // An ended worker stays as it ended.
        (Ended(_), _) => (state, Nothing),
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.pad("starting"),
            Self::Ready => f.pad("ready"),
            Self::Asked | Self::Told => f.pad("stopping"),
            Self::Ending(_) => f.pad("ending"),
            Self::Ended(_) => f.pad("ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    const STATES: [State; 6] = [
        State::Starting,
        State::Ready,
        State::Asked,
        State::Told,
        State::Ending(Kind::Spinning),
        State::Ended(Kind::Crashed),
    ];
    const EVENTS: [Event; 8] = [
        Event::Hello,
        Event::OtherVersion,
        Event::Nonsense,
        Event::StopAsked,
        Event::KillAsked,
        Event::Late,
        Event::Hung(Kind::Stuck),
        Event::Exited(Kind::Exited),
    ];

    /// The policy, as a reviewer wants to see it change.
    #[test]
    fn every_cell_of_the_table() {
        let mut table = String::new();
        for state in STATES {
            for event in EVENTS {
                let (next, effect) = next(state, event);
                let (state, event) = (format!("{state:?}"), format!("{event:?}"));
                let next = format!("{next:?}");
                writeln!(table, "{state:<16} {event:<16} {next:<21} {effect:?}").unwrap();
            }
        }
        insta::assert_snapshot!(table);
    }

    proptest! {
        #[test]
        fn a_worker_ends_for_good_and_is_killed_at_most_once(
            events in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..40)
        ) {
            let (mut state, mut kills) = (State::Starting, 0);
            for event in events {
                let (after, effect) = next(state, event);
                if matches!(state, State::Ended(_)) {
                    prop_assert_eq!(after, state);
                }
                kills += u32::from(effect == Effect::Kill);
                state = after;
            }
            prop_assert!(kills <= 1);
        }

        #[test]
        fn a_stopped_worker_is_gone_after_two_silences(
            before in prop::collection::vec(prop::sample::select(&EVENTS[..]), 0..10)
        ) {
            let state = before.into_iter().fold(State::Starting, |state, event| next(state, event).0);
            let path = [Event::StopAsked, Event::Late, Event::Late, Event::Exited(Kind::Crashed)];
            let state = path.into_iter().fold(state, |state, event| next(state, event).0);
            prop_assert!(matches!(state, State::Ended(_)), "{state:?}");
        }
    }
}
