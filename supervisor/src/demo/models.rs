//! The demo's models: real robots where `make setup` has fetched them, else our own scenes.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Who plays.
pub(super) const NAMES: [&str; 3] = ["humanoid", "barkour_v0", "ur5e"];

/// The built-in scenes that stand in for them.
const STAND_INS: [&str; 3] = ["double_pendulum", "cart_pole", "arm"];

/// The tool that loads a model, and its arguments.
pub(super) fn arguments(name: &str) -> anyhow::Result<(&'static str, Value)> {
    let Some(folder) = folder() else {
        let index = NAMES.iter().position(|known| *known == name).unwrap_or(0);
        return Ok(("create_scene", json!({ "scene": STAND_INS[index] })));
    };
    let index: Value = serde_json::from_str(&read(&folder.join("INDEX.json"))?)?;
    let model = &index[name];
    let entry = model["entry"].as_str().with_context(|| format!("there is no model {name}"))?;
    let entry = folder.join(entry);
    let assets = model["assets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let beside = entry.parent().unwrap_or(&folder);
    let mut encoded = Map::new();
    for asset in assets.iter().filter_map(Value::as_str) {
        let path = beside.join(asset);
        let content = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
        encoded.insert(asset.to_owned(), STANDARD.encode(content).into());
    }
    Ok(("load_model", json!({ "model_xml": read(&entry)?, "assets": encoded })))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))
}

/// Where the models are: below the checkout, seen from here or from this program.
fn folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let checkout = program.ancestors().nth(3).map(Path::to_owned);
    [std::env::current_dir().ok(), checkout]
        .into_iter()
        .flatten()
        .map(|root| root.join("third_party/models"))
        .find(|folder| folder.join("INDEX.json").is_file())
}
