//! The real models that `make setup` fetches.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The path of a model's main file.
pub fn path(name: &str) -> PathBuf {
    let index = index();
    let entry = index[name]["entry"].as_str().unwrap_or_else(|| panic!("no model {name}"));
    root().join("third_party/models").join(entry)
}

/// A model as `load_model` takes it: `{model_xml, assets}`.
pub fn arguments(name: &str) -> Value {
    let path = path(name);
    let folder = path.parent().unwrap();
    let mut assets = Map::new();
    for asset in index()[name]["assets"].as_array().unwrap() {
        let asset = asset.as_str().unwrap();
        let content = std::fs::read(folder.join(asset)).unwrap();
        assets.insert(asset.to_owned(), STANDARD.encode(content).into());
    }
    json!({ "model_xml": std::fs::read_to_string(&path).unwrap(), "assets": assets })
}

/// The models that `make setup-tests` fetches, in the layout of MuJoCo Menagerie.
pub fn menagerie() -> PathBuf {
    root().join("third_party/menagerie")
}

/// Their names, with the file that is loaded of each.
pub fn menagerie_index() -> Vec<(String, String)> {
    let path = menagerie().join("INDEX.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make setup-tests`", path.display()));
    let index: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let entry = |value: &Value| value["entry"].as_str().unwrap().to_owned();
    index.iter().map(|(name, value)| (name.clone(), entry(value))).collect()
}

fn index() -> Value {
    let path = root().join("third_party/models/INDEX.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make setup`", path.display()));
    serde_json::from_str(&text).unwrap()
}
