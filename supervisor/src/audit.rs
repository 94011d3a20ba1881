//! Who did what: one line of JSON for each call of a tool, each reading of a resource, each caller
//! that was turned away, and each alert.
//! Never what a call carried.
//!
//! Callers hand a line over and go on. A thread writes them; where it cannot keep up, lines are
//! dropped, and the next line says how many.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::remote::Remote;

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

/// How long the writer rests once it has written what was there. Lines that come meanwhile wait,
/// and nobody wakes a thread for each: that cost a call a quarter of its time.
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
    /// The trace that the client says it is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
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
    inner: Option<Arc<Inner>>,
}

#[derive(Debug)]
struct Inner {
    lines: Mutex<Option<SyncSender<Entry>>>,
    dropped: Arc<Dropped>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Lines that were not written.
#[derive(Debug, Default)]
struct Dropped {
    /// Those of which no line tells yet.
    untold: AtomicU64,
    total: AtomicU64,
}

impl Dropped {
    fn one(&self) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
    }
}

impl Audit {
    /// Writes to a file from now on; to none without a path.
    pub fn open(config: &Config) -> io::Result<Self> {
        if config.path.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let writer = Writer::open(config.clone())?;
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let dropped = Arc::<Dropped>::default();
        let lost = Arc::clone(&dropped);
        let run = move || writer.run(&waiting, &lost);
        let writer = std::thread::Builder::new().name("audit".to_owned()).spawn(run)?;
        let inner =
            Inner { lines: Mutex::new(Some(lines)), dropped, writer: Mutex::new(Some(writer)) };
        Ok(Self { inner: Some(Arc::new(inner)) })
    }

    /// Whether anything is written.
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// Hands an entry over.
    pub fn note(&self, entry: Entry) {
        let Some(inner) = &self.inner else { return };
        let lines = inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let is_taken = lines.as_ref().is_some_and(|lines| lines.try_send(entry).is_ok());
        if !is_taken {
            inner.dropped.one();
        }
    }

    /// How many entries were not written.
    pub fn dropped_total(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.dropped.total.load(Ordering::Relaxed))
    }

    /// Writes what waits, and nothing any more.
    pub fn close(&self) {
        let Some(inner) = &self.inner else { return };
        inner.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            writer.join().ok();
        }
    }
}

/// The file.
struct Writer {
    config: Config,
    file: BufWriter<File>,
    bytes: u64,
    /// How long it may be before it makes room.
    rotate_at: u64,
    /// Whether there is something to flush.
    is_new: bool,
    /// Whether the last line could not be written, so that one that cannot either is not told of.
    is_failing: bool,
}

impl Writer {
    fn open(config: Config) -> io::Result<Self> {
        let (file, bytes) = append(&config.path)?;
        let rotate_at = config.rotate_bytes;
        Ok(Self { config, file, bytes, rotate_at, is_new: false, is_failing: false })
    }

    /// Writes until nobody can hand over any more.
    fn run(mut self, waiting: &Receiver<Entry>, dropped: &Dropped) {
        while let Ok(entry) = waiting.recv() {
            let mut next = Some(entry);
            while let Some(entry) = next.take() {
                self.write_or_say(&entry, dropped);
                match waiting.try_recv() {
                    Ok(entry) => next = Some(entry),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => (),
                }
            }
            self.flush();
            rest();
        }
        let lost = dropped.untold.swap(0, Ordering::Relaxed);
        if lost != 0 {
            // If this cannot be written either, the flush says so.
            writeln!(self.file, "{}", gap(lost)).ok();
            self.is_new = true;
        }
        self.flush();
    }

    /// What cannot be written now stays in the buffer until the next time.
    fn flush(&mut self) {
        if self.is_new {
            let flushed = self.file.flush();
            self.is_new = flushed.is_err();
            self.say(flushed);
        }
    }

    fn write_or_say(&mut self, entry: &Entry, dropped: &Dropped) {
        let lost = dropped.untold.swap(0, Ordering::Relaxed);
        let written = self.write(entry, lost);
        if written.is_err() {
            dropped.untold.fetch_add(lost, Ordering::Relaxed);
            dropped.one();
            self.say(written);
        }
    }

    /// Says once that the audit cannot be written, and once that it can be again.
    fn say(&mut self, written: io::Result<()>) {
        match written {
            Err(error) if !self.is_failing => {
                tracing::error!(%error, "the audit cannot be written");
                self.is_failing = true;
            }
            Ok(()) if self.is_failing => {
                tracing::info!("the audit can be written again");
                self.is_failing = false;
            }
            _ => (),
        }
    }

    fn write(&mut self, entry: &Entry, lost: u64) -> io::Result<()> {
        if self.rotate_at <= self.bytes {
            self.rotate();
        }
        let mut line = String::new();
        if lost != 0 {
            line = gap(lost);
            line.push('\n');
        }
        line.push_str(&serde_json::to_string(entry)?);
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.bytes += line.len() as u64;
        self.is_new = true;
        Ok(())
    }

    /// Makes room. If that fails the file that there is grows on, and it is tried again once it has
    /// grown by as much: each time costs the oldest file.
    fn rotate(&mut self) {
        let rotated = self.try_to_rotate();
        self.rotate_at = match &rotated {
            Ok(()) => self.config.rotate_bytes,
            Err(_) => self.bytes.saturating_add(self.config.rotate_bytes.max(1)),
        };
        if let Err(error) = rotated {
            tracing::error!(%error, "the audit cannot make room; its file grows");
        }
    }

    fn try_to_rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let path = &self.config.path;
        // First what may fail for want of anything.
        let next = path.with_added_extension("new");
        let opened = append(&next)?;
        for older in (1..self.config.keep_files).rev() {
            unless_missing(std::fs::rename(numbered(path, older), numbered(path, older + 1)))?;
        }
        unless_missing(if self.config.keep_files == 0 {
            std::fs::remove_file(path)
        } else {
            std::fs::rename(path, numbered(path, 1))
        })?;
        std::fs::rename(&next, path)?;
        (self.file, self.bytes) = opened;
        Ok(())
    }
}

/// What somebody has taken away needs no moving.
fn unless_missing(moved: io::Result<()>) -> io::Result<()> {
    match moved {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A line that stands for lines that are not there.
fn gap(lost: u64) -> String {
    serde_json::json!({ "at": Timestamp::now(), "event": "dropped", "count": lost }).to_string()
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, with nothing to wait for")]
fn rest() {
    std::thread::sleep(REST);
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// A file to append to, which only its owner may read; and how long it is.
fn append(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((BufWriter::new(file), bytes))
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
    fn a_long_file_makes_room_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let config = Config { path: path.clone(), rotate_bytes: 1, keep_files: 2 };
        let audit = Audit::open(&config).unwrap();
        for number in 0..5 {
            audit.note(entry(&format!("tool_{number}")));
        }
        audit.close();
        let tool = |path: &Path| {
            let line: serde_json::Value =
                serde_json::from_str(std::fs::read_to_string(path).unwrap().trim()).unwrap();
            line["tool"].as_str().unwrap().to_owned()
        };
        assert_eq!(tool(&path), "tool_4");
        assert_eq!([tool(&numbered(&path, 1)), tool(&numbered(&path, 2))], ["tool_3", "tool_2"]);
        assert!(!numbered(&path, 3).exists());
    }

    #[test]
    fn a_file_that_was_taken_away_or_cannot_make_room_costs_nothing_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let older =
            |number: u32| std::fs::read_to_string(numbered(&path, number)).unwrap_or_default();
        let config = Config { path: path.clone(), rotate_bytes: 1, keep_files: 3 };
        let mut writer = Writer::open(config).unwrap();
        writer.write(&entry("first"), 0).unwrap();
        writer.flush();
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        writer.write(&entry("second"), 0).unwrap();
        writer.flush();
        assert!(std::fs::read_to_string(&path).unwrap().contains("second"));
        // Nobody can open what is a folder.
        let way = path.with_added_extension("new");
        std::fs::create_dir(&way).unwrap();
        std::fs::write(numbered(&path, 1), "kept").unwrap();
        for _ in 0..10 {
            writer.rotate_at = 1;
            writer.write(&entry("third"), 0).unwrap();
        }
        writer.flush();
        assert_eq!((older(1).as_str(), older(2).as_str()), ("kept", ""));
        assert_eq!(std::fs::read_to_string(&path).unwrap().matches("third").count(), 10);
    }

    #[test]
    fn what_is_dropped_is_counted_by_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let config = Config { path: path.clone(), ..Config::default() };
        let mut writer = Writer::open(config).unwrap();
        writer.write(&entry("tool"), 3).unwrap();
        writer.file.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().next().unwrap().contains("\"count\":3"), "{text}");
        assert_eq!(text.lines().count(), 2);
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
