//! What rules look at every second: one metric of every subject, over the last seconds, from memory.

use crate::telemetry::measured::Measured;
use crate::telemetry::metric::{Id, Scope};
use crate::telemetry::query::gather::Bin;
use crate::telemetry::series::{LAP_SECS, Subject, Track};

/// What was measured of a subject lately.
#[derive(Debug)]
pub struct Recent {
    /// Whose it is.
    pub subject: Subject,
    /// What is known of it.
    pub(super) bin: Bin,
    /// The newest value, if it is a gauge and has one within the time that is looked at.
    pub newest: Option<f64>,
}

/// The last second that was measured, and what was measured until then.
#[derive(Debug)]
pub struct Lately {
    /// When anything was measured last, in seconds since 1970.
    pub now_secs: i64,
    /// Of each subject that is there.
    pub all: Vec<Recent>,
}

/// A session that was not measured for so long is gone.
const GONE_AFTER_SECS: i64 = 20;

impl Measured {
    /// One metric of every subject of a scope that is meant, over the last seconds; of one that is
    /// there and was not measured, nothing is known. Nothing at all before the first sample.
    pub fn lately(
        &self,
        (scope, id): (Scope, Id),
        window_secs: i64,
        is_meant: impl Fn(&Subject) -> bool,
    ) -> Option<Lately> {
        let table = self.table();
        let now_secs = table.now_secs()?;
        let is_there = |track: &Track| {
            scope != Scope::Session || now_secs - GONE_AFTER_SECS <= track.last_secs()
        };
        let meant = table
            .tracks()
            .filter(|(subject, track)| subject.scope() == scope && is_there(track))
            .filter(|(subject, _)| is_meant(subject));
        let recent = |(subject, track): (&Subject, &Track)| {
            let (bin, newest) = look(track, id, now_secs, window_secs);
            Recent { subject: subject.clone(), bin, newest }
        };
        let all = meant.map(recent).collect();
        Some(Lately { now_secs, all })
    }

    /// The values of a gauge over the last seconds, the newest first.
    pub fn values_lately(&self, subject: &Subject, id: Id, window_secs: i64) -> Vec<f32> {
        let table = self.table();
        let Some((track, now)) = table.track(subject).zip(table.now_secs()) else {
            return Vec::new();
        };
        let Some(ring) = track.ring(id) else { return Vec::new() };
        let behind = behind(ring.open_len(), now);
        let take = usize::try_from(window_secs - behind).unwrap_or(0);
        ring.newest_first().take(take).filter(|value| value.is_finite()).collect()
    }
}

fn look(track: &Track, id: Id, now: i64, window_secs: i64) -> (Bin, Option<f64>) {
    let mut bin = Bin::default();
    let mut newest = None;
    if let Some(ring) = track.ring(id) {
        let seconds = window_secs - behind(ring.open_len(), now);
        if let Ok(seconds) = usize::try_from(seconds)
            && seconds != 0
        {
            bin.summary = ring.summary(0, seconds - 1);
            let mut values = ring.newest_first().take(seconds);
            newest = values.find(|value| value.is_finite()).map(f64::from);
        }
        return (bin, newest);
    }
    let lap = LAP_SECS as i64;
    let laps = usize::try_from((window_secs + lap - 1) / lap).unwrap_or(0);
    for durations in track.laps(id).take(laps.max(1)) {
        bin.durations.add(durations);
    }
    (bin, newest)
}

/// How many seconds the newest value is behind.
fn behind(open_len: usize, now: i64) -> i64 {
    (now.rem_euclid(60) + 1 - i64::try_from(open_len).unwrap_or(0)).max(0)
}
