//! What callers meet: an address, who may call, a certificate, the audit, spans, the time.

use std::io;
use std::net::{SocketAddr, TcpListener};

use jiff::Timestamp;

use super::{Finding, bad, good, weak};
use crate::audit::Audit;
use crate::auth::{Auth, tokens};
use crate::code::chain;
use crate::config::Config;
use crate::daemon;
use crate::http::tls::Tls;
use crate::spans::Spans;

/// No clock that is right is before that: 2026-01-01.
const EARLIEST: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Looks at all of it.
pub(super) async fn look(config: &Config, findings: &mut Vec<Finding>) {
    findings.push(clock());
    findings.push(address("address", config.http.listen, "http.listen"));
    if let Some(listen) = config.metrics.listen.0 {
        findings.push(address("metrics", listen, "metrics.listen"));
    }
    match daemon::open_door(config, config.http.listen) {
        Ok(auth) => callers(config, &auth, findings).await,
        Err(error) => {
            let remedy = Some("the same would keep the daemon from starting");
            findings.push(bad("callers", format!("{error:#}"), remedy));
        }
    }
    findings.extend(certificate(config));
    findings.extend(audit(config));
    findings.extend(spans(config));
}

/// Tokens, certificates and the audit are nothing without the time.
fn clock() -> Finding {
    let now = Timestamp::now();
    if EARLIEST < now {
        return good("clock", format!("{now:.0}"));
    }
    bad("clock", format!("it says {now:.0}"), Some("set it, such as by systemd-timesyncd"))
}

fn address(what: &'static str, address: SocketAddr, key: &str) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => good(what, format!("{address} could be had")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => weak(
            what,
            format!("something listens at {address} already"),
            format!("if that is not simward itself, stop it, or choose another address ({key})"),
        ),
        Err(error) => bad(
            what,
            format!("{address}: {error}"),
            Some("choose an address of this machine, and a port that this user may have"),
        ),
    }
}

async fn callers(config: &Config, auth: &Auth, findings: &mut Vec<Finding>) {
    let what = "callers";
    if !auth.asks() {
        let address = config.http.listen;
        let found = format!("nobody is asked: whoever reaches {address} owns every session");
        findings.push(if address.ip().is_loopback() {
            good(what, found)
        } else {
            weak(what, found, "auth.mode = \"tokens\" or \"oauth\"".to_owned())
        });
    }
    if config.auth.mode.takes_tokens() {
        let path = daemon::tokens_file(config);
        let tokens = tokens::File::read(&path).map_or(0, |file| file.tokens.len());
        let found = format!("{tokens} tokens in {}", path.display());
        findings.push(match tokens {
            0 => weak(what, found, "make one: simward token add NAME".to_owned()),
            _ => good(what, found),
        });
    }
    match auth.try_keys().await {
        None => (),
        Some(Ok(keys)) => {
            let issuer = &config.auth.oauth.issuer;
            findings.push(good(what, format!("{issuer} has {keys} keys")));
        }
        Some(Err(error)) => findings.push(bad(
            what,
            chain(&error),
            Some("until then its tokens are answered with 503; see auth.oauth, and IPAddressAllow= in a unit"),
        )),
    }
}

fn certificate(config: &Config) -> Option<Finding> {
    let what = "certificate";
    match Tls::open(&config.http.tls) {
        Err(error) => {
            Some(bad(what, chain(&error), Some("see http.tls.cert_file and http.tls.key_file")))
        }
        Ok(Some(_)) => Some(good(what, "it and its key can be read, and fit".to_owned())),
        Ok(None) if config.http.listen.ip().is_loopback() => None,
        Ok(None) => {
            let remedy = "http.tls, or a proxy in front that does it".to_owned();
            Some(weak(what, "connections are not private".to_owned(), remedy))
        }
    }
}

fn audit(config: &Config) -> Option<Finding> {
    let path = &config.audit.path;
    if path.as_os_str().is_empty() {
        return None;
    }
    let was_there = path.exists();
    Some(match Audit::open(&config.audit) {
        Ok(audit) => {
            audit.close();
            if !was_there {
                // It would be the doctor's own, and not the daemon's.
                std::fs::remove_file(path).ok();
            }
            good("audit", format!("{} can be written", path.display()))
        }
        Err(error) => {
            let remedy = Some("make its folder, for the daemon's user; the daemon would not start");
            bad("audit", format!("{}: {error}", path.display()), remedy)
        }
    })
}

fn spans(config: &Config) -> Option<Finding> {
    let path = &config.telemetry.spans_path;
    let is_written = !path.as_os_str().is_empty();
    if !is_written && !config.telemetry.otlp.is_on() {
        return None;
    }
    let was_there = path.exists();
    Some(match Spans::open(&config.telemetry) {
        Ok(spans) => {
            spans.close();
            if is_written && !was_there {
                std::fs::remove_file(path).ok();
            }
            good("spans", "they can be written, or sent".to_owned())
        }
        Err(error) => {
            let remedy =
                Some("see telemetry.spans_path and telemetry.otlp; the daemon would not start");
            bad("spans", format!("{error:#}"), remedy)
        }
    })
}
