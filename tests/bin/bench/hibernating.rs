//! Sessions that sleep: that none is lost, and what each costs.

use std::time::Instant;

use serde_json::json;
use simward_tests::client::HttpClient;
use simward_tests::daemon::children;
use simward_tests::wait::wait_until;

use crate::census::disk_bytes;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::request;
use crate::{Bench, process};

const SESSIONS: u32 = 1000;

/// How many sessions may be awake.
const SEATS: u32 = 100;

const MANY: u32 = 5000;

const CLIENTS: u32 = 8;

/// How many copies one call makes.
const COPIES: u32 = 16;

/// No two neighbours are in the same state.
const STEPS_MAX: u32 = 50;

/// How many of the many are looked at: every one whose number this divides.
const SAMPLE: usize = 50;

/// As many sessions as are asked for, whose ports are nobody's concern.
const SETTINGS: [&str; 3] =
    ["sessions.max=8192", "sessions.per_tenant_max=8192", "pool.ports.lease=on_demand"];

/// Few of them awake, as `SEATS` says.
const FEW_AWAKE: &str = "sessions.awake_max=100";

/// A session and the state that it was left in.
struct Sleeper {
    room: Room,
    state: serde_json::Value,
}

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    thousand(bench, report);
    if !bench.options.quick {
        many(bench, report);
    }
}

fn thousand(bench: &Bench, report: &mut Report) {
    let count = bench.options.times(SESSIONS);
    let settings = [&SETTINGS[..], &[FEW_AWAKE]].concat();
    let server = Server::start_with(&bench.programs, &settings);
    let before = Footprint::first(&server);
    let mut slept = Samples::default();
    let sleepers = by_clients(&server, &vec![(); count as usize], |client, (), index| {
        let sleeper = make(client, index);
        let begun = Instant::now();
        sleep(client, &sleeper.room);
        (sleeper, begun.elapsed())
    });
    let sleepers: Vec<_> = sleepers
        .into_iter()
        .map(|(sleeper, took)| {
            slept.add_millis(took);
            sleeper
        })
        .collect();
    wait_until("no session that sleeps has a process", || children(server.pid()).is_empty());
    let after = Footprint::look(&server);
    let what = format!("hibernate_session, {count} with a humanoid, 8 clients, p50");
    report.add(Row::new(11, &what, slept.median(), "ms"));
    let name = format!("each of {count} hibernated sessions");
    per_session(report, &name, before, after, count);

    let mut woken = Samples::default();
    let mut right = 0.0;
    let looks = by_clients(&server, &sleepers, |client, sleeper, _| {
        let begun = Instant::now();
        let state = sleeper.room.state(client);
        let took = begun.elapsed();
        sleep(client, &sleeper.room);
        (state.as_ref() == Ok(&sleeper.state), took)
    });
    for (is_right, took) in looks {
        woken.add_millis(took);
        right += f64::from(u8::from(is_right));
    }
    let what = format!("woken as they were, of {count}");
    report.add(Row::new(11, &what, right, "").at_least(count.into()));
    report.add(Row::new(11, "a call wakes one of them, 8 clients, p50", woken.median(), "ms"));
    report.add(Row::new(11, "a call wakes one of them, 8 clients, p99", woken.quantile(99), "ms"));
    crowded(report, &server, &sleepers);
}

/// Wakes all of them while far fewer may be awake, so that others are put to sleep for them.
fn crowded(report: &mut Report, server: &Server, sleepers: &[Sleeper]) {
    let mut woken = Samples::default();
    let mut right = 0.0;
    let looks = by_clients(server, sleepers, |client, sleeper, _| {
        let begun = Instant::now();
        let state = sleeper.room.state(client);
        if let Err(refused) = &state {
            eprintln!("not woken: {refused}");
        }
        (state.as_ref() == Ok(&sleeper.state), begun.elapsed())
    });
    for (is_right, took) in looks {
        woken.add_millis(took);
        right += f64::from(u8::from(is_right));
    }
    let count = sleepers.len();
    let what = format!("woken as they were where {SEATS} may be awake, of {count}");
    let count = u32::try_from(count).unwrap();
    report.add(Row::new(11, &what, right, "").at_least(count.into()));
    let what = format!("a call wakes one of them where {SEATS} may be awake, p50");
    report.add(Row::new(11, &what, woken.median(), "ms"));
}

/// Far more sessions than there could be processes.
fn many(bench: &Bench, report: &mut Report) {
    let mut server = Server::start_with(&bench.programs, &SETTINGS);
    let before = Footprint::first(&server);
    let calls = vec![(); (MANY / COPIES) as usize];
    let begun = Instant::now();
    let rooms: Vec<_> = by_clients(&server, &calls, |client, (), index| {
        let first = make(client, index);
        let mut rooms = first.room.fork(client, COPIES - 1);
        rooms.push(first.room);
        for room in &rooms {
            sleep(client, room);
        }
        rooms.into_iter().map(|room| (room, first.state.clone())).collect::<Vec<_>>()
    });
    let sleepers: Vec<_> =
        rooms.into_iter().flatten().map(|(room, state)| Sleeper { room, state }).collect();
    let took = begun.elapsed().as_secs_f64();
    let count = u32::try_from(sleepers.len()).unwrap();
    wait_until("no session that sleeps has a process", || children(server.pid()).is_empty());
    let after = Footprint::look(&server);
    let what = format!("{count} sessions created by copying and hibernated, 8 clients");
    report.add(Row::new(11, &what, took, "s"));
    per_session(report, &format!("each of {count} hibernated sessions"), before, after, count);
    let begun = Instant::now();
    server.kill_and_start(&bench.programs);
    server.wire().call(&request("get_server_info", &json!({}))).expect_success();
    let back = begun.elapsed().as_secs_f64();
    let what = format!("SIGKILL of the daemon with {count} hibernated sessions until it answers");
    report.add(Row::new(11, &what, back, "s"));
    let mut client = server.client();
    let sample = sleepers.iter().step_by(SAMPLE);
    let (mut looked, mut right) = (0.0, 0.0);
    for sleeper in sample {
        looked += 1.0;
        let is_right = sleeper.room.state(&mut client).as_ref() == Ok(&sleeper.state);
        right += f64::from(u8::from(is_right));
        sleep(&mut client, &sleeper.room);
    }
    let what = format!("of {looked} of them looked at after that, as they were");
    report.add(Row::new(11, &what, right, "").at_least(looked));
}

/// What a daemon takes.
#[derive(Clone, Copy)]
struct Footprint {
    rss_kb: f64,
    disk_kb: f64,
}

impl Footprint {
    /// What it takes without sessions, when the model was compiled once.
    fn first(server: &Server) -> Self {
        let mut client = server.client();
        make(&mut client, 0).room.close(&mut client);
        Self::look(server)
    }

    fn look(server: &Server) -> Self {
        let rss_kb = process::memory(server.pid()).rss_mb * 1e3;
        Self { rss_kb, disk_kb: disk_bytes(server.state()) / 1e3 }
    }
}

fn per_session(report: &mut Report, what: &str, before: Footprint, after: Footprint, count: u32) {
    let count = f64::from(count);
    let disk = (after.disk_kb - before.disk_kb) / count;
    let rss = (after.rss_kb - before.rss_kb) / count;
    report.add(Row::new(11, &format!("{what}, on the disk"), disk, "kB"));
    report.add(Row::new(11, &format!("{what}, in the daemon's RSS"), rss, "kB"));
    report.add(Row::new(11, "the daemon's RSS with them", after.rss_kb / 1e3, "MB"));
}

/// Makes a session with a humanoid in a state of its own.
fn make(client: &mut HttpClient, index: u32) -> Sleeper {
    let room = Room::open(client);
    room.load_humanoid(client);
    let steps = index % STEPS_MAX + 1;
    room.tool(client, "step_simulation", json!({ "steps": steps })).unwrap();
    let state = room.state(client).unwrap();
    Sleeper { room, state }
}

fn sleep(client: &mut HttpClient, room: &Room) {
    room.tool(client, "hibernate_session", json!({})).unwrap();
}

/// Does something for each of these, with several clients; `index` is its number.
fn by_clients<T: Sync, R: Send>(
    server: &Server,
    items: &[T],
    each: impl Fn(&mut HttpClient, &T, u32) -> R + Sync,
) -> Vec<R> {
    let share = items.len().div_ceil(CLIENTS as usize);
    let each = &each;
    let run = |(items, first): (&[T], usize)| {
        let mut client = server.client();
        let numbers = u32::try_from(first * share).unwrap()..;
        items.iter().zip(numbers).map(|(item, index)| each(&mut client, item, index)).collect()
    };
    let run = &run;
    std::thread::scope(|scope| {
        let shares = items.chunks(share).zip(0..);
        let clients: Vec<_> = shares.map(|share| scope.spawn(move || run(share))).collect();
        let done: Vec<Vec<R>> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        done.into_iter().flatten().collect()
    })
}
