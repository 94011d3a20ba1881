//! What the endpoint itself costs: calls that do nothing, beside servers that do nothing else.
//!
//! Ours asks who calls, counts it and writes it down; theirs do not. Our tool is `list_runs` of a
//! tenant that has none; `get_server_info` looks at folders, and that is no part of the endpoint.
//! Answers are equally long.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::peers::{Peer, SCRIPTS, echo_of_length};
use crate::report::{Report, Row};
use crate::shared::Shared;
use crate::stats::Samples;
use crate::wire::{Wire, request_as, storm};
use crate::{Bench, process};

/// How many clients call at a time.
const CLIENTS: [usize; 2] = [1, 8];

/// How often each server has its turn.
const TURNS: u32 = 10;

/// How long a turn is.
const TURN: Duration = Duration::from_secs(1);

/// Limits that are counted, and not reached.
const QUOTAS: [&str; 2] = ["http.quotas.calls_per_sec=1000000.0", "http.quotas.burst=1000000"];

/// A server, and the call that it is to answer.
struct Side {
    address: SocketAddr,
    pid: i32,
    call: Vec<u8>,
    sum: Sum,
}

/// Calls and what they cost.
#[derive(Default)]
struct Sum {
    micros: Samples,
    wall_secs: f64,
    cpu_secs: f64,
}

impl Side {
    fn ours(shared: &Shared) -> Self {
        let call = request_as(&shared.tokens[0], "list_runs", &json!({}));
        let server = &shared.server;
        Self { address: server.address(), pid: server.pid(), call, sum: Sum::default() }
    }

    fn of(peer: &Peer, ours: &Self) -> Self {
        let body_bytes = Wire::connect(ours.address).call(&ours.call).body_bytes();
        let call = echo_of_length(peer, body_bytes);
        Self { address: peer.address, pid: peer.pid(), call, sum: Sum::default() }
    }

    fn turn(&mut self, clients: usize) {
        let calls = vec![self.call.clone(); clients];
        let cpu = process::cpu_secs(self.pid);
        let begun = Instant::now();
        self.sum.micros.extend(storm(self.address, &calls, begun + TURN));
        self.sum.wall_secs += begun.elapsed().as_secs_f64();
        self.sum.cpu_secs += process::cpu_secs(self.pid) - cpu;
    }

    fn calls_per_sec(&self) -> f64 {
        self.sum.micros.count() / self.sum.wall_secs
    }

    fn cpu_micros_per_call(&self) -> f64 {
        self.sum.cpu_secs * 1e6 / self.sum.micros.count()
    }
}

/// Lets two servers take turns, so that what else goes on hits both.
fn take_turns(bench: &Bench, sides: &mut [Side; 2], clients: usize) {
    for side in sides.iter_mut() {
        side.turn(clients);
        side.sum = Sum::default();
    }
    for turn in 0..bench.options.times(TURNS) {
        let first = usize::from(turn % 2 != 0);
        sides[first].turn(clients);
        sides[1 - first].turn(clients);
    }
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let shared = Shared::start(&bench.programs, 1, &QUOTAS);
    let bare = Peer::bare(&bench.programs);
    for clients in CLIENTS {
        let ours = Side::ours(&shared);
        let mut sides = [Side::of(&bare, &ours), ours];
        take_turns(bench, &mut sides, clients);
        let [bare, ours] = sides;
        let plural = if clients == 1 { "" } else { "s" };
        let what = format!("list_runs, HTTP, {clients} client{plural}");
        let to = "(ratio: to an echo of bare rmcp)";
        for (percent, target) in [(50, Some(1.5)), (99, None)] {
            let micros = ours.sum.micros.quantile(percent);
            let ratio = micros / bare.sum.micros.quantile(percent);
            let row = Row::new(18, &format!("{what}, p{percent} {to}"), micros, "µs").ratio(ratio);
            report.add(if let Some(target) = target { row.ratio_at_most(target) } else { row });
        }
        let cpu = ours.cpu_micros_per_call();
        let row = Row::new(18, &format!("{what}, CPU of the server {to}"), cpu, "µs/call");
        report.add(row.ratio(cpu / bare.cpu_micros_per_call()).ratio_at_most(1.6));
        let rate = ours.calls_per_sec();
        let row = Row::new(18, &format!("{what} {to}"), rate, "calls/s");
        report.add(row.ratio(rate / bare.calls_per_sec()));
    }
}

/// The same beside servers that are written in Python.
pub(crate) fn among_peers(bench: &Bench, report: &mut Report) {
    let shared = Shared::start(&bench.programs, 1, &QUOTAS);
    for script in SCRIPTS {
        let what = format!("list_runs, HTTP, 8 clients (ratio: to an echo of {})", script.name);
        let Some(peer) = Peer::python(script) else {
            report.add(Row::missing(19, &what).ratio_at_least(10.0));
            continue;
        };
        let ours = Side::ours(&shared);
        let mut sides = [Side::of(&peer, &ours), ours];
        take_turns(bench, &mut sides, 8);
        let [theirs, ours] = sides;
        let rate = ours.calls_per_sec();
        let row = Row::new(19, &what, rate, "calls/s").ratio(rate / theirs.calls_per_sec());
        report.add(row.ratio_at_least(10.0));
        let what = format!("an echo of {}, HTTP, 8 clients", script.name);
        report.add(Row::new(19, &what, theirs.calls_per_sec(), "calls/s"));
        let (ours, theirs) = (ours.cpu_micros_per_call(), theirs.cpu_micros_per_call());
        let what = format!("{what}, CPU of the server (ratio: of ours to it)");
        report.add(Row::new(19, &what, theirs, "µs/call").ratio(ours / theirs));
    }
}
