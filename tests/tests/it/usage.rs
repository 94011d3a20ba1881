//! What a tenant and a session use of what they may.

use serde_json::{Value, json};
use simward_tests::daemon::Setup;
use simward_tests::http::Http;
use simward_tests::programs;
use tempfile::TempDir;

use crate::auth;

/// The use of something, by its name.
fn of<'a>(rows: &'a Value, resource: &str) -> &'a Value {
    let mut rows = rows.as_array().unwrap().iter();
    let found = rows.find(|row| row["resource"].as_str().unwrap().starts_with(resource));
    found.unwrap_or_else(|| panic!("nothing of {resource}"))
}

#[test]
fn it_is_told_what_is_used_of_what_there_may_be() {
    let daemon = Setup::real(&programs!()).set("sessions.per_tenant_max", "4").serve();
    let mut http = Http::connect(daemon.address).unwrap();
    assert_eq!(http.ask("POST", "/assets", &[], &[0; 1000]).unwrap().status, 201);
    let mut client = daemon.client();
    let limited = json!({ "limits": { "cpu_ratio": 0.5, "memory_bytes": 1_000_000_000 } });
    let session = client.tool("create_session", limited).unwrap()["session_id"].clone();
    client.tool("create_scene", json!({ "session_id": session, "scene": "pendulum" })).unwrap();
    let usage = client.tool("get_resource_usage", json!({ "session_id": session })).unwrap();
    let tenant = &usage["tenant"];
    let sessions = of(tenant, "sessions");
    let row = [&sessions["used"], &sessions["max"], &sessions["ratio"]];
    assert_eq!(row, [&json!(1.0), &json!(4.0), &json!(0.25)]);
    assert_eq!(of(tenant, "processes")["used"], 1.0);
    assert_eq!(of(tenant, "uploaded files, bytes")["used"], 1000.0);
    assert!(0.0 < of(tenant, "compiled models")["used"].as_f64().unwrap());
    let own = &usage["session"];
    assert_eq!(of(own, "models")["used"], 1.0);
    assert!(0.0 < of(own, "checkpoints")["used"].as_f64().unwrap());
    let memory = of(own, "resident memory");
    assert_eq!(memory["max"], 1e9);
    let ratio = memory["ratio"].as_f64().unwrap();
    assert!(0.001 < ratio && ratio < 1.0, "{memory}");
    assert_eq!(of(own, "processor")["max"], 0.5);
    // One that sleeps has no process.
    client.tool("hibernate_session", json!({ "session_id": session })).unwrap();
    let usage = client.tool("get_resource_usage", json!({})).unwrap();
    assert_eq!(of(&usage["tenant"], "sessions awake")["used"], 0.0);
    assert_eq!(usage["session"], json!([]));
}

#[test]
fn nobody_learns_what_others_use() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (auth::add(folder.path(), "ann", &[]), auth::add(folder.path(), "bob", &[]));
    let daemon = auth::setup(folder.path()).serve();
    let client = |token: &str| daemon.client().with_token(token);
    let session = client(&ann).tool("create_session", json!({})).unwrap()["session_id"].clone();
    let usage = client(&bob).tool("get_resource_usage", json!({})).unwrap();
    for resource in ["sessions", "sessions awake", "processes", "resident memory"] {
        assert_eq!(of(&usage["tenant"], resource)["used"], 0.0, "{resource}");
    }
    let foreign = client(&bob).tool("get_resource_usage", json!({ "session_id": session }));
    assert_eq!(foreign.unwrap_err()["code"], "session_unknown");
}
