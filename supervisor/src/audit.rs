//! Who did what: one line of JSON for each call of a tool, each reading of a resource, each caller
//! that was turned away, and each alert.
//! Never what a call carried.
//!
//! Callers hand a line over and go on. Where the thread that writes them cannot keep up, lines are
//! dropped, and the next line says how many.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::outbox::{Lines, Outbox, Pace, Place};
use crate::remote::Remote;
use crate::spans::TraceId;

/// Where it is written, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The file; empty means that nothing is written.
    pub path: PathBuf,
    /// A file that is longer makes room for a new one, in bytes.
    pub rotate_bytes: u64,
    /// How many files are kept beside the newest: `NAME.1` is the one before.
    pub keep_files: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { path: PathBuf::new(), rotate_bytes: 64 << 20, keep_files: 9 }
    }
}

/// Lines that may wait to be written.
const WAITING_MAX: usize = 8192;

/// How long a line may wait.
const REST: Duration = Duration::from_millis(10);

/// The longest text of a line that comes from a client.
const TEXT_CHARS_MAX: usize = 128;

/// What is written of a call.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When it ended.
    pub at: Timestamp,
    /// `call` of a tool, `read` of a resource, `upload` of a file, `denied` for one that was not let
    /// in, or `alert` for what became of one.
    pub event: &'static str,
    /// Whose call it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The name of the token with which it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Where it came from; nothing for standard input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// The tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The session that it named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The rule that is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `ok`, or why not: a refusal's code, or an HTTP status.
    pub outcome: String,
    /// How long it took, in milliseconds.
    pub millis: f64,
    /// The length of the request, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_bytes: Option<u64>,
    /// The length of the result's content, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_bytes: Option<u64>,
    /// The trace that it is part of: the client's if it names one, or else one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
}

impl Entry {
    /// Of something that ends now.
    pub fn now(event: &'static str, outcome: &str) -> Self {
        Self {
            at: Timestamp::now(),
            event,
            tenant: None,
            caller: None,
            remote: None,
            tool: None,
            resource: None,
            session_id: None,
            rule: None,
            outcome: outcome.to_owned(),
            millis: 0.0,
            request_bytes: None,
            result_bytes: None,
            trace_id: None,
        }
    }

    /// The same of something that has begun before and ends now.
    #[must_use]
    pub fn over(self, outcome: &str, took: Duration) -> Self {
        let millis = took.as_secs_f64() * 1000.0;
        Self { at: Timestamp::now(), outcome: outcome.to_owned(), millis, ..self }
    }
}

/// A text of a client's, as much of it as is written.
pub fn said(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Takes entries. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    lines: Option<Outbox<Entry>>,
}

impl Audit {
    /// Writes to a file from now on; to none without a path.
    pub fn open(config: &Config) -> io::Result<Self> {
        let Config { path, rotate_bytes, keep_files } = config.clone();
        if path.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let place = Place { path, bytes_max: rotate_bytes, older_max: keep_files };
        let pace = Pace { waiting_max: WAITING_MAX, batch: WAITING_MAX / 2, within: REST };
        Ok(Self { lines: Some(Outbox::open("audit", pace, Lines::open(place)?)?) })
    }

    /// Whether anything is written.
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Hands an entry over.
    pub fn note(&self, entry: Entry) {
        if let Some(lines) = &self.lines {
            lines.put(entry);
        }
    }

    /// How many entries were not written.
    pub fn dropped_total(&self) -> u64 {
        self.lines.as_ref().map_or(0, Outbox::missing_total)
    }

    /// Writes what waits, and nothing any more.
    pub fn close(&self) {
        if let Some(lines) = &self.lines {
            lines.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tool: &str) -> Entry {
        Entry { tool: Some(tool.to_owned()), ..Entry::now("call", "ok") }
    }

    #[test]
    fn what_was_handed_over_is_there_when_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let config = Config { path: path.clone(), ..Config::default() };
        let audit = Audit::open(&config).unwrap();
        for number in 0..100 {
            audit.note(entry(&format!("tool_{number}")));
        }
        audit.close();
        audit.note(entry("too_late"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 100);
        assert_eq!((&lines[7]["tool"], &lines[7]["outcome"]), (&"tool_7".into(), &"ok".into()));
        assert!(lines[7].get("session_id").is_none());
    }

    #[test]
    fn a_full_disk_costs_lines_and_they_are_counted() {
        // Every write to it fails.
        let config = Config { path: "/dev/full".into(), ..Config::default() };
        let audit = Audit::open(&config).unwrap();
        for number in 0..1000 {
            audit.note(entry(&format!("tool_{number}")));
        }
        audit.close();
        let dropped = audit.dropped_total();
        assert!((900..1000).contains(&dropped), "{dropped}: all but what was left in the buffer");
    }
}
