//! A model's source, beside what was compiled of it: in the same file, so that the two come and go
//! together.
//!
//! It is a list of its parts, with a checksum for each, and then the parts. Whoever wants the text
//! alone, or only the sizes of the files, reads no more than that.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};
use simward_protocol::compile::{ASSETS_MAX, Asset, Compile};

/// The longest list of parts, in bytes.
const LIST_BYTES_MAX: u64 = 32 << 20;

/// Where a source is, and how its list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What it takes, in bytes.
    pub bytes: u64,
    /// The list's length, in bytes.
    pub list_bytes: u64,
    /// The list's checksum.
    pub list_crc32: u32,
}

/// A source without the contents of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The model, in MJCF or URDF.
    pub model_xml: String,
    /// The files that came with it, and how many bytes each has.
    pub assets: Vec<(String, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    entry: String,
    model_xml: Part,
    assets: Vec<(String, Part)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    bytes: u64,
    crc32: u32,
}

impl Part {
    fn of(content: &[u8]) -> Self {
        Self { bytes: content.len() as u64, crc32: crc32fast::hash(content) }
    }
}

/// A source that is ready to be written.
#[derive(Debug)]
pub(super) struct Packed<'a> {
    list: Vec<u8>,
    source: &'a Compile,
    pub(super) kept: Kept,
}

impl<'a> Packed<'a> {
    pub(super) fn new(source: &'a Compile) -> io::Result<Self> {
        let assets = source.assets.iter();
        let list = List {
            entry: source.entry.clone(),
            model_xml: Part::of(source.model_xml.as_bytes()),
            assets: assets.map(|asset| (asset.path.clone(), Part::of(&asset.content))).collect(),
        };
        let parts =
            std::iter::once(list.model_xml).chain(list.assets.iter().map(|(_, part)| *part));
        let content: u64 = parts.map(|part| part.bytes).sum();
        let list = serde_json::to_vec(&list)?;
        let list_bytes = list.len() as u64;
        if LIST_BYTES_MAX < list_bytes {
            return Err(io::Error::other("the paths of the model's files are too long"));
        }
        let list_crc32 = crc32fast::hash(&list);
        let kept = Kept { bytes: list_bytes + content, list_bytes, list_crc32 };
        Ok(Self { list, source, kept })
    }

    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.list)?;
        to.write_all(self.source.model_xml.as_bytes())?;
        self.source.assets.iter().try_for_each(|asset| to.write_all(&asset.content))
    }
}

/// Reads a source that begins there in a file, without the contents of its files.
pub(super) fn outline(file: &File, at: u64, kept: &Kept) -> io::Result<Outline> {
    let mut reading = Reading::begin(file, at, kept)?;
    let model_xml = reading.text()?;
    let assets = reading.list.assets.into_iter().map(|(path, part)| (path, part.bytes)).collect();
    Ok(Outline { model_xml, assets })
}

/// Reads a whole source that begins there in a file.
pub(super) fn whole(file: &File, at: u64, kept: &Kept) -> io::Result<Compile> {
    let mut reading = Reading::begin(file, at, kept)?;
    let model_xml = reading.text()?;
    let mut assets = Vec::with_capacity(reading.list.assets.len());
    for (path, part) in std::mem::take(&mut reading.list.assets) {
        assets.push(Asset { path, content: reading.part(part)? });
    }
    Ok(Compile { entry: reading.list.entry, model_xml, assets, keep: true })
}

/// A source that is being read.
struct Reading<'a> {
    file: &'a File,
    list: List,
    /// Where the next part is.
    place: u64,
    end: u64,
}

impl<'a> Reading<'a> {
    fn begin(file: &'a File, at: u64, kept: &Kept) -> io::Result<Self> {
        let end = at.checked_add(kept.bytes).ok_or_else(|| wrong("its length is none"))?;
        if LIST_BYTES_MAX < kept.list_bytes || kept.bytes < kept.list_bytes {
            return Err(wrong("its list is too long"));
        }
        let list = read(file, at, kept.list_bytes)?;
        if crc32fast::hash(&list) != kept.list_crc32 {
            return Err(wrong("the checksum of its list is wrong"));
        }
        let list: List = serde_json::from_slice(&list)?;
        if ASSETS_MAX < list.assets.len() {
            return Err(wrong("it has too many files"));
        }
        Ok(Self { file, list, place: at + kept.list_bytes, end })
    }

    fn text(&mut self) -> io::Result<String> {
        let text = self.part(self.list.model_xml)?;
        String::from_utf8(text).map_err(|_other| wrong("it is no text"))
    }

    fn part(&mut self, part: Part) -> io::Result<Vec<u8>> {
        let place = self.place;
        let end = place.checked_add(part.bytes).filter(|end| *end <= self.end);
        self.place = end.ok_or_else(|| wrong("its parts are longer than it is"))?;
        let content = read(self.file, place, part.bytes)?;
        if crc32fast::hash(&content) == part.crc32 {
            Ok(content)
        } else {
            Err(wrong("a checksum is wrong"))
        }
    }
}

/// Reads bytes; nothing is allocated for those that are not there.
fn read(file: &File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    At { file, place: at }.take(bytes).read_to_end(&mut content)?;
    if content.len() as u64 == bytes { Ok(content) } else { Err(wrong("it is cut short")) }
}

/// Reads from a place on, and leaves the file's own place alone, which others share.
struct At<'a> {
    file: &'a File,
    place: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(into, self.place)?;
        self.place += count as u64;
        Ok(count)
    }
}

fn wrong(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simward_protocol::compile::ENTRY;

    use super::*;

    fn source() -> Compile {
        let asset =
            |path: &str, content: &[u8]| Asset { path: path.into(), content: content.into() };
        let assets = vec![asset("a/x.stl", &[0, 255, 7]), asset("b.png", &[])];
        Compile { entry: ENTRY.into(), model_xml: "<mujoco/>".into(), assets, keep: true }
    }

    /// A file in which the source begins at the fifth byte.
    fn written(source: &Compile) -> (Vec<u8>, Kept) {
        let packed = Packed::new(source).unwrap();
        let mut bytes = b"12345".to_vec();
        packed.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, 5 + packed.kept.bytes);
        (bytes, packed.kept)
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_source_reads_back_as_it_was() {
        let (bytes, kept) = written(&source());
        let file = file(&bytes);
        assert_eq!(whole(&file, 5, &kept).unwrap(), source());
        let outline = outline(&file, 5, &kept).unwrap();
        assert_eq!(outline.model_xml, "<mujoco/>");
        assert_eq!(outline.assets, [("a/x.stl".to_owned(), 3), ("b.png".to_owned(), 0)]);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(place in 5_usize..200, bit in 0_u8..8) {
            let (mut bytes, kept) = written(&source());
            let place = 5 + place % (bytes.len() - 5);
            bytes[place] ^= 1 << bit;
            prop_assert!(whole(&file(&bytes), 5, &kept).is_err());
        }

        #[test]
        fn hostile_lengths_do_no_harm(
            bytes: u64, list_bytes in prop_oneof![0_u64..100, any::<u64>()], at: u64,
        ) {
            let (content, kept) = written(&source());
            let kept = Kept { bytes, list_bytes, ..kept };
            prop_assert!(whole(&file(&content), at, &kept).is_err());
        }
    }
}
