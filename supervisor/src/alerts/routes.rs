//! Where alerts are told beside the resource: the audit and the log at once; webhooks and programs
//! by a task of their own, through a queue.
//!
//! Where they go only the operator's configuration says. Nobody who sets a rule names an address or a
//! program.

mod exec;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use self::exec::Programs;
use self::webhook::Webhook;
use super::book::Event;
use super::report::{AlertReport, moment};
use super::rule::{Owner, Severity};
use super::state::{Effect, State, Why};
use crate::audit::{Audit, Entry, said};

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

/// Notices that may wait to be sent.
pub const QUEUE_MAX: usize = 1024;

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
    #[serde(skip)]
    routes: Vec<String>,
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
            routes: rule.routes.clone(),
        })
    }
}

/// Takes what is to be told.
#[derive(Debug)]
pub(super) struct Desk {
    audit: Audit,
    queue: mpsc::Sender<Notice>,
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
    pub(super) fn open(config: &super::Config, audit: Audit) -> anyhow::Result<Self> {
        let webhook = Webhook::open(&config.webhook)?;
        let programs = Programs::new(&config.exec, config.exec_timeout_secs);
        let mut known = vec![LOG.to_owned()];
        known.extend(webhook.is_some().then(|| WEBHOOK.to_owned()));
        known.extend(config.exec.iter().map(|program| format!("{EXEC}{}", program.name)));
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let lost = Arc::<Lost>::default();
        tokio::spawn(deliver(waiting, webhook, programs, Arc::clone(&lost)));
        Ok(Self { audit, queue, lost, interval_secs: config.interval_secs, known })
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
        if notice.routes.iter().any(|route| route == LOG) {
            log(&notice, kind);
        }
        let is_sent = notice.routes.iter().any(|route| route != LOG);
        if is_sent && self.queue.try_send(notice).is_err() {
            self.lost.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(rule = event.rule.name, "a notice was dropped: too many wait");
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

/// Sends what waits, in order, until nobody can hand over any more.
async fn deliver(
    mut waiting: mpsc::Receiver<Notice>,
    webhook: Option<Webhook>,
    programs: Programs,
    lost: Arc<Lost>,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut batch, BATCH_MAX).await != 0 {
        let post = async {
            let is_meant = |notice: &&Notice| notice.routes.iter().any(|route| route == WEBHOOK);
            let notices: Vec<&Notice> = batch.iter().filter(is_meant).collect();
            match &webhook {
                Some(webhook) if !notices.is_empty() => {
                    (notices.len(), webhook.post(&notices).await)
                }
                _ => (0, Ok(())),
            }
        };
        let run = async {
            let mut failed = 0;
            for notice in &batch {
                for name in notice.routes.iter().filter_map(|route| route.strip_prefix(EXEC)) {
                    if let Err(error) = programs.run(name, notice).await {
                        tracing::error!(
                            program = name,
                            error,
                            "a program was not told of an alert"
                        );
                        failed += 1;
                    }
                }
            }
            failed
        };
        let ((posted, outcome), mut failed) = futures::future::join(post, run).await;
        if let Err(error) = outcome {
            tracing::error!(error, count = posted, "the webhook was not told of alerts");
            failed += posted as u64;
        }
        lost.failed.fetch_add(failed, Ordering::Relaxed);
        batch.clear();
    }
}
