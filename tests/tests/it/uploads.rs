//! Files that are sent ahead of a model, because a request cannot hold them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::http::{Answer, Http};
use simward_tests::programs;
use simward_tests::wait::wait_until;

/// A triangle pyramid, as a mesh of four corners.
const MESH: &str = "v 0 0 0\nv .1 0 0\nv 0 .1 0\nv 0 0 .1\n\
                    f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n";

const MODEL: &str = "<mujoco><asset><mesh name='it' file='it.obj'/></asset><worldbody><body>\
                     <freejoint/><geom type='mesh' mesh='it'/></body></worldbody></mujoco>";

fn send(daemon: &Daemon, headers: &[(&str, &str)], content: &[u8]) -> Answer {
    let mut http = Http::connect(daemon.address).unwrap();
    http.ask("POST", "/assets", headers, content).unwrap()
}

fn upload(daemon: &Daemon, content: &[u8]) -> String {
    let answer = send(daemon, &[], content);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["bytes"], content.len());
    told["asset"].as_str().unwrap().to_owned()
}

#[test]
fn a_model_is_made_of_a_file_that_was_sent_ahead() {
    let daemon = Setup::real(&programs!()).serve();
    let asset = upload(&daemon, MESH.as_bytes());
    let mut client = daemon.client();
    let call = json!({ "model_xml": MODEL, "assets": { "it.obj": asset }, "model_id": "sent" });
    let loaded = client.tool("load_model", call).unwrap();
    assert_eq!((&loaded["nq"], &loaded["is_cached"]), (&json!(7), &json!(false)));
    // The same file within the request is the same model.
    let inline = STANDARD.encode(MESH);
    let call = json!({ "model_xml": MODEL, "assets": { "it.obj": inline }, "model_id": "inline" });
    assert_eq!(client.tool("load_model", call).unwrap()["is_cached"], true);
    let valid = json!({ "model_xml": MODEL, "assets": { "it.obj": asset } });
    assert_eq!(client.tool("validate_model_xml", valid).unwrap()["valid"], true);
}

#[test]
fn a_file_that_no_request_could_hold_can_be_sent() {
    let daemon = Setup::real(&programs!()).set("http.body_bytes_max", "200000").serve();
    // A height field of 2.8 MB in the engine's own format: rows, columns, and heights.
    let (rows, columns) = (1000_usize, 700_usize);
    let mut field: Vec<u8> = Vec::new();
    field.extend_from_slice(&1000_i32.to_le_bytes());
    field.extend_from_slice(&700_i32.to_le_bytes());
    field.resize(8 + 4 * rows * columns, 0);
    let asset = upload(&daemon, &field);
    let model = "<mujoco><asset><hfield name='h' file='t.bin' size='1 1 1 1' \
                 content_type='image/vnd.mujoco.hfield'/></asset><worldbody><geom type='hfield' \
                 hfield='h'/></worldbody></mujoco>";
    let mut client = daemon.client();
    let call = json!({ "model_xml": model, "assets": { "t.bin": asset } });
    let loaded = client.tool("load_model", call).unwrap();
    assert!(2_000_000 < loaded["compiled_bytes"].as_u64().unwrap(), "{loaded}");
}

#[test]
fn what_is_too_much_or_comes_from_elsewhere_is_not_taken() {
    let daemon = Setup::real(&programs!())
        .set("uploads.bytes_max", "1000")
        .set("uploads.per_tenant_bytes_max", "1500")
        .serve();
    let told = |answer: &Answer| -> Value { serde_json::from_slice(&answer.body).unwrap() };
    let long = send(&daemon, &[], &[0; 1001]);
    assert_eq!((long.status, &told(&long)["code"]), (413, &json!("limit_exceeded")));
    upload(&daemon, &[0; 1000]);
    let full = send(&daemon, &[], &[0; 600]);
    assert_eq!(full.status, 429, "{}", full.text());
    assert!(told(&full)["message"].to_string().contains("uploads.per_tenant_bytes_max"));
    upload(&daemon, &[0; 500]);
    let foreign = send(&daemon, &[("origin", "https://evil.example")], b"x");
    assert_eq!(foreign.status, 403);
    assert!(foreign.text().contains("http.allowed_origins"), "{}", foreign.text());
    let mut client = daemon.client();
    let call = json!({ "model_xml": MODEL, "assets": { "it.obj": "asset_0123" } });
    let unknown = client.tool("load_model", call).unwrap_err();
    assert_eq!(unknown["code"], "asset_unknown", "{unknown}");
    assert!(unknown["hint"].as_str().unwrap().contains("POST /assets"));
}

#[test]
fn one_who_sends_many_files_at_a_time_takes_nobody_elses_place() {
    let daemon = Setup::real(&programs!()).serve();
    let head = "POST /assets HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\
                expect: 100-continue\r\n\r\n";
    let begin = || {
        let mut stream = TcpStream::connect(daemon.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // It is let in, and stands still.
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    };
    let slow = [begin(), begin(), begin(), begin()];
    let refused = send(&daemon, &[], b"x");
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("one tenant"), "{}", refused.text());
    for mut stream in slow {
        stream.write_all(b"abc").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 201");
    }
    wait_until("there is again", || send(&daemon, &[], b"x").status == 201);
}
