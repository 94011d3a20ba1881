//! Recordings hold what the steps brought, bit by bit, whatever ends meanwhile; and what is made of
//! them says the same.

mod forms;
mod lasting;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::wait::{wait_for, wait_until};
use simward_tests::{models, programs};
use tempfile::TempDir;

use super::clients::Client;

/// A pendulum of one metre, with a sensor that has a unit, and a motor.
const PENDULUM: &str = "
<mujoco>
  <option timestep='0.001' integrator='RK4'><flag energy='enable'/></option>
  <worldbody>
    <body name='arm'>
      <joint name='hinge' axis='0 1 0' damping='0'/>
      <geom name='bob' type='sphere' size='0.001' pos='0 0 -1' mass='1'/>
      <site name='tip' pos='0 0 -1'/>
    </body>
  </worldbody>
  <actuator><motor name='motor' joint='hinge'/></actuator>
  <sensor><gyro name='turn' site='tip'/><jointpos name='angle' joint='hinge'/></sensor>
</mujoco>";

struct Here {
    client: HttpClient,
    session: Value,
}

impl Here {
    fn new(daemon: &Daemon) -> Self {
        let mut client = daemon.client();
        let session = client.tool("create_session", json!({})).unwrap()["session_id"].clone();
        Self { client, session }
    }

    fn humanoid(daemon: &Daemon) -> Self {
        let mut here = Self::new(daemon);
        here.tool("load_model", models::arguments("humanoid"));
        here
    }

    fn pendulum(daemon: &Daemon) -> Self {
        let mut here = Self::new(daemon);
        here.tool("load_model", json!({ "model_xml": PENDULUM }));
        here
    }

    fn ask(&mut self, tool: &str, mut arguments: Value) -> Result<Value, Value> {
        arguments["session_id"] = self.session.clone();
        self.client.tool(tool, arguments)
    }

    fn tool(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask(tool, arguments).unwrap_or_else(|refused| panic!("{tool}: {refused}"))
    }

    fn record(&mut self, channels: Value, every: u64) -> String {
        let call = json!({ "channels": channels, "every": every });
        self.tool("start_recording", call)["recording_id"].as_str().unwrap().to_owned()
    }

    fn step(&mut self, steps: u64) {
        let stepped = self.tool("step_simulation", json!({ "steps": steps }));
        assert_eq!(stepped["steps_done"], steps);
    }

    /// Steps under controls that follow from the round, so that a lost step would show.
    fn step_round(&mut self, round: u32) {
        let control: Vec<f64> =
            (0..21).map(|actuator| f64::from(actuator * 7 + round).sin() * 0.4).collect();
        self.tool("step_simulation", json!({ "steps": 20, "control": control }));
    }

    /// What stands beside the structured content of a tool's answer.
    fn content(&mut self, tool: &str, mut arguments: Value) -> Value {
        arguments["session_id"] = self.session.clone();
        let answer = self.client.tool_raw(tool, arguments);
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        answer["result"]["content"][1].clone()
    }

    fn export(&mut self, id: &str, format: &str) -> Vec<u8> {
        let arguments = json!({ "recording_id": id, "format": format });
        let content = self.content("export_recording", arguments);
        let resource = &content["resource"];
        let session = self.session.as_str().unwrap();
        assert_eq!(resource["uri"], format!("sim://{session}/recordings/{id}.{format}"));
        match resource["text"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => STANDARD.decode(resource["blob"].as_str().unwrap()).unwrap(),
        }
    }

    /// The rows of a recording by column, read out of JSON, some rows at a time.
    fn columns(&mut self, id: &str) -> BTreeMap<String, Vec<f64>> {
        let info = self.info(id);
        let page = (2000 / (info["columns"].as_u64().unwrap() + 2)).max(1);
        let mut columns: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        for first in (0..info["rows"].as_u64().unwrap()).step_by(usize::try_from(page).unwrap()) {
            let call =
                json!({ "recording_id": id, "format": "json", "first_row": first, "rows": page });
            let content = self.content("export_recording", call);
            let text = content["resource"]["text"].as_str().unwrap();
            let table: Value = serde_json::from_str(text).unwrap();
            for (index, column) in table["columns"].as_array().unwrap().iter().enumerate() {
                let rows = table["rows"].as_array().unwrap().iter();
                let values = rows.map(|row| row[index].as_f64().unwrap());
                let name = column["name"].as_str().unwrap().to_owned();
                columns.entry(name).or_default().extend(values);
            }
        }
        columns
    }

    fn info(&mut self, id: &str) -> Value {
        let list = self.tool("list_recordings", json!({}));
        let recordings = list["recordings"].as_array().unwrap();
        recordings.iter().find(|it| it["recording_id"] == id).unwrap().clone()
    }

    fn pid(&mut self) -> Option<Pid> {
        let info = self.tool("get_session_info", json!({}));
        Some(Pid::from_raw(i32::try_from(info["pid"].as_i64()?).unwrap()))
    }

    /// Kills the worker, and waits until the daemon knows.
    fn kill_worker(&mut self, daemon: &mut Daemon) {
        let victim = wait_for("the session has a worker", || self.pid());
        daemon.workers();
        kill(victim, Signal::SIGKILL).unwrap();
        wait_until("its end is known", || self.pid() != Some(victim));
    }
}

fn hex(values: &[f64]) -> Vec<String> {
    values.iter().map(|value| format!("{:016x}", value.to_bits())).collect()
}

fn floats(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// The columns whose names begin so, row after row, as the engine has its vectors.
fn vector(columns: &BTreeMap<String, Vec<f64>>, names: &[String]) -> Vec<f64> {
    let rows = columns["step"].len();
    (0..rows).flat_map(|row| names.iter().map(move |name| columns[name][row])).collect()
}

fn names_of(begun: &Value, part: &str) -> Vec<String> {
    let names = begun["columns"].as_array().unwrap().iter();
    let names = names.map(|column| column["name"].as_str().unwrap().to_owned());
    names.filter(|name| name.split('.').next() == Some(part)).collect()
}

#[test]
fn a_row_is_what_the_state_says_after_its_step() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::humanoid(&daemon);
    let call = json!({ "channels": ["qpos", "qvel", "xpos"] });
    let begun = here.tool("start_recording", call);
    let id = begun["recording_id"].as_str().unwrap().to_owned();
    let include = json!(["qpos", "qvel", "xpos"]);
    let mut states = vec![here.tool("get_state", json!({ "include": include }))];
    for _ in 0..12 {
        here.step(1);
        states.push(here.tool("get_state", json!({ "include": include })));
    }
    let columns = here.columns(&id);
    assert_eq!(columns["step"], (1..=12).map(f64::from).collect::<Vec<_>>());
    let of = |part: &str| vector(&columns, &names_of(&begun, part));
    let said = |part: &str, states: &[Value]| {
        states.iter().flat_map(|state| floats(&state[part])).collect::<Vec<_>>()
    };
    assert_eq!(hex(&of("qpos")), hex(&said("qpos", &states[1..])));
    assert_eq!(hex(&of("qvel")), hex(&said("qvel", &states[1..])));
    // Poses are what the step computed: those at its beginning.
    assert_eq!(hex(&of("xpos")), hex(&said("xpos", &states[..12])));
    let times = states[1..].iter().map(|state| state["time_secs"].as_f64().unwrap());
    assert_eq!(columns["time_secs"], times.collect::<Vec<_>>());
}

#[test]
fn a_row_is_what_the_official_package_has_after_its_step() {
    let name = "shadow_hand";
    let reference = Client::Python.run("recordings.py", &["reference", name, "25"]);
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::new(&daemon);
    let loaded = here.tool("load_model", models::arguments(name));
    let parts = ["qpos", "qvel", "qacc", "actuator_force", "sensordata", "xpos", "xquat"];
    let parts = &parts[..];
    let parts: Vec<_> =
        parts.iter().filter(|part| **part != "sensordata" || loaded["nsensordata"] != 0).collect();
    let control = vec![0.1; usize::try_from(loaded["nu"].as_u64().unwrap()).unwrap()];
    here.tool("apply_control", json!({ "control": control }));
    let begun = here.tool("start_recording", json!({ "channels": parts }));
    let id = begun["recording_id"].as_str().unwrap().to_owned();
    // However the steps are asked for.
    for steps in [1, 10, 3, 11] {
        here.step(steps);
    }
    let columns = here.columns(&id);
    assert_eq!(json!(hex(&columns["time_secs"])), reference["time_secs"]);
    for part in parts {
        let got = vector(&columns, &names_of(&begun, part));
        assert_eq!(json!(hex(&got)), reference[part], "{part}");
    }
}

#[test]
fn a_recorded_pendulum_swings_as_long_as_its_length_says() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    let amplitude = 0.05_f64;
    here.tool("set_state", json!({ "qpos": [amplitude] }));
    let id = here.record(json!([{ "joint": "hinge" }, "energy"]), 10);
    // In the background as well as by calls.
    here.step(5_000);
    here.tool("run_simulation", json!({ "duration_secs": 5 }));
    wait_until("it has run", || {
        here.tool("get_state", json!({}))["time_secs"].as_f64().unwrap() > 9.9995
    });
    let columns = here.columns(&id);
    let (times, angles) = (&columns["time_secs"], &columns["qpos.hinge"]);
    assert_eq!(times.len(), 1000);
    let mut crossings = Vec::new();
    for row in 1..times.len() {
        let (before, after) = (angles[row - 1], angles[row]);
        if before < 0.0 && 0.0 <= after {
            let share = before / (before - after);
            crossings.push(times[row - 1] + share * (times[row] - times[row - 1]));
        }
    }
    assert!(4 <= crossings.len(), "{crossings:?}");
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let swings = (crossings.len() - 1) as f64;
    let period = (crossings.last().unwrap() - crossings[0]) / swings;
    // Of a bob that is not quite a point, and the next term of the series in the amplitude.
    let length = 1.0 + 0.4 * 0.001 * 0.001;
    let wanted =
        std::f64::consts::TAU * (length / 9.81_f64).sqrt() * (1.0 + amplitude.powi(2) / 16.0);
    assert!((period - wanted).abs() < 1e-5, "{period} and {wanted}");
    // Nothing takes energy away.
    let energy: Vec<f64> = columns["energy.potential"]
        .iter()
        .zip(&columns["energy.kinetic"])
        .map(|(potential, kinetic)| potential + kinetic)
        .collect();
    assert!(energy.iter().all(|energy| (energy - energy_of(&energy_first(&columns))).abs() < 1e-9));
}

fn energy_first(columns: &BTreeMap<String, Vec<f64>>) -> [f64; 2] {
    ["energy.potential", "energy.kinetic"].map(|name| columns[name][0])
}

fn energy_of(parts: &[f64; 2]) -> f64 {
    parts.iter().sum()
}

#[test]
fn every_nth_step_is_recorded_and_no_other() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    here.tool("set_state", json!({ "qpos": [1.0] }));
    here.step(5);
    let (all, some) = (here.record(json!(["qpos"]), 1), here.record(json!(["qpos"]), 7));
    here.step(40);
    here.step(60);
    let (all, some) = (here.columns(&all), here.columns(&some));
    assert_eq!((all["step"].len(), some["step"].len()), (100, 14));
    for (row, step) in some["step"].iter().enumerate() {
        let same = 7 * (row + 1) - 1;
        assert_eq!(all["step"][same].to_bits(), step.to_bits());
        for name in ["time_secs", "qpos.hinge"] {
            assert_eq!(all[name][same].to_bits(), some[name][row].to_bits(), "{name}");
        }
    }
    assert_eq!(some["step"][0], 12.0);
}

#[test]
fn a_few_rows_come_back_with_the_steps() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    here.tool("set_state", json!({ "qpos": [0.5] }));
    let id = here.record(json!(["qpos", { "sensor": "angle" }]), 5);
    let record = json!({ "channels": ["qpos", { "sensor": "angle" }], "every": 5 });
    let stepped = here.tool("step_simulation", json!({ "steps": 52, "record": record }));
    let table = &stepped["table"];
    assert_eq!(table["columns"], json!(["time_secs", "qpos.hinge", "sensordata.angle"]));
    let columns = here.columns(&id);
    for (index, name) in ["time_secs", "qpos.hinge", "sensordata.angle"].iter().enumerate() {
        let rows = table["rows"].as_array().unwrap().iter();
        let values: Vec<f64> = rows.map(|row| row[index].as_f64().unwrap()).collect();
        assert_eq!(hex(&values), hex(&columns[*name]), "{name}");
        assert_eq!(values.len(), 10);
    }
    // The sensor speaks of the beginning of its step.
    let angle = |row: usize| columns["sensordata.angle"][row];
    assert_ne!(angle(3).to_bits(), columns["qpos.hinge"][3].to_bits());
    assert!((angle(3) - columns["qpos.hinge"][3]).abs() < 0.01);
    let plain = here.tool("step_simulation", json!({}));
    assert_eq!(plain["table"], Value::Null);
}

#[test]
fn a_picture_shows_lines_with_their_units() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    here.tool("set_state", json!({ "qpos": [1.0] }));
    let id = here.record(json!([{ "joint": "hinge" }, "energy", { "sensor": "turn" }]), 1);
    here.step(5_000);
    let call = |format: &str| json!({ "recording_id": id, "format": format, "width": 900 });
    let plotted = here.tool("plot_recording", call("png"));
    assert_eq!(plotted["rows"], 5_000);
    let lines = plotted["lines"].as_array().unwrap();
    let swing = lines.iter().find(|line| line["name"] == "qpos.hinge").unwrap();
    let (min, max) = (swing["min"].as_f64().unwrap(), swing["max"].as_f64().unwrap());
    // What stands out is there, however narrow the picture.
    let columns_max = 1.0;
    assert!((max - columns_max).abs() < 1e-4 && (min + columns_max).abs() < 1e-4, "{swing}");
    let content = here.content("plot_recording", call("png"));
    assert_eq!((&content["type"], &content["mimeType"]), (&json!("image"), &json!("image/png")));
    let png = STANDARD.decode(content["data"].as_str().unwrap()).unwrap();
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    // Width and height, as the header has them.
    assert_eq!(png[16..24], [0, 0, 3, 132, 0, 0, 1, 244]);
    assert!(png.len() < 200_000, "{}", png.len());
    let content = here.content("plot_recording", call("svg"));
    let svg = content["resource"]["text"].as_str().unwrap();
    for text in ["qpos.hinge", "rad/s", "energy [J]", "time [s]"] {
        assert!(svg.contains(text), "no `{text}`");
    }
    assert!(svg.matches("<polyline").count() >= 7);
}

#[test]
fn what_cannot_be_recorded_is_refused_and_leaves_nothing() {
    let daemon = Setup::real(&programs!())
        .set("sessions.recordings.max", "2")
        .set("sessions.recordings.bytes_max", "250000")
        .serve();
    let mut here = Here::humanoid(&daemon);
    let mut refused = |call: Value| here.ask("start_recording", call).unwrap_err();
    let unknown = refused(json!({ "channels": [{ "joint": "knee_lft" }] }));
    assert_eq!(unknown["code"], "name_unknown");
    assert!(unknown["message"].as_str().unwrap().contains("did you mean `knee_left`"), "{unknown}");
    let wrong = refused(json!({ "channels": ["qpoz"] }));
    assert_eq!(wrong["code"], "invalid_argument");
    assert!(wrong["message"].as_str().unwrap().contains("qpos"), "{wrong}");
    let energy = refused(json!({ "channels": ["energy"] }));
    assert_eq!(energy["code"], "channel_unavailable");
    for call in [
        json!({ "channels": [] }),
        json!({ "channels": ["qpos"], "every": 0 }),
        json!({ "channels": ["qpos"], "every": 1_000_001 }),
    ] {
        assert_eq!(refused(call)["code"], "out_of_range");
    }
    let large = refused(json!({ "channels": ["qpos"], "rows_max": 1_000_000 }));
    assert_eq!(large["code"], "limit_exceeded");
    assert!(
        large["message"].as_str().unwrap().contains("sessions.recordings.bytes_max"),
        "{large}"
    );
    let overflow = refused(json!({ "channels": ["qpos"], "rows_max": u64::MAX }));
    assert_eq!(overflow["code"], "limit_exceeded");
    let nul = refused(json!({ "channels": [{ "body": "to\u{0}rso" }] }));
    assert_eq!(nul["code"], "name_unknown");
    // What is named twice is recorded once.
    let id = here.record(json!(["qpos", { "joint": "knee_left" }, "qpos"]), 1);
    assert_eq!(here.info(&id)["columns"], 29);
    here.record(json!(["qpos"]), 1);
    let many = here.ask("start_recording", json!({ "channels": ["qpos"] })).unwrap_err();
    assert!(many["message"].as_str().unwrap().contains("sessions.recordings.max"), "{many}");
    for id in ["rec_77", "../../record", "", "rec_0/../x"] {
        let call = json!({ "recording_id": id, "format": "csv" });
        assert_eq!(here.ask("export_recording", call).unwrap_err()["code"], "recording_unknown");
    }
    let call = json!({ "recording_id": id });
    let empty = here.ask("plot_recording", call).unwrap_err();
    assert!(empty["message"].as_str().unwrap().contains("no rows yet"), "{empty}");
    here.step(3);
    let call = json!({ "recording_id": id, "columns": ["qpos.knee_lefd"] });
    let column = here.ask("plot_recording", call).unwrap_err();
    assert!(column["message"].as_str().unwrap().contains("`qpos.knee_left`"), "{column}");
    let record = json!({ "channels": ["xpos"] });
    let table =
        here.ask("step_simulation", json!({ "steps": 10_000, "record": record })).unwrap_err();
    assert_eq!(table["code"], "limit_exceeded");
    // And no step was taken for it.
    assert_eq!(here.info(&id)["rows"], 3);
    let elsewhere = json!({ "session_id": "sim_of_another_tenant", "recording_id": id });
    let elsewhere = here.client.tool("stop_recording", elsewhere).unwrap_err();
    assert_eq!(elsewhere["code"], "session_unknown");
}
