//! Rules about what is measured: what is told when one is broken, and what is done then.
//!
//! ```text
//! readings ──round, once in interval_secs──▶ book ──events──▶ file, then routes and actions
//! ```
//!
//! The [`book`] and the [`state`] of an alert are pure. Here are the clock, the file and the tasks.

mod actions;
pub mod book;
mod config;
mod error;
mod listing;
pub mod live;
pub mod prometheus;
pub mod readings;
pub mod replay;
pub mod report;
pub mod routes;
pub mod rule;
pub mod state;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::book::{Book, Event, Page, Silence};
pub use self::config::Config;
use self::config::{bounds, configured, is_routed};
pub use self::error::{BookError, Error};
pub use self::listing::{LISTED_MAX, Listing};
use self::readings::Readings;
use self::report::{RuleReport, SilenceReport, now_secs};
use self::routes::Desk;
use self::rule::{Owner, Rule, Spec};
use self::state::Effect;
use crate::audit::Audit;
use crate::code::chain;
use crate::sessions::Sessions;
use crate::store::document::Document;

/// What sessions are closed or put to sleep for by themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleanup {
    /// After how long without use, in seconds.
    pub idle_secs: Option<f64>,
    /// At what age, in seconds.
    pub age_secs: Option<f64>,
    /// What is done to them.
    pub action: rule::Action,
    /// How long after the notice.
    pub grace_secs: f64,
}

/// The names of the rules that make up a [`Cleanup`].
pub const CLEANUP_RULES: [&str; 2] = ["cleanup_idle", "cleanup_age"];

/// A cheap handle to the rules and what they have found.
#[derive(Clone, Debug)]
pub struct Alerts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    book: Mutex<Book>,
    readings: Arc<dyn Readings>,
    sessions: Sessions,
    desk: Desk,
    /// Where the book is written down, if it outlives the daemon.
    document: Option<Document>,
    /// Held while it is: what is newer comes later.
    writing: tokio::sync::Mutex<()>,
    /// Sessions to which something is done at a time.
    acts: Semaphore,
}

/// The book's name in the state folder, and what it begins with.
const FILE: &str = "alerts";
const HEAD: &str = "simward alerts 1";

/// The longest book, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// To how many sessions something is done at a time.
const ACTS_MAX: usize = 16;

impl Alerts {
    /// What an earlier daemon has left in `folder`, and the rules of the configuration.
    pub fn open(
        config: Config,
        folder: Option<&Path>,
        sessions: Sessions,
        audit: Audit,
        readings: Arc<dyn Readings>,
    ) -> anyhow::Result<Self> {
        let desk = Desk::open(&config, audit)?;
        let configured = configured(&config, &*readings, &desk)?;
        let document = folder.map(|folder| Document {
            path: folder.join(FILE),
            head: HEAD,
            bytes_max: FILE_BYTES_MAX,
        });
        let page = document.as_ref().map(Document::read::<Page>).transpose();
        let page = page.unwrap_or_else(|error| {
            tracing::error!(%error, "the rules and alerts could not be read; there are none");
            None
        });
        let mut book = page.flatten().unwrap_or_default().open(bounds(&config));
        let events = book.configure(configured, now_secs());
        let (book, acts) = (Mutex::new(book), Semaphore::new(ACTS_MAX));
        let writing = tokio::sync::Mutex::new(());
        let inner = Inner { config, book, readings, sessions, desk, document, writing, acts };
        for event in &events {
            inner.desk.tell(event);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Looks after the rules until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if !self.inner.config.enabled {
            return;
        }
        let interval = Duration::from_secs_f64(self.inner.config.interval_secs);
        let mut rounds = tokio::time::interval(interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => self.look().await,
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = self.write_down().await {
            let error = chain(&error);
            tracing::error!(error, "the rules and alerts could not be written down");
        }
    }

    /// Adds a rule, or changes the one of that name. Tells of it, and what its owner should know.
    pub async fn set(
        &self,
        owner: Owner,
        spec: Spec,
    ) -> Result<(RuleReport, Option<String>), Error> {
        self.is_on()?;
        let rule = Rule::new(owner, spec, self.inner.readings.metrics())?;
        is_routed(&rule, &self.inner.desk)?;
        let (report, warning) = (RuleReport::of(&rule), rule.warning());
        let key = (rule.owner.clone(), rule.name.clone());
        self.change(&key, |book| book.set(rule, now_secs())).await?;
        Ok((report, warning))
    }

    /// Whether a rule could be set.
    pub fn could_set(&self, owner: Owner, spec: Spec) -> Result<(), Error> {
        self.is_on()?;
        let rule = Rule::new(owner, spec, self.inner.readings.metrics())?;
        Ok(is_routed(&rule, &self.inner.desk)?)
    }

    /// Removes a rule; what it has found is over.
    pub async fn remove(&self, owner: &Owner, name: &str) -> Result<(), Error> {
        self.is_on()?;
        let key = (owner.clone(), name.to_owned());
        self.change(&key, |book| book.remove(owner, name, now_secs())).await
    }

    /// Closes sessions that nobody uses or that are old, or puts them to sleep, and tells before; or
    /// stops that. Tells the rules by which that is done.
    pub async fn clean_up(
        &self,
        owner: &Owner,
        cleanup: Option<Cleanup>,
    ) -> Result<Vec<RuleReport>, Error> {
        self.is_on()?;
        let asked = cleanup.map(|it| (it, [it.idle_secs, it.age_secs]));
        let metrics = ["session_idle_secs", "session_age_secs"];
        let mut reports = Vec::new();
        for (index, (name, metric)) in CLEANUP_RULES.into_iter().zip(metrics).enumerate() {
            match asked.and_then(|(cleanup, secs)| Some((cleanup, secs[index]?))) {
                Some((cleanup, secs)) => {
                    let spec = Spec {
                        name: Some(name.to_owned()),
                        metric: metric.to_owned(),
                        operator: rule::Operator::Gte,
                        value: secs,
                        for_secs: Some(0.0),
                        action: Some(cleanup.action),
                        grace_secs: Some(cleanup.grace_secs),
                        ..Spec::default()
                    };
                    reports.push(self.set(owner.clone(), spec).await?.0);
                }
                None => match self.remove(owner, name).await {
                    Ok(()) | Err(Error::Book(BookError::Unknown(_))) => (),
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(reports)
    }

    /// Tells nobody of something until a moment.
    pub async fn silence(&self, silence: Silence) -> Result<SilenceReport, Error> {
        self.is_on()?;
        let report = SilenceReport::of(&silence);
        if let Some(name) = &silence.rule
            && self.book().rule(&silence.owner, name).is_none()
        {
            return Err(BookError::Unknown(name.clone()).into());
        }
        self.book().silence(silence, now_secs())?;
        self.write_down().await?;
        Ok(report)
    }

    /// Tries a rule on what was measured between two moments, in seconds of Unix time.
    pub async fn replay(
        &self,
        owner: Owner,
        spec: Spec,
        span: (f64, f64),
    ) -> Result<replay::Trial, Error> {
        let readings = Arc::clone(&self.inner.readings);
        let rule = Rule::new(owner, spec, readings.metrics())?;
        // No more looks than a trial may have.
        let step = (span.1 - span.0) / f64::from(replay::LOOKS_MAX - 1);
        let step = step.max(self.inner.config.interval_secs);
        let run = move || replay::replay(rule, &*readings, span, step);
        tokio::task::spawn_blocking(run).await.map_err(|_panic| Error::Defect)
    }

    /// A rule, as it can be tried or written down.
    pub fn rule(&self, owner: &Owner, name: &str) -> Option<Arc<Rule>> {
        self.book().rule(owner, name).cloned()
    }

    /// The rules of an owner.
    pub fn rules(&self, owner: &Owner) -> Vec<Arc<Rule>> {
        self.book().rules().filter(|rule| rule.owner == *owner).cloned().collect()
    }

    /// One round: looks, and sees to what follows.
    async fn look(&self) {
        let events = self.answers().await;
        if let Err(error) = self.write_down().await {
            let error = chain(&error);
            tracing::error!(error, "the rules and alerts could not be written down");
        }
        self.follow(events);
    }

    /// Reads what the rules ask for, and takes it into account.
    async fn answers(&self) -> Vec<Event> {
        let rules: Vec<Arc<Rule>> = self.book().rules().cloned().collect();
        if rules.is_empty() {
            return Vec::new();
        }
        let at_secs = now_secs();
        let readings = Arc::clone(&self.inner.readings);
        // Files are read, which takes its time.
        let read = move || {
            let answer = |rule: Arc<Rule>| {
                let read = readings.read(&rule.question(), at_secs);
                (rule, read)
            };
            rules.into_iter().map(answer).collect::<Vec<_>>()
        };
        let Ok(answers) = tokio::task::spawn_blocking(read).await else {
            tracing::error!("looking at what is measured panicked");
            return Vec::new();
        };
        self.book().look(answers, at_secs)
    }

    /// Tells what follows, and does it. It is written down before, so that nobody is told twice.
    fn follow(&self, events: Vec<Event>) {
        for event in events {
            self.inner.desk.tell(&event);
            if event.effect == Effect::Act {
                let alerts = self.clone();
                tokio::spawn(async move { alerts.act(event).await });
            }
        }
    }

    async fn act(&self, event: Event) {
        // The semaphore is never closed.
        let Ok(_place) = self.inner.acts.acquire().await else { return };
        let Some(id) = event.labels.get("session_id") else { return };
        let done = actions::act(&self.inner.sessions, &event.rule, id).await;
        let (Ok(outcome) | Err(outcome)) = &done;
        tracing::info!(rule = event.rule.name, session_id = id, outcome, "acted on an alert");
        self.inner.desk.note(&event, outcome);
        self.book().acted(&event.rule, &event.labels, &done, now_secs());
    }

    async fn change(
        &self,
        key: &book::Key,
        change: impl FnOnce(&mut Book) -> Result<Vec<Event>, BookError>,
    ) -> Result<(), Error> {
        let (before, events) = {
            let mut book = self.book();
            (book.rule(&key.0, &key.1).cloned(), change(&mut book)?)
        };
        if let Err(error) = self.write_down().await {
            // Whoever is told that it is not so must be right.
            self.book().put_back(key.clone(), before);
            return Err(error);
        }
        self.follow(events);
        Ok(())
    }

    /// Writes down what is new.
    async fn write_down(&self) -> Result<(), Error> {
        let Some(document) = self.inner.document.clone() else { return Ok(()) };
        let _writing = self.inner.writing.lock().await;
        let Some(page) = self.book().news() else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || document.write(&page)).await;
        let written = written.map_err(|_panic| Error::Defect)?;
        written.map_err(|error| {
            self.book().keep_news();
            Error::NotKept(error)
        })
    }

    fn is_on(&self) -> Result<(), Error> {
        if self.inner.config.enabled { Ok(()) } else { Err(Error::Off) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
