//! How soon a daemon that was killed is back, and its sessions with it.

use std::time::Instant;

use serde_json::{Value, json};

use crate::Bench;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::wire::request;

const SESSIONS: u32 = 100;

/// How many copies one call makes.
const COPIES: u32 = 16;

const CLIENTS: usize = 8;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let mut server = Server::start(&bench.programs);
    let rooms = create(&server);
    let before = states(&server, &rooms, &mut Samples::default());
    let begun = Instant::now();
    server.kill_and_start(&bench.programs);
    let listens = begun.elapsed().as_secs_f64();
    server.wire().call(&request("list_sessions", &json!({}))).expect_success();
    let ready = begun.elapsed().as_secs_f64();
    let mut millis = Samples::default();
    let after = states(&server, &rooms, &mut millis);
    let all = begun.elapsed().as_secs_f64();
    let same = before.iter().zip(&after).filter(|(before, after)| before == after);
    let same = same.map(|_| 1.0).sum::<f64>();
    let what = "SIGKILL of the daemon with 100 humanoids until it listens again";
    report.add(Row::new(8, what, listens, "s"));
    let what = "SIGKILL of the daemon with 100 humanoids until it lists them again";
    report.add(Row::new(8, what, ready, "s"));
    let what = "the same until the first call of each has succeeded, 8 clients";
    report.add(Row::new(8, what, all, "s"));
    report.add(Row::new(8, "first call of each after that, p50", millis.median(), "ms"));
    report.add(Row::new(8, "first call of each after that, p99", millis.quantile(99), "ms"));
    let what = "sessions as they were after SIGKILL of the daemon, of 100";
    report.add(Row::new(8, what, same, "").at_least(f64::from(SESSIONS)));
}

/// Makes sessions with a humanoid, each in a state of its own.
fn create(server: &Server) -> Vec<Room> {
    let mut client = server.client();
    let first = Room::open(&mut client);
    first.load_humanoid(&mut client);
    let mut rooms = vec![first];
    while let Some(missing) = SESSIONS.checked_sub(u32::try_from(rooms.len()).unwrap())
        && missing != 0
    {
        let copies = rooms[0].fork(&mut client, missing.min(COPIES));
        rooms.extend(copies);
    }
    for (room, steps) in rooms.iter().zip(1_u32..) {
        room.tool(&mut client, "step_simulation", json!({ "steps": steps })).unwrap();
    }
    rooms
}

/// Reads all states with several clients.
fn states(server: &Server, rooms: &[Room], millis: &mut Samples) -> Vec<Value> {
    let read = |share: &[Room]| {
        let mut client = server.client();
        let mut millis = Samples::default();
        let mut read = |room: &Room| {
            let begun = Instant::now();
            let state = room.state(&mut client).unwrap();
            millis.add_millis(begun.elapsed());
            state
        };
        let states: Vec<_> = share.iter().map(&mut read).collect();
        (states, millis)
    };
    std::thread::scope(|scope| {
        let shares = rooms.chunks(rooms.len().div_ceil(CLIENTS));
        let clients: Vec<_> = shares.map(|share| scope.spawn(move || read(share))).collect();
        let mut states = Vec::new();
        for client in clients {
            let (read, took) = client.join().unwrap();
            states.extend(read);
            millis.extend(took);
        }
        states
    })
}
