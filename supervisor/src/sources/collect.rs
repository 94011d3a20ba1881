//! Reads a model and every file that it names, and the files that those name.
//!
//! Each file is read once, however often it is named: documents that include each other end. Paths
//! are kept relative to the root, so that a model may name what lies beside its own folder, but
//! nothing outside of the root.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use simward_protocol::compile::{ASSETS_MAX, Asset, Compile};

use super::remembered::Stamps;
use super::root::{Root, Stamp};
use super::scan::{Folders, Kind, Said, scan};
use super::{Error, Place};

/// How many documents a model may consist of.
const DOCUMENTS_MAX: usize = 256;

/// How deep documents may be included.
const DEPTH_MAX: u32 = 32;

/// How many folders above a URDF its packages are looked for.
const PACKAGES_UP_MAX: usize = 8;

/// A model with its files.
#[derive(Debug)]
pub struct Collected {
    /// What the compiler is given.
    pub compile: Compile,
    /// What each file looked like; nothing for one that was looked for and was not there.
    pub stamps: Stamps,
}

/// Reads a model.
pub(super) fn collect(root: &Root, place: &Place, bytes_max: u64) -> Result<Collected, Error> {
    let mut walk = Walk {
        root,
        read: BTreeMap::new(),
        lacking: BTreeSet::new(),
        assets: BTreeMap::new(),
        bytes_max,
        bytes: 0,
    };
    if !walk.fetch(&place.path)? {
        return Err(Error::Missing { path: place.path.clone() });
    }
    let mut models = VecDeque::from([place.path.clone()]);
    let mut seen = BTreeSet::new();
    while let Some(model) = models.pop_front() {
        if seen.insert(model.clone()) {
            models.extend(walk.model(&model)?);
        }
    }
    walk.finish(place)
}

/// What was read so far.
struct Walk<'a> {
    root: &'a Root,
    /// By their path below the root.
    read: BTreeMap<String, (Vec<u8>, Stamp)>,
    /// Looked for, and not there.
    lacking: BTreeSet<String>,
    /// What the compiler finds under which path: mostly the same.
    assets: BTreeMap<String, String>,
    bytes_max: u64,
    bytes: u64,
}

impl Walk<'_> {
    /// Reads a model's documents and files; returns the models that it names.
    fn model(&mut self, path: &str) -> Result<Vec<String>, Error> {
        let home = folder_of(path).to_owned();
        let mut folders = Folders::default();
        let mut wanted = Vec::new();
        let mut models = Vec::new();
        let mut is_urdf = false;
        let mut queue = VecDeque::from([(path.to_owned(), 0)]);
        let mut included = BTreeSet::from([path.to_owned()]);
        while let Some((document, depth)) = queue.pop_front() {
            let Said { is_urdf: urdf, folders: said, includes, models: named, files } =
                scan(self.content(&document));
            is_urdf |= urdf && document == path;
            folders.lay(said);
            for include in includes {
                let found = self.document(&document, &home, &include)?;
                if DEPTH_MAX <= depth || DOCUMENTS_MAX <= included.len() {
                    let max = DOCUMENTS_MAX as u64;
                    return Err(Error::TooMuch { what: "documents of a model, 32 deep", max });
                }
                if included.insert(found.clone()) {
                    queue.push_back((found, depth + 1));
                }
            }
            for model in named {
                models.push(self.document(&document, &home, &model)?);
            }
            wanted.extend(files.into_iter().map(|(kind, file)| (document.clone(), kind, file)));
        }
        let strips = folders.strips.unwrap_or(is_urdf);
        for (document, kind, file) in wanted {
            self.file(&File { document, home: &home, kind, name: file, strips }, &folders)?;
        }
        Ok(models)
    }

    /// Finds a document that another one names: beside that one, or beside the model.
    fn document(&mut self, document: &str, home: &str, name: &str) -> Result<String, Error> {
        check(document, name)?;
        for folder in [folder_of(document), home] {
            let Some(path) = join(folder, name) else { return Err(up(document, name)) };
            if self.fetch(&path)? {
                self.assets.insert(path.clone(), path.clone());
                return Ok(path);
            }
        }
        Err(lacking(document, name))
    }

    /// Finds a mesh, a texture or the like.
    fn file(&mut self, file: &File<'_>, folders: &Folders) -> Result<(), Error> {
        let File { document, home, kind, name, strips } = file;
        let looked_for = folders.of(*kind);
        if let Some(rest) = name.strip_prefix("package://") {
            return self.packaged(file, looked_for, rest);
        }
        check(document, name)?;
        let whole = name.replace('\\', "/");
        let last = last_of(&whole);
        let mut candidates = vec![(looked_for, whole.as_str())];
        if *strips {
            candidates.push((looked_for, last));
        }
        candidates.push(("", &whole));
        let mut is_up = true;
        for (folder, name) in candidates {
            check(document, folder)?;
            let path = join(home, folder).and_then(|folder| join(&folder, name));
            let Some(path) = path else { continue };
            is_up = false;
            if self.fetch(&path)? {
                let place = if *strips { stripped(home, looked_for, last) } else { None };
                return self.place(place.unwrap_or_else(|| path.clone()), path);
            }
        }
        Err(if is_up { up(document, name) } else { lacking(document, name) })
    }

    /// Finds what a URDF names by its package: below the folders above it, nearest first.
    fn packaged(&mut self, file: &File<'_>, looked_for: &str, rest: &str) -> Result<(), Error> {
        let File { document, home, name, strips, .. } = file;
        let refused =
            |problem| Err(Error::Named { document: document.clone(), path: name.clone(), problem });
        if !strips {
            return refused("which the engine looks up as a whole: use paths without `package://`");
        }
        check(document, rest)?;
        let (_package, inside) = rest.split_once('/').unwrap_or_default();
        let mut above = Some(*home);
        for _ in 0..PACKAGES_UP_MAX {
            let Some(folder) = above else { break };
            for name in [inside, rest] {
                let Some(path) = join(folder, name) else { return Err(up(document, name)) };
                if self.fetch(&path)? {
                    let place = stripped(home, looked_for, last_of(rest));
                    return self.place(place.unwrap_or_else(|| path.clone()), path);
                }
            }
            above = (!folder.is_empty()).then(|| folder_of(folder));
        }
        refused("which is in none of the folders above it")
    }

    /// Gives the compiler a file under a path.
    fn place(&mut self, at: String, path: String) -> Result<(), Error> {
        if let Some(other) = self.assets.get(&at)
            && *other != path
            && self.content(other) != self.content(&path)
        {
            return Err(Error::Clash { name: last_of(&at).to_owned() });
        }
        self.assets.insert(at, path);
        Ok(())
    }

    /// Reads a file, unless that was done; says whether it is there.
    fn fetch(&mut self, path: &str) -> Result<bool, Error> {
        if self.read.contains_key(path) {
            return Ok(true);
        }
        let left = self.bytes_max - self.bytes;
        let read = self.root.read(path, left).map_err(|error| match error {
            Error::TooMuch { what, .. } => Error::TooMuch { what, max: self.bytes_max },
            error => error,
        })?;
        let Some((content, stamp)) = read else {
            self.lacking.insert(path.to_owned());
            return Ok(false);
        };
        if ASSETS_MAX <= self.read.len() {
            return Err(Error::TooMuch { what: "files of a model", max: ASSETS_MAX as u64 });
        }
        self.bytes += content.len() as u64;
        self.read.insert(path.to_owned(), (content, stamp));
        Ok(true)
    }

    fn content(&self, path: &str) -> &[u8] {
        self.read.get(path).map_or(&[], |(content, _)| content)
    }

    fn finish(mut self, place: &Place) -> Result<Collected, Error> {
        let read = self.read.iter().map(|(path, (_, stamp))| (path.clone(), Some(*stamp)));
        let lacking = self.lacking.into_iter().map(|path| (path, None));
        let stamps = read.chain(lacking).collect();
        if place.on_floor {
            self.assets.insert(place.path.clone(), place.path.clone());
        } else {
            self.assets.remove(&place.path);
        }
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (at, path) in self.assets {
            places.entry(path).or_default().push(at);
        }
        let mut main = Vec::new();
        let mut assets = Vec::new();
        for (path, (content, _)) in self.read {
            let mut at = places.remove(&path).unwrap_or_default();
            let last = at.pop();
            assets.extend(at.into_iter().map(|path| Asset { path, content: content.clone() }));
            match last {
                Some(at) => assets.push(Asset { path: at, content }),
                None if path == place.path => main = content,
                // Nobody looks for it under any name.
                None => (),
            }
        }
        let mut entry = place.path.clone();
        if place.on_floor {
            (entry, main) = on_floor(&entry);
        }
        let problem = "is no UTF-8 text";
        let model_xml = String::from_utf8(main)
            .map_err(|_other| Error::Path { path: place.path.clone(), problem })?;
        Ok(Collected { compile: Compile { entry, model_xml, assets, keep: true }, stamps })
    }
}

/// A document beside a model that puts it over a floor, and its path.
fn on_floor(path: &str) -> (String, Vec<u8>) {
    let name = last_of(path);
    let escaped = quick_xml::escape::escape(name);
    let text = ON_FLOOR.replace("{file}", &escaped);
    let entry = format!("{}/simward_floor.{name}", folder_of(path));
    (entry.trim_start_matches('/').to_owned(), text.into_bytes())
}

/// Whatever the model's defaults are, its feet meet this floor.
const ON_FLOOR: &str = include_str!("on_floor.xml");

/// A file as a document names it.
struct File<'a> {
    document: String,
    /// The model's folder.
    home: &'a str,
    kind: Kind,
    name: String,
    strips: bool,
}

/// Refuses what no path below a root can be.
fn check(document: &str, path: &str) -> Result<(), Error> {
    let problem = if path.contains('\0') {
        "which contains a NUL character"
    } else if path.starts_with(['/', '\\']) || path.get(1..2) == Some(":") {
        "which is absolute: use paths relative to the model"
    } else if path.contains("://") {
        "which is no file of this server"
    } else if 4096 < path.len() {
        "which is too long"
    } else {
        return Ok(());
    };
    Err(Error::Named { document: document.to_owned(), path: path.to_owned(), problem })
}

fn lacking(document: &str, path: &str) -> Error {
    let problem = "which is not there";
    Error::Named { document: document.to_owned(), path: path.to_owned(), problem }
}

fn up(document: &str, path: &str) -> Error {
    let problem = "which leads out of the server's root";
    Error::Named { document: document.to_owned(), path: path.to_owned(), problem }
}

/// Where the engine looks for a file of whose path only the last component counts.
fn stripped(home: &str, looked_for: &str, last: &str) -> Option<String> {
    join(home, looked_for).and_then(|folder| join(&folder, last))
}

/// A path below the root, out of a folder and what is named from there; nothing if that leads out.
fn join(folder: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(name.split(['/', '\\'])) {
        match part {
            "" | "." => (),
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn last_of(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}
