//! CSV and JSON. Numbers stand in their shortest form that reads back to the same bits.

use std::io::Write;
use std::ops::Range;

use serde_json::json;
use simward_protocol::real::Real;

use super::{Format, unwritable};
use crate::recordings::Error;
use crate::recordings::reading::Reading;

pub(super) fn csv(reading: &Reading, rows: Range<u64>, into: &mut impl Write) -> Result<(), Error> {
    let wrong = unwritable(Format::Csv);
    let mut writer = csv::Writer::from_writer(into);
    let names = reading.head.layout.columns().map(|column| column.name.as_str());
    writer.write_record(["step", "time_secs"].into_iter().chain(names)).map_err(wrong)?;
    let mut field = String::new();
    reading.each(rows, |row| {
        let wrong = unwritable(Format::Csv);
        let mut put = |value: std::fmt::Arguments<'_>| {
            use std::fmt::Write as _;
            field.clear();
            // A string takes everything.
            field.write_fmt(value).ok();
            writer.write_field(&field).map_err(&wrong)
        };
        put(format_args!("{}", row.step))?;
        put(format_args!("{:?}", row.time_secs))?;
        for value in row.values() {
            put(format_args!("{value:?}"))?;
        }
        writer.write_record(None::<&[u8]>).map_err(&wrong)
    })?;
    writer.flush().map_err(unwritable(Format::Csv))
}

pub(super) fn json(
    reading: &Reading,
    rows: Range<u64>,
    into: &mut impl Write,
) -> Result<(), Error> {
    let mut into = std::io::BufWriter::new(into);
    let columns: Vec<_> = reading
        .head
        .layout
        .columns()
        .map(|column| json!({ "name": column.name, "unit": column.unit }))
        .collect();
    let fixed =
        [json!({ "name": "step", "unit": "" }), json!({ "name": "time_secs", "unit": "s" })];
    let columns: Vec<_> = fixed.into_iter().chain(columns).collect();
    let head = json!({
        "recording_id": reading.kept.id,
        "model_id": reading.kept.model_id,
        "every": reading.head.every,
        "columns": columns,
    });
    let head = head.to_string();
    // The rows become the object's last member.
    let head = head.strip_suffix('}').unwrap_or(&head);
    write!(into, "{head},\"rows\":[").map_err(unwritable(Format::Json))?;
    let mut between = "\n";
    reading.each(rows, |row| {
        write!(into, "{between}[{}", row.step).map_err(unwritable(Format::Json))?;
        between = ",\n";
        for value in std::iter::once(row.time_secs).chain(row.values()) {
            into.write_all(b",").map_err(unwritable(Format::Json))?;
            serde_json::to_writer(&mut into, &Real(value)).map_err(unwritable(Format::Json))?;
        }
        into.write_all(b"]").map_err(unwritable(Format::Json))
    })?;
    into.write_all(b"\n]}\n").map_err(unwritable(Format::Json))?;
    into.flush().map_err(unwritable(Format::Json))
}
