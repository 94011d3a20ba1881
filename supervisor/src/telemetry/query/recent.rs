//! What rules look at every second: one metric of every subject, over the last seconds, from memory.

use crate::telemetry::measured::Measured;
use crate::telemetry::metric::{Id, Metric, Scope};
use crate::telemetry::query::Aggregate;
use crate::telemetry::query::gather::Bin;
use crate::telemetry::series::{LAP_SECS, Subject, Track};
use crate::tenants::Tenant;

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

impl Recent {
    /// What is made of the values.
    pub fn value(&self, metric: &Metric, aggregate: Aggregate) -> Option<f64> {
        self.bin.value(metric, aggregate)
    }
}

impl Measured {
    /// One metric of every subject of a scope, and of an owner, that is meant, over the last seconds;
    /// of one that is there and was not measured, nothing is known. Nothing at all before the first
    /// sample.
    pub fn lately(
        &self,
        (scope, owner): (Scope, Option<&Tenant>),
        id: Id,
        window_secs: i64,
        is_meant: impl Fn(&Subject) -> bool,
    ) -> Option<Lately> {
        let table = self.table();
        let now_secs = table.now_secs()?;
        let is_there = |track: &Track| {
            // Every session that there is was measured in the last second.
            scope != Scope::Session || now_secs <= track.last_secs()
        };
        let first = first(scope, owner);
        let meant = table
            .tracks_from(&first)
            .take_while(|(subject, _)| {
                subject.scope() == scope && (owner.is_none() || subject.owner() == owner)
            })
            .filter(|(subject, track)| is_meant(subject) && is_there(track));
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

/// Where the subjects of a scope, and of an owner, begin: they are in order of scopes, owners and
/// names, and no text comes before the empty one.
fn first(scope: Scope, owner: Option<&Tenant>) -> Subject {
    let owner = owner.cloned().unwrap_or_else(|| Tenant::named(""));
    match scope {
        Scope::Fleet => Subject::Fleet,
        Scope::Tenant => Subject::Tenant(owner),
        Scope::Model => Subject::Model(owner, "".into()),
        Scope::Tool => Subject::Tool("".into()),
        Scope::Session => Subject::Session(owner, "".into()),
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
    let lap = LAP_SECS;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::levels::Levels;
    use crate::telemetry::series::{Places, Sample, Table};

    #[test]
    fn only_what_is_of_the_scope_and_of_the_owner_is_looked_at() {
        let subjects = [
            Subject::Fleet,
            Subject::of(Scope::Tenant, Some("ann"), "").unwrap(),
            Subject::of(Scope::Model, Some("ann"), "m").unwrap(),
            Subject::of(Scope::Tool, None, "t").unwrap(),
            Subject::of(Scope::Session, Some("ann"), "sim_1").unwrap(),
            Subject::of(Scope::Session, Some("ann"), "sim_2").unwrap(),
            Subject::of(Scope::Session, Some("bob"), "sim_3").unwrap(),
        ];
        let mut table = Table::new(10, 10);
        table.note(
            Places::until(1000, 1),
            subjects.iter().map(|it| (it.clone(), Sample::default())).collect(),
        );
        let measured = Measured::new(table, Levels::default(), None);
        let ann = Tenant::named("ann");
        for (scope, owner, expected) in [
            (Scope::Fleet, None, &subjects[..1]),
            (Scope::Tenant, None, &subjects[1..2]),
            (Scope::Model, Some(&ann), &subjects[2..3]),
            (Scope::Tool, None, &subjects[3..4]),
            (Scope::Session, Some(&ann), &subjects[4..6]),
            (Scope::Session, None, &subjects[4..]),
        ] {
            let lately = measured.lately((scope, owner), Id::Calls, 60, |_| true).unwrap();
            let found: Vec<_> = lately.all.into_iter().map(|recent| recent.subject).collect();
            assert_eq!(found, expected);
        }
        let nothing = Measured::new(Table::new(1, 1), Levels::default(), None);
        assert!(nothing.lately((Scope::Fleet, None), Id::Cpu, 60, |_| true).is_none());
    }
}
