//! The last hour of every subject, bounded in subjects.

use std::collections::BTreeMap;

use super::{LAP_SECS, Point, Sample, Subject, Track};
use crate::tenants::Tenant;

/// A minute that is over, of every subject that was measured in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Minute {
    /// When it began, in seconds since 1970.
    pub begin_secs: i64,
    /// What was measured.
    pub points: Vec<(Subject, Point)>,
}

/// The last hour of everything. Bounded in subjects, and so in memory.
#[derive(Debug)]
pub struct Table {
    tracks: BTreeMap<Subject, Track>,
    tracks_max: usize,
    /// How many of them may be one tenant's.
    per_tenant_max: usize,
    per_tenant: BTreeMap<Tenant, usize>,
    /// What they took when a minute was last over, in bytes.
    bytes: usize,
    /// The second that was measured last.
    now_secs: Option<i64>,
    /// Samples of subjects that there was no room for.
    turned_away_total: u64,
}

/// Consecutive seconds that a sample is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// The last of them, since 1970.
    pub last_secs: i64,
    /// How many they are.
    pub count: u8,
}

#[cfg(test)]
impl Places {
    /// So many seconds, until and with that one.
    pub fn until(last_secs: i64, count: u8) -> Self {
        Self { last_secs, count }
    }
}

/// The longest time that one sample stands for, in seconds.
const SPAN_SECS_MAX: f64 = 60.0;

/// A subject that was not measured for so long is forgotten.
const FORGET_AFTER_SECS: i64 = 3600;

impl Table {
    /// Nothing yet, and never more than so many subjects, in all and of one tenant.
    pub fn new(tracks_max: usize, per_tenant_max: usize) -> Self {
        Self {
            tracks: BTreeMap::new(),
            tracks_max,
            per_tenant_max,
            per_tenant: BTreeMap::new(),
            bytes: 0,
            now_secs: None,
            turned_away_total: 0,
        }
    }

    /// The seconds that samples are of which are taken at that moment, so long after the last ones:
    /// all that are free until then. Seconds only go on, whatever is done to the clock.
    pub fn places(&self, at_secs: i64, passed_secs: f64) -> Places {
        let Some(now_secs) = self.now_secs else { return Places { last_secs: at_secs, count: 1 } };
        let last_secs = at_secs.max(now_secs + 1);
        let free = u8::try_from(last_secs - now_secs).unwrap_or(u8::MAX);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
        let passed = passed_secs.ceil().clamp(1.0, SPAN_SECS_MAX) as u8;
        Places { last_secs, count: free.min(passed) }
    }

    /// Adds what was measured over some seconds: values are means of that time, and those of each of
    /// its seconds. Tells of the minutes that are over.
    pub fn note(&mut self, places: Places, mut samples: Vec<(Subject, Sample)>) -> Vec<Minute> {
        let at_secs = places.last_secs;
        let first = at_secs + 1 - i64::from(places.count.max(1));
        let first = self.now_secs.map_or(first, |last| first.max(last + 1));
        let mut over = Vec::new();
        for second in first..=at_secs {
            over.extend(self.go_on_to(second));
            let take_in = |track: &mut Track, sample: &Sample| {
                track.gauge(second, sample);
                if second == at_secs {
                    track.observe(sample);
                }
            };
            // After what is gone was forgotten. Whoever has no place has none in a later second.
            samples.retain(|(subject, sample)| {
                if let Some(track) = self.tracks.get_mut(subject) {
                    take_in(track, sample);
                    return true;
                }
                self.admit(subject).map(|track| take_in(track, sample)).is_some()
            });
        }
        over
    }

    /// Makes a place for a subject that has none, if there is room.
    fn admit(&mut self, subject: &Subject) -> Option<&mut Track> {
        let own =
            subject.owner().map_or(0, |owner| self.per_tenant.get(owner).copied().unwrap_or(0));
        if self.tracks_max <= self.tracks.len() || self.per_tenant_max <= own {
            self.turned_away_total += 1;
            return None;
        }
        if let Some(owner) = subject.owner() {
            *self.per_tenant.entry(owner.clone()).or_default() += 1;
        }
        let mut track = Track::new(subject.scope());
        track.close_lap();
        Some(self.tracks.entry(subject.clone()).or_insert(track))
    }

    /// Closes laps and minutes until that second.
    fn go_on_to(&mut self, at_secs: i64) -> Vec<Minute> {
        let mut over = Vec::new();
        let Some(last_secs) = self.now_secs.replace(at_secs) else { return over };
        // Of a longer gap nothing could be told but that there was one.
        let mut second = last_secs.max(at_secs - FORGET_AFTER_SECS - 60);
        if last_secs < second {
            over.extend(self.close_minute(last_secs - last_secs.rem_euclid(60)));
        }
        while second < at_secs {
            second += 1;
            if second % 60 == 0 {
                over.extend(self.close_minute(second - 60));
            }
            if second % LAP_SECS == 0 {
                self.tracks.values_mut().for_each(Track::close_lap);
            }
        }
        over
    }

    fn close_minute(&mut self, begin_secs: i64) -> Option<Minute> {
        self.forget_gone(begin_secs - FORGET_AFTER_SECS);
        self.bytes = self.tracks.values().map(Track::bytes).sum();
        let mut points = Vec::with_capacity(self.tracks.len());
        for (subject, track) in &mut self.tracks {
            let point = track.close_minute();
            if !point.is_empty() {
                points.push((subject.clone(), point));
            }
        }
        (!points.is_empty()).then_some(Minute { begin_secs, points })
    }

    /// Forgets subjects that were not measured since.
    fn forget_gone(&mut self, since_secs: i64) {
        let per_tenant = &mut self.per_tenant;
        self.tracks.retain(|subject, track| {
            let stays = since_secs < track.last_secs;
            if !stays
                && let Some(owner) = subject.owner()
                && let Some(count) = per_tenant.get_mut(owner)
            {
                *count -= 1;
                if *count == 0 {
                    per_tenant.remove(owner);
                }
            }
            stays
        });
    }

    /// The second that was measured last.
    pub fn now_secs(&self) -> Option<i64> {
        self.now_secs
    }

    /// A subject's last hour.
    pub fn track(&self, subject: &Subject) -> Option<&Track> {
        self.tracks.get(subject)
    }

    /// Every subject's from that one on, in order.
    pub fn tracks_from(&self, first: &Subject) -> impl Iterator<Item = (&Subject, &Track)> {
        self.tracks.range(first..)
    }

    /// Every subject's.
    pub fn tracks(&self) -> impl Iterator<Item = (&Subject, &Track)> {
        self.tracks.iter()
    }

    /// Forgets what was measured of these; tells of how many.
    pub fn forget(&mut self, is_meant: impl Fn(&Subject) -> bool) -> usize {
        let meant = self.tracks.iter_mut().filter(|(subject, _)| is_meant(subject));
        meant.map(|(_, track)| track.clear()).count()
    }

    /// Samples of subjects that there was no room for.
    pub fn turned_away_total(&self) -> u64 {
        self.turned_away_total
    }

    /// What it took when a minute was last over, in bytes; what it takes now, before there was one.
    pub fn bytes(&self) -> usize {
        if self.bytes == 0 { self.tracks.values().map(Track::bytes).sum() } else { self.bytes }
    }
}

#[cfg(test)]
mod tests;
