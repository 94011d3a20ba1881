//! MuJoCo Menagerie: what its catalogue knows, and what of it lies in a folder in its layout,
//! `FOLDER/<name>/<scene>.xml`. Models that the catalogue does not know may lie there as well.

use std::path::Path;
use std::sync::LazyLock;

use serde::Serialize;

use super::root::Root;
use super::{Error, Place, Sources};

/// A model as the catalogue has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catalogued {
    /// Its folder's name.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Such as `arm` or `quadruped`.
    pub category: &'static str,
    /// Its licence's SPDX identifier.
    pub licence: &'static str,
    /// Its scene: the model with a floor and light.
    pub scene: Option<&'static str>,
    /// The model alone.
    pub model: Option<&'static str>,
    /// What Menagerie's own package downloads for it.
    pub download_bytes: u64,
    /// What its folder takes.
    pub installed_bytes: u64,
}

/// A model that can be had, or could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Listed {
    /// The name that `load_model` takes.
    pub name: String,
    /// What people call it.
    pub title: Option<String>,
    /// Such as `arm` or `quadruped`; absent if the catalogue does not know it.
    pub category: Option<String>,
    /// Its licence's SPDX identifier.
    pub licence: Option<String>,
    /// What its folder takes, in bytes, according to the catalogue.
    pub installed_bytes: Option<u64>,
    /// Whether it is on this server.
    pub is_present: bool,
}

/// How many folders of the directory are looked at, and how many files of one are told.
const FOLDERS_MAX: usize = 1000;
const ENTRIES_MAX: usize = 100;

/// The table, out of the registry of the package `mujoco-menagerie`.
const TABLE: &str = include_str!("menagerie.tsv");

/// Every model of the catalogue, by name.
pub static CATALOGUE: LazyLock<Vec<Catalogued>> =
    LazyLock::new(|| TABLE.lines().filter_map(parse).collect());

fn parse(line: &'static str) -> Option<Catalogued> {
    let mut fields = line.split('\t');
    let mut next = || fields.next();
    let file = |field| Some(field).filter(|field| *field != "-");
    let model = Catalogued {
        name: next().filter(|name| !name.starts_with('#'))?,
        title: next()?,
        category: next()?,
        licence: next()?,
        scene: file(next()?),
        model: file(next()?),
        download_bytes: next()?.parse().ok()?,
        installed_bytes: next()?.parse().ok()?,
    };
    Some(model)
}

/// The catalogue's categories.
pub fn categories() -> Vec<&'static str> {
    let mut all: Vec<_> = CATALOGUE.iter().map(|model| model.category).collect();
    all.sort_unstable();
    all.dedup();
    all
}

impl Sources {
    /// What there is, of one category or of all, those that are present alone or those that could
    /// be.
    pub fn menagerie(
        &self,
        category: Option<&str>,
        present_only: bool,
    ) -> Result<Vec<Listed>, Error> {
        let folder = self.folder()?;
        let mut names = match &folder {
            Some(folder) => folder.names(FOLDERS_MAX)?,
            None => Vec::new(),
        };
        names.extend(CATALOGUE.iter().map(|model| model.name.to_owned()));
        names.sort_unstable();
        names.dedup();
        let listed = names.into_iter().map(|name| {
            let known = known(&name);
            // A link that leads nowhere we go is as good as nothing.
            let there = folder.as_ref().and_then(|folder| folder.below(&name).ok().flatten());
            Listed {
                title: known.map(|known| known.title.to_owned()),
                category: known.map(|known| known.category.to_owned()),
                licence: known.map(|known| known.licence.to_owned()),
                installed_bytes: known.map(|known| known.installed_bytes),
                is_present: there.is_some_and(|folder| !entries(&folder).is_empty()),
                name,
            }
        });
        let wanted = listed.filter(|listed| {
            let of_category =
                category.is_none_or(|wanted| listed.category.as_deref() == Some(wanted));
            let is_one = listed.is_present || listed.category.is_some();
            of_category && is_one && (listed.is_present || !present_only)
        });
        Ok(wanted.collect())
    }

    /// A model by its name, as a scene: its own, if it has one, or else over a floor.
    pub fn scene(&self, name: &str, entry: Option<&str>) -> Result<Place, Error> {
        let place = self.named(name, entry)?;
        // A scene is one that the catalogue or its name says is one.
        let file = place.path.rsplit('/').next().unwrap_or_default();
        let is_scene = known(name).is_some_and(|known| known.scene == Some(file))
            || file.contains("scene")
            || entry.is_some();
        Ok(Place { on_floor: !is_scene && has_ending(file, "xml"), ..place })
    }

    fn folder(&self) -> Result<Option<Root>, Error> {
        let folder = &self.config().menagerie_dir;
        if folder.as_os_str().is_empty() { Ok(None) } else { Root::open(folder).map(Some) }
    }

    /// A model by its name: that file of its folder, or its scene if it has one.
    pub fn named(&self, name: &str, entry: Option<&str>) -> Result<Place, Error> {
        let unknown = || Error::Unknown { name: name.to_owned(), nearest: nearest(name) };
        let known = known(name);
        if !is_name(name) {
            return Err(unknown());
        }
        let folder = self.folder()?.ok_or(Error::NoMenagerie)?;
        let Some(folder) = folder.below(name)? else {
            return Err(
                known.map_or_else(unknown, |known| Error::Absent { name: known.name.into() })
            );
        };
        let entries = entries(&folder);
        let is_there = |file: &str| entries.iter().any(|entry| entry == file);
        let file = match entry {
            Some(entry) if is_there(entry) => entry.to_owned(),
            Some(entry) => return Err(no_entry(name, entry, entries)),
            None => {
                let own = format!("{name}.xml");
                let (scene, model) = known.map_or((None, None), |known| (known.scene, known.model));
                let candidates = [scene, Some("scene.xml"), model, Some(own.as_str())];
                let mut scenes = entries.iter().filter(|file| file.contains("scene"));
                let only_scene = scenes.next().filter(|_| scenes.next().is_none());
                let file = candidates.into_iter().flatten().find(|file| is_there(file));
                let file = file.or_else(|| only_scene.map(String::as_str));
                match (file, entries.as_slice()) {
                    (Some(file), _) => file.to_owned(),
                    (None, [only]) => only.clone(),
                    _ => return Err(no_entry(name, "scene.xml", entries)),
                }
            }
        };
        let path = format!("{name}/{file}");
        let root = self.config().menagerie_dir.clone();
        Ok(Place { root, path, on_floor: false })
    }
}

fn known(name: &str) -> Option<&'static Catalogued> {
    CATALOGUE.iter().find(|model| model.name == name)
}

fn no_entry(name: &str, entry: &str, entries: Vec<String>) -> Error {
    Error::NoEntry { name: name.to_owned(), entry: entry.to_owned(), entries }
}

/// The models of a folder, by their files' names.
fn entries(folder: &Root) -> Vec<String> {
    let mut names = folder.names(FOLDERS_MAX).unwrap_or_default();
    names.retain(|name| has_ending(name, "xml") || has_ending(name, "urdf"));
    names.truncate(ENTRIES_MAX);
    names
}

fn has_ending(name: &str, ending: &str) -> bool {
    Path::new(name).extension().is_some_and(|there| there.eq_ignore_ascii_case(ending))
}

/// Whether a name can be that of a folder.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=100).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.')
}

fn nearest(name: &str) -> Option<String> {
    let name: String = name.chars().take(100).collect();
    let likeness = |known: &Catalogued| strsim::jaro_winkler(known.name, &name);
    let best = CATALOGUE.iter().max_by(|left, right| likeness(left).total_cmp(&likeness(right)))?;
    (0.6 < likeness(best)).then(|| best.name.to_owned())
}
