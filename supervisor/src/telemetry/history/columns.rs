//! The past of a subject in memory: a column for each metric.

use super::Range;
use crate::durations::Durations;
use crate::telemetry::metric::Id;
use crate::telemetry::series::{Point, Summary};

/// Values by when their stretch of time begins, in seconds since 1970.
pub type Column<V> = Vec<(i64, V)>;

/// What is kept of a subject. Where a metric had no value, its column has no row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    gauges: Vec<(Id, Column<Summary>)>,
    histograms: Vec<(Id, Column<Durations>)>,
    /// When the last stretch begins of which anything is known to be kept, wanted or not.
    last_secs: Option<i64>,
}

impl Columns {
    /// The columns of gauges.
    pub fn gauges(&self) -> impl Iterator<Item = (Id, &Column<Summary>)> {
        self.gauges.iter().map(|(id, column)| (*id, column))
    }

    /// The columns of histograms.
    pub fn histograms(&self) -> impl Iterator<Item = (Id, &Column<Durations>)> {
        self.histograms.iter().map(|(id, column)| (*id, column))
    }

    /// A gauge's values.
    pub fn gauge(&self, id: Id) -> &[(i64, Summary)] {
        self.gauges().find(|(own, _)| *own == id).map_or(&[], |(_, column)| column)
    }

    /// A histogram's durations.
    pub fn histogram(&self, id: Id) -> &[(i64, Durations)] {
        self.histograms().find(|(own, _)| *own == id).map_or(&[], |(_, column)| column)
    }

    /// When the last stretch begins of which anything is kept, be it of other metrics; of months that
    /// lie together, of those that are wanted.
    pub fn last_secs(&self) -> Option<i64> {
        self.last_secs
    }

    /// Leaves what begins in a stretch of time.
    pub fn retain(&mut self, range: &Range) {
        self.gauges.iter_mut().for_each(|(_, column)| cut(column, range));
        self.histograms.iter_mut().for_each(|(_, column)| cut(column, range));
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let gauges = self.gauges().map(|(_, column)| size_of_val(column.as_slice()));
        let histogram = |column: &Column<Durations>| -> usize {
            column.iter().map(|(_, of)| size_of::<i64>() + of.bytes()).sum()
        };
        let histograms = self.histograms().map(|(_, column)| histogram(column));
        size_of::<Self>() + gauges.chain(histograms).sum::<usize>()
    }

    /// Takes no more memory than it needs.
    pub(super) fn shrink(&mut self) {
        self.gauges.iter_mut().for_each(|(_, column)| column.shrink_to_fit());
        self.histograms.iter_mut().for_each(|(_, column)| column.shrink_to_fit());
    }

    /// Takes in a copy of what begins in a stretch of time.
    pub(super) fn take(&mut self, other: &Self, range: &Range) {
        let mut last = other.last_secs.filter(|last| range.contains(last));
        for (id, column) in other.gauges() {
            let meant = column.iter().filter(|(at, _)| range.contains(at)).copied();
            let own = self.gauge_mut(id);
            own.extend(meant);
            last = last.max(own.last().map(|(at, _)| *at));
        }
        for (id, column) in other.histograms() {
            let meant = column.iter().filter(|(at, _)| range.contains(at)).cloned();
            let own = self.histogram_mut(id);
            own.extend(meant);
            last = last.max(own.last().map(|(at, _)| *at));
        }
        self.last_secs = self.last_secs.max(last);
    }

    /// All of it together.
    pub(super) fn sum(&self) -> Point {
        let mut sum = Point::default();
        for (id, column) in self.gauges() {
            let mut all = Summary::default();
            for (_, value) in column {
                all.add(*value);
            }
            sum.gauges.push((id, all));
        }
        for (id, column) in self.histograms() {
            let mut all = Durations::default();
            for (_, durations) in column {
                all.add(durations);
            }
            sum.histograms.push((id, all));
        }
        sum
    }

    /// When its stretches begin, each once.
    pub(super) fn times(&self) -> Vec<i64> {
        let gauges = self.gauges.iter().flat_map(|(_, column)| column.iter().map(|(at, _)| *at));
        let histograms =
            self.histograms.iter().flat_map(|(_, column)| column.iter().map(|(at, _)| *at));
        let mut times: Vec<i64> = gauges.chain(histograms).collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// Notes that something was measured then.
    pub(super) fn note(&mut self, at: i64) {
        self.last_secs = self.last_secs.max(Some(at));
    }

    pub(super) fn gauge_mut(&mut self, id: Id) -> &mut Column<Summary> {
        column_of(&mut self.gauges, id)
    }

    pub(super) fn histogram_mut(&mut self, id: Id) -> &mut Column<Durations> {
        column_of(&mut self.histograms, id)
    }

    /// Takes in what was measured then.
    pub(super) fn push(&mut self, at: i64, point: Point) {
        self.note(at);
        for (id, summary) in point.gauges {
            self.gauge_mut(id).push((at, summary));
        }
        for (id, durations) in point.histograms {
            self.histogram_mut(id).push((at, durations));
        }
    }

    /// Takes in what came after.
    pub(super) fn append(&mut self, other: Self) {
        self.last_secs = self.last_secs.max(other.last_secs);
        for (id, column) in other.gauges {
            self.gauge_mut(id).extend(column);
        }
        for (id, column) in other.histograms {
            self.histogram_mut(id).extend(column);
        }
    }

    /// Brings rows into the order of time. Of a moment that came twice, what came last stays.
    pub(super) fn tidy(&mut self) {
        self.gauges.iter_mut().for_each(|(_, column)| put_in_order(column));
        self.histograms.iter_mut().for_each(|(_, column)| put_in_order(column));
    }
}

fn column_of<V>(columns: &mut Vec<(Id, Column<V>)>, id: Id) -> &mut Column<V> {
    let place = columns.iter().position(|(own, _)| *own == id).unwrap_or(columns.len());
    if place == columns.len() {
        columns.push((id, Vec::new()));
    }
    &mut columns[place].1
}

fn cut<V>(column: &mut Column<V>, range: &Range) {
    column.retain(|(at, _)| range.contains(at));
}

fn put_in_order<V>(column: &mut Column<V>) {
    if !column.is_sorted_by(|(one, _), (next, _)| one < next) {
        column.sort_by_key(|(at, _)| *at);
        column.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                std::mem::swap(next, kept);
            }
            is_same
        });
    }
}
