//! Parquet: a column for each field of a row, in groups of rows.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::{Error, Row, Table, unwritable};

/// Rows of a group, which are in memory together.
const GROUP_ROWS: usize = 64 << 10;

pub(super) struct Parquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    waiting: Vec<Row>,
}

const WHOLE: [&str; 2] = ["begin_secs", "step_secs"];
const TEXTS: [&str; 5] = ["scope", "tenant", "name", "metric", "unit"];
const REALS: [&str; 6] = ["mean", "min", "max", "p50", "p95", "p99"];

impl<W: Write + Send> Parquet<W> {
    pub(super) fn new(into: W) -> Result<Self, Error> {
        let schema = Arc::new(schema().map_err(unwritable)?);
        // Names come again and again: they stand in a dictionary by themselves.
        let properties = Arc::new(WriterProperties::builder().build());
        let writer = SerializedFileWriter::new(into, schema, properties).map_err(unwritable)?;
        Ok(Self { writer, waiting: Vec::new() })
    }

    fn put_group(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.waiting);
        let mut group = self.writer.next_row_group()?;
        let whole: [fn(&Row) -> i64; 2] = [|row| row.begin_secs, |row| row.step_secs];
        for of in whole {
            put::<Int64Type, _>(&mut group, rows.iter().map(|row| Some(of(row))), false)?;
        }
        let texts: [fn(&Row) -> &str; 5] = [
            |row| row.scope.name(),
            |row| &row.tenant,
            |row| &row.name,
            |row| &row.metric,
            |row| row.unit.name(),
        ];
        for of in texts {
            let texts = rows.iter().map(|row| Some(ByteArray::from(of(row))));
            put::<ByteArrayType, _>(&mut group, texts, false)?;
        }
        let counts = rows.iter().map(|row| Some(row.count.cast_signed()));
        put::<Int64Type, _>(&mut group, counts, false)?;
        let reals: [fn(&Row) -> Option<f64>; 6] = [
            |row| row.mean,
            |row| row.min,
            |row| row.max,
            |row| row.p50,
            |row| row.p95,
            |row| row.p99,
        ];
        for of in reals {
            put::<DoubleType, _>(&mut group, rows.iter().map(of), true)?;
        }
        group.close().map(drop)
    }
}

impl<W: Write + Send> Table for Parquet<W> {
    fn put(&mut self, rows: &[Row]) -> Result<(), Error> {
        for rows in rows.chunks(GROUP_ROWS) {
            self.waiting.extend_from_slice(rows);
            if GROUP_ROWS <= self.waiting.len() {
                self.put_group().map_err(unwritable)?;
            }
        }
        Ok(())
    }

    fn end(mut self: Box<Self>) -> Result<(), Error> {
        if !self.waiting.is_empty() {
            self.put_group().map_err(unwritable)?;
        }
        self.writer.close().map(drop).map_err(unwritable)
    }
}

/// Writes the next column of a group, of which values may be missing.
fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: impl Iterator<Item = Option<T::T>>,
    may_miss: bool,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    let values: Vec<Option<T::T>> = values.collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let there: Vec<T::T> = values.into_iter().flatten().collect();
    let levels = may_miss.then_some(&levels[..]);
    column.typed::<T>().write_batch(&there, levels, None)?;
    column.close()
}

fn schema() -> Result<Type, ParquetError> {
    let field = |name: &str, kind, repetition, converted| {
        let field = Type::primitive_type_builder(name, kind).with_repetition(repetition);
        field.with_converted_type(converted).build().map(Arc::new)
    };
    let plain = ConvertedType::NONE;
    let whole = |name: &str| field(name, Physical::INT64, Repetition::REQUIRED, plain);
    let text =
        |name: &str| field(name, Physical::BYTE_ARRAY, Repetition::REQUIRED, ConvertedType::UTF8);
    let real = |name: &str| field(name, Physical::DOUBLE, Repetition::OPTIONAL, plain);
    let mut fields = WHOLE.into_iter().map(whole).collect::<Result<Vec<_>, _>>()?;
    for name in TEXTS {
        fields.push(text(name)?);
    }
    fields.push(whole("count")?);
    for name in REALS {
        fields.push(real(name)?);
    }
    Type::group_type_builder("metrics").with_fields(fields).build()
}
