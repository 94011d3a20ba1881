//! The tutorial, run as it stands: `docs/tutorial.md` is the script.
//!
//! With `SIMWARD_UPDATE_DOCS=1` its pictures are made anew.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simward_tests::daemon::Setup;
use simward_tests::{models, programs};

/// How far a number may be from what the tutorial says.
const TOLERANCE: f64 = 2e-3;

/// Something that the tutorial says.
enum Line {
    Call(Value),
    Answer(Value),
    Picture(PathBuf),
}

#[test]
fn the_tutorial_does_what_it_says() {
    let folder = models::root().join("docs");
    let lines = lines(&std::fs::read_to_string(folder.join("tutorial.md")).unwrap());
    let root = models::root().join("third_party/models");
    let daemon = Setup::real(&programs!()).args(&["--models-root", root.to_str().unwrap()]).serve();
    let mut client = daemon.client();
    let mut kept = BTreeMap::new();
    let (mut last, mut content, mut calls) = (Value::Null, Vec::new(), 0);
    for line in lines {
        match line {
            Line::Call(mut call) => {
                fill(&mut call["arguments"], &kept);
                let name = call["tool"].as_str().unwrap();
                let told = client.tool_with_content(name, call["arguments"].clone());
                (last, content) = told.unwrap_or_else(|refused| panic!("{call}: {refused}"));
                for (variable, field) in call["keep"].as_object().into_iter().flatten() {
                    kept.insert(variable.clone(), last[field.as_str().unwrap()].clone());
                }
                calls += 1;
            }
            Line::Answer(wanted) => {
                let problem = difference("", &wanted, &last);
                assert_eq!(problem, None, "call {calls} answers {last:#}");
            }
            Line::Picture(path) => compare_picture(&folder.join(path), &content[0]),
        }
    }
    assert!(20 < calls, "{calls}");
    // What the words say and no answer shows.
    let touching = kept["$contacts"].as_array().unwrap().iter();
    let touching: Vec<&str> =
        touching.map(|contact| contact["bodies"][0].as_str().unwrap()).collect();
    assert!(touching.contains(&"gripper_left_pad") && touching.contains(&"gripper_right_pad"));
    assert!(!touching.contains(&"world"), "{touching:?}");
}

fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut rest = text.lines();
    while let Some(line) = rest.next() {
        let block = |rest: &mut std::str::Lines<'_>| {
            let block: String = rest.take_while(|line| *line != "```").collect();
            serde_json::from_str(&block).unwrap_or_else(|error| panic!("{error}: {block}"))
        };
        match line {
            "```json call" => lines.push(Line::Call(block(&mut rest))),
            "```json answer" => lines.push(Line::Answer(block(&mut rest))),
            _ if line.starts_with("![") => {
                let path = line.split_once("](").unwrap().1.trim_end_matches(')');
                lines.push(Line::Picture(path.into()));
            }
            _ => (),
        }
    }
    lines
}

/// Puts what was kept in the place of its name.
fn fill(value: &mut Value, kept: &BTreeMap<String, Value>) {
    match value {
        Value::String(text) if text.starts_with('$') => *value = kept[text.as_str()].clone(),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, kept)),
        Value::Object(fields) => fields.values_mut().for_each(|value| fill(value, kept)),
        _ => (),
    }
}

/// Where an answer is not what was wanted: it may have more fields, and more entries of a list.
fn difference(at: &str, wanted: &Value, got: &Value) -> Option<String> {
    let differs = || Some(format!("{at} is {got}, and {wanted} in the tutorial"));
    match (wanted, got) {
        (Value::String(text), _) if text == "…" => None,
        (Value::Number(wanted), Value::Number(got)) => {
            let (wanted, got) = (wanted.as_f64().unwrap(), got.as_f64().unwrap());
            if (wanted - got).abs() <= TOLERANCE * wanted.abs().max(1.0) { None } else { differs() }
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.is_empty() != got.is_empty() => {
            differs()
        }
        (Value::Array(wanted), Value::Array(got)) if wanted.len() <= got.len() => {
            let pairs = wanted.iter().zip(got).enumerate();
            let mut pairs = pairs.map(|(index, pair)| (format!("{at}[{index}]"), pair));
            pairs.find_map(|(at, (wanted, got))| difference(&at, wanted, got))
        }
        (Value::Object(fields), Value::Object(_)) => fields
            .iter()
            .find_map(|(name, wanted)| difference(&format!("{at}.{name}"), wanted, &got[name])),
        _ if wanted == got => None,
        _ => differs(),
    }
}

/// The picture that a call made is of the kind that the tutorial shows; what is on it depends a
/// little on the graphics library.
fn compare_picture(path: &std::path::Path, content: &Value) {
    assert_eq!(content["mimeType"], json!("image/png"), "{content}");
    let made = STANDARD.decode(content["data"].as_str().unwrap()).unwrap();
    if std::env::var_os("SIMWARD_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &made).unwrap();
    }
    let shown = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (made, shown) = (pixels(&made), pixels(&shown));
    assert_eq!(made.len(), shown.len(), "{}: another size", path.display());
    let far = made.iter().zip(&shown).filter(|(made, shown)| 48 < made.abs_diff(**shown)).count();
    assert!(far * 50 < made.len(), "{}: {far} of {} are others", path.display(), made.len());
}

fn pixels(png: &[u8]) -> Vec<u8> {
    let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels
}
