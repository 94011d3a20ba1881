//! Private connections, and proxies that make them.

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use simward_tests::daemon::{Daemon, Setup};
use simward_tests::http::Http;
use simward_tests::programs;
use simward_tests::wait::{wait_for, wait_until};
use tempfile::TempDir;

/// A certificate for `localhost` and its key, written to where the daemon reads them.
fn certify(folder: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    write(folder, &cert.pem(), &signing_key);
    cert.der().clone()
}

fn write(folder: &Path, cert: &str, key: &KeyPair) {
    let path = folder.join("key.pem");
    std::fs::write(&path, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    std::fs::write(folder.join("cert.pem"), cert).unwrap();
}

fn setup(folder: &Path) -> Setup {
    let path = |name: &str| folder.join(name).display().to_string();
    Setup::real(&programs!())
        .set("http.tls.cert_file", &path("cert.pem"))
        .set("http.tls.key_file", &path("key.pem"))
}

/// Asks over a connection that only that certificate makes private.
fn get(daemon: &Daemon, trusted: &CertificateDer<'static>, path: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(daemon.address)?);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn connections_are_private_and_others_get_nowhere() {
    let folder = TempDir::new().unwrap();
    let cert = certify(folder.path());
    let daemon = setup(folder.path()).serve();
    // One that says nothing holds up nobody.
    let silent = TcpStream::connect(daemon.address).unwrap();
    let page = get(&daemon, &cert, "/healthz").unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    let mut plain = Http::connect(daemon.address).unwrap();
    plain.ask("GET", "/healthz", &[], b"").unwrap_err();
    drop(silent);
    let page = get(&daemon, &cert, "/mcp").unwrap();
    assert!(page.starts_with("HTTP/1.1 4"), "{page}");
}

#[test]
fn a_certificate_is_renewed_while_the_daemon_runs() {
    let folder = TempDir::new().unwrap();
    let first = certify(folder.path());
    let daemon = setup(folder.path()).serve();
    get(&daemon, &first, "/healthz").unwrap();
    // One whose key is not its own changes nothing.
    let stranger = KeyPair::generate().unwrap();
    let cert = std::fs::read_to_string(folder.path().join("cert.pem")).unwrap();
    write(folder.path(), &cert, &stranger);
    daemon.signal(Signal::SIGHUP);
    get(&daemon, &first, "/healthz").unwrap();
    let second = certify(folder.path());
    daemon.signal(Signal::SIGHUP);
    wait_until("the new one is shown", || get(&daemon, &second, "/healthz").is_ok());
    get(&daemon, &first, "/healthz").unwrap_err();
}

#[test]
fn files_that_make_no_sense_are_refused_at_the_start() {
    let folder = TempDir::new().unwrap();
    certify(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let refused = |cert: &str, key: &str| {
        let output = Command::new(programs!().supervisor)
            .args(["serve", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(folder.path().join("state"))
            .args(["--set", &format!("http.tls.cert_file={cert}")])
            .args(["--set", &format!("http.tls.key_file={key}")])
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    assert!(refused(&cert, "").contains("belong together"));
    assert!(refused(&path("none.pem"), &key).contains("none.pem could not be read"));
    assert!(refused(&key, &key).contains("holds no certificate"));
    assert!(refused(&cert, &cert).contains("cert.pem"), "a certificate is no key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&cert, &key).contains("can be read by everybody"));
}

#[test]
fn a_trusted_proxy_is_believed_when_it_says_for_whom_it_calls() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("audit.jsonl");
    let setup = Setup::real(&programs!()).set("audit.path", &path.display().to_string());
    let daemon = setup.set("http.trusted_proxies", "[\"127.0.0.0/8\"]").serve();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "list_sessions", "arguments": {}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    } });
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "list_sessions"),
        ("x-forwarded-for", "10.6.6.6, 203.0.113.7"),
    ];
    let mut http = Http::connect(daemon.address).unwrap();
    let answer = http.ask("POST", "/mcp", &headers, body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let line: Value = wait_for("the call is in the audit", || {
        let text = std::fs::read_to_string(&path).ok()?;
        serde_json::from_str(text.lines().next()?).ok()
    });
    assert_eq!(line["remote"], "203.0.113.7");
}
