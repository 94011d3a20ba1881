//! A source as one document: what it includes is in it, defaults and URDF are resolved, and every
//! path in it is that of an asset.
//!
//! It compiles to the same model, to the last bit: numbers are written in full, and as the author
//! wrote them instead of as the compiler derived them.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_int};

use mujoco_rs::error::MjEditError;
use mujoco_rs::mujoco_c::{mjs_getCompiler, mjs_getOriginSpec, mjs_getString, mjsElement};
use mujoco_rs::wrappers::mj_auxiliary::MjVfs;
use mujoco_rs::wrappers::mj_editing::{MjSpec, MjsCompiler, SpecElement as _, SpecItem as _};
use simward_protocol::compile::{Asset, Compile, ENTRY};
use simward_protocol::editing::{Flattened, Taken, XML_BYTES_MAX};
use simward_protocol::fault::Fault;

use super::build::{files, files_of, invalid, whole_error};
use super::document::map_files;
use super::scan::{self, Seen};

/// The digits with which every number reads back as it was.
const DIGITS: c_int = 17;

// `xml_util.h` of MuJoCo 3.17.0.
#[expect(unsafe_code, reason = "a function of the engine that the bindings lack")]
unsafe extern "C" {
    fn _mjPRIVATE__set_xml_precision(precision: c_int);
}

/// Several sources whose files go under one roof.
pub(super) struct Pool<'a> {
    sources: Vec<&'a Compile>,
    /// Which file has which path now: its source, and its place there.
    placed: BTreeMap<String, (usize, usize)>,
}

impl<'a> Pool<'a> {
    pub(super) fn new(sources: Vec<&'a Compile>) -> Self {
        Self { sources, placed: BTreeMap::new() }
    }

    /// Writes a source as one document.
    pub(super) fn flatten(&mut self, source: usize) -> Result<String, Fault> {
        let call = self.sources[source];
        let seen = scan::check(call)?;
        let vfs = files_of(call)?;
        let parsed = MjSpec::from_xml_vfs(&call.entry, &vfs);
        let mut spec = parsed.map_err(|error| whole_error(&call.entry, &vfs, &error))?;
        if let Seen::Partly(doubt) = seen {
            return Err(invalid(doubt));
        }
        let textures = self.place_all(source, &mut spec)?;
        let document = save(&mut spec)?;
        // The files of a cube's sides are the ones that the specification does not tell.
        map_files(&document, |_, key, path| {
            let is_side = key.strip_prefix(b"file").is_some_and(|side| !side.is_empty());
            is_side.then(|| self.place(source, &textures, path)).transpose()
        })
    }

    /// Gives every file of a specification its path; returns where those of textures were.
    fn place_all(&mut self, source: usize, spec: &mut MjSpec) -> Result<Home, Fault> {
        let strips = spec.strippath();
        let own = Origin {
            folder: folder_of(&self.sources[source].entry).to_owned(),
            meshes: spec.compiler().meshdir().to_owned(),
            textures: spec.compiler().texturedir().to_owned(),
        };
        macro_rules! place_each {
            ($($each:ident, $looked_for:ident;)*) => {$(
                for item in spec.$each() {
                    if !item.file().is_empty() {
                        let origin = origin(item.element_pointer()).unwrap_or_else(|| own.clone());
                        let Origin { folder, $looked_for: looked_for, .. } = origin;
                        let home = Home { folder, looked_for, strips };
                        let path = self.place(source, &home, item.file())?;
                        // What has no name is called as its file is.
                        let name = stem(item.file()).to_owned();
                        if item.name().is_empty() && stem(&path) != name {
                            item.set_name(&name).map_err(|error| invalid(error.to_string()))?;
                        }
                        item.set_file(&path);
                    }
                }
            )*};
        }
        place_each! {
            mesh_iter_mut, meshes;
            hfield_iter_mut, meshes;
            skin_iter_mut, meshes;
            texture_iter_mut, textures;
        }
        let compiler = spec.compiler_mut();
        compiler.set_meshdir("");
        compiler.set_texturedir("");
        spec.set_strippath(false);
        Ok(Home { folder: own.folder, looked_for: own.textures, strips })
    }

    /// The path that a file has from now on.
    fn place(&mut self, source: usize, home: &Home, path: &str) -> Result<String, Fault> {
        let index = find(&self.sources[source].assets, home, path)?;
        let own = normal(&self.sources[source].assets[index].path);
        let names = std::iter::once(own.clone()).chain((2..).map(|n| format!("{n}/{own}")));
        for name in names {
            let Some((other, at)) = self.placed.get(&name).copied() else {
                if name == ENTRY {
                    continue;
                }
                self.placed.insert(name.clone(), (source, index));
                return Ok(name);
            };
            let same = (other, at) == (source, index)
                || self.asset(other, at).content == self.asset(source, index).content;
            if same {
                return Ok(name);
            }
        }
        unreachable!("there is always another number")
    }

    fn asset(&self, source: usize, index: usize) -> &'a Asset {
        &self.sources[source].assets[index]
    }

    /// A document and the files that it names, in memory.
    pub(super) fn vfs(&self, document: &str) -> Result<MjVfs, Fault> {
        let placed = self.placed.iter().map(|(path, (source, index))| {
            (path.as_str(), self.asset(*source, *index).content.as_slice())
        });
        files(ENTRY, document, placed)
    }

    /// A document with the files that it names.
    pub(super) fn finish(&self, model_xml: String) -> Result<Flattened, Fault> {
        let mut named = BTreeMap::new();
        map_files(&model_xml, |_, _, path| match self.placed.get(path) {
            Some(place) => {
                named.insert(path.to_owned(), *place);
                Ok(None)
            }
            None => Err(invalid(format!("`{path}` is none of the files that were sent along"))),
        })?;
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let taken = |(path, (source, index)): (String, (usize, usize))| Taken {
            path,
            source: number(source),
            index: number(index),
        };
        Ok(Flattened { model_xml, assets: named.into_iter().map(taken).collect() })
    }
}

/// Where a file is looked for.
struct Home {
    /// The folder of the document.
    folder: String,
    /// What its compiler element says.
    looked_for: String,
    /// Whether only the last component of a path counts.
    strips: bool,
}

/// Finds an asset as the engine does: by its path, and else by its last component.
fn find(assets: &[Asset], home: &Home, path: &str) -> Result<usize, Fault> {
    let last = last_component(path);
    let wanted = if home.strips { last } else { path };
    let whole = normal(&format!("{}/{}/{wanted}", home.folder, home.looked_for));
    if let Some(index) = assets.iter().position(|asset| normal(&asset.path) == whole) {
        return Ok(index);
    }
    let is_last = |asset: &Asset| last_component(&asset.path).eq_ignore_ascii_case(last);
    let mut like = assets.iter().enumerate().filter(|(_, asset)| is_last(asset));
    let Some((index, first)) = like.next() else {
        return Err(invalid(format!("`{path}` was not sent along")));
    };
    if like.any(|(_, other)| other.content != first.content) {
        return Err(invalid(format!("several different files are meant by `{path}`")));
    }
    Ok(index)
}

/// A path without `.`, `..` and doubled slashes.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => (),
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn last_component(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or_default()
}

fn stem(path: &str) -> &str {
    let last = last_component(path);
    last.rsplit_once('.').map_or(last, |(stem, _)| stem)
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Where an element came from.
#[derive(Clone)]
struct Origin {
    /// The folder of its document.
    folder: String,
    /// Where that one's compiler element looks for meshes and the like.
    meshes: String,
    /// The same for textures.
    textures: String,
}

/// Where an element came from, if it is known.
#[expect(unsafe_code, reason = "the bindings do not tell where an element came from")]
fn origin(element: *const mjsElement) -> Option<Origin> {
    // SAFETY: the element belongs to a living specification, which holds those that were read into
    // it and their strings. What may be absent is null, and looked at before it is used. The
    // handle of a compiler stands at the address of what it is one of.
    let (folder, compiler) = unsafe {
        let spec = mjs_getOriginSpec(element).as_ref()?;
        let folder = mjs_getString(spec.modelfiledir.as_ref()?);
        let compiler = mjs_getCompiler(element).cast_const().cast::<MjsCompiler>().as_ref()?;
        (CStr::from_ptr(folder.as_ref()?), compiler)
    };
    Some(Origin {
        folder: folder.to_string_lossy().into_owned(),
        meshes: compiler.meshdir().to_owned(),
        textures: compiler.texturedir().to_owned(),
    })
}

/// Writes a specification as it was authored, with all digits.
#[expect(unsafe_code, reason = "a function of the engine that the bindings lack")]
pub(super) fn save(spec: &mut MjSpec) -> Result<String, Fault> {
    let compiler = spec.compiler_mut();
    compiler.set_savecompiled(false);
    compiler.set_savecanonical(true);
    // SAFETY: it sets a number, and this process has no other thread that writes documents.
    unsafe { _mjPRIVATE__set_xml_precision(DIGITS) };
    let mut bytes = 1 << 20;
    loop {
        match spec.save_xml_string(bytes) {
            Ok(document) => return Ok(document),
            Err(MjEditError::XmlBufferTooSmall { required_size }) if bytes <= XML_BYTES_MAX => {
                if XML_BYTES_MAX < required_size {
                    let what = "bytes of a model as one document".into();
                    let (value, max) = (required_size as u64, XML_BYTES_MAX as u64);
                    return Err(Fault::LimitExceeded { what, value, max });
                }
                bytes = required_size + 1;
            }
            Err(error) => return Err(invalid(error.to_string())),
        }
    }
}

/// Reads a document that names its files by whole paths.
pub(super) fn parse(document: &str) -> Result<MjSpec, Fault> {
    if document.contains('\0') {
        return Err(invalid("the model contains a NUL character".to_owned()));
    }
    MjSpec::from_xml_string(document).or_else(|error| {
        let vfs = files(ENTRY, document, std::iter::empty())?;
        Err(whole_error(ENTRY, &vfs, &error))
    })
}
