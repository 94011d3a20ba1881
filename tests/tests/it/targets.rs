//! The fuzz targets over their corpora, over what once broke them, and over some thousand
//! mutations that are the same every time.

use std::collections::BTreeSet;
use std::fs;

use simward_tests::models::root;
use simward_tests::targets::mutate::{Random, mutate};
use simward_tests::targets::seeds::seeds;
use simward_tests::targets::{TARGETS, Target};

/// Mutations of each target.
const MUTATIONS: u64 = 3000;

fn try_out(name: &str) {
    let target = TARGETS.iter().copied().find(|target| target.name == name).unwrap();
    let inputs = target.inputs();
    for (path, bytes) in &inputs {
        run(target, bytes, &path.display().to_string());
    }
    let short: Vec<_> = inputs.iter().filter(|(_, bytes)| bytes.len() < 8 << 10).collect();
    for seed in 0..MUTATIONS {
        let mut random = Random(seed);
        let [one, other] = [(); 2].map(|()| &short[random.below(short.len())].1);
        run(target, &mutate(&mut random, one.clone(), other), &format!("mutation {seed}"));
    }
}

/// Names the input that a target does not bear.
fn run(target: Target, bytes: &[u8], what: &str) {
    let outcome = std::panic::catch_unwind(|| (target.run)(bytes));
    assert!(outcome.is_ok(), "{}: {what}: {}", target.name, bytes.escape_ascii());
}

#[test]
fn frames_to_a_worker_do_no_harm() {
    try_out("to_worker");
}

#[test]
fn frames_from_a_worker_do_no_harm() {
    try_out("from_worker");
}

#[test]
fn checkpoints_do_no_harm() {
    try_out("checkpoint");
}

#[test]
fn records_do_no_harm() {
    try_out("record");
}

#[test]
fn stored_models_do_no_harm() {
    try_out("trailer");
}

#[test]
fn configurations_do_no_harm() {
    try_out("config");
}

#[test]
fn assignments_do_no_harm() {
    try_out("assignment");
}

#[test]
fn sources_do_no_harm_and_hide_no_file() {
    try_out("scan");
}

/// `SIMWARD_UPDATE_CORPUS=1` writes them.
#[test]
fn every_seed_is_as_the_code_makes_it() {
    let update = std::env::var_os("SIMWARD_UPDATE_CORPUS").is_some();
    for target in TARGETS {
        let [folder, _] = target.folders();
        if update {
            fs::create_dir_all(&folder).unwrap();
        }
        let mut names = BTreeSet::new();
        for (name, bytes) in seeds(target.name) {
            let path = folder.join(&name);
            if update {
                fs::write(&path, &bytes).unwrap();
            }
            let there = fs::read(&path).unwrap_or_default();
            assert_eq!(there, bytes, "{} is old: set SIMWARD_UPDATE_CORPUS=1", path.display());
            names.insert(name);
        }
        let there = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let old: Vec<_> = there
            .filter_map(|name| name.into_string().ok())
            .filter(|name| name.starts_with("seed-") && !names.contains(name))
            .collect();
        assert!(old.is_empty(), "no code makes these in {}: {old:?}", folder.display());
    }
}

#[test]
fn every_target_has_a_program_and_a_test() {
    let list = |names: &mut dyn Iterator<Item = String>| names.collect::<BTreeSet<_>>();
    let targets = list(&mut TARGETS.iter().map(|target| target.name.to_owned()));
    let entries = fs::read_dir(root().join("fuzz/fuzz_targets")).unwrap();
    let stem = |path: std::path::PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    assert_eq!(list(&mut entries.map(|entry| stem(entry.unwrap().path()))), targets);
    let tests = include_str!("targets.rs");
    for target in &targets {
        assert!(tests.contains(&format!("try_out(\"{target}\")")), "{target} is not tried");
    }
}
