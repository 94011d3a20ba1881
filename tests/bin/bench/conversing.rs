//! What conversations of the older protocol hold in memory, and what they leave.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use simward_tests::client::LEGACY;
use simward_tests::http::{Answer, Http};

use crate::report::{Report, Row};
use crate::shared::Shared;
use crate::{Bench, process};

/// How many there are when they are weighed.
const IDLE: u32 = 1000;

/// How many there are before that, so that what is there once is there.
const BEFORE: u32 = 100;

/// How many come and go.
const CYCLES: u32 = 10_000;

/// How many clients open and end them.
const CLIENTS: usize = 8;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    weigh(bench, report);
    come_and_go(bench, report);
}

fn weigh(bench: &Bench, report: &mut Report) {
    let shared = Shared::start(&bench.programs, 1, &["http.legacy_sessions_max=2000"]);
    let (server, token) = (&shared.server, &shared.tokens[0]);
    for _ in 0..BEFORE {
        Conversation::open(server.address(), token);
    }
    let before = process::memory(server.pid()).rss_mb;
    for _ in 0..IDLE {
        Conversation::open(server.address(), token);
    }
    let each = (process::memory(server.pid()).rss_mb - before) * 1e6 / 1024.0 / f64::from(IDLE);
    let what = "each of 1000 idle conversations that have made a call, in the daemon's RSS";
    report.add(Row::new(21, what, each, "KiB").at_most(100.0));
}

fn come_and_go(bench: &Bench, report: &mut Report) {
    let shared = Shared::start(&bench.programs, 1, &[]);
    let rss_after = |cycles| {
        open_and_end(&shared, cycles);
        process::memory(shared.server.pid()).rss_mb
    };
    let cycles = bench.options.times(CYCLES);
    let first = rss_after(BEFORE);
    let half = rss_after(cycles / 2 - BEFORE);
    let all = rss_after(cycles / 2);
    let what = format!("the daemon's RSS after {cycles} conversations (ratio: to half of them)");
    report.add(Row::new(21, &what, all, "MB").ratio(all / half).ratio_at_most(1.05));
    report.add(Row::new(21, &format!("the daemon's RSS after {BEFORE} of them"), first, "MB"));
}

/// Lets so many come and go, of each client one after the other.
fn open_and_end(shared: &Shared, count: u32) {
    let left = AtomicU32::new(count);
    let work = || {
        let one_less = |left: u32| left.checked_sub(1);
        while left.try_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            Conversation::open(shared.server.address(), &shared.tokens[0]).end();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(work);
        }
    });
}

/// A conversation, and the connection that it was opened over.
struct Conversation {
    http: Http,
    bearer: String,
    id: String,
}

impl Conversation {
    /// Shakes hands, and makes a call.
    fn open(address: SocketAddr, token: &str) -> Self {
        let http = Http::connect(address).unwrap();
        let mut new = Self { http, bearer: format!("Bearer {token}"), id: String::new() };
        let client = json!({ "name": "bench", "version": "0" });
        let hello = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client });
        let answer = new.post(&json!({ "id": 1, "method": "initialize", "params": hello }), 200);
        answer.header("mcp-session-id").unwrap().clone_into(&mut new.id);
        new.post(&json!({ "method": "notifications/initialized" }), 202);
        let params = json!({ "name": "list_runs", "arguments": {} });
        let answer = new.post(&json!({ "id": 2, "method": "tools/call", "params": params }), 200);
        assert!(answer.text().contains("\"isError\":false"), "{}", answer.text());
        new
    }

    fn end(mut self) {
        assert_eq!(self.ask("DELETE", b"").status, 204);
    }

    fn post(&mut self, message: &Value, status: u16) -> Answer {
        let mut message = message.clone();
        message["jsonrpc"] = "2.0".into();
        let answer = self.ask("POST", message.to_string().as_bytes());
        assert_eq!(answer.status, status, "{}", answer.text());
        answer
    }

    fn ask(&mut self, method: &str, body: &[u8]) -> Answer {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", LEGACY),
            ("authorization", &self.bearer),
        ];
        if !self.id.is_empty() {
            headers.push(("mcp-session-id", &self.id));
        }
        self.http.ask(method, "/mcp", &headers, body).unwrap()
    }
}
