//! Where alerts are told beside the resource: the audit and the log at once; the webhook and each
//! program by a task of its own, through a queue of its own, so that none waits for another.
//!
//! Where they go only the operator's configuration says. Nobody who sets a rule names an address or a
//! program.

mod exec;
mod queue;
mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use self::exec::Programs;
use self::queue::Queue;
use self::webhook::Webhook;
use super::book::Event;
use super::report::{AlertReport, moment};
use super::rule::{Owner, Severity};
use super::state::{Effect, State, Why};
use crate::audit::{Audit, Entry, said};
use crate::pool::launcher::Launcher;

/// Where alerts are told over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// The address; empty means that there is none.
    pub url: String,
    /// A file with the secret that signs what is sent; empty means that nothing is signed.
    pub secret_file: PathBuf,
    /// How long one request may take.
    pub timeout_secs: f64,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self { url: String::new(), secret_file: PathBuf::new(), timeout_secs: 10.0 }
    }
}

/// A program that is told of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramConfig {
    /// What rules call it: `exec:NAME`.
    pub name: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
}

/// The route to the log, and that to the webhook.
pub const LOG: &str = "log";
const WEBHOOK: &str = "webhook";

/// What the routes to programs begin with.
const EXEC: &str = "exec:";

/// How long what waits may take to be sent when the daemon ends.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);

/// How many notices are sent at a time.
const BATCH_MAX: usize = 64;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// It fires.
    Fired,
    /// It still fires.
    Reminded,
    /// It is over.
    Resolved,
}

/// A piece of news about an alert.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Notice {
    pub(super) kind: Kind,
    #[serde(flatten)]
    pub(super) alert: AlertReport,
    /// Why it is over.
    pub(super) why: Option<Why>,
    /// When it began, and until when whoever hears of it may believe it.
    #[serde(skip)]
    pub(super) starts_at: String,
    #[serde(skip)]
    pub(super) ends_at: String,
}

impl Notice {
    /// Of something that is to be told.
    fn of(event: &Event, interval_secs: f64) -> Option<Self> {
        let Event { effect, rule, labels, alert, at_secs } = event;
        let (kind, why) = match effect {
            Effect::Fired => (Kind::Fired, None),
            Effect::Reminded => (Kind::Reminded, None),
            Effect::Resolved { why, is_told: true } => (Kind::Resolved, Some(*why)),
            Effect::Resolved { is_told: false, .. } | Effect::Act => return None,
        };
        let State::Firing(firing) = alert.state else { return None };
        // Three reminders may be lost before somebody believes that it is over.
        let believed_secs = 3.0 * rule.cooldown_secs.max(interval_secs);
        let ends_at = if kind == Kind::Resolved { *at_secs } else { at_secs + believed_secs };
        Some(Self {
            kind,
            alert: AlertReport::of(rule, labels, alert),
            why,
            starts_at: moment(firing.fired_at_secs),
            ends_at: moment(ends_at),
        })
    }
}

/// Takes what is to be told.
#[derive(Debug)]
pub(super) struct Desk {
    audit: Audit,
    /// By the route's name.
    queues: BTreeMap<String, Arc<Queue>>,
    senders: Mutex<JoinSet<()>>,
    lost: Arc<Lost>,
    interval_secs: f64,
    known: Vec<String>,
}

/// What was not told.
#[derive(Debug, Default)]
struct Lost {
    /// There was no room for it.
    dropped: AtomicU64,
    /// It was sent in vain.
    failed: AtomicU64,
}

impl Desk {
    /// Opens it.
    pub(super) fn open(
        config: &super::Config,
        audit: Audit,
        launcher: Launcher,
    ) -> anyhow::Result<Self> {
        let webhook = Webhook::open(&config.webhook)?;
        let programs = Programs::new(&config.exec, config.exec_timeout_secs, launcher);
        let mut known = vec![LOG.to_owned()];
        let (mut queues, mut senders) = (BTreeMap::new(), JoinSet::new());
        let lost = Arc::<Lost>::default();
        if let Some(webhook) = webhook {
            let queue = Arc::<Queue>::default();
            senders.spawn(post(Arc::clone(&queue), webhook, Arc::clone(&lost)));
            known.push(WEBHOOK.to_owned());
            queues.insert(WEBHOOK.to_owned(), queue);
        }
        for program in &config.exec {
            let (queue, name) = (Arc::<Queue>::default(), program.name.clone());
            senders.spawn(run(Arc::clone(&queue), programs.clone(), name, Arc::clone(&lost)));
            known.push(format!("{EXEC}{}", program.name));
            queues.insert(format!("{EXEC}{}", program.name), queue);
        }
        let (senders, interval_secs) = (Mutex::new(senders), config.interval_secs);
        Ok(Self { audit, queues, senders, lost, interval_secs, known })
    }

    /// Takes nothing more; returns once everything was sent, or it takes too long.
    pub(super) async fn close(&self) {
        self.queues.values().for_each(|queue| queue.close());
        let mut senders = {
            let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *senders)
        };
        let sent = async { while senders.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_WITHIN, sent).await.is_err() {
            let count: usize = self.queues.values().map(|queue| queue.len()).sum();
            self.lost.dropped.fetch_add(count as u64, Ordering::Relaxed);
            tracing::error!(count, "notices were not sent before the end, nor those under way");
        }
    }

    /// The routes that there are.
    pub(super) fn known(&self) -> &[String] {
        &self.known
    }

    /// Tells of something, now or soon.
    pub(super) fn tell(&self, event: &Event) {
        let Some(notice) = Notice::of(event, self.interval_secs) else { return };
        let kind = match notice.kind {
            Kind::Fired => "fired",
            Kind::Reminded => "reminded",
            Kind::Resolved => "resolved",
        };
        self.note(event, kind);
        let is_route = |name: &str| event.rule.routes.iter().any(|route| route == name);
        if is_route(LOG) {
            log(&notice, kind);
        }
        let notice = Arc::new(notice);
        for (route, queue) in self.queues.iter().filter(|(route, _)| is_route(route)) {
            if !queue.push(Arc::clone(&notice)) {
                self.lost.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    route,
                    rule = event.rule.name,
                    "a notice was dropped: too many wait"
                );
            }
        }
    }

    /// Tells the audit that something has happened to an alert.
    pub(super) fn note(&self, event: &Event, outcome: &str) {
        let label = |key: &str| event.labels.get(key).cloned();
        let tenant = match &event.rule.owner {
            Owner::Tenant(tenant) => Some(tenant.clone()),
            Owner::Fleet => label("tenant"),
        };
        self.audit.note(Entry {
            tenant,
            session_id: label("session_id"),
            rule: Some(said(&event.rule.name)),
            ..Entry::now("alert", outcome)
        });
    }

    /// How many notices there was no room for.
    pub(super) fn dropped_total(&self) -> u64 {
        self.lost.dropped.load(Ordering::Relaxed)
    }

    /// How many were sent in vain.
    pub(super) fn failed_total(&self) -> u64 {
        self.lost.failed.load(Ordering::Relaxed)
    }
}

fn log(notice: &Notice, kind: &str) {
    let AlertReport { rule, owner, condition, value, labels, runbook, .. } = &notice.alert;
    let about = labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>();
    let about = about.join(" ");
    let value = value.unwrap_or(f64::NAN);
    match (notice.kind, notice.alert.severity) {
        (Kind::Resolved, _) | (_, Severity::Info) => {
            tracing::info!(kind, rule, owner, condition, value, about, "an alert");
        }
        (_, Severity::Warning) => {
            tracing::warn!(kind, rule, owner, condition, value, about, runbook, "an alert");
        }
        (_, Severity::Critical) => {
            tracing::error!(kind, rule, owner, condition, value, about, runbook, "an alert");
        }
    }
}

/// Tells the webhook what waits, until nothing comes any more.
async fn post(queue: Arc<Queue>, webhook: Webhook, lost: Arc<Lost>) {
    loop {
        let batch = queue.take(BATCH_MAX).await;
        if batch.is_empty() {
            return;
        }
        if let Err(error) = webhook.post(&batch).await {
            let count = batch.len();
            tracing::error!(error, count, "the webhook was not told of alerts");
            lost.failed.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// Tells a program what waits, one at a time, until nothing comes any more.
async fn run(queue: Arc<Queue>, programs: Programs, name: String, lost: Arc<Lost>) {
    while let Some(notice) = queue.take(1).await.first() {
        if let Err(error) = programs.run(&name, notice).await {
            tracing::error!(program = name, error, "a program was not told of an alert");
            lost.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some news.
    pub(super) fn notice() -> Notice {
        let alert = AlertReport {
            rule: "busy".to_owned(),
            owner: "fleet".to_owned(),
            state: "firing".to_owned(),
            severity: Severity::Warning,
            labels: BTreeMap::new(),
            condition: "load > 1".to_owned(),
            value: Some(2.0),
            since: String::new(),
            fired_at: None,
            action: None,
            acts_at: None,
            done: None,
            runbook: String::new(),
        };
        let (starts_at, ends_at) = (String::new(), String::new());
        Notice { kind: Kind::Fired, alert, why: None, starts_at, ends_at }
    }
}
