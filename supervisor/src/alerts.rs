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
mod rounds;
pub mod routes;
pub mod rule;
pub mod state;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use tokio::sync::Semaphore;

use self::book::{Book, Event, Page, Silence};
pub use self::config::Config;
use self::config::{bounds, configured, is_routed};
pub use self::error::{BookError, Error};
pub use self::listing::{LISTED_MAX, Listing};
use self::readings::Readings;
use self::report::{RuleReport, SilenceReport, now_secs};
use self::rounds::Pace;
use self::routes::Desk;
use self::rule::{Owner, Rule, Spec};
use self::state::Now;
use crate::audit::Audit;
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
    /// Trials at a time.
    trials: Arc<Semaphore>,
    /// How often it is looked.
    pace: Mutex<Pace>,
    /// When the steady clock began.
    started: Instant,
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
        let desk = Desk::open(&config, audit, sessions.pool().launcher().clone())?;
        let configured = configured(&config, &*readings, &desk)?;
        let document = folder.map(|folder| Document {
            path: folder.join(FILE),
            head: HEAD,
            bytes_max: FILE_BYTES_MAX,
        });
        let page = document.as_ref().map(read).transpose()?.flatten();
        let mut book = page.unwrap_or_default().open(bounds(&config));
        let events = book.configure(configured, now_secs());
        let inner = Inner {
            pace: Mutex::new(Pace::new(config.interval_secs)),
            config,
            book: Mutex::new(book),
            readings,
            sessions,
            desk,
            document,
            writing: tokio::sync::Mutex::new(()),
            acts: Semaphore::new(ACTS_MAX),
            trials: Arc::new(Semaphore::new(1)),
            started: Instant::now(),
        };
        for event in &events {
            inner.desk.tell(event);
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Adds a rule, or changes the one of that name. Tells of it, and what its owner should know.
    pub async fn set(
        &self,
        owner: Owner,
        spec: Spec,
    ) -> Result<(RuleReport, Option<String>), Error> {
        let reports = self.change_all(owner, vec![spec], Vec::new()).await?;
        reports.into_iter().next().ok_or(Error::Defect)
    }

    /// Removes rules and sets others, all of them or none.
    pub async fn change_all(
        &self,
        owner: Owner,
        set: Vec<Spec>,
        remove: Vec<String>,
    ) -> Result<Vec<(RuleReport, Option<String>)>, Error> {
        self.is_on()?;
        let rules = set.into_iter().map(|spec| self.possible(owner.clone(), spec));
        let rules = rules.collect::<Result<Vec<Rule>, Error>>()?;
        let reports = rules.iter().map(|rule| (RuleReport::of(rule), rule.warning())).collect();
        let at_secs = now_secs();
        let change = move |book: &mut Book| {
            let mut events = Vec::new();
            for name in &remove {
                events.extend(book.remove(&owner, name, at_secs)?);
            }
            for rule in &rules {
                events.extend(book.set(rule.clone(), at_secs)?);
            }
            Ok(events)
        };
        self.change(change).await?;
        Ok(reports)
    }

    /// Whether a rule could be set.
    pub fn could_set(&self, owner: Owner, spec: Spec) -> Result<(), Error> {
        self.is_on()?;
        self.possible(owner, spec).map(drop)
    }

    /// The rule, if there can be such a one.
    fn possible(&self, owner: Owner, spec: Spec) -> Result<Rule, Error> {
        let rule = Rule::new(owner, spec, self.inner.readings.metrics())?;
        is_routed(&rule, &self.inner.desk)?;
        Ok(rule)
    }

    /// Removes a rule; what it has found is over.
    pub async fn remove(&self, owner: &Owner, name: &str) -> Result<(), Error> {
        self.is_on()?;
        let (owner, name, at_secs) = (owner.clone(), name.to_owned(), now_secs());
        self.change(move |book| book.remove(&owner, &name, at_secs)).await
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
        let at_secs = now_secs();
        let silence = move |book: &mut Book| book.silence(silence.clone(), at_secs);
        self.change(move |book| silence(book).map(|()| Vec::new())).await?;
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
        // One at a time: each reads what is stored, again and again.
        let turn =
            Arc::clone(&self.inner.trials).try_acquire_owned().map_err(|_taken| Error::Busy)?;
        let run = move || {
            let _turn = turn;
            replay::replay(rule, &*readings, span, step)
        };
        let trial = tokio::task::spawn_blocking(run).await.map_err(|_panic| Error::Defect)?;
        trial.ok_or(Error::TooLong)
    }

    /// A rule, as it can be tried or written down.
    pub fn rule(&self, owner: &Owner, name: &str) -> Option<Arc<Rule>> {
        self.book().rule(owner, name).cloned()
    }

    /// The rules of an owner.
    pub fn rules(&self, owner: &Owner) -> Vec<Arc<Rule>> {
        self.book().rules().filter(|rule| rule.owner == *owner).cloned().collect()
    }

    /// Changes the book, once the change is written down: whoever is told that it is not so must be
    /// right. So it is made twice, first in a copy.
    async fn change(
        &self,
        change: impl Fn(&mut Book) -> Result<Vec<Event>, BookError> + Send + 'static,
    ) -> Result<(), Error> {
        let _writing = self.inner.writing.lock().await;
        let alerts = self.clone();
        let changed = tokio::task::spawn_blocking(move || alerts.change_in_writing(change)).await;
        self.follow(changed.map_err(|_panic| Error::Defect)??);
        Ok(())
    }

    fn change_in_writing(
        &self,
        change: impl Fn(&mut Book) -> Result<Vec<Event>, BookError>,
    ) -> Result<Vec<Event>, Error> {
        let Some(document) = &self.inner.document else {
            let mut book = self.book();
            change(&mut book.clone())?;
            return Ok(change(&mut book)?);
        };
        let mut draft = self.book().clone();
        let before = draft.version();
        change(&mut draft)?;
        let is_written = draft.version() != before;
        if is_written {
            document.write(&Page::of(&draft)).map_err(Error::NotKept)?;
        }
        let mut book = self.book();
        let is_as_drafted = book.version() == before;
        let events = change(&mut book)?;
        if is_written && is_as_drafted {
            book.was_written(draft.version(), self.now().steady_secs);
        }
        Ok(events)
    }

    /// What time it is.
    fn now(&self) -> Now {
        let steady_secs = self.inner.started.elapsed().as_secs_f64();
        Now { unix_secs: now_secs(), steady_secs }
    }

    fn is_on(&self) -> Result<(), Error> {
        if self.inner.config.enabled { Ok(()) } else { Err(Error::Off) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an earlier daemon has left. What is damaged was put aside; what only could not be read is
/// nothing that may be overwritten.
fn read(document: &Document) -> anyhow::Result<Option<Page>> {
    match document.read() {
        Ok(page) => Ok(page),
        Err(error) if !document.path.exists() => {
            tracing::error!(%error, "the rules and alerts are damaged, and put aside; there are none");
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| {
            format!("the rules and alerts could not be read from {}", document.path.display())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_put_aside_and_what_cannot_be_read_stays_and_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let document = Document { path, head: HEAD, bytes_max: FILE_BYTES_MAX };
        assert_eq!(read(&document).unwrap(), None);
        std::fs::write(&document.path, "nonsense").unwrap();
        assert_eq!(read(&document).unwrap(), None);
        assert!(!document.path.exists());
        // It is there, and no file.
        std::fs::create_dir(&document.path).unwrap();
        read(&document).unwrap_err();
        assert!(document.path.is_dir());
    }
}
