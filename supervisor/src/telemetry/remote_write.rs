//! Sends what was measured on: each minute of the fleet, of models and of tools, by Prometheus's
//! remote write.
//!
//! A receiver that does not answer is asked again, ever more seldom, while a bounded number of
//! minutes waits; what is too much, or too old, or refused for good is dropped, and counted.

mod series;
mod wire;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use prost::Message as _;
use reqwest::{StatusCode, Url};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use self::series::Labels;
use super::series::Minute;
use crate::code::chain;
use crate::outbox::{Missing, Outbox, Pace, Sink, headers};

/// Where minutes are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The receiver's address, such as `http://127.0.0.1:9090/api/v1/write`; empty means nowhere.
    pub url: String,
    /// A file with lines `NAME: VALUE` that are sent along as headers; empty means none.
    pub headers_file: PathBuf,
    /// How long it may take to accept what it is sent, in seconds.
    pub timeout_secs: f64,
    /// How many minutes may wait to be sent.
    pub queue_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        let (url, headers_file) = (String::new(), PathBuf::new());
        Self { url, headers_file, timeout_secs: 10.0, queue_max: 60 }
    }
}

/// A day of minutes.
const QUEUE_MAX: usize = 1440;

/// Pauses between two attempts: twice as long each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A minute that is older is not sent any more: receivers take nothing that old.
const AGE_MAX: Duration = Duration::from_hours(1);

/// How long a daemon that stops goes on sending what waits.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

impl Config {
    /// Whether anything is to be sent.
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// Values with which nothing could be done: the key, and what is wrong.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let of = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
        if self.is_on() && !self.url.parse().is_ok_and(|url| of(&url)) {
            let problem = "must be an address such as http://127.0.0.1:9090/api/v1/write";
            return Err(("metrics.remote_write.url", problem.to_owned()));
        }
        if !(1..=QUEUE_MAX).contains(&self.queue_max) {
            let problem = format!("must lie between 1 and {QUEUE_MAX}, and is {}", self.queue_max);
            return Err(("metrics.remote_write.queue_max", problem));
        }
        Ok(())
    }
}

/// A cheap handle to hand minutes over.
#[derive(Clone, Debug)]
pub struct RemoteWrite {
    outbox: Outbox<Minute>,
    stop: Arc<Mutex<Option<SyncSender<()>>>>,
}

impl RemoteWrite {
    /// Begins to send, if anything is to be sent. Models name their tenants if that is wanted.
    pub fn open(config: &Config, with_tenants: bool) -> anyhow::Result<Option<Self>> {
        if !config.is_on() {
            return Ok(None);
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let labels = Labels { instance: host, with_tenants };
        let (stop, stopped) = sync_channel(1);
        let sender = Sender::open(config, labels, stopped)?;
        let pace = Pace { waiting_max: config.queue_max, batch: 1, within: PAUSE_MIN };
        let outbox = Outbox::open("remote-write", pace, sender)?;
        Ok(Some(Self { outbox, stop: Arc::new(Mutex::new(Some(stop))) }))
    }

    /// Sends a minute, soon.
    pub(super) fn note(&self, minute: &Minute) {
        let told = minute.points.iter().filter(|(subject, _)| series::is_told(subject));
        let points: Vec<_> = told.cloned().collect();
        if !points.is_empty() {
            self.outbox.put(Minute { begin_secs: minute.begin_secs, points });
        }
    }

    /// Minutes that were not sent, or not all of them.
    pub fn dropped_total(&self) -> u64 {
        self.outbox.missing_total()
    }

    /// Sends what waits if it is taken at once, and nothing any more.
    pub(super) fn close(&self) {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.outbox.close();
    }
}

/// Why something was not taken.
#[derive(Debug, PartialEq)]
enum Refused {
    /// It may be taken later.
    Now(String),
    /// It never will be.
    ForGood(String),
}

/// Sends them, on the thread that it is moved to.
#[derive(Debug)]
struct Sender {
    url: Url,
    client: reqwest::Client,
    runtime: Runtime,
    labels: Labels,
    /// Tells that the daemon stops.
    stopped: Receiver<()>,
    /// Until when it goes on then.
    stops_at: Option<Instant>,
    /// Whether the last one was not taken, so that those that are not either are not told of.
    is_failing: bool,
}

impl Sender {
    fn open(config: &Config, labels: Labels, stopped: Receiver<()>) -> anyhow::Result<Self> {
        let url = config.url.parse().context("`metrics.remote_write.url` is no address")?;
        // What is sent is for that address and no other.
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs_f64(config.timeout_secs))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("simward/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(&config.headers_file)?)
            .build()
            .context("there is no client for remote write")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { url, client, runtime, labels, stopped, stops_at: None, is_failing: false })
    }

    /// Sends a minute, again if need be; tells whether all of it was taken.
    fn send(&mut self, minute: &Minute) -> bool {
        series::requests(minute, &self.labels).iter().all(|request| {
            let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec());
            body.is_ok_and(|body| self.deliver(&body, minute.begin_secs))
        })
    }

    fn deliver(&mut self, body: &[u8], begin_secs: i64) -> bool {
        let mut pause = PAUSE_MIN;
        while !self.is_over(begin_secs) {
            let sent = self.post(body);
            self.say(&sent);
            match sent {
                Ok(()) => return true,
                Err(Refused::ForGood(_)) => return false,
                Err(Refused::Now(_)) if !self.rest(pause) => return false,
                Err(Refused::Now(_)) => pause = (pause * 2).min(PAUSE_MAX),
            }
        }
        false
    }

    fn post(&self, body: &[u8]) -> Result<(), Refused> {
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body.to_vec());
        // It wants the clock of the runtime already when it begins.
        let sent = self.runtime.block_on(async { request.send().await });
        match sent.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => {
                let error = format!("it answers {status}");
                let may_pass = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                Err(if may_pass { Refused::Now(error) } else { Refused::ForGood(error) })
            }
            // The address may hold a password; without it the error says the same.
            Err(error) => Err(Refused::Now(chain(&error.without_url()))),
        }
    }

    /// Waits; tells whether to try again: a daemon that stops does not wait.
    fn rest(&self, pause: Duration) -> bool {
        self.stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
    }

    /// Whether it is too late for a minute.
    fn is_over(&mut self, begin_secs: i64) -> bool {
        let is_stopping =
            self.stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected);
        if is_stopping && self.stops_at.is_none() {
            self.stops_at = Some(Instant::now() + STOPS_WITHIN);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begun = Duration::from_secs(u64::try_from(begin_secs).unwrap_or(0));
        AGE_MAX < now.saturating_sub(begun)
            || self.stops_at.is_some_and(|stops_at| stops_at <= Instant::now())
    }

    /// Says once that minutes cannot be sent, and once that they can be again.
    fn say(&mut self, sent: &Result<(), Refused>) {
        match sent {
            Err(Refused::Now(error) | Refused::ForGood(error)) if !self.is_failing => {
                tracing::error!(error, "metrics cannot be sent by remote write");
                self.is_failing = true;
            }
            Ok(()) if self.is_failing => {
                tracing::info!("metrics can be sent by remote write again");
                self.is_failing = false;
            }
            _ => (),
        }
    }
}

impl Sink<Minute> for Sender {
    fn take(&mut self, batch: &mut Vec<Minute>, missing: &Missing) {
        for minute in batch.drain(..) {
            if !self.send(&minute) {
                missing.add(1);
            }
        }
    }

    fn end(self, _missing: &Missing) {}
}

#[cfg(test)]
mod tests;
