//! Which files a document names.
//!
//! Only well enough to find them: what this does not see, the compile process does not get, and
//! says so.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// What a document says about files.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Whether it is a URDF.
    pub(super) is_urdf: bool,
    /// What its compiler elements say.
    pub(super) folders: Folders,
    /// Documents that are put in the place of their element.
    pub(super) includes: Vec<String>,
    /// Models of their own, with folders of their own.
    pub(super) models: Vec<String>,
    /// Meshes, textures and the like.
    pub(super) files: Vec<(Kind, String)>,
}

/// Where files are looked for, as far as it is said.
#[derive(Clone, Debug, Default)]
pub(super) struct Folders {
    pub(super) assets: Option<String>,
    pub(super) meshes: Option<String>,
    pub(super) textures: Option<String>,
    /// Whether only the last component of a file's path counts.
    pub(super) strips: Option<bool>,
}

impl Folders {
    /// Lays what another document says over it.
    pub(super) fn lay(&mut self, over: Self) {
        let Self { assets, meshes, textures, strips } = over;
        self.assets = assets.or_else(|| self.assets.take());
        self.meshes = meshes.or_else(|| self.meshes.take());
        self.textures = textures.or_else(|| self.textures.take());
        self.strips = strips.or(self.strips);
    }

    /// Where a kind of file is looked for.
    pub(super) fn of(&self, kind: Kind) -> &str {
        let own = match kind {
            Kind::Mesh => &self.meshes,
            Kind::Texture => &self.textures,
        };
        own.as_deref().or(self.assets.as_deref()).unwrap_or_default()
    }
}

/// Which of the folders a file is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mesh,
    Texture,
}

/// Attributes that name a file, URDF's `filename` among them.
const FILES: [&[u8]; 8] = [
    b"file",
    b"filename",
    b"fileback",
    b"filedown",
    b"filefront",
    b"fileleft",
    b"fileright",
    b"fileup",
];

/// Looks at a document. What is no XML any more ends it: the compiler tells what is wrong.
pub(super) fn scan(xml: &[u8]) -> Said {
    let mut said = Said::default();
    let mut reader = Reader::from_reader(xml);
    reader.config_mut().check_end_names = false;
    let mut is_first = true;
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(element) | Event::Empty(element) => {
                said.is_urdf |= is_first && element.name().as_ref() == b"robot";
                is_first = false;
                said.element(&element);
            }
            Event::Eof => break,
            _ => (),
        }
    }
    said
}

impl Said {
    fn element(&mut self, element: &BytesStart<'_>) {
        let name = element.name();
        for attribute in element.attributes().with_checks(false).flatten() {
            let Ok(value) = attribute.unescape_value() else { continue };
            let value = value.into_owned();
            match (name.as_ref(), attribute.key.as_ref()) {
                (b"compiler", b"assetdir") => self.folders.assets = Some(value),
                (b"compiler", b"meshdir") => self.folders.meshes = Some(value),
                (b"compiler", b"texturedir") => self.folders.textures = Some(value),
                (b"compiler", b"strippath") => self.folders.strips = Some(value == "true"),
                (_, key) if !FILES.contains(&key) || value.is_empty() => (),
                (b"include", _) => self.includes.push(value),
                (b"model", _) => self.models.push(value),
                (b"texture", _) => self.files.push((Kind::Texture, value)),
                (_, _) => self.files.push((Kind::Mesh, value)),
            }
        }
    }
}
