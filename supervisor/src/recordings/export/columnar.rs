//! NPZ and Parquet, which keep columns together: they read the file once for each array, or a
//! group of rows at a time.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression, Repetition, Type as Physical};
use parquet::data_type::{DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::{Format, unwritable};
use crate::recordings::Error;
use crate::recordings::reading::Reading;

/// Values of a group of rows, which are in memory together.
const GROUP_VALUES: u64 = 512 << 10;

/// Writes one array for each series, and `step` and `time_secs`.
pub(super) fn npz(reading: &Reading, rows: Range<u64>, into: &mut impl Write) -> Result<(), Error> {
    let mut zip = ZipWriter::new_stream(into);
    let count = rows.end - rows.start;
    array(&mut zip, "step", &header("<u8", &format!("({count},)")))?;
    reading.each(rows.clone(), |row| put(&mut zip, &row.step.to_le_bytes()))?;
    array(&mut zip, "time_secs", &header("<f8", &format!("({count},)")))?;
    reading.each(rows.clone(), |row| put(&mut zip, &row.time_secs.to_le_bytes()))?;
    let mut begin = 0;
    for series in &reading.head.layout.series {
        let width = series.columns.len();
        array(&mut zip, &series.name, &header("<f8", &format!("({count}, {width})")))?;
        reading.each(rows.clone(), |row| {
            (begin..begin + width)
                .try_for_each(|column| put(&mut zip, &row.value(column).to_le_bytes()))
        })?;
        begin += width;
    }
    zip.finish().map(drop).map_err(unwritable(Format::Npz))
}

fn array<W: Write>(
    zip: &mut ZipWriter<zip::write::StreamWriter<W>>,
    name: &str,
    header: &[u8],
) -> Result<(), Error> {
    // Whoever unpacks it gets files in one folder, whatever the model calls its parts.
    let name: String =
        name.chars().map(|c| if c.is_control() || "/\\:".contains(c) { '_' } else { c }).collect();
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file(format!("{name}.npy"), options.large_file(true))
        .map_err(unwritable(Format::Npz))?;
    put(zip, header)
}

fn put(into: &mut impl Write, bytes: &[u8]) -> Result<(), Error> {
    into.write_all(bytes).map_err(unwritable(Format::Npz))
}

/// The head of an array's file, as `NumPy`'s format 1.0 has it: a multiple of 64 bytes.
fn header(kind: &str, shape: &str) -> Vec<u8> {
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    // A shape of two numbers never makes it longer than that.
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(format!("{text:<width$}\n", width = length - 1).bytes());
    bytes
}

/// Writes `step`, `time_secs` and every column, in groups of rows. Units stand in the metadata of
/// the file, under `units`.
pub(super) fn parquet(
    reading: &Reading,
    rows: Range<u64>,
    into: &mut (impl Write + Send),
) -> Result<(), Error> {
    let wrong = unwritable::<parquet::errors::ParquetError>(Format::Parquet);
    let schema = schema(reading).map_err(&wrong)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![KeyValue::new("units".to_owned(), units(reading))]))
        .build();
    let mut writer =
        SerializedFileWriter::new(into, Arc::new(schema), Arc::new(properties)).map_err(&wrong)?;
    let width = reading.head.layout.width();
    let group = (GROUP_VALUES / (width as u64 + 2)).max(1);
    let mut first = rows.start;
    while first < rows.end {
        let end = rows.end.min(first.saturating_add(group));
        let (mut steps, mut times) = (Vec::new(), Vec::new());
        let mut columns = vec![Vec::new(); width];
        reading.each(first..end, |row| {
            steps.push(row.step.cast_signed());
            times.push(row.time_secs);
            columns.iter_mut().zip(row.values()).for_each(|(column, value)| column.push(value));
            Ok(())
        })?;
        columns.insert(0, times);
        put_group(&mut writer, &steps, &columns).map_err(&wrong)?;
        first = end;
    }
    writer.close().map(drop).map_err(&wrong)
}

fn put_group<W: Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    steps: &[i64],
    columns: &[Vec<f64>],
) -> Result<(), parquet::errors::ParquetError> {
    let mut group = writer.next_row_group()?;
    if let Some(mut column) = group.next_column()? {
        column.typed::<Int64Type>().write_batch(steps, None, None)?;
        column.close()?;
    }
    for values in columns {
        if let Some(mut column) = group.next_column()? {
            column.typed::<DoubleType>().write_batch(values, None, None)?;
            column.close()?;
        }
    }
    group.close().map(drop)
}

fn schema(reading: &Reading) -> Result<Type, parquet::errors::ParquetError> {
    let field = |name: &str, kind| {
        let field = Type::primitive_type_builder(name, kind);
        field.with_repetition(Repetition::REQUIRED).build().map(Arc::new)
    };
    let mut fields = vec![field("step", Physical::INT64)?, field("time_secs", Physical::DOUBLE)?];
    for column in reading.head.layout.columns() {
        fields.push(field(&column.name, Physical::DOUBLE)?);
    }
    Type::group_type_builder("recording").with_fields(fields).build()
}

fn units(reading: &Reading) -> String {
    let columns = reading.head.layout.columns();
    let units: serde_json::Map<_, _> =
        columns.map(|column| (column.name.clone(), column.unit.clone().into())).collect();
    serde_json::Value::Object(units).to_string()
}
