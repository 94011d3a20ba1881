//! Every scene at every bound, and what is refused.

use super::*;

/// Parameters that work through derived values only.
const THROUGH: [&str; 3] = ["reach_scale", "leg_length_m", "object_size_m"];

/// The names between braces in `text`.
fn placeholders(text: &str) -> Vec<&str> {
    text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect()
}

fn one(name: &str, value: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([(name.to_owned(), value)])
}

#[test]
fn every_placeholder_is_known_and_every_value_is_used() {
    for scene in SCENES {
        let mut values = defaults(scene);
        (scene.derive)(&mut values);
        let used = placeholders(scene.template);
        for name in &used {
            assert!(values.contains_key(name), "{}: {name} has no value", scene.name);
        }
        for name in values.keys() {
            assert!(
                THROUGH.contains(name) || used.contains(name),
                "{}: {name} is unused",
                scene.name
            );
        }
        let text = build(scene.name, &BTreeMap::new()).unwrap();
        assert!(!text.contains(['{', '}']), "{}: something is unfilled", scene.name);
    }
}

#[test]
fn names_are_unique_and_templates_bear_them() {
    for (index, scene) in SCENES.iter().enumerate() {
        assert!(SCENES[..index].iter().all(|other| other.name != scene.name));
        assert!(scene.template.contains(&format!("<mujoco model=\"{}\">", scene.name)));
        assert!(scene.template.contains("<key name=\"home\""));
        assert!(!scene.template.contains("file="), "{} refers to a file", scene.name);
        assert!((3..=6).contains(&scene.parameters.len()));
        for (index, parameter) in scene.parameters.iter().enumerate() {
            let before = &scene.parameters[..index];
            assert!(before.iter().all(|other| other.name != parameter.name));
        }
    }
}

#[test]
fn defaults_lie_in_range() {
    for parameter in SCENES.iter().flat_map(|scene| scene.parameters) {
        let Parameter { name, default, min, max, .. } = *parameter;
        assert!(min < max && (min..=max).contains(&default), "{name}");
        // Templates write the minus of a mirrored range themselves.
        assert!(min.is_finite() && min >= 0.0 && max.is_finite(), "{name}");
    }
}

#[test]
fn every_scene_builds_at_every_bound() {
    for scene in SCENES {
        for parameter in scene.parameters {
            for value in [parameter.min, parameter.max] {
                let text = build(scene.name, &one(parameter.name, value)).unwrap();
                assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
            }
        }
        for bound in [|p: &Parameter| p.min, |p: &Parameter| p.max] {
            let given = scene.parameters.iter().map(|p| (p.name.to_owned(), bound(p)));
            let text = build(scene.name, &given.collect()).unwrap();
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }
}

#[test]
fn a_given_value_takes_the_place_of_the_default() {
    let text = build("pendulum", &one("length_m", 2.5)).unwrap();
    assert!(text.contains("fromto=\"0 0 0 0 0 -2.5\""));
    assert!(text.contains("gravity=\"0 0 -9.81\""));
}

#[test]
fn a_minus_zero_makes_no_double_minus() {
    let text = build("cart_pole", &one("gravity", -0.0)).unwrap();
    assert!(text.contains("gravity=\"0 0 -0\""));
}

#[test]
fn an_unknown_scene_is_refused() {
    let error = build("unicycle", &BTreeMap::new()).unwrap_err();
    assert_eq!(error.code(), "scene_unknown");
    let message = error.to_string();
    assert!(SCENES.iter().all(|scene| message.contains(scene.name)), "{message}");
    assert!(message.contains("\"unicycle\""), "{message}");
}

#[test]
fn an_unknown_parameter_is_refused() {
    for scene in SCENES {
        let error = build(scene.name, &one("colour", 1.0)).unwrap_err();
        assert_eq!(error.code(), "parameter_unknown");
        let message = error.to_string();
        assert!(scene.parameters.iter().all(|p| message.contains(p.name)), "{message}");
        assert!(message.contains("\"colour\""), "{message}");
    }
}

#[test]
fn a_value_out_of_range_is_refused() {
    for scene in SCENES {
        for &Parameter { name, min, max, .. } in scene.parameters {
            let outside = [min - 1e-6, max + 1e-6, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            for value in outside {
                let error = build(scene.name, &one(name, value)).unwrap_err();
                assert_eq!(error.code(), "parameter_out_of_range", "{name} {value}");
                assert!(error.to_string().starts_with(name), "{error}");
            }
        }
    }
}
