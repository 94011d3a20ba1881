//! Looks at which files a model names, before the compiler does.
//!
//! The jail is the wall: no file can be opened, whatever the model says. This is the sign on it:
//! a message that names what is wrong, instead of the compiler's guess at a missing file.

use std::collections::BTreeSet;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use simward_protocol::compile::{ASSETS_MAX, Compile};
use simward_protocol::fault::{Fault, cut};

/// Attributes that name files. `filename` is URDF's; the engine looks up its last component.
const FILE_ATTRIBUTES: [&[u8]; 9] = [
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
const FOLDER_ATTRIBUTES: [&[u8]; 3] = [b"assetdir", b"meshdir", b"texturedir"];

/// Refuses a model whose source, or whose included XML, names what was not sent along.
pub(super) fn check(call: &Compile) -> Result<(), Fault> {
    if ASSETS_MAX < call.assets.len() {
        let (value, max) = (call.assets.len() as u64, ASSETS_MAX as u64);
        return Err(Fault::LimitExceeded { what: "assets of a model".into(), value, max });
    }
    for asset in &call.assets {
        check_path(&asset.path, "the asset")?;
    }
    let known: BTreeSet<String> =
        call.assets.iter().map(|asset| last_component(&asset.path)).collect();
    check_document("the model", call.model_xml.as_bytes(), &known)?;
    for asset in &call.assets {
        if asset.path.to_ascii_lowercase().ends_with(".xml") {
            check_document(&asset.path, &asset.content, &known)?;
        }
    }
    Ok(())
}

fn check_document(name: &str, xml: &[u8], known: &BTreeSet<String>) -> Result<(), Fault> {
    if xml.contains(&0) {
        return Err(invalid(format!("{name} contains a NUL character")));
    }
    let mut reader = Reader::from_reader(xml);
    // What is wrong with the document as such, the compiler says better, with line numbers.
    reader.config_mut().check_end_names = false;
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => {
                check_element(name, &element, known)?;
            }
            Ok(Event::Eof) | Err(_) => return Ok(()),
            Ok(_) => (),
        }
    }
}

fn check_element(
    document: &str,
    element: &BytesStart<'_>,
    known: &BTreeSet<String>,
) -> Result<(), Fault> {
    for attribute in element.attributes().with_checks(false).flatten() {
        let key = attribute.key.as_ref();
        let is_file = FILE_ATTRIBUTES.contains(&key);
        if !is_file && !FOLDER_ATTRIBUTES.contains(&key) {
            continue;
        }
        let Ok(value) = attribute.unescape_value() else { continue };
        let tag = String::from_utf8_lossy(element.name().as_ref()).into_owned();
        let what = format!("{document}, in `<{tag} {}>`,", String::from_utf8_lossy(key));
        // URDF names files by package, and the engine strips all but the last component.
        if key != b"filename" {
            check_path(&value, &what)?;
        }
        if is_file && !value.is_empty() && !known.contains(&last_component(&value)) {
            let detail = format!(
                "{what} names `{value}`, which was not sent along: pass it in `assets` under its \
                 relative path"
            );
            return Err(invalid(detail));
        }
    }
    Ok(())
}

/// Only paths that stay below the model's own folder.
fn check_path(path: &str, what: &str) -> Result<(), Fault> {
    let wrong = if path.contains('\0') {
        "contains a NUL character"
    } else if path.starts_with(['/', '\\']) || path.get(1..2) == Some(":") {
        "is absolute"
    } else if path.split(['/', '\\']).any(|component| component == "..") {
        "contains `..`"
    } else {
        return Ok(());
    };
    let path: String = path.chars().take(200).collect();
    Err(invalid(format!(
        "{what} names the path `{path}`, which {wrong}: only relative paths below the model's own folder are served"
    )))
}

/// The engine finds a file by this too, whatever its folder.
fn last_component(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase()
}

fn invalid(detail: String) -> Fault {
    Fault::ModelInvalid { detail: cut(detail) }
}

#[cfg(test)]
mod tests {
    use simward_protocol::compile::Asset;

    use super::*;

    fn checked(xml: &str, assets: &[(&str, &str)]) -> Result<(), String> {
        let asset = |(path, content): &(&str, &str)| Asset {
            path: (*path).to_owned(),
            content: content.as_bytes().to_vec(),
        };
        let assets = assets.iter().map(asset).collect();
        check(&Compile { model_xml: xml.to_owned(), assets, keep: false })
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
        checked(urdf, &[("link.stl", "solid")]).unwrap();
        checked("<mujoco><mesh file='x.obj'/></mujoco>", &[("assets/x.obj", "")]).unwrap();
    }

    #[test]
    fn broken_xml_is_left_to_the_compiler() {
        checked("<mujoco><worldbody>", &[]).unwrap();
        checked("not xml at all <<<", &[]).unwrap();
    }
}
