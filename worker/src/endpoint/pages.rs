//! What a port answers, and to whom.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use simward_protocol::real::{Real, Reals};
use subtle::ConstantTimeEq as _;

use super::http::{Answer, Request};
use super::{Glance, Page};

/// Answers one request.
pub(super) fn answer(request: &Request, address: SocketAddr, page: &Page) -> Answer {
    if !is_for_us(request, address) {
        return Answer::of("403 Forbidden");
    }
    if request.method != "GET" {
        return Answer::of("405 Method Not Allowed");
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let is_open = path == "/healthz" && address.ip().is_loopback();
    if !is_open && !has_token(request, query, &page.token) {
        return Answer::of("401 Unauthorized");
    }
    match path {
        "/healthz" => health(page),
        "/state" => state(page),
        "/metrics" => metrics(page),
        _ => Answer::of("404 Not Found"),
    }
}

/// A page of another site must not reach this port through a browser of this machine: neither by
/// a name that was made to point here, nor by a request of its own.
fn is_for_us(request: &Request, address: SocketAddr) -> bool {
    let ours = [address.to_string(), format!("localhost:{}", address.port())];
    let host_is_ours = request.host.as_ref().is_some_and(|host| ours.contains(host));
    let origin_is_ours = request
        .origin
        .as_ref()
        .is_none_or(|origin| ours.iter().any(|ours| origin.strip_prefix("http://") == Some(ours)));
    host_is_ours && origin_is_ours
}

/// `Authorization: Bearer TOKEN`, or `?token=TOKEN` for what cannot send headers.
fn has_token(request: &Request, query: &str, token: &str) -> bool {
    let bearer = request.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
    let given = bearer.or_else(|| query.split('&').find_map(|pair| pair.strip_prefix("token=")));
    given.is_some_and(|given| given.as_bytes().ct_eq(token.as_bytes()).into())
}

fn health(page: &Page) -> Answer {
    let vitals = page.shared.pulse.vitals();
    let uptime_secs = page.shared.started.get().map(|started| started.elapsed().as_secs_f64());
    as_json(&json!({
        "session_id": page.session_id,
        "pid": std::process::id(),
        "uptime_secs": uptime_secs,
        "progress": vitals.progress,
        "steps_total": vitals.steps_total,
        "busy": vitals.busy,
        "running": vitals.running,
    }))
}

fn state(page: &Page) -> Answer {
    let Some(models) = glances(page) else { return Answer::of("503 Service Unavailable") };
    let models: Vec<Value> = models
        .into_iter()
        .map(|Glance { model_id, time_secs, qpos }| {
            json!({ "model_id": model_id, "time_secs": Real(time_secs), "qpos": Reals(qpos) })
        })
        .collect();
    as_json(&json!({ "session_id": page.session_id, "models": models }))
}

fn metrics(page: &Page) -> Answer {
    let vitals = page.shared.pulse.vitals();
    let session = format!("session_id=\"{}\"", page.session_id);
    let one = |value: f64| vec![(session.clone(), value)];
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating point")]
    let (steps, busy_secs) = (vitals.steps_total as f64, vitals.busy_nanos as f64 / 1e9);
    let running = if vitals.running { 1.0 } else { 0.0 };
    let mut body = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
        // Writing to a string does not fail.
        write!(body, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
        for (labels, value) in samples {
            writeln!(body, "{name}{{{labels}}} {value}").ok();
        }
    };
    metric("simward_steps_total", "counter", "Simulation steps taken.", &one(steps));
    let help = "Time that the simulation thread was busy.";
    metric("simward_busy_seconds_total", "counter", help, &one(busy_secs));
    let help = "Whether a background simulation is under way.";
    metric("simward_background_running", "gauge", help, &one(running));
    if let Some(models) = glances(page) {
        let sample = |glance: &Glance| {
            let model = escaped(&glance.model_id);
            (format!("{session},model_id=\"{model}\""), glance.time_secs)
        };
        let samples: Vec<_> = models.iter().map(sample).collect();
        metric("simward_simulated_seconds", "gauge", "Simulated time.", &samples);
    }
    Answer { status: "200 OK", kind: "text/plain; version=0.0.4; charset=utf-8", body }
}

fn glances(page: &Page) -> Option<Vec<Glance>> {
    let snapshot = page.shared.board.ask(&page.shared.pulse, &page.jobs)?;
    Some(snapshot.get(&page.slot).cloned().unwrap_or_default())
}

/// A label's value, as the exposition format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn as_json(value: &Value) -> Answer {
    Answer { status: "200 OK", kind: "application/json", body: format!("{value}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(host: &str) -> Request {
        Request { method: "GET".into(), host: Some(host.into()), ..Request::default() }
    }

    #[test]
    fn a_name_that_only_points_here_is_refused() {
        let address = "127.0.0.1:8001".parse().unwrap();
        assert!(is_for_us(&asking("127.0.0.1:8001"), address));
        assert!(is_for_us(&asking("localhost:8001"), address));
        assert!(!is_for_us(&asking("evil.example:8001"), address));
        assert!(!is_for_us(&Request::default(), address));
        let origin = Some("http://evil.example".to_owned());
        assert!(!is_for_us(&Request { origin, ..asking("127.0.0.1:8001") }, address));
    }

    #[test]
    fn the_token_comes_by_header_or_query() {
        let bearer = Request { authorization: Some("Bearer abc".into()), ..Request::default() };
        assert!(has_token(&bearer, "", "abc"));
        assert!(!has_token(&bearer, "", "abd"));
        assert!(has_token(&Request::default(), "x=1&token=abc", "abc"));
        assert!(!has_token(&Request::default(), "", ""));
    }
}
