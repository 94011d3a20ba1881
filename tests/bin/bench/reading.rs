//! What the way of a call costs: reading the state, which is next to no work for the worker.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simward_tests::models;

use crate::pipe::{Flow, Pipe};
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::{request, storm};
use crate::{Bench, process};

const CLIENTS: usize = 8;

/// How often each kind of call has its turn.
const TURNS: u32 = 5;

/// How long a turn is.
const TURN: Duration = Duration::from_secs(1);

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    over_pipes(bench, report);
    over_http(bench, report);
}

/// Calls and what they cost.
#[derive(Debug, Default)]
struct Sum {
    micros: Samples,
    wall_secs: f64,
    supervisor_cpu_secs: f64,
    worker_cpu_secs: f64,
    client_cpu_secs: f64,
}

impl Sum {
    fn add(&mut self, flow: Flow) {
        self.micros.extend(flow.micros);
        self.wall_secs += flow.wall.as_secs_f64();
        self.supervisor_cpu_secs += flow.cpu_secs;
    }

    fn calls_per_sec(&self) -> f64 {
        self.micros.count() / self.wall_secs
    }

    /// Milliseconds a call.
    fn per_call(&self, secs: f64) -> f64 {
        secs * 1e3 / self.micros.count()
    }

    fn tell_cost(&self, report: &mut Report, what: &str, target: Option<f64>) {
        let supervisor = self.per_call(self.supervisor_cpu_secs);
        let row = Row::new(4, &format!("{what}, CPU of the supervisor"), supervisor, "ms/call");
        report.add(if let Some(target) = target { row.at_most(target) } else { row });
        let both = supervisor + self.per_call(self.worker_cpu_secs);
        report.add(Row::new(4, &format!("{what}, CPU of supervisor and worker"), both, "ms/call"));
        let client = self.per_call(self.client_cpu_secs);
        report.add(Row::new(4, &format!("{what}, CPU of the client"), client, "ms/call"));
    }
}

fn over_pipes(bench: &Bench, report: &mut Report) {
    let mut pipe = Pipe::start(&bench.programs);
    let mut room = |tool: &str, mut model: Value| {
        let room = Room::described(&pipe.tool("create_session", &json!({})));
        model["session_id"] = room.id.clone().into();
        pipe.tool(tool, &model);
        room
    };
    let pendulum = room("create_scene", json!({ "scene": "pendulum" }));
    let humanoid = room("load_model", models::arguments("humanoid"));
    let mut sums: [Sum; 3] = Default::default();
    for _ in 0..bench.options.times(TURNS) {
        for (sum, room) in sums.iter_mut().zip([Some(&pendulum), Some(&humanoid), None]) {
            let worker = room.map_or_else(|| pipe.pid(), |room| room.pid);
            let before = (process::cpu_secs(worker), process::cpu_secs(process::own()));
            sum.add(match room {
                Some(room) => pipe.repeat("get_state", &json!({ "session_id": room.id }), TURN),
                None => pipe.repeat("get_server_info", &json!({}), TURN),
            });
            if room.is_some() {
                sum.worker_cpu_secs += process::cpu_secs(worker) - before.0;
            }
            sum.client_cpu_secs += process::cpu_secs(process::own()) - before.1;
        }
    }
    let [pendulum, humanoid, idle] = sums;
    for (name, sum) in [("pendulum", pendulum), ("humanoid", humanoid)] {
        let what = format!("get_state of a {name}, stdio, 8 in flight");
        let name = format!("{what} (ratio: to get_server_info)");
        let row = Row::new(4, &name, sum.calls_per_sec(), "calls/s").at_least(10_000.0);
        report.add(row.ratio(sum.calls_per_sec() / idle.calls_per_sec()));
        report.add(Row::new(4, &format!("{what}, p99"), sum.micros.quantile(99), "µs"));
        sum.tell_cost(report, &what, Some(0.1));
    }
    let what = "get_server_info, stdio, 8 in flight";
    report.add(Row::new(4, what, idle.calls_per_sec(), "calls/s"));
    let cost = idle.per_call(idle.supervisor_cpu_secs);
    report.add(Row::new(4, &format!("{what}, CPU of the supervisor"), cost, "ms/call"));
}

fn over_http(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let mut client = server.client();
    let rooms: Vec<_> = (0..CLIENTS).map(|_| Room::open(&mut client)).collect();
    for room in &rooms {
        room.load_humanoid(&mut client);
    }
    let reads = rooms.iter().map(|room| room.request("get_state", json!({}))).collect();
    let idles = vec![request("get_server_info", &json!({})); CLIENTS];
    let calls: [Vec<Vec<u8>>; 2] = [reads, idles];
    let mut sums: [Sum; 2] = Default::default();
    let workers_cpu = || rooms.iter().map(|room| process::cpu_secs(room.pid)).sum::<f64>();
    let cpu = || {
        let own = process::cpu_secs(process::own());
        (process::cpu_secs(server.pid()), workers_cpu(), own)
    };
    for _ in 0..bench.options.times(TURNS) {
        for (sum, calls) in sums.iter_mut().zip(&calls) {
            let before = cpu();
            let begun = Instant::now();
            sum.micros.extend(storm(server.address(), calls, begun + TURN));
            sum.wall_secs += begun.elapsed().as_secs_f64();
            let after = cpu();
            sum.supervisor_cpu_secs += after.0 - before.0;
            sum.worker_cpu_secs += after.1 - before.1;
            sum.client_cpu_secs += after.2 - before.2;
        }
    }
    let [read, idle] = sums;
    let what = "get_state of a humanoid, HTTP, 8 clients in 8 sessions";
    let ratio = read.calls_per_sec() / idle.calls_per_sec();
    let name = format!("{what} (ratio: to get_server_info)");
    report.add(Row::new(4, &name, read.calls_per_sec(), "calls/s").ratio(ratio));
    for percent in [50, 99] {
        let (read, idle) = (read.micros.quantile(percent), idle.micros.quantile(percent));
        let name = format!("{what}, p{percent} (ratio: to get_server_info)");
        report.add(Row::new(4, &name, read, "µs").ratio(read / idle));
    }
    read.tell_cost(report, what, None);
    let what = "get_server_info, HTTP, 8 clients";
    report.add(Row::new(4, what, idle.calls_per_sec(), "calls/s"));
    idle.tell_cost(report, what, None);
}
