//! What a port answers, and to whom.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Value, json};
use simward_protocol::real::{Real, Reals};
use subtle::ConstantTimeEq as _;

use super::http::{Answer, Request};
use super::viewer::Visit;
use super::{Glance, Page, site, viewer};

/// What a request leads to.
pub(super) enum Outcome {
    /// An answer.
    Answer(Answer),
    /// A viewer, who stays.
    Viewer(Visit),
}

/// Answers one request.
pub(super) fn answer(request: &Request, address: SocketAddr, page: &Page) -> Outcome {
    match judge(request, address, page) {
        Ok(outcome) => outcome,
        Err(status) => Outcome::Answer(Answer::of(status)),
    }
}

fn judge(request: &Request, address: SocketAddr, page: &Page) -> Result<Outcome, &'static str> {
    if !is_for_us(request, address) {
        return Err("403 Forbidden");
    }
    if request.method != "GET" {
        return Err("405 Method Not Allowed");
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    // The same for every session, and without a secret.
    if let Some(file) = site::file(path) {
        return Ok(Outcome::Answer(file));
    }
    let is_open = path == "/healthz" && address.ip().is_loopback();
    let token = token(request, query);
    let is_viewer = path == "/viewer" || path == viewer::PATH;
    let is_let_in = is_open
        || token.is_some_and(|token| {
            if is_viewer {
                page.shared.stage.right(page.slot, token).is_some()
            } else {
                token.as_bytes().ct_eq(page.token.as_bytes()).into()
            }
        });
    if !is_let_in {
        return Err("401 Unauthorized");
    }
    let answer = match path {
        "/healthz" => health(page),
        "/state" => state(page),
        "/metrics" => metrics(page),
        "/viewer" => site::page(),
        viewer::PATH => {
            let token = token.unwrap_or_default();
            return viewer::greet(request, query, token).map(Outcome::Viewer);
        }
        _ => return Err("404 Not Found"),
    };
    Ok(Outcome::Answer(answer))
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
fn token<'a>(request: &'a Request, query: &'a str) -> Option<&'a str> {
    let bearer = request.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
    bearer.or_else(|| query.split('&').find_map(|pair| pair.strip_prefix("token=")))
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
    Answer {
        status: "200 OK",
        kind: "text/plain; version=0.0.4; charset=utf-8",
        body: body.into_bytes().into(),
    }
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
    Answer {
        status: "200 OK",
        kind: "application/json",
        body: format!("{value}\n").into_bytes().into(),
    }
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
        assert_eq!(token(&bearer, "token=x"), Some("abc"));
        assert_eq!(token(&Request::default(), "x=1&token=abc"), Some("abc"));
        assert_eq!(token(&Request::default(), ""), None);
    }
}
