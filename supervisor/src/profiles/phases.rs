//! Where the time of a session's steps goes, by the engine's own timers.
//!
//! The worker times while this waits, and is asked once a second, so that little is lost if it
//! ends meanwhile.

use std::time::{Duration, Instant};

use serde::Serialize;
use simward_protocol::profiling::{Clock, ModelPhases, Phase, PhaseTimes, TimePhases};
use tokio::sync::watch;

use super::subject::Subject;
use super::{Error, Target};
use crate::session;

/// How often the worker is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long it is left alone when it has too many calls to hear that it shall time no longer.
const END_PAUSE: Duration = Duration::from_millis(100);

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
    fn steps(&self) -> u64 {
        self.models.iter().map(|model| model.steps).fold(0, u64::saturating_add)
    }

    pub(super) fn bytes(&self) -> usize {
        let model =
            |model: &Timed| size_of_val(model) + model.model_id.len() + size_of_val(&*model.phases);
        let text = self.cut_short.as_ref().map_or(0, String::len);
        size_of_val(self) + self.models.iter().map(model).sum::<usize>() + text
    }
}

/// Times a session's steps.
pub(super) async fn profile(
    target: &Target,
    duration: Duration,
    tell: &watch::Sender<u64>,
) -> Result<Phases, Error> {
    let subject = Subject::of(target).await?;
    let timed = watch_steps(&subject, duration, tell).await;
    // However it went: an engine that was given a clock would look at it for ever.
    let ended = end(&subject).await;
    let mut timed = timed?;
    let cut_short = match ended {
        Ok(times) if times.timed_secs.is_some() => {
            let cut_short = timed.cut_short;
            timed = told(times, &subject);
            tell.send_replace(timed.steps());
            cut_short
        }
        Ok(_) => timed.cut_short.or_else(|| Some(ENDED.to_owned())),
        Err(error) => timed.cut_short.or_else(|| Some(why(&error))),
    };
    Ok(Phases { cut_short, ..timed })
}

/// Why there is no more.
const ENDED: &str = "the worker ended meanwhile, or the session left it";

fn why(error: &Error) -> String {
    if matches!(error, Error::Gone) { ENDED.to_owned() } else { crate::code::chain(error) }
}

/// Lets the steps be timed until the time is over, or something comes between.
async fn watch_steps(
    subject: &Subject,
    duration: Duration,
    tell: &watch::Sender<u64>,
) -> Result<Phases, Error> {
    let mut timed = told(subject.ask(TimePhases::Begin).await?, subject);
    let until = Instant::now() + duration;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.min(ASK_EVERY)).await;
        if left <= ASK_EVERY {
            return Ok(timed);
        }
        match subject.ask(TimePhases::Look).await {
            Ok(times) if times.timed_secs.is_some() => timed = told(times, subject),
            Ok(_) => return Ok(Phases { cut_short: Some(ENDED.to_owned()), ..timed }),
            Err(error) => return Ok(Phases { cut_short: Some(why(&error)), ..timed }),
        }
        tell.send_replace(timed.steps());
    }
}

/// Tells the worker that it shall time no longer. If too many calls wait there, it serves them, or
/// it ends.
async fn end(subject: &Subject) -> Result<PhaseTimes, Error> {
    loop {
        match subject.ask(TimePhases::End).await {
            Err(Error::Session(session::Error::Busy { .. })) => {
                tokio::time::sleep(END_PAUSE).await;
            }
            heard => return heard,
        }
    }
}

fn told(times: PhaseTimes, subject: &Subject) -> Phases {
    let PhaseTimes { timed_secs, clock, models } = times;
    let models = subject.own_models(models, |model| &model.model_id);
    let models = models.into_iter().map(model).collect();
    let timed_secs = timed_secs.filter(|secs| POSSIBLE_SECS.contains(secs)).unwrap_or(0.0);
    Phases { timed_secs, clock, models, cut_short: None }
}

/// What a phase may have taken: no profile takes longer.
const POSSIBLE_SECS: std::ops::RangeInclusive<f64> = 0.0..=1e6;

/// A worker's words are not believed to be in order, or to be numbers.
#[expect(clippy::cast_precision_loss, reason = "shares are floating point")]
fn model(ModelPhases { model_id, phases }: ModelPhases) -> Timed {
    let of = |phase: Phase| phases.iter().find(|it| it.phase == phase);
    let secs = |phase| of(phase).map(|it| it.secs.0).filter(|it| POSSIBLE_SECS.contains(it));
    let secs = |phase| secs(phase).unwrap_or(0.0);
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
    fn what_cannot_be_is_not_told() {
        let time = |phase, secs| PhaseTime { phase, count: 1, secs: Real(secs) };
        let phases = vec![
            time(Phase::Step, f64::INFINITY),
            time(Phase::Forward, f64::NAN),
            time(Phase::Advance, -1.0),
        ];
        let told = model(ModelPhases { model_id: "m".into(), phases });
        assert!(told.phases.iter().all(|part| part.ratio == 0.0 && part.self_ratio == 0.0));
        assert!(told.step_micros.abs() < f64::EPSILON);
    }

    #[test]
    fn a_model_that_stood_still_has_no_heaviest_phase() {
        let told = model(ModelPhases { model_id: "m".into(), phases: Vec::new() });
        assert_eq!((told.steps, told.heaviest_phase), (0, None));
        assert!(told.phases.iter().all(|part| part.ratio == 0.0));
    }
}
