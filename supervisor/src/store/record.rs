//! Who a session is and what it holds, as a file: one line with a checksum, and JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use simward_protocol::recording::Selection;

use super::files;
use crate::limits::Limits;

/// The file's name in the session's folder.
pub(super) const NAME: &str = "record";

/// What the file begins with. The number changes with the layout.
const HEAD: &str = "simward session 1";

/// The longest record.
const BYTES_MAX: u64 = 1 << 20;

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its handle.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whether it shares its worker with the tenant's other shared sessions.
    pub shared: bool,
    /// What a client of its port must present.
    pub token: String,
    /// What it may use.
    pub limits: Limits,
    /// How long it may be unused, in seconds.
    pub idle_timeout_secs: f64,
    /// How long it may live, in seconds.
    pub max_age_secs: f64,
    /// When it was created, in milliseconds of Unix time.
    pub created_millis: u64,
    /// Whether it is its tenant's default session.
    pub is_default: bool,
    /// Its models, by id.
    pub models: BTreeMap<String, RecordedModel>,
    /// States that are kept for later, by handle.
    #[serde(default)]
    pub snapshots: BTreeMap<String, RecordedSnapshot>,
    /// The number of the next checkpoint or recording.
    pub next_checkpoint: u32,
    /// Its recordings, by id.
    #[serde(default)]
    pub recordings: BTreeMap<String, RecordedRecording>,
}

/// A model of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedModel {
    /// The compiled model's key.
    pub key: String,
    /// The number of its checkpoint.
    pub checkpoint: u32,
}

/// A state that is kept for later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedSnapshot {
    /// The id that the model had.
    pub model_id: String,
    /// The compiled model's key.
    pub key: String,
    /// The number of its checkpoint.
    pub checkpoint: u32,
    /// The simulated time that it holds, in seconds.
    pub time_secs: f64,
}

/// A recording of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRecording {
    /// The model that is recorded, or was.
    pub model_id: String,
    /// The number of its file.
    pub number: u32,
    /// The file's length.
    pub bytes: u64,
    /// What is recorded.
    pub selection: Selection,
    /// Why it ended; nothing while it goes on.
    pub ended: Option<RecordingEnd>,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingEnd {
    /// Its owner stopped it.
    Stopped,
    /// Its model was unloaded.
    Unloaded,
}

/// Writes a record into a session's folder.
pub(super) fn write(folder: &Path, record: &Record) -> io::Result<File> {
    let bytes = encode(record)?;
    files::replace(&folder.join(NAME), |file| file.write_all(&bytes))
}

/// Reads the record of the session `id` out of its folder; nothing if there is none.
pub(super) fn read(folder: &Path, id: &str) -> io::Result<Option<Record>> {
    let file = match File::open(folder.join(NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let record = decode(&bytes)?;
    if record.id != id {
        return Err(wrong("it belongs to another session"));
    }
    Ok(Some(record))
}

fn encode(record: &Record) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(record)?;
    let mut bytes = format!("{HEAD} {:08x}\n", crc32fast::hash(&body)).into_bytes();
    bytes.extend(body);
    if BYTES_MAX < bytes.len() as u64 {
        return Err(io::Error::other("the session's record is too long"));
    }
    Ok(bytes)
}

/// Reads a record, whatever the bytes are.
pub fn decode(bytes: &[u8]) -> io::Result<Record> {
    if BYTES_MAX < bytes.len() as u64 {
        return Err(wrong("it is too long"));
    }
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (head, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let expected = format!("{HEAD} {:08x}", crc32fast::hash(body));
    if head != expected.as_bytes() {
        return Err(wrong("its checksum is wrong, or it is of another version"));
    }
    serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))
}

fn wrong(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simward_protocol::recording::Channel;

    use super::*;

    fn record() -> Record {
        let model = RecordedModel { key: "ab".repeat(32), checkpoint: 3 };
        let snapshot = RecordedSnapshot {
            model_id: "arm".into(),
            key: "ab".repeat(32),
            checkpoint: 2,
            time_secs: 0.1 + 0.2,
        };
        Record {
            id: "sim_1".into(),
            tenant: "local".into(),
            name: Some("robot".into()),
            shared: false,
            token: "t".into(),
            limits: Limits::default(),
            idle_timeout_secs: 1800.0,
            max_age_secs: 604_800.0,
            created_millis: 1,
            is_default: false,
            models: BTreeMap::from([("arm".into(), model)]),
            snapshots: BTreeMap::from([("snap_1".into(), snapshot)]),
            next_checkpoint: 6,
            recordings: BTreeMap::from([(
                "rec_5".into(),
                RecordedRecording {
                    model_id: "arm".into(),
                    number: 5,
                    bytes: 8192,
                    selection: Selection { channels: vec![Channel::Qpos], every: 2 },
                    ended: Some(RecordingEnd::Stopped),
                },
            )]),
        }
    }

    #[test]
    fn a_record_from_before_there_were_recordings_is_read() {
        let mut value = serde_json::to_value(record()).unwrap();
        value.as_object_mut().unwrap().remove("recordings");
        let body = value.to_string();
        let mut bytes = format!("{HEAD} {:08x}\n", crc32fast::hash(body.as_bytes())).into_bytes();
        bytes.extend(body.into_bytes());
        let recordings = BTreeMap::new();
        assert_eq!(decode(&bytes).unwrap(), Record { recordings, ..record() });
    }

    #[test]
    fn a_record_reads_back_as_it_was() {
        assert_eq!(decode(&encode(&record()).unwrap()).unwrap(), record());
    }

    proptest! {
        #[test]
        fn a_damaged_record_is_refused(at in 0_usize..400, bit in 0_u8..8, cut in 0_usize..400) {
            let bytes = encode(&record()).unwrap();
            let mut flipped = bytes.clone();
            let place = at % flipped.len();
            flipped[place] ^= 1 << bit;
            prop_assert!(decode(&flipped).is_err());
            let kept = cut % bytes.len();
            prop_assert!(decode(&bytes[..kept]).is_err());
        }

        #[test]
        fn hostile_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            decode(&bytes).ok();
        }
    }
}
