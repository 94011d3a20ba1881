//! CSV and JSON. Numbers stand in their shortest form that reads back to the same bits.

use std::io::{BufWriter, Write};

use super::{Error, Row, Table, unwritable};

/// The names of the columns, in the order of a row's fields.
const NAMES: [&str; 14] = [
    "begin_secs",
    "step_secs",
    "scope",
    "tenant",
    "name",
    "metric",
    "unit",
    "count",
    "mean",
    "min",
    "max",
    "p50",
    "p95",
    "p99",
];

pub(super) struct Csv<W: Write> {
    writer: csv::Writer<W>,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(into: W) -> Result<Self, Error> {
        let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(into);
        // Also where there are no rows.
        writer.write_record(NAMES).map_err(unwritable)?;
        Ok(Self { writer })
    }
}

impl<W: Write> Table for Csv<W> {
    fn put(&mut self, rows: &[Row]) -> Result<(), Error> {
        rows.iter().try_for_each(|row| self.writer.serialize(row)).map_err(unwritable)
    }

    fn end(mut self: Box<Self>) -> Result<(), Error> {
        self.writer.flush().map_err(unwritable)
    }
}

pub(super) struct Json<W: Write> {
    into: BufWriter<W>,
    /// What stands before the next row.
    before: &'static str,
}

impl<W: Write> Json<W> {
    pub(super) fn new(into: W) -> Self {
        Self { into: BufWriter::new(into), before: "[\n" }
    }
}

impl<W: Write> Table for Json<W> {
    fn put(&mut self, rows: &[Row]) -> Result<(), Error> {
        for row in rows {
            self.into.write_all(self.before.as_bytes()).map_err(unwritable)?;
            self.before = ",\n";
            serde_json::to_writer(&mut self.into, row).map_err(unwritable)?;
        }
        Ok(())
    }

    fn end(mut self: Box<Self>) -> Result<(), Error> {
        let end = if self.before == "[\n" { "[]\n" } else { "\n]\n" };
        self.into.write_all(end.as_bytes()).map_err(unwritable)?;
        self.into.flush().map_err(unwritable)
    }
}
