//! Why a simulation is unstable: found on models that were made unstable on purpose.

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::Daemon;
use simward_tests::models;

use crate::official::{daemon, number};

fn load(model_xml: &str) -> (Daemon, HttpClient) {
    let (daemon, mut client) = daemon();
    client.tool("load_model", json!({ "model_xml": model_xml })).unwrap();
    (daemon, client)
}

/// Code and severity of each finding.
fn codes(diagnosis: &Value) -> Vec<(&str, &str)> {
    let findings = diagnosis["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| (finding["code"].as_str().unwrap(), finding["severity"].as_str().unwrap()))
        .collect()
}

/// A servo whose own oscillation takes less than two timesteps.
const STIFF: &str = "<mujoco><option timestep='0.01'/><worldbody><body><joint name='hinge'/>\
    <geom type='capsule' fromto='0 0 0 0.3 0 0' size='0.02' mass='0.1'/></body></worldbody>\
    <actuator><position name='servo' joint='hinge' kp='5000'/></actuator></mujoco>";

#[test]
fn a_servo_that_is_too_stiff_for_the_timestep_is_the_cause() {
    let (_daemon, mut client) = load(STIFF);
    client.tool("apply_control", json!({ "control": { "servo": 0.5 } })).unwrap();
    let before = client.tool("get_state", json!({})).unwrap();
    let found = client.tool("diagnose_instability", json!({})).unwrap();
    assert_eq!(client.tool("get_state", json!({})).unwrap(), before, "the model stays as it is");
    let outlook = &found["outlook"];
    assert_eq!((&outlook["is_stable"], &outlook["dof"]), (&json!(false), &json!("hinge")));
    let told = codes(&found);
    assert!(told.contains(&("servo_too_stiff", "suspicious")), "{found}");
    assert!(told.contains(&("timestep", "cause")), "{found}");
    assert!(told.contains(&("actuation", "cause")), "{found}");
    assert!(!told.contains(&("contact", "cause")), "{found}");
    assert_eq!(told[0].1, "cause", "the worst stands first");
    // It happens when it was said to.
    let after = number(&outlook["diverges_after_secs"]);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few steps")]
    let steps = (after / 0.01).round() as u64;
    let calm = client.tool("step_simulation", json!({ "steps": steps - 1 })).unwrap();
    assert_eq!(calm["auto_resets"], 0, "{after}");
    let reset = client.tool("step_simulation", json!({ "steps": 1 })).unwrap();
    assert_eq!(reset["auto_resets"], 1, "{after}");
    // And what was said to help does.
    client.tool("reset_simulation", json!({})).unwrap();
    let change = json!({ "changes": [{ "field": "timestep", "value": 0.001 }] });
    client.tool("modify_model", change).unwrap();
    client.tool("apply_control", json!({ "control": { "servo": 0.5 } })).unwrap();
    let calm = client.tool("step_simulation", json!({ "steps": 2000 })).unwrap();
    assert_eq!((&calm["auto_resets"], &calm["warnings"]), (&json!(0), &json!([])));
}

#[test]
fn boxes_in_each_other_are_seen() {
    let (_daemon, mut client) = load(
        "<mujoco><worldbody><body name='one'><freejoint/><geom name='a' type='box' size='.1 .1 .1'/>\
         </body><body name='other' pos='0.15 0 0'><freejoint/><geom name='b' type='box' \
         size='.1 .1 .1'/></body></worldbody></mujoco>",
    );
    let found = client.tool("diagnose_instability", json!({ "duration_secs": 0.1 })).unwrap();
    assert!(codes(&found).contains(&("overlap_now", "suspicious")), "{found}");
    let overlap = &found["findings"][0];
    assert!((number(&overlap["evidence"]["depth_m"]) - 0.05).abs() < 1e-9, "{overlap}");
    assert!(0.049 < number(&found["outlook"]["deepest_contact_m"]));
}

#[test]
fn a_model_that_stays_stable_has_no_cause() {
    let model = models::arguments("humanoid");
    let (_daemon, mut client) = daemon();
    client.tool("load_model", model).unwrap();
    client.tool("step_simulation", json!({ "steps": 50 })).unwrap();
    let found = client.tool("diagnose_instability", json!({ "duration_secs": 1.0 })).unwrap();
    let outlook = &found["outlook"];
    assert_eq!(outlook["is_stable"], true);
    assert!((number(&outlook["seconds"]) - 1.0).abs() < 0.01, "{outlook}");
    assert!(codes(&found).iter().all(|(_, severity)| *severity != "cause"), "{found}");
    assert_eq!(found["trials"], json!([]));
}

#[test]
fn energy_that_comes_from_nowhere_is_noticed() {
    // A pendulum with far too large a timestep gains energy without diverging.
    let (_daemon, mut client) = load(
        "<mujoco><option timestep='0.05'/><worldbody><body euler='0 90 0'><joint axis='0 1 0'/>\
         <geom type='capsule' fromto='0 0 0 0.05 0 0' size='0.005' mass='1'/></body></worldbody>\
         </mujoco>",
    );
    client.tool("set_state", json!({ "qpos": [2.0], "qvel": [30.0] })).unwrap();
    let found = client.tool("diagnose_instability", json!({ "duration_secs": 20 })).unwrap();
    let outlook = &found["outlook"];
    let (begin, most) = (number(&outlook["energy_begin_j"]), number(&outlook["energy_max_j"]));
    assert!(begin < most, "{outlook}");
    let told = codes(&found).iter().any(|(code, _)| *code == "energy_grows");
    assert_eq!(told, 0.05 < (most - begin) / (begin.abs() + most.abs()), "{found}");
}
