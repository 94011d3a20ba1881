//! Many sessions at a time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::request;
use crate::{Bench, process};

const CLIENTS: usize = 8;

/// How many sessions are created at once.
const AT_ONCE: u32 = 100;

/// How many sessions there are in the end.
const ALIVE: u32 = 200;

/// How many calls each of them gets.
const ROUNDS: u32 = 20;

/// How many steps each call has.
const STEPS: u32 = 100;

/// What is done about the last calls must be done before idleness is measured.
const SETTLE: Duration = Duration::from_secs(2);

/// How long idleness is measured.
const IDLE: Duration = Duration::from_secs(5);

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let begun = Instant::now();
    let mut rooms = create(&server, AT_ONCE);
    let took = begun.elapsed().as_secs_f64();
    let count = f64::from(u32::try_from(rooms.len()).unwrap());
    let name = "sessions created of 100 asked for at once by 8 clients";
    report.add(Row::new(6, name, count, "").at_least(f64::from(AT_ONCE)));
    report.add(Row::new(6, "100 sessions created by 8 clients", took, "s").at_most(1.5));
    rooms.extend(create(&server, ALIVE - AT_ONCE));
    let count = f64::from(u32::try_from(rooms.len()).unwrap());
    report.add(Row::new(6, "sessions alive", count, "").at_least(f64::from(ALIVE)));
    load(&server, &rooms);
    step(bench, report, &server, &rooms);
    look(report, &server, &rooms);
    rest(report, &server, &rooms);
}

/// Creates sessions with all clients; returns those that were created.
fn create(server: &Server, count: u32) -> Vec<Room> {
    let call = request("create_session", &json!({}));
    let wanted = AtomicU32::new(count);
    let (call, wanted) = (&call, &wanted);
    let create = || {
        let mut wire = server.wire();
        let mut answers = Vec::new();
        let one_less = |left: u32| left.checked_sub(1);
        while wanted.try_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok() {
            let answer = wire.call(call);
            if answer.is_success() {
                answers.push(answer.content());
            } else {
                eprintln!("refused: {}", answer.content());
            }
        }
        answers.iter().map(Room::described).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(create)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// The sessions of each client.
fn shares(rooms: &[Room]) -> impl Iterator<Item = &[Room]> {
    rooms.chunks(rooms.len().div_ceil(CLIENTS))
}

fn load(server: &Server, rooms: &[Room]) {
    std::thread::scope(|scope| {
        for share in shares(rooms) {
            scope.spawn(move || {
                let mut client = server.client();
                for room in share {
                    room.load_pendulum(&mut client);
                }
            });
        }
    });
}

/// Lets all sessions step, those of one client in turn.
fn step(bench: &Bench, report: &mut Report, server: &Server, rooms: &[Room]) {
    let rounds = bench.options.times(ROUNDS);
    let failed = AtomicU32::new(0);
    let mut micros = Samples::default();
    let step = |share: &[Room]| {
        let mut wire = server.wire();
        let call = |room: &Room| room.request("step_simulation", json!({ "steps": STEPS }));
        let calls: Vec<_> = share.iter().map(call).collect();
        let mut micros = Samples::default();
        for _ in 0..rounds {
            for call in &calls {
                let begun = Instant::now();
                if !wire.call(call).is_success() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                micros.add_micros(begun.elapsed());
            }
        }
        micros
    };
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let step = &step;
        let clients: Vec<_> = shares(rooms).map(|share| scope.spawn(move || step(share))).collect();
        for client in clients {
            micros.extend(client.join().unwrap());
        }
    });
    let calls_per_sec = micros.count() / begun.elapsed().as_secs_f64();
    let failed = f64::from(failed.into_inner());
    report.add(Row::new(6, "calls failed with 200 sessions stepping", failed, "").at_most(0.0));
    let what = "calls of 100 pendulum steps, 8 clients in 200 sessions";
    report.add(Row::new(6, what, calls_per_sec, "calls/s"));
    report.add(Row::new(6, &format!("{what}, p99"), micros.quantile(99), "µs"));
}

/// Looks what they hold in memory.
fn look(report: &mut Report, server: &Server, rooms: &[Room]) {
    let mut workers = Samples::default();
    for room in rooms {
        workers.add(process::memory(room.pid).pss_mb.unwrap_or(f64::NAN));
    }
    let supervisor = process::memory(server.pid()).rss_mb;
    let what = "200 sessions with a pendulum, memory (PSS of workers and RSS of the supervisor)";
    report.add(Row::new(6, what, workers.sum() + supervisor, "MB"));
    report.add(Row::new(6, "of which a worker's median", workers.median(), "MB"));
    report.add(Row::new(6, "of which the supervisor's", supervisor, "MB"));
}

/// Leaves them alone, and looks what that costs.
fn rest(report: &mut Report, server: &Server, rooms: &[Room]) {
    std::thread::sleep(SETTLE);
    let cpu = || {
        let workers = rooms.iter().map(|room| process::ran_secs(room.pid)).sum::<f64>();
        (process::ran_secs(server.pid()), workers)
    };
    let before = cpu();
    std::thread::sleep(IDLE);
    let after = cpu();
    let share = |after: f64, before: f64| (after - before).max(0.0) / IDLE.as_secs_f64();
    let parts = [
        ("200 idle sessions, CPU of all workers", share(after.1, before.1)),
        ("200 idle sessions, CPU of the supervisor", share(after.0, before.0)),
    ];
    for (what, share) in parts {
        let what = format!("{what} (ratio: to one core; target 0, within 0.1 %)");
        report.add(Row::new(6, &what, share * 1e3, "ms/s").ratio(share).ratio_at_most(0.001));
    }
}
