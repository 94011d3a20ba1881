//! The daemon against the official `mujoco` package: the same model under the same controls is in
//! the same state, to the last bit.
//!
//! The other half is `tests/clients/python/reference.py`. What lies between the two is all of
//! ours: the model's way through base64 and the compiling process, controls and state through
//! JSON, and steps in calls of 10. Models start in their initial state, without a keyframe.

use serde_json::{Value, json};
use simward_tests::daemon::Setup;
use simward_tests::{models, programs};

use crate::clients::Client;

#[test]
fn humanoid_moves_exactly_as_in_the_official_package() {
    compare("humanoid");
}

#[test]
fn shadow_hand_moves_exactly_as_in_the_official_package() {
    compare("shadow_hand");
}

#[test]
fn barkour_v0_moves_exactly_as_in_the_official_package() {
    compare("barkour_v0");
}

#[test]
fn ur5e_moves_exactly_as_in_the_official_package() {
    compare("ur5e");
}

/// How many steps controls stay, and one call takes. The script has the same number.
const CONTROL_EVERY: u64 = 10;

const SEED: u64 = 20_261_121;

fn compare(name: &str) {
    let reference = Client::Python.run("reference.py", &[name.to_owned(), SEED.to_string()]);
    let checkpoints = reference["checkpoints"].as_array().unwrap();
    assert_eq!(checkpoints.len(), 10);
    assert_ne!(checkpoints[0]["qpos"], checkpoints[9]["qpos"], "{name} does not move");

    let daemon = Setup::real(&programs!()).serve();
    let mut client = daemon.client();
    let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let mut model = models::arguments(name);
    model["session_id"] = session.clone();
    let loaded = client.tool("load_model", model).unwrap();
    for size in ["nq", "nv", "nu"] {
        assert_eq!(loaded[size], reference[size], "{name}: another {size}");
    }
    let all = json!({ "session_id": session, "max_items": 10_000 });
    let ranges = control_ranges(&client.tool("get_model_info", all).unwrap());
    let server = client.tool("get_server_info", json!({})).unwrap();
    let engines = [&server["engine"], &reference["engine"]].map(|engine| engine.as_str().unwrap());
    assert!(engines[0].contains(engines[1]), "other versions: {engines:?}");

    let mut random = SplitMix64(SEED);
    let mut steps = 0;
    for checkpoint in checkpoints {
        let mut state = Value::Null;
        while steps < checkpoint["step"].as_u64().unwrap() {
            let control: Vec<f64> =
                ranges.iter().map(|(low, high)| low + (high - low) * random.fraction()).collect();
            let call = json!({
                "session_id": session,
                "steps": CONTROL_EVERY,
                "control": control,
                "include": ["qpos", "qvel"],
            });
            let mut stepped = client.tool("step_simulation", call).unwrap();
            assert_eq!(stepped["steps_done"], CONTROL_EVERY);
            assert_eq!(stepped["auto_resets"], 0, "{name} became unstable");
            state = stepped["state"].take();
            steps += CONTROL_EVERY;
        }
        for part in ["qpos", "qvel"] {
            assert_same_bits(&state[part], &checkpoint[part], &format!("{name}: {part}"), steps);
        }
    }
    assert_eq!(steps, 1000);
}

/// Between what the controls are drawn: `reference.py` does the same.
fn control_ranges(model: &Value) -> Vec<(f64, f64)> {
    let range = |actuator: &Value| match &actuator["ctrl_range"] {
        Value::Null => (-1.0, 1.0),
        range => (range[0].as_f64().unwrap(), range[1].as_f64().unwrap()),
    };
    model["actuators"].as_array().unwrap().iter().map(range).collect()
}

/// Compares numbers with the hexadecimal digits of bits.
fn assert_same_bits(got: &Value, wanted: &Value, what: &str, steps: u64) {
    let (got, wanted) = (got.as_array().unwrap(), wanted.as_array().unwrap());
    assert_eq!(got.len(), wanted.len(), "{what} after {steps} steps");
    for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let got = got.as_f64().unwrap();
        let bits = u64::from_str_radix(wanted.as_str().unwrap(), 16).unwrap();
        let wanted = f64::from_bits(bits);
        assert_eq!(
            got.to_bits(),
            bits,
            "{what}[{index}] after {steps} steps is {got:e}, and {wanted:e} in the reference"
        );
    }
}

/// Steele, Lea and Flood's generator, as in `reference.py`.
struct SplitMix64(u64);

impl SplitMix64 {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1): the upper 53 bits, exactly.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn fraction(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (f64::EPSILON / 2.0)
    }
}
