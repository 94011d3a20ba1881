//! Files of the daemon's own: it may have been another daemon, and the disk may be old.

use std::io::Cursor;

use simward_supervisor::config::Config;
use simward_supervisor::store::{About, Record, decode_record, read_about};

/// A session's record: the bytes as they are, and as the body under a right checksum.
pub fn record(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), record_of(body_of(bytes))] {
        let Ok(record) = decode_record(&bytes) else { continue };
        let again = record_of(&serde_json::to_vec(&record).unwrap());
        assert_eq!(decode_record(&again).unwrap(), record);
    }
}

/// What follows the first line, or all if there is none.
fn body_of(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    end.map_or(bytes, |end| &bytes[end + 1..])
}

/// A record's file.
pub(super) fn record_of(body: &[u8]) -> Vec<u8> {
    let head = format!("simward session 1 {:08x}\n", crc32fast::hash(body));
    [head.as_bytes(), body].concat()
}

/// The end of a compiled model's file: the bytes as they are, and as the description in an end
/// that is right.
pub fn trailer(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), trailer_of(&[], bytes)] {
        let Ok(about) = read_about(&mut Cursor::new(&bytes)) else { continue };
        let source = about.source.map_or(0, |source| source.bytes);
        let model = usize::try_from(about.bytes + source).unwrap();
        let end = bytes.len() - 16;
        assert!(model <= end);
        assert_eq!(bytes[end..end + 8], ((end - model) as u64).to_le_bytes());
        assert_eq!(serde_json::from_slice::<About>(&bytes[model..end]).unwrap(), about);
    }
}

/// A compiled model's file.
pub(super) fn trailer_of(model: &[u8], about: &[u8]) -> Vec<u8> {
    [model, about, &(about.len() as u64).to_le_bytes(), b"SIMWMDL1"].concat()
}

/// The configuration's file.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    accepted(Config::parse(text, "the file", &[]));
}

/// Assignments, one a line.
pub fn assignment(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let assignments: Vec<_> = text.split('\n').map(str::to_owned).collect();
    accepted(Config::parse("", "nothing", &assignments));
    // Each for itself: the first that is refused hides the others.
    for assignment in assignments {
        accepted(Config::parse("", "nothing", &[assignment]));
    }
}

/// What was accepted is printed so that it reads back the same.
fn accepted(parsed: Result<Config, simward_supervisor::config::Error>) {
    match parsed {
        Ok(config) => {
            let again = Config::parse(&config.to_toml(), "the print", &[]).unwrap();
            assert_eq!(again, config);
        }
        Err(error) => assert!(!simward_supervisor::code::chain(&error).is_empty()),
    }
}

/// Whatever it says, so that its fields are known here.
pub(super) fn a_record() -> Record {
    Record {
        id: "sim_00112233445566778899aabbccddeeff".into(),
        tenant: "local".into(),
        name: Some("robot".into()),
        shared: false,
        token: "t".into(),
        limits: simward_supervisor::limits::Limits::default(),
        idle_timeout_secs: 1800.0,
        max_age_secs: 604_800.0,
        created_millis: 1,
        is_default: true,
        models: std::iter::once(("arm".to_owned(), a_model())).collect(),
        snapshots: std::iter::once(("snap_0".to_owned(), a_snapshot())).collect(),
        next_checkpoint: 6,
        recordings: std::iter::once(("rec_5".to_owned(), a_recording())).collect(),
    }
}

fn a_recording() -> simward_supervisor::store::RecordedRecording {
    use simward_protocol::recording::{Channel, Selection};
    let channels = vec![Channel::Qpos, Channel::Joint("elbow".into())];
    simward_supervisor::store::RecordedRecording {
        model_id: "arm".into(),
        number: 5,
        bytes: 8192,
        selection: Selection { channels, every: 2 },
        ended: None,
    }
}

fn a_snapshot() -> simward_supervisor::store::RecordedSnapshot {
    simward_supervisor::store::RecordedSnapshot {
        model_id: "arm".into(),
        key: "ab".repeat(32),
        checkpoint: 2,
        time_secs: 0.5,
    }
}

fn a_model() -> simward_supervisor::store::RecordedModel {
    simward_supervisor::store::RecordedModel { key: "ab".repeat(32), checkpoint: 3 }
}
