//! Looks at which files a model names, before the compiler does.
//!
//! The jail is the wall: no file can be opened, whatever the model says. This is the sign on it:
//! a message that names what is wrong, instead of the compiler's guess at a missing file.

use std::collections::BTreeSet;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use simward_protocol::compile::{ASSETS_MAX, Asset, Compile};
use simward_protocol::fault::{Fault, cut};

/// Attributes that name files. `filename` is URDF's; the engine looks up its last component.
pub const FILE_ATTRIBUTES: [&[u8]; 9] = [
    b"file",
    b"filename",
    b"fileback",
    b"filedown",
    b"filefront",
    b"fileleft",
    b"fileright",
    b"fileup",
    b"content_type_file",
];

/// Attributes that name folders.
pub const FOLDER_ATTRIBUTES: [&[u8]; 3] = [b"assetdir", b"meshdir", b"texturedir"];

/// Elements whose file is a document with files of its own.
const DOCUMENT_ELEMENTS: [&[u8]; 2] = [b"include", b"model"];

/// How much of a model was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Seen {
    /// All of it: every file that the compiler can come upon is known.
    Whole,
    /// Not all, and why. The compiler may say it better; if it has nothing to say, the two read
    /// the document differently, and the model must not be believed.
    Partly(String),
}

/// Refuses a model whose source, or whose included XML, names what was not sent along.
pub fn check(call: &Compile) -> Result<Seen, Fault> {
    if ASSETS_MAX < call.assets.len() {
        let (value, max) = (call.assets.len() as u64, ASSETS_MAX as u64);
        return Err(Fault::LimitExceeded { what: "assets of a model".into(), value, max });
    }
    check_path(&call.entry, "the model")?;
    let mut documents = Vec::new();
    for asset in &call.assets {
        check_path(&asset.path, "the asset")?;
        documents.push((last_component(&asset.path), asset));
    }
    let known = documents.iter().map(|(name, _)| name.clone()).collect();
    // The supervisor knows what is beside the folder of a model that has one, and has looked.
    let is_placed = call.entry.contains('/');
    let mut scan = Scan { known, included: BTreeSet::new(), doubt: None, is_placed };
    scan.document("the model", call.model_xml.as_bytes())?;
    // What is included may include more, whatever it is called.
    loop {
        let is_due = |(name, asset): &(String, &Asset)| {
            scan.included.contains(name) || asset.path.to_ascii_lowercase().ends_with(".xml")
        };
        let (due, rest): (Vec<_>, Vec<_>) = documents.into_iter().partition(is_due);
        if due.is_empty() {
            break;
        }
        for (_, asset) in due {
            scan.document(&asset.path, &asset.content)?;
        }
        documents = rest;
    }
    Ok(scan.doubt.map_or(Seen::Whole, Seen::Partly))
}

/// Refuses a document that names any file, or in which two parsers may see different things.
pub(super) fn check_alone(xml: &str) -> Result<(), Fault> {
    let nothing = BTreeSet::new();
    let mut scan =
        Scan { known: nothing.clone(), included: nothing, doubt: None, is_placed: false };
    scan.document("the piece", xml.as_bytes())?;
    scan.doubt.map_or(Ok(()), |doubt| Err(invalid(doubt)))
}

/// What was found so far.
struct Scan {
    /// The last components of the assets' paths.
    known: BTreeSet<String>,
    /// The last components of what is included as a document.
    included: BTreeSet<String>,
    /// The first thing that was not understood.
    doubt: Option<String>,
    /// Whether the model lies in a folder, beside which there may be others.
    is_placed: bool,
}

impl Scan {
    fn document(&mut self, name: &str, xml: &[u8]) -> Result<(), Fault> {
        // To the engine, some of these stand between words.
        if let Some(byte) = xml.iter().find(|byte| is_control(**byte)) {
            let which = if *byte == 0 { "NUL".to_owned() } else { format!("0x{byte:02x}") };
            return Err(invalid(format!("{name} contains a {which} character")));
        }
        let mut reader = Reader::from_reader(xml);
        // What is wrong with the document as such, the compiler says better, with line numbers.
        reader.config_mut().check_end_names = false;
        loop {
            match reader.read_event() {
                Ok(Event::Start(element) | Event::Empty(element)) => {
                    self.element(name, &element)?;
                }
                // To the engine, an end has attributes too, and a declaration ends with the first
                // `>`: whether something begins there depends on who reads.
                Ok(Event::End(end)) if end.contains(&b'\'') || end.contains(&b'"') => {
                    self.doubt(name, &"the end of an element has attributes");
                }
                Ok(Event::DocType(text)) if text.contains(&b'<') => {
                    self.doubt(name, &"the document type has declarations");
                }
                Ok(Event::Eof) => return Ok(()),
                Ok(_) => (),
                Err(error) => {
                    self.doubt(name, &error);
                    return Ok(());
                }
            }
        }
    }

    fn element(&mut self, document: &str, element: &BytesStart<'_>) -> Result<(), Fault> {
        let name = element.name();
        if name.as_ref().is_empty() {
            self.doubt(document, &"an element has no name");
        }
        for attribute in element.attributes().with_checks(false) {
            let attribute = match attribute {
                Ok(attribute) => attribute,
                Err(error) => {
                    self.doubt(document, &error);
                    continue;
                }
            };
            let key = attribute.key.as_ref();
            if !FILE_ATTRIBUTES.contains(&key) && !FOLDER_ATTRIBUTES.contains(&key) {
                continue;
            }
            match attribute.unescape_value() {
                Ok(value) => self.path(document, name.as_ref(), key, &value)?,
                Err(error) => self.doubt(document, &error),
            }
        }
        Ok(())
    }

    fn path(&mut self, document: &str, tag: &[u8], key: &[u8], value: &str) -> Result<(), Fault> {
        let text = String::from_utf8_lossy;
        let what = format!("{document}, in `<{} {}>`,", text(tag), text(key));
        // URDF names files by package, and the engine strips all but the last component.
        if key != b"filename" {
            if self.is_placed {
                check_is_relative(value, &what)?;
            } else {
                check_path(value, &what)?;
            }
        }
        if !FILE_ATTRIBUTES.contains(&key) || value.is_empty() {
            return Ok(());
        }
        let name = last_component(value);
        if !self.known.contains(&name) {
            let detail = format!(
                "{what} names `{value}`, which was not sent along: pass it in `assets` under its \
                 relative path"
            );
            return Err(invalid(detail));
        }
        if DOCUMENT_ELEMENTS.contains(&tag) {
            self.included.insert(name);
        }
        Ok(())
    }

    fn doubt(&mut self, document: &str, what: &dyn std::fmt::Display) {
        self.doubt.get_or_insert_with(|| format!("{document} could not be read: {what}"));
    }
}

/// Characters that XML does not have, all of one byte.
fn is_control(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')
}

/// Only paths that stay below the model's own folder.
fn check_path(path: &str, what: &str) -> Result<(), Fault> {
    check_is_relative(path, what)?;
    if path.split(['/', '\\']).any(|component| component == "..") {
        return Err(bad_path(path, what, "contains `..`"));
    }
    Ok(())
}

fn check_is_relative(path: &str, what: &str) -> Result<(), Fault> {
    if path.contains('\0') {
        Err(bad_path(path, what, "contains a NUL character"))
    } else if path.starts_with(['/', '\\']) || path.get(1..2) == Some(":") {
        Err(bad_path(path, what, "is absolute"))
    } else {
        Ok(())
    }
}

fn bad_path(path: &str, what: &str, wrong: &str) -> Fault {
    let path: String = path.chars().take(200).collect();
    invalid(format!(
        "{what} names the path `{path}`, which {wrong}: only relative paths below the model's own folder are served"
    ))
}

/// The engine finds a file by this too, whatever its folder.
fn last_component(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase()
}

pub(super) fn invalid(detail: String) -> Fault {
    Fault::ModelInvalid { detail: cut(detail) }
}

#[cfg(test)]
mod tests {
    use simward_protocol::compile::ENTRY;

    use super::*;

    fn checked(xml: &str, assets: &[(&str, &str)]) -> Result<Seen, String> {
        let asset = |(path, content): &(&str, &str)| Asset {
            path: (*path).to_owned(),
            content: content.as_bytes().to_vec(),
        };
        let assets = assets.iter().map(asset).collect();
        check(&Compile { entry: ENTRY.into(), model_xml: xml.to_owned(), assets, keep: false })
            .map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_path_outside_is_refused_by_name() {
        let error = checked("<mujoco><include file='/etc/passwd'/></mujoco>", &[]).unwrap_err();
        assert!(error.contains("`<include file>`") && error.contains("is absolute"), "{error}");
        let error = checked("<mujoco><asset><mesh file='../x.stl'/></asset></mujoco>", &[]);
        assert!(error.unwrap_err().contains("contains `..`"));
        let error = checked("<mujoco><compiler meshdir='/'/></mujoco>", &[]).unwrap_err();
        assert!(error.contains("`<compiler meshdir>`"), "{error}");
        let error = checked("<mujoco/>", &[("../x.stl", "")]).unwrap_err();
        assert!(error.contains("the asset"), "{error}");
    }

    #[test]
    fn a_file_that_was_not_sent_is_named() {
        let error = checked("<mujoco><asset><mesh file='a/x.stl'/></asset></mujoco>", &[]);
        assert!(error.unwrap_err().contains("`a/x.stl`, which was not sent along"));
    }

    #[test]
    fn included_documents_are_looked_at_too() {
        let included = ("part.xml", "<mujoco><asset><hfield file='/dev/zero'/></asset></mujoco>");
        let error = checked("<mujoco><include file='part.xml'/></mujoco>", &[included]);
        assert!(error.unwrap_err().starts_with("the model does not compile: part.xml"));
    }

    #[test]
    fn what_was_sent_is_found_by_its_last_component() {
        let urdf = "<robot><mesh filename='package://arm/meshes/Link.STL'/></robot>";
        assert_eq!(checked(urdf, &[("link.stl", "solid")]), Ok(Seen::Whole));
        let mesh = "<mujoco><mesh file='x.obj'/></mujoco>";
        assert_eq!(checked(mesh, &[("assets/x.obj", "")]), Ok(Seen::Whole));
    }

    #[test]
    fn broken_xml_is_left_to_the_compiler() {
        assert_eq!(checked("<mujoco><worldbody>", &[]), Ok(Seen::Whole));
        assert!(matches!(checked("not xml at all <<<", &[]), Ok(Seen::Partly(_))));
    }

    #[test]
    fn an_included_document_is_looked_at_whatever_it_is_called() {
        let model = "<mujoco><include file='a.txt'/></mujoco>";
        let first = ("a.txt", "<mujoco><include file='b.stl'/></mujoco>");
        let second = ("b.stl", "<mujoco><asset><hfield file='/dev/zero'/></asset></mujoco>");
        let error = checked(model, &[second, first]).unwrap_err();
        assert!(error.contains("b.stl, in `<hfield file>`"), "{error}");
        // A mesh is none.
        let mesh = "<mujoco><asset><mesh file='b.stl'/></asset></mujoco>";
        assert_eq!(checked(mesh, &[second]), Ok(Seen::Whole));
        // One that includes itself is the compiler's business.
        assert_eq!(checked(model, &[("a.txt", model)]), Ok(Seen::Whole));
    }

    /// The engine's parser is another one, and a generous one.
    #[test]
    fn what_the_engine_may_read_differently_is_not_believed() {
        let include = "<include file='/etc/passwd'/>";
        for xml in [
            format!("<mujoco><!unknown>{include}</mujoco>"),
            format!("<!DOCTYPE m [<!ENTITY x ''><mujoco>{include}</mujoco><!-- ]> -->"),
            format!("<mujoco><a></a b='>' c='<!--'>{include}<a b='-->'/></mujoco>"),
            "<mujoco>< include file='/etc/passwd'/></mujoco>".to_owned(),
            "<mujoco><include file='/etc/passwd&none;'/></mujoco>".to_owned(),
            "<mujoco><include file='/etc/&#x0;'/></mujoco>".to_owned(),
        ] {
            let seen = checked(&xml, &[]);
            assert!(!matches!(seen, Ok(Seen::Whole)), "{xml}: {seen:?}");
        }
        let error = checked("<mujoco><include\u{b}file='/etc/passwd'/></mujoco>", &[]);
        assert!(error.unwrap_err().contains("a 0x0b character"));
    }
}
