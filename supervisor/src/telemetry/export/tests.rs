//! What is exported is what was kept.

use super::*;
use crate::telemetry::history::{Bounds, History};
use crate::telemetry::series::{Minute, Point, Summary};
use crate::tenants::Tenant;

const BEGIN: i64 = 1_700_000_040 - 1_700_000_040 % 3600;

/// Two hours of a tool that is called ever more often, and of a session of somebody.
fn archive(folder: &tempfile::TempDir) -> Archive {
    let path = Archive::path(folder.path());
    let history = History::open(
        &path,
        Bounds {
            bytes_max: 64 << 20,
            cache_bytes_max: 1 << 20,
            subjects_max: 100,
            subjects_per_tenant_max: 100,
        },
    )
    .unwrap();
    let minutes = (0..120_u8).map(|number| {
        let value = f32::from(number);
        let sum = 60.0 * f64::from(value);
        let of = |id| (id, Summary { min: value, max: value, sum, count: 60 });
        let mut durations = Durations::default();
        (0..=number).for_each(|_| durations.note(1_000_000));
        let histograms = vec![(Id::CallTime, durations)];
        let tool = Point { gauges: vec![of(Id::Calls), of(Id::Errors)], histograms };
        let session = Point { gauges: vec![of(Id::Cpu)], histograms: Vec::new() };
        let session_of = Subject::Session(Tenant::named("ann, \"bob\""), "sim_1".into());
        let points = vec![(Subject::Tool("get_state".into()), tool), (session_of, session)];
        Minute { begin_secs: BEGIN + 60 * i64::from(number), points }
    });
    history.keep_all(minutes).unwrap();
    history.close();
    assert_eq!(history.dropped_total(), 0);
    Archive::open(&path).unwrap()
}

fn tool(metrics: &[Id]) -> Question {
    let metrics = metrics.iter().map(|id| id.metric()).collect();
    let range = BEGIN + 600..BEGIN + 1200;
    Question { scope: Scope::Tool, name: None, metrics, tier: Tier::Minutes, range }
}

fn write(archive: &Archive, question: &Question, format: Format) -> (u64, Vec<u8>) {
    let mut bytes = Vec::new();
    let count = export(archive, question, format, &mut bytes).unwrap();
    (count, bytes)
}

#[test]
fn csv_and_json_have_the_same_rows_and_those_are_what_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let (count, csv) = write(&archive, &tool(&[Id::Calls, Id::CallTime]), Format::Csv);
    let (_, json) = write(&archive, &tool(&[Id::Calls, Id::CallTime]), Format::Json);
    let rows: Vec<Row> = serde_json::from_slice(&json).unwrap();
    let mut reader = csv::Reader::from_reader(&csv[..]);
    let in_csv: Vec<Row> = reader.deserialize().collect::<Result<_, _>>().unwrap();
    assert_eq!((rows.len() as u64, &rows), (count, &in_csv));
    assert_eq!(count, 20);
    let calls = &rows[0];
    assert_eq!((calls.begin_secs, calls.step_secs), (BEGIN + 600, 60));
    assert_eq!((calls.name.as_str(), calls.tenant.as_str()), ("get_state", ""));
    assert_eq!((calls.metric.as_str(), calls.count), ("calls_per_sec", 60));
    assert_eq!((calls.mean, calls.max, calls.p99), (Some(10.0), Some(10.0), None));
    let times = rows.iter().find(|row| row.metric == "call_secs").unwrap();
    assert_eq!(times.count, 11);
    assert!(times.p99.is_some_and(|secs| (0.0008..0.0012).contains(&secs)), "{times:?}");
}

#[test]
fn hours_are_those_of_all_minutes_and_sessions_have_none() {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let range = BEGIN..BEGIN + 7200;
    let hours = Question { tier: Tier::Hours, range, ..tool(&[Id::Calls]) };
    let (_, json) = write(&archive, &hours, Format::Json);
    let rows: Vec<Row> = serde_json::from_slice(&json).unwrap();
    let means: Vec<_> = rows.iter().map(|row| row.mean.unwrap()).collect();
    assert_eq!(means, [29.5, 89.5]);
    let of_sessions = Question { scope: Scope::Session, metrics: Vec::new(), ..hours };
    assert_eq!(write(&archive, &of_sessions, Format::Json), (0, b"[]\n".to_vec()));
    let minutes = Question { tier: Tier::Minutes, ..of_sessions };
    let (count, csv) = write(&archive, &minutes, Format::Csv);
    assert_eq!(count, 120);
    let row: Row = csv::Reader::from_reader(&csv[..]).deserialize().next().unwrap().unwrap();
    assert_eq!(row.tenant, "ann, \"bob\"");
    let other = Question { name: Some("sim_2".to_owned()), ..minutes };
    assert_eq!(write(&archive, &other, Format::Csv).0, 0);
}

#[test]
fn parquet_has_the_same_values_and_nulls_where_there_are_none() {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(&folder);
    let (count, bytes) = write(&archive, &tool(&[]), Format::Parquet);
    let (_, json) = write(&archive, &tool(&[]), Format::Json);
    let rows: Vec<Row> = serde_json::from_slice(&json).unwrap();
    let path = folder.path().join("table.parquet");
    std::fs::write(&path, bytes).unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let read: Vec<_> = reader.get_row_iter(None).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!((read.len() as u64, read.len()), (count, rows.len()));
    for (read, row) in read.iter().zip(&rows) {
        let field =
            |name: &str| read.get_column_iter().find(|(own, _)| *own == name).unwrap().1.clone();
        let real = |value: Option<f64>| value.map_or(Field::Null, Field::Double);
        assert_eq!(field("begin_secs"), Field::Long(row.begin_secs));
        assert_eq!(field("metric"), Field::Str(row.metric.clone()));
        assert_eq!(field("scope"), Field::Str("tool".to_owned()));
        assert_eq!(field("count"), Field::Long(row.count.cast_signed()));
        assert_eq!((field("mean"), field("p95")), (real(row.mean), real(row.p95)));
    }
}

#[test]
fn what_is_no_history_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = Archive::path(folder.path());
    Archive::open(&path).unwrap_err();
    assert!(!path.exists());
    std::fs::write(&path, "no database, but some text that is long enough").unwrap();
    Archive::open(&path).unwrap_err();
}
