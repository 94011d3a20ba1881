//! Rules about the code itself, so that running the tests is the only gate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use simward_tests::models::root;

const FOLDERS: [&str; 6] =
    ["protocol", "supervisor", "worker", "renderer", "tests", "fuzz/fuzz_targets"];

fn rust_files(under: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("node_modules") {
                found.extend(rust_files(&path));
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn all_files() -> Vec<PathBuf> {
    FOLDERS.iter().flat_map(|folder| rust_files(&root().join(folder))).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = all_files()
        .into_iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "these files do not start with `//! `: {silent:#?}");
}

#[test]
fn no_file_outgrows_a_reader() {
    let long: Vec<_> = all_files()
        .into_iter()
        .filter(|path| 500 < fs::read_to_string(path).unwrap().lines().count())
        .collect();
    assert!(long.is_empty(), "split these by responsibility: {long:#?}");
}

/// The supervisor's layers, from the edge inwards. A module may import from the layers after its
/// own.
const LAYERS: [&[&str]; 12] = [
    &["cli", "doctor", "demo", "top", "daemon", "service", "config", "reload"],
    &["http", "stdio", "admin"],
    &["mcp"],
    &[
        "alerts",
        "telemetry",
        "metrics",
        "terminate",
        "models",
        "pictures",
        "profiles",
        "recordings",
        "runs",
    ],
    &["sessions"],
    &["session"],
    &["compiler", "renderer", "sources", "uploads"],
    &["worker"],
    &["pool"],
    &["store", "auth", "audit"],
    &["spans"],
    &[
        "scenes",
        "tenants",
        "limits",
        "durations",
        "code",
        "handle",
        "heap",
        "whole",
        "outbox",
        "remote",
    ],
];

#[test]
fn no_module_imports_from_an_outer_layer() {
    let source = root().join("supervisor/src");
    let mut broken = Vec::new();
    for path in rust_files(&source) {
        let module = path.strip_prefix(&source).unwrap().with_extension("");
        let module = module.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let depth = LAYERS.iter().position(|layer| layer.contains(&module.as_str()));
        let depth = depth.unwrap_or_else(|| panic!("`{module}` is in no layer"));
        let text = fs::read_to_string(&path).unwrap();
        for outer in LAYERS[..depth].iter().copied().flatten() {
            if text.contains(&format!("crate::{outer}::")) {
                broken.push(format!("{} imports crate::{outer}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn only_the_worker_links_the_simulator() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "simward-supervisor", "--edges", "normal", "--prefix", "none"])
        .arg("--offline")
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    assert!(!String::from_utf8_lossy(&tree.stdout).contains("mujoco"));
}

#[test]
fn no_left_over_is_left() {
    let words = ["TODO", "FIXME", "XXX", "#[ignore", ".unwrap()"];
    let mut found = Vec::new();
    for member in ["protocol", "supervisor", "worker", "renderer"] {
        for path in rust_files(&root().join(member).join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
            for word in words.iter().filter(|word| !is_test && code.contains(**word)) {
                found.push(format!("{} has {word}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
