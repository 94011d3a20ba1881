//! What a path may be, and what the catalogue knows.

use super::menagerie::CATALOGUE;
use super::*;
use crate::code::Code as _;

#[test]
fn every_row_of_the_catalogue_is_read() {
    assert_eq!(CATALOGUE.len(), 69);
    let names: Vec<_> = CATALOGUE.iter().map(|model| model.name).collect();
    assert!(names.is_sorted());
    for model in CATALOGUE.iter() {
        assert!(model.model.is_some() || model.scene.is_some(), "{}", model.name);
        assert!(model.download_bytes < model.installed_bytes, "{}", model.name);
        let licences = ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "MIT"];
        assert!(licences.contains(&model.licence), "{}: {}", model.name, model.licence);
    }
}

#[test]
fn paths_go_down_only() {
    assert_eq!(below("a/./b//c.xml").unwrap(), "a/b/c.xml");
    for path in ["../a.xml", "a/../b.xml", "a/..", "a\0b"] {
        assert_eq!(below(path).unwrap_err().code(), "model_path_refused", "{path:?}");
    }
}

#[test]
fn a_long_path_is_repeated_in_part_and_without_control_characters() {
    let path = format!("\u{1b}[31m{}", "x".repeat(10_000));
    let message = Error::Missing { path }.to_string();
    assert!(message.len() < 300 && !message.contains('\u{1b}'), "{message}");
}
