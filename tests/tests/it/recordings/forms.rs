//! A recording in other forms: all say the same, and what is long is read where its link says.

use std::collections::BTreeMap;
use std::fs::File;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;
use serde_json::json;
use simward_tests::daemon::Setup;
use simward_tests::programs;
use tempfile::TempDir;

use super::{Here, hex, vector};
use crate::clients::Client;

#[test]
fn every_form_says_the_same() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    here.tool("set_state", json!({ "qpos": [0.3] }));
    let channels = json!(["qpos", { "sensor": "turn" }, { "body": "arm" }, "energy"]);
    let id = here.record(channels, 3);
    here.step(90);
    here.tool("stop_recording", json!({ "recording_id": id }));
    let columns = here.columns(&id);
    assert_eq!(columns["step"].len(), 30);
    let wanted: BTreeMap<_, _> =
        columns.iter().map(|(name, values)| (name.clone(), hex(values))).collect();
    assert!(wanted.contains_key("sensordata.turn[1]") && wanted.contains_key("xquat.arm[3]"));

    let folder = TempDir::new().unwrap();
    let path = |format: &str| folder.path().join(format!("it.{format}"));
    for format in ["csv", "npz", "parquet"] {
        std::fs::write(path(format), here.export(&id, format)).unwrap();
    }
    let read = |format: &str| {
        Client::Python.run("recordings.py", &[format.into(), path(format).into_os_string()])
    };
    assert_eq!(read("csv"), json!(wanted));
    let arrays = read("npz");
    assert_eq!(arrays["qpos"], json!(wanted["qpos.hinge"]));
    let names = ["sensordata.turn[0]", "sensordata.turn[1]", "sensordata.turn[2]"];
    let turn = vector(&columns, &names.map(str::to_owned));
    assert_eq!(arrays["sensordata.turn"], json!(hex(&turn)));
    assert_eq!(arrays["time_secs"], json!(wanted["time_secs"]));
    let count = arrays.as_object().unwrap().len();
    // Step, time, qpos, the gyro, position and orientation of the body, energy.
    assert_eq!(count, 7);
    assert_eq!(rows_of_parquet(&path("parquet")), wanted);
}

#[test]
fn a_long_export_is_read_where_its_link_says() {
    let daemon = Setup::real(&programs!()).serve();
    let mut here = Here::pendulum(&daemon);
    here.tool("set_state", json!({ "qpos": [0.3] }));
    let call = json!({ "channels": ["qpos", "qvel", { "body": "arm" }] });
    let id = here.tool("start_recording", call)["recording_id"].as_str().unwrap().to_owned();
    here.step(3000);
    let session = here.session.as_str().unwrap().to_owned();
    for (format, rows) in [("csv", None), ("npz", None), ("csv", Some((10, 2500)))] {
        let mut call = json!({ "recording_id": id, "format": format });
        if let Some((first, count)) = rows {
            (call["first_row"], call["rows"]) = (json!(first), json!(count));
        }
        let link = here.content("export_recording", call);
        assert_eq!(link["type"], "resource_link", "{link}");
        let uri = link["uri"].as_str().unwrap().to_owned();
        let answer = here.client.ask("resources/read", Some(&uri), json!({ "uri": uri }));
        let contents = &answer["result"]["contents"][0];
        assert_eq!((&contents["uri"], &contents["mimeType"]), (&json!(uri), &link["mimeType"]));
        let Some(text) = contents["text"].as_str() else {
            let bytes = STANDARD.decode(contents["blob"].as_str().unwrap()).unwrap();
            assert!(64 << 10 < bytes.len() && bytes.starts_with(b"PK"), "a zip file");
            continue;
        };
        let (first, count) = rows.unwrap_or((0, 3000));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), count + 1);
        assert!(lines[1].starts_with(&format!("{},", first + 1)), "{}", lines[1]);
    }
    for wrong in ["rec_0.csv", &format!("{id}.exe"), &format!("{id}.csv?rows=x")] {
        let uri = format!("sim://{session}/recordings/{wrong}");
        let answer = here.client.ask("resources/read", Some(&uri), json!({ "uri": uri }));
        assert!(answer["error"]["code"].is_i64(), "{answer}");
    }
}

fn rows_of_parquet(path: &std::path::Path) -> BTreeMap<String, Vec<String>> {
    let file = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in file.get_row_iter(None).unwrap() {
        for (name, field) in row.unwrap().get_column_iter() {
            #[expect(clippy::cast_precision_loss, reason = "a few steps")]
            let value = match field {
                Field::Long(step) => *step as f64,
                Field::Double(value) => *value,
                other => panic!("{other}"),
            };
            columns.entry(name.clone()).or_default().push(format!("{:016x}", value.to_bits()));
        }
    }
    columns
}
