//! Rounds: reads what the rules ask for, rule by rule, and sees to what follows.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

use super::book::{Event, Page};
use super::readings::Selection;
use super::report::now_secs;
use super::rule::Rule;
use super::state::Effect;
use super::{Alerts, Error, actions};
use crate::code::chain;
use crate::telemetry::rhythm::Rhythm;

/// How much of a core the rounds may take; if they would take more, they are less frequent.
const CPU_RATIO_MAX: f64 = 0.02;

/// How often it is looked.
#[derive(Debug)]
pub(super) struct Pace {
    interval_secs: f64,
    /// In intervals: what it calls a second is one.
    rhythm: Rhythm,
    /// Processor time of the last round.
    cost_secs: f64,
}

impl Pace {
    pub(super) fn new(interval_secs: f64) -> Self {
        Self { interval_secs, rhythm: Rhythm::new(CPU_RATIO_MAX), cost_secs: 0.0 }
    }

    /// The time between two rounds.
    pub(super) fn interval_secs(&self) -> f64 {
        self.interval_secs * self.rhythm.interval().as_secs_f64()
    }

    /// Processor time of the last round.
    pub(super) fn cost_secs(&self) -> f64 {
        self.cost_secs
    }

    fn took(&mut self, cost_secs: f64) {
        self.cost_secs = cost_secs;
        self.rhythm.took(cost_secs / self.interval_secs);
    }
}

impl Alerts {
    /// Looks after the rules until `stop`; tells then what waits to be told.
    pub async fn run(self, stop: CancellationToken) {
        while self.inner.config.enabled && !stop.is_cancelled() {
            self.look().await;
            let pause = Duration::from_secs_f64(self.with_pace(|pace| pace.interval_secs()));
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        self.write_down(true).await;
        self.inner.desk.close().await;
    }

    /// What is known of how often it is looked.
    pub(super) fn with_pace<T>(&self, of: impl FnOnce(&mut Pace) -> T) -> T {
        of(&mut self.inner.pace.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells what follows, and does it. It is written down before, so that nobody is told twice.
    pub(super) fn follow(&self, events: Vec<Event>) {
        for event in events {
            self.inner.desk.tell(&event);
            if event.effect == Effect::Act {
                let alerts = self.clone();
                tokio::spawn(async move { alerts.act(event).await });
            }
        }
    }

    /// One round: looks, and sees to what follows.
    async fn look(&self) {
        let mut questions: BTreeMap<Selection, Vec<Arc<Rule>>> = BTreeMap::new();
        {
            let mut book = self.book();
            book.begin_round(now_secs());
            for rule in book.rules() {
                questions.entry(rule.question()).or_default().push(Arc::clone(rule));
            }
        }
        let (mut events, mut cost_secs) = (Vec::new(), 0.0);
        for (question, rules) in questions {
            let alerts = self.clone();
            // Takes its time, and may wait for files.
            let look = move || alerts.ask(&question, &rules);
            match tokio::task::spawn_blocking(look).await {
                Ok((found, cost)) => {
                    events.extend(found);
                    cost_secs += cost;
                }
                Err(_panic) => tracing::error!("looking at what is measured panicked"),
            }
        }
        self.with_pace(|pace| pace.took(cost_secs));
        self.write_down(false).await;
        self.follow(events);
    }

    /// Asks a question for all rules that have it; tells what follows, and the processor time that it
    /// took. The book is held for a rule at a time.
    fn ask(&self, question: &Selection, rules: &[Arc<Rule>]) -> (Vec<Event>, f64) {
        let (begun_secs, now) = (thread_secs(), self.now());
        let mut events = Vec::new();
        // Of what was not measured yet, nothing is known: it is as it was.
        if let Some(readings) = self.inner.readings.read(question, now.unix_secs) {
            for rule in rules {
                events.extend(self.book().look(rule, &readings, now));
            }
        }
        (events, thread_secs() - begun_secs)
    }

    async fn act(&self, event: Event) {
        // The semaphore is never closed.
        let Ok(_place) = self.inner.acts.acquire().await else { return };
        let Some(id) = event.labels.get("session_id") else { return };
        // It may have waited for its place.
        if !self.book().is_still_due(&event, now_secs()) {
            return;
        }
        let done = actions::act(&self.inner.sessions, &event.rule, id).await;
        let (Ok(outcome) | Err(outcome)) = &done;
        tracing::info!(rule = event.rule.name, session_id = id, outcome, "acted on an alert");
        self.inner.desk.note(&event, outcome);
        self.book().acted(&event, &done, now_secs());
    }

    /// Writes down what is new, now or if it is time.
    async fn write_down(&self, is_now: bool) {
        let Some(document) = self.inner.document.clone() else { return };
        let _writing = self.inner.writing.lock().await;
        let alerts = self.clone();
        let write = move || {
            let now_secs = alerts.now().steady_secs;
            let (page, version) = {
                let book = alerts.book();
                if !book.is_news(if is_now { f64::INFINITY } else { now_secs }) {
                    return Ok(());
                }
                (Page::of(&book), book.version())
            };
            document.write(&page).map_err(Error::NotKept)?;
            alerts.book().was_written(version, now_secs);
            Ok(())
        };
        let written = tokio::task::spawn_blocking(write).await;
        if let Err(error) = written.unwrap_or(Err(Error::Defect)) {
            let error = chain(&error);
            tracing::error!(error, "the rules and alerts could not be written down");
        }
    }
}

/// The processor time of this thread, in seconds.
fn thread_secs() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(0.0, |time| Duration::from(time).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_that_cost_too_much_are_less_frequent() {
        let mut pace = Pace::new(0.5);
        let mut interval_after = |cost_secs: f64| {
            (0..100).for_each(|_| pace.took(cost_secs));
            pace.interval_secs()
        };
        assert!((interval_after(0.005) - 0.5).abs() < 1e-9, "a hundredth of a core");
        assert!((interval_after(0.05) - 4.0).abs() < 1e-9, "a tenth, at first");
        assert!((interval_after(9.0) - 8.0).abs() < 1e-9);
        assert!((interval_after(0.001) - 0.5).abs() < 1e-9);
    }
}
