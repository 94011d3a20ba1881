//! Who holds the daemon's memory is found.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};
use simward_tests::client::HttpClient;

use super::{daemon, ended, look, number, start};

/// How much of a request the daemon is made to hold.
const HELD_BYTES: u32 = 24 << 20;

/// The daemon's memory over two seconds, in which `act` is done.
fn profile<T>(client: &mut HttpClient, act: impl FnOnce() -> T) -> (T, String, Value) {
    let ask = json!({ "target": "supervisor", "kind": "memory", "duration_secs": 2 });
    let id = start(client, ask).unwrap();
    let acted = act();
    let report = ended(client, &id, "top");
    assert_eq!((&report["session_id"], &report["state"]), (&Value::Null, &json!("done")));
    (acted, id, report["memory"].clone())
}

/// A request whose last byte does not come.
fn half_a_request(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = HELD_BYTES + 1;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![b' '; HELD_BYTES as usize]).unwrap();
    stream
}

#[test]
fn what_the_daemon_is_made_to_hold_is_found_at_whoever_asked_for_it() {
    let (daemon, mut client) = daemon();
    let address = daemon.address;
    let (stream, id, memory) = profile(&mut client, || half_a_request(address));
    assert_eq!(memory["unavailable"], json!([]), "{memory}");
    let heap = &memory["heap"];
    assert!(0.9 * f64::from(HELD_BYTES) <= number(&heap["held_bytes"]), "{memory}");
    let rows = heap["functions"].as_array().unwrap();
    let collects = |row: &&Value| row["name"].as_str().unwrap().contains("http::body");
    let collecting = rows.iter().find(collects).unwrap_or_else(|| panic!("{heap}"));
    assert!(0.5 < number(&collecting["total_ratio"]), "{heap}");
    let allocator = memory["allocator"].as_array().unwrap();
    let allocated = allocator.iter().find(|amount| amount["what"] == "allocated").unwrap();
    assert!(0.9 * f64::from(HELD_BYTES) <= number(&allocated["grown_bytes"]), "{memory}");
    for (view, begins) in [("flamegraph", "<?xml"), ("folded", "memory;"), ("speedscope", "{")] {
        let report = look(&mut client, &id, view);
        let uri = report["memory"]["heap"]["uri"].as_str().unwrap();
        let read = client.ask("resources/read", Some(uri), json!({ "uri": uri }));
        let text = read["result"]["contents"][0]["text"].as_str().unwrap();
        assert!(text.starts_with(begins) && text.contains("http::body"), "{view}: {text:.500}");
    }
    let tree = look(&mut client, &id, "tree");
    let nodes = tree["memory"]["heap"]["tree"].as_array().unwrap();
    assert_eq!((&nodes[0]["name"], &nodes[0]["depth"]), (&json!("memory"), &json!(0)));
    // What is given back is not told, nor what was there before.
    let ((), _, memory) = profile(&mut client, || drop(stream));
    assert!(number(&memory["heap"]["held_bytes"]) < f64::from(HELD_BYTES) / 4.0, "{memory}");
}

#[test]
fn what_has_no_functions_cannot_be_drawn() {
    let (_daemon, mut client) = daemon();
    let ask = json!({ "kind": "memory", "duration_secs": 1 });
    let id = start(&mut client, ask).unwrap();
    let memory = ended(&mut client, &id, "top")["memory"].clone();
    assert_eq!(memory["heap"], Value::Null);
    assert!(memory["unavailable"][0].as_str().unwrap().contains("heap"), "{memory}");
    let ask = json!({ "profile_id": id, "view": "flamegraph" });
    let refused = client.tool("get_profile_results", ask).unwrap_err();
    assert_eq!(refused["code"], "invalid_argument");
}
