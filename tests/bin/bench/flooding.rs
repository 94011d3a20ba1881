//! Many tenants at the endpoint, as fast as it goes, one of which takes more than it may.
//!
//! All connections belong to one thread, so that hundreds of clients do not fight over processors.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Bench;
use crate::report::{Report, Row};
use crate::shared::Shared;
use crate::stats::Samples;
use crate::wire::{End, is_success, request_as};

const TENANTS: usize = 64;

const CONNECTIONS: usize = 256;

/// How many connections each tenant has, but for the one that floods; that one has the rest.
const POLITE: usize = 3;

/// What each tenant may take; the polite ones do not come near.
const QUOTAS: [&str; 3] = [
    "http.quotas.calls_at_a_time=16",
    "http.quotas.calls_per_sec=1000.0",
    "http.quotas.burst=1000",
];

/// How long nothing is counted, until all are under way.
const WARM_UP: Duration = Duration::from_secs(1);

/// How many seconds are counted.
const SECONDS: u32 = 15;

/// What a client has seen.
#[derive(Debug, Default)]
struct Seen {
    micros: Samples,
    too_much: u32,
    failed: u32,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.too_much += other.too_much;
        self.failed += other.failed;
    }
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let shared = Shared::start(&bench.programs, TENANTS, &QUOTAS);
    let secs = bench.options.times(SECONDS);
    let time = Duration::from_secs(secs.into());
    let (alone, _) = crowd(&shared, POLITE * (TENANTS - 1), time);
    let (p50, p99) = (alone.micros.median(), alone.micros.quantile(99));
    let what = "list_runs of 63 tenants, 189 connections, without the one that floods";
    let row = Row::new(20, &format!("{what}, p99 (ratio: to p50)"), p99 / 1e3, "ms");
    report.add(row.ratio(p99 / p50));
    let (polite, flooding) = crowd(&shared, CONNECTIONS, time);
    let what = "list_runs of 63 tenants, 189 connections, while another floods with 67";
    let failed = f64::from(polite.failed + polite.too_much + flooding.failed);
    let name = format!("{what}, calls that failed but for its own that were too many");
    report.add(Row::new(20, &name, failed, "").at_most(0.0));
    let rate = polite.micros.count() / f64::from(secs);
    report.add(Row::new(20, what, rate, "calls/s"));
    let (p50, p99) = (polite.micros.median(), polite.micros.quantile(99));
    report.add(Row::new(20, &format!("{what}, p50"), p50 / 1e3, "ms"));
    let row = Row::new(20, &format!("{what}, p99 (ratio: to p50)"), p99 / 1e3, "ms");
    report.add(row.ratio(p99 / p50).ratio_at_most(3.0));
    let let_in = flooding.micros.count() / f64::from(secs);
    report.add(Row::new(20, "calls of the one that floods that were let in", let_in, "calls/s"));
    let refused = f64::from(flooding.too_much) / f64::from(secs);
    report.add(Row::new(20, "calls of the one that floods that were refused", refused, "calls/s"));
}

/// What the polite ones have seen, and what the other has.
fn crowd(shared: &Shared, connections: usize, time: Duration) -> (Seen, Seen) {
    let address = shared.server.address();
    let calls: Vec<_> =
        shared.tokens.iter().map(|token| request_as(token, "list_runs", &json!({}))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let from = Instant::now() + WARM_UP;
        let client = |connection: usize| {
            // Who is polite has a few; whoever is left over is the one that floods.
            let tenant = (connection / POLITE).min(TENANTS - 1);
            let work = repeat(address, calls[tenant].clone(), from, from + time);
            (tenant, tokio::spawn(work))
        };
        let clients: Vec<_> = (0..connections).map(client).collect();
        let (mut polite, mut flooding) = (Seen::default(), Seen::default());
        for (tenant, client) in clients {
            let side = if tenant == TENANTS - 1 { &mut flooding } else { &mut polite };
            side.add(client.await.unwrap());
        }
        (polite, flooding)
    })
}

/// Makes the same call again and again, and counts what ends in time.
async fn repeat(address: SocketAddr, call: Vec<u8>, from: Instant, until: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut begun = Instant::now();
    while begun < until {
        let answered = exchange(&mut stream, &call, &mut buffer).await;
        let now = Instant::now();
        if answered.is_none() {
            seen.failed += 1;
            return seen;
        }
        if from <= begun && now <= until {
            match &buffer {
                answer if is_success(answer) => seen.micros.add_micros(now - begun),
                answer if answer.starts_with(b"HTTP/1.1 429 ") => seen.too_much += 1,
                _ => seen.failed += 1,
            }
        }
        begun = now;
    }
    seen
}

/// Sends a request and reads the whole answer; nothing if the connection broke.
async fn exchange(stream: &mut TcpStream, call: &[u8], buffer: &mut Vec<u8>) -> Option<()> {
    stream.write_all(call).await.ok()?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        if End::of(buffer).is_some_and(|end| end.is_reached(buffer)) {
            return Some(());
        }
    }
}
