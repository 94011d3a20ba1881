//! Where the time of a session's steps goes, by the engine's own timers.
//!
//! The worker times while this waits, and is asked once a second, so that little is lost if it
//! ends meanwhile.

use std::time::{Duration, Instant};

use serde::Serialize;
use simward_protocol::profiling::{Clock, ModelPhases, Phase, PhaseTimes, TimePhases};
use tokio::sync::watch;

use super::Error;
use crate::session::Session;
use crate::worker::Options;

/// How often the worker is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What was timed.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Phases {
    /// For how long, in seconds.
    pub timed_secs: f64,
    /// What time is told by.
    pub clock: Clock,
    /// The session's models.
    pub models: Vec<Timed>,
    /// Why it is not the whole time.
    #[serde(skip)]
    pub(super) cut_short: Option<String>,
}

/// The phases of a model's steps.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Timed {
    /// The model.
    pub model_id: String,
    /// Steps that were timed.
    pub steps: u64,
    /// What a step takes, in microseconds.
    pub step_micros: f64,
    /// The phase that takes the most by itself.
    pub heaviest_phase: Option<Phase>,
    /// Its phases; what each takes by itself adds up to the step.
    pub phases: Vec<Share>,
}

/// What a phase takes.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Share {
    /// The phase.
    pub phase: Phase,
    /// The phase that it is a part of.
    pub part_of: Option<Phase>,
    /// Microseconds per step.
    pub step_micros: f64,
    /// Its share of the step.
    pub ratio: f64,
    /// Its share without that of its parts.
    pub self_ratio: f64,
}

impl Phases {
    pub(super) fn bytes(&self) -> usize {
        self.models.len() * (Phase::ALL.len() * size_of::<Share>() + 128)
    }
}

/// Times a session's steps.
pub(super) async fn profile(
    session: &Session,
    duration: Duration,
    tell: &watch::Sender<u64>,
) -> Result<Phases, Error> {
    let ask = |call| session.call(call, Options::default());
    let mut last = ask(TimePhases::Begin).await?;
    let until = Instant::now() + duration;
    let mut cut_short = None;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.min(ASK_EVERY)).await;
        let is_over = left <= ASK_EVERY;
        match ask(if is_over { TimePhases::End } else { TimePhases::Look }).await {
            Ok(times) if times.timed_secs.is_some() => {
                tell.send_replace(steps(&times));
                last = times;
            }
            // Another worker has taken its place.
            Ok(_) => cut_short = Some("the worker was replaced meanwhile".to_owned()),
            Err(error) => cut_short = Some(crate::code::chain(&error)),
        }
        if is_over || cut_short.is_some() {
            return Ok(told(last, cut_short));
        }
    }
}

fn steps(times: &PhaseTimes) -> u64 {
    let phases = times.models.iter().flat_map(|model| &model.phases);
    let steps = phases.filter(|it| it.phase == Phase::Step).map(|it| it.count);
    steps.fold(0, u64::saturating_add)
}

fn told(times: PhaseTimes, cut_short: Option<String>) -> Phases {
    let PhaseTimes { timed_secs, clock, models } = times;
    let models = models.into_iter().map(model).collect();
    Phases { timed_secs: timed_secs.unwrap_or(0.0), clock, models, cut_short }
}

/// A worker's words are not believed to be in order, or to be numbers.
#[expect(clippy::cast_precision_loss, reason = "shares are floating point")]
fn model(ModelPhases { model_id, phases }: ModelPhases) -> Timed {
    let of = |phase: Phase| phases.iter().find(|it| it.phase == phase);
    let secs = |phase| of(phase).map_or(0.0, |it| it.secs.0).max(0.0);
    let steps = of(Phase::Step).map_or(0, |it| it.count);
    let whole = secs(Phase::Step);
    let parts = |phase| Phase::ALL.into_iter().filter(move |it| it.parent() == Some(phase));
    let per_step = |secs: f64| if steps == 0 { 0.0 } else { secs * 1e6 / steps as f64 };
    let share = |secs: f64| if whole == 0.0 { 0.0 } else { secs / whole };
    let own = |phase| (secs(phase) - parts(phase).map(secs).sum::<f64>()).max(0.0);
    // What is outside of steps has no part in them.
    let within = Phase::ALL.into_iter().filter(|phase| *phase != Phase::Inverse);
    let phases: Vec<Share> = within
        .map(|phase| Share {
            phase,
            part_of: phase.parent(),
            step_micros: per_step(secs(phase)),
            ratio: share(secs(phase)),
            self_ratio: share(own(phase)),
        })
        .collect();
    let heaviest = phases.iter().max_by(|one, other| one.self_ratio.total_cmp(&other.self_ratio));
    let heaviest_phase = heaviest.filter(|part| 0.0 < part.self_ratio).map(|part| part.phase);
    Timed { model_id, steps, step_micros: per_step(whole), heaviest_phase, phases }
}

#[cfg(test)]
mod tests {
    use simward_protocol::profiling::PhaseTime;
    use simward_protocol::real::Real;

    use super::*;

    #[test]
    fn what_phases_take_by_themselves_is_the_step() {
        let time = |phase, secs| PhaseTime { phase, count: 100, secs: Real(secs) };
        let phases = vec![
            time(Phase::Step, 1.0),
            time(Phase::Forward, 0.8),
            time(Phase::Advance, 0.1),
            time(Phase::Position, 0.3),
            time(Phase::Constraint, 0.45),
            time(Phase::Collision, 0.2),
            time(Phase::CollisionNarrow, 0.15),
        ];
        let told = model(ModelPhases { model_id: "m".into(), phases });
        let sum: f64 = told.phases.iter().map(|part| part.self_ratio).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        assert_eq!(told.heaviest_phase, Some(Phase::Constraint));
        assert!((told.step_micros - 1e4).abs() < 1e-6);
    }

    #[test]
    fn a_model_that_stood_still_has_no_heaviest_phase() {
        let told = model(ModelPhases { model_id: "m".into(), phases: Vec::new() });
        assert_eq!((told.steps, told.heaviest_phase), (0, None));
        assert!(told.phases.iter().all(|part| part.ratio == 0.0));
    }
}
