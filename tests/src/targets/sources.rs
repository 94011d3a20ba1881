//! Models' sources, before the compiler sees them.

use std::collections::BTreeSet;

use simward_protocol::compile::{Asset, Compile, ENTRY};
use simward_worker::scan::{FILE_ATTRIBUTES, FOLDER_ATTRIBUTES, Seen, check};

use super::engine_xml::{Attribute, attributes};

/// What stands between the model and its assets: a line that begins so and names the asset.
pub(super) const BETWEEN: &str = "\n==== ";

/// A model and its assets.
pub fn scan(bytes: &[u8]) {
    let call = source(bytes);
    if check(&call) != Ok(Seen::Whole) {
        return;
    }
    let given: BTreeSet<_> = call.assets.iter().map(|asset| last_component(&asset.path)).collect();
    for asset in &call.assets {
        below(&asset.path);
    }
    let mut included = BTreeSet::new();
    document(call.model_xml.as_bytes(), &given, &mut included);
    let mut seen = BTreeSet::new();
    while let Some(name) = included.pop_first() {
        if seen.insert(name.clone()) {
            let of_name = |asset: &&Asset| last_component(&asset.path) == name;
            for asset in call.assets.iter().filter(of_name) {
                document(&asset.content, &given, &mut included);
            }
        }
    }
}

/// Takes a model and its assets apart.
pub fn source(bytes: &[u8]) -> Compile {
    let mut parts = Vec::new();
    let mut rest = bytes;
    let between = BETWEEN.as_bytes();
    while let Some(at) = rest.windows(between.len()).position(|window| window == between) {
        parts.push(&rest[..at]);
        rest = &rest[at + between.len()..];
    }
    parts.push(rest);
    let asset = |part: &[u8]| {
        let end = part.iter().position(|byte| *byte == b'\n').unwrap_or(part.len());
        let content = part.get(end + 1..).unwrap_or_default().to_vec();
        Asset { path: String::from_utf8_lossy(&part[..end]).into_owned(), content }
    };
    let model_xml = String::from_utf8_lossy(parts[0]).into_owned();
    Compile {
        entry: ENTRY.into(),
        model_xml,
        assets: parts[1..].iter().map(|part| asset(part)).collect(),
        keep: false,
    }
}

/// Looks at a document as the engine does.
fn document(xml: &[u8], given: &BTreeSet<String>, included: &mut BTreeSet<String>) {
    let Some(attributes) = attributes(xml) else { return };
    for Attribute { element, key, value } in attributes {
        let is_file = FILE_ATTRIBUTES.contains(&key.as_slice());
        if !is_file && !FOLDER_ATTRIBUTES.contains(&key.as_slice()) {
            continue;
        }
        let value = String::from_utf8_lossy(&value);
        if key != b"filename" {
            below(&value);
        }
        if is_file && !value.is_empty() {
            let name = last_component(&value);
            assert!(given.contains(&name), "`{value}` was not given");
            if element == b"include" || element == b"model" {
                included.insert(name);
            }
        }
    }
}

fn below(path: &str) {
    assert!(!path.starts_with('/') && !path.starts_with('\\'), "`{path}` is absolute");
    assert!(path.as_bytes().get(1) != Some(&b':'), "`{path}` is absolute");
    assert!(path.split(['/', '\\']).all(|part| part != ".."), "`{path}` leads outside");
}

fn last_component(path: &str) -> String {
    path.rsplit(['/', '\\']).next().unwrap_or_default().to_lowercase()
}
