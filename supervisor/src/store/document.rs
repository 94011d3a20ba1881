//! A document that is read once and written whole: a line with a checksum, and JSON.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files;

/// Where it is, and what it may be.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// The file.
    pub(crate) path: PathBuf,
    /// What it begins with. A number in it changes with the layout.
    pub(crate) head: &'static str,
    /// How long it may be.
    pub(crate) bytes_max: u64,
}

impl Document {
    /// Reads it; nothing if there is none. One that is damaged is moved out of the way.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(self.bytes_max + 1).read_to_end(&mut bytes)?;
        let read = self.decode(&bytes);
        if read.is_err()
            && let Some(folder) = self.path.parent()
        {
            files::move_aside(&self.path, &folder.join("damaged"));
        }
        read.map(Some)
    }

    /// Writes it in the place of what was there.
    pub(crate) fn write(&self, value: &impl Serialize) -> io::Result<()> {
        let body = serde_json::to_vec(value)?;
        let head = self.first_line(&body);
        if self.bytes_max < (head.len() + body.len()) as u64 {
            return Err(io::Error::other("it is longer than it may be"));
        }
        files::replace(&self.path, |file| {
            file.write_all(head.as_bytes())?;
            file.write_all(&body)?;
            // It is written seldom, so it can be brought to the disk each time.
            file.sync_data()
        })?;
        Ok(())
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> io::Result<T> {
        let wrong = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem);
        if self.bytes_max < bytes.len() as u64 {
            return Err(wrong("it is too long"));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let (head, body) = bytes.split_at(end);
        if head != self.first_line(body).as_bytes() {
            return Err(wrong("its checksum is wrong, or it is of another version"));
        }
        serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))
    }

    fn first_line(&self, body: &[u8]) -> String {
        format!("{} {:08x}\n", self.head, crc32fast::hash(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(folder: &tempfile::TempDir) -> Document {
        Document { path: folder.path().join("notes"), head: "notes 1", bytes_max: 100 }
    }

    #[test]
    fn what_is_written_is_read_again_and_what_is_too_long_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let document = document(&folder);
        assert_eq!(document.read::<Vec<u32>>().unwrap(), None);
        document.write(&[1, 2, 3]).unwrap();
        assert_eq!(document.read().unwrap(), Some(vec![1, 2, 3]));
        document.write(&"x".repeat(200)).unwrap_err();
        assert_eq!(document.read().unwrap(), Some(vec![1, 2, 3]), "the one before stays");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_damaged_is_refused_and_put_aside() {
        for damage in ["", "notes 1 00000000\n[1]", "notes 2", "notes 1", "\n\n"] {
            let folder = tempfile::tempdir().unwrap();
            let document = document(&folder);
            std::fs::write(&document.path, damage).unwrap();
            document.read::<Vec<u32>>().unwrap_err();
            let aside = folder.path().join("damaged/notes");
            assert_eq!(std::fs::read_to_string(aside).unwrap(), damage);
            assert_eq!(document.read::<Vec<u32>>().unwrap(), None);
        }
    }
}
