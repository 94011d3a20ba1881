//! The thread that takes samples, and what it fills.

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::history::{self, Bounds, History};
use super::levels::{Level, Levels};
use super::measured::Measured;
use super::remote_write::RemoteWrite;
use super::rhythm::Rhythm;
use super::sampler::{Sampler, Stretch};
use super::series::{Subject, Table};
use super::totals::Totals;
use crate::metrics::{Calls, Pair};
use crate::sessions::Sessions;

/// What is measured, and for how long it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How closely everybody is looked at: `off`, `basic` or `detailed`.
    pub level: Level,
    /// How much of a core the measuring may take; if it would take more, it is done less often.
    pub cpu_ratio_max: f64,
    /// Subjects (sessions, tenants, models, tools) of which the last hour is in memory.
    pub subjects_max: usize,
    /// How many of them may be one tenant's.
    pub subjects_per_tenant_max: usize,
    /// Whether minutes are kept for a week and hours for a year, in the state folder.
    pub history: bool,
    /// What that may take on the disk, in bytes.
    pub history_bytes_max: u64,
    /// What months of it that were read may take in memory, for whoever asks again; in bytes.
    pub history_cache_bytes_max: u64,
    /// Subjects of which there is a history.
    pub history_subjects_max: u64,
    /// How many of them may be one tenant's.
    pub history_subjects_per_tenant_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            level: Level::Basic,
            cpu_ratio_max: 0.02,
            subjects_max: 20_000,
            subjects_per_tenant_max: 5_000,
            history: true,
            history_bytes_max: 1 << 30,
            history_cache_bytes_max: 32 << 20,
            history_subjects_max: 200_000,
            history_subjects_per_tenant_max: 50_000,
        }
    }
}

/// Questions that are answered at a time: each may take a processor and read files.
const QUERIES_MAX: usize = 2;

/// How long somebody waits for others' answers.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// Where the history is, below the state folder.
pub(super) const FILE: &str = "metrics.sqlite";

/// Everything that is measured. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Monitor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sessions: Sessions,
    calls: Calls,
    started: Instant,
    measured: Measured,
    remote_write: Option<RemoteWrite>,
    totals: Mutex<Totals>,
    queries: Semaphore,
    stop: Mutex<Option<(SyncSender<()>, JoinHandle<()>)>>,
}

impl Monitor {
    /// Begins to measure. The history is in that folder, if there is to be one, and minutes are sent
    /// on, if they are to be.
    pub fn start(
        config: &Config,
        sessions: Sessions,
        calls: Calls,
        folder: Option<&Path>,
        remote_write: Option<RemoteWrite>,
    ) -> anyhow::Result<Self> {
        let history = folder.filter(|_| config.history).and_then(|folder| {
            let bounds = Bounds {
                bytes_max: config.history_bytes_max,
                cache_bytes_max: config.history_cache_bytes_max,
                subjects_max: config.history_subjects_max,
                subjects_per_tenant_max: config.history_subjects_per_tenant_max,
            };
            History::open_somehow(&folder.join(FILE), bounds)
        });
        let table = Table::new(config.subjects_max, config.subjects_per_tenant_max);
        let inner = Inner {
            sessions: sessions.clone(),
            calls: calls.clone(),
            started: Instant::now(),
            measured: Measured::new(table, Levels::new(config.level), history),
            remote_write,
            totals: Mutex::default(),
            queries: Semaphore::new(QUERIES_MAX),
            stop: Mutex::default(),
        };
        let monitor = Self { inner: Arc::new(inner) };
        let (stop, stopped) = sync_channel(1);
        let rhythm = Rhythm::new(config.cpu_ratio_max);
        let (thread, sampler) = (monitor.clone(), Sampler::new(sessions, calls));
        let measure = move || thread.measure(sampler, rhythm, &stopped);
        let thread = std::thread::Builder::new().name("measure".into()).spawn(measure)?;
        *lock(&monitor.inner.stop) = Some((stop, thread));
        Ok(monitor)
    }

    fn measure(&self, mut sampler: Sampler, mut rhythm: Rhythm, stopped: &Receiver<()>) {
        let mut last = None;
        loop {
            let cost = thread_secs();
            let now = Instant::now();
            let passed = last.replace(now).map(|last| now - last);
            self.measure_once(&mut sampler, passed, rhythm.interval());
            rhythm.took(thread_secs() - cost);
            match stopped.recv_timeout(pause(since_epoch(), rhythm.interval())) {
                Err(RecvTimeoutError::Timeout) => (),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn measure_once(&self, sampler: &mut Sampler, passed: Option<Duration>, interval: Duration) {
        let levels = self.levels().clone();
        let secs = passed.unwrap_or(interval).as_secs_f64().max(1e-3);
        let at_secs = i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX);
        // Nobody else adds to the table.
        let places = self.measured().table().places(at_secs, secs);
        let stretch = Stretch {
            secs,
            places: f64::from(places.count),
            interval_secs: interval.as_secs_f64(),
        };
        let taken = sampler.take(&levels, stretch);
        self.totals().add(&taken.calls);
        let minutes = self.measured().table().note(places, taken.samples);
        if minutes.is_empty() {
            return;
        }
        for minute in minutes {
            if let Some(remote) = &self.inner.remote_write {
                remote.note(&minute);
            }
            self.measured().keep(minute);
        }
        let sessions = self.inner.sessions.all();
        let there: HashSet<&str> = sessions.iter().map(|session| &*session.plan().id).collect();
        self.levels().keep_sessions(|id| there.contains(id));
    }

    /// What was measured.
    pub fn measured(&self) -> &Measured {
        &self.inner.measured
    }

    /// Where minutes are sent, if anywhere.
    pub fn remote_write(&self) -> Option<&RemoteWrite> {
        self.inner.remote_write.as_ref()
    }

    /// Calls since the daemon's start.
    pub fn totals(&self) -> MutexGuard<'_, Totals> {
        lock(&self.inner.totals)
    }

    /// How closely is looked at whom.
    pub fn levels(&self) -> MutexGuard<'_, Levels> {
        self.measured().levels()
    }

    /// The right to ask for what is not at hand; nothing if too many ask already.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = tokio::time::timeout(TURN_PATIENCE, self.inner.queries.acquire()).await;
        // The semaphore is never closed.
        turn.ok()?.ok()
    }

    /// The calls that are counted.
    pub fn calls(&self) -> &Calls {
        &self.inner.calls
    }

    /// When the daemon began.
    pub fn started(&self) -> Instant {
        self.inner.started
    }

    /// Forgets what was measured of some; tells of how many. Waits for the disk. What Prometheus is
    /// told never goes back.
    pub fn forget(
        &self,
        is_meant: impl Fn(&Subject) -> bool + Send + Clone + 'static,
        of_calls: impl Fn(&Pair) -> bool,
    ) -> Result<u64, history::Error> {
        let is_tool_meant = |tool: &Arc<str>| is_meant(&Subject::Tool(Arc::clone(tool)));
        self.calls().recent().forget(&of_calls, is_tool_meant);
        self.totals().forget(of_calls);
        self.measured().forget(is_meant)
    }

    /// Ends the measuring; what is to be kept is written.
    pub fn close(&self) {
        let Some((stop, thread)) = lock(&self.inner.stop).take() else { return };
        drop(stop);
        if thread.join().is_err() {
            tracing::error!("the measuring panicked");
        }
        if let Some(history) = self.measured().history() {
            history.close();
        }
        if let Some(remote) = &self.inner.remote_write {
            remote.close();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The processor time of this thread, in seconds.
fn thread_secs() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(0.0, |time| std::time::Duration::from(time).as_secs_f64())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How long to wait for the next sample: they are taken in the middle of a second, so that none falls
/// into its neighbour and each has its own. What was missed is not made up for.
fn pause(since_epoch: Duration, interval: Duration) -> Duration {
    const MIDDLE: Duration = Duration::from_millis(500);
    let second = Duration::from_secs(since_epoch.as_secs());
    (second + interval + MIDDLE).saturating_sub(since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken_in_the_middle_of_a_second() {
        for (now, interval, expected) in
            [(10_500, 1, 11_500), (10_501, 1, 11_500), (11_020, 1, 12_500), (11_990, 4, 15_500)]
        {
            let now = Duration::from_millis(now);
            let then = now + pause(now, Duration::from_secs(interval));
            assert_eq!(then, Duration::from_millis(expected));
        }
    }
}
