//! How fast simulations go.

use serde::{Deserialize, Serialize};
use simward_protocol::meter::Row;

use super::Times;
use crate::session::Session;
use crate::telemetry::measured::Measured;
use crate::telemetry::metric::Id;
use crate::telemetry::query::{Sight, rounded};
use crate::telemetry::series::Subject;

/// How fast the simulations of a session go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Simulations {
    /// The session's handle.
    pub session_id: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whose it is.
    pub tenant: String,
    /// Steps within the time that is looked at.
    pub steps: f64,
    /// Steps in a second, on average.
    pub steps_per_sec: f64,
    /// Simulated seconds in a second of the clock, on average.
    pub real_time_factor: f64,
    /// How long a step takes; null if none was timed.
    pub step_secs: Option<Times>,
    /// Iterations of the constraint solver in a step, on average.
    pub solver_iterations: Option<f64>,
    /// Steps since its worker was started; null while it has none.
    pub steps_total: Option<u64>,
    /// How long the last timed step took.
    pub last_step_secs: Option<f64>,
    /// How long ago the last step was.
    pub since_last_step_secs: Option<f64>,
    /// Contacts after the last step.
    pub contacts: Option<u64>,
    /// The most contacts.
    pub contacts_max: Option<u64>,
    /// Warnings of the engine since its worker was started.
    pub warnings_total: Option<u64>,
    /// Times that the engine started a diverged simulation anew.
    pub auto_resets_total: Option<u64>,
    /// Its models.
    pub models: Vec<Model>,
}

/// How fast one model goes, since its worker has loaded it.
#[expect(clippy::struct_field_names, reason = "clients know it by this name")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Model {
    /// Its name in the session.
    pub model_id: String,
    /// Steps.
    pub steps_total: u64,
    /// Seconds that were simulated.
    pub simulated_secs_total: f64,
    /// How long a step takes, on average.
    pub step_mean_secs: Option<f64>,
    /// How long the last timed step took.
    pub last_step_secs: Option<f64>,
    /// Contacts after the last step.
    pub contacts: u64,
    /// Warnings of the engine.
    pub warnings_total: u64,
}

impl Simulations {
    /// Of a session, over its last seconds, for whoever sees so much.
    pub fn of(session: &Session, measured: &Measured, window_secs: i64, sight: &Sight) -> Self {
        let plan = session.plan();
        let subject = Subject::Session(plan.tenant.clone(), plan.id.clone());
        let point = measured.recent(&subject, window_secs, sight);
        let mut report = Self {
            session_id: plan.id.to_string(),
            name: plan.name.clone(),
            tenant: plan.tenant.to_string(),
            steps: point.total(Id::Steps).round(),
            steps_per_sec: rounded(point.mean(Id::Steps).unwrap_or(0.0)),
            real_time_factor: rounded(point.mean(Id::RealTime).unwrap_or(0.0)),
            step_secs: point.durations(Id::StepTime).and_then(Times::of),
            solver_iterations: point.mean(Id::Iterations).map(rounded),
            steps_total: None,
            last_step_secs: None,
            since_last_step_secs: None,
            contacts: None,
            contacts_max: None,
            warnings_total: None,
            auto_resets_total: None,
            models: Vec::new(),
        };
        // Whoever does not want to be looked at is not shown what the worker counts anyway.
        if measured.shown_to(sight)(&subject) {
            report.look_at_meter(session);
        }
        report
    }

    fn look_at_meter(&mut self, session: &Session) {
        let Some(meter) = session.status().meter.clone() else { return };
        let (Some(head), Some(words)) = (meter.head(), meter.words()) else { return };
        self.steps_total = Some(head.steps_total);
        self.last_step_secs = secs(head.last_step_nanos);
        self.since_last_step_secs = since(head.stepped_at_millis);
        self.contacts = Some(head.contacts);
        self.contacts_max = Some(head.contacts_max);
        self.warnings_total = Some(head.warnings_total);
        self.auto_resets_total = Some(head.auto_resets_total);
        for model_id in session.holdings().model_ids() {
            let Some(row) = Row::find(&words, &model_id) else { continue };
            self.models.push(Model {
                model_id,
                steps_total: row.steps_total,
                simulated_secs_total: rounded(row.simulated_secs_total),
                step_mean_secs: mean(row),
                last_step_secs: secs(row.last_step_nanos),
                contacts: row.contacts,
                warnings_total: row.warnings_total,
            });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean")]
fn mean(row: Row) -> Option<f64> {
    let is_known = row.steps_total != 0 && row.step_nanos_total != 0;
    is_known.then(|| rounded(row.step_nanos_total as f64 / row.steps_total as f64 / 1e9))
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a measurement")]
fn secs(nanos: u64) -> Option<f64> {
    (nanos != 0).then(|| rounded(nanos as f64 / 1e9))
}

fn since(unix_millis: u64) -> Option<f64> {
    let at = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(unix_millis))?;
    (unix_millis != 0).then(|| rounded(at.elapsed().unwrap_or_default().as_secs_f64()))
}
