//! Tokens of an authorization server: a client finds its way to one, and it is whose it says.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use simward_tests::authority::Authority;
use simward_tests::client::HttpClient;
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::http::{Answer, Http};
use simward_tests::programs;
use simward_tests::wait::wait_until;
use tempfile::TempDir;

use crate::auth;

const RESOURCE: &str = "https://sim.example/mcp";

fn setup(authority: &Authority, mode: &str, resource: &str) -> Setup {
    Setup::real(&programs!())
        .set("auth.mode", mode)
        .set("auth.oauth.issuer", &authority.issuer())
        .set("auth.oauth.resource", resource)
}

fn client(daemon: &Daemon, token: &str) -> HttpClient {
    daemon.client().with_token(token)
}

fn status(daemon: &Daemon, token: &str) -> u16 {
    client(daemon, token).tool_raw("list_sessions", json!({})).status
}

fn get(daemon: &Daemon, path: &str) -> Answer {
    Http::connect(daemon.address).unwrap().ask("GET", path, &[], b"").unwrap()
}

#[test]
fn who_has_no_token_is_told_where_they_are_given() {
    let authority = Authority::start();
    let daemon = setup(&authority, "oauth", RESOURCE).serve();
    let answer = daemon.client().tool_raw("list_sessions", json!({}));
    assert_eq!(answer.status, 401);
    let at = "https://sim.example/.well-known/oauth-protected-resource/mcp";
    let challenge = answer.header("www-authenticate").unwrap();
    let told = format!("Bearer realm=\"simward\", scope=\"sim:use\", resource_metadata=\"{at}\"");
    assert_eq!(challenge, told);
    let answer = client(&daemon, "nonsense").tool_raw("list_sessions", json!({}));
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\", resource_metadata="), "{challenge}");
    for path in
        ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
    {
        let page = get(&daemon, path);
        let told: Value = serde_json::from_slice(&page.body).unwrap();
        assert_eq!(told["resource"], RESOURCE);
        assert_eq!(told["authorization_servers"], json!([authority.issuer()]));
        assert_eq!(page.header("access-control-allow-origin"), Some("*"));
    }
    // Where tokens are not given by a server, there is nothing to tell.
    let plain = Setup::real(&programs!()).serve();
    assert_eq!(get(&plain, "/.well-known/oauth-protected-resource").status, 404);
}

#[test]
fn what_comes_of_a_token_is_its_subjects_also_after_a_restart() {
    let authority = Authority::start();
    let state = TempDir::new().unwrap();
    let tokens = TempDir::new().unwrap();
    let listed = auth::add(tokens.path(), "ann", &[]);
    let file = tokens.path().join("tokens.toml").display().to_string();
    let start = || {
        setup(&authority, "tokens_or_oauth", RESOURCE)
            .set("auth.tokens_file", &file)
            .serve_at(state.path())
    };
    let daemon = start();
    let ann = authority.token(RESOURCE, "ann", "sim:use");
    let bob = authority.token(RESOURCE, "bob", "sim:use");
    let mut of_ann = client(&daemon, &ann);
    let session = of_ann.tool("create_session", json!({})).unwrap()["session_id"].clone();
    let about = json!({ "session_id": session });
    // Nor is it that of somebody in the file who has the same name.
    let strangers = |daemon: &Daemon| {
        for other in [&bob, &listed] {
            let refused = client(daemon, other).tool("get_session_info", about.clone());
            assert_eq!(refused.unwrap_err()["code"], "session_unknown");
        }
    };
    strangers(&daemon);
    drop(daemon);
    let daemon = start();
    strangers(&daemon);
    // Another token of the same subject.
    let later = authority.token(RESOURCE, "ann", "sim:use pool:admin");
    let info = client(&daemon, &later).tool("get_session_info", about).unwrap();
    assert_eq!(info["session_id"], session);
}

#[test]
fn a_token_does_what_its_scopes_allow() {
    let authority = Authority::start();
    let daemon = setup(&authority, "oauth", RESOURCE).serve();
    let user = authority.token(RESOURCE, "ann", "openid sim:use");
    let answer = client(&daemon, &user).tool_raw("get_process_pool_stats", json!({}));
    assert_eq!(answer.status, 403);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("scope=\"pool:admin\", resource_metadata="), "{challenge}");
    let admin = authority.token(RESOURCE, "root", "pool:admin");
    client(&daemon, &admin).tool("get_process_pool_stats", json!({})).unwrap();
    let elsewhere = authority.token("https://other.example/mcp", "ann", "sim:use");
    assert_eq!(status(&daemon, &elsewhere), 401);
}

#[test]
fn keys_come_and_go() {
    let authority = Authority::start();
    authority.set_down(true);
    let daemon = setup(&authority, "oauth", RESOURCE).serve();
    let token = authority.token(RESOURCE, "ann", "sim:use");
    let answer = client(&daemon, &token).tool_raw("list_sessions", json!({}));
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    authority.set_down(false);
    daemon.signal(Signal::SIGHUP);
    wait_until("the keys are there", || status(&daemon, &token) == 200);
    authority.change_key("second");
    let newer = authority.token(RESOURCE, "ann", "sim:use");
    daemon.signal(Signal::SIGHUP);
    wait_until("the new key is there", || status(&daemon, &newer) == 200);
    assert_eq!(status(&daemon, &token), 401);
    // One that takes another's name takes its place.
    authority.change_key("second");
    daemon.signal(Signal::SIGHUP);
    wait_until("what the one before has signed is no good", || status(&daemon, &newer) == 401);
    let newer = authority.token(RESOURCE, "ann", "sim:use");
    assert_eq!(status(&daemon, &newer), 200);
    // Keys hold while their server is down.
    authority.set_down(true);
    daemon.signal(Signal::SIGHUP);
    assert_eq!(status(&daemon, &newer), 200);
}

#[test]
fn the_python_client_finds_its_own_way_to_a_token() {
    let authority = Authority::start();
    // The client wants the resource to be where it calls, so its port is known beforehand. Nobody
    // else has ports of this address.
    let port = TcpListener::bind("127.0.0.7:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.7:{port}/mcp");
    let _daemon = setup(&authority, "oauth", &url)
        .set("http.allowed_hosts", "[\"127.0.0.7\"]")
        .listen(&format!("127.0.0.7:{port}"))
        .serve();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new("python3")
        .arg(format!("{root}/tests/clients/python/authorized.py"))
        .arg(&url)
        .env("PYTHONPATH", format!("{root}/third_party/python"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["redirects"], 1);
    assert_eq!(told["sessions"], json!([]));
}
