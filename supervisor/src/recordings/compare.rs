//! Two recordings beside each other, row by row.

use serde::Serialize;
use simward_protocol::real::Real;

use super::Error;
use super::reading::{Reading, blocking, open};
use crate::session::Session;

/// How two recordings differ.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Comparison {
    /// Rows that were compared: as many as the shorter one has.
    pub rows_compared: u64,
    /// The rows of each.
    pub rows: [u64; 2],
    /// Whether all rows that were compared, times included, are the same to the last bit.
    pub bit_equal: bool,
    /// The largest difference of the times.
    pub time_max_difference_secs: Real,
    /// The first time at which a column differs by more than the tolerance.
    pub first_differs_secs: Option<Real>,
    /// Columns that differ at all, the most different one first.
    pub columns: Vec<Difference>,
    /// How many more of them there are.
    pub columns_cut: u64,
}

/// How one column differs.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Difference {
    /// The column.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// The largest difference.
    pub max: Real,
    /// The root of the mean of the squared differences.
    pub rms: Real,
    /// The first time at which it differs by more than the tolerance.
    pub first_differs_secs: Option<Real>,
}

/// Columns that are told of.
const COLUMNS_TOLD: usize = 50;

/// What is known of a column while rows are read.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    max: f64,
    squares: f64,
    differs: bool,
    first_secs: Option<f64>,
}

/// Compares two recordings that have the same columns and the same number of steps between rows.
/// The n-th row of one is compared with the n-th row of the other.
pub async fn compare(
    (session, id): (&Session, &str),
    (other, other_id): (&Session, &str),
    tolerance: f64,
) -> Result<Comparison, Error> {
    if !(0.0..=f64::MAX).contains(&tolerance) {
        let problem = format!("must be a number that is not negative, and is {tolerance}");
        return Err(Error::Argument { field: "tolerance", problem });
    }
    let (left, right) = (open(session, id).await?, open(other, other_id).await?);
    blocking(move || compare_rows(&left, &right, tolerance)).await
}

fn compare_rows(left: &Reading, right: &Reading, tolerance: f64) -> Result<Comparison, Error> {
    let fits =
        left.head.every == right.head.every && left.head.layout.series == right.head.layout.series;
    if !fits {
        let problem = "has other columns, or another `every`: only recordings of the same \
                       channels can be compared";
        return Err(Error::Argument { field: "other_recording_id", problem: problem.to_owned() });
    }
    let rows = [left.head.rows, right.head.rows];
    let compared = rows[0].min(rows[1]);
    let mut sums = vec![Sum::default(); left.head.layout.width()];
    let (mut bit_equal, mut time_max) = (true, 0.0_f64);
    let mut others = Rows::new(right, compared);
    left.each(0..compared, |row| {
        let other = others.next()?;
        let other = right.row(other.0, other.1)?;
        bit_equal &= row.time_secs.to_bits() == other.time_secs.to_bits();
        time_max = time_max.max(distance(row.time_secs, other.time_secs));
        for (sum, (one, two)) in sums.iter_mut().zip(row.values().zip(other.values())) {
            if one.to_bits() != two.to_bits() {
                bit_equal = false;
                sum.add(distance(one, two), tolerance, row.time_secs);
            }
        }
        Ok(())
    })?;
    let firsts = sums.iter().filter_map(|sum| sum.first_secs);
    let first = firsts.reduce(f64::min).map(Real);
    let (columns, columns_cut) = told(left, &sums, compared);
    Ok(Comparison {
        rows_compared: compared,
        rows,
        bit_equal,
        time_max_difference_secs: Real(time_max),
        first_differs_secs: first,
        columns,
        columns_cut,
    })
}

impl Sum {
    fn add(&mut self, distance: f64, tolerance: f64, time_secs: f64) {
        self.differs = true;
        self.max = self.max.max(distance);
        self.squares += distance * distance;
        if tolerance < distance {
            self.first_secs.get_or_insert(time_secs);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "no recording has 2^52 rows")]
fn told(reading: &Reading, sums: &[Sum], rows: u64) -> (Vec<Difference>, u64) {
    let columns = reading.head.layout.columns().zip(sums).filter(|(_, sum)| sum.differs);
    let mut told: Vec<_> = columns
        .map(|(column, sum)| Difference {
            name: column.name.clone(),
            unit: column.unit.clone(),
            max: Real(sum.max),
            rms: Real((sum.squares / rows as f64).sqrt()),
            first_differs_secs: sum.first_secs.map(Real),
        })
        .collect();
    told.sort_by(|one, two| two.max.0.total_cmp(&one.max.0));
    let cut = told.len().saturating_sub(COLUMNS_TOLD) as u64;
    told.truncate(COLUMNS_TOLD);
    (told, cut)
}

/// Two NaNs are alike, and a NaN is infinitely far from everything else.
#[expect(clippy::float_cmp, reason = "infinities are alike, and far from nothing")]
fn distance(one: f64, two: f64) -> f64 {
    if one == two || (one.is_nan() && two.is_nan()) {
        return 0.0;
    }
    let distance = (one - two).abs();
    if distance.is_nan() { f64::INFINITY } else { distance }
}

/// The rows of a recording, one after the other.
struct Rows<'a> {
    reading: &'a Reading,
    end: u64,
    next: u64,
    piece: Vec<u64>,
    place: usize,
}

impl<'a> Rows<'a> {
    fn new(reading: &'a Reading, end: u64) -> Self {
        Self { reading, end, next: 0, piece: Vec::new(), place: 0 }
    }

    /// The next row's number and words. There must be one.
    fn next(&mut self) -> Result<(u64, &[u64]), Error> {
        let row_words = self.reading.head.row_words;
        if self.place == self.piece.len() {
            self.piece = self.reading.piece(self.next, self.end)?;
            self.place = 0;
        }
        let words = &self.piece[self.place..self.place + row_words];
        self.place += row_words;
        self.next += 1;
        Ok((self.next - 1, words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "these are exact")]
    fn numbers_that_are_none_have_a_distance_too() {
        assert_eq!(distance(f64::NAN, f64::NAN), 0.0);
        assert_eq!(distance(f64::NAN, 1.0), f64::INFINITY);
        assert_eq!(distance(f64::INFINITY, f64::INFINITY), 0.0);
        assert_eq!(distance(0.0, -0.0), 0.0);
        assert_eq!(distance(1.0, -2.0), 3.0);
    }
}
