//! Lines of JSON in a file that makes room for itself: `NAME.1` is the one before, and so on.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::{Missing, Sink};

/// Where they are written, and how much of them is kept.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file.
    pub(crate) path: PathBuf,
    /// A file that is longer makes room for a new one.
    pub(crate) bytes_max: u64,
    /// How many files are kept beside the newest.
    pub(crate) older_max: u32,
}

/// Writes them. A line `{"event":"dropped"}` stands for lines that are not there.
#[derive(Debug)]
pub(crate) struct Lines<T> {
    place: Place,
    file: BufWriter<File>,
    bytes: u64,
    /// How long it may be before it makes room.
    rotate_at: u64,
    /// Whether there is something to flush.
    is_new: bool,
    /// Whether the last line could not be written, so that one that cannot either is not told of.
    is_failing: bool,
    line: PhantomData<fn(T)>,
}

impl<T> Lines<T> {
    pub(crate) fn open(place: Place) -> io::Result<Self> {
        let (file, bytes) = append(&place.path)?;
        let rotate_at = place.bytes_max;
        let (is_new, is_failing) = (false, false);
        Ok(Self { place, file, bytes, rotate_at, is_new, is_failing, line: PhantomData })
    }
}

impl<T: Serialize + Send + 'static> Sink<T> for Lines<T> {
    fn take(&mut self, batch: &mut Vec<T>, missing: &Missing) {
        for line in batch.drain(..) {
            self.write_or_say(&line, missing);
        }
        self.flush();
    }

    fn end(mut self, missing: &Missing) {
        let lost = missing.untold();
        if lost != 0 {
            // If this cannot be written either, the flush says so.
            writeln!(self.file, "{}", gap(lost)).ok();
            self.is_new = true;
        }
        self.flush();
    }
}

impl<T: Serialize> Lines<T> {
    /// What cannot be written now stays in the buffer until the next time.
    fn flush(&mut self) {
        if self.is_new {
            let flushed = self.file.flush();
            self.is_new = flushed.is_err();
            self.say(flushed);
        }
    }

    fn write_or_say(&mut self, line: &T, missing: &Missing) {
        let lost = missing.untold();
        let written = self.write(line, lost);
        if written.is_err() {
            missing.still_untold(lost);
            missing.add(1);
            self.say(written);
        }
    }

    /// Says once that the file cannot be written, and once that it can be again.
    fn say(&mut self, written: io::Result<()>) {
        let path = self.place.path.display();
        match written {
            Err(error) if !self.is_failing => {
                tracing::error!(%path, %error, "lines cannot be written");
                self.is_failing = true;
            }
            Ok(()) if self.is_failing => {
                tracing::info!(%path, "lines can be written again");
                self.is_failing = false;
            }
            _ => (),
        }
    }

    fn write(&mut self, line: &T, lost: u64) -> io::Result<()> {
        if self.rotate_at <= self.bytes {
            self.rotate();
        }
        let mut text = String::new();
        if lost != 0 {
            text = gap(lost);
            text.push('\n');
        }
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        self.bytes += text.len() as u64;
        self.is_new = true;
        Ok(())
    }

    /// Makes room. If that fails the file that there is grows on, and it is tried again once it has
    /// grown by as much: each time costs the oldest file.
    fn rotate(&mut self) {
        let rotated = self.try_to_rotate();
        self.rotate_at = match &rotated {
            Ok(()) => self.place.bytes_max,
            Err(_) => self.bytes.saturating_add(self.place.bytes_max.max(1)),
        };
        if let Err(error) = rotated {
            let path = self.place.path.display();
            tracing::error!(%path, %error, "a file of lines cannot make room; it grows");
        }
    }

    fn try_to_rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        let Place { path, older_max, .. } = &self.place;
        // First what may fail for want of anything.
        let next = path.with_added_extension("new");
        let opened = append(&next)?;
        for older in (1..*older_max).rev() {
            unless_missing(std::fs::rename(numbered(path, older), numbered(path, older + 1)))?;
        }
        unless_missing(if *older_max == 0 {
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

    fn open(path: &Path, bytes_max: u64, older_max: u32) -> Lines<String> {
        Lines::open(Place { path: path.to_owned(), bytes_max, older_max }).unwrap()
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_long_file_makes_room_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        let mut lines = open(&path, 1, 2);
        let mut batch = (0..5).map(|number| format!("line {number}")).collect();
        lines.take(&mut batch, &Missing::default());
        let older = |number| text(&numbered(&path, number));
        assert_eq!((text(&path).as_str(), older(1).as_str()), ("\"line 4\"\n", "\"line 3\"\n"));
        assert_eq!((older(2).as_str(), older(3).as_str()), ("\"line 2\"\n", ""));
    }

    #[test]
    fn a_file_that_was_taken_away_or_cannot_make_room_costs_nothing_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        let older = |number| text(&numbered(&path, number));
        let mut lines = open(&path, 1, 3);
        lines.write(&"first".to_owned(), 0).unwrap();
        lines.flush();
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        lines.write(&"second".to_owned(), 0).unwrap();
        lines.flush();
        assert!(text(&path).contains("second"));
        // Nobody can open what is a folder.
        let way = path.with_added_extension("new");
        std::fs::create_dir(&way).unwrap();
        std::fs::write(numbered(&path, 1), "kept").unwrap();
        for _ in 0..10 {
            lines.rotate_at = 1;
            lines.write(&"third".to_owned(), 0).unwrap();
        }
        lines.flush();
        assert_eq!((older(1).as_str(), older(2).as_str()), ("kept", ""));
        assert_eq!(text(&path).matches("third").count(), 10);
    }

    #[test]
    fn what_is_dropped_is_counted_by_the_next_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.jsonl");
        let mut lines = open(&path, 1 << 20, 1);
        let missing = Missing::default();
        missing.add(3);
        lines.take(&mut vec!["line".to_owned()], &missing);
        let written = text(&path);
        assert!(written.lines().next().unwrap().contains("\"count\":3"), "{written}");
        assert_eq!(written.lines().count(), 2);
    }
}
