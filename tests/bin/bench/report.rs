//! The table.

use std::fmt;

use serde_json::{Value, json};

/// Everything that was measured.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

/// One number.
#[derive(Debug)]
pub(crate) struct Row {
    number: u32,
    what: String,
    value: f64,
    unit: &'static str,
    /// The value in relation to what it was compared with.
    ratio: Option<f64>,
    target: Option<Target>,
    /// What would have to be there for it is not.
    is_missing: bool,
}

/// What was promised.
#[derive(Clone, Copy, Debug)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
    RatioAtMost(f64),
    RatioAtLeast(f64),
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn to_json(&self) -> Value {
        self.rows.iter().map(Row::to_json).collect()
    }
}

impl Row {
    pub(crate) fn new(number: u32, what: &str, value: f64, unit: &'static str) -> Self {
        let what = what.to_owned();
        Self { number, what, value, unit, ratio: None, target: None, is_missing: false }
    }

    /// What could not be tried, because something is not installed.
    pub(crate) fn missing(number: u32, what: &str) -> Self {
        Self { is_missing: true, ..Self::new(number, what, f64::NAN, "") }
    }

    pub(crate) fn at_most(self, target: f64) -> Self {
        Self { target: Some(Target::AtMost(target)), ..self }
    }

    pub(crate) fn at_least(self, target: f64) -> Self {
        Self { target: Some(Target::AtLeast(target)), ..self }
    }

    pub(crate) fn ratio(self, ratio: f64) -> Self {
        Self { ratio: Some(ratio), ..self }
    }

    pub(crate) fn ratio_at_most(self, target: f64) -> Self {
        Self { target: Some(Target::RatioAtMost(target)), ..self }
    }

    pub(crate) fn ratio_at_least(self, target: f64) -> Self {
        Self { target: Some(Target::RatioAtLeast(target)), ..self }
    }

    fn reached(&self) -> Option<bool> {
        // What could not be measured was not reached.
        let ratio = self.ratio.unwrap_or(f64::NAN);
        Some(match self.target? {
            Target::AtMost(target) => self.value <= target,
            Target::AtLeast(target) => target <= self.value,
            Target::RatioAtMost(target) => ratio <= target,
            Target::RatioAtLeast(target) => target <= ratio,
        })
    }

    fn verdict(&self) -> &'static str {
        match self.reached() {
            _ if self.is_missing => "not measured",
            Some(true) => "ok",
            Some(false) => "NOT REACHED",
            None => "",
        }
    }

    fn cells(&self) -> [String; 6] {
        let target = match self.target {
            None => String::new(),
            Some(Target::AtMost(target)) => format!("≤ {} {}", short(target), self.unit),
            Some(Target::AtLeast(target)) => format!("≥ {} {}", short(target), self.unit),
            Some(Target::RatioAtMost(target)) => format!("ratio ≤ {}", short(target)),
            Some(Target::RatioAtLeast(target)) => format!("ratio ≥ {}", short(target)),
        };
        let value = format!("{} {}", short(self.value), self.unit);
        let value = if self.is_missing { String::new() } else { value };
        [
            self.number.to_string(),
            self.what.clone(),
            value,
            target,
            self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}")),
            self.verdict().to_owned(),
        ]
    }

    fn to_json(&self) -> Value {
        let [.., target, _, _] = self.cells();
        json!({
            "number": self.number,
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "target": target,
            "ratio": self.ratio,
            "reached": self.reached(),
            "verdict": self.verdict(),
        })
    }
}

/// A number with about three digits.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        1.0.. => trimmed(&format!("{value:.2}")),
        _ => trimmed(&format!("{value:.4}")),
    }
}

fn trimmed(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "measured", "value", "target", "ratio", ""].map(str::to_owned);
        let table: Vec<_> = std::iter::once(head).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| {
            let widths = table.iter().map(|cells: &[String; 6]| cells[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: [usize; 6] = std::array::from_fn(width);
        for cells in &table {
            // Numbers to the right, words to the left.
            let aligned = |(column, (cell, width)): (usize, (&String, usize))| match column {
                2..=4 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            };
            let line: Vec<_> = cells.iter().zip(widths).enumerate().map(aligned).collect();
            writeln!(f, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}
