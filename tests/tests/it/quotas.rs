//! A tenant takes no more of the endpoint than it may, and others do not notice.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use simward_tests::client::HttpClient;
use simward_tests::wait::wait_until;
use tempfile::TempDir;

use crate::auth::{add, setup};

fn status(client: &mut HttpClient, tool: &str, arguments: Value) -> u16 {
    client.tool_raw(tool, arguments).status
}

#[test]
fn a_tenant_calls_no_faster_than_it_may_and_others_do_not_notice() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (add(folder.path(), "ann", &[]), add(folder.path(), "bob", &[]));
    let cid = add(folder.path(), "cid", &["--tenant", "ann"]);
    let setup = setup(folder.path());
    let setup = setup.set("http.quotas.calls_per_sec", "0.01").set("http.quotas.burst", "3");
    let daemon = setup.serve();
    let client = |token: &str| daemon.client().with_token(token);
    let (mut ann, mut bob, mut cid) = (client(&ann), client(&bob), client(&cid));
    for _ in 0..2 {
        assert_eq!(status(&mut ann, "list_sessions", json!({})), 200);
    }
    assert_eq!(status(&mut cid, "list_sessions", json!({})), 200, "the tenant's third");
    let refused = ann.tool_raw("list_sessions", json!({}));
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("`http.quotas.calls_per_sec`"), "{}", refused.text());
    let secs: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((2..=100).contains(&secs), "a call comes each 100 s: {secs}");
    assert_eq!(status(&mut cid, "list_sessions", json!({})), 429, "another token of its");
    let odd = json!({ "name": "list_sessions", "arguments": {}, "uri": 7 });
    let odd = ann.request("tools/call", Some("list_sessions"), odd);
    assert_eq!(odd.status, 429, "what looks odd to a glance is counted: {}", odd.text());
    // What costs nothing is not counted, and neither are those who take nothing.
    assert!(ann.ask("tools/list", None, json!({}))["result"]["tools"].is_array());
    assert_eq!(status(&mut bob, "list_sessions", json!({})), 200);
}

#[test]
fn a_tool_may_be_called_less_often_than_others() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (add(folder.path(), "ann", &[]), add(folder.path(), "bob", &[]));
    let limit = "[{ name = \"create_session\", calls_per_sec = 0.01 }]";
    let daemon = setup(folder.path()).set("http.quotas.tools", limit).serve();
    let client = |token: &str| daemon.client().with_token(token);
    let (mut ann, mut bob) = (client(&ann), client(&bob));
    assert_eq!(status(&mut ann, "create_session", json!({})), 200);
    let refused = ann.tool_raw("create_session", json!({}));
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("`http.quotas.tools`"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(status(&mut ann, "list_sessions", json!({})), 200);
    assert_eq!(status(&mut bob, "create_session", json!({})), 200);
}

#[test]
fn a_tenant_has_no_more_calls_at_a_time_than_it_may() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (add(folder.path(), "ann", &[]), add(folder.path(), "bob", &[]));
    let daemon = setup(folder.path()).set("http.quotas.calls_at_a_time", "1").serve();
    let client = |token: &str| daemon.client().with_token(token);
    let (mut slow, mut quick, mut bob) = (client(&ann), client(&ann), client(&bob));
    // One after the other they all find room: what is taken is given back.
    let limited = json!({ "limits": { "step_rate": 100 } });
    let session = slow.tool("create_session", limited).unwrap()["session_id"].clone();
    slow.tool("create_scene", json!({ "session_id": session, "scene": "pendulum" })).unwrap();
    let steps = |steps: u32| json!({ "session_id": session, "steps": steps });
    let is_seen = AtomicBool::new(false);
    std::thread::scope(|threads| {
        // At its step rate each of them takes a second.
        let call = threads.spawn(|| {
            while !is_seen.load(Ordering::SeqCst) {
                status(&mut slow, "step_simulation", steps(100));
            }
        });
        wait_until("there is no room beside it", || {
            let answer = quick.tool_raw("list_sessions", json!({}));
            answer.status == 429
                && answer.text().contains("`http.quotas.calls_at_a_time`")
                && answer.header("retry-after") == Some("1")
        });
        is_seen.store(true, Ordering::SeqCst);
        assert_eq!(status(&mut bob, "list_sessions", json!({})), 200);
        call.join().unwrap();
    });
    assert_eq!(status(&mut quick, "list_sessions", json!({})), 200);
}

#[test]
fn a_tenant_waits_for_news_in_so_many_places_and_others_have_theirs() {
    let folder = TempDir::new().unwrap();
    let (ann, bob) = (add(folder.path(), "ann", &[]), add(folder.path(), "bob", &[]));
    let daemon = setup(folder.path()).serve();
    let client = |token: &str| daemon.client().with_token(token);
    // To nothing: each takes a connection nevertheless.
    let nothing = || json!({ "notifications": {} });
    let mut open: Vec<_> =
        (0..256).map(|_| client(&ann).open("subscriptions/listen", nothing())).collect();
    let refused = client(&ann).request("subscriptions/listen", None, nothing());
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("streams"), "{}", refused.text());
    assert_eq!(status(&mut client(&ann), "list_sessions", json!({})), 200);
    drop(client(&bob).open("subscriptions/listen", nothing()));
    // What somebody leaves is free again.
    open.pop();
    wait_until("there is a place", || client(&ann).peek("subscriptions/listen", nothing()) == 200);
}
